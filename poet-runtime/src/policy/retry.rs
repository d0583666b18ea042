//! Decides whether to try again, and when.
//!
//! Exponential backoff with full jitter (`U(0, min(cap, base * 2^n))`, Brooker 2015): of the strategies compared there
//! it does the least work in all. What the service itself asked for always wins.

use std::time::Duration;

/// The delay before the n-th retry (1 for the first), `fraction` in `0.0..1.0` being the jitter.
pub(crate) fn backoff(base: Duration, cap: Duration, retry: u8, fraction: f64) -> Duration {
    let doublings = u32::from(retry.saturating_sub(1)).min(30);
    base.saturating_mul(1 << doublings).min(cap).mul_f64(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap() {
        let delay = |retry| backoff(Duration::from_secs(1), Duration::from_secs(5), retry, 1.0);
        assert_eq!([1, 2, 3, 4, 200].map(delay).map(|d| d.as_secs()), [1, 2, 4, 5, 5]);
    }

    #[test]
    fn jitter_spreads_a_delay_over_its_whole_length() {
        assert_eq!(backoff(Duration::from_secs(1), Duration::from_secs(5), 1, 0.0), Duration::ZERO);
        assert_eq!(backoff(Duration::from_secs(1), Duration::from_secs(5), 2, 0.25), Duration::from_millis(500));
    }
}
