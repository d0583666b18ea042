//! What a call must cost at least: a prototype of every stage, each done the cheapest way that is still honest.
//!
//! It has one gate, one learned policy, one deadline that arms a timer only where it must, one retry loop, and one
//! record of the outcome, with two readings of the clock. It has no error classes, context, budgets, probes,
//! configuration or store: whatever those add is what the real thing is compared for.

use crate::protected::{Failed, Readiness, pending_once, ready};
use crate::sampling::{Bench, Case, Group};
use crate::table::FLOOR;
use arc_swap::ArcSwap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

/// Outcomes the ring holds.
const RING: usize = 1_024;

/// What was learned.
#[derive(Debug)]
struct Policy {
    max_retries: u32,
    base_delay: Duration,
    timeout: Duration,
}

/// One protected service.
#[derive(Debug)]
pub struct Floor {
    open: AtomicBool,
    policy: ArcSwap<Policy>,
    outcomes: Outcomes,
}

/// What happened, written by one thread.
#[derive(Debug)]
struct Outcomes {
    calls: AtomicU64,
    /// Latencies by the position of their highest bit.
    latencies: [AtomicU64; 64],
    ring: Vec<AtomicU64>,
}

impl Default for Floor {
    fn default() -> Self {
        let policy =
            Policy { max_retries: 2, base_delay: Duration::from_millis(200), timeout: Duration::from_secs(10) };
        Self {
            open: AtomicBool::new(false),
            policy: ArcSwap::from_pointee(policy),
            outcomes: Outcomes {
                calls: AtomicU64::new(0),
                latencies: [const { AtomicU64::new(0) }; 64],
                ring: (0..RING).map(|_| AtomicU64::new(0)).collect(),
            },
        }
    }
}

impl Floor {
    /// Calls the service through every stage.
    ///
    /// # Errors
    ///
    /// The service's last one, or that there was none.
    pub async fn call<F>(&self, mut attempt: impl FnMut() -> F) -> Result<u64, Failed>
    where
        F: Future<Output = Result<u64, Failed>>,
    {
        let began = Instant::now();
        if self.open.load(Ordering::Acquire) {
            return Err(Failed::OPEN);
        }
        let policy = self.policy.load();
        let mut retries = 0;
        loop {
            let answer = within(began, policy.timeout, pin!(attempt())).await.unwrap_or(Err(Failed::TIMEOUT));
            let took = began.elapsed();
            self.outcomes.record(took, answer.is_ok());
            if answer.is_ok() || retries == policy.max_retries || took >= policy.timeout {
                return answer;
            }
            retries += 1;
            tokio::time::sleep(policy.base_delay * retries).await;
        }
    }
}

impl Outcomes {
    fn record(&self, took: Duration, good: bool) {
        let nanos = took.as_secs() * 1_000_000_000 + u64::from(took.subsec_nanos());
        let calls = add_one(&self.calls);
        add_one(&self.latencies[63 - (nanos | 1).leading_zeros() as usize]);
        self.ring[calls as usize % RING].store(nanos << 1 | u64::from(good), Ordering::Relaxed);
    }
}

/// Counts without an atomic addition, which one writer does not need.
fn add_one(counter: &AtomicU64) -> u64 {
    let before = counter.load(Ordering::Relaxed);
    counter.store(before + 1, Ordering::Relaxed);
    before
}

async fn within<F: Future>(began: Instant, limit: Duration, mut body: Pin<&mut F>) -> Option<F::Output> {
    if let Poll::Ready(value) = poll_fn(|cx| Poll::Ready(body.as_mut().poll(cx))).await {
        return Some(value);
    }
    let mut timer = pin!(tokio::time::sleep_until((began + limit).into()));
    // The body was polled a moment ago in this same poll of the task.
    let mut polled = true;
    poll_fn(|cx| {
        if !std::mem::take(&mut polled)
            && let Poll::Ready(value) = body.as_mut().poll(cx)
        {
            return Poll::Ready(Some(value));
        }
        timer.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// The floor as cases.
#[must_use]
pub fn cases(bench: &Bench, readiness: Readiness) -> Vec<Case> {
    let floor = Arc::new(Floor::default());
    let case = match readiness {
        Readiness::AtOnce => {
            let size = size_of_val(&floor.call(|| ready(0)));
            Case::new(bench, Group::Ready, FLOOR, size, async move |n| floor.call(|| ready(n)).await)
        }
        Readiness::PendingOnce => {
            let size = size_of_val(&floor.call(|| pending_once(0)));
            Case::new(bench, Group::Pending, FLOOR, size, async move |n| floor.call(|| pending_once(n)).await)
        }
    };
    vec![case]
}
