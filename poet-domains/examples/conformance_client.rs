//! The client that the conformance suite of MCP drives, so that what the suite checks has passed every stage of the
//! runtime.
//!
//! ```text
//! npm install @modelcontextprotocol/conformance            (needs Node 22)
//! conformance client --command target/debug/examples/conformance_client --scenario tools_call
//! ```

use poet_domains::mcp::McpResource;
use poet_runtime::Runtime;
use poet_runtime::config::{Config, ServiceConfig};
use serde_json::{Value, json};
use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().next_back().ok_or("the address of the server is the last argument")?;
    let context = std::env::var("MCP_CONFORMANCE_CONTEXT").unwrap_or_default();
    let context: Value = serde_json::from_str(&context).unwrap_or_default();
    let config = Config::default().service(ServiceConfig::http("conformance", url));
    let runtime = Runtime::builder().configuration(config).in_memory().build()?;
    runtime.scope(run(&context)).await
}

async fn run(context: &Value) -> Result<(), Box<dyn Error>> {
    let server = McpResource::new("conformance");
    let tools = server.list_tools().await?;
    // Some scenarios say what is to be called; the others have one tool or two with arguments everybody knows.
    let calls: Vec<(String, Value)> = match context["toolCalls"].as_array() {
        Some(calls) => calls.iter().map(|call| (name(&call["name"]), call["arguments"].clone())).collect(),
        None => tools.into_iter().map(|tool| (tool.name, json!({ "a": 5, "b": 3 }))).collect(),
    };
    for (tool, arguments) in calls {
        if let Err(error) = server.call_tool(&tool, arguments).await {
            tracing::warn!(tool, %error, "the call failed");
        }
    }
    Ok(())
}

fn name(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
