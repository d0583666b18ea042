//! How a service and operation has done lately: the last hour and the last 24, from its counts by hour.
//!
//! Counts have the grain of an hour, so a stretch of time that ends now covers the present hour and a share of the
//! oldest one, as if that had been even. Sums only: those of two operations add up to those of both.

use super::{AttemptClass, History, Key, Situations, Sketch, Watch};
use crate::clock::Wall;
use crate::outcome::Ending;
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
        let mut vitals = Self { taken: now, ..Self::default() };
        let mut day = History::default();
        for (hour, key, count) in history.cells().rev().take_while(|(hour, ..)| *hour >= now.hour() - 24) {
            let in_day = count as f64 * share(hour, 24, now);
            match key {
                Key::Attempt(class) => {
                    vitals.recent.add(class, count as f64 * share(hour, 1, now));
                    vitals.day.add(class, in_day);
                }
                Key::Call(Ending::Cancelled | Ending::Coalesced) => {}
                Key::Call(ending) => {
                    vitals.calls += in_day;
                    vitals.cached += if ending == Ending::Cached { in_day } else { 0.0 };
                }
                Key::Answered(_) => day.add(hour, key, count),
                _ => {}
            }
        }
        let sketch = Sketch::read(&day, |hour| share(hour, 24, now));
        let duration = |seconds: Option<f64>| seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        vitals.answers = sketch.answered();
        vitals.seconds = sketch.mean().unwrap_or(0.0) * vitals.answers;
        vitals.median = duration(sketch.quantile(0.5));
        vitals.p95 = duration(sketch.quantile(0.95));
        vitals
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

/// How much of an hour lies within the last `hours`.
fn share(hour: i64, hours: i64, now: Wall) -> f64 {
    let passed = now.millis().rem_euclid(HOUR_MILLIS) as f64 / HOUR_MILLIS as f64;
    match now.hour() - hour {
        age if age < hours => 1.0,
        age if age == hours => 1.0 - passed,
        _ => 0.0,
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
