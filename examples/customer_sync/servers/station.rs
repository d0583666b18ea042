//! Serves one service over MCP, and does to each call what its pattern says.

use super::ledger::{self, Ledger};
use super::services::Service;
use anyhow::Context;
use poet_simulator::{Call, Failure, Fault, Pattern};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;

/// A service that is ready to be served; clones share its ledger.
#[derive(Clone, Debug)]
pub(crate) struct Station {
    service: &'static Service,
    pattern: Arc<Pattern>,
    ledger: Arc<Mutex<Ledger>>,
}

impl Station {
    /// Opens the service's data in that folder.
    pub(crate) fn open(service: &'static Service, folder: &Path, pattern: Pattern) -> anyhow::Result<Self> {
        let ledger = Ledger::open(folder, service)
            .with_context(|| format!("opening the data of {} in {}", service.name, folder.display()))?;
        Ok(Self { service, pattern: Arc::new(pattern), ledger: Arc::new(Mutex::new(ledger)) })
    }

    /// Serves on standard input and output until the input ends.
    pub(crate) async fn serve_stdio(self) -> anyhow::Result<()> {
        self.serve(rmcp::transport::stdio()).await?.waiting().await?;
        Ok(())
    }

    /// Serves at `/mcp` of the listener, for as long as it is polled.
    pub(crate) async fn serve_http(self, listener: TcpListener) -> std::io::Result<()> {
        let config = StreamableHttpServerConfig::default().with_json_response(true);
        let service: StreamableHttpService<Self, LocalSessionManager> =
            StreamableHttpService::new(move || Ok(self.clone()), Arc::default(), config);
        axum::serve(listener, axum::Router::new().nest_service("/mcp", service)).await
    }

    // SQLite on a local file answers in microseconds and no lock is held across an await, so the calls of a station
    // take turns here instead of moving to threads of their own.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: CallToolRequestParams) -> Result<CallToolResult, ErrorData> {
        let Some(records) = self.service.records(&request.name, request.arguments.unwrap_or_default()) else {
            let (service, tool) = (self.service.name, request.name);
            return Err(ErrorData::invalid_params(format!("{service} has no tool `{tool}`"), None));
        };
        let records = match records {
            Ok(records) => records,
            Err(refusal) => return Ok(error(refusal.to_string())),
        };
        let key = records.first().map(ledger::key).unwrap_or_default();
        let arrival = self
            .ledger()
            .arrive(&key)
            .map_err(|error| ErrorData::internal_error(format!("the ledger cannot be written: {error}"), None))?;
        let (number, attempt) = (arrival.number.into(), arrival.attempt.into());
        let call = Call { number, key: &key, attempt, at: arrival.at };
        let answer = self.pattern.answer(call);
        tokio::time::sleep(answer.after).await;
        match answer.fault {
            Fault::Hang => std::future::pending().await,
            Fault::Fail(failure) => return Ok(self.failed(failure)),
            Fault::None | Fault::DropAfterExecute => {}
        }
        let result = self.ledger().execute(arrival, records);
        if answer.fault == Fault::DropAfterExecute {
            return std::future::pending().await;
        }
        Ok(match result {
            Ok(values) => CallToolResult::structured(self.service.answer(&request.name, values)),
            Err(refusal) => error(refusal.to_string()),
        })
    }

    fn failed(&self, failure: Failure) -> CallToolResult {
        let name = self.service.name;
        error(match failure {
            Failure::Transient => format!("503 Service Unavailable: {name} is temporarily unavailable"),
            Failure::Permanent => format!("422 Unprocessable Content: {name} rejects this record"),
            Failure::Throttled { retry_after: None } => "429 Too Many Requests".to_owned(),
            Failure::Throttled { retry_after: Some(wait) } => {
                format!("429 Too Many Requests: retry after {} seconds", wait.as_secs_f64())
            }
        })
    }
}

fn error(message: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(message)])
}

impl ServerHandler for Station {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new(self.service.name, env!("CARGO_PKG_VERSION")))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.service.tools()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.service.tools().into_iter().find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        tokio::select! {
            answer = self.answer(request) => answer.map(CallToolResponse::from),
            () = context.ct.cancelled() => Err(ErrorData::internal_error("cancelled by the client", None)),
        }
    }
}
