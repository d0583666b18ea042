//! A task: what a server answers with that does a call in its own time (extension `io.modelcontextprotocol/tasks`).
//!
//! The server keeps it, whatever becomes of the connection, and is asked for it by its id (`tasks/get`), as seldom as it
//! wants to be. For the runtime it is [`Accepted`], whose token is the id and, where a service has several endpoints,
//! the one that knows it.

use super::connection::ToolAnswer;
use super::fault::{Fault, McpError};
use super::fleet::failure;
use poet_runtime::service::{Accepted, Failure, Fetched, News, fnv1a};
use std::time::Duration;

/// The operation under which asking is learned and reported.
pub(super) const ASK: &str = "tasks/get";

/// How soon a server is asked that does not say when it wants to be, and the bounds of what it may say.
const USUAL: Duration = Duration::from_secs(1);
const SOONEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3_600);

/// What a server answers a call with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Called {
    /// The answer of the tool.
    Answered(ToolAnswer),
    /// A task, by which the server does it in its own time.
    TakenOn(Task),
}

impl From<ToolAnswer> for Called {
    fn from(answer: ToolAnswer) -> Self {
        Self::Answered(answer)
    }
}

/// What a server does in its own time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Task {
    /// What it is asked by.
    pub id: String,
    /// When the server wants to be asked.
    pub ask_in: Duration,
}

impl Task {
    /// A task, with when the server wants to be asked, if it says so.
    #[must_use]
    pub fn new(id: impl Into<String>, ask_in: Option<Duration>) -> Self {
        Self { id: id.into(), ask_in: ask_in.unwrap_or(USUAL).clamp(SOONEST, LONGEST) }
    }
}

/// How a task stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TaskState {
    /// The server is at it.
    Working(Task),
    /// It has ended so.
    Ended(Result<ToolAnswer, McpError>),
}

/// Where a task is known: the endpoint, by an address that may have moved since, and the id there.
pub(super) struct Token<'a> {
    place: u64,
    pub(super) id: &'a str,
}

impl<'a> Token<'a> {
    /// The token of a task of the endpoint at that address.
    pub(super) fn write(address: &str, id: &str) -> String {
        format!("{:016x}:{id}", place(address))
    }

    /// A token that was written; what is none is an id of an endpoint nobody knows.
    pub(super) fn read(token: &'a str) -> Self {
        let written = token.split_once(':').and_then(|(at, id)| Some((u64::from_str_radix(at, 16).ok()?, id)));
        let (place, id) = written.unwrap_or((0, token));
        Self { place, id }
    }

    pub(super) fn is_of(&self, address: &str) -> bool {
        self.place == place(address)
    }
}

/// Without the query, in which people put keys that change.
fn place(address: &str) -> u64 {
    fnv1a(address.split('?').next().unwrap_or_default())
}

/// What an attempt fetched, as the runtime is told; `token` makes one of the id of a task.
pub(super) fn fetched(called: Called, token: impl FnOnce(&str) -> String) -> Fetched {
    match called {
        Called::Answered(answer) => Fetched::from(answer.value),
        Called::TakenOn(task) => Accepted { token: token(&task.id), ask_in: task.ask_in }.into(),
    }
}

/// What a server said of a task, as the runtime is told.
pub(super) fn news(said: Result<TaskState, McpError>, token: &str) -> Result<News, Failure> {
    match said {
        Ok(TaskState::Working(task)) => Ok(News::Working(Accepted { token: token.to_owned(), ask_in: task.ask_in })),
        Ok(TaskState::Ended(Ok(answer))) => Ok(News::Done(answer.value.into())),
        Ok(TaskState::Ended(Err(error))) => Ok(News::Failed(failure(error))),
        Err(error) if is_unknown(&error) => Ok(News::Forgotten),
        Err(error) => Err(failure(error)),
    }
}

/// Whether an answer to the question for a task says that there is none: the only thing that can be wrong with the
/// question is the id, and a server that does not know the question has no tasks.
pub(super) fn is_unknown(error: &McpError) -> bool {
    let Fault::Rpc { code } = error.fault() else { return false };
    let text = error.text().to_lowercase();
    let says_so =
        ["not found", "unknown", "no such", "does not exist", "expired"].iter().any(|sign| text.contains(sign));
    matches!(code, -32602 | -32601 | -32002) || (text.contains("task") && says_so)
}

#[cfg(test)]
mod tests {
    use super::*;
    use poet_runtime::Class;

    #[test]
    fn a_token_leads_back_to_the_endpoint_and_the_id_and_says_nothing_of_its_address() {
        let token = Token::write("https://crm.test/mcp?key=hunter2", "a:b");
        let read = Token::read(&token);
        assert_eq!((read.id, read.is_of("https://crm.test/mcp?key=other")), ("a:b", true));
        assert!(!read.is_of("https://other.test/mcp") && !token.contains("crm"));
        assert_eq!(Token::read("task").id, "task");
    }

    #[test]
    fn only_a_server_that_says_so_does_not_know_a_task() {
        let rpc = |code, text: &str| news(Err(McpError::new(Fault::Rpc { code }, text)), "t");
        for (code, text) in [(-32602, "no"), (-32601, "Method not found"), (-32001, "Task has expired")] {
            assert!(matches!(rpc(code, text), Ok(News::Forgotten)), "{code} {text}");
        }
        assert!(rpc(-32603, "boom").is_err(), "it may be known in a moment");
        assert!(news(Err(McpError::new(Fault::Connect, "refused")), "t").is_err());
    }

    #[test]
    fn a_task_that_failed_is_the_failure_of_the_call_and_not_of_asking() {
        let error = McpError::new(Fault::Rpc { code: -32603 }, "out of paper");
        let Ok(News::Failed(failure)) = news(Ok(TaskState::Ended(Err(error))), "t") else { panic!("it failed") };
        assert_eq!(failure.class, Class::Transient);
    }

    #[test]
    fn a_server_may_want_to_be_asked_once_an_hour_and_not_more_seldom() {
        assert_eq!(Task::new("t", None).ask_in, USUAL);
        assert_eq!(Task::new("t", Some(Duration::MAX)).ask_in, LONGEST);
    }
}
