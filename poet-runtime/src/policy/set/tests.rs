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
        assert_eq!((attempts, action), (1, Action::Return { withheld: Some(Withheld::NotRepeatable) }), "{class:?}");
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
    assert!(matches!(policy.on(Event::Woke, &world, until), Action::Start { hedge: None, .. }), "a retry is not raced");
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
