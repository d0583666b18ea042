//! Calls that were put off: durable jobs, who runs them, and the tickets of those who wait for them.

pub mod conformance;
mod desk;
mod form;
mod handle;
mod job;
mod keeper;
mod memory;
mod pace;
mod queue;
mod shift;
#[cfg(feature = "sqlite")]
mod sqlite;
mod ticket;
mod transition;
mod verdict;
mod worker;

pub use handle::Queue;
pub use job::{InvalidJobId, Job, JobId, NewJob, Reason, Resolution, State, Token, Verdict};
pub use keeper::Keeper;
pub use memory::MemoryQueue;
pub use queue::{
    Answer, Change, Counts, DeferralQueue, Filter, MAX_ENDED, Note, QueueError, Recovered, Reported, Wanted,
};
pub use shift::Worked;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteQueue;
pub use ticket::Ticket;

pub(crate) use desk::{Desk, Place};
pub(crate) use form::{Occasion, job};
pub(crate) use verdict::may_be_made_again;
pub(crate) use worker::{Deferral, ensure};
