//! The peers, each as its own documentation says to stack it, with limits that are never reached.

use crate::protected::{Failed, Readiness, pending_once, ready};
use crate::sampling::{Bench, Case, Group};
use layered::{Execute, Service as _, Stack};
use seatbelt::breaker::Breaker;
use seatbelt::retry::Retry;
use seatbelt::timeout::Timeout;
use seatbelt::{RecoveryInfo, ResilienceContext};
use std::future::{Future, Ready, poll_fn};
use std::time::Duration;
use tower::{BoxError, Service, ServiceBuilder, service_fn};
use tower_resilience::bulkhead::BulkheadLayer;
use tower_resilience::circuitbreaker::CircuitBreakerLayer;
use tower_resilience::retry::RetryLayer;
use tower_resilience::timelimiter::TimeLimiterLayer;

const LIMIT: Duration = Duration::from_secs(10);
const ATTEMPTS: usize = 3;

/// The bare function and every peer.
#[must_use]
pub fn cases(bench: &Bench, readiness: Readiness) -> Vec<Case> {
    match readiness {
        Readiness::AtOnce => protect(bench, Group::Ready, ready),
        Readiness::PendingOnce => protect(bench, Group::Pending, pending_once),
    }
}

/// The function to protect; a type of its own each, so that it can be inlined as it would be for a user.
trait Function<F>: Fn(u64) -> F + Copy + Send + Sync + 'static {}

impl<F, T: Fn(u64) -> F + Copy + Send + Sync + 'static> Function<F> for T {}

fn protect<F>(bench: &Bench, group: Group, function: impl Function<F>) -> Vec<Case>
where
    F: Future<Output = Result<u64, Failed>> + Send + 'static,
{
    let _entered = bench.runtime.enter();
    vec![
        Case::new(bench, group, "bare async fn", size_of_val(&function(0)), async move |n| function(n).await),
        tower(bench, group, function),
        seatbelt(bench, group, function),
        tower_resilience(bench, group, function),
    ]
}

/// tower's retry policy is the author's to write: this one counts.
#[derive(Clone)]
struct Again(usize);

impl<T, E> tower::retry::Policy<u64, T, E> for Again {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut u64, result: &mut Result<T, E>) -> Option<Self::Future> {
        if result.is_ok() || self.0 == 0 {
            return None;
        }
        self.0 -= 1;
        Some(std::future::ready(()))
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

fn tower<F>(bench: &Bench, group: Group, function: impl Function<F>) -> Case
where
    F: Future<Output = Result<u64, Failed>> + Send + 'static,
{
    let service = ServiceBuilder::new().retry(Again(ATTEMPTS - 1)).timeout(LIMIT).service(service_fn(function));
    tower_case(bench, group, "tower retry + timeout", service)
}

fn tower_resilience<F>(bench: &Bench, group: Group, function: impl Function<F>) -> Case
where
    F: Future<Output = Result<u64, Failed>> + Send + 'static,
{
    let service = ServiceBuilder::new()
        .layer(RetryLayer::<u64, u64, _>::builder().max_attempts(ATTEMPTS).build())
        .layer(CircuitBreakerLayer::builder().build().expect("the defaults are valid"))
        .layer(BulkheadLayer::builder().max_concurrent_calls(64).build().expect("64 is a number of calls"))
        .layer(TimeLimiterLayer::builder().timeout_duration(LIMIT).build())
        .service(service_fn(function));
    tower_case(bench, group, "tower-resilience retry + circuit + bulkhead + limit", service)
}

fn tower_case<S>(bench: &Bench, group: Group, name: &'static str, mut service: S) -> Case
where
    S: Service<u64, Response = u64> + 'static,
    S::Error: Into<BoxError>,
{
    let size = size_of::<S::Future>();
    Case::new(bench, group, name, size, async move |n| {
        if poll_fn(|cx| service.poll_ready(cx)).await.is_err() {
            return None;
        }
        service.call(n).await.ok()
    })
}

fn seatbelt<F>(bench: &Bench, group: Group, function: impl Function<F>) -> Case
where
    F: Future<Output = Result<u64, Failed>> + Send + 'static,
{
    type Outcome = Result<u64, Failed>;
    fn recovery(outcome: &Outcome) -> RecoveryInfo {
        if outcome.is_ok() { RecoveryInfo::never() } else { RecoveryInfo::retry() }
    }
    let clock = tick::Clock::new_tokio();
    let context = ResilienceContext::<u64, Outcome>::new(&clock);
    let service = (
        Retry::layer("retry", &context)
            .clone_input()
            .max_retry_attempts(ATTEMPTS as u32 - 1)
            .recovery_with(|outcome: &Outcome, _| recovery(outcome)),
        Breaker::layer("breaker", &context)
            .recovery_with(|outcome: &Outcome, _| recovery(outcome))
            .rejected_input(|_, _| Err(Failed::OPEN)),
        Timeout::layer("timeout", &context).timeout_output(|_| Err(Failed::TIMEOUT)).timeout(LIMIT),
        Execute::new(function),
    )
        .into_service();
    let size = size_of_val(&service.execute(0));
    Case::new(bench, group, "seatbelt retry + breaker + timeout", size, async move |n| service.execute(n).await)
}
