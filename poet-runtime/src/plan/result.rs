//! What a plan comes to: how each step ended, and the whole.
//!
//! The account is kept honest: a step that may have been executed is not called failed, one that was put off is not
//! called done, and a plan is completed only if every step that should have run succeeded.

use super::action::StepAnswer;
use super::schedule::End;
use crate::clock::Wall;
use crate::error::{Error, Kind};
use crate::outcome::Class;
use crate::reply::Disposition;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// How a plan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Every step that should have run succeeded.
    Completed,
    /// Nothing failed that has to succeed, but an optional step failed, or something was put off.
    Partial,
    /// A step failed that is not optional, or the time was up.
    Failed,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// It was executed and answered.
    Done,
    /// It failed.
    Failed,
    /// Its condition did not hold, or a step whose answer it needs was skipped or was optional and failed.
    Skipped,
    /// It was put off, or left to a worker. It will be executed.
    Pending,
    /// It may have been executed, and may not be repeated.
    Unknown,
    /// It was done, and undone because the plan failed.
    Compensated,
    /// Its turn never came.
    NotStarted,
}

impl State {
    /// The name used in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Pending => "pending",
            Self::Unknown => "unknown",
            Self::Compensated => "compensated",
            Self::NotStarted => "not_started",
        }
    }
}

/// How the compensation of a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Undo {
    /// The step was undone.
    Done,
    /// The compensation failed, for this reason.
    Failed(String),
    /// The compensation may have been executed, and may not be repeated.
    Unknown(String),
    /// The compensation was not made, because the time was up.
    NotMade,
}

/// Why a step failed: the error itself, or its words where the result was read from the journal.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
pub struct StepError(Cause);

#[derive(Debug)]
enum Cause {
    Live(Error),
    Recorded(String),
}

impl StepError {
    /// The error; `None` where only its words are left.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match &self.0 {
            Cause::Live(error) => Some(error),
            Cause::Recorded(_) => None,
        }
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Live(error) => fmt::Display::fmt(error, f),
            Cause::Recorded(words) => f.write_str(words),
        }
    }
}

impl From<Error> for StepError {
    fn from(error: Error) -> Self {
        Self(Cause::Live(error))
    }
}

impl From<String> for StepError {
    fn from(words: String) -> Self {
        Self(Cause::Recorded(words))
    }
}

impl Serialize for StepError {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// What is known of a call that was put off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PutOff {
    /// The job's number, for `poet queue`.
    pub ticket: String,
    /// When it is due.
    #[serde(rename = "due_ms", serialize_with = "wall", deserialize_with = "read_wall")]
    pub due: Wall,
    /// Why it was put off.
    pub reason: String,
}

/// How one step went.
#[derive(Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepResult {
    /// The step.
    pub name: String,
    /// How it ended.
    pub state: State,
    /// Whether the plan could do without it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// What it answered.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub value: Option<Value>,
    /// How the answer came about, in a word: `done`, `cached`, `batched`, `deferred`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The same with everything that belongs to it; `None` where the result was read from the journal.
    #[serde(skip)]
    pub disposition: Option<Disposition>,
    /// The job it became, where it was put off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put_off: Option<PutOff>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
    /// Why it was skipped or not started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Attempts made.
    pub attempts: u32,
    /// From its start to its end.
    #[serde(rename = "elapsed_ms", serialize_with = "millis", deserialize_with = "read_millis")]
    pub elapsed: Duration,
    /// Whether it may have been executed although it failed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub perhaps_executed: bool,
    /// How its compensation went; `None` where none was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensation: Option<Undo>,
}

/// What a plan came to.
///
/// As JSON it has `success`, `status`, `chain_name`, `completed_steps`, `total_steps`, `total_duration_ms` and
/// `results`.
#[derive(Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Outcome {
    /// Whether it was completed.
    pub success: bool,
    /// How it ended.
    pub status: Status,
    /// The plan.
    #[serde(rename = "chain_name")]
    pub name: String,
    /// Steps that were done, or skipped.
    pub completed_steps: usize,
    /// All steps.
    pub total_steps: usize,
    /// From the start of this run to its end; time before a crash is not in it.
    #[serde(rename = "total_duration_ms", serialize_with = "millis", deserialize_with = "read_millis")]
    pub total_duration: Duration,
    /// The steps, as declared.
    #[serde(rename = "results")]
    pub steps: Vec<StepResult>,
}

impl Outcome {
    pub(super) fn new(name: String, steps: Vec<StepResult>, failed: bool, total_duration: Duration) -> Self {
        let completed_steps = steps.iter().filter(|step| matches!(step.state, State::Done | State::Skipped)).count();
        let status = match failed {
            true => Status::Failed,
            false if completed_steps == steps.len() => Status::Completed,
            false => Status::Partial,
        };
        // What was skipped for want of an answer leaves the step that failed to be counted.
        let success = status == Status::Completed;
        Self { success, status, name, completed_steps, total_steps: steps.len(), total_duration, steps }
    }

    /// How a step went; `None` if the plan has no such step.
    #[must_use]
    pub fn step(&self, name: &str) -> Option<&StepResult> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// What a step answered; `None` if it did not.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.step(name)?.value.as_ref()
    }

    /// What a step answered, read as `T`.
    ///
    /// # Errors
    ///
    /// [`Error::is_pending`] if it was put off; [`Error::is_denied`] if it has no answer, with the reason;
    /// [`Error::is_invalid_response`] if the answer is not a `T`.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        let step = self.step(name).ok_or_else(|| Error::denied(format!("the plan has no step `{name}`")))?;
        match (&step.value, &step.put_off) {
            (_, Some(put_off)) => Err(Error::pending(put_off.due)),
            (Some(value), None) if step.state != State::Pending => {
                T::deserialize(value).map_err(Error::invalid_response)
            }
            _ => Err(Error::denied(format!("step `{name}` has no answer: {}", step.why()))),
        }
    }

    /// The outcome if nothing failed that has to succeed, else the error of the first step that did.
    ///
    /// # Errors
    ///
    /// The error of that step, or [`Error::is_deadline`] if the time of the plan was up before any failed.
    pub fn into_result(mut self) -> Result<Self, Error> {
        if self.status != Status::Failed {
            return Ok(self);
        }
        let failed = self.steps.iter_mut().find(|step| {
            let failed = matches!(step.state, State::Failed | State::Unknown);
            failed && !step.optional && step.error.is_some()
        });
        let Some(step) = failed else { return Err(Error::new(Kind::Deadline { limit: self.total_duration })) };
        Err(match step.error.take().expect("it was looked for").0 {
            Cause::Live(error) => error,
            Cause::Recorded(words) if step.state == State::Unknown => {
                Error::new(Kind::OutcomeUnknown).with_source(Some(words.into()))
            }
            Cause::Recorded(words) => Error::service(Class::Permanent, words),
        })
    }

    /// The outcome as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("names are texts and numbers are finite")
    }
}

impl StepResult {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: State::NotStarted,
            optional: false,
            value: None,
            mode: None,
            disposition: None,
            put_off: None,
            error: None,
            reason: None,
            attempts: 0,
            elapsed: Duration::ZERO,
            perhaps_executed: false,
            compensation: None,
        }
    }

    pub(super) fn answered(name: &str, answer: StepAnswer, elapsed: Duration) -> Self {
        let disposition = answer.disposition().cloned();
        let put_off = disposition.as_ref().and_then(Disposition::ticket).map(|ticket| PutOff {
            ticket: ticket.id().to_owned(),
            due: ticket.due(),
            reason: ticket.reason().as_str().to_owned(),
        });
        let pending = put_off.is_some() || crate::is_pending(answer.value());
        Self {
            state: if pending { State::Pending } else { State::Done },
            mode: disposition.as_ref().map(|disposition| mode(disposition).to_owned()),
            put_off,
            disposition,
            attempts: answer.attempts(),
            elapsed,
            value: (!pending).then(|| answer.into_value()),
            ..Self::new(name)
        }
    }

    pub(super) fn refused(name: &str, error: Error, elapsed: Duration) -> Self {
        let unknown = error.is_outcome_unknown();
        let perhaps_executed = unknown || perhaps_executed(&error);
        let state = if unknown { State::Unknown } else { State::Failed };
        Self {
            state,
            attempts: error.attempts(),
            perhaps_executed,
            error: Some(error.into()),
            elapsed,
            ..Self::new(name)
        }
    }

    pub(super) fn skipped(name: &str, reason: String) -> Self {
        Self { state: State::Skipped, reason: Some(reason), ..Self::new(name) }
    }

    pub(super) fn end(&self) -> End {
        match self.state {
            State::Done | State::Compensated => End::Done,
            State::Failed => End::Failed { perhaps_ran: self.perhaps_executed },
            State::Skipped => End::Skipped,
            State::Pending => End::Pending,
            State::Unknown => End::Unknown,
            State::NotStarted => End::NotStarted,
        }
    }

    /// Why it has no answer, in a few words.
    pub(super) fn why(&self) -> String {
        match (&self.state, &self.put_off, &self.reason) {
            (_, Some(put_off), _) => format!("it was put off and is due at {}", put_off.due),
            (State::Pending, None, _) => "its value is not there yet".to_owned(),
            (State::Skipped, _, Some(reason)) => format!("it was skipped: {reason}"),
            (State::Skipped, _, None) => "it was skipped".to_owned(),
            (State::Failed, ..) => "it failed".to_owned(),
            (State::Unknown, ..) => "it is not known whether it was executed".to_owned(),
            _ => "it has not run".to_owned(),
        }
    }
}

fn perhaps_executed(error: &Error) -> bool {
    let unanswered = matches!(error.class(), Class::Timeout | Class::Network { sent: true }) || error.is_deadline();
    unanswered && error.attempts() > 0
}

fn mode(disposition: &Disposition) -> &'static str {
    match disposition {
        Disposition::Done => "done",
        Disposition::Cached { .. } => "cached",
        Disposition::Coalesced => "coalesced",
        Disposition::Batched { .. } => "batched",
        Disposition::Deferred(_) => "deferred",
        Disposition::Queued(_) => "queued",
        Disposition::Fallback { .. } => "fallback",
    }
}

/// What is written is there, `null` too.
fn some<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

fn is_false(value: &bool) -> bool {
    !value
}

fn millis<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(duration.as_secs_f64() * 1e3)
}

fn read_millis<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let millis = f64::deserialize(from)?;
    Duration::try_from_secs_f64(millis / 1e3).map_err(D::Error::custom)
}

fn wall<S: Serializer>(wall: &Wall, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i64(wall.millis())
}

fn read_wall<'de, D: Deserializer<'de>>(from: D) -> Result<Wall, D::Error> {
    i64::deserialize(from).map(Wall::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(states: &[State], failed: bool) -> Outcome {
        let steps = states.iter().map(|state| StepResult { state: *state, ..StepResult::new("s") }).collect();
        Outcome::new("chain".to_owned(), steps, failed, Duration::from_millis(1500))
    }

    #[test]
    fn a_plan_is_completed_only_if_everything_that_should_have_run_succeeded() {
        assert_eq!(outcome(&[State::Done, State::Skipped], false).status, Status::Completed);
        assert_eq!(outcome(&[State::Done, State::Failed], false).status, Status::Partial);
        assert_eq!(outcome(&[State::Done, State::Pending], false).status, Status::Partial);
        assert_eq!(outcome(&[State::Done, State::NotStarted], true).status, Status::Failed);
        assert!(outcome(&[], false).success);
    }

    #[test]
    fn the_outcome_is_written_under_the_names_of_chains_and_read_back() {
        let mut outcome = outcome(&[State::Done, State::Failed], true);
        outcome.steps[0].value = Some(json!({ "id": 7 }));
        outcome.steps[1].error = Some(Error::denied("no").into());
        let written = outcome.to_json();
        assert_eq!(written["success"], json!(false));
        assert_eq!((&written["chain_name"], &written["total_duration_ms"]), (&json!("chain"), &json!(1500.0)));
        assert_eq!((&written["completed_steps"], &written["total_steps"]), (&json!(1), &json!(2)));
        assert_eq!(written["results"][0]["value"], json!({ "id": 7 }));
        assert_eq!(written["results"][1]["error"], json!("refused: no"));
        let read: Outcome = serde_json::from_value(written).unwrap();
        assert_eq!(read.json::<Value>("s").unwrap(), json!({ "id": 7 }));
        assert!(read.into_result().unwrap_err().to_string().contains("refused: no"));
    }
}
