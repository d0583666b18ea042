//! Learns `retry.base_delay` from how first retries fared by how long was waited before them.
//!
//! Full jitter is an experiment of its own: how long a first retry waits, between nothing and the base, is drawn, so
//! retries that waited long differ from those that did not in nothing else. In six bins of the wait d, and for each
//! kind of failure, the chance p(d) that the retry succeeds is a Beta posterior. A base b is worth the mean of
//! `p(d) · gain − second · d` over the waits it draws, and the best of six bases, each with the middle of a bin for its
//! mean wait, is what the value steps towards. `gain` is the value of a success less what the retries after this one
//! would still make of the call.
//!
//! * **The prior** of each bin is worth four retries that succeed as often as those of the bin before it do; that of the
//!   first, as all of that kind do. Until it is seen otherwise, how long is waited does not matter. A wait
//!   that was never drawn is taken to help as often as the longest that was: waiting longer does not harm a retry.
//! * **A wait has another use**: it keeps load off a service in trouble, which no call's own utility says. So a move must
//!   earn half a hundredth of a success for each retry. Where waiting makes no difference, a short base stays as it is
//!   and only a long one comes down.
//! * **Forgetting**: a half-life of 2,000 first retries, and [`regime`](super::regime).
//! * **The limit of it**: a service that surely fails for a second and surely succeeds after it shows no slope within 200 ms, and the
//!   base stays.

use super::Subject;
use super::draws::{DRAWS, Draws, quantile};
use super::guard::{MIN_SAMPLE, Proposal, step};
use super::regime::{self, Tally};
use crate::evidence::{History, Key, WAIT_BINS, WAITS, bin_wait};
use crate::outcome::FailureKind;
use crate::parameter::BASE_DELAY;
use serde_json::json;
use std::collections::BTreeMap;

/// Half as much is believed of a retry after this many newer ones.
const HALF_LIFE: f64 = 2_000.0;

/// How many retries of the bin before the prior of a bin is worth.
const BORROWED_TRIES: f64 = 4.0;

/// What a move must earn for each retry, as a share of the value of a success.
const PRICE_OF_A_MOVE: f64 = 0.005;

/// How sure a move must be. It is looked at after every few retries and earns little, so that 95 % would be reached by
/// chance every few days.
const CERTAINTY: f64 = 0.99;

const BINS: usize = WAIT_BINS as usize;
const KINDS: usize = FailureKind::ALL.len();

pub(crate) fn propose(subject: &Subject<'_>) -> Vec<Proposal> {
    Waits::read(subject).and_then(|waits| waits.propose(subject)).into_iter().collect()
}

/// What is known about first retries by the wait before them.
struct Waits {
    /// First retries in the present regime, and those that succeeded, by bin.
    seen: Hour,
    /// The same, faded: by kind and bin.
    tries: [[(f64, f64); BINS]; KINDS],
    /// What a success of the first retry earns, by kind.
    gains: [f64; KINDS],
    /// The price of a second, and the value of a success.
    second: f64,
    value: f64,
    /// The longest wait before any retry.
    longest: f64,
}

/// One chance of success for each kind and bin.
type Chances = [[f64; BINS]; KINDS];

impl Waits {
    fn read(subject: &Subject<'_>) -> Option<Self> {
        let mut hours: BTreeMap<i64, Hour> = BTreeMap::new();
        for (hour, key, count) in subject.history.cells() {
            let (kind, bin, tried, helped) = match key {
                Key::Waited(bin, kind) => (kind, bin, count, 0),
                Key::WaitHelped(bin, kind) => (kind, bin, 0, count),
                _ => continue,
            };
            let tries = &mut hours.entry(hour).or_default().0[kind.index()][usize::from(bin)];
            tries.0 += tried;
            tries.1 += helped;
        }
        let series: Vec<(i64, Hour)> = hours.into_iter().rev().collect();
        let present = &series[..regime::present(&series, MIN_SAMPLE)];
        let weights = regime::weights(present.iter().map(|(_, hour)| hour.size()), HALF_LIFE);
        let (mut seen, mut tries) = (Hour::default(), [[(0.0, 0.0); BINS]; KINDS]);
        for ((_, hour), weight) in present.iter().zip(weights) {
            seen.add(hour);
            for (faded, counted) in tries.iter_mut().flatten().zip(hour.0.iter().flatten()) {
                faded.0 += weight * counted.0 as f64;
                faded.1 += weight * counted.1.min(counted.0) as f64;
            }
        }
        let utility = subject.profile.utility;
        Some(Self {
            seen,
            tries,
            gains: FailureKind::ALL.map(|kind| utility.value - rest(subject, kind)),
            second: utility.second,
            value: utility.value,
            longest: subject.values.max_delay.as_secs_f64(),
        })
        .filter(|waits| waits.seen.size() > 0)
    }

    fn propose(&self, subject: &Subject<'_>) -> Option<Proposal> {
        let old = subject.before(&BASE_DELAY, None);
        let bounds = (BASE_DELAY.min, BASE_DELAY.max.min(self.longest.max(BASE_DELAY.min)));
        let means = self.means();
        let target = self.best(&means, old.clamp(bounds.0, bounds.1));
        let new = step(&BASE_DELAY, old, target, bounds);
        let price = PRICE_OF_A_MOVE * self.value;
        let earned = |chances: &Chances| self.worth(chances, new) - self.worth(chances, old);
        let mut draws = Draws::new();
        let truths: Vec<Chances> = (0..DRAWS).map(|_| self.drawn(&mut draws)).collect();
        let pays = truths.iter().filter(|chances| earned(chances) > price).count();
        let confidence = pays as f64 / DRAWS as f64;
        if confidence < CERTAINTY {
            return None;
        }
        let mut ideal: Vec<f64> = truths.iter().map(|chances| self.best(chances, old)).collect();
        let sample = self.seen.size();
        Some(Proposal {
            parameter: &BASE_DELAY,
            after: None,
            old,
            new,
            bounds,
            sample,
            fewest: MIN_SAMPLE,
            interval: (quantile(&mut ideal, 0.05), quantile(&mut ideal, 0.95)),
            confidence,
            predicted: Some(earned(&means) * retries_per_call(subject.history)),
            act: true,
            reason: self.reason(new > old, new),
            evidence: json!({
                "best": rounded(target),
                "waits": (0..BINS).map(|bin| {
                    let (tried, helped) = self.seen.of(bin);
                    json!({
                        "up_to": WAITS.get(bin),
                        "tried": tried,
                        "recovered": helped,
                    })
                }).collect::<Vec<_>>(),
            }),
        })
    }

    /// The base with the most worth; the present one where none has more.
    fn best(&self, chances: &Chances, old: f64) -> f64 {
        let bases = (0..WAIT_BINS).map(|bin| 2.0 * bin_wait(bin).as_secs_f64());
        let mut best = (self.worth(chances, old), old);
        for base in bases.filter(|base| *base <= self.longest) {
            let worth = self.worth(chances, base);
            if worth > best.0 {
                best = (worth, base);
            }
        }
        best.1
    }

    /// What a retry is worth whose wait is drawn from all waits up to `base`.
    fn worth(&self, chances: &Chances, base: f64) -> f64 {
        let base = base.min(self.longest);
        let shares = shares(base);
        let (mut worth, mut all) = (0.0, 0.0);
        for (kind, tries) in self.tries.iter().enumerate() {
            let weight: f64 = tries.iter().map(|(tried, _)| tried).sum();
            let helps: f64 = shares.iter().zip(&chances[kind]).map(|(share, chance)| share * chance).sum();
            worth += weight * helps * self.gains[kind];
            all += weight;
        }
        worth / all.max(f64::EPSILON) - self.second * base / 2.0
    }

    fn means(&self) -> Chances {
        self.chances(|good, bad| good / (good + bad))
    }

    fn drawn(&self, draws: &mut Draws) -> Chances {
        self.chances(|good, bad| draws.beta(good, bad))
    }

    fn chances(&self, mut of: impl FnMut(f64, f64) -> f64) -> Chances {
        let mut chances = [[0.0; BINS]; KINDS];
        for (tries, chances) in self.tries.iter().zip(&mut chances) {
            let (tried, helped) = tries.iter().fold((0.0, 0.0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
            let mut usual = (helped + 1.0) / (tried + 2.0);
            let mut before = None;
            for ((tried, helped), chance) in tries.iter().zip(chances) {
                if let (true, Some(before)) = (*tried < 1.0, before) {
                    *chance = before;
                    continue;
                }
                let (good, bad) = (BORROWED_TRIES * usual + helped, BORROWED_TRIES * (1.0 - usual) + tried - helped);
                usual = good / (good + bad);
                *chance = of(good, bad);
                before = Some(*chance);
            }
        }
        chances
    }

    fn reason(&self, rises: bool, new: f64) -> String {
        let show = |seconds| BASE_DELAY.unit.show(seconds);
        let seen = (0..BINS).filter_map(|bin| {
            let (tried, helped) = self.seen.of(bin);
            let waited = WAITS.get(bin).map_or_else(|| "longer".to_owned(), |end| format!("up to {}", show(*end)));
            (tried > 0).then(|| format!("{helped} of {tried} times after {waited}"))
        });
        let seen = seen.collect::<Vec<_>>().join(", ");
        let verdict = if rises { "waiting longer helps" } else { "waiting longer gains less than it costs" };
        format!("first retries succeeded {seen}; {verdict}: up to {}", show(new))
    }
}

/// How much of the waits drawn up to `base` falls into each bin.
fn shares(base: f64) -> [f64; BINS] {
    let end = |bin: usize| WAITS.get(bin).copied().unwrap_or(f64::INFINITY).min(base);
    std::array::from_fn(|bin| {
        let start = bin.checked_sub(1).map_or(0.0, end);
        (end(bin) - start) / base.max(f64::EPSILON)
    })
}

/// What the retries after the first one still make of a call whose first retry failed.
fn rest(subject: &Subject<'_>, kind: FailureKind) -> f64 {
    if subject.values.max_retries[kind.index()] < 2 {
        return 0.0;
    }
    let tried = subject.history.total(Key::Retried(2, kind)) as f64;
    let helped = subject.history.total(Key::Recovered(2, kind)) as f64;
    let utility = subject.profile.utility;
    (utility.value * (helped + 1.0) / (tried + 2.0) - utility.call).max(0.0)
}

fn retries_per_call(history: &History) -> f64 {
    let (mut first, mut all) = (0, 0);
    for (_, key, count) in history.cells() {
        if let Key::Retried(n, _) = key {
            first += if n == 1 { count } else { 0 };
            all += count;
        }
    }
    first as f64 / history.attempts().saturating_sub(all).max(1) as f64
}

/// First retries of one hour, and those that succeeded, by kind and bin.
#[derive(Clone, Copy, Debug, Default)]
struct Hour([[(u64, u64); BINS]; KINDS]);

impl Hour {
    fn of(&self, bin: usize) -> (u64, u64) {
        self.0.iter().fold((0, 0), |sum, bins| (sum.0 + bins[bin].0, sum.1 + bins[bin].1))
    }
}

impl Tally for Hour {
    fn size(&self) -> u64 {
        self.0.iter().flatten().map(|(tried, _)| tried).sum()
    }

    fn add(&mut self, other: &Self) {
        for (tries, others) in self.0.iter_mut().flatten().zip(other.0.iter().flatten()) {
            tries.0 += others.0;
            tries.1 += others.1;
        }
    }

    /// By bin, so that a base that moved, and waits that are others since, are no other service.
    fn agrees(&self, older: &Self) -> bool {
        (0..BINS).all(|bin| {
            let ((tried, helped), (tried_before, helped_before)) = (self.of(bin), older.of(bin));
            regime::may_be_one_rate((helped, tried), (helped_before, tried_before))
        })
    }
}

fn rounded(x: f64) -> f64 {
    (x * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::wait_bin;
    use crate::learner::tests::World;
    use crate::outcome::{Attempt, Class, Ending};
    use crate::parameter::Values;
    use std::time::Duration;

    fn retry(class: Class, waited: Option<f64>) -> Attempt {
        Attempt {
            ordinal: 2,
            after: Some(FailureKind::Transient),
            waited: waited.map(|wait| wait_bin(Duration::from_secs_f64(wait))),
            ..Attempt::first(class, Duration::from_millis(50))
        }
    }

    /// First retries at the base in force, each succeeding with the chance of the wait it drew.
    fn retries(world: &mut World, n: usize, chance: impl Fn(f64) -> f64) {
        for _ in 0..n {
            let wait = world.random() * world.values.base_delay.as_secs_f64();
            let class = if world.random() < chance(wait) { Class::Success } else { Class::Transient };
            let first = Attempt { ordinal: 1, class: Class::Transient, after: None, ..retry(class, None) };
            world.record(Some(first), None);
            world.record(Some(retry(class, Some(wait))), None);
        }
    }

    /// Lives through hours of retries, learning after each; only the base is let move.
    fn live(world: &mut World, hours: usize, chance: impl Fn(f64) -> f64 + Copy) {
        world.pins = vec!["retry.max_retries", "timeout.attempt"];
        for _ in 0..hours {
            world.hour += 1;
            retries(world, 100, chance);
            world.update();
        }
    }

    fn base(world: &World) -> f64 {
        world.values.base_delay.as_secs_f64()
    }

    #[test]
    fn a_service_that_needs_a_second_gets_about_a_second() {
        let mut world = World::about("retry.base_delay");
        live(&mut world, 40, |wait| 1.0 - (-wait / 0.8).exp());
        assert!((1.0..=10.0).contains(&base(&world)), "{}", base(&world));
    }

    #[test]
    fn failures_that_are_over_at_once_leave_the_base_as_it_was() {
        let mut moved = 0;
        for seed in 1..=20 {
            let mut world = World::about("retry.base_delay");
            (0..seed).for_each(|_| _ = world.random());
            live(&mut world, 20, |_| 0.87);
            moved += u32::from(base(&world) != 0.2);
        }
        assert!(moved <= 1, "{moved} of 20 moved");
    }

    #[test]
    fn a_long_base_that_gains_nothing_comes_down() {
        let mut world = World::about("retry.base_delay");
        world.values.base_delay = Duration::from_secs(8);
        live(&mut world, 20, |_| 0.87);
        assert!(base(&world) <= 1.1, "{}", base(&world));
    }

    #[test]
    fn the_base_follows_a_service_that_recovers_sooner_than_it_did() {
        let mut world = World::about("retry.base_delay");
        live(&mut world, 40, |wait| 1.0 - (-wait / 0.8).exp());
        let before = base(&world);
        live(&mut world, 40, |_| 0.95);
        assert!(base(&world) < before / 2.0, "{before} {}", base(&world));
    }

    #[test]
    fn a_move_says_what_it_was_made_of() {
        let mut world = World::about("retry.base_delay");
        for (wait, helped) in [(0.02, 5), (0.05, 10), (0.2, 45)] {
            let bin = wait_bin(Duration::from_secs_f64(wait));
            world.history.add(world.hour, Key::Waited(bin, FailureKind::Transient), 50);
            world.history.add(world.hour, Key::WaitHelped(bin, FailureKind::Transient), helped);
        }
        let change = &world.learn()[0].new;
        assert_eq!((change.value, change.sample), (0.4, 150));
        assert_eq!(
            change.reason,
            "first retries succeeded 5 of 50 times after up to 30 ms, 10 of 50 times after up to 100 ms, 45 of 50 times \
             after up to 300 ms; waiting longer helps: up to 400 ms"
        );
        assert!(change.interval.0 >= 0.2 && change.interval.1 <= 10.0, "{:?}", change.interval);
    }

    #[test]
    fn what_is_no_retry_of_its_own_accord_moves_nothing() {
        let mut world = World::about("retry.base_delay");
        retries(&mut world, 200, |_| 0.87);
        world.settle();
        let before = world.values.clone();
        for wait in [0.01, 0.05, 0.2] {
            for _ in 0..500 {
                let helped = if wait > 0.1 { Class::Success } else { Class::Transient };
                for attempt in [
                    // A caller's mistake, a call that was dropped, a probe, a wait that was asked for, a later retry.
                    Attempt { class: Class::Permanent, ..retry(helped, Some(wait)) },
                    Attempt { class: Class::Cancelled, ..retry(helped, Some(wait)) },
                    Attempt { probe: true, ..retry(helped, Some(wait)) },
                    Attempt { ordinal: 3, ..retry(helped, Some(wait)) },
                ] {
                    world.record(Some(attempt), None);
                }
                for ending in [Ending::Cached, Ending::CircuitOpen, Ending::Cancelled, Ending::Coalesced] {
                    world.record(None, Some(ending));
                }
            }
        }
        let base = Values { max_retries: world.values.max_retries, ..before };
        world.pins = vec!["retry.max_retries", "timeout.attempt"];
        assert_eq!(world.settle(), []);
        assert_eq!(world.values, base);
    }

    #[test]
    fn a_base_is_never_longer_than_the_longest_wait() {
        let mut world = World::about("retry.base_delay");
        world.values.max_delay = Duration::from_secs(1);
        live(&mut world, 40, |wait| (wait / 4.0).min(1.0));
        assert!(base(&world) <= 1.0, "{}", base(&world));
    }

    #[test]
    fn the_waits_drawn_fall_into_bins_that_make_up_all_of_them() {
        for base in [0.01, 0.2, 1.0, 30.0] {
            assert!((shares(base).iter().sum::<f64>() - 1.0).abs() < 1e-12, "{base}");
        }
        assert_eq!(shares(0.2)[2..], [0.5, 0.0, 0.0, 0.0]);
    }
}
