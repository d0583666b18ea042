//! How a service does just now, in the few numbers that plans and people ask for.
//!
//! The recorder counts ([`Vitals`]), at most once a second and never on the way of a call; the circuit, and what a
//! service asked for with `Retry-After`, are looked at when somebody asks. A verdict is only given where the counts
//! carry it: a service that failed once in three calls is not known to be degraded.

use crate::config::ServiceConfig;
use crate::evidence::{Tried, Vitals};
use crate::learner::degradation::{self, Degradation};
use crate::learner::posterior::Posterior;
use crate::policy::breaker::Standing;
use crate::runtime::Runtime;
use crate::target::Target;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How sure it has to be that a service keeps its target, or that it does not.
const CREDIBLE: f64 = 0.95;

/// How many attempts the rate of a day is worth beside those of the last hour.
const DAY_WORTH: f64 = 4.0;

/// How well a service can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Condition {
    /// It answers as it should.
    Healthy,
    /// Too little is known.
    #[default]
    Unknown,
    /// It fails more often than its target allows, or is being probed.
    Degraded,
    /// Its circuit is open, or it asked to be left alone.
    Down,
}

impl Condition {
    /// The name used in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unknown => "unknown",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }

    /// What the counts say, the circuit aside: degraded where the last hour is credibly below the target, healthy
    /// where the last hour, or else the last day, is credibly above it.
    #[must_use]
    pub fn of(vitals: &Vitals, success_target: f64) -> Self {
        // The exact bounds of a proportion (Clopper and Pearson 1934): where nothing was counted, neither holds.
        let degraded = |tried: Tried| Posterior::new(1.0 + tried.succeeded, tried.failed).below(success_target);
        let healthy = |tried: Tried| Posterior::new(tried.succeeded, 1.0 + tried.failed).above(success_target);
        if degraded(vitals.recent) >= CREDIBLE {
            Self::Degraded
        } else if healthy(vitals.recent).max(healthy(vitals.day)) >= CREDIBLE {
            Self::Healthy
        } else {
            Self::Unknown
        }
    }
}

/// How one operation of a service does.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Health {
    /// The verdict.
    pub condition: Condition,
    /// The share of attempts of the last 24 h that succeeded, of those that could have (the request was not at fault);
    /// `None` where there were none.
    pub success_rate_24h: Option<f64>,
    /// The attempts of the last 24 h, those whose request was at fault left out.
    pub attempts_24h: u64,
    /// The success to be expected of the next attempt, between 0 and 1: the rate of the last hour, with that of the
    /// last 24 h as four attempts more. To compare services that could do the same; `None` where nothing is known.
    pub score: Option<f64>,
    /// How likely the next attempt fails, by how many failed just before, for how long, and what such situations came
    /// to; of a service that of its operation that stands worst. `None` until enough attempts were seen.
    pub degradation: Option<Degradation>,
    /// The median time of an answer over the last 24 h.
    pub median: Option<Duration>,
    /// The time within which 95 % of the answers of the last 24 h came.
    pub p95: Option<Duration>,
    /// The share of calls of the last 24 h that the cache answered; `None` where there were none.
    pub cache_hit_rate: Option<f64>,
    /// How long the service is better left alone, as far as its circuit or itself said.
    pub rest: Option<Duration>,
}

impl Health {
    fn of(vitals: &Vitals, condition: Condition, rest: Option<Duration>, degradation: Option<Degradation>) -> Self {
        let day = vitals.day.rate();
        let score = day.map(|day| (vitals.recent.succeeded + DAY_WORTH * day) / (vitals.recent.attempts() + DAY_WORTH));
        Self {
            condition,
            success_rate_24h: day,
            attempts_24h: vitals.day.attempts().round() as u64,
            score,
            degradation,
            median: vitals.median,
            p95: vitals.p95,
            cache_hit_rate: vitals.cache_hit_rate(),
            rest,
        }
    }
}

/// How a service does as a whole, and what can be done about it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ServiceHealth {
    /// Its name.
    pub service: String,
    /// All its operations together. The verdict is `down` where every operation that was called lately is, and
    /// `degraded` where some are.
    pub health: Health,
    /// The mean time of an answer over the last 24 h.
    pub mean: Option<Duration>,
    /// Whether any of its tools may be put off.
    pub deferrable: bool,
    /// Whether another tool is configured to answer for any of its tools.
    pub fallback_available: bool,
    /// Whether any of its tools has a bulk form.
    pub batch_optimization: bool,
    /// Whether calls of any of its tools are acknowledged at once and made by a worker.
    pub async_processing: bool,
}

impl ServiceHealth {
    /// What to do about a failed call: `exponential_backoff`, or `defer_non_critical` where the service is not well
    /// and something of it may wait.
    #[must_use]
    pub fn recommended_retry_strategy(&self) -> &'static str {
        if self.health.condition >= Condition::Degraded && self.deferrable {
            "defer_non_critical"
        } else {
            "exponential_backoff"
        }
    }

    /// The record of a service in the context of a decision: times in seconds, rates as fractions, `null` where
    /// nothing is known.
    #[must_use]
    pub fn record(&self) -> Value {
        json!({
            "service": self.service,
            "health_status": self.health.condition.as_str(),
            "avg_response_time": self.mean.map(|mean| mean.as_secs_f64()),
            "success_rate_24h": self.health.success_rate_24h,
            "attempts_24h": self.health.attempts_24h,
            "health_score": self.health.score,
            "degradation_probability": self.health.degradation.map(|degradation| degradation.probability),
            "cache_hit_rate": self.health.cache_hit_rate,
            "rest": self.health.rest.map(|rest| rest.as_secs_f64()),
            "recommended_retry_strategy": self.recommended_retry_strategy(),
            "fallback_available": self.fallback_available,
            "batch_optimization": self.batch_optimization,
            "async_processing": self.async_processing,
        })
    }

    fn can(&mut self, config: &ServiceConfig) {
        let any = |f: fn(&crate::config::ToolConfig) -> bool| config.tools.values().any(f);
        self.deferrable = any(|tool| tool.deferrable == Some(true));
        self.fallback_available = any(|tool| tool.fallback.is_some());
        self.batch_optimization = any(|tool| tool.batch.is_some());
        self.async_processing = any(|tool| tool.queued.is_some());
    }
}

impl Runtime {
    /// How an operation of a service does, as far as this process knows; `None` if it was never called here.
    ///
    /// What was counted is up to a second old; the circuit is looked at now.
    #[must_use]
    pub fn health(&self, service: &str, operation: &str) -> Option<Health> {
        let target = self.0.registry.known(service, operation)?;
        Some(self.health_of(&target).0)
    }

    /// How a service does, as far as this process knows; `None` if it is neither configured nor was ever called here.
    #[must_use]
    pub fn service_health(&self, service: &str) -> Option<ServiceHealth> {
        let targets = self.0.registry.of_service(service);
        let config = self.config().services.get(service);
        if targets.is_empty() && config.is_none() {
            return None;
        }
        let mut whole = ServiceHealth { service: service.to_owned(), ..ServiceHealth::default() };
        if let Some(config) = config {
            whole.can(config);
        }
        let mut vitals = Vitals::default();
        let (mut down, mut unwell, mut called) = (0, 0, 0);
        let (mut rest, mut worst) = (None, None);
        let mut success_target = None;
        for target in &targets {
            let (health, own) = self.health_of(target);
            let is_down = health.condition == Condition::Down;
            down += usize::from(is_down);
            unwell += usize::from(health.condition == Condition::Degraded || is_down);
            called += usize::from(is_down || own.day.attempts() > 0.0);
            rest = rest.max(health.rest);
            let worse = |worst: &Degradation| health.degradation.is_some_and(|own| own.probability > worst.probability);
            if worst.as_ref().is_none_or(worse) {
                worst = health.degradation.or(worst);
            }
            success_target = Some(target.profile.success_target.max(success_target.unwrap_or(0.0)));
            vitals.merge(&own);
        }
        let condition = match success_target.map_or(Condition::Unknown, |at| Condition::of(&vitals, at)) {
            _ if down > 0 && down == called => Condition::Down,
            _ if unwell > 0 => Condition::Degraded,
            counted => counted,
        };
        // While one operation still answers, the service as a whole need not be left alone.
        let rest = rest.filter(|_| condition == Condition::Down);
        whole.health = Health::of(&vitals, condition, rest, worst);
        whole.mean = vitals.mean();
        Some(whole)
    }

    fn health_of(&self, target: &Target) -> (Health, Vitals) {
        let clock = self.clock();
        let now = clock.now();
        let wall = clock.anchor().wall(now);
        let vitals = target.vitals(wall);
        let (standing, rest) = (target.standing(now), rest(target, now));
        let condition = match standing {
            _ if rest.is_some() => Condition::Down,
            Standing::HalfOpen => Condition::Degraded,
            Standing::Closed | Standing::Open { .. } => Condition::of(&vitals, target.profile.success_target),
        };
        let foretold =
            vitals.last.as_ref().and_then(|(watch, seen)| degradation::foretell(seen, watch.situation(wall)));
        (Health::of(&vitals, condition, rest, foretold), vitals)
    }
}

/// How long a target is better left alone: its circuit is open, or its service asked for it.
fn rest(target: &Target, now: Instant) -> Option<Duration> {
    let open = match target.standing(now) {
        Standing::Open { left } => Some(left),
        Standing::Closed | Standing::HalfOpen => None,
    };
    let held = target.held_until(now).map(|until| until.saturating_duration_since(now));
    open.max(held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ToolConfig;
    use crate::outcome::Class;
    use crate::profile::Profile;
    use crate::service::{Failure, ServiceCall};
    use crate::{Clock, Wall};

    fn runtime() -> Runtime {
        let update = ToolConfig::default().deferrable().fallback("crm", "get");
        let service = ServiceConfig::named("crm").tool("update", update).pin("retry.max_retries", 0);
        let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
        Runtime::builder().in_memory().service(service).clock(clock).build().unwrap()
    }

    async fn call(runtime: &Runtime, operation: &str, class: Class) {
        tokio::time::advance(Duration::from_millis(100)).await;
        let call = ServiceCall { repeatable: true, ..ServiceCall::new("crm", operation, Profile::GENERAL) };
        let _ = runtime
            .call(&call, |_| async move {
                tokio::time::sleep(Duration::from_millis(40)).await;
                if class == Class::Success { Ok(()) } else { Err(Failure::new(class, "no")) }
            })
            .await;
    }

    fn tried(succeeded: u32, failed: u32) -> Tried {
        Tried { succeeded: succeeded.into(), failed: failed.into() }
    }

    #[test]
    fn a_verdict_is_given_only_where_the_counts_carry_it() {
        let of = |recent, day| Condition::of(&Vitals { recent, day, ..Vitals::default() }, 0.95);
        assert_eq!(of(tried(0, 0), tried(0, 0)), Condition::Unknown);
        assert_eq!(of(tried(2, 1), tried(2, 1)), Condition::Unknown, "three calls say little");
        assert_eq!(of(tried(20, 8), tried(2_000, 8)), Condition::Degraded);
        assert_eq!(of(tried(100, 0), tried(100, 0)), Condition::Healthy);
        assert_eq!(of(tried(5, 0), tried(500, 1)), Condition::Healthy, "the day says so where the hour is thin");
        assert_eq!(of(tried(94, 6), tried(94, 6)), Condition::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_called_is_known_within_a_second_and_what_was_not_is_not() {
        let runtime = runtime();
        assert_eq!(runtime.health("crm", "get"), None);
        for _ in 0..100 {
            call(&runtime, "get", Class::Success).await;
        }
        let health = runtime.health("crm", "get").unwrap();
        assert_eq!((health.condition, health.success_rate_24h), (Condition::Healthy, Some(1.0)));
        assert!((90..=100).contains(&health.attempts_24h), "{health:?}");
        let median = health.median.unwrap();
        assert!((Duration::from_millis(38)..Duration::from_millis(46)).contains(&median), "{median:?}");
        assert_eq!((health.rest, health.cache_hit_rate), (None, Some(0.0)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_failed_just_now_is_likelier_to_fail_next_than_one_that_did_not() {
        let runtime = runtime();
        let risk = || runtime.health("crm", "get").unwrap().degradation.map(|foretold| foretold.probability);
        for _ in 0..20 {
            call(&runtime, "get", Class::Success).await;
        }
        assert_eq!(risk(), None, "twenty calls say too little");
        for _ in 0..100 {
            call(&runtime, "get", Class::Success).await;
        }
        let calm = risk().unwrap();
        call(&runtime, "get", Class::Transient).await;
        tokio::time::advance(Duration::from_secs(2)).await;
        call(&runtime, "get", Class::Transient).await;
        let failing = risk().unwrap();
        assert!(calm < 0.01 && failing > 0.3, "{calm} {failing}");
        assert!(runtime.service_health("crm").unwrap().record()["degradation_probability"].as_f64().unwrap() > 0.3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_circuit_is_down_for_as_long_as_it_is_open_and_then_degraded_until_it_closes() {
        let runtime = runtime();
        for _ in 0..5 {
            call(&runtime, "update", Class::Transient).await;
        }
        let health = runtime.health("crm", "update").unwrap();
        assert_eq!(health.condition, Condition::Down);
        assert!(health.rest.unwrap() > Duration::from_secs(59), "{health:?}");
        let service = runtime.service_health("crm").unwrap();
        assert_eq!(service.recommended_retry_strategy(), "defer_non_critical");
        assert_eq!(service.record()["health_status"], "down");
        tokio::time::advance(Duration::from_secs(61)).await;
        let health = runtime.health("crm", "update").unwrap();
        assert_eq!((health.condition, health.rest), (Condition::Degraded, None));
    }

    #[tokio::test(start_paused = true)]
    async fn one_operation_that_is_down_degrades_its_service_and_all_of_them_bring_it_down() {
        let runtime = runtime();
        for _ in 0..100 {
            call(&runtime, "get", Class::Success).await;
        }
        for _ in 0..5 {
            call(&runtime, "update", Class::Transient).await;
        }
        let service = runtime.service_health("crm").unwrap();
        assert_eq!((service.health.condition, service.health.rest), (Condition::Degraded, None));
        for _ in 0..5 {
            call(&runtime, "get", Class::Transient).await;
        }
        assert_eq!(runtime.service_health("crm").unwrap().health.condition, Condition::Down);
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_asked_to_be_left_alone_is_down_until_then() {
        let runtime = runtime();
        let retry_after = Some(Duration::from_secs(30));
        call(&runtime, "get", Class::Throttled { retry_after }).await;
        let health = runtime.health("crm", "get").unwrap();
        assert_eq!((health.condition, health.rest), (Condition::Down, retry_after));
    }

    #[test]
    fn a_service_that_is_only_configured_has_a_record_of_what_can_be_done_about_it() {
        let runtime = runtime();
        let record = runtime.service_health("crm").unwrap().record();
        assert_eq!(record["health_status"], "unknown");
        assert_eq!(record["success_rate_24h"], Value::Null);
        assert_eq!(record["fallback_available"], true);
        assert_eq!(record["batch_optimization"], false);
        assert_eq!(record["recommended_retry_strategy"], "exponential_backoff");
        assert_eq!(runtime.service_health("nobody"), None);
    }
}
