//! A queue that does not answer: in real time, because only there it has a thread of its own.

use crate::service::*;
use poet_runtime::config::{Config, QueueConfig, ServiceConfig};
use poet_runtime::defer::{
    Answer, Change, Counts, DeferralQueue, Filter, Job, JobId, MemoryQueue, Note, QueueError, State, Wanted,
};
use poet_runtime::service::Request;
use poet_runtime::store::{BoxFuture, StoreError};
use poet_runtime::{Clock, Runtime, Wall};
use serde_json::json;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Stores nothing as long as its gate is shut.
#[derive(Debug)]
struct Gated {
    queue: MemoryQueue,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl DeferralQueue for Gated {
    fn describe(&self) -> String {
        "gated".to_owned()
    }

    fn apply<'a>(
        &'a mut self,
        changes: &'a [Change],
    ) -> BoxFuture<'a, Result<Vec<Result<Answer, QueueError>>, StoreError>> {
        let (open, opened) = &*self.gate;
        drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
        self.queue.apply(changes)
    }

    fn get(&mut self, id: JobId) -> BoxFuture<'_, Result<Option<Job>, StoreError>> {
        self.queue.get(id)
    }

    fn list<'a>(&'a mut self, filter: &'a Filter, limit: usize) -> BoxFuture<'a, Result<Vec<Job>, StoreError>> {
        self.queue.list(filter, limit)
    }

    fn counts(&mut self) -> BoxFuture<'_, Result<Counts, StoreError>> {
        self.queue.counts()
    }

    fn next_due<'a>(&'a mut self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Option<Wall>, StoreError>> {
        self.queue.next_due(wanted)
    }
}

#[tokio::test]
async fn a_queue_that_does_not_answer_keeps_nobody_beyond_the_deadline_and_its_job_is_called_back() {
    const DEADLINE: Duration = Duration::from_millis(200);
    let gate = Arc::<(Mutex<bool>, Condvar)>::default();
    let queue = Gated { queue: MemoryQueue::new(), gate: gate.clone() };
    let queue_config = QueueConfig { work: false, ..QueueConfig::default() };
    let config = Config { queue: queue_config, ..Config::default().service(ServiceConfig::named("crm")) };
    let builder = Runtime::builder().configuration(config).in_memory().queue(queue);
    let world = World::timed(builder, Clock::system());

    for (repeatable, deadline_is_told) in [(true, true), (false, false)] {
        let began = Instant::now();
        let request = Request { repeatable, deadline: Some(DEADLINE), ..queued(json!(1)) };
        let error = world.call(request).await.unwrap_err();
        assert!(began.elapsed() >= DEADLINE && began.elapsed() < DEADLINE * 3, "{:?}", began.elapsed());
        assert_eq!((error.is_deadline(), error.is_outcome_unknown()), (deadline_is_told, !deadline_is_told), "{error}");
    }
    // Neither was made at once, for it might be made twice then.
    assert!(world.service.made().is_empty());

    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    // Behind the two and their recalls.
    let third = world.put_off(queued(json!(3))).await;
    let jobs = world.runtime.queue().list(&Filter::default(), 10).await.unwrap();
    let live: Vec<_> = jobs.iter().filter(|job| job.state != State::Dead).map(|job| job.id).collect();
    assert_eq!(live, [third.job()], "{jobs:?}");
}

#[tokio::test]
async fn a_ticket_keeps_nobody_longer_than_was_asked_for_if_the_queue_does_not_answer() {
    let gate = Arc::new((Mutex::new(true), Condvar::new()));
    let queue = Gated { queue: MemoryQueue::new(), gate: gate.clone() };
    let queue_config = QueueConfig { work: false, ..QueueConfig::default() };
    let config = Config { queue: queue_config, ..Config::default().service(ServiceConfig::named("crm")) };
    let world = World::timed(Runtime::builder().configuration(config).in_memory().queue(queue), Clock::system());
    let ticket = world.put_off(queued(json!(1))).await;

    *gate.0.lock().unwrap() = false;
    let busy = world.runtime.queue();
    let note = || Note { by: "anna".to_owned(), text: None };
    let busy = tokio::spawn({
        let id = ticket.job();
        async move { busy.retry(id, note()).await }
    });
    tokio::task::yield_now().await;
    let waited = tokio::time::timeout(Duration::from_secs(5), ticket.wait(Duration::from_millis(100))).await;
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    assert!(waited.expect("it ends in time").unwrap_err().is_pending());
    busy.await.unwrap().unwrap_err();
}

/// Refuses to be written while a recall is among the changes, so many times.
#[derive(Debug)]
struct Stubborn {
    queue: Gated,
    refusals: usize,
}

impl DeferralQueue for Stubborn {
    fn describe(&self) -> String {
        "stubborn".to_owned()
    }

    fn apply<'a>(
        &'a mut self,
        changes: &'a [Change],
    ) -> BoxFuture<'a, Result<Vec<Result<Answer, QueueError>>, StoreError>> {
        let recall = changes.iter().any(|change| matches!(change, Change::Cancel { .. }));
        if recall && self.refusals > 0 {
            self.refusals -= 1;
            return Box::pin(std::future::ready(Err(StoreError::new("writing", "locked"))));
        }
        self.queue.apply(changes)
    }

    fn get(&mut self, id: JobId) -> BoxFuture<'_, Result<Option<Job>, StoreError>> {
        self.queue.get(id)
    }

    fn list<'a>(&'a mut self, filter: &'a Filter, limit: usize) -> BoxFuture<'a, Result<Vec<Job>, StoreError>> {
        self.queue.list(filter, limit)
    }

    fn counts(&mut self) -> BoxFuture<'_, Result<Counts, StoreError>> {
        self.queue.counts()
    }

    fn next_due<'a>(&'a mut self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Option<Wall>, StoreError>> {
        self.queue.next_due(wanted)
    }
}

#[tokio::test]
async fn a_recall_that_cannot_be_written_is_tried_again() {
    let gate = Arc::<(Mutex<bool>, Condvar)>::default();
    let queue = Stubborn { queue: Gated { queue: MemoryQueue::new(), gate: gate.clone() }, refusals: 2 };
    let queue_config = QueueConfig { work: false, ..QueueConfig::default() };
    let config = Config { queue: queue_config, ..Config::default().service(ServiceConfig::named("crm")) };
    let world = World::timed(Runtime::builder().configuration(config).in_memory().queue(queue), Clock::system());
    let request = Request { deadline: Some(Duration::from_millis(50)), ..queued(json!(1)) };
    assert!(world.call(request).await.unwrap_err().is_outcome_unknown());
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    let queue = world.runtime.queue();
    let recalled = async {
        loop {
            let jobs = queue.list(&Filter::default(), 10).await.unwrap();
            match &jobs[..] {
                [job] if job.state == State::Dead => break,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), recalled).await.expect("it is given up in the end");
}
