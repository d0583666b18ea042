//! The loop of a call that is put off, closed: a service is down, the program ends, and a later one makes the calls.
//!
//! The service is a real MCP server over HTTP. While it is down nobody listens at its address. Its tool is one that
//! must not be called twice, so the server's own count says whether it was.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are part of the test")]

use poet::config::{Config, QueueConfig, ServiceConfig};
use poet::defer::{Filter, Job, JobId, Reason, State};
use poet::mcp::McpResource;
use poet::{Error, Reply, Runtime, poet};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpSocket;

/// A shop that counts the orders it was given.
#[derive(Clone, Debug, Default)]
struct Shop(Arc<Mutex<BTreeMap<String, u32>>>);

impl ServerHandler for Shop {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = Arc::new(json!({ "type": "object" }).as_object().unwrap().clone());
        Ok(ListToolsResult::with_all_items(vec![Tool::new("order", "Orders one.", schema)]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let article = arguments.get("article").and_then(Value::as_str).unwrap_or_default();
        let mut orders = self.0.lock().unwrap();
        *orders.entry(article.to_owned()).or_default() += 1;
        Ok(CallToolResult::structured(json!({ "confirmed": article, "number": orders.len() })).into())
    }
}

/// An address that is the shop's, but at which nobody listens yet.
fn closed() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn open(shop: &Shop, address: TcpSocket) {
    let (shop, listener) = (shop.clone(), address.listen(64).unwrap());
    let service: StreamableHttpService<Shop, LocalSessionManager> = StreamableHttpService::new(
        move || Ok(shop.clone()),
        Arc::default(),
        StreamableHttpServerConfig::default().with_json_response(true),
    );
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().nest_service("/mcp", service)).await });
}

/// What a program that uses the shop configures; quick, so that the story is short.
fn runtime(database: &Path, shop: SocketAddr) -> Runtime {
    let queue = QueueConfig { backoff: Duration::from_millis(300), ..QueueConfig::default() };
    let shop = ServiceConfig::http("shop", format!("http://{shop}/mcp"))
        .pin("retry.base_delay", 0.01)
        .pin("breaker.open_for", 1);
    let config = Config { queue, ..Config::default() }.service(shop);
    let builder = Runtime::builder().configuration(config).profile(&poet::domains::MCP_INTEGRATION);
    builder.database(database).seed(7).build().unwrap()
}

#[poet(domain = "mcp_integration", deferrable)]
async fn order(article: &str) -> Result<(Reply, Vec<String>), Error> {
    let reply = McpResource::new("shop").call_tool("order", json!({ "article": article })).await?;
    Ok((reply, poet::warnings()))
}

const ARTICLES: [&str; 6] = ["bread", "cheese", "grapes", "ham", "olives", "wine"];

/// Orders everything from a shop that is closed, in a runtime that ends with it; returns the jobs, by their articles,
/// with what their callers were told.
async fn while_it_is_closed(database: &Path, shop: SocketAddr) -> Vec<(JobId, Reason, Vec<String>)> {
    let runtime = runtime(database, shop);
    let mut put_off = Vec::new();
    for article in ARTICLES {
        let (reply, warnings) = runtime.scope(order(article)).await.unwrap();
        let ticket = reply.disposition().ticket().expect(article);
        assert_eq!(ticket.record()["status"], "deferred");
        put_off.push((ticket.job(), ticket.reason(), warnings));
    }
    runtime.shutdown(Duration::from_secs(5)).await.unwrap();
    put_off
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_off_while_a_service_was_down_is_made_once_by_a_later_program() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("poet.db");
    let (shop, (socket, address)) = (Shop::default(), closed());

    let put_off = while_it_is_closed(&database, address).await;
    // The first finds out that nobody is there; from the moment on at which the circuit is open nothing is even tried.
    for (_, reason, warnings) in &put_off {
        let expected: &[_] = match reason {
            Reason::ServiceDegraded => &["shop_order_deferred_service_health"],
            _ => &["shop_order_retried", "shop_order_deferred_failed"],
        };
        assert_eq!(warnings, expected);
    }
    let reasons: Vec<_> = put_off.iter().map(|(_, reason, _)| *reason).collect();
    assert_eq!((reasons[0], reasons[5]), (Reason::Failed, Reason::ServiceDegraded));
    assert!(shop.0.lock().unwrap().is_empty());

    open(&shop, socket);
    let runtime = runtime(&database, address);
    let answers: Vec<Value> = runtime
        .scope(async {
            let mut answers = Vec::new();
            for (id, ..) in &put_off {
                let ticket = runtime.queue().ticket(*id).await.unwrap().unwrap();
                answers.push(ticket.wait(Duration::from_secs(20)).await.unwrap().value().clone());
            }
            answers
        })
        .await;

    let confirmed: Vec<_> = answers.iter().map(|answer| answer["confirmed"].as_str().unwrap()).collect();
    assert_eq!(confirmed, ARTICLES);
    let counted: Vec<_> = shop.0.lock().unwrap().clone().into_iter().collect();
    assert_eq!(counted, ARTICLES.map(|article| (article.to_owned(), 1)));

    let mut jobs: Vec<Job> = runtime.queue().list(&Filter::default(), 100).await.unwrap();
    jobs.sort_by_key(|job| ARTICLES.iter().position(|article| job.result.as_ref().unwrap()["confirmed"] == **article));
    assert_eq!(jobs.len(), ARTICLES.len());
    for (job, (id, reason, _)) in jobs.iter().zip(&put_off) {
        assert_eq!((job.id, job.state, job.reason, job.repeatable), (*id, State::Done, *reason, false));
        assert_eq!((job.service.as_str(), job.operation.as_str()), ("shop", "order"));
        let (put_off_by, made_by) = (job.execution.as_ref().unwrap(), job.owner.as_ref().unwrap());
        assert!(!put_off_by.starts_with(made_by), "another program made it: {job:?}");
        assert!(job.arguments.is_none(), "{job:?}");
    }
    let counts = runtime.queue().counts().await.unwrap();
    assert_eq!((counts.of(State::Done), counts.live()), (6, 0));
}
