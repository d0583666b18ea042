//! Tasks of a server, as the SDK has them: offering to take one, asking for one, and letting go of one.
//!
//! The capability is declared in each request of the stateless revision, and only where a task will do in the place of
//! an answer: a server that may choose would otherwise let everybody wait for the next time it is asked. Older revisions
//! have tasks of another kind, which the SDK does not know any more.

use super::{Connection, answer};
use crate::mcp::fault::{Fault, McpError};
use crate::mcp::task::{Task, TaskState};
use rmcp::ClientHandler as _;
use rmcp::model::{
    CallToolResult, CancelTaskParams, CancelTaskRequest, ClientRequest, GetTaskParams, GetTaskRequest, InputRequests,
    JsonObject, RequestMetaObject, ServerResult, TASKS_EXTENSION_ID, Task as Wire, TaskPayload, UpdateTaskParams,
    UpdateTaskRequest,
};
use rmcp::service::PeerRequestOptions;
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

pub(super) fn task(wire: Wire) -> Task {
    Task::new(wire.task_id, wire.poll_interval_ms.map(Duration::from_millis))
}

/// Whether a server refused a call, before it did anything, because nobody offered to take a task.
pub(super) fn is_wanted(error: &McpError) -> bool {
    match error.fault() {
        Fault::Rpc { code: -32021 } => true,
        // As drafts had it, and some servers still do.
        Fault::Rpc { code: -32003 } => error.text().to_lowercase().contains("capabilit"),
        _ => false,
    }
}

impl Connection {
    /// What stands in `_meta`, and that a task will do, if it will.
    pub(super) fn options(&self, meta: Option<Map<String, Value>>, offers: bool) -> PeerRequestOptions {
        let mut meta = meta.map(RequestMetaObject::from);
        if offers && self.era() == crate::mcp::connection::Era::Modern {
            let mut capabilities = self.service.service().get_info().capabilities;
            let extensions = capabilities.extensions.get_or_insert_default();
            extensions.insert(TASKS_EXTENSION_ID.to_owned(), JsonObject::new());
            meta.get_or_insert_default().set_client_capabilities(capabilities);
        }
        let options = PeerRequestOptions::no_options();
        match meta {
            Some(meta) => options.with_meta(meta),
            None => options,
        }
    }

    async fn about_task(&self, request: ClientRequest, until: Instant) -> Result<ServerResult, McpError> {
        self.request(request, self.options(None, true), Some(until)).await
    }

    pub(super) async fn task_state(&self, id: &str, until: Instant) -> Result<TaskState, McpError> {
        let request = ClientRequest::GetTaskRequest(GetTaskRequest::new(GetTaskParams::new(id)));
        let ServerResult::GetTaskResult(got) = self.about_task(request, until).await? else {
            return Err(McpError::new(Fault::Answer, "no state of a task"));
        };
        let state = got.task;
        Ok(match state.payload {
            TaskPayload::Completed { result } => TaskState::Ended(completed(result)),
            TaskPayload::Failed { error } => TaskState::Ended(Err(failed(&error))),
            TaskPayload::Cancelled => TaskState::Ended(Err(McpError::tool("the server cancelled its task".to_owned()))),
            TaskPayload::InputRequired { input_requests } => {
                if self.tell_task(id, input_requests, until).await? {
                    TaskState::Working(task(state.task))
                } else {
                    // It would wait for ever.
                    let _ = self.drop_task(id, until).await;
                    TaskState::Ended(Err(McpError::new(Fault::Input, "nobody is there to answer")))
                }
            }
            _ => TaskState::Working(task(state.task)),
        })
    }

    /// Answers what a task asks a person, if there is one.
    async fn tell_task(&self, id: &str, asked: InputRequests, until: Instant) -> Result<bool, McpError> {
        let answering = self.service.service().ask_all(asked);
        let Some(answers) = super::bounded(Some(until), answering).await.flatten() else { return Ok(false) };
        let request = UpdateTaskRequest::new(UpdateTaskParams::new(id, answers));
        self.about_task(ClientRequest::UpdateTaskRequest(request), until).await.map(|_| true)
    }

    pub(super) async fn drop_task(&self, id: &str, until: Instant) -> Result<(), McpError> {
        let request = ClientRequest::CancelTaskRequest(CancelTaskRequest::new(CancelTaskParams::new(id)));
        self.about_task(request, until).await.map(|_| ())
    }
}

fn completed(result: JsonObject) -> Result<crate::mcp::ToolAnswer, McpError> {
    serde_json::from_value::<CallToolResult>(Value::Object(result))
        .map(answer)
        .map_err(|error| McpError::caused_by(Fault::Answer, format!("the result of a task: {error}"), error))
}

/// The error a task ended with. Unlike one of a request it says nothing of the session.
fn failed(error: &JsonObject) -> McpError {
    let code = error.get("code").and_then(Value::as_i64).and_then(|code| i32::try_from(code).ok()).unwrap_or(-32603);
    let text = error.get("message").and_then(Value::as_str).unwrap_or_default();
    McpError::new(Fault::Rpc { code }, text)
}
