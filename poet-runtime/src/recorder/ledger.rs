//! Entries of the audit on their way to the writer.
//!
//! Those of calls that do not wait are gathered up to a bound, beyond which they are counted instead. Those that are
//! promised are kept apart: whoever waits for one is told by the writer, which stores with one write all that came while
//! it stored the ones before.

use super::{Answer, Recorder, stopped};
use crate::audit::{AuditEntry, AuditKey};
use crate::lock::lock;
use crate::store::StoreError;
use std::collections::VecDeque;
use std::mem;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::oneshot;

/// The most entries that wait for the store; at about a kilobyte each.
const MAX_WAITING: usize = 8_192;

/// Entries that nobody waits for, and those that somebody does.
#[derive(Default)]
pub(super) struct Ledger {
    waiting: Mutex<Waiting>,
    /// Mirrors whether there is anything to store; and whether somebody waits for it.
    news: AtomicBool,
    promised: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<AuditEntry>,
    promised: Vec<Promise>,
    dropped: u64,
}

/// An entry that somebody waits for.
pub(super) struct Promise {
    pub(super) entry: AuditEntry,
    pub(super) tell: Box<dyn FnOnce(Answer) + Send>,
}

/// What is to be stored with the next batch.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) entries: Vec<AuditEntry>,
    pub(super) dropped: u64,
}

impl Ledger {
    /// Takes an entry, or counts it where there are too many. Returns how many were dropped by that.
    pub(super) fn push(&self, entry: AuditEntry) -> u64 {
        let mut waiting = lock(&self.waiting);
        let full = waiting.entries.len() >= MAX_WAITING;
        if full {
            waiting.dropped += 1;
        } else {
            waiting.entries.push_back(entry);
        }
        self.news.store(true, Ordering::SeqCst);
        u64::from(full)
    }

    pub(super) fn promise(&self, promise: Promise) {
        lock(&self.waiting).promised.push(promise);
        self.promised.store(true, Ordering::SeqCst);
    }

    /// Whether there is something to store that nobody waits for.
    pub(super) fn has_news(&self) -> bool {
        self.news.load(Ordering::SeqCst)
    }

    /// Whether somebody waits.
    pub(super) fn is_awaited(&self) -> bool {
        self.promised.load(Ordering::SeqCst)
    }

    pub(super) fn len(&self) -> usize {
        if self.has_news() { lock(&self.waiting).entries.len() } else { 0 }
    }

    /// Takes those that somebody waits for.
    pub(super) fn take_promised(&self) -> Vec<Promise> {
        if self.promised.swap(false, Ordering::SeqCst) {
            mem::take(&mut lock(&self.waiting).promised)
        } else {
            Vec::new()
        }
    }

    /// Takes the oldest `most` of the others.
    pub(super) fn take(&self, most: usize) -> Taken {
        if !self.has_news() {
            return Taken::default();
        }
        let mut waiting = lock(&self.waiting);
        let most = most.min(waiting.entries.len());
        let taken =
            Taken { entries: waiting.entries.drain(..most).collect(), dropped: mem::take(&mut waiting.dropped) };
        self.news.store(!waiting.entries.is_empty(), Ordering::SeqCst);
        taken
    }

    /// Takes back what the store has not taken. Returns how many were dropped by that.
    pub(super) fn put_back(&self, taken: Taken) -> u64 {
        if taken.entries.is_empty() && taken.dropped == 0 {
            return 0;
        }
        let mut waiting = lock(&self.waiting);
        for entry in taken.entries.into_iter().rev() {
            waiting.entries.push_front(entry);
        }
        let surplus = waiting.entries.len().saturating_sub(MAX_WAITING);
        let kept = waiting.entries.len() - surplus;
        waiting.entries.truncate(kept);
        waiting.dropped += taken.dropped + surplus as u64;
        self.news.store(true, Ordering::SeqCst);
        surplus as u64
    }
}

/// The pipeline's end of it.
impl Recorder {
    /// What arguments are hashed with; `None` as long as the store has not said it.
    pub(crate) fn audit_key(&self) -> Option<AuditKey> {
        self.shared.audit_key.get().copied()
    }

    /// Takes an entry of the audit. Never waits; where too many wait for the store it is counted instead.
    pub(crate) fn write_down(&self, entry: AuditEntry) {
        let dropped = if lock(&self.shared.requests).stopped { 1 } else { self.shared.ledger.push(entry) };
        if dropped > 0 {
            self.shared.count_dropped(dropped);
        }
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Returns when an entry of the audit is on disk.
    ///
    /// # Errors
    ///
    /// If the store could not take it. It is not tried again.
    pub(crate) async fn promise(&self, entry: AuditEntry) -> Result<(), StoreError> {
        let (answer, wait) = oneshot::channel();
        {
            let requests = lock(&self.shared.requests);
            if requests.stopped {
                return Err(stopped());
            }
            // Under the lock, so that whoever stops the writer finds it.
            self.shared.ledger.promise(Promise { entry, tell: Box::new(move |result| drop(answer.send(result))) });
        }
        match &self.inline {
            Some(writer) => lock(writer).keep_promises(),
            None => self.shared.unpark(),
        }
        match wait.await {
            Ok(result) => result,
            Err(_) => Err(stopped()),
        }
    }
}
