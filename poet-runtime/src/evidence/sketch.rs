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
    /// Those of `censored` that the deadline of their call ended.
    at_deadline: [f64; Sketch::BUCKETS],
}

impl Sketch {
    /// 0.1 ms to 0.1 ms × 1.1^160 = 420 s.
    pub const BUCKETS: usize = 160;
    const LOWEST: f64 = 1e-4;
    /// How many times as long a bucket is as the one before.
    pub const GROWTH: f64 = 1.1;

    /// Every upper edge: an estimator asks for them by the thousand.
    const EDGES: [f64; Self::BUCKETS] = {
        let mut edges = [Self::LOWEST; Self::BUCKETS];
        let (mut bucket, mut edge) = (0, Self::LOWEST);
        while bucket < Self::BUCKETS {
            edge *= Self::GROWTH;
            edges[bucket] = edge;
            bucket += 1;
        }
        edges
    };

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
        match Self::EDGES.get(bucket) {
            Some(edge) => *edge,
            None => Self::LOWEST * Self::GROWTH.powi(bucket as i32 + 1),
        }
    }

    /// What a history says of how long attempts are waited for without a sign of life, each hour weighted by
    /// `weight(hour)`: what gives none is silent until it is answered.
    #[must_use]
    pub fn of_silence(history: &History, weight: impl Fn(i64) -> f64) -> Self {
        Self::read(history, weight, |key| match key {
            Key::Silent(bucket) => Key::Answered(bucket),
            other => other,
        })
    }

    /// What a history says of how long attempts take, from their beginning to their end.
    #[must_use]
    pub fn of_times(history: &History) -> Self {
        Self::read(history, |_| 1.0, Self::as_time)
    }

    fn read(history: &History, weight: impl Fn(i64) -> f64, meant: impl Fn(Key) -> Key) -> Self {
        let mut sketch = Self::empty();
        for (hour, key, count) in history.cells() {
            let key = meant(key);
            if matches!(key, Key::Answered(_) | Key::Censored(_) | Key::AtDeadline(_)) {
                sketch.add(key, count as f64 * weight(hour));
            }
        }
        sketch
    }

    /// Whatever took a time is an answer after that time.
    pub(super) fn as_time(key: Key) -> Key {
        match key {
            Key::Took(bucket) => Key::Answered(bucket),
            other => other,
        }
    }

    /// Nothing was seen.
    pub(super) fn empty() -> Self {
        let empty = [0.0; Self::BUCKETS];
        Self { answered: empty, censored: empty, at_deadline: empty }
    }

    /// Adds a count, if it is one of latencies.
    pub(super) fn add(&mut self, key: Key, weight: f64) {
        let (buckets, bucket) = match key {
            Key::Answered(bucket) => (&mut self.answered, bucket),
            Key::Censored(bucket) => (&mut self.censored, bucket),
            Key::AtDeadline(bucket) => (&mut self.at_deadline, bucket),
            _ => return,
        };
        buckets[usize::from(bucket).min(Self::BUCKETS - 1)] += weight;
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

    /// The weight of answered latencies in the buckets of this range.
    #[must_use]
    pub fn answered_in(&self, buckets: std::ops::Range<usize>) -> f64 {
        self.answered.iter().take(buckets.end).skip(buckets.start).sum()
    }

    /// The weight of latencies given up on in this bucket or a later one.
    #[must_use]
    pub fn censored_from(&self, bucket: usize) -> f64 {
        self.censored.iter().skip(bucket).sum()
    }

    /// The weight of attempts that the deadline of their call ended in the buckets of this range, and what they were
    /// waited for beyond `limit`, in seconds, all together.
    #[must_use]
    pub fn at_deadline_beyond(&self, limit: f64, buckets: std::ops::Range<usize>) -> (f64, f64) {
        let cut = self.at_deadline.iter().enumerate().take(buckets.end).skip(buckets.start);
        cut.fold((0.0, 0.0), |(count, waited), (bucket, weight)| {
            (count + weight, waited + weight * (Self::upper_edge(bucket) - limit).max(0.0))
        })
    }

    /// The longest an attempt that the deadline of its call ended was waited for, in seconds.
    #[must_use]
    pub fn longest_at_deadline(&self) -> Option<f64> {
        self.at_deadline.iter().rposition(|weight| *weight > 0.0).map(Self::upper_edge)
    }

    /// Whether any attempt was waited for longer than this, in seconds, answered or not.
    #[must_use]
    pub fn waited_beyond(&self, seconds: f64) -> bool {
        let beyond = self.answered.iter().zip(&self.censored).enumerate();
        beyond
            .rev()
            .take_while(|(bucket, _)| Self::upper_edge(*bucket) > seconds * Self::GROWTH.sqrt())
            .any(|(_, (answered, censored))| answered + censored > 0.0)
    }

    /// The mean of answered latencies in seconds; `None` where nothing was answered.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let total = self.answered();
        let middle = |bucket: usize| Self::upper_edge(bucket) / Self::GROWTH.sqrt();
        let sum: f64 = self.answered.iter().enumerate().map(|(bucket, weight)| weight * middle(bucket)).sum();
        (total > 0.0).then(|| sum / total)
    }

    /// E[min(latency, upper edge of each bucket)] in seconds, from [`Sketch::survival`]: what is waited for under a
    /// limit at that edge.
    #[must_use]
    pub fn mean_waited(&self) -> [f64; Self::BUCKETS] {
        let survival = self.survival();
        let mut waited = [0.0; Self::BUCKETS];
        let (mut sum, mut edge, mut alive) = (0.0, 0.0, 1.0);
        for (bucket, (waited, survival)) in waited.iter_mut().zip(survival).enumerate() {
            let upper = Self::upper_edge(bucket);
            sum += alive * (upper - edge);
            (edge, alive) = (upper, survival);
            *waited = sum;
        }
        waited
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
        for (survival, (answered, censored)) in survival.iter_mut().zip(self.answered.iter().zip(&self.censored)) {
            if at_risk > 0.0 {
                alive *= 1.0 - (answered / at_risk).min(1.0);
            }
            at_risk -= answered + censored;
            *survival = alive;
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
        Sketch::of_silence(&history, |_| 1.0)
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
    fn the_mean_is_that_of_the_answered() {
        let mean = sketch(&[(10, 50), (1_000, 50)], &[(60_000, 100)]).mean().unwrap();
        assert!((mean / 0.505 - 1.0).abs() < 0.05, "{mean}");
    }

    #[test]
    fn what_is_waited_grows_with_the_limit_only_while_something_is_alive() {
        let waited = sketch(&[(10, 90)], &[(1_000, 10)]).mean_waited();
        let at = |ms| waited[usize::from(Sketch::bucket(Duration::from_millis(ms)))];
        assert!((at(10) / 0.010 - 1.0).abs() < 0.1, "{}", at(10));
        // Of a hundred calls ten are still waited for.
        assert!((at(1_000) - at(10) - 0.1).abs() < 0.01, "{}", at(1_000));
    }

    #[test]
    fn latencies_outside_the_range_fall_into_the_outer_buckets() {
        assert_eq!(Sketch::bucket(Duration::ZERO), 0);
        assert_eq!(usize::from(Sketch::bucket(Duration::from_secs(100_000))), Sketch::BUCKETS - 1);
    }
}
