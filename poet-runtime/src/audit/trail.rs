//! What is being written down about one call while it is under way.
//!
//! Every stage that decides something has a hand on the same sheet, and whoever opened it closes it: see
//! [`Account`](super::account::Account). Nothing of this is there for a call that is not audited.

use super::entry::{AuditEntry, Decider, Decision, MAX_DECISIONS, Wait, What, Who};
use super::who::seconds;
use crate::config::AuditLevel;
use crate::error::{Error, Kind};
use crate::lock::lock;
use crate::runtime::Inner;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::time::timeout_at;

/// A hand on the sheet of one call.
#[derive(Clone, Debug)]
pub(crate) struct Trail(Arc<Sheet>);

#[derive(Debug)]
struct Sheet {
    /// The number of its execution, which is that of all its flights.
    number: u64,
    level: AuditLevel,
    began: Instant,
    said: Said,
    draft: Mutex<Draft>,
}

/// Which values the call said itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said {
    pub(crate) retries: bool,
    pub(crate) timeout: bool,
    pub(crate) deadline: bool,
    pub(crate) cache: bool,
    pub(crate) queued: bool,
}

#[derive(Debug)]
struct Draft {
    entry: AuditEntry,
    /// What is waited for, and since when.
    waiting: Option<(Wait, Decider, Instant)>,
    /// Whether it is on disk that it is about to be made.
    promised: bool,
}

impl Trail {
    pub(super) fn new((number, level): (u64, AuditLevel), began: Instant, said: Said, entry: AuditEntry) -> Self {
        let draft = Mutex::new(Draft { entry, waiting: None, promised: false });
        Self(Arc::new(Sheet { number, level, began, said, draft }))
    }

    /// The number of the execution.
    pub(crate) fn number(&self) -> u64 {
        self.0.number
    }

    pub(crate) fn said(&self) -> Said {
        self.0.said
    }

    pub(super) fn level(&self) -> AuditLevel {
        self.0.level
    }

    /// Whether it is on disk that the call is about to be made.
    pub(super) fn is_promised(&self) -> bool {
        lock(&self.0.draft).promised
    }

    /// Writes down a decision.
    pub(crate) fn note(&self, now: Instant, what: What, by: impl Into<Decider>) {
        push(&mut lock(&self.0.draft).entry, Decision { at: self.at(now), what, by: by.into() });
    }

    /// Writes down that the call waits from here on.
    pub(crate) fn wait(&self, now: Instant, why: Wait, by: Decider) {
        lock(&self.0.draft).waiting = Some((why, by, now));
    }

    /// Writes down how long it has waited, if it has.
    pub(crate) fn woke(&self, now: Instant) {
        let mut draft = lock(&self.0.draft);
        if let Some((why, by, since)) = draft.waiting.take() {
            let what = What::Waited { why, seconds: seconds(now.saturating_duration_since(since)) };
            push(&mut draft.entry, Decision { at: self.at(since), what, by });
        }
    }

    fn at(&self, now: Instant) -> f64 {
        seconds(now.saturating_duration_since(self.0.began))
    }

    /// Looks at what is written down, or changes it.
    pub(crate) fn amend<R>(&self, change: impl FnOnce(&mut AuditEntry) -> R) -> R {
        change(&mut lock(&self.0.draft).entry)
    }

    /// What is written down by now.
    pub(super) fn entry(&self) -> AuditEntry {
        lock(&self.0.draft).entry.clone()
    }

    /// Puts on disk that the call is about to be made, where its audit is strict: to be asked before anything is sent.
    ///
    /// # Errors
    ///
    /// If that cannot be written down by then: the call is refused.
    pub(crate) async fn promise(&self, runtime: &Inner, until: Instant) -> Result<(), Error> {
        if self.0.level != AuditLevel::Strict || self.is_promised() {
            return Ok(());
        }
        let promise = runtime.recorder.promise(self.entry());
        match by(until, promise).await {
            Ok(()) => {
                lock(&self.0.draft).promised = true;
                Ok(())
            }
            Err(problem) => {
                let refused = What::Refused { why: "audit".to_owned(), retry_in: None };
                self.note(runtime.clock.now(), refused, Who::Rule);
                Err(Error::new(Kind::Unrecorded { sent: false }).with_source(Some(problem.into())))
            }
        }
    }
}

/// Waits for the store until then; says what went wrong.
pub(super) async fn by<E: ToString>(until: Instant, stored: impl Future<Output = Result<(), E>>) -> Result<(), String> {
    if tokio::runtime::Handle::try_current().is_err() {
        return stored.await.map_err(|error| error.to_string());
    }
    match timeout_at(until.into(), stored).await {
        Ok(stored) => stored.map_err(|error| error.to_string()),
        Err(_) => Err("the store did not answer in time".to_owned()),
    }
}

fn push(entry: &mut AuditEntry, decision: Decision) {
    if entry.detail.decisions.len() < MAX_DECISIONS {
        entry.detail.decisions.push(decision);
    } else {
        entry.detail.left_out = entry.detail.left_out.saturating_add(1);
    }
}
