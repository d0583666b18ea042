//! Clients that do what others do, with the constants that they state, to be compared with.
//!
//! They keep nothing, put nothing off and make nothing together: what is here is how they try again, and when they
//! stop asking.

mod aws;
mod clairvoyant;
mod envoy;

pub(crate) use clairvoyant::{Clairvoyant, Part};

use self::aws::{Bucket, Rate};
use self::envoy::{Budget, Ejection};
use crate::random::SplitMix64;
use crate::world::{Ask, Fleet, seconds};
use poet_runtime::Class;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One attempt.
    None,
    /// Three attempts.
    Fixed,
    /// Three attempts and a circuit breaker.
    FixedBreaker,
    /// The standard mode of the AWS SDKs.
    AwsStandard,
    /// The adaptive mode of the AWS SDKs.
    AwsAdaptive,
    /// A retry budget and outlier detection, as Envoy has them.
    Envoy,
}

/// Why a call was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The last attempt was of this class.
    Failed(Class),
    /// It was refused before an attempt.
    Refused,
}

/// One client of every service of a world.
#[derive(Debug)]
pub(crate) struct Peer {
    kind: Kind,
    seed: u64,
    services: Vec<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    calls: u64,
    breaker: Breaker,
    bucket: Bucket,
    rate: Rate,
    budget: Budget,
    ejection: Ejection,
}

/// Opens after failures in a row for a fixed time, and closes after successes.
#[derive(Debug, Default)]
struct Breaker {
    failures: u32,
    successes: u32,
    open_until: Option<f64>,
}

impl Breaker {
    const FAILURES: u32 = 5;
    const OPEN_FOR: f64 = 60.0;
    const SUCCESSES: u32 = 3;

    fn allows(&self, now: f64) -> bool {
        self.open_until.is_none_or(|until| now >= until)
    }

    fn observe(&mut self, now: f64, failed: bool) {
        match (self.open_until, failed) {
            (None, false) => self.failures = 0,
            (None, true) => {
                self.failures += 1;
                if self.failures >= Self::FAILURES {
                    (self.open_until, self.successes) = (Some(now + Self::OPEN_FOR), 0);
                }
            }
            (Some(_), true) => (self.open_until, self.successes) = (Some(now + Self::OPEN_FOR), 0),
            (Some(_), false) => {
                self.successes += 1;
                if self.successes >= Self::SUCCESSES {
                    *self = Self::default();
                }
            }
        }
    }
}

impl Peer {
    pub(crate) fn new(kind: Kind, services: usize, seed: u64) -> Self {
        Self { kind, seed, services: (0..services).map(|_| Mutex::default()).collect() }
    }

    fn state(&self, service: usize) -> MutexGuard<'_, State> {
        self.services[service].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one call, with as many attempts as this client makes.
    pub(crate) async fn call(&self, fleet: &Fleet, ask: Ask<'_>) -> Result<(), Gone> {
        let client = fleet.world().client;
        let until = fleet.second() + client.deadline;
        let number = {
            let mut state = self.state(ask.service);
            state.calls += 1;
            state.budget.begin();
            state.calls
        };
        let mut chance = SplitMix64::of(self.seed ^ 0x7065_6572, ask.service as u64, number);
        let result = self.attempts(fleet, ask, until, &mut chance).await;
        self.state(ask.service).budget.end();
        result
    }

    async fn attempts(&self, fleet: &Fleet, ask: Ask<'_>, until: f64, chance: &mut SplitMix64) -> Result<(), Gone> {
        let mut tried = 0_u32;
        let mut last = Gone::Refused;
        let mut paid = 0.0;
        let mut again = false;
        loop {
            let wait = {
                let mut state = self.state(ask.service);
                let now = fleet.second();
                let refused = match self.kind {
                    Kind::FixedBreaker => !state.breaker.allows(now),
                    Kind::Envoy => state.ejection.is_out(now),
                    _ => false,
                };
                if refused {
                    if again {
                        state.budget.retried();
                    }
                    return Err(last);
                }
                if self.kind == Kind::AwsAdaptive { state.rate.wait(now) } else { 0.0 }
            };
            if wait > 0.0 {
                if fleet.second() + wait > until {
                    return Err(last);
                }
                tokio::time::sleep(seconds(wait)).await;
            }
            let left = (until - fleet.second()).max(0.0);
            let limit = seconds(fleet.world().client.timeout.min(left));
            let result = tokio::time::timeout(limit, fleet.ask(ask)).await;
            tried += 1;
            if std::mem::take(&mut again) {
                self.state(ask.service).budget.retried();
            }
            let class = match result {
                Ok(Ok(_)) => Class::Success,
                Ok(Err(failure)) => failure.class,
                Err(_) => Class::Timeout,
            };
            self.observe(ask.service, fleet.second(), class, tried, paid);
            if class == Class::Success {
                return Ok(());
            }
            last = Gone::Failed(class);
            if class.failure().is_none() || fleet.second() >= until {
                return Err(last);
            }
            let Some((wait, price)) = self.again(ask.service, class, tried, chance) else { return Err(last) };
            (paid, again) = (price, self.kind == Kind::Envoy);
            tokio::time::sleep(seconds(wait.min(until - fleet.second()))).await;
        }
    }

    fn observe(&self, service: usize, now: f64, class: Class, tried: u32, paid: f64) {
        let mut state = self.state(service);
        let failed = class.failure().is_some();
        match self.kind {
            Kind::None | Kind::Fixed => {}
            Kind::FixedBreaker => state.breaker.observe(now, failed),
            Kind::AwsStandard => state.bucket.observe(class, tried, paid),
            Kind::AwsAdaptive => {
                state.bucket.observe(class, tried, paid);
                state.rate.observe(now, matches!(class, Class::Throttled { .. }));
            }
            Kind::Envoy => state.ejection.observe(now, failed),
        }
    }

    /// How long the next attempt waits, and what it costs of a budget; `None` where there is none.
    fn again(&self, service: usize, class: Class, tried: u32, chance: &mut SplitMix64) -> Option<(f64, f64)> {
        let jittered = |base: f64, most: f64, chance: &mut SplitMix64| {
            chance.unit() * (base * 2f64.powi(tried as i32 - 1)).min(most)
        };
        match self.kind {
            Kind::None => None,
            Kind::Fixed | Kind::FixedBreaker => (tried < 3).then(|| (jittered(0.2, 10.0, chance), 0.0)),
            Kind::AwsStandard | Kind::AwsAdaptive => {
                if tried >= Bucket::ATTEMPTS {
                    return None;
                }
                let price = self.state(service).bucket.pay(class)?;
                Some((jittered(Bucket::base(class), Bucket::LONGEST, chance), price))
            }
            Kind::Envoy => {
                if tried > Budget::RETRIES || !self.state(service).budget.retry() {
                    return None;
                }
                Some((jittered(Budget::BASE, Budget::LONGEST, chance), 0.0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breaker_opens_after_five_failures_in_a_row_and_closes_after_three_successes() {
        let mut breaker = Breaker::default();
        for failed in [true, true, true, true, false, true, true, true, true] {
            breaker.observe(0.0, failed);
        }
        assert!(breaker.allows(0.0));
        breaker.observe(0.0, true);
        assert!(!breaker.allows(59.9) && breaker.allows(60.0));
        breaker.observe(60.0, true);
        assert!(!breaker.allows(119.0));
        for _ in 0..3 {
            breaker.observe(120.0, false);
        }
        assert!(breaker.open_until.is_none());
    }
}
