//! Takes what the pipeline saw, without ever making a call wait, and hands it to the one writer of the store.
//!
//! A record is pushed into a bounded ring; that is all a call pays. The writer sleeps until the first record after a
//! pause, gathers for half the flush interval, and writes everything in one transaction, so that a killed process
//! loses no more than the last interval. When the ring is full, records are folded into counts: the evidence stays
//! exact and only their rows are missing. When the store fails, everything goes on in memory, within bounds.
//!
//! In virtual time nothing may happen behind its back: there is no thread, and whoever records does the writer's work.

pub(crate) mod block_on;
mod learning;
mod ledger;
mod meeting;
mod needs;
mod packed;
mod writer;

#[cfg(test)]
mod audited;
#[cfg(test)]
#[cfg(all(feature = "sqlite", unix))]
mod crash;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::Moody;

use crate::audit::AuditKey;
use crate::clock::{Clock, Wall};
use crate::evidence::{History, Hourly, Key, Vitals};
use crate::learner::Lesson;
use crate::learner::siblings::Siblings;
use crate::lock::lock;
use crate::outcome::{Record, TargetId};
use crate::profile::Utility;
use crate::site::Declaration;
use crate::store::{ParameterRow, Store, StoreError, TargetKey};
use crossbeam_queue::ArrayQueue;
use ledger::Ledger;
pub(crate) use needs::Needed;
use needs::Needs;
use once_cell::sync::OnceCell;
use packed::Packed;
use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError, mpsc};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use writer::Writer;

/// What the recorder needs to know about targets, and whom it tells what was learned.
pub(crate) trait Directory: Send + Sync {
    /// The names of a target.
    fn target(&self, id: TargetId) -> Option<TargetKey>;

    /// What follows from the evidence about a target by now. Called by the writer when there are at least
    /// [`RecorderSettings::learn_every`] new attempts, or any and [`RecorderSettings::learn_interval`] has passed.
    ///
    fn learn(&self, id: TargetId, seen: &Seen<'_>, now: Wall) -> Lesson;

    /// The domain of a target, which another process may have called.
    fn domain(&self, target: &TargetKey) -> &'static str;

    /// What its calls are worth and cost; `None` where nothing is learned about it.
    fn utility(&self, id: TargetId) -> Option<Utility>;

    /// How a target has done lately: after it was called, at most once in [`RecorderSettings::tell_interval`].
    fn tell(&self, id: TargetId, vitals: Vitals);

    /// A value is now in force: read at the start, or published by this or another process.
    fn apply(&self, row: &ParameterRow);
}

/// What is learned from.
pub(crate) struct Seen<'a> {
    /// What was seen of a target, and of any other one: what is learned about an operation can rest on what another one
    /// showed. What is older than a day is in blocks of hours.
    pub(crate) histories: &'a dyn Fn(TargetId) -> Option<&'a History>,
    /// Once a day: what the store has of the target, hour by hour.
    pub(crate) hourly: Option<Hourly<'a>>,
    /// What the other services of its domain showed.
    pub(crate) siblings: &'a Siblings,
}

/// The bounds and intervals of a recorder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecorderSettings {
    /// Records that may wait for the writer.
    pub(crate) queue: usize,
    /// The most that a killed process loses; half of it is spent gathering, the rest is left for writing.
    pub(crate) flush_interval: Duration,
    /// New attempts after which a target is learned from again, or [`RecorderSettings::learn_share`] where that is more.
    pub(crate) learn_every: u64,
    /// New attempts, for each of those known before, after which a target is learned from again. What hardly adds to the
    /// evidence moves nothing, and reading it all costs the same each time: so that is done once for every hundredth
    /// more, and every [`RecorderSettings::learn_interval`] for what changes suddenly.
    pub(crate) learn_share: f64,
    /// The time after which it is learned from again with any new attempt.
    pub(crate) learn_interval: Duration,
    /// How often, at most, it is said how a target has done lately.
    pub(crate) tell_interval: Duration,
    /// How often what other processes stored is read.
    pub(crate) refresh_interval: Duration,
    /// How often what is too old is deleted.
    pub(crate) prune_interval: Duration,
    /// How long outcomes are kept.
    pub(crate) retention: Duration,
    /// How long counts are kept.
    pub(crate) evidence_retention: Duration,
    /// How long entries of the audit are kept, and how many.
    pub(crate) audit_retention: Duration,
    pub(crate) audit_entries: u64,
    /// Whose key arguments are hashed with, where calls are written down.
    pub(crate) audit_key: KeyOf,
    /// How long a start waits for learned values before it goes on with defaults.
    pub(crate) start_timeout: Duration,
}

/// Where the key comes from that the arguments in the audit are hashed with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyOf {
    /// Nothing is hashed.
    Nobody,
    /// It is configured.
    Configuration(AuditKey),
    /// The first process of the store has drawn it.
    Store,
}

impl Default for RecorderSettings {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            // One mebibyte: a ring that stays in the cache is half the price of a push.
            queue: 16_384,
            flush_interval: Duration::from_millis(200),
            learn_every: 20,
            learn_share: 0.01,
            learn_interval: Duration::from_secs(60),
            tell_interval: Duration::from_secs(1),
            refresh_interval: Duration::from_secs(60),
            prune_interval: Duration::from_secs(3_600),
            retention: 30 * DAY,
            evidence_retention: 90 * DAY,
            audit_retention: 365 * DAY,
            audit_entries: 1_000_000,
            audit_key: KeyOf::Nobody,
            start_timeout: Duration::from_secs(2),
        }
    }
}

/// A call that the cache answered: less to write down than a [`Record`], because it took no attempt and no time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cached {
    pub(crate) target: TargetId,
    pub(crate) function: Option<&'static Declaration>,
    pub(crate) execution: u64,
    /// Nanoseconds after [`Recorder::epoch`].
    pub(crate) ended: u64,
    /// The revision of the values in force.
    pub(crate) revision: u64,
}

/// How the recorder is doing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RecorderHealth {
    /// Records that are in the counts but have no row, since the start.
    pub folded: u64,
    /// Requests to the store that failed, since the start.
    pub failed: u64,
    /// Whether the last request failed.
    pub failing: bool,
    /// What the last failure was, even if the store works again.
    pub error: Option<String>,
    /// Where a damaged store was moved.
    pub set_aside: Option<PathBuf>,
    /// Records that wait for the writer.
    pub queued: usize,
    /// Outcomes that wait for the store.
    pub unsent: usize,
    /// Calls that are to be in the audit and are not, because more ended than could be stored, since the start.
    pub audit_dropped: u64,
}

type Answer = Result<(), StoreError>;

/// The pipeline's end of the recorder.
pub(crate) struct Recorder {
    shared: Arc<Shared>,
    /// In virtual time, the writer that has no thread.
    inline: Option<Mutex<Writer>>,
    run: Arc<str>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("run", &self.run).field("health", &self.health()).finish_non_exhaustive()
    }
}

/// What both ends see.
struct Shared {
    ring: ArrayQueue<Packed>,
    /// What the times in the ring count from.
    epoch: Instant,
    /// The writer wants to be woken by the next record. Always so in virtual time, where waking means working.
    asleep: AtomicBool,
    /// Somebody waits for an answer.
    urgent: AtomicBool,
    /// Schemas that operations were met with, and whether there are any.
    met: Mutex<Vec<meeting::Met>>,
    has_met: AtomicBool,
    /// Something was folded since the writer last looked.
    overflowed: AtomicBool,
    overflow: Mutex<Overflow>,
    requests: Mutex<Requests>,
    ledger: Ledger,
    audit_key: OnceCell<AuditKey>,
    health: Mutex<RecorderHealth>,
    writer: OnceCell<Thread>,
    clock: Clock,
}

/// What came when the ring was full.
#[derive(Default)]
struct Overflow {
    counts: BTreeMap<TargetId, History>,
    records: u64,
    needs: Needs,
}

#[derive(Default)]
struct Requests {
    waiting: Vec<Box<dyn FnOnce(Answer) + Send>>,
    stop: bool,
    /// Nobody will answer any more.
    stopped: bool,
}

impl Recorder {
    /// Starts the writer and waits, for at most [`RecorderSettings::start_timeout`], until the values that were
    /// learned before are applied, so that the first call of a new process uses them.
    pub(crate) fn start(
        store: Box<dyn Store>,
        clock: Clock,
        settings: RecorderSettings,
        directory: Arc<dyn Directory>,
    ) -> Self {
        let inline = clock.is_virtual();
        let shared = Arc::new(Shared {
            ring: ArrayQueue::new(settings.queue.max(1)),
            epoch: clock.now(),
            asleep: AtomicBool::new(inline),
            urgent: AtomicBool::new(false),
            met: Mutex::default(),
            has_met: AtomicBool::new(false),
            overflowed: AtomicBool::new(false),
            overflow: Mutex::default(),
            requests: Mutex::default(),
            ledger: Ledger::default(),
            audit_key: OnceCell::new(),
            health: Mutex::default(),
            writer: OnceCell::new(),
            clock,
        });
        if let KeyOf::Configuration(key) = settings.audit_key {
            let _ = shared.audit_key.set(key);
        }
        let mut writer = Writer::new(shared.clone(), store, settings, directory);
        let run = writer.run();
        if inline {
            writer.load();
            return Self { shared, inline: Some(Mutex::new(writer)), run };
        }
        let (loaded, wait) = mpsc::sync_channel(1);
        let spawned = thread::Builder::new().name("poet-recorder".to_owned()).spawn(move || {
            writer.load();
            let _ = loaded.send(());
            writer.work();
        });
        match spawned {
            Ok(thread) => {
                let _ = shared.writer.set(thread.thread().clone());
                let _ = wait.recv_timeout(settings.start_timeout);
            }
            Err(error) => shared.stop(&format!("starting the recorder's thread: {error}")),
        }
        Self { shared, inline: None, run }
    }

    /// The name of this process in the stored outcomes.
    pub(crate) fn run(&self) -> Arc<str> {
        self.run.clone()
    }

    /// What the times in its queue count from.
    pub(crate) fn epoch(&self) -> Instant {
        self.shared.epoch
    }

    /// Takes a record. Never waits; allocates only where the queue is full and the record is folded into counts.
    #[inline]
    pub(crate) fn record(&self, record: Record) {
        self.push(Packed::pack(&record, self.shared.epoch));
    }

    /// [`record`](Self::record) of a call that the cache answered.
    #[inline]
    pub(crate) fn record_cached(&self, cached: Cached) {
        self.push(Packed::cached(&cached));
    }

    /// Takes what an execution of a function felt of one of its calls.
    pub(crate) fn record_need(&self, needed: &Needed) {
        self.push(Packed::needed(needed, self.shared.epoch));
    }

    #[inline]
    fn push(&self, packed: Packed) {
        if let Err(packed) = self.shared.ring.push(packed) {
            self.shared.fold(&packed);
        }
        // The push and this load, the writer's store and its look into the ring are all sequentially consistent: one
        // of the two sees the other, so no record is slept over. On x86 the load costs what a relaxed one does.
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        let Some(writer) = &self.inline else {
            if self.shared.asleep.swap(false, Ordering::SeqCst) {
                self.shared.unpark();
            }
            return;
        };
        match writer.try_lock() {
            Ok(mut writer) => writer.step(),
            Err(TryLockError::Poisoned(writer)) => writer.into_inner().step(),
            // Recorded while learning, or on another thread: the next record drains it.
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// Takes the schema that an operation was met with. `false` where too many wait already.
    pub(crate) fn meet(&self, target: TargetKey, schema: u64) -> bool {
        {
            let mut met = lock(&self.shared.met);
            if met.len() >= meeting::MAX_MET {
                return false;
            }
            met.push((target, schema));
        }
        self.shared.has_met.store(true, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
        true
    }

    /// Returns when everything recorded before is in the store.
    ///
    /// # Errors
    ///
    /// If the store could not take it; it is kept, and tried again.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        let (answer, wait) = oneshot::channel();
        self.request(false, move |result| drop(answer.send(result)));
        match wait.await {
            Ok(result) => result,
            Err(_) => Err(stopped()),
        }
    }

    /// Brings everything recorded before to the store, closes it, and stops; what is recorded afterwards is counted
    /// and lost. The limit is real time, whatever tokio's clock does.
    ///
    /// # Errors
    ///
    /// How many records are not in the store, and why.
    pub(crate) async fn shutdown(&self, timeout: Duration) -> Result<(), StoreError> {
        let (answer, wait) = mpsc::sync_channel::<Answer>(1);
        self.request(true, move |result| drop(answer.send(result)));
        let (done, waited) = oneshot::channel();
        let bounded = move || drop(done.send(wait.recv_timeout(timeout)));
        if let Err(error) = thread::Builder::new().name("poet-shutdown".to_owned()).spawn(bounded) {
            tracing::warn!(%error, "shutting down without waiting");
        }
        match waited.await {
            Ok(Ok(result)) => result.map_err(|error| self.left(error)),
            Ok(Err(mpsc::RecvTimeoutError::Timeout)) => {
                let late = StoreError::new("stopping the recorder", format!("not done within {timeout:?}"));
                Err(self.left(late))
            }
            Ok(Err(mpsc::RecvTimeoutError::Disconnected)) | Err(_) => Err(self.left(stopped())),
        }
    }

    /// How the recorder is doing.
    pub(crate) fn health(&self) -> RecorderHealth {
        let mut health = lock(&self.shared.health).clone();
        health.queued = self.shared.ring.len();
        health.folded += lock(&self.shared.overflow).records;
        health
    }

    fn left(&self, error: StoreError) -> StoreError {
        let health = self.health();
        let left = health.queued + health.unsent;
        StoreError::of(error.trouble(), format!("shutting down with {left} records not stored"), error)
    }

    /// Asks the writer to write everything now and to answer.
    fn request(&self, stop: bool, answer: impl FnOnce(Answer) + Send + 'static) {
        {
            let mut requests = lock(&self.shared.requests);
            if requests.stopped {
                // Dropping the answer says so.
                return;
            }
            requests.stop |= stop;
            requests.waiting.push(Box::new(answer));
        }
        match &self.inline {
            Some(writer) => {
                lock(writer).answer();
            }
            None => {
                self.shared.urgent.store(true, Ordering::SeqCst);
                self.shared.unpark();
            }
        }
    }
}

impl Drop for Recorder {
    /// Tells the writer to write what there is and to end; does not wait for its thread.
    fn drop(&mut self) {
        lock(&self.shared.requests).stop = true;
        if let Some(writer) = &mut self.inline {
            writer.get_mut().unwrap_or_else(PoisonError::into_inner).answer();
        }
        self.shared.urgent.store(true, Ordering::SeqCst);
        self.shared.unpark();
    }
}

impl Shared {
    #[cold]
    fn fold(&self, packed: &Packed) {
        let stopped = lock(&self.requests).stopped;
        if let Some(needed) = packed.as_needed(self.epoch) {
            // It has no row that could be missing.
            if !stopped {
                self.fold_need(&needed);
            }
            return;
        }
        let record = &packed.unpack(self.epoch);
        let hour = self.clock.anchor().wall(record.ended).hour();
        let mut overflow = lock(&self.overflow);
        overflow.records += 1;
        // With nobody to take them away the counts would grow for ever.
        if !stopped {
            overflow.counts.entry(record.target).or_default().observe(hour, record);
        }
        self.overflowed.store(true, Ordering::SeqCst);
    }

    fn fold_need(&self, needed: &Needed) {
        let hour = self.clock.anchor().wall(needed.ended).hour();
        let mut overflow = lock(&self.overflow);
        if !overflow.needs.add(needed, hour) {
            overflow.counts.entry(needed.function).or_default().add(hour, Key::Untold, 1);
        }
        self.overflowed.store(true, Ordering::SeqCst);
    }

    fn take_overflow(&self) -> Overflow {
        if self.overflowed.swap(false, Ordering::SeqCst) {
            mem::take(&mut *lock(&self.overflow))
        } else {
            Overflow::default()
        }
    }

    #[cold]
    fn count_dropped(&self, entries: u64) {
        let mut health = lock(&self.health);
        if health.audit_dropped == 0 {
            tracing::error!("calls end faster than their audit can be stored; some are only counted");
        }
        health.audit_dropped += entries;
    }

    fn unpark(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Whether the writer has nothing to do.
    fn is_idle(&self) -> bool {
        let waits = [&self.urgent, &self.overflowed, &self.has_met];
        self.ring.is_empty()
            && waits.iter().all(|waits| !waits.load(Ordering::SeqCst))
            && !self.ledger.has_news()
            && !self.ledger.is_awaited()
    }

    /// From here on nobody drains the ring or answers.
    fn stop(&self, why: &str) {
        let waiting = {
            let mut requests = lock(&self.requests);
            requests.stopped = true;
            self.asleep.store(false, Ordering::SeqCst);
            mem::take(&mut requests.waiting)
        };
        drop(waiting);
        drop(self.ledger.take_promised());
        if !why.is_empty() {
            tracing::error!(why, "the recorder stopped; nothing is stored or learned any more");
            let mut health = lock(&self.health);
            health.failing = true;
            health.error = Some(why.to_owned());
        }
    }
}

fn stopped() -> StoreError {
    StoreError::new("flushing the recorder", "it has stopped")
}
