//! Pipeline, policies, learner and store of [`poet-rs`](https://docs.rs/poet-rs); users depend on that crate.
//!
//! A call passes perceive, operate, enforce and train; what happened is written down as evidence, evidence becomes
//! parameters, and the next call reads them. `ARCHITECTURE.md` in the repository is the map.

#[doc(hidden)]
pub mod __private;
mod classify;
mod clock;
mod context;
mod error;
pub mod evidence;
mod outcome;
pub mod parameter;
mod pipeline;
mod profile;
mod site;
pub mod store;

pub use classify::Classify;
pub use clock::{Anchor, Clock, Wall};
pub use context::AsPriority;
pub use error::Error;
pub use outcome::{Attempt, Class, Ending, FailureKind, Finished, Record, TargetId};
pub use profile::{Profile, Utility};
pub use site::{Declaration, Learning, Priority, Site, UnknownPriority};
