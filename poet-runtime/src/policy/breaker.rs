//! Decides whether a service may be called, from its recent successes and failures.
//!
//! A count of failures in a row reacts at once but misses a service that fails nearly always; a ratio sees that but
//! is slow. The breaker watches both, and neither depends on how many calls came before: the run is short, and the
//! ratio looks at a sliding window. While half-open it counts its probes, takes back those that were abandoned and
//! ignores those of an earlier half-open phase, so that it can neither flood a service that is just back nor get
//! stuck.

use crate::clock::after;
use crate::parameter::Values;
use std::time::{Duration, Instant};

/// The stretch of time the failure ratio looks at.
const WINDOW: Duration = Duration::from_secs(30);
/// Slices of the window; one slice of history is forgotten at a time.
const SLICES: usize = 10;
/// The share of failures that opens the circuit. Above one half, so that a service that fails every first attempt and
/// succeeds on the second stays usable: there the retry is the better answer.
const FAILURE_RATIO: f64 = 0.8;
/// Attempts the ratio needs, because 4 of 5 is noise.
const MIN_ATTEMPTS: u64 = 20;

/// When to open and to close; learned or configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thresholds {
    pub(crate) failures: u32,
    pub(crate) open_for: Duration,
    pub(crate) successes: u32,
}

impl Thresholds {
    pub(crate) fn of(values: &Values) -> Self {
        Self {
            failures: u32::from(values.failure_threshold.into_iter().min().unwrap_or(u16::MAX)),
            open_for: values.open_for,
            successes: values.success_threshold,
        }
    }
}

/// Whether a call may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Pass,
    /// It passes as one of a counted few that find out whether the service is back.
    Probe(Probe),
    /// `retry_in` is `None` while others are finding out.
    Refuse {
        retry_in: Option<Duration>,
    },
}

/// The half-open phase a probe belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe(u32);

/// What an attempt said about the health of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    Well,
    Ill,
    /// It says nothing: the attempt was cancelled, or throttled for reasons of its own.
    None,
}

/// How a circuit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Closed,
    /// Nobody passes for so long.
    Open {
        left: Duration,
    },
    /// The next calls find out whether the service is back.
    HalfOpen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { under_way: u32, passed: u32 },
}

/// The breaker of one service and operation.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    phase: u32,
    /// Failures since the last success.
    run: u32,
    window: Window,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self { state: State::Closed, phase: 0, run: 0, window: Window::default() }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// How it stands at a moment, without taking a probe.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        match self.state {
            State::Closed => Standing::Closed,
            State::Open { until } if now < until => Standing::Open { left: until - now },
            State::Open { .. } | State::HalfOpen { .. } => Standing::HalfOpen,
        }
    }

    /// Whether a success would change nothing, so that it need not be told.
    pub(crate) fn is_calm(&self) -> bool {
        self.is_closed() && self.run == 0
    }

    /// How long it stays open; `None` where a call may find out how the service is.
    pub(crate) fn rest(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Open { until } if now < until => Some(until - now),
            _ => None,
        }
    }

    pub(crate) fn admit(&mut self, thresholds: Thresholds, now: Instant) -> Admission {
        match self.state {
            State::Closed => Admission::Pass,
            State::Open { until } if now < until => Admission::Refuse { retry_in: Some(until - now) },
            State::Open { .. } => {
                self.phase = self.phase.wrapping_add(1);
                self.state = State::HalfOpen { under_way: 1, passed: 0 };
                Admission::Probe(Probe(self.phase))
            }
            // The threshold came down since the last probe passed, and no other probe would close it.
            State::HalfOpen { passed, .. } if passed >= thresholds.successes.max(1) => {
                self.state = State::Closed;
                self.forget();
                Admission::Pass
            }
            State::HalfOpen { under_way, passed } if under_way + passed < thresholds.successes.max(1) => {
                self.state = State::HalfOpen { under_way: under_way + 1, passed };
                Admission::Probe(Probe(self.phase))
            }
            State::HalfOpen { .. } => Admission::Refuse { retry_in: None },
        }
    }

    /// Takes in what an admitted attempt said. `successes` counts every success so far, this one included.
    pub(crate) fn record(
        &mut self,
        probe: Option<Probe>,
        sign: Sign,
        successes: u64,
        thresholds: Thresholds,
        now: Instant,
    ) {
        match (self.state, probe) {
            (State::HalfOpen { under_way, passed }, Some(Probe(phase))) if phase == self.phase => {
                let under_way = under_way.saturating_sub(1);
                self.state = match sign {
                    Sign::Ill => State::Open { until: after(now, thresholds.open_for) },
                    Sign::Well if passed + 1 >= thresholds.successes => State::Closed,
                    Sign::Well => State::HalfOpen { under_way, passed: passed + 1 },
                    Sign::None => State::HalfOpen { under_way, passed },
                };
                if self.is_closed() {
                    self.forget();
                }
            }
            // A probe of an earlier phase, or an attempt admitted before the circuit opened, comes too late to say
            // anything about now.
            (State::HalfOpen { .. } | State::Open { .. }, _) | (State::Closed, Some(_)) => {}
            (State::Closed, None) => match sign {
                Sign::Well => self.run = 0,
                Sign::None => {}
                Sign::Ill => {
                    self.run = self.run.saturating_add(1);
                    self.window.fail(successes, now);
                    if self.run >= thresholds.failures || self.window.is_failing(successes) {
                        self.state = State::Open { until: after(now, thresholds.open_for) };
                    }
                }
            },
        }
    }

    fn forget(&mut self) {
        self.run = 0;
        self.window = Window::default();
    }
}

/// Failures by slice of time. Successes are counted elsewhere, without a lock; the window remembers what the count
/// was when each slice began.
#[derive(Debug, Default)]
struct Window {
    slices: Vec<Slice>,
}

#[derive(Debug)]
struct Slice {
    began: Instant,
    successes_before: u64,
    failures: u64,
}

impl Window {
    fn fail(&mut self, successes: u64, now: Instant) {
        self.slices.retain(|slice| now.saturating_duration_since(slice.began) < WINDOW);
        match self.slices.last_mut() {
            Some(slice) if now.saturating_duration_since(slice.began) < WINDOW / SLICES as u32 => slice.failures += 1,
            _ => self.slices.push(Slice { began: now, successes_before: successes, failures: 1 }),
        }
    }

    fn is_failing(&self, successes: u64) -> bool {
        let failures: u64 = self.slices.iter().map(|slice| slice.failures).sum();
        let good = self.slices.first().map_or(0, |slice| successes.saturating_sub(slice.successes_before));
        let attempts = failures + good;
        attempts >= MIN_ATTEMPTS && failures as f64 >= FAILURE_RATIO * attempts as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Thresholds = Thresholds { failures: 5, open_for: Duration::from_secs(60), successes: 3 };

    struct Service {
        breaker: Breaker,
        successes: u64,
        now: Instant,
    }

    impl Service {
        fn new() -> Self {
            Self { breaker: Breaker::new(), successes: 0, now: Instant::now() }
        }

        fn attempt(&mut self, sign: Sign) -> Admission {
            let admission = self.breaker.admit(AT, self.now);
            let probe = match admission {
                Admission::Pass => None,
                Admission::Probe(probe) => Some(probe),
                Admission::Refuse { .. } => return admission,
            };
            self.finish(probe, sign);
            admission
        }

        fn finish(&mut self, probe: Option<Probe>, sign: Sign) {
            self.successes += u64::from(sign == Sign::Well);
            self.breaker.record(probe, sign, self.successes, AT, self.now);
        }

        fn open(&mut self) {
            for _ in 0..5 {
                self.attempt(Sign::Ill);
            }
            assert!(!self.breaker.is_closed());
        }

        fn probe(&mut self) -> Probe {
            match self.breaker.admit(AT, self.now) {
                Admission::Probe(probe) => probe,
                other => panic!("not a probe: {other:?}"),
            }
        }
    }

    #[test]
    fn five_failures_open_it_after_any_number_of_healthy_calls() {
        for healthy in [0, 200, 10_000, 200_000] {
            let mut service = Service::new();
            for _ in 0..healthy {
                service.attempt(Sign::Well);
            }
            for _ in 0..4 {
                service.attempt(Sign::Ill);
            }
            assert!(service.breaker.is_closed(), "after {healthy}");
            service.attempt(Sign::Ill);
            assert!(!service.breaker.is_closed(), "after {healthy}");
        }
    }

    #[test]
    fn a_service_that_fails_nine_of_ten_opens_it_though_five_never_fail_in_a_row() {
        let mut service = Service::new();
        for i in 0..200 {
            service.now += Duration::from_millis(100);
            service.attempt(if i % 5 == 4 { Sign::Well } else { Sign::Ill });
        }
        assert!(!service.breaker.is_closed());
    }

    #[test]
    fn a_service_that_fails_every_first_attempt_stays_usable() {
        let mut service = Service::new();
        for i in 0..1_000 {
            service.now += Duration::from_millis(10);
            service.attempt(if i % 2 == 0 { Sign::Ill } else { Sign::Well });
        }
        assert!(service.breaker.is_closed());
    }

    #[test]
    fn an_idle_window_forgets_old_failures() {
        for (idle, closed) in [(Duration::ZERO, false), (WINDOW, true)] {
            let mut service = Service::new();
            for i in 0..21 {
                service.attempt(if i % 5 == 0 { Sign::Well } else { Sign::Ill });
            }
            service.now += idle;
            service.attempt(Sign::Ill);
            assert_eq!(service.breaker.is_closed(), closed, "after {idle:?}");
        }
    }

    #[test]
    fn it_refuses_while_open_and_says_for_how_long() {
        let mut service = Service::new();
        service.open();
        service.now += Duration::from_secs(20);
        assert_eq!(service.attempt(Sign::Well), Admission::Refuse { retry_in: Some(Duration::from_secs(40)) });
    }

    #[test]
    fn half_open_admits_only_as_many_probes_as_it_needs() {
        let mut service = Service::new();
        service.open();
        service.now += AT.open_for;
        let admitted =
            (0..200).filter(|_| matches!(service.breaker.admit(AT, service.now), Admission::Probe(_))).count();
        assert_eq!(admitted, 3);
    }

    #[test]
    fn three_good_probes_close_it_and_one_bad_one_opens_it_again() {
        let mut service = Service::new();
        service.open();
        service.now += AT.open_for;
        service.attempt(Sign::Well);
        service.attempt(Sign::Well);
        assert!(!service.breaker.is_closed());
        service.attempt(Sign::Well);
        assert!(service.breaker.is_closed());

        service.open();
        service.now += AT.open_for;
        service.attempt(Sign::Ill);
        assert_eq!(service.attempt(Sign::Well), Admission::Refuse { retry_in: Some(AT.open_for) });
    }

    #[test]
    fn abandoned_probes_are_given_back() {
        let mut service = Service::new();
        service.open();
        service.now += AT.open_for;
        for _ in 0..20 {
            let probe = service.probe();
            service.finish(Some(probe), Sign::None);
        }
        for _ in 0..3 {
            service.attempt(Sign::Well);
        }
        assert!(service.breaker.is_closed());
    }

    #[test]
    fn a_threshold_that_comes_down_between_two_probes_does_not_shut_the_circuit_for_ever() {
        let mut service = Service::new();
        service.open();
        service.now += AT.open_for;
        service.attempt(Sign::Well);
        service.attempt(Sign::Well);
        let lower = Thresholds { successes: 1, ..AT };
        service.now += AT.open_for;
        assert_eq!(service.breaker.admit(lower, service.now), Admission::Pass);
        assert!(service.breaker.is_closed());
    }

    #[test]
    fn a_probe_of_an_earlier_phase_says_nothing_about_this_one() {
        let mut service = Service::new();
        service.open();
        service.now += AT.open_for;
        let late = service.probe();
        let bad = service.probe();
        service.finish(Some(bad), Sign::Ill);
        service.now += AT.open_for;
        service.attempt(Sign::Well);
        service.finish(Some(late), Sign::Well);
        service.attempt(Sign::Well);
        assert!(!service.breaker.is_closed(), "two good probes of this phase, not three");
    }

    #[test]
    fn a_call_that_started_before_the_circuit_opened_neither_opens_nor_closes_it() {
        let mut service = Service::new();
        service.open();
        service.finish(None, Sign::Well);
        assert!(!service.breaker.is_closed());
    }

    proptest::proptest! {
        /// Whatever happens, waiting long enough always lets somebody find out whether the service is back.
        #[test]
        fn it_is_never_stuck(steps in proptest::collection::vec((0_u8..5, 0_u64..90), 1..400)) {
            let mut service = Service::new();
            let mut held = Vec::new();
            for (what, seconds) in steps {
                service.now += Duration::from_secs(seconds);
                match what {
                    0 => { service.attempt(Sign::Well); }
                    1 => { service.attempt(Sign::Ill); }
                    2 => { service.attempt(Sign::None); }
                    3 => if let Admission::Probe(probe) = service.breaker.admit(AT, service.now) { held.push(probe); },
                    _ => if let Some(probe) = held.pop() { service.finish(Some(probe), Sign::None); },
                }
            }
            for probe in held.drain(..) {
                service.finish(Some(probe), Sign::None);
            }
            service.now += AT.open_for;
            let refused = matches!(service.breaker.admit(AT, service.now), Admission::Refuse { .. });
            proptest::prop_assert!(!refused);
        }
    }
}
