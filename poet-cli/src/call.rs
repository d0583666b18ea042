//! `poet call`: one call of a tool, through every stage of the runtime.

use crate::arguments::Arguments;
use crate::database::named;
use crate::schema;
use crate::services::{self, Server, UNNAMED};
use crate::{Answer, Refusal};
use clap::Args;
use poet_domains::mcp::{McpResource, ToolInfo};
use poet_runtime::config::{Config, Pins, did_you_mean, parse_duration};
use poet_runtime::parameter::ATTEMPT_TIMEOUT;
use poet_runtime::{Disposition, Error, Reply, Runtime};
use serde_json::{Map, Value};
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const EXAMPLES: &str = "\
Examples:
  poet call salesforce_crm get_contact id=7 verbose=true
  poet call salesforce_crm update_contact --json '{\"id\": 7, \"tags\": [\"new\"]}'
  poet call salesforce_crm update_contact --json @contact.json --idempotent --deadline 5s
  poet call --url http://localhost:3001/mcp echo message='hello there'
  poet call echo message=hello -- npx -y @modelcontextprotocol/server-everything
  poet call search query=poet --env API_KEY -- search-server

A NAME=VALUE is read as what the tool's schema says the argument is: a number, `true`, JSON, or else a text. Names and
kinds are checked before anything is sent. `poet tools SERVICE` says what a tool takes.

The answer is JSON on standard output; what it took is one line on standard error. The call is made with what was learned
where a database is named (--db, POET_DB, or `path` under `[store]`), and what comes of it is written down there; without
one, nothing of it is kept, and it is never put off.

Exit codes:
  0  the tool answered
  1  the tool or its server failed, or cannot be reached
  2  the command cannot be understood: no such service, tool or argument, or a configuration that is wrong
  3  nobody knows whether it was executed, and it is not known to be repeatable: look before you call again
  4  it was put off, and the line says under which number: see `poet queue show`
  5  there was no answer in time
  6  it was refused for now: the circuit is open, or the service asked to be left alone";

const USAGE: &str = "\
poet call [OPTIONS] SERVICE TOOL [NAME=VALUE]...
       poet call [OPTIONS] --url URL TOOL [NAME=VALUE]...
       poet call [OPTIONS] TOOL [NAME=VALUE]... -- COMMAND...";

#[derive(Clone, Debug, Args)]
#[command(override_usage = USAGE)]
pub(crate) struct Call {
    /// The service (not where --url or -- COMMAND names the server), the tool, and its arguments
    #[arg(value_name = "SERVICE TOOL NAME=VALUE")]
    words: Vec<String>,
    /// The arguments as a JSON object: itself, `@FILE`, or `-` for standard input
    #[arg(long, value_name = "JSON")]
    json: Option<String>,
    /// The longest one attempt may take, such as 500ms or 3s
    #[arg(long, value_name = "DURATION", value_parser = attempt)]
    timeout: Option<Duration>,
    /// The longest all may take, connecting, waits and retries included [default: the configuration's, 30s]
    #[arg(long, value_name = "DURATION", value_parser = whole)]
    deadline: Option<Duration>,
    /// Executing it twice does no more than executing it once
    #[arg(long)]
    idempotent: bool,
    #[command(flatten)]
    server: Server,
}

fn attempt(written: &str) -> Result<Duration, String> {
    Pins::parse(&ATTEMPT_TIMEOUT, written).map(Duration::from_secs_f64)
}

fn whole(written: &str) -> Result<Duration, String> {
    let duration = parse_duration(written).filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| format!("expected a duration such as \"500ms\", \"3s\" or \"1m\", found `{written}`"))
}

/// The call that is meant.
struct Order {
    service: String,
    tool: String,
    given: Given,
}

/// Its arguments, as they were given.
#[derive(Debug, PartialEq)]
enum Given {
    Typed(Vec<(String, String)>),
    Json(Map<String, Value>),
}

pub(crate) fn run(call: &Call, arguments: &Arguments) -> Result<Answer, Refusal> {
    let (mut config, is_unnamed) = call.server.config(arguments)?;
    let (service, tool, typed) = words(&call.words, is_unnamed)?;
    let service = services::find(&config, service)?.name.clone();
    let order = Order { service, tool: tool.to_owned(), given: given(call, typed)? };
    let database = database(arguments, &config, is_unnamed);
    if database.is_none() {
        put_nothing_off(&mut config);
    }
    services::block_on(async {
        let runtime = services::runtime(config, database.as_deref())?;
        let answer = runtime.scope(order.make(call, &runtime)).await;
        let _ = runtime.shutdown(services::LAST_WORDS).await;
        answer
    })?
}

/// The service, the tool and the arguments among the words.
fn words(words: &[String], is_unnamed: bool) -> Result<(&str, &str, &[String]), Refusal> {
    match words {
        [tool, typed @ ..] if is_unnamed => Ok((UNNAMED, tool, typed)),
        [service, tool, typed @ ..] => Ok((service, tool, typed)),
        _ => Err(Refusal::usage(
            "which tool? write `poet call SERVICE TOOL`, or only the tool beside `--url` or `-- COMMAND`; `poet tools` lists \
             them",
        )),
    }
}

fn given(call: &Call, typed: &[String]) -> Result<Given, Refusal> {
    let Some(json) = &call.json else {
        return pairs(typed).map(Given::Typed).map_err(Refusal::usage);
    };
    if let Some(pair) = typed.first() {
        let message = format!("`{pair}` and `--json` both give arguments; write all of them in one way");
        return Err(Refusal::usage(message));
    }
    let text = match json.strip_prefix('@') {
        _ if json == "-" => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map(|_| text).map_err(|error| Refusal::usage(format!("reading standard input: {error}")))?
        }
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| Refusal::usage(format!("reading {path}: {error}")))?
        }
        None => json.clone(),
    };
    object(&text).map(Given::Json).map_err(|problem| Refusal::usage(format!("`--json`: {problem}")))
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(arguments)) => Ok(arguments),
        Ok(_) => Err("expected an object such as {\"id\": 7}".to_owned()),
        Err(error) => Err(format!("expected an object such as {{\"id\": 7}}: {error}")),
    }
}

fn pairs(typed: &[String]) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for word in typed {
        let (name, value) = match word.split_once('=') {
            _ if word.starts_with('{') => Err(format!("expected NAME=VALUE, found `{word}`; JSON is given by --json")),
            Some(pair) => Ok(pair),
            None => Err(format!("expected NAME=VALUE, found `{word}`")),
        }?;
        if pairs.iter().any(|(known, _)| known == name) {
            return Err(format!("`{name}` is given twice"));
        }
        pairs.push((name.to_owned(), value.to_owned()));
    }
    Ok(pairs)
}

/// Where what comes of the call is written down, if anywhere. A server that stands in no configuration is no business of
/// the program's database, unless that is named for it.
fn database(arguments: &Arguments, config: &Config, is_unnamed: bool) -> Option<PathBuf> {
    if is_unnamed {
        return arguments.db.clone();
    }
    named(arguments, std::env::var_os("POET_DB")).or_else(|| config.store.path.clone())
}

/// A job that is in memory only would end with the command, and nobody would have made the call.
fn put_nothing_off(config: &mut Config) {
    for tool in config.services.values_mut().flat_map(|service| service.tools.values_mut()) {
        tool.deferrable = None;
        tool.queued = None;
    }
}

impl Order {
    async fn make(&self, call: &Call, runtime: &Runtime) -> Result<Answer, Refusal> {
        let began = runtime.clock().now();
        let resource = McpResource::new(self.service.clone());
        let tools = within(call.deadline, resource.list_tools()).await?;
        let arguments = self.arguments(&tools)?;
        let mut request = resource.tool(&self.tool).args(arguments);
        if let Some(deadline) = call.deadline {
            let spent = runtime.clock().now().saturating_duration_since(began);
            request = request.deadline(deadline.saturating_sub(spent));
        }
        if let Some(timeout) = call.timeout {
            request = request.timeout(timeout);
        }
        if call.idempotent {
            request = request.idempotent();
        }
        match request.call().await {
            Ok(reply) => Ok(answer(&reply)),
            Err(error) => Err(failed(&error)),
        }
    }

    /// The arguments, once they are what the tool takes.
    fn arguments(&self, tools: &[ToolInfo]) -> Result<Map<String, Value>, Refusal> {
        let Self { service, tool, given } = self;
        let Some(known) = tools.iter().find(|known| known.name == *tool) else {
            let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
            let instead = if names.is_empty() { "it has none".to_owned() } else { did_you_mean(tool, &names) };
            return Err(Refusal::usage(format!("{service} has no tool `{tool}`; {instead}")));
        };
        let (arguments, problems) = match given {
            Given::Typed(typed) => match schema::read(&known.input_schema, typed) {
                Ok(arguments) => (arguments, Vec::new()),
                Err(problems) => (Map::new(), problems),
            },
            Given::Json(arguments) => (arguments.clone(), schema::check(&known.input_schema, arguments)),
        };
        if problems.is_empty() {
            return Ok(arguments);
        }
        Err(Refusal::usage(format!("nothing was sent to {tool} of {service}:\n  {}", problems.join("\n  "))))
    }
}

/// What the server says, if it says it in time.
async fn within<T>(limit: Option<Duration>, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Refusal> {
    let answered = match limit {
        Some(limit) => tokio::time::timeout(limit, asked).await.map_err(|_| Refusal {
            message: format!("not connected within {limit:?}; nothing was sent"),
            code: LATE,
        })?,
        None => asked.await,
    };
    answered.map_err(|error| failed(&error))
}

const FAILED: u8 = 1;
const MISUNDERSTOOD: u8 = 2;
const UNKNOWN: u8 = 3;
const PUT_OFF: u8 = 4;
const LATE: u8 = 5;
const REFUSED: u8 = 6;

fn answer(reply: &Reply) -> Answer {
    let came = match reply.disposition() {
        Disposition::Done => "answered by the service".to_owned(),
        Disposition::Cached { age } => format!("answered from the cache, {age:.1?} old"),
        Disposition::Coalesced => "answered with an identical call".to_owned(),
        Disposition::Batched { size } => format!("made with {} others", size.saturating_sub(1)),
        Disposition::Deferred(ticket) => format!("put off until {}: poet queue show {}", ticket.due(), ticket.id()),
        Disposition::Queued(ticket) => format!("left to a worker: poet queue show {}", ticket.id()),
        Disposition::Fallback { reason } => format!("answered by a fallback, because {reason}"),
        other => format!("{other:?}"),
    };
    Answer {
        text: format!("{:#}\n", reply.value()),
        aside: took(reply.attempts(), reply.elapsed(), &came),
        code: if reply.is_pending() { PUT_OFF } else { 0 },
    }
}

fn failed(error: &Error) -> Refusal {
    let message = match error.attempts() {
        0 => error.to_string(),
        attempts => took(attempts, error.elapsed(), &error.to_string()),
    };
    Refusal { message, code: code(error) }
}

fn took(attempts: u32, elapsed: Duration, came: &str) -> String {
    let plural = if attempts == 1 { "" } else { "s" };
    format!("{attempts} attempt{plural}, {elapsed:.1?}: {came}")
}

fn code(error: &Error) -> u8 {
    if error.is_configuration() {
        MISUNDERSTOOD
    } else if error.is_outcome_unknown() {
        UNKNOWN
    } else if error.is_pending() {
        PUT_OFF
    } else if error.is_timeout() || error.is_deadline() {
        LATE
    } else if error.is_circuit_open() || error.is_crowded() || error.is_throttled() || error.is_budget_exhausted() {
        REFUSED
    } else {
        FAILED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use poet_runtime::Class;
    use poet_runtime::Priority;
    use poet_runtime::config::{ServiceConfig, ToolConfig};
    use serde_json::json;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_pair_is_cut_at_its_first_equals_sign() {
        let given = pairs(&strings(&["a=b=c", "d="])).unwrap();
        assert_eq!(given, [("a".to_owned(), "b=c".to_owned()), ("d".to_owned(), String::new())]);
        assert_eq!(pairs(&strings(&["a"])).unwrap_err(), "expected NAME=VALUE, found `a`");
        let json = pairs(&strings(&[r#"{"a":"b=c"}"#])).unwrap_err();
        assert!(json.ends_with("; JSON is given by --json"), "{json}");
        assert_eq!(pairs(&strings(&["a=1", "a=2"])).unwrap_err(), "`a` is given twice");
    }

    #[test]
    fn the_service_is_left_out_where_the_server_is_named_otherwise() {
        let all = strings(&["crm", "get", "id=7"]);
        assert_eq!(words(&all, false).unwrap(), ("crm", "get", &all[2..]));
        assert_eq!(words(&all[1..], true).unwrap(), (UNNAMED, "get", &all[2..]));
        assert_eq!(words(&all[..1], false).unwrap_err().code, MISUNDERSTOOD);
    }

    #[test]
    fn arguments_as_json_are_an_object() {
        assert_eq!(object("{\"id\": 7}").unwrap().get("id"), Some(&json!(7)));
        assert!(object("[7]").unwrap_err().starts_with("expected an object"));
        assert!(object("{id: 7}").unwrap_err().contains("line 1 column 2"));
    }

    #[test]
    fn every_kind_of_failure_has_its_code() {
        for (error, expected) in [
            (Error::configuration("no such service"), MISUNDERSTOOD),
            (Error::denied("no"), FAILED),
            (Error::service(Class::Permanent, "no"), FAILED),
            (Error::invalid_response("no"), FAILED),
        ] {
            assert_eq!(code(&error), expected, "{error}");
        }
    }

    #[test]
    fn what_would_be_lost_is_not_put_off() {
        let tool = ToolConfig::default().deferrable().queued(Priority::High);
        let mut config = Config::default().service(ServiceConfig::http("crm", "http://crm").tool("update", tool));
        put_nothing_off(&mut config);
        assert_eq!(config.services["crm"].tools["update"], ToolConfig::default());
    }

    #[test]
    fn a_limit_is_a_duration_with_its_unit() {
        assert_eq!(whole("1.5s"), Ok(Duration::from_millis(1_500)));
        assert!(whole("0s").is_err() && whole("30").is_err());
        assert_eq!(attempt("250ms"), Ok(Duration::from_millis(250)));
        assert!(attempt("1h").is_err());
    }
}
