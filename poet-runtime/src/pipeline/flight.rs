//! One call under way: what it was admitted with, what it has done, and what is written down when it ends.

mod account;

use super::perceive::{Written, perceive};
use crate::audit::{Trail, What, Who};
use crate::clock;
use crate::context::{self, Around, Called, Context};
use crate::error::{Error, Kind};
use crate::evidence::{load_bin, wait_bin};
use crate::gate::{Entry, Grant, Place};
use crate::outcome::{Arm, Attempt, Class, Ending, Finished, Hedge, Record, Shown, Turn, Withheld};
use crate::parameter::HEDGE_DELAY;
use crate::policy::breaker::{Admission, MEAN, Probe, Sign};
use crate::policy::limit::Ask;
use crate::policy::{Action, CallPolicy, Event, Room, Shared, jitter};
use crate::recorder::Needed;
use crate::runtime::Inner;
use crate::site::{Declaration, Priority};
use crate::store::TargetKey;
use crate::target::Target;
use std::cell::RefCell;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What a fallback that is asked at the deadline has left for what it has at hand.
pub(super) const MOMENT: Duration = Duration::from_millis(25);

/// The [`View`] of a flight. A macro, because it borrows a part of what is borrowed to it.
macro_rules! view {
    ($flight:expr) => {
        View {
            runtime: $flight.runtime,
            execution: $flight.execution,
            target: $flight.target,
            bounded: $flight.bounded,
            places: $flight.places,
            priority: $flight.priority,
            deadline: $flight.policy.limits.deadline,
            seat: &$flight.seat,
        }
    };
}

/// A call from its admission to its record. Dropped without an ending, it is noted as cancelled.
#[derive(Debug)]
pub(super) struct Flight<'a> {
    runtime: &'a Inner,
    target: &'a Target,
    function: Option<&'static Declaration>,
    policy: CallPolicy,
    /// Whether it may be refused and interrupted, or is only watched.
    bounded: bool,
    execution: u64,
    revision: u64,
    arm: Arm,
    /// Why no further attempt was made, where one was due.
    withheld: Option<Withheld>,
    /// The attempt that ended last and is not recorded yet.
    ended: Option<Attempt>,
    /// Whether an attempt is under way.
    under_way: bool,
    /// Attempts that may be under way at once, where there is such a limit.
    places: Option<u32>,
    priority: Priority,
    seat: RefCell<Seat<'a>>,
    /// How many were under way when the last attempt began, as a bin of [`load_bin`].
    load: u8,
    /// The place of a second copy of the attempt under way.
    second: Option<Place<'a>>,
    /// What the last attempt had to do with one.
    hedge: Hedge,
    now: Instant,
    finished: bool,
    /// What is written down of it, where its audit is on.
    trail: Option<Trail>,
    /// What the call shows beside how it went.
    pub(super) shown: Option<Shown>,
    /// What is handed to the calls inside this one.
    pub(super) context: Option<Context>,
    /// Whether it is itself made inside of something.
    surrounded: bool,
}

impl<'a> Flight<'a> {
    /// A call that is about to start. Everything that holds for it is found here and written once, in its place.
    #[inline(never)]
    pub(super) fn take_off(
        runtime: &'a Inner,
        target: &'a Target,
        function: Option<&'static Declaration>,
        written: Written,
        bounded: bool,
    ) -> Self {
        let execution = runtime.next_execution();
        let perceived = perceive(runtime, target, written, execution, bounded);
        // Of a call of a service its door tells.
        if perceived.surrounded && function.is_some() {
            context::tell_begun(runtime.number, target.id);
        }
        let mut policy = CallPolicy::new(perceived.limits);
        policy.limits.seed ^= execution;
        Self {
            runtime,
            target,
            function,
            now: perceived.now,
            bounded,
            execution,
            revision: perceived.revision,
            arm: perceived.arm,
            withheld: None,
            ended: None,
            under_way: false,
            places: perceived.places,
            priority: perceived.priority,
            seat: RefCell::new(Seat::None),
            load: 0,
            second: None,
            hedge: Hedge::None,
            finished: false,
            trail: None,
            shown: None,
            // A service call has no calls inside it.
            context: written
                .function
                .then(|| perceived.context(function.map(|site| Around { site, execution, runtime: runtime.number }))),
            surrounded: perceived.surrounded,
            policy,
        }
    }

    /// Whether the attempt that just ended speaks for itself, and not for a call inside it.
    pub(super) fn is_attributed(&mut self) -> bool {
        !self.context.as_mut().is_some_and(|context| std::mem::take(&mut context.failed_inside))
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.bounded
    }

    pub(super) fn execution(&self) -> u64 {
        self.execution
    }

    pub(super) fn attempts(&self) -> u8 {
        self.policy.attempts()
    }

    /// Retries made after a failure.
    pub(super) fn retries(&self) -> u8 {
        self.policy.retries() - self.policy.copies()
    }

    pub(super) fn key(&self) -> &'a TargetKey {
        &self.target.key
    }

    pub(super) fn began(&self) -> Instant {
        self.policy.limits.began
    }

    /// The moment it was last looked at.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// Looks at the clock, after waiting for something else than an attempt.
    pub(super) fn look_up(&mut self) {
        self.now = self.runtime.clock.now();
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now.saturating_duration_since(self.policy.limits.began)
    }

    /// Says where and after what an error came about.
    pub(super) fn place(&self, error: Error) -> Error {
        error.at(&self.target.key.service, &self.target.key.operation).after(self.attempts(), self.elapsed())
    }

    /// What the caller is told if an attempt was started and there is nothing to wait for its answer with.
    pub(super) fn untimed(&self) -> Error {
        let error = Error::configuration("asynchronous calls need a tokio runtime, for their deadlines");
        let repeatable = self.policy.limits.repeatable;
        self.place(if repeatable { error } else { Error::new(Kind::OutcomeUnknown).with_source(Some(error.into())) })
    }

    /// What the caller is told if the last attempt gave no answer in time.
    pub(super) fn timeout_kind(&self) -> Kind {
        self.policy.timeout_kind()
    }

    pub(super) fn timeout_in_words(&self) -> String {
        format!("no answer within {:?}", self.now.saturating_duration_since(self.policy.started()))
    }

    /// When a fallback has to be done. One that is asked at the deadline has a moment left for what it has at hand.
    pub(super) fn fallback_until(&self) -> Option<Instant> {
        self.bounded.then(|| self.policy.limits.deadline.max(self.now + MOMENT))
    }

    pub(super) fn sleep_blocking(&self, until: Instant) {
        clock::sleep_blocking(until.saturating_duration_since(self.runtime.clock.now()));
    }

    /// Notes what happened and asks the policies what to do.
    pub(super) fn on(&mut self, event: Event) -> Action {
        // The call took off a moment ago; the clock need not be read again for it.
        if event != Event::Began {
            self.now = self.runtime.clock.now();
        }
        let ended = match event {
            Event::Finished { class, .. } => Some(class),
            Event::TimedOut => Some(Class::Timeout),
            Event::Began | Event::Woke => None,
        };
        if let Some(class) = ended {
            self.note(class);
            if let Some(context) = self.context.as_mut().filter(|context| !context.called.is_empty()) {
                match event {
                    Event::TimedOut => context.called.cut_off(),
                    _ => context.called.let_go(),
                }
            }
        }
        let before = self.policy.retries();
        if ended.is_some_and(Class::is_retryable) {
            self.bound_retries();
        }
        let action = self.policy.on(event, &view!(self), self.now);
        self.charge(before);
        if let Some(trail) = &self.trail {
            self.account(trail, ended, &action);
        }
        match action {
            Action::Start { .. } => {
                if let Some(attempt) = self.ended.take() {
                    self.record(Some(attempt), None);
                }
                self.under_way = true;
                self.hedge = Hedge::None;
                if let Seat::Taken(place, _) = self.seat.get_mut() {
                    self.load = load_bin(place.under_way());
                }
            }
            Action::Return { withheld } | Action::Reject { withheld, .. } => {
                self.withheld = withheld;
                self.get_up();
            }
            Action::Sleep { .. } => self.get_up(),
            Action::StandInLine { .. } => {}
        }
        action
    }

    /// Takes a place in line out, to wait for the turn.
    pub(super) fn turn(&mut self) -> Option<oneshot::Receiver<Grant>> {
        match std::mem::take(self.seat.get_mut()) {
            Seat::InLine(turn) => Some(turn),
            Seat::None | Seat::Taken(..) => None,
        }
    }

    /// Takes the place that was handed over.
    pub(super) fn sit_down(&mut self, grant: Grant) {
        *self.seat.get_mut() = Seat::Taken(self.target.gate.granted(grant), self.runtime.clock.now());
    }

    /// Takes what was drawn since from the budget of the execution.
    fn charge(&mut self, before: u8) {
        if self.policy.retries() > before {
            match &mut self.context {
                Some(own) => own.charge(1),
                None => context::tell_surrounding(1, false, Vec::new()),
            }
        }
    }

    /// What is under way gave a sign of life. If that is an attempt whose time begins anew with it: when it is given up
    /// now.
    pub(super) fn hear(&mut self) -> Option<Instant> {
        if !self.under_way {
            return None;
        }
        self.look_up();
        self.policy.hear(self.now).then(|| self.policy.until())
    }

    pub(super) fn deadline(&self) -> Instant {
        self.policy.limits.deadline
    }

    /// When the attempt under way is given up.
    pub(super) fn until(&self) -> Instant {
        self.policy.until()
    }

    /// Whether the attempt under way has given a sign of life.
    pub(super) fn is_alive(&self) -> bool {
        self.policy.silent(self.now).is_some()
    }

    /// Whether a second copy of the attempt under way is sent now: where there is a place for it that nobody waits for,
    /// the circuit is closed, and the budgets allow it.
    pub(super) fn race(&mut self) -> bool {
        self.look_up();
        let is_batch = matches!(self.shown, Some(Shown::Batch { .. }));
        let Some(limit) = self.places.filter(|_| !is_batch) else { return false };
        if !self.target.is_closed() {
            return false;
        }
        let Some(place) = self.target.gate.spare(limit) else { return false };
        let before = self.policy.retries();
        self.bound_retries();
        if !self.policy.race(&view!(self), self.now) {
            return false;
        }
        self.charge(before);
        self.second = Some(place);
        self.hedge = Hedge::Lost;
        if let Some(trail) = &self.trail {
            trail.note(self.now, What::Raced, self.decider(trail, &HEDGE_DELAY, None));
        }
        true
    }

    /// The second copy answered first.
    pub(super) fn win(&mut self) {
        self.hedge = Hedge::Won;
    }

    /// One of the two copies failed, and the other goes on alone.
    pub(super) fn lose(&mut self, first: bool, class: Class) {
        self.look_up();
        let began = if first { self.policy.started() } else { self.policy.copied().unwrap_or(self.now) };
        let elapsed = self.now.saturating_duration_since(began);
        let attempt = Attempt { elapsed, hedge: Hedge::None, ..self.attempt(class) };
        self.record(Some(attempt), None);
        if let Some(trail) = &self.trail {
            self.account_attempt(trail, &attempt);
        }
        self.policy.lose(first, class, &view!(self), self.now);
        self.second = None;
        if first {
            self.hedge = Hedge::None;
        }
    }

    /// Gives the places back, if it has any.
    fn get_up(&mut self) {
        self.second = None;
        if let Seat::Taken(place, since) = std::mem::take(self.seat.get_mut()) {
            place.give_back(self.now.saturating_duration_since(since));
        }
    }

    /// Leaves the policies no more retries than are left to the execution now.
    fn bound_retries(&mut self) {
        let most = self.policy.retries().saturating_add(self.retries_left());
        let limit = &mut self.policy.limits.execution_retries;
        *limit = (*limit).min(most);
    }

    /// Retries left to the execution now, after what other calls inside it made of them meanwhile.
    fn retries_left(&self) -> u8 {
        let own = self.context.as_ref().map_or(u8::MAX, |own| own.retries_left);
        context::surrounding(|outer| outer.map_or(own, |outer| outer.retries_left.min(own)))
    }

    fn note(&mut self, class: Class) {
        self.under_way = false;
        self.ended = Some(self.attempt(class));
        self.get_up();
    }

    fn attempt(&self, class: Class) -> Attempt {
        Attempt {
            ordinal: self.policy.attempts(),
            class,
            elapsed: self.now.saturating_duration_since(self.policy.started()),
            after: self.policy.after(),
            // What fails while the circuit is open already was started before it opened, and belongs to the outage.
            probe: self.policy.is_probe() || (class.failure().is_some() && !self.target.is_closed()),
            at_deadline: class == Class::Timeout && self.policy.is_at_deadline(self.now),
            waited: self.policy.waited().map(wait_bin),
            load: self.load,
            hedge: self.hedge,
            silent: self.policy.silent(self.now),
        }
    }

    /// A call of a function has ended: notes what the calls inside it did to it, and tells the function around it how it
    /// went. One that its caller dropped says nothing.
    #[inline]
    pub(super) fn tell_ended(&mut self, failed: bool) {
        if self.surrounded {
            context::tell_ended(self.runtime.number, self.target.id, failed);
        }
        if let Some(context) = self.context.as_mut().filter(|context| !context.called.is_empty()) {
            let called = std::mem::take(&mut context.called);
            self.record_needs(&called, failed);
        }
    }

    #[inline(never)]
    fn record_needs(&self, called: &Called, failed: bool) {
        let operations = called.iter().map(Some).chain(called.is_more().then_some(None));
        for operation in operations {
            let needed = Needed { function: self.target.id, operation, failed, ended: self.now };
            self.runtime.recorder.record_need(&needed);
        }
    }

    /// Writes down a call that waited for something else than an attempt since it was last looked at.
    pub(super) fn finish_after_waiting(&mut self, ending: Ending) {
        self.look_up();
        self.finish(ending);
    }

    /// Writes down the last attempt and no end: that is written down elsewhere.
    pub(super) fn leave(mut self) {
        if let Some(attempt) = self.ended.take() {
            self.record(Some(attempt), None);
        }
        self.finished = true;
    }

    /// Writes nothing down: the call goes on as another flight.
    pub(super) fn hand_over(mut self) {
        self.finished = true;
    }

    /// Writes the call down.
    pub(super) fn finish(&mut self, ending: Ending) {
        self.finished = true;
        if let Some(trail) = &self.trail
            && ending == Ending::Cancelled
        {
            trail.woke(self.now);
            trail.note(self.now, What::Dropped { under_way: self.under_way }, Who::Caller);
        }
        if self.under_way {
            self.ended = Some(self.attempt(Class::Cancelled));
            self.policy.abandon(&view!(self), self.now);
        }
        self.get_up();
        let limits = &self.policy.limits;
        let call = Finished {
            ending,
            attempts: self.policy.attempts(),
            elapsed: self.elapsed(),
            timeout: limits.attempt.unwrap_or_else(|| limits.deadline.saturating_duration_since(limits.began)),
            retries: limits.max_retries.iter().copied().max().unwrap_or(0),
            revision: self.revision,
            withheld: self.withheld,
            shown: self.shown,
            arm: self.arm,
        };
        let attempt = self.ended.take();
        self.record(attempt, Some(call));
    }

    fn record(&self, attempt: Option<Attempt>, call: Option<Finished>) {
        self.runtime.recorder.record(Record {
            target: self.target.id,
            function: self.function,
            execution: self.execution,
            ended: self.now,
            attempt,
            call,
            turn: None,
        });
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if self.surrounded && self.function.is_some() {
            context::tell_dropped(self.runtime.number, self.target.id);
        }
        self.look_up();
        self.finish(Ending::Cancelled);
    }
}

/// Where a call stands among those that may be under way at once.
#[derive(Debug, Default)]
enum Seat<'a> {
    #[default]
    None,
    InLine(oneshot::Receiver<Grant>),
    /// It has a place, since then.
    Taken(Place<'a>, Instant),
}

/// The shared state of a target as a call sees it: one that is only watched is never refused and tells nothing.
struct View<'v, 'a> {
    runtime: &'a Inner,
    execution: u64,
    target: &'a Target,
    bounded: bool,
    places: Option<u32>,
    priority: Priority,
    deadline: Instant,
    seat: &'v RefCell<Seat<'a>>,
}

impl View<'_, '_> {
    /// Writes down what the circuit did.
    #[cold]
    fn tell(&self, turn: Turn, now: Instant) {
        self.runtime.recorder.record(Record { turn: Some(turn), ..Record::new(self.target.id, self.execution, now) });
    }
}

impl Shared for View<'_, '_> {
    fn admit(&self, now: Instant) -> Admission {
        if self.bounded { self.target.admit(now) } else { Admission::Pass }
    }

    #[inline]
    fn enter(&self, probe: bool, now: Instant) -> Room {
        let Some(limit) = self.places else { return Room::Taken };
        let mut seat = self.seat.borrow_mut();
        if matches!(*seat, Seat::Taken(..)) {
            return Room::Taken;
        }
        let gate = &self.target.gate;
        let entry = if probe {
            Entry::In(gate.enter_anyway())
        } else {
            gate.enter(&Ask { limit, priority: self.priority, deadline: self.deadline }, now)
        };
        match entry {
            Entry::In(under_way) => {
                *seat = Seat::Taken(gate.place(under_way), now);
                Room::Taken
            }
            Entry::Wait(turn) => {
                *seat = Seat::InLine(turn);
                Room::InLine
            }
            Entry::Full(waiting) => Room::Full { waiting },
        }
    }

    fn settle(&self, probe: Option<Probe>, sign: Sign, now: Instant) {
        if !self.bounded {
            return;
        }
        // Only a probe that fails is followed by a wait that is drawn.
        let draw = probe.map_or(MEAN, |_| jitter::fraction(self.runtime.seed ^ self.execution, jitter::PROBE));
        if let Some(turn) = self.target.settle(probe, sign, draw, now) {
            self.tell(turn, now);
        }
    }

    fn held_until(&self, now: Instant) -> Option<Instant> {
        if self.bounded { self.target.held_until(now) } else { None }
    }

    fn hold(&self, until: Instant) {
        if self.bounded {
            self.target.hold(until);
        }
    }

    fn withdraw_retry(&self, now: Instant) -> bool {
        self.target.withdraw_retry(now)
    }

    fn give_back_retry(&self) {
        self.target.give_back_retry();
    }

    fn earn_copy(&self) {
        self.target.earn_copy();
    }

    fn withdraw_copy(&self) -> bool {
        self.target.withdraw_copy()
    }
}
