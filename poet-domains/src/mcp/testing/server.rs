//! The scripted server: does with each call what its tool says, and counts.

use super::answer::{Answer, Call};
use super::bytes::{event, http, json_http, rpc_error, sse_http};
use super::tasks::Tasks;
use super::tool::Tool;
use super::wire::{self, Action, Asked, Nature, Speaks, lock};
use poet_runtime::config::ServiceConfig;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An MCP server over streamable HTTP on a port of this machine, in this process.
///
/// It speaks revision 2025-06-18 unless it is told to [`speak`](Self::speak) another, keeps count of what it was asked and of what it executed, and ends with this value.
#[derive(Debug)]
pub struct Server {
    wire: wire::Server,
    desk: Arc<Mutex<Desk>>,
}

/// The tools, and what happened to them.
#[derive(Debug)]
struct Desk {
    tools: Vec<Tool>,
    /// The calls of each tool that arrived, and of each tool with each set of arguments.
    calls: HashMap<String, u64>,
    attempts: HashMap<(String, Map<String, Value>), u64>,
    executions: Vec<(String, Map<String, Value>)>,
    /// Clients are to be told that the tools have changed.
    changed: bool,
    tasks: Tasks,
}

impl Server {
    /// Starts a server with these tools on a free port.
    ///
    /// # Errors
    ///
    /// If no port can be listened on.
    pub async fn start(tools: impl IntoIterator<Item = Tool>) -> io::Result<Self> {
        Self::start_at(Nature::default().address, tools).await
    }

    /// Starts a server with these tools at that address: one that is started again, as for its clients.
    ///
    /// # Errors
    ///
    /// If the address cannot be listened on.
    pub async fn start_at(address: SocketAddr, tools: impl IntoIterator<Item = Tool>) -> io::Result<Self> {
        let tools: Vec<_> = tools.into_iter().collect();
        let nature = Nature { address, tools: listed(&tools), ..Nature::default() };
        let desk = Arc::new(Mutex::new(Desk {
            tools,
            calls: HashMap::new(),
            attempts: HashMap::new(),
            executions: Vec::new(),
            changed: false,
            tasks: Tasks::default(),
        }));
        let (script, others) = (desk.clone(), desk.clone());
        let others = move |method: &str, params: &Value| lock(&others).tasks.answer(method, params);
        let wire = wire::Server::start_answering(nature, move |asked| answer(&script, asked), others).await?;
        Ok(Self { wire, desk })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.wire.address()
    }

    /// The address its clients are given.
    #[must_use]
    pub fn url(&self) -> String {
        self.wire.url()
    }

    /// The configuration of a service that this is, to be adorned.
    #[must_use]
    pub fn service(&self, name: impl Into<String>) -> ServiceConfig {
        ServiceConfig::http(name, self.url())
    }

    /// How many calls of a tool arrived.
    #[must_use]
    pub fn calls(&self, tool: &str) -> usize {
        lock(&self.desk).calls.get(tool).map_or(0, |calls| *calls as usize)
    }

    /// The arguments with which a tool was executed, in the order in which it was.
    #[must_use]
    pub fn executions(&self, tool: &str) -> Vec<Map<String, Value>> {
        let desk = lock(&self.desk);
        desk.executions.iter().filter(|(name, _)| name == tool).map(|(_, arguments)| arguments.clone()).collect()
    }

    /// How often a tool was executed with just these arguments.
    #[must_use]
    pub fn executed(&self, tool: &str, arguments: &Value) -> usize {
        self.executions(tool).iter().filter(|executed| arguments.as_object() == Some(executed)).count()
    }

    /// How often it was asked for its tools.
    #[must_use]
    pub fn lists(&self) -> usize {
        self.wire.lists()
    }

    /// Has these tools from now on, and says so to whoever calls one next.
    pub fn replace_tools(&self, tools: impl IntoIterator<Item = Tool>) {
        let mut desk = lock(&self.desk);
        desk.tools = tools.into_iter().collect();
        desk.changed = true;
        self.wire.replace_tools(listed(&desk.tools));
    }

    /// Speaks this revision of the protocol from now on.
    pub fn speak(&self, revision: Speaks) {
        self.wire.speak(revision);
    }

    /// Forgets its sessions, as a server does that is started again.
    pub fn forget_sessions(&self) {
        self.wire.forget_sessions();
    }

    /// Forgets its tasks, as a server does that keeps them in memory and is started again.
    pub fn forget_tasks(&self) {
        lock(&self.desk).tasks.forget();
    }

    /// How often it was asked how a task stands.
    #[must_use]
    pub fn asked_about_tasks(&self) -> usize {
        lock(&self.desk).tasks.asked
    }

    /// How many tasks were cancelled by clients.
    #[must_use]
    pub fn cancelled_tasks(&self) -> usize {
        lock(&self.desk).tasks.cancelled
    }

    /// Ends the server and waits until its port is free.
    pub async fn stop(self) -> SocketAddr {
        self.wire.stop().await
    }
}

fn answer(desk: &Mutex<Desk>, asked: &Asked) -> Action {
    let Some((tool, call)) = lock(desk).take(asked) else {
        let error = rpc_error(&asked.id, -32602, &format!("Unknown tool: {}", asked.tool));
        return Action::Send(json_http(200, &[], &error));
    };
    // The desk is free meanwhile: what a tool does is the user's, and may look at the server.
    let answer = offered(tool.decides(&call), asked);
    let worked = answer.executes().then(|| {
        lock(desk).executions.push((asked.tool.clone(), asked.arguments.clone()));
        tool.execute(&asked.arguments)
    });
    let change = std::mem::take(&mut lock(desk).changed);
    if let Answer::Task { takes, then, .. } = answer {
        let task = lock(desk).tasks.take_on(takes, *then, worked.unwrap_or(Ok(Value::Null)));
        return Action::Send(json_http(200, &[], &asked.carrying(&task)));
    }
    let place = if change { Place::AfterNews } else { Place::Response };
    acted(asked, answer, worked.unwrap_or(Ok(Value::Null)), place)
}

impl Desk {
    /// Writes a call down; `None` if there is no such tool.
    fn take(&mut self, asked: &Asked) -> Option<(Tool, Call)> {
        let tool = self.tools.iter().find(|tool| tool.name() == asked.tool)?.clone();
        let number = self.calls.entry(asked.tool.clone()).or_default();
        let attempt = self.attempts.entry((asked.tool.clone(), asked.arguments.clone())).or_default();
        *number += 1;
        *attempt += 1;
        Some((tool, Call { number: *number, attempt: *attempt, arguments: asked.arguments.clone() }))
    }
}

/// What becomes of a task that the client takes, or does not take.
fn offered(answer: Answer, asked: &Asked) -> Answer {
    match answer {
        Answer::Task { required: true, .. } if !asked.takes_tasks => {
            Answer::rpc_error(-32021, "Missing required client capability: io.modelcontextprotocol/tasks")
        }
        Answer::Task { takes, then, .. } if !asked.takes_tasks => then.after(takes),
        answer => answer,
    }
}

/// Where an answer stands.
#[derive(Clone, Copy)]
enum Place {
    /// It is the response.
    Response,
    /// Before it stands that the tools have changed.
    AfterNews,
    /// On a stream that has begun.
    Stream,
}

/// What is sent for an answer.
fn acted(asked: &Asked, answer: Answer, worked: Result<Value, String>, place: Place) -> Action {
    let send = |message: Value| match place {
        Place::Response => Action::Send(json_http(200, &[], &message)),
        Place::AfterNews => {
            let told = json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" });
            Action::Close(sse_http(&(event(&told) + &event(&message))))
        }
        Place::Stream => Action::Close(event(&message).into_bytes()),
    };
    match answer {
        Answer::Done => send(asked.carrying(&match worked {
            Ok(value) => result(&value),
            Err(text) => failed(&text),
        })),
        Answer::Value(value) => send(asked.carrying(&result(&value))),
        Answer::ToolError(text) => send(asked.carrying(&failed(&text))),
        Answer::RpcError { code, message } => send(rpc_error(&asked.id, code, &message)),
        // The head of a response stands before everything else.
        Answer::Status { .. } | Answer::Garbage if matches!(place, Place::Stream) => {
            Action::Close(b"data: <html>It works!</html>\n\n".to_vec())
        }
        Answer::Status { status, retry_after } => {
            let seconds = retry_after.map(|wait| wait.as_secs().to_string());
            let headers: Vec<_> = seconds.iter().map(|seconds| ("Retry-After", seconds.as_str())).collect();
            Action::Send(http(status, &headers, b""))
        }
        Answer::Hang => Action::Hold(Vec::new()),
        Answer::Refused | Answer::Lost => Action::Close(Vec::new()),
        Answer::Garbage => Action::Send(http(200, &[("content-type", "application/json")], b"<html>It works!</html>")),
        Answer::Progress { reports, every, then } => {
            let report = |n| (every, event(&asked.report(f64::from(n))).into_bytes());
            let head = (Duration::ZERO, if matches!(place, Place::Stream) { Vec::new() } else { sse_http("") });
            let bits = std::iter::once(head).chain((1..=reports).map(report)).collect();
            Action::Bits(bits, Box::new(acted(asked, *then, worked, Place::Stream)))
        }
        // Taken on before; inside another answer it is none.
        Answer::Task { then, .. } => acted(asked, *then, worked, place),
        Answer::After(wait, then) => Action::After(wait, Box::new(acted(asked, *then, worked, place))),
    }
}

/// A result of the protocol: an object as structured content, anything else as text.
pub(super) fn result(value: &Value) -> Value {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut result = json!({ "content": [{ "type": "text", "text": text }], "isError": false });
    if value.is_object() {
        result["structuredContent"] = value.clone();
    }
    result
}

pub(super) fn failed(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }], "isError": true })
}

fn listed(tools: &[Tool]) -> Vec<Value> {
    tools.iter().map(Tool::listed).collect()
}
