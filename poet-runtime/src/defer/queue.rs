//! Where jobs outlive the process, and how any number of workers share them.
//!
//! The trait speaks of jobs, never of SQL, and is asynchronous because an engine across the network would be. What
//! changes the queue is a [`Change`]; a group of them is stored as one, and each has its own [`Answer`], so that many
//! callers share one write to the disk without sharing a failure. Any implementation must pass
//! `defer::conformance`.
//!
//! **What is promised.** A change that was answered is on disk. A job is leased to one worker at a time, and a lease
//! means that the call may start now, so a worker leases only what it starts at once. A lease that ends without a
//! verdict leaves a job that may have been executed: a repeatable one is pending again, any other is uncertain and
//! never runs again by itself. A verdict counts for the newest lease of a job only, and for that one even if it comes
//! late: its worker was slow, not dead, and knows better than the clock.
//!
//! **Order.** Of the jobs with one order key only the oldest that has not ended can be leased; an uncertain one holds
//! up those behind it until a person has looked. Otherwise: the highest priority, the earliest due, the oldest.
//!
//! **Bounds.** A new job is refused where `max_pending` jobs have not ended (uncertain ones count too: nobody looks
//! after them). Ended jobs go after their time, and beyond [`MAX_ENDED`] whatever their age.

use super::job::{Job, JobId, NewJob, Resolution, State, Token, Verdict};
use crate::clock::Wall;
use crate::store::{BoxFuture, StoreError};
use std::fmt;
use std::time::Duration;

/// The most ended jobs that are kept whatever their age.
pub const MAX_ENDED: u64 = 1_000_000;

/// The most jobs that one recovery settles of each kind, and that one pruning deletes.
pub(super) const SLICE: usize = 1000;

/// Which jobs a worker can run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only of these profiles; `None` means of any.
    pub profiles: Option<Vec<String>>,
    /// Not of these services, which are not to be called just now.
    pub without: Vec<String>,
}

impl Wanted {
    /// Whether a job of that profile and service is meant.
    #[must_use]
    pub fn includes(&self, profile: &str, service: &str) -> bool {
        self.profiles.as_ref().is_none_or(|profiles| profiles.iter().any(|known| known == profile))
            && !self.without.iter().any(|left_out| left_out == service)
    }
}

/// Which jobs are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only in this state.
    pub state: Option<State>,
    /// Only of this service.
    pub service: Option<String>,
    /// Only whose number begins like this.
    pub prefix: Option<String>,
}

/// Who intervened, and what they wrote about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// Who.
    pub by: String,
    /// What they wrote.
    pub text: Option<String>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(f, "{}: {text}", self.by),
            None => f.write_str(&self.by),
        }
    }
}

/// Something that changes the queue.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Puts jobs there, all or none. One that is there already is left as it is.
    Enqueue {
        /// The jobs.
        jobs: Vec<NewJob>,
        /// Jobs that may be there without having ended.
        max_pending: u64,
    },
    /// Takes jobs that are due; each may be started at once.
    Lease {
        /// Who takes them.
        worker: String,
        /// Which.
        wanted: Wanted,
        /// At most so many.
        limit: usize,
        /// For how long, unless it is renewed.
        lease: Duration,
        /// The time.
        now: Wall,
    },
    /// Says that the worker is still at it.
    Renew {
        /// What it holds.
        held: Vec<(JobId, Token)>,
        /// For how long from now.
        lease: Duration,
        /// The time.
        now: Wall,
    },
    /// Says what came of a try.
    Report {
        /// Which job.
        id: JobId,
        /// The lease.
        token: Token,
        /// What came of it.
        verdict: Verdict,
        /// The time.
        now: Wall,
    },
    /// Settles leases that ended without a verdict, and gives up what is past its time; at most a thousand jobs of
    /// each kind.
    Recover {
        /// The time.
        now: Wall,
    },
    /// Gives up a job that is pending.
    Cancel {
        /// Which job.
        id: JobId,
        /// Who wants it.
        note: Note,
        /// The time.
        now: Wall,
    },
    /// Makes a job that failed or was given up pending, due now, with all its attempts and a day at least to be
    /// made in.
    Retry {
        /// Which job.
        id: JobId,
        /// Who wants it.
        note: Note,
        /// The time.
        now: Wall,
    },
    /// Says what a person found out about an uncertain job.
    Resolve {
        /// Which job.
        id: JobId,
        /// What was found.
        resolution: Resolution,
        /// Who found it.
        note: Note,
        /// The time.
        now: Wall,
    },
    /// Deletes jobs that ended before a moment, and the oldest beyond [`MAX_ENDED`]; at most a thousand.
    Prune {
        /// The moment.
        before: Wall,
    },
}

/// What came of a [`Change`].
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Of `Enqueue`: they are on disk.
    Enqueued,
    /// Of `Lease`: the jobs, in the order in which they are to be started.
    Leased(Vec<Job>),
    /// Of `Renew`: what is not held any more.
    Renewed(Vec<JobId>),
    /// Of `Report`.
    Reported(Reported),
    /// Of `Recover`.
    Recovered(Recovered),
    /// Of `Cancel`, `Retry` and `Resolve`: what the job is now.
    Changed(Box<Job>),
    /// Of `Prune`: how many went.
    Pruned(u64),
}

/// What came of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// It counts, and this is the job's state now.
    Accepted(State),
    /// It does not: the job was leased again since, has ended, or a person has decided. Nothing was changed.
    Refused(State),
}

/// What was settled for want of a verdict, or of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Pending again.
    pub again: Vec<JobId>,
    /// Uncertain now.
    pub uncertain: Vec<JobId>,
    /// Given up.
    pub dead: Vec<JobId>,
}

impl Recovered {
    /// Takes note of what a job is now.
    pub(super) fn add(&mut self, id: JobId, state: State) {
        match state {
            State::Uncertain => self.uncertain.push(id),
            State::Dead => self.dead.push(id),
            _ => self.again.push(id),
        }
    }

    /// Whether there was nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.again.is_empty() && self.uncertain.is_empty() && self.dead.is_empty()
    }
}

/// How many jobs are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; State::ALL.len()]);

impl Counts {
    /// How many are in that state.
    #[must_use]
    pub fn of(&self, state: State) -> u64 {
        self.0[state as usize]
    }

    /// How many have not ended.
    #[must_use]
    pub fn live(&self) -> u64 {
        State::ALL.into_iter().filter(|state| state.is_live()).map(|state| self.of(state)).sum()
    }

    /// Says how many are in that state.
    pub fn set(&mut self, state: State, n: u64) {
        self.0[state as usize] = n;
    }
}

/// Why the queue did not do what it was asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum QueueError {
    /// As many jobs as may wait do so already.
    Full {
        /// Jobs that have not ended.
        live: u64,
        /// How many there may be.
        max: u64,
    },
    /// There is no such job.
    Missing(JobId),
    /// The job is not in a state in which this can be done.
    State {
        /// Which job.
        id: JobId,
        /// The state it is in.
        state: State,
        /// What was asked for.
        asked: &'static str,
    },
    /// The queue was closed.
    Closed,
    /// What it is stored in.
    Store(StoreError),
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { live, max } => write!(f, "the queue is full: {live} jobs have not ended, {max} may wait"),
            Self::Missing(id) => write!(f, "there is no job {id}"),
            Self::State { id, state: State::Uncertain, asked } => write!(
                f,
                "job {id} is uncertain: it may have been executed, so it cannot be {asked}; look whether it was, then \
                 resolve it"
            ),
            Self::State { id, state, asked } => write!(f, "job {id} is {state} and cannot be {asked}"),
            Self::Closed => f.write_str("the queue is closed"),
            Self::Store(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for QueueError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl From<StoreError> for QueueError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Keeps jobs.
pub trait DeferralQueue: Send + fmt::Debug {
    /// What and where it is, for logs and reports.
    fn describe(&self) -> String;

    /// Makes changes in their order, stored together: on disk when this returns, or none of them. A change that is
    /// refused leaves nothing behind and does not concern the others.
    ///
    /// # Errors
    ///
    /// The outer one, if nothing could be stored.
    fn apply<'a>(
        &'a mut self,
        changes: &'a [Change],
    ) -> BoxFuture<'a, Result<Vec<Result<Answer, QueueError>>, StoreError>>;

    /// One job.
    fn get(&mut self, id: JobId) -> BoxFuture<'_, Result<Option<Job>, StoreError>>;

    /// The newest jobs, newest first.
    fn list<'a>(&'a mut self, filter: &'a Filter, limit: usize) -> BoxFuture<'a, Result<Vec<Job>, StoreError>>;

    /// How many are in each state.
    fn counts(&mut self) -> BoxFuture<'_, Result<Counts, StoreError>>;

    /// The earliest moment, past or future, at which leasing or recovering would find something: a wanted job is due,
    /// a lease ends, a job expires.
    fn next_due<'a>(&'a mut self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Option<Wall>, StoreError>>;
}
