//! What to do about a call, decided without doing any of it.
//!
//! Every policy is arithmetic on what it is given, `now` included; [`CallPolicy`] asks them in order of precedence and
//! answers each [`Event`] with one [`Action`]. The one driver in `pipeline` acts.

pub(crate) mod batch;
pub(crate) mod breaker;
pub(crate) mod budget;
pub(crate) mod cache;
pub(crate) mod deferral;
pub(crate) mod hedge;
pub(crate) mod jitter;
pub(crate) mod limit;
pub(crate) mod retry;
mod set;
pub(crate) mod timeout;

pub(crate) use jitter::fraction;
pub(crate) use set::{Action, CallPolicy, Event, Limits, Room, Shared};
