//! Attempts that are raced by a second copy, on the real pipeline in virtual time.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use poet_runtime::config::{Config, ServiceConfig};
use poet_runtime::evidence::{AttemptClass, History, Key};
use poet_runtime::service::{Answer, Failure, ServiceCall};
use poet_runtime::store::{MemoryStore, Store, TargetKey};
use poet_runtime::{Class, Clock, Error, Profile, Runtime, Wall};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// A runtime that hedges after a second, at an operation that has earned five copies.
async fn hedging(config: ServiceConfig) -> (Runtime, MemoryStore) {
    let store = MemoryStore::new();
    let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
    let config = Config::default().service(config.pin("hedge.delay", 1.0).pin("timeout.attempt", 10.0));
    let runtime = Runtime::builder().configuration(config).store(store.clone()).clock(clock).seed(7).build().unwrap();
    for _ in 0..250 {
        runtime.call(&read("get"), async |_| Ok::<_, Failure>(0)).await.unwrap();
    }
    (runtime, store)
}

fn crm() -> ServiceConfig {
    ServiceConfig::named("crm")
}

fn read(operation: &'static str) -> ServiceCall<'static> {
    ServiceCall { repeatable: true, ..ServiceCall::new("crm", operation, Profile::GENERAL) }
}

async fn evidence(runtime: &Runtime, mut store: MemoryStore) -> History {
    runtime.flush().await.unwrap();
    let target = TargetKey { service: "crm".to_owned(), operation: "get".to_owned() };
    store.evidence(&target, 0).await.unwrap()
}

/// What the copies of one call do: after how many milliseconds each ends, and how.
type Script = &'static [(u64, Result<u32, Class>)];
const HANGS: u64 = u64::MAX;

/// Counts copies that were started, and those that were dropped before they ended.
#[derive(Clone, Default)]
struct Copies {
    started: Arc<AtomicU32>,
    ended: Arc<AtomicU32>,
}

impl Copies {
    fn counts(&self) -> (u32, u32) {
        (self.started.load(Ordering::SeqCst), self.ended.load(Ordering::SeqCst))
    }

    async fn call(&self, runtime: &Runtime, call: &ServiceCall<'_>, script: Script) -> Result<Answer<u32>, Error> {
        let attempt = |_| {
            let copies = self.clone();
            async move {
                let (takes, result) = script[copies.started.fetch_add(1, Ordering::SeqCst) as usize % script.len()];
                if takes == HANGS {
                    pending::<()>().await;
                }
                sleep(Duration::from_millis(takes)).await;
                copies.ended.fetch_add(1, Ordering::SeqCst);
                result.map_err(|class| Failure::new(class, "scripted"))
            }
        };
        runtime.call(call, attempt).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_copy_that_answers_first_is_the_answer_and_the_first_is_dropped() {
    let (runtime, store) = hedging(crm()).await;
    let (began, copies) = (Instant::now(), Copies::default());
    let answer = copies.call(&runtime, &read("get"), &[(HANGS, Ok(1)), (1, Ok(2))]).await.unwrap();
    assert_eq!((answer.value, answer.attempts, copies.counts()), (2, 2, (2, 1)));
    assert!(began.elapsed() <= SECOND + 10 * MS, "{:?}", began.elapsed());
    let evidence = evidence(&runtime, store).await;
    assert_eq!((evidence.total(Key::Hedged(true)), evidence.total(Key::Hedged(false))), (1, 0));
    assert_eq!(evidence.attempts(), 251, "the one that was dropped is no attempt that the service answered or failed");
}

#[tokio::test(start_paused = true)]
async fn a_first_copy_that_answers_first_is_the_answer_and_the_second_is_dropped() {
    let (runtime, store) = hedging(crm()).await;
    let copies = Copies::default();
    let answer = copies.call(&runtime, &read("get"), &[(2_000, Ok(1)), (HANGS, Ok(2))]).await.unwrap();
    assert_eq!((answer.value, answer.attempts, copies.counts()), (1, 2, (2, 1)));
    let evidence = evidence(&runtime, store).await;
    assert_eq!((evidence.total(Key::Hedged(true)), evidence.total(Key::Hedged(false))), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_quick_or_not_known_to_be_repeatable_is_started_once() {
    let (runtime, _) = hedging(crm()).await;
    let copies = Copies::default();
    copies.call(&runtime, &read("get"), &[(900, Ok(1))]).await.unwrap();
    assert_eq!(copies.counts(), (1, 1));
    let scripts: [Script; 3] = [&[(HANGS, Ok(1))], &[(5_000, Ok(1))], &[(5_000, Err(Class::Timeout))]];
    for script in scripts {
        let copies = Copies::default();
        let write = ServiceCall { repeatable: false, ..read("get") };
        _ = copies.call(&runtime, &write, script).await;
        assert_eq!(copies.counts().0, 1, "a write is never raced");
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_fails_leaves_it_to_the_other_and_is_evidence_of_its_own() {
    let scripts: [(Script, u32); 2] = [
        (&[(2_000, Err(Class::Transient)), (3_000, Ok(2))], 2),
        (&[(3_000, Ok(1)), (1_000, Err(Class::Transient))], 1),
    ];
    for (script, answers) in scripts {
        let (runtime, store) = hedging(crm()).await;
        let copies = Copies::default();
        let answer = copies.call(&runtime, &read("get"), script).await.unwrap();
        assert_eq!((answer.value, answer.attempts, copies.counts()), (answers, 2, (2, 2)));
        let evidence = evidence(&runtime, store).await;
        let failed = AttemptClass::Failure(poet_runtime::FailureKind::Transient);
        assert_eq!((evidence.attempts(), evidence.total(Key::Attempt(failed))), (252, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn where_neither_copy_is_done_the_limit_of_the_first_ends_both_and_the_deadline_holds() {
    let (runtime, _) = hedging(crm()).await;
    let (began, copies) = (Instant::now(), Copies::default());
    let once = ServiceCall { retries: Some(0), deadline: Some(5 * SECOND), ..read("get") };
    let error = copies.call(&runtime, &once, &[(HANGS, Ok(1))]).await.unwrap_err();
    assert!(error.is_deadline(), "{error}");
    assert_eq!(copies.counts(), (2, 0));
    assert!(began.elapsed() <= 5 * SECOND + 50 * MS);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_one_in_fifty_is_raced_however_slow_the_service_is() {
    let (runtime, _) = hedging(crm()).await;
    let copies = Copies::default();
    for _ in 0..500 {
        copies.call(&runtime, &read("get"), &[(2_000, Ok(1))]).await.unwrap();
    }
    let (started, _) = copies.counts();
    assert_eq!(started, 500 + 5 + 9, "five that were saved up, and a fiftieth of the 499 after that");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_raced_where_there_is_no_place_or_the_circuit_is_open() {
    let (runtime, _) = hedging(crm().pin("concurrency.limit", 1.0)).await;
    let copies = Copies::default();
    copies.call(&runtime, &read("get"), &[(5_000, Ok(1))]).await.unwrap();
    assert_eq!(copies.counts(), (1, 1), "the only place is taken by the first copy");

    let (runtime, _) = hedging(crm()).await;
    let slow = {
        let (runtime, copies) = (runtime.clone(), copies.clone());
        tokio::spawn(async move { copies.call(&runtime, &read("get"), &[(5_000, Ok(1))]).await })
    };
    tokio::task::yield_now().await;
    let once = ServiceCall { retries: Some(0), ..read("get") };
    for _ in 0..5 {
        Copies::default().call(&runtime, &once, &[(1, Err(Class::Transient))]).await.unwrap_err();
    }
    slow.await.unwrap().unwrap();
    assert_eq!(copies.counts().0, 2, "the circuit opened while it was under way");
}

#[tokio::test(start_paused = true)]
async fn a_race_that_is_dropped_takes_no_place_along() {
    let (runtime, _) = hedging(crm().pin("concurrency.limit", 2.0)).await;
    for _ in 0..5 {
        let copies = Copies::default();
        let call = read("get");
        let raced = copies.call(&runtime, &call, &[(HANGS, Ok(1))]);
        tokio::time::timeout(2 * SECOND, raced).await.unwrap_err();
        assert_eq!(copies.counts(), (2, 0));
    }
    let began = Instant::now();
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let runtime = runtime.clone();
            tokio::spawn(async move { Copies::default().call(&runtime, &read("get"), &[(1, Ok(1))]).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(began.elapsed() <= 10 * MS);
}
