//! Learns `cache.ttl`: how long an answer is fresh.
//!
//! **What is seen.** Whenever an answer is asked for again, its age then and whether it was another one by then:
//! current-status data, which never says when it changed. How likely an answer is another one at an age, the curve, is
//! counted in quarter-octave bins of age and can only rise with age: pooling adjacent violators gives the most likely such
//! curve (Ayer et al. 1955).
//!
//! **Where it should be.** Hits come at every age up to the limit alike, so the share of them that is out of date is
//! the mean of the curve up to there. The limit is the largest age at which that mean is within the staleness of the
//! profile in 95 of 100 curves drawn from what may be true, and never past an age that [`MIN_SAMPLE`] answers reached.
//!
//! **What may be true.** One draw is a rate of change, then for each bin a share around what was counted and
//! [`PRIOR`] observations at that rate (a Poisson process, Cho and Garcia-Molina 2003), then pooling. Ages just below
//! the limit are hardly ever looked at, and this is what fills them: the rate says that a young answer is rarely
//! another one, the pooling that it is no more often so than an older one. Changes come in bursts; where they do, the
//! counts are worth less by as much as the days differ more than chance would make them.
//!
//! **Down** only where more is out of date than allowed in 95 of 100 draws, **up** only by a tenth at least: between
//! the two stands what the evidence cannot tell apart. A service where everything changes at once goes down to 0, which
//! keeps nothing; every call is then a refetch of what the one before it got, and what they see brings it back.
//!
//! Forgetting: a half-life of 4,000 refetches, and [`regime`](super::regime) where the share of changed answers at the
//! same ages is another: at once where it is higher, after a week where it is lower, because lulls pass.

use super::Subject;
use super::draws::{DRAWS, Draws, quantile};
use super::guard::{MIN_CONFIDENCE, MIN_SAMPLE, Proposal, rounded, step};
use super::regime::{self, Tally};
use crate::evidence::{AGE_BINS, Key, age_bin, bin_age};
use crate::parameter::{CACHE_TTL, Step};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const BINS: usize = AGE_BINS as usize;

/// Half as much is believed of a refetch after this many newer ones.
const HALF_LIFE: f64 = 4_000.0;

/// Refetches that are compared with older ones to see whether the service became another.
const BLOCK: u64 = 100;

/// Hours with fewer changes than before are a lull, after which they come again, and no other service, up to so many.
const LULL: i64 = 7 * 24;

/// Refetches to come about which an interval speaks.
const AHEAD: f64 = 1_000.0;

/// How many observations of each bin the rate of change stands for.
const PRIOR: f64 = 2.0;

/// The youngest answers by which the rate is known. Where changes come in bursts, older ones would make it too low.
const YOUNG: f64 = 200.0;

/// A rise by less is noise: bins are 19 % apart.
const LEAST_RISE: f64 = 1.1;

/// Ages between two bins at which a limit may stand.
const PARTS: usize = 2;

/// Proposes one step of the freshness, if answers were asked for again.
pub(crate) fn propose(subject: &Subject<'_>) -> Vec<Proposal> {
    Ages::read(subject).and_then(|ages| ages.propose(subject)).into_iter().collect()
}

/// The age that as many answers reached as a move rests on: about older ones nothing is known, whoever proposes them.
pub(crate) fn reached(subject: &Subject<'_>) -> f64 {
    Ages::read(subject).map_or(0.0, |ages| ages.reached())
}

/// Answers that were asked for again, by age.
#[derive(Clone, Debug)]
struct Ages {
    /// Weighted by age of the evidence, in the present regime.
    unchanged: [f64; BINS],
    changed: [f64; BINS],
    /// Refetches in the present regime, unweighted, and those that brought another answer.
    seen: u64,
    other: u64,
    /// How many times as much as by chance the days differ.
    spread: f64,
}

impl Ages {
    fn read(subject: &Subject<'_>) -> Option<Self> {
        let hours = hours(subject);
        let mut kept = regime::present(&hours, BLOCK);
        if is_lull(&hours, kept) {
            kept = hours.len();
        }
        let weights = regime::weights(hours.iter().map(|(_, hour)| hour.size()), HALF_LIFE);
        let mut ages = Self { unchanged: [0.0; BINS], changed: [0.0; BINS], seen: 0, other: 0, spread: 1.0 };
        for ((_, hour), weight) in hours[..kept].iter().zip(weights) {
            for bin in 0..BINS {
                ages.unchanged[bin] += weight * hour.unchanged[bin] as f64;
                ages.changed[bin] += weight * hour.changed[bin] as f64;
            }
            ages.seen += hour.size();
            ages.other += hour.changed.iter().sum::<u64>();
        }
        ages.spread = ages.spread(&hours[..kept]);
        (ages.seen > 0).then_some(ages)
    }

    fn propose(&self, subject: &Subject<'_>) -> Option<Proposal> {
        let allowed = subject.profile.staleness;
        if !allowed.is_finite() || allowed <= 0.0 {
            return None;
        }
        let old = subject.before(&CACHE_TTL, None);
        let drawn = self.drawn(old, self.spread);
        // Days that differ are no reason to go on with what is too much over all of them.
        let plain = (self.spread > 1.0).then(|| self.drawn(old, 1.0));
        let over = share_over(plain.as_ref().unwrap_or(&drawn), old, allowed);
        let target = self.target(&drawn, old, allowed);
        let falls = target < old && over >= MIN_CONFIDENCE;
        let rises = target >= old * LEAST_RISE && target > 0.0;
        if !falls && !rises {
            return None;
        }
        let bounds = (CACHE_TTL.min, CACHE_TTL.max);
        let new = step(&CACHE_TTL, old, target, bounds);
        let shown = if falls { old } else { new };
        // The days to come differ as those that were seen did.
        let to_come = (self.spread - 1.0) * self.refetches() / AHEAD;
        let wider = (to_come > 0.0).then(|| self.drawn(old, self.spread + to_come));
        let curves = wider.as_ref().unwrap_or(&drawn).iter();
        let mut stale: Vec<f64> = curves.map(|curve| curve.stale_up_to(shown)).collect();
        let interval = (quantile(&mut stale, 0.05), quantile(&mut stale, 0.95));
        let Self { seen, other, .. } = self;
        let counted = format!("{other} of {seen} answers that were asked for again were other ones");
        let at = CACHE_TTL.unit.show(shown);
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let verdict = if falls {
            format!("kept up to {at} at least {} of the hits would be out of date", percent(interval.0))
        } else {
            format!("kept up to {at} at most {} of the hits would be out of date", percent(interval.1))
        };
        Some(Proposal {
            parameter: &CACHE_TTL,
            after: None,
            old,
            new,
            bounds,
            sample: self.seen,
            fewest: MIN_SAMPLE,
            interval,
            confidence: if falls { over } else { 1.0 - share_over(&drawn, new, allowed) },
            predicted: None,
            act: true,
            reason: format!("{counted}; {verdict}, {} are allowed", percent(allowed)),
            evidence: self.evidence(target, allowed),
        })
    }

    /// The largest age up to which little enough is out of date in nearly all draws, and that was reached.
    fn target(&self, drawn: &[Curve], old: f64, allowed: f64) -> f64 {
        let most = self.reached().min(CACHE_TTL.max).min(horizon(old));
        let ages: Vec<f64> =
            (1..=BINS * PARTS).map(|part| edge_at(part as f64 / PARTS as f64)).take_while(|age| *age <= most).collect();
        // In every draw more is out of date the longer answers are kept.
        let within = ages.partition_point(|age| share_over(drawn, *age, allowed) <= 1.0 - MIN_CONFIDENCE);
        let best = within.checked_sub(1).map_or(0.0, |last| ages[last]);
        if best < least() { 0.0 } else { best }
    }

    /// The age that [`MIN_SAMPLE`] answers reached: the end of the bin in which the oldest of them stand.
    fn reached(&self) -> f64 {
        let mut older = 0.0;
        let oldest = (0..BINS).rev().find(|bin| {
            older += self.unchanged[*bin] + self.changed[*bin];
            older >= MIN_SAMPLE as f64
        });
        oldest.map_or(0.0, |bin| edge(bin + 1))
    }

    /// Curves that may be true, with counts that are worth `spread` times less. Drawn about a limit as far as one step
    /// of it can see: what is far younger hardly weighs, and stands at its mean.
    fn drawn(&self, old: f64, spread: f64) -> Vec<Curve> {
        let (first, bins) = (bin_of(old / 32.0), bin_of(horizon(old)) + 1);
        let mut draws = Draws::new();
        let young = self.young();
        let rate = self.rate(young);
        let other: f64 = self.changed[..young].iter().sum::<f64>() / spread + 0.5;
        let all = self.refetches();
        (0..DRAWS)
            .map(|_| {
                let rate = rate * draws.gamma(other) / other;
                let mut shares = [(0.0, 0.0); BINS];
                for (bin, share) in shares.iter_mut().enumerate().take(bins) {
                    let (changed, unchanged) = (self.changed[bin] / spread, self.unchanged[bin] / spread);
                    let before = 1.0 - (-rate * middle(bin)).exp();
                    // Half a change more in all (Jeffreys), where the observations are.
                    let unseen = 0.5 * (self.changed[bin] + self.unchanged[bin]) / all;
                    let (bad, good) = (changed + unseen + PRIOR * before, unchanged + PRIOR * (1.0 - before));
                    let drawn = if bin < first { bad / (bad + good) } else { draws.beta(bad, good) };
                    *share = (drawn, changed + unchanged + PRIOR);
                }
                Curve::new(pooled(&shares))
            })
            .collect()
    }

    /// All of them, weighted.
    fn refetches(&self) -> f64 {
        self.changed.iter().chain(&self.unchanged).sum()
    }

    /// Up to which bin answers are young: the youngest [`YOUNG`] of them.
    fn young(&self) -> usize {
        let mut seen = 0.0;
        let last = (0..BINS).find(|bin| {
            seen += self.changed[*bin] + self.unchanged[*bin];
            seen >= YOUNG
        });
        last.map_or(BINS, |last| last + 1)
    }

    /// The most likely rate of change of the answers in the youngest bins, if changes came independently of each
    /// other: the solution of `sum over changed of age / (e^(rate age) - 1) = sum of the ages of the unchanged`.
    fn rate(&self, bins: usize) -> f64 {
        let all: f64 = self.changed[..bins].iter().chain(&self.unchanged[..bins]).sum();
        let excess = |rate: f64| {
            (0..bins)
                .map(|bin| {
                    let age = middle(bin);
                    // Half a change and half an unchanged answer keep "never" and "always" from being certain.
                    let half = 0.5 * (self.changed[bin] + self.unchanged[bin]) / all;
                    (self.changed[bin] + half) * age / (rate * age).exp_m1() - (self.unchanged[bin] + half) * age
                })
                .sum::<f64>()
        };
        let (mut low, mut high) = (-30.0_f64, 10.0_f64);
        for _ in 0..60 {
            let between = f64::midpoint(low, high);
            if excess(between.exp()) > 0.0 { low = between } else { high = between }
        }
        f64::midpoint(low, high).exp()
    }

    /// By how much the numbers of changed answers differ between days, beyond what chance alone would do.
    fn spread(&self, hours: &[(i64, Hour)]) -> f64 {
        let curve = self.curve();
        let mut days: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
        for (hour, tally) in hours {
            let day = days.entry(hour.div_euclid(24)).or_default();
            for (bin, p) in curve.share.iter().enumerate() {
                let n = (tally.changed[bin] + tally.unchanged[bin]) as f64;
                day.0 += tally.changed[bin] as f64 - n * p;
                day.1 += n * p * (1.0 - p);
            }
        }
        if days.len() < 4 {
            return 1.0;
        }
        let (off, chance) = days.values().fold((0.0, 0.0), |sum, day| (sum.0 + day.0 * day.0, sum.1 + day.1));
        if chance > 0.0 { (off / chance).max(1.0) } else { 1.0 }
    }

    /// The most likely curve.
    fn curve(&self) -> Curve {
        let shares: Vec<_> = (0..BINS)
            .map(|bin| {
                let n = self.changed[bin] + self.unchanged[bin];
                (if n > 0.0 { self.changed[bin] / n } else { 0.0 }, n)
            })
            .collect();
        Curve::new(pooled(&shares))
    }

    fn evidence(&self, target: f64, allowed: f64) -> serde_json::Value {
        let curve = self.curve();
        let bins = (0..BINS).filter(|bin| self.changed[*bin] + self.unchanged[*bin] > 0.0).map(|bin| {
            json!({
                "age": rounded(edge(bin)),
                "weight": rounded(self.changed[bin] + self.unchanged[bin]),
                "changed": rounded(self.changed[bin]),
                "pooled": rounded(curve.share[bin]),
            })
        });
        json!({
            "refetched": self.seen,
            "changed": self.other,
            "changes_each_hour": rounded(3_600.0 * self.rate(self.young())),
            "days_differ": rounded(self.spread),
            "target": rounded(target),
            "allowed": allowed,
            "ages": bins.collect::<Vec<_>>(),
        })
    }
}

/// P(an answer is another one) by bin of age.
#[derive(Debug)]
struct Curve {
    share: [f64; BINS],
    /// The area under the curve up to the beginning of each bin.
    area: [f64; BINS],
}

impl Curve {
    fn new(share: [f64; BINS]) -> Self {
        let mut area = [0.0; BINS];
        for bin in 1..BINS {
            area[bin] = area[bin - 1] + share[bin - 1] * (edge(bin) - start(bin - 1));
        }
        Self { share, area }
    }

    /// The share of hits that are out of date if they come at every age up to this one alike.
    fn stale_up_to(&self, age: f64) -> f64 {
        if age <= 0.0 {
            return 0.0;
        }
        let bin = bin_of(age);
        (self.area[bin] + self.share[bin] * (age - start(bin))) / age
    }
}

/// In how many of the draws more is out of date than allowed.
fn share_over(drawn: &[Curve], age: f64, allowed: f64) -> f64 {
    drawn.iter().filter(|curve| curve.stale_up_to(age) > allowed).count() as f64 / drawn.len().max(1) as f64
}

/// The closest curve that only rises: adjacent bins that fall are pooled, by their weights.
fn pooled(shares: &[(f64, f64)]) -> [f64; BINS] {
    let mut blocks: Vec<(f64, f64, usize)> = Vec::with_capacity(BINS);
    for &(share, weight) in shares {
        let mut block = (share, weight, 1);
        while let Some(&(before, mass, bins)) = blocks.last()
            && (before > block.0 || block.1 == 0.0)
        {
            let weight = mass + block.1;
            let mean = if weight > 0.0 { (before * mass + block.0 * block.1) / weight } else { before };
            block = (mean, weight, bins + block.2);
            blocks.pop();
        }
        blocks.push(block);
    }
    let mut curve = [0.0; BINS];
    let levels = blocks.into_iter().flat_map(|(share, _, bins)| std::iter::repeat_n(share, bins));
    for (bin, share) in curve.iter_mut().zip(levels) {
        *bin = share;
    }
    curve
}

/// The age a bin begins with, in seconds; between two bins for a fraction.
fn edge_at(bin: f64) -> f64 {
    bin_age(0).as_secs_f64() * (bin / 4.0).exp2()
}

/// The same, but the first bin begins with no age at all.
fn start(bin: usize) -> f64 {
    if bin == 0 { 0.0 } else { edge(bin) }
}

fn bin_of(age: f64) -> usize {
    usize::from(age_bin(Duration::try_from_secs_f64(age).unwrap_or_default()))
}

fn edge(bin: usize) -> f64 {
    edge_at(bin as f64)
}

fn middle(bin: usize) -> f64 {
    edge_at(bin as f64 + 0.5)
}

/// Beyond this no step from a limit reaches.
fn horizon(old: f64) -> f64 {
    2.0 * old.max(least())
}

/// What is as good as not keeping an answer at all.
fn least() -> f64 {
    match CACHE_TTL.step {
        Step::Times { least, .. } | Step::By(least) => least,
        Step::Any => 0.0,
    }
}

/// Whether the present differs from what was before by fewer changes, and not for long.
fn is_lull(hours: &[(i64, Hour)], kept: usize) -> bool {
    let (present, past) = hours.split_at(kept);
    let (Some((newest, _)), Some((oldest, _))) = (present.first(), present.last()) else {
        return false;
    };
    let sum = |hours: &[(i64, Hour)]| {
        hours.iter().fold(Hour::default(), |mut sum, (_, hour)| {
            sum.add(hour);
            sum
        })
    };
    newest - oldest < LULL && sum(present).excess(&sum(past)).0 < 0.0
}

/// The refetches of one hour.
#[derive(Clone, Debug)]
struct Hour {
    unchanged: [u64; BINS],
    changed: [u64; BINS],
}

impl Default for Hour {
    fn default() -> Self {
        Self { unchanged: [0; BINS], changed: [0; BINS] }
    }
}

impl Tally for Hour {
    fn size(&self) -> u64 {
        self.unchanged.iter().chain(&self.changed).sum()
    }

    fn add(&mut self, other: &Self) {
        for bin in 0..BINS {
            self.unchanged[bin] += other.unchanged[bin];
            self.changed[bin] += other.changed[bin];
        }
    }

    fn agrees(&self, older: &Self) -> bool {
        let (off, variance) = self.excess(older);
        off.abs() <= regime::DISAGREEMENT * variance.max(1.0).sqrt()
    }
}

impl Hour {
    /// How many more changed than would if both were alike, and the variance of that. Compares only what was seen at
    /// the same ages (Mantel and Haenszel 1959): a limit that moved brings other ages.
    fn excess(&self, older: &Self) -> (f64, f64) {
        let (mut off, mut variance) = (0.0, 0.0);
        for bin in 0..BINS {
            let n = (self.unchanged[bin] + self.changed[bin]) as f64;
            let m = (older.unchanged[bin] + older.changed[bin]) as f64;
            let common = (self.changed[bin] + older.changed[bin]) as f64 / (n + m);
            if n * m > 0.0 && n + m > 1.0 {
                off += self.changed[bin] as f64 - n * common;
                variance += n * m * common * (1.0 - common) / (n + m - 1.0);
            }
        }
        (off, variance)
    }
}

/// The hours in which answers were asked for again, newest first.
fn hours(subject: &Subject<'_>) -> Vec<(i64, Hour)> {
    let mut hours: Vec<(i64, Hour)> = Vec::new();
    for (hour, key, count) in subject.history.cells().rev() {
        let (bin, changed) = match key {
            Key::Unchanged(bin) => (bin, false),
            Key::Changed(bin) => (bin, true),
            _ => continue,
        };
        if hours.last().is_none_or(|(last, _)| *last != hour) {
            hours.push((hour, Hour::default()));
        }
        if let Some((_, tally)) = hours.last_mut() {
            let counts = if changed { &mut tally.changed } else { &mut tally.unchanged };
            if let Some(cell) = counts.get_mut(usize::from(bin)) {
                *cell += count;
            }
        }
    }
    hours
}

#[cfg(test)]
mod tests;
