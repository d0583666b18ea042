//! Decides whether a call that may wait is made now or put off, and until when.
//!
//! A circuit that is open puts off at once, because the call would only be refused. A service that asked to be left
//! alone is waited for as long as the caller's deadline allows, and put off beyond. Hours in which the service does
//! badly or is maintained put off to their end. Whoever matters is never put off.

use super::jitter;
use crate::clock::Wall;
use crate::defer::Reason;
use crate::site::Priority;
use std::time::Duration;

/// The delay after the first failure of a job; grows by half with each further one.
const GROWTH: f64 = 1.5;
/// The longest delay, as a multiple of the first.
const LONGEST: f64 = 20.0;

/// How long jobs wait while others find out whether the service is back: a share of the time its circuit stays open.
pub(crate) fn probing(open_for: Duration) -> Duration {
    open_for / 12
}

/// The most by which calls that wait for the same circuit are spread.
const LONGEST_SPREAD: Duration = Duration::from_secs(10);

/// What is known about a call and its service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Whether somebody said that the call may be put off.
    pub(crate) deferrable: bool,
    pub(crate) priority: Priority,
    /// How long the circuit stays open.
    pub(crate) rest: Option<Duration>,
    /// How long the service asked to be left alone.
    pub(crate) held: Option<Duration>,
    /// When the hours end in which the service is maintained.
    pub(crate) maintained_until: Option<Wall>,
    /// When the hours end in which the service does badly.
    pub(crate) avoided_until: Option<Wall>,
    pub(crate) now: Wall,
    /// What is left until the deadline.
    pub(crate) left: Duration,
    /// The jitter, in `0.0..1.0`.
    pub(crate) fraction: f64,
}

/// What to do with the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    MakeNow,
    PutOff { reason: Reason, due: Wall },
}

/// Whether a call is made now. Of several obstacles the one that lasts longest is the reason.
pub(crate) fn decide(facts: &Facts) -> Decision {
    if !facts.deferrable || facts.priority >= Priority::High {
        return Decision::MakeNow;
    }
    let healed = facts.rest.map(|rest| facts.now.after(spread(rest, facts.fraction)));
    let released = facts.held.filter(|held| *held >= facts.left).map(|held| facts.now.after(held));
    let obstacles = [
        (Reason::AvoidedHours, facts.avoided_until),
        (Reason::Maintenance, facts.maintained_until),
        (Reason::RetryAfter, released),
        (Reason::ServiceDegraded, healed),
    ];
    let until =
        obstacles.into_iter().filter_map(|(reason, until)| Some((until.filter(|until| *until > facts.now)?, reason)));
    match until.max_by_key(|(until, _)| *until) {
        Some((due, reason)) => Decision::PutOff { reason, due },
        None => Decision::MakeNow,
    }
}

/// A wait for a circuit, somewhat longer, so that what waits for it does not come all at once.
pub(crate) fn spread(rest: Duration, fraction: f64) -> Duration {
    rest + (rest / 10).min(LONGEST_SPREAD).mul_f64(fraction)
}

/// The delay before a job is tried again after its n-th failure (1 for the first), the last quarter of it jitter.
pub(crate) fn delay(first: Duration, failures: u32, seed: u64, counter: u64) -> Duration {
    let doublings = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX).min(30);
    let delay = first.mul_f64(GROWTH.powi(doublings).min(LONGEST));
    delay.mul_f64(0.75 + 0.25 * jitter::fraction(seed, counter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall::from_millis(1_800_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    fn calm() -> Facts {
        Facts {
            deferrable: true,
            priority: Priority::Normal,
            rest: None,
            held: None,
            maintained_until: None,
            avoided_until: None,
            now: NOW,
            left: 30 * SECOND,
            fraction: 0.0,
        }
    }

    fn put_off(facts: Facts) -> Option<(Reason, Duration)> {
        match decide(&facts) {
            Decision::MakeNow => None,
            Decision::PutOff { reason, due } => {
                Some((reason, Duration::from_millis((due.millis() - NOW.millis()).unsigned_abs())))
            }
        }
    }

    #[test]
    fn a_service_that_is_well_is_called_now() {
        assert_eq!(put_off(calm()), None);
    }

    #[test]
    fn an_open_circuit_puts_off_until_it_may_be_probed() {
        assert_eq!(put_off(Facts { rest: Some(SECOND), ..calm() }), Some((Reason::ServiceDegraded, SECOND)));
        let jittered = Facts { rest: Some(60 * SECOND), fraction: 0.5, ..calm() };
        assert_eq!(put_off(jittered), Some((Reason::ServiceDegraded, 63 * SECOND)));
        let long = Facts { rest: Some(1800 * SECOND), fraction: 0.5, ..calm() };
        assert_eq!(put_off(long), Some((Reason::ServiceDegraded, 1805 * SECOND)));
    }

    #[test]
    fn what_the_service_asked_for_is_waited_for_within_the_deadline_and_put_off_beyond() {
        assert_eq!(put_off(Facts { held: Some(29 * SECOND), ..calm() }), None);
        let beyond = Facts { held: Some(90 * SECOND), fraction: 0.9, ..calm() };
        assert_eq!(put_off(beyond), Some((Reason::RetryAfter, 90 * SECOND)), "to the second");
    }

    #[test]
    fn of_several_obstacles_the_longest_is_the_reason() {
        let hour = NOW.after(3600 * SECOND);
        let facts = Facts { rest: Some(60 * SECOND), avoided_until: Some(hour), ..calm() };
        assert_eq!(put_off(facts), Some((Reason::AvoidedHours, 3600 * SECOND)));
        let both = Facts { maintained_until: Some(hour), ..facts };
        assert_eq!(put_off(both), Some((Reason::Maintenance, 3600 * SECOND)));
        assert_eq!(put_off(Facts { avoided_until: Some(NOW), ..calm() }), None, "they have ended");
    }

    #[test]
    fn what_matters_and_what_may_not_wait_is_never_put_off() {
        let hour = Some(NOW.after(3600 * SECOND));
        let worst = Facts {
            rest: Some(60 * SECOND),
            held: Some(900 * SECOND),
            maintained_until: hour,
            avoided_until: hour,
            ..calm()
        };
        for priority in [Priority::High, Priority::Critical] {
            assert_eq!(put_off(Facts { priority, ..worst }), None);
        }
        assert_eq!(put_off(Facts { deferrable: false, ..worst }), None);
        assert!(put_off(worst).is_some());
    }

    #[test]
    fn a_job_that_fails_waits_longer_each_time_up_to_ten_minutes() {
        for (failures, longest) in [(1, 30.0), (2, 45.0), (3, 67.5), (8, 512.6), (9, 600.0), (4_000_000_000, 600.0)] {
            for counter in 0..100 {
                let delay = delay(Duration::from_secs(30), failures, 7, counter).as_secs_f64();
                assert!((0.75 * longest - 1.0..=longest).contains(&delay), "{failures}: {delay}");
            }
        }
    }
}
