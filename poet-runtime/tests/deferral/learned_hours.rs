//! Hours in which a service fails are learned from its calls by one process, and kept by the next one.

use crate::service::*;
use poet_runtime::config::{Config, QueueConfig, ServiceConfig};
use poet_runtime::defer::{MemoryQueue, Reason};
use poet_runtime::service::Request;
use poet_runtime::store::{MemoryStore, ParameterRow, Store};
use poet_runtime::{Class, Clock, Priority, Runtime, Wall};
use serde_json::json;
use tokio::time::sleep;

/// 2026-06-24 10:20 UTC, a quarter of an hour or so after noon in Berlin.
const AFTER_NOON: Wall = Wall::from_millis(MORNING.millis() + 14 * 86_400_000 + 140 * 60_000);

/// A process that uses a store, from a moment on. Its service is in Berlin.
fn process(store: &MemoryStore, from: Wall, queue: QueueConfig) -> World {
    let berlin = ServiceConfig { timezone: Some("Europe/Berlin".to_owned()), ..ServiceConfig::named("crm") };
    let config = Config { queue, ..Config::default().service(berlin) };
    let builder = Runtime::builder().configuration(config).store(store.clone()).queue(MemoryQueue::default());
    World::timed(builder, Clock::virtual_from(from))
}

/// Two weeks of calls, four an hour, of which one in fifty fails and at noon in Berlin one in `noon`.
async fn two_weeks(store: &MemoryStore, noon: u64) -> Option<ParameterRow> {
    let world = process(store, MORNING, QueueConfig::default());
    world.service.does(|request, _| match request.arguments.get("id") {
        Some(id) if id == "fails" => Act::Fail(Class::Transient),
        _ => Act::Answer,
    });
    for n in 0..14 * 24 * 4_u64 {
        // In summer 12:00 in Berlin is 10:00 UTC.
        let one_in = if world.now().hour().rem_euclid(24) == 10 { noon } else { 50 };
        let _ = world.call(write(json!(if n % one_in == 0 { "fails" } else { "is well" }))).await;
        sleep(15 * MINUTE).await;
    }
    world.runtime.flush().await.unwrap();
    let rows = store.clone().parameters().await.unwrap();
    world.runtime.shutdown(MINUTE).await.unwrap();
    rows.into_iter().find(|row| row.key.name == "defer.hours")
}

#[tokio::test(start_paused = true)]
async fn work_that_may_wait_is_made_after_the_hour_that_was_learned_and_other_work_at_once() {
    let store = MemoryStore::new();
    let row = two_weeks(&store, 2).await.expect("it was learned");
    assert_eq!((row.value, row.is_applied()), (f64::from(1 << 12), true), "{}", row.reason);

    let world = process(&store, AFTER_NOON, QueueConfig::default());
    // Its caller waits, or it matters.
    for request in [write(json!(1)), Request { priority: Some(Priority::High), ..deferrable(json!(2)) }] {
        assert!(is_made(&world.call(request).await.unwrap()));
    }
    let ticket = world.put_off(deferrable(json!(3))).await;
    assert_eq!(
        (ticket.reason(), ticket.due().to_string().as_str()),
        (Reason::AvoidedHours, "2026-06-24T11:00:00.000Z")
    );
    ticket.wait(DAY).await.unwrap();
    assert_eq!(world.now(), ticket.due());
    assert_eq!(world.service.made(), [json!(1), json!(2), json!(3)]);
    // The hour is over.
    assert!(is_made(&world.call(deferrable(json!(4))).await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn an_hour_is_not_waited_for_by_work_that_waits_for_less() {
    let store = MemoryStore::new();
    two_weeks(&store, 2).await.expect("it was learned");
    let hasty = QueueConfig { expire_after: 30 * MINUTE, ..QueueConfig::default() };
    let world = process(&store, AFTER_NOON, hasty);
    assert!(is_made(&world.call(deferrable(json!(1))).await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn hours_that_are_all_alike_put_nothing_off() {
    let store = MemoryStore::new();
    assert_eq!(two_weeks(&store, 50).await, None);
    let world = process(&store, AFTER_NOON, QueueConfig::default());
    assert!(is_made(&world.call(deferrable(json!(1))).await.unwrap()));
}
