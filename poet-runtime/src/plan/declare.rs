//! What an author declares: steps, what each does, and what it depends on.

use super::action::Action;
use super::compile::{Problems, compile};
use super::condition::Condition;
use super::explain::Explanation;
use super::result::{Outcome, StepResult};
use super::run;
use crate::context::AsPriority;
use crate::error::Error;
use crate::runtime::Runtime;
use crate::site::Priority;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Steps that run under one plan at the same time, where nothing else is said.
const MAX_PARALLEL: usize = 16;

/// How long a plan may take, where nothing else is said.
const DEADLINE: Duration = Duration::from_secs(300);

/// Declared steps, which may be run any number of times.
///
/// A step starts once every step it depends on has ended well; those that could start at the same time do, the ones
/// that matter most and whose services do best first.
///
/// # Examples
///
/// ```
/// use poet_runtime::plan::{self, Inputs, Step};
/// use serde_json::json;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let plan = plan::named("onboarding")
///     .input("email", "ada@example.com")
///     .step(Step::new("customer").call(
///         async |inputs: Inputs| Ok(json!({ "id": 7, "email": inputs.get("email") })),
///         json!({ "email": "$email" }),
///     ))
///     .step(Step::new("welcome").call(
///         async |inputs: Inputs| Ok(inputs.get("text").clone()),
///         json!({ "text": "welcome, no. $customer.id" }),
///     ));
///
/// let runtime = poet_runtime::Runtime::builder().in_memory().build()?;
/// let outcome = plan.run_in(&runtime).await?;
/// assert!(outcome.success);
/// assert_eq!(outcome.json::<String>("welcome")?, "welcome, no. 7");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a declared plan does nothing until it is run"]
pub struct Plan {
    pub(super) name: String,
    pub(super) inputs: Map<String, Value>,
    pub(super) steps: Vec<Step>,
    pub(super) sequential: bool,
    pub(super) max_parallel: usize,
    pub(super) fail_fast: bool,
    pub(super) deadline: Duration,
    pub(super) priority: Option<Priority>,
    pub(super) key: Option<String>,
    pub(super) watch: Option<Watch>,
}

type Watch = Arc<dyn Fn(Progress<'_>) + Send + Sync>;

/// What has just happened in a plan under way.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A step of that name was started.
    Started(&'a str),
    /// A step has ended.
    Ended(&'a StepResult),
    /// The undoing of a step has ended.
    Undone(&'a StepResult),
}

/// One step of a [`Plan`].
#[derive(Clone)]
#[must_use = "a step does nothing until a plan with it is run"]
pub struct Step {
    pub(super) name: String,
    pub(super) action: Option<Arc<dyn Action>>,
    pub(super) arguments: Value,
    pub(super) after: Vec<String>,
    pub(super) when: Option<Condition>,
    pub(super) priority: Option<Priority>,
    pub(super) optional: bool,
    pub(super) queued: bool,
    pub(super) deferrable: bool,
    pub(super) idempotent: bool,
    pub(super) compensation: Option<Compensation>,
}

#[derive(Clone)]
pub(super) struct Compensation {
    pub(super) action: Arc<dyn Action>,
    pub(super) arguments: Value,
    pub(super) even_if_unknown: bool,
}

impl Plan {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            inputs: Map::new(),
            steps: Vec::new(),
            sequential: false,
            max_parallel: MAX_PARALLEL,
            fail_fast: true,
            deadline: DEADLINE,
            priority: None,
            key: None,
            watch: None,
        }
    }

    /// The name it is reported under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds an input, to which steps refer as `$name`.
    pub fn input(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.inputs.insert(name.into(), value.into());
        self
    }

    /// Adds several inputs.
    pub fn inputs(mut self, inputs: impl IntoIterator<Item = (String, Value)>) -> Self {
        self.inputs.extend(inputs);
        self
    }

    /// Adds a step.
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Runs the steps one after the other, as they are declared.
    pub fn sequential(mut self) -> Self {
        self.sequential = true;
        self
    }

    /// How many steps run at the same time at most; 16 by default, at least 1.
    pub fn max_parallel(mut self, steps: usize) -> Self {
        self.max_parallel = steps.max(1);
        self
    }

    /// Lets branches go on that do not depend on a step that failed. Without it nothing new starts after a failure,
    /// and what is running ends.
    pub fn keep_going(mut self) -> Self {
        self.fail_fast = false;
        self
    }

    /// The longest the plan may take, compensation included; five minutes by default, and never longer than the
    /// function around it has.
    ///
    /// A plan with something to undo keeps a fifth of its time for that.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How much its steps matter; else as much as the function around it.
    pub fn priority(mut self, priority: impl AsPriority) -> Self {
        self.priority = Some(priority.as_priority());
        self
    }

    /// Makes this run survive a crash: run again under the same key, the plan goes on where it stopped, and once it
    /// has ended, its outcome is returned without running anything.
    ///
    /// Before a step starts that may not be repeated, that is written down. If the process ends before its result is,
    /// the step is not run again and its outcome is [`State::Unknown`](super::State::Unknown). What steps answered is
    /// kept in the journal. A key stands for one plan with one set of inputs; another one under it is refused.
    pub fn keyed(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Is told what happens as it happens. It is called from the plan's own task and should return at once.
    pub fn on_progress(mut self, watch: impl Fn(Progress<'_>) + Send + Sync + 'static) -> Self {
        self.watch = Some(Arc::new(watch));
        self
    }

    /// Looks for everything that is wrong with the plan as it is declared.
    ///
    /// # Errors
    ///
    /// All problems at once: names that are taken twice, dependencies and references that mean nothing, cycles.
    pub fn check(&self) -> Result<(), Problems> {
        compile(self).map(|_| ())
    }

    /// Says what a run would do now, and why, without doing it.
    ///
    /// # Errors
    ///
    /// [`Error::is_configuration`] with everything that is wrong with the plan.
    pub fn explain(&self, runtime: &Runtime) -> Result<Explanation, Error> {
        super::explain::explain(self, runtime)
    }

    /// Runs the plan in the runtime in force here.
    ///
    /// Dropping the future gives the plan up at once: no further step is started, those under way are dropped, nothing
    /// is undone. Under a key it can be taken up again.
    ///
    /// # Errors
    ///
    /// [`Error::is_configuration`] with everything that is wrong with the plan, and [`Error::is_denied`] if its key is
    /// in use or its journal does not answer; nothing was sent then. That a step failed is no error here: the outcome
    /// says so.
    pub async fn run(&self) -> Result<Outcome, Error> {
        run::run(self, &Runtime::current()).await
    }

    /// Runs the plan in this runtime.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run).
    pub async fn run_in(&self, runtime: &Runtime) -> Result<Outcome, Error> {
        runtime.scope(run::run(self, runtime)).await
    }
}

impl Step {
    /// A step of this name, by which others refer to what it answers. Letters, digits, `_` and `-`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            action: None,
            arguments: Value::Null,
            after: Vec::new(),
            when: None,
            priority: None,
            optional: false,
            queued: false,
            deferrable: false,
            idempotent: false,
            compensation: None,
        }
    }

    /// What it does, and with which arguments: a JSON object, in which texts may hold references.
    pub fn call(mut self, action: impl Action, arguments: impl Into<Value>) -> Self {
        self.action = Some(Arc::new(action));
        self.arguments = arguments.into();
        self
    }

    /// Starts it only after this step was done, or skipped. A step it refers to it depends on anyway.
    pub fn after(mut self, step: impl Into<String>) -> Self {
        self.after.push(step.into());
        self
    }

    /// Skips it unless this holds when its turn comes. A skipped step counts as done; a step that refers to what it
    /// would have answered is skipped too, one that only comes after it is not.
    pub fn when(mut self, condition: Condition) -> Self {
        self.when = Some(condition);
        self
    }

    /// How much it matters; else as much as the plan. Of steps that could start, the one that matters most does.
    pub fn priority(mut self, priority: impl AsPriority) -> Self {
        self.priority = Some(priority.as_priority());
        self
    }

    /// Lets the plan go on if it fails. Steps that refer to what it would have answered are skipped.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Leaves the call to a worker: it is acknowledged at once.
    pub fn queued(mut self) -> Self {
        self.queued = true;
        self
    }

    /// Says that the call may be put off until its service is well.
    pub fn deferrable(mut self) -> Self {
        self.deferrable = true;
        self
    }

    /// Says that executing it twice does no more than executing it once.
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// What undoes it, if the plan fails after it was done. The arguments may refer to what the step answered.
    pub fn compensate(mut self, action: impl Action, arguments: impl Into<Value>) -> Self {
        let even_if_unknown = false;
        self.compensation =
            Some(Compensation { action: Arc::new(action), arguments: arguments.into(), even_if_unknown });
        self
    }

    /// The same for a compensation that is right also where it is not known whether the step was executed. Its
    /// arguments cannot rely on an answer of the step.
    pub fn compensate_even_if_unknown(self, action: impl Action, arguments: impl Into<Value>) -> Self {
        let mut step = self.compensate(action, arguments);
        if let Some(compensation) = &mut step.compensation {
            compensation.even_if_unknown = true;
        }
        step
    }

    /// Whether it may be run twice, as far as the author, the client and the configuration say.
    pub(super) fn is_repeatable(&self, runtime: &Runtime) -> bool {
        self.idempotent || self.action.as_ref().is_some_and(|action| action.outlook(runtime).repeatable)
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("name", &self.name).field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments may be secret.
        f.debug_struct("Step")
            .field("name", &self.name)
            .field("target", &self.action.as_ref().and_then(|action| action.target()))
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}
