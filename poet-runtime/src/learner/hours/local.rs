//! Reads a history into the days of a service's own clock.
//!
//! History counts in hours of UTC. Where a zone is not whole hours from it, an hour belongs to the local hour that its
//! middle is in. A local hour that the clock skips has no counts, and one that it shows twice has those of both.

use crate::calendar::{Zone, weekday};
use crate::clock::Wall;
use crate::evidence::{AttemptClass, Hourly, Key, PastHour};
use crate::learner::Subject;
use crate::learner::season::{Block, Tally};
use std::collections::BTreeMap;
use std::time::Duration;

/// What was counted on one local day.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Day {
    /// Days since the epoch.
    pub(super) day: i32,
    pub(super) hours: [Tally; 24],
    pub(super) retries: [Retries; 24],
}

impl Day {
    const fn empty(day: i32) -> Self {
        const NONE: Tally = Tally { attempts: 0, failures: 0 };
        Self { day, hours: [NONE; 24], retries: [Retries { tried: 0, recovered: 0 }; 24] }
    }
}

/// First retries, and those of them that succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Retries {
    pub(super) tried: u64,
    pub(super) recovered: u64,
}

impl Retries {
    /// The share of calls that fail after so many retries, and the attempts of a call, where an attempt fails with
    /// probability `p` and each retry succeeds as often as the first ones did.
    pub(super) fn of(self, p: f64, allowed: u8) -> (f64, f64) {
        let recovers = (self.recovered.min(self.tried) as f64 + 2.0) / (self.tried as f64 + 4.0);
        let (mut fails, mut attempts) = (p, 1.0);
        for _ in 0..allowed {
            attempts += fails;
            fails *= 1.0 - recovers;
        }
        (fails, attempts)
    }
}

/// The local days that have ended, oldest first.
#[derive(Default)]
pub(super) struct Days {
    /// Of which only the attempts are known any more. The newest may have its last hours in the first of the next.
    past: Vec<Day>,
    /// Of which everything is known.
    pub(super) lately: Vec<Day>,
}

impl Days {
    /// The local days of a history.
    pub(super) fn read(subject: &Subject<'_>) -> Self {
        let (Some(hourly), Some(zone)) = (subject.hourly, Zone::of(subject.timezone)) else { return Self::default() };
        let Some(today) = zone.hour(subject.now).map(|local| local.day) else { return Self::default() };
        let local = |hour: i64| {
            let middle = Wall::from_millis(hour.saturating_mul(3_600_000)).after(Duration::from_secs(1_800));
            zone.hour(middle).filter(|local| local.day < today).map(|local| (local.day, usize::from(local.hour % 24)))
        };
        Self { past: past(&hourly, local), lately: lately(&hourly, local) }
    }

    /// All of them, for what needs no more than their attempts.
    pub(super) fn all(&self) -> impl Iterator<Item = &Day> {
        self.past.iter().chain(&self.lately)
    }
}

fn past(hourly: &Hourly<'_>, local: impl Fn(i64) -> Option<(i32, usize)>) -> Vec<Day> {
    let mut days: BTreeMap<i32, Day> = BTreeMap::new();
    for &PastHour { hour, attempts, failures } in hourly.past {
        if let Some((day, at)) = local(hour) {
            days.entry(day).or_insert_with(|| Day::empty(day)).hours[at].add(Tally { attempts, failures });
        }
    }
    days.into_values().collect()
}

fn lately(hourly: &Hourly<'_>, local: impl Fn(i64) -> Option<(i32, usize)>) -> Vec<Day> {
    let mut days: BTreeMap<i32, Day> = BTreeMap::new();
    let mut found = (i64::MIN, None);
    for (hour, key, count) in hourly.history.cells() {
        let (tally, retries) = match key {
            Key::Attempt(AttemptClass::Success) => (Tally { attempts: count, failures: 0 }, Retries::default()),
            Key::Attempt(AttemptClass::Failure(_)) => (Tally { attempts: count, failures: count }, Retries::default()),
            Key::Retried(1, _) => (Tally::default(), Retries { tried: count, recovered: 0 }),
            Key::Recovered(1, _) => (Tally::default(), Retries { tried: 0, recovered: count }),
            _ => continue,
        };
        if found.0 != hour {
            found = (hour, local(hour));
        }
        let Some((day, at)) = found.1 else { continue };
        let day = days.entry(day).or_insert_with(|| Day::empty(day));
        day.hours[at].add(tally);
        day.retries[at].tried += retries.tried;
        day.retries[at].recovered += retries.recovered;
    }
    days.into_values().collect()
}

/// Weeks from Monday on, the newest last.
pub(super) fn weeks(days: &[Day]) -> Vec<Block<7>> {
    let week = |day: i32| (day - i32::from(weekday(day))).div_euclid(7);
    let mut weeks: BTreeMap<i32, [Tally; 7]> = BTreeMap::new();
    for day in days {
        let slots = weeks.entry(week(day.day)).or_default();
        day.hours.iter().for_each(|tally| slots[usize::from(weekday(day.day))].add(*tally));
    }
    let newest = weeks.keys().last().copied().unwrap_or(0);
    weeks.into_iter().map(|(week, slots)| Block { age: f64::from(newest - week), slots }).collect()
}

/// The retries made at the times meant, and at all others.
pub(super) fn retries(days: &[Day], meant: impl Fn(i32, usize) -> bool) -> (Retries, Retries) {
    let (mut at, mut besides) = (Retries::default(), Retries::default());
    for day in days {
        for (hour, retries) in day.retries.iter().enumerate() {
            let sum = if meant(day.day, hour) { &mut at } else { &mut besides };
            sum.tried += retries.tried;
            sum.recovered += retries.recovered;
        }
    }
    (at, besides)
}
