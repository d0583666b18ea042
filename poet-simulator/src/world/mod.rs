//! Worlds: services that live in virtual time, the work that is asked of them, and what came of it.
//!
//! A world is called through the runtime that users call, with its pipeline, recorder and learner; there is no second
//! implementation of any decision. Every chance is drawn from the seed and the number of what it is drawn for, so that
//! two policies meet the same outages, customers and coin flips.

mod fleet;
mod reference;
mod service;
mod tally;
mod work;

pub use fleet::Fleet;
pub use reference::{Policy, REFERENCE};
pub use service::{Model, Outages, Validity};
pub use tally::{Summary, Tally};
pub use work::{Lived, Run, run};
