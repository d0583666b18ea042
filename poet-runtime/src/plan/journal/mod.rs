//! What a plan under a key has done, so that it can be taken up again after a crash; and the history of all plans.
//!
//! Two things are promised of an entry: it is durable when `note` returns, and of two that say that one step was
//! started only the first is taken. On these rests that no step that may not be repeated is started twice, even if two
//! processes run one key at the same time.

mod memory;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

pub use memory::MemoryJournal;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteJournal;

use super::result::{Outcome, Status, StepResult};
use crate::clock::Wall;
use crate::store::{BoxFuture, StoreError};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Runs whose outcome and history are kept; the oldest that have ended go first.
pub(super) const MAX_RUNS: usize = 10_000;

/// What happened to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Happening {
    /// It is about to be started, and may not be repeated.
    Started,
    /// It has ended.
    Ended,
    /// Its compensation is about to be started, and may not be repeated.
    UndoStarted,
    /// Its compensation has ended.
    Undone,
}

impl Happening {
    /// The name under which it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ended => "ended",
            Self::UndoStarted => "undo_started",
            Self::Undone => "undone",
        }
    }

    /// What is stored under a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Started, Self::Ended, Self::UndoStarted, Self::Undone].into_iter().find(|what| what.as_str() == name)
    }
}

/// What happened to one step of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The step.
    pub step: String,
    /// What happened to it.
    pub what: Happening,
    /// A [`StepResult`] as JSON; empty for what has only started.
    pub account: String,
}

/// A run under a key, as it begins or goes on.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    /// The key.
    pub key: &'a str,
    /// The plan.
    pub plan: &'a str,
    /// What tells the plan and its inputs from others.
    pub fingerprint: &'a str,
    /// When it begins.
    pub began: Wall,
}

/// What is known of a run under a key.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// What tells its plan and its inputs from others.
    pub fingerprint: String,
    /// What happened to its steps, in that order.
    pub entries: Vec<Entry>,
    /// Its [`Outcome`] as JSON, once it has ended.
    pub outcome: Option<String>,
}

/// A run that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The plan.
    pub plan: String,
    /// Its key, where it had one.
    pub key: Option<String>,
    /// When it ended.
    pub ended: Wall,
    /// How it ended.
    pub status: Status,
    /// Steps that were done, or skipped.
    pub completed_steps: usize,
    /// All steps.
    pub total_steps: usize,
    /// How long it took.
    pub duration: Duration,
}

/// Keeps runs of plans.
pub trait Journal: Send + Sync + fmt::Debug {
    /// What and where it is, for logs.
    fn describe(&self) -> String;

    /// Begins a run, or finds what is known of it. A new one is durable when this returns.
    fn open<'a>(&'a self, opening: &'a Opening<'a>) -> BoxFuture<'a, Result<Recorded, StoreError>>;

    /// Adds an entry to a run, durably; `false` if it has one of that step and kind, which stays as it is.
    fn note<'a>(&'a self, key: &'a str, entry: &'a Entry) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Adds an ended run to the history. One with a key is given its outcome, and its entries may go.
    fn end<'a>(&'a self, run: &'a Run, outcome: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The newest `limit` runs that have ended, newest first.
    fn history(&self, limit: usize) -> BoxFuture<'_, Result<Vec<Run>, StoreError>>;
}

/// Runs of plans that have ended, and how well they did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct History {
    /// The runs, newest first.
    pub runs: Vec<Run>,
    /// How well they did, by the name of the plan.
    pub metrics: BTreeMap<String, Metrics>,
}

/// How well the runs of one plan did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Metrics {
    /// Runs.
    pub count: usize,
    /// The share of them that were completed.
    pub success_rate: f64,
    /// How long they took on average.
    pub mean_duration: Duration,
}

impl History {
    pub(super) fn of(runs: Vec<Run>) -> Self {
        let mut metrics = BTreeMap::<String, (usize, usize, Duration)>::new();
        for run in &runs {
            let (count, completed, took) = metrics.entry(run.plan.clone()).or_default();
            *count += 1;
            *completed += usize::from(run.status == Status::Completed);
            *took = took.saturating_add(run.duration);
        }
        let metrics = metrics.into_iter().map(|(plan, (count, completed, took))| {
            let success_rate = completed as f64 / count as f64;
            let mean_duration = took / u32::try_from(count).unwrap_or(u32::MAX);
            (plan, Metrics { count, success_rate, mean_duration })
        });
        Self { metrics: metrics.collect(), runs }
    }
}

impl Run {
    pub(super) fn of(outcome: &Outcome, key: Option<&str>, ended: Wall) -> Self {
        Self {
            plan: outcome.name.clone(),
            key: key.map(str::to_owned),
            ended,
            status: outcome.status,
            completed_steps: outcome.completed_steps,
            total_steps: outcome.total_steps,
            duration: outcome.total_duration,
        }
    }
}

impl Entry {
    pub(super) fn new(step: &str, what: Happening, result: Option<&StepResult>) -> Self {
        let account = result.map(|result| serde_json::to_string(result).expect("a result is plain values"));
        Self { step: step.to_owned(), what, account: account.unwrap_or_default() }
    }
}

/// What every journal must do.
#[cfg(test)]
pub(super) mod conformance {
    use super::*;

    fn opening(key: &str) -> Opening<'_> {
        Opening { key, plan: "onboarding", fingerprint: "f", began: Wall::from_millis(1) }
    }

    fn run(key: Option<&str>, ended: i64, status: Status) -> Run {
        Run {
            plan: "onboarding".to_owned(),
            key: key.map(str::to_owned),
            ended: Wall::from_millis(ended),
            status,
            completed_steps: 2,
            total_steps: 3,
            duration: Duration::from_millis(u64::try_from(ended).unwrap()),
        }
    }

    pub(in crate::plan) async fn check(journal: &dyn Journal) {
        let fresh = journal.open(&opening("a")).await.unwrap();
        assert!(fresh.entries.is_empty() && fresh.outcome.is_none() && fresh.fingerprint == "f");

        let started = Entry::new("one", Happening::Started, None);
        let ended = Entry::new("one", Happening::Ended, Some(&StepResult::new("one")));
        assert!(journal.note("a", &started).await.unwrap(), "the first is taken");
        assert!(!journal.note("a", &started).await.unwrap(), "of two starts of one step only the first");
        assert!(journal.note("a", &ended).await.unwrap());
        assert!(journal.note("b", &started).await.is_err(), "of a run nobody began");

        let again = journal.open(&Opening { fingerprint: "other", ..opening("a") }).await.unwrap();
        assert_eq!((again.fingerprint.as_str(), again.entries), ("f", vec![started, ended]));
        assert!(journal.history(9).await.unwrap().is_empty(), "nothing has ended");

        journal.end(&run(Some("a"), 20, Status::Completed), "{}").await.unwrap();
        journal.end(&run(None, 40, Status::Failed), "{}").await.unwrap();
        assert_eq!(journal.open(&opening("a")).await.unwrap().outcome.as_deref(), Some("{}"));
        let history = History::of(journal.history(9).await.unwrap());
        assert_eq!(history.runs, [run(None, 40, Status::Failed), run(Some("a"), 20, Status::Completed)]);
        let expected = Metrics { count: 2, success_rate: 0.5, mean_duration: Duration::from_millis(30) };
        assert_eq!(history.metrics["onboarding"], expected);
        assert_eq!(journal.history(1).await.unwrap().len(), 1);
    }
}
