//! Decides when calls that wait for each other are made, and whether as one or each by itself.
//!
//! A batch saves calls and costs waiting. It goes when it is full, when the first of it has waited for the window, or
//! when one of it can wait no longer. Too few for the threshold go each by itself. Where too few are to be expected within
//! a window, waiting would only add delay, and nobody waits.

use crate::error::{Error, Kind};
use crate::outcome::Class;
use std::time::{Duration, Instant};

/// How calls are gathered, as learned or pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The fewest that are made as one.
    pub(crate) threshold: usize,
    /// How long one waits for others.
    pub(crate) window: Duration,
    /// The most that are made as one.
    pub(crate) max_size: usize,
}

impl Rules {
    /// A threshold that the size never reaches would mean that nothing is ever made as one.
    fn fewest(&self) -> usize {
        self.threshold.min(self.max_size).max(2)
    }

    fn enough(&self, items: usize) -> bool {
        items >= self.fewest()
    }

    /// The longest mean gap with which a window gathers enough.
    fn longest_gap(&self) -> Duration {
        self.window / u32::try_from(self.fewest() - 1).unwrap_or(u32::MAX)
    }
}

/// Who waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// How many.
    pub(crate) items: usize,
    /// Since when the first of them has.
    pub(crate) since: Instant,
    /// When one of them can wait no longer.
    pub(crate) latest: Instant,
}

/// What is to be done with those who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// They are made as one, as many as one call takes.
    AsOne,
    /// Each goes by itself.
    Singly,
    /// Those who can wait no longer go by themselves; the others wait.
    Hurried,
    /// They wait, and it is asked again at this moment.
    Wait { until: Instant },
}

/// What to do with those who wait. `pays` says whether enough are to be expected within a window.
pub(crate) fn decide(waiting: Waiting, rules: Rules, pays: bool, now: Instant) -> Decision {
    let Waiting { items, since, latest } = waiting;
    let enough = rules.enough(items);
    if items >= rules.max_size && enough {
        return Decision::AsOne;
    }
    let over = since + rules.window;
    if now >= over || !pays {
        return if enough { Decision::AsOne } else { Decision::Singly };
    }
    if now >= latest {
        return if enough { Decision::AsOne } else { Decision::Hurried };
    }
    Decision::Wait { until: over.min(latest) }
}

/// Whether a call that may not wait goes with those who do, because they are enough with it. Else it goes by itself.
pub(crate) fn takes_along(others: usize, rules: Rules) -> bool {
    rules.enough(others + 1)
}

/// Whether enough others are to be expected to wait for: a mean of how far apart calls come, that forgets, and what
/// became of those who waited.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    last: Option<Instant>,
    gap: Duration,
    /// Windows in a row at whose end there were too few.
    vain: u32,
    /// Calls that do not wait before it is tried again.
    skip: u32,
}

impl Pace {
    /// Notes that a call came.
    ///
    /// A gap counts as twice the longest with which waiting pays, so that after a pause of any length the fourth of a
    /// new row of calls waits, and the first of a row that comes again and again does so at once.
    pub(crate) fn arrive(&mut self, rules: Rules, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let gap = now.saturating_duration_since(last).min(rules.longest_gap() * 2);
            self.gap = (self.gap * 3 + gap) / 4;
        }
        self.skip = self.skip.saturating_sub(1);
    }

    /// Whether a threshold of calls is to be expected within a window. It is until something else is known.
    pub(crate) fn pays(&self, rules: Rules) -> bool {
        self.skip == 0 && self.gap <= rules.longest_gap()
    }

    /// Notes what became of those who waited.
    ///
    /// Somebody who makes one call after the other comes often, and yet nobody ever joins. So after a window in vain the
    /// next calls do not wait: two, then four, and never more than thirty-two.
    pub(crate) fn ended(&mut self, as_one: bool) {
        self.vain = if as_one { 0 } else { (self.vain + 1).min(5) };
        self.skip = if as_one { 0 } else { 1 << self.vain };
    }
}

/// How long a call for several takes: as long as the longest of late.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Took(Option<Duration>);

impl Took {
    /// Notes how long one took.
    pub(crate) fn observe(&mut self, took: Duration) {
        self.0 = Some(match self.0 {
            Some(before) if before > took => before - (before - took) / 8,
            _ => took,
        });
    }

    /// Notes that a call could not wait because of how long one took. One that took very long would otherwise be the
    /// last: nobody waits, so no other is made, and nothing shows that they take less again.
    pub(crate) fn doubt(&mut self) {
        self.0 = self.0.map(|took| took - took / 16);
    }

    /// When a call that has to be done by its deadline can wait no longer. As long as nobody knows how long one takes,
    /// it keeps half of its time.
    pub(crate) fn latest(&self, deadline: Instant, now: Instant) -> Instant {
        let left = deadline.saturating_duration_since(now);
        let keep = self.0.map_or(left / 2, |took| took + took / 2);
        now + left.saturating_sub(keep)
    }
}

/// What is done after a call for several failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Each is made by itself.
    Singly,
    /// It is made again in halves, if it `costs` nothing or the retry budget allows it.
    Halve { costs: bool },
    /// Each has failed.
    Fail(Kind),
}

/// What is done after a call for several ended with this error.
pub(crate) fn after(error: &Error, repeatable: bool) -> Next {
    let kind = error.kind();
    match kind {
        // Nothing was sent, and what is made singly has a circuit of its own.
        Kind::CircuitOpen { .. } => Next::Singly,
        _ if !repeatable => Next::Fail(if error.allows_another(false) { kind } else { Kind::OutcomeUnknown }),
        // It does not answer as agreed, however few it is asked for.
        Kind::InvalidResponse => Next::Singly,
        // No item is at fault where nothing was taken in.
        Kind::Service { class: Class::Network { sent: false } | Class::Throttled { .. } } => Next::Fail(kind),
        // A service that says what is wrong is well; one that fails must not be asked more often for it.
        Kind::Service { class } => Next::Halve { costs: class != Class::Permanent },
        Kind::Timeout { .. } => Next::Halve { costs: true },
        _ => Next::Fail(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_millis(50);
    const RULES: Rules = Rules { threshold: 5, window: WINDOW, max_size: 50 };
    const MS: Duration = Duration::from_millis(1);

    fn waiting(items: usize, since: Instant) -> Waiting {
        Waiting { items, since, latest: since + Duration::from_secs(10) }
    }

    #[test]
    fn a_full_batch_goes_at_once_and_any_other_at_the_end_of_its_window() {
        let t0 = Instant::now();
        assert_eq!(decide(waiting(50, t0), RULES, true, t0), Decision::AsOne);
        assert_eq!(decide(waiting(49, t0), RULES, true, t0), Decision::Wait { until: t0 + WINDOW });
        assert_eq!(decide(waiting(49, t0), RULES, true, t0 + WINDOW), Decision::AsOne);
    }

    #[test]
    fn too_few_at_the_end_of_the_window_go_singly() {
        let t0 = Instant::now();
        assert_eq!(decide(waiting(4, t0), RULES, true, t0 + WINDOW), Decision::Singly);
        assert_eq!(decide(waiting(5, t0), RULES, true, t0 + WINDOW), Decision::AsOne);
    }

    #[test]
    fn a_threshold_above_the_size_does_not_keep_a_full_batch_from_going_as_one() {
        let t0 = Instant::now();
        let rules = Rules { threshold: 100, max_size: 10, ..RULES };
        assert_eq!(decide(waiting(10, t0), rules, true, t0), Decision::AsOne);
    }

    #[test]
    fn one_that_can_wait_no_longer_sends_a_batch_or_itself_and_does_not_hurry_the_others() {
        let t0 = Instant::now();
        let hurried = |items| Waiting { latest: t0 + 10 * MS, ..waiting(items, t0) };
        assert_eq!(decide(hurried(3), RULES, true, t0), Decision::Wait { until: t0 + 10 * MS });
        assert_eq!(decide(hurried(3), RULES, true, t0 + 10 * MS), Decision::Hurried);
        assert_eq!(decide(hurried(5), RULES, true, t0 + 10 * MS), Decision::AsOne);
    }

    #[test]
    fn nobody_waits_where_calls_come_too_rarely_for_the_threshold() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        assert!(pace.pays(RULES), "nothing is known against it");
        for _ in 0..20 {
            now += WINDOW / 3;
            pace.arrive(RULES, now);
        }
        assert!(!pace.pays(RULES));
        assert_eq!(decide(waiting(1, now), RULES, pace.pays(RULES), now), Decision::Singly);
    }

    #[test]
    fn after_an_hour_of_silence_the_fourth_of_a_burst_waits_at_the_latest() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..20 {
            now += Duration::from_secs(3_600);
            pace.arrive(RULES, now);
        }
        let waits = (1..=4).find(|_| {
            now += MS;
            pace.arrive(RULES, now);
            pace.pays(RULES)
        });
        assert!(waits.is_some());
    }

    #[test]
    fn bursts_that_come_again_and_again_are_waited_for_from_their_first_call_on() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..10 {
            now += Duration::from_secs(10);
            pace.arrive(RULES, now);
            assert!(pace.pays(RULES));
            for _ in 0..50 {
                pace.arrive(RULES, now);
            }
        }
    }

    #[test]
    fn after_windows_in_vain_fewer_and_fewer_calls_wait_and_after_a_batch_all_do() {
        let now = Instant::now();
        let mut pace = Pace::default();
        let mut waits = |calls: u32| {
            let mut waited = 0;
            for _ in 0..calls {
                pace.arrive(RULES, now);
                if pace.pays(RULES) {
                    waited += 1;
                    pace.ended(false);
                }
            }
            waited
        };
        assert_eq!(waits(64), 6);
        assert!(waits(320) <= 11);
        pace.ended(true);
        assert!(pace.pays(RULES));
    }

    #[test]
    fn a_call_leaves_in_time_for_the_longest_batch_of_late() {
        let t0 = Instant::now();
        let deadline = t0 + Duration::from_secs(10);
        let mut took = Took::default();
        assert_eq!(took.latest(deadline, t0), t0 + Duration::from_secs(5));
        took.observe(Duration::from_secs(2));
        took.observe(Duration::from_millis(400));
        assert_eq!(took.latest(deadline, t0), t0 + Duration::from_millis(10_000 - 2_700));
        assert_eq!(took.latest(t0 + Duration::from_secs(1), t0), t0, "no time to wait at all");
    }

    #[test]
    fn what_may_have_been_executed_and_may_not_be_repeated_is_unknown() {
        let service = |class| Error::service(class, "scripted");
        for class in [Class::Permanent, Class::Transient, Class::Invalid, Class::Network { sent: true }] {
            assert_eq!(after(&service(class), false), Next::Fail(Kind::OutcomeUnknown), "{class:?}");
            assert_eq!(after(&service(class), true), Next::Halve { costs: class != Class::Permanent }, "{class:?}");
        }
        let unsent = Class::Network { sent: false };
        assert_eq!(after(&service(unsent), false), Next::Fail(Kind::Service { class: unsent }));
        assert_eq!(after(&Error::invalid_response("short"), true), Next::Singly);
        assert_eq!(after(&Error::invalid_response("short"), false), Next::Fail(Kind::OutcomeUnknown));
    }

    #[test]
    fn a_batch_that_took_as_long_as_there_is_time_is_not_the_last_one() {
        let (now, deadline) = (Instant::now(), Duration::from_secs(30));
        let mut took = Took::default();
        took.observe(deadline);
        let mut calls = 0;
        while took.latest(now + deadline, now) <= now {
            took.doubt();
            calls += 1;
        }
        assert!((2..20).contains(&calls), "{calls}");
    }

    #[test]
    fn an_open_circuit_leaves_each_to_itself_and_a_deadline_ends_all() {
        let open = Kind::CircuitOpen { retry_in: None };
        assert_eq!(after(&Error::new(open), false), Next::Singly);
        let deadline = Kind::Deadline { limit: Duration::ZERO };
        assert_eq!(after(&Error::new(deadline), true), Next::Fail(deadline));
    }

    #[test]
    fn who_may_not_wait_goes_with_the_others_only_if_they_are_enough() {
        assert!(takes_along(4, RULES) && !takes_along(3, RULES));
    }

    proptest! {
        #[test]
        fn nobody_waits_beyond_the_window_or_the_latest_moment(
            items in 1_usize..200,
            threshold in 2_usize..100,
            max_size in 2_usize..100,
            window in 0_u64..1_000,
            latest in 0_u64..1_000,
            waited in 0_u64..2_000,
            pays: bool,
        ) {
            let t0 = Instant::now();
            let rules = Rules { threshold, window: Duration::from_millis(window), max_size };
            let waiting = Waiting { items, since: t0, latest: t0 + Duration::from_millis(latest) };
            let now = t0 + Duration::from_millis(waited);
            match decide(waiting, rules, pays, now) {
                Decision::Wait { until } => {
                    prop_assert!(until > now && until <= t0 + rules.window && until <= waiting.latest);
                    prop_assert!(items < max_size || items < 2);
                }
                Decision::AsOne => prop_assert!(items >= threshold.min(max_size)),
                Decision::Singly | Decision::Hurried => prop_assert!(items < threshold.min(max_size).max(2)),
            }
        }
    }
}
