//! The counts themselves, by hour.

use super::Key;
use std::collections::BTreeMap;

/// The counts of one service and operation, by hour since 1970-01-01 UTC.
///
/// # Examples
///
/// ```
/// use poet_runtime::evidence::{History, Key};
/// use poet_runtime::Ending;
///
/// let mut here = History::default();
/// here.add(480_000, Key::Call(Ending::Done), 3);
/// let mut elsewhere = History::default();
/// elsewhere.add(480_000, Key::Call(Ending::Done), 2);
/// here.merge(&elsewhere);
/// assert_eq!(here.total(Key::Call(Ending::Done)), 5);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    cells: BTreeMap<(i64, Key), u64>,
}

impl History {
    /// Adds `count` to a cell.
    pub fn add(&mut self, hour: i64, key: Key, count: u64) {
        *self.cells.entry((hour, key)).or_default() += count;
    }

    /// Adds every count of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (&(hour, key), &count) in &other.cells {
            self.add(hour, key, count);
        }
    }

    /// Every cell, oldest hour first.
    pub fn cells(&self) -> impl DoubleEndedIterator<Item = (i64, Key, u64)> + '_ {
        self.cells.iter().map(|(&(hour, key), &count)| (hour, key, count))
    }

    /// The count of a key over all hours.
    #[must_use]
    pub fn total(&self, key: Key) -> u64 {
        self.cells.iter().filter(|((_, k), _)| *k == key).map(|(_, count)| count).sum()
    }

    /// Attempts of any class over all hours, probes left out.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.cells.iter().filter(|((_, k), _)| matches!(k, Key::Attempt(_))).map(|(_, count)| count).sum()
    }

    /// Forgets every hour before `hour`.
    pub fn forget_before(&mut self, hour: i64) {
        self.cells.retain(|&(h, _), _| h >= hour);
    }

    /// Forgets `hour` and every hour after it.
    pub fn forget_from(&mut self, hour: i64) {
        // The first key of an hour.
        self.cells.split_off(&(hour, Key::Answered(0)));
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Ending;

    #[test]
    fn forgetting_from_an_hour_on_leaves_the_hours_before_it_whole() {
        let mut history = History::default();
        for hour in 1..=3 {
            for key in [Key::Answered(0), Key::Censored(9), Key::Call(Ending::Cancelled)] {
                history.add(hour, key, 1);
            }
        }
        history.forget_from(2);
        assert_eq!(history.cells().map(|(hour, ..)| hour).collect::<Vec<_>>(), [1, 1, 1]);
    }
}
