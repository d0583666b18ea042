//! The fault table over HTTP+SSE.

use crate::server::{Request, http, json_http, read, rpc_error, sse_http};
use crate::streams::{DEADLINE, LONG, LOST, PACE, Play, Seen, call, connected, reports};
use poet_domains::mcp::{Fault, Limits, Session, Target};
use poet_runtime::Class;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

/// A running server. Dropping it ends it with all its connections.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    seen: Seen,
    /// What a GET is answered with.
    opening: Vec<u8>,
    /// The stream that was opened last; `None` on it ends it.
    stream: Mutex<Option<mpsc::UnboundedSender<Option<String>>>>,
}

impl Server {
    pub(crate) async fn start(script: impl Fn(usize) -> Play + Send + Sync + 'static) -> Self {
        Self::start_with(sse_http("event: endpoint\ndata: /messages?session=7\n\n"), script).await
    }

    async fn start_with(opening: Vec<u8>, script: impl Fn(usize) -> Play + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { seen: Seen::new(script), opening, stream: Mutex::default() });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, accepting }
    }

    pub(crate) fn target(&self) -> Target {
        Target::sse(format!("http://{}/sse", self.address))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, shared.clone()));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        shared.seen.authorized(request.headers.get("authorization").map(String::as_str));
        if request.method == "GET" {
            return events(stream, &shared).await;
        }
        let response = take(&shared, &request);
        if stream.write_all(&response).await.is_err() {
            return;
        }
    }
}

async fn events(mut stream: BufReader<TcpStream>, shared: &Shared) {
    let (events, mut waiting) = mpsc::unbounded_channel();
    *shared.stream.lock().unwrap() = Some(events);
    shared.seen.connected();
    let mut sending = stream.write_all(&shared.opening).await;
    while sending.is_ok() {
        tokio::select! {
            event = waiting.recv() => match event.flatten() {
                Some(event) => sending = stream.write_all(event.as_bytes()).await,
                None => return,
            },
            // The client hung up.
            _ = stream.read_u8() => return,
        }
    }
}

fn take(shared: &Shared, request: &Request) -> Vec<u8> {
    let message: Value = serde_json::from_slice(&request.body).unwrap();
    let (play, answer) = shared.seen.take(&message);
    let event = format!("event: message\ndata: {answer}\n\n");
    let events = match play {
        Play::Answer | Play::Huge(_) => vec![Some(event)],
        Play::Silence => Vec::new(),
        Play::Stray(text) => vec![Some(text.to_owned()), Some(event)],
        Play::Reports { rising, reports: many } => {
            let stream = shared.stream.lock().unwrap().clone().unwrap();
            tokio::spawn(async move {
                for report in reports(&message, rising, many) {
                    tokio::time::sleep(PACE).await;
                    let _ = stream.send(Some(format!("data: {report}\n\n")));
                }
                let _ = stream.send(Some(event));
            });
            return http(202, &[], b"Accepted");
        }
        Play::HangUp => vec![None],
        Play::Error(_) => return json_http(400, &[], &answer),
        Play::Refuse(response) => return response,
    };
    let stream = shared.stream.lock().unwrap();
    for event in events {
        let _ = stream.as_ref().unwrap().send(event);
    }
    http(202, &[], b"Accepted")
}

async fn fault(script: impl Fn(usize) -> Play + Send + Sync + 'static) -> (Fault, Class) {
    let server = Server::start(script).await;
    let error = call(&connected(server.target()).await, LONG).await.expect_err("the script is a fault");
    (error.fault(), error.class())
}

#[tokio::test]
async fn an_answer_comes_on_the_stream_whatever_else_stands_on_it() {
    let stray =
        ": still there\n\nevent: weather\ndata: fine\n\ndata: {\"no\": \"message\"}\n\nevent: endpoint\ndata: /x\n\n";
    let server = Server::start(move |before| if before == 0 { Play::Answer } else { Play::Stray(stray) }).await;
    let session = connected(server.target()).await;
    for _ in 0..3 {
        assert_eq!(call(&session, LONG).await.unwrap(), "done");
    }
    assert_eq!((server.shared.seen.connections(), server.shared.seen.calls()), (1, 3));
}

#[tokio::test]
async fn a_stream_that_ends_during_a_call_may_have_executed_it_and_is_opened_anew_for_the_next() {
    let server = Server::start(|before| if before == 0 { Play::HangUp } else { Play::Answer }).await;
    let session = connected(server.target()).await;
    let error = call(&session, LONG).await.unwrap_err();
    assert_eq!((error.fault(), error.class()), LOST);
    assert_eq!(call(&session, LONG).await.unwrap(), "done");
    assert_eq!(server.shared.seen.connections(), 2);
}

#[tokio::test]
async fn a_refused_message_keeps_its_status_and_how_long_to_wait() {
    let wait = Some(Duration::from_secs(7));
    let refused = |status, headers: &'static [(&str, &str)]| move |_| Play::Refuse(http(status, headers, b"no"));
    let (of_429, class) = fault(refused(429, &[("Retry-After", "7")])).await;
    assert_eq!(
        (of_429, class),
        (Fault::Http { status: 429, retry_after: wait }, Class::Throttled { retry_after: wait })
    );
    let (of_500, class) = fault(refused(500, &[])).await;
    assert_eq!((of_500, class), (Fault::Http { status: 500, retry_after: None }, Class::Transient));
    let (of_307, _) = fault(refused(307, &[("Location", "http://127.0.0.1:9/")])).await;
    assert_eq!(of_307, Fault::Http { status: 307, retry_after: None });
}

#[tokio::test]
async fn a_session_the_server_has_forgotten_was_refused_before_anything_was_executed() {
    let forgotten = rpc_error(&Value::Null, -32000, "No transport found for sessionId").to_string();
    let script = move |before| match before {
        0 => Play::Refuse(http(404, &[], b"Could not find session")),
        1 => Play::Refuse(http(400, &[], forgotten.as_bytes())),
        _ => Play::Answer,
    };
    let server = Server::start(script).await;
    let session = connected(server.target()).await;
    for _ in 0..2 {
        assert_eq!(call(&session, LONG).await.unwrap_err().class(), Class::Network { sent: false });
    }
    assert_eq!(call(&session, LONG).await.unwrap(), "done");
    assert_eq!(server.shared.seen.connections(), 3);
}

#[tokio::test]
async fn an_error_in_the_body_of_the_refusal_is_the_servers_own() {
    assert_eq!(fault(|_| Play::Error(-32602)).await, (Fault::Rpc { code: -32602 }, Class::Permanent));
}

#[tokio::test]
async fn an_event_that_does_not_end_is_not_collected() {
    assert_eq!(fault(|_| Play::Huge(17 * 1024 * 1024)).await, LOST);
}

#[tokio::test]
async fn silence_ends_with_the_deadline_and_the_server_is_told() {
    let server = Server::start(|_| Play::Silence).await;
    let session = connected(server.target()).await;
    let error = call(&session, DEADLINE).await.unwrap_err();
    assert_eq!((error.fault(), error.class()), (Fault::Timeout { sent: true }, Class::Timeout));
    tokio::time::timeout(LONG, server.shared.seen.cancelled()).await.expect("the server was told");
}

#[tokio::test]
async fn giving_up_tells_the_server() {
    let server = Server::start(|_| Play::Silence).await;
    let session = connected(server.target()).await;
    let patience = tokio::time::timeout(DEADLINE, call(&session, LONG));
    assert!(patience.await.is_err());
    tokio::time::timeout(LONG, server.shared.seen.cancelled()).await.expect("the server was told");
}

#[tokio::test]
async fn what_is_no_stream_of_events_was_sent_nothing() {
    let elsewhere = "event: endpoint\ndata: http://127.0.0.1:9/messages\n\n";
    for (opening, expected, said) in [
        (sse_http(elsewhere), Fault::Connect, "has to be at"),
        (http(200, &[("content-type", "text/html")], b"<h1>"), Fault::Connect, "no stream of events"),
        (http(200, &[("content-type", "text/event-stream")], b""), Fault::Connect, "before it named an address"),
        (http(401, &[], b"who?"), Fault::Http { status: 401, retry_after: None }, "who?"),
        (http(307, &[("Location", "http://127.0.0.1:9/")], b""), Fault::Http { status: 307, retry_after: None }, "307"),
        (sse_http(": wait\n\n"), Fault::Timeout { sent: false }, ""),
    ] {
        let server = Server::start_with(opening, |_| Play::Answer).await;
        let session = Session::new(server.target(), Limits::default());
        let error = call(&session, DEADLINE).await.unwrap_err();
        assert_eq!(error.fault(), expected, "{error}");
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(server.shared.seen.calls(), 0);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_was_sent_nothing() {
    let server = Server::start(|_| Play::Answer).await;
    let target = server.target();
    drop(server);
    let error = call(&Session::new(target, Limits::default()), LONG).await.unwrap_err();
    assert_eq!((error.fault(), error.class()), (Fault::Connect, Class::Network { sent: false }));
    let error = call(&Session::new(Target::sse("ws://localhost/sse"), Limits::default()), LONG).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Start);
}

#[tokio::test]
async fn the_token_is_sent_with_every_request_and_shown_nowhere() {
    let server = Server::start(|_| Play::Answer).await;
    let target =
        Target::Sse { url: format!("http://{}/sse?key=hunter2", server.address), token: Some("hunter2hunter2".into()) };
    let session = Session::new(target, Limits::default());
    assert_eq!(call(&session, LONG).await.unwrap(), "done");
    let sent = server.shared.seen.authorizations();
    assert!(sent.len() >= 4 && sent.iter().all(|by| by.as_deref() == Some("Bearer hunter2hunter2")), "{sent:?}");
    assert!(!format!("{session:?}").contains("hunter2"));
    drop(server);
    let error = loop {
        match call(&session, LONG).await {
            Err(error) if error.fault() == Fault::Connect => break error,
            other => assert!(matches!(&other, Err(error) if error.fault() == Fault::Lost), "{other:?}"),
        }
    };
    assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
}
