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
use poet_runtime::evidence::Key;
use poet_runtime::workbench::Workbench;
use poet_runtime::{Class, FailureKind, Profile};
use std::time::Duration;

/// Checks with a known latency, at least.
const FEWEST: usize = 500;

/// Answers after a move by which its interval is judged.
const LATER: usize = 1_000;

/// Answers by which there have to be more before another move is judged.
const FRESH: u64 = 50;

/// Checks between two times of learning.
const LEARN_EVERY: usize = 20;

/// What one service came to in the second half of its trace.
struct Half {
    learned: f64,
    constant: f64,
    usual: f64,
    good: u64,
    cut: u64,
    /// The intervals that were stated with the moves of the limit, and how many of them held.
    stated: u64,
    held: u64,
    moved: bool,
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
    let still: Vec<f64> = halves.iter().zip(&ratios).filter(|(half, _)| !half.moved).map(|(_, ratio)| *ratio).collect();
    let cost = Figure::new(
        "cost of the limit of an attempt",
        Goal::AtMost(1.02),
        Form::Times,
        Some(mean(&ratios)),
        format!(
            "{} services, worst {worst:.2}, pooled {:.3}, halves of the services {:.3} and {:.3}; the default as it is {:.3}; \
             {} never moved, for want of attempts that hung, and cost {:.3}",
            halves.len(),
            sum(|half| half.learned) / sum(|half| half.constant),
            split(0),
            split(1),
            mean(&usual),
            still.len(),
            mean(&still),
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
    let (stated, held) = halves.iter().fold((0, 0), |sum, half| (sum.0 + half.stated, sum.1 + half.held));
    let interval = Figure::new(
        "90 % intervals of the limit that hold the later one",
        Goal::Within(0.85, 0.95),
        Form::Percent,
        (stated > 0).then(|| held as f64 / stated as f64),
        format!(
            "{held} of {stated} moves with {LATER} answers after them; an interval says how well a quantile is known, not \
             whether the service stays the same"
        ),
    );
    vec![cost, wrong, interval]
}

fn replay(service: &str, checks: &[Check]) -> Half {
    let mut bench = Workbench::new(service, *Profile::GENERAL).only("timeout.");
    let price = price(Profile::GENERAL);
    let second = &checks[checks.len() / 2..];
    let mut half = Half {
        learned: 0.0,
        constant: best_constant(second, price),
        usual: second.iter().map(|check| cost(check, Profile::GENERAL.attempt_timeout.as_secs_f64(), price)).sum(),
        good: 0,
        cut: 0,
        stated: 0,
        held: 0,
        moved: false,
        limit: 0.0,
    };
    let mut stated_of = 0;
    for (index, check) in checks.iter().enumerate() {
        let limit = bench.values().attempt_timeout.as_secs_f64();
        if index >= checks.len() / 2 {
            half.learned += cost(check, limit, price);
            half.good += u64::from(check.ok);
            half.cut += u64::from(check.ok && check.seconds > limit);
        }
        observe(&mut bench, check, checks.get(index + 1), limit);
        if index % LEARN_EVERY == 0 {
            let changes = bench.learn(wall(check.minute as f64));
            let moves = changes.iter().filter(|change| change.new.key.name == "timeout.attempt");
            for change in moves {
                // Several moves that rest on the same answers state the same.
                let rests_on = answered(&bench);
                let limit = bench.values().attempt_timeout.as_secs_f64();
                if rests_on >= stated_of + FRESH
                    && let Some(held) = holds(change.new.interval, rests_on, limit, &checks[index + 1..])
                {
                    stated_of = rests_on;
                    half.stated += 1;
                    half.held += u64::from(held);
                }
            }
        }
    }
    half.moved = bench.learned().iter().any(|row| row.key.name == "timeout.attempt");
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

/// How many answers were counted.
fn answered(bench: &Workbench) -> u64 {
    let answered = bench.history().cells().filter(|(_, key, _)| matches!(key, Key::Answered(_)));
    answered.map(|(.., count)| count).sum()
}

/// Whether an interval holds what it is about as the next checks show it, whose own chance is allowed for: the 99.5 %
/// quantile of the answers within the limit, and the margin that is added to it. `None` where too few come after it.
fn holds((low, high): (f64, f64), answered: u64, limit: f64, later: &[Check]) -> Option<bool> {
    let in_time = |check: &&Check| check.ok && check.seconds <= limit;
    let mut seconds: Vec<f64> = later.iter().filter(in_time).map(|check| check.seconds).take(LATER).collect();
    if seconds.len() < LATER {
        return None;
    }
    let margin = if answered < 200 { 2.0 } else { 1.25 };
    // Two beliefs as wide as each other are 1.41 times as wide together.
    let chance = 0.68 * (0.995 * 0.005 / LATER as f64).sqrt();
    let (least, most) = (quantile(&mut seconds, 0.995 - chance), quantile(&mut seconds, 0.995 + chance));
    Some(margin * most >= low && margin * least <= high)
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
