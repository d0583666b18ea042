//! The dry run: what a plan would do now, in which order, how long it would take, and why.
//!
//! Pure but for the health of services, which it reads: nothing is sent, nothing is written down. Whether a call would be
//! put off is asked of the stage that would put it off. An estimate is
//! the median time of the operation's answers; where there is none, the step is said to be unknown, and the sum along
//! the longest way is a lower bound.

use super::compile::compile;
use super::declare::{Plan, Step};
use super::run::nodes;
use super::schedule::{Hold, Node};
use crate::clock::Wall;
use crate::context;
use crate::defer::Reason;
use crate::error::Error;
use crate::health::Condition;
use crate::pipeline::request::foreseen;
use crate::runtime::Runtime;
use crate::site::Priority;
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

/// How a step would be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// At once.
    Now,
    /// From the cache, if it has a kept answer.
    CacheFirst,
    /// Together with others of its kind.
    Batched,
    /// Acknowledged, and made by a worker.
    Queued,
    /// Put off until the service is well, or its hours are better.
    Deferred,
}

impl Mode {
    /// The name used in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::CacheFirst => "use_cached_data",
            Self::Batched => "batched",
            Self::Queued => "async",
            Self::Deferred => "defer",
        }
    }
}

/// One step of an [`Explanation`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explained {
    /// The step.
    pub name: String,
    /// The service and operation it calls; `None` for what is no call.
    pub target: Option<(String, String)>,
    /// The stage it starts in, from 1. Steps of one stage can run at the same time.
    pub stage: usize,
    /// How much it matters.
    pub priority: Priority,
    /// How it would be made.
    pub mode: Mode,
    /// When it would be made, if it were put off.
    pub scheduled: Option<Wall>,
    /// How long it usually takes; `None` where that is not known.
    pub estimate: Option<Duration>,
    /// Why it stands where it stands and is made as it is.
    pub reasons: Vec<String>,
}

/// What a run of a plan would do now.
///
/// Shown, it is a table; as JSON it has `sequence` and `optimizations`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The plan.
    pub name: String,
    /// The steps, in the order in which they would start.
    pub steps: Vec<Explained>,
    /// How many stages there are.
    pub stages: usize,
    /// How many steps run at the same time at most.
    pub max_parallel: usize,
    /// The sum of the estimates along the longest way through the plan.
    pub total: Duration,
    /// Whether a step without an estimate makes the sum a lower bound.
    pub at_least: bool,
}

pub(super) fn explain(plan: &Plan, runtime: &Runtime) -> Result<Explanation, Error> {
    let compiled = compile(plan)?;
    let around = context::surrounding(|outer| outer.map_or(Priority::Normal, |outer| outer.priority));
    let nodes = nodes(plan, &compiled, runtime, around);
    let order = order(&nodes);
    let mut stages = vec![1; nodes.len()];
    let mut ways = vec![Duration::ZERO; nodes.len()];
    let mut steps = Vec::with_capacity(nodes.len());
    let mut at_least = false;
    for &at in &order {
        let before = || nodes[at].after.iter().map(|(before, _)| *before);
        stages[at] = before().map(|before| stages[before] + 1).max().unwrap_or(1);
        let mut step = step(plan, &nodes, at, stages[at], runtime);
        // Nobody waits for what is made later.
        let awaited = !matches!(step.mode, Mode::Queued | Mode::Deferred);
        at_least |= awaited && step.estimate.is_none() && step.target.is_some();
        let own = step.estimate.filter(|_| awaited).unwrap_or_default();
        ways[at] = own + before().map(|before| ways[before]).max().unwrap_or_default();
        step.reasons.dedup();
        steps.push((stages[at], nodes[at].rank, step));
    }
    // What starts earlier first; the heap of a run pops in the same order within a stage.
    steps.sort_by_key(|(stage, rank, _)| (*stage, *rank));
    Ok(Explanation {
        name: plan.name.clone(),
        steps: steps.into_iter().map(|(_, _, step)| step).collect(),
        stages: stages.iter().copied().max().unwrap_or(0),
        max_parallel: plan.max_parallel,
        total: ways.into_iter().max().unwrap_or_default(),
        at_least,
    })
}

/// Every step after those it depends on.
fn order(nodes: &[Node]) -> Vec<usize> {
    let mut waiting: Vec<_> = nodes.iter().map(|node| node.after.len()).collect();
    let mut dependents = vec![Vec::new(); nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        node.after.iter().for_each(|(before, _)| dependents[*before].push(at));
    }
    let mut order: Vec<_> = (0..nodes.len()).filter(|&at| waiting[at] == 0).collect();
    let mut next = 0;
    while let Some(&at) = order.get(next) {
        next += 1;
        for &dependent in &dependents[at] {
            waiting[dependent] -= 1;
            if waiting[dependent] == 0 {
                order.push(dependent);
            }
        }
    }
    order
}

fn step(plan: &Plan, nodes: &[Node], at: usize, stage: usize, runtime: &Runtime) -> Explained {
    let declared = &plan.steps[at];
    let priority = nodes[at].rank.0.0;
    let target = declared.action.as_ref().and_then(|action| action.target());
    let health = target.and_then(|(service, operation)| runtime.health(service, operation));
    let mut reasons: Vec<_> = nodes[at]
        .after
        .iter()
        .map(|(before, hold)| {
            let name = &plan.steps[*before].name;
            match hold {
                Hold::Data => format!("dependency: {name}"),
                Hold::Order => format!("after: {name}"),
            }
        })
        .collect();
    if let Some(when) = &declared.when {
        reasons.push(format!("condition: {when}"));
    }
    if priority != Priority::Normal {
        reasons.push(format!("priority {}", priority.as_str()));
    }
    if health.as_ref().is_some_and(|health| matches!(health.condition, Condition::Degraded | Condition::Down)) {
        reasons.push(Reason::ServiceDegraded.as_str().to_owned());
    }
    if declared.optional {
        reasons.push("optional".to_owned());
    }
    let (mode, scheduled) = mode(plan, declared, priority, runtime, &mut reasons);
    let owned = |(service, operation): (&str, &str)| (service.to_owned(), operation.to_owned());
    Explained {
        name: declared.name.clone(),
        target: target.map(owned),
        stage,
        priority,
        mode,
        scheduled,
        estimate: health.and_then(|health| health.median),
        reasons,
    }
}

fn mode(
    plan: &Plan,
    step: &Step,
    priority: Priority,
    runtime: &Runtime,
    reasons: &mut Vec<String>,
) -> (Mode, Option<Wall>) {
    let Some(action) = &step.action else { return (Mode::Now, None) };
    let outlook = action.outlook(runtime);
    if let Some(target) = action.target().filter(|_| runtime.0.deferral.desk.is_open()) {
        let priority = outlook.priority.unwrap_or(priority);
        let mut because = |reason: Reason| {
            let reason = reason.as_str();
            if reasons.iter().all(|known| known != reason) {
                reasons.push(reason.to_owned());
            }
        };
        if step.queued || outlook.queued.is_some_and(|up_to| priority <= up_to) {
            because(Reason::Acknowledged);
            let obstacle = foreseen(runtime, target, priority, Duration::ZERO);
            return (Mode::Queued, obstacle.map(|(_, due)| due));
        }
        let around = || context::surrounding(|outer| outer.is_some_and(|outer| outer.deferrable));
        let deferrable = step.deferrable || outlook.deferrable.unwrap_or_else(|| !outlook.read_only && around());
        if deferrable
            && priority < Priority::High
            && let Some((reason, due)) = foreseen(runtime, target, priority, plan.deadline)
        {
            because(reason);
            return (Mode::Deferred, Some(due));
        }
    }
    match outlook {
        _ if outlook.cacheable => (Mode::CacheFirst, None),
        _ if outlook.batchable => (Mode::Batched, None),
        _ => (Mode::Now, None),
    }
}

impl Explanation {
    /// The plan as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let sequence: Vec<_> = self.steps.iter().map(Explained::to_json).collect();
        let having = |mode: Mode| self.steps.iter().filter(|step| step.mode == mode).count();
        json!({
            "plan": self.name,
            "sequence": sequence,
            "optimizations": {
                "stages": self.stages,
                "max_parallel": self.max_parallel,
                "cache_checks": having(Mode::CacheFirst),
                "batched": having(Mode::Batched),
                "async": having(Mode::Queued),
                "deferred": having(Mode::Deferred),
            },
            "estimated_time": self.total.as_secs_f64(),
            "estimate_is_lower_bound": self.at_least,
        })
    }
}

impl Explained {
    fn to_json(&self) -> Value {
        let (service, operation) = self.target.as_ref().map(|(service, operation)| (service, operation)).unzip();
        json!({
            "step": self.name,
            "service": service,
            "operation": operation,
            "stage": self.stage,
            "priority": self.priority.as_str(),
            "execution_mode": self.mode.as_str(),
            "async": self.mode == Mode::Queued,
            "defer": self.mode == Mode::Deferred,
            "scheduled_time": self.scheduled.map(|at| at.to_string()),
            "estimated_time": self.estimate.map(|estimate| estimate.as_secs_f64()),
            "reasons": self.reasons,
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEAD: [&str; 6] = ["#", "stage", "step", "call", "how", "takes"];
        let rows: Vec<[String; 6]> = self
            .steps
            .iter()
            .zip(1..)
            .map(|(step, number): (_, usize)| {
                let call = step.target.as_ref().map(|(service, operation)| format!("{service}.{operation}"));
                let takes = step.estimate.map_or_else(|| "unknown".to_owned(), seconds);
                let how = match step.scheduled {
                    Some(at) => format!("{} until {at}", step.mode.as_str()),
                    None => step.mode.as_str().to_owned(),
                };
                let call = call.unwrap_or_else(|| "(code)".to_owned());
                [number.to_string(), step.stage.to_string(), step.name.clone(), call, how, takes]
            })
            .collect();
        let wide = |column: usize| {
            rows.iter().map(|row| row[column].chars().count()).chain([HEAD[column].len()]).max().unwrap_or(0)
        };
        let widths: [usize; 6] = std::array::from_fn(wide);
        for (column, head) in HEAD.iter().enumerate() {
            write!(f, "{head:<width$}  ", width = widths[column])?;
        }
        writeln!(f, "why")?;
        for (row, step) in rows.iter().zip(&self.steps) {
            for (column, cell) in row.iter().enumerate() {
                write!(f, "{cell:<width$}  ", width = widths[column])?;
            }
            writeln!(f, "{}", step.reasons.join(", "))?;
        }
        let at_least = if self.at_least { "at least " } else { "" };
        write!(f, "{} steps in {} stages, {at_least}{}", self.steps.len(), self.stages, seconds(self.total))
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests;
