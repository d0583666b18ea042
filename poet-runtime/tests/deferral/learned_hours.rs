//! Hours in which a service fails are learned from its calls by one process, and kept by the next one.

use crate::service::*;
use poet_runtime::config::{Config, QueueConfig, ServiceConfig};
use poet_runtime::defer::{MemoryQueue, Reason};
use poet_runtime::evidence::{AttemptClass, History, Key};
use poet_runtime::service::Request;
use poet_runtime::store::{Batch, MemoryStore, ParameterRow, Store, TargetKey};
use poet_runtime::{Class, Clock, FailureKind, Priority, Runtime, Wall};
use serde_json::json;
use tokio::time::sleep;

/// 2026-06-24 10:20 UTC, a quarter of an hour or so after noon in Berlin.
const AFTER_NOON: Wall = Wall::from_millis(MORNING.millis() + 14 * 86_400_000 + 140 * 60_000);

/// A process that uses a store, from a moment on. Its service is in Berlin.
fn process(store: &MemoryStore, from: Wall, queue: QueueConfig) -> World {
    process_in("Europe/Berlin", store, from, queue)
}

fn process_in(timezone: &str, store: &MemoryStore, from: Wall, queue: QueueConfig) -> World {
    let service = ServiceConfig { timezone: Some(timezone.to_owned()), ..ServiceConfig::named("crm") };
    let config = Config { queue, ..Config::default().service(service) };
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

/// 2027-03-06 02:10 UTC, a first Saturday.
const FIRST_SATURDAY: Wall = Wall::from_millis(1_804_299_000_000);

/// What a service is like that is maintained on the first Saturday of a month, from two to three.
fn is_maintained(now: Wall) -> bool {
    let days = now.hour().div_euclid(24);
    // The epoch began on a Thursday.
    let is_saturday = days.rem_euclid(7) == 2;
    let of_month = now.to_string()[8..10].parse::<u8>().unwrap();
    is_saturday && of_month <= 7 && now.hour().rem_euclid(24) == 2
}

/// What processes before this one wrote down in so many days, and what is left of it.
async fn days_before(store: &MemoryStore, days: i64, until: Wall) {
    let (target, mut store) = (TargetKey { service: "crm".into(), operation: "update".into() }, store.clone());
    for day in -days..0 {
        let midnight = until.hour() + day * 24;
        let mut evidence = History::default();
        for hour in midnight..midnight + 24 {
            let failures =
                if is_maintained(Wall::from_millis(hour * 3_600_000)) { 30 } else { u64::from(hour % 2 == 0) };
            evidence.add(hour, Key::Attempt(AttemptClass::Success), 40 - failures);
            evidence.add(hour, Key::Attempt(AttemptClass::Failure(FailureKind::Transient)), failures);
        }
        store.append(&Batch { evidence: vec![(target.clone(), evidence)], ..Batch::default() }).await.unwrap();
    }
    store.prune(until, until.hour() - 90 * 24).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_the_month_is_learned_from_eight_months_though_evidence_is_kept_for_ninety_days() {
    let store = MemoryStore::new();
    // A day before, eight first Saturdays are over.
    let now = FIRST_SATURDAY.before(DAY);
    days_before(&store, 243, now).await;
    let world = process_in("UTC", &store, now, QueueConfig::default());
    for _ in 0..48 {
        let _ = world.call(write(json!("is well"))).await;
        sleep(30 * MINUTE).await;
    }
    assert_eq!(world.now().hour(), FIRST_SATURDAY.hour());
    world.runtime.flush().await.unwrap();
    let rows = store.clone().parameters().await.unwrap();
    let row = rows.into_iter().find(|row| row.key.name == "defer.monthly").expect("it was learned");
    assert!(row.is_applied() && row.reason.contains("first sat 02:00-03:00"), "{row:?}");

    let ticket = world.put_off(deferrable(json!(1))).await;
    let due = ticket.due().to_string();
    assert_eq!((ticket.reason(), due.as_str()), (Reason::AvoidedHours, "2027-03-06T03:00:00.000Z"));
}

#[tokio::test(start_paused = true)]
async fn hours_that_are_all_alike_put_nothing_off() {
    let store = MemoryStore::new();
    assert_eq!(two_weeks(&store, 50).await, None);
    let world = process(&store, AFTER_NOON, QueueConfig::default());
    assert!(is_made(&world.call(deferrable(json!(1))).await.unwrap()));
}
