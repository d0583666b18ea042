//! Learns `batch.window`, `batch.max_size` and `batch.threshold`: how calls are made together.
//!
//! **The price of one item** of a batch of n is `c/n + w ((n - 1) / 2r + a + b n)`: its share of the call, the waiting
//! for the others where they come at rate r, and the time of the batch, fitted as `a + b n` by least squares from the
//! sums of the bulk tool. It is least at `n* = sqrt(2 r c / (w (1 + 2 r b)))`, the economic order quantity (Harris
//! 1913) where a further item takes no time.
//!
//! * **The window** is the time in which n* calls come, `n* / r`; none where less than one more call comes within it,
//!   or where it does not pay: then waiting only adds delay.
//! * **The most items** is n* where all come at once, `sqrt(c / (w b))`: beyond it one more delays the others by more
//!   than the call it saves. At most twice the sizes that were seen: a service has limits that no fit shows.
//! * **The threshold** is the fewest items with `c (n - 1) + w n (t1 - tn) > w E[wait]`, t1 being the time of a single
//!   call of the tool for one item.
//!
//! **The price of waiting** is that of a second for calls that somebody waits for, and that of an hour of lateness for
//! those that were acknowledged and left to a worker; of an operation that has both, their mean by number.
//!
//! **The rate** is that which the median call meets; from full hours, because it is not
//! known when in its hour the first call came. Calls that come all at once are seen in the sizes of the batches: where
//! far more were gathered than the rate would bring, no rate says how long to wait, and the window stays as it is.
//!
//! **How sure.** A move is made where it is cheaper in 95 of 100 draws of the rate and of the fit. All sizes alike
//! tell no slope; then a larger batch is taken to last longer in proportion, and a smaller one as long.
//!
//! Forgetting: a half-life of 5,000 calls or of a day for the rate, of 500 batches for the fit. Batches that failed,
//! or that took several attempts, are not in the sums.

use super::Subject;
use super::draws::{DRAWS, Draws, quantile};
use super::guard::{MIN_SAMPLE, Proposal, rounded, step};
use super::regime;
use crate::evidence::{BatchSum, History, Key, Sketch, block_of};
use crate::outcome::Ending;
use crate::parameter::{BATCH_MAX_SIZE, BATCH_THRESHOLD, BATCH_WINDOW, Parameter};
use serde_json::json;
use std::collections::BTreeMap;

/// Half as much is believed of the rate after this many newer calls, or after this many hours.
const HALF_LIFE_CALLS: f64 = 5_000.0;
const HALF_LIFE_HOURS: f64 = 24.0;

/// Half as much is believed of the time of a batch after this many newer ones.
const HALF_LIFE_BATCHES: f64 = 500.0;

/// The least variance of the sizes from which a slope is told.
const MIN_VARIANCE: f64 = 0.25;

/// How many times as many items as the rate would bring are a burst.
const BURST: f64 = 2.0;

/// The share of the deadline of a call that is waited for others, at most.
const PATIENCE: f64 = 0.25;

/// A move by less than this factor is noise.
const LEAST_MOVE: f64 = 1.25;

/// Proposes a step of each, where batches were made and the rate is known.
pub(crate) fn propose(subject: &Subject<'_>) -> Vec<Proposal> {
    Batches::read(subject).map_or_else(Vec::new, |batches| batches.propose(subject))
}

/// What is known about calls that can be made together.
#[derive(Debug)]
struct Batches {
    /// Batches that were seen, and the calls by which the rate is known.
    seen: u64,
    calls: u64,
    rate: Rate,
    fit: Fit,
    /// Seconds that a single call takes.
    single: f64,
    /// The price of a call, and of a second of waiting.
    call: f64,
    wait: f64,
    /// Whether nobody waits for most of them, so that they are gathered before they are made and not while.
    queued: bool,
}

/// Calls in a second.
#[derive(Clone, Copy, Debug)]
struct Rate {
    mean: f64,
    /// Its standard error.
    error: f64,
}

/// The time of a batch by its size.
#[derive(Clone, Copy, Debug)]
struct Fit {
    /// Seconds: for a batch, and for each of its items, and the standard error of the latter.
    base: f64,
    each: f64,
    error: f64,
    /// Items in a batch: their mean and deviation.
    size: f64,
    deviation: f64,
    /// The mean time.
    time: f64,
    /// Whether sizes differed enough to tell a slope.
    sloped: bool,
}

/// What may be true: a rate and a fit.
#[derive(Clone, Copy, Debug)]
struct Truth {
    rate: f64,
    fit: Fit,
}

impl Batches {
    fn read(subject: &Subject<'_>) -> Option<Self> {
        let utility = subject.profile.utility;
        let (fit, seen) = Fit::read(subject.bulk?)?;
        let (rate, calls, queued) = rate(subject)?;
        let waits = utility.second * (1.0 - queued) + utility.hour_late / 3_600.0 * queued;
        let sane = |x: f64| Some(x).filter(|x| x.is_finite() && *x > 0.0);
        let single = Sketch::of_times(subject.history).mean().unwrap_or(fit.base + fit.each);
        Some(Self {
            seen,
            calls,
            rate,
            fit,
            single,
            call: sane(utility.call)?,
            wait: sane(waits)?,
            queued: queued > 0.5,
        })
    }

    fn propose(&self, subject: &Subject<'_>) -> Vec<Proposal> {
        let truths = self.drawn();
        [self.window(subject, &truths), self.most(subject, &truths), self.fewest(subject, &truths)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// What one item costs where so long is waited for others, or until there are so many.
    fn price(&self, truth: Truth, window: f64, most: f64) -> f64 {
        let others = (truth.rate * window).min(most.max(2.0) - 1.0);
        let of = |size: f64| {
            let waited = (size - 1.0) / (2.0 * truth.rate);
            self.call / size + self.wait * (waited + truth.fit.time(size))
        };
        if others >= 1.0 {
            return of(1.0 + others);
        }
        // Most wait for nobody.
        let alone = self.call + self.wait * (self.single + window);
        (1.0 - others) * alone + if others > 0.0 { others * of(2.0) } else { 0.0 }
    }

    fn best(&self, truth: Truth) -> f64 {
        let Truth { rate, fit } = truth;
        (2.0 * rate * self.call / (self.wait * (1.0 + 2.0 * rate * fit.each.max(0.0)))).sqrt()
    }

    fn window(&self, subject: &Subject<'_>, truths: &[Truth]) -> Option<Proposal> {
        let patience = subject.profile.deadline.as_secs_f64() * PATIENCE;
        let most = if self.queued { BATCH_WINDOW.max } else { patience };
        let bounds = (BATCH_WINDOW.min, BATCH_WINDOW.max.min(most));
        let size = subject.before(&BATCH_MAX_SIZE, None);
        let truth = self.truth();
        let wanted = (self.best(truth) / truth.rate).min(bounds.1);
        // Calls that come one by one could not have filled such batches, however long was waited.
        if self.fit.size >= BURST * (1.0 + truth.rate * wanted) {
            return None;
        }
        let pays = truth.rate * wanted >= 1.0 && self.price(truth, wanted, size) < self.price(truth, 0.0, size);
        let target = if pays { wanted } else { 0.0 };
        let price = |truth, window| self.price(truth, window, size);
        let mut ideal: Vec<f64> = truths.iter().map(|truth| (self.best(*truth) / truth.rate).min(bounds.1)).collect();
        let rate = truth.rate;
        let reason = |new: f64| {
            let come = format!("{rate:.2} calls come in a second and a batch takes {}", self.fit.in_words());
            if target == 0.0 {
                format!("{come}; waiting for others costs more than the calls it saves")
            } else {
                format!("{come}; waiting {} for others is cheapest", BATCH_WINDOW.unit.show(new))
            }
        };
        self.proposal(subject, &BATCH_WINDOW, target, bounds, &mut ideal, truths, price, reason)
    }

    fn most(&self, subject: &Subject<'_>, truths: &[Truth]) -> Option<Proposal> {
        // Two deviations above the mean stand for the largest that was seen.
        let largest = self.fit.size + 2.0 * self.fit.deviation;
        let bounds = (BATCH_MAX_SIZE.min, BATCH_MAX_SIZE.max.min((2.0 * largest).max(BATCH_MAX_SIZE.min)));
        let together = |truth: Truth| (self.call / (self.wait * truth.fit.each.max(1e-9))).sqrt();
        let target = together(self.truth()).clamp(bounds.0, bounds.1);
        let old = subject.before(&BATCH_MAX_SIZE, None);
        // More than was ever seen at once is a bound that nothing has met: no reason to lower it to there.
        if target < old && target >= bounds.1 {
            return None;
        }
        let bounds = (bounds.0, bounds.1.max(old));
        let price = |truth: Truth, most: f64| self.call / most + self.wait * truth.fit.time(most);
        let mut ideal: Vec<f64> = truths.iter().map(|truth| together(*truth).min(bounds.1)).collect();
        let reason = |new: f64| {
            let takes = self.fit.in_words();
            format!("a batch takes {takes}; beyond {new:.0} items one more delays the others by more than it saves")
        };
        let target = if target > old || self.fit.sloped { target } else { old };
        self.proposal(subject, &BATCH_MAX_SIZE, target, bounds, &mut ideal, truths, price, reason)
    }

    fn fewest(&self, subject: &Subject<'_>, truths: &[Truth]) -> Option<Proposal> {
        let most = subject.before(&BATCH_MAX_SIZE, None);
        let bounds = (BATCH_THRESHOLD.min, BATCH_THRESHOLD.max.min(most.max(BATCH_THRESHOLD.min)));
        let waited = subject.before(&BATCH_WINDOW, None) / 2.0;
        let saves = |truth: Truth, n: f64| {
            self.call * (n - 1.0) + self.wait * n * (self.single - truth.fit.time(n)) - self.wait * waited
        };
        let fewest = |truth: Truth| (2..=bounds.1 as u32).map(f64::from).find(|n| saves(truth, *n) > 0.0);
        // Where none saves anything the window says so.
        let target = fewest(self.truth())?;
        let mut ideal: Vec<f64> = truths.iter().map(|truth| fewest(*truth).unwrap_or(bounds.1)).collect();
        // Of the sizes between the two thresholds all are made as one under the lower, and none under the higher.
        let price = |truth: Truth, threshold: f64| {
            let old = subject.before(&BATCH_THRESHOLD, None);
            let (low, high) = (old.min(target).round() as u32, old.max(target).round() as u32);
            let as_one = (low..high).map(f64::from).filter(|n| *n >= threshold);
            -as_one.map(|n| saves(truth, n)).sum::<f64>()
        };
        let reason = |new: f64| {
            let single = BATCH_WINDOW.unit.show(self.single);
            format!(
                "a batch takes {}, a single call {single}; from {new:.0} items on one call for all is cheaper",
                self.fit.in_words()
            )
        };
        self.proposal(subject, &BATCH_THRESHOLD, target, bounds, &mut ideal, truths, price, reason)
    }

    #[expect(clippy::too_many_arguments, reason = "what the three parameters do alike, named at each call")]
    fn proposal(
        &self,
        subject: &Subject<'_>,
        parameter: &'static Parameter,
        target: f64,
        bounds: (f64, f64),
        ideal: &mut [f64],
        truths: &[Truth],
        price: impl Fn(Truth, f64) -> f64,
        reason: impl Fn(f64) -> String,
    ) -> Option<Proposal> {
        let old = subject.before(parameter, None);
        if target < old * LEAST_MOVE && old < target * LEAST_MOVE {
            return None;
        }
        let new = step(parameter, old, target, bounds);
        let cheaper = truths.iter().filter(|truth| price(**truth, new) < price(**truth, old)).count();
        let Self { rate, fit, .. } = self;
        Some(Proposal {
            parameter,
            after: None,
            old,
            new,
            bounds,
            sample: self.seen.min(self.calls),
            fewest: MIN_SAMPLE,
            interval: (quantile(ideal, 0.05), quantile(ideal, 0.95)),
            confidence: cheaper as f64 / truths.len().max(1) as f64,
            predicted: None,
            act: true,
            reason: reason(new),
            evidence: json!({
                "batches": self.seen,
                "calls": self.calls,
                "rate": rounded(rate.mean),
                "items": rounded(fit.size),
                "batch_seconds": rounded(fit.base),
                "item_seconds": rounded(fit.each),
                "single_seconds": rounded(self.single),
                "second_costs": self.wait,
                "target": rounded(target),
            }),
        })
    }

    fn truth(&self) -> Truth {
        Truth { rate: self.rate.mean, fit: self.fit }
    }

    fn drawn(&self) -> Vec<Truth> {
        let mut draws = Draws::new();
        (0..DRAWS)
            .map(|_| {
                // On a logarithmic scale, so that no rate is negative.
                let spread = self.rate.error / self.rate.mean;
                let rate = self.rate.mean * (spread * draws.normal()).exp();
                Truth { rate, fit: self.fit.tilted(self.fit.error * draws.normal()) }
            })
            .collect()
    }
}

impl Fit {
    /// The fit, and how many batches there were.
    fn read(history: &History) -> Option<(Self, u64)> {
        let mut hours: BTreeMap<i64, [u64; BatchSum::ALL.len()]> = BTreeMap::new();
        for (hour, key, count) in history.cells() {
            if let Key::Batch(sum) = key {
                hours.entry(hour).or_default()[sum as usize] += count;
            }
        }
        let calls = |sums: &[u64; BatchSum::ALL.len()]| sums[BatchSum::Calls as usize];
        let seen: u64 = hours.values().map(calls).sum();
        let weights = regime::weights(hours.values().rev().map(calls), HALF_LIFE_BATCHES);
        let mut total = [0.0; BatchSum::ALL.len()];
        for (sums, weight) in hours.values().rev().zip(weights) {
            for (total, sum) in total.iter_mut().zip(sums) {
                *total += weight * *sum as f64;
            }
        }
        let [n, x, xx, y, xy] = total;
        if seen == 0 || n < 1.0 || x < n {
            return None;
        }
        let (size, time) = (x / n, y / n / 1e6);
        let variance = (xx / n - size * size).max(0.0);
        let sloped = variance >= MIN_VARIANCE;
        // Between "each item takes its time" and "all take as long as one".
        let proportional = time / size;
        let slope = if sloped { (xy / n / 1e6 - size * time) / variance } else { proportional };
        let each = slope.clamp(0.0, proportional);
        // Times of batches scatter by about as much as they are long; the sum of their squares is not kept.
        let error = if sloped { time / (variance * n).sqrt() } else { 0.0 };
        let fit = Self { base: time - each * size, each, error, size, deviation: variance.sqrt(), time, sloped };
        Some((fit, seen))
    }

    fn time(&self, items: f64) -> f64 {
        if self.sloped || items > self.size { self.base + self.each * items } else { self.time }
    }

    /// The same times at the mean size with another slope.
    fn tilted(self, by: f64) -> Self {
        let each = (self.each + by).clamp(0.0, self.time / self.size);
        Self { each, base: self.time - each * self.size, ..self }
    }

    fn in_words(&self) -> String {
        let show = |seconds| BATCH_WINDOW.unit.show(seconds);
        format!("{} and {} for each item", show(self.base.max(0.0)), show(self.each))
    }
}

/// The rate that a call meets, by how many calls it is known, and the share of them that nobody waits for.
fn rate(subject: &Subject<'_>) -> Option<(Rate, u64, f64)> {
    let this_hour = subject.now.hour();
    // Long ago is told in blocks of several hours.
    let mut hours: BTreeMap<(i64, i64), (u64, u64)> = BTreeMap::new();
    for (hour, key, count) in subject.history.cells() {
        let (made, queued) = match key {
            // What a worker makes later is counted when it is made.
            Key::Call(Ending::Queued) => (0, count),
            Key::Call(Ending::Done | Ending::Batched | Ending::Failed | Ending::OutcomeUnknown) => (count, 0),
            _ => continue,
        };
        let hour = hours.entry(block_of(hour, this_hour)).or_default();
        hour.0 += made;
        hour.1 += queued;
    }
    // The first hour began with its first call, and nobody knows when that was.
    hours.pop_first();
    let passed = (subject.now.millis().rem_euclid(3_600_000) as f64 / 1e3).max(1.0);
    let decayed = regime::weights(hours.values().rev().map(|(made, _)| *made), HALF_LIFE_CALLS);
    let (mut calls, mut squares, mut queued, mut seen) = (0.0, 0.0, 0.0, 0);
    let mut rates = Vec::new();
    for (((hour, length), (made, put)), weight) in hours.iter().rev().zip(decayed) {
        let length = if *hour >= this_hour { passed } else { 3_600.0 * *length as f64 };
        let weight = weight * (-((this_hour - hour).max(0) as f64) / HALF_LIFE_HOURS).exp2();
        let n = *made as f64;
        calls += weight * n;
        squares += (weight * n).powi(2);
        queued += weight * *put as f64;
        seen += made;
        // Without the call itself, which would meet itself.
        rates.push(((n - 1.0).max(0.0) / length, weight * n));
    }
    rates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let at = |share: f64| {
        let mut below = 0.0;
        rates.iter().find_map(|(rate, weight)| {
            below += weight;
            (below >= share * calls).then_some(*rate)
        })
    };
    let mean = at(0.5).filter(|rate| *rate > 0.0)?;
    // A normal distribution has a deviation of 0.74 times the distance of its quartiles, and its median 1.25 times the
    // error of its mean.
    let between_hours = 1.25 * 0.74 * (at(0.75)? - at(0.25)?) / (calls * calls / squares).sqrt();
    let error = between_hours.hypot(mean / calls.max(1.0).sqrt());
    let enough = seen >= MIN_SAMPLE;
    enough.then_some((Rate { mean, error }, seen, (queued / calls).min(1.0)))
}

#[cfg(test)]
mod tests;
