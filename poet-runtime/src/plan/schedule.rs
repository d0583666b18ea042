//! Which step is next: a pure machine that is told how steps ended and answers what to do.
//!
//! Ready steps wait in a heap, ordered by how much they matter, then by how well their service does, then as declared.
//! An edge holds a step back until the step before it has ended well: done, skipped, or failed where it was optional.
//! An edge of data also skips the step if there will be no data. What failed, is unknown, or was put off holds back
//! what comes after it for ever, because "after" is a promise about what was done.
//!
//! Once a plan has failed and nothing runs any more, what was done is undone, newest first. Every step costs
//! O(log n), every edge O(1).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    /// Its condition did not hold, or there was no data for it.
    Skipped,
    /// Put off, or left to a worker.
    Pending,
    Failed {
        /// Whether it may have been executed all the same.
        perhaps_ran: bool,
    },
    /// It may have been executed, and may not be repeated.
    Unknown,
    /// Its turn never came.
    NotStarted,
}

/// How the undoing of a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undoing {
    Done,
    Failed,
    Unknown,
}

/// When a step can be undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Undoable {
    #[default]
    Never,
    IfDone,
    EvenIfUnknown,
}

/// How a step depends on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hold {
    /// It comes after it.
    Order,
    /// It needs what it answered.
    Data,
}

/// What comes first among steps that could start: the smallest.
pub(super) type Rank = (Reverse<crate::Priority>, crate::Condition, usize);

/// A step as the machine sees it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) rank: Rank,
    pub(super) optional: bool,
    pub(super) undo: Undoable,
    /// Steps it waits for, each once.
    pub(super) after: Vec<(usize, Hold)>,
}

/// What holds for the whole plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub(super) max_parallel: usize,
    /// Whether nothing new starts once a step has failed that is not optional.
    pub(super) fail_fast: bool,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Start(usize),
    Undo(usize),
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Ready,
    Running,
    Ended(End),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Forward,
    Undoing,
    Over,
}

#[derive(Clone, Debug)]
struct Place {
    rank: Rank,
    phase: Phase,
    waiting: usize,
    optional: bool,
    /// Whether there will be no data for it.
    doomed: bool,
    undo: Undoable,
    undone: Option<Undoing>,
    dependents: Vec<(usize, Hold)>,
}

#[derive(Clone, Debug)]
pub(super) struct Schedule {
    places: Vec<Place>,
    ready: BinaryHeap<Reverse<(Rank, usize)>>,
    course: Course,
    running: usize,
    stage: Stage,
    failed: bool,
    stopped: bool,
    /// Steps in the order in which they ended; what is left to undo once that has begun.
    ended: Vec<usize>,
    undoing: Option<usize>,
}

impl Schedule {
    pub(super) fn new(nodes: &[Node], course: Course) -> Self {
        let mut places: Vec<_> = nodes
            .iter()
            .map(|node| Place {
                rank: node.rank,
                phase: Phase::Waiting,
                waiting: node.after.len(),
                optional: node.optional,
                doomed: false,
                undo: node.undo,
                undone: None,
                dependents: Vec::new(),
            })
            .collect();
        for (step, node) in nodes.iter().enumerate() {
            for &(before, hold) in &node.after {
                places[before].dependents.push((step, hold));
            }
        }
        let mut schedule = Self {
            places,
            ready: BinaryHeap::with_capacity(nodes.len()),
            course,
            running: 0,
            stage: Stage::Forward,
            failed: false,
            stopped: false,
            ended: Vec::with_capacity(nodes.len()),
            undoing: None,
        };
        for step in 0..nodes.len() {
            if schedule.places[step].waiting == 0 {
                schedule.make_ready(step);
            }
        }
        schedule
    }

    /// What to do now; `None` means wait until something has ended.
    pub(super) fn next(&mut self) -> Option<Act> {
        loop {
            match self.stage {
                Stage::Forward => {
                    let may_start = !self.is_stopping() && self.running < self.course.max_parallel.max(1);
                    if may_start && let Some(Reverse((_, step))) = self.ready.pop() {
                        // What was recovered since is in the heap still.
                        if self.places[step].phase == Phase::Ready {
                            self.places[step].phase = Phase::Running;
                            self.running += 1;
                            return Some(Act::Start(step));
                        }
                        continue;
                    }
                    if self.running > 0 {
                        return None;
                    }
                    self.turn_back();
                }
                Stage::Undoing => {
                    if self.undoing.is_some() {
                        return None;
                    }
                    match self.ended.pop() {
                        Some(step) if self.is_to_undo(step) => {
                            self.undoing = Some(step);
                            return Some(Act::Undo(step));
                        }
                        Some(_) => {}
                        None => self.stage = Stage::Over,
                    }
                }
                Stage::Over => return Some(Act::End),
            }
        }
    }

    /// A step that was started has ended.
    pub(super) fn finished(&mut self, step: usize, end: End) {
        debug_assert_eq!(self.places[step].phase, Phase::Running, "only what was started ends");
        self.running -= 1;
        self.end(step, end);
    }

    /// Steps that ended in an earlier life of the plan, in that order. To be told before anything else, and all at
    /// once: what is known to have run must not be skipped because what is before it is not known.
    pub(super) fn recovered(&mut self, ends: &[(usize, End)]) {
        for &(step, end) in ends {
            self.mark(step, end);
        }
        for &(step, end) in ends {
            self.release(step, end);
        }
    }

    /// The undoing of a step has ended, now or in an earlier life.
    pub(super) fn undone(&mut self, step: usize, how: Undoing) {
        self.places[step].undone = Some(how);
        if self.undoing == Some(step) {
            self.undoing = None;
        } else {
            // It had turned back, and a plan does not turn twice.
            self.failed = true;
            self.stopped = true;
        }
    }

    /// Nothing new starts, and the plan has failed: its time is up.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.failed = true;
    }

    /// Whether a step could start.
    pub(super) fn has_more(&self) -> bool {
        self.ready.iter().any(|Reverse((_, step))| self.places[*step].phase == Phase::Ready)
    }

    /// Nothing more is undone: the time for that is up too.
    pub(super) fn give_up(&mut self) {
        self.stop();
        self.ended.clear();
        self.undoing = None;
    }

    /// How a step ended; `None` while it has not.
    pub(super) fn ended(&self, step: usize) -> Option<End> {
        match self.places[step].phase {
            Phase::Ended(end) => Some(end),
            _ => None,
        }
    }

    pub(super) fn is_running(&self, step: usize) -> bool {
        self.places[step].phase == Phase::Running
    }

    /// Whether the plan has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// The step that is being undone.
    pub(super) fn undoing(&self) -> Option<usize> {
        self.undoing
    }

    /// Whether it could be undone and was not.
    pub(super) fn is_left_to_undo(&self, step: usize) -> bool {
        self.is_to_undo(step)
    }

    fn is_stopping(&self) -> bool {
        self.stopped || (self.failed && self.course.fail_fast)
    }

    fn make_ready(&mut self, step: usize) {
        self.places[step].phase = Phase::Ready;
        self.ready.push(Reverse((self.places[step].rank, step)));
    }

    fn end(&mut self, step: usize, end: End) {
        self.mark(step, end);
        self.release(step, end);
    }

    fn mark(&mut self, step: usize, end: End) {
        self.places[step].phase = Phase::Ended(end);
        self.ended.push(step);
        self.failed |= is_failure(end) && !self.places[step].optional;
    }

    /// Lets on what waited for a step, and skips what can have no data any more.
    fn release(&mut self, step: usize, end: End) {
        let mut ends = vec![(step, end)];
        while let Some((step, end)) = ends.pop() {
            let lets_on = matches!(end, End::Done | End::Skipped) || (is_failure(end) && self.places[step].optional);
            if !lets_on {
                continue;
            }
            for (dependent, hold) in std::mem::take(&mut self.places[step].dependents) {
                let place = &mut self.places[dependent];
                place.waiting -= 1;
                place.doomed |= hold == Hold::Data && end != End::Done;
                if place.waiting > 0 || place.phase != Phase::Waiting {
                    continue;
                }
                if place.doomed {
                    self.mark(dependent, End::Skipped);
                    ends.push((dependent, End::Skipped));
                } else {
                    self.make_ready(dependent);
                }
            }
        }
    }

    /// Nothing runs and nothing can start any more.
    fn turn_back(&mut self) {
        for place in &mut self.places {
            if !matches!(place.phase, Phase::Ended(_)) {
                place.phase = Phase::Ended(End::NotStarted);
            }
        }
        self.stage = if self.failed { Stage::Undoing } else { Stage::Over };
    }

    fn is_to_undo(&self, step: usize) -> bool {
        let place = &self.places[step];
        let perhaps = matches!(place.phase, Phase::Ended(End::Unknown | End::Failed { perhaps_ran: true }));
        place.undone.is_none()
            && match place.undo {
                Undoable::Never => false,
                Undoable::IfDone => place.phase == Phase::Ended(End::Done),
                Undoable::EvenIfUnknown => perhaps || place.phase == Phase::Ended(End::Done),
            }
    }
}

fn is_failure(end: End) -> bool {
    matches!(end, End::Failed { .. } | End::Unknown)
}

#[cfg(test)]
mod tests;
