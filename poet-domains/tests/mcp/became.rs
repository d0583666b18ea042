//! A tool that takes something else than it did is another one; one that is only described in other words is not.

use crate::server::{Asked, Server};
use poet_domains::mcp::McpResource;
use poet_runtime::Runtime;
use poet_runtime::config::{ServiceConfig, ToolConfig};
use poet_runtime::store::{MemoryStore, Store};
use serde_json::{Value, json};

/// A tool whose argument has this schema.
fn tool(id: &Value) -> Value {
    let input = json!({ "type": "object", "properties": { "id": id } });
    json!({ "name": "get", "description": format!("{id}"), "inputSchema": input })
}

#[tokio::test]
async fn another_schema_begins_a_regime_and_other_words_do_not() {
    let server = Server::start(Asked::done).await;
    let store = MemoryStore::new();
    let crm = ServiceConfig::http("crm", server.url());
    let runtime = Runtime::builder().service(crm).store(store.clone()).build().unwrap();
    let mut begun = Vec::new();
    for id in [
        json!({ "type": "string" }),
        json!({ "type": "string", "description": "whose" }),
        json!({ "type": ["string", "integer"] }),
        json!({ "type": "string" }),
    ] {
        server.replace_tools(vec![tool(&id)]);
        // As after a restart: whoever has no session any more connects, and lists the tools anew.
        server.forget_sessions();
        runtime.scope(McpResource::new("crm").call_tool("get", json!({ "id": "7" }))).await.unwrap();
        runtime.flush().await.unwrap();
        begun.push(store.clone().schemas().await.unwrap().iter().map(|row| row.began).collect::<Vec<_>>());
    }
    assert_eq!(begun, [vec![false], vec![false], vec![false, true], vec![false, true]]);
    runtime.shutdown(std::time::Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn what_is_kept_of_a_tool_that_takes_something_else_now_is_asked_for_again() {
    let server = Server::start(Asked::done).await;
    server.replace_tools(vec![tool(&json!({ "type": "string" }))]);
    let crm = ServiceConfig::http("crm", server.url()).tool("get", ToolConfig::default().read_only().cacheable());
    let runtime = Runtime::builder().service(crm).in_memory().build().unwrap();
    let get = async |id: &str| {
        runtime.scope(McpResource::new("crm").call_tool("get", json!({ "id": id }))).await.unwrap();
        server.calls()
    };
    assert_eq!((get("7").await, get("7").await), (1, 1));
    // Described in other words: what is kept holds.
    server.replace_tools(vec![tool(&json!({ "type": "string", "description": "whose" }))]);
    server.forget_sessions();
    assert_eq!((get("8").await, get("7").await), (2, 2));
    server.replace_tools(vec![tool(&json!({ "type": ["string", "integer"] }))]);
    server.forget_sessions();
    assert_eq!((get("9").await, get("7").await, get("7").await), (3, 4, 4));
    runtime.shutdown(std::time::Duration::from_secs(5)).await.unwrap();
}
