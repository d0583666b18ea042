//! What was seen of a service while its circuit was closed, and while it was open.
//!
//! A failure that opened the circuit belongs to the outage, as do those of attempts that were under way then. So what is
//! left says how the service fails while it is up.

use crate::evidence::{AttemptClass, Circuit, Key};
use crate::learner::guard::rounded;
use crate::learner::posterior::Posterior;
use crate::learner::{Subject, regime};
use crate::outcome::FailureKind;
use serde_json::{Value, json};
use std::collections::BTreeMap;

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
    /// Attempts while it was up and while it was down, whenever it was.
    pub(super) attempts_up: u64,
    pub(super) attempts_down: u64,
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
        for (at, key, count) in subject.history.cells() {
            match key {
                Key::Attempt(AttemptClass::Success) => hours.entry(at).or_default().succeeded += count,
                Key::Attempt(AttemptClass::Failure(kind)) => hours.entry(at).or_default().failed[kind.index()] += count,
                Key::Blamed(kind) => hours.entry(at).or_default().blamed[kind.index()] += count,
                Key::Probed(AttemptClass::Failure(kind)) => hours.entry(at).or_default().probed[kind.index()] += count,
                Key::Circuit(Circuit::Relapsed) => hours.entry(at).or_default().relapsed += count,
                _ => {}
            }
        }
        let mut seen = Self::default();
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

    /// What is believed about how likely an attempt succeeds while it is down: one in twenty does, before any was seen.
    pub(super) fn succeeds_down(&self) -> Posterior {
        Posterior::new(1.0 + self.relapsed, 19.0 + self.downs)
    }

    /// How often attempts succeed up and down, in words and as figures.
    pub(super) fn successes_in_words(&self) -> String {
        format!(
            "{:.1} % of attempts succeed while the service is down, {:.1} % while it is up",
            100.0 * self.succeeds_down().mean(),
            100.0 * self.succeeds_up(),
        )
    }

    pub(super) fn successes(&self) -> Value {
        json!({
            "succeeds_up": rounded(self.succeeds_up()),
            "succeeds_down": rounded(self.succeeds_down().mean()),
            "relapsed": rounded(self.relapsed),
            "attempts_down": self.attempts_down,
        })
    }
}
