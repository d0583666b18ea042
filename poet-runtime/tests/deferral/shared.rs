//! Several runtimes on one file, and what a restart finds.

#![cfg(feature = "sqlite")]

use crate::service::*;
use poet_runtime::config::{Config, QueueConfig, ServiceConfig};
use poet_runtime::defer::State;
use poet_runtime::{Clock, Runtime};
use serde_json::json;
use std::collections::HashSet;
use std::path::Path;
use tokio::time::sleep;

fn on(file: &Path, queue: QueueConfig) -> World {
    seeded(file, queue, 7)
}

fn seeded(file: &Path, queue: QueueConfig, seed: u64) -> World {
    let service = ServiceConfig::named("crm").avoid(window("07:00-09:00"));
    let config = Config { queue, ..Config::default().service(service) };
    World::seeded(Runtime::builder().configuration(config).database(file), Clock::virtual_from(MORNING), seed)
}

#[tokio::test(start_paused = true)]
async fn two_runtimes_share_the_jobs_of_one_file_and_make_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("poet.db");
    let (a, b) = (seeded(&file, QueueConfig::default(), 1), seeded(&file, QueueConfig::default(), 2));
    for world in [&a, &b] {
        world.service.does(|_, _| Act::Slow(5 * SECOND));
    }
    let mut tickets = Vec::new();
    for n in 0..40 {
        let world = if n % 2 == 0 { &a } else { &b };
        tickets.push(world.put_off(deferrable(json!(n))).await);
    }
    for ticket in tickets {
        ticket.wait(DAY).await.unwrap();
    }
    let (by_a, by_b) = (a.service.made(), b.service.made());
    let each: HashSet<_> = by_a.iter().chain(&by_b).map(ToString::to_string).collect();
    assert_eq!((by_a.len() + by_b.len(), each.len()), (40, 40));
    assert!(by_a.len() >= 8 && by_b.len() >= 8, "{} and {}", by_a.len(), by_b.len());
}

#[tokio::test(start_paused = true)]
async fn what_was_put_off_before_a_restart_is_made_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("poet.db");
    let before = on(&file, QueueConfig::default());
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(before.put_off(deferrable(json!(n))).await.job());
    }
    let service = before.service.clone();
    drop(before);
    sleep(60 * MINUTE).await;
    assert!(service.made().is_empty());

    let after = on(&file, QueueConfig::default());
    // To be in force is enough; nobody has to call anything.
    after.runtime.scope(sleep(2 * 60 * MINUTE)).await;
    assert_eq!(after.service.made().len(), 5);
    for id in ids {
        let ticket = after.runtime.queue().ticket(id).await.unwrap().unwrap();
        assert_eq!(ticket.status().await.unwrap(), State::Done);
        assert!(ticket.wait(SECOND).await.unwrap().value()["done"].is_u64());
    }
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_answered_by_whoever_makes_its_job() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("poet.db");
    let asks = on(&file, QueueConfig { work: false, ..QueueConfig::default() });
    let makes = on(&file, QueueConfig::default());
    let ticket = asks.put_off(queued(json!(7))).await;
    let reply = makes.runtime.scope(ticket.wait(DAY)).await.unwrap();
    assert_eq!(reply.value(), &json!({ "done": 7 }));
    assert_eq!((asks.service.made().len(), makes.service.made().len()), (0, 1));
}
