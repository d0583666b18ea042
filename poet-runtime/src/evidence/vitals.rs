//! How a service and operation has done lately: the last hour and the last 24, from its counts by hour.
//!
//! Counts have the grain of an hour, so a stretch of time that ends now covers the present hour and a share of the
//! oldest one, as if that had been even. Sums only: those of two operations add up to those of both.

use super::packed::Packed;
use super::{AttemptClass, History, Key, Situations, Sketch, Watch};
use crate::clock::Wall;
use crate::outcome::Ending;
use std::collections::BTreeMap;
use std::time::Duration;

const HOUR_MILLIS: i64 = 3_600_000;

/// What was counted lately.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vitals {
    /// When it was counted.
    pub taken: Wall,
    /// Attempts of the last hour that succeeded and that failed; what could not have succeeded, because the request
    /// was wrong, is in neither.
    pub recent: Tried,
    /// The same over the last 24 h.
    pub day: Tried,
    /// Calls of the last 24 h that the cache answered.
    pub cached: f64,
    /// Calls of the last 24 h that ended in any way but being dropped by their caller or joined to another.
    pub calls: f64,
    /// Answers of the last 24 h whose time is known, and all their seconds.
    pub answers: f64,
    /// See [`Vitals::answers`].
    pub seconds: f64,
    /// The median time of an answer of the last 24 h; of several operations that of the one with most answers.
    pub median: Option<Duration>,
    /// The time within which 95 % of them came; of several operations the longest.
    pub p95: Option<Duration>,
    /// What the last attempts were, as this process saw them, and what attempts came to in such situations; of several
    /// operations and of what was only read from a store nothing.
    pub last: Option<(Watch, Situations)>,
}

/// Attempts that could have succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tried {
    /// Those that did.
    pub succeeded: f64,
    /// Those that did not.
    pub failed: f64,
}

impl Tried {
    /// How many there were.
    #[must_use]
    pub fn attempts(self) -> f64 {
        self.succeeded + self.failed
    }

    /// The share that succeeded; `None` where there were none.
    #[must_use]
    pub fn rate(self) -> Option<f64> {
        (self.attempts() > 0.0).then(|| self.succeeded / self.attempts())
    }

    fn add(&mut self, class: AttemptClass, count: f64) {
        match class {
            AttemptClass::Success => self.succeeded += count,
            AttemptClass::Failure(_) => self.failed += count,
            AttemptClass::Permanent => {}
        }
    }

    fn merge(&mut self, other: Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
    }
}

impl Vitals {
    /// What a history says at a moment.
    #[must_use]
    pub fn of(history: &History, now: Wall) -> Self {
        Lately::of(history, now).vitals(history, now)
    }

    /// What is left of it at a later moment, when nothing was counted since.
    #[must_use]
    pub fn at(&self, now: Wall) -> Self {
        let old = Duration::from_millis(u64::try_from(now.millis() - self.taken.millis()).unwrap_or(0));
        match old.as_secs() {
            0..3_600 => self.clone(),
            3_600..86_400 => Self { recent: Tried::default(), ..self.clone() },
            _ => Self { taken: self.taken, last: self.last.clone(), ..Self::default() },
        }
    }

    /// Adds those of another operation.
    pub fn merge(&mut self, other: &Self) {
        if other.answers > self.answers || self.median.is_none() {
            self.median = other.median.or(self.median);
        }
        self.taken = self.taken.max(other.taken);
        self.recent.merge(other.recent);
        self.day.merge(other.day);
        self.cached += other.cached;
        self.calls += other.calls;
        self.answers += other.answers;
        self.seconds += other.seconds;
        self.p95 = self.p95.max(other.p95);
    }

    /// The mean time of an answer over the last 24 h.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        Some(self.answers).filter(|answers| *answers > 0.0)?;
        Duration::try_from_secs_f64(self.seconds / self.answers).ok()
    }

    /// The share of calls of the last 24 h that the cache answered; `None` where there were none.
    #[must_use]
    pub fn cache_hit_rate(&self) -> Option<f64> {
        (self.calls > 0.0).then(|| self.cached / self.calls)
    }
}

/// What the hours before the present one hold, which stays the same until it has passed: put together once an hour, so
/// that only the present one is read each time somebody asks.
#[derive(Clone, Debug)]
pub struct Lately {
    /// The present hour.
    hour: i64,
    /// By age, as in [`WHOLE`] and its like.
    sums: Packed,
}

/// The hours that lie within the last 24 h whole, together; the attempts of the one just before the present one, which
/// are in `WHOLE` too; the one 24 h ago.
const WHOLE: i64 = 0;
const BEFORE: i64 = 1;
const OLDEST: i64 = 2;

impl Lately {
    /// What a history holds at a moment.
    #[must_use]
    pub fn of(history: &History, now: Wall) -> Self {
        let this_hour = now.hour();
        let mut sums: [BTreeMap<Key, u64>; 3] = Default::default();
        for (hour, key, count) in history.cells().rev().take_while(|(hour, ..)| *hour >= this_hour - 24) {
            let age = this_hour - hour;
            if age <= 0 || !matches!(key, Key::Attempt(_) | Key::Call(_) | Key::Answered(_) | Key::Took(_)) {
                continue;
            }
            let mut add = |stretch: i64| *sums[stretch as usize].entry(key).or_default() += count;
            if age == 1 && matches!(key, Key::Attempt(_)) {
                add(BEFORE);
            }
            add(if age == 24 { OLDEST } else { WHOLE });
        }
        let mut lately = Self { hour: this_hour, sums: Packed::default() };
        for (stretch, sums) in (WHOLE..).zip(sums) {
            lately.sums.add(stretch, sums.into_iter());
        }
        lately
    }

    /// Whether it still holds at a moment, if nothing was added to hours before the present one since.
    #[must_use]
    pub fn holds(&self, now: Wall) -> bool {
        self.hour == now.hour()
    }

    /// How much memory it takes beside itself.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.sums.heap_bytes()
    }

    /// What the history says at a moment at which this [`holds`](Self::holds).
    #[must_use]
    pub fn vitals(&self, history: &History, now: Wall) -> Vitals {
        let left = 1.0 - now.millis().rem_euclid(HOUR_MILLIS) as f64 / HOUR_MILLIS as f64;
        let mut vitals = Vitals { taken: now, ..Vitals::default() };
        let mut sketch = Sketch::empty();
        let mut add = |key: Key, count: u64, in_hour: f64, in_day: f64| match key {
            Key::Attempt(class) => {
                vitals.recent.add(class, count as f64 * in_hour);
                vitals.day.add(class, count as f64 * in_day);
            }
            Key::Call(Ending::Cancelled | Ending::Coalesced) => {}
            Key::Call(ending) => {
                vitals.calls += count as f64 * in_day;
                vitals.cached += if ending == Ending::Cached { count as f64 * in_day } else { 0.0 };
            }
            _ => sketch.add(Sketch::as_time(key), count as f64 * in_day),
        };
        for (stretch, key, count) in self.sums.cells() {
            match stretch {
                WHOLE => add(key, count, 0.0, 1.0),
                BEFORE => add(key, count, left, 0.0),
                _ => add(key, count, 0.0, left),
            }
        }
        for (_, key, count) in history.cells().rev().take_while(|(hour, ..)| *hour >= self.hour) {
            if !matches!(key, Key::Censored(_) | Key::AtDeadline(_)) {
                add(key, count, 1.0, 1.0);
            }
        }
        let duration = |seconds: Option<f64>| seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        vitals.answers = sketch.answered();
        vitals.seconds = sketch.mean().unwrap_or(0.0) * vitals.answers;
        vitals.median = duration(sketch.quantile(0.5));
        vitals.p95 = duration(sketch.quantile(0.95));
        vitals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::FailureKind;

    const OK: Key = Key::Attempt(AttemptClass::Success);
    const BAD: Key = Key::Attempt(AttemptClass::Failure(FailureKind::Transient));

    /// A quarter past an hour.
    fn now() -> Wall {
        Wall::from_millis(480_000 * HOUR_MILLIS + HOUR_MILLIS / 4)
    }

    #[test]
    fn the_last_hour_is_the_present_one_and_three_quarters_of_the_one_before_at_a_quarter_past() {
        let mut history = History::default();
        history.add(480_000, OK, 5);
        history.add(479_999, BAD, 8);
        history.add(479_998, BAD, 100);
        let vitals = Vitals::of(&history, now());
        assert_eq!(vitals.recent, Tried { succeeded: 5.0, failed: 6.0 });
        assert_eq!(vitals.day, Tried { succeeded: 5.0, failed: 108.0 });
    }

    #[test]
    fn what_is_older_than_a_day_is_not_counted() {
        let mut history = History::default();
        history.add(480_000 - 25, OK, 5);
        history.add(480_000 - 24, OK, 4);
        assert_eq!(Vitals::of(&history, now()).day, Tried { succeeded: 3.0, failed: 0.0 });
    }

    #[test]
    fn what_was_put_together_at_the_hour_says_the_same_until_it_has_passed() {
        let mut history = History::default();
        for hour in 479_970..480_000 {
            history.add(hour, OK, 7);
            history.add(hour, BAD, 3);
            history.add(hour, Key::Answered(90), 6);
            history.add(hour, Key::Censored(120), 2);
            history.add(hour, Key::Call(Ending::Done), 10);
        }
        let lately = Lately::of(&history, now());
        history.add(480_000, OK, 4);
        history.add(480_000, Key::Answered(80), 4);
        history.add(480_000, Key::Censored(130), 9);
        for quarter in 1..4 {
            let at = Wall::from_millis(480_000 * HOUR_MILLIS + quarter * HOUR_MILLIS / 4);
            let (kept, read) = (lately.vitals(&history, at), Vitals::of(&history, at));
            assert_eq!(kept, read);
            let left = 1.0 - quarter as f64 / 4.0;
            assert_eq!(read.day, Tried { succeeded: 23.0 * 7.0 + left * 7.0 + 4.0, failed: 23.0 * 3.0 + left * 3.0 });
            assert_eq!(read.recent, Tried { succeeded: left * 7.0 + 4.0, failed: left * 3.0 });
            assert_eq!((read.calls, read.answers), (230.0 + left * 10.0, 23.0 * 6.0 + left * 6.0 + 4.0));
        }
        assert!(!lately.holds(Wall::from_millis(480_001 * HOUR_MILLIS)));
    }

    #[test]
    fn a_wrong_request_is_neither_a_success_nor_a_failure_of_the_service() {
        let mut history = History::default();
        history.add(480_000, Key::Attempt(AttemptClass::Permanent), 9);
        assert_eq!(Vitals::of(&history, now()).day.rate(), None);
    }

    #[test]
    fn a_hit_is_a_call_that_the_cache_answered_and_a_dropped_call_is_none() {
        let mut history = History::default();
        for (ending, n) in [(Ending::Cached, 3), (Ending::Done, 1), (Ending::Cancelled, 50), (Ending::Coalesced, 50)] {
            history.add(480_000, Key::Call(ending), n);
        }
        assert_eq!(Vitals::of(&history, now()).cache_hit_rate(), Some(0.75));
    }

    #[test]
    fn two_operations_add_up_to_one_service() {
        let history = |ms, n| {
            let mut history = History::default();
            history.add(480_000, Key::Answered(Sketch::bucket(Duration::from_millis(ms))), n);
            history.add(480_000, OK, n);
            Vitals::of(&history, now())
        };
        let mut both = history(100, 30);
        both.merge(&history(1_000, 10));
        let mean = both.mean().unwrap().as_secs_f64();
        assert!((mean / 0.325 - 1.0).abs() < 0.06, "{mean}");
        assert!(both.median.unwrap() < Duration::from_millis(120) && both.p95.unwrap() > Duration::from_millis(900));
        assert_eq!(both.day.attempts(), 40.0);
    }

    #[test]
    fn an_hour_without_news_leaves_nothing_of_the_last_hour_and_a_day_nothing_at_all() {
        let mut history = History::default();
        history.add(480_000, OK, 5);
        let vitals = Vitals::of(&history, now());
        let later = |hours: i64| vitals.at(Wall::from_millis(now().millis() + hours * HOUR_MILLIS));
        assert_eq!(later(0), vitals);
        assert_eq!((later(1).recent.attempts(), later(1).day.attempts()), (0.0, 5.0));
        assert_eq!(later(24).day.attempts(), 0.0);
    }
}
