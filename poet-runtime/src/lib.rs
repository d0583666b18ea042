//! Pipeline, policies, learner and store of [`poet-rs`](https://docs.rs/poet-rs); users depend on that crate.
//!
//! A call passes perceive, operate, enforce and train; what happened is written down as evidence, evidence becomes
//! parameters, and the next call reads them. `ARCHITECTURE.md` in the repository is the map.

#[doc(hidden)]
pub mod __private;
pub mod audit;
mod cache;
pub mod calendar;
mod classify;
mod clock;
pub mod config;
mod context;
pub mod decision;
pub mod defer;
mod error;
pub mod evidence;
mod fingerprint;
mod gate;
mod health;
mod kept;
mod key;
mod learner;
mod lock;
mod outcome;
pub mod parameter;
mod pipeline;
pub mod plan;
mod policy;
mod profile;
mod published;
mod recorder;
mod registry;
mod reply;
pub mod report;
mod runtime;
mod sip;
mod site;
pub mod store;
mod target;
#[doc(hidden)]
pub mod workbench;

pub use cache::{Cache, CacheStats};
pub use classify::Classify;
pub use clock::{Anchor, Clock, UnknownMoment, Wall};
pub use context::{AsPriority, progress, warnings};
pub use error::Error;
pub use health::{Condition, Health, ServiceHealth};
pub use learner::degradation::Degradation;
#[doc(hidden)]
pub use learner::season;
pub use outcome::{Arm, Attempt, Class, Ending, FailureKind, Finished, Hedge, Record, Shown, TargetId, Turn, Withheld};
pub use pipeline::service;
pub use plan::plan;
pub use profile::{Profile, Utility};
pub use recorder::RecorderHealth;
pub use reply::{Disposition, ExecutionId, Reply, is_pending};
pub use runtime::{Builder, Runtime};
pub use site::{CacheFor, Declaration, Learning, Priority, Site, UnknownPriority};
