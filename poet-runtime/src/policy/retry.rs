//! Decides whether to try again, and when.
//!
//! Exponential backoff with full jitter (`U(0, min(cap, base * 2^n))`, Brooker 2015): of the strategies compared there
//! it does the least work in all; or, where a strategy says so, growing by a step. What the service itself asked for
//! always wins.

use crate::parameter::Growth;
use std::time::Duration;

/// The delays between attempts, as upper ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// Before the first retry.
    pub(crate) base: Duration,
    /// The longest.
    pub(crate) longest: Duration,
    pub(crate) growth: Growth,
}

impl Backoff {
    /// The delay before the n-th retry (1 for the first), `fraction` in `0.0..1.0` being the jitter.
    pub(crate) fn delay(self, retry: u8, fraction: f64) -> Duration {
        let before = u32::from(retry.saturating_sub(1));
        let delay = match self.growth {
            Growth::Doubling => self.base.saturating_mul(1 << before.min(30)),
            Growth::By(step) => self.base.saturating_add(step.saturating_mul(before)),
        };
        delay.min(self.longest).mul_f64(fraction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn growing(growth: Growth) -> Backoff {
        Backoff { base: SECOND, longest: 5 * SECOND, growth }
    }

    #[test]
    fn delays_double_up_to_the_cap() {
        let delay = |retry| growing(Growth::Doubling).delay(retry, 1.0);
        assert_eq!([1, 2, 3, 4, 200].map(delay).map(|d| d.as_secs()), [1, 2, 4, 5, 5]);
    }

    #[test]
    fn delays_grow_by_a_step_up_to_the_cap() {
        let delay = |retry| growing(Growth::By(2 * SECOND)).delay(retry, 1.0);
        assert_eq!([0, 1, 2, 3, 4, 255].map(delay).map(|d| d.as_secs()), [1, 1, 3, 5, 5, 5]);
    }

    #[test]
    fn jitter_spreads_a_delay_over_its_whole_length() {
        let backoff = growing(Growth::Doubling);
        assert_eq!(backoff.delay(1, 0.0), Duration::ZERO);
        assert_eq!(backoff.delay(2, 0.25), Duration::from_millis(500));
    }

    #[test]
    fn the_longest_delays_there_are_do_not_overflow() {
        for growth in [Growth::Doubling, Growth::By(Duration::MAX)] {
            let backoff = Backoff { base: Duration::MAX, longest: 30 * SECOND, growth };
            assert_eq!(backoff.delay(255, 1.0), 30 * SECOND);
        }
    }
}
