//! Learns `retry.max_retries` for each kind of failure, from what retries after it came to.
//!
//! The model: after a failure of one kind, the n-th retry succeeds with a probability of its own, known as a Beta
//! distribution. A retry costs a call, the waiting before it and the waiting for it; it earns the value of a success
//! times that probability. Going back from the ceiling of the profile, `v[n] = max(0, gain[n] + (1 - p[n]) v[n+1])`, and
//! the best count is the number of leading retries with a positive `v` (`gain` is what the n-th retry alone earns).
//! A further failure is taken to be of the same kind.
//!
//! * **A place has a price.** Allowing one more retry must save one success in a hundred of the failures it is for. A
//!   retry that is hardly ever reached while the service is up is made mostly while it is down, where retries keep it
//!   down. This is why a service that recovers at the first retry is given one, not three.
//! * **The prior** of the first retry is four tries that succeeded as often as those at the other services of the domain
//!   ([`siblings`](super::siblings)), or half of which did where fewer than three others are known. A deeper one borrows from the one before it: as if twelve tries
//!   had succeeded three quarters as often as that one does, because whatever failed again is more likely to be down.
//!   Borrowing alone can allow a retry that was never tried, where the one before it succeeds often enough; its
//!   own outcomes then decide.
//! * **Forgetting**: a half-life of 2,000 retries after this kind, and [`regime`](super::regime). Not of 2,000
//!   attempts of any kind: a service that fails once in a hundred calls would forget its retries as fast as it makes
//!   them.
//! * **The limit of it**: a kind of failure that is never retried any more yields no evidence, so a count of 0 stays
//!   until other evidence (another process, a reset by a person) comes or the old one expires. It neither oscillates
//!   nor recovers by itself.

use super::Subject;
use super::guard::{MIN_SAMPLE, Proposal, rounded, step};
use super::posterior::Posterior;
use super::regime::{self, Tally};
use crate::evidence::{Key, Sketch};
use crate::outcome::FailureKind;
use crate::parameter::MAX_RETRIES;
use serde_json::json;
use std::collections::BTreeMap;

/// Half as much is believed of a retry after this many newer ones.
const HALF_LIFE: f64 = 2_000.0;

/// What a further retry must earn, as a share of the value of a success, for every failure that it is allowed after.
const PRICE_OF_A_PLACE: f64 = 0.01;

/// What is believed of a first retry before it was tried, where no other services say it: successes and failures.
const BEFORE: (f64, f64) = (2.0, 2.0);

/// How many tries the prior of a deeper retry is worth.
const BORROWED_TRIES: f64 = 12.0;

/// How often a retry succeeds, before it was tried, for each success of the retry before it.
const BORROWED_SHARE: f64 = 0.75;

/// Proposes one step for each kind of failure that the evidence speaks about.
pub(crate) fn propose(subject: &Subject<'_>) -> Vec<Proposal> {
    FailureKind::ALL.into_iter().filter_map(|kind| propose_after(subject, kind)).collect()
}

fn propose_after(subject: &Subject<'_>, kind: FailureKind) -> Option<Proposal> {
    let ceiling = subject.profile.max_retries_ceiling;
    let old = subject.before(&MAX_RETRIES, Some(kind)).round();
    // One more than the ceiling is never allowed, but a value configured above it can still come down.
    let depth = usize::from(ceiling).max(old as usize).min(usize::from(crate::evidence::MAX_COUNTED_RETRY));
    let retries = read(subject, kind, depth);
    if retries.first()?.tried == 0 {
        return None;
    }
    let best = best_count(&retries, usize::from(ceiling), subject.profile.utility.value);
    let new = step(&MAX_RETRIES, old, best as f64, (0.0, f64::from(ceiling)));
    // The two counts differ by one retry, the last of the larger count: whatever it is likely to earn is the
    // difference between them.
    let marginal = old.max(new) as usize;
    let retry = retries.get(marginal.checked_sub(1)?)?;
    let before = marginal.checked_sub(2).and_then(|index| retries.get(index));
    let pays = retry.probability_that_it_pays(before, subject.profile.utility.value);
    let raises = new > old;
    // How often a retry is reached is seen at the one before it.
    let sample = before.map_or(retry.tried, |before| before.tried.max(retry.tried));
    let useless = retry.gain(retry.posterior.mean()) <= 0.0;
    let shown = before.filter(|before| before.tried > 0 && !useless && retry.tried < MIN_SAMPLE).unwrap_or(retry);
    Some(Proposal {
        parameter: &MAX_RETRIES,
        after: Some(kind),
        old,
        new,
        bounds: (0.0, f64::from(ceiling)),
        sample,
        fewest: MIN_SAMPLE,
        interval: shown.posterior.interval(),
        confidence: if raises { pays } else { 1.0 - pays },
        predicted: None,
        act: true,
        reason: reason(kind, retry, shown, raises),
        evidence: json!({
            "after": kind.as_str(),
            "best": best,
            "retries": retries.iter().map(|retry| json!({
                "retry": retry.n,
                "tried": retry.tried,
                "recovered": retry.recovered,
                "probability": rounded(retry.posterior.mean()),
                "reached": rounded(retry.reached),
                "pays_from": rounded(retry.breaks_even()),
            })).collect::<Vec<_>>(),
        }),
    })
}

/// One retry of a call, by its number.
#[derive(Clone, Debug)]
struct Retry {
    /// 1 for the second attempt.
    n: usize,
    /// How often it was made, and succeeded, in the present regime.
    tried: u64,
    recovered: u64,
    posterior: Posterior,
    /// The share of first failures after which all retries before this one fail too.
    reached: f64,
    /// Earned for each success, and paid for each try.
    earns: f64,
    costs: f64,
}

impl Retry {
    fn gain(&self, probability: f64) -> f64 {
        probability * self.earns - self.costs
    }

    /// The probability of success from which it is worth its cost, its place aside.
    fn breaks_even(&self) -> f64 {
        self.costs / self.earns
    }

    /// P(what it earns for each failure exceeds the price of its place).
    fn probability_that_it_pays(&self, before: Option<&Self>, value: f64) -> f64 {
        let price = PRICE_OF_A_PLACE * value;
        let Some(before) = before else {
            return self.posterior.above((self.costs + price) / self.earns);
        };
        // Both are uncertain: whether it is reached (the retry before it fails) and whether it then succeeds.
        let others = self.reached / (1.0 - before.posterior.mean()).max(f64::EPSILON);
        let cells = 200;
        let edge = |i: i32| f64::from(i) / f64::from(cells);
        (0..cells)
            .map(|i| {
                let mass = self.posterior.below(edge(i + 1)) - self.posterior.below(edge(i));
                let gain = self.gain(f64::midpoint(edge(i), edge(i + 1)));
                if gain <= 0.0 { 0.0 } else { mass * before.posterior.below(1.0 - price / (others * gain)) }
            })
            .sum::<f64>()
            .clamp(0.0, 1.0)
    }
}

/// The number of leading retries worth making, by backward induction.
fn best_count(retries: &[Retry], ceiling: usize, value: f64) -> usize {
    let mut worth = vec![0.0; ceiling.min(retries.len()) + 1];
    for (index, retry) in retries.iter().enumerate().take(ceiling).rev() {
        let p = retry.posterior.mean();
        let place = PRICE_OF_A_PLACE * value / retry.reached.max(f64::EPSILON);
        worth[index] = f64::max(0.0, retry.gain(p) - place + (1.0 - p) * worth[index + 1]);
    }
    worth.iter().take_while(|worth| **worth > 0.0).count()
}

fn read(subject: &Subject<'_>, kind: FailureKind, depth: usize) -> Vec<Retry> {
    let mut hours: BTreeMap<i64, Vec<Tries>> = BTreeMap::new();
    for (hour, key, count) in subject.history.cells() {
        let (n, tried, recovered) = match key {
            Key::Retried(n, k) if k == kind => (n, count, 0),
            Key::Recovered(n, k) if k == kind => (n, 0, count),
            _ => continue,
        };
        let tries = hours.entry(hour).or_insert_with(|| vec![Tries::default(); depth]);
        if let Some(tries) = usize::from(n).checked_sub(1).and_then(|index| tries.get_mut(index)) {
            tries.tried += tried;
            tries.recovered += recovered;
        }
    }
    let made = hours.values().rev().map(|tries| tries.iter().map(|tries| tries.tried).sum());
    let weights = regime::weights(made, HALF_LIFE);
    let costs = Costs::of(subject, kind);
    let mut retries: Vec<Retry> = Vec::with_capacity(depth);
    for index in 0..depth {
        let series: Vec<(i64, Tries)> = hours.iter().rev().map(|(hour, tries)| (*hour, tries[index])).collect();
        let present = &series[..regime::present(&series, MIN_SAMPLE)];
        let mut total = Tries::default();
        let (mut succeeded, mut failed) = (0.0, 0.0);
        for ((_, tries), weight) in present.iter().zip(&weights) {
            total.add(tries);
            let recovered = tries.recovered.min(tries.tried);
            succeeded += weight * recovered as f64;
            failed += weight * (tries.tried - recovered) as f64;
        }
        let before = retries.last();
        let (good, bad) = match before {
            None => subject.siblings.retry(kind).unwrap_or(BEFORE),
            Some(before) => {
                let share = BORROWED_SHARE * before.posterior.mean();
                (BORROWED_TRIES * share, BORROWED_TRIES * (1.0 - share))
            }
        };
        let (earns, costs) = costs.of_retry(index);
        retries.push(Retry {
            n: index + 1,
            tried: total.tried,
            recovered: total.recovered.min(total.tried),
            posterior: Posterior::new(good + succeeded, bad + failed),
            reached: before.map_or(1.0, |before| before.reached * (1.0 - before.posterior.mean())),
            earns,
            costs,
        });
    }
    retries
}

/// What a retry costs and earns at this service.
struct Costs {
    value: f64,
    call: f64,
    second: f64,
    base_delay: f64,
    max_delay: f64,
    /// Seconds that an attempt takes if it succeeds, and if it does not.
    success: f64,
    failure: f64,
}

impl Costs {
    fn of(subject: &Subject<'_>, kind: FailureKind) -> Self {
        let utility = subject.profile.utility;
        let timeout = subject.values.attempt_timeout.as_secs_f64();
        let usual = Sketch::of_times(subject.history).mean().unwrap_or(timeout).min(timeout);
        Self {
            value: utility.value,
            call: utility.call,
            second: utility.second,
            base_delay: subject.values.base_delay.as_secs_f64(),
            max_delay: subject.values.max_delay.as_secs_f64(),
            success: usual,
            // What hung once is waited for to the end when it hangs again; other failures come as fast as answers.
            failure: if kind == FailureKind::Timeout { timeout } else { usual },
        }
    }

    /// Earned for each success, and paid for each try, of the retry at this index.
    fn of_retry(&self, index: usize) -> (f64, f64) {
        // Full jitter: half the delay on average.
        let delay = (self.base_delay * f64::from(index as u32).exp2()).min(self.max_delay) / 2.0;
        let earns = self.value + self.second * (self.failure - self.success);
        (earns.max(f64::EPSILON), self.call + self.second * (delay + self.failure))
    }
}

/// Retries of one number in one hour.
#[derive(Clone, Copy, Debug, Default)]
struct Tries {
    tried: u64,
    recovered: u64,
}

impl Tally for Tries {
    fn size(&self) -> u64 {
        self.tried
    }

    fn add(&mut self, other: &Self) {
        self.tried += other.tried;
        self.recovered += other.recovered;
    }

    fn agrees(&self, older: &Self) -> bool {
        regime::may_be_one_rate((self.recovered, self.tried), (older.recovered, older.tried))
    }
}

fn reason(kind: FailureKind, retry: &Retry, shown: &Retry, raises: bool) -> String {
    let (low, high) = shown.posterior.interval();
    let made = format!(
        "after {} the {} retry succeeded {} of {} times (90 % interval {low:.2}-{high:.2})",
        described(kind),
        ordinal(shown.n),
        shown.recovered,
        shown.tried,
    );
    let other = if shown.n == retry.n { "it".to_owned() } else { format!("a {} one", ordinal(retry.n)) };
    if raises { format!("{made}; {other} is worth its cost") } else { format!("{made}; {other} is not worth its cost") }
}

fn described(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Transient => "a transient failure",
        FailureKind::Connect => "a failed connection",
        FailureKind::Lost => "a lost connection",
        FailureKind::Timeout => "a timeout",
        FailureKind::Throttled => "being throttled",
        FailureKind::Invalid => "an invalid answer",
    }
}

fn ordinal(n: usize) -> String {
    match n {
        1 => "first".to_owned(),
        2 => "second".to_owned(),
        3 => "third".to_owned(),
        n => format!("{n}th"),
    }
}
