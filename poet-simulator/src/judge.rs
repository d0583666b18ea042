//! Judges what came of a world against the goals that its file states.

use crate::campaign::Outcome;
use crate::world::{Goal, Lived, Summary, World};
use serde::Serialize;

/// The figures that a goal can be about, and what they are.
pub const FIGURES: [(&str, &str); 26] = [
    ("gap_covered", "how much of the utility from `none` to `clairvoyant` is covered"),
    ("regret", "how much less utility than `best_static`"),
    ("loss", "the same as a share of the utility of `best_static`"),
    ("utility", "what a request was worth"),
    ("now", "share of requests done at once"),
    ("high", "share of requests done at once, of those that somebody waited for"),
    ("eventually", "share of requests done in the end"),
    ("mean", "mean time of a request, in seconds"),
    ("p95", "time within which 95 % of the requests ended, in seconds"),
    ("p99", "time within which 99 % of the requests ended, in seconds"),
    ("cost", "dollars for each request"),
    ("hits", "share of reads answered from memory"),
    ("stale", "share of hits that held no longer"),
    ("calls_saved", "how many fewer calls than `none`"),
    ("request_timeouts_saved", "how many fewer requests lost to timeouts than `none`"),
    ("call_timeouts_saved", "how many fewer attempts given up than `none`"),
    ("down_calls", "attempts of a thousand requests that came while the service was down"),
    ("amplification", "attempts for each call that was wanted of a service in trouble"),
    ("lag", "seconds from the end of an outage until an attempt reached the service"),
    ("recovers_after", "seconds from the end of the last cut of capacity until all is answered again"),
    ("refused_up", "calls of a thousand requests refused although the service was up"),
    ("wrong_attempts", "attempts for each call that was wrong"),
    ("false_flags", "share of service-hours flagged although they are as good as others"),
    ("flag_found", "days until an hour was flagged that is worse (`truth` says which)"),
    ("parameter", "a learned value at the end"),
    ("parameter_error", "how far a learned value at the end is from the truth, as a share of it"),
];

/// A goal with what was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The figure, with what it is about.
    pub figure: String,
    /// Whose.
    pub policy: String,
    /// At which rate, where a world is lived through at several.
    pub rate: Option<f64>,
    /// What it shall be.
    pub goal: String,
    /// What it was in each run; `None` where it could not be measured.
    pub runs: Vec<Option<f64>>,
    /// Whether the share of runs that reach it is judged, and not their mean.
    pub of_runs: bool,
    /// What is judged.
    pub measured: Option<f64>,
    /// Whether it is reached; `None` where it could not be measured.
    pub reached: Option<bool>,
    /// What bounds it.
    pub bound: String,
}

/// Judges every goal at every rate.
#[must_use]
pub fn judge(world: &World, outcomes: &[Outcome]) -> Vec<Verdict> {
    let mut rates: Vec<f64> = outcomes.iter().map(|outcome| outcome.rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    let several = rates.len() > 1;
    let goals = world.goals.iter().filter(|goal| outcomes.iter().any(|outcome| outcome.policy == goal.policy));
    goals.flat_map(|goal| rates.iter().map(move |rate| one(world, goal, outcomes, *rate, several))).collect()
}

fn one(world: &World, goal: &Goal, outcomes: &[Outcome], rate: f64, several: bool) -> Verdict {
    let at_rate: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.rate.total_cmp(&rate).is_eq()).collect();
    let own = at_rate.iter().filter(|outcome| outcome.policy == goal.policy);
    let runs: Vec<Option<f64>> = own
        .map(|outcome| {
            let beside = |policy: &str| {
                at_rate
                    .iter()
                    .find(|other| other.policy == policy && other.seed == outcome.seed)
                    .map(|other| &other.lived.summary)
            };
            figure(world, goal, &outcome.lived, beside)
        })
        .collect();
    let holds =
        |value: f64| goal.at_least.is_none_or(|least| value >= least) && goal.at_most.is_none_or(|most| value <= most);
    let known: Vec<f64> = runs.iter().filter_map(|run| *run).collect();
    let mean = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
    let (measured, reached) = match goal.in_runs {
        None => (mean, mean.map(holds)),
        Some(wanted) => {
            // A run in which there was nothing to measure is one in which it was not reached.
            let share = known.iter().filter(|value| holds(**value)).count() as f64 / runs.len().max(1) as f64;
            (Some(share), Some(share >= wanted))
        }
    };
    let about = [&goal.service, &goal.operation, &goal.parameter].into_iter().flatten().cloned();
    let about = about.collect::<Vec<_>>().join(".");
    let mut bounds = Vec::new();
    bounds.extend(goal.at_least.map(|least| format!(">= {least}")));
    bounds.extend(goal.at_most.map(|most| format!("<= {most}")));
    bounds.extend(goal.in_runs.map(|share| format!("in {:.0} % of runs", 100.0 * share)));
    Verdict {
        figure: if about.is_empty() { goal.figure.clone() } else { format!("{} {about}", goal.figure) },
        policy: goal.policy.clone(),
        rate: several.then_some(rate),
        goal: bounds.join(" "),
        runs,
        of_runs: goal.in_runs.is_some(),
        measured,
        reached,
        bound: goal.bound.clone(),
    }
}

fn figure<'s>(world: &World, goal: &Goal, lived: &Lived, beside: impl Fn(&str) -> Option<&'s Summary>) -> Option<f64> {
    let own = &lived.summary;
    let saved = |of: fn(&Summary) -> f64| {
        let none = of(beside("none")?);
        (none > 0.0).then(|| 1.0 - of(own) / none)
    };
    Some(match goal.figure.as_str() {
        "gap_covered" => {
            let (none, best) = (beside("none")?.utility, beside("clairvoyant")?.utility);
            (own.utility - none) / (best - none)
        }
        "regret" => beside("best_static")?.utility - own.utility,
        "loss" => 1.0 - own.utility / beside("best_static")?.utility,
        "utility" => own.utility,
        "now" => own.now,
        "high" => own.high,
        "eventually" => own.eventually,
        "mean" => own.mean,
        "p95" => own.p95,
        "p99" => own.p99,
        "cost" => own.cost,
        "hits" => own.hits,
        "stale" => own.stale,
        "calls_saved" => saved(|s| s.calls)?,
        "request_timeouts_saved" => saved(|s| s.request_timeouts)?,
        "call_timeouts_saved" => saved(|s| s.call_timeouts)?,
        "down_calls" => own.down_calls,
        "amplification" => own.amplification,
        "lag" => own.lag,
        "recovers_after" => own.recovers_after,
        "refused_up" => own.refused_up,
        "wrong_attempts" => own.wrong,
        "false_flags" => false_flags(world, lived),
        "flag_found" => flag_found(goal, lived)?,
        "parameter" => value(goal, lived)?,
        "parameter_error" => {
            let truth = goal.truth?;
            (value(goal, lived)? / truth - 1.0).abs()
        }
        _ => return None,
    })
}

/// The value in force at the end; of a parameter with `evidence.` before it, what its last move was estimated from.
fn value(goal: &Goal, lived: &Lived) -> Option<f64> {
    let (service, operation, parameter) =
        (goal.service.as_deref()?, goal.operation.as_deref()?, goal.parameter.as_deref()?);
    if let Some((name, pointer)) = parameter.split_once('/') {
        let mut moves = lived.moves.iter().rev();
        let last = moves.find(|m| m.service == service && m.operation == operation && m.parameter == name)?;
        return last.evidence.pointer(&format!("/{pointer}"))?.as_f64();
    }
    let (.., values) = lived.values.iter().find(|(s, o, _)| s == service && o == operation)?;
    let (name, after) = match parameter.rsplit_once('.') {
        Some((stem, kind)) if poet_runtime::parameter::find(parameter).is_none() => {
            (stem, poet_runtime::FailureKind::from_name(kind))
        }
        _ => (parameter, None),
    };
    values.get(name, after)
}

/// Of all hours of all days of all services, the share that is flagged while the hour is no worse than others.
fn false_flags(world: &World, lived: &Lived) -> f64 {
    let life = lived.part * lived.parts.len() as f64;
    let mut flagged = 0.0;
    for model in &world.services {
        let worse: u32 =
            model.hours.iter().filter(|(_, factor)| *factor > 1.0).map(|(hour, _)| 1 << u32::from(*hour)).sum();
        let moves: Vec<_> = lived.moves.iter().filter(|m| m.service == model.name).collect();
        let mut operations: Vec<_> = moves.iter().map(|m| m.operation.as_str()).collect();
        operations.sort_unstable();
        operations.dedup();
        // An hour of a service is flagged where it is for any of its operations.
        let mut masks: Vec<(f64, usize, u32)> = Vec::new();
        for m in &moves {
            if let Some(hours) = m.hours() {
                let operation = operations.iter().position(|known| *known == m.operation).unwrap_or(0);
                masks.push((m.second / 86_400.0, operation, hours & !worse));
            }
        }
        masks.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut now = vec![0_u32; operations.len()];
        for (index, (at, operation, mask)) in masks.iter().enumerate() {
            now[*operation] = *mask;
            let until = masks.get(index + 1).map_or(life, |(at, ..)| *at);
            let any = now.iter().fold(0, |all, mask| all | mask);
            flagged += f64::from(any.count_ones()) * (until - at);
        }
    }
    flagged / (24.0 * life * world.services.len() as f64)
}

/// The day on which the hour was flagged first.
fn flag_found(goal: &Goal, lived: &Lived) -> Option<f64> {
    let hour = 1_u32 << (goal.truth? as u32).min(23);
    let mut moves = lived.moves.iter().filter(|m| goal.service.as_deref().is_none_or(|service| m.service == service));
    moves.find(|m| m.hours().is_some_and(|hours| hours & hour != 0)).map(|m| m.second / 86_400.0)
}
