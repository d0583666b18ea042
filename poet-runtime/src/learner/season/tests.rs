//! What an estimate of hours must do on counts of services that are known, seeded.

use super::*;
use proptest::prelude::*;
use std::f64::consts::TAU;

/// A service on one day after another.
struct Service {
    seed: u64,
    base: f64,
    attempts: f64,
    /// Outages that begin in an hour, on average, and the mean share of an hour that one lasts.
    outages: (f64, f64),
    factors: [f64; 24],
}

impl Service {
    /// As the reference world's: 9 % fail, and 3 % of the time it is down for 45 s at a time.
    fn crm(seed: u64) -> Self {
        Self { seed, base: 0.09, attempts: 2_000.0, outages: (2.56, 0.0125), factors: [1.0; 24] }
    }

    fn worse(mut self, hour: usize, factor: f64) -> Self {
        self.factors[hour] = factor;
        self
    }

    fn random(&mut self) -> f64 {
        // SplitMix64.
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self) -> f64 {
        -(1.0 - self.random()).ln()
    }

    fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 30.0 {
            let normal = (-2.0 * (1.0 - self.random()).ln()).sqrt() * (TAU * self.random()).cos();
            return (mean + mean.sqrt() * normal).round().max(0.0) as u64;
        }
        let (mut n, mut passed) = (0, self.exponential());
        while passed < mean {
            n += 1;
            passed += self.exponential();
        }
        n
    }

    fn day(&mut self) -> [Tally; 24] {
        let mut down = [0.0_f64; 25];
        for hour in 0..24 {
            for _ in 0..self.poisson(self.outages.0 * self.factors[hour]) {
                let (mut left, mut at) = (self.exponential() * self.outages.1, hour);
                while left > 0.0 && at < 24 {
                    down[at] += left.min(1.0);
                    left -= 1.0;
                    at += 1;
                }
            }
        }
        std::array::from_fn(|hour| {
            let attempts = self.poisson(self.attempts).max(1);
            let down = down[hour].min(1.0);
            let p = (down + (1.0 - down) * self.base * self.factors[hour]).min(1.0);
            let failures = self.poisson(attempts as f64 * p).min(attempts);
            Tally { attempts, failures }
        })
    }

    fn days(&mut self, n: usize) -> Vec<[Tally; 24]> {
        (0..n).map(|_| self.day()).collect()
    }
}

fn blocks(days: &[[Tally; 24]]) -> Vec<Block<24>> {
    let ages = (0..days.len()).rev().map(|age| age as f64);
    days.iter().zip(ages).map(|(slots, age)| Block { age, slots: *slots }).collect()
}

fn worse_now(days: &[[Tally; 24]], before: u32) -> u32 {
    worse(&blocks(days), DAYS_HALF_LIFE, 14.0, before)
}

/// The mask after each day, each decided by what was known then.
fn lived(days: &[[Tally; 24]]) -> Vec<u32> {
    let mut mask = 0;
    (1..=days.len())
        .map(|n| {
            mask = worse_now(&days[n.saturating_sub(90)..n], mask);
            mask
        })
        .collect()
}

#[test]
fn a_lunch_hour_that_fails_forty_per_cent_more_is_found_by_day_eleven() {
    let found: Vec<_> = (1..=20)
        .map(|seed| lived(&Service::crm(seed).worse(12, 1.4).days(11)).iter().position(|mask| mask & (1 << 12) != 0))
        .collect();
    assert!(found[..5].iter().flatten().count() >= 4, "{found:?}");
    assert!(found.iter().flatten().count() >= 16, "{found:?}");
}

#[test]
fn where_every_hour_is_alike_none_is_worse_in_nineteen_runs_of_twenty() {
    const RUNS: u64 = 20;
    for (name, attempts, base, outages) in [
        ("busy", 2_000.0, 0.09, (2.56, 0.0125)),
        ("busy and never down", 2_000.0, 0.09, (0.0, 0.0)),
        ("quiet", 12.0, 0.02, (0.01, 2.0)),
        ("rare", 3.0, 0.005, (0.02, 0.5)),
        ("long outages", 200.0, 0.01, (0.02, 3.0)),
    ] {
        let (mut flagged, mut hours, mut days_seen) = (0, 0, 0);
        for seed in 0..RUNS {
            let mut service = Service { attempts, base, outages, ..Service::crm(seed * 7 + 1) };
            let masks = lived(&service.days(60));
            flagged += u32::from(masks.iter().any(|mask| *mask != 0));
            hours += masks.iter().map(|mask| mask.count_ones()).sum::<u32>();
            days_seen += masks.len();
        }
        let share = f64::from(hours) / (24 * days_seen) as f64;
        assert!(u64::from(flagged) * 20 <= RUNS, "{name}: {flagged} of {RUNS} runs");
        assert!(share <= 0.01, "{name}: {share}");
    }
}

#[test]
fn the_window_follows_when_the_truth_moves_from_noon_to_three() {
    let mut followed = 0;
    for seed in 1..=5 {
        let mut days = Service::crm(seed).worse(12, 1.4).days(30);
        days.extend(Service::crm(seed + 100).worse(15, 1.4).days(30));
        let masks = lived(&days);
        assert_eq!(masks[29] & (1 << 12 | 1 << 15), 1 << 12, "seed {seed}");
        followed += u32::from(masks[59] & (1 << 12 | 1 << 15) == 1 << 15);
    }
    assert!(followed >= 4, "{followed} of 5");
}

#[test]
fn one_long_outage_from_noon_is_no_pattern_however_much_failed_in_it() {
    for attempts in [20.0, 2_000.0] {
        for on in 0..20 {
            let quiet = Service { attempts, base: 0.01, outages: (0.0, 0.0), ..Service::crm(on) };
            let mut days = { quiet }.days(20);
            for tally in &mut days[on as usize][12..18] {
                tally.attempts *= 5;
                tally.failures = tally.attempts;
            }
            assert_eq!(lived(&days)[19], 0, "day {on}");
        }
    }
}

#[test]
fn a_flood_of_failures_on_three_days_does_not_make_a_window() {
    let mut days = Service::crm(3).days(28);
    for day in [5, 6, 20] {
        days[day][9] = Tally { attempts: 1_000_000, failures: 1_000_000 };
    }
    assert!(lived(&days).iter().all(|mask| mask & (1 << 9) == 0));
    let chances = predict(&blocks(&days), DAYS_HALF_LIFE);
    assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)));
}

#[test]
fn hours_that_do_not_credibly_differ_are_predicted_the_common_rate() {
    let alike = |seed| {
        let chances = predict(&blocks(&Service::crm(seed).days(28)), DAYS_HALF_LIFE);
        chances.iter().all(|chance| (chance - chances[0]).abs() < 0.005)
    };
    assert!((1..=20).filter(|seed| alike(*seed)).count() >= 18);
}

#[test]
fn a_nightly_restart_is_predicted_at_most_of_its_height() {
    let mut service = Service { attempts: 6.0, base: 0.012, outages: (0.0, 0.0), ..Service::crm(5) }.worse(0, 9.0);
    let days = service.days(60);
    assert_eq!(lived(&days)[59], 1);
    let chances = predict(&blocks(&days), DAYS_HALF_LIFE);
    assert!(chances[0] > 0.06 && chances[1] < 0.02, "{chances:?}");
}

proptest! {
    #[test]
    fn whatever_was_counted_a_chance_is_one(
        counts in proptest::collection::vec((0_u64..10_000_000, 0_u64..10_000_000), 24 * 12),
    ) {
        let tally = |&(attempts, failures): &(u64, u64)| Tally { attempts, failures };
        let days: Vec<[Tally; 24]> =
            counts.chunks(24).map(|day| std::array::from_fn(|hour| tally(&day[hour]))).collect();
        for chance in predict(&blocks(&days), DAYS_HALF_LIFE) {
            prop_assert!((0.0..=1.0).contains(&chance), "{}", chance);
        }
    }
}
