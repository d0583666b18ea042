//! The only module that names the SDK's types: connecting, calling, and translating its errors.
//!
//! Beside what the SDK offers, a connection here has its era found out within a bound, its tools listed (the headers of
//! the modern era and the retry rule need them), the SDK's response cache off (it serves stale lists of dead servers),
//! no limit on calls in flight but one we would notice (the SDK's 16 is an invisible queue), no recovery but ours, and
//! calls that both time out and are cancelled when dropped.

mod http;
mod ledger;
#[cfg(feature = "oauth")]
mod oauth;
mod progress;
mod sse;
mod stdio;
mod tasks;
#[cfg(feature = "websocket")]
mod websocket;

use self::http::{MAX_ANSWER, WireError, deepest};
use self::ledger::{Ledger, Noted};
#[cfg(feature = "oauth")]
pub(super) use self::oauth::Authorizer;
use self::progress::Progress;
use self::stdio::LastWords;
use crate::mcp::connection::{Era, Limits, McpConnection, Pending, Target, ToolAnswer, ToolCall, ToolInfo};
use crate::mcp::fault::{Fault, McpError};
use crate::mcp::input::{Helpers, Person, Question};
use crate::mcp::task::{Called, TaskState};
use ::rmcp::ClientHandler;
use ::rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, CancelledNotification, CancelledNotificationParam,
    ClientCapabilities, ClientConfig, ClientRequest, ContentBlock, ElicitRequestParams, ElicitResult,
    ElicitationAction, ElicitationCapability, ErrorData, FormElicitationCapability, Implementation, InputRequest,
    InputRequests, InputRequiredResult, InputResponses, ListToolsRequest, PaginatedRequestParams, ProtocolVersion,
    RequestId, ServerResult, Tool,
};
use ::rmcp::service::{
    ClientCacheConfig, ClientInitializeError, ClientLifecycleMode, NotificationContext, Peer, PeerRequestOptions,
    RequestContext, RoleClient, RunningService, ServiceError, serve_client_with_lifecycle,
};
use ::rmcp::transport::common::client_side_sse::SseRetryPolicy;
use ::rmcp::transport::streamable_http_client::{StreamableHttpClientTransportConfig, StreamableHttpError};
use ::rmcp::transport::{DynamicTransportError, IntoTransport, StreamableHttpClientTransport};
use serde_json::Value;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use tokio::time::{timeout, timeout_at};

/// The most calls in flight on one connection; above any limit the pipeline sets, so that it never waits here.
const MAX_IN_FLIGHT: usize = 1024;
/// The most pages of tools that are asked for; a server that never ends its list is cut off here.
const MAX_PAGES: usize = 64;
/// The most times a server may answer a call by asking to be called again.
const MAX_ROUNDS: u32 = 8;

/// Connects to a server and lists its tools. Whatever fails here, no call was sent.
pub(super) async fn connect(
    target: &Target,
    helpers: &Helpers,
    known: Option<Era>,
    limits: &Limits,
) -> Result<(Arc<dyn McpConnection>, Era), McpError> {
    let all = async {
        let known = if target.is_legacy_only() { Some(Era::Legacy) } else { known };
        let remembered = match known {
            Some(Era::Modern) => Some(establish(target, helpers, modern()).await),
            Some(Era::Legacy) => Some(establish(target, helpers, ClientLifecycleMode::Initialize).await),
            None => None,
        };
        let connection = match remembered {
            Some(Ok(connection)) => connection,
            Some(Err(error)) if settles_it(error.fault()) || target.is_legacy_only() => return Err(error),
            // Never asked, or replaced by a server of the other era.
            Some(Err(_)) | None => discover(target, helpers, limits.era_probe).await?,
        };
        match connection.list(None).await {
            // A server without tools may still be asked for one; it will say what it thinks of it.
            Err(error) if error.fault() != (Fault::Rpc { code: -32601 }) => return Err(error),
            _ => {}
        }
        let era = connection.era();
        Ok((Arc::new(connection) as Arc<dyn McpConnection>, era))
    };
    match timeout(limits.connect, all).await {
        Ok(result) => result.map_err(McpError::before_sending),
        Err(_) => Err(McpError::new(Fault::Timeout { sent: false }, format!("within {:?}", limits.connect))),
    }
}

/// Finds out which era a server speaks.
///
/// One that does not answer the question in time, or dies of it, as older servers do, is taken for a legacy one and
/// started afresh. If it refuses that too, it was only slow, and speaks nothing but the new revision.
async fn discover(target: &Target, helpers: &Helpers, limit: Duration) -> Result<Connection, McpError> {
    let both = ClientLifecycleMode::Auto { preferred_versions: modern_versions(), legacy_version: None };
    match timeout(limit, establish(target, helpers, both)).await {
        Ok(Ok(connection)) => return Ok(connection),
        Ok(Err(error)) if settles_it(error.fault()) => return Err(error),
        Ok(Err(_)) | Err(_) => {}
    }
    match establish(target, helpers, ClientLifecycleMode::Initialize).await {
        Err(error) if matches!(error.fault(), Fault::Rpc { .. }) => {
            establish(target, helpers, modern()).await.map_err(|_| error)
        }
        result => result,
    }
}

/// Whether a failure to connect has nothing to do with what was asked.
fn settles_it(fault: Fault) -> bool {
    matches!(fault, Fault::Start | Fault::Connect | Fault::Http { status: 401 | 403 | 429 | 503, .. })
}

fn modern() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover { preferred_versions: modern_versions() }
}

fn modern_versions() -> Vec<ProtocolVersion> {
    ProtocolVersion::KNOWN_VERSIONS.iter().filter(|version| !version.has_initialize()).cloned().collect()
}

async fn establish(target: &Target, helpers: &Helpers, mode: ClientLifecycleMode) -> Result<Connection, McpError> {
    let client = Client { changes: Arc::default(), person: helpers.person.clone() };
    match target {
        Target::Http { url, token } => {
            let (wire, _) = wire(url, helpers)?;
            let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
                .max_concurrent_requests(MAX_IN_FLIGHT)
                .max_sse_event_size(MAX_ANSWER)
                .reinit_on_expired_session(false);
            config.retry_config = Arc::new(Resume);
            config.channel_buffer_capacity = MAX_IN_FLIGHT;
            config.auth_header.clone_from(token);
            serve(StreamableHttpClientTransport::with_client(wire, config), client, mode, None).await
        }
        Target::Sse { url, token } => {
            let (wire, url) = wire(url, helpers)?;
            let transport = sse::open(wire, &url, token.clone()).await.map_err(from_wire)?;
            serve(transport, client, mode, None).await
        }
        #[cfg(feature = "websocket")]
        Target::WebSocket { url, token } => {
            let transport = websocket::open(url, token.as_deref(), helpers.signer.as_ref()).await?;
            serve(transport, client, mode, None).await
        }
        Target::Stdio { command, args, env } => {
            let (transport, words) = stdio::start(command, args, env)?;
            serve(transport, client, mode, Some(words)).await
        }
    }
}

fn wire(url: &str, helpers: &Helpers) -> Result<(http::Wire, reqwest::Url), McpError> {
    http::client(url, helpers).map_err(|error| McpError::caused_by(Fault::Start, error.to_string(), error))
}

async fn serve<T, E, A>(
    transport: T,
    client: Client,
    mode: ClientLifecycleMode,
    words: Option<LastWords>,
) -> Result<Connection, McpError>
where
    T: IntoTransport<RoleClient, E, A>,
    E: std::error::Error + Send + Sync + 'static,
{
    let changes = client.changes.clone();
    let (ledger, progress) = (Ledger::default(), Progress::default());
    let transport = Noted::new(transport.into_transport(), ledger.clone(), progress.clone());
    match serve_client_with_lifecycle(client, transport, mode).await {
        Ok(service) => {
            service.peer().set_response_cache_config(ClientCacheConfig::disabled()).await;
            let tools = Mutex::new(Arc::from([]));
            Ok(Connection { service, tools, changes, listed_after: 0.into(), ledger, progress, words })
        }
        Err(error) => Err(explained(from_handshake(error), words.as_ref()).await),
    }
}

/// Who we say we are, and what we listen to.
#[derive(Clone, Debug)]
struct Client {
    /// How often the server said that its tools have changed.
    changes: Arc<AtomicU64>,
    person: Option<Arc<dyn Person>>,
}

impl Client {
    /// What the person says to a question; whom nobody can answer is declined.
    async fn ask(&self, asked: ElicitRequestParams) -> ElicitResult {
        let answer = match (&self.person, asked) {
            (Some(person), ElicitRequestParams::FormElicitationParams { message, requested_schema, .. }) => {
                let schema = serde_json::to_value(requested_schema).unwrap_or_default();
                person.answer(Question::new(message, schema)).await
            }
            _ => None,
        };
        match answer {
            Some(answer) => ElicitResult::new(ElicitationAction::Accept).with_content(Value::Object(answer)),
            None => ElicitResult::new(ElicitationAction::Decline),
        }
    }

    /// Answers to everything a tool asks before it is called again; `None` if there is nobody who could.
    async fn ask_all(&self, asked: InputRequests) -> Option<InputResponses> {
        let mut answers = InputResponses::new();
        for (name, request) in asked {
            let InputRequest::Elicitation(question) = request else { return None };
            self.person.as_ref()?;
            answers.insert(name, serde_json::to_value(self.ask(question.params).await).ok()?);
        }
        Some(answers)
    }
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        let mut capabilities = ClientCapabilities::default();
        if self.person.is_some() {
            let form = FormElicitationCapability::new();
            capabilities.elicitation = Some(ElicitationCapability::new().with_form(form));
        }
        ClientConfig::new(capabilities, Implementation::new("poet", env!("CARGO_PKG_VERSION")))
    }

    async fn create_elicitation(
        &self,
        asked: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Ok(self.ask(asked).await)
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }
}

/// Resuming a broken event stream: soon, a few times, and then never again.
#[derive(Debug)]
struct Resume;

impl SseRetryPolicy for Resume {
    fn retry(&self, current_times: usize) -> Option<Duration> {
        let exponent = u32::try_from(current_times).ok().filter(|&times| times < 5)?;
        Some(Duration::from_millis(100) * 2_u32.pow(exponent))
    }
}

struct Connection {
    service: RunningService<RoleClient, Client>,
    tools: Mutex<Arc<[ToolInfo]>>,
    changes: Arc<AtomicU64>,
    /// How many changes had been announced when the tools were listed.
    listed_after: AtomicU64,
    ledger: Ledger,
    progress: Progress,
    words: Option<LastWords>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("tools", &self.tools().len()).finish_non_exhaustive()
    }
}

impl Connection {
    fn era(&self) -> Era {
        let legacy = self.service.peer().peer_info().is_none_or(|info| info.protocol_version.has_initialize());
        if legacy { Era::Legacy } else { Era::Modern }
    }

    /// Sends a request and waits for its answer: until an instant, if there is one, and no longer than the future lives.
    async fn request(
        &self,
        request: ClientRequest,
        options: PeerRequestOptions,
        until: Option<Instant>,
    ) -> Result<ServerResult, McpError> {
        let peer = self.service.peer();
        // Pinned, because it is large, and would be moved again and again on its way to where it is awaited.
        let Some(sending) = bounded(until, pin!(peer.send_request_with_option(request, options))).await else {
            return Err(McpError::new(Fault::Timeout { sent: false }, ""));
        };
        let mut handle = match sending {
            Ok(handle) => handle,
            Err(error) => return Err(explained(from_service(error).before_sending(), self.words.as_ref()).await),
        };
        let id = handle.id.clone();
        let mut cancel = CancelOnDrop { peer, id: Some(id.clone()) };
        let reports = self.progress.of(handle.progress_token.clone());
        let answered = async {
            loop {
                tokio::select! {
                    biased;
                    answer = &mut handle.rx => return answer,
                    () = reports.advance() => poet_runtime::progress(),
                }
            }
        };
        let Some(answer) = bounded(until, pin!(answered)).await else {
            // Too late for everybody: the guard tells the server.
            return Err(McpError::new(Fault::Timeout { sent: true }, ""));
        };
        cancel.id = None;
        match answer.unwrap_or(Err(ServiceError::TransportClosed)) {
            Ok(result) => Ok(result),
            Err(error) => {
                let error = from_service(error);
                let unsent = error.fault() == Fault::Lost && !self.ledger.was_handed(&id);
                let error = if unsent { error.before_sending() } else { error };
                Err(explained(error, self.words.as_ref()).await)
            }
        }
    }

    async fn page(
        &self,
        cursor: Option<String>,
        until: Option<Instant>,
    ) -> Result<(Vec<Tool>, Option<String>), McpError> {
        let params = cursor.map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
        let request = ListToolsRequest { method: Default::default(), params, extensions: Default::default() };
        let request = ClientRequest::ListToolsRequest(request);
        match self.request(request, PeerRequestOptions::no_options(), until).await? {
            ServerResult::ListToolsResult(page) => Ok((page.tools, page.next_cursor)),
            _ => Err(McpError::new(Fault::Answer, "no list of tools")),
        }
    }

    /// Lists the tools, and keeps the list.
    async fn list(&self, until: Option<Instant>) -> Result<Arc<[ToolInfo]>, McpError> {
        // Read first: a change while the pages are read makes them outdated again.
        let changes = self.changes.load(Ordering::Relaxed);
        let tools: Arc<[ToolInfo]> = self.pages(until).await?.into();
        self.listed_after.store(changes, Ordering::Relaxed);
        *self.tools.lock().unwrap_or_else(PoisonError::into_inner) = tools.clone();
        Ok(tools)
    }

    async fn pages(&self, until: Option<Instant>) -> Result<Vec<ToolInfo>, McpError> {
        let mut tools = Vec::new();
        let mut cursor = None;
        for asked in 1.. {
            let (page, next) = self.page(cursor, until).await?;
            tools.extend(page.into_iter().map(info));
            // An empty string is a valid cursor.
            cursor = next;
            if cursor.is_none() {
                break;
            }
            if asked == MAX_PAGES {
                tracing::warn!(pages = asked, tools = tools.len(), "the server's list of tools does not end; cut off");
                break;
            }
        }
        Ok(tools)
    }
}

impl McpConnection for Connection {
    fn tools(&self) -> Arc<[ToolInfo]> {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_outdated(&self) -> bool {
        self.changes.load(Ordering::Relaxed) != self.listed_after.load(Ordering::Relaxed)
    }

    fn list_tools(&self, until: Instant) -> Pending<'_, Arc<[ToolInfo]>> {
        Box::pin(self.list(Some(until)))
    }

    fn probe(&self, until: Instant) -> Pending<'_, ()> {
        Box::pin(async move {
            match self.page(None, Some(until)).await {
                // A server without tools has answered too.
                Err(error) if error.fault() != (Fault::Rpc { code: -32601 }) => Err(error),
                _ => Ok(()),
            }
        })
    }

    fn task<'a>(&'a self, id: &'a str, until: Instant) -> Pending<'a, TaskState> {
        Box::pin(self.task_state(id, until))
    }

    fn cancel_task<'a>(&'a self, id: &'a str, until: Instant) -> Pending<'a, ()> {
        Box::pin(self.drop_task(id, until))
    }

    fn call<'a>(&'a self, call: ToolCall<'a>) -> Pending<'a, Called> {
        Box::pin(async move {
            let (mut kept, mut answers, mut offers) = (None, None, call.tasks);
            for round in 0..MAX_ROUNDS {
                let mut params =
                    CallToolRequestParams::new(call.name.to_owned()).with_arguments(call.arguments.clone());
                params.request_state = kept.take();
                params.input_responses = answers.take();
                let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
                let options = self.options(call.meta.clone(), offers);
                let result = match self.request(request, options, Some(call.until)).await {
                    // Refused before it did anything, and made of what the tool needs to be called at all.
                    Err(error) if round == 0 && !offers && tasks::is_wanted(&error) => {
                        offers = true;
                        continue;
                    }
                    result => result?,
                };
                match result {
                    ServerResult::CallToolResult(result) => return Ok(answer(result).into()),
                    ServerResult::CreateTaskResult(created) => {
                        return Ok(Called::TakenOn(tasks::task(created.task)));
                    }
                    // The server wants to be asked again with what it gave us to keep, and with what a person answers.
                    ServerResult::InputRequiredResult(InputRequiredResult {
                        input_requests, request_state, ..
                    }) => {
                        let asked = input_requests.unwrap_or_default();
                        if asked.is_empty() && request_state.is_none() {
                            break;
                        }
                        kept = request_state;
                        if asked.is_empty() {
                            let pause = tokio::time::sleep(Duration::from_millis(20) * 2_u32.pow(round));
                            bounded(Some(call.until), pause).await;
                        } else {
                            let asking = self.service.service().ask_all(asked);
                            match bounded(Some(call.until), asking).await.flatten() {
                                Some(given) => answers = Some(given),
                                None => break,
                            }
                        }
                    }
                    _ => return Err(McpError::new(Fault::Answer, "no result of a tool")),
                }
            }
            Err(McpError::new(Fault::Input, call.name))
        })
    }

    fn is_dead(&self) -> bool {
        self.service.is_closed() || self.service.peer().is_transport_closed()
    }

    fn close(&self) {
        // The SDK's own task does the rest, which may take seconds.
        self.service.cancellation_token().cancel();
    }
}

async fn bounded<F: Future>(until: Option<Instant>, future: F) -> Option<F::Output> {
    match until {
        Some(until) => timeout_at(until.into(), future).await.ok(),
        None => Some(future.await),
    }
}

fn answer(result: CallToolResult) -> ToolAnswer {
    let is_error = result.is_error == Some(true);
    // Where there is structured content, the blocks only repeat it.
    let blocks = match &result.structured_content {
        Some(_) => Vec::new(),
        None => result.content.iter().filter_map(|block| serde_json::to_value(block).ok()).collect(),
    };
    let texts: Vec<&str> = result.content.iter().filter_map(text_of).collect();
    ToolAnswer::new(&texts, blocks, result.structured_content, is_error)
}

fn text_of(block: &ContentBlock) -> Option<&str> {
    match block {
        ContentBlock::Text(text) => Some(&text.text),
        _ => None,
    }
}

fn info(tool: Tool) -> ToolInfo {
    let hints = tool.annotations.as_ref();
    ToolInfo {
        read_only: hints.and_then(|hints| hints.read_only_hint),
        destructive: hints.and_then(|hints| hints.destructive_hint),
        idempotent: hints.and_then(|hints| hints.idempotent_hint),
        name: tool.name.into_owned(),
        description: tool.description.map(Into::into),
        input_schema: Value::Object((*tool.input_schema).clone()),
        output_schema: tool.output_schema.map(|schema| Value::Object((*schema).clone())),
    }
}

/// Tells the server that nobody waits for a request any more, unless it was answered.
struct CancelOnDrop<'a> {
    peer: &'a Peer<RoleClient>,
    id: Option<RequestId>,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let params = CancelledNotificationParam::new(Some(id), Some("nobody waits for it any more".to_owned()));
        let notification = CancelledNotification::new(params);
        // Sending only queues it, and the queue has room; so one poll is all it takes, and nothing is to be awaited.
        let mut sending = std::pin::pin!(self.peer.send_notification(notification.into()));
        let _ = sending.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
}

/// Adds a child's last words to an error that looks like its end.
async fn explained(error: McpError, words: Option<&LastWords>) -> McpError {
    match (error.fault(), words) {
        (Fault::Lost | Fault::Connect, Some(words)) => error.with_last_words(words.of_the_dead().await),
        _ => error,
    }
}

fn from_handshake(error: ClientInitializeError) -> McpError {
    match error {
        ClientInitializeError::TransportError { error, .. } => from_transport(error),
        ClientInitializeError::JsonRpcError(error) => McpError::rpc(error.code.0, &error.message),
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => from_handshake(*fallback),
        other => McpError::caused_by(Fault::Lost, other.to_string(), other),
    }
}

fn from_service(error: ServiceError) -> McpError {
    match error {
        ServiceError::McpError(error) => McpError::rpc(error.code.0, &error.message),
        ServiceError::TransportSend(error) => from_transport(error),
        ServiceError::TransportClosed => McpError::new(Fault::Lost, "the server closed it"),
        ServiceError::Timeout { .. } => McpError::new(Fault::Timeout { sent: true }, ""),
        ServiceError::UnexpectedResponse => McpError::new(Fault::Answer, error.to_string()),
        ServiceError::InputRequiredRoundsExceeded { .. } => McpError::new(Fault::Input, error.to_string()),
        other => McpError::caused_by(Fault::Lost, other.to_string(), other),
    }
}

fn from_transport(error: DynamicTransportError) -> McpError {
    let error = match error.error.downcast::<StreamableHttpError<WireError>>() {
        Ok(http) => return from_http(*http),
        Err(error) => error,
    };
    let error = match error.downcast::<WireError>() {
        Ok(wire) => return from_wire(*wire),
        Err(error) => error,
    };
    let fault = if ledger::says_unsent(&*error) { Fault::Connect } else { Fault::Lost };
    McpError::caused_by(fault, error.to_string(), error)
}

fn from_http(error: StreamableHttpError<WireError>) -> McpError {
    match error {
        StreamableHttpError::Client(error) => from_wire(error),
        StreamableHttpError::SessionExpired => McpError::new(Fault::Session, ""),
        error @ (StreamableHttpError::ResponseBodyTooLarge { .. }
        | StreamableHttpError::Deserialize(_)
        | StreamableHttpError::UnexpectedServerResponse(_)
        | StreamableHttpError::UnexpectedContentType(_)) => {
            McpError::caused_by(Fault::Answer, error.to_string(), error)
        }
        other => McpError::caused_by(Fault::Lost, other.to_string(), other),
    }
}

fn from_wire(error: WireError) -> McpError {
    match error {
        // Nothing was sent, and nothing would be the next time.
        WireError::Unsigned(text) => McpError::new(Fault::Refused, text),
        WireError::Connect(error) => McpError::caused_by(Fault::Connect, deepest(&error), error),
        WireError::Lost(error) => McpError::caused_by(Fault::Lost, deepest(&error), error),
        WireError::Status { status, retry_after, text } => McpError::new(Fault::Http { status, retry_after }, text),
        WireError::Session(text) => McpError::new(Fault::Session, text),
        WireError::Answer(text) => McpError::new(Fault::Answer, text),
    }
}
