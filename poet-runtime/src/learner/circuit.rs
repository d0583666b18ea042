//! What was seen of a service while its circuit was closed, and while it was open: what the estimators of the circuit
//! have in common.
//!
//! A failure that opened the circuit belongs to the outage, as do those of attempts that were under way then. So what is
//! left says how the service fails while it is up.

use super::{Subject, regime};
use crate::evidence::{AttemptClass, Circuit, Key};
use crate::outcome::FailureKind;
use std::collections::BTreeMap;

/// How many times as likely it must be that the service is down than that its failures are chance, as a logarithm: ten
/// million times. Of calls to a service that is well, no more than one in as many opens the circuit (Wald 1947, Lorden
/// 1971), if its rates are known; they are known roughly, and one in a million is what has to be kept.
pub(super) const EVIDENCE_TO_OPEN: f64 = 16.118_095_650_958_32;

/// Half as much is believed of an attempt while it is up after this many newer ones, and of one while it is down.
const HALF_LIFE_UP: f64 = 5_000.0;
const HALF_LIFE_DOWN: f64 = 500.0;

const KINDS: usize = FailureKind::ALL.len();

/// Attempts by what they said, with what is old believed less.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Attempts while the service was up that failed so, by [`FailureKind::index`], and all of them.
    pub(super) up: [f64; KINDS],
    pub(super) ups: f64,
    /// The same while it was down; probes that succeeded are in neither.
    pub(super) down: [f64; KINDS],
    pub(super) downs: f64,
    /// Times the circuit had closed though the service was not back.
    pub(super) relapsed: f64,
    /// Attempts while it was up and while it was down, and outages that ended, whenever it was.
    pub(super) attempts_up: u64,
    pub(super) attempts_down: u64,
    pub(super) outages: u64,
}

#[derive(Default)]
struct Hour {
    failed: [u64; KINDS],
    succeeded: u64,
    blamed: [u64; KINDS],
    probed: [u64; KINDS],
    relapsed: u64,
}

impl Hour {
    fn failures_up(&self, kind: usize) -> u64 {
        self.failed[kind].saturating_sub(self.blamed[kind])
    }

    fn up(&self) -> u64 {
        self.succeeded + (0..KINDS).map(|kind| self.failures_up(kind)).sum::<u64>()
    }

    fn down(&self) -> u64 {
        self.blamed.iter().sum::<u64>() + self.probed.iter().sum::<u64>()
    }
}

impl Seen {
    pub(super) fn read(subject: &Subject<'_>) -> Self {
        let mut hours: BTreeMap<i64, Hour> = BTreeMap::new();
        let mut seen = Self::default();
        for (at, key, count) in subject.history.cells() {
            let hour = match key {
                Key::Attempt(AttemptClass::Permanent) => continue,
                Key::Attempt(_) | Key::Blamed(_) | Key::Probed(AttemptClass::Failure(_)) => {
                    hours.entry(at).or_default()
                }
                Key::Circuit(Circuit::Relapsed) => hours.entry(at).or_default(),
                Key::Outage(_) => {
                    seen.outages += count;
                    continue;
                }
                _ => continue,
            };
            match key {
                Key::Attempt(AttemptClass::Success) => hour.succeeded += count,
                Key::Attempt(AttemptClass::Failure(kind)) => hour.failed[kind.index()] += count,
                Key::Blamed(kind) => hour.blamed[kind.index()] += count,
                Key::Probed(AttemptClass::Failure(kind)) => hour.probed[kind.index()] += count,
                Key::Circuit(_) => hour.relapsed += count,
                _ => {}
            }
        }
        let up = regime::weights(hours.values().rev().map(Hour::up), HALF_LIFE_UP);
        let down = regime::weights(hours.values().rev().map(Hour::down), HALF_LIFE_DOWN);
        for (hour, (up, down)) in hours.values().rev().zip(up.into_iter().zip(down)) {
            for kind in 0..KINDS {
                seen.up[kind] += up * hour.failures_up(kind) as f64;
                seen.down[kind] += down * (hour.blamed[kind] + hour.probed[kind]) as f64;
            }
            seen.ups += up * hour.up() as f64;
            seen.downs += down * hour.down() as f64;
            seen.relapsed += down * hour.relapsed as f64;
            seen.attempts_up += hour.up();
            seen.attempts_down += hour.down();
        }
        seen
    }

    /// How likely an attempt succeeds while the service is up.
    pub(super) fn succeeds_up(&self) -> f64 {
        let failed: f64 = self.up.iter().sum();
        (self.ups - failed + 4.0) / (self.ups + 4.0)
    }

    /// The counts of attempts that succeeded and failed while the service was down, with what is believed before any was
    /// seen: one in twenty succeeds.
    pub(super) fn succeeded_down(&self) -> (f64, f64) {
        (1.0 + self.relapsed, 19.0 + self.downs)
    }
}
