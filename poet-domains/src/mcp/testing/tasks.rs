//! Tasks of the scripted server: it says that it is at it until its time is over, and then how it ended.

use super::answer::Answer;
use super::server::{failed, result};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// When a client is asked to ask again.
const ASK_IN: Duration = Duration::from_millis(100);

/// The tasks that it knows, and what was done about them.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    known: HashMap<String, Entry>,
    made: u64,
    pub(super) asked: usize,
    pub(super) cancelled: usize,
}

#[derive(Debug)]
struct Entry {
    ends: Instant,
    end: End,
}

#[derive(Clone, Debug)]
enum End {
    Completed(Value),
    Failed(i32, String),
    Cancelled,
    Never,
}

impl Tasks {
    /// Takes a call on that is done after so long, and then ends as that answer says; what is answered now.
    pub(super) fn take_on(&mut self, takes: Duration, then: Answer, worked: Result<Value, String>) -> Value {
        self.made += 1;
        let id = format!("task-{}", self.made);
        self.known.insert(id.clone(), Entry { ends: Instant::now() + takes, end: end(then, worked) });
        let mut task = described(&id, "working");
        task["resultType"] = json!("task");
        task
    }

    /// What is answered to what is asked about a task; `None` where it is asked about something else.
    pub(super) fn answer(&mut self, method: &str, params: &Value) -> Option<Result<Value, (i32, String)>> {
        let cancels = match method {
            "tasks/get" => false,
            "tasks/cancel" => true,
            _ => return None,
        };
        let id = params["taskId"].as_str().unwrap_or_default();
        self.asked += usize::from(!cancels);
        let Some(entry) = self.known.get_mut(id) else {
            return Some(Err((-32602, format!("Failed to retrieve task: {id} not found"))));
        };
        if cancels {
            self.cancelled += 1;
            *entry = Entry { ends: Instant::now(), end: End::Cancelled };
            return Some(Ok(json!({ "resultType": "complete" })));
        }
        Some(Ok(entry.state(id)))
    }

    /// Forgets all, as a server does that keeps them in memory and is started again.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}

impl Entry {
    fn state(&self, id: &str) -> Value {
        let is_over = self.ends <= Instant::now();
        let mut state = match &self.end {
            End::Completed(result) if is_over => {
                let mut state = described(id, "completed");
                state["result"] = result.clone();
                state
            }
            End::Failed(code, message) if is_over => {
                let mut state = described(id, "failed");
                state["error"] = json!({ "code": code, "message": message });
                state
            }
            End::Cancelled if is_over => described(id, "cancelled"),
            _ => described(id, "working"),
        };
        state["resultType"] = json!("complete");
        state
    }
}

fn described(id: &str, status: &str) -> Value {
    json!({
        "taskId": id,
        "status": status,
        "createdAt": "2026-07-28T10:30:00Z",
        "lastUpdatedAt": "2026-07-28T10:30:00Z",
        "ttlMs": null,
        "pollIntervalMs": ASK_IN.as_millis() as u64,
    })
}

fn end(then: Answer, worked: Result<Value, String>) -> End {
    match then {
        Answer::Done => End::Completed(worked.map_or_else(|text| failed(&text), |value| result(&value))),
        Answer::Value(value) => End::Completed(result(&value)),
        Answer::ToolError(text) => End::Completed(failed(&text)),
        Answer::RpcError { code, message } => End::Failed(code, message),
        Answer::Refused => End::Cancelled,
        Answer::Hang => End::Never,
        Answer::After(_, then) | Answer::Progress { then, .. } | Answer::Task { then, .. } => end(*then, worked),
        Answer::Status { .. } | Answer::Lost | Answer::Garbage => End::Failed(-32603, "Internal error".to_owned()),
    }
}
