//! The one that drains the ring and writes to the store.
//!
//! What the store has not taken is kept, outcomes up to [`MAX_UNSENT`] and counts as sums, until it has. Learning from
//! what came in is the other half of the same thread, in [`learning`](super::learning).

use super::block_on::block_on;
use super::learning::Target;
use super::ledger::Taken;
use super::meeting::{Met, Schemas};
use super::needs::{Needed, Needs};
use super::{Answer, Directory, KeyOf, RecorderSettings, Shared, lock};
use crate::audit::AuditKey;
use crate::clock::{self, Wall};
use crate::evidence::{History, Key};
use crate::learner::siblings::Families;
use crate::outcome::{Class, Record, TargetId};
use crate::store::{Batch, MemoryStore, OutcomeRow, ParameterKey, Standing, Store, StoreError, TargetKey};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// The most outcomes of one transaction.
const PER_TRANSACTION: usize = 10_000;

/// The most entries of the audit of one transaction.
const AUDIT_PER_TRANSACTION: usize = 1_000;

/// The most outcomes kept for a store that does not take them; beyond it the oldest are folded.
const MAX_UNSENT: usize = 8 * PER_TRANSACTION;

/// The most calls under way whose last attempt is remembered; it only completes the rows of calls that end later.
const MAX_UNDER_WAY: usize = 16_384;

/// How often the writer looks at the ring while it gathers.
const GLANCE: Duration = Duration::from_millis(10);

/// The wait before a store that failed is asked again, doubled for each failure up to the second value.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// In virtual time: how long outcomes wait for the store, and how many may. A simulated month would otherwise be
/// spent in transactions; learning does not wait for it.
const VIRTUAL_WRITE: (Duration, usize) = (Duration::from_secs(60), 512);

/// In virtual time: records that are drained at once at the latest.
const VIRTUAL_DRAIN: usize = 64;

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Box<dyn Store>,
    pub(super) settings: RecorderSettings,
    pub(super) directory: Arc<dyn Directory>,
    run: Arc<str>,
    pub(super) targets: BTreeMap<TargetId, Target>,
    /// Targets with news since learning was last considered.
    pub(super) touched: Vec<TargetId>,
    /// What all services of the store had shown, and at which hour.
    pub(super) families: Families,
    pub(super) families_of: Option<i64>,
    /// The counts of one record, while they are added.
    counts: History,
    under_way: HashMap<(TargetId, u64), Class>,
    unsent: VecDeque<OutcomeRow>,
    unsent_folded: u64,
    /// What functions felt of what they call, as far as the store has not taken it.
    pub(super) needs: Needs,
    /// The revision of every learned value, and what it is.
    pub(super) applied: HashMap<ParameterKey, (u64, Standing)>,
    /// Schemas that operations were met with, and that are not noted yet; those that are.
    pub(super) to_note: Vec<Met>,
    pub(super) schemas: Schemas,
    failures: u32,
    retry_at: Instant,
    pub(super) next_refresh: Instant,
    pub(super) next_prune: Instant,
    next_step: Instant,
    next_write: Instant,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        store: Box<dyn Store>,
        settings: RecorderSettings,
        directory: Arc<dyn Directory>,
    ) -> Self {
        let now = shared.clock.now();
        let millis = u64::try_from(shared.clock.anchor().wall.millis()).unwrap_or(0);
        let run = if shared.clock.is_virtual() {
            // The same simulation has the same name every time.
            uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
        } else {
            let nanos = (millis % 1_000 * 1_000_000) as u32;
            uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, millis / 1_000, nanos))
        };
        Self {
            shared,
            store,
            settings,
            directory,
            run: run.to_string().into(),
            targets: BTreeMap::new(),
            touched: Vec::new(),
            families: Families::default(),
            families_of: None,
            counts: History::default(),
            under_way: HashMap::new(),
            unsent: VecDeque::new(),
            unsent_folded: 0,
            needs: Needs::default(),
            applied: HashMap::new(),
            to_note: Vec::new(),
            schemas: None,
            failures: 0,
            retry_at: now,
            next_refresh: now + settings.refresh_interval,
            next_prune: now,
            next_step: now,
            next_write: now + VIRTUAL_WRITE.0,
        }
    }

    pub(super) fn run(&self) -> Arc<str> {
        self.run.clone()
    }

    /// Applies what was learned before. A store that cannot say so means defaults.
    pub(super) fn load(&mut self) {
        let _ = self.read_parameters();
        self.find_audit_key();
        let _ = self.read_schemas();
    }

    /// Finds the key that arguments are hashed with, and draws it where no process has yet. Until it is found, nothing is
    /// hashed.
    pub(super) fn find_audit_key(&mut self) {
        if !matches!(self.settings.audit_key, KeyOf::Store) || self.shared.audit_key.get().is_some() {
            return;
        }
        let known = block_on(self.store.audit_key());
        let found = match self.noted(known) {
            Ok(Some(key)) => Ok(key),
            Ok(None) => {
                let kept = block_on(self.store.keep_audit_key(AuditKey::drawn()));
                self.noted(kept)
            }
            Err(error) => Err(error),
        };
        if let Ok(key) = found {
            let _ = self.shared.audit_key.set(key);
        }
    }

    /// The life of the thread.
    pub(super) fn work(mut self) {
        let shared = self.shared.clone();
        let ended = catch_unwind(AssertUnwindSafe(|| {
            loop {
                self.sleep();
                self.keep_promises();
                self.gather();
                if self.answer() {
                    break;
                }
            }
        }));
        // Closed before anybody is told that nothing happens any more.
        drop(self);
        shared.stop(if ended.is_ok() { "" } else { "the recorder's thread panicked" });
    }

    /// Until there is a record, somebody asks, or something is due.
    fn sleep(&self) {
        if !self.shared.is_idle() {
            return;
        }
        self.shared.asleep.store(true, Ordering::SeqCst);
        if self.shared.is_idle() {
            thread::park_timeout(self.due().saturating_duration_since(self.shared.clock.now()));
        }
        self.shared.asleep.store(false, Ordering::SeqCst);
    }

    /// When there will be something to do although nothing comes in.
    pub(super) fn due(&self) -> Instant {
        // A store that rests is not pruned either.
        let prune = if self.failures > 0 { self.next_prune.max(self.retry_at) } else { self.next_prune };
        let retry = (self.has_unsent() || !self.to_note.is_empty()).then_some(self.retry_at);
        [retry, self.next_tell()].into_iter().flatten().fold(self.next_refresh.min(prune), Instant::min)
    }

    /// Lets records come in for half the flush interval, unless somebody waits or the ring is half full.
    fn gather(&mut self) {
        let until = clock::real() + self.settings.flush_interval / 2;
        let half = self.shared.ring.capacity() / 2;
        while (!self.shared.ring.is_empty() || self.shared.ledger.has_news())
            && self.shared.ring.len() < half
            && !self.shared.urgent.load(Ordering::SeqCst)
        {
            let left = until.saturating_duration_since(clock::real());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left.min(GLANCE));
            self.keep_promises();
        }
    }

    /// Stores the entries of the audit that somebody waits for, all with one write, and tells them.
    pub(super) fn keep_promises(&mut self) {
        if !self.shared.ledger.is_awaited() {
            return;
        }
        let (entries, waiting): (Vec<_>, Vec<_>) =
            self.shared.ledger.take_promised().into_iter().map(|promise| (promise.entry, promise.tell)).unzip();
        let stored = block_on(self.store.promise(&entries));
        let answer = self.noted(stored);
        for tell in waiting {
            tell(answer.clone());
        }
    }

    /// Does what there is to do, then answers whoever asked before. Returns whether the writer shall stop.
    pub(super) fn answer(&mut self) -> bool {
        self.keep_promises();
        self.shared.urgent.store(false, Ordering::SeqCst);
        let (waiting, stop) = {
            let mut requests = lock(&self.shared.requests);
            (mem::take(&mut requests.waiting), requests.stop)
        };
        let answer = self.cycle(stop || !waiting.is_empty());
        if stop {
            // Who asks from here on is told that nobody answers; who asked is told when the file is closed.
            self.shared.stop("");
            self.store = Box::new(MemoryStore::new());
        }
        for tell in waiting {
            tell(answer.clone());
        }
        stop
    }

    /// In virtual time: what a record may set off.
    pub(super) fn step(&mut self) {
        let now = self.shared.clock.now();
        self.meet();
        if self.shared.ring.len() < VIRTUAL_DRAIN && now < self.next_step {
            return;
        }
        self.next_step = now + self.settings.flush_interval / 2;
        self.drain();
        let waiting = self.unsent.len() + self.shared.ledger.len();
        if now >= self.next_write || waiting >= VIRTUAL_WRITE.1 {
            self.next_write = now + VIRTUAL_WRITE.0;
            let _ = self.write(false);
        }
        self.learn();
        self.keep_house();
        self.tell(false);
    }

    fn cycle(&mut self, force: bool) -> Answer {
        self.drain();
        let written = self.write(force);
        self.meet();
        self.learn();
        self.keep_house();
        self.tell(force);
        written
    }

    /// Takes everything that is in the ring now; what comes meanwhile waits for the next turn.
    fn drain(&mut self) {
        let anchor = self.shared.clock.anchor();
        let hour = anchor.wall(self.shared.clock.now()).hour();
        let overflow = self.shared.take_overflow();
        for (id, counts) in overflow.counts {
            if let Some(target) = self.target(id) {
                target.add(&counts, hour);
                self.touch(id);
            }
        }
        for (function, hour, executions) in self.needs.merge_all(overflow.needs) {
            self.leave_untold(function, hour, executions);
        }
        let mut counts = mem::take(&mut self.counts);
        let mut counted = None;
        for _ in 0..self.shared.ring.len() {
            let Some(packed) = self.shared.ring.pop() else { break };
            if let Some(needed) = packed.as_needed(self.shared.epoch) {
                self.feel(&needed, anchor.wall(needed.ended).hour());
                continue;
            }
            let record = packed.unpack(self.shared.epoch);
            let ended = anchor.wall(record.ended);
            // Records of one target in a row are added to what is known of it at once.
            if counted != Some(record.target) {
                self.take(counted.replace(record.target), &mut counts, hour);
            }
            counts.observe(ended.hour(), &record);
            if let Some(target) = self.target(record.target) {
                counts.observe_next(ended, &mut target.watch, &record);
                if let Some(utility) = &target.utility {
                    counts.observe_effect(ended.hour(), &record, utility);
                }
            }
            self.absorb(&record, ended);
        }
        self.take(counted, &mut counts, hour);
        self.counts = counts;
        self.fold(overflow.records);
        let surplus = self.unsent.len().saturating_sub(MAX_UNSENT);
        self.unsent.drain(..surplus);
        self.fold(surplus as u64);
        lock(&self.shared.health).unsent = self.unsent.len();
    }

    /// Adds what was counted of a target to what is known of it.
    fn take(&mut self, id: Option<TargetId>, counts: &mut History, hour: i64) {
        if let Some((id, target)) = id.and_then(|id| Some((id, self.target(id)?))) {
            target.add(counts, hour);
            self.touch(id);
        }
        counts.clear();
    }

    /// Counts what an execution of a function felt of one of its calls.
    fn feel(&mut self, needed: &Needed, hour: i64) {
        if !self.needs.add(needed, hour) {
            self.leave_untold(needed.function, hour, 1);
        }
    }

    /// Counts executions of a function of which it is not told what one of their calls did to them.
    fn leave_untold(&mut self, function: TargetId, hour: i64, executions: u64) {
        let mut counts = History::default();
        counts.add(hour, Key::Untold, executions);
        let this_hour = self.wall().hour();
        if let Some(target) = self.target(function) {
            target.add(&counts, this_hour);
        }
    }

    fn touch(&mut self, id: TargetId) {
        if self.touched.last() != Some(&id) {
            self.touched.push(id);
        }
    }

    fn fold(&mut self, records: u64) {
        if records > 0 {
            self.unsent_folded += records;
            lock(&self.shared.health).folded += records;
        }
    }

    /// Remembers the attempt of a call under way; makes the row of one that ended.
    fn absorb(&mut self, record: &Record, ended: Wall) {
        let call = (record.target, record.execution);
        match (&record.call, &record.attempt) {
            (None, Some(attempt)) => {
                if self.under_way.len() >= MAX_UNDER_WAY {
                    self.under_way.clear();
                }
                self.under_way.insert(call, attempt.class);
            }
            (Some(finished), attempt) => {
                let before = if finished.attempts > 0 { self.under_way.remove(&call) } else { None };
                let class = attempt.map(|attempt| attempt.class).or(before);
                let Some(target) = self.target(record.target).map(|target| target.key.clone()) else {
                    return self.fold(1);
                };
                self.unsent.push_back(OutcomeRow {
                    target,
                    function: record.function.map(|at| format!("{}::{}", at.module, at.function)),
                    run: self.run.to_string(),
                    execution: record.execution,
                    ended,
                    ending: finished.ending,
                    class: class.map(|class| class.as_str().to_owned()),
                    attempts: finished.attempts,
                    elapsed: finished.elapsed,
                    timeout: finished.timeout,
                    retries: finished.retries,
                    revision: finished.revision,
                    withheld: finished.withheld,
                });
            }
            (None, None) => {}
        }
    }

    fn target(&mut self, id: TargetId) -> Option<&mut Target> {
        if !self.targets.contains_key(&id) {
            let (key, utility) = (self.directory.target(id)?, self.directory.utility(id));
            let since = self.since(&key, self.wall());
            let mut target = Target::new(key, utility, self.shared.clock.now());
            since.into_iter().for_each(|since| target.begin(since));
            self.targets.insert(id, target);
        }
        self.targets.get_mut(&id)
    }

    fn name(&self, id: TargetId) -> Option<TargetKey> {
        self.targets.get(&id).map(|target| target.key.clone()).or_else(|| self.directory.target(id))
    }

    fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
            || self.unsent_folded > 0
            || !self.needs.is_empty()
            || self.shared.ledger.has_news()
            || self.targets.values().any(|t| !t.unsent.is_empty())
    }

    /// Whether the store failed so lately that it is left alone for now.
    pub(super) fn is_resting(&self) -> bool {
        self.failures > 0 && self.shared.clock.now() < self.retry_at
    }

    /// Brings everything to the store, in transactions of bounded size; the first of them takes all counts.
    fn write(&mut self, force: bool) -> Result<(), StoreError> {
        if self.is_resting() && !force {
            return Ok(());
        }
        while self.has_unsent() {
            let mut batch = Batch { folded: mem::take(&mut self.unsent_folded), ..Batch::default() };
            let Taken { entries, dropped } = self.shared.ledger.take(AUDIT_PER_TRANSACTION);
            (batch.audit, batch.audit_dropped) = (entries, dropped);
            batch.outcomes.extend(self.unsent.drain(..self.unsent.len().min(PER_TRANSACTION)));
            let mut ids = Vec::new();
            for (&id, target) in self.targets.iter_mut().filter(|(_, target)| !target.unsent.is_empty()) {
                batch.evidence.push((target.key.clone(), mem::take(&mut target.unsent)));
                ids.push(id);
            }
            let needs = mem::take(&mut self.needs);
            batch.needs = needs.named(|id| self.name(id));
            let stored = block_on(self.store.append(&batch));
            if let Err(error) = self.noted(stored) {
                self.needs = needs;
                self.put_back(batch, &ids);
                return Err(error);
            }
            lock(&self.shared.health).unsent = self.unsent.len();
        }
        Ok(())
    }

    fn put_back(&mut self, batch: Batch, ids: &[TargetId]) {
        let dropped = self.shared.ledger.put_back(Taken { entries: batch.audit, dropped: batch.audit_dropped });
        if dropped > 0 {
            self.shared.count_dropped(dropped);
        }
        self.unsent_folded += batch.folded;
        for row in batch.outcomes.into_iter().rev() {
            self.unsent.push_front(row);
        }
        for (id, (_, counts)) in ids.iter().zip(batch.evidence) {
            if let Some(target) = self.targets.get_mut(id) {
                target.unsent.merge(&counts);
            }
        }
    }

    /// Counts a failure, and says once that the store began to fail and once that it works again.
    pub(super) fn noted<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let mut health = lock(&self.shared.health);
        match &result {
            // A full disk can still be read: only having nothing left to write shows that it works.
            Ok(_) if self.failures > 0 && !self.has_unsent() => {
                self.failures = 0;
                health.failing = false;
                tracing::info!(store = self.store.describe(), "outcome store works again");
            }
            Ok(_) => {}
            Err(error) => {
                if self.failures == 0 {
                    let store = self.store.describe();
                    tracing::warn!(store, %error, "outcome store fails; learning goes on in memory");
                }
                let wait = BACKOFF.0.saturating_mul(1 << self.failures.min(16)).min(BACKOFF.1);
                self.retry_at = self.shared.clock.now() + wait;
                self.failures = self.failures.saturating_add(1);
                health.failed += 1;
                health.failing = true;
                health.error = Some(error.to_string());
            }
        }
        if health.set_aside.is_none() {
            health.set_aside = self.store.set_aside();
        }
        result
    }
}
