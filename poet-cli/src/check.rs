//! `poet check`: what is wrong with a configuration, or what it comes to.

use crate::arguments::Arguments;
use crate::lines::wrapped;
use crate::resolved::{self, Resolved};
use crate::services::{self, Listed};
use crate::{Answer, Refusal};
use clap::Args;
use poet_runtime::config::{Config, ConfigError, Problem, did_you_mean};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;

pub(crate) const EXAMPLES: &str = "\
Examples:
  poet check                                   the configuration that a program here would read
  poet check etc/poet.yaml --connect           that file, and whether its services can be reached
  poet check --format json | jq '.services[].deadline'

Every problem is one line, FILE:LINE:COLUMN: KEY: what was found and what is allowed. Without one, each service is shown
with how it is reached (without what is secret) and what holds for its calls before anything is learned.

Exit codes: 0 nothing is wrong, 1 something is, or there is no configuration, 2 a command that cannot be understood.";

#[derive(Clone, Debug, Args)]
pub(crate) struct Check {
    /// The configuration [default: --config, then $POET_CONFIG, then ./poet.toml or ./poet.yaml]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Also connect to every service and list its tools
    #[arg(long)]
    connect: bool,
}

pub(crate) fn run(check: &Check, arguments: &Arguments) -> Result<Answer, Refusal> {
    let config = check.file.as_ref().map_or_else(|| arguments.read_config(), Config::load);
    let config = match config {
        Ok(config) => config,
        Err(error) => return Ok(broken(&error, arguments)),
    };
    if config.file.is_none() {
        let message = "there is no configuration: no file is named, POET_CONFIG is not set, and neither poet.toml nor \
                       poet.yaml is here";
        return Err(Refusal::nothing(message));
    }
    let names = services::reachable(&config).map(|service| service.name.clone()).collect();
    let found = if check.connect { services::list(&config, names)? } else { Vec::new() };
    let met: Vec<_> = found.iter().map(|listed| Met::of(&config, listed)).collect();
    let problems = met.iter().map(|met| met.problems.len()).sum::<usize>();
    let text = arguments.format.of(
        |style| {
            let mut text = format!("{}\n", resolved::whole(&config, problems));
            for service in config.services.values() {
                let _ = write!(text, "\n{}", Resolved::of(service).text(style));
                for met in met.iter().filter(|met| met.listed.name == service.name) {
                    let _ = write!(text, "{}", met.text());
                }
            }
            text
        },
        || {
            let service = |service| {
                let mut shown = Resolved::of(service).json();
                if let Some(met) = met.iter().find(|met| met.listed.name == service.name) {
                    shown["connection"] = met.json();
                }
                shown
            };
            let mut shown = resolved::whole_json(&config);
            shown["services"] = config.services.values().map(service).collect();
            shown["problems"] = json!([]);
            shown
        },
    );
    Ok(Answer { text, code: u8::from(problems > 0), ..Answer::default() })
}

fn broken(error: &ConfigError, arguments: &Arguments) -> Answer {
    let placed = |problem: &Problem| {
        json!({
            "file": problem.file(),
            "line": problem.place().map(|place| place.line),
            "column": problem.place().map(|place| place.column),
            "message": problem.message(),
        })
    };
    let text = arguments.format.of(
        |_| format!("{error}\n"),
        || json!({ "services": [], "problems": error.problems().iter().map(placed).collect::<Vec<_>>() }),
    );
    Answer { text, code: 1, ..Answer::default() }
}

/// A service, and what it said when it was connected to.
struct Met<'m> {
    listed: &'m Listed,
    /// That it could not be reached, or which of its configured tools it does not have.
    problems: Vec<String>,
}

impl<'m> Met<'m> {
    fn of(config: &Config, listed: &'m Listed) -> Self {
        let problems = match &listed.tools {
            Ok(tools) => {
                let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
                let configured = config.services.get(&listed.name).into_iter().flat_map(|service| service.tools.keys());
                let missing = configured.filter(|name| !names.contains(&name.as_str()));
                missing.map(|name| format!("the server has no tool `{name}`; {}", did_you_mean(name, &names))).collect()
            }
            Err(error) => vec![error.to_string()],
        };
        Self { listed, problems }
    }

    fn text(&self) -> String {
        let elapsed = self.listed.elapsed;
        let mut text = match &self.listed.tools {
            Ok(tools) => {
                let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
                let colon = if names.is_empty() { "" } else { ": " };
                wrapped(&format!("connected in {elapsed:.1?}, {} tools{colon}{}", tools.len(), names.join(", ")), "  ")
            }
            Err(_) => format!("  not connected after {elapsed:.1?}\n"),
        };
        for problem in &self.problems {
            let _ = writeln!(text, "  problem: {problem}");
        }
        text
    }

    fn json(&self) -> Value {
        let tools = self.listed.tools.as_ref().ok();
        let names = tools.map(|tools| tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>());
        json!({
            "connected": tools.is_some(),
            "elapsed": self.listed.elapsed.as_secs_f64(),
            "tools": names,
            "problems": self.problems,
        })
    }
}
