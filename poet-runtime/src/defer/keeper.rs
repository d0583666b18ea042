//! One owner of the queue in a process, who stores what many ask for with one write to the disk.
//!
//! A write that has to be on disk before it is answered takes milliseconds, whatever it contains. So requests come
//! over a bounded channel to one thread, and all that wait are stored together; each has its own answer. Whoever finds
//! the channel full waits: that is the back-pressure. In virtual time nothing may happen on another thread, so there
//! everything is done at once on the caller's.

use super::job::{Job, JobId, NewJob, Resolution, Token, Verdict};
use super::queue::{Answer, Change, Counts, DeferralQueue, Filter, Note, QueueError, Recovered, Reported, Wanted};
use crate::clock::{Clock, Wall};
use crate::lock::lock;
use crate::recorder::block_on::block_on;
use crate::store::{BoxFuture, StoreError};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Requests that may wait to be stored.
const WAITING: usize = 1024;

/// Requests that are stored together.
const GROUP: usize = 512;

/// A handle to the queue of this process. Clones share it; it is closed with the last one.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), poet_runtime::defer::QueueError> {
/// use poet_runtime::defer::{Keeper, MemoryQueue, NewJob, State, Verdict, Wanted};
/// use poet_runtime::{Clock, Wall};
/// use std::time::Duration;
///
/// let keeper = Keeper::new(Box::new(MemoryQueue::new()), &Clock::system());
/// let now = Wall::from_millis(1_800_000_000_000);
/// let job = NewJob::new("mcp_integration", "salesforce_crm", "update_contact", now);
/// let id = job.id;
/// keeper.enqueue(vec![job], 100_000).await?;
///
/// let leased = keeper.lease("worker", &Wanted::default(), 16, Duration::from_secs(30), now).await?;
/// keeper.report(id, leased[0].token, Verdict::Done("ok".into()), now).await?;
/// assert_eq!(keeper.get(id).await?.map(|job| job.state), Some(State::Done));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Keeper(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    place: Place,
    described: String,
    changes: watch::Sender<u64>,
}

enum Place {
    Thread(mpsc::Sender<Ask>),
    Here(Mutex<Box<dyn DeferralQueue>>),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Thread(_) => "on its thread",
            Self::Here(_) => "here",
        })
    }
}

type Read = Box<dyn FnOnce(&mut dyn DeferralQueue) + Send>;

enum Ask {
    Change(Change, oneshot::Sender<Result<Answer, QueueError>>),
    Read(Read),
}

impl Keeper {
    /// Owns a queue: on a thread of its own, or, in virtual time, on the threads of those who ask.
    #[must_use]
    pub fn new(queue: Box<dyn DeferralQueue>, clock: &Clock) -> Self {
        let described = queue.describe();
        let (changes, _) = watch::channel(0);
        let place = if clock.is_virtual() {
            Place::Here(Mutex::new(queue))
        } else {
            let (asks, asked) = mpsc::channel(WAITING);
            let tell = changes.clone();
            let keep = move || keep(queue, asked, &tell);
            // Without a thread there is no other way to say so: whoever asks is told that it is closed.
            let _ = thread::Builder::new().name("poet-queue".to_owned()).spawn(keep);
            Place::Thread(asks)
        };
        Self(Arc::new(Shared { place, described, changes }))
    }

    /// What and where the queue is, for logs and reports.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.0.described
    }

    /// Sees how many changes this process has made, and so learns of the next one. Those of other processes are not
    /// seen.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Puts jobs there, all or none; they are on disk when this returns. Whoever drops it before does not know whether
    /// they are.
    ///
    /// # Errors
    ///
    /// [`QueueError::Full`] where `max_pending` jobs have not ended; [`QueueError::Store`] where they cannot be stored.
    pub async fn enqueue(&self, jobs: Vec<NewJob>, max_pending: u64) -> Result<(), QueueError> {
        match self.change(Change::Enqueue { jobs, max_pending }).await? {
            Answer::Enqueued => Ok(()),
            other => unreachable!("{other:?}"),
        }
    }

    /// Takes jobs that are due. Take only what is started at once: leased means under way.
    ///
    /// # Errors
    ///
    /// If it cannot be stored; then nothing is leased.
    pub async fn lease(
        &self,
        worker: &str,
        wanted: &Wanted,
        limit: usize,
        lease: Duration,
        now: Wall,
    ) -> Result<Vec<Job>, QueueError> {
        let change = Change::Lease { worker: worker.to_owned(), wanted: wanted.clone(), limit, lease, now };
        match self.change(change).await? {
            Answer::Leased(jobs) => Ok(jobs),
            other => unreachable!("{other:?}"),
        }
    }

    /// Says that the worker is still at it, and returns what it does not hold any more.
    ///
    /// # Errors
    ///
    /// If it cannot be stored; then the leases end when they would have.
    pub async fn renew(&self, held: Vec<(JobId, Token)>, lease: Duration, now: Wall) -> Result<Vec<JobId>, QueueError> {
        match self.change(Change::Renew { held, lease, now }).await? {
            Answer::Renewed(lost) => Ok(lost),
            other => unreachable!("{other:?}"),
        }
    }

    /// Says what came of a try. A verdict of an older lease is refused, which is no error.
    ///
    /// # Errors
    ///
    /// If it cannot be stored: then say it again, because the job is taken for uncertain when its lease ends.
    pub async fn report(&self, id: JobId, token: Token, verdict: Verdict, now: Wall) -> Result<Reported, QueueError> {
        match self.change(Change::Report { id, token, verdict, now }).await? {
            Answer::Reported(reported) => Ok(reported),
            other => unreachable!("{other:?}"),
        }
    }

    /// Settles leases that ended without a verdict, and gives up what is past its time.
    ///
    /// # Errors
    ///
    /// If it cannot be stored.
    pub async fn recover(&self, now: Wall) -> Result<Recovered, QueueError> {
        match self.change(Change::Recover { now }).await? {
            Answer::Recovered(recovered) => Ok(recovered),
            other => unreachable!("{other:?}"),
        }
    }

    /// Gives up a job that is pending.
    ///
    /// # Errors
    ///
    /// [`QueueError::State`] where it is not pending.
    pub async fn cancel(&self, id: JobId, note: Note, now: Wall) -> Result<Job, QueueError> {
        self.changed(Change::Cancel { id, note, now }).await
    }

    /// Makes a job that failed or was given up pending again.
    ///
    /// # Errors
    ///
    /// [`QueueError::State`] where it did not.
    pub async fn retry(&self, id: JobId, note: Note, now: Wall) -> Result<Job, QueueError> {
        self.changed(Change::Retry { id, note, now }).await
    }

    /// Says what a person found out about an uncertain job.
    ///
    /// # Errors
    ///
    /// [`QueueError::State`] where it is not uncertain.
    pub async fn resolve(&self, id: JobId, resolution: Resolution, note: Note, now: Wall) -> Result<Job, QueueError> {
        self.changed(Change::Resolve { id, resolution, note, now }).await
    }

    /// Deletes what ended before a moment, slice by slice, and returns how many jobs went.
    ///
    /// # Errors
    ///
    /// If it cannot be stored; what went before stays gone.
    pub async fn prune(&self, before: Wall) -> Result<u64, QueueError> {
        let mut gone = 0;
        loop {
            match self.change(Change::Prune { before }).await? {
                Answer::Pruned(0) => return Ok(gone),
                Answer::Pruned(n) => gone += n,
                other => unreachable!("{other:?}"),
            }
        }
    }

    /// One job.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub async fn get(&self, id: JobId) -> Result<Option<Job>, QueueError> {
        self.read(move |queue| queue.get(id)).await
    }

    /// The newest jobs, newest first.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub async fn list(&self, filter: &Filter, limit: usize) -> Result<Vec<Job>, QueueError> {
        let filter = filter.clone();
        self.read(move |queue| Box::pin(async move { queue.list(&filter, limit).await })).await
    }

    /// How many are in each state.
    ///
    /// # Errors
    ///
    /// If they cannot be counted.
    pub async fn counts(&self) -> Result<Counts, QueueError> {
        self.read(|queue| queue.counts()).await
    }

    /// The earliest moment, past or future, at which leasing or recovering would find something.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub async fn next_due(&self, wanted: &Wanted) -> Result<Option<Wall>, QueueError> {
        let wanted = wanted.clone();
        self.read(move |queue| Box::pin(async move { queue.next_due(&wanted).await })).await
    }

    async fn changed(&self, change: Change) -> Result<Job, QueueError> {
        match self.change(change).await? {
            Answer::Changed(job) => Ok(*job),
            other => unreachable!("{other:?}"),
        }
    }

    async fn change(&self, change: Change) -> Result<Answer, QueueError> {
        match &self.0.place {
            Place::Here(queue) => {
                let answers = block_on(lock(queue).apply(&[change]));
                self.0.changes.send_modify(|n| *n += 1);
                answers?.pop().expect("one answer to one change")
            }
            Place::Thread(asks) => {
                let (answer, answered) = oneshot::channel();
                asks.send(Ask::Change(change, answer)).await.map_err(|_| QueueError::Closed)?;
                answered.await.map_err(|_| QueueError::Closed)?
            }
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl for<'q> FnOnce(&'q mut dyn DeferralQueue) -> BoxFuture<'q, Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, QueueError> {
        match &self.0.place {
            Place::Here(queue) => Ok(block_on(read(&mut **lock(queue)))?),
            Place::Thread(asks) => {
                let (answer, answered) = oneshot::channel();
                let ask = move |queue: &mut dyn DeferralQueue| {
                    // Whoever asked may be gone.
                    let _ = answer.send(block_on(read(queue)));
                };
                asks.send(Ask::Read(Box::new(ask))).await.map_err(|_| QueueError::Closed)?;
                Ok(answered.await.map_err(|_| QueueError::Closed)??)
            }
        }
    }
}

/// Does what is asked until nobody can ask any more.
fn keep(mut queue: Box<dyn DeferralQueue>, mut asked: mpsc::Receiver<Ask>, tell: &watch::Sender<u64>) {
    let mut asks = Vec::with_capacity(GROUP);
    while asked.blocking_recv_many(&mut asks, GROUP) > 0 {
        let (mut changes, mut answers, mut reads) = (Vec::new(), Vec::new(), Vec::new());
        for ask in asks.drain(..) {
            match ask {
                // Nobody waits for it any more, and it was not begun: then it is not done.
                Ask::Change(_, answer) if answer.is_closed() => {}
                Ask::Change(change, answer) => {
                    changes.push(change);
                    answers.push(answer);
                }
                Ask::Read(read) => reads.push(read),
            }
        }
        if !changes.is_empty() {
            store(&mut *queue, &changes, answers);
            tell.send_modify(|n| *n += changes.len() as u64);
        }
        for read in reads {
            read(&mut *queue);
        }
    }
}

fn store(queue: &mut dyn DeferralQueue, changes: &[Change], waiting: Vec<oneshot::Sender<Result<Answer, QueueError>>>) {
    match block_on(queue.apply(changes)) {
        Ok(answers) => {
            let mut orphans = Vec::new();
            for (waiting, answer) in waiting.into_iter().zip(answers) {
                if let Err(Ok(Answer::Leased(jobs))) = waiting.send(answer) {
                    orphans.extend(jobs.iter().map(never_started));
                }
            }
            if !orphans.is_empty() {
                // If it cannot be said, their leases end.
                let _ = block_on(queue.apply(&orphans));
            }
        }
        Err(error) => {
            for waiting in waiting {
                let _ = waiting.send(Err(QueueError::Store(error.clone())));
            }
        }
    }
}

/// Whoever leased it was gone before they were told, so nobody has started it: it need not become uncertain.
fn never_started(job: &Job) -> Change {
    let now = job.started.unwrap_or(job.due);
    let why = "its worker was gone before it was started".to_owned();
    let verdict = Verdict::Again { due: job.due, why, counts_as_attempt: false };
    Change::Report { id: job.id, token: job.token, verdict, now }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defer::conformance::job;
    use crate::defer::{MemoryQueue, State};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc as blocking;

    /// A queue that says how many changes it was given together, and waits before the first.
    #[derive(Debug)]
    struct Slow {
        queue: MemoryQueue,
        groups: Arc<Mutex<Vec<usize>>>,
        open: Option<blocking::Receiver<()>>,
        broken: Arc<AtomicUsize>,
    }

    impl DeferralQueue for Slow {
        fn describe(&self) -> String {
            "slow".to_owned()
        }

        fn apply<'a>(
            &'a mut self,
            changes: &'a [Change],
        ) -> BoxFuture<'a, Result<Vec<Result<Answer, QueueError>>, StoreError>> {
            lock(&self.groups).push(changes.len());
            if let Some(open) = self.open.take() {
                open.recv().unwrap();
            }
            if self.broken.load(Ordering::Relaxed) > 0 {
                return Box::pin(std::future::ready(Err(StoreError::new("writing", "no disk"))));
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

    fn slow(open: Option<blocking::Receiver<()>>) -> (Keeper, Arc<Mutex<Vec<usize>>>, Arc<AtomicUsize>) {
        let (groups, broken) = (Arc::default(), Arc::default());
        let queue = Slow { queue: MemoryQueue::new(), groups: Arc::clone(&groups), open, broken: Arc::clone(&broken) };
        (Keeper::new(Box::new(queue), &Clock::system()), groups, broken)
    }

    #[tokio::test]
    async fn what_waits_is_stored_together_and_each_has_its_own_answer() {
        let (go, open) = blocking::channel();
        let (keeper, groups, _) = slow(Some(open));
        let put = |max| {
            let keeper = keeper.clone();
            tokio::spawn(async move { keeper.enqueue(vec![job()], max).await })
        };
        let first = put(1);
        while lock(&groups).is_empty() {
            tokio::task::yield_now().await;
        }
        let others = [put(2), put(2), put(3)];
        // Each has sent its request once every task was polled.
        tokio::task::yield_now().await;
        go.send(()).unwrap();
        assert!(first.await.unwrap().is_ok());
        let mut taken = Vec::new();
        for other in others {
            taken.push(other.await.unwrap().is_ok());
        }
        assert_eq!(taken, [true, false, true]);
        assert_eq!(*lock(&groups), [1, 3]);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_begun() {
        let (go, open) = blocking::channel();
        let (keeper, groups, _) = slow(Some(open));
        let first = tokio::spawn({
            let keeper = keeper.clone();
            async move { keeper.counts().await.map(|_| ()).and(keeper.enqueue(vec![job()], 10).await) }
        });
        while lock(&groups).is_empty() {
            tokio::task::yield_now().await;
        }
        let abandoned = tokio::time::timeout(Duration::ZERO, keeper.enqueue(vec![job()], 10)).await;
        assert!(abandoned.is_err());
        go.send(()).unwrap();
        first.await.unwrap().unwrap();
        assert_eq!(keeper.counts().await.unwrap().of(State::Pending), 1);
    }

    #[tokio::test]
    async fn a_queue_that_cannot_be_written_is_an_error_and_tried_again_next_time() {
        let (keeper, _, broken) = slow(None);
        broken.store(1, Ordering::Relaxed);
        let refused = keeper.enqueue(vec![job()], 10).await.unwrap_err();
        assert!(matches!(refused, QueueError::Store(_)), "{refused:?}");
        broken.store(0, Ordering::Relaxed);
        keeper.enqueue(vec![job()], 10).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_leased_for_somebody_who_is_gone_is_given_back_because_nobody_started_it() {
        let (go, open) = blocking::channel();
        let (job, groups, mut queue) = (job(), Arc::<Mutex<Vec<usize>>>::default(), MemoryQueue::new());
        let (id, now) = (job.id, job.due);
        block_on(queue.apply(&[Change::Enqueue { jobs: vec![job], max_pending: 10 }])).unwrap();
        let slow = Slow { queue, groups: groups.clone(), open: Some(open), broken: Arc::default() };
        let keeper = Keeper::new(Box::new(slow), &Clock::system());
        let lease = {
            let keeper = keeper.clone();
            async move { keeper.lease("w", &Wanted::default(), 1, Duration::from_secs(30), now).await }
        };
        let gone = tokio::spawn(lease);
        while lock(&groups).is_empty() {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        go.send(()).unwrap();
        let job = keeper.get(id).await.unwrap().unwrap();
        assert_eq!((job.state, job.attempts), (State::Pending, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn in_virtual_time_everything_is_done_at_once() {
        let keeper = Keeper::new(Box::new(MemoryQueue::new()), &Clock::virtual_from(job().created));
        let mut changes = keeper.watch();
        let put = keeper.enqueue(vec![job()], 10);
        let mut put = std::pin::pin!(put);
        let polled = put.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        assert!(polled.is_ready());
        assert!(changes.has_changed().unwrap());
        assert_eq!(*changes.borrow_and_update(), 1);
    }
}
