//! What calls were worth under one revision and one arm, and how sure one may be of a difference.
//!
//! Sums are kept of a worth between 0 and 1, so that means can be compared with bounds that hold for any distribution
//! in that range, at every moment at once, and so may be looked at after every call. Such a bound is a game: whoever
//! bets a fixed share of a purse that calls are worth more than m cannot grow it twentyfold with a probability of more
//! than one in twenty if they are not (Ville; Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
//! betting", 2024). A purse after n calls needs every one of them in order, but Fan's inequality,
//! `ln(1 + b y) >= b y + (ln(1 - b) + b) y^2` for `y >= -1`, bounds it from below by sums that can be merged. A
//! difference of a tenth takes about 80 calls that are much alike, where the stitched empirical Bernstein bound takes 140.

use crate::evidence::{Effect, EffectSum, History, Key, bin_outage};
use crate::outcome::{Arm, Ending};
use crate::profile::Utility;
use crate::store::Realised;
use statrs::function::erf::erf;
use std::collections::BTreeMap;

/// The chance, at most, that a confidence sequence is ever wrong.
pub(crate) const ALPHA: f64 = 0.05;

/// Shares of a purse, and the share of each that is bet on every call: large ones find out large differences soon, small
/// ones small differences at all.
fn bets() -> impl Iterator<Item = (f64, f64)> {
    (0..16).map(|k| {
        let k = f64::from(k);
        (1.0 / ((k + 1.0) * (k + 2.0)), 0.9 * (-0.5 * k).exp2())
    })
}

/// The calls of one arm: how many, and what they were worth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Worth {
    pub(crate) calls: f64,
    sum: f64,
    squares: f64,
    /// Those besides that were kept from the service.
    refused: f64,
}

impl Worth {
    fn add(&mut self, sum: EffectSum, count: u64) {
        let count = count as f64;
        match sum {
            EffectSum::Calls => self.calls += count,
            EffectSum::Worth => self.sum += count / 1e6,
            EffectSum::WorthSquared => self.squares += count / 1e6,
            EffectSum::Refused => self.refused += count,
        }
    }

    fn merge(&mut self, other: Self) {
        self.calls += other.calls;
        self.sum += other.sum;
        self.squares += other.squares;
        self.refused += other.refused;
    }

    pub(crate) fn mean(self) -> f64 {
        if self.calls > 0.0 { (self.sum / self.calls).clamp(0.0, 1.0) } else { 0.5 }
    }

    /// Calls besides that were kept from the service.
    pub(crate) fn refused(self) -> f64 {
        self.refused
    }

    /// The calls that were kept from the service counted in, as calls by which nothing was gained or lost.
    pub(crate) fn with_refused(self) -> Self {
        const NOTHING: f64 = 0.5;
        Self {
            calls: self.calls + self.refused,
            sum: self.sum + NOTHING * self.refused,
            squares: self.squares + NOTHING * NOTHING * self.refused,
            refused: 0.0,
        }
    }

    /// As many calls as tell as much where they come in clusters of this size, all of which go the same way.
    pub(crate) fn in_clusters_of(self, size: f64) -> Self {
        Self {
            calls: self.calls / size,
            sum: self.sum / size,
            squares: self.squares / size,
            refused: self.refused / size,
        }
    }

    /// Below (`-1.0`) or above (`1.0`) which value the mean is at no time, but with a probability of `alpha`.
    fn limit(self, side: f64, alpha: f64) -> f64 {
        let wins = |mean: f64| {
            let off = side * (self.calls * mean - self.sum);
            let squares = (self.squares - 2.0 * mean * self.sum + self.calls * mean * mean).max(0.0);
            let purse: f64 =
                bets().map(|(share, bet)| share * (bet * off + ((-bet).ln_1p() + bet) * squares).exp()).sum();
            purse >= 1.0 / alpha
        };
        let (mut inside, mut outside) = (self.mean(), if side > 0.0 { 1.0 } else { 0.0 });
        if !wins(outside) {
            return outside;
        }
        for _ in 0..30 {
            let between = f64::midpoint(inside, outside);
            if wins(between) { outside = between } else { inside = between }
        }
        outside
    }

    /// What its calls are worth more than those of `other`, with what the difference may be at any time.
    pub(crate) fn less(self, other: Self) -> Difference {
        let (own, others) = (|side| self.limit(side, ALPHA / 4.0), |side| other.limit(side, ALPHA / 4.0));
        Difference { gain: self.mean() - other.mean(), low: own(-1.0) - others(1.0), high: own(1.0) - others(-1.0) }
    }

    /// P(a call of `self` is worth less than one of `other`), as far as so few calls can say by now: a test of two means
    /// whose spread is that of both together, and of one call more that could have been anything.
    pub(crate) fn is_worse_than(self, other: Self) -> f64 {
        if self.calls < 1.0 || other.calls < 1.0 {
            return 0.5;
        }
        let mut both = self;
        both.merge(other);
        let spread = (both.squares - both.calls * both.mean().powi(2)).max(0.0) + 0.25;
        let variance = spread / (both.calls + 1.0) * (1.0 / self.calls + 1.0 / other.calls);
        let off = (other.mean() - self.mean()) / variance.sqrt();
        0.5 * (1.0 + erf(off / std::f64::consts::SQRT_2))
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
pub(crate) struct Effects {
    of_revisions: Vec<(Effect, u64)>,
    troubles: BTreeMap<i64, Troubles>,
}

/// What one hour saw of outages, and the calls it is compared by.
#[derive(Clone, Copy, Debug, Default)]
struct Troubles {
    calls: u64,
    outages: u64,
    /// How long they took together.
    seconds: f64,
}

impl Effects {
    pub(crate) fn read(history: &History) -> Self {
        let mut effects = Self::default();
        for (hour, key, count) in history.cells() {
            match key {
                Key::Effect(effect) => effects.of_revisions.push((effect, count)),
                // Those that were answered from memory or joined others met no outage.
                Key::Call(Ending::Done | Ending::Failed | Ending::OutcomeUnknown | Ending::CircuitOpen) => {
                    effects.troubles.entry(hour).or_default().calls += count;
                }
                Key::Outage(bin) => {
                    let troubles = effects.troubles.entry(hour).or_default();
                    troubles.outages += count;
                    troubles.seconds += count as f64 * bin_outage(bin).as_secs_f64();
                }
                _ => {}
            }
        }
        effects
    }

    /// How many calls an outage meets, of those seen before an hour; 1 where none was.
    ///
    /// Calls that meet the same outage fail together, so that they say no more than one of them does about what made the
    /// difference: whether it came after a value had moved is chance. (The design effect of samples in clusters; Kish
    /// 1965.)
    pub(crate) fn calls_of_an_outage(&self, before: i64) -> f64 {
        let mut sum = Troubles::default();
        for troubles in self.troubles.range(..before).map(|(_, troubles)| troubles) {
            sum.calls += troubles.calls;
            sum.outages += troubles.outages;
            sum.seconds += troubles.seconds;
        }
        let hours = self.troubles.keys().next().map_or(0, |first| before - first);
        if sum.outages == 0 || hours <= 0 {
            return 1.0;
        }
        let per_second = sum.calls as f64 / (hours as f64 * 3_600.0);
        (per_second * sum.seconds / sum.outages as f64).max(1.0)
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

    /// Of the calls of one arm under the newest of the revisions after `after`, up to `until`, under the newest two, and
    /// so on, the newest first.
    pub(crate) fn latest(&self, after: u64, until: u64, arm: Arm) -> Vec<Worth> {
        let span = until.saturating_sub(after);
        let newest = u64::from(Effect::slot(until));
        let mut by_age: BTreeMap<u64, Worth> = BTreeMap::new();
        for (effect, count) in self.of_revisions.iter().filter(|(effect, _)| effect.arm == arm) {
            let age = (newest + Effect::SLOTS - u64::from(effect.slot)) % Effect::SLOTS;
            if age < span {
                by_age.entry(age).or_default().add(effect.sum, *count);
            }
        }
        let so_far = |sum: &mut Worth, worth: &Worth| {
            sum.merge(*worth);
            Some(*sum)
        };
        by_age.values().scan(Worth::default(), so_far).collect()
    }

    /// Of the calls of one arm under one revision.
    pub(crate) fn under(&self, revision: u64, arm: Arm) -> Worth {
        self.sum(|effect| effect.arm == arm && effect.slot == Effect::slot(revision))
    }

    /// Of the calls that were held out while nothing was on trial, and of those beside them.
    pub(crate) fn of_learning(&self) -> (Worth, Worth) {
        let (mut learned, mut unlearned) = (Worth::default(), Worth::default());
        let of_unlearned = self.of_revisions.iter().filter(|(effect, _)| effect.arm == Arm::Unlearned);
        let mut slots: Vec<u16> = of_unlearned.map(|(effect, _)| effect.slot).collect();
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
        for (effect, count) in self.of_revisions.iter().filter(|(effect, _)| of(effect)) {
            worth.add(effect.sum, *count);
        }
        worth
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn worth(calls: u32, mean: f64) -> Worth {
        // Half of the calls 0.1 above the mean, half below.
        let calls = f64::from(calls);
        Worth { calls, sum: calls * mean, squares: calls * (mean * mean + 0.01), refused: 0.0 }
    }

    #[test]
    fn a_difference_is_sure_only_after_enough_calls() {
        let harm = |calls| worth(calls, 0.45).less(worth(10_000, 0.95)).high;
        assert!(harm(10) > 0.0);
        assert!(harm(30) < 0.0);
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
                (0..1_000).any(|call| {
                    for worth in [&mut a, &mut b] {
                        let value = if random() < 0.9 { 0.96 } else { 0.45 };
                        *worth = Worth {
                            calls: worth.calls + 1.0,
                            sum: worth.sum + value,
                            squares: worth.squares + value * value,
                            refused: 0.0,
                        };
                    }
                    // Each is a look at all calls before it; all of them would take a minute.
                    if call % 25 > 0 {
                        return false;
                    }
                    let difference = a.less(b);
                    difference.low > 0.0 || difference.high < 0.0
                })
            })
            .count();
        assert!(wrong <= runs / 20, "{wrong} of {runs}");
    }

    #[test]
    fn a_difference_is_telling_after_a_few_calls_where_it_is_large_and_after_many_where_it_is_small() {
        assert!(worth(10, 0.45).is_worse_than(worth(6, 0.96)) > 0.99);
        assert!(worth(10, 0.90).is_worse_than(worth(6, 0.96)) < 0.9);
        assert!(worth(400, 0.90).is_worse_than(worth(200, 0.96)) > 0.99);
        assert!((worth(60, 0.9).is_worse_than(worth(60, 0.9)) - 0.5).abs() < 0.01);
        assert_eq!(worth(60, 0.1).is_worse_than(Worth::default()), 0.5);
    }

    #[test]
    fn a_call_that_was_kept_from_the_service_gained_and_lost_nothing() {
        let worth = Worth { refused: 10.0, ..worth(10, 0.9) };
        assert_eq!(worth.with_refused().calls, 20.0);
        assert!((worth.with_refused().mean() - 0.7).abs() < 1e-9);
        assert!((worth.mean() - 0.9).abs() < 1e-9);
    }

    #[test]
    fn calls_that_meet_one_outage_tell_as_much_as_one_call_does() {
        let mut history = History::default();
        for hour in 10..20 {
            history.add(hour, Key::Call(Ending::Done), 1_700);
            history.add(hour, Key::Call(Ending::CircuitOpen), 100);
            history.add(hour, Key::Call(Ending::Cached), 9_000);
            history.add(hour, Key::Outage(crate::evidence::outage_bin(Duration::from_secs(64))), 2);
        }
        let effects = Effects::read(&history);
        let size = effects.calls_of_an_outage(20);
        assert!((size - 32.0).abs() < 1e-9, "half a call a second for 64 s: {size}");
        assert_eq!(effects.calls_of_an_outage(10), 1.0, "none came before");
        let (with, before) = (worth(60, 0.84), worth(10_000, 0.9));
        assert!(with.is_worse_than(before) > 0.999);
        assert!(with.in_clusters_of(size).is_worse_than(before.in_clusters_of(size)) < 0.9);
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
