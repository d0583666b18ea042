//! What is known before a call starts: limits from values in force, pins, and the function around it.

use crate::clock;
use crate::context::{self, Around, Called, Context};
use crate::outcome::Arm;
use crate::policy::Limits;
use crate::policy::jitter;
use crate::policy::retry::Backoff;
use crate::policy::timeout::{self, Choice};
use crate::runtime::Inner;
use crate::site::{Learning, Priority};
use crate::target::Target;
use std::time::{Duration, Instant};

/// What the author of one call wrote, in the attribute or on the call. A number written is a pin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) repeatable: bool,
    /// Whether the call can be started again; a function body under `run_once` cannot.
    pub(super) restartable: bool,
    /// A function whose body is the attempt.
    pub(super) function: bool,
    /// When the call began, where that was before now.
    pub(super) began: Option<Instant>,
    pub(super) retries: Option<u8>,
    pub(super) timeout: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) priority: Option<Priority>,
    /// Whether the calls inside may be put off.
    pub(super) deferrable: bool,
}

/// What holds for the call.
pub(super) struct Perceived {
    pub(super) limits: Limits,
    pub(super) now: Instant,
    /// The revision of the learned values in force; 0 where none is.
    pub(super) revision: u64,
    /// Which values it is made with.
    pub(super) arm: Arm,
    pub(super) priority: Priority,
    /// Attempts that may be under way at once; `None` where there is no such limit.
    ///
    /// A function has none, and is not counted: it may hold calls of its own inside it, or itself, and a place that is
    /// held while another is waited for is how everything comes to a standstill. A service call waits for nothing else.
    pub(super) places: Option<u32>,
    pub(super) learning: Learning,
    /// Whether it is made inside of something.
    pub(super) surrounded: bool,
    deferrable: bool,
    /// The deadline of the calls inside this one, and the retries they may make.
    inside: (Instant, u8),
}

impl Perceived {
    /// The context of the calls inside this one.
    pub(super) fn context(&self, around: Option<Around>) -> Context {
        Context {
            deadline: self.inside.0,
            priority: self.priority,
            learning: self.learning,
            deferrable: self.deferrable,
            retries_left: self.inside.1,
            retries_made: 0,
            failed_inside: false,
            called: Called::default(),
            warnings: Vec::new(),
            around,
        }
    }
}

#[inline]
pub(super) fn perceive(runtime: &Inner, target: &Target, written: Written, execution: u64, bounded: bool) -> Perceived {
    let now = runtime.clock.now();
    let began = written.began.unwrap_or(now);
    let (outer_deadline, priority, outer_learning, deferrable, retries_left) =
        context::surrounding(|outer| match outer {
            Some(outer) => (Some(outer.deadline), outer.priority, outer.learning, outer.deferrable, outer.retries_left),
            None => (None, Priority::Normal, Learning::On, false, u8::MAX),
        });
    let learning = stricter(outer_learning, target.learning);
    let priority = written.priority.unwrap_or(priority);
    let (values, arm) = match learning {
        // What matters is not made as a trial, nor what a person decides about.
        Learning::On if priority < Priority::High => {
            target.draw(|| jitter::fraction(runtime.seed ^ execution, jitter::ARM))
        }
        Learning::On => (target.values(), Arm::Aside),
        Learning::Review => (target.values(), Arm::InForce),
        Learning::Shadow | Learning::Off => (target.unlearned.clone(), Arm::InForce),
    };
    let pinned = written.timeout.or(values.attempt_timeout_pinned.then_some(values.attempt_timeout));
    let attempt = timeout::limit(Choice {
        value: values.attempt_timeout,
        unlearned: target.unlearned.attempt_timeout,
        pinned,
        repeatable: written.repeatable,
        function: written.function,
    });
    let own_deadline = clock::after(began, written.deadline.unwrap_or(values.deadline));
    let deadline = outer_deadline.map_or(own_deadline, |outer| outer.min(own_deadline));
    // A person who pinned more retries than an execution has by default meant them.
    let execution_retries = retries_left.min(target.profile.execution_retries.max(written.retries.unwrap_or(0)));
    // What is only watched does not end at its deadline, and may run for ever with calls inside it.
    let inside = if bounded {
        (deadline, execution_retries)
    } else {
        (outer_deadline.unwrap_or(clock::after(began, Duration::MAX)), retries_left)
    };
    let max_retries = match written.retries {
        Some(retries) => [retries; _],
        None => values.max_retries,
    };
    let limits = Limits {
        began,
        deadline,
        refusable: bounded,
        attempt,
        progress_extends: values.progress_extends,
        max_retries,
        repeatable: written.repeatable,
        restartable: written.restartable,
        execution_retries,
        backoff: Backoff { base: values.base_delay, longest: values.max_delay, growth: values.growth },
        // The body of a function borrows what its caller holds: two of it cannot run at once.
        hedge: Some(values.hedge_delay).filter(|delay| !delay.is_zero() && bounded && !written.function),
        seed: runtime.seed,
    };
    Perceived {
        limits,
        now,
        revision: values.revision,
        arm,
        priority,
        places: (bounded && !written.function).then_some(u32::from(values.concurrency_limit)),
        learning,
        surrounded: outer_deadline.is_some(),
        deferrable: deferrable || written.deferrable,
        inside,
    }
}

/// What may be made of what was learned, for a call that is made here.
pub(super) fn learning(target: &Target) -> Learning {
    let outer = context::surrounding(|outer| outer.map_or(Learning::On, |outer| outer.learning));
    stricter(outer, target.learning)
}

/// Of two learning modes the one that changes less.
fn stricter(a: Learning, b: Learning) -> Learning {
    match (a, b) {
        (Learning::Off, _) | (_, Learning::Off) => Learning::Off,
        (Learning::Shadow, _) | (_, Learning::Shadow) => Learning::Shadow,
        (Learning::Review, _) | (_, Learning::Review) => Learning::Review,
        _ => Learning::On,
    }
}

/// The moment a call that joined another one stops waiting for it.
pub(super) fn deadline(target: &Target, now: Instant, written: Option<Duration>) -> Instant {
    let own = clock::after(now, written.unwrap_or(target.unlearned.deadline));
    context::surrounding(|outer| outer.map_or(own, |outer| outer.deadline.min(own)))
}
