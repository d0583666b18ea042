//! The HTTP half of the SDK's streamable transport, in our hands.
//!
//! The SDK lets its HTTP client be replaced, and its own one loses what we decide by: the status and `Retry-After` of a
//! failure whose body is JSON-RPC, and whether anything was sent. It also drops answers that carry no id, or another
//! one, and then waits for ever (a restarted server answers so). Here every POST ends in its answer or in a
//! [`WireError`] that keeps what is known.

use crate::mcp::classify;
use crate::mcp::input::Helpers;
use crate::mcp::signer::{Signed, Signer};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use poet_runtime::Clock;
use reqwest::{Request, RequestBuilder, Response, Url};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorData, JsonRpcMessage, RequestId, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::{Sse, SseStream};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The most of a successful answer, or of one event, that is read.
pub(super) const MAX_ANSWER: usize = 16 * 1024 * 1024;
const MAX_FAILURE: usize = 64 * 1024;
const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";
const SESSION: &str = "mcp-session-id";

/// What went wrong with one HTTP exchange.
#[derive(Debug)]
pub(super) enum WireError {
    /// The request could not be signed, and was not sent.
    Unsigned(String),
    /// No connection could be made.
    Connect(reqwest::Error),
    /// The connection broke after the request was handed to it.
    Lost(reqwest::Error),
    /// The server answered with a failure.
    Status { status: u16, retry_after: Option<Duration>, text: String },
    /// The server does not know the session the request belongs to.
    Session(String),
    /// The server answered, but with nothing a request can be answered with.
    Answer(String),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) | Self::Lost(error) => write!(f, "{error}"),
            Self::Status { status, text, .. } => write!(f, "HTTP {status}: {text}"),
            Self::Unsigned(text) | Self::Session(text) | Self::Answer(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for WireError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect(error) | Self::Lost(error) => Some(error),
            _ => None,
        }
    }
}

impl From<reqwest::Error> for WireError {
    fn from(error: reqwest::Error) -> Self {
        // Without its URL, in which people put keys.
        let error = error.without_url();
        if error.is_connect() || error.is_builder() { Self::Connect(error) } else { Self::Lost(error) }
    }
}

/// A stream of events.
pub(super) type Events = BoxStream<'static, std::result::Result<Sse, SseError>>;

type Result<T> = std::result::Result<T, StreamableHttpError<WireError>>;

fn failed<T>(error: WireError) -> Result<T> {
    Err(StreamableHttpError::Client(error))
}

/// The HTTP client of one connection.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    client: reqwest::Client,
    signer: Option<Signer>,
    #[cfg(feature = "oauth")]
    authorizer: Option<(Arc<super::Authorizer>, Url)>,
}

/// What has to be known of a message to judge the answer to it.
struct Asked {
    id: Option<RequestId>,
    /// The probe for the era: a legacy server may refuse it in any way.
    is_discover: bool,
    in_session: bool,
}

impl Asked {
    fn about(message: &ClientJsonRpcMessage, in_session: bool) -> Self {
        match message {
            ClientJsonRpcMessage::Request(request) => Self {
                id: Some(request.id.clone()),
                is_discover: matches!(request.request, ClientRequest::DiscoverRequest(_)),
                in_session,
            },
            _ => Self { id: None, is_discover: false, in_session },
        }
    }

    fn is_answered_by(&self, id: Option<&RequestId>) -> bool {
        match (&self.id, id) {
            // Some servers echo a number as a string.
            (Some(asked), Some(id)) => asked == id || asked.to_string() == id.to_string(),
            _ => false,
        }
    }

    /// The SDK takes a server for a legacy one only if its refusal carries the id of the probe.
    fn taken_for_legacy(&self, text: &str) -> Option<StreamableHttpPostResponse> {
        let id = self.is_discover.then(|| self.id.clone()).flatten()?;
        let error = match serde_json::from_str(text) {
            Ok(ServerJsonRpcMessage::Error(error)) => error.error,
            _ => ErrorData::invalid_request(format!("server/discover refused: {}", preview(text)), None),
        };
        Some(StreamableHttpPostResponse::Json(ServerJsonRpcMessage::error(error, Some(id)), None))
    }
}

impl Wire {
    /// Sends a request with its token.
    async fn send(&self, request: RequestBuilder, token: Option<String>) -> std::result::Result<Response, WireError> {
        #[cfg(feature = "oauth")]
        if let Some((authorizer, url)) = &self.authorizer {
            // Boxed, so that requests without an authorizer do not carry it about.
            return Box::pin(authorizer.send(self, url, request)).await;
        }
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        self.dispatch(request).await
    }

    /// Sends a request that has its token. It is signed here, where nothing is added to it any more, and so each time.
    pub(super) async fn dispatch(&self, request: RequestBuilder) -> std::result::Result<Response, WireError> {
        let (client, request) = request.build_split();
        let mut request = request?;
        if let Some(signer) = &self.signer {
            sign(signer, &mut request)?;
        }
        Ok(client.execute(request).await?)
    }

    async fn post(
        &self,
        uri: &str,
        message: &ClientJsonRpcMessage,
        session: Option<&str>,
        token: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse> {
        let asked = Asked::about(message, session.is_some());
        let request = self.client.post(uri).header(ACCEPT, format!("{EVENTS}, {JSON}"));
        let request = dressed(request, session, headers).json(message);
        let response = match self.send(request, token).await {
            Ok(response) => response,
            Err(error) => return failed(error),
        };
        if response.status().is_success() { succeeded(response, asked).await } else { refused(response, asked).await }
    }
}

/// What HTTP+SSE is made of, where an answer does not come with the request it answers.
impl Wire {
    /// Opens a stream of events that belongs to no request.
    pub(super) async fn open(&self, url: &Url, token: Option<String>) -> std::result::Result<Events, WireError> {
        let response = self.send(self.client.get(url.clone()).header(ACCEPT, EVENTS), token).await?;
        let status = response.status();
        if !status.is_success() {
            let retry_after = retry_after(response.headers());
            let text = read(response, MAX_FAILURE).await.unwrap_or_default();
            return Err(WireError::Status { status: status.as_u16(), retry_after, text: preview(&text) });
        }
        if !has_type(&response, EVENTS) {
            return Err(WireError::Answer(format!("HTTP {status}, but no stream of events")));
        }
        Ok(events(response, None))
    }

    /// Hands a message over. Its answer comes on the stream; one that comes here all the same is given back.
    pub(super) async fn hand_over(
        &self,
        url: &Url,
        message: &ClientJsonRpcMessage,
        token: Option<String>,
    ) -> std::result::Result<Option<ServerJsonRpcMessage>, WireError> {
        let asked = Asked::about(message, true);
        let response = self.send(self.client.post(url.clone()).json(message), token).await?;
        if response.status().is_success() {
            // To its end, so that the connection can be used again; what it says does not matter.
            let _ = read(response, MAX_FAILURE).await;
            return Ok(None);
        }
        match refused(response, asked).await {
            Ok(StreamableHttpPostResponse::Json(answer, _)) => Ok(Some(answer)),
            Ok(_) => Ok(None),
            Err(StreamableHttpError::Client(error)) => Err(error),
            Err(other) => Err(WireError::Answer(other.to_string())),
        }
    }
}

fn sign(signer: &Signer, request: &mut Request) -> std::result::Result<(), WireError> {
    let (method, url) = (request.method().clone(), request.url().clone());
    let mut headers = std::mem::take(request.headers_mut());
    let body = request.body().map(|body| body.as_bytes().ok_or("a body that is a stream cannot be signed"));
    let body = body.transpose().map_err(|problem| WireError::Unsigned(problem.to_owned()))?;
    let signed = signer.sign(&mut Signed { method: &method, url: &url, headers: &mut headers, body });
    *request.headers_mut() = headers;
    signed.map_err(|problem| WireError::Unsigned(problem.to_string()))
}

fn dressed(
    mut request: RequestBuilder,
    session: Option<&str>,
    headers: HashMap<HeaderName, HeaderValue>,
) -> RequestBuilder {
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if let Some(session) = session {
        request = request.header(SESSION, session);
    }
    request
}

async fn succeeded(response: Response, asked: Asked) -> Result<StreamableHttpPostResponse> {
    let status = response.status();
    if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
        // Nothing follows a 202, so whoever waited for an answer to a request would wait for ever.
        return match (&asked.id, asked.taken_for_legacy("")) {
            (None, _) => Ok(StreamableHttpPostResponse::Accepted),
            (_, Some(legacy)) => Ok(legacy),
            (Some(_), None) => failed(WireError::Answer(format!("HTTP {status} to a request"))),
        };
    }
    let session = response.headers().get(SESSION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if has_type(&response, EVENTS) {
        return Ok(StreamableHttpPostResponse::Sse(events(response, asked.id), session));
    }
    let is_json = has_type(&response, JSON);
    let body = read(response, MAX_ANSWER).await?;
    if asked.id.is_none() {
        return Ok(StreamableHttpPostResponse::Accepted);
    }
    if !is_json {
        return failed(WireError::Answer(format!("HTTP {status}, but no JSON: {}", preview(&body))));
    }
    let message = match serde_json::from_str::<ServerJsonRpcMessage>(&body) {
        Ok(message) => message,
        Err(error) => return failed(WireError::Answer(format!("{error}: {}", preview(&body)))),
    };
    let id = match &message {
        JsonRpcMessage::Response(response) => Some(&response.id),
        JsonRpcMessage::Error(error) => error.id.as_ref(),
        JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => None,
    };
    if asked.is_answered_by(id) {
        return Ok(StreamableHttpPostResponse::Json(message, session));
    }
    match asked.taken_for_legacy(&body) {
        Some(legacy) => Ok(legacy),
        None => failed(WireError::Answer(format!("an answer to another request: {}", preview(&body)))),
    }
}

async fn refused(response: Response, asked: Asked) -> Result<StreamableHttpPostResponse> {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    // A body that cannot be read takes nothing away from the status.
    let body = read(response, MAX_FAILURE).await.unwrap_or_default();
    let is_auth = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if status.is_client_error()
        && !is_auth
        && status != StatusCode::TOO_MANY_REQUESTS
        && let Some(legacy) = asked.taken_for_legacy(&body)
    {
        return Ok(legacy);
    }
    let error = match serde_json::from_str(&body) {
        Ok(ServerJsonRpcMessage::Error(error)) => Some(error),
        _ => None,
    };
    let text = error.as_ref().map_or_else(|| preview(&body), |error| error.error.message.to_string());
    // A request that could not even be given its id back was refused before it was dispatched: after a restart,
    // servers that keep their sessions in memory answer so, with 404 as they should or with 400.
    let has_id = error.as_ref().is_some_and(|error| asked.is_answered_by(error.id.as_ref()));
    let without_id = status == StatusCode::BAD_REQUEST && error.is_some() && !has_id;
    let by_text = error.as_ref().is_some_and(|error| classify::is_session_lost(error.error.code.0, &text));
    if asked.in_session && (status == StatusCode::NOT_FOUND || without_id || (status.is_client_error() && by_text)) {
        return failed(WireError::Session(text));
    }
    match error {
        Some(error) if has_id && status.is_client_error() && !is_auth && status != StatusCode::TOO_MANY_REQUESTS => {
            Ok(StreamableHttpPostResponse::Json(JsonRpcMessage::Error(error), None))
        }
        _ => failed(WireError::Status { status: status.as_u16(), retry_after, text }),
    }
}

/// How long a server asks to be left alone.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let clock = Clock::system();
    crate::http::read_retry_after(value, clock.anchor().wall(clock.now()))
}

fn has_type(response: &Response, kind: &str) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(kind.as_bytes()))
}

async fn read(response: Response, limit: usize) -> Result<String> {
    Ok(String::from_utf8_lossy(&read_up_to(response, limit).await?).into_owned())
}

/// A body, of which there is to be no more than of a failure that is read.
#[cfg(feature = "oauth")]
pub(super) async fn read_bytes(response: Response) -> Result<Vec<u8>> {
    read_up_to(response, MAX_FAILURE).await
}

async fn read_up_to(mut response: Response, limit: usize) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if chunk.len() > limit - body.len() => {
                return Err(StreamableHttpError::ResponseBodyTooLarge { max_size: limit });
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            // The head of the answer was here already: the request was sent, whatever the error says.
            Err(error) => return failed(WireError::Lost(error.without_url())),
        }
    }
}

pub(super) fn preview(body: &str) -> String {
    const SHOWN: usize = 256;
    match body.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &body[..end]),
        None => body.to_owned(),
    }
}

/// The events of an answer; an error without id on the stream of a request is the answer to that request.
fn events(response: Response, id: Option<RequestId>) -> Events {
    let mut size = EventSize::default();
    let bytes = response.bytes_stream().map(move |chunk| {
        let chunk = chunk.map_err(|error| WireError::Lost(error.without_url()))?;
        size.observe(&chunk)?;
        Ok::<_, WireError>(chunk)
    });
    SseStream::from_bytes_stream(bytes)
        .map(move |event| {
            event.map(|mut event| {
                if let (Some(id), Some(data)) = (&id, &event.data) {
                    event.data = Some(correlated(data, id).unwrap_or_else(|| data.clone()));
                }
                event
            })
        })
        .boxed()
}

fn correlated(data: &str, id: &RequestId) -> Option<String> {
    // Parsed only where it may matter: answers can be long, errors are short.
    if !data.contains("\"error\"") || data.len() > MAX_FAILURE {
        return None;
    }
    match serde_json::from_str(data) {
        Ok(ServerJsonRpcMessage::Error(error)) if error.id.is_none() => {
            serde_json::to_string(&ServerJsonRpcMessage::error(error.error, Some(id.clone()))).ok()
        }
        _ => None,
    }
}

/// Counts the bytes of the event being read, so that one without end is not collected for ever.
#[derive(Default)]
struct EventSize {
    event: usize,
    line: usize,
}

impl EventSize {
    fn observe(&mut self, chunk: &[u8]) -> std::result::Result<(), WireError> {
        for &byte in chunk {
            match byte {
                b'\n' if self.line == 0 => self.event = 0,
                b'\n' => self.line = 0,
                b'\r' => {}
                _ => {
                    self.line += 1;
                    self.event += 1;
                }
            }
            if self.event > MAX_ANSWER {
                return Err(WireError::Answer(format!("an event of more than {MAX_ANSWER} bytes")));
            }
        }
        Ok(())
    }
}

impl StreamableHttpClient for Wire {
    type Error = WireError;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse> {
        self.post(&uri, &message, session_id.as_deref(), auth_header, custom_headers).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<Events> {
        let mut request = self.client.get(uri.as_ref()).header(ACCEPT, EVENTS);
        if let Some(last) = last_event_id {
            request = request.header("last-event-id", last);
        }
        let response = match self.send(dressed(request, session_id.as_deref(), custom_headers), auth_header).await {
            Ok(response) => response,
            Err(error) => {
                return match error {
                    // Nobody is there any more who could go on with a broken stream: whoever waits is told now.
                    WireError::Connect(error) => {
                        tracing::debug!(%error, "the stream cannot be resumed");
                        Err(StreamableHttpError::ServerDoesNotSupportSse)
                    }
                    error => failed(error),
                };
            }
        };
        let status = response.status();
        match status {
            _ if status.is_success() && has_type(&response, EVENTS) => Ok(events(response, None)),
            // The one error after which the SDK does not ask again.
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(StreamableHttpError::ServerDoesNotSupportSse)
            }
            _ => failed(WireError::Status { status: status.as_u16(), retry_after: None, text: String::new() }),
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<()> {
        let request = dressed(self.client.delete(uri.as_ref()), Some(&session_id), custom_headers);
        match self.send(request, auth_header).await {
            // Whatever it answers: the session is not used again.
            Ok(_) => Ok(()),
            Err(error) => failed(error),
        }
    }
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

/// An address of HTTP, and what talks to it; `Err` says what is wrong with it or with this machine's certificates.
pub(super) fn client(url: &str, helpers: &Helpers) -> std::result::Result<(Wire, Url), Broken> {
    let url = Url::parse(url)?;
    let secure = match url.scheme() {
        "https" => true,
        "http" => false,
        other => return Err(format!("`{other}` is no scheme of an HTTP address").into()),
    };
    let wire = Wire {
        client: built(secure)?,
        signer: helpers.signer.clone(),
        #[cfg(feature = "oauth")]
        authorizer: helpers.authorizer.clone().map(|authorizer| (authorizer, url.clone())),
    };
    Ok((wire, url))
}

/// A client for any address of HTTP.
#[cfg(feature = "oauth")]
pub(super) fn any_client() -> std::result::Result<reqwest::Client, Broken> {
    built(true)
}

fn built(secure: bool) -> std::result::Result<reqwest::Client, Broken> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(secure)?)
        .connect_timeout(Duration::from_secs(10))
        // Longer than a pause between calls, shorter than the idle limit of common servers: a connection the server
        // has just closed makes the outcome of a write unknown.
        .pool_idle_timeout(Duration::from_secs(15))
        // A redirect may turn a POST into a GET, or carry the token to another host. It is reported, not followed.
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    Ok(client)
}

/// The last cause in a chain: "connection refused" rather than "error sending request".
pub(super) fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    deepest.to_string()
}

/// The program's own provider of cryptography if it installed one, else ours, for this client only.
pub(super) fn tls(secure: bool) -> std::result::Result<rustls::ClientConfig, rustls::Error> {
    use rustls_platform_verifier::BuilderVerifierExt;
    let provider = rustls::crypto::CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = if secure {
        builder.with_platform_verifier()?
    } else {
        // Nothing is verified over plain HTTP, so the certificates of the machine need not be read.
        builder.with_root_certificates(rustls::RootCertStore::empty())
    };
    Ok(builder.with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_needs_no_provider_of_cryptography_and_installs_none() {
        assert!(client("http://localhost/mcp", &Helpers::default()).is_ok());
        assert!(client("https://localhost/mcp", &Helpers::default()).is_ok());
        assert!(rustls::crypto::CryptoProvider::get_default().is_none());
    }

    #[test]
    fn an_event_without_end_is_cut_off_and_a_long_stream_of_events_is_not() {
        let mut size = EventSize::default();
        for _ in 0..40 {
            assert!(size.observe(&[b'x'; 1 << 20]).is_ok());
            assert!(size.observe(b"\r\n\r\n").is_ok());
        }
        let endless = (0..40).try_for_each(|_| size.observe(b"data: \n").and_then(|()| size.observe(&[b'x'; 1 << 20])));
        assert!(endless.is_err());
    }

    #[test]
    fn only_an_error_without_an_id_is_given_one() {
        let id = RequestId::Number(7);
        let correlated = |data: &str| correlated(data, &id).map(|data| data.parse::<serde_json::Value>().unwrap());
        let nameless = correlated(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no"}}"#).unwrap();
        assert_eq!((&nameless["id"], &nameless["error"]["code"]), (&7.into(), &(-32000).into()));
        assert_eq!(correlated(r#"{"jsonrpc":"2.0","id":8,"error":{"code":-32000,"message":"no"}}"#), None);
        assert_eq!(correlated(r#"{"jsonrpc":"2.0","id":7,"result":{"error":"none"}}"#), None);
    }
}
