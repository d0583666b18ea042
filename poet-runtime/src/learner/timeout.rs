//! Learns `timeout.attempt`: how long one attempt is waited for.
//!
//! **Where it should be.** The restart-optimal limit (van Moorsel and Wolter 2006) minimises the time and money spent
//! for each success if every attempt is cut off at T and started again: `(E[min(L, T)] + c/w) / P(L <= T)`, from a
//! sketch in which timeouts count as censored (Kaplan and Meier), never under 1.25 times the 99.5 % quantile of what
//! was answered. A few hundred answers do not reach that quantile; until then twice the longest stands in for it.
//!
//! **How sure one step down is.** It saves `old - new` seconds on every attempt that hangs, and loses a restart on
//! every attempt that would have been answered between the two, or the whole call where no retry after a timeout was
//! seen to succeed: what makes an answer late may make the next one late too. Both are rare events with a Gamma belief
//! each; hangs start from one in 200 attempts (half a pseudo-hang), answers beyond the new limit from a Pareto tail of
//! index 2 through the 99.5 % quantile. A service that was hardly called loses a needlessly long limit on the prior
//! alone; one that was called often and never hung keeps it, since it costs nothing.
//!
//! **What a deadline cut short.** An attempt that the deadline of its call ended, before its own limit did, is a hang
//! as well, and a dear one: a lower limit would have left time to try again. It counts with what was waited for beyond
//! the lower limit and, where trying again is allowed, with the worth of the success it could have had.
//!
//! **Never down because of censoring.** Cutting off the tail removes it from what is answered, and 1.25 times a
//! shrunken quantile would shrink again. Against this stand Kaplan and Meier, and the price of every answer that a lower
//! limit would lose: between the two limits some are seen before they are cut off.
//!
//! **Drift, or hanging?** If over 10 % of the newest attempts were given up, the service may have become slower, or
//! it may hang on a share of calls. The difference is just below the limit: a slower service is answered there too,
//! increasingly late; one that hangs answers as it always did, far below, or never. So the limit is raised (by half,
//! at once, at most to 8 times the target above) iff of the attempts still waited for two thirds through, enough were
//! answered before its end that waiting half as long again pays. Hanging therefore never raises it.
//! The limits of this: a service that became slower by so much that nothing at all is answered cannot be told from an
//! outage; then a learned limit goes back towards the profile's default, never above it. And a service whose second
//! mode lies far beyond the limit looks as if it hung; it is treated so.
//!
//! Forgetting: a half-life of 5,000 calls, and [`regime`](super::regime) where the median moved by a factor of two.

use super::Subject;
use super::guard::{MIN_SAMPLE, Proposal, step};
use super::posterior::{Posterior, rate_exceeds};
use super::regime::{self, Tally};
use crate::evidence::{Key, Sketch, spread_of_days};
use crate::outcome::{Ending, FailureKind};
use crate::parameter::ATTEMPT_TIMEOUT;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Half as much is believed of a latency after this many newer ones.
const HALF_LIFE: f64 = 5_000.0;

/// Answers without which nothing is said about where the limit should be.
const MIN_ANSWERED: u64 = 50;

/// The newest attempts that are looked at apart: whole hours that hold at least this many.
const RECENT: u64 = 100;

/// The share of the newest attempts given up on from which the limit is suspected.
const SUSPECT_SHARE: f64 = 0.10;

/// The quantile of answered latencies that is always waited for, and how much longer.
const FLOOR_QUANTILE: f64 = 0.995;
const FLOOR_MARGIN: f64 = 1.25;
/// The same while there are too few answers for that quantile to be another than the longest.
const FLOOR_MARGIN_OF_FEW: f64 = 2.0;
const FEW: f64 = 200.0;

/// The prior of an attempt that hangs: half of one in a hundred.
const HANGS_BEFORE: (f64, f64) = (0.5, 100.0);
/// The prior weight, in events, of answers beyond a limit.
const LATE_BEFORE: f64 = 0.5;
/// The index of the tail that is assumed where none was seen.
const TAIL_INDEX: f64 = 2.0;

/// Answers shortly before the limit without which nobody says that more would come after it.
const MIN_LATE: f64 = 5.0;

/// How far drift alone may raise the limit above its target.
const MOST_DRIFT: f64 = 8.0;

/// Proposes one step of the attempt timeout, if the evidence speaks about it.
pub(crate) fn propose(subject: &Subject<'_>) -> Vec<Proposal> {
    Latencies::read(subject).and_then(|latencies| latencies.propose(subject)).into_iter().collect()
}

/// What is known about latencies.
struct Latencies {
    /// The present regime, weighted by age.
    all: Sketch,
    /// The newest hours, unweighted.
    recent: Sketch,
    /// Answered in the present regime.
    answered: u64,
    /// How many times as much as by chance the days differ in late answers.
    spread: f64,
    /// The limit in force, in seconds.
    old: f64,
    /// The price of a restart in seconds of waiting, without the waiting itself.
    restart: f64,
    /// The price of losing a call altogether, in the same unit.
    loss: f64,
    /// The share of timeouts after which a retry was seen to help.
    helped: f64,
    /// The share after which it may be hoped to, before any was seen.
    hoped: f64,
}

impl Latencies {
    fn read(subject: &Subject<'_>) -> Option<Self> {
        let utility = subject.profile.utility;
        // Where waiting costs nothing no limit is too long.
        let restart = Some(utility.call / utility.second).filter(|seconds| seconds.is_finite() && *seconds >= 0.0)?;
        let hours = hours(subject);
        let weights = regime::weights(hours.iter().map(|(_, hour)| hour.attempts), HALF_LIFE);
        let kept = regime::present(&hours, RECENT);
        let weight: BTreeMap<i64, f64> = hours.iter().map(|(hour, _)| *hour).zip(weights).take(kept).collect();
        let mut newest = 0;
        let since = hours.iter().find_map(|(hour, tally)| {
            newest += tally.attempts;
            (newest >= RECENT).then_some(*hour)
        });
        let all = Sketch::of_silence(subject.history, |hour| weight.get(&hour).copied().unwrap_or(0.0));
        Some(Self {
            spread: spread(&hours[..kept], all.quantile(FLOOR_QUANTILE)),
            all,
            recent: Sketch::of_silence(subject.history, |hour| {
                f64::from(u8::from(since.is_none_or(|since| hour >= since)))
            }),
            answered: hours.iter().take(kept).map(|(_, tally)| tally.answered()).sum(),
            old: subject.before(&ATTEMPT_TIMEOUT, None),
            restart,
            loss: utility.value / utility.second,
            helped: helped(subject, (0.0, 2.0)),
            hoped: helped(subject, (2.0, 4.0)),
        })
    }

    fn propose(&self, subject: &Subject<'_>) -> Option<Proposal> {
        let profile = subject.profile;
        let high = ATTEMPT_TIMEOUT.max.min(profile.deadline.as_secs_f64());
        let target = self.target().filter(|_| self.answered >= MIN_ANSWERED);
        let recent = self.recent.answered() + self.recent.censored();
        let given_up = self.recent.censored() / recent.max(1.0);
        if given_up > SUSPECT_SHARE && recent >= MIN_SAMPLE as f64 {
            let most = target.map_or(f64::INFINITY, |target| (MOST_DRIFT * target).max(self.old));
            let raised = step(&ATTEMPT_TIMEOUT, self.old, most, (ATTEMPT_TIMEOUT.min, high));
            let pays = self.raising_pays(&self.recent, raised);
            if raised > self.old && pays >= super::guard::MIN_CONFIDENCE {
                let reason = format!(
                    "{:.0} % of the newest {recent:.0} attempts were given up after {}, and others were answered just before: \
                     the service has become slower",
                    100.0 * given_up,
                    seconds(self.old),
                );
                return Some(self.proposal(raised, high, pays, recent as u64, reason));
            }
            let default = (ATTEMPT_TIMEOUT.default)(profile);
            if self.old < default {
                // Nothing is answered: the learned limit is as suspect as the service.
                let raised = step(&ATTEMPT_TIMEOUT, self.old, default, (ATTEMPT_TIMEOUT.min, high));
                let answered = Posterior::new(1.0 + self.recent.answered(), 1.0 + self.recent.censored());
                let confidence = answered.below(SUSPECT_SHARE);
                if confidence >= super::guard::MIN_CONFIDENCE {
                    let reason = format!(
                        "of the newest {recent:.0} attempts {:.0} were answered within the learned {}: it goes back towards \
                         the default of {}",
                        self.recent.answered(),
                        seconds(self.old),
                        seconds(default),
                    );
                    return Some(self.proposal(raised, high, confidence, recent as u64, reason));
                }
            }
        }
        let target = target?;
        let low = self.floor().unwrap_or(ATTEMPT_TIMEOUT.min).max(ATTEMPT_TIMEOUT.min).min(high);
        let new = step(&ATTEMPT_TIMEOUT, self.in_effect(), target, (ATTEMPT_TIMEOUT.min, high));
        let answers = self.answered;
        let tail = self.all.quantile(FLOOR_QUANTILE).map(seconds).unwrap_or_default();
        let (confidence, reason) = if new < self.old {
            let hung = match self.all.censored().round() {
                1.0 => "1 attempt was".to_owned(),
                hung => format!("{hung} attempts were"),
            };
            let reason = format!(
                "99.5 % of {answers} answers came within {tail}, {hung} given up; waiting {} instead of {} saves more on \
                 calls that hang than it loses on late answers",
                seconds(new),
                seconds(self.old),
            );
            (self.lowering_pays(new), reason)
        } else {
            let reason = format!(
                "99.5 % of {answers} answers came within {tail}, too close to the limit of {}: calls that would be answered are \
                 lost",
                seconds(self.old),
            );
            (self.raising_pays(&self.all, new), reason)
        };
        // A step never goes below the floor; the bound is there for what it does not reach.
        Some(self.proposal(if new < self.old { new.max(low) } else { new }, high, confidence, answers, reason))
    }

    fn proposal(&self, new: f64, high: f64, confidence: f64, sample: u64, reason: String) -> Proposal {
        Proposal {
            parameter: &ATTEMPT_TIMEOUT,
            after: None,
            old: self.old,
            new,
            bounds: (ATTEMPT_TIMEOUT.min, high),
            sample,
            fewest: MIN_SAMPLE,
            interval: self.interval(),
            confidence,
            predicted: None,
            act: true,
            reason,
            evidence: self.evidence(),
        }
    }

    /// The limit that calls really meet: the one in force, or their deadline where none was ever waited for longer.
    /// A step down starts from there, because down to there it changes nothing.
    fn in_effect(&self) -> f64 {
        limit_met(&self.all, self.old)
    }

    /// The restart-optimal limit, or the floor where that is higher.
    fn target(&self) -> Option<f64> {
        let floor = self.floor()?;
        let (survival, waited) = (self.all.survival(), self.all.mean_waited());
        let score = |bucket: usize| (waited[bucket] + self.restart) / (1.0 - survival[bucket]).max(1e-9);
        let best = (0..Sketch::BUCKETS).min_by(|a, b| score(*a).total_cmp(&score(*b)))?;
        Some(Sketch::upper_edge(best).max(floor))
    }

    /// What is always waited for: somewhat longer than almost everything took.
    fn floor(&self) -> Option<f64> {
        self.all.quantile(FLOOR_QUANTILE).map(|quantile| margin(&self.all) * quantile)
    }

    /// Seconds lost by cutting off at `limit` what would have been answered later.
    fn price_of_cutting(&self, sketch: &Sketch, limit: f64) -> f64 {
        let bucket = bucket(limit);
        let answered = (1.0 - sketch.survival()[bucket]).max(0.01);
        let again = (sketch.mean_waited()[bucket] + self.restart) / answered;
        self.helped * again + (1.0 - self.helped) * self.loss.max(again)
    }

    /// P(the lower limit costs less than the one in force).
    fn lowering_pays(&self, new: f64) -> f64 {
        let Some(tail) = self.all.quantile(FLOOR_QUANTILE) else {
            return 0.0;
        };
        let seen = self.all.answered() + self.all.censored();
        let at_limit = HANGS_BEFORE.0 + self.all.censored_from(bucket(self.old).saturating_sub(1));
        let between = bucket(new) + 1..bucket(self.old).saturating_sub(1);
        let (cut_short, waited) = self.all.at_deadline_beyond(new, between);
        let again = cut_short * self.loss * self.hoped * (1.0 - self.all.survival()[bucket(new)]);
        let saved_each = (at_limit * (self.old - new) + waited + again) / (at_limit + cut_short);
        let hangs = (at_limit + cut_short, HANGS_BEFORE.1 + seen);
        let expected = (1.0 - FLOOR_QUANTILE) * (tail / new).powf(TAIL_INDEX).min(1.0);
        let beyond = self.all.answered_in(bucket(new) + 1..Sketch::BUCKETS);
        // A tail that was seen refutes the assumed one, whose tiny rate would outweigh any few late answers.
        let assumed = if beyond < LATE_BEFORE { LATE_BEFORE / expected.max(1e-12) } else { 0.0 };
        let late = (LATE_BEFORE + beyond, assumed + seen);
        rate_exceeds(hangs, self.price_of_cutting(&self.all, new) / saved_each, late)
    }

    /// P(the higher limit costs less than the one in force), given how many of the attempts that were still waited for
    /// shortly before the limit were answered before its end: further out it will not be more, but about as many.
    fn raising_pays(&self, sketch: &Sketch, new: f64) -> f64 {
        if new <= self.old {
            return 0.0;
        }
        let (from, to) = (bucket(self.old * self.old / new), bucket(self.old));
        // Whatever was answered beyond the limit (under an earlier, longer one) was surely alive at it.
        let answered = sketch.answered_in(from + 1..Sketch::BUCKETS);
        let given_up = sketch.censored_from(to.saturating_sub(1));
        if answered < MIN_LATE {
            return 0.0;
        }
        let breaks_even = (new - self.old) / self.price_of_cutting(sketch, self.old);
        Posterior::new(0.5 + answered, 0.5 + given_up).above(breaks_even)
    }

    /// 90 % of what the floor could be, given as many answers as there are: late ones come together, and count for as
    /// many as the days show. A bucket may stand for anything in it.
    fn interval(&self) -> (f64, f64) {
        let n = (self.all.answered() / self.spread).max(1.0);
        let spread = 1.645 * (FLOOR_QUANTILE * (1.0 - FLOOR_QUANTILE) / n).sqrt();
        let at = |q: f64| self.all.quantile(q.clamp(0.0, 1.0)).unwrap_or(0.0) * margin(&self.all);
        (at(FLOOR_QUANTILE - spread) / Sketch::GROWTH, at(FLOOR_QUANTILE + spread))
    }

    fn evidence(&self) -> Value {
        let quantile = |q| self.all.quantile(q).map(|q| (q * 1e6).round() / 1e6);
        json!({
            "answered": self.answered,
            "p50": quantile(0.5),
            "p95": quantile(0.95),
            "p99_5": quantile(FLOOR_QUANTILE),
            "given_up_share": share(&self.all),
            "recent": { "attempts": (self.recent.answered() + self.recent.censored()) as u64, "given_up_share": share(&self.recent) },
            "target": self.target().map(|target| (target * 1e6).round() / 1e6),
        })
    }
}

/// The limit that calls really meet, of one in force: their deadline, where none was ever waited for longer.
pub(crate) fn in_effect(subject: &Subject<'_>, limit: f64) -> f64 {
    limit_met(&Sketch::of_silence(subject.history, |_| 1.0), limit)
}

fn limit_met(seen: &Sketch, limit: f64) -> f64 {
    match seen.longest_at_deadline() {
        Some(longest) if longest < limit && !seen.waited_beyond(longest) => longest,
        _ => limit,
    }
}

/// How many times as much as by chance the days differ in the answers that come after `late`.
fn spread(hours: &[(i64, Hour)], late: Option<f64>) -> f64 {
    let Some(late) = late.map(bucket) else { return 1.0 };
    let mut days: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for (hour, tally) in hours {
        let day = days.entry(hour.div_euclid(24)).or_default();
        day.0 += tally.answered.range(late as u8..).map(|(_, count)| *count).sum::<u64>() as f64;
        day.1 += tally.answered() as f64;
    }
    let (beyond, all) = days.values().fold((0.0, 0.0), |sum, day| (sum.0 + day.0, sum.1 + day.1));
    let share = beyond / f64::max(all, 1.0);
    spread_of_days(days.values().map(|(beyond, all)| (beyond - share * all, share * (1.0 - share) * all)))
}

fn margin(sketch: &Sketch) -> f64 {
    if sketch.answered() < FEW { FLOOR_MARGIN_OF_FEW } else { FLOOR_MARGIN }
}

fn share(sketch: &Sketch) -> f64 {
    let share = sketch.censored() / (sketch.answered() + sketch.censored()).max(1.0);
    (share * 1e4).round() / 1e4
}

/// How often a retry after a timeout succeeded, given a prior of (successes, retries); never where what timed out may
/// not be started again. With no prior success, a call that is cut off is taken for lost until one was seen.
fn helped(subject: &Subject<'_>, prior: (f64, f64)) -> f64 {
    let unknown = subject.history.total(Key::Call(Ending::OutcomeUnknown)) > 0;
    if unknown || subject.values.max_retries[FailureKind::Timeout.index()] == 0 {
        return 0.0;
    }
    let tried = subject.history.total(Key::Retried(1, FailureKind::Timeout));
    let recovered = subject.history.total(Key::Recovered(1, FailureKind::Timeout)).min(tried);
    (recovered as f64 + prior.0) / (tried as f64 + prior.1)
}

/// The latencies of one hour.
#[derive(Clone, Debug, Default)]
struct Hour {
    attempts: u64,
    answered: BTreeMap<u8, u64>,
}

impl Hour {
    fn answered(&self) -> u64 {
        self.answered.values().sum()
    }

    fn median(&self) -> Option<f64> {
        let total = self.answered();
        let mut below = 0;
        self.answered.iter().find_map(|(bucket, count)| {
            below += count;
            (2 * below >= total).then(|| Sketch::upper_edge(usize::from(*bucket)))
        })
    }
}

impl Tally for Hour {
    fn size(&self) -> u64 {
        self.answered()
    }

    fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        for (bucket, count) in &other.answered {
            *self.answered.entry(*bucket).or_default() += count;
        }
    }

    fn agrees(&self, older: &Self) -> bool {
        match (self.median(), older.median()) {
            (Some(now), Some(then)) => (0.5..=2.0).contains(&(now / then)),
            _ => true,
        }
    }
}

/// The hours that hold latencies, newest first.
fn hours(subject: &Subject<'_>) -> Vec<(i64, Hour)> {
    let mut hours: Vec<(i64, Hour)> = Vec::new();
    for (hour, key, count) in subject.history.cells().rev() {
        let bucket = match key {
            Key::Answered(bucket) | Key::Silent(bucket) => Some(bucket),
            Key::Censored(_) => None,
            // `AtDeadline` are among them.
            _ => continue,
        };
        if hours.last().is_none_or(|(last, _)| *last != hour) {
            hours.push((hour, Hour::default()));
        }
        if let Some((_, tally)) = hours.last_mut() {
            tally.attempts += count;
            if let Some(bucket) = bucket {
                *tally.answered.entry(bucket).or_default() += count;
            }
        }
    }
    hours
}

fn bucket(seconds: f64) -> usize {
    usize::from(Sketch::bucket(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))
}

fn seconds(seconds: f64) -> String {
    ATTEMPT_TIMEOUT.unit.show(seconds)
}
