//! What is left of an hour that is older than all that is known of it.

use super::History;

/// The attempts of an hour, once everything else that was counted in it is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastHour {
    /// Hours since 1970-01-01 UTC.
    pub hour: i64,
    /// Attempts that say something about the service: outside probes, and by requests that were not at fault.
    pub attempts: u64,
    /// Those of them that failed.
    pub failures: u64,
}

/// All that a store has of one service and operation, hour by hour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hourly<'a> {
    /// Everything that was counted, in the hours of which everything is kept.
    pub(crate) history: &'a History,
    /// The hours before those, oldest first.
    pub(crate) past: &'a [PastHour],
}

impl<'a> Hourly<'a> {
    /// Hours before which nothing is known.
    pub(crate) const fn of(history: &'a History) -> Self {
        Self { history, past: &[] }
    }
}
