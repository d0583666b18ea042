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
mod tests;
