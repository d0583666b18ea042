//! Decides whether a service can bear another retry.
//!
//! Retries are deposited for by successes, as in gRPC: one for every ten, over the last ten seconds, and ten a second on
//! top, so that a quiet service is not starved of them (Finagle's reserve; Google's SRE book allows each client 10 %).
//! Without it, retries alone can keep a service down that would otherwise have recovered. A service that is down
//! deposits nothing, so the worse it is, the less it is asked again.
//!
//! A retry that succeeded gives back what it took, as in the AWS SDKs: it is no sign of a service that retries keep down.
//! So what is rationed is retries that fail. A service that fails one attempt in five at random loses one call in twenty
//! to them, and is retried as often as its policy says, however busy it is; of one that fails every second attempt only
//! some are asked again.
//!
//! Successes are counted elsewhere without a lock; the budget reads the counts only when a retry is due.

use std::time::{Duration, Instant};

/// How far back deposits and withdrawals count.
const WINDOW: Duration = Duration::from_secs(10);
/// Retries per success.
const RATIO: f64 = 0.1;
/// Retries a second that need no deposit.
const RESERVE: f64 = 10.0;
/// Pieces the window is remembered in.
const SLICES: u32 = 10;

/// What a service answered well so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answered {
    /// Every success.
    pub(crate) successes: u64,
    /// Those among them that were retries.
    pub(crate) recovered: u64,
}

/// The retry budget of one service.
#[derive(Debug)]
pub(crate) struct Budget {
    slices: Vec<Slice>,
}

#[derive(Debug)]
struct Slice {
    began: Instant,
    before: Answered,
    retries: u64,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self { slices: Vec::new() }
    }

    /// Takes one retry, if there is one to take.
    pub(crate) fn withdraw(&mut self, answered: Answered, now: Instant) -> bool {
        self.slices.retain(|slice| now.saturating_duration_since(slice.began) < WINDOW);
        let before = self.slices.first().map_or(answered, |slice| slice.before);
        let taken: u64 = self.slices.iter().map(|slice| slice.retries).sum();
        let spent = taken.saturating_sub(answered.recovered.saturating_sub(before.recovered));
        let deposited = answered.successes.saturating_sub(before.successes);
        let allowed = RESERVE * WINDOW.as_secs_f64() + RATIO * deposited as f64;
        if spent as f64 + 1.0 > allowed {
            return false;
        }
        match self.slices.last_mut() {
            Some(slice) if now.saturating_duration_since(slice.began) < WINDOW / SLICES => slice.retries += 1,
            _ => self.slices.push(Slice { began: now, before: answered, retries: 1 }),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::jitter::fraction;

    #[test]
    fn a_quiet_service_may_retry_every_call() {
        let mut budget = Budget::new();
        let mut now = Instant::now();
        for successes in 0..1_000 {
            now += Duration::from_millis(200);
            assert!(budget.withdraw(Answered { successes, recovered: 0 }, now));
        }
    }

    /// The share of 1,000 calls a second, for a minute, that are granted a retry if each wants one and none succeeds.
    fn granted(succeeds: impl Fn(u64) -> u64) -> f64 {
        let mut budget = Budget::new();
        let start = Instant::now();
        let answered = |n| Answered { successes: succeeds(n), recovered: 0 };
        let granted = (0..60_000).filter(|n| budget.withdraw(answered(*n), start + Duration::from_millis(*n))).count();
        granted as f64 / 60_000.0
    }

    /// The retries refused to 1,000 calls a second, for a minute, each of which wants up to three, as a share of those that
    /// were wanted, where this share of attempts fails at random.
    fn refused(failing: f64) -> f64 {
        let (mut budget, mut answered) = (Budget::new(), Answered::default());
        let (start, mut attempt) = (Instant::now(), 0);
        let (mut wanted, mut refused) = (0, 0);
        for call in 0..60_000 {
            for retry in 0..=3 {
                if retry > 0 {
                    wanted += 1;
                    if !budget.withdraw(answered, start + Duration::from_millis(call)) {
                        refused += 1;
                        break;
                    }
                }
                attempt += 1;
                if fraction(7, attempt) >= failing {
                    answered.successes += 1;
                    answered.recovered += u64::from(retry > 0);
                    break;
                }
            }
        }
        f64::from(refused) / f64::from(wanted)
    }

    #[test]
    fn a_busy_service_that_fails_one_attempt_in_five_is_retried_as_often_as_is_wanted() {
        let share = refused(0.2);
        assert!(share == 0.0, "{share}");
    }

    #[test]
    fn a_busy_service_that_fails_most_attempts_is_not_retried_as_often_as_is_wanted() {
        let share = refused(0.7);
        assert!(share > 0.3, "{share}");
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
        let burst = (0..1_000).filter(|_| budget.withdraw(Answered::default(), now)).count();
        assert_eq!(burst, 100);
        assert!(!budget.withdraw(Answered::default(), now + Duration::from_secs(9)));
        assert!(budget.withdraw(Answered::default(), now + WINDOW));
    }
}
