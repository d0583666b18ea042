//! What was seen, as counts in time buckets.
//!
//! Evidence is addition: merging two histories, of two processes or of two machines, adds their counts. Decay is
//! applied when reading, never when writing, so that an estimate stays a pure function of evidence and time.

mod history;
mod key;
mod observe;
mod sketch;
mod vitals;

pub use history::History;
pub use key::{AGE_BINS, AttemptClass, BatchSum, Key, MAX_COUNTED_RETRY, age_bin, bin_age};
pub use sketch::Sketch;
pub use vitals::{Tried, Vitals};
