//! What was known about a service just before an attempt: enough to say how likely the attempt fails.
//!
//! A service is up or down, and an observer sees only whether attempts fail. How many failed in a row tells the two
//! apart; how long it has been so tells how soon it changes, because failures cluster and long outages last longer
//! (neither is exponential). The two together, in few bins, are a situation. Counting what attempts in each came to is
//! addition, and so is merging the counts of several processes, though each of them watches alone.

use super::{AttemptClass, History, Key};
use crate::clock::Wall;
use std::collections::BTreeMap;
use std::time::Duration;

/// Where the ages of the last failure end, in seconds; the last has no end, and is also that of no failure known.
const SINCE_FAILURE: [u64; 7] = [10, 60, 600, 3_600, 21_600, 86_400, 604_800];
/// Where the ages of a run of failures end, in seconds.
const FAILING_FOR: [u64; 5] = [60, 600, 3_600, 21_600, 86_400];
/// Longer runs are as long as this.
const LONGEST_RUN: u8 = 3;

const CALM: u8 = SINCE_FAILURE.len() as u8 + 1;
const AGES: u8 = FAILING_FOR.len() as u8 + 1;

/// What was known just before an attempt, in one of [`Situation::COUNT`] bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Situation(u8);

impl Situation {
    /// How many there are.
    pub const COUNT: usize = (CALM + LONGEST_RUN * AGES) as usize;

    /// Every one of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT as u8).map(Self)
    }

    /// The last attempt succeeded, and the last failure was so long ago; `None` where none is known.
    #[must_use]
    pub fn calm(since_failure: Option<Duration>) -> Self {
        Self(since_failure.map_or(CALM - 1, |age| bin(age, &SINCE_FAILURE)))
    }

    /// The last `run` attempts failed, the first of them so long ago.
    #[must_use]
    pub fn failing(run: u8, since: Duration) -> Self {
        Self(CALM + (run.clamp(1, LONGEST_RUN) - 1) * AGES + bin(since, &FAILING_FOR))
    }

    /// Whether the last attempt succeeded.
    #[must_use]
    pub const fn is_calm(self) -> bool {
        self.0 < CALM
    }

    /// How many of the last attempts failed, up to 3, and the bin of the age.
    #[must_use]
    pub const fn run_and_age(self) -> (u8, u8) {
        match self.0.checked_sub(CALM) {
            None => (0, self.0),
            Some(failing) => (failing / AGES + 1, failing % AGES),
        }
    }

    /// Its position, from 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The one at a position.
    #[must_use]
    pub fn from_index(index: usize) -> Option<Self> {
        (index < Self::COUNT).then_some(Self(index as u8))
    }
}

/// What attempts came to, by the situation they were made in.
#[derive(Clone, Debug, PartialEq)]
pub struct Situations {
    failed: [f64; Situation::COUNT],
    succeeded: [f64; Situation::COUNT],
    attempts: u64,
    spread: f64,
}

impl Default for Situations {
    fn default() -> Self {
        Self { failed: [0.0; Situation::COUNT], succeeded: [0.0; Situation::COUNT], attempts: 0, spread: 1.0 }
    }
}

impl Situations {
    /// What a history says, each hour weighted by `weight(hour)`.
    #[must_use]
    pub fn read(history: &History, weight: impl Fn(i64) -> f64) -> Self {
        let mut read = Self::default();
        for (hour, key, count) in history.cells() {
            let Key::Next(situation, failed) = key else { continue };
            let side = if failed { &mut read.failed } else { &mut read.succeeded };
            side[situation.index()] += weight(hour) * count as f64;
            read.attempts += count;
        }
        read.spread = read.spread(history);
        read
    }

    /// How many times as much as by chance the days differ in what failed: what one attempt is worth less, because
    /// failures come together.
    #[must_use]
    pub fn spread_of_days(&self) -> f64 {
        self.spread
    }

    fn spread(&self, history: &History) -> f64 {
        let mut days: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
        for (hour, key, count) in history.cells() {
            let Key::Next(situation, failed) = key else { continue };
            let (bad, good) = self.of(situation);
            let share = if bad + good > 0.0 { bad / (bad + good) } else { 0.0 };
            let (off, chance) = days.entry(hour.div_euclid(24)).or_default();
            *off += count as f64 * (f64::from(u8::from(failed)) - share);
            *chance += count as f64 * share * (1.0 - share);
        }
        spread_of_days(days.values().copied())
    }

    /// The weight of those that failed and of those that succeeded in a situation.
    #[must_use]
    pub fn of(&self, situation: Situation) -> (f64, f64) {
        (self.failed[situation.index()], self.succeeded[situation.index()])
    }

    /// How many attempts there were, unweighted.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.attempts
    }
}

/// How many times as much as by chance days differ, each given by how far its count was from what was expected of it and
/// the variance that chance alone gives it; at least 1, and 1 where days are too few to say.
pub(crate) fn spread_of_days(days: impl ExactSizeIterator<Item = (f64, f64)>) -> f64 {
    const FEWEST: usize = 4;
    let enough = days.len() >= FEWEST;
    let (off, chance) = days.fold((0.0, 0.0), |sum, day| (sum.0 + day.0 * day.0, sum.1 + day.1));
    if enough && chance > 0.0 { (off / chance).max(1.0) } else { 1.0 }
}

fn bin(age: Duration, ends: &[u64]) -> u8 {
    ends.iter().take_while(|end| age.as_secs() >= **end).count() as u8
}

/// What one process saw of the last attempts of one service and operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    run: u8,
    run_began: Wall,
    last_failure: Option<Wall>,
}

impl Watch {
    /// Where it stands for an attempt made at this moment.
    #[must_use]
    pub fn situation(&self, now: Wall) -> Situation {
        let since = |then: Wall| Duration::from_millis(u64::try_from(now.millis() - then.millis()).unwrap_or(0));
        if self.run > 0 {
            Situation::failing(self.run, since(self.run_began))
        } else {
            Situation::calm(self.last_failure.map(since))
        }
    }

    /// Takes in what an attempt came to. Returns the situation it was made in and whether it failed; `None` for what says
    /// nothing about the service, because the request was at fault.
    pub fn see(&mut self, class: AttemptClass, ended: Wall) -> Option<(Situation, bool)> {
        let failed = match class {
            AttemptClass::Success => false,
            AttemptClass::Failure(_) => true,
            AttemptClass::Permanent => return None,
        };
        let before = self.situation(ended);
        if failed {
            if self.run == 0 {
                self.run_began = ended;
            }
            self.run = (self.run + 1).min(LONGEST_RUN);
            self.last_failure = Some(ended);
        } else {
            self.run = 0;
        }
        Some((before, failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::FailureKind;

    const OK: AttemptClass = AttemptClass::Success;
    const BAD: AttemptClass = AttemptClass::Failure(FailureKind::Transient);

    fn at(seconds: i64) -> Wall {
        Wall::from_millis(1_700_000_000_000 + seconds * 1_000)
    }

    #[test]
    fn every_situation_stands_at_its_index_and_the_next_index_is_none() {
        for (index, situation) in Situation::all().enumerate() {
            assert_eq!((situation.index(), Situation::from_index(index)), (index, Some(situation)));
        }
        assert_eq!(Situation::from_index(Situation::COUNT), None);
        assert_eq!(Situation::failing(9, Duration::from_secs(90_000)).index() + 1, Situation::COUNT);
    }

    #[test]
    fn a_run_of_failures_is_counted_from_its_first_and_ends_with_a_success() {
        let mut watch = Watch::default();
        assert_eq!(watch.see(OK, at(0)), Some((Situation::calm(None), false)));
        assert_eq!(watch.see(BAD, at(10)), Some((Situation::calm(None), true)));
        let minutes = Duration::from_secs(120);
        assert_eq!(watch.see(BAD, at(130)), Some((Situation::failing(1, minutes), true)));
        assert_eq!(watch.see(OK, at(131)), Some((Situation::failing(2, minutes), false)));
        assert_eq!(watch.situation(at(135)), Situation::calm(Some(Duration::from_secs(5))));
        assert_eq!(watch.situation(at(135)).run_and_age(), (0, 0));
    }

    #[test]
    fn failures_of_one_day_are_worth_less_than_the_same_number_on_many() {
        let spread = |bad: fn(i64) -> u64| {
            let mut history = History::default();
            for day in 0..20 {
                history.add(day * 24, Key::Next(Situation::calm(None), true), bad(day));
                history.add(day * 24, Key::Next(Situation::calm(None), false), 100 - bad(day));
            }
            Situations::read(&history, |_| 1.0).spread_of_days()
        };
        assert_eq!(spread(|_| 2), 1.0);
        assert!(spread(|day| if day == 7 { 40 } else { 0 }) > 10.0);
    }

    #[test]
    fn a_wrong_request_leaves_what_is_known_as_it_was() {
        let mut watch = Watch::default();
        watch.see(BAD, at(0));
        let before = watch;
        assert_eq!(watch.see(AttemptClass::Permanent, at(5)), None);
        assert_eq!(watch, before);
    }
}
