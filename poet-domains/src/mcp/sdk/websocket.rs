//! Messages over a WebSocket, with the subprotocol `mcp`.
//!
//! It was never part of the specification, and one SDK of servers still has it. A message is a text; a socket that
//! closes has lost whatever was asked for.

use super::http::{self, MAX_ANSWER, WireError};
use crate::mcp::fault::{Fault, McpError};
use crate::mcp::signer::{Signed, Signer};
use ::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use ::http::{HeaderValue, Method};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use reqwest::Url;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::service::RoleClient;
use rmcp::transport::Transport;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

/// A connection below a socket, plain or encrypted.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Socket = WebSocketStream<Box<dyn Stream>>;

/// An open socket.
pub(super) struct WebSocket {
    // Shared with the futures of sending, which outlive the borrow they are made in.
    sink: Arc<Mutex<SplitSink<Socket, Message>>>,
    stream: SplitStream<Socket>,
}

/// Opens a socket. What is signed is the handshake; messages have no headers to sign them in.
pub(super) async fn open(url: &str, token: Option<&str>, signer: Option<&Signer>) -> Result<WebSocket, McpError> {
    let start = |problem: String| McpError::new(Fault::Start, problem);
    let url = Url::parse(url).map_err(|error| start(error.to_string()))?;
    let secure = match url.scheme() {
        "wss" => true,
        "ws" => false,
        other => return Err(start(format!("`{other}` is no scheme of a WebSocket; it is ws or wss"))),
    };
    let host = url.host_str().ok_or_else(|| start("an address without a host".to_owned()))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = url.port_or_known_default().ok_or_else(|| start("an address without a port".to_owned()))?;

    let mut request = url.as_str().into_client_request().map_err(|error| start(error.to_string()))?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mcp"));
    if let Some(token) = token {
        // The error would say nothing about the token but that; the token itself is to be in no error.
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|_| start("the token has characters no header may have".to_owned()))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    if let Some(signer) = signer {
        let (method, headers) = (&Method::GET, request.headers_mut());
        let signed = signer.sign(&mut Signed { method, url: &url, headers, body: None });
        signed.map_err(|problem| McpError::new(Fault::Refused, problem.to_string()))?;
    }

    let connect = |error: io::Error| McpError::caused_by(Fault::Connect, error.to_string(), error);
    let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(connect)?;
    tcp.set_nodelay(true).map_err(connect)?;
    let stream: Box<dyn Stream> = if secure {
        let tls = http::tls(true).map_err(|error| McpError::caused_by(Fault::Start, error.to_string(), error))?;
        let name = ServerName::try_from(host).map_err(|error| start(error.to_string()))?;
        Box::new(TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.map_err(connect)?)
    } else {
        Box::new(tcp)
    };
    let limits = WebSocketConfig::default().max_message_size(Some(MAX_ANSWER)).max_frame_size(Some(MAX_ANSWER));
    let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(limits)).await;
    let (socket, _) = opened.map_err(from_handshake)?;
    let (sink, stream) = socket.split();
    Ok(WebSocket { sink: Arc::new(Mutex::new(sink)), stream })
}

fn from_handshake(error: Error) -> McpError {
    match error {
        Error::Http(response) => {
            let (status, retry_after) = (response.status().as_u16(), http::retry_after(response.headers()));
            let text = String::from_utf8_lossy(response.body().as_deref().unwrap_or_default()).into_owned();
            super::from_wire(WireError::Status { status, retry_after, text: http::preview(&text) })
        }
        Error::Io(error) => McpError::caused_by(Fault::Connect, error.to_string(), error),
        other => McpError::caused_by(Fault::Answer, other.to_string(), other),
    }
}

impl Transport<RoleClient> for WebSocket {
    type Error = io::Error;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let sink = self.sink.clone();
        async move {
            let text = serde_json::to_string(&message)?;
            sink.lock().await.send(Message::text(text)).await.map_err(from_socket)
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let text = match self.stream.next().await? {
                Ok(Message::Text(text)) => text,
                Ok(Message::Close(_)) => return None,
                // Pings are answered below.
                Ok(_) => continue,
                Err(error) => {
                    tracing::debug!(%error, "the socket broke");
                    return None;
                }
            };
            match serde_json::from_str(&text) {
                Ok(message) => return Some(message),
                Err(error) => tracing::debug!(%error, "a text that is no message"),
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        // A server that reads no more would hold up the farewell for ever.
        const FAREWELL: Duration = Duration::from_secs(1);
        let sink = self.sink.clone();
        let _ = timeout(FAREWELL, async move { sink.lock().await.close().await }).await;
        Ok(())
    }
}

fn from_socket(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(ProtocolError::SendAfterClosing) => {
            io::Error::new(io::ErrorKind::NotConnected, error)
        }
        other => io::Error::other(other),
    }
}
