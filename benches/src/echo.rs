//! A server of two tools, for calls that cost what the way there and back costs: over streamable HTTP on the loopback
//! device, answering with events or with JSON, and over standard input and output.

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer, ServerInitializeError};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler};
use serde_json::Value;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Answers at once with its arguments.
pub const ECHO: &str = "echo";
/// Answers with its arguments after [`SLOWLY`].
pub const SLOW: &str = "slow";
/// How long the slow tool takes.
pub const SLOWLY: Duration = Duration::from_millis(200);

/// The server.
#[derive(Clone, Copy, Debug)]
pub struct Echo;

impl ServerHandler for Echo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |name| {
            let schema = [("type".to_owned(), Value::from("object"))].into_iter().collect();
            Tool::new_with_raw(name, None, Arc::new(schema))
        };
        Ok(ListToolsResult::with_all_items(vec![tool(ECHO), tool(SLOW)]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if request.name == SLOW {
            tokio::time::sleep(SLOWLY).await;
        }
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        Ok(CallToolResult::structured(arguments).into())
    }
}

/// Serves over streamable HTTP from a thread of its own until the program ends; returns the address.
///
/// # Errors
///
/// The operating system's, if it has no port or no thread for it.
pub fn over_http(json: bool) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = async move {
        use axum::serve::ListenerExt;
        let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(|stream| {
            // Else the second half of a short answer waits for the acknowledgement of the first.
            let _ = stream.set_nodelay(true);
        });
        let config = StreamableHttpServerConfig::default().with_legacy_session_mode(!json).with_json_response(json);
        let service = StreamableHttpService::new(|| Ok(Echo), Arc::new(LocalSessionManager::default()), config);
        axum::serve(listener, axum::Router::new().fallback_service(service)).await
    };
    thread::Builder::new().name("echo".to_owned()).spawn(move || runtime.block_on(serve))?;
    Ok(url)
}

/// Serves over standard input and output until the input ends.
///
/// # Errors
///
/// If the client does not begin as the protocol says.
pub async fn over_stdio() -> Result<(), Box<ServerInitializeError>> {
    let serving = rmcp::serve_server(Echo, rmcp::transport::stdio()).await.map_err(Box::new)?;
    let _ = serving.waiting().await;
    Ok(())
}
