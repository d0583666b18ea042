use super::*;
use crate::{Condition, Priority};
use proptest::prelude::*;
use std::collections::BTreeSet;

const FAST: Course = Course { max_parallel: 4, fail_fast: true };
const ON: Course = Course { max_parallel: 4, fail_fast: false };

fn node(at: usize, after: &[(usize, Hold)]) -> Node {
    let rank = (Reverse(Priority::Normal), Condition::Unknown, at);
    Node { rank, optional: false, undo: Undoable::Never, after: after.to_vec() }
}

fn undoable(at: usize, after: &[(usize, Hold)], undo: Undoable) -> Node {
    Node { undo, ..node(at, after) }
}

/// Everything that can be done without anything ending.
fn acts(schedule: &mut Schedule) -> Vec<Act> {
    let mut acts = Vec::new();
    while let Some(act) = schedule.next() {
        acts.push(act);
        if act == Act::End {
            break;
        }
    }
    acts
}

#[test]
fn what_matters_most_starts_first_then_what_does_best_then_what_was_declared_first() {
    let ranked = |at, priority, condition| Node { rank: (Reverse(priority), condition, at), ..node(at, &[]) };
    let nodes = [
        ranked(0, Priority::Normal, Condition::Degraded),
        ranked(1, Priority::Low, Condition::Healthy),
        ranked(2, Priority::Normal, Condition::Healthy),
        ranked(3, Priority::Normal, Condition::Healthy),
        ranked(4, Priority::High, Condition::Down),
    ];
    let mut schedule = Schedule::new(&nodes, Course { max_parallel: 9, fail_fast: true });
    let started = [4, 2, 3, 0, 1].map(Act::Start);
    assert_eq!(acts(&mut schedule), started);
}

#[test]
fn no_more_run_at_once_than_may() {
    let nodes: Vec<_> = (0..5).map(|at| node(at, &[])).collect();
    let mut schedule = Schedule::new(&nodes, Course { max_parallel: 2, fail_fast: true });
    assert_eq!(acts(&mut schedule), [Act::Start(0), Act::Start(1)]);
    schedule.finished(1, End::Done);
    assert_eq!(acts(&mut schedule), [Act::Start(2)]);
}

#[test]
fn a_skipped_step_lets_on_what_only_comes_after_it_and_takes_along_what_needs_its_answer() {
    let nodes = [node(0, &[]), node(1, &[(0, Hold::Order)]), node(2, &[(0, Hold::Data)]), node(3, &[(2, Hold::Data)])];
    let mut schedule = Schedule::new(&nodes, FAST);
    assert_eq!(acts(&mut schedule), [Act::Start(0)]);
    schedule.finished(0, End::Skipped);
    assert_eq!(acts(&mut schedule), [Act::Start(1)]);
    schedule.finished(1, End::Done);
    assert_eq!(acts(&mut schedule), [Act::End]);
    assert_eq!([2, 3].map(|step| schedule.ended(step)), [Some(End::Skipped); 2]);
    assert!(!schedule.has_failed());
}

#[test]
fn what_was_put_off_holds_back_what_comes_after_it_and_fails_nothing() {
    let nodes = [node(0, &[]), node(1, &[(0, Hold::Order)]), node(2, &[])];
    let mut schedule = Schedule::new(&nodes, FAST);
    acts(&mut schedule);
    schedule.finished(0, End::Pending);
    schedule.finished(2, End::Done);
    assert_eq!(acts(&mut schedule), [Act::End]);
    assert_eq!(schedule.ended(1), Some(End::NotStarted));
    assert!(!schedule.has_failed());
}

#[test]
fn after_a_failure_nothing_new_starts_unless_the_plan_is_to_keep_going() {
    let failed = End::Failed { perhaps_ran: false };
    for (course, goes_on) in [(FAST, false), (ON, true)] {
        let nodes = [node(0, &[]), node(1, &[]), node(2, &[(1, Hold::Order)]), node(3, &[(0, Hold::Order)])];
        let mut schedule = Schedule::new(&nodes, course);
        acts(&mut schedule);
        schedule.finished(0, failed);
        assert_eq!(acts(&mut schedule), [], "what runs ends by itself");
        schedule.finished(1, End::Done);
        let expected = if goes_on { Act::Start(2) } else { Act::End };
        assert_eq!(acts(&mut schedule), [expected]);
        assert!(schedule.has_failed());
    }
}

#[test]
fn what_was_done_is_undone_newest_first_one_at_a_time() {
    let nodes = [
        undoable(0, &[], Undoable::IfDone),
        undoable(1, &[], Undoable::IfDone),
        node(2, &[(0, Hold::Order), (1, Hold::Order)]),
    ];
    let mut schedule = Schedule::new(&nodes, FAST);
    acts(&mut schedule);
    schedule.finished(1, End::Done);
    schedule.finished(0, End::Done);
    assert_eq!(acts(&mut schedule), [Act::Start(2)]);
    schedule.finished(2, End::Failed { perhaps_ran: false });
    assert_eq!(acts(&mut schedule), [Act::Undo(0)]);
    schedule.undone(0, Undoing::Failed);
    assert_eq!(acts(&mut schedule), [Act::Undo(1)]);
    schedule.undone(1, Undoing::Done);
    assert_eq!(acts(&mut schedule), [Act::End]);
}

#[test]
fn what_perhaps_ran_is_undone_only_by_what_may_undo_nothing() {
    for (undo, expected) in [(Undoable::IfDone, Act::End), (Undoable::EvenIfUnknown, Act::Undo(0))] {
        for end in [End::Unknown, End::Failed { perhaps_ran: true }] {
            let mut schedule = Schedule::new(&[undoable(0, &[], undo)], FAST);
            acts(&mut schedule);
            schedule.finished(0, end);
            assert_eq!(acts(&mut schedule), [expected]);
        }
    }
}

/// A plan, and what its steps are like.
#[derive(Clone, Debug)]
struct World {
    nodes: Vec<Node>,
    repeatable: Vec<bool>,
    course: Course,
}

fn world() -> impl Strategy<Value = World> {
    let step = (any::<u64>(), any::<bool>(), 0..4_u8, 0..3_u8, 0..4_usize);
    let course = (1..5_usize, any::<bool>());
    (prop::collection::vec(step, 1..12), course).prop_map(|(steps, (max_parallel, fail_fast))| {
        let mut world = World { nodes: Vec::new(), repeatable: Vec::new(), course: Course { max_parallel, fail_fast } };
        for (at, (edges, repeatable, optional, undo, priority)) in steps.into_iter().enumerate() {
            // Two bits of the number say how a step depends on each step before it.
            let hold = |before: usize| match edges >> (2 * before) & 3 {
                0 => Some((before, Hold::Order)),
                1 => Some((before, Hold::Data)),
                _ => None,
            };
            world.nodes.push(Node {
                rank: (Reverse(Priority::ALL[priority]), Condition::Unknown, at),
                optional: optional == 0,
                undo: [Undoable::Never, Undoable::IfDone, Undoable::EvenIfUnknown][usize::from(undo)],
                after: (0..at).filter_map(hold).collect(),
            });
            world.repeatable.push(repeatable);
        }
        world
    })
}

/// What is on disk: it outlives a crash.
#[derive(Default)]
struct Disk {
    started: BTreeSet<usize>,
    ended: Vec<(usize, End)>,
    undo_started: BTreeSet<usize>,
    undone: Vec<(usize, Undoing)>,
}

/// What truly happened outside, whatever the plan knows.
struct Truth {
    starts: Vec<u32>,
    executed: Vec<bool>,
    undos: Vec<u32>,
}

fn recover(world: &World, disk: &Disk) -> Schedule {
    let mut schedule = Schedule::new(&world.nodes, world.course);
    let mut ends = disk.ended.clone();
    let known: BTreeSet<_> = ends.iter().map(|(step, _)| *step).collect();
    ends.extend(disk.started.difference(&known).map(|step| (*step, End::Unknown)));
    schedule.recovered(&ends);
    for &(step, how) in &disk.undone {
        schedule.undone(step, how);
    }
    for &step in &disk.undo_started {
        if disk.undone.iter().all(|(undone, _)| *undone != step) {
            schedule.undone(step, Undoing::Unknown);
        }
    }
    schedule
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any interleaving of completions, failures and crashes.
    #[test]
    fn no_step_that_may_not_be_repeated_runs_twice_and_the_account_is_true(
        world in world(),
        chances in prop::collection::vec(any::<u16>(), 400),
    ) {
        let mut chances = chances.into_iter().cycle();
        let mut chance = move |of: u16| chances.next().expect("it is endless") % of;
        let n = world.nodes.len();
        let mut truth = Truth { starts: vec![0; n], executed: vec![false; n], undos: vec![0; n] };
        let mut disk = Disk::default();
        let mut schedule = recover(&world, &disk);
        let (mut running, mut undoing) = (Vec::new(), None);
        let (mut crashes, mut turns) = (0, 0);
        loop {
            turns += 1;
            prop_assert!(turns < 10_000, "a plan ends");
            if crashes < 5 && chance(8) == 0 {
                crashes += 1;
                // What was under way may have been executed and nobody was told.
                for step in running.drain(..) {
                    truth.executed[step] |= chance(2) == 0;
                }
                undoing = None;
                schedule = recover(&world, &disk);
                continue;
            }
            match schedule.next() {
                Some(Act::Start(step)) => {
                    for &(before, hold) in &world.nodes[step].after {
                        let well = match schedule.ended(before) {
                            Some(End::Done) => true,
                            Some(End::Skipped) => hold == Hold::Order,
                            Some(End::Failed { .. } | End::Unknown) => {
                                hold == Hold::Order && world.nodes[before].optional
                            }
                            _ => false,
                        };
                        prop_assert!(well, "step {} started before {} had ended well", step, before);
                    }
                    if !world.repeatable[step] {
                        prop_assert!(disk.started.insert(step), "step {} is started twice", step);
                        if chance(10) == 0 {
                            // The process ends after the word and before the deed.
                            crashes += 1;
                            running.clear();
                            undoing = None;
                            schedule = recover(&world, &disk);
                            continue;
                        }
                    }
                    truth.starts[step] += 1;
                    running.push(step);
                    prop_assert!(running.len() <= world.course.max_parallel);
                }
                Some(Act::Undo(step)) => {
                    prop_assert!(running.is_empty(), "nothing runs while something is undone");
                    prop_assert!(disk.undo_started.insert(step), "step {} is undone twice", step);
                    truth.undos[step] += 1;
                    undoing = Some(step);
                }
                Some(Act::End) => break,
                None => {
                    if let Some(step) = undoing.take() {
                        let how = if chance(4) == 0 { Undoing::Failed } else { Undoing::Done };
                        disk.undone.push((step, how));
                        schedule.undone(step, how);
                        continue;
                    }
                    prop_assert!(!running.is_empty(), "who waits, waits for something");
                    let step = running.swap_remove(usize::from(chance(97)) % running.len());
                    let (end, executed) = match chance(9) {
                        0 => (End::Failed { perhaps_ran: false }, false),
                        1 => (End::Failed { perhaps_ran: true }, chance(2) == 0),
                        2 => (End::Skipped, false),
                        3 => (End::Pending, false),
                        4 if !world.repeatable[step] => (End::Unknown, chance(2) == 0),
                        _ => (End::Done, true),
                    };
                    truth.executed[step] |= executed;
                    // The result may be lost between the deed and the word.
                    if chance(12) != 0 {
                        disk.ended.push((step, end));
                    }
                    schedule.finished(step, end);
                }
            }
        }
        for step in 0..n {
            let end = schedule.ended(step).expect("every step has an end");
            let executed = truth.executed[step];
            prop_assert!(world.repeatable[step] || truth.starts[step] <= 1, "step {} ran {} times", step, truth.starts[step]);
            prop_assert!(truth.undos[step] <= 1);
            match end {
                End::Done => prop_assert!(executed, "step {} is called done and was not", step),
                End::NotStarted | End::Skipped | End::Pending | End::Failed { perhaps_ran: false } => {
                    prop_assert!(!executed || world.repeatable[step], "step {} ran and is called {:?}", step, end);
                }
                End::Failed { perhaps_ran: true } | End::Unknown => {}
            }
            let undo = world.nodes[step].undo;
            if schedule.has_failed() && end == End::Done && undo != Undoable::Never {
                prop_assert_eq!(truth.undos[step], 1, "step {} was done in a plan that failed", step);
            }
            if !schedule.has_failed() {
                prop_assert_eq!(truth.undos[step], 0, "nothing is undone in a plan that did not fail");
            }
        }
    }
}
