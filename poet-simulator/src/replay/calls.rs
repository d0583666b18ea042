//! Lives through the last fortnight of each service with calls at random times, through the whole runtime; with many
//! calls a minute, through its last three days.
//!
//! The service is up or down as its checks say, each until the next. An attempt while it is up takes what a check of the
//! two hours about it took, and fails once in fifty all the same, because the checks were tried again before they were
//! written down. An attempt while it is down fails after what that check took. Time is virtual; the first half is for
//! learning, and the second is measured.

use super::bench::wall;
use super::report::{Figure, Form, Goal};
use super::traces::{self, Check, DAY};
use super::{Error, Options, Tell};
use crate::random::{SplitMix64, hash};
use poet_runtime::config::ServiceConfig;
use poet_runtime::service::{Failure, ServiceCall};
use poet_runtime::{Class, Clock, Learning, Profile, Runtime};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// Calls a minute.
const RATES: [f64; 3] = [0.1, 1.0, 10.0];
/// The share of attempts that fail although the service is up.
const TRANSIENT: f64 = 0.02;
/// The longest stretch of a trace that is lived through, in minutes.
const LONGEST: f64 = 14.0 * DAY;
/// The most calls of one life, so that many of them are done in minutes.
const MOST: f64 = 3.0 * DAY * 10.0;
/// How far from an attempt the checks lie whose time it may take, in minutes.
const ABOUT: i64 = 120;
/// What learning may lose against the fixed values.
const REGRET: f64 = 0.005;

/// How calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    /// One attempt, whatever comes.
    None,
    /// The built-in defaults, never changed.
    Fixed,
    /// The built-in defaults, and what is learned.
    Learned,
}

/// What came of the calls of a second half.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    calls: f64,
    succeeded: f64,
    attempts: f64,
    while_down: f64,
    seconds: f64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.succeeded += other.succeeded;
        self.attempts += other.attempts;
        self.while_down += other.while_down;
        self.seconds += other.seconds;
    }

    /// What one call was worth.
    fn worth(self) -> f64 {
        let utility = Profile::GENERAL.utility;
        (utility.value * self.succeeded - utility.call * self.attempts - utility.second * self.seconds) / self.calls
    }

    fn shown(self) -> String {
        format!(
            "{:.4} ({:.2} % succeed, {:.3} attempts, {:.2} s)",
            self.worth(),
            100.0 * self.succeeded / self.calls,
            self.attempts / self.calls,
            self.seconds / self.calls,
        )
    }
}

pub(super) fn figures(options: &Options, tell: Tell<'_>) -> Result<Vec<Figure>, Error> {
    let mut services = Vec::new();
    for path in traces::files(&options.data.join("checks"))? {
        let checks = traces::checks(&path)?.into_iter().filter(|check| check.seconds > 0.0);
        services.push((traces::name(&path), checks.collect::<Vec<_>>()));
    }
    let mut figures = Vec::new();
    for rate in RATES {
        let newest = services.iter().map(|(name, checks)| (name, newest(checks, LONGEST.min(MOST / rate))));
        let services: Vec<_> = newest.filter_map(|(name, checks)| Some((name, Arc::new(checks?)))).collect();
        let mut sums = [Tally::default(); 3];
        for (name, checks) in &services {
            tell(&format!("{name} at {rate} calls a minute"));
            for (sum, policy) in sums.iter_mut().zip([Policy::None, Policy::Fixed, Policy::Learned]) {
                sum.add(live(checks, rate, policy, hash(name)));
            }
        }
        figures.push(figure(rate, services.len(), sums));
    }
    Ok(figures)
}

/// The last minutes of a trace, where it was up and down in them: where nothing was ever down nothing but the stated
/// 2 % is lived through.
fn newest(checks: &[Check], minutes: f64) -> Option<Vec<Check>> {
    let last = checks.last()?.minute;
    let newest: Vec<Check> = checks.iter().copied().filter(|check| (last - check.minute) as f64 <= minutes).collect();
    (newest.iter().any(|check| !check.ok) && newest.iter().any(|check| check.ok)).then_some(newest)
}

fn figure(rate: f64, services: usize, [none, fixed, learned]: [Tally; 3]) -> Figure {
    let value = (learned.calls > 0.0).then(|| learned.worth() - fixed.worth());
    let note = format!(
        "a call is worth {} learned, {} fixed, {} without anything, at {services} services; attempts into outages: \
         {:.0} learned, {:.0} fixed, {:.0} without",
        learned.shown(),
        fixed.shown(),
        none.shown(),
        learned.while_down,
        fixed.while_down,
        none.while_down,
    );
    let name = format!("worth of a call at {rate} a minute, learned less fixed");
    Figure::new(name, Goal::AtLeast(-REGRET), Form::Plain, value, note)
}

/// A fresh thread, because the caller may be in a runtime of its own.
fn live(checks: &Arc<Vec<Check>>, rate: f64, policy: Policy, seed: u64) -> Tally {
    std::thread::scope(|scope| {
        let living = scope.spawn(|| {
            let driver = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            driver.expect("a runtime with nothing but a clock can be built").block_on(call(checks, rate, policy, seed))
        });
        living.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

async fn call(checks: &Arc<Vec<Check>>, rate: f64, policy: Policy, seed: u64) -> Tally {
    let (first, last) = (checks[0].minute as f64, checks[checks.len() - 1].minute as f64);
    let clock = Clock::virtual_from(wall(first));
    let runtime = runtime(policy, clock.clone(), seed);
    let began = clock.now();
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut chance = SplitMix64::of(seed, 3, 0);
    let mut under_way = JoinSet::new();
    let mut at = 0.0;
    for number in 1.. {
        at -= (1.0 - chance.unit()).ln() / rate;
        if first + at >= last {
            break;
        }
        tokio::time::sleep_until((began + Duration::from_secs_f64(at * 60.0)).into()).await;
        let (runtime, clock, checks, tally) = (runtime.clone(), clock.clone(), checks.clone(), tally.clone());
        under_way.spawn(async move {
            let chance = Mutex::new(SplitMix64::of(seed, 4, number));
            let seen = Mutex::new(Tally { calls: 1.0, ..Tally::default() });
            let call = ServiceCall { repeatable: true, ..ServiceCall::new("web", "get", Profile::GENERAL) };
            let started = clock.now();
            let answer = runtime
                .call(&call, |_| {
                    let minute = first + (clock.now() - began).as_secs_f64() / 60.0;
                    let met = met(&checks, minute, &mut chance.lock().unwrap_or_else(PoisonError::into_inner));
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.attempts += 1.0;
                    seen.while_down += f64::from(u8::from(met.down));
                    async move {
                        tokio::time::sleep(met.takes).await;
                        if met.fails { Err(Failure::new(Class::Transient, "no")) } else { Ok(()) }
                    }
                })
                .await;
            let mut seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
            seen.succeeded = f64::from(u8::from(answer.is_ok()));
            seen.seconds = (clock.now() - started).as_secs_f64();
            if first + at >= f64::midpoint(first, last) {
                tally.lock().unwrap_or_else(PoisonError::into_inner).add(seen);
            }
        });
        while under_way.try_join_next().is_some() {}
    }
    while under_way.join_next().await.is_some() {}
    *tally.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime(policy: Policy, clock: Clock, seed: u64) -> Runtime {
    let service = ServiceConfig::named("web");
    let service = match policy {
        // Fifty failures in a row open the circuit nearly never, and one success closes it.
        Policy::None => service
            .pin("retry.max_retries", 0)
            .pin("breaker.failure_threshold", 50)
            .pin("breaker.open_for", 1)
            .pin("breaker.success_threshold", 1),
        Policy::Fixed | Policy::Learned => service,
    };
    let learning = if policy == Policy::Learned { Learning::On } else { Learning::Off };
    let builder = Runtime::builder().service(service).in_memory().clock(clock).learning(learning).seed(seed);
    builder.build().expect("the configuration of a policy is correct")
}

/// What an attempt meets.
struct Met {
    down: bool,
    fails: bool,
    takes: Duration,
}

fn met(checks: &[Check], minute: f64, chance: &mut SplitMix64) -> Met {
    let at = checks.partition_point(|check| check.minute as f64 <= minute).max(1) - 1;
    let now = checks[at];
    let (coin, draw) = (chance.unit(), chance.unit());
    if !now.ok {
        return Met { down: true, fails: true, takes: Duration::from_secs_f64(now.seconds) };
    }
    let from = checks.partition_point(|check| check.minute < now.minute - ABOUT);
    let to = checks.partition_point(|check| check.minute <= now.minute + ABOUT);
    let near: Vec<f64> = checks[from..to].iter().filter(|check| check.ok).map(|check| check.seconds).collect();
    let takes = near[(draw * near.len() as f64) as usize];
    Met { down: false, fails: coin < TRANSIENT, takes: Duration::from_secs_f64(takes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(count: i64, down: impl Fn(i64) -> bool) -> Arc<Vec<Check>> {
        let check = |n| Check { minute: 28_000_000 + 10 * n, ok: !down(n), seconds: 0.2 };
        Arc::new((0..count).map(check).collect())
    }

    #[test]
    fn retries_mend_what_fails_now_and_then_and_the_same_seed_comes_to_the_same() {
        let checks = checks(300, |_| false);
        let (none, fixed) = (live(&checks, 1.0, Policy::None, 1), live(&checks, 1.0, Policy::Fixed, 1));
        assert!(none.succeeded < 0.99 * none.calls && fixed.succeeded > 0.998 * fixed.calls, "{none:?} {fixed:?}");
        let again = live(&checks, 1.0, Policy::Fixed, 1);
        assert_eq!((again.attempts, again.seconds), (fixed.attempts, fixed.seconds));
    }

    #[test]
    fn a_service_that_is_down_is_spared_by_the_circuit() {
        let checks = checks(60, |n| n >= 40);
        let (none, fixed) = (live(&checks, 10.0, Policy::None, 1), live(&checks, 10.0, Policy::Fixed, 1));
        assert!(fixed.while_down < 0.3 * none.while_down, "{none:?} {fixed:?}");
        assert!(none.succeeded < 0.5 * none.calls);
    }
}
