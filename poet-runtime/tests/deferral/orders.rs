//! In which order jobs are made, and when they are given up.

use crate::service::*;
use poet_runtime::Class;
use poet_runtime::Priority;
use poet_runtime::config::{QueueConfig, ServiceConfig, ToolConfig};
use poet_runtime::defer::{Note, State};
use poet_runtime::service::Request;
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

fn one_at_a_time() -> QueueConfig {
    QueueConfig { concurrency: 1, ..QueueConfig::default() }
}

#[tokio::test(start_paused = true)]
async fn jobs_of_one_key_keep_their_order_and_others_pass_them() {
    let world = World::with(
        tool(ToolConfig { order_by: Some("id".to_owned()), ..ToolConfig::default() }),
        QueueConfig::default(),
    );
    // The first attempt for 1 finds no connection; whoever is behind it waits.
    world.service.does(|request, number| match (request.arguments["n"].as_u64(), number) {
        (Some(1), 0..3) => Act::Fail(Class::Network { sent: false }),
        _ => Act::Answer,
    });
    let mut tickets = Vec::new();
    for (id, n) in [(1, 1), (1, 2), (2, 3), (1, 4)] {
        let mut request = Request { retries: Some(0), ..queued(json!(id)) };
        request.arguments.insert("n".to_owned(), json!(n));
        tickets.push(world.put_off(request).await);
    }
    let mut ended = Vec::new();
    for ticket in &tickets {
        let reply = ticket.wait(DAY).await.unwrap();
        ended.push(reply.elapsed());
    }
    assert!(ended[2] < SECOND, "another key is not held up: {ended:?}");
    assert!(ended[0] >= 20 * SECOND, "{ended:?}");
    assert!(ended[0] <= ended[1] && ended[1] <= ended[3], "{ended:?}");
    let ones = world.service.made().iter().filter(|id| **id == json!(1)).count();
    assert_eq!(ones, 3 + 2);
}

#[tokio::test(start_paused = true)]
async fn the_highest_priority_is_made_first() {
    let world = World::with(ServiceConfig::named("crm"), one_at_a_time());
    world.service.does(|_, _| Act::Slow(SECOND));
    let mut tickets = vec![world.put_off(queued(json!("busy"))).await];
    sleep(Duration::from_millis(10)).await;
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        tickets.push(world.put_off(Request { priority: Some(priority), ..queued(json!(priority.as_str())) }).await);
    }
    for ticket in tickets {
        ticket.wait(MINUTE).await.unwrap();
    }
    assert_eq!(world.service.made(), [json!("busy"), json!("high"), json!("normal"), json!("low")]);
}

#[tokio::test(start_paused = true)]
async fn no_more_are_made_at_once_than_is_configured() {
    let world = World::with(ServiceConfig::named("crm"), QueueConfig { concurrency: 3, ..QueueConfig::default() });
    world.service.does(|_, _| Act::Slow(2 * SECOND));
    let mut tickets = Vec::new();
    for n in 0..10 {
        tickets.push(world.put_off(queued(json!(n))).await);
    }
    sleep(SECOND).await;
    let counts = world.runtime.queue().counts().await.unwrap();
    assert_eq!((counts.of(State::Leased), counts.of(State::Pending)), (3, 7), "leased means under way");
    for ticket in tickets {
        ticket.wait(MINUTE).await.unwrap();
    }
    assert_eq!(world.service.most_at_once(), 3);
    assert_eq!(world.now(), MORNING.after(8 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_job_expires_if_it_cannot_be_made_in_time() {
    let queue = QueueConfig { expire_after: 20 * MINUTE, max_attempts: 1_000, ..QueueConfig::default() };
    let world = World::with(ServiceConfig::named("crm"), queue);
    world.service.does(|_, _| Act::Fail(Class::Network { sent: false }));
    let ticket = world.put_off(queued(json!(1))).await;
    let error = ticket.wait(DAY).await.unwrap_err();
    assert!(error.is_deadline() && error.to_string().contains("expired"), "{error}");
    assert_eq!(world.now(), MORNING.after(20 * MINUTE), "told when it expired");
    assert_eq!(ticket.status().await.unwrap(), State::Dead);
    let made = world.service.made().len();
    world.service.is_well();
    sleep(DAY).await;
    assert_eq!(world.service.made().len(), made, "what expired is not made");
}

#[tokio::test(start_paused = true)]
async fn what_would_expire_before_it_is_due_is_not_put_off() {
    let queue = QueueConfig { expire_after: 2 * 60 * MINUTE, ..QueueConfig::default() };
    let world = World::with(ServiceConfig::named("crm").avoid(window("07:00-20:00")), queue);
    assert!(is_made(&world.call(deferrable(json!(1))).await.unwrap()));
    assert_eq!(world.runtime.queue().refused(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_out_of_attempts_is_given_up_and_can_be_retried_by_a_person() {
    let queue = QueueConfig { max_attempts: 3, ..QueueConfig::default() };
    let world = World::with(ServiceConfig::named("crm"), queue);
    world.service.does(|_, _| Act::Fail(Class::Network { sent: false }));
    let ticket = world.put_off(Request { retries: Some(0), ..queued(json!(1)) }).await;
    let error = ticket.wait(DAY).await.unwrap_err();
    assert!(error.is_service() && error.to_string().contains("scripted"), "{error}");
    assert_eq!((ticket.status().await.unwrap(), world.service.made().len()), (State::Dead, 3));
    let gaps: Vec<_> = world.service.times().windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert!((22..=30).contains(&gaps[0]) && (33..=45).contains(&gaps[1]), "{gaps:?}");

    world.service.is_well();
    let note = Note { by: "a person".to_owned(), text: None };
    world.runtime.queue().retry(ticket.job(), note).await.unwrap();
    assert!(ticket.wait(MINUTE).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_is_told_at_once_and_never_made() {
    let world = World::with(ServiceConfig::named("crm").avoid(window("07:00-20:00")), QueueConfig::default());
    let ticket = world.put_off(deferrable(json!(1))).await;
    let waiting = tokio::spawn({
        let ticket = ticket.clone();
        async move { ticket.wait(DAY).await }
    });
    sleep(SECOND).await;
    let note = Note { by: "a person".to_owned(), text: None };
    world.runtime.queue().cancel(ticket.job(), note).await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_denied(), "{error}");
    assert_eq!(world.now(), MORNING.after(SECOND));
    sleep(DAY).await;
    assert!(world.service.made().is_empty());
}
