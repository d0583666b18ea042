//! Learns `breaker.open_for`, `breaker.open_ratio` and `breaker.open_growth`: when to ask a service that is down whether it
//! is back.
//!
//! An outage of length X costs the probes that fail in it, and the calls that are refused between its end and the first
//! probe after it: `price · failed + rate · (t − X)`. A call that is refused though the service is back has lost its
//! answer. A probe that fails has lost nothing by that, it would have been refused; it costs what the profile's utility
//! says of a call and of the seconds that it takes to fail, as a share of what an answer is worth. With X spread as the
//! outages that were seen, the best schedule is the one with the lowest mean. It is looked for among those that a circuit
//! can keep: a first wait w, and after t in which it was open a wait of `ratio · w · (t / w) ^
//! growth`. Where recovery has no memory, waits that stay are best (Barlow and Proschan 1963); where the hazard falls as one
//! over time, as it does for web services, those that grow as its square root are. The first wait stands apart, because
//! few outages are shorter than what makes a circuit open.
//!
//! * **The outages** are those this service had, in quarter octaves of length, with a half-life of 50 outages, and four
//!   that it did not have: those of the monitored web services of the recorded traces, `P(X > x) = (1 + x / 45 min)^−1.6`.
//!   Outages count as a day at most. Where other services of the domain are known, three of the four are theirs.
//! * **The price** of a probe is at most the worth of an answer, and never next to nothing: a service in trouble is not
//!   asked for the sake of it, nor more than once a second.
//! * **The rate** is that which a call meets, of the calls that were made, with a half-life of a day.
//! * **How sure**: the new schedule is cheaper by 2 % in the mean, and in 95 of 100 draws of what the lengths may be (the
//!   Bayesian bootstrap) it is not dearer by more than 5 %. Neither schedule is the safe one, and outages are too rare to
//!   wait until the better one is beyond doubt. A step is made as far as that holds.
//! * Where outages are short and calls many, this asks after a second; where calls are few, after many minutes. A mean
//!   recovery time, the usual rule, says neither.

use super::seen::Seen;
use crate::evidence::{Key, OUTAGE_BINS, bin_outage, block_of, outlasting};
use crate::learner::draws::{DRAWS, Draws};
use crate::learner::guard::{MIN_CONFIDENCE, MIN_SAMPLE, Proposal, rounded, step};
use crate::learner::{Subject, regime};
use crate::outcome::{Ending, FailureKind};
use crate::parameter::{ATTEMPT_TIMEOUT, OPEN_FOR, OPEN_GROWTH, OPEN_RATIO, Parameter, Unit};
use crate::policy::breaker::next_wait;
use serde_json::json;
use std::collections::BTreeMap;

/// Half as much is believed of an outage after this many newer ones.
const HALF_LIFE: f64 = 50.0;

/// Half as much is believed of an hour of calls after this many newer hours.
const HALF_LIFE_HOURS: f64 = 24.0;

/// Outages that are believed before any was seen.
const PRIOR: f64 = 4.0;

/// The longest outage that is planned for, in seconds.
const LONGEST: f64 = 86_400.0;

/// By how much a schedule must be cheaper to be worth a move, as a share of what the old one costs.
const WORTH_IT: f64 = 0.02;

/// By how much it may be dearer, if the lengths are others than they seem.
const TOLERATED: f64 = 0.05;

/// The least that a probe costs, as a share of what an answer is worth.
const LEAST_PRICE: f64 = 0.05;

/// Proposes a step of all three, where the rate of calls is known.
pub(super) fn propose(subject: &Subject<'_>, seen: &Seen) -> Vec<Proposal> {
    let Some(rate) = Rate::read(subject) else { return Vec::new() };
    let price = price(subject, seen);
    let per_probe = rate.per_second / price;
    let outages = Outages::read(subject);
    let old = Schedule(PARTS.map(|parameter| subject.before(parameter, None)));
    let free = PARTS.map(|parameter| !subject.is_pinned(parameter, None));
    let search = Search { rate: per_probe, free, no_later_than: rate.is_least.then_some(old) };
    let best = outages.best(&search, old);
    let full = step(&OPEN_FOR, old.wait(), best.wait(), (OPEN_FOR.min, OPEN_FOR.max));
    // As far as is sure: the whole step, or half of it, or a quarter.
    let steps = [1.0, 0.5, 0.25].map(|part| old.wait() * (full / old.wait()).powf(part));
    let sure = steps.into_iter().find_map(|wait| {
        // Until the wait has come there, the rest is what suits it.
        let rest = Search { free: [false, free[1], free[2]], ..search };
        let on_the_way = || outages.best(&rest, old.with(0, wait));
        let new = if wait == best.wait() { best } else { on_the_way() };
        let change = outages.change(per_probe, old, new);
        (change.confidence >= MIN_CONFIDENCE).then_some((new, change))
    });
    let Some((new, change)) = sure else { return Vec::new() };
    (PARTS.into_iter().zip(old.0).zip(new.0))
        .filter(|((_, old), new)| old != new)
        .map(|((parameter, old), value)| Proposal {
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
            reason: reason(&outages, &rate, price, new, &change),
            evidence: json!({
                "outages": outages.seen,
                "median_s": rounded(outages.quantile(0.5)),
                "nine_in_ten_s": rounded(outages.quantile(0.9)),
                "calls_per_second": rounded(rate.per_second),
                "probe_price": rounded(price),
                "cost_before": rounded(price * change.before),
                "cost_after": rounded(price * (change.before - change.gain)),
                "wait_s": rounded(new.wait()),
                "ratio": rounded(new.0[1]),
                "growth": rounded(new.0[2]),
            }),
        })
        .collect()
}

/// What a probe that fails costs, as a share of what an answer is worth.
fn price(subject: &Subject<'_>, seen: &Seen) -> f64 {
    let utility = subject.profile.utility;
    let hangs = (seen.down[FailureKind::Timeout.index()] + 1.0) / (seen.downs + 2.0);
    let lasts = hangs * subject.in_force(&ATTEMPT_TIMEOUT, None);
    let price = utility.cost(1.0, lasts) / utility.value;
    if price.is_finite() { price.clamp(LEAST_PRICE, 1.0) } else { 1.0 }
}

fn reason(outages: &Outages, rate: &Rate, price: f64, new: Schedule, change: &Change) -> String {
    let show = |seconds| Unit::Seconds.show(seconds);
    let lengths = match outages.seen {
        0 => "no outage was seen yet; those of other services".to_owned(),
        1 => "one outage was seen; with those of other services they".to_owned(),
        n => format!("{n} outages were seen; they"),
    };
    format!(
        "{lengths} end within {} half the time, {:.3} calls come in a second, and a probe that fails costs {:.2} of what an \
         answer is worth: asking after {}, then after {} more and after an hour every {} costs {:.1} answers an outage \
         instead of {:.1}",
        show(outages.quantile(0.5)),
        rate.per_second,
        price,
        show(new.wait()),
        show(new.after(new.wait())),
        show(new.after(3_600.0_f64.max(new.wait()))),
        price * (change.before - change.gain),
        price * change.before,
    )
}

/// What a schedule is made of.
static PARTS: [&Parameter; 3] = [&OPEN_FOR, &OPEN_RATIO, &OPEN_GROWTH];

/// Ratios and growths a search begins from.
const BEGINNINGS: [(f64, f64); 5] = [(1.0, 0.0), (0.5, 0.35), (1.0, 0.5), (0.25, 0.7), (1.0, 1.0)];

/// When probes are made: the first wait in seconds, the second as a multiple of it, and the power of the time it has been
/// open with which they grow.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Schedule([f64; 3]);

impl Schedule {
    fn wait(self) -> f64 {
        self.0[0]
    }

    fn with(mut self, part: usize, value: f64) -> Self {
        self.0[part] = value.clamp(PARTS[part].min, PARTS[part].max);
        self
    }

    /// The wait after a probe that failed when it had been open so long.
    fn after(self, been: f64) -> f64 {
        next_wait(self.0[0], self.0[1], self.0[2], been)
    }

    /// What outages of each of some lengths cost in probes, the shortest first: those that fail, and the calls that are
    /// refused from an outage's end to the first probe that does not, of which so many a second are worth a probe.
    ///
    /// Lengths are known roughly. So after the first wait, an outage is taken to end at any time between two probes
    /// alike; whether it ends just before one is chance, and would otherwise be taken for a reason.
    fn costs(self, lengths: impl Iterator<Item = f64>, rate: f64) -> impl Iterator<Item = f64> {
        let (mut at, mut failed) = (self.wait(), 1.0);
        let mut wait = self.after(at);
        lengths.map(move |length| {
            if length <= self.wait() {
                return rate * (self.wait() - length);
            }
            while at + wait < length {
                // Where many probes fall between two lengths their waits are as good as equal.
                let several = ((at / 16.0).min(length - at) / wait).floor().max(1.0);
                failed += several;
                at += several * wait;
                wait = self.after(at);
            }
            failed + (length - at) / wait - 0.5 + rate * wait / 2.0
        })
    }

    /// The schedules next to it, by steps of a size, in what is free.
    fn neighbours(self, size: f64, free: [bool; 3]) -> impl Iterator<Item = Self> {
        let [wait, ratio, growth] = self.0;
        let parts = [(0, wait * (2.0 * size).exp2()), (0, wait * (-2.0 * size).exp2())]
            .into_iter()
            .chain([(1, ratio * (2.0 * size).exp2()), (1, ratio * (-2.0 * size).exp2())])
            .chain([(2, growth + size / 2.0), (2, growth - size / 2.0)]);
        parts.filter(move |(part, _)| free[*part]).map(move |(part, value)| self.with(part, thousandths(value)))
    }
}

/// Among which schedules the best is looked for.
#[derive(Clone, Copy)]
struct Search {
    /// Calls a second, counted in probes.
    rate: f64,
    /// Which parts may differ.
    free: [bool; 3],
    /// One than which it may not be later at any time.
    no_later_than: Option<Schedule>,
}

impl Search {
    fn allows(&self, schedule: Schedule) -> bool {
        // No later wait is shorter than the first may be.
        let is_soon = schedule.after(schedule.wait()) < OPEN_FOR.min;
        !is_soon
            && self.no_later_than.is_none_or(|bound| {
                // Both are powers of the time, so what holds early and late holds between.
                let is_later = |been: f64| schedule.after(been) > bound.after(been) * (1.0 + 1e-9);
                schedule.wait() <= bound.wait() && ![bound.wait(), LONGEST].into_iter().any(is_later)
            })
    }
}

fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
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

    fn costs(&self, schedule: Schedule, rate: f64) -> impl Iterator<Item = f64> {
        schedule.costs(self.weights.iter().map(|(length, _)| *length), rate)
    }

    fn cost(&self, schedule: Schedule, rate: f64) -> f64 {
        let costs = self.weights.iter().zip(self.costs(schedule, rate));
        costs.map(|((_, weight), cost)| weight * cost).sum::<f64>() / self.total
    }

    /// The cheapest schedule that differs from an old one only in what is free: the best of a few, and what steps that get
    /// finer make of it. The old one where none is cheaper.
    fn best(&self, search: &Search, old: Schedule) -> Schedule {
        let free = search.free;
        let octaves = if free[0] { (OPEN_FOR.max / OPEN_FOR.min).log2() as u32 } else { 0 };
        let shapes = BEGINNINGS.map(|(ratio, growth)| {
            let ratio = if free[1] { ratio } else { old.0[1] };
            Schedule([old.wait(), ratio, if free[2] { growth } else { old.0[2] }])
        });
        let waits = |shape: Schedule| {
            (0..=octaves).map(move |n| if free[0] { shape.with(0, f64::from(n).exp2()) } else { shape })
        };
        let (mut best, mut cost) =
            self.cheapest(search, (old, self.cost(old, search.rate)), shapes.into_iter().flat_map(waits));
        for size in [0.25, 0.125] {
            loop {
                let nearer = self.cheapest(search, (best, cost), best.neighbours(size, free));
                // What is hardly cheaper is not worth another round.
                let is_done = nearer.1 > cost * 0.999;
                (best, cost) = nearer;
                if is_done {
                    break;
                }
            }
        }
        best
    }

    /// The cheapest of others, or this one where none is cheaper.
    fn cheapest(
        &self,
        search: &Search,
        one: (Schedule, f64),
        others: impl Iterator<Item = Schedule>,
    ) -> (Schedule, f64) {
        let costs = others.filter(|schedule| search.allows(*schedule));
        let costs = costs.map(|schedule| (schedule, self.cost(schedule, search.rate)));
        costs.fold(one, |best, other| if other.1 < best.1 { other } else { best })
    }

    /// What a new schedule brings, and how sure it is that it does no harm worth speaking of: the share of the lengths that
    /// may be true (Bayesian bootstrap, Rubin 1981; by octaves) under which it does none.
    fn change(&self, rate: f64, old: Schedule, new: Schedule) -> Change {
        let before = self.cost(old, rate);
        let gains = self.costs(old, rate).zip(self.costs(new, rate)).map(|(old, new)| old - new);
        let bins: Vec<(f64, f64)> = self.weights.iter().zip(gains).map(|((_, weight), gain)| (*weight, gain)).collect();
        let octaves = bins.chunks(4).map(|bins| {
            let weight: f64 = bins.iter().map(|(weight, _)| weight).sum();
            let gains: f64 = bins.iter().map(|(weight, gain)| weight * gain).sum();
            (weight, if weight > 0.0 { gains / weight } else { 0.0 })
        });
        let octaves: Vec<(f64, f64)> = octaves.collect();
        let mean = octaves.iter().map(|(weight, gain)| weight * gain).sum::<f64>() / self.total;
        if mean < WORTH_IT * before {
            return Change { before, gain: mean, confidence: 0.0 };
        }
        let mut draws = Draws::new();
        let tolerated = TOLERATED * before;
        let mut is_harmless = |_: &usize| {
            octaves.iter().map(|(weight, gain)| draws.gamma(*weight) * (gain + tolerated)).sum::<f64>() > 0.0
        };
        let confidence = (0..DRAWS).filter(|draw| is_harmless(draw)).count() as f64 / DRAWS as f64;
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
    let begins = |bin: u8| bin_outage(bin).as_secs_f64();
    let bins = (0..OUTAGE_BINS).take_while(|bin| begins(*bin) < LONGEST);
    let mut weights: Vec<(f64, f64)> = bins
        .map(|bin| {
            let from = if bin == 0 { 0.0 } else { begins(bin) };
            let middle = begins(bin) * 0.125_f64.exp2();
            (middle.min(LONGEST), others * PRIOR * (outlasting(from) - outlasting(begins(bin + 1).min(LONGEST))))
        })
        .collect();
    if let Some(last) = weights.last_mut() {
        *last = (LONGEST, last.1 + others * PRIOR * outlasting(LONGEST));
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
    use crate::evidence::{AttemptClass, History, outage_bin};
    use crate::learner::siblings::tests::that_showed;
    use crate::learner::tests::World;
    use crate::outcome::{Attempt, Class};
    use std::time::Duration;

    /// Where a probe that fails costs as much as a call that is refused.
    fn costly() -> World {
        let mut world = World::about("breaker.");
        world.profile.utility.call = 1.0;
        world
    }

    /// Hours in which calls come at a rate and one outage has ended.
    fn hours(world: &mut World, hours: u64, rate: f64, mut length: impl FnMut(f64) -> f64) {
        for _ in 0..hours {
            world.history.add(world.hour, Key::Call(Ending::Done), (3_600.0 * rate) as u64);
            let length = length(world.random());
            world.history.add(world.hour, Key::Outage(outage_bin(Duration::from_secs_f64(length))), 1);
            world.hour += 1;
        }
    }

    fn schedule(world: &World) -> Schedule {
        Schedule([world.values.open_for.as_secs_f64(), world.values.open_ratio, world.values.open_growth])
    }

    fn settled(world: &mut World) -> Schedule {
        world.settle();
        schedule(world)
    }

    /// What a schedule costs in an outage of exactly this length.
    fn meets(schedule: Schedule, length: f64, rate: f64) -> f64 {
        let (mut at, mut failed) = (schedule.wait(), 0.0);
        while at < length {
            failed += 1.0;
            at += schedule.after(at);
        }
        failed + rate * (at - length)
    }

    /// What the schedule in force costs for each of many outages of a service.
    fn cost(world: &World, rate: f64, mut length: impl FnMut() -> f64) -> f64 {
        let schedule = schedule(world);
        (0..5_000).map(|_| meets(schedule, length(), rate)).sum::<f64>() / 5_000.0
    }

    #[test]
    fn a_schedule_costs_the_probes_that_fail_and_the_calls_that_come_before_the_first_that_does_not() {
        let costs =
            |schedule: [f64; 3], length: f64| Schedule(schedule).costs([length].into_iter(), 0.1).next().unwrap();
        let is = |cost: f64, known: f64| assert!((cost - known).abs() < 1e-9, "{cost} {known}");
        is(costs([10.0, 1.0, 0.0], 4.0), 0.6);
        is(costs([10.0, 1.0, 0.0], 25.0), 2.5 - 0.5 + 0.5);
        // After 10 s, 20 s, 40 s and 80 s; at 50 s a quarter of the fourth wait is over.
        is(costs([10.0, 1.0, 1.0], 50.0), 3.25 - 0.5 + 2.0);
        // After 1,800 s, 9,000 s and every 7,200 s, which is the longest wait.
        is(costs([1_800.0, 4.0, 1.0], 12_600.0), 2.5 - 0.5 + 360.0);
    }

    #[test]
    fn many_short_waits_are_counted_together_as_they_would_be_one_by_one() {
        let schedule = Schedule([1.0, 0.3, 0.4]);
        let lengths = [3.0, 40.0, 700.0, 20_000.0];
        let together = schedule.costs(lengths.into_iter(), 2.0);
        for (length, cost) in lengths.into_iter().zip(together) {
            let (mut at, mut failed) = (1.0, 1.0);
            while at + schedule.after(at) < length {
                failed += 1.0;
                at += schedule.after(at);
            }
            let wait = schedule.after(at);
            let known = failed + (length - at) / wait - 0.5 + wait;
            assert!((cost / known - 1.0).abs() < 0.03, "{length}: {cost} {known}");
        }
    }

    #[test]
    fn where_recovery_has_no_memory_it_waits_as_barlow_and_proschan_say_whatever_the_mean() {
        // Exponential with a mean of 300 s at five calls a second: sqrt(2 · 300 / 5) = 11 s.
        let mut world = costly();
        hours(&mut world, 400, 5.0, |u| -300.0 * (1.0 - u).ln());
        let learned = settled(&mut world);
        assert!((7.0..18.0).contains(&learned.after(300.0)), "{learned:?}");
        let mut other = costly();
        let best = |wait: f64| Schedule([wait, 1.0, 0.0]);
        let mut lengths = Vec::new();
        (0..5_000).for_each(|_| lengths.push(-300.0 * (1.0 - other.random()).ln()));
        let of = |schedule: Schedule| lengths.iter().map(|length| meets(schedule, *length, 5.0)).sum::<f64>();
        let ideal = (1..200).map(|wait| of(best(f64::from(wait)))).fold(f64::INFINITY, f64::min);
        let reached = of(learned) / ideal;
        assert!(reached < 1.1, "{reached} times the best constant in hindsight");
    }

    #[test]
    fn the_less_a_probe_costs_the_sooner_it_is_made_and_one_that_hangs_costs_more() {
        let wait = |call: f64, kind: FailureKind| {
            let mut world = World::about("breaker.");
            world.profile.utility.call = call;
            hours(&mut world, 400, 5.0, |u| -300.0 * (1.0 - u).ln());
            world.history.add(world.hour, Key::Probed(AttemptClass::Failure(kind)), 500);
            settled(&mut world).after(300.0)
        };
        // As the square root of the price: 0.06 is a quarter of 1.
        let (cheap, dear) = (wait(0.06, FailureKind::Transient), wait(1.0, FailureKind::Transient));
        assert!((2.5..6.0).contains(&(dear / cheap)), "{cheap} {dear}");
        let hangs = wait(0.06, FailureKind::Timeout);
        assert!(hangs > 1.3 * cheap && hangs < dear, "{cheap} {hangs} {dear}");
    }

    #[test]
    fn a_service_is_never_asked_more_than_once_a_second() {
        let mut world = World::about("breaker.");
        hours(&mut world, 400, 500.0, |u| 5.0 + u);
        let learned = settled(&mut world);
        assert!(learned.wait() >= 1.0 && learned.after(learned.wait()) >= 1.0, "{learned:?}");
    }

    #[test]
    fn it_follows_a_service_that_recovers_ten_times_as_fast() {
        let mut world = costly();
        hours(&mut world, 200, 0.5, |u| -300.0 * (1.0 - u).ln());
        let slow = settled(&mut world);
        hours(&mut world, 300, 0.5, |u| -30.0 * (1.0 - u).ln());
        let fast = settled(&mut world);
        assert!(fast.wait() < slow.wait() / 2.0, "{fast:?} {slow:?}");
        let mut random = costly();
        let costs = cost(&world, 0.5, || -30.0 * (1.0 - random.random()).ln());
        assert!(costs < 8.0, "{costs} calls an outage");
    }

    #[test]
    fn where_nothing_changes_it_stays() {
        let mut world = costly();
        hours(&mut world, 300, 0.5, |u| -100.0 * (1.0 - u).ln());
        let before = settled(&mut world);
        let mut moved = 0;
        for _ in 0..100 {
            hours(&mut world, 1, 0.5, |u| -100.0 * (1.0 - u).ln());
            moved += world.settle().len();
        }
        let after = schedule(&world);
        assert!(moved <= 3, "{moved} moves");
        let is_as_it_was = |one: f64, other: f64| (0.5..=2.0).contains(&(other / one));
        assert!(is_as_it_was(before.wait(), after.wait()), "{before:?} {after:?}");
        for been in [10.0, 60.0, 300.0, 1_800.0] {
            assert!(is_as_it_was(before.after(been), after.after(been)), "{been}: {before:?} {after:?}");
        }
    }

    #[test]
    fn waits_come_to_grow_where_outages_come_to_have_a_long_tail_and_stop_growing_where_they_lose_it() {
        let mut world = costly();
        hours(&mut world, 300, 0.5, |u| -300.0 * (1.0 - u).ln());
        let short = settled(&mut world);
        // P(X > x) = (1 + x / 30 s)^-0.8
        hours(&mut world, 300, 0.5, |u| (30.0 * ((1.0 - u).powf(-1.25) - 1.0)).min(80_000.0));
        let long = settled(&mut world);
        hours(&mut world, 300, 0.5, |u| -300.0 * (1.0 - u).ln());
        let again = settled(&mut world);
        let grows = |one: Schedule| one.after(6_000.0) / one.after(60.0);
        assert!(grows(long) > 1.5 * grows(short), "{short:?} {long:?}");
        assert!(grows(again) < grows(long) / 1.5, "{long:?} {again:?}");
    }

    #[test]
    fn the_fewer_calls_come_the_longer_it_waits_before_any_outage_was_seen() {
        let waits = [0.002, 0.05, 1.0, 50.0].map(|rate| {
            let mut world = costly();
            for _ in 0..48 {
                world.history.add(world.hour, Key::Call(Ending::Done), (3_600.0 * rate) as u64);
                world.hour += 1;
            }
            settled(&mut world).wait()
        });
        assert!(waits.windows(2).all(|two| two[0] >= two[1]), "{waits:?}");
        assert!(waits[0] >= 240.0 && waits[3] <= 15.0, "{waits:?}");
    }

    /// The first hour began with the first call, and nobody knows when that was, so calls may be far more than it seems.
    #[test]
    fn in_the_first_hour_no_probe_is_put_off_and_in_the_second_the_rate_is_known() {
        let calls = |world: &mut World| {
            world.history.add(world.hour, Key::Call(Ending::Done), 60);
            world.hour += 1;
            settled(world)
        };
        let mut world = costly();
        let before = schedule(&world);
        let first = calls(&mut world);
        let times = [60.0, 600.0, 7_200.0];
        assert!(times.iter().all(|been| first.after(*been) <= before.after(*been)), "{before:?} {first:?}");
        let second = calls(&mut world);
        assert!(second.wait() > before.wait(), "{before:?} {second:?}");
    }

    #[test]
    fn a_new_service_is_asked_as_suits_the_outages_of_its_siblings() {
        let waits = [20.0, 7_200.0].map(|length| {
            let mut world = costly();
            for _ in 0..48 {
                world.history.add(world.hour, Key::Call(Ending::Done), 72);
                world.hour += 1;
            }
            let mut lengths = History::default();
            lengths.add(world.hour, Key::Outage(outage_bin(Duration::from_secs_f64(length))), 9);
            world.siblings = that_showed(&lengths);
            settled(&mut world).wait()
        });
        assert!(waits[0] <= 60.0 && waits[1] > 2.0 * waits[0], "{waits:?}");
    }

    #[test]
    fn what_is_no_evidence_about_the_service_does_not_move_it() {
        let mut world = costly();
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
