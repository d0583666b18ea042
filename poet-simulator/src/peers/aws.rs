//! The retry modes of the AWS SDKs: a bucket of tokens, and a rate that throttling lowers.
//!
//! Standard mode 2.1: 500 tokens, 14 for a retry, 5 after throttling, given back when the retry succeeds, one for a first
//! attempt that does; three attempts, base delay 50 ms (1 s after throttling), at most 20 s. Adaptive mode adds CUBIC:
//! after throttling the rate becomes 0.7 of itself; after a success `0.4 (t - K)^3 + last`, with
//! `K = cbrt(0.3 last / 0.4)`, at most twice the measured rate (smoothed by 0.8 over half seconds), at least 0.5 a second.

use poet_runtime::Class;

/// What retries are paid from.
#[derive(Debug)]
pub(super) struct Bucket(f64);

impl Default for Bucket {
    fn default() -> Self {
        Self(Self::FULL)
    }
}

impl Bucket {
    const FULL: f64 = 500.0;
    const RETRY: f64 = 14.0;
    const THROTTLED: f64 = 5.0;
    pub(super) const ATTEMPTS: u32 = 3;
    pub(super) const LONGEST: f64 = 20.0;

    pub(super) fn base(class: Class) -> f64 {
        if matches!(class, Class::Throttled { .. }) { 1.0 } else { 0.05 }
    }

    /// Takes the price of a retry; `None` where it cannot be paid.
    pub(super) fn pay(&mut self, class: Class) -> Option<f64> {
        let price = if matches!(class, Class::Throttled { .. }) { Self::THROTTLED } else { Self::RETRY };
        (self.0 >= price).then(|| {
            self.0 -= price;
            price
        })
    }

    /// Gives back what a retry cost that succeeded, and one token for a first attempt that did.
    pub(super) fn observe(&mut self, class: Class, tried: u32, paid: f64) {
        if class == Class::Success {
            self.0 = (self.0 + if tried > 1 { paid } else { 1.0 }).min(Self::FULL);
        }
    }
}

/// How fast may be sent, once the service has throttled.
#[derive(Debug, Default)]
pub(super) struct Rate {
    on: bool,
    fill: f64,
    tokens: f64,
    filled_at: f64,
    last_most: f64,
    throttled_at: f64,
    measured: f64,
    bucket: f64,
    count: f64,
}

impl Rate {
    const BETA: f64 = 0.7;
    const SCALE: f64 = 0.4;
    const SMOOTH: f64 = 0.8;
    const LEAST: f64 = 0.5;

    /// How long an attempt waits for its turn; its token is taken.
    pub(super) fn wait(&mut self, now: f64) -> f64 {
        if !self.on {
            return 0.0;
        }
        self.refill(now);
        self.tokens -= 1.0;
        if self.tokens >= 0.0 { 0.0 } else { -self.tokens / self.fill }
    }

    fn refill(&mut self, now: f64) {
        self.tokens = (self.tokens + (now - self.filled_at) * self.fill).min(self.fill.max(1.0));
        self.filled_at = now;
    }

    fn measure(&mut self, now: f64) {
        self.count += 1.0;
        let bucket = (now * 2.0).floor() / 2.0;
        if bucket > self.bucket {
            let rate = self.count / (bucket - self.bucket);
            self.measured = rate * Self::SMOOTH + self.measured * (1.0 - Self::SMOOTH);
            (self.count, self.bucket) = (0.0, bucket);
        }
    }

    pub(super) fn observe(&mut self, now: f64, throttled: bool) {
        self.measure(now);
        let rate = if throttled {
            let before = if self.on { self.measured.min(self.fill) } else { self.measured };
            (self.last_most, self.throttled_at) = (before, now);
            self.on = true;
            before * Self::BETA
        } else {
            let window = (self.last_most * (1.0 - Self::BETA) / Self::SCALE).cbrt();
            Self::SCALE * (now - self.throttled_at - window).powi(3) + self.last_most
        };
        if self.on {
            self.refill(now);
            self.fill = rate.min(2.0 * self.measured).max(Self::LEAST);
            self.tokens = self.tokens.min(self.fill.max(1.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_pays_for_thirty_five_retries_and_is_given_back_what_succeeded() {
        let mut bucket = Bucket::default();
        let paid = std::iter::from_fn(|| bucket.pay(Class::Timeout)).count();
        assert_eq!(paid, 35);
        bucket.observe(Class::Success, 2, 14.0);
        assert_eq!(bucket.pay(Class::Timeout), Some(14.0));
    }

    #[test]
    fn throttling_lowers_the_rate_and_success_raises_it_again() {
        let mut rate = Rate::default();
        for call in 0..100 {
            rate.observe(f64::from(call) * 0.1, false);
        }
        assert_eq!(rate.wait(10.0), 0.0, "nothing was throttled");
        rate.observe(10.0, true);
        let low = rate.fill;
        assert!((5.0..9.0).contains(&low), "{low}");
        for call in 0..100 {
            rate.observe(10.0 + f64::from(call) * 0.1, false);
        }
        assert!(rate.fill > 1.3 * low, "{}", rate.fill);
    }
}
