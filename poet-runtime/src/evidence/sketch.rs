//! Latencies in logarithmic buckets.
//!
//! Buckets 10 % apart give every quantile within 5 % (the DDSketch bound, Masson et al. 2019), merge by addition and
//! are counted in hours like everything else. P² and t-digest cannot be added to a row of a table.

use super::{History, Key};
use std::time::Duration;

/// Latencies by bucket, answered and censored, weighted by age.
#[derive(Clone, Debug)]
pub struct Sketch {
    answered: [f64; Sketch::BUCKETS],
    censored: [f64; Sketch::BUCKETS],
}

impl Sketch {
    /// 0.1 ms to 0.1 ms × 1.1^160 = 420 s.
    pub const BUCKETS: usize = 160;
    const LOWEST: f64 = 1e-4;
    const GROWTH: f64 = 1.1;

    /// The bucket of a latency; the first and the last one take what lies outside.
    #[must_use]
    pub fn bucket(latency: Duration) -> u8 {
        let seconds = latency.as_secs_f64().max(Self::LOWEST);
        let index = ((seconds / Self::LOWEST).ln() / Self::GROWTH.ln()) as usize;
        index.min(Self::BUCKETS - 1) as u8
    }

    /// The upper edge of a bucket in seconds.
    #[must_use]
    pub fn upper_edge(bucket: usize) -> f64 {
        Self::LOWEST * Self::GROWTH.powi(bucket as i32 + 1)
    }

    /// What a history says, each hour weighted by `weight(hour)`.
    #[must_use]
    pub fn read(history: &History, weight: impl Fn(i64) -> f64) -> Self {
        let mut sketch = Self { answered: [0.0; Self::BUCKETS], censored: [0.0; Self::BUCKETS] };
        for (hour, key, count) in history.cells() {
            let (buckets, bucket) = match key {
                Key::Answered(bucket) => (&mut sketch.answered, bucket),
                Key::Censored(bucket) => (&mut sketch.censored, bucket),
                _ => continue,
            };
            buckets[usize::from(bucket).min(Self::BUCKETS - 1)] += count as f64 * weight(hour);
        }
        sketch
    }

    /// The weight of answered latencies.
    #[must_use]
    pub fn answered(&self) -> f64 {
        self.answered.iter().sum()
    }

    /// The weight of censored latencies.
    #[must_use]
    pub fn censored(&self) -> f64 {
        self.censored.iter().sum()
    }

    /// The quantile of answered latencies in seconds; `None` where nothing was answered.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.answered();
        if total <= 0.0 {
            return None;
        }
        let mut below = 0.0;
        for (bucket, weight) in self.answered.iter().enumerate() {
            below += weight;
            if below >= q * total {
                return Some(Self::upper_edge(bucket));
            }
        }
        Some(Self::upper_edge(Self::BUCKETS - 1))
    }

    /// P(latency > upper edge of each bucket), by Kaplan and Meier: what was given up on is still at risk before.
    #[must_use]
    pub fn survival(&self) -> [f64; Self::BUCKETS] {
        let mut at_risk: f64 = self.answered() + self.censored();
        let mut alive = 1.0;
        let mut survival = [0.0; Self::BUCKETS];
        for bucket in 0..Self::BUCKETS {
            if at_risk > 0.0 {
                alive *= 1.0 - (self.answered[bucket] / at_risk).min(1.0);
            }
            at_risk -= self.answered[bucket] + self.censored[bucket];
            survival[bucket] = alive;
        }
        survival
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(latencies: &[(u64, u64)], censored: &[(u64, u64)]) -> Sketch {
        let mut history = History::default();
        for &(ms, n) in latencies {
            history.add(0, Key::Answered(Sketch::bucket(Duration::from_millis(ms))), n);
        }
        for &(ms, n) in censored {
            history.add(0, Key::Censored(Sketch::bucket(Duration::from_millis(ms))), n);
        }
        Sketch::read(&history, |_| 1.0)
    }

    #[test]
    fn a_quantile_is_within_ten_percent_of_the_truth() {
        let sketch = sketch(&[(10, 90), (1_000, 10)], &[]);
        let p50 = sketch.quantile(0.5).unwrap();
        let p95 = sketch.quantile(0.95).unwrap();
        assert!((0.010..=0.011).contains(&p50), "{p50}");
        assert!((1.0..=1.1).contains(&p95), "{p95}");
    }

    #[test]
    fn nothing_answered_has_no_quantile() {
        assert_eq!(sketch(&[], &[(100, 5)]).quantile(0.5), None);
    }

    #[test]
    fn censored_latencies_keep_the_tail_alive() {
        let with = sketch(&[(10, 90)], &[(100, 10)]).survival();
        let last = with[usize::from(Sketch::bucket(Duration::from_secs(1)))];
        assert!((last - 0.1).abs() < 1e-9, "{last}");
    }

    #[test]
    fn latencies_outside_the_range_fall_into_the_outer_buckets() {
        assert_eq!(Sketch::bucket(Duration::ZERO), 0);
        assert_eq!(usize::from(Sketch::bucket(Duration::from_secs(100_000))), Sketch::BUCKETS - 1);
    }
}
