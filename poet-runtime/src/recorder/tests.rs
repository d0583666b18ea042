use super::*;
use crate::audit::{AuditCounts, AuditEntry, AuditFilter, AuditKey};
use crate::evidence::{Key, PastHour};
use crate::outcome::{Attempt, Class, Ending, FailureKind, Finished};
use crate::store::conformance::{change, target};
use crate::store::{
    Batch, BoxFuture, MemoryStore, Need, OutcomeRow, ParameterChange, ParameterKey, Published, SchemaRow, Settlement,
};
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

const DONE: Key = Key::Call(Ending::Done);
const ENOUGH: Duration = Duration::from_secs(20);

type Propose = dyn Fn(&History, Wall) -> Vec<ParameterChange> + Send + Sync;

/// One target, number 0, and a note of what it was told.
pub(super) struct Book {
    propose: Box<Propose>,
    learned: Mutex<Vec<u64>>,
    siblings: Mutex<Vec<Siblings>>,
    applied: Mutex<Vec<ParameterRow>>,
    told: Mutex<Vec<Vitals>>,
}

impl Book {
    fn new(propose: impl Fn(&History, Wall) -> Vec<ParameterChange> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            propose: Box::new(propose),
            learned: Mutex::default(),
            siblings: Mutex::default(),
            applied: Mutex::default(),
            told: Mutex::default(),
        })
    }

    pub(super) fn silent() -> Arc<Self> {
        Self::new(|_, _| Vec::new())
    }
}

impl Directory for Book {
    fn target(&self, id: TargetId) -> Option<TargetKey> {
        (id == TargetId(0)).then(|| target("crm"))
    }

    fn domain(&self, _: &TargetKey) -> &'static str {
        "web"
    }

    fn learn(&self, id: TargetId, seen: &Seen<'_>, now: Wall) -> Lesson {
        let history = (seen.histories)(id).expect("learned from because something was seen");
        lock(&self.learned).push(history.attempts());
        lock(&self.siblings).push(seen.siblings.clone());
        Lesson { moves: (self.propose)(history, now), ..Lesson::default() }
    }

    fn utility(&self, _: TargetId) -> Option<Utility> {
        None
    }

    fn tell(&self, _: TargetId, vitals: Vitals) {
        lock(&self.told).push(vitals);
    }

    fn apply(&self, row: &ParameterRow) {
        lock(&self.applied).push(row.clone());
    }
}

/// A memory store whose `append` can be made to fail or to wait.
#[derive(Clone, Debug)]
pub(crate) struct Moody {
    pub(super) inner: MemoryStore,
    broken: Arc<AtomicBool>,
    pub(super) gate: Arc<Mutex<()>>,
    appends: Arc<AtomicUsize>,
}

impl Moody {
    pub(crate) fn new() -> Self {
        Self { inner: MemoryStore::new(), broken: Arc::default(), gate: Arc::default(), appends: Arc::default() }
    }

    pub(crate) fn breaks(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }
}

impl Store for Moody {
    fn describe(&self) -> String {
        "moody".to_owned()
    }

    fn append<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<(), StoreError>> {
        self.appends.fetch_add(1, Ordering::SeqCst);
        drop(lock(&self.gate));
        if self.broken.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::new("writing", "no mood for it")) });
        }
        self.inner.append(batch)
    }

    fn targets(&mut self) -> BoxFuture<'_, Result<Vec<TargetKey>, StoreError>> {
        self.inner.targets()
    }

    fn evidence<'a>(&'a mut self, target: &'a TargetKey, since: i64) -> BoxFuture<'a, Result<History, StoreError>> {
        self.inner.evidence(target, since)
    }

    fn past<'a>(&'a mut self, target: &'a TargetKey, since: i64) -> BoxFuture<'a, Result<Vec<PastHour>, StoreError>> {
        self.inner.past(target, since)
    }

    fn needs(&mut self, since_hour: i64) -> BoxFuture<'_, Result<Vec<Need>, StoreError>> {
        self.inner.needs(since_hour)
    }

    fn parameters(&mut self) -> BoxFuture<'_, Result<Vec<ParameterRow>, StoreError>> {
        self.inner.parameters()
    }

    fn publish<'a>(
        &'a mut self,
        change: &'a ParameterChange,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<Published, StoreError>> {
        self.inner.publish(change, expected)
    }

    fn settle(&mut self, settlement: Settlement) -> BoxFuture<'_, Result<Option<ParameterRow>, StoreError>> {
        self.inner.settle(settlement)
    }

    fn changes<'a>(
        &'a mut self,
        key: Option<&'a ParameterKey>,
    ) -> BoxFuture<'a, Result<Vec<ParameterChange>, StoreError>> {
        self.inner.changes(key)
    }

    fn outcomes<'a>(
        &'a mut self,
        target: Option<&'a TargetKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<OutcomeRow>, StoreError>> {
        self.inner.outcomes(target, limit)
    }

    fn schemas(&mut self) -> BoxFuture<'_, Result<Vec<SchemaRow>, StoreError>> {
        self.inner.schemas()
    }

    fn note_schema<'a>(&'a mut self, row: &'a SchemaRow) -> BoxFuture<'a, Result<(), StoreError>> {
        if self.broken.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::new("noting", "no mood for it")) });
        }
        self.inner.note_schema(row)
    }

    fn folded(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner.folded()
    }

    fn prune(&mut self, outcomes: Wall, evidence_hour: i64) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner.prune(outcomes, evidence_hour)
    }

    fn promise<'a>(&'a mut self, entries: &'a [AuditEntry]) -> BoxFuture<'a, Result<(), StoreError>> {
        drop(lock(&self.gate));
        if self.broken.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::new("writing", "no mood for it")) });
        }
        self.inner.promise(entries)
    }

    fn audit<'a>(
        &'a mut self,
        filter: &'a AuditFilter,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<AuditEntry>, StoreError>> {
        self.inner.audit(filter, limit)
    }

    fn audit_counts(&mut self) -> BoxFuture<'_, Result<AuditCounts, StoreError>> {
        self.inner.audit_counts()
    }

    fn audit_key(&mut self) -> BoxFuture<'_, Result<Option<AuditKey>, StoreError>> {
        self.inner.audit_key()
    }

    fn keep_audit_key(&mut self, drawn: AuditKey) -> BoxFuture<'_, Result<AuditKey, StoreError>> {
        self.inner.keep_audit_key(drawn)
    }

    fn prune_audit(&mut self, before: Wall, most: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner.prune_audit(before, most)
    }
}

pub(super) fn call(execution: u64, ended: Instant) -> Record {
    let elapsed = Duration::from_millis(5);
    let timeout = Duration::from_secs(1);
    Record {
        attempt: Some(Attempt::first(Class::Success, elapsed)),
        call: Some(Finished { elapsed, timeout, retries: 2, ..Finished::of(Ending::Done) }),
        ..Record::new(TargetId(0), execution, ended)
    }
}

pub(super) fn start(store: &(impl Store + Clone + 'static), book: &Arc<Book>, settings: RecorderSettings) -> Recorder {
    Recorder::start(Box::new(store.clone()), Clock::system(), settings, book.clone())
}

fn small(queue: usize) -> RecorderSettings {
    RecorderSettings { queue, ..RecorderSettings::default() }
}

async fn rows(store: &mut impl Store) -> Vec<OutcomeRow> {
    store.outcomes(None, usize::MAX).await.unwrap()
}

async fn counted(store: &mut impl Store) -> u64 {
    store.evidence(&target("crm"), i64::MIN).await.unwrap().total(DONE)
}

/// Waits for an event that another thread brings about.
fn until(what: &str, happened: impl Fn() -> bool) {
    let give_up = Instant::now() + ENOUGH;
    while !happened() {
        assert!(Instant::now() < give_up, "{what} did not happen");
        thread::yield_now();
    }
}

#[tokio::test]
async fn nothing_is_lost_below_the_bound() {
    let mut store = MemoryStore::new();
    let recorder = start(&store, &Book::silent(), RecorderSettings::default());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..4_000).for_each(|n| recorder.record(call(n, Instant::now()))));
        }
    });
    recorder.flush().await.unwrap();
    assert_eq!(rows(&mut store).await.len(), 16_000);
    assert_eq!(counted(&mut store).await, 16_000);
    assert_eq!(recorder.health().folded, 0);
    assert!(rows(&mut store).await.iter().all(|row| *row.run == *recorder.run()));
}

#[tokio::test]
async fn two_processes_start_a_new_service_from_the_same_that_the_store_holds_of_others() {
    let mut store = MemoryStore::new();
    let hour = Clock::system().anchor().wall(Instant::now()).hour();
    let kind = FailureKind::Transient;
    let evidence = ["a", "b", "c"].map(|service| {
        let mut history = History::default();
        history.add(hour, Key::Retried(1, kind), 98);
        history.add(hour, Key::Recovered(1, kind), 98);
        (target(service), history)
    });
    store.append(&Batch { evidence: evidence.into(), ..Batch::default() }).await.unwrap();
    let mut told = Vec::new();
    for _ in 0..2 {
        let book = Book::silent();
        let recorder = start(&store, &book, RecorderSettings::default());
        (0..20).for_each(|n| recorder.record(call(n, Instant::now())));
        recorder.flush().await.unwrap();
        told.push(lock(&book.siblings)[0].clone());
    }
    let (good, bad) = told[0].retry(kind).unwrap();
    assert!((good - 3.96).abs() < 1e-9 && (good + bad - 4.0).abs() < 1e-9, "{good} {bad}");
    assert_eq!(told[0], told[1]);
}

#[tokio::test]
async fn what_a_full_queue_cannot_take_is_folded_and_every_count_stays_exact() {
    let mut store = Moody::new();
    let recorder = start(&store, &Book::silent(), small(16));
    let gate = store.gate.clone();
    let held = lock(&gate);
    recorder.record(call(0, Instant::now()));
    until("an append", || store.appends.load(Ordering::SeqCst) == 1);
    (1..1_000).for_each(|n| recorder.record(call(n, Instant::now())));
    assert_eq!(recorder.health().folded, 1_000 - 1 - 16);
    drop(held);
    recorder.flush().await.unwrap();
    assert_eq!(rows(&mut store).await.len(), 17);
    assert_eq!(store.folded().await.unwrap(), 983);
    assert_eq!(counted(&mut store).await, 1_000);
}

#[tokio::test]
async fn a_schema_that_the_store_does_not_take_is_noted_once_it_does() {
    let mut store = Moody::new();
    store.breaks(true);
    let recorder = start(&store, &Book::silent(), RecorderSettings::default());
    assert!(recorder.meet(target("crm"), 7) && recorder.meet(target("mail"), 7));
    until("a failure", || recorder.health().failed > 0);
    store.breaks(false);
    let inner = store.inner.clone();
    until("noting", || block_on::block_on(inner.clone().schemas()).unwrap().len() == 2);
    assert!(store.schemas().await.unwrap().iter().all(|row| row.schema == 7 && !row.began));
    until("recovering", || !recorder.health().failing);
}

#[tokio::test]
async fn a_failing_store_neither_blocks_nor_loses_what_fits_and_is_said_once() {
    let mut store = Moody::new();
    store.breaks(true);
    let recorder = start(&store, &Book::silent(), RecorderSettings::default());
    (0..100).for_each(|n| recorder.record(call(n, Instant::now())));
    let error = recorder.flush().await.unwrap_err();
    assert_eq!(error.to_string(), "writing: no mood for it");
    let health = recorder.health();
    assert!(health.failing && health.failed > 0, "{health:?}");
    assert_eq!(health.error.as_deref(), Some("writing: no mood for it"));
    assert_eq!(health.unsent, 100);
    store.breaks(false);
    recorder.flush().await.unwrap();
    assert_eq!(
        rows(&mut store).await.iter().map(|row| row.execution).rev().collect::<Vec<_>>(),
        (0..100).collect::<Vec<_>>()
    );
    assert_eq!(counted(&mut store).await, 100);
    assert!(!recorder.health().failing);
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_is_left_alone_for_a_while_although_it_can_be_read() {
    let store = Moody::new();
    store.breaks(true);
    let clock = virtual_clock();
    let recorder = Recorder::start(Box::new(store), clock.clone(), RecorderSettings::default(), Book::silent());
    recorder.record(call(1, clock.now()));
    for failure in 1..=3 {
        recorder.flush().await.unwrap_err();
        let rest = lock(recorder.inline.as_ref().unwrap()).due() - clock.now();
        assert_eq!(rest, Duration::from_millis(250) * (1 << (failure - 1)), "after failure {failure}");
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(recorder.health().failing);
    }
}

#[tokio::test]
async fn what_a_store_does_not_take_is_bounded_and_folded_beyond() {
    let mut store = Moody::new();
    store.breaks(true);
    let recorder = start(&store, &Book::silent(), RecorderSettings::default());
    for _ in 0..9 {
        (0..10_000).for_each(|n| recorder.record(call(n, Instant::now())));
        recorder.flush().await.unwrap_err();
    }
    assert_eq!(recorder.health().unsent, 80_000);
    store.breaks(false);
    recorder.flush().await.unwrap();
    assert_eq!(rows(&mut store).await.len(), 80_000);
    assert_eq!(store.folded().await.unwrap(), 10_000);
    assert_eq!(counted(&mut store).await, 90_000);
}

#[tokio::test]
async fn a_record_after_a_pause_wakes_the_writer() {
    let store = Moody::new();
    let recorder = start(&store, &Book::silent(), RecorderSettings::default());
    for n in 1..=3 {
        until("sleep", || recorder.shared.asleep.load(Ordering::SeqCst));
        recorder.record(call(n, Instant::now()));
        until("an append", || store.appends.load(Ordering::SeqCst) == n as usize);
    }
}

#[tokio::test]
async fn the_row_of_a_call_knows_the_class_of_an_attempt_recorded_before() {
    let mut store = MemoryStore::new();
    let recorder = start(&store, &Book::silent(), RecorderSettings::default());
    let mut attempt = call(1, Instant::now());
    let finished = attempt.call.take();
    attempt.attempt.as_mut().unwrap().class = Class::Transient;
    recorder.record(attempt);
    recorder.record(Record { attempt: None, call: finished, ..attempt });
    recorder.flush().await.unwrap();
    assert_eq!(rows(&mut store).await[0].class.as_deref(), Some("transient"));
}

#[tokio::test]
async fn what_was_learned_before_is_applied_before_the_first_call() {
    let mut store = MemoryStore::new();
    let Published::Moved(row) = store.publish(&change("crm", "timeout.attempt", None, 2.0), None).await.unwrap() else {
        panic!("superseded");
    };
    let book = Book::silent();
    let _recorder = start(&store, &book, RecorderSettings::default());
    assert_eq!(*lock(&book.applied), [row]);
}

#[tokio::test]
async fn a_move_is_stored_before_it_is_applied_and_rests_on_all_evidence_so_far() {
    let mut store = MemoryStore::new();
    let mut before = History::default();
    before.add(Clock::system().anchor().wall.hour() - 5, Key::Attempt(crate::evidence::AttemptClass::Success), 7);
    store.append(&Batch { evidence: vec![(target("crm"), before)], ..Batch::default() }).await.unwrap();
    let book = Book::new(|_, _| vec![change("crm", "timeout.attempt", None, 2.0)]);
    let recorder = start(&store, &book, RecorderSettings::default());
    (0..19).for_each(|n| recorder.record(call(n, Instant::now())));
    recorder.flush().await.unwrap();
    assert_eq!(*lock(&book.learned), [0_u64; 0], "too little is new");
    recorder.record(call(19, Instant::now()));
    recorder.flush().await.unwrap();
    assert_eq!(*lock(&book.learned), [27]);
    assert_eq!(store.parameters().await.unwrap(), *lock(&book.applied));
    assert_eq!(lock(&book.applied).len(), 1);
}

#[tokio::test]
async fn a_move_of_another_process_wins_over_one_that_did_not_know_it() {
    let mut store = MemoryStore::new();
    let book = Book::new(|_, _| vec![change("crm", "timeout.attempt", None, 2.0)]);
    let recorder = start(&store, &book, RecorderSettings::default());
    store.publish(&change("crm", "timeout.attempt", None, 9.0), None).await.unwrap();
    (0..20).for_each(|n| recorder.record(call(n, Instant::now())));
    recorder.flush().await.unwrap();
    assert_eq!(lock(&book.applied).iter().map(|row| row.value).collect::<Vec<_>>(), [9.0]);
    assert_eq!(store.changes(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_learner_that_panics_stops_nothing() {
    let mut store = MemoryStore::new();
    let book = Book::new(|_, _| panic!("a learner's mistake"));
    let recorder = start(&store, &book, RecorderSettings::default());
    for _ in 0..2 {
        (0..20).for_each(|n| recorder.record(call(n, Instant::now())));
        recorder.flush().await.unwrap();
    }
    assert_eq!(counted(&mut store).await, 40);
    assert_eq!(recorder.health().failed, 2);
}

#[tokio::test]
async fn shutting_down_stores_everything_and_then_nothing_more() {
    let mut store = MemoryStore::new();
    let recorder = start(&store, &Book::silent(), small(8));
    (0..5).for_each(|n| recorder.record(call(n, Instant::now())));
    recorder.shutdown(ENOUGH).await.unwrap();
    (0..10).for_each(|n| recorder.record(call(n, Instant::now())));
    assert_eq!(recorder.flush().await.unwrap_err().to_string(), "flushing the recorder: it has stopped");
    assert_eq!(rows(&mut store).await.len(), 5);
    assert_eq!(recorder.health().folded, 2);
    recorder.shutdown(ENOUGH).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
#[expect(clippy::await_holding_lock, reason = "holding it is what makes the store hang")]
async fn shutting_down_a_hanging_store_ends_in_real_time_and_says_what_is_left() {
    let store = Moody::new();
    let recorder = start(&store, &Book::silent(), RecorderSettings::default());
    let held = lock(&store.gate);
    (0..5).for_each(|n| recorder.record(call(n, Instant::now())));
    until("an append", || store.appends.load(Ordering::SeqCst) == 1);
    recorder.record(call(5, Instant::now()));
    let left = recorder.shutdown(Duration::from_millis(20)).await.unwrap_err();
    assert!(left.to_string().contains("not done within 20ms"), "{left}");
    assert!(left.to_string().starts_with("shutting down with 6 records not stored"), "{left}");
    drop(held);
}

fn virtual_clock() -> Clock {
    Clock::virtual_from(Wall::from_millis(1_800_000_000_000))
}

#[tokio::test(start_paused = true)]
async fn virtual_time_is_deterministic_down_to_the_rows() {
    async fn simulate() -> (Vec<OutcomeRow>, History, Vec<ParameterChange>, Vec<u64>) {
        let mut store = MemoryStore::new();
        let book = Book::new(|history, now| {
            let mut change = change("crm", "timeout.attempt", None, history.attempts() as f64);
            change.new.changed = now;
            vec![change]
        });
        let clock = virtual_clock();
        let recorder =
            Recorder::start(Box::new(store.clone()), clock.clone(), RecorderSettings::default(), book.clone());
        for n in 0..5_000 {
            tokio::time::advance(Duration::from_millis(n * 37 % 900)).await;
            recorder.record(call(n, clock.now()));
        }
        recorder.flush().await.unwrap();
        let evidence = store.evidence(&target("crm"), 0).await.unwrap();
        let learned = lock(&book.learned).clone();
        (rows(&mut store).await, evidence, store.changes(None).await.unwrap(), learned)
    }
    let (first, second) = (simulate().await, simulate().await);
    assert_eq!(first.0.len(), 5_000);
    assert!(first.2.len() > 100 && first.3.len() > 100, "{} moves", first.2.len());
    assert!(first == second, "two runs of the same simulation differ");
}

#[tokio::test(start_paused = true)]
async fn rows_carry_the_virtual_time_they_ended_at() {
    let mut store = MemoryStore::new();
    let clock = virtual_clock();
    let recorder = Recorder::start(Box::new(store.clone()), clock.clone(), RecorderSettings::default(), Book::silent());
    tokio::time::advance(Duration::from_secs(86_400)).await;
    recorder.record(call(1, clock.now()));
    tokio::time::advance(Duration::from_secs(5)).await;
    recorder.flush().await.unwrap();
    assert_eq!(rows(&mut store).await[0].ended, Wall::from_millis(1_800_086_400_000));
}

#[tokio::test(start_paused = true)]
async fn a_little_news_is_learned_from_after_the_interval_and_other_processes_count() {
    let mut store = MemoryStore::new();
    let clock = virtual_clock();
    let book = Book::silent();
    let recorder = Recorder::start(Box::new(store.clone()), clock.clone(), RecorderSettings::default(), book.clone());
    recorder.record(call(1, clock.now()));
    assert!(lock(&book.learned).is_empty());
    tokio::time::advance(Duration::from_secs(61)).await;
    recorder.record(call(2, clock.now()));
    assert_eq!(*lock(&book.learned), [2]);
    let mut elsewhere = History::default();
    let success = Key::Attempt(crate::evidence::AttemptClass::Success);
    elsewhere.add(clock.anchor().wall(clock.now()).hour(), success, 500);
    store.append(&Batch { evidence: vec![(target("crm"), elsewhere)], ..Batch::default() }).await.unwrap();
    store.publish(&change("crm", "retry.max_retries", Some(FailureKind::Lost), 1.0), None).await.unwrap();
    tokio::time::advance(Duration::from_secs(61)).await;
    recorder.record(call(3, clock.now()));
    assert_eq!(lock(&book.learned).last(), Some(&503));
    assert_eq!(lock(&book.applied).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_deleted_every_hour() {
    let mut store = MemoryStore::new();
    let clock = virtual_clock();
    let recorder = Recorder::start(Box::new(store.clone()), clock.clone(), RecorderSettings::default(), Book::silent());
    let day = Duration::from_secs(86_400);
    recorder.record(call(1, clock.now()));
    recorder.flush().await.unwrap();
    tokio::time::advance(31 * day).await;
    recorder.record(call(2, clock.now()));
    recorder.flush().await.unwrap();
    recorder.flush().await.unwrap();
    assert_eq!(rows(&mut store).await.iter().map(|row| row.execution).collect::<Vec<_>>(), [2]);
    assert_eq!(counted(&mut store).await, 2);
    tokio::time::advance(60 * day).await;
    recorder.flush().await.unwrap();
    assert_eq!(counted(&mut store).await, 1);
}

#[cfg(feature = "sqlite")]
mod on_sqlite {
    use super::*;
    use crate::store::SqliteStore;
    use std::fs;
    use std::path::Path;

    fn start_at(path: &Path) -> Recorder {
        let store = Box::new(SqliteStore::open(path).unwrap());
        Recorder::start(store, Clock::system(), RecorderSettings::default(), Book::silent())
    }

    #[tokio::test]
    async fn what_was_flushed_is_seen_by_another_connection() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("poet.db");
        let recorder = start_at(&path);
        let mut reader = SqliteStore::open_read_only(&path).unwrap();
        (0..50).for_each(|n| recorder.record(call(n, Instant::now())));
        recorder.flush().await.unwrap();
        assert_eq!(rows(&mut reader).await.len(), 50);
        assert_eq!(counted(&mut reader).await, 50);
    }

    #[tokio::test]
    async fn a_locked_database_delays_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("poet.db");
        let recorder = start_at(&path);
        recorder.flush().await.unwrap();
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        (0..50).for_each(|n| recorder.record(call(n, Instant::now())));
        until("draining", || recorder.health().queued == 0);
        (50..100).for_each(|n| recorder.record(call(n, Instant::now())));
        other.execute_batch("COMMIT").unwrap();
        recorder.flush().await.unwrap();
        assert_eq!(rows(&mut SqliteStore::open_read_only(&path).unwrap()).await.len(), 100);
        assert_eq!(recorder.health().folded, 0);
    }

    #[tokio::test]
    async fn a_database_that_is_damaged_meanwhile_is_set_aside_and_recording_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("poet.db");
        let recorder = start_at(&path);
        recorder.record(call(1, Instant::now()));
        recorder.flush().await.unwrap();
        // With its pages still in the log, the database would mend itself.
        let other = rusqlite::Connection::open(&path).unwrap();
        other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(other);
        let garbage = folder.path().join("garbage");
        fs::write(&garbage, [0xa5; 100_000]).unwrap();
        fs::rename(&garbage, &path).unwrap();
        recorder.record(call(2, Instant::now()));
        recorder.flush().await.unwrap();
        assert!(fs::read(recorder.health().set_aside.unwrap()).unwrap() == [0xa5; 100_000]);
        let rows = rows(&mut SqliteStore::open_read_only(&path).unwrap()).await;
        assert_eq!(rows.iter().map(|row| row.execution).collect::<Vec<_>>(), [2]);
    }

    #[tokio::test]
    async fn a_database_that_cannot_be_opened_yet_costs_nothing_but_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a file").join("poet.db");
        fs::write(folder.path().join("a file"), "in the way").unwrap();
        let store = Box::new(SqliteStore::at(&path));
        let recorder = Recorder::start(store, Clock::system(), RecorderSettings::default(), Book::silent());
        (0..10).for_each(|n| recorder.record(call(n, Instant::now())));
        recorder.flush().await.unwrap_err();
        fs::remove_file(folder.path().join("a file")).unwrap();
        recorder.flush().await.unwrap();
        assert_eq!(rows(&mut SqliteStore::open_read_only(&path).unwrap()).await.len(), 10);
    }
}
