//! Replays the latencies of checks against the learned limit of an attempt.
//!
//! The traces were taken without a limit, so it is known how long each check would have been waited for. Waiting costs
//! its time; giving up costs what was waited and a restart, whose price is that of a call in seconds of waiting. Where an
//! attempt is given up, it is tried again at once and meets what the next check met. The best constant limit of each
//! service in hindsight pays the same.

use super::bench::{attempt, mean, quantile, steps, wall};
use super::report::{Figure, Form, Goal};
use super::traces::{self, Check};
use super::{Error, Options, Tell};
use poet_runtime::workbench::Workbench;
use poet_runtime::{Class, FailureKind, Profile};
use std::time::Duration;

/// Checks with a known latency, at least.
const FEWEST: usize = 500;

/// Checks between two times of learning.
const LEARN_EVERY: usize = 20;

/// What one service came to in the second half of its trace.
struct Half {
    learned: f64,
    constant: f64,
    usual: f64,
    good: u64,
    cut: u64,
    /// The stated interval of the limit when the half began, and what the limit of the half itself would be.
    stated: Option<((f64, f64), f64)>,
    limit: f64,
}

pub(super) fn figures(options: &Options, tell: Tell<'_>) -> Result<Vec<Figure>, Error> {
    let mut halves = Vec::new();
    for path in traces::files(&options.data.join("checks"))? {
        let mut checks = traces::checks(&path)?;
        checks.retain(|check| check.seconds > 0.0);
        if checks.len() >= FEWEST {
            tell(&format!("{} ({} checks)", traces::name(&path), checks.len()));
            halves.push(replay(&traces::name(&path), &checks));
        }
    }
    Ok(report(&halves))
}

fn report(halves: &[Half]) -> Vec<Figure> {
    let ratios: Vec<f64> = halves.iter().map(|half| half.learned / half.constant).collect();
    let sum = |of: fn(&Half) -> f64| halves.iter().map(of).sum::<f64>();
    let split = |odd: usize| mean(&ratios.iter().skip(odd).step_by(2).copied().collect::<Vec<_>>());
    let worst = ratios.iter().copied().fold(f64::NAN, f64::max);
    let usual: Vec<f64> = halves.iter().map(|half| half.usual / half.constant).collect();
    let mut limits: Vec<f64> = halves.iter().map(|half| half.limit).collect();
    let cost = Figure::new(
        "cost of the limit of an attempt",
        Goal::AtMost(1.02),
        Form::Times,
        Some(mean(&ratios)),
        format!(
            "{} services, worst {worst:.2}, pooled {:.3}, halves of the services {:.3} and {:.3}; a constant default {:.3}; \
             the limit ended at {:.1} s in the median",
            halves.len(),
            sum(|half| half.learned) / sum(|half| half.constant),
            split(0),
            split(1),
            mean(&usual),
            quantile(&mut limits, 0.5),
        ),
    );
    let good: u64 = halves.iter().map(|half| half.good).sum();
    let cut: u64 = halves.iter().map(|half| half.cut).sum();
    let most = halves.iter().map(|half| half.cut).max().unwrap_or(0);
    let wrong = Figure::new(
        "good answers given up on",
        Goal::AtMost(0.0025),
        Form::Percent,
        (good > 0).then(|| cut as f64 / good as f64),
        format!("{cut} of {good}, {most} of them at one service"),
    );
    let stated: Vec<_> = halves.iter().filter_map(|half| half.stated).collect();
    let inside = stated.iter().filter(|((low, high), truth)| (*low..=*high).contains(truth)).count();
    let interval = Figure::new(
        "90 % intervals of the limit that hold the later one",
        Goal::Within(0.85, 0.95),
        Form::Percent,
        (!stated.is_empty()).then(|| inside as f64 / stated.len() as f64),
        format!(
            "{inside} of {} services whose limit had moved by then; the interval says how well the quantile is known, \
             not whether the service stays the same",
            stated.len()
        ),
    );
    vec![cost, wrong, interval]
}

fn replay(service: &str, checks: &[Check]) -> Half {
    let mut bench = Workbench::new(service, *Profile::GENERAL);
    let price = price(Profile::GENERAL);
    let second = &checks[checks.len() / 2..];
    let mut half = Half {
        learned: 0.0,
        constant: best_constant(second, price),
        usual: second.iter().map(|check| cost(check, Profile::GENERAL.attempt_timeout.as_secs_f64(), price)).sum(),
        good: 0,
        cut: 0,
        stated: None,
        limit: 0.0,
    };
    for (index, check) in checks.iter().enumerate() {
        if index == checks.len() / 2 {
            half.stated = stated(&bench, second);
        }
        let limit = bench.values().attempt_timeout.as_secs_f64();
        if index >= checks.len() / 2 {
            half.learned += cost(check, limit, price);
            half.good += u64::from(check.ok);
            half.cut += u64::from(check.ok && check.seconds > limit);
        }
        observe(&mut bench, check, checks.get(index + 1), limit);
        if index % LEARN_EVERY == 0 {
            bench.learn(wall(check.minute as f64));
        }
    }
    half.limit = bench.values().attempt_timeout.as_secs_f64();
    half
}

/// A restart in seconds of waiting.
fn price(profile: &Profile) -> f64 {
    profile.utility.call / profile.utility.second
}

fn cost(check: &Check, limit: f64, price: f64) -> f64 {
    if check.seconds <= limit { check.seconds } else { limit + price }
}

fn observe(bench: &mut Workbench, check: &Check, next: Option<&Check>, limit: f64) {
    let at = wall(check.minute as f64);
    let first = met(check, limit);
    bench.observe(at, &attempt(first.0, first.1, None));
    if let (Class::Timeout, Some(next)) = (first.0, next) {
        let (class, elapsed) = met(next, limit);
        bench.observe(at, &attempt(class, elapsed, Some(FailureKind::Timeout)));
    }
}

/// What an attempt under a limit would have come to.
fn met(check: &Check, limit: f64) -> (Class, Duration) {
    match check.seconds {
        seconds if seconds > limit => (Class::Timeout, Duration::from_secs_f64(limit)),
        seconds => (if check.ok { Class::Success } else { Class::Transient }, Duration::from_secs_f64(seconds)),
    }
}

fn best_constant(checks: &[Check], price: f64) -> f64 {
    let all = |limit: f64| checks.iter().map(|check| cost(check, limit, price)).sum::<f64>();
    steps(0.05, 300.0, 1.05).into_iter().map(all).fold(f64::INFINITY, f64::min)
}

/// The interval that was stated with the last move, and what it is about as the later checks show it: 1.25 times their
/// 99.5 % quantile.
fn stated(bench: &Workbench, later: &[Check]) -> Option<((f64, f64), f64)> {
    let row = bench.learned().iter().find(|row| row.key.name == "timeout.attempt")?;
    let mut answered: Vec<f64> = later.iter().filter(|check| check.ok).map(|check| check.seconds).collect();
    Some((row.interval, 1.25 * quantile(&mut answered, 0.995)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(count: usize, seconds: impl Fn(usize) -> f64) -> Vec<Check> {
        (0..count).map(|n| Check { minute: 28_000_000 + 10 * n as i64, ok: true, seconds: seconds(n) }).collect()
    }

    #[test]
    fn a_service_that_hangs_now_and_then_is_waited_for_less_than_by_default() {
        let checks = checks(4_000, |n| if n % 50 == 7 { 120.0 } else { 0.2 });
        let half = replay("web", &checks);
        assert!(half.learned < 0.7 * half.usual, "{} {}", half.learned, half.usual);
        assert!(half.limit < 5.0, "{}", half.limit);
    }

    #[test]
    fn a_steady_service_costs_what_the_best_constant_costs_and_nothing_good_is_given_up_on() {
        let half = replay("web", &checks(2_000, |_| 0.2));
        assert!((half.learned / half.constant - 1.0).abs() < 1e-9);
        assert_eq!((half.cut, half.good), (0, 1_000));
    }

    #[test]
    fn giving_up_costs_the_wait_and_a_restart() {
        let check = Check { minute: 0, ok: true, seconds: 4.0 };
        assert_eq!((cost(&check, 5.0, 3.0), cost(&check, 2.0, 3.0)), (4.0, 5.0));
    }
}
