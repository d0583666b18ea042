//! Learns `breaker.open_for` and `breaker.open_growth`: when to ask a service that is down whether it is back.
//!
//! An outage of length X costs the probes that fail in it, and the calls that are refused between its end and the first
//! probe after it: `failed + rate · (t − X)`. Both are a caller who goes without an answer, so one costs what the other
//! does. With X spread as the outages that were seen, the best schedule is the one with the lowest mean; among those
//! that a circuit can keep, a first wait and a factor by which each wait is longer than the last.
//!
//! * **The outages** are those this service had, in quarter octaves of length, with a half-life of 50 outages, and four
//!   that it did not have: those of the monitored web services of the recorded traces, `P(X > x) = (1 + x / 45 min)^−1.6`.
//!   The longer one has lasted, the longer it goes on: that is why waits grow. Outages count as a day at most. Where
//!   other services of the domain are known, three of the four are theirs.
//! * **The rate** is that which a call meets, of the calls that were made, with a half-life of a day.
//! * **How sure**: in 95 of 100 draws of what the lengths may be (the Bayesian bootstrap) the new schedule is cheaper. A
//!   step is made as far as that holds.
//! * Where outages are short and calls many, this asks after a second; where calls are few, after many minutes. A mean
//!   recovery time, the usual rule, says neither.

use crate::evidence::{Key, OUTAGE_BINS, bin_outage, block_of};
use crate::learner::draws::{DRAWS, Draws};
use crate::learner::guard::{MIN_CONFIDENCE, MIN_SAMPLE, Proposal, rounded, step};
use crate::learner::{Subject, regime};
use crate::outcome::Ending;
use crate::parameter::{OPEN_FOR, OPEN_GROWTH, Unit};
use crate::policy::breaker::LONGEST_WAIT;
use serde_json::json;
use std::collections::BTreeMap;

/// Half as much is believed of an outage after this many newer ones.
const HALF_LIFE: f64 = 50.0;

/// Half as much is believed of an hour of calls after this many newer hours.
const HALF_LIFE_HOURS: f64 = 24.0;

/// Outages that are believed before any was seen, the exponent of their lengths, and the scale in seconds.
const PRIOR: f64 = 4.0;
const TAIL: f64 = 1.6;
const SCALE: f64 = 45.0 * 60.0;

/// The longest outage that is planned for, in seconds.
const LONGEST: f64 = 86_400.0;

/// By how much a schedule must be cheaper to be worth a move.
const WORTH_IT: f64 = 0.02;

/// The factors that are looked at.
const GROWTHS: [f64; 7] = [1.0, 1.15, 1.3, 1.5, 2.0, 3.0, 4.0];

/// Proposes a step of both, where the rate of calls is known.
pub(super) fn propose(subject: &Subject<'_>) -> Vec<Proposal> {
    let Some(rate) = Rate::read(subject) else { return Vec::new() };
    let outages = Outages::read(subject);
    let old = Schedule { wait: subject.before(&OPEN_FOR, None), growth: subject.before(&OPEN_GROWTH, None) };
    let (wait_is_free, growth_is_free) = (!subject.is_pinned(&OPEN_FOR, None), !subject.is_pinned(&OPEN_GROWTH, None));
    let may_grow_so = |schedule: &Schedule| growth_is_free || schedule.growth == old.growth;
    let may_be = |schedule: &Schedule| (wait_is_free || schedule.wait == old.wait) && may_grow_so(schedule);
    let best = outages.best(rate.per_second, may_be, old);
    // Until it has come there, the factor is the one that suits the wait.
    let on_the_way = |wait: f64| {
        let suits = |schedule: &Schedule| schedule.wait == wait && may_grow_so(schedule);
        outages.best(rate.per_second, suits, Schedule { wait, ..old })
    };
    let full = step(&OPEN_FOR, old.wait, best.wait, (OPEN_FOR.min, OPEN_FOR.max));
    // As far as is sure: the whole step, or half of it, or a quarter.
    let steps = [1.0, 0.5, 0.25].map(|part| old.wait * (full / old.wait).powf(part));
    let sure = steps.into_iter().filter(|wait| *wait <= old.wait || !rate.is_least).find_map(|wait| {
        let new = if wait == best.wait { best } else { on_the_way(wait) };
        let change = outages.change(rate.per_second, old, new);
        (change.confidence >= MIN_CONFIDENCE).then_some((new, change))
    });
    let Some((new, change)) = sure else { return Vec::new() };
    [(&OPEN_FOR, old.wait, new.wait), (&OPEN_GROWTH, old.growth, new.growth)]
        .into_iter()
        .filter(|(_, old, new)| old != new)
        .map(|(parameter, old, value)| Proposal {
            parameter,
            after: None,
            old,
            new: value,
            bounds: (parameter.min, parameter.max),
            sample: rate.calls + outages.seen,
            fewest: MIN_SAMPLE,
            interval: outages.interval(),
            confidence: change.confidence,
            predicted: None,
            act: true,
            reason: reason(&outages, &rate, new, &change),
            evidence: json!({
                "outages": outages.seen,
                "median_s": rounded(outages.quantile(0.5)),
                "nine_in_ten_s": rounded(outages.quantile(0.9)),
                "calls_per_second": rounded(rate.per_second),
                "cost_before": rounded(change.before),
                "cost_after": rounded(change.before - change.gain),
                "wait_s": rounded(new.wait),
                "growth": rounded(new.growth),
            }),
        })
        .collect()
}

fn reason(outages: &Outages, rate: &Rate, new: Schedule, change: &Change) -> String {
    let show = |seconds| Unit::Seconds.show(seconds);
    let lengths = match outages.seen {
        0 => "no outage was seen yet; those of other services".to_owned(),
        1 => "one outage was seen; with those of other services they".to_owned(),
        n => format!("{n} outages were seen; they"),
    };
    format!(
        "{lengths} end within {} half the time, and {:.3} calls come in a second: asking after {} and then {:.2} times as \
         long each time costs {:.1} calls an outage instead of {:.1}",
        show(outages.quantile(0.5)),
        rate.per_second,
        show(new.wait),
        new.growth,
        change.before - change.gain,
        change.before,
    )
}

/// When probes are made.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Schedule {
    wait: f64,
    growth: f64,
}

impl Schedule {
    /// What an outage of about this length costs: probes that fail, and calls that are refused from its end to the first
    /// probe that does not.
    ///
    /// Lengths are known roughly. So after the first wait, an outage is taken to end at any time between two probes
    /// alike; whether it ends just before one is chance, and would otherwise be taken for a reason.
    fn cost(self, length: f64, rate: f64) -> f64 {
        if length <= self.wait {
            return rate * (self.wait - length);
        }
        let (mut at, mut wait, mut failed) = (self.wait, self.next(self.wait), 1.0);
        while self.growth > 1.0 && wait < LONGEST_WAIT.as_secs_f64() && at + wait < length {
            at += wait;
            failed += 1.0;
            wait = self.next(wait);
        }
        failed + (length - at) / wait - 0.5 + rate * wait / 2.0
    }

    fn next(self, wait: f64) -> f64 {
        (wait * self.growth).min(LONGEST_WAIT.as_secs_f64().max(wait))
    }
}

/// How often calls come.
struct Rate {
    per_second: f64,
    calls: u64,
    /// Whether it may be more: the first hour began with its first call, and nobody knows when that was. No reason to
    /// wait longer, then.
    is_least: bool,
}

impl Rate {
    fn read(subject: &Subject<'_>) -> Option<Self> {
        let now = subject.now.hour();
        let mut hours: BTreeMap<(i64, i64), u64> = BTreeMap::new();
        for (hour, key, count) in subject.history.cells() {
            // Calls that were refused say nothing about a service, not even how often it is wanted: callers who are
            // refused ask again.
            if let Key::Call(Ending::Done | Ending::Failed | Ending::OutcomeUnknown) = key {
                *hours.entry(block_of(hour, now)).or_default() += count;
            }
        }
        let calls: u64 = hours.values().sum();
        if calls < MIN_SAMPLE {
            return None;
        }
        let is_least = hours.len() == 1;
        let passed = (subject.now.millis().rem_euclid(3_600_000) as f64 / 1e3).max(1.0);
        let (mut count, mut squares) = (0.0, 0.0);
        for ((hour, length), calls) in hours {
            let length = if hour >= now { passed } else { 3_600.0 * length as f64 };
            let weight = (-((now - hour).max(0) as f64) / HALF_LIFE_HOURS).exp2();
            let calls = calls as f64;
            count += weight * calls;
            squares += weight * calls * (calls / length);
        }
        // As each call meets it: in a busy hour more are refused.
        Some(Self { per_second: squares / count, calls, is_least }).filter(|rate| rate.per_second > 0.0)
    }
}

/// What is believed about the length of an outage: weights by bin.
struct Outages {
    weights: Vec<(f64, f64)>,
    total: f64,
    seen: u64,
}

struct Change {
    before: f64,
    gain: f64,
    confidence: f64,
}

impl Outages {
    fn read(subject: &Subject<'_>) -> Self {
        let mut hours: BTreeMap<i64, Vec<(u8, u64)>> = BTreeMap::new();
        for (hour, key, count) in subject.history.cells() {
            if let Key::Outage(bin) = key {
                hours.entry(hour).or_default().push((bin, count));
            }
        }
        let count = |bins: &Vec<(u8, u64)>| bins.iter().map(|(_, count)| count).sum::<u64>();
        let decay = regime::weights(hours.values().rev().map(count), HALF_LIFE);
        let mut weights = prior(subject.siblings.outages());
        let last = weights.len() - 1;
        for (bins, decay) in hours.values().rev().zip(decay) {
            for (bin, count) in bins {
                weights[usize::from(*bin).min(last)].1 += decay * *count as f64;
            }
        }
        let total = weights.iter().map(|(_, weight)| weight).sum();
        Self { weights, total, seen: hours.values().map(count).sum() }
    }

    fn mean(&self, of: impl Fn(f64) -> f64) -> f64 {
        self.weights.iter().map(|(length, weight)| weight * of(*length)).sum::<f64>() / self.total
    }

    fn cost(&self, schedule: Schedule, rate: f64) -> f64 {
        self.mean(|length| schedule.cost(length, rate))
    }

    /// The cheapest schedule that may be, of steps of half an octave and then of finer ones; `old` where none is cheaper.
    fn best(&self, rate: f64, may_be: impl Fn(&Schedule) -> bool, old: Schedule) -> Schedule {
        let octaves = (OPEN_FOR.max / OPEN_FOR.min).log2();
        let waits = (0..=(octaves * 2.0) as i32).map(|half| OPEN_FOR.min * (f64::from(half) / 2.0).exp2());
        let growths = || GROWTHS.into_iter().chain([old.growth]);
        let steps = waits.chain([old.wait]).flat_map(|wait| growths().map(move |growth| Schedule { wait, growth }));
        let coarse = self.cheapest(rate, old, steps.filter(&may_be));
        let waits = [-0.25, 0.25].map(|by: f64| (coarse.wait * by.exp2()).clamp(OPEN_FOR.min, OPEN_FOR.max));
        let steps = waits.into_iter().flat_map(|wait| GROWTHS.map(|growth| Schedule { wait, growth }));
        self.cheapest(rate, coarse, steps.filter(&may_be))
    }

    /// The cheapest of others, or this one where none is cheaper.
    fn cheapest(&self, rate: f64, one: Schedule, others: impl Iterator<Item = Schedule>) -> Schedule {
        let costs = others.map(|schedule| (schedule, self.cost(schedule, rate)));
        costs.fold((one, self.cost(one, rate)), |best, other| if other.1 < best.1 { other } else { best }).0
    }

    /// What a new schedule brings, and how sure it is that it brings something: the share of the lengths that may be
    /// true (Bayesian bootstrap, Rubin 1981; by octaves) under which it does.
    fn change(&self, rate: f64, old: Schedule, new: Schedule) -> Change {
        let before = self.cost(old, rate);
        let gain = |length: f64| old.cost(length, rate) - new.cost(length, rate);
        let octaves = self.weights.chunks(4).map(|bins| {
            let weight: f64 = bins.iter().map(|(_, weight)| weight).sum();
            let gains: f64 = bins.iter().map(|(length, weight)| weight * gain(*length)).sum();
            (weight, if weight > 0.0 { gains / weight } else { 0.0 })
        });
        let octaves: Vec<(f64, f64)> = octaves.collect();
        let mean = octaves.iter().map(|(weight, gain)| weight * gain).sum::<f64>() / self.total;
        if mean < WORTH_IT * before {
            return Change { before, gain: mean, confidence: 0.0 };
        }
        let mut draws = Draws::new();
        let pays = |_: &usize| octaves.iter().map(|(weight, gain)| draws.gamma(*weight) * gain).sum::<f64>() > 0.0;
        let confidence = (0..DRAWS).filter(pays).count() as f64 / DRAWS as f64;
        Change { before, gain: mean, confidence }
    }

    fn quantile(&self, share: f64) -> f64 {
        let mut below = 0.0;
        let found = self.weights.iter().find(|(_, weight)| {
            below += weight;
            below >= share * self.total
        });
        found.map_or(LONGEST, |(length, _)| *length)
    }

    fn interval(&self) -> (f64, f64) {
        (self.quantile(0.05), self.quantile(0.95))
    }
}

/// The lengths of outages, by bin up to the longest, and what is believed of each before any was seen. What a few
/// siblings showed has gaps, and no tail: a quarter is left to the web services.
fn prior(siblings: Option<&[f64]>) -> Vec<(f64, f64)> {
    let (others, own) = siblings.map_or((1.0, 0.0), |_| (0.25, 0.75));
    let lasts = |seconds: f64| (1.0 + seconds / SCALE).powf(-TAIL);
    let begins = |bin: u8| bin_outage(bin).as_secs_f64();
    let bins = (0..OUTAGE_BINS).take_while(|bin| begins(*bin) < LONGEST);
    let mut weights: Vec<(f64, f64)> = bins
        .map(|bin| {
            let from = if bin == 0 { 0.0 } else { begins(bin) };
            let middle = begins(bin) * 0.125_f64.exp2();
            (middle.min(LONGEST), others * PRIOR * (lasts(from) - lasts(begins(bin + 1).min(LONGEST))))
        })
        .collect();
    if let Some(last) = weights.last_mut() {
        *last = (LONGEST, last.1 + others * PRIOR * lasts(LONGEST));
    }
    let last = weights.len() - 1;
    for (bin, weight) in siblings.into_iter().flatten().enumerate() {
        weights[bin.min(last)].1 += own * weight;
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{History, outage_bin};
    use crate::learner::siblings::tests::that_showed;
    use crate::learner::tests::World;
    use crate::outcome::{Attempt, Class};
    use std::time::Duration;

    /// Hours in which calls come at a rate and one outage has ended.
    fn hours(world: &mut World, hours: u64, rate: f64, mut length: impl FnMut(f64) -> f64) {
        for _ in 0..hours {
            world.history.add(world.hour, Key::Call(Ending::Done), (3_600.0 * rate) as u64);
            let length = length(world.random());
            world.history.add(world.hour, Key::Outage(outage_bin(Duration::from_secs_f64(length))), 1);
            world.hour += 1;
        }
    }

    fn settled(world: &mut World) -> (f64, f64) {
        world.settle();
        (world.values.open_for.as_secs_f64(), world.values.open_growth)
    }

    /// What a schedule costs in an outage of exactly this length.
    fn meets(schedule: Schedule, length: f64, rate: f64) -> f64 {
        let (mut at, mut wait, mut failed) = (schedule.wait, schedule.wait, 0.0);
        while at < length {
            failed += 1.0;
            wait = schedule.next(wait);
            at += wait;
        }
        failed + rate * (at - length)
    }

    /// What the schedule in force costs for each of many outages of a service.
    fn cost(world: &World, rate: f64, mut length: impl FnMut() -> f64) -> f64 {
        let schedule = Schedule { wait: world.values.open_for.as_secs_f64(), growth: world.values.open_growth };
        (0..5_000).map(|_| meets(schedule, length(), rate)).sum::<f64>() / 5_000.0
    }

    #[test]
    fn a_schedule_costs_the_probes_that_fail_and_the_calls_that_come_before_the_first_that_does_not() {
        let costs = |schedule: Schedule, length: f64| schedule.cost(length, 0.1);
        let even = Schedule { wait: 10.0, growth: 1.0 };
        let is = |cost: f64, known: f64| assert!((cost - known).abs() < 1e-9, "{cost} {known}");
        is(costs(even, 4.0), 0.6);
        is(costs(even, 25.0), 2.5 - 0.5 + 0.5);
        // After 10 s, 30 s and 70 s; at 50 s half of the third wait is over.
        is(costs(Schedule { growth: 2.0, ..even }, 50.0), 2.5 - 0.5 + 2.0);
        // After 1,500 s, 7,500 s and every 7,200 s, which is the longest wait.
        is(costs(Schedule { wait: 1_500.0, growth: 4.0 }, 11_100.0), 2.5 - 0.5 + 360.0);
    }

    #[test]
    fn where_recovery_has_no_memory_it_waits_as_barlow_and_proschan_say_whatever_the_mean() {
        // Exponential with a mean of 300 s at five calls a second: sqrt(2 · 300 / 5) = 11 s.
        let mut world = World::about("breaker.");
        hours(&mut world, 400, 5.0, |u| -300.0 * (1.0 - u).ln());
        let (wait, growth) = settled(&mut world);
        assert!((7.0..18.0).contains(&wait) && growth < 1.6, "{wait} {growth}");
        let mut other = World::about("breaker.");
        let best = |wait: f64| Schedule { wait, growth: 1.0 };
        let mut lengths = Vec::new();
        (0..5_000).for_each(|_| lengths.push(-300.0 * (1.0 - other.random()).ln()));
        let of = |schedule: Schedule| lengths.iter().map(|length| meets(schedule, *length, 5.0)).sum::<f64>();
        let ideal = (1..200).map(|wait| of(best(f64::from(wait)))).fold(f64::INFINITY, f64::min);
        let reached = of(Schedule { wait, growth }) / ideal;
        assert!(reached < 1.1, "{reached} times the best constant in hindsight");
    }

    #[test]
    fn it_follows_a_service_that_recovers_ten_times_as_fast() {
        let mut world = World::about("breaker.");
        hours(&mut world, 200, 0.5, |u| -300.0 * (1.0 - u).ln());
        let slow = settled(&mut world);
        hours(&mut world, 300, 0.5, |u| -30.0 * (1.0 - u).ln());
        let fast = settled(&mut world);
        assert!(fast.0 < slow.0 / 2.0, "{fast:?} {slow:?}");
        let mut random = World::about("breaker.");
        let costs = cost(&world, 0.5, || -30.0 * (1.0 - random.random()).ln());
        assert!(costs < 8.0, "{costs} calls an outage");
    }

    #[test]
    fn where_nothing_changes_it_stays() {
        let mut world = World::about("breaker.");
        hours(&mut world, 300, 0.5, |u| -100.0 * (1.0 - u).ln());
        let (before, _) = settled(&mut world);
        hours(&mut world, 100, 0.5, |u| -100.0 * (1.0 - u).ln());
        let (after, _) = settled(&mut world);
        assert!((0.5..=2.0).contains(&(after / before)), "{before} {after}");
    }

    #[test]
    fn the_fewer_calls_come_the_longer_it_waits_before_any_outage_was_seen() {
        let waits = [0.002, 0.05, 1.0, 50.0].map(|rate| {
            let mut world = World::about("breaker.");
            for _ in 0..48 {
                world.history.add(world.hour, Key::Call(Ending::Done), (3_600.0 * rate) as u64);
                world.hour += 1;
            }
            settled(&mut world).0
        });
        assert!(waits.windows(2).all(|two| two[0] >= two[1]), "{waits:?}");
        assert!(waits[0] >= 240.0 && waits[3] <= 15.0, "{waits:?}");
    }

    #[test]
    fn a_new_service_is_asked_as_suits_the_outages_of_its_siblings() {
        let waits = [20.0, 7_200.0].map(|length| {
            let mut world = World::about("breaker.");
            for _ in 0..48 {
                world.history.add(world.hour, Key::Call(Ending::Done), 72);
                world.hour += 1;
            }
            let mut lengths = History::default();
            lengths.add(world.hour, Key::Outage(outage_bin(Duration::from_secs_f64(length))), 9);
            world.siblings = that_showed(&lengths);
            settled(&mut world).0
        });
        assert!(waits[0] <= 60.0 && waits[1] > 2.0 * waits[0], "{waits:?}");
    }

    #[test]
    fn what_is_no_evidence_about_the_service_does_not_move_it() {
        let mut world = World::about("breaker.");
        hours(&mut world, 100, 0.5, |u| -100.0 * (1.0 - u).ln());
        let before = settled(&mut world);
        for _ in 0..2_000 {
            world.record(Some(Attempt::first(Class::Permanent, Duration::from_millis(5))), None);
            world.record(Some(Attempt::first(Class::Cancelled, Duration::from_millis(5))), Some(Ending::Cancelled));
            world.record(None, Some(Ending::Cached));
            world.record(None, Some(Ending::Coalesced));
        }
        assert_eq!(settled(&mut world), before);
    }
}
