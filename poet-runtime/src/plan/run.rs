//! Runs a plan: does what the schedule says, and writes down what came of it.
//!
//! No task is spawned: steps are futures of the plan's own, so that dropping the plan drops them, and so that the
//! function around the plan is the context of every call in it. What is given up while it runs is noted for what it
//! is: a step that may not be repeated and whose answer was not waited for is unknown, not failed.

use super::action::StepContext;
use super::compile::{Compiled, compile, fingerprint};
use super::declare::{Plan, Progress, Step};
use super::journal::{Entry, Happening, Journal, Opening, Run};
use super::reference::{Absence, Scope};
use super::result::{Outcome, State, StepResult, Undo};
use super::room::{Claim, Room};
use super::schedule::{Act, Course, End, Node, Schedule, Undoable, Undoing};
use crate::clock;
use crate::context::{self, Around, Called, Context};
use crate::error::{Error, Kind};
use crate::health::Condition;
use crate::runtime::Runtime;
use crate::site::{Learning, Priority};
use crate::store::BoxFuture;
use futures_util::stream::{FuturesUnordered, Stream as _};
use serde_json::{Map, Value};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

/// The share of its time that a plan with something to undo keeps for that.
const RESERVE: u32 = 5;

/// How long the last entry of the journal may keep a caller whose plan has ended.
const FAREWELL: Duration = Duration::from_millis(30);

pub(super) async fn run(plan: &Plan, runtime: &Runtime) -> Result<Outcome, Error> {
    let compiled = compile(plan)?;
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(Error::configuration("running a plan needs a tokio runtime"));
    }
    let room = runtime.extension::<Room>();
    let journal = room.journal(runtime);
    let clock = runtime.clock();
    let began = clock.now();
    let mut voyage = Voyage::new(plan, runtime, &compiled, began);
    let _claim: Option<Claim> = match &plan.key {
        None => None,
        Some(key) => {
            let claim = room.claim(key)?;
            let opened = tokio::time::timeout_at(voyage.until.into(), voyage.open(&journal, key)).await;
            if let Some(outcome) = opened.map_err(|_| Error::new(Kind::Deadline { limit: voyage.limit }))?? {
                return Ok(outcome);
            }
            voyage.journal = Some((journal.clone(), key.as_str()));
            Some(claim)
        }
    };
    voyage.sail().await;

    let outcome = voyage.land();
    let ended = Run::of(&outcome, plan.key.as_deref(), clock.anchor().wall(clock.now()));
    let text = if plan.key.is_some() { outcome.to_json().to_string() } else { String::new() };
    let by = clock::after(clock.now(), FAREWELL);
    match tokio::time::timeout_at(by.into(), journal.end(&ended, &text)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(plan = %plan.name, %error, "the end of a plan could not be written down"),
        Err(_) => tracing::warn!(plan = %plan.name, "the end of a plan is being written down slowly"),
    }
    Ok(outcome)
}

/// One run under way.
struct Voyage<'r> {
    plan: &'r Plan,
    runtime: &'r Runtime,
    compiled: &'r Compiled<'r>,
    schedule: Schedule,
    table: Vec<StepResult>,
    journal: Option<(Arc<dyn Journal>, &'r str)>,
    priority: Priority,
    learning: Learning,
    /// The execution of the function around the plan.
    inside: Option<Around>,
    /// Whether the author of the function around it said that the calls inside may be put off.
    deferrable: bool,
    began: Instant,
    /// The time the plan was given.
    limit: Duration,
    /// When steps have to have ended, and when compensations have.
    turn: Instant,
    until: Instant,
}

/// What a future of the plan has come to. Handed on at once, and never kept.
#[expect(clippy::large_enum_variant, reason = "the large one is the ordinary case")]
enum News {
    Ended(usize, StepResult),
    Undone(usize, Undo),
}

impl<'r> Voyage<'r> {
    fn new(plan: &'r Plan, runtime: &'r Runtime, compiled: &'r Compiled<'r>, began: Instant) -> Self {
        let (outer, around, learning, deferrable, inside) = context::surrounding(|outer| match outer {
            Some(outer) => (Some(outer.deadline), outer.priority, outer.learning, outer.deferrable, outer.around),
            None => (None, Priority::Normal, Learning::On, false, None),
        });
        let own = clock::after(began, plan.deadline);
        let until = outer.map_or(own, |outer| outer.min(own));
        let limit = until.saturating_duration_since(began);
        let undoes = plan.steps.iter().any(|step| step.compensation.is_some());
        let turn = if undoes { until - limit / RESERVE } else { until };
        let priority = plan.priority.unwrap_or(around);
        let course = Course { max_parallel: plan.max_parallel, fail_fast: plan.fail_fast };
        Self {
            schedule: Schedule::new(&nodes(plan, compiled, runtime, priority), course),
            table: plan.steps.iter().map(|step| StepResult::new(&step.name)).collect(),
            plan,
            runtime,
            compiled,
            journal: None,
            priority,
            learning,
            inside,
            deferrable,
            began,
            limit,
            turn,
            until,
        }
    }

    /// Begins the run in the journal, or takes it up where it stopped. One that has ended has its outcome already.
    async fn open(&mut self, journal: &Arc<dyn Journal>, key: &str) -> Result<Option<Outcome>, Error> {
        let failed = |error| Error::denied(format!("the journal of plans does not answer: {error}"));
        let clock = self.runtime.clock();
        let fingerprint = fingerprint(self.plan);
        let began = clock.anchor().wall(clock.now());
        let opening = Opening { key, plan: &self.plan.name, fingerprint: &fingerprint, began };
        let recorded = journal.open(&opening).await.map_err(failed)?;
        if recorded.fingerprint != fingerprint {
            return Err(Error::denied(format!("the key `{key}` is that of another plan, or of other inputs")));
        }
        let unreadable = |error| Error::denied(format!("the journal of plans cannot be read: {error}"));
        if let Some(outcome) = &recorded.outcome {
            return serde_json::from_str(outcome).map(Some).map_err(unreadable);
        }
        self.take_up(&recorded.entries).map_err(unreadable)?;
        Ok(None)
    }

    fn take_up(&mut self, entries: &[Entry]) -> Result<(), serde_json::Error> {
        let index: HashMap<_, _> =
            self.plan.steps.iter().enumerate().map(|(at, step)| (step.name.as_str(), at)).collect();
        let (mut ends, mut started, mut undone, mut undo_started) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for entry in entries {
            let Some(&step) = index.get(entry.step.as_str()) else { continue };
            match entry.what {
                Happening::Started => started.push(step),
                Happening::UndoStarted => undo_started.push(step),
                Happening::Ended => {
                    let result: StepResult = serde_json::from_str(&entry.account)?;
                    ends.push((step, result.end()));
                    self.table[step] = result;
                }
                Happening::Undone => {
                    let result: StepResult = serde_json::from_str(&entry.account)?;
                    undone.push((step, result.compensation.unwrap_or(Undo::NotMade)));
                }
            }
        }
        for step in started {
            // What was declared repeatable since may be started again.
            let ended = self.table[step].state != State::NotStarted;
            if !ended && !self.plan.steps[step].is_repeatable(self.runtime) {
                let words = "it was started, and the process ended before its result was written down";
                let error = Error::new(Kind::OutcomeUnknown).with_source(Some(words.into()));
                self.table[step] = StepResult::refused(&self.plan.steps[step].name, error, Duration::ZERO);
                ends.push((step, End::Unknown));
            }
        }
        self.schedule.recovered(&ends);
        for (step, undo) in undone {
            self.note_undone(step, undo);
        }
        for step in undo_started {
            if self.table[step].compensation.is_some() {
                continue;
            }
            if is_undo_repeatable(&self.plan.steps[step], self.runtime) {
                self.schedule.stop();
            } else {
                let words = "it was started, and the process ended before its result was written down";
                self.note_undone(step, Undo::Unknown(words.to_owned()));
            }
        }
        Ok(())
    }

    async fn sail(&mut self) {
        let mut under_way = FuturesUnordered::<BoxFuture<'r, News>>::new();
        let mut timer = pin!(tokio::time::sleep_until(self.turn.into()));
        let mut turned = false;
        loop {
            // Where one step ends after the other without a pause, the timer is never looked at.
            if !turned && self.runtime.clock().now() >= self.turn && self.schedule.has_more() {
                self.schedule.stop();
            }
            while let Some(act) = self.schedule.next() {
                match act {
                    Act::Start(step) => match self.prepare(step) {
                        Ok(arguments) => {
                            self.tell(Progress::Started(&self.plan.steps[step].name));
                            under_way.push(self.start(step, arguments));
                        }
                        // After a crash, a plan that has turned back does not decide this again.
                        Err(result) if self.journal.is_some() => under_way.push(self.leave_out(step, result)),
                        Err(result) => self.note_ended(step, *result),
                    },
                    Act::Undo(step) => {
                        // Nothing else runs by now, and what is left of the time is for this.
                        if !turned {
                            turned = true;
                            timer.as_mut().reset(self.until.into());
                        }
                        match self.arguments_of_undoing(step) {
                            Ok(arguments) => under_way.push(self.undo(step, arguments)),
                            Err(why) => self.note_undone(step, Undo::Failed(why)),
                        }
                    }
                    Act::End => return,
                }
            }
            let news = poll_fn(|cx| match Pin::new(&mut under_way).poll_next(cx) {
                Poll::Ready(Some(news)) => Poll::Ready(Some(news)),
                _ => timer.as_mut().poll(cx).map(|()| None),
            });
            match news.await {
                Some(News::Ended(step, result)) => self.note_ended(step, result),
                Some(News::Undone(step, undo)) => self.note_undone(step, undo),
                None => {
                    under_way.clear();
                    self.give_up(turned);
                    turned = true;
                    timer.as_mut().reset(self.until.into());
                }
            }
        }
    }

    /// The arguments of a step, or how it ends without being started.
    fn prepare(&self, at: usize) -> Result<Map<String, Value>, Box<StepResult>> {
        let (step, meaning) = (&self.plan.steps[at], &self.compiled.steps[at]);
        let refused = |why: String| {
            let error = Error::denied(why);
            let target = step.action.as_ref().and_then(|action| action.target());
            let error = if let Some((service, operation)) = target { error.at(service, operation) } else { error };
            Box::new(StepResult::refused(&step.name, error, Duration::ZERO))
        };
        match meaning.when.as_ref().map(|when| when.holds(self)) {
            None | Some(Ok(true)) => {}
            Some(Ok(false)) => {
                let condition = step.when.as_ref().map(ToString::to_string).unwrap_or_default();
                return Err(Box::new(StepResult::skipped(
                    &step.name,
                    format!("its condition does not hold: {condition}"),
                )));
            }
            Some(Err(undecided)) => return Err(refused(format!("its condition cannot be decided: {undecided}"))),
        }
        let arguments = meaning.arguments.fill(self).map_err(|unresolved| refused(unresolved.to_string()))?;
        Ok(object(arguments))
    }

    fn arguments_of_undoing(&self, at: usize) -> Result<Map<String, Value>, String> {
        let undo = self.compiled.steps[at].undo.as_ref().expect("only what can be undone is");
        undo.fill(self).map(object).map_err(|unresolved| unresolved.to_string())
    }

    fn start(&self, at: usize, arguments: Map<String, Value>) -> BoxFuture<'r, News> {
        let (plan, runtime) = (self.plan, self.runtime);
        let step = &plan.steps[at];
        let action = step.action.as_ref().expect("a plan without one does not compile");
        let told = StepContext {
            position: at + 1,
            priority: step.priority.or(plan.priority),
            idempotent: step.idempotent,
            deferrable: step.deferrable,
            queued: step.queued,
        };
        let journal = self.journal.clone();
        let context = self.context(step.priority, self.turn, step.deferrable || self.deferrable);
        Box::pin(async move {
            let Some((journal, key)) = journal else {
                let began = runtime.clock().now();
                let result = Inside { context, future: action.run(runtime, arguments, told) }.await;
                return News::Ended(at, settle(&step.name, result, runtime, began));
            };
            if !step.is_repeatable(runtime) {
                let entry = Entry::new(&step.name, Happening::Started, None);
                if let Some(refusal) = refusal(journal.note(key, &entry).await) {
                    return News::Ended(at, StepResult::refused(&step.name, refusal, Duration::ZERO));
                }
            }
            let began = runtime.clock().now();
            let result = Inside { context, future: action.run(runtime, arguments, told) }.await;
            let result = settle(&step.name, result, runtime, began);
            let entry = Entry::new(&step.name, Happening::Ended, Some(&result));
            if let Err(error) = journal.note(key, &entry).await {
                // The step was executed, and this run knows. After a crash it would be unknown, or run again if it may.
                tracing::warn!(plan = %plan.name, step = %step.name, %error, "a result could not be written down");
            }
            News::Ended(at, result)
        })
    }

    /// Writes down that a step ended without being started.
    fn leave_out(&self, at: usize, result: Box<StepResult>) -> BoxFuture<'r, News> {
        let (plan, journal) = (self.plan, self.journal.clone());
        Box::pin(async move {
            if let Some((journal, key)) = journal {
                let entry = Entry::new(&result.name, Happening::Ended, Some(&result));
                if let Err(error) = journal.note(key, &entry).await {
                    tracing::warn!(plan = %plan.name, step = %result.name, %error, "a result could not be written down");
                }
            }
            News::Ended(at, *result)
        })
    }

    fn undo(&self, at: usize, arguments: Map<String, Value>) -> BoxFuture<'r, News> {
        let (plan, runtime) = (self.plan, self.runtime);
        let step = &plan.steps[at];
        let compensation = step.compensation.as_ref().expect("only what can be undone is");
        let told = StepContext {
            position: at + 1,
            priority: step.priority.or(plan.priority),
            idempotent: false,
            deferrable: false,
            queued: false,
        };
        let journal = self.journal.clone();
        let context = self.context(step.priority, self.until, false);
        Box::pin(async move {
            // An action may begin when it is asked, not only when it is polled.
            let run = || Inside { context, future: compensation.action.run(runtime, arguments, told) };
            let Some((journal, key)) = journal else { return News::Undone(at, undoing(run().await)) };
            // Also where it may be repeated: that a plan has turned back must be known after a crash.
            let entry = Entry::new(&step.name, Happening::UndoStarted, None);
            let noted = journal.note(key, &entry).await;
            let repeatable = is_undo_repeatable(step, runtime);
            let undo = match noted {
                Ok(false) if repeatable => undoing(run().await),
                noted => match refusal(noted) {
                    None => undoing(run().await),
                    Some(error) if error.is_outcome_unknown() => Undo::Unknown(error.to_string()),
                    Some(error) => Undo::Failed(error.to_string()),
                },
            };
            let result = StepResult { compensation: Some(undo.clone()), ..StepResult::new(&step.name) };
            let entry = Entry::new(&step.name, Happening::Undone, Some(&result));
            if let Err(error) = journal.note(key, &entry).await {
                tracing::warn!(plan = %plan.name, step = %step.name, %error, "a compensation could not be written down");
            }
            News::Undone(at, undo)
        })
    }

    /// What the calls inside a step are handed.
    fn context(&self, priority: Option<Priority>, deadline: Instant, deferrable: bool) -> Context {
        Context {
            deadline,
            priority: priority.unwrap_or(self.priority),
            learning: self.learning,
            deferrable,
            retries_left: u8::MAX,
            retries_made: 0,
            failed_inside: false,
            called: Called::default(),
            warnings: Vec::new(),
            around: self.inside,
        }
    }

    fn note_ended(&mut self, step: usize, result: StepResult) {
        self.schedule.finished(step, result.end());
        self.table[step] = result;
        self.tell(Progress::Ended(&self.table[step]));
    }

    fn note_undone(&mut self, step: usize, undo: Undo) {
        let how = match &undo {
            Undo::Done => Undoing::Done,
            Undo::Unknown(_) => Undoing::Unknown,
            Undo::Failed(_) | Undo::NotMade => Undoing::Failed,
        };
        let result = &mut self.table[step];
        if undo == Undo::Done {
            result.state = State::Compensated;
        }
        result.compensation = Some(undo);
        self.schedule.undone(step, how);
        self.tell(Progress::Undone(&self.table[step]));
    }

    fn tell(&self, progress: Progress<'_>) {
        if let Some(watch) = &self.plan.watch {
            watch(progress);
        }
    }

    /// The time is up: for the steps, or for what undoes them.
    fn give_up(&mut self, turned: bool) {
        let elapsed = self.runtime.clock().now().saturating_duration_since(self.began);
        for step in 0..self.plan.steps.len() {
            if !self.schedule.is_running(step) {
                continue;
            }
            let declared = &self.plan.steps[step];
            let late = Error::new(Kind::Deadline { limit: self.limit });
            let mut result = if declared.is_repeatable(self.runtime) {
                StepResult::refused(&declared.name, late, elapsed)
            } else {
                let unknown = Error::new(Kind::OutcomeUnknown).with_source(Some(Box::new(late)));
                StepResult::refused(&declared.name, unknown, elapsed)
            };
            result.perhaps_executed = true;
            self.note_ended(step, result);
        }
        if turned {
            if let Some(step) = self.schedule.undoing() {
                let words = "the time of the plan was up before it was done".to_owned();
                self.note_undone(step, Undo::Unknown(words));
            }
            self.schedule.give_up();
        } else {
            self.schedule.stop();
        }
    }

    fn land(mut self) -> Outcome {
        let failed = self.schedule.has_failed();
        for step in 0..self.table.len() {
            match self.schedule.ended(step) {
                Some(End::Skipped) if self.table[step].state == State::NotStarted => {
                    let absent = self.compiled.steps[step].after.iter().map(|(before, _)| &self.table[*before]);
                    let absent = absent.filter(|before| before.state != State::Done).map(|before| &before.name).next();
                    let why = absent.map_or_else(String::new, |name| format!("there is no answer of `{name}`"));
                    self.table[step] = StepResult::skipped(&self.plan.steps[step].name, why);
                }
                Some(End::NotStarted) | None => self.table[step].reason = Some(self.why_not_started(step, failed)),
                _ => {}
            }
            self.table[step].optional = self.plan.steps[step].optional;
            let undoable = self.schedule.is_left_to_undo(step);
            if failed && undoable && self.table[step].compensation.is_none() {
                self.table[step].compensation = Some(Undo::NotMade);
            }
        }
        let elapsed = self.runtime.clock().now().saturating_duration_since(self.began);
        Outcome::new(self.plan.name.clone(), self.table, failed, elapsed)
    }

    fn why_not_started(&self, step: usize, failed: bool) -> String {
        let before = self.compiled.steps[step].after.iter().map(|(before, _)| &self.table[*before]);
        let mut held =
            before.filter(|before| !matches!(before.state, State::Done | State::Skipped | State::Compensated));
        match held.next() {
            Some(before) => format!("`{}` before it: {}", before.name, before.why()),
            None if failed => "the plan had failed before its turn came".to_owned(),
            None => "its turn never came".to_owned(),
        }
    }
}

impl Scope for Voyage<'_> {
    fn answer(&self, step: usize) -> Result<&Value, Absence> {
        static NULL: Value = Value::Null;
        let result = &self.table[step];
        match result.state {
            State::Done | State::Compensated => Ok(result.value.as_ref().unwrap_or(&NULL)),
            State::Pending => Err(Absence::Pending(result.why())),
            _ => Err(Absence::Never(result.why())),
        }
    }
}

/// The plan as the schedule sees it: with how well the services of its steps do just now.
pub(super) fn nodes(plan: &Plan, compiled: &Compiled<'_>, runtime: &Runtime, around: Priority) -> Vec<Node> {
    let mut known = HashMap::new();
    let steps = plan.steps.iter().zip(&compiled.steps).enumerate();
    steps
        .map(|(at, (step, meaning))| {
            let target = step.action.as_ref().and_then(|action| action.target());
            let condition = target.map_or(Condition::Healthy, |(service, operation)| {
                *known.entry((service, operation)).or_insert_with(|| {
                    runtime.health(service, operation).map_or(Condition::Unknown, |health| health.condition)
                })
            });
            let priority = step.priority.or(plan.priority).unwrap_or(around);
            let undo = match &step.compensation {
                None => Undoable::Never,
                Some(compensation) if compensation.even_if_unknown => Undoable::EvenIfUnknown,
                Some(_) => Undoable::IfDone,
            };
            Node {
                rank: (Reverse(priority), condition, at),
                optional: step.optional,
                undo,
                after: meaning.after.clone(),
            }
        })
        .collect()
}

fn is_undo_repeatable(step: &Step, runtime: &Runtime) -> bool {
    step.compensation.as_ref().is_some_and(|compensation| compensation.action.outlook(runtime).repeatable)
}

/// Why a step whose start was to be written down must not be started.
fn refusal(noted: Result<bool, crate::store::StoreError>) -> Option<Error> {
    match noted {
        Ok(true) => None,
        Ok(false) => {
            let words = "it was started before, and its result is not known";
            Some(Error::new(Kind::OutcomeUnknown).with_source(Some(words.into())))
        }
        Err(error) => Some(Error::denied(format!("its start could not be written down: {error}"))),
    }
}

fn settle(
    name: &str,
    result: Result<super::action::StepAnswer, Error>,
    runtime: &Runtime,
    began: Instant,
) -> StepResult {
    let elapsed = runtime.clock().now().saturating_duration_since(began);
    match result {
        Ok(answer) => StepResult::answered(name, answer, elapsed),
        Err(error) => StepResult::refused(name, error, elapsed),
    }
}

fn undoing(result: Result<super::action::StepAnswer, Error>) -> Undo {
    match result {
        Ok(_) => Undo::Done,
        Err(error) if error.is_outcome_unknown() => Undo::Unknown(error.to_string()),
        Err(error) => Undo::Failed(error.to_string()),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// A step with what it hands to the calls inside it. Its retries are taken from those of the function around the plan.
struct Inside<F> {
    context: Context,
    future: F,
}

impl<F: Future + Unpin> Future for Inside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let Self { context, future } = &mut *self;
        // What steps beside this one have used up is gone for this one too.
        context.retries_left = context::surrounding(|outer| outer.map_or(u8::MAX, |outer| outer.retries_left));
        let mut slot = Some(std::mem::replace(context, nothing(context)));
        let polled = context::enter(&mut slot, || Pin::new(future).poll(cx));
        if let Some(left) = slot {
            *context = left;
        }
        let retries = std::mem::take(&mut context.retries_made);
        let failed = std::mem::take(&mut context.failed_inside);
        let warnings = std::mem::take(&mut context.warnings);
        if !context.called.is_empty() {
            context::tell_called(&std::mem::take(&mut context.called));
        }
        if retries > 0 || failed || !warnings.is_empty() {
            context::tell_surrounding(retries, failed, warnings);
        }
        polled
    }
}

/// A context of the same limits that has seen nothing.
fn nothing(like: &Context) -> Context {
    Context {
        deadline: like.deadline,
        priority: like.priority,
        learning: like.learning,
        deferrable: like.deferrable,
        retries_left: like.retries_left,
        retries_made: 0,
        failed_inside: false,
        called: Called::default(),
        warnings: Vec::new(),
        around: like.around,
    }
}

#[cfg(test)]
mod tests;
