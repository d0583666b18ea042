//! What a server does by a task: waiting for it, asking how it stands, and letting go of it.

use super::{Due, Session, judged};
use crate::mcp::connection::ToolAnswer;
use crate::mcp::fault::{Fault, McpError};
use crate::mcp::task::{Task, TaskState, is_unknown};
use poet_runtime::Clock;
use serde_json::{Map, Value};
use std::time::Instant;
use tokio::time::timeout_at;

impl Session {
    /// Waits for what the server does by a task, and cancels it at the end of the time.
    pub(super) async fn wait_for(
        &self,
        mut task: Task,
        tool: &str,
        arguments: &Map<String, Value>,
        due: &Due,
    ) -> Result<ToolAnswer, McpError> {
        while timeout_at(due.answered.into(), tokio::time::sleep(task.ask_in)).await.is_ok() {
            match self.follow_once(&task.id, tool, arguments, due).await {
                Ok(TaskState::Working(still)) => task = still,
                Ok(TaskState::Ended(end)) => return end,
                Err(error) if is_unknown(&error) => {
                    return Err(McpError::new(Fault::Lost, "its task is unknown by now"));
                }
                // That it could not be asked, or was not sent the question, says nothing about the call: that was sent.
                Err(error) => tracing::debug!(%error, "how a task stands is not known just now"),
            }
        }
        let (session, until) = (self.clone(), Clock::system().now() + self.0.limits.health_probe);
        tokio::spawn(async move { session.forgo(&task.id, until).await });
        Err(McpError::new(Fault::Timeout { sent: true }, "the server is still at its task"))
    }

    /// Asks how a task stands, by which a call of that tool is done. What it ended with is looked at as any answer is.
    pub(in crate::mcp) async fn follow_once(
        &self,
        id: &str,
        tool: &str,
        arguments: &Map<String, Value>,
        due: &Due,
    ) -> Result<TaskState, McpError> {
        let live = self.live(due.connected).await?;
        let end = match self.watch(&live, live.connection.task(id, due.answered)).await? {
            TaskState::Working(task) => return Ok(TaskState::Working(task)),
            TaskState::Ended(end) => end,
        };
        let tools = live.connection.tools();
        let known = tools.iter().find(|known| known.name == tool);
        let end = judged(end, known.is_some());
        Ok(TaskState::Ended(end.and_then(|answer| self.0.checks.accept(tool, known, arguments, answer))))
    }

    /// Tells the server that nobody wants a task any more.
    pub(in crate::mcp) async fn forgo(&self, id: &str, until: Instant) -> Result<(), McpError> {
        let live = self.live(until).await?;
        self.watch(&live, live.connection.cancel_task(id, until)).await
    }
}
