//! Replays the outcomes of checks against what was foretold of each.
//!
//! Before every check the runtime says how likely it fails. Counted are the checks of the second half of every trace.
//! Skill is Brier's: by how much the squared error is below that of saying the mean rate of all of them, in hindsight. An
//! accuracy would be 99 % for a clock that stands still.

use super::bench::{attempt, quantile, wall};
use super::report::{Figure, Form, Goal};
use super::traces::{self, Check};
use super::{Error, Options, Tell};
use poet_runtime::evidence::Situation;
use poet_runtime::workbench::Workbench;
use poet_runtime::{Class, Profile};
use std::collections::BTreeMap;
use std::time::Duration;

/// Checks between two times of learning.
const LEARN_EVERY: usize = 20;

/// Where the bins end in which the foretold is compared with what came.
const BINS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0];

/// Checks of one situation in the second half without which its share says nothing.
const FEWEST: f64 = 50.0;

/// One check, and what was said before it.
#[derive(Clone, Copy)]
struct Foretold {
    probability: f64,
    failed: bool,
    calm: bool,
}

impl Foretold {
    fn error(&self, probability: f64) -> f64 {
        (probability - f64::from(u8::from(self.failed))).powi(2)
    }
}

/// The second half of one trace.
struct Half {
    checks: Vec<Foretold>,
    /// Of the situations that were foretold when it began, how many there were and in how many the interval held.
    stated: u64,
    held: u64,
}

pub(super) fn figures(options: &Options, tell: Tell<'_>) -> Result<Vec<Figure>, Error> {
    let mut halves = Vec::new();
    for path in traces::files(&options.data.join("checks"))? {
        let checks = traces::checks(&path)?;
        tell(&format!("{} ({} checks)", traces::name(&path), checks.len()));
        halves.push(replay(&traces::name(&path), &checks));
    }
    Ok(report(&halves))
}

fn report(halves: &[Half]) -> Vec<Figure> {
    let all: Vec<Foretold> = halves.iter().flat_map(|half| half.checks.iter().copied()).collect();
    let calm: Vec<Foretold> = all.iter().copied().filter(|check| check.calm).collect();
    let mut each: Vec<f64> = halves.iter().filter_map(|half| skill(&half.checks)).collect();
    let without = halves
        .iter()
        .enumerate()
        .filter_map(|(left, _)| {
            let others = halves.iter().enumerate().filter(|(index, _)| *index != left);
            skill(&others.flat_map(|(_, half)| half.checks.iter().copied()).collect::<Vec<_>>())
        })
        .fold(f64::NAN, f64::min);
    let base = all.iter().filter(|check| check.failed).count() as f64 / all.len().max(1) as f64;
    let services = each.len();
    let skilled = Figure::new(
        "Brier skill of what is foretold of the next check",
        Goal::AtLeast(0.38),
        Form::Plain,
        skill(&all),
        format!(
            "{} checks, {:.2} % failed; the least with one service left out {without:.2}; within one service {:.2} in the \
             median of {services} that failed at all, as a mean rate of its own is most of what can be known there",
            all.len(),
            100.0 * base,
            quantile(&mut each, 0.5),
        ),
    );
    let onset = Figure::new(
        "the same after a success: onsets",
        Goal::AtLeast(0.0),
        Form::Plain,
        skill(&calm),
        format!(
            "{} onsets in {} checks: more than nothing, and all that is promised",
            calm.iter().filter(|check| check.failed).count(),
            calm.len()
        ),
    );
    let off = calibration(&all);
    let calibrated = Figure::new(
        "how far the foretold is from what came",
        Goal::AtMost(0.01),
        Form::Plain,
        (!all.is_empty()).then_some(off.0),
        format!(
            "mean over {} bins by their checks; the bin of {} checks that is furthest off: {:.3}",
            BINS.len(),
            off.2,
            off.1
        ),
    );
    let (stated, held) = halves.iter().fold((0, 0), |sum, half| (sum.0 + half.stated, sum.1 + half.held));
    let interval = Figure::new(
        "90 % intervals of the foretold that hold",
        Goal::Within(0.85, 0.95),
        Form::Percent,
        (stated > 0).then(|| held as f64 / stated as f64),
        format!(
            "{held} of {stated} situations with {FEWEST} later checks, whose own chance is allowed for; failures cluster and \
             services change, which an interval for one attempt does not know"
        ),
    );
    vec![skilled, onset, calibrated, interval]
}

/// By how much the squared error is below that of the mean rate; `None` where nothing failed, or everything.
fn skill(checks: &[Foretold]) -> Option<f64> {
    let rate = checks.iter().filter(|check| check.failed).count() as f64 / checks.len().max(1) as f64;
    let plain: f64 = checks.iter().map(|check| check.error(rate)).sum();
    let foretold: f64 = checks.iter().map(|check| check.error(check.probability)).sum();
    (plain > 0.0).then(|| 1.0 - foretold / plain)
}

/// The mean distance between what was foretold and the share that came, by bins; the largest one, and how many checks
/// are in that bin. Bins of few checks cannot be the largest.
fn calibration(checks: &[Foretold]) -> (f64, f64, u64) {
    let mut bins = [(0.0, 0.0, 0_u64); BINS.len()];
    for check in checks {
        let bin = &mut bins[BINS.iter().take_while(|end| check.probability > **end).count().min(BINS.len() - 1)];
        *bin = (bin.0 + check.probability, bin.1 + f64::from(u8::from(check.failed)), bin.2 + 1);
    }
    let off = |bin: &(f64, f64, u64)| (bin.0 - bin.1).abs() / bin.2.max(1) as f64;
    let mean = bins.iter().map(|bin| (bin.0 - bin.1).abs()).sum::<f64>() / checks.len().max(1) as f64;
    let large = bins.iter().filter(|bin| bin.2 >= 100);
    let worst = large.max_by(|a, b| off(a).total_cmp(&off(b))).copied().unwrap_or_default();
    (mean, off(&worst), worst.2)
}

fn replay(service: &str, checks: &[Check]) -> Half {
    let mut bench = Workbench::new(service, *Profile::GENERAL).only("health.");
    let mut half = Half { checks: Vec::new(), stated: 0, held: 0 };
    let mut stated = Vec::new();
    let mut came = vec![Came::default(); Situation::COUNT];
    for (index, check) in checks.iter().enumerate() {
        let at = wall(check.minute as f64);
        let situation = bench.situation(at);
        if index == checks.len() / 2 {
            stated = Situation::all().map(|situation| bench.foretell(situation)).collect();
        }
        if index >= checks.len() / 2 {
            if let Some(foretold) = bench.foretell(situation) {
                half.checks.push(Foretold {
                    probability: foretold.probability,
                    failed: !check.ok,
                    calm: situation.is_calm(),
                });
            }
            let day = came[situation.index()].entry(check.minute.div_euclid(1_440)).or_default();
            *day = (day.0 + f64::from(u8::from(!check.ok)), day.1 + 1.0);
        }
        let class = if check.ok { Class::Success } else { Class::Transient };
        bench.observe(at, &attempt(class, Duration::from_secs_f64(check.seconds), None));
        if index % LEARN_EVERY == 0 {
            bench.learn(at);
        }
    }
    for (stated, came) in stated.iter().zip(&came) {
        if let Some(held) = stated.and_then(|stated| holds(stated.probability, stated.interval, came)) {
            half.stated += 1;
            half.held += u64::from(held);
        }
    }
    half
}

/// What checks of one situation came to, by day: how many failed, of how many.
type Came = BTreeMap<i64, (f64, f64)>;

/// Whether a share that came is no further from what was stated than the interval and its own chance let it be, which is
/// larger by as much as failures come together on days. `None` where too few came.
fn holds(probability: f64, (low, high): (f64, f64), came: &Came) -> Option<bool> {
    let (failed, seen) = came.values().fold((0.0, 0.0), |sum, day| (sum.0 + day.0, sum.1 + day.1));
    if seen < FEWEST {
        return None;
    }
    let share = failed / seen;
    let days: f64 = came.values().map(|day| (day.0 - share * day.1).powi(2)).sum();
    let chance = days.max(seen * probability * (1.0 - probability)).sqrt() / seen;
    // 90 % of a normal belief are 3.29 deviations.
    let belief = (high - low) / 3.29;
    Some((share - probability).abs() <= 1.645 * belief.hypot(chance))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(count: usize, ok: impl Fn(usize) -> bool) -> Vec<Check> {
        (0..count).map(|n| Check { minute: 28_000_000 + 10 * n as i64, ok: ok(n), seconds: 0.1 }).collect()
    }

    #[test]
    fn a_service_that_is_down_for_hours_is_foretold_but_for_the_edges() {
        let half = replay("web", &checks(4_000, |n| n % 400 >= 40));
        assert!(skill(&half.checks).unwrap() > 0.8, "{:?}", skill(&half.checks));
        assert!(calibration(&half.checks).0 < 0.02);
    }

    #[test]
    fn a_service_that_fails_by_a_coin_is_foretold_no_better_than_by_its_rate() {
        let half = replay("web", &checks(8_000, |n| !crate::random::hash(&n.to_string()).is_multiple_of(10)));
        let skill = skill(&half.checks).unwrap();
        assert!((-0.02..0.05).contains(&skill), "{skill}");
    }

    #[test]
    fn a_share_from_one_bad_day_refutes_an_interval_less_than_one_from_many() {
        let came = |bad: fn(i64) -> f64| (0..20).map(|day| (day, (bad(day), 50.0))).collect::<Came>();
        let held = |came: &Came| holds(0.01, (0.008, 0.012), came).unwrap();
        assert!(held(&came(|_| 0.5)));
        assert!(!held(&came(|day| if day % 2 == 0 { 3.0 } else { 2.0 })));
        assert!(held(&came(|day| if day == 3 { 40.0 } else { 0.0 })));
        assert_eq!(holds(0.01, (0.0, 0.1), &Came::default()), None);
    }

    #[test]
    fn saying_the_mean_rate_has_no_skill_and_saying_the_truth_has_all() {
        let say = |probabilities: [f64; 2]| {
            let check = |n: usize| Foretold { probability: probabilities[n], failed: n == 1, calm: true };
            skill(&[check(0), check(1)])
        };
        assert_eq!((say([0.5, 0.5]), say([0.0, 1.0])), (Some(0.0), Some(1.0)));
    }
}
