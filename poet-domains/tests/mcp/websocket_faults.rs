//! The fault table over WebSockets.

use crate::server::http;
use crate::streams::{DEADLINE, LONG, LOST, PACE, Play, Seen, call, connected, reports};
use futures_util::{SinkExt, StreamExt};
use poet_domains::mcp::{Fault, Limits, Session, Target};
use poet_runtime::Class;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// A running server. Dropping it ends it with all its connections.
pub(crate) struct Server {
    address: SocketAddr,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(script: impl Fn(usize) -> Play + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::new(script));
        let accepting = tokio::spawn(accept(listener, seen.clone()));
        Self { address, seen, accepting }
    }

    pub(crate) fn target(&self) -> Target {
        Target::websocket(format!("ws://{}/ws", self.address))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, seen.clone()));
    }
}

async fn serve(stream: TcpStream, seen: Arc<Seen>) {
    #[expect(clippy::result_large_err, reason = "the type is the library's")]
    let greet = |request: &Request, mut response: Response| {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!(header("sec-websocket-protocol"), Some("mcp"));
        seen.authorized(header("authorization"));
        response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("mcp"));
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, greet).await.unwrap();
    seen.connected();
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let message = serde_json::from_str(&text).unwrap();
        let (play, answer) = seen.take(&message);
        let answer = Message::text(answer.to_string());
        let messages = match play {
            Play::Answer | Play::Huge(_) | Play::Error(_) => vec![answer],
            Play::Silence => Vec::new(),
            Play::Reports { rising, reports: many } => {
                for report in reports(&message, rising, many) {
                    tokio::time::sleep(PACE).await;
                    let _ = socket.send(Message::text(report.to_string())).await;
                }
                vec![answer]
            }
            Play::Stray(text) => vec![Message::text(text), Message::binary(text), Message::Ping("?".into()), answer],
            Play::HangUp => return,
            Play::Refuse(_) => vec![Message::Close(None)],
        };
        for message in messages {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test]
async fn an_answer_is_a_text_whatever_else_comes() {
    let server = Server::start(|before| if before == 0 { Play::Answer } else { Play::Stray("{\"no\": 1}") }).await;
    let session = connected(server.target()).await;
    for _ in 0..3 {
        assert_eq!(call(&session, LONG).await.unwrap(), "done");
    }
    assert_eq!((server.seen.connections(), server.seen.calls()), (1, 3));
}

#[tokio::test]
async fn a_socket_that_ends_during_a_call_may_have_executed_it_and_is_opened_anew_for_the_next() {
    for end in [|| Play::HangUp, || Play::Refuse(Vec::new()), || Play::Huge(17 * 1024 * 1024)] {
        let server = Server::start(move |before| if before == 0 { end() } else { Play::Answer }).await;
        let session = connected(server.target()).await;
        let error = call(&session, LONG).await.unwrap_err();
        assert_eq!((error.fault(), error.class()), LOST);
        assert_eq!(call(&session, LONG).await.unwrap(), "done");
        assert_eq!((server.seen.connections(), server.seen.calls()), (2, 2));
    }
}

#[tokio::test]
async fn an_error_is_the_servers_own() {
    let server = Server::start(|_| Play::Error(-32602)).await;
    let error = call(&connected(server.target()).await, LONG).await.unwrap_err();
    assert_eq!((error.fault(), error.class()), (Fault::Rpc { code: -32602 }, Class::Permanent));
}

#[tokio::test]
async fn silence_ends_with_the_deadline_and_the_server_is_told() {
    let server = Server::start(|_| Play::Silence).await;
    let session = connected(server.target()).await;
    let error = call(&session, DEADLINE).await.unwrap_err();
    assert_eq!((error.fault(), error.class()), (Fault::Timeout { sent: true }, Class::Timeout));
    tokio::time::timeout(LONG, server.seen.cancelled()).await.expect("the server was told");
}

#[tokio::test]
async fn giving_up_tells_the_server() {
    let server = Server::start(|_| Play::Silence).await;
    let session = connected(server.target()).await;
    let patience = tokio::time::timeout(DEADLINE, call(&session, LONG));
    assert!(patience.await.is_err());
    tokio::time::timeout(LONG, server.seen.cancelled()).await.expect("the server was told");
}

/// A server that answers whatever it is asked with these bytes.
async fn answering(bytes: Vec<u8>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(&bytes).await;
            let _ = stream.read(&mut [0; 4096]).await;
        }
    });
    (address, serving)
}

#[tokio::test]
async fn a_handshake_that_is_refused_keeps_its_status_and_how_long_to_wait() {
    let wait = Some(Duration::from_secs(7));
    for (response, expected) in [
        (http(503, &[("Retry-After", "7")], b"later"), Fault::Http { status: 503, retry_after: wait }),
        (http(401, &[], b"who?"), Fault::Http { status: 401, retry_after: None }),
        (http(307, &[("Location", "ws://127.0.0.1:9/")], b""), Fault::Http { status: 307, retry_after: None }),
        (b"220 mail ready\r\n\r\n".to_vec(), Fault::Connect),
    ] {
        let (address, serving) = answering(response).await;
        let session = Session::new(Target::websocket(format!("ws://{address}/ws")), Limits::default());
        let error = call(&session, LONG).await.unwrap_err();
        assert_eq!(error.fault(), expected, "{error}");
        serving.abort();
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_or_never_greets_was_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::websocket(format!("ws://{}/ws", listener.local_addr().unwrap()));
    let error = call(&Session::new(target.clone(), Limits::default()), DEADLINE).await.unwrap_err();
    assert_eq!((error.fault(), error.class()), (Fault::Timeout { sent: false }, Class::Network { sent: false }));
    drop(listener);
    let error = call(&Session::new(target, Limits::default()), LONG).await.unwrap_err();
    assert_eq!((error.fault(), error.class()), (Fault::Connect, Class::Network { sent: false }));
}

#[tokio::test]
async fn what_is_no_address_of_a_socket_is_permanent() {
    for url in ["http://localhost/ws", "not an address", ""] {
        let error = call(&Session::new(Target::websocket(url), Limits::default()), LONG).await.unwrap_err();
        assert_eq!((error.fault(), error.class()), (Fault::Start, Class::Permanent), "{url}");
    }
}

#[tokio::test]
async fn the_token_is_sent_and_shown_nowhere() {
    let server = Server::start(|_| Play::Answer).await;
    let target = |token: &str| Target::WebSocket {
        url: format!("ws://{}/ws?key=hunter2", server.address),
        token: Some(token.to_owned()),
    };
    let session = Session::new(target("hunter2hunter2"), Limits::default());
    assert_eq!(call(&session, LONG).await.unwrap(), "done");
    assert_eq!(server.seen.authorizations(), [Some("Bearer hunter2hunter2".to_owned())]);
    assert!(!format!("{session:?}").contains("hunter2"));
    let error = call(&Session::new(target("hunter2\n"), Limits::default()), LONG).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Start);
    assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
}
