//! What a program or a person can do with the queue of a runtime.

use super::form;
use super::job::{Job, JobId, Resolution};
use super::queue::{Counts, Filter, Note, QueueError};
use super::shift::Worked;
use super::ticket::Ticket;
use super::worker;
use crate::pipeline::request::call_off;
use crate::runtime::Runtime;
use std::sync::atomic::Ordering;

/// The queue of a runtime: the calls that were put off, wherever they were.
///
/// # Examples
///
/// ```
/// use poet_runtime::Runtime;
/// use poet_runtime::defer::Filter;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = Runtime::builder().in_memory().build()?;
/// let worked = runtime.queue().run_due().await?;
/// assert_eq!(worked.total(), 0, "nothing was put off");
/// assert!(runtime.queue().list(&Filter::default(), 100).await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Queue(Runtime);

impl Runtime {
    /// The queue of calls that were put off.
    #[must_use]
    pub fn queue(&self) -> Queue {
        Queue(self.clone())
    }
}

impl Queue {
    /// The newest jobs, newest first.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub async fn list(&self, filter: &Filter, limit: usize) -> Result<Vec<Job>, QueueError> {
        self.0.0.deferral.desk.keeper()?.list(filter, limit).await
    }

    /// One job.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub async fn get(&self, id: JobId) -> Result<Option<Job>, QueueError> {
        self.0.0.deferral.desk.keeper()?.get(id).await
    }

    /// A ticket of a job, whoever put it off.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub async fn ticket(&self, id: JobId) -> Result<Option<Ticket>, QueueError> {
        let desk = self.0.0.deferral.desk.clone();
        Ok(self.get(id).await?.map(|job| Ticket::new(id, job.due, job.reason, None, desk)))
    }

    /// How many jobs are in each state.
    ///
    /// # Errors
    ///
    /// If they cannot be counted.
    pub async fn counts(&self) -> Result<Counts, QueueError> {
        self.0.0.deferral.desk.keeper()?.counts().await
    }

    /// How often this process wanted to put a call off and could not: the queue was full or could not be written, or the
    /// job would have expired before it was due.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.0.deferral.desk.refused.load(Ordering::Relaxed)
    }

    /// Gives up a job that waits. A service that has taken it on is told, if this process can call it; whether it stops is
    /// its own affair.
    ///
    /// # Errors
    ///
    /// [`QueueError::State`] where it does not wait.
    pub async fn cancel(&self, id: JobId, note: Note) -> Result<Job, QueueError> {
        let desk = &self.0.0.deferral.desk;
        let job = desk.keeper()?.cancel(id, note, desk.now()).await?;
        desk.tell(id);
        if let Some(token) = &job.accepted
            && let Some(profile) = self.0.0.deferral.profile(&job.profile)
            && let Some(Ok(caller)) = profile.caller.map(|find| find(&self.0, &job.service))
        {
            self.0.as_current(call_off(&form::request(&job, profile), &caller, token)).await;
        }
        Ok(job)
    }

    /// Lets a job that failed or was given up be made again.
    ///
    /// # Errors
    ///
    /// [`QueueError::State`] where it did not.
    pub async fn retry(&self, id: JobId, note: Note) -> Result<Job, QueueError> {
        let desk = &self.0.0.deferral.desk;
        let job = desk.keeper()?.retry(id, note, desk.now()).await?;
        desk.tell(id);
        Ok(job)
    }

    /// Says what a person found out about a job of which it was unknown whether it was executed.
    ///
    /// # Errors
    ///
    /// [`QueueError::State`] where it is not uncertain.
    pub async fn resolve(&self, id: JobId, resolution: Resolution, note: Note) -> Result<Job, QueueError> {
        let desk = &self.0.0.deferral.desk;
        let job = desk.keeper()?.resolve(id, resolution, note, desk.now()).await?;
        desk.tell(id);
        Ok(job)
    }

    /// Makes jobs in the calling task until none is due, and says what came of them.
    ///
    /// Works also where the configuration has no worker in this process. Only jobs of profiles known to the runtime are
    /// made; of those that another worker is making the end is not waited for. Dropped before its end it leaves what it
    /// had started to its lease, so let it end.
    ///
    /// # Errors
    ///
    /// If the queue cannot be read or written; what was under way is left to its lease then.
    pub async fn run_due(&self) -> Result<Worked, QueueError> {
        worker::run_due(&self.0).await
    }
}
