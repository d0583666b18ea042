//! What those who put calls off, those who make them later and those who wait for them have in common.
//!
//! It outlives the runtime as long as somebody holds a ticket. The queue is opened when first needed: a process that
//! makes no calls opens none.

use super::job::{Job, JobId, NewJob};
use super::keeper::Keeper;
use super::pace::Pace;
use super::queue::{DeferralQueue, Note, QueueError};
use crate::clock::{Clock, Wall};
use crate::config::QueueConfig;
use crate::lock::lock;
use crate::store::{StoreError, TargetKey};
use once_cell::sync::OnceCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Where the jobs of a runtime are kept.
#[derive(Debug)]
pub(crate) enum Place {
    /// In a queue of the author's.
    Queue(Box<dyn DeferralQueue>),
    /// In a database.
    File(PathBuf),
    /// Nowhere: a store of the author's own says nothing about where jobs would be safe, so nothing is put off.
    Nowhere,
}

#[derive(Debug)]
pub(crate) struct Desk {
    pub(super) clock: Clock,
    pub(super) config: QueueConfig,
    place: Mutex<Place>,
    /// Whether there is a place. `place` is emptied by whoever opens the queue, so it cannot tell while that goes on.
    open: bool,
    keeper: OnceCell<Option<Keeper>>,
    /// Told of every job that may be due now.
    pub(super) arrived: Notify,
    /// Told of the end of a job, by those in this process who wait for it.
    waiting: Mutex<HashMap<JobId, Arc<Notify>>>,
    pace: Mutex<Pace>,
    /// How often a call was to be put off and could not be.
    pub(super) refused: AtomicU64,
    jitter: AtomicU64,
}

impl Desk {
    pub(crate) fn new(place: Place, config: QueueConfig, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            config,
            open: !matches!(place, Place::Nowhere),
            place: Mutex::new(place),
            keeper: OnceCell::new(),
            arrived: Notify::new(),
            waiting: Mutex::default(),
            pace: Mutex::default(),
            refused: AtomicU64::new(0),
            jitter: AtomicU64::new(0),
        })
    }

    pub(crate) fn config(&self) -> QueueConfig {
        self.config
    }

    /// Cancels a job of which it is not known whether it was put there, because nobody waited for the answer.
    pub(crate) fn call_back(self: &Arc<Self>, id: JobId) {
        let desk = self.clone();
        let Ok(tokio) = tokio::runtime::Handle::try_current() else { return };
        // In the queue's own order it comes after the job, if that comes at all.
        drop(tokio.spawn(async move {
            const TRIES: u32 = 10;
            let by = "the caller, whose deadline passed before it was put off".to_owned();
            let note = Note { by, text: None };
            let mut pause = Duration::from_millis(100);
            for _ in 0..TRIES {
                let Ok(keeper) = desk.keeper() else { return };
                match keeper.cancel(id, note.clone(), desk.now()).await {
                    // Left there, it would be made beside whatever its caller does now.
                    Err(QueueError::Store(error)) => {
                        tracing::warn!(job = %id, %error, "a job could not be called back; trying again");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(Duration::from_secs(10));
                    }
                    Err(QueueError::State { state, .. }) => {
                        tracing::warn!(job = %id, %state, "a job was taken by a worker before it was called back");
                        return;
                    }
                    // It was called back, or never put there.
                    _ => return,
                }
            }
            tracing::error!(job = %id, "a job may be made although its caller was told that it was not put off");
        }));
    }

    /// Whether jobs are kept anywhere.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// # Errors
    ///
    /// If jobs are kept nowhere.
    pub(super) fn keeper(&self) -> Result<&Keeper, QueueError> {
        let keeper = self.keeper.get_or_init(|| {
            let queue = match std::mem::replace(&mut *lock(&self.place), Place::Nowhere) {
                Place::Queue(queue) => queue,
                Place::File(path) => open(path),
                Place::Nowhere => return None,
            };
            Some(Keeper::new(queue, &self.clock))
        });
        let nowhere = "this runtime has a store of its own and no queue; Runtime::builder().queue(…) gives it one";
        keeper.as_ref().ok_or_else(|| StoreError::new("opening the queue", nowhere.to_owned()).into())
    }

    pub(super) fn now(&self) -> Wall {
        self.clock.wall()
    }

    pub(super) fn monotonic(&self) -> Instant {
        self.clock.now()
    }

    /// A number that was not used for jitter before.
    pub(crate) fn counter(&self) -> u64 {
        self.jitter.fetch_add(1, Ordering::Relaxed)
    }

    /// Puts a job into the queue. It is on disk when this returns.
    pub(crate) async fn put(&self, job: NewJob) -> Result<(), QueueError> {
        self.keeper()?.enqueue(vec![job], self.config.max_pending).await?;
        self.arrived.notify_one();
        Ok(())
    }

    /// When a job that is due then can be expected to be done. Whatever waits is taken to be ahead of it.
    pub(crate) async fn estimate(&self, target: &TargetKey, known: Option<Duration>, due: Wall) -> Option<Wall> {
        use super::job::State;
        let counts = self.keeper().ok()?.counts().await.ok()?;
        // It is there itself, waiting or perhaps taken already.
        let ahead = (counts.of(State::Pending) + counts.of(State::Leased)).saturating_sub(1);
        lock(&self.pace).estimate(target, known, due, ahead, self.config.concurrency)
    }

    /// A call that was to be put off could not be.
    pub(crate) fn refuse(&self, service: &str, operation: &str, why: &dyn std::fmt::Display) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(service, operation, %why, "the call could not be put off");
    }

    /// A job was made by this process, and took so long.
    pub(super) fn made(&self, job: &Job, took: Duration) {
        let target = TargetKey { service: job.service.clone(), operation: job.operation.clone() };
        lock(&self.pace).note(target, took);
    }

    /// Something about a job changed: those who wait for it look again.
    pub(super) fn tell(&self, id: JobId) {
        if let Some(waiting) = lock(&self.waiting).get(&id) {
            waiting.notify_waiters();
        }
        // Behind it, others of its order key may be due now.
        self.arrived.notify_one();
    }

    /// A place to be told about a job at.
    pub(super) fn wait_for(self: &Arc<Self>, id: JobId) -> Waiting {
        let told = lock(&self.waiting).entry(id).or_default().clone();
        Waiting { desk: self.clone(), id, told }
    }
}

/// Somebody waits for a job.
pub(super) struct Waiting {
    desk: Arc<Desk>,
    id: JobId,
    pub(super) told: Arc<Notify>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = lock(&self.desk.waiting);
        // The table's, and this one.
        if Arc::strong_count(&self.told) <= 2 {
            waiting.remove(&self.id);
        }
    }
}

#[cfg(feature = "sqlite")]
fn open(path: PathBuf) -> Box<dyn DeferralQueue> {
    Box::new(super::SqliteQueue::at(path))
}

#[cfg(not(feature = "sqlite"))]
fn open(path: PathBuf) -> Box<dyn DeferralQueue> {
    drop(path);
    tracing::warn!("jobs are kept in memory; the feature `sqlite` keeps them in a database");
    Box::new(super::MemoryQueue::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defer::MemoryQueue;

    #[test]
    fn a_call_can_be_put_off_while_another_thread_opens_the_queue() {
        let place = Place::Queue(Box::new(MemoryQueue::new()));
        let desk = Desk::new(place, QueueConfig::default(), Clock::default());
        // What the other thread has done half way: the place is taken, and there is no keeper yet.
        let taken = std::mem::replace(&mut *lock(&desk.place), Place::Nowhere);
        assert!(desk.is_open());
        drop(taken);
        assert!(!Desk::new(Place::Nowhere, QueueConfig::default(), Clock::default()).is_open());
    }
}
