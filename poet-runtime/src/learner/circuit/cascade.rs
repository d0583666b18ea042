//! Whether a service goes down when more is asked of it: what makes its return worth more proof.
//!
//! Each hour is ranked by how many calls a second it had while the service was up. Where outages have nothing to do with
//! our load, the time before each is like any other, and the mean rank of the hours in which outages began is one half,
//! give or take `1 / sqrt(12 n)` (the rank-sum statistic of Mann and Whitney, hours weighted by the time the service was
//! up in them). What is above a half with 95 % is a high risk, what is surely below 0.65 a low one, and less is known of
//! anything between.
//!
//! * **The unit** is the hour: of n outages in one hour, the load was measured once.
//! * **Callers who were refused** and ask again are not load of the time before: only calls that reached the service count,
//!   for each second it was up.
//! * **The limit of it**: it is a correlation. A service that is restarted at our busiest hour looks the same.

use crate::clock::Wall;
use crate::evidence::{Circuit, History, Key, bin_outage};
use crate::outcome::Ending;
use std::collections::BTreeMap;

/// The mean rank below which load is no matter.
const SLIGHT: f64 = 0.65;

/// The normal deviate on either side of which a twentieth lies.
const ONE_IN_TWENTY: f64 = 1.645;

/// The fewest hours, without an outage or with one, that can be told from each other.
const FEWEST: usize = 12;

/// The fewest hours with an outage.
const FEWEST_OUTAGES: f64 = 5.0;

/// Whether outages come with load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CascadeRisk {
    /// Outages begin no more often when more is asked.
    Low,
    /// They do.
    High,
    /// Too few were seen to say.
    Unknown,
}

impl CascadeRisk {
    /// The name used in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::High => "high",
            Self::Unknown => "unknown",
        }
    }
}

/// How the load before outages ranks among that of all hours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cascade {
    /// What that means.
    pub risk: CascadeRisk,
    /// The mean rank, from 0 (the quietest hour) to 1 (the busiest); one half says that load is no matter.
    pub rank: f64,
    /// The 90 % interval of it.
    pub interval: (f64, f64),
    /// Hours in which an outage began.
    pub hours: u64,
}

/// In seconds.
const HOUR: f64 = 3_600.0;

#[derive(Default)]
struct Hour {
    calls: u64,
    opened: u64,
    relapsed: u64,
    down: f64,
}

impl Cascade {
    /// Reads it from the evidence of one service and operation, all of it by the hour.
    pub(crate) fn read(hourly: &History, now: Wall) -> Self {
        let mut hours: BTreeMap<i64, Hour> = BTreeMap::new();
        for (hour, key, count) in hourly.cells() {
            match key {
                Key::Call(Ending::Done | Ending::Failed | Ending::OutcomeUnknown) => {
                    hours.entry(hour).or_default().calls += count;
                }
                Key::Circuit(Circuit::Opened) => hours.entry(hour).or_default().opened += count,
                Key::Circuit(Circuit::Relapsed) => hours.entry(hour).or_default().relapsed += count,
                Key::Outage(bin) => {
                    hours.entry(hour).or_default().down += count as f64 * bin_outage(bin).as_secs_f64();
                }
                _ => {}
            }
        }
        // The first hour began at some time within it, and the last one is not over.
        hours.pop_first();
        hours.retain(|hour, _| *hour < now.hour());
        Self::of(hours.values().map(|hour| {
            // An outage may have begun in an hour before.
            let up = (HOUR - hour.down).max(HOUR / 10.0);
            (hour.calls as f64 / up, up, hour.opened.saturating_sub(hour.relapsed) as f64)
        }))
    }

    /// Of hours: calls a second, seconds up, outages that began.
    fn of(hours: impl Iterator<Item = (f64, f64, f64)>) -> Self {
        let mut hours: Vec<_> = hours.collect();
        hours.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all: f64 = hours.iter().map(|(_, up, _)| up).sum();
        let (mut below, mut ranks, mut weight, mut squares) = (0.0, 0.0, 0.0, 0.0);
        for alike in hours.chunk_by(|a, b| a.0 == b.0) {
            let up: f64 = alike.iter().map(|(_, up, _)| up).sum();
            let rank = (below + up / 2.0) / all;
            for (_, _, outages) in alike {
                ranks += rank * outages;
                weight += outages;
                squares += outages * outages;
            }
            below += up;
        }
        let seen = hours.iter().filter(|(_, _, outages)| *outages > 0.0).count() as u64;
        // So many independent hours tell as much.
        let enough = if squares > 0.0 { weight * weight / squares } else { 0.0 };
        if enough < FEWEST_OUTAGES || hours.len() < FEWEST {
            return Self { risk: CascadeRisk::Unknown, rank: 0.5, interval: (0.0, 1.0), hours: seen };
        }
        let (rank, error) = (ranks / weight, (12.0 * enough).sqrt().recip());
        let interval = ((rank - ONE_IN_TWENTY * error).clamp(0.0, 1.0), (rank + ONE_IN_TWENTY * error).clamp(0.0, 1.0));
        let risk = match interval {
            (low, _) if low > 0.5 => CascadeRisk::High,
            (_, high) if high < SLIGHT => CascadeRisk::Low,
            _ => CascadeRisk::Unknown,
        };
        Self { risk, rank, interval, hours: seen }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::outage_bin;
    use crate::policy::jitter::fraction;
    use std::time::Duration;

    const FIRST: i64 = 480_000;

    /// Ten days, busy from 8 to 18, where the share of hours with an outage is given for busy and for quiet ones.
    fn ten_days(seed: u64, busy: f64, quiet: f64, asks_again: u64) -> Cascade {
        let mut history = History::default();
        for hour in 0..240 {
            let is_busy = (8..18).contains(&(hour % 24));
            let drawn = |about: u64| fraction(seed, about * 1_000 + hour as u64);
            let calls = (if is_busy { 4_000.0 } else { 400.0 } * (0.5 + drawn(0))) as u64;
            let at = FIRST + hour;
            if drawn(1) < if is_busy { busy } else { quiet } {
                history.add(at, Key::Call(Ending::Done), calls / 2);
                history.add(at, Key::Call(Ending::CircuitOpen), calls / 2 + asks_again);
                history.add(at, Key::Circuit(Circuit::Opened), 1);
                history.add(at, Key::Outage(outage_bin(Duration::from_secs(1_800))), 1);
            } else {
                history.add(at, Key::Call(Ending::Done), calls);
            }
        }
        Cascade::read(&history, Wall::from_millis((FIRST + 240) * 3_600_000))
    }

    #[test]
    fn outages_of_the_busiest_hours_are_a_high_risk_and_outages_at_any_hour_a_low_one() {
        for seed in 1..20 {
            let loaded = ten_days(seed, 0.3, 0.02, 0);
            assert_eq!(loaded.risk, CascadeRisk::High, "{loaded:?}");
            let chance = ten_days(seed, 0.2, 0.2, 0);
            assert_ne!(chance.risk, CascadeRisk::High, "{chance:?}");
        }
        assert_eq!(ten_days(1, 0.3, 0.3, 0).risk, CascadeRisk::Low);
    }

    #[test]
    fn callers_who_are_refused_and_ask_again_make_no_risk() {
        let (once, again) = (ten_days(3, 0.2, 0.2, 0), ten_days(3, 0.2, 0.2, 100_000));
        assert_eq!(once, again);
    }

    #[test]
    fn a_few_outages_say_nothing_nor_do_many_of_one_hour() {
        assert_eq!(ten_days(1, 0.0, 0.0, 0).risk, CascadeRisk::Unknown);
        let one_hour = Cascade::of((0..240).map(|n| (f64::from(n), 3_600.0, if n == 239 { 50.0 } else { 0.0 })));
        assert_eq!((one_hour.risk, one_hour.hours), (CascadeRisk::Unknown, 1));
        assert_eq!(Cascade::of(std::iter::empty()).risk, CascadeRisk::Unknown);
    }
}
