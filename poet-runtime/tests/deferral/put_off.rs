//! When a call is put off, and when it is not.

use crate::service::*;
use poet_runtime::__private::{Call, caps, run};
use poet_runtime::config::{Config, QueueConfig, ServiceConfig, ToolConfig};
use poet_runtime::defer::{Filter, MemoryQueue, Reason, State};
use poet_runtime::service::Request;
use poet_runtime::store::{MemoryStore, Store};
use poet_runtime::{Class, Declaration, Disposition, Ending, Error, Priority, Profile, Reply, Runtime, Site, warnings};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, advance, sleep};

#[tokio::test(start_paused = true)]
async fn an_open_circuit_puts_off_and_the_call_is_made_when_it_may_be_probed() {
    let world = World::new();
    world.open_the_circuit().await;
    let opened = Instant::now();
    let ticket = world.put_off(deferrable(json!(7))).await;
    assert_eq!(ticket.reason(), Reason::ServiceDegraded);
    let wait = world.now().until(ticket.due());
    assert!((59 * SECOND..67 * SECOND).contains(&wait), "{wait:?}");
    assert!(world.service.made().is_empty(), "nothing is sent before");

    let reply = ticket.wait(DAY).await.unwrap();
    assert_eq!(reply.value(), &json!({ "done": 7 }));
    assert_eq!(world.service.made(), [json!(7)]);
    let took = opened.elapsed();
    assert!(took >= wait && took < wait + SECOND, "due after {wait:?}, made after {took:?}");
    assert_eq!(ticket.status().await.unwrap(), State::Done);
    // The same from any task, and again.
    let again = tokio::spawn(async move { ticket.wait(SECOND).await });
    assert!(again.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_reply_of_a_call_that_was_put_off_has_no_value_and_says_when() {
    let world = World::new();
    world.open_the_circuit().await;
    let reply = world.call(deferrable(json!(7))).await.unwrap();
    let error = reply.json::<serde_json::Value>().unwrap_err();
    assert!(error.is_pending());
    let due = reply.disposition().ticket().unwrap().due().to_string();
    assert!(error.to_string().contains(&due), "{error}");
    assert_eq!(reply.attempts(), 0);
    // And it cannot be sent to anybody as if it were a value.
    let next = world.call(write(reply.value().clone())).await.unwrap_err();
    assert!(next.is_denied());
}

#[tokio::test(start_paused = true)]
async fn what_matters_is_never_put_off() {
    let service = ServiceConfig::named("crm").avoid(window("00:00-23:00"));
    let world = World::with(service, QueueConfig::default());
    for priority in [Priority::High, Priority::Critical] {
        let reply = world.call(Request { priority: Some(priority), ..deferrable(json!(1)) }).await.unwrap();
        assert!(is_made(&reply), "{priority:?}");
    }
    world.open_the_circuit().await;
    for priority in [Priority::High, Priority::Critical] {
        let refused = world.call(Request { priority: Some(priority), ..deferrable(json!(1)) }).await.unwrap_err();
        assert!(refused.is_circuit_open(), "{refused}");
    }
    assert!(world.runtime.queue().list(&Filter::default(), 10).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_nobody_declared_deferrable_is_never_put_off() {
    let service = ServiceConfig::named("crm").avoid(window("00:00-23:00"));
    let world = World::with(service, QueueConfig::default());
    assert!(is_made(&world.call(write(json!(1))).await.unwrap()));
    let forbidden = Request { deferrable: Some(false), ..write(json!(1)) };
    assert!(is_made(&world.call(forbidden).await.unwrap()));
    assert_eq!(world.put_off(deferrable(json!(1))).await.reason(), Reason::AvoidedHours);
}

#[tokio::test(start_paused = true)]
async fn the_call_stands_before_the_configuration_and_that_before_the_function() {
    let avoid = |tool_says: Option<bool>| {
        let tool = ToolConfig { deferrable: tool_says, ..ToolConfig::default() };
        World::with(self::tool(tool).avoid(window("00:00-23:00")), QueueConfig::default())
    };
    let declaration = Declaration { deferrable: true, ..Declaration::new("sync", "shop::sync", "src/sync.rs", 1) };
    let site: &'static Site = Box::leak(Box::new(Site::new(declaration)));
    for (call_says, tool_says, function_says, read_only, put_off) in [
        (Some(true), Some(false), false, false, true),
        (Some(false), Some(true), true, false, false),
        (None, Some(true), false, false, true),
        (None, Some(false), true, false, false),
        (None, None, true, false, true),
        (None, None, false, false, false),
        // A function that may wait with what it does still needs what it reads.
        (None, None, true, true, false),
        (Some(true), None, false, true, true),
    ] {
        let world = avoid(tool_says);
        let request = Request { deferrable: call_says, read_only, repeatable: read_only, ..write(json!(1)) };
        let reply = if function_says {
            let body = |_| world.call(request.clone());
            world.runtime.scope(run(site, Call::new(caps!(Result<Reply, Error>)), body)).await.unwrap()
        } else {
            world.call(request).await.unwrap()
        };
        let is_put_off = matches!(reply.disposition(), Disposition::Deferred(_));
        assert_eq!(is_put_off, put_off, "{call_says:?} {tool_says:?} {function_says} {read_only}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_function_around_the_call_is_told_what_was_put_off_and_why() {
    static SITE: Site = Site::new(Declaration::new("sync", "shop::sync", "src/sync.rs", 1));
    let told = async |world: &World| {
        let body = |_| async {
            world.call(deferrable(json!(1))).await?;
            Ok::<_, Error>(warnings())
        };
        world.runtime.scope(run(&SITE, Call::new(caps!(Result<Vec<String>, Error>)), body)).await.unwrap()
    };
    let world = World::new();
    world.open_the_circuit().await;
    assert_eq!(told(&world).await, ["crm_update_deferred_service_health"]);
    let maintained = ServiceConfig { maintenance: vec![window("07:00-09:00")], ..ServiceConfig::named("crm") };
    let world = World::with(maintained, QueueConfig::default());
    assert_eq!(told(&world).await, ["crm_update_deferred_maintenance"]);
    let world = World::with(ServiceConfig::named("crm").avoid(window("07:00-09:00")), QueueConfig::default());
    assert_eq!(told(&world).await, ["crm_update_deferred_avoided_hours"]);
}

#[tokio::test(start_paused = true)]
async fn windows_put_off_to_their_end_in_the_time_of_the_service() {
    // 08:00 UTC is 10:00 in Berlin.
    let berlin = ServiceConfig { timezone: Some("Europe/Berlin".to_owned()), ..ServiceConfig::named("crm") };
    let world = World::with(berlin.avoid(window("wed 09:30-11:00")), QueueConfig::default());
    let ticket = world.put_off(deferrable(json!(7))).await;
    assert_eq!(ticket.due().to_string(), "2026-06-10T09:00:00.000Z");
    ticket.wait(DAY).await.unwrap();
    assert_eq!(world.now(), ticket.due());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_due_in_a_window_waits_for_its_end() {
    // The circuit is open at 08:00 and for a minute; the window begins thirty seconds later.
    let world = World::with(ServiceConfig::named("crm").avoid(window("08:01-08:30")), QueueConfig::default());
    world.open_the_circuit().await;
    let ticket = world.put_off(deferrable(json!(7))).await;
    assert_eq!(ticket.reason(), Reason::ServiceDegraded);
    ticket.wait(DAY).await.unwrap();
    assert_eq!(world.now().to_string(), "2026-06-10T08:30:00.000Z");
    assert_eq!(world.service.made().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for_within_the_deadline_and_put_off_to_the_second_beyond() {
    let throttle = |seconds: u32| {
        let world = World::new();
        world.service.does(move |_, number| match number {
            0 => Act::Fail(Class::Throttled { retry_after: Some(seconds * SECOND) }),
            _ => Act::Answer,
        });
        world
    };
    let world = throttle(20);
    let began = Instant::now();
    assert!(is_made(&world.call(deferrable(json!(1))).await.unwrap()));
    assert_eq!(began.elapsed().as_secs(), 20);

    let world = throttle(90);
    let other = Request { retries: Some(0), ..write(json!("other")) };
    assert!(world.call(other).await.unwrap_err().is_throttled());
    let began = Instant::now();
    let ticket = world.put_off(deferrable(json!(1))).await;
    assert_eq!((ticket.reason(), world.now().until(ticket.due())), (Reason::RetryAfter, 90 * SECOND));
    ticket.wait(DAY).await.unwrap();
    assert_eq!(began.elapsed(), 90 * SECOND);
    assert_eq!(world.service.made().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_acknowledged_call_is_made_at_once_by_the_worker() {
    let world =
        World::with(tool(ToolConfig { queued: Some(Priority::Low), ..ToolConfig::default() }), QueueConfig::default());
    world.service.does(|_, _| Act::Slow(2 * SECOND));
    let began = Instant::now();
    let reply = world.call(Request { priority: Some(Priority::Low), ..write(json!(1)) }).await.unwrap();
    let Disposition::Queued(ticket) = reply.disposition() else { panic!("{:?}", reply.disposition()) };
    assert_eq!((began.elapsed(), ticket.reason(), ticket.due()), (Duration::ZERO, Reason::Acknowledged, MORNING));
    assert_eq!(ticket.estimate(), None, "nothing is known about the operation yet");
    assert_eq!(ticket.wait(MINUTE).await.unwrap().value(), &json!({ "done": 1 }));
    assert_eq!(began.elapsed(), 2 * SECOND);

    // Now it is.
    let ticket = world.put_off(queued(json!(2))).await;
    assert_eq!(ticket.estimate(), Some(world.now().after(2 * SECOND)));
    let record = ticket.record();
    assert_eq!((&record["status"], &record["processing_id"]), (&json!("async_queued"), &json!(ticket.id())));
    assert_eq!(record["estimated_completion"], json!("2026-06-10T08:00:04.000Z"));
    ticket.wait(MINUTE).await.unwrap();
    assert_eq!(world.now().to_string(), "2026-06-10T08:00:04.000Z", "as estimated");

    // What is configured holds up to its priority, and the call's own word before it.
    assert!(is_made(&world.call(write(json!(3))).await.unwrap()));
    let told = Request { queued: Some(false), priority: Some(Priority::Low), ..write(json!(4)) };
    assert!(is_made(&world.call(told).await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_full_costs_the_deferral_and_not_the_call() {
    let queue = QueueConfig { max_pending: 2, ..QueueConfig::default() };
    let world = World::with(ServiceConfig::named("crm").avoid(window("07:00-20:00")), queue);
    for n in 0..2 {
        world.put_off(deferrable(json!(n))).await;
    }
    assert!(is_made(&world.call(deferrable(json!(2))).await.unwrap()), "the normal way");
    assert_eq!(world.runtime.queue().refused(), 1);
    world.open_the_circuit().await;
    let error = world.call(deferrable(json!(3))).await.unwrap_err();
    assert!(error.is_circuit_open(), "the normal error: {error}");
    assert_eq!(world.runtime.queue().refused(), 2, "one that has just refused is not asked again");
}

#[tokio::test(start_paused = true)]
async fn a_store_of_the_authors_own_without_a_queue_puts_nothing_off() {
    let config = Config::default().service(ServiceConfig::named("crm").avoid(window("07:00-20:00")));
    let world = World::of(Runtime::builder().configuration(config).store(MemoryStore::default()));
    assert!(is_made(&world.call(deferrable(json!(1))).await.unwrap()));
    let error = world.runtime.queue().counts().await.unwrap_err().to_string();
    assert!(error.contains("Runtime::builder().queue"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_profile_without_callers_puts_nothing_off() {
    let world = World::with(ServiceConfig::named("crm").avoid(window("07:00-20:00")), QueueConfig::default());
    let general = Request { profile: Profile::GENERAL, ..deferrable(json!(1)) };
    assert!(is_made(&world.call(general).await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn what_is_put_off_is_one_call_that_was_not_made() {
    let store = MemoryStore::default();
    let config = Config::default().service(ServiceConfig::named("crm").avoid(window("07:00-20:00")));
    let builder = Runtime::builder().configuration(config).store(store.clone()).queue(MemoryQueue::new());
    let world = World::of(builder);
    world.put_off(deferrable(json!(1))).await;
    world.put_off(queued(json!(2))).await;
    world.runtime.flush().await.unwrap();
    let rows = store.clone().outcomes(None, 10).await.unwrap();
    let endings: Vec<_> = rows.iter().map(|row| (row.ending, row.attempts)).collect();
    assert_eq!(endings.len(), 2);
    assert!(endings.contains(&(Ending::Deferred, 0)) && endings.contains(&(Ending::Queued, 0)), "{endings:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deferral_that_is_waited_for_too_short_is_still_made() {
    let world = World::with(ServiceConfig::named("crm").avoid(window("07:00-20:00")), QueueConfig::default());
    let ticket = world.put_off(deferrable(json!(1))).await;
    let error = ticket.wait(MINUTE).await.unwrap_err();
    assert!(error.is_pending() && error.to_string().contains("20:00:00"), "{error}");
    advance(DAY / 2).await;
    sleep(SECOND).await;
    assert_eq!(world.service.made(), [json!(1)]);
}
