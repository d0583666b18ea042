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
mod tests {
    use super::*;
    use crate::parameter::Growth;
    use crate::policy::breaker::Breaker;
    use crate::policy::breaker::tests::{AT, ILL};
    use crate::policy::budget::{Answered, Budget};
    use std::cell::{Cell, RefCell};

    struct World {
        breaker: RefCell<Breaker>,
        budget: RefCell<Budget>,
        held: Cell<Option<Instant>>,
        successes: Cell<u64>,
        recovered: Cell<u64>,
        room: Cell<Room>,
    }

    impl World {
        fn new() -> Self {
            Self {
                breaker: RefCell::new(Breaker::new()),
                budget: RefCell::new(Budget::new()),
                held: Cell::new(None),
                successes: Cell::new(0),
                recovered: Cell::new(0),
                room: Cell::new(Room::Taken),
            }
        }
    }

    impl Shared for World {
        fn admit(&self, now: Instant) -> Admission {
            self.breaker.borrow_mut().admit(AT, now)
        }
        fn enter(&self, probe: bool, _: Instant) -> Room {
            if probe { Room::Taken } else { self.room.get() }
        }
        fn settle(&self, probe: Option<Probe>, sign: Sign, now: Instant) {
            self.successes.set(self.successes.get() + u64::from(sign == Sign::Well));
            _ = self.breaker.borrow_mut().record(probe, sign, self.successes.get(), AT, now);
        }
        fn held_until(&self, now: Instant) -> Option<Instant> {
            self.held.get().filter(|until| *until > now)
        }
        fn hold(&self, until: Instant) {
            self.held.set(Some(until));
        }
        fn withdraw_retry(&self, now: Instant) -> bool {
            let answered = Answered { successes: self.successes.get(), recovered: self.recovered.get() };
            self.budget.borrow_mut().withdraw(answered, now)
        }
        fn give_back_retry(&self) {
            self.recovered.set(self.recovered.get() + 1);
        }
        fn earn_copy(&self) {}
        fn withdraw_copy(&self) -> bool {
            true
        }
    }

    fn limits(began: Instant) -> Limits {
        Limits {
            began,
            deadline: began + Duration::from_secs(30),
            refusable: true,
            attempt: Some(Duration::from_secs(10)),
            progress_extends: true,
            max_retries: [2; FailureKind::ALL.len()],
            repeatable: true,
            restartable: true,
            execution_retries: 6,
            backoff: Backoff {
                base: Duration::from_millis(200),
                longest: Duration::from_secs(10),
                growth: Growth::Doubling,
            },
            hedge: None,
            seed: 1,
        }
    }

    /// Plays a call whose attempts end one after the other as told; returns the attempts made and the last action.
    fn play(limits: Limits, world: &World, ends: &[Event]) -> (u8, Action) {
        let mut policy = CallPolicy::new(limits);
        let mut now = limits.began;
        let mut ends = ends.iter();
        let mut action = policy.on(Event::Began, world, now);
        loop {
            action = match action {
                Action::Start { until, .. } => {
                    let end = *ends.next().expect("an end for every attempt");
                    if end == Event::TimedOut {
                        now = until;
                    }
                    policy.on(end, world, now)
                }
                Action::Sleep { until } | Action::StandInLine { until } => {
                    assert!(until < limits.deadline, "a sleep past the deadline");
                    now = until;
                    policy.on(Event::Woke, world, now)
                }
                done => return (policy.attempts(), done),
            };
        }
    }

    fn finished(class: Class) -> Event {
        Event::Finished { class, attributed: true }
    }

    const FAILED: Event = Event::Finished { class: Class::Transient, attributed: true };
    const DONE: Event = Event::Finished { class: Class::Success, attributed: true };
    const RETURN: Action = Action::Return { withheld: None };

    #[test]
    fn a_success_is_returned_at_once() {
        assert_eq!(play(limits(Instant::now()), &World::new(), &[DONE]), (1, RETURN));
    }

    #[test]
    fn transient_failures_are_tried_again_as_often_as_allowed() {
        assert_eq!(play(limits(Instant::now()), &World::new(), &[FAILED, FAILED, DONE]), (3, RETURN));
        assert_eq!(play(limits(Instant::now()), &World::new(), &[FAILED, FAILED, FAILED]), (3, RETURN));
    }

    #[test]
    fn each_kind_of_failure_has_its_own_number_of_retries() {
        let mut limits = limits(Instant::now());
        limits.max_retries[FailureKind::Timeout.index()] = 0;
        assert_eq!(play(limits, &World::new(), &[FAILED, Event::TimedOut]).0, 2);
    }

    #[test]
    fn what_asking_again_cannot_help_is_never_tried_again() {
        assert_eq!(play(limits(Instant::now()), &World::new(), &[finished(Class::Permanent)]), (1, RETURN));
    }

    #[test]
    fn what_may_have_run_and_is_not_repeatable_is_never_started_again() {
        let write = Limits { repeatable: false, ..limits(Instant::now()) };
        for class in [Class::Transient, Class::Network { sent: true }, Class::Invalid, Class::Timeout] {
            let (attempts, action) = play(write, &World::new(), &[finished(class)]);
            assert_eq!(
                (attempts, action),
                (1, Action::Return { withheld: Some(Withheld::NotRepeatable) }),
                "{class:?}"
            );
        }
        assert_eq!(
            play(write, &World::new(), &[Event::TimedOut]),
            (1, Action::Reject { kind: Kind::OutcomeUnknown, withheld: Some(Withheld::NotRepeatable) })
        );
    }

    #[test]
    fn what_was_never_sent_may_be_tried_again_even_if_it_is_not_repeatable() {
        let write = Limits { repeatable: false, ..limits(Instant::now()) };
        let refused = finished(Class::Network { sent: false });
        assert_eq!(play(write, &World::new(), &[refused, refused, DONE]), (3, RETURN));
    }

    #[test]
    fn a_body_that_cannot_be_started_again_has_one_attempt() {
        let once = Limits { restartable: false, ..limits(Instant::now()) };
        assert_eq!(play(once, &World::new(), &[finished(Class::Network { sent: false })]), (1, RETURN));
    }

    #[test]
    fn the_last_attempt_is_announced() {
        let world = World::new();
        let now = Instant::now();
        let mut policy = CallPolicy::new(limits(now));
        assert!(matches!(policy.on(Event::Began, &world, now), Action::Start { last: false, .. }));
        let write = Limits { repeatable: false, max_retries: [0; FailureKind::ALL.len()], ..limits(now) };
        let mut policy = CallPolicy::new(write);
        assert!(matches!(policy.on(Event::Began, &world, now), Action::Start { last: true, .. }));
    }

    #[test]
    fn no_sleep_and_no_attempt_outlives_the_deadline() {
        let now = Instant::now();
        let short = Limits { deadline: now + Duration::from_secs(15), ..limits(now) };
        let (attempts, action) = play(short, &World::new(), &[Event::TimedOut, Event::TimedOut]);
        assert_eq!(attempts, 2);
        let kind = Kind::Deadline { limit: Duration::from_secs(15) };
        assert_eq!(action, Action::Reject { kind, withheld: Some(Withheld::Deadline) });
    }

    #[test]
    fn a_retry_after_beyond_the_deadline_ends_the_call_now() {
        let asked = finished(Class::Throttled { retry_after: Some(Duration::from_secs(60)) });
        let (attempts, action) = play(limits(Instant::now()), &World::new(), &[asked]);
        assert_eq!((attempts, action), (1, Action::Return { withheld: Some(Withheld::Deadline) }));
    }

    #[test]
    fn a_retry_after_holds_back_every_caller_of_the_service() {
        let world = World::new();
        let now = Instant::now();
        let asked = finished(Class::Throttled { retry_after: Some(Duration::from_secs(5)) });
        play(limits(now), &world, &[asked, DONE]);
        let mut other = CallPolicy::new(limits(now));
        assert_eq!(other.on(Event::Began, &world, now), Action::Sleep { until: now + Duration::from_secs(5) });
    }

    /// Fails once at `began`, and is woken when it asked to be, or a second later; what was waited before the retry.
    fn waited(world: &World, first: Class, late: Duration) -> (Duration, Option<Duration>) {
        let began = Instant::now();
        let mut policy = CallPolicy::new(limits(began));
        policy.on(Event::Began, world, began);
        assert_eq!(policy.waited(), None, "nothing is waited for before a first attempt");
        let Action::Sleep { until } = policy.on(finished(first), world, began) else { panic!("no retry") };
        let woke = until + late;
        assert!(matches!(policy.on(Event::Woke, world, woke), Action::Start { .. }));
        (woke - began, policy.waited())
    }

    #[test]
    fn what_was_waited_before_a_retry_is_the_time_that_passed_and_not_the_time_that_was_planned() {
        let (passed, waited) = waited(&World::new(), Class::Transient, Duration::from_secs(1));
        assert_eq!(waited, Some(passed));
    }

    #[test]
    fn a_wait_that_the_service_asked_for_is_none_of_the_backoff() {
        let asked = Class::Throttled { retry_after: Some(Duration::from_secs(5)) };
        assert_eq!(waited(&World::new(), asked, Duration::ZERO).1, None);
        let short = Class::Throttled { retry_after: Some(Duration::ZERO) };
        assert!(waited(&World::new(), short, Duration::ZERO).1.is_some());
        // Nor is one that it asked of another caller meanwhile.
        let (world, now) = (World::new(), Instant::now());
        let mut policy = CallPolicy::new(limits(now));
        policy.on(Event::Began, &world, now);
        let Action::Sleep { until } = policy.on(FAILED, &world, now) else { panic!("no retry") };
        world.hold(until + Duration::from_secs(3));
        let Action::Sleep { until } = policy.on(Event::Woke, &world, until) else { panic!("not held") };
        policy.on(Event::Woke, &world, until);
        assert_eq!((policy.attempts(), policy.waited()), (2, None));
    }

    #[test]
    fn a_circuit_that_opens_in_the_middle_leaves_the_last_answer_standing() {
        let world = World::new();
        let mut limits = limits(Instant::now());
        limits.max_retries = [9; FailureKind::ALL.len()];
        let (attempts, action) = play(limits, &world, &[FAILED; 5]);
        assert_eq!((attempts, action), (5, Action::Return { withheld: Some(Withheld::CircuitOpen) }));
        let (attempts, action) = play(Limits { began: limits.began, ..limits }, &world, &[]);
        assert_eq!(attempts, 0);
        assert!(matches!(action, Action::Reject { kind: Kind::CircuitOpen { retry_in: Some(_) }, .. }));
    }

    #[test]
    fn without_a_place_nothing_is_started_and_the_circuit_is_asked_again_once_there_is_one() {
        let (world, now) = (World::new(), Instant::now());
        let mut policy = CallPolicy::new(limits(now));
        world.room.set(Room::InLine);
        let in_line = Action::StandInLine { until: now + Duration::from_secs(30) };
        assert_eq!(policy.on(Event::Began, &world, now), in_line);
        assert_eq!(policy.attempts(), 0);
        (0..5).for_each(|_| world.settle(None, ILL, now));
        world.room.set(Room::Taken);
        let action = policy.on(Event::Woke, &world, now + Duration::from_secs(1));
        assert!(matches!(action, Action::Reject { kind: Kind::CircuitOpen { .. }, .. }), "{action:?}");
    }

    #[test]
    fn where_no_place_will_be_free_in_time_a_first_attempt_is_refused_and_a_retry_withheld() {
        let (world, now) = (World::new(), Instant::now());
        world.room.set(Room::Full { waiting: 9 });
        let refused = Action::Reject { kind: Kind::Crowded { waiting: 9 }, withheld: None };
        assert_eq!(play(limits(now), &world, &[]), (0, refused));
        world.room.set(Room::Taken);
        let mut policy = CallPolicy::new(limits(now));
        policy.on(Event::Began, &world, now);
        let Action::Sleep { until } = policy.on(FAILED, &world, now) else { panic!("no retry") };
        world.room.set(Room::Full { waiting: 9 });
        assert_eq!(policy.on(Event::Woke, &world, until), Action::Return { withheld: Some(Withheld::Deadline) });
    }

    #[test]
    fn a_probe_is_made_whether_there_is_a_place_or_not() {
        let (world, now) = (World::new(), Instant::now());
        (0..5).for_each(|_| world.settle(None, ILL, now));
        world.room.set(Room::Full { waiting: 9 });
        let later = now + Duration::from_secs(61);
        let mut policy = CallPolicy::new(limits(later));
        assert!(matches!(policy.on(Event::Began, &world, later), Action::Start { .. }) && policy.is_probe());
    }

    #[test]
    fn an_execution_has_a_bounded_number_of_retries() {
        let tight = Limits { execution_retries: 1, ..limits(Instant::now()) };
        let (attempts, action) = play(tight, &World::new(), &[FAILED, FAILED]);
        assert_eq!((attempts, action), (2, Action::Return { withheld: Some(Withheld::ExecutionBudget) }));
    }

    #[test]
    fn the_failure_of_a_call_inside_does_not_open_the_circuit_around_it() {
        let world = World::new();
        for _ in 0..50 {
            let inner = Event::Finished { class: Class::Transient, attributed: false };
            let once = Limits { restartable: false, ..limits(Instant::now()) };
            assert_eq!(play(once, &world, &[inner]).0, 1);
        }
    }

    #[test]
    fn a_success_in_spite_of_a_failure_inside_is_a_success() {
        let world = World::new();
        let spite = Event::Finished { class: Class::Success, attributed: false };
        for _ in 0..20 {
            let once = Limits { restartable: false, ..limits(Instant::now()) };
            assert_eq!(play(once, &world, &[FAILED]).0, 1, "never five failures in a row");
            assert_eq!(play(once, &world, &[spite]).0, 1);
        }
    }

    #[test]
    fn a_second_copy_is_sent_only_of_a_first_attempt_of_what_may_be_repeated_and_within_the_budgets() {
        let now = Instant::now();
        let due = now + Duration::from_secs(1);
        let hedged = Limits { hedge: Some(Duration::from_secs(1)), ..limits(now) };
        let races = |limits: Limits, at: Instant, prepare: fn(&World)| {
            let (world, mut policy) = (World::new(), CallPolicy::new(limits));
            let Action::Start { last, hedge, .. } = policy.on(Event::Began, &world, now) else { panic!("no attempt") };
            assert!(hedge.is_none() || !last, "another may follow");
            prepare(&world);
            let races = policy.race(&world, at);
            assert!(!policy.race(&world, at), "there is no third copy");
            (races, policy.attempts())
        };
        assert_eq!(races(hedged, due, |_| {}), (true, 2));
        assert_eq!(races(limits(now), due, |_| {}), (false, 1), "it is off");
        assert_eq!(races(hedged, due - Duration::from_millis(1), |_| {}), (false, 1), "it is not due");
        assert_eq!(races(Limits { repeatable: false, ..hedged }, due, |_| {}), (false, 1));
        assert_eq!(races(Limits { restartable: false, ..hedged }, due, |_| {}), (false, 1));
        assert_eq!(races(Limits { execution_retries: 0, ..hedged }, due, |_| {}), (false, 1));
        let held = |world: &World| world.hold(Instant::now() + Duration::from_secs(60));
        assert_eq!(races(hedged, due, held), (false, 1), "the service asked to be left alone");
        let spent = |world: &World| while world.withdraw_retry(Instant::now()) {};
        let short = Limits { hedge: Some(Duration::from_millis(1)), ..hedged };
        assert_eq!(races(short, now + Duration::from_millis(1), spent), (false, 1), "the budget is used up");
        let world = World::new();
        let mut policy = CallPolicy::new(hedged);
        policy.on(Event::Began, &world, now);
        let Action::Sleep { until } = policy.on(FAILED, &world, now) else { panic!("no retry") };
        assert!(
            matches!(policy.on(Event::Woke, &world, until), Action::Start { hedge: None, .. }),
            "a retry is not raced"
        );
        (0..5).for_each(|_| world.settle(None, ILL, now));
        let later = now + Duration::from_secs(61);
        let mut probe = CallPolicy::new(Limits { began: later, deadline: later + Duration::from_secs(30), ..hedged });
        assert!(matches!(probe.on(Event::Began, &world, later), Action::Start { hedge: None, .. }), "nor is a probe");
        assert!(probe.is_probe());
    }

    fn ends() -> impl proptest::strategy::Strategy<Value = Vec<Event>> {
        use proptest::prelude::*;
        let event = prop_oneof![
            Just(DONE),
            Just(Event::TimedOut),
            prop_oneof![
                Just(Class::Transient),
                Just(Class::Permanent),
                Just(Class::Invalid),
                Just(Class::Network { sent: true }),
                Just(Class::Network { sent: false }),
                (0_u64..100_000).prop_map(|ms| Class::Throttled { retry_after: Some(Duration::from_millis(ms)) }),
            ]
            .prop_map(finished),
        ];
        proptest::collection::vec(event, 12)
    }

    proptest::proptest! {
        #[test]
        fn whatever_happens_a_write_is_started_at_most_once_after_it_may_have_run(ends in ends()) {
            let write = Limits { repeatable: false, max_retries: [10; 6], ..limits(Instant::now()) };
            let (attempts, _) = play(write, &World::new(), &ends);
            let may_have_run = |end: &Event| match end {
                Event::Finished { class, .. } => class.may_have_run(),
                _ => true,
            };
            let started: Vec<_> = ends.iter().take(usize::from(attempts)).collect();
            proptest::prop_assert!(started.iter().rev().skip(1).all(|end| !may_have_run(end)));
        }
    }
}
