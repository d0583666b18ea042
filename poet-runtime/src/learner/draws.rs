//! What could be true given what was counted: draws from beliefs that have no formula together.
//!
//! The draws are a function of their seed, so that the same evidence always teaches the same.

use crate::policy::fraction;

/// How many draws a decision rests on: a share of 95 % is known within 3 %.
pub(super) const DRAWS: usize = 200;

/// A sequence of draws.
#[derive(Debug)]
pub(super) struct Draws {
    counter: u64,
}

impl Draws {
    const SEED: u64 = 0x706f_6574;

    pub(super) fn new() -> Self {
        Self { counter: 0 }
    }

    /// Between 0 and 1, neither included.
    fn fraction(&mut self) -> f64 {
        self.counter += 1;
        fraction(Self::SEED, self.counter).max(f64::EPSILON)
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller).
    pub(super) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.fraction().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.fraction()).cos()
    }

    /// Gamma with this shape and scale 1 (Marsaglia and Tsang 2000); 0 for a shape that is not positive.
    pub(super) fn gamma(&mut self, shape: f64) -> f64 {
        if shape.is_nan() || shape <= 0.0 {
            return 0.0;
        }
        if shape < 1.0 {
            let boost = self.fraction().powf(1.0 / shape);
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        // One try in twenty is rejected at most; a hundred rejected in a row are a belief that is no number.
        for _ in 0..100 {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.fraction().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
        shape
    }

    /// Beta with these counts.
    pub(super) fn beta(&mut self, successes: f64, failures: f64) -> f64 {
        let (x, y) = (self.gamma(successes), self.gamma(failures));
        if x + y > 0.0 { x / (x + y) } else { 0.0 }
    }
}

/// The value that this share of the draws does not exceed. Sorts them.
pub(super) fn quantile(draws: &mut [f64], q: f64) -> f64 {
    draws.sort_unstable_by(f64::total_cmp);
    let index = (q * draws.len() as f64) as usize;
    draws.get(index.min(draws.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(mut draw: impl FnMut(&mut Draws) -> f64) -> (f64, f64) {
        let mut draws = Draws::new();
        let all: Vec<f64> = (0..20_000).map(|_| draw(&mut draws)).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        (mean, all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / all.len() as f64)
    }

    #[test]
    fn draws_have_the_mean_and_the_variance_of_their_distribution() {
        for (what, (mean, variance), (m, v)) in [
            ("normal", moments(Draws::normal), (0.0, 1.0)),
            ("gamma 0.5", moments(|draws| draws.gamma(0.5)), (0.5, 0.5)),
            ("gamma 40", moments(|draws| draws.gamma(40.0)), (40.0, 40.0)),
            ("beta", moments(|draws| draws.beta(2.0, 6.0)), (0.25, 12.0 / 576.0)),
        ] {
            assert!(
                (mean - m).abs() < 0.03 * m.max(1.0) && (variance / v - 1.0).abs() < 0.06,
                "{what} {mean} {variance}"
            );
        }
    }

    #[test]
    fn nothing_is_drawn_from_what_is_no_number() {
        assert_eq!(Draws::new().gamma(f64::NAN), 0.0);
        assert_eq!(Draws::new().beta(0.0, 0.0), 0.0);
        assert!(quantile(&mut [], 0.5).is_nan());
    }
}
