//! What is known of an endpoint from the calls made to it: how fast it is, how well, and whether it is left out. Pure.

use std::time::{Duration, Instant};

/// In how long a latency that was seen counts for a third. As in Finagle and linkerd.
const MEMORY: Duration = Duration::from_secs(10);
/// What is taken for the latency of one that was never called: little, so that it is tried.
const UNKNOWN: f64 = 1e-3;
/// How much of the health is the newest call's.
const NEWEST: f64 = 0.1;
/// Failures in a row that leave it out.
const FAILURES: u32 = 3;
/// How long it is left out first, and at most.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// How a call ended, as far as it speaks about the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Well,
    Ill,
    /// The call was at fault, or was given up.
    None,
}

/// What is known of one endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vitals {
    latency: f64,
    seen_at: Option<Instant>,
    health: f64,
    /// Failures since the last success.
    failures: u32,
    out_until: Option<Instant>,
    /// How often it was left out since it last was well.
    times_out: u32,
    /// Whether the one call is under way that finds out how it is.
    is_tried: bool,
}

impl Default for Vitals {
    fn default() -> Self {
        Self { latency: 0.0, seen_at: None, health: 1.0, failures: 0, out_until: None, times_out: 0, is_tried: false }
    }
}

impl Vitals {
    /// Recent seconds of a call: a rise counts at once, a fall slowly.
    pub(super) fn latency(&self, now: Instant) -> f64 {
        self.seen_at.map_or(UNKNOWN, |at| (self.latency * faded(at, now)).max(UNKNOWN))
    }

    /// The recent share of calls that succeeded.
    pub(super) fn health(&self) -> f64 {
        self.health
    }

    /// Until when it is left out.
    pub(super) fn out_until(&self) -> Option<Instant> {
        self.out_until
    }

    /// Whether it may be chosen. Of one that was left out, a single call finds out how it is.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.out_until.is_none_or(|until| now >= until && !self.is_tried)
    }

    /// A call is made to it.
    pub(super) fn begin(&mut self) {
        self.is_tried = self.out_until.is_some();
    }

    /// A call to it has ended.
    pub(super) fn end(&mut self, sign: Sign, took: Duration, may_leave_out: bool, now: Instant) {
        self.is_tried = false;
        match sign {
            Sign::None => {}
            Sign::Well => {
                let took = took.as_secs_f64();
                let weight = self.seen_at.map_or(0.0, |at| faded(at, now));
                self.latency = took.max(self.latency * weight + took * (1.0 - weight));
                self.seen_at = Some(now);
                self.health += NEWEST * (1.0 - self.health);
                (self.failures, self.out_until, self.times_out) = (0, None, 0);
            }
            Sign::Ill => {
                self.health -= NEWEST * self.health;
                self.failures += 1;
                let relapsed = self.out_until.is_some();
                if may_leave_out && (relapsed || self.failures >= FAILURES) {
                    let wait = FIRST.saturating_mul(1 << self.times_out.min(10)).min(LONGEST);
                    self.out_until = now.checked_add(wait);
                    self.times_out = self.times_out.saturating_add(1);
                }
            }
        }
    }
}

fn faded(at: Instant, now: Instant) -> f64 {
    (-now.saturating_duration_since(at).as_secs_f64() / MEMORY.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn ended(vitals: &mut Vitals, sign: Sign, took: Duration, now: Instant) {
        vitals.begin();
        vitals.end(sign, took, true, now);
    }

    #[test]
    fn a_rise_of_latency_counts_at_once_and_a_fall_slowly() {
        let (mut vitals, now) = (Vitals::default(), Instant::now());
        for took in [10, 500, 10] {
            ended(&mut vitals, Sign::Well, took * MS, now);
        }
        assert!((vitals.latency(now) - 0.5).abs() < 1e-9, "{}", vitals.latency(now));
        ended(&mut vitals, Sign::Well, 10 * MS, now + 10 * SECOND);
        let after = vitals.latency(now + 10 * SECOND);
        assert!((0.15..0.25).contains(&after), "{after}");
        assert!(vitals.latency(now + 200 * SECOND) < 0.002, "and what was long ago is forgotten");
    }

    #[test]
    fn three_failures_in_a_row_leave_it_out_for_twice_as_long_each_time_and_one_success_takes_it_back() {
        let (mut vitals, mut now) = (Vitals::default(), Instant::now());
        for _ in 0..2 {
            ended(&mut vitals, Sign::Ill, MS, now);
        }
        assert!(vitals.is_open(now));
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            ended(&mut vitals, Sign::Ill, MS, now);
            assert!(!vitals.is_open(now + wait * SECOND - MS), "{wait}");
            now += wait * SECOND;
            assert!(vitals.is_open(now), "{wait}");
        }
        ended(&mut vitals, Sign::Well, MS, now);
        assert!(vitals.out_until().is_none() && vitals.is_open(now));
        ended(&mut vitals, Sign::Ill, MS, now);
        assert!(vitals.is_open(now), "it begins anew");
    }

    #[test]
    fn one_call_at_a_time_finds_out_whether_it_is_back_and_one_that_was_given_up_is_followed_by_another() {
        let (mut vitals, now) = (Vitals::default(), Instant::now());
        (0..3).for_each(|_| ended(&mut vitals, Sign::Ill, MS, now));
        let later = now + SECOND;
        vitals.begin();
        assert!(!vitals.is_open(later));
        vitals.end(Sign::None, MS, true, later);
        assert!(vitals.is_open(later));
    }

    #[test]
    fn what_the_call_was_to_blame_for_says_nothing() {
        let (mut vitals, now) = (Vitals::default(), Instant::now());
        (0..50).for_each(|_| ended(&mut vitals, Sign::None, 9 * SECOND, now));
        assert_eq!((vitals.health(), vitals.is_open(now), vitals.latency(now)), (1.0, true, UNKNOWN));
    }

    #[test]
    fn where_nothing_is_to_be_left_out_failures_count_for_the_health_alone() {
        let (mut vitals, now) = (Vitals::default(), Instant::now());
        (0..9).for_each(|_| vitals.end(Sign::Ill, MS, false, now));
        assert!(vitals.is_open(now) && vitals.health() < 0.5);
    }
}
