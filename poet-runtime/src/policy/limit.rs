//! Decides who gets the next place where more calls come than may be under way at once, and who need not wait for one.
//!
//! Whoever matters more goes first, and of those who matter alike, whoever came first. A call that could not get its
//! turn before its deadline is told so at once: waiting would cost it the time in which it could do something else.

use crate::site::Priority;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The most calls that wait for a place of one operation.
pub(crate) const LONGEST_LINE: usize = 1_024;

/// What a call brings to the line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// The places there are, by the values the call is made with.
    pub(crate) limit: u32,
    pub(crate) priority: Priority,
    pub(crate) deadline: Instant,
}

/// Calls that wait for a place.
#[derive(Debug)]
pub(crate) struct Line<W> {
    /// By priority, lowest first.
    lanes: [VecDeque<W>; Priority::ALL.len()],
}

impl<W> Line<W> {
    pub(crate) fn new() -> Self {
        Self { lanes: std::array::from_fn(|_| VecDeque::new()) }
    }

    pub(crate) fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// Whether a call is worth waiting; `held` is how long a place is kept on average, once that is known.
    pub(crate) fn admits(&self, ask: &Ask, held: Option<Duration>, now: Instant) -> bool {
        if self.len() >= LONGEST_LINE {
            return false;
        }
        let ahead: usize = self.lanes[ask.priority as usize..].iter().map(VecDeque::len).sum();
        let turns = (ahead as f64 + 1.0) / f64::from(ask.limit.max(1));
        let left = ask.deadline.saturating_duration_since(now).as_secs_f64();
        held.is_none_or(|held| held.as_secs_f64() * turns < left)
    }

    /// Lets a call wait behind those that matter as much.
    pub(crate) fn push(&mut self, priority: Priority, waiter: W) {
        self.lanes[priority as usize].push_back(waiter);
    }

    /// Whose turn is next.
    pub(crate) fn front(&self) -> Option<&W> {
        self.lanes.iter().rev().find_map(VecDeque::front)
    }

    /// Takes them out of the line.
    pub(crate) fn pop(&mut self) -> Option<W> {
        self.lanes.iter_mut().rev().find_map(VecDeque::pop_front)
    }

    /// Forgets those who are gone.
    pub(crate) fn retain(&mut self, stays: impl Fn(&W) -> bool) {
        for lane in &mut self.lanes {
            lane.retain(&stays);
        }
    }
}

/// How long a place is kept on average, after one was kept for `held`.
pub(crate) fn kept(before: Option<Duration>, held: Duration) -> Duration {
    // One part in eight, as round-trip times are smoothed (Jacobson 1988): a few calls are enough to follow.
    before.map_or(held, |before| before.mul_f64(0.875) + held.mul_f64(0.125))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ask(limit: u32, priority: Priority, now: Instant) -> Ask {
        Ask { limit, priority, deadline: now + 30 * SECOND }
    }

    #[test]
    fn who_matters_more_goes_first_and_of_equals_who_came_first() {
        let mut line = Line::new();
        for (who, priority) in [("a", Priority::Normal), ("b", Priority::Low), ("c", Priority::Critical)] {
            line.push(priority, who);
        }
        line.push(Priority::Normal, "d");
        assert_eq!(line.front(), Some(&"c"));
        assert_eq!(std::iter::from_fn(|| line.pop()).collect::<Vec<_>>(), ["c", "a", "d", "b"]);
    }

    #[test]
    fn a_call_that_would_be_too_late_is_not_let_wait() {
        let (now, mut line) = (Instant::now(), Line::new());
        let normal = ask(2, Priority::Normal, now);
        (0..5).for_each(|who| line.push(Priority::Normal, who));
        assert!(line.admits(&normal, Some(9 * SECOND), now), "six turns of 9 s by two are 27 s");
        assert!(!line.admits(&normal, Some(10 * SECOND), now), "and of 10 s are 30 s");
        assert!(line.admits(&ask(2, Priority::High, now), Some(10 * SECOND), now), "nobody is ahead of it");
        assert!(line.admits(&normal, None, now), "it is not known how long it takes");
    }

    #[test]
    fn a_line_has_an_end() {
        let (now, mut line) = (Instant::now(), Line::new());
        (0..LONGEST_LINE).for_each(|who| line.push(Priority::Low, who));
        assert!(!line.admits(&ask(1_024, Priority::Critical, now), Some(SECOND / 1_000), now));
        line.retain(|who| *who > 0);
        assert!(line.admits(&ask(1_024, Priority::Critical, now), Some(SECOND / 1_000), now));
    }

    #[test]
    fn how_long_a_place_is_kept_follows_what_is_seen() {
        assert_eq!(kept(None, SECOND), SECOND);
        let kept = (0..20).fold(10 * SECOND, |before, _| kept(Some(before), SECOND));
        assert!(kept < 2 * SECOND, "{kept:?}");
    }
}
