//! What whoever was put off holds instead of an answer: when it will be there, and a way to wait for it.

use super::desk::Desk;
use super::job::{Job, JobId, Reason, State};
use super::queue::QueueError;
use super::verdict::error_of;
use crate::clock::{Wall, after};
use crate::error::{Error, Kind};
use crate::pipeline::service::Answer;
use crate::reply::{Disposition, ExecutionId, Reply};
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What the queue has to answer in whoever waits not at all.
const MOMENT: Duration = Duration::from_millis(25);

/// How often a job is looked at that another process may be making: at first, and after a while.
const SOON: Duration = Duration::from_millis(100);
const SELDOM: Duration = Duration::from_secs(5);
/// In virtual time, where all that happens happens in this process.
const HARDLY: Duration = Duration::from_secs(600);

/// What whoever was put off holds instead of an answer.
///
/// Cheap to clone, and good in any task; it keeps the queue open. Two are equal if they are about one job and say the
/// same about it.
///
/// # Examples
///
/// ```no_run
/// use poet_runtime::{Error, Reply};
/// use std::time::Duration;
///
/// async fn answer(reply: Reply) -> Result<Reply, Error> {
///     match reply.disposition().ticket() {
///         Some(ticket) => ticket.wait(Duration::from_secs(60)).await,
///         None => Ok(reply),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Ticket {
    id: JobId,
    text: String,
    due: Wall,
    reason: Reason,
    estimate: Option<Wall>,
    desk: Arc<Desk>,
}

impl Ticket {
    pub(crate) fn new(id: JobId, due: Wall, reason: Reason, estimate: Option<Wall>, desk: Arc<Desk>) -> Self {
        Self { id, text: id.to_string(), due, reason, estimate, desk }
    }

    /// The job's number, for `poet queue`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.text
    }

    /// The job's number, for [`Queue`](super::Queue).
    #[must_use]
    pub fn job(&self) -> JobId {
        self.id
    }

    /// When the job is due; it is made then or soon after.
    #[must_use]
    pub fn due(&self) -> Wall {
        self.due
    }

    /// Why the call was put off.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// When the answer can be expected, as it looked when the call was put off: when it is due, the jobs that waited,
    /// all taken to be before it, at the pace at which this process makes them, and the operation's own median time.
    ///
    /// `None` where too little is known to say so.
    #[must_use]
    pub fn estimate(&self) -> Option<Wall> {
        self.estimate
    }

    /// What is said about the call in a record of the services that were called: `deferred` with its schedule, or
    /// `async_queued` with its processing id.
    #[must_use]
    pub fn record(&self) -> Value {
        match self.reason {
            Reason::Acknowledged | Reason::Accepted => json!({
                "status": "async_queued",
                "processing_id": self.text,
                "estimated_completion": self.estimate.map(|estimate| estimate.to_string()),
            }),
            reason => json!({
                "status": "deferred",
                "reason": reason.as_str(),
                "fallback_action": "queued_for_retry",
                "retry_schedule": self.due.to_string(),
                "processing_id": self.text,
            }),
        }
    }

    /// How far the job has come.
    ///
    /// # Errors
    ///
    /// [`QueueError::Missing`] once its time to be kept is over; [`QueueError::Store`] if the queue cannot be read.
    pub async fn status(&self) -> Result<State, QueueError> {
        Ok(self.look().await?.state)
    }

    /// Waits until the job has ended, and gives what the service answered.
    ///
    /// Told at once where this process makes the job; where another does, it is looked at every few seconds.
    ///
    /// # Errors
    ///
    /// [`Error::is_pending`] if it has not ended within `timeout`; it is still made, and can be waited for again.
    /// [`Error::is_outcome_unknown`] if it may have been executed and must not be executed twice: a person has to look.
    /// [`Error::is_deadline`] if it expired, [`Error::is_denied`] if it was cancelled or is not kept any more, else
    /// [`Error::is_service`] with what last went wrong.
    pub async fn wait(&self, timeout: Duration) -> Result<Reply, Error> {
        let waiting = self.desk.wait_for(self.id);
        let until = after(self.desk.monotonic(), timeout);
        // A queue that answers is always asked once, and one that does not keeps nobody.
        let patience = after(self.desk.monotonic(), timeout.max(MOMENT));
        let mut pause = SOON;
        loop {
            let told = waiting.told.notified();
            let mut told = std::pin::pin!(told);
            // From here on nothing is missed, so that what is seen now is as good as what is told later.
            told.as_mut().enable();
            let job = match tokio::time::timeout_at(patience.into(), self.look()).await {
                Ok(Ok(job)) => Some(job),
                Ok(Err(error @ QueueError::Missing(_))) => return Err(Error::denied(error)),
                // It may be readable again in a moment.
                Ok(Err(_)) | Err(_) => None,
            };
            let due = job.as_ref().map_or(self.due, |job| job.due);
            if let Some(end) = job.and_then(|job| end_of(&job)) {
                return end;
            }
            tokio::select! {
                biased;
                () = &mut told => pause = SOON,
                () = tokio::time::sleep_until(until.into()) => return Err(Error::new(Kind::Pending { due })),
                () = tokio::time::sleep(pause) => {
                    pause = (pause * 2).min(if self.desk.clock.is_virtual() { HARDLY } else { SELDOM });
                }
            }
        }
    }

    async fn look(&self) -> Result<Job, QueueError> {
        self.desk.keeper()?.get(self.id).await?.ok_or(QueueError::Missing(self.id))
    }
}

/// What somebody who waits gets, once there is something.
fn end_of(job: &Job) -> Option<Result<Reply, Error>> {
    match job.state {
        State::Pending | State::Leased => None,
        State::Done => Some(Ok(reply(job))),
        State::Failed | State::Dead | State::Uncertain => Some(Err(error_of(job))),
    }
}

fn reply(job: &Job) -> Reply {
    let execution = job.execution.as_deref().and_then(|execution| execution.rsplit_once('-'));
    let (run, number) = execution.map_or(("", 0), |(run, number)| (run, number.parse().unwrap_or(0)));
    let answer = Answer {
        value: job.result.clone().unwrap_or(Value::Null),
        disposition: Disposition::Done,
        attempts: job.attempts,
        elapsed: job.created.until(job.ended.unwrap_or(job.created)),
        execution: ExecutionId::new(run, number),
    };
    Reply::new(answer, None)
}

impl PartialEq for Ticket {
    fn eq(&self, other: &Self) -> bool {
        let said = |ticket: &Self| (ticket.id, ticket.due, ticket.reason, ticket.estimate);
        said(self) == said(other)
    }
}

impl Eq for Ticket {}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("id", &self.text)
            .field("due", &self.due)
            .field("reason", &self.reason)
            .field("estimate", &self.estimate)
            .finish_non_exhaustive()
    }
}
