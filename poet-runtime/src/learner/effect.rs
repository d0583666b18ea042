//! What calls were worth under one revision and one arm, and how sure one may be of a difference.
//!
//! Sums are kept of a worth between 0 and 1, so that means can be compared with bounds that hold for any distribution
//! in that range: the empirical Bernstein confidence sequence of Howard, Ramdas, McAuliffe and Sekhon ("Time-uniform,
//! nonparametric, nonasymptotic confidence sequences", 2021, polynomial stitching with eta = 2, s = 1.4). It holds at
//! every moment at once, so it may be looked at after every call.

use super::posterior::Posterior;
use crate::evidence::{Effect, EffectSum, History, Key};
use crate::outcome::Arm;
use crate::profile::Utility;
use crate::store::Realised;

/// The chance, at most, that a confidence sequence is ever wrong.
pub(crate) const ALPHA: f64 = 0.05;

/// The calls of one arm: how many, and what they were worth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Worth {
    pub(crate) calls: f64,
    sum: f64,
    squares: f64,
}

impl Worth {
    fn add(&mut self, sum: EffectSum, count: u64) {
        let count = count as f64;
        match sum {
            EffectSum::Calls => self.calls += count,
            EffectSum::Worth => self.sum += count / 1e6,
            EffectSum::WorthSquared => self.squares += count / 1e6,
        }
    }

    fn merge(&mut self, other: Self) {
        self.calls += other.calls;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    pub(crate) fn mean(self) -> f64 {
        if self.calls > 0.0 { (self.sum / self.calls).clamp(0.0, 1.0) } else { 0.5 }
    }

    /// How far the mean may be from the truth on one side, at any time, but with a probability of `alpha`.
    fn radius(self, alpha: f64) -> f64 {
        if self.calls < 1.0 {
            return 1.0;
        }
        // zeta(1.4), and (2^(1/4) + 2^(-1/4)) / sqrt 2, and (sqrt 2 + 1) / 2.
        const ZETA: f64 = 3.105_5;
        const K1: f64 = 1.435_5;
        const K2: f64 = 1.207_1;
        const S: f64 = 1.4;
        let spread = (self.squares - self.calls * self.mean().powi(2)).max(1.0);
        let log = S * (2.0 * spread).ln().ln() + (ZETA / (alpha * 2_f64.ln().powf(S))).ln();
        let boundary = (K1 * K1 * spread * log + K2 * K2 * log * log).sqrt() + K2 * log;
        (boundary / self.calls).min(1.0)
    }

    /// What its calls are worth more than those of `other`, with what the difference may be at any time.
    pub(crate) fn less(self, other: Self) -> Difference {
        let gain = self.mean() - other.mean();
        let radius = self.radius(ALPHA / 4.0) + other.radius(ALPHA / 4.0);
        Difference { gain, low: gain - radius, high: gain + radius }
    }

    /// P(a call of `self` is worth less than one of `other`), as far as so few calls can say: each is counted as a
    /// success for the share that it is worth, after none or one of each kind.
    pub(crate) fn is_worse_than(self, other: Self) -> f64 {
        let of = |worth: Self| Posterior::new(1.0 + worth.sum, 1.0 + (worth.calls - worth.sum).max(0.0));
        let (own, others) = (of(self), of(other));
        let cells = 200;
        let edge = |i: i32| f64::from(i) / f64::from(cells);
        (0..cells)
            .map(|i| (own.below(edge(i + 1)) - own.below(edge(i))) * others.above(f64::midpoint(edge(i), edge(i + 1))))
            .sum::<f64>()
            .clamp(0.0, 1.0)
    }
}

/// The difference between two arms, in worth, with a confidence sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Difference {
    pub(crate) gain: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Difference {
    /// In the unit of the utility.
    pub(crate) fn realised(self, utility: &Utility, calls: f64, compared: f64) -> Realised {
        // Worth is half of it, on the scale of what a success is worth.
        let scale = 2.0 * if utility.value > 0.0 { utility.value } else { 1.0 };
        Realised {
            gain: scale * self.gain,
            interval: (scale * self.low, scale * self.high),
            calls: calls as u64,
            compared: compared as u64,
        }
    }
}

/// What was counted about every revision of a target.
#[derive(Debug, Default)]
pub(crate) struct Effects(Vec<(Effect, u64)>);

impl Effects {
    pub(crate) fn read(history: &History) -> Self {
        let effects = history.cells().filter_map(|(_, key, count)| match key {
            Key::Effect(effect) => Some((effect, count)),
            _ => None,
        });
        Self(effects.collect())
    }

    /// Of the calls of one arm under the revisions after `after`, up to `until`.
    pub(crate) fn between(&self, after: u64, until: u64, arm: Arm) -> Worth {
        let span = until.saturating_sub(after);
        let from = u64::from(Effect::slot(after));
        self.sum(|effect| {
            let distance = (u64::from(effect.slot) + Effect::SLOTS - from) % Effect::SLOTS;
            effect.arm == arm && (1..=span).contains(&distance)
        })
    }

    /// Of the calls of one arm under one revision.
    pub(crate) fn under(&self, revision: u64, arm: Arm) -> Worth {
        self.sum(|effect| effect.arm == arm && effect.slot == Effect::slot(revision))
    }

    /// Of the calls that were held out while nothing was on trial, and of those beside them.
    pub(crate) fn of_learning(&self) -> (Worth, Worth) {
        let (mut learned, mut unlearned) = (Worth::default(), Worth::default());
        let mut slots: Vec<u16> =
            self.0.iter().filter(|(effect, _)| effect.arm == Arm::Unlearned).map(|(effect, _)| effect.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        for slot in slots {
            unlearned.merge(self.sum(|effect| effect.slot == slot && effect.arm == Arm::Unlearned));
            learned.merge(self.sum(|effect| effect.slot == slot && effect.arm == Arm::InForce));
        }
        (learned, unlearned)
    }

    fn sum(&self, of: impl Fn(&Effect) -> bool) -> Worth {
        let mut worth = Worth::default();
        for (effect, count) in self.0.iter().filter(|(effect, _)| of(effect)) {
            worth.add(effect.sum, *count);
        }
        worth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(calls: u32, mean: f64) -> Worth {
        // Half of the calls 0.1 above the mean, half below.
        let calls = f64::from(calls);
        Worth { calls, sum: calls * mean, squares: calls * (mean * mean + 0.01) }
    }

    #[test]
    fn a_difference_is_sure_only_after_enough_calls() {
        let harm = |calls| worth(calls, 0.45).less(worth(10_000, 0.95)).high;
        assert!(harm(10) > 0.0);
        assert!(harm(40) < 0.0);
    }

    #[test]
    fn a_confidence_sequence_is_hardly_ever_wrong_however_often_it_is_looked_at() {
        let mut seed = 1_u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 11) as f64 / (1_u64 << 53) as f64
        };
        let runs = 200;
        let wrong = (0..runs)
            .filter(|_| {
                let (mut a, mut b) = (Worth::default(), Worth::default());
                (0..1_000).any(|_| {
                    for worth in [&mut a, &mut b] {
                        let value = if random() < 0.9 { 0.96 } else { 0.45 };
                        *worth = Worth {
                            calls: worth.calls + 1.0,
                            sum: worth.sum + value,
                            squares: worth.squares + value * value,
                        };
                    }
                    let difference = a.less(b);
                    difference.low > 0.0 || difference.high < 0.0
                })
            })
            .count();
        assert!(wrong <= runs / 20, "{wrong} of {runs}");
    }

    #[test]
    fn five_good_calls_beside_many_bad_ones_are_telling_and_two_are_not() {
        assert!(worth(60, 0.45).is_worse_than(worth(6, 0.96)) > 0.97);
        assert!(worth(60, 0.45).is_worse_than(worth(2, 0.96)) < 0.97);
        assert!((worth(60, 0.9).is_worse_than(worth(60, 0.9)) - 0.5).abs() < 0.01);
    }

    #[test]
    fn revisions_are_found_where_their_slots_begin_again() {
        let mut history = History::default();
        for revision in [4_094, 4_096, 4_098] {
            let effect = Effect { slot: Effect::slot(revision), arm: Arm::InForce, sum: EffectSum::Calls };
            history.add(1, Key::Effect(effect), 1);
        }
        let effects = Effects::read(&history);
        assert_eq!(effects.between(4_094, 4_098, Arm::InForce).calls, 2.0);
        assert_eq!(effects.between(4_090, 4_094, Arm::InForce).calls, 1.0);
        assert_eq!(effects.under(4_098, Arm::InForce).calls, 1.0);
        assert_eq!(effects.under(4_098, Arm::HeldOut).calls, 0.0);
    }
}
