//! What was seen of a service while it was down: how often, for how long, and whether load had a part in it.

use crate::clock::Wall;
use crate::evidence::{AttemptClass, History, Key, bin_outage};
use crate::outcome::FailureKind;
use std::time::Duration;

pub use crate::learner::circuit::{Cascade, CascadeRisk};

/// The outages of one service and operation that its circuit met.
#[derive(Clone, Debug, PartialEq)]
pub struct Outages {
    /// Those that began and ended.
    pub count: u64,
    /// After how long half of them were over, to a fifth.
    pub recovery_p50: Option<Duration>,
    /// After how long nine in ten were.
    pub recovery_p90: Option<Duration>,
    /// The share of failed attempts that belong to no outage: the service failed for a moment only. `None` where none
    /// failed.
    pub transient_share: Option<f64>,
    /// Whether it goes down when more is asked of it.
    pub cascade: Cascade,
}

impl Outages {
    /// Reads them from evidence; `None` where none was seen.
    pub(super) fn of(history: &History, now: Wall) -> Option<Self> {
        let mut lengths: Vec<(u8, u64)> = Vec::new();
        let (mut failed, mut blamed, mut probed) = (0, 0, 0);
        for (_, key, count) in history.cells() {
            match key {
                Key::Outage(bin) => lengths.push((bin, count)),
                Key::Attempt(AttemptClass::Failure(FailureKind::Throttled | FailureKind::Invalid)) => {}
                Key::Attempt(AttemptClass::Failure(_)) => failed += count,
                Key::Blamed(_) => blamed += count,
                Key::Probed(AttemptClass::Failure(_)) => probed += count,
                _ => {}
            }
        }
        lengths.sort_unstable();
        let count: u64 = lengths.iter().map(|(_, count)| count).sum();
        let over_after = |share: f64| {
            let wanted = share * count as f64;
            let so_far = lengths.iter().scan(0, |sum, (bin, count)| {
                *sum += count;
                Some((*sum as f64, *bin))
            });
            so_far.skip_while(|(sum, _)| *sum < wanted).map(|(_, bin)| bin_outage(bin)).next()
        };
        let (transient, all) = (u64::saturating_sub(failed, blamed), u64::max(failed, blamed) + probed);
        (count > 0).then(|| Self {
            count,
            recovery_p50: over_after(0.5),
            recovery_p90: over_after(0.9),
            transient_share: super::share(transient, all),
            cascade: Cascade::read(history, now),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::outage_bin;

    const NOW: Wall = Wall::from_millis(480_100 * 3_600_000);

    #[test]
    fn a_service_that_was_never_down_has_no_outages_to_report() {
        let mut history = History::default();
        history.add(480_000, Key::Attempt(AttemptClass::Failure(FailureKind::Transient)), 5);
        assert_eq!(Outages::of(&history, NOW), None);
    }

    #[test]
    fn how_long_outages_took_and_what_failed_outside_of_them_is_told() {
        let mut history = History::default();
        for (seconds, count) in [(30, 5), (300, 4), (3_600, 1)] {
            history.add(480_000, Key::Outage(outage_bin(Duration::from_secs(seconds))), count);
        }
        history.add(480_000, Key::Attempt(AttemptClass::Failure(FailureKind::Transient)), 80);
        history.add(480_000, Key::Blamed(FailureKind::Transient), 20);
        history.add(480_000, Key::Probed(AttemptClass::Failure(FailureKind::Timeout)), 20);
        let outages = Outages::of(&history, NOW).unwrap();
        let seconds = |length: Option<Duration>| length.unwrap().as_secs();
        assert_eq!((outages.count, seconds(outages.recovery_p50), seconds(outages.recovery_p90)), (10, 26, 256));
        assert_eq!(outages.transient_share, Some(0.6));
        assert_eq!(outages.cascade.risk, CascadeRisk::Unknown);
    }
}
