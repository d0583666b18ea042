//! Decides whether a service can bear another retry.
//!
//! Retries are deposited for by successes, as in gRPC: one for every ten, over the last ten seconds, and ten a second on
//! top, so that a quiet service is not starved of them (Finagle's reserve; Google's SRE book allows each client 10 %).
//! Without it, retries alone can keep a service down that would otherwise have recovered. A service that is down
//! deposits nothing, so the worse it is, the less it is asked again.
//!
//! Successes are counted elsewhere without a lock; the budget reads the count only when a retry is due.

use std::time::{Duration, Instant};

/// How far back deposits and withdrawals count.
const WINDOW: Duration = Duration::from_secs(10);
/// Retries per success.
const RATIO: f64 = 0.1;
/// Retries a second that need no deposit.
const RESERVE: f64 = 10.0;
/// Pieces the window is remembered in.
const SLICES: u32 = 10;

/// The retry budget of one service.
#[derive(Debug)]
pub(crate) struct Budget {
    slices: Vec<Slice>,
}

#[derive(Debug)]
struct Slice {
    began: Instant,
    successes_before: u64,
    retries: u64,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self { slices: Vec::new() }
    }

    /// Takes one retry, if there is one to take. `successes` counts every success so far.
    pub(crate) fn withdraw(&mut self, successes: u64, now: Instant) -> bool {
        self.slices.retain(|slice| now.saturating_duration_since(slice.began) < WINDOW);
        let spent: u64 = self.slices.iter().map(|slice| slice.retries).sum();
        let deposited = self.slices.first().map_or(0, |slice| successes.saturating_sub(slice.successes_before));
        let allowed = RESERVE * WINDOW.as_secs_f64() + RATIO * deposited as f64;
        if spent as f64 + 1.0 > allowed {
            return false;
        }
        match self.slices.last_mut() {
            Some(slice) if now.saturating_duration_since(slice.began) < WINDOW / SLICES => slice.retries += 1,
            _ => self.slices.push(Slice { began: now, successes_before: successes, retries: 1 }),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_service_may_retry_every_call() {
        let mut budget = Budget::new();
        let mut now = Instant::now();
        for successes in 0..1_000 {
            now += Duration::from_millis(200);
            assert!(budget.withdraw(successes, now));
        }
    }

    /// The share of 1,000 calls a second, for a minute, that are granted a retry if each wants one.
    fn granted(succeeds: impl Fn(u64) -> u64) -> f64 {
        let mut budget = Budget::new();
        let start = Instant::now();
        let granted = (0..60_000).filter(|n| budget.withdraw(succeeds(*n), start + Duration::from_millis(*n))).count();
        granted as f64 / 60_000.0
    }

    #[test]
    fn a_busy_service_is_retried_for_a_tenth_of_its_successes_and_the_reserve() {
        let share = granted(|calls| calls);
        assert!((0.09..=0.12).contains(&share), "{share}");
    }

    #[test]
    fn a_busy_service_that_is_down_is_retried_for_the_reserve_alone() {
        let share = granted(|_| 0);
        assert!((0.009..=0.012).contains(&share), "{share}");
    }

    #[test]
    fn a_used_up_budget_fills_again_with_time() {
        let mut budget = Budget::new();
        let now = Instant::now();
        let burst = (0..1_000).filter(|_| budget.withdraw(0, now)).count();
        assert_eq!(burst, 100);
        assert!(!budget.withdraw(0, now + Duration::from_secs(9)));
        assert!(budget.withdraw(0, now + WINDOW));
    }
}
