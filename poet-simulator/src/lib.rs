//! Services that fail in stated, seeded patterns, and [worlds](world) of them that are lived through in virtual time.
//!
//! A [`Pattern`] is written as a short sentence a person can read in a report, and decides every call by itself: the
//! same text gives the same faults, on any machine, in any order, also after the service was restarted. Nothing here
//! sleeps, reads a clock or keeps a connection; whoever serves the calls does what the [`Answer`] says.
//!
//! # Examples
//!
//! ```
//! use poet_simulator::{Fault, Faults, Pattern};
//! use std::time::Duration;
//!
//! let pattern: Pattern = "first attempt of each key fails; takes 20ms to 40ms".parse()?;
//! let mut faults = Faults::new(pattern);
//!
//! let first = faults.next("C-1", Duration::ZERO);
//! assert!(matches!(first.fault, Fault::Fail(_)));
//! let second = faults.next("C-1", Duration::ZERO);
//! assert_eq!(second.fault, Fault::None);
//! assert!(second.after >= Duration::from_millis(20));
//! # Ok::<(), poet_simulator::InvalidPattern>(())
//! ```

pub mod campaign;
mod grammar;
pub mod judge;
mod pattern;
pub mod peers;
pub mod policy;
mod random;
pub mod replay;
pub mod show;
mod threads;
pub mod tune;
pub mod world;

pub use grammar::InvalidPattern;
pub use pattern::{Answer, Call, Effect, Failure, Fault, Faults, Latency, Pattern, Rule, Share, Which};
pub use random::SplitMix64;
