//! An MCP server over raw HTTP/1.1, whose answer to every `tools/call` is scripted to the byte.
//!
//! It plays every part of the protocol that a client needs before it gets to call a tool, in either era, and lets the
//! script say what is sent then and what becomes of the connection. [`Server`](super::Server) is the one to use where
//! it is enough to say what a tool answers.

use super::bytes::{Request, http, json_http, read, rpc_error};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

/// What the server does with a `tools/call`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Action {
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
    /// Sends each of these bytes after its time, and does so then.
    Bits(Vec<(Duration, Vec<u8>)>, Box<Action>),
    /// Does so after that time.
    After(Duration, Box<Action>),
}

/// The revision of the protocol the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// 2025-06-18: with sessions.
    Legacy,
    /// 2026-07-28: without.
    Modern,
}

/// One `tools/call` as it arrived.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Asked {
    /// How many came before it.
    pub before: usize,
    /// Its id.
    pub id: Value,
    /// The tool it is for.
    pub tool: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// The state it brings back, where the tool had asked for something.
    pub state: Value,
    /// The answers it brings to what the tool had asked for.
    pub answers: Value,
    /// What its progress is reported under; null where nobody wants to know.
    pub progress_token: Value,
    /// Whether a task will do in the place of the answer.
    pub takes_tasks: bool,
}

impl Asked {
    /// Its argument `key`, or an empty text.
    #[must_use]
    pub fn key(&self) -> &str {
        self.arguments.get("key").and_then(Value::as_str).unwrap_or_default()
    }

    /// The message with this text as the answer.
    #[must_use]
    pub fn result(&self, text: &str) -> Value {
        let content = json!([{ "type": "text", "text": text }]);
        self.carrying(&json!({ "content": content, "isError": false }))
    }

    /// The message that reports that it has come so far.
    #[must_use]
    pub fn report(&self, progress: f64) -> Value {
        let params = json!({ "progressToken": self.progress_token, "progress": progress });
        json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
    }

    /// The message with this result.
    #[must_use]
    pub fn carrying(&self, result: &Value) -> Value {
        json!({ "jsonrpc": "2.0", "id": self.id, "result": result })
    }

    /// A good answer, whose text is `done`.
    #[must_use]
    pub fn done(&self) -> Action {
        Action::Send(json_http(200, &[], &self.result("done")))
    }
}

/// How a session the server does not know is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// 404, as the specification says.
    NotFound,
    /// 400 with a JSON-RPC error that carries no id, as `server-everything` does.
    BadRequestWithoutId,
    /// The request is accepted and never answered.
    Swallowed,
}

/// What a server is like, apart from its script.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Nature {
    /// Where it listens. A free port of this machine, unless said otherwise.
    pub address: SocketAddr,
    /// How it refuses a session that it does not know.
    pub unknown: Unknown,
    /// The tools it lists, as the protocol writes them.
    pub tools: Vec<Value>,
}

impl Default for Nature {
    fn default() -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), unknown: Unknown::NotFound, tools: Vec::new() }
    }
}

type Script = dyn Fn(&Asked) -> Action + Send + Sync;
/// What is answered to other requests, by method and parameters: a result, or the code and message of an error.
type Others = dyn Fn(&str, &Value) -> Option<Result<Value, (i32, String)>> + Send + Sync;

struct Shared {
    script: Box<Script>,
    others: Box<Others>,
    unknown: Unknown,
    sessions: Mutex<HashSet<String>>,
    tools: Mutex<Vec<Value>>,
    calls: Mutex<Vec<(String, Map<String, Value>)>>,
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
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    /// Starts one without tools that listens on a free port.
    ///
    /// # Errors
    ///
    /// If no port can be listened on.
    pub async fn start(script: impl Fn(&Asked) -> Action + Send + Sync + 'static) -> io::Result<Self> {
        Self::start_with(Nature::default(), script).await
    }

    /// Starts one of this nature.
    ///
    /// # Errors
    ///
    /// If its address cannot be listened on.
    pub async fn start_with(
        nature: Nature,
        script: impl Fn(&Asked) -> Action + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_answering(nature, script, |_, _| None).await
    }

    /// Starts one of this nature that answers other requests too, by method and parameters: with a result, or the code
    /// and message of an error.
    ///
    /// # Errors
    ///
    /// If its address cannot be listened on.
    pub async fn start_answering(
        nature: Nature,
        script: impl Fn(&Asked) -> Action + Send + Sync + 'static,
        others: impl Fn(&str, &Value) -> Option<Result<Value, (i32, String)>> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(nature.address).await?;
        let shared = Arc::new(Shared {
            script: Box::new(script),
            others: Box::new(others),
            unknown: nature.unknown,
            sessions: Mutex::default(),
            tools: Mutex::new(nature.tools),
            calls: Mutex::default(),
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
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { address, shared, accepting })
    }

    /// Ends the server and waits until its port is free.
    pub async fn stop(mut self) -> SocketAddr {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
        self.address
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address its clients are given.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// The calls that arrived, in their order: the tool and its arguments.
    #[must_use]
    pub fn calls(&self) -> Vec<(String, Map<String, Value>)> {
        lock(&self.shared.calls).clone()
    }

    /// How often a client introduced itself.
    #[must_use]
    pub fn handshakes(&self) -> usize {
        self.shared.handshakes.load(Ordering::SeqCst)
    }

    /// How often it was asked for its tools.
    #[must_use]
    pub fn lists(&self) -> usize {
        self.shared.lists.load(Ordering::SeqCst)
    }

    /// A header of the last request, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        lock(&self.shared.last_headers).get(name).cloned()
    }

    /// Speaks this revision from now on.
    pub fn speak(&self, revision: Speaks) {
        *lock(&self.shared.speaks) = revision;
    }

    /// Waits until a client hung up on a request that was held.
    pub async fn hung_up(&self) {
        self.shared.hung_up.notified().await;
    }

    /// Leaves it unanswered from now on when a client asks for its revision.
    pub fn ignore_discover(&self) {
        self.shared.silent_to_discover.store(true, Ordering::SeqCst);
    }

    /// Forgets its sessions, as a server does that is started again.
    pub fn forget_sessions(&self) {
        lock(&self.shared.sessions).clear();
    }

    /// Lists these tools from now on. Nobody is told; a script can.
    pub fn replace_tools(&self, tools: Vec<Value>) {
        *lock(&self.shared.tools) = tools;
    }

    /// Waits until the server was told of a cancelled request.
    pub async fn cancelled(&self) {
        while self.shared.cancels.load(Ordering::SeqCst) == 0 {
            self.shared.cancelled.notified().await;
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

pub(super) fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut action = answer(&shared, &request);
        let (bytes, open) = loop {
            break match action {
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
                    *lock(&shared.resumable) = Some(second);
                    (first, false)
                }
                Action::Bits(bits, then) => {
                    for (wait, bytes) in bits {
                        tokio::time::sleep(wait).await;
                        if stream.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                    action = *then;
                    continue;
                }
                Action::After(wait, then) => {
                    tokio::time::sleep(wait).await;
                    action = *then;
                    continue;
                }
            };
        };
        if stream.write_all(&bytes).await.is_err() || !open {
            return;
        }
    }
}

fn answer(shared: &Shared, request: &Request) -> Action {
    match request.method.as_str() {
        "POST" => lock(&shared.last_headers).clone_from(&request.headers),
        "GET" if request.headers.contains_key("last-event-id") => {
            let rest = lock(&shared.resumable).take();
            return rest.map_or_else(|| Action::Send(http(405, &[], b"")), Action::Close);
        }
        "DELETE" => return Action::Send(http(200, &[], b"")),
        _ => return Action::Send(http(405, &[], b"")),
    }
    let Ok(message) = serde_json::from_slice::<Value>(&request.body) else {
        return Action::Send(json_http(400, &[], &rpc_error(&Value::Null, -32700, "Parse error")));
    };
    let id = message["id"].clone();
    let session = request.headers.get("mcp-session-id");
    let result = |result: Value| json!({ "jsonrpc": "2.0", "id": id, "result": result });
    let method = message["method"].as_str().unwrap_or_default();
    let speaks = *lock(&shared.speaks);
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
            lock(&shared.sessions).insert(session.clone());
            let body = result(json!({
                "protocolVersion": "2025-06-18",
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "scripted", "version": "1" },
            }));
            return Action::Send(json_http(200, &[("Mcp-Session-Id", &session)], &body));
        }
        _ => {}
    }
    let known = session.is_some_and(|session| lock(&shared.sessions).contains(session));
    if !known && speaks == Speaks::Legacy {
        return match shared.unknown {
            Unknown::NotFound => Action::Send(json_http(404, &[], &rpc_error(&id, -32001, "Session not found"))),
            Unknown::BadRequestWithoutId => {
                let mut error = rpc_error(&id, -32000, "Bad Request: No valid session ID provided");
                error.as_object_mut().map(|error| error.remove("id"));
                Action::Send(json_http(400, &[], &error))
            }
            Unknown::Swallowed => Action::Hold(Vec::new()),
        };
    }
    match method {
        "tools/list" => {
            shared.lists.fetch_add(1, Ordering::SeqCst);
            let tools = lock(&shared.tools).clone();
            Action::Send(json_http(200, &[], &result(json!({ "tools": tools }))))
        }
        "tools/call" => {
            let param = |name: &str| message["params"][name].clone();
            let tool = param("name").as_str().unwrap_or_default().to_owned();
            let arguments = param("arguments").as_object().cloned().unwrap_or_default();
            let before = {
                let mut calls = lock(&shared.calls);
                calls.push((tool.clone(), arguments.clone()));
                calls.len() - 1
            };
            let (state, answers) = (param("requestState"), param("inputResponses"));
            let meta = param("_meta");
            let progress_token = meta["progressToken"].clone();
            let extensions = &meta["io.modelcontextprotocol/clientCapabilities"]["extensions"];
            let takes_tasks = extensions["io.modelcontextprotocol/tasks"].is_object();
            (shared.script)(&Asked { before, id, tool, arguments, state, answers, progress_token, takes_tasks })
        }
        "notifications/cancelled" => {
            shared.cancels.fetch_add(1, Ordering::SeqCst);
            shared.cancelled.notify_waiters();
            shared.cancelled.notify_one();
            Action::Send(http(202, &[], b""))
        }
        _ if id.is_null() => Action::Send(http(202, &[], b"")),
        _ => Action::Send(json_http(
            200,
            &[],
            &match (shared.others)(method, &message["params"]) {
                Some(Ok(answer)) => result(answer),
                Some(Err((code, text))) => rpc_error(&id, code, &text),
                None => rpc_error(&id, -32601, "Method not found"),
            },
        )),
    }
}
