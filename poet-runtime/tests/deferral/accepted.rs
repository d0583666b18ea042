//! Calls that a service takes on and does in its own time: waited for within the deadline, or a job that asks.

use crate::service::{Act, DAY, MINUTE, PROFILE, SECOND, World, deferrable, is_made, queued, working, write};
use poet_runtime::audit::{AuditEntry, AuditFilter};
use poet_runtime::config::{AuditLevel, Config, QueueConfig, ServiceConfig};
use poet_runtime::defer::{MemoryQueue, Note, Reason, State};
use poet_runtime::evidence::{Key, Sketch};
use poet_runtime::service::{Failure, News, Request, ServiceCall};
use poet_runtime::store::{MemoryStore, Store, TargetKey};
use poet_runtime::{Class, Disposition, Ending, Error, Priority, Runtime};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A service that takes everything on, and says of it what `says` does.
fn world(says: impl Fn(usize) -> Result<News, Failure> + Send + Sync + 'static) -> World {
    let world = World::new();
    takes_on(&world, says);
    world
}

fn takes_on(world: &World, says: impl Fn(usize) -> Result<News, Failure> + Send + Sync + 'static) {
    world.service.does(|_, _| Act::TakeOn(5 * SECOND));
    world.service.says(says);
}

fn done() -> Result<News, Failure> {
    Ok(News::Done(json!({ "done": 7 }).into()))
}

fn failed(class: Class) -> Result<News, Failure> {
    Ok(News::Failed(Failure::new(class, "out of paper")))
}

/// Done when it is asked about for the third time.
fn third(before: usize) -> Result<News, Failure> {
    if before < 2 { working("task-0", 10 * SECOND) } else { done() }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_not_be_put_off_waits_and_asks_when_it_is_told_to() {
    let world = world(third);
    let began = Instant::now();
    let reply = world.call(Request { deadline: Some(MINUTE), ..write(json!(7)) }).await.unwrap();
    assert_eq!((reply.value(), is_made(&reply), reply.attempts()), (&json!({ "done": 7 }), true, 1));
    assert_eq!((reply.elapsed(), began.elapsed()), (25 * SECOND, 25 * SECOND));
    assert_eq!((world.service.made().len(), world.service.asked().len()), (1, 3));
    assert!(world.service.called_off().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_it_inside_an_attempt_of_its_own_is_alive_as_long_as_the_service_is_at_it() {
    let world = world(third);
    let (timeout, deadline) = (Some(12 * SECOND), Some(MINUTE));
    let outer = ServiceCall { timeout, deadline, ..ServiceCall::new("shop", "order", &PROFILE) };
    let inner = async |_| {
        let reply = world.call(Request { deadline: Some(MINUTE), ..write(json!(7)) }).await;
        reply.map(|reply| reply.value().clone()).map_err(|error| Failure::new(Class::Permanent, error))
    };
    assert_eq!(world.runtime.call(&outer, inner).await.unwrap().value, json!({ "done": 7 }));
}

#[tokio::test(start_paused = true)]
async fn one_that_may_be_put_off_has_a_ticket_at_once_and_is_asked_about_by_its_job() {
    let world = world(third);
    let began = Instant::now();
    let reply = world.call(deferrable(json!(7))).await.unwrap();
    let Disposition::Queued(ticket) = reply.disposition() else { panic!("{:?}", reply.disposition()) };
    assert_eq!((began.elapsed(), ticket.reason(), reply.attempts()), (Duration::ZERO, Reason::Accepted, 1));
    assert_eq!(ticket.status().await.unwrap(), State::Pending);
    assert_eq!(ticket.wait(DAY).await.unwrap().value(), &json!({ "done": 7 }));
    let times: Vec<_> = world.service.asked().iter().map(|(at, _)| (*at - began).as_secs()).collect();
    assert_eq!(times, [5, 15, 25], "when the service said, and not all the time");
    assert_eq!(world.service.made().len(), 1);
    let job = world.runtime.queue().get(ticket.job()).await.unwrap().unwrap();
    assert_eq!((job.attempts, job.accepted), (1, None));
}

#[tokio::test(start_paused = true)]
async fn a_queued_call_is_taken_on_by_way_of_its_worker() {
    let world = world(third);
    let ticket = world.put_off(queued(json!(7))).await;
    assert_eq!(ticket.reason(), Reason::Acknowledged);
    assert_eq!(ticket.wait(DAY).await.unwrap().value(), &json!({ "done": 7 }));
    assert_eq!((world.service.made().len(), world.service.asked().len()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn what_matters_waits_and_whoever_sends_it_is_told_that_it_does() {
    let world = world(third);
    let reply = world.call(Request { priority: Some(Priority::High), deadline: Some(MINUTE), ..deferrable(json!(7)) });
    assert!(is_made(&reply.await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_a_write_is_unknown_and_called_off_and_what_may_be_repeated_late() {
    for repeatable in [false, true] {
        let world = world(|_| working("task-0", 10 * SECOND));
        let began = Instant::now();
        let request = Request { deadline: Some(22 * SECOND), repeatable, ..write(json!(7)) };
        let error = world.call(request).await.unwrap_err();
        assert_eq!((error.is_deadline(), error.is_outcome_unknown()), (repeatable, !repeatable), "{error}");
        assert!(began.elapsed() <= 22 * SECOND, "{:?}", began.elapsed());
        assert_eq!(world.service.asked().len(), 3, "a last time shortly before");
        sleep(SECOND).await;
        assert_eq!((world.service.made().len(), world.service.called_off()), (1, vec!["task-0".to_owned()]));
    }
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_calls_it_off() {
    let world = world(|_| working("task-0", 10 * SECOND));
    let call = world.call(Request { deadline: Some(MINUTE), ..write(json!(7)) });
    assert!(tokio::time::timeout(12 * SECOND, call).await.is_err());
    sleep(SECOND).await;
    assert_eq!(world.service.called_off(), ["task-0"]);
}

#[tokio::test(start_paused = true)]
async fn how_it_failed_is_the_services_own_error_and_nothing_is_started_again() {
    let world = world(|_| failed(Class::Transient));
    let error = world.call(Request { deadline: Some(MINUTE), ..write(json!(7)) }).await.unwrap_err();
    assert!(error.is_service() && format!("{error:?}").contains("out of paper"), "{error:?}");
    let ticket = world.put_off(deferrable(json!(8))).await;
    assert!(ticket.wait(DAY).await.unwrap_err().is_service());
    assert_eq!((ticket.status().await.unwrap(), world.service.made().len()), (State::Failed, 2));
}

#[tokio::test(start_paused = true)]
async fn what_the_service_forgot_is_unknown_for_a_write_and_started_again_if_it_may_be_repeated() {
    let world = world(|_| Ok(News::Forgotten));
    let error = world.call(Request { deadline: Some(MINUTE), ..write(json!(7)) }).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    let ticket = world.put_off(deferrable(json!(8))).await;
    assert!(ticket.wait(DAY).await.unwrap_err().is_outcome_unknown());
    assert_eq!((ticket.status().await.unwrap(), world.service.made().len()), (State::Uncertain, 2));

    takes_on(&world, |before| if before < 3 { Ok(News::Forgotten) } else { done() });
    let ticket = world.put_off(Request { repeatable: true, ..deferrable(json!(9)) }).await;
    assert!(ticket.wait(DAY).await.is_ok());
    assert_eq!(world.service.made(), [7, 8, 9, 9].map(|id| json!(id)));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_be_asked_just_now_is_asked_later_and_nothing_is_started() {
    let unsent = Class::Network { sent: false };
    let world = world(move |before| if before < 12 { Err(Failure::new(unsent, "refused")) } else { done() });
    let ticket = world.put_off(deferrable(json!(7))).await;
    assert!(ticket.wait(DAY).await.is_ok());
    assert_eq!(world.service.made().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_done_when_its_job_expires_is_unknown_for_a_write() {
    let world = world(|_| working("task-0", MINUTE));
    let ticket = world.put_off(deferrable(json!(7))).await;
    assert!(ticket.wait(2 * DAY).await.unwrap_err().is_outcome_unknown());
    assert_eq!((ticket.status().await.unwrap(), world.service.made().len()), (State::Uncertain, 1));
    let asked = world.service.asked().len();
    assert!((1_400..=1_441).contains(&asked), "once a minute for a day: {asked}");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_calls_off_what_the_service_took_on() {
    let world = world(|_| working("task-0", MINUTE));
    let ticket = world.put_off(deferrable(json!(7))).await;
    let note = Note { by: "anna".to_owned(), text: None };
    world.runtime.queue().cancel(ticket.job(), note).await.unwrap();
    assert_eq!(world.service.called_off(), ["task-0"]);
    assert!(ticket.wait(DAY).await.unwrap_err().is_denied());
}

#[tokio::test(start_paused = true)]
async fn another_process_with_the_same_queue_asks_about_the_same() {
    let queue = MemoryQueue::new();
    let of = |work| {
        let config = Config::default().service(ServiceConfig::named("crm"));
        let config = Config { queue: QueueConfig { work, ..QueueConfig::default() }, ..config };
        World::of(Runtime::builder().configuration(config).in_memory().queue(queue.clone()))
    };
    let first = of(false);
    takes_on(&first, |_| working("task-0", MINUTE));
    let ticket = first.put_off(deferrable(json!(7))).await;
    first.runtime.shutdown(SECOND).await.unwrap();
    drop(first);
    let second = of(true);
    takes_on(&second, |_| done());
    second.runtime.scope(sleep(MINUTE)).await;
    assert_eq!(ticket.status().await.unwrap(), State::Done);
    assert!(second.service.made().is_empty(), "it was not started here");
    assert_eq!(second.service.asked()[0].1, "task-0");
}

#[tokio::test(start_paused = true)]
async fn where_the_queue_is_full_it_is_waited_for() {
    let queue = QueueConfig { max_pending: 1, ..QueueConfig::default() };
    let world = World::with(ServiceConfig::named("crm"), queue);
    takes_on(&world, |_| working("task-0", MINUTE));
    world.put_off(deferrable(json!(7))).await;
    takes_on(&world, |_| done());
    let reply = world.call(Request { deadline: Some(MINUTE), ..deferrable(json!(8)) }).await.unwrap();
    assert!(is_made(&reply));
}

#[tokio::test(start_paused = true)]
async fn how_long_the_work_takes_is_no_latency_and_the_call_counts_once() {
    let mut store = MemoryStore::new();
    let config = Config::default().service(ServiceConfig::named("crm"));
    let world = World::of(Runtime::builder().configuration(config).store(store.clone()).queue(MemoryQueue::new()));
    takes_on(&world, third);
    world.call(Request { deadline: Some(MINUTE), ..write(json!(7)) }).await.unwrap();
    takes_on(&world, |_| failed(Class::Permanent));
    let error: Error = world.call(Request { deadline: Some(MINUTE), ..write(json!(8)) }).await.unwrap_err();
    assert!(error.is_service());
    world.runtime.flush().await.unwrap();
    let of = |operation: &str| TargetKey { service: "crm".to_owned(), operation: operation.to_owned() };
    let update = store.evidence(&of("update"), 0).await.unwrap();
    assert_eq!(update.total(Key::Answered(Sketch::bucket(Duration::ZERO))), 2);
    assert_eq!((update.total(Key::Call(Ending::Done)), update.total(Key::Call(Ending::Failed))), (1, 1));
    let asking = store.evidence(&of("ask"), 0).await.unwrap();
    assert_eq!(asking.total(Key::Call(Ending::Done)), 4);
}

#[tokio::test(start_paused = true)]
async fn what_a_service_took_on_is_in_the_audit_when_it_is_and_when_it_ends() {
    let mut store = MemoryStore::new();
    let config = Config::default().service(ServiceConfig::named("crm").audit(AuditLevel::On));
    let world = World::of(Runtime::builder().configuration(config).store(store.clone()).queue(MemoryQueue::new()));
    takes_on(&world, third);
    let reply = world.call(deferrable(json!(7))).await.unwrap();
    reply.ticket().unwrap().wait(DAY).await.unwrap();
    let ticket = world.put_off(queued(json!(8))).await;
    takes_on(&world, |_| failed(Class::Permanent));
    ticket.wait(DAY).await.unwrap_err();
    world.runtime.flush().await.unwrap();
    let ended = async |store: &mut MemoryStore, job: &str| {
        let of_job = AuditFilter { job: Some(job.to_owned()), ..AuditFilter::default() };
        let mut entries = store.audit(&of_job, 10).await.unwrap();
        entries.sort_by_key(|entry| (entry.began, entry.detail.made_for.is_some()));
        let told = |entry: AuditEntry| (entry.ending.unwrap(), entry.detail.made_for.is_some());
        entries.into_iter().map(told).collect::<Vec<_>>()
    };
    let done = [(Ending::Queued, false), (Ending::Done, true)];
    assert_eq!(ended(&mut store, reply.ticket().unwrap().id()).await, done);
    let failed = [(Ending::Queued, false), (Ending::Queued, true), (Ending::Failed, true)];
    assert_eq!(ended(&mut store, ticket.id()).await, failed);
}
