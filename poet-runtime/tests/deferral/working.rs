//! What the worker makes of what it gets, and when it stops.

use crate::service::*;
use poet_runtime::config::{Config, QueueConfig, ServiceConfig};
use poet_runtime::defer::{Change, DeferralQueue, Filter, MemoryQueue, Note, Resolution, State};
use poet_runtime::service::Request;
use poet_runtime::{Class, Runtime};
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_is_lost_is_uncertain_and_never_made_again() {
    for act in [Act::Hang, Act::Fail(Class::Timeout), Act::Fail(Class::Network { sent: true })] {
        let world = World::new();
        world.service.does(move |_, _| act);
        let ticket = world.put_off(queued(json!(7))).await;
        let error = ticket.wait(DAY).await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{act:?}: {error}");
        world.service.is_well();
        sleep(7 * DAY).await;
        assert_eq!((ticket.status().await.unwrap(), world.service.made().len()), (State::Uncertain, 1), "{act:?}");

        // A person has looked.
        let note = Note { by: "a person".to_owned(), text: Some("it is not there".to_owned()) };
        world.runtime.queue().resolve(ticket.job(), Resolution::Again, note).await.unwrap();
        assert!(ticket.wait(MINUTE).await.is_ok(), "{act:?}");
        assert_eq!(world.service.made().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_be_repeated_is_made_until_it_is_done() {
    let world = World::new();
    world.service.does(|_, number| match number {
        0 => Act::Hang,
        1 => Act::Fail(Class::Network { sent: true }),
        2 => Act::Fail(Class::Transient),
        _ => Act::Answer,
    });
    let ticket = world.put_off(Request { repeatable: true, retries: Some(0), ..queued(json!(7)) }).await;
    let reply = ticket.wait(DAY).await.unwrap();
    assert_eq!((reply.attempts(), world.service.made().len()), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_service_is_the_end_of_a_job() {
    let world = World::new();
    world.service.does(|_, _| Act::Fail(Class::Permanent));
    for repeatable in [false, true] {
        let ticket = world.put_off(Request { repeatable, ..queued(json!(repeatable)) }).await;
        let error = ticket.wait(DAY).await.unwrap_err();
        assert!(error.is_service() && error.to_string().contains("scripted"), "{error}");
        assert_eq!(ticket.status().await.unwrap(), State::Failed);
    }
    assert_eq!(world.service.made().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_caller_ends_its_own_job_and_no_other() {
    let world = World::new();
    world.service.does(|request, _| if request.arguments["id"] == 1 { Act::Panic } else { Act::Slow(SECOND) });
    let mut tickets = Vec::new();
    for (id, repeatable) in [(1, true), (2, false), (1, false), (3, false)] {
        tickets.push(world.put_off(Request { repeatable, ..queued(json!(id)) }).await);
    }
    let error = tickets[0].wait(MINUTE).await.unwrap_err();
    assert!(error.is_service() && error.to_string().contains("panicked: the sender of 1"), "{error}");
    assert!(tickets[1].wait(MINUTE).await.is_ok());
    assert!(tickets[2].wait(MINUTE).await.unwrap_err().is_outcome_unknown(), "it may have sent something before");
    assert!(tickets[3].wait(MINUTE).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_job_of_a_service_that_is_not_known_here_is_left_to_others() {
    let world = World::new();
    let strange = Request { service: ELSEWHERE.to_owned(), ..queued(json!(1)) };
    let ticket = world.put_off(strange).await;
    let known = world.put_off(queued(json!(2))).await;
    assert!(known.wait(MINUTE).await.is_ok());
    sleep(60 * MINUTE).await;
    let job = world.runtime.queue().get(ticket.job()).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempts), (State::Pending, 0));
    assert!(job.error.unwrap().contains("it is elsewhere"));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_finds_the_circuit_open_is_no_try_and_made_when_it_heals() {
    let queue = QueueConfig { max_attempts: 1, ..QueueConfig::default() };
    let world = World::with(ServiceConfig::named("crm"), queue);
    world.open_the_circuit().await;
    let ticket = world.put_off(Request { queued: Some(true), deferrable: None, ..write(json!(7)) }).await;
    assert!(ticket.due() > world.now(), "its worker waits where the call would have");
    assert!(ticket.wait(DAY).await.is_ok());
    assert_eq!(world.service.made().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_that_wait_for_one_circuit_do_not_come_all_at_once_and_all_are_made() {
    let world = World::new();
    world.open_the_circuit().await;
    let mut tickets = Vec::new();
    for n in 0..200 {
        tickets.push(world.put_off(deferrable(json!(n))).await);
    }
    let dues: std::collections::HashSet<_> = tickets.iter().map(|ticket| ticket.due().millis()).collect();
    assert!(dues.len() > 150, "{} different moments", dues.len());
    for ticket in tickets {
        ticket.wait(DAY).await.unwrap();
    }
    let mut made: Vec<_> = world.service.made().iter().map(|id| id.as_u64().unwrap()).collect();
    made.sort_unstable();
    assert_eq!(made, (0..200).collect::<Vec<_>>(), "each once");
}

#[tokio::test(start_paused = true)]
async fn a_long_job_keeps_its_lease() {
    let queue = QueueConfig { lease: 5 * SECOND, ..QueueConfig::default() };
    let world = World::with(ServiceConfig::named("crm").deadline(10 * MINUTE).timeout(10 * MINUTE), queue);
    world.service.does(|_, _| Act::Slow(2 * MINUTE));
    let ticket = world.put_off(queued(json!(7))).await;
    assert!(ticket.wait(DAY).await.is_ok());
    assert_eq!(world.service.made().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_lets_what_is_under_way_end_and_starts_no_more() {
    let queue = QueueConfig { concurrency: 1, ..QueueConfig::default() };
    let world = World::with(ServiceConfig::named("crm"), queue);
    world.service.does(|_, _| Act::Slow(3 * SECOND));
    let (first, second) = (world.put_off(queued(json!(1))).await, world.put_off(queued(json!(2))).await);
    sleep(SECOND).await;
    world.runtime.shutdown(10 * SECOND).await.unwrap();
    assert_eq!(world.now(), MORNING.after(3 * SECOND), "as long as it takes and no longer");
    assert_eq!(first.status().await.unwrap(), State::Done);
    assert_eq!(second.status().await.unwrap(), State::Pending);
    world.call(write(json!(3))).await.unwrap();
    sleep(DAY / 2).await;
    assert_eq!(second.status().await.unwrap(), State::Pending, "nobody works here any more");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_cannot_wait_says_what_it_broke_off() {
    let world = World::new();
    world.service.does(|_, _| Act::Slow(20 * SECOND));
    let write = world.put_off(queued(json!(1))).await;
    let read = world.put_off(Request { repeatable: true, ..queued(json!(2)) }).await;
    sleep(SECOND).await;
    world.runtime.shutdown(2 * SECOND).await.unwrap();
    assert_eq!(world.now(), MORNING.after(3 * SECOND));
    assert_eq!(write.status().await.unwrap(), State::Uncertain);
    assert_eq!(read.status().await.unwrap(), State::Pending);
}

#[tokio::test(start_paused = true)]
async fn a_process_without_a_worker_makes_its_jobs_when_it_is_told_to() {
    let queue = QueueConfig { work: false, ..QueueConfig::default() };
    let world = World::with(ServiceConfig::named("crm"), queue);
    world.service.does(|_, number| if number == 1 { Act::Fail(Class::Permanent) } else { Act::Slow(SECOND) });
    let mut tickets = Vec::new();
    for n in 0..20 {
        tickets.push(world.put_off(queued(json!(n))).await);
    }
    sleep(DAY / 2).await;
    assert!(world.service.made().is_empty());
    let worked = world.runtime.queue().run_due().await.unwrap();
    assert_eq!((worked.done, worked.failed, worked.total()), (19, 1, 20));
    assert_eq!(world.runtime.queue().run_due().await.unwrap().total(), 0);
    let failed = Filter { state: Some(State::Failed), ..Filter::default() };
    assert_eq!(world.runtime.queue().list(&failed, 10).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_week_of_deferrals_is_worked_off_day_by_day() {
    // Closed for maintenance every day from six to twenty; calls come every hour.
    let service = ServiceConfig { maintenance: vec![window("06:00-20:00")], ..ServiceConfig::named("crm") };
    let world = World::with(service, QueueConfig::default());
    let mut tickets = Vec::new();
    let mut at_once = 0;
    for n in 0..7 * 24 {
        let reply = world.call(deferrable(json!(n))).await.unwrap();
        match reply.disposition().ticket() {
            Some(ticket) => tickets.push(ticket.clone()),
            None => at_once += 1,
        }
        sleep(60 * MINUTE).await;
    }
    assert_eq!((tickets.len(), at_once), (7 * 14, 7 * 10));
    for ticket in tickets {
        let reply = ticket.wait(DAY).await.unwrap();
        assert!(reply.elapsed() <= 14 * 60 * MINUTE, "{:?}", reply.elapsed());
    }
    assert_eq!(world.service.made().len(), 7 * 24);
    let busy = world.service.times().into_iter().filter(|at| {
        let hour = world.runtime.clock().anchor().wall(at.into_std()).hour() % 24;
        (6..20).contains(&hour)
    });
    assert_eq!(busy.count(), 0, "nothing was sent while the service was closed");
}

#[tokio::test(start_paused = true)]
async fn one_run_is_like_another() {
    let run = async || {
        let world = World::new();
        world.open_the_circuit().await;
        for n in 0..20 {
            world.put_off(deferrable(json!(n))).await;
        }
        sleep(DAY / 2).await;
        let start = world.service.times()[0];
        let times: Vec<_> = world.service.times().iter().map(|at| at.duration_since(start)).collect();
        (times, world.service.made())
    };
    assert_eq!(run().await, run().await);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_outlives_its_runtime_and_the_worker_does_not() {
    let world = World::with(ServiceConfig::named("crm").avoid(window("07:00-20:00")), QueueConfig::default());
    let ticket = world.put_off(deferrable(json!(1))).await;
    let service = world.service.clone();
    drop(world);
    sleep(DAY).await;
    assert_eq!(ticket.status().await.unwrap(), State::Pending);
    assert!(ticket.wait(Duration::from_secs(1)).await.unwrap_err().is_pending());
    assert!(service.made().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_ahead_takes_no_job_from_a_worker_that_lives() {
    let mut shared = MemoryQueue::new();
    let config = Config::default().service(ServiceConfig::named("crm"));
    let world = World::of(Runtime::builder().configuration(config).in_memory().queue(shared.clone()));
    world.service.does(|_, _| Act::Slow(8 * SECOND));
    let write = world.put_off(queued(json!(1))).await;
    let read = world.put_off(Request { repeatable: true, ..queued(json!(2)) }).await;
    sleep(SECOND).await;
    // The same as a wall clock that was put forward by more than the lease: by it, the leases have ended.
    for id in [write.job(), read.job()] {
        let job = shared.get(id).await.unwrap().unwrap();
        assert_eq!(job.state, State::Leased);
        let renewal = Change::Renew { held: vec![(id, job.token)], lease: Duration::ZERO, now: world.now() };
        shared.apply(&[renewal]).await.unwrap();
    }
    sleep(SECOND).await;
    world.put_off(queued(json!(3))).await;
    assert!(write.wait(MINUTE).await.is_ok());
    assert!(read.wait(MINUTE).await.is_ok());
    assert_eq!(world.service.made().len(), 3);
}
