//! Decides whether a service may be called, from its recent successes and failures.
//!
//! It is a test for a change (Page's CUSUM, 1954): each failure adds to a pressure, by its kind, a success takes some of
//! it back, and at one the circuit opens. A failure of a kind adds one over its threshold, so that as many of that kind in
//! a row open it; a kind that is common while the service is up counts little, one that is seen only when it is down
//! counts much. Neither depends on how many calls came before. Beside it a ratio looks at a sliding window, for a service
//! that fails nearly always in a way that nobody has learned about.
//!
//! While half-open it counts its probes, takes back those that were abandoned and ignores those of an earlier half-open
//! phase, so that it can neither flood a service that is just back nor get stuck. The waits between probes may grow with
//! the time it has been open: what has lasted long lasts longer. Processes that saw a service fail in the same moment
//! must not ask it in step for as long as it is down, so every wait but the first is drawn, up to a fifth from its mean.

use crate::clock::after;
use crate::outcome::{FailureKind, Turn};
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

/// The longest wait that grew, unless it was that long to begin with.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(2 * 60 * 60);

/// The shortest wait after a probe that failed, unless it was shorter to begin with.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// How far a wait after a probe that failed may be from its mean, as a share of it.
const JITTER: f64 = 0.2;

/// The draw of a wait that is as long as its mean.
pub(crate) const MEAN: f64 = 0.5;

/// A pressure that is full but for what rounding lost.
const FULL: f64 = 1.0 - 1e-9;

/// When to open and to close; learned or configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thresholds {
    /// Failures of each kind in a row that open it, by [`FailureKind::index`].
    pub(crate) failures: [u16; FailureKind::ALL.len()],
    /// How much of what opens it one success takes back.
    pub(crate) credit: f64,
    pub(crate) open_for: Duration,
    /// How long the second wait is, as a multiple of the first.
    pub(crate) ratio: f64,
    /// The power of the time it has been open with which the waits grow.
    pub(crate) growth: f64,
    pub(crate) successes: u32,
    /// Where the next wait lies between the shortest and the longest that it may be, from 0 to 1.
    pub(crate) draw: f64,
}

impl Thresholds {
    pub(crate) fn of(values: &Values) -> Self {
        Self {
            failures: values.failure_threshold,
            credit: values.success_credit,
            open_for: values.open_for,
            ratio: values.open_ratio,
            growth: values.open_growth,
            successes: values.success_threshold,
            draw: MEAN,
        }
    }

    /// The same with another draw.
    pub(crate) fn drawn(self, draw: f64) -> Self {
        Self { draw, ..self }
    }

    /// How long it stays open after a probe that failed, if it has been so for a time already.
    fn drawn_wait(&self, been: Duration) -> Duration {
        self.wait(been).mul_f64(1.0 + JITTER * (2.0 * self.draw - 1.0))
    }

    /// How long it stays open in the mean.
    fn wait(&self, been: Duration) -> Duration {
        let seconds = next_wait(self.open_for.as_secs_f64(), self.ratio, self.growth, been.as_secs_f64());
        Duration::try_from_secs_f64(seconds).unwrap_or(self.open_for)
    }
}

/// The wait in seconds before the next probe of a circuit that opened so many seconds ago: the first wait, and from then on
/// `first · ratio · (been / first) ^ growth`, up to the longest.
pub(crate) fn next_wait(first: f64, ratio: f64, growth: f64, been: f64) -> f64 {
    if been < first {
        return first;
    }
    let longest = LONGEST_WAIT.as_secs_f64().max(first);
    let shortest = SHORTEST_WAIT.as_secs_f64().min(first);
    (first * ratio * (been / first).powf(growth)).clamp(shortest, longest)
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
    Ill(FailureKind),
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
    /// What has gathered towards opening it; it opens at one.
    pressure: f64,
    /// The failures since the pressure was last none, by [`FailureKind::index`].
    run: [u8; FailureKind::ALL.len()],
    /// When the first of them was seen.
    began: Option<Instant>,
    /// When the service was last seen down, and first seen back.
    down_at: Option<Instant>,
    back_at: Option<Instant>,
    /// When it opened, relapses and the time it was closed before them apart.
    opened_at: Option<Instant>,
    /// When it closed last.
    closed_at: Option<Instant>,
    window: Window,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Closed,
            phase: 0,
            pressure: 0.0,
            run: [0; FailureKind::ALL.len()],
            began: None,
            down_at: None,
            back_at: None,
            opened_at: None,
            closed_at: None,
            window: Window::default(),
        }
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
        self.is_closed() && self.pressure == 0.0
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
                _ = self.close(now);
                Admission::Pass
            }
            State::HalfOpen { under_way, passed } if under_way + passed < thresholds.successes.max(1) => {
                self.state = State::HalfOpen { under_way: under_way + 1, passed };
                Admission::Probe(Probe(self.phase))
            }
            State::HalfOpen { .. } => Admission::Refuse { retry_in: None },
        }
    }

    /// Takes in what an admitted attempt said, and tells what the circuit did for it. `successes` counts every success so
    /// far, this one included.
    pub(crate) fn record(
        &mut self,
        probe: Option<Probe>,
        sign: Sign,
        successes: u64,
        thresholds: Thresholds,
        now: Instant,
    ) -> Option<Turn> {
        match (self.state, probe) {
            (State::HalfOpen { under_way, passed }, Some(Probe(phase))) if phase == self.phase => {
                let under_way = under_way.saturating_sub(1);
                match sign {
                    Sign::Ill(_) => {
                        (self.down_at, self.back_at) = (Some(now), None);
                        self.state = State::Open { until: after(now, thresholds.drawn_wait(self.been_open(now))) };
                    }
                    Sign::Well => {
                        self.back_at.get_or_insert(now);
                        if passed + 1 >= thresholds.successes {
                            return self.close(now);
                        }
                        self.state = State::HalfOpen { under_way, passed: passed + 1 };
                    }
                    Sign::None => self.state = State::HalfOpen { under_way, passed },
                }
                None
            }
            // A probe of an earlier phase, or an attempt admitted before the circuit opened, comes too late to say
            // anything about now.
            (State::HalfOpen { .. } | State::Open { .. }, _) | (State::Closed, Some(_)) => None,
            (State::Closed, None) => match sign {
                Sign::Well => {
                    self.relieve(thresholds.credit);
                    None
                }
                Sign::None => None,
                Sign::Ill(kind) => {
                    let threshold = thresholds.failures[kind.index()].max(1);
                    self.pressure += 1.0 / f64::from(threshold);
                    self.run[kind.index()] = self.run[kind.index()].saturating_add(1);
                    self.began.get_or_insert(now);
                    self.window.fail(successes, now);
                    let opens = self.pressure >= FULL || self.window.is_failing(successes);
                    opens.then(|| self.open(thresholds, now))
                }
            },
        }
    }

    fn relieve(&mut self, credit: f64) {
        self.pressure -= credit;
        // What rounding left of it is none.
        if self.pressure < 1.0 - FULL {
            self.pressure = 0.0;
            self.run = [0; FailureKind::ALL.len()];
            self.began = None;
        }
    }

    fn open(&mut self, thresholds: Thresholds, now: Instant) -> Turn {
        // A service that fails again sooner than it would have been asked again was not back.
        let before = self.closed_at.map(|closed| (now.saturating_duration_since(closed), self.been_open(closed)));
        let lasted = before.filter(|(up, open)| *up < thresholds.wait(*open)).map(|(_, open)| open);
        let relapsed = lasted.is_some();
        // The time it was up between is not counted.
        self.opened_at = now.checked_sub(lasted.unwrap_or_default()).or(Some(now));
        self.state = State::Open { until: after(now, thresholds.wait(lasted.unwrap_or_default())) };
        self.down_at = Some(now);
        self.back_at = None;
        Turn::Opened { blamed: self.run, relapsed }
    }

    fn been_open(&self, now: Instant) -> Duration {
        self.opened_at.map_or(Duration::ZERO, |opened| now.saturating_duration_since(opened))
    }

    fn close(&mut self, now: Instant) -> Option<Turn> {
        self.state = State::Closed;
        self.closed_at = Some(now);
        let since = |at: Option<Instant>| at.zip(self.began).map(|(at, began)| at.saturating_duration_since(began));
        let turn = since(self.down_at).zip(since(self.back_at.or(Some(now))));
        self.pressure = 0.0;
        self.run = [0; FailureKind::ALL.len()];
        self.began = None;
        self.window = Window::default();
        turn.map(|(down_for, back_after)| Turn::Closed { down_for, back_after })
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
pub(crate) mod tests;
