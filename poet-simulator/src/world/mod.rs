//! Worlds: services that live in virtual time, the work that is asked of them, and what came of it.
//!
//! A world is a file. It is called through the runtime that users call, with its pipeline, recorder and learner; there
//! is no second implementation of any decision. Every chance is drawn from the seed and the number of what it is drawn
//! for, so that two policies meet the same outages and customers.

mod file;
mod fleet;
mod load;
mod log;
mod moves;
mod service;
mod spec;
mod tally;
mod work;

pub use file::{EMBEDDED, WorldError};
pub(crate) use fleet::seconds;
pub use fleet::{Ask, Fleet};
pub use load::Capacity;
pub use log::Log;
pub use moves::Move;
pub use service::{Down, Failures, Lengths, Model, Outages, Validity, Way};
pub use spec::{Arrivals, Change, Client, Goal, Static, Step, World, Worth};
pub use tally::{COLUMNS, Column, Summary, Tally};
pub use work::{Lived, Run, run};
