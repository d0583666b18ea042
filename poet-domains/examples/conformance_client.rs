//! The client that the conformance suite of MCP drives, so that what the suite checks has passed the attribute and
//! every stage of the runtime: attempts, cache and learning are on.
//!
//! ```text
//! tests/peers/run conformance
//! ```

use poet_domains::MCP_INTEGRATION;
use poet_domains::mcp::{Answering, Consent, Consenting, Limits, OAuth, Person, Question, Session, Target, ToolInfo};
use poet_macros::poet;
use poet_runtime::config::{Config, ServiceConfig};
use poet_runtime::service::Request;
use poet_runtime::{Learning, Runtime};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What expansions of the attribute name: here, as in any crate, whatever `crate = …` says.
mod poet {
    pub(crate) use poet_domains as domains;
    pub(crate) use poet_runtime::__private;
}

const SERVICE: &str = "conformance";

/// Agrees to whatever a tool proposes.
#[derive(Debug)]
struct Agreeing;

impl Person for Agreeing {
    fn answer(&self, question: Question) -> Answering<'_> {
        Box::pin(async move { Some(question.defaults()) })
    }
}

/// Consents to whatever page it is shown: the suite's page sends at once to where a person would be sent after it.
#[derive(Debug)]
struct Consenter;

impl Consent for Consenter {
    fn ask<'a>(&'a self, page: &'a str) -> Consenting<'a> {
        Box::pin(async move { redirect_of(page).await.ok().flatten() })
    }
}

/// Where a page sends whoever asks for it.
async fn redirect_of(page: &str) -> Result<Option<String>, Box<dyn std::error::Error + Send + Sync>> {
    let page: http::Uri = page.parse()?;
    let authority = page.authority().ok_or("a page without a host")?;
    let path = page.path_and_query().ok_or("a page without a path")?;
    let mut stream = TcpStream::connect(authority.as_str()).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    let headers = response.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(": "));
    let location = headers.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("location"));
    Ok(location.map(|(_, address)| address.to_owned()))
}

/// How a token is asked for: as a client that the suite knows, where it says so.
fn oauth(context: &Value) -> OAuth {
    let oauth = OAuth::new("http://localhost:3000/callback", Consenter)
        .described_at("https://conformance-test.local/client-metadata.json");
    match context["client_id"].as_str() {
        Some(client) => oauth.registered(client, context["client_secret"].as_str().map(str::to_owned)),
        None => oauth,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().next_back().ok_or("the address of the server is the last argument")?;
    let context = std::env::var("MCP_CONFORMANCE_CONTEXT").unwrap_or_default();
    let context: Value = serde_json::from_str(&context).unwrap_or_default();
    let config = Config::default().service(ServiceConfig::http(SERVICE, &url));
    let runtime = Runtime::builder().configuration(config).in_memory().learning(Learning::On).build()?;
    let session =
        Session::new(Target::http(url).attended_by(Agreeing).authorized_by(oauth(&context)), Limits::default());
    runtime.scope(run(&session, &context)).await
}

async fn run(session: &Session, context: &Value) -> Result<(), Box<dyn std::error::Error>> {
    let tools = session.list_tools(Instant::now() + Duration::from_secs(20)).await?;
    for (tool, arguments) in calls(&tools, context) {
        if let Err(error) = call(session, &tool, arguments).await {
            tracing::warn!(tool, %error, "the call failed");
        }
    }
    Ok(())
}

/// Some scenarios say what is to be called; the others have one tool or two with arguments everybody knows.
fn calls(tools: &[ToolInfo], context: &Value) -> Vec<(String, Map<String, Value>)> {
    let object = |value: Value| if let Value::Object(object) = value { object } else { Map::new() };
    if let Some(calls) = context["toolCalls"].as_array() {
        let name = |call: &Value| call["name"].as_str().unwrap_or_default().to_owned();
        return calls.iter().map(|call| (name(call), object(call["arguments"].clone()))).collect();
    }
    // One wants the schema of its other tool back, as it arrived.
    let schema = tools.iter().find(|tool| tool.name == "json_schema_2020_12_tool").map(|tool| &tool.input_schema);
    let arguments = |tool: &ToolInfo| match schema {
        Some(schema) => object(json!({ "schema": schema })),
        None => made_up(&tool.input_schema),
    };
    tools.iter().map(|tool| (tool.name.clone(), arguments(tool))).collect()
}

/// Arguments that a tool takes: every one that it wants, of the kind that it wants.
fn made_up(schema: &Value) -> Map<String, Value> {
    let kind = |name: &str| match schema["properties"][name]["type"].as_str() {
        Some("number" | "integer") => json!(5),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => json!("some"),
    };
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    required.map(|name| (name.to_owned(), kind(name))).collect()
}

/// Calls a tool. What the suite offers may all be called twice, and its answers kept.
#[poet(
    crate = crate::poet,
    domain = "mcp_integration",
    service = "conformance",
    operation = "call",
    learning = "on",
    idempotent,
    retries = 2,
    cache = "1m",
    key(tool, arguments)
)]
async fn call(session: &Session, tool: &str, arguments: Map<String, Value>) -> Result<Value, poet_runtime::Error> {
    let request = Request { arguments, ..Request::new(SERVICE, tool, &MCP_INTEGRATION) };
    let reply = Runtime::current().request(request, Arc::new(session.clone())).await?;
    Ok(reply.value().clone())
}
