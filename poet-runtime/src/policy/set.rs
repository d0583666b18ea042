//! Asks the policies about one call, in order of precedence, and says what to do next.
//!
//! Deadline, then what the service asked for, then its circuit, then whether there is a place; after a failure, whether
//! the operation may be started again at all, whether another try was learned to pay, whether there is time, and whether
//! the budgets allow it.

use super::breaker::{Admission, Probe, Sign};
use super::jitter;
use super::retry::Backoff;
use crate::clock::after;
use crate::error::Kind;
use crate::outcome::{Class, FailureKind, Withheld};
use std::time::{Duration, Instant};

/// The longest a service is left alone because it asked for it.
const LONGEST_HOLD: Duration = Duration::from_secs(24 * 60 * 60);

/// What happened to the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Began,
    /// The attempt ended with an answer. `attributed` is false where the failure is one of a call inside this
    /// function, which has a circuit of its own.
    Finished {
        class: Class,
        attributed: bool,
    },
    /// The attempt was dropped at its limit.
    TimedOut,
    Woke,
}

/// What is to be done about it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Start an attempt and drop it at `until`. No other follows if it is the `last`. If it is not done at `hedge`, a
    /// second copy may race it.
    Start {
        until: Instant,
        last: bool,
        hedge: Option<Instant>,
    },
    Sleep {
        until: Instant,
    },
    /// Wait for a place, until then at the longest.
    StandInLine {
        until: Instant,
    },
    /// The last answer stands.
    Return {
        withheld: Option<Withheld>,
    },
    /// There is no answer: the call was refused, or its last attempt was dropped at its limit.
    Reject {
        kind: Kind,
        withheld: Option<Withheld>,
    },
}

/// What holds for the call from beginning to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) began: Instant,
    pub(crate) deadline: Instant,
    /// Whether the call may be refused; what is only watched is started at any rate.
    pub(crate) refusable: bool,
    /// How long one attempt is waited for without a sign of life; `None`: until the deadline.
    pub(crate) attempt: Option<Duration>,
    /// Whether a sign of life lets that time begin anew.
    pub(crate) progress_extends: bool,
    /// Extra tries after each kind of failure.
    pub(crate) max_retries: [u8; FailureKind::ALL.len()],
    /// Whether the operation may be executed twice.
    pub(crate) repeatable: bool,
    /// Whether it can be started again at all; the body of a function under `run_once` cannot.
    pub(crate) restartable: bool,
    /// Retries that are left to this execution.
    pub(crate) execution_retries: u8,
    /// The delays before retries.
    pub(crate) backoff: Backoff,
    /// How long the first attempt is waited for before a second copy of it is sent; `None`: none is.
    pub(crate) hedge: Option<Duration>,
    pub(crate) seed: u64,
}

impl Limits {
    fn most_retries(&self) -> u8 {
        if !self.restartable {
            return 0;
        }
        let retries = |kind: FailureKind| {
            let repeats = self.repeatable || matches!(kind, FailureKind::Connect | FailureKind::Throttled);
            if repeats { self.max_retries[kind.index()] } else { 0 }
        };
        FailureKind::ALL.into_iter().map(retries).max().unwrap_or(0)
    }
}

/// Whether there is room for another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// The attempt has a place.
    Taken,
    /// It stands in line for one.
    InLine,
    /// It would not get one in time; so many wait.
    Full { waiting: u32 },
}

/// What calls of one service have in common. What only a failure makes interesting is asked for only then.
pub(crate) trait Shared {
    fn admit(&self, now: Instant) -> Admission;
    /// Takes a place for an attempt or stands in line for one. A probe is never kept waiting: there are few, and others
    /// wait for what they find out.
    fn enter(&self, probe: bool, now: Instant) -> Room;
    fn settle(&self, probe: Option<Probe>, sign: Sign, now: Instant);
    /// Until when the service asked to be left alone, if that is still ahead.
    fn held_until(&self, now: Instant) -> Option<Instant>;
    fn hold(&self, until: Instant);
    fn withdraw_retry(&self, now: Instant) -> bool;
    /// Gives back what a retry took that then succeeded.
    fn give_back_retry(&self);
    /// Counts an attempt that may be raced, which earns a share of a copy.
    fn earn_copy(&self);
    fn withdraw_copy(&self) -> bool;
}

/// The policies of one call.
#[derive(Debug)]
pub(crate) struct CallPolicy {
    pub(crate) limits: Limits,
    /// Attempts started.
    attempts: u8,
    /// The probe under way.
    probe: Option<Probe>,
    started: Instant,
    until: Instant,
    /// When the attempt under way last gave a sign of life: at first, when it began.
    heard: Instant,
    /// The longest it had given none by then; `None` where it has given none at all.
    silent: Option<Duration>,
    /// The failure of the attempt before.
    after: Option<FailureKind>,
    /// When that attempt ended, if nothing but the backoff is waited for since.
    backing_off: Option<Instant>,
    /// What was waited before the attempt under way; `None` if something else than the backoff decided it.
    waited: Option<Duration>,
    /// What to tell the caller if the attempt that was dropped at its limit stays the last.
    timed_out: Option<Kind>,
    retries: u8,
    /// When the second copy of the attempt under way was sent.
    copied: Option<Instant>,
    /// Second copies sent; each is counted among the attempts and the retries as well.
    copies: u8,
}

impl CallPolicy {
    #[inline]
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            attempts: 0,
            probe: None,
            started: limits.began,
            until: limits.began,
            heard: limits.began,
            silent: None,
            after: None,
            backing_off: None,
            waited: None,
            timed_out: None,
            retries: 0,
            copied: None,
            copies: 0,
        }
    }

    /// Attempts started so far.
    pub(crate) fn attempts(&self) -> u8 {
        self.attempts
    }

    /// Retries that were taken from the budget of the execution.
    pub(crate) fn retries(&self) -> u8 {
        self.retries
    }

    /// Second copies sent. Each took from the budgets as a retry does.
    pub(crate) fn copies(&self) -> u8 {
        self.copies
    }

    /// When the second copy of the attempt under way was sent.
    pub(crate) fn copied(&self) -> Option<Instant> {
        self.copied
    }

    /// When the attempt under way began.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// When the attempt under way is given up.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// The longest the attempt under way gave no sign of life; `None` where it has given none at all.
    pub(crate) fn silent(&self, now: Instant) -> Option<Duration> {
        self.silent.map(|longest| longest.max(now.saturating_duration_since(self.heard)))
    }

    /// The attempt under way is alive: its time begins anew, within the deadline of the call. Whether it does.
    pub(crate) fn hear(&mut self, now: Instant) -> bool {
        if !self.limits.progress_extends {
            return false;
        }
        let silence = now.saturating_duration_since(self.heard);
        self.silent = Some(self.silent.map_or(silence, |longest| longest.max(silence)));
        self.heard = now;
        self.until = self.limit_from(now);
        true
    }

    fn limit_from(&self, moment: Instant) -> Instant {
        let Limits { attempt, deadline, .. } = self.limits;
        attempt.map_or(deadline, |limit| after(moment, limit).min(deadline))
    }

    /// The failure of the attempt before the one under way.
    pub(crate) fn after(&self) -> Option<FailureKind> {
        self.after
    }

    /// What was waited before the attempt under way, where the backoff alone decided it.
    ///
    /// What the service asked for is left out: it asks for longer where longer is needed, so how such retries fare says
    /// nothing about waiting as long without having been asked.
    pub(crate) fn waited(&self) -> Option<Duration> {
        self.waited
    }

    /// The longest the attempt under way, or the one before, may take.
    pub(crate) fn limit(&self) -> Duration {
        self.until.saturating_duration_since(self.started)
    }

    /// Whether nothing but the delay before a retry is waited for.
    pub(crate) fn is_backing_off(&self) -> bool {
        self.backing_off.is_some()
    }

    /// Whether the deadline of the call ends the attempt under way before its own limit does, and has come.
    pub(crate) fn is_at_deadline(&self, now: Instant) -> bool {
        // A client that watches the same deadline gives up a little earlier.
        const EARLIER: Duration = Duration::from_millis(20);
        let own = self.limits.attempt.map(|limit| after(self.heard, limit));
        own.is_none_or(|own| own > self.limits.deadline) && now + EARLIER >= self.limits.deadline
    }

    /// Whether the attempt under way finds out if the service is back.
    pub(crate) fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// Answers an event with what is to be done.
    #[inline]
    pub(crate) fn on(&mut self, event: Event, shared: &impl Shared, now: Instant) -> Action {
        match event {
            Event::Began | Event::Woke => self.start(shared, now),
            Event::Finished { class, attributed } => {
                self.timed_out = None;
                // That it succeeded in spite of a failure inside is its own doing.
                let own = attributed || class == Class::Success;
                self.settle(if own { sign(class) } else { Sign::None }, shared, now);
                if class == Class::Success && self.after.is_some() {
                    shared.give_back_retry();
                }
                self.retry(class, shared, now)
            }
            Event::TimedOut => {
                self.timed_out = Some(self.timeout_kind());
                self.settle(Sign::Ill(FailureKind::Timeout), shared, now);
                self.retry(Class::Timeout, shared, now)
            }
        }
    }

    /// The call was dropped by its caller while an attempt may have been under way.
    pub(crate) fn abandon(&mut self, shared: &impl Shared, now: Instant) {
        if self.probe.is_some() {
            self.settle(Sign::None, shared, now);
        }
    }

    #[inline]
    fn start(&mut self, shared: &impl Shared, now: Instant) -> Action {
        let limits = &self.limits;
        if now >= limits.deadline && (limits.refusable || self.attempts > 0) {
            return self.give_up_or(Withheld::Deadline, Kind::Deadline { limit: limits.deadline - limits.began });
        }
        if let Some(until) = shared.held_until(now) {
            if until >= limits.deadline {
                return self.give_up_or(Withheld::Deadline, Kind::Throttled { retry_after: Some(until - now) });
            }
            self.backing_off = None;
            return Action::Sleep { until };
        }
        self.probe = match shared.admit(now) {
            Admission::Pass => None,
            Admission::Probe(probe) => Some(probe),
            Admission::Refuse { retry_in } => {
                return self.give_up_or(Withheld::CircuitOpen, Kind::CircuitOpen { retry_in });
            }
        };
        match shared.enter(self.probe.is_some(), now) {
            Room::Taken => {}
            Room::InLine => {
                self.backing_off = None;
                return Action::StandInLine { until: limits.deadline };
            }
            Room::Full { waiting } => return self.give_up_or(Withheld::Deadline, Kind::Crowded { waiting }),
        }
        self.attempts = self.attempts.saturating_add(1);
        self.started = now;
        self.waited = self.backing_off.take().map(|ended| now.saturating_duration_since(ended));
        (self.heard, self.silent) = (now, None);
        self.until = self.limit_from(now);
        self.copied = None;
        let hedge = self.hedge();
        if hedge.is_some() {
            shared.earn_copy();
        }
        Action::Start { until: self.until, last: self.attempts > self.limits.most_retries() && hedge.is_none(), hedge }
    }

    /// When the attempt that starts now may be raced. Only what may be executed twice is, and only a first attempt: a
    /// retry is a second request already.
    fn hedge(&self) -> Option<Instant> {
        let limits = &self.limits;
        let delay = limits.hedge.filter(|_| limits.repeatable && limits.restartable)?;
        let at = after(self.started, delay);
        (self.attempts == 1 && self.probe.is_none() && at < self.until).then_some(at)
    }

    /// Whether a second copy of the attempt under way is sent now. It takes from the budgets what a retry takes. What has
    /// given a sign of life is at work, and a copy would only double that.
    pub(crate) fn race(&mut self, shared: &impl Shared, now: Instant) -> bool {
        let races = self.silent.is_none()
            && self.hedge().is_some_and(|at| at <= now)
            && self.copied.is_none()
            && now < self.until
            && shared.held_until(now).is_none()
            && self.retries < self.limits.execution_retries
            && shared.withdraw_copy()
            && shared.withdraw_retry(now);
        if races {
            self.retries += 1;
            self.copies += 1;
            self.attempts += 1;
            self.copied = Some(now);
        }
        races
    }

    /// One of the two copies under way failed, and the other goes on as the attempt.
    pub(crate) fn lose(&mut self, first: bool, class: Class, shared: &impl Shared, now: Instant) {
        shared.settle(None, sign(class), now);
        if let Some(wait) = asked(class) {
            shared.hold(after(now, wait));
        }
        if let (true, Some(copied)) = (first, self.copied) {
            self.started = copied;
            self.heard = self.heard.max(copied);
        }
    }

    #[inline]
    fn retry(&mut self, class: Class, shared: &impl Shared, now: Instant) -> Action {
        let Some(kind) = class.failure() else { return self.give_up(None) };
        let asked = asked(class);
        if let Some(wait) = asked {
            shared.hold(after(now, wait));
        }
        if class.may_have_run() && !self.limits.repeatable {
            return self.give_up(Some(Withheld::NotRepeatable));
        }
        let retry = self.attempts;
        if !self.limits.restartable || retry > self.limits.max_retries[kind.index()] {
            return self.give_up(None);
        }
        let fraction = jitter::fraction(self.limits.seed, u64::from(retry));
        let backoff = self.limits.backoff.delay(retry, fraction);
        let until = after(now, asked.map_or(backoff, |wait| wait.max(backoff)));
        if until >= self.limits.deadline {
            return self.give_up(Some(Withheld::Deadline));
        }
        if self.retries >= self.limits.execution_retries {
            return self.give_up(Some(Withheld::ExecutionBudget));
        }
        if !shared.withdraw_retry(now) {
            return self.give_up(Some(Withheld::ServiceBudget));
        }
        self.retries += 1;
        self.after = Some(kind);
        self.backing_off = asked.is_none_or(|wait| wait <= backoff).then_some(now);
        if until <= now { self.start(shared, now) } else { Action::Sleep { until } }
    }

    #[inline]
    fn settle(&mut self, sign: Sign, shared: &impl Shared, now: Instant) {
        shared.settle(self.probe.take(), sign, now);
    }

    /// What the caller is told if the attempt that ended last gave no answer in time.
    pub(crate) fn timeout_kind(&self) -> Kind {
        if !self.limits.repeatable {
            Kind::OutcomeUnknown
        } else if self.until >= self.limits.deadline {
            Kind::Deadline { limit: self.limits.deadline - self.limits.began }
        } else {
            Kind::Timeout { limit: self.until.saturating_duration_since(self.heard) }
        }
    }

    /// The end of the last attempt stands; before the first one, the call is refused.
    #[inline]
    fn give_up_or(&self, withheld: Withheld, refusal: Kind) -> Action {
        if self.attempts == 0 { Action::Reject { kind: refusal, withheld: None } } else { self.give_up(Some(withheld)) }
    }

    #[inline]
    fn give_up(&self, withheld: Option<Withheld>) -> Action {
        match self.timed_out {
            Some(kind) => Action::Reject { kind, withheld },
            None => Action::Return { withheld },
        }
    }
}

/// How long the service asked to be left alone.
fn asked(class: Class) -> Option<Duration> {
    match class {
        // One that asks for a year is not believed: nobody would look again until a restart.
        Class::Throttled { retry_after } => retry_after.map(|wait| wait.min(LONGEST_HOLD)),
        _ => None,
    }
}

/// What a class says about the health of the service: a caller's mistake says that it is well.
#[inline]
fn sign(class: Class) -> Sign {
    match class {
        Class::Success | Class::Permanent => Sign::Well,
        Class::Throttled { .. } | Class::Cancelled => Sign::None,
        other => other.failure().map_or(Sign::None, Sign::Ill),
    }
}

#[cfg(test)]
mod tests;
