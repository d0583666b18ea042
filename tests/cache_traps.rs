//! Answers that must not come from memory: a clock, a state after a change, a read after a write, somebody else's.
//!
//! The server is a real one over HTTP, trusted, and its hints are what servers in the field say: a clock and a status
//! are truthfully marked read-only and idempotent. That makes them safe to ask again, and never safe to remember.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are part of the test")]

use poet::config::{CacheConfig, Config, ServiceConfig, ToolConfig};
use poet::mcp::McpResource;
use poet::{Disposition, Error, Reply, Runtime};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A notebook with a clock: every tool says what it truly is.
#[derive(Clone, Debug, Default)]
struct Notebook {
    clock: Arc<AtomicU64>,
    notes: Arc<Mutex<HashMap<String, u64>>>,
    reads: Arc<AtomicU64>,
}

impl Notebook {
    async fn answer(&self, tool: &str, key: &str, token: &str) -> CallToolResult {
        let notes = || self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        match tool {
            "now" => CallToolResult::structured(json!({ "ticks": self.clock.fetch_add(1, Ordering::SeqCst) })),
            "status" => CallToolResult::structured(json!({ "notes": notes().len() })),
            "whoami" => CallToolResult::structured(json!({ "token": token })),
            "read" => {
                self.reads.fetch_add(1, Ordering::SeqCst);
                let before = notes().get(key).copied();
                // A write may come in between: what was read then is old before it arrives.
                tokio::time::sleep(Duration::from_millis(15)).await;
                match before {
                    Some(value) => CallToolResult::structured(json!({ "value": value })),
                    None => CallToolResult::error(vec![ContentBlock::text("404 Not Found: no such note")]),
                }
            }
            _ => {
                let value = {
                    let mut notes = notes();
                    let value = notes.entry(key.to_owned()).or_default();
                    *value += 1;
                    *value
                };
                if tool == "write_and_vanish" {
                    std::future::pending::<()>().await;
                }
                CallToolResult::structured(json!({ "value": value }))
            }
        }
    }
}

impl ServerHandler for Notebook {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = Arc::new(json!({ "type": "object" }).as_object().unwrap().clone());
        let tool = |name: &'static str, reads: bool| {
            let hints = ToolAnnotations::new().read_only(reads).idempotent(reads).destructive(false);
            Tool::new(name, "", schema.clone()).annotate(hints)
        };
        let tools = [("now", true), ("status", true), ("whoami", true), ("read", true), ("write", false)];
        let mut tools: Vec<_> = tools.into_iter().map(|(name, reads)| tool(name, reads)).collect();
        tools.push(tool("write_and_vanish", false));
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let key = arguments.get("key").and_then(Value::as_str).unwrap_or_default();
        let parts = context.extensions.get::<http::request::Parts>();
        let token = parts.and_then(|parts| parts.headers.get("authorization")?.to_str().ok()).unwrap_or_default();
        Ok(self.answer(&request.name, key, token).await.into())
    }
}

/// Serves a notebook until the test ends; returns where.
async fn serve(notebook: &Notebook) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let notebook = notebook.clone();
    let service: StreamableHttpService<Notebook, LocalSessionManager> = StreamableHttpService::new(
        move || Ok(notebook.clone()),
        Arc::default(),
        StreamableHttpServerConfig::default().with_json_response(true),
    );
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().nest_service("/mcp", service)).await });
    format!("http://{address}/mcp")
}

/// Kept for as long as is stated: where it is learned, some of the hits are asked again to learn from.
fn kept() -> CacheConfig {
    CacheConfig { ttl: Some(Duration::from_secs(300)), ..CacheConfig::default() }
}

fn runtime(services: impl IntoIterator<Item = ServiceConfig>) -> Runtime {
    let config = services.into_iter().fold(Config::default(), Config::service);
    Runtime::builder().configuration(config).in_memory().seed(7).build().unwrap()
}

async fn call(runtime: &Runtime, service: &'static str, tool: &str, key: &str) -> Result<Reply, Error> {
    runtime.scope(McpResource::new(service).call_tool(tool, json!({ "key": key }))).await
}

fn notes(url: &str) -> ServiceConfig {
    let write = || ToolConfig::default().invalidates("read");
    ServiceConfig::http("notes", url)
        .trusted()
        .tool("read", ToolConfig::default().read_only().cache(kept()))
        .tool("write", write())
        .tool("write_and_vanish", ToolConfig { deadline: Some(Duration::from_millis(100)), ..write() })
}

#[tokio::test]
async fn a_clock_that_is_truthfully_read_only_is_asked_every_time() {
    let url = serve(&Notebook::default()).await;
    let runtime = runtime([notes(&url)]);
    for expected in 0..20 {
        let reply = call(&runtime, "notes", "now", "").await.unwrap();
        assert_eq!(reply.value()["ticks"], expected);
        assert_eq!(reply.disposition(), &Disposition::Done);
    }
}

#[tokio::test]
async fn a_status_after_a_change_shows_the_change() {
    let url = serve(&Notebook::default()).await;
    let runtime = runtime([notes(&url)]);
    for expected in 1..20 {
        call(&runtime, "notes", "write", &format!("note {expected}")).await.unwrap();
        assert_eq!(call(&runtime, "notes", "status", "").await.unwrap().value()["notes"], expected);
    }
}

#[tokio::test]
async fn a_read_after_a_write_shows_what_was_written_although_reads_are_remembered() {
    let notebook = Notebook::default();
    let runtime = runtime([notes(&serve(&notebook).await)]);
    for expected in 1..20 {
        call(&runtime, "notes", "write", "a").await.unwrap();
        for _ in 0..3 {
            assert_eq!(call(&runtime, "notes", "read", "a").await.unwrap().value()["value"], expected);
        }
    }
    assert_eq!(notebook.reads.load(Ordering::SeqCst), 19, "two of three reads came from memory");
}

#[tokio::test]
async fn a_read_that_raced_a_write_is_not_remembered() {
    let runtime = runtime([notes(&serve(&Notebook::default()).await)]);
    call(&runtime, "notes", "write", "a").await.unwrap();
    for expected in 2..12 {
        let racing = call(&runtime, "notes", "read", "a");
        let writing = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            call(&runtime, "notes", "write", "a").await.unwrap();
        };
        let (_, ()) = tokio::join!(racing, writing);
        assert_eq!(call(&runtime, "notes", "read", "a").await.unwrap().value()["value"], expected);
    }
}

#[tokio::test]
async fn after_a_write_of_which_nobody_knows_whether_it_was_done_the_old_answer_is_not_given() {
    let runtime = runtime([notes(&serve(&Notebook::default()).await)]);
    call(&runtime, "notes", "write", "a").await.unwrap();
    for expected in 2..6 {
        assert_eq!(call(&runtime, "notes", "read", "a").await.unwrap().value()["value"], expected - 1);
        let lost = call(&runtime, "notes", "write_and_vanish", "a").await.unwrap_err();
        assert!(lost.is_outcome_unknown(), "{lost}");
        assert_eq!(call(&runtime, "notes", "read", "a").await.unwrap().value()["value"], expected);
    }
}

#[tokio::test]
async fn what_one_identity_was_told_is_not_told_to_another() {
    let url = serve(&Notebook::default()).await;
    let whoami = |name: &str, token: &str| {
        let service = ServiceConfig::http(name, &url).auth_token(token.to_owned());
        service.tool("whoami", ToolConfig::default().read_only().cache(kept()))
    };
    let runtime = runtime([whoami("mine", "alice"), whoami("theirs", "bob")]);
    for _ in 0..2 {
        for (service, token) in [("mine", "Bearer alice"), ("theirs", "Bearer bob")] {
            assert_eq!(call(&runtime, service, "whoami", "").await.unwrap().value()["token"], token);
        }
    }
}

#[tokio::test]
async fn an_error_is_not_remembered() {
    let runtime = runtime([notes(&serve(&Notebook::default()).await)]);
    assert!(call(&runtime, "notes", "read", "new").await.is_err());
    call(&runtime, "notes", "write", "other").await.unwrap();
    assert!(call(&runtime, "notes", "read", "new").await.is_err());
    call(&runtime, "notes", "write", "new").await.unwrap();
    assert_eq!(call(&runtime, "notes", "read", "new").await.unwrap().value()["value"], 1);
}
