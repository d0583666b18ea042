//! Declared steps: ordered by dependency and health, independent ones at once.
//!
//! A wrapper around a function cannot move the calls in its body. Where order and parallelism are to be chosen, the
//! steps are declared, and the plan chooses: what depends on nothing starts at once, the steps that matter most and
//! whose services do best first.
//!
//! ```text
//! declare    what an author writes                          Plan, Step
//! compile    names become positions, all problems at once   pure
//! reference  $step.field in arguments                       pure
//! condition  whether a step is to run                       pure
//! schedule   which step is next                             pure
//! explain    what a run would do now, and why               pure
//! run        does it                                        the only place that acts
//! journal    what was done, for after a crash
//! result     what it came to
//! ```

mod action;
mod compile;
mod condition;
mod declare;
mod explain;
pub mod journal;
mod reference;
mod result;
mod room;
mod run;
mod schedule;

pub use action::{Action, Inputs, Outlook, StepAnswer, StepContext};
pub use compile::Problems;
pub use condition::{Comparison, Condition, InvalidCondition};
pub use declare::{Plan, Progress, Step};
pub use explain::{Explained, Explanation, Mode};
pub use result::{Outcome, PutOff, State, Status, StepError, StepResult, Undo};
pub use room::Plans;

/// Starts to declare a plan.
pub fn plan() -> Plan {
    Plan::new("plan")
}

/// Starts to declare a plan that is reported under a name.
pub fn named(name: impl Into<String>) -> Plan {
    Plan::new(name)
}
