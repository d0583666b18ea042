//! What a server whose answers come on one stream does with a message: HTTP+SSE and WebSockets have it in common.

use crate::clock::by;
use crate::server::rpc_error;
use poet_domains::mcp::{Fault, Limits, McpError, Session, Target};
use poet_runtime::Class;
use serde_json::{Map, Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// What a call that comes to nothing is given.
pub(crate) const DEADLINE: Duration = Duration::from_millis(400);
/// The time between two reports of progress.
pub(crate) const PACE: Duration = Duration::from_millis(150);
/// What a call that comes to something is given.
pub(crate) const LONG: Duration = Duration::from_secs(20);
/// A connection that was lost after the request had gone.
pub(crate) const LOST: (Fault, Class) = (Fault::Lost, Class::Network { sent: true });

pub(crate) async fn call(session: &Session, deadline: Duration) -> Result<String, McpError> {
    let until = Instant::now() + deadline;
    by(until, session.call("write", &Map::new(), until, None)).await.map(|answer| answer.text)
}

pub(crate) async fn connected(target: Target) -> Session {
    let session = Session::new(target, Limits::default());
    session.list_tools(Instant::now() + LONG).await.expect("the server can be connected to");
    session
}

/// What becomes of a `tools/call`.
pub(crate) enum Play {
    /// It is answered on the stream.
    Answer,
    /// It is not answered.
    Silence,
    /// This stands on the stream in the place of an answer, and then the answer.
    Stray(&'static str),
    /// An answer of that many bytes.
    Huge(usize),
    /// It is answered after that many reports of progress, each [`PACE`] after the one before; they rise, or all say the
    /// same.
    Reports { rising: bool, reports: u32 },
    /// The stream ends.
    HangUp,
    /// It is answered with an error of that code: in the body of a refusal, where there is one.
    Error(i32),
    /// The request is refused with these bytes, where there is a response to refuse it with.
    Refuse(Vec<u8>),
}

/// What is reported about a call before it is answered.
pub(crate) fn reports(call: &Value, rising: bool, reports: u32) -> impl Iterator<Item = Value> {
    let token = call["params"]["_meta"]["progressToken"].clone();
    (1..=reports).map(move |n| {
        let params = json!({ "progressToken": token, "progress": if rising { n } else { 1 } });
        json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
    })
}

/// What a server remembers.
pub(crate) struct Seen {
    script: Box<dyn Fn(usize) -> Play + Send + Sync>,
    calls: AtomicUsize,
    connections: AtomicUsize,
    cancelled: Notify,
    headers: Mutex<Vec<Option<String>>>,
}

impl Seen {
    /// The script is told how many calls came before.
    pub(crate) fn new(script: impl Fn(usize) -> Play + Send + Sync + 'static) -> Self {
        Self {
            script: Box::new(script),
            calls: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            cancelled: Notify::new(),
            headers: Mutex::default(),
        }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes note of the credentials of a request.
    pub(crate) fn authorized(&self, by: Option<&str>) {
        self.headers.lock().unwrap().push(by.map(str::to_owned));
    }

    /// The credentials of every request.
    pub(crate) fn authorizations(&self) -> Vec<Option<String>> {
        self.headers.lock().unwrap().clone()
    }

    /// Waits until the server was told of a cancelled request.
    pub(crate) async fn cancelled(&self) {
        self.cancelled.notified().await;
    }

    /// What is to be done about a message: what the script says of a call, and the answer to it.
    pub(crate) fn take(&self, message: &Value) -> (Play, Value) {
        let result = |result: Value| json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
        match message["method"].as_str().unwrap_or_default() {
            "initialize" => {
                let info = json!({
                    "protocolVersion": "2024-11-05",
                    "capabilities": { "tools": {} },
                    "serverInfo": { "name": "scripted", "version": "1" },
                });
                (Play::Answer, result(info))
            }
            "tools/list" => {
                let tool = json!({ "name": "write", "inputSchema": { "type": "object" } });
                (Play::Answer, result(json!({ "tools": [tool] })))
            }
            "tools/call" => {
                let play = (self.script)(self.calls.fetch_add(1, Ordering::SeqCst));
                if let Play::Error(code) = play {
                    return (play, rpc_error(&message["id"], code, "no"));
                }
                let text = if let Play::Huge(size) = play { "x".repeat(size) } else { "done".to_owned() };
                (play, result(json!({ "content": [{ "type": "text", "text": text }] })))
            }
            "notifications/cancelled" => {
                self.cancelled.notify_one();
                (Play::Silence, Value::Null)
            }
            _ => (Play::Silence, Value::Null),
        }
    }
}
