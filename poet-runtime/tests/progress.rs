//! Attempts that show that they are alive, on the real pipeline in virtual time.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod support;

use poet_runtime::__private::{Call, caps, run};
use poet_runtime::config::{Config, ServiceConfig, ToolConfig};
use poet_runtime::evidence::{AttemptClass, History, Key, Sketch};
use poet_runtime::service::{AttemptContext, Failure, ServiceCall};
use poet_runtime::store::{MemoryStore, Store, TargetKey};
use poet_runtime::{Class, Clock, Declaration, Error, FailureKind, Runtime, Wall, progress};
use std::cell::Cell;
use std::future::pending;
use std::time::Duration;
use support::{GRACE, call, declared, fails, read, site};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// A runtime whose attempts are waited for ten seconds.
fn runtime(config: ServiceConfig) -> (Runtime, MemoryStore) {
    let store = MemoryStore::new();
    let config = Config::default().service(config.pin("timeout.attempt", 10.0));
    let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
    let runtime = Runtime::builder().configuration(config).store(store.clone()).clock(clock).seed(7).build().unwrap();
    (runtime, store)
}

fn crm() -> ServiceConfig {
    ServiceConfig::named("crm")
}

/// Is alive every so often, so many times.
async fn at_work(times: u32, every: Duration) {
    for _ in 0..times {
        sleep(every).await;
        progress();
    }
}

fn once(operation: &str, deadline: Duration) -> ServiceCall<'_> {
    ServiceCall { retries: Some(0), deadline: Some(deadline), ..read(operation) }
}

async fn evidence(runtime: &Runtime, mut store: MemoryStore) -> History {
    runtime.flush().await.unwrap();
    store.evidence(&TargetKey { service: "crm".to_owned(), operation: "get".to_owned() }, 0).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_shows_progress_is_waited_for_beyond_its_limit() {
    let (runtime, _) = runtime(crm());
    let began = Instant::now();
    let (started, answer) = call(&runtime, &once("get", 60 * SECOND), async |_| {
        at_work(5, 8 * SECOND).await;
        Ok(7)
    })
    .await;
    assert_eq!((started, answer.unwrap().value, began.elapsed()), (1, 7, 40 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn what_falls_silent_is_given_up_when_its_limit_has_passed_since() {
    let (runtime, _) = runtime(crm());
    let began = Instant::now();
    let (_, answer) = call(&runtime, &once("get", 60 * SECOND), async |_| {
        at_work(2, 4 * SECOND).await;
        pending().await
    })
    .await;
    let error = answer.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(began.elapsed().as_secs(), 18);
}

#[tokio::test(start_paused = true)]
async fn no_progress_carries_a_call_over_its_deadline() {
    let (runtime, _) = runtime(crm());
    let began = Instant::now();
    let (started, answer) = call(&runtime, &once("get", 25 * SECOND), async |_| {
        at_work(u32::MAX, SECOND).await;
        Ok(7)
    })
    .await;
    let error = answer.unwrap_err();
    assert!(error.is_deadline(), "{error}");
    assert!(started == 1 && began.elapsed() <= 25 * SECOND + GRACE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_told_how_far_it_can_be_extended() {
    let (runtime, _) = runtime(crm());
    let told = |attempt: AttemptContext| {
        let now = Instant::now().into_std();
        std::future::ready(Ok::<_, Failure>((attempt.until - now, attempt.deadline - now)))
    };
    let answer = runtime.call(&once("get", 60 * SECOND), told).await.unwrap();
    assert_eq!(answer.value, (10 * SECOND, 60 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_retry_has_its_own_time_whatever_the_attempt_before_showed() {
    let (runtime, _) = runtime(crm());
    let began = Instant::now();
    let twice = ServiceCall { retries: Some(1), deadline: Some(100 * SECOND), ..read("get") };
    let (started, answer) = call(&runtime, &twice, async |attempt| {
        if attempt == 1 {
            at_work(3, 8 * SECOND).await;
            return fails(Class::Transient);
        }
        pending().await
    })
    .await;
    assert!(started == 2 && answer.unwrap_err().is_timeout());
    assert!((34..35).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_wants_a_hard_limit_has_one() {
    for config in [crm().progress_extends(false), crm().tool("get", ToolConfig::default().progress_extends(false))] {
        let (runtime, store) = runtime(config);
        let began = Instant::now();
        let (_, answer) = call(&runtime, &once("get", 60 * SECOND), async |_| {
            at_work(5, 8 * SECOND).await;
            Ok(7)
        })
        .await;
        assert!(answer.unwrap_err().is_timeout());
        assert_eq!(began.elapsed().as_secs(), 10);
        let evidence = evidence(&runtime, store).await;
        assert_eq!(evidence.total(Key::Censored(Sketch::bucket(10 * SECOND))), 1, "it was waited for all of it");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_alive_is_not_raced() {
    let (runtime, store) = runtime(crm().pin("hedge.delay", 1.0));
    let fast = ServiceCall { deadline: Some(60 * SECOND), ..read("get") };
    for _ in 0..250 {
        runtime.call(&fast, async |_| Ok::<_, Failure>(0)).await.unwrap();
    }
    let (started, answer) = call(&runtime, &fast, async |_| {
        sleep(SECOND / 2).await;
        progress();
        sleep(9 * SECOND).await;
        Ok(7)
    })
    .await;
    assert_eq!((started, answer.unwrap().attempts), (1, 1));
    let (started, answer) = call(&runtime, &fast, async |copy| {
        sleep(if copy == 1 { 9 * SECOND } else { SECOND }).await;
        Ok(copy)
    })
    .await;
    assert_eq!((started, answer.unwrap().value), (2, 2), "one that shows nothing is");
    let evidence = evidence(&runtime, store).await;
    assert_eq!((evidence.total(Key::Hedged(true)), evidence.total(Key::Hedged(false))), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_counts_with_the_time_it_was_silent_and_not_with_the_time_it_took() {
    let (runtime, store) = runtime(crm());
    let (_, answer) = call(&runtime, &once("get", 60 * SECOND), async |_| {
        at_work(5, 8 * SECOND).await;
        Ok(7)
    })
    .await;
    answer.unwrap();
    let (_, answer) = call(&runtime, &once("get", 60 * SECOND), async |_| {
        at_work(5, 8 * SECOND).await;
        pending().await
    })
    .await;
    answer.unwrap_err();
    let evidence = evidence(&runtime, store).await;
    let total = |key: fn(u8) -> Key, seconds| evidence.total(key(Sketch::bucket(Duration::from_secs(seconds))));
    assert_eq!((total(Key::Silent, 8), total(Key::Took, 40), total(Key::Answered, 40)), (1, 1, 0));
    assert_eq!(
        (total(Key::Censored, 10), total(Key::Censored, 50)),
        (1, 0),
        "the limit ended a silence of ten seconds"
    );
    assert_eq!(evidence.total(Key::Attempt(AttemptClass::Failure(FailureKind::Timeout))), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_alive_inside_a_function_keeps_the_attempt_of_that_alive_too() {
    let (runtime, _) = runtime(crm());
    let inner = runtime.clone();
    let tries = Cell::new(0);
    let limit = Some(10 * SECOND);
    let outer =
        site(Declaration { idempotent: true, timeout: limit, deadline: Some(60 * SECOND), ..declared("fetch") });
    let result: Result<u32, Error> = runtime
        .scope(run(outer, Call::new(caps!(Result<u32, Error>)), |_| async {
            tries.set(tries.get() + 1);
            let within = once("get", 60 * SECOND);
            let answer = call(&inner, &within, async |_| {
                at_work(5, 8 * SECOND).await;
                Ok(7)
            });
            answer.await.1.map(|answer| answer.value)
        }))
        .await;
    assert_eq!((tries.get(), result.unwrap()), (1, 7));
}

#[test]
fn progress_of_nothing_does_nothing() {
    progress();
}
