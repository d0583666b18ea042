//! What is believed about a probability, and about the ratio of two rates, after counting.

use statrs::distribution::{Beta, ContinuousCDF};

/// A Beta distribution: what is believed about a probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Posterior {
    a: f64,
    b: f64,
}

impl Posterior {
    // The continued fraction behind the distribution is exact up to some ten thousand observations; beyond them
    // nothing here is decided by the difference.
    const MOST: f64 = 10_000.0;
    const LEAST: f64 = 1e-3;

    /// From pseudo-counts of successes and failures, prior included.
    pub(crate) fn new(successes: f64, failures: f64) -> Self {
        let (a, b) = (sane(successes), sane(failures));
        let scale = (Self::MOST / (a + b)).min(1.0);
        Self { a: (a * scale).max(Self::LEAST), b: (b * scale).max(Self::LEAST) }
    }

    pub(crate) fn mean(self) -> f64 {
        self.a / (self.a + self.b)
    }

    /// P(probability < x). Of what is no number nothing is believed: the answer is none either.
    pub(crate) fn below(self, x: f64) -> f64 {
        if x.is_nan() {
            return x;
        }
        if x <= 0.0 {
            return 0.0;
        }
        if x >= 1.0 {
            return 1.0;
        }
        Beta::new(self.a, self.b).map_or(0.5, |beta| beta.cdf(x)).clamp(0.0, 1.0)
    }

    /// P(probability > x).
    pub(crate) fn above(self, x: f64) -> f64 {
        1.0 - self.below(x)
    }

    /// The interval that holds 90 % of the belief, 5 % on either side of it.
    pub(crate) fn interval(self) -> (f64, f64) {
        (self.quantile(0.05), self.quantile(0.95))
    }

    fn quantile(self, q: f64) -> f64 {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            if self.below(middle) < q {
                low = middle;
            } else {
                high = middle;
            }
        }
        f64::midpoint(low, high)
    }
}

/// P(x > times · y) for two rates known as Gamma(shape, time): events seen, and over how much they were seen.
pub(crate) fn rate_exceeds(x: (f64, f64), times: f64, y: (f64, f64)) -> f64 {
    // With unit-rate Gammas X and Y: X / x.1 > times · Y / y.1, and X / (X + Y) is Beta(x.0, y.0).
    let ratio = times * x.1 / y.1;
    if ratio.is_nan() || ratio < 0.0 {
        return 0.0;
    }
    Posterior::new(x.0, y.0).above(1.0 - 1.0 / (1.0 + ratio))
}

fn sane(count: f64) -> f64 {
    if count.is_finite() { count.max(Posterior::LEAST) } else { Posterior::LEAST }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: f64 = 1e-3;

    #[test]
    fn the_interval_of_a_flat_belief_leaves_five_per_cent_on_either_side() {
        let (low, high) = Posterior::new(1.0, 1.0).interval();
        assert!((low - 0.05).abs() < TOLERANCE && (high - 0.95).abs() < TOLERANCE, "{low} {high}");
    }

    #[test]
    fn more_observations_than_are_exact_still_give_a_narrow_belief() {
        let belief = Posterior::new(3e9, 1e9);
        assert!((belief.mean() - 0.75).abs() < TOLERANCE);
        assert!(belief.above(0.74) > 0.95 && belief.below(0.76) > 0.95);
    }

    #[test]
    fn nothing_is_believed_of_what_is_no_number() {
        assert!(Posterior::new(1.0, 1.0).above(f64::NAN).is_nan());
        assert_eq!(rate_exceeds((1.0, 1.0), f64::NAN, (1.0, 1.0)), 0.0);
    }

    #[test]
    fn equal_rates_exceed_each_other_half_the_time() {
        assert!((rate_exceeds((3.5, 100.0), 1.0, (3.5, 100.0)) - 0.5).abs() < TOLERANCE);
    }

    #[test]
    fn a_rate_seen_ten_times_as_often_exceeds_the_other_surely() {
        assert!(rate_exceeds((50.5, 100.0), 1.0, (5.5, 100.0)) > 0.999);
        assert!(rate_exceeds((50.5, 100.0), 40.0, (5.5, 100.0)) < 0.05);
    }
}
