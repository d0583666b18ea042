//! What was seen, as counts in time buckets.
//!
//! Evidence is addition: merging two histories, of two processes or of two machines, adds their counts. Decay is
//! applied when reading, never when writing, so that an estimate stays a pure function of evidence and time.

mod blocks;
mod felt;
mod history;
mod key;
mod observe;
mod outage;
mod packed;
mod past;
mod situation;
mod sketch;
mod vitals;

pub use blocks::block_of;
pub use felt::Felt;
pub use history::History;
pub(crate) use key::WAITS;
pub use key::{
    AGE_BINS, AttemptClass, BatchSum, Circuit, Effect, EffectSum, Key, LOAD_BINS, LoadSum, MAX_COUNTED_RETRY,
    OUTAGE_BINS, WAIT_BINS, age_bin, bin_age, bin_outage, bin_wait, load_bin, outage_bin, wait_bin,
};
pub(crate) use outage::{likely_length, outlasting};
pub(crate) use past::Hourly;
pub use past::PastHour;
pub(crate) use situation::spread_of_days;
pub use situation::{Situation, Situations, Watch};
pub use sketch::Sketch;
pub use vitals::{Lately, Tried, Vitals};
