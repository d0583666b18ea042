//! More calls than may be under way at once, on the real pipeline in virtual time.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use poet_runtime::config::{Config, ServiceConfig};
use poet_runtime::evidence::{Key, LoadSum};
use poet_runtime::service::{Answer, Failure, ServiceCall};
use poet_runtime::store::{MemoryStore, Store, TargetKey};
use poet_runtime::{Class, Clock, Ending, Error, Priority, Profile, Runtime, Wall};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// What the first law allows a call to overrun its deadline by.
const GRACE: Duration = Duration::from_millis(50);

fn read(operation: &'static str) -> ServiceCall<'static> {
    ServiceCall { repeatable: true, ..ServiceCall::new("crm", operation, Profile::GENERAL) }
}

fn fails(class: Class) -> Result<u32, Failure> {
    Err(Failure::new(class, "scripted"))
}

fn runtime(limit: Option<u32>) -> (Runtime, MemoryStore) {
    let store = MemoryStore::new();
    let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
    let config = match limit {
        Some(limit) => {
            Config::default().service(ServiceConfig::named("crm").pin("concurrency.limit", f64::from(limit)))
        }
        None => Config::default(),
    };
    let builder = Runtime::builder().configuration(config).store(store.clone()).clock(clock).seed(7);
    (builder.build().unwrap(), store)
}

/// A service that counts how many work at once, and in which order they began.
#[derive(Clone, Default)]
struct Desk {
    under_way: Arc<AtomicU32>,
    most: Arc<AtomicU32>,
    began: Arc<Mutex<Vec<u32>>>,
}

impl Desk {
    async fn serve(self, who: u32, takes: Duration) -> Result<u32, Failure> {
        self.most.fetch_max(self.under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        self.began.lock().unwrap().push(who);
        sleep(takes).await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        Ok(who)
    }

    /// Makes a call in a task of its own.
    fn call(
        &self,
        runtime: &Runtime,
        call: ServiceCall<'static>,
        who: u32,
        takes: Duration,
    ) -> JoinHandle<Result<Answer<u32>, Error>> {
        let (desk, runtime) = (self.clone(), runtime.clone());
        tokio::spawn(async move { runtime.call(&call, |_| desk.clone().serve(who, takes)).await })
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_limit_are_under_way_and_everyone_gets_a_turn() {
    for (limit, expected) in [(Some(3), 3), (Some(100), 100), (None, 64)] {
        let (runtime, _) = runtime(limit);
        let desk = Desk::default();
        let calls: JoinSet<_> = (0..200).map(|who| desk.call(&runtime, read("get"), who, SECOND / 10)).collect();
        assert!(calls.join_all().await.into_iter().all(|call| call.unwrap().is_ok()));
        assert_eq!(desk.most.load(Ordering::SeqCst), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn turns_come_by_priority_and_then_in_order() {
    let (runtime, _) = runtime(Some(1));
    let desk = Desk::default();
    let mut calls = Vec::new();
    for (who, priority) in [
        (0, Priority::Normal),
        (1, Priority::Low),
        (2, Priority::Normal),
        (3, Priority::Critical),
        (4, Priority::Normal),
    ] {
        let call = ServiceCall { priority: Some(priority), ..read("get") };
        calls.push(desk.call(&runtime, call, who, SECOND));
        tokio::task::yield_now().await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(*desk.began.lock().unwrap(), [0, 3, 2, 4, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_turn_would_come_too_late_is_refused_at_once_and_is_no_failure_of_the_service() {
    let (runtime, mut store) = runtime(Some(1));
    let desk = Desk::default();
    desk.call(&runtime, read("get"), 0, 4 * SECOND).await.unwrap().unwrap();
    let calls: Vec<_> = (1..4).map(|who| desk.call(&runtime, read("get"), who, 4 * SECOND)).collect();
    tokio::task::yield_now().await;
    let began = Instant::now();
    let hurried = ServiceCall { deadline: Some(10 * SECOND), ..read("get") };
    let error = desk.call(&runtime, hurried, 9, 4 * SECOND).await.unwrap().unwrap_err();
    assert!(error.is_crowded() && error.attempts() == 0, "{error}");
    assert_eq!(
        error.to_string(),
        "calling get of crm: all places are taken, and 2 calls wait for one: its turn would come too late"
    );
    assert!(began.elapsed() <= GRACE);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    runtime.flush().await.unwrap();
    let rows = store.outcomes(None, 100).await.unwrap();
    let refused: Vec<_> = rows.iter().filter(|row| row.ending == Ending::Crowded).collect();
    assert_eq!((refused.len(), rows.len()), (1, 5));
    assert!(refused[0].class.is_none(), "it was no attempt");
    for _ in 0..50 {
        let hurried = ServiceCall { deadline: Some(SECOND), ..read("get") };
        let (one, two) = (desk.call(&runtime, read("get"), 1, SECOND), desk.call(&runtime, hurried, 2, SECOND));
        one.await.unwrap().unwrap();
        two.await.unwrap().unwrap_err();
    }
    desk.call(&runtime, read("get"), 0, SECOND).await.unwrap().expect("refusals open no circuit");
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_ends_at_its_deadline_and_was_never_sent() {
    let (runtime, _) = runtime(Some(1));
    let desk = Desk::default();
    let long = ServiceCall { timeout: Some(20 * SECOND), ..read("get") };
    let first = desk.call(&runtime, long, 0, 15 * SECOND);
    tokio::task::yield_now().await;
    let began = Instant::now();
    let write = ServiceCall { deadline: Some(5 * SECOND), repeatable: false, ..read("get") };
    let error = desk.call(&runtime, write, 1, SECOND).await.unwrap().unwrap_err();
    assert!(error.is_deadline() && error.attempts() == 0, "{error}: a write that was not sent has a known outcome");
    assert!(began.elapsed() <= 5 * SECOND + GRACE);
    first.await.unwrap().unwrap();
    assert_eq!(*desk.began.lock().unwrap(), [0]);
}

#[tokio::test(start_paused = true)]
async fn who_is_dropped_in_line_or_under_way_takes_no_place_along() {
    let (runtime, _) = runtime(Some(1));
    let desk = Desk::default();
    for _ in 0..10 {
        let (under_way, in_line) =
            (desk.call(&runtime, read("get"), 0, SECOND), desk.call(&runtime, read("get"), 1, SECOND));
        tokio::task::yield_now().await;
        in_line.abort();
        under_way.abort();
        assert!(in_line.await.is_err() && under_way.await.is_err());
    }
    let began = Instant::now();
    desk.call(&runtime, read("get"), 2, SECOND).await.unwrap().unwrap();
    assert_eq!(began.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_place_is_not_kept_while_a_retry_is_waited_for() {
    let (runtime, _) = runtime(Some(1));
    let (tries, other) = (Arc::new(AtomicU32::new(0)), runtime.clone());
    let retried = tokio::spawn(async move {
        let asked = Class::Throttled { retry_after: None };
        other
            .call(&read("get"), |_| {
                let first = tries.fetch_add(1, Ordering::SeqCst) == 0;
                async move { if first { fails(asked) } else { Ok(1) } }
            })
            .await
    });
    tokio::task::yield_now().await;
    let desk = Desk::default();
    desk.call(&runtime, read("get"), 1, Duration::from_millis(1)).await.unwrap().unwrap();
    assert!(!retried.is_finished(), "it waits for its retry");
    retried.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_place_is_refused_once_the_circuit_has_opened() {
    let (runtime, _) = runtime(Some(5));
    let calls: JoinSet<_> = (0..20)
        .map(|_| {
            let runtime = runtime.clone();
            tokio::spawn(async move {
                let once = ServiceCall { retries: Some(0), ..read("get") };
                let fails = |_| async {
                    sleep(SECOND).await;
                    fails(Class::Transient)
                };
                runtime.call(&once, fails).await
            })
        })
        .collect();
    let errors: Vec<Error> = calls.join_all().await.into_iter().map(|call| call.unwrap().unwrap_err()).collect();
    assert_eq!(errors.iter().filter(|error| error.is_service()).count(), 5);
    assert_eq!(errors.iter().filter(|error| error.is_circuit_open()).count(), 15);
}

#[tokio::test(start_paused = true)]
async fn how_many_were_under_way_is_written_down_with_each_attempt() {
    let (runtime, mut store) = runtime(None);
    let desk = Desk::default();
    let calls: JoinSet<_> = (0..6).map(|who| desk.call(&runtime, read("get"), who, SECOND)).collect();
    calls.join_all().await;
    runtime.flush().await.unwrap();
    let target = TargetKey { service: "crm".to_owned(), operation: "get".to_owned() };
    let evidence = store.evidence(&target, 0).await.unwrap();
    let answered = [0, 1, 2, 3].map(|bin| evidence.total(Key::Load(LoadSum::Answered, bin)));
    assert_eq!(answered, [1, 2, 3, 0], "1; 2 and 3; 4 to 6");
}
