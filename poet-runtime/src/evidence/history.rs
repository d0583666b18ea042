//! The counts themselves, by hour.

use super::packed::Packed;
use super::{Key, block_of};
use std::fmt;

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
#[derive(Clone, Default)]
pub struct History {
    /// Every hour but the newest.
    past: Packed,
    /// The newest hour, and its counts by key: nearly everything that is added is added there. There are some wherever
    /// anything was counted.
    hour: i64,
    newest: Vec<(Key, u64)>,
}

/// Adds to counts that are ordered by key.
#[inline]
pub(super) fn add(counts: &mut Vec<(Key, u64)>, key: Key, count: u64) {
    match counts.binary_search_by_key(&key, |(key, _)| *key) {
        Ok(at) => counts[at].1 += count,
        Err(at) => {
            if counts.len() == counts.capacity() {
                // Doubling would leave half of it unused.
                counts.reserve_exact(8);
            }
            counts.insert(at, (key, count));
        }
    }
}

impl History {
    /// Adds `count` to a cell.
    pub fn add(&mut self, hour: i64, key: Key, count: u64) {
        if self.is_of(hour) {
            add(&mut self.newest, key, count);
        } else {
            self.past.add(hour, [(key, count)].into_iter());
        }
    }

    /// Adds every count of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (hour, counts) in other.past.hours() {
            self.add_all(hour, counts);
        }
        if !other.newest.is_empty() {
            self.add_all(other.hour, other.newest.iter().copied());
        }
    }

    fn add_all(&mut self, hour: i64, counts: impl Iterator<Item = (Key, u64)>) {
        if self.is_of(hour) {
            counts.for_each(|(key, count)| add(&mut self.newest, key, count));
        } else {
            self.past.add(hour, counts);
        }
    }

    /// Whether counts of this hour belong to the newest, which it becomes where it is later.
    #[inline]
    fn is_of(&mut self, hour: i64) -> bool {
        if self.newest.is_empty() || hour > self.hour {
            self.begin(hour);
        }
        hour == self.hour
    }

    #[cold]
    fn begin(&mut self, hour: i64) {
        if !self.newest.is_empty() {
            self.past.push(self.hour, &self.newest);
            self.newest.clear();
        }
        self.hour = hour;
    }

    /// Every cell, oldest hour first.
    pub fn cells(&self) -> impl DoubleEndedIterator<Item = (i64, Key, u64)> + '_ {
        self.past.cells().chain(self.newest.iter().map(|&(key, count)| (self.hour, key, count)))
    }

    /// The count of a key over all hours.
    #[must_use]
    pub fn total(&self, key: Key) -> u64 {
        self.cells().filter(|(_, k, _)| *k == key).map(|(.., count)| count).sum()
    }

    /// Attempts of any class over all hours, probes left out.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.cells().filter(|(_, key, _)| matches!(key, Key::Attempt(_))).map(|(.., count)| count).sum()
    }

    /// Forgets every hour before `hour`.
    pub fn forget_before(&mut self, hour: i64) {
        self.past.forget_before(hour);
        if self.hour < hour {
            self.newest.clear();
        }
    }

    /// Forgets `hour` and every hour after it.
    pub fn forget_from(&mut self, hour: i64) {
        if self.hour >= hour {
            self.newest.clear();
            self.past.forget_from(hour);
            (self.hour, self.newest) = self.past.pop().unwrap_or_default();
        }
    }

    /// Forgets everything, and keeps the room for as much.
    pub fn clear(&mut self) {
        self.past = Packed::default();
        self.newest.clear();
    }

    /// The counts of `hour` and every hour after it.
    pub(crate) fn since(&self, hour: i64) -> Self {
        let mut since = Self { past: self.past.since(hour), ..Self::default() };
        if self.hour >= hour {
            (since.hour, since.newest) = (self.hour, self.newest.clone());
        }
        since
    }

    /// Puts what is older than a day together, by [`block_of`] at the hour `now`: from then on an hour stands for its
    /// block.
    pub fn coarsen(&mut self, now: i64) {
        let place = |hour| block_of(hour, now).0;
        let is_newest_old = !self.newest.is_empty() && place(self.hour) != self.hour;
        if is_newest_old {
            self.begin(self.hour);
        }
        if self.past.would_move(place) {
            self.past = self.past.moved(place);
        }
        if is_newest_old {
            (self.hour, self.newest) = self.past.pop().unwrap_or_default();
        }
    }

    /// The oldest hour in which anything was counted.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.past.oldest().or_else(|| (!self.is_empty()).then_some(self.hour))
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }

    /// How many cells there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells().count()
    }

    /// How much memory the counts take, beside the history itself.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.past.heap_bytes() + self.newest.capacity() * size_of::<(Key, u64)>()
    }
}

impl PartialEq for History {
    fn eq(&self, other: &Self) -> bool {
        self.cells().eq(other.cells())
    }
}

impl Eq for History {}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.cells().map(|(hour, key, count)| ((hour, key), count))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Ending;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const KEYS: [Key; 4] = [Key::Answered(0), Key::Answered(9), Key::Censored(9), Key::Call(Ending::Cancelled)];

    #[test]
    fn forgetting_from_an_hour_on_leaves_the_hours_before_it_whole() {
        let mut history = History::default();
        for hour in 1..=3 {
            for key in KEYS {
                history.add(hour, key, 1);
            }
        }
        history.forget_from(2);
        assert_eq!(history.cells().map(|(hour, ..)| hour).collect::<Vec<_>>(), [1; KEYS.len()]);
    }

    /// What a history says it is, in the plainest form.
    type Plain = BTreeMap<(i64, Key), u64>;

    fn history(cells: &[(i64, usize, u64)]) -> History {
        let mut history = History::default();
        cells.iter().for_each(|&(hour, key, count)| history.add(hour, KEYS[key], count));
        history
    }

    fn plain(cells: &[(i64, usize, u64)]) -> Plain {
        let mut plain = Plain::new();
        cells.iter().for_each(|&(hour, key, count)| *plain.entry((hour, KEYS[key])).or_default() += count);
        plain
    }

    fn is(history: &History, plain: &Plain) -> bool {
        let mut back: Vec<_> = history.cells().rev().collect();
        back.reverse();
        let cells: Vec<_> = plain.iter().map(|(&(hour, key), &count)| (hour, key, count)).collect();
        history.cells().eq(cells.iter().copied()) && back == cells && history.is_empty() == cells.is_empty()
    }

    fn cells(hours: i64) -> impl Strategy<Value = Vec<(i64, usize, u64)>> {
        vec((0..hours, 0..KEYS.len(), prop_oneof![0..3_u64, 0..1_000_000_u64]), 0..60)
    }

    proptest! {
        #[test]
        fn it_is_a_map_of_counts_in_whatever_order_they_come(
            one in cells(20), other in cells(20), before in 0_i64..21, from in 0_i64..21,
        ) {
            let (mut history_of_both, mut both) = (history(&one), plain(&one));
            prop_assert!(is(&history_of_both, &both));
            history_of_both.merge(&history(&other));
            other.iter().for_each(|&(hour, key, count)| *both.entry((hour, KEYS[key])).or_default() += count);
            prop_assert!(is(&history_of_both, &both));
            prop_assert_eq!(history_of_both.total(KEYS[1]), both.iter().filter(|((_, k), _)| *k == KEYS[1]).map(|(_, n)| n).sum::<u64>());
            let since: Plain = both.iter().filter(|((hour, _), _)| *hour >= before).map(|(cell, n)| (*cell, *n)).collect();
            prop_assert!(is(&history_of_both.since(before), &since));
            history_of_both.forget_before(before);
            history_of_both.forget_from(from);
            both.retain(|(hour, _), _| *hour >= before && *hour < from);
            prop_assert!(is(&history_of_both, &both));
            history_of_both.add(5, KEYS[2], 1);
            *both.entry((5, KEYS[2])).or_default() += 1;
            prop_assert!(is(&history_of_both, &both));
        }

        #[test]
        fn coarsening_step_by_step_or_at_once_and_before_or_after_merging_gives_the_same(
            one in cells(3_000), other in cells(3_000), steps in vec(3_000_i64..9_000, 0..6),
        ) {
            let now = steps.iter().copied().max().unwrap_or(3_000);
            let mut at_once = history(&[one.clone(), other.clone()].concat());
            let total = at_once.total(KEYS[0]);
            at_once.coarsen(now);
            let (mut one, mut other) = (history(&one), history(&other));
            let mut hours = steps;
            hours.sort_unstable();
            hours.iter().for_each(|hour| one.coarsen(*hour));
            other.coarsen(3_000);
            one.merge(&other);
            one.coarsen(now);
            prop_assert_eq!(&one, &at_once);
            prop_assert_eq!(at_once.total(KEYS[0]), total);
        }
    }
}
