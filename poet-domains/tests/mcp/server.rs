//! An MCP server of the legacy era over raw HTTP/1.1, whose answer to every `tools/call` is scripted to the byte.

use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

/// What the server does with a `tools/call`.
pub(crate) enum Action {
    /// Sends these bytes and goes on.
    Send(Vec<u8>),
    /// Sends these bytes and keeps the connection open without another one.
    Hold(Vec<u8>),
    /// Sends these bytes and closes the connection.
    Close(Vec<u8>),
    /// Resets the connection.
    Reset,
    /// Sends these bytes once this many calls wait for it.
    Together(usize, Vec<u8>),
    /// Sends the first bytes and closes the connection, and the second ones to who resumes the stream.
    Resume(Vec<u8>, Vec<u8>),
}

/// The revision of the protocol the server speaks.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Speaks {
    /// With sessions.
    Legacy,
    /// Without.
    Modern,
}

/// One `tools/call` as it arrived: how many came before it, its id, the `key` among its arguments, and the state it
/// brings back.
pub(crate) struct Asked {
    pub(crate) before: usize,
    pub(crate) id: Value,
    pub(crate) key: String,
    pub(crate) state: Value,
}

impl Asked {
    pub(crate) fn result(&self, text: &str) -> Value {
        let content = json!([{ "type": "text", "text": text }]);
        json!({ "jsonrpc": "2.0", "id": self.id, "result": { "content": content, "isError": false } })
    }

    pub(crate) fn done(&self) -> Action {
        Action::Send(json_http(200, &[], &self.result("done")))
    }
}

/// How a session the server does not know is refused.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Unknown {
    /// 404, as the specification says.
    NotFound,
    /// 400 with a JSON-RPC error that carries no id, as `server-everything` does.
    BadRequestWithoutId,
    /// The request is accepted and never answered.
    Swallowed,
}

type Script = dyn Fn(&Asked) -> Action + Send + Sync;

struct Shared {
    script: Box<Script>,
    unknown: Unknown,
    sessions: Mutex<HashSet<String>>,
    calls: AtomicUsize,
    executions: Mutex<HashMap<String, usize>>,
    handshakes: AtomicUsize,
    lists: AtomicUsize,
    cancels: AtomicUsize,
    cancelled: Notify,
    silent_to_discover: AtomicBool,
    speaks: Mutex<Speaks>,
    waiting: watch::Sender<usize>,
    resumable: Mutex<Option<Vec<u8>>>,
    hung_up: Notify,
    last_headers: Mutex<HashMap<String, String>>,
}

/// A running server. Dropping it ends it with all its connections.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    pub(crate) async fn start(script: impl Fn(&Asked) -> Action + Send + Sync + 'static) -> Self {
        Self::start_with(Unknown::NotFound, script).await
    }

    pub(crate) async fn start_with(
        unknown: Unknown,
        script: impl Fn(&Asked) -> Action + Send + Sync + 'static,
    ) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), unknown, script).await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        unknown: Unknown,
        script: impl Fn(&Asked) -> Action + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            unknown,
            sessions: Mutex::default(),
            calls: AtomicUsize::new(0),
            executions: Mutex::default(),
            handshakes: AtomicUsize::new(0),
            lists: AtomicUsize::new(0),
            cancels: AtomicUsize::new(0),
            cancelled: Notify::new(),
            silent_to_discover: AtomicBool::new(false),
            speaks: Mutex::new(Speaks::Legacy),
            waiting: watch::Sender::new(0),
            resumable: Mutex::default(),
            hung_up: Notify::new(),
            last_headers: Mutex::default(),
        });
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, accepting }
    }

    /// Ends the server and waits until its port is free.
    pub(crate) async fn stop(mut self) -> SocketAddr {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    pub(crate) fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn handshakes(&self) -> usize {
        self.shared.handshakes.load(Ordering::SeqCst)
    }

    pub(crate) fn lists(&self) -> usize {
        self.shared.lists.load(Ordering::SeqCst)
    }

    /// How often each `key` argument was executed.
    pub(crate) fn executions(&self) -> HashMap<String, usize> {
        self.shared.executions.lock().unwrap().clone()
    }

    /// A header of the last request.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.shared.last_headers.lock().unwrap().get(name).cloned()
    }

    pub(crate) fn speak(&self, revision: Speaks) {
        *self.shared.speaks.lock().unwrap() = revision;
    }

    /// Waits until a client hung up on a request that was held.
    pub(crate) async fn hung_up(&self) {
        self.shared.hung_up.notified().await;
    }

    pub(crate) fn ignore_discover(&self) {
        self.shared.silent_to_discover.store(true, Ordering::SeqCst);
    }

    pub(crate) fn forget_sessions(&self) {
        self.shared.sessions.lock().unwrap().clear();
    }

    /// Waits until the server was told of a cancelled request.
    pub(crate) async fn cancelled(&self) {
        while self.shared.cancels.load(Ordering::SeqCst) == 0 {
            self.shared.cancelled.notified().await;
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(serve(stream, shared.clone()));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let (bytes, open) = match answer(&shared, &request) {
            Action::Send(bytes) => (bytes, true),
            Action::Close(bytes) => (bytes, false),
            Action::Reset => {
                let _ = stream.get_ref().set_zero_linger();
                return;
            }
            Action::Hold(bytes) => {
                let _ = stream.write_all(&bytes).await;
                // Until the client hangs up.
                let _ = stream.read(&mut [0]).await;
                shared.hung_up.notify_one();
                return;
            }
            Action::Together(calls, bytes) => {
                shared.waiting.send_modify(|waiting| *waiting += 1);
                let _ = shared.waiting.subscribe().wait_for(|&waiting| waiting >= calls).await;
                (bytes, true)
            }
            Action::Resume(first, second) => {
                *shared.resumable.lock().unwrap() = Some(second);
                (first, false)
            }
        };
        if stream.write_all(&bytes).await.is_err() || !open {
            return;
        }
    }
}

struct Request {
    method: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let method = lines.next()?.split(' ').next()?.to_owned();
    let headers: HashMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { method, headers, body })
}

fn answer(shared: &Shared, request: &Request) -> Action {
    match request.method.as_str() {
        "POST" => shared.last_headers.lock().unwrap().clone_from(&request.headers),
        "GET" if request.headers.contains_key("last-event-id") => {
            let rest = shared.resumable.lock().unwrap().take();
            return rest.map_or_else(|| Action::Send(http(405, &[], b"")), Action::Close);
        }
        "DELETE" => return Action::Send(http(200, &[], b"")),
        _ => return Action::Send(http(405, &[], b"")),
    }
    let message: Value = serde_json::from_slice(&request.body).unwrap();
    let id = message["id"].clone();
    let session = request.headers.get("mcp-session-id");
    let result = |result: Value| json!({ "jsonrpc": "2.0", "id": id, "result": result });
    let method = message["method"].as_str().unwrap_or_default();
    let speaks = *shared.speaks.lock().unwrap();
    match method {
        "server/discover" if speaks == Speaks::Modern => {
            shared.handshakes.fetch_add(1, Ordering::SeqCst);
            let body = result(json!({
                "resultType": "complete",
                "supportedVersions": ["2026-07-28"],
                "capabilities": { "tools": {} },
                "ttlMs": 0,
                "cacheScope": "private",
            }));
            return Action::Send(json_http(200, &[], &body));
        }
        "server/discover" if shared.silent_to_discover.load(Ordering::SeqCst) => return Action::Hold(Vec::new()),
        "server/discover" => return Action::Send(json_http(400, &[], &rpc_error(&Value::Null, -32000, "no session"))),
        "initialize" => {
            let number = shared.handshakes.fetch_add(1, Ordering::SeqCst);
            let session = format!("session-{number}-{shared:p}");
            shared.sessions.lock().unwrap().insert(session.clone());
            let body = result(json!({
                "protocolVersion": "2025-06-18",
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "scripted", "version": "1" },
            }));
            return Action::Send(json_http(200, &[("Mcp-Session-Id", &session)], &body));
        }
        _ => {}
    }
    let known = session.is_some_and(|session| shared.sessions.lock().unwrap().contains(session));
    if !known && speaks == Speaks::Legacy {
        return match shared.unknown {
            Unknown::NotFound => Action::Send(json_http(404, &[], &rpc_error(&id, -32001, "Session not found"))),
            Unknown::BadRequestWithoutId => {
                let mut error = rpc_error(&id, -32000, "Bad Request: No valid session ID provided");
                error.as_object_mut().unwrap().remove("id");
                Action::Send(json_http(400, &[], &error))
            }
            Unknown::Swallowed => Action::Hold(Vec::new()),
        };
    }
    match method {
        "tools/list" => {
            shared.lists.fetch_add(1, Ordering::SeqCst);
            let schema = json!({ "type": "object" });
            Action::Send(json_http(
                200,
                &[],
                &result(json!({ "tools": [
                    { "name": "write", "inputSchema": schema },
                    { "name": "read", "inputSchema": schema, "annotations": { "readOnlyHint": true } },
                    {
                        "name": "count",
                        "inputSchema": { "type": "object", "properties": { "key": { "type": "string" } } },
                        "outputSchema": { "type": "object", "properties": { "total": { "type": "number" } } },
                    },
                ] })),
            ))
        }
        "tools/call" => {
            let before = shared.calls.fetch_add(1, Ordering::SeqCst);
            let key = message["params"]["arguments"]["key"].as_str().unwrap_or_default().to_owned();
            *shared.executions.lock().unwrap().entry(key.clone()).or_default() += 1;
            (shared.script)(&Asked { before, id, key, state: message["params"]["requestState"].clone() })
        }
        "notifications/cancelled" => {
            shared.cancels.fetch_add(1, Ordering::SeqCst);
            shared.cancelled.notify_waiters();
            shared.cancelled.notify_one();
            Action::Send(http(202, &[], b""))
        }
        _ if id.is_null() => Action::Send(http(202, &[], b"")),
        _ => Action::Send(json_http(200, &[], &rpc_error(&id, -32601, "Method not found"))),
    }
}

/// A JSON-RPC error.
pub(crate) fn rpc_error(id: &Value, code: i32, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

/// An HTTP response.
pub(crate) fn http(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut response = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        response += &format!("{name}: {value}\r\n");
    }
    let mut response = (response + "\r\n").into_bytes();
    response.extend(body);
    response
}

/// An HTTP response whose body is JSON.
pub(crate) fn json_http(status: u16, headers: &[(&str, &str)], body: &Value) -> Vec<u8> {
    let mut headers = headers.to_vec();
    headers.push(("content-type", "application/json"));
    http(status, &headers, body.to_string().as_bytes())
}

/// The beginning of a response that is a stream of events, and its first events.
pub(crate) fn sse_http(events: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{events}").into_bytes()
}

/// One event.
pub(crate) fn event(message: &Value) -> String {
    format!("data: {message}\n\n")
}
