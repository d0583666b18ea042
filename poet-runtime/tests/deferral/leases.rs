//! How many jobs are leased at once: each lease is a write that has to be on disk.

use crate::service::*;
use poet_runtime::Runtime;
use poet_runtime::config::{Config, QueueConfig, ServiceConfig};
use poet_runtime::defer::{
    Answer, Change, Counts, DeferralQueue, Filter, Job, JobId, MemoryQueue, QueueError, State, Wanted,
};
use poet_runtime::store::{BoxFuture, StoreError};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Counts how often jobs were to be leased.
#[derive(Debug)]
struct Counting(MemoryQueue, Arc<AtomicUsize>);

impl DeferralQueue for Counting {
    fn describe(&self) -> String {
        "counting".to_owned()
    }

    fn apply<'a>(
        &'a mut self,
        changes: &'a [Change],
    ) -> BoxFuture<'a, Result<Vec<Result<Answer, QueueError>>, StoreError>> {
        let leases = changes.iter().filter(|change| matches!(change, Change::Lease { .. })).count();
        self.1.fetch_add(leases, Ordering::Relaxed);
        self.0.apply(changes)
    }

    fn get(&mut self, id: JobId) -> BoxFuture<'_, Result<Option<Job>, StoreError>> {
        self.0.get(id)
    }

    fn list<'a>(&'a mut self, filter: &'a Filter, limit: usize) -> BoxFuture<'a, Result<Vec<Job>, StoreError>> {
        self.0.list(filter, limit)
    }

    fn counts(&mut self) -> BoxFuture<'_, Result<Counts, StoreError>> {
        self.0.counts()
    }

    fn next_due<'a>(&'a mut self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Option<poet_runtime::Wall>, StoreError>> {
        self.0.next_due(wanted)
    }
}

#[tokio::test(start_paused = true)]
async fn the_room_of_jobs_that_ended_together_is_filled_with_one_lease() {
    let leases = Arc::<AtomicUsize>::default();
    let queue = QueueConfig { work: false, concurrency: 8, ..QueueConfig::default() };
    let config = Config { queue, ..Config::default().service(ServiceConfig::named("crm")) };
    let counting = Counting(MemoryQueue::new(), leases.clone());
    let world = World::of(Runtime::builder().configuration(config).in_memory().queue(counting));
    world.service.does(|_, _| Act::Slow(Duration::from_secs(1)));
    for n in 0..80 {
        world.put_off(queued(json!(n))).await;
    }
    assert_eq!(world.runtime.queue().run_due().await.unwrap().done, 80);
    assert_eq!(world.runtime.queue().counts().await.unwrap().of(State::Done), 80);
    let leases = leases.load(Ordering::Relaxed);
    // Ten rounds of eight, and those that find nothing more while the last eight end.
    assert!((10..=20).contains(&leases), "{leases} leases");
}
