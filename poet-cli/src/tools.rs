//! `poet tools`: which tools there are, what they take, and which of them may be called twice.

use crate::arguments::Arguments;
use crate::lines::wrapped;
use crate::schema::{self, Parameter};
use crate::services::{self, Listed, Server};
use crate::{Answer, Refusal};
use clap::Args;
use poet_domains::mcp::{Repeatable, ToolInfo};
use poet_runtime::config::{Config, ServiceConfig};
use poet_runtime::report::text::Style;
use serde_json::{Value, json};
use std::fmt::Write as _;

pub(crate) const EXAMPLES: &str = "\
Examples:
  poet tools                                   the tools of every service of the configuration
  poet tools salesforce_crm                    of one
  poet tools --url http://localhost:8002/mcp   of a server that stands in no configuration
  poet tools -- npx -y @modelcontextprotocol/server-everything
                                               of a program that is a server
  poet tools --format json | jq '.services[].tools[].input_schema'

What must be given is marked with `*`. A tool may be called again after a failure only if somebody says so whose word
counts: the configuration (`idempotent`, `read_only`), or a server that is `trusted` there. What nobody says it of is
taken for a write.

Exit codes: 0 every service answered, 1 one did not, 2 a command that cannot be understood.";

#[derive(Clone, Debug, Args)]
pub(crate) struct Tools {
    /// Only of this service
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
    #[command(flatten)]
    server: Server,
}

pub(crate) fn run(tools: &Tools, arguments: &Arguments) -> Result<Answer, Refusal> {
    let (config, is_unnamed) = tools.server.config(arguments)?;
    let names: Vec<_> = match &tools.service {
        Some(name) if is_unnamed => {
            let message =
                format!("`{name}` is a service of the configuration, and another server is named; leave one out");
            return Err(Refusal::usage(message));
        }
        Some(name) => vec![services::find(&config, name)?.name.clone()],
        None => services::reachable(&config).map(|service| service.name.clone()).collect(),
    };
    if names.is_empty() {
        return Err(Refusal::usage(services::nothing(&config)));
    }
    let listed = services::list(&config, names)?;
    Ok(answer(&config, &listed, arguments))
}

fn answer(config: &Config, listed: &[Listed], arguments: &Arguments) -> Answer {
    let failed: Vec<_> =
        listed.iter().filter_map(|listed| listed.tools.as_ref().err()).map(ToString::to_string).collect();
    let known = listed.iter().filter_map(|listed| {
        let service = config.services.get(&listed.name)?;
        listed.tools.as_ref().ok().map(|tools| (service, tools))
    });
    let text = arguments.format.of(
        |style| known.clone().map(|(service, tools)| text(service, tools, style)).collect::<Vec<_>>().join("\n"),
        || {
            let shown = |(service, tools): (&ServiceConfig, &Vec<ToolInfo>)| {
                json!({ "name": service.name, "tools": tools.iter().map(|tool| json(service, tool)).collect::<Vec<_>>() })
            };
            json!({ "services": known.clone().map(shown).collect::<Vec<_>>(), "problems": failed })
        },
    );
    Answer { text, aside: failed.join("\npoet: "), code: u8::from(!failed.is_empty()) }
}

fn text(service: &ServiceConfig, tools: &[ToolInfo], style: Style) -> String {
    let count = match tools.len() {
        0 => "no tools".to_owned(),
        1 => "1 tool".to_owned(),
        n => format!("{n} tools"),
    };
    let mut text = format!("{}  {count}\n", style.heading(&service.name));
    for tool in tools {
        let _ = writeln!(text, "\n{}  {}", style.heading(&tool.name), standing(service, tool));
        if let Some(description) = &tool.description {
            text.push_str(&wrapped(description.trim(), "  "));
        }
        let known = schema::parameters(&tool.input_schema);
        let shown = |parameter: &Parameter<'_>| {
            let must = if parameter.required { "*" } else { "" };
            format!("{}{must}: {}", parameter.name, parameter.allowed())
        };
        if known.is_empty() {
            text.push_str("  takes no arguments\n");
        }
        for parameter in &known {
            let _ = writeln!(text, "    {}", shown(parameter));
        }
    }
    text
}

/// Whether a tool may be called twice, and who says so.
fn standing(service: &ServiceConfig, tool: &ToolInfo) -> String {
    let claim = match (tool.read_only, tool.idempotent) {
        (Some(true), _) => Some("that it changes nothing"),
        (_, Some(true)) => Some("that it may be repeated"),
        _ => None,
    };
    match (Repeatable::of(service, tool), claim) {
        (Repeatable::Declared(true), _) => "may be repeated (the configuration says so)".to_owned(),
        (Repeatable::Declared(false), _) => "write (the configuration says so)".to_owned(),
        (Repeatable::Claimed(true), claim) => {
            format!("may be repeated (the server says {}, and is trusted)", claim.unwrap_or("so"))
        }
        (Repeatable::Claimed(false), _) => "write (the server says so)".to_owned(),
        (Repeatable::Unknown, Some(claim)) => format!("write (the server says {claim}, but is not trusted)"),
        (Repeatable::Unknown, None) => "write (nobody says that it may be repeated)".to_owned(),
    }
}

fn json(service: &ServiceConfig, tool: &ToolInfo) -> Value {
    let repeatable = Repeatable::of(service, tool);
    let by = match repeatable {
        Repeatable::Declared(_) => "configuration",
        Repeatable::Claimed(_) => "server",
        Repeatable::Unknown => "nobody",
    };
    json!({
        "name": tool.name,
        "description": tool.description,
        "repeatable": repeatable.holds(),
        "said_by": by,
        "claims": { "read_only": tool.read_only, "idempotent": tool.idempotent, "destructive": tool.destructive },
        "input_schema": tool.input_schema,
        "output_schema": tool.output_schema,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use poet_runtime::config::ToolConfig;

    #[test]
    fn who_says_that_a_tool_may_be_repeated_is_told() {
        let mut tool = ToolInfo::default();
        "list".clone_into(&mut tool.name);
        tool.read_only = Some(true);
        let crm = ServiceConfig::http("crm", "http://crm");
        let never = ToolConfig { idempotent: Some(false), ..ToolConfig::default() };
        for (service, said) in [
            (crm.clone(), "write (the server says that it changes nothing, but is not trusted)"),
            (crm.clone().trusted(), "may be repeated (the server says that it changes nothing, and is trusted)"),
            (
                crm.clone().tool("list", ToolConfig::default().idempotent()),
                "may be repeated (the configuration says so)",
            ),
            (crm.clone().trusted().tool("list", never), "write (the configuration says so)"),
        ] {
            assert_eq!(standing(&service, &tool), said);
        }
        tool.read_only = None;
        assert_eq!(standing(&crm.clone().trusted(), &tool), "write (nobody says that it may be repeated)");
        tool.idempotent = Some(false);
        assert_eq!(standing(&crm.trusted(), &tool), "write (the server says so)");
    }
}
