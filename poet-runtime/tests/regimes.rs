//! A tool that becomes another one is not called by what was learned about the one that it was, in virtual time.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use poet_runtime::decision::{Decision, Instruction, decide};
use poet_runtime::defer::Note;
use poet_runtime::service::{Failure, ServiceCall};
use poet_runtime::store::{MemoryStore, ParameterChange, ParameterKey, Standing, Store, TargetKey};
use poet_runtime::{Clock, Profile, Runtime, Wall};
use std::time::Duration;
use tokio::time::{advance, sleep};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);
/// What is in force where nothing was learned.
const DEFAULT: Duration = Duration::from_secs(10);
const BEGIN: i64 = 1_700_000_000_000;

/// A process that starts with this store, so long after the first.
fn process(store: &MemoryStore, later: Duration) -> Runtime {
    let clock = Clock::virtual_from(Wall::from_millis(BEGIN).after(later));
    let builder = Runtime::builder().configuration(Default::default()).store(store.clone()).clock(clock).seed(7);
    builder.build().unwrap()
}

async fn call(runtime: &Runtime, calls: u32) {
    let get = ServiceCall { repeatable: true, ..ServiceCall::new("crm", "get", Profile::GENERAL) };
    for _ in 0..calls {
        let answered = runtime.call(&get, async |_| {
            sleep(20 * MS).await;
            Ok::<_, Failure>(())
        });
        answered.await.unwrap();
        sleep(200 * MS).await;
    }
}

async fn timeout(runtime: &Runtime) -> Duration {
    runtime.flush().await.unwrap();
    runtime.values("crm", "get").unwrap().attempt_timeout
}

/// Calls until a limit of attempts was learned.
async fn learn(runtime: &Runtime) -> Duration {
    for _ in 0..100 {
        call(runtime, 50).await;
        let learned = timeout(runtime).await;
        if learned < DEFAULT {
            return learned;
        }
    }
    panic!("nothing was learned");
}

async fn moves(store: &MemoryStore) -> Vec<ParameterChange> {
    store.clone().changes(None).await.unwrap()
}

fn taken_back(moves: &[ParameterChange]) -> Vec<&ParameterChange> {
    let by_schema = |change: &&ParameterChange| change.new.reason.contains("its schema changed");
    moves.iter().filter(by_schema).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_and_counted_of_a_tool_counts_for_no_other_one_and_that_is_learned_anew() {
    let store = MemoryStore::new();
    let runtime = process(&store, Duration::ZERO);
    call(&runtime, 1).await;
    runtime.note_schema("crm", "get", 1);
    let learned = learn(&runtime).await;

    runtime.note_schema("crm", "get", 2);
    assert_eq!(timeout(&runtime).await, DEFAULT);
    let moved = moves(&store).await;
    let back = taken_back(&moved);
    let limit = back.iter().find(|change| change.new.key.name == "timeout.attempt").unwrap();
    assert_eq!((limit.old, limit.new.value), (Some(learned.as_secs_f64()), DEFAULT.as_secs_f64()));
    assert_eq!(limit.new.standing, Standing::Reset);
    let rows = store.clone().parameters().await.unwrap();
    assert!(rows.iter().all(|row| row.standing == Standing::Reset), "no trial goes on: {rows:?}");

    // A few calls are not enough for a tool of which nothing is known, whatever was known of the one before.
    for _ in 0..3 {
        advance(HOUR).await;
        call(&runtime, 5).await;
        assert_eq!(timeout(&runtime).await, DEFAULT);
    }
    assert!(learn(&runtime).await < DEFAULT, "nothing is frozen");
}

#[tokio::test(start_paused = true)]
async fn the_servers_of_a_rollout_take_nothing_back_twice() {
    let store = MemoryStore::new();
    let runtime = process(&store, Duration::ZERO);
    call(&runtime, 1).await;
    runtime.note_schema("crm", "get", 1);
    learn(&runtime).await;
    runtime.note_schema("crm", "get", 2);
    timeout(&runtime).await;
    let once = taken_back(&moves(&store).await).len();
    advance(HOUR).await;
    for turn in 0..600 {
        call(&runtime, 1).await;
        runtime.note_schema("crm", "get", 1 + turn % 2);
    }
    let learned = learn(&runtime).await;
    advance(30 * HOUR).await;
    runtime.note_schema("crm", "get", 1);
    assert_eq!(timeout(&runtime).await, learned);
    assert_eq!((once > 0, taken_back(&moves(&store).await).len()), (true, once));
}

#[tokio::test(start_paused = true)]
async fn other_processes_follow_and_the_next_one_does_not_learn_from_what_was_before() {
    let store = MemoryStore::new();
    let (one, other) = (process(&store, Duration::ZERO), process(&store, Duration::ZERO));
    call(&one, 1).await;
    one.note_schema("crm", "get", 1);
    learn(&one).await;
    advance(2 * Duration::from_secs(60)).await;
    call(&other, 2).await;
    assert!(timeout(&other).await < DEFAULT);
    one.note_schema("crm", "get", 2);
    one.flush().await.unwrap();
    advance(2 * Duration::from_secs(60)).await;
    call(&other, 2).await;
    assert_eq!(timeout(&other).await, DEFAULT);

    for runtime in [one, other] {
        runtime.shutdown(Duration::from_secs(5)).await.unwrap();
    }
    let next = process(&store, 5 * HOUR);
    call(&next, 1).await;
    next.note_schema("crm", "get", 2);
    for _ in 0..3 {
        call(&next, 5).await;
        advance(HOUR).await;
        assert_eq!(timeout(&next).await, DEFAULT);
    }
    assert!(learn(&next).await < DEFAULT);
}

#[tokio::test(start_paused = true)]
async fn what_a_person_pinned_stays_with_whatever_the_tool_becomes() {
    let store = MemoryStore::new();
    let runtime = process(&store, Duration::ZERO);
    call(&runtime, 1).await;
    runtime.note_schema("crm", "get", 1);
    let target = TargetKey { service: "crm".to_owned(), operation: "get".to_owned() };
    let pin = Instruction {
        key: ParameterKey { target, name: "timeout.attempt".to_owned(), after: None },
        decision: Decision::Pin(3.0),
        unlearned: Some(10.0),
        note: Note { by: "ops".to_owned(), text: None },
        now: Wall::from_millis(BEGIN),
    };
    decide(&mut store.clone(), &pin).await.unwrap();
    advance(2 * Duration::from_secs(60)).await;
    call(&runtime, 2).await;
    runtime.note_schema("crm", "get", 2);
    assert_eq!(timeout(&runtime).await, Duration::from_secs(3));
    assert!(taken_back(&moves(&store).await).is_empty());
}
