//! Decides whether an answer that claims success is an error all the same.
//!
//! Servers answer errors under `isError: false`: as text (`Error: repository not found`), as JSON (`{"error": …}`), as
//! the error page of a gateway. Who trusts the flag counts them as successes and keeps them in the cache. But the word
//! "error" alone says nothing: logs, documentation and reports are full of it. So how an answer [reads](Reading) is
//! weighed against what the tool promised and what it usually says.
//!
//! | reads as | the declared output schema is kept, or there is none | it is not kept |
//! |---|---|---|
//! | plain | a success | a success, as far as this module is asked |
//! | a complaint | an error if the tool usually answers otherwise ([`Habit`]) | an error |
//! | an error | an error, unless the tool's job is to report errors ([`Habit`]) | an error |
//!
//! Whatever it reads as, an answer that gives back what it was sent is a success. Only English is read.

mod habit;
mod json;
mod text;

use self::habit::{Fingerprint, Habit, Question, Sample};
use super::connection::ToolAnswer;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The most tools whose habits are remembered; those beyond are judged by how their answers read alone.
const MAX_TOOLS: usize = 1024;

/// How an answer reads by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reading {
    /// Like anything but an error.
    Plain,
    /// Like something that may be an error, or may be about one.
    Complaint,
    /// Like an error and nothing else.
    Error,
}

/// What became of the output schema a tool declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// The tool declared none.
    None,
    /// The structured content is as declared.
    Kept,
    /// There is no structured content, or another than declared.
    Broken,
}

/// What the tools of one service usually answer.
///
/// It holds hashes, counts and kinds, never an answer or an argument.
#[derive(Debug, Default)]
pub(super) struct Habits(Mutex<HashMap<String, Habit>>);

impl Habits {
    /// Whether the answer of a tool is an error although it does not say so. Takes note of the answer.
    pub(super) fn is_masked(
        &self,
        tool: &str,
        arguments: &Map<String, Value>,
        answer: &ToolAnswer,
        promise: Promise,
    ) -> bool {
        let said = Said::of(answer);
        let reading = match said.reading(arguments) {
            Reading::Plain => Reading::Plain,
            _ if gives_back(arguments, &said) => Reading::Plain,
            reading => reading,
        };
        let sample = said.sample();
        let mut habits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if habits.len() >= MAX_TOOLS && !habits.contains_key(tool) {
            return by_itself(reading, promise);
        }
        let habit = match habits.get_mut(tool) {
            Some(habit) => habit,
            None => habits.entry(tool.to_owned()).or_default(),
        };
        if reading == Reading::Plain {
            habit.saw_plain(&sample, Question::of(arguments));
            return false;
        }
        habit.saw_suspicious(Fingerprint::of(&answer.text, arguments));
        if promise == Promise::Broken {
            return true;
        }
        !habit.reports_errors() && (reading == Reading::Error || habit.departs(&sample))
    }
}

/// The verdict where nothing is known of the tool.
fn by_itself(reading: Reading, promise: Promise) -> bool {
    match reading {
        Reading::Plain => false,
        Reading::Complaint => promise == Promise::Broken,
        Reading::Error => true,
    }
}

/// What an answer says, without the wrapping that SDKs put around it.
enum Said<'a> {
    Text(&'a str),
    Json(&'a Value),
    /// Content that is not all text: images, resources.
    Blocks,
}

impl<'a> Said<'a> {
    fn of(answer: &'a ToolAnswer) -> Self {
        match (&answer.structured, &answer.value) {
            // The Python SDK wraps what is no object: `{"result": "…"}`.
            (Some(Value::Object(wrapped)), _) if wrapped.len() == 1 => match wrapped.get("result") {
                Some(Value::String(text)) => Self::of_text(text),
                Some(value) => Self::Json(value),
                None => Self::Json(&answer.value),
            },
            (Some(structured), _) => Self::Json(structured),
            (None, Value::String(text)) => Self::of_text(text),
            (None, Value::Array(blocks)) if answer.text.is_empty() || !is_list_in(&answer.text) => {
                if blocks.is_empty() { Self::Json(&answer.value) } else { Self::Blocks }
            }
            (None, value) => Self::Json(value),
        }
    }

    fn of_text(text: &'a str) -> Self {
        Self::Text(text.trim())
    }

    fn reading(&self, sent: &Map<String, Value>) -> Reading {
        match self {
            Self::Text(text) => text::read(text),
            Self::Json(value) => json::read(value, sent),
            Self::Blocks => Reading::Plain,
        }
    }

    fn sample(&self) -> Sample {
        match self {
            Self::Text(text) => Sample::of_text(text),
            Self::Json(value) => Sample::of_json(value),
            Self::Blocks => Sample::blocks(),
        }
    }
}

/// Whether a list was read from the text, and is not that of the content blocks.
fn is_list_in(text: &str) -> bool {
    text.trim_start().starts_with('[')
}

/// Whether the answer is found in what was sent: what is echoed, stored or formatted reads as whatever the caller wrote.
fn gives_back(arguments: &Map<String, Value>, said: &Said<'_>) -> bool {
    // A word or two are found anywhere.
    const ENOUGH: usize = 12;
    let Said::Text(text) = said else { return false };
    let first = text.lines().next().unwrap_or_default().trim();
    first.len() >= ENOUGH && arguments.values().any(|value| contains(value, first, 8))
}

fn contains(value: &Value, part: &str, depth: u8) -> bool {
    match value {
        Value::String(text) => text.contains(part),
        Value::Array(values) if depth > 0 => values.iter().any(|value| contains(value, part, depth - 1)),
        Value::Object(values) if depth > 0 => values.values().any(|value| contains(value, part, depth - 1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn text(text: &str) -> ToolAnswer {
        ToolAnswer::new(&[text], vec![json!({ "type": "text", "text": text })], None, false)
    }

    fn structured(value: Value) -> ToolAnswer {
        ToolAnswer::new(&[&value.to_string()], Vec::new(), Some(value), false)
    }

    /// Of a call unlike all others.
    fn masked(habits: &Habits, answer: &ToolAnswer) -> bool {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        let arguments = json!({ "call": CALLS.fetch_add(1, Ordering::Relaxed) });
        habits.is_masked("tool", arguments.as_object().unwrap(), answer, Promise::None)
    }

    #[test]
    fn a_complaint_is_an_error_where_a_schema_is_declared_and_not_kept() {
        let habits = Habits::default();
        let answer = text("Destination already exists: /srv/data/a.txt");
        assert!(!masked(&habits, &answer));
        assert!(habits.is_masked("tool", &Map::new(), &answer, Promise::Broken));
        assert!(!habits.is_masked("tool", &Map::new(), &text("Moved"), Promise::Broken));
    }

    #[test]
    fn a_complaint_is_an_error_once_the_tool_is_known_to_answer_otherwise() {
        let habits = Habits::default();
        let complaint = text("the owner is required");
        assert!(!masked(&habits, &complaint), "nothing is known of the tool");
        for id in 0..8 {
            assert!(!masked(&habits, &text(&json!({ "id": id, "tag_name": "v1" }).to_string())));
        }
        assert!(masked(&habits, &complaint));
        assert!(!habits.is_masked("other", &Map::new(), &complaint, Promise::None), "habits are those of one tool");
    }

    #[test]
    fn a_complaint_of_a_tool_that_often_talks_like_that_is_a_success() {
        let habits = Habits::default();
        for id in 0..20 {
            assert!(!masked(&habits, &text(&format!("{id} items were looked through and put in order"))));
        }
        assert!(!masked(&habits, &text("3 items were rejected, their price was invalid")));
    }

    #[test]
    fn a_tool_whose_job_is_to_report_errors_is_believed_after_many_different_ones() {
        let habits = Habits::default();
        let words = ["disk", "net", "cpu", "heap", "stack", "file", "lock", "pipe", "port", "core", "page", "swap"];
        let reports: Vec<_> = (0..40)
            .map(|n| format!("Error: {} {} is worn out", words[n % words.len()], words[n / words.len()]))
            .collect();
        let found: Vec<_> = reports.iter().map(|report| masked(&habits, &text(report))).collect();
        assert!(found[..20].iter().all(|masked| *masked), "nothing says yet that it is its job");
        assert!(!found[39]);
    }

    #[test]
    fn a_tool_that_always_fails_the_same_way_is_never_believed() {
        let habits = Habits::default();
        for id in 0..200 {
            let arguments = json!({ "repo": format!("acme/repository-{id}") });
            let answer = text(&format!("Error: acme/repository-{id} not found (request {id})"));
            assert!(habits.is_masked("tool", arguments.as_object().unwrap(), &answer, Promise::None), "{id}");
        }
    }

    #[test]
    fn what_was_sent_is_no_error_when_it_comes_back() {
        let habits = Habits::default();
        let arguments = json!({ "note": { "body": "Error: disk full on node 7" } });
        let answer = text("Error: disk full on node 7");
        assert!(!habits.is_masked("tool", arguments.as_object().unwrap(), &answer, Promise::None));
        assert!(masked(&habits, &answer));
    }

    #[test]
    fn the_wrapping_of_an_sdk_is_looked_through_and_content_is_not() {
        let habits = Habits::default();
        assert!(masked(&habits, &structured(json!({ "result": "Error: repository not found" }))));
        let content = json!({ "content": "Error: this is what stands in the file" });
        assert!(!habits.is_masked("tool", &Map::new(), &structured(content), Promise::Kept));
    }

    #[test]
    fn the_memory_of_habits_is_bounded() {
        let habits = Habits::default();
        for tool in 0..(MAX_TOOLS + 10) {
            habits.is_masked(&tool.to_string(), &Map::new(), &text("fine"), Promise::None);
        }
        assert_eq!(habits.0.lock().unwrap().len(), MAX_TOOLS);
        assert!(habits.is_masked("one more", &Map::new(), &text("Error: no such thing"), Promise::None));
    }
}
