//! Reports as JSON: stable names, rates as fractions, times in seconds, instants in UTC.
//!
//! `schema` counts the incompatible changes. New fields may come at any time without one.

use super::{Cascade, Dependency, Execution, InForce, Outages, Report, Share, Target, Times};
use crate::outcome::{FailureKind, Withheld};
use crate::store::{ParameterChange, ParameterRow, TargetKey};
use serde_json::{Map, Value, json};

/// The version of what is written here.
pub const SCHEMA: u32 = 1;

/// A whole report.
#[must_use]
pub fn report(report: &Report) -> Value {
    json!({
        "schema": SCHEMA,
        "store": report.store,
        "taken": report.taken.to_string(),
        "targets": report.targets.iter().map(target).collect::<Vec<_>>(),
        "changes": report.changes.iter().map(change).collect::<Vec<_>>(),
        "executions": report.executions.iter().map(execution).collect::<Vec<_>>(),
        "recorder": { "folded": report.folded },
    })
}

/// The parameters of every service and operation.
#[must_use]
pub fn parameters(report: &Report) -> Value {
    let list = report
        .targets
        .iter()
        .flat_map(|target| target.parameters.iter().map(|known| named(&target.key, in_force(known))));
    json!({ "schema": SCHEMA, "parameters": list.collect::<Vec<_>>() })
}

/// One parameter of a service and operation with every move it made, oldest first.
#[must_use]
pub fn parameter(target: &TargetKey, known: &InForce, changes: &[&ParameterChange]) -> Value {
    let mut value = named(target, in_force(known));
    value["schema"] = json!(SCHEMA);
    value["about"] = json!(known.parameter.about);
    value["bounds"] = json!([known.parameter.min, known.parameter.max]);
    value["history"] = changes.iter().map(|moved| change(moved)).collect();
    value
}

/// What a person decided: the move as it is stored, and what it means.
#[must_use]
pub fn decision(moved: &ParameterChange, meaning: &str) -> Value {
    let mut value = change(moved);
    value["schema"] = json!(SCHEMA);
    value["in_force"] = json!(moved.new.in_force());
    value["meaning"] = json!(meaning);
    value
}

/// Every move of a parameter.
#[must_use]
pub fn history(changes: &[&ParameterChange]) -> Value {
    json!({ "schema": SCHEMA, "changes": changes.iter().map(|moved| change(moved)).collect::<Vec<_>>() })
}

fn target(target: &Target) -> Value {
    let endings: Map<_, _> = target.endings.iter().map(|(ending, n)| (ending.as_str().to_owned(), json!(n))).collect();
    let attempts: Map<_, _> = target.attempts.iter().map(|(class, n)| ((*class).to_owned(), json!(n))).collect();
    let body = json!({
        "endings": endings,
        "attempts": attempts,
        "attempts_per_call": target.attempts_per_call,
        "success_rate": target.success_rate,
        "cache_hit_rate": target.cache_hit_rate,
        "health": {
            "health_status": target.condition.as_str(),
            "success_rate_1h": target.vitals.recent.rate(),
            "success_rate_24h": target.vitals.day.rate(),
            "attempts_24h": target.vitals.day.attempts().round(),
            "avg_response_time": target.vitals.mean().map(|mean| mean.as_secs_f64()),
            "cache_hit_rate": target.vitals.cache_hit_rate(),
            "degradation_skill": target.degradation_skill,
        },
        "outages": target.outages.as_ref().map(outages),
        "another_since": target.another_since.map(|since| since.to_string()),
        "latency": target.latency.map(times),
        "given_up": target.given_up,
        "call_time": target.call_time.map(times),
        "needs": target.needs.iter().map(dependency).collect::<Vec<_>>(),
        "needs_untold": target.untold,
        "felt_by": target.felt_by.iter().map(dependency).collect::<Vec<_>>(),
        "parameters": target.parameters.iter().map(in_force).collect::<Vec<_>>(),
    });
    named(&target.key, body)
}

fn named(target: &TargetKey, mut body: Value) -> Value {
    body["service"] = json!(target.service);
    body["operation"] = json!(target.operation);
    body
}

fn outages(outages: &Outages) -> Value {
    let Cascade { risk, rank, interval, hours } = outages.cascade;
    json!({
        "count": outages.count,
        "recovery_time": {
            "p50": outages.recovery_p50.map(|time| time.as_secs_f64()),
            "p90": outages.recovery_p90.map(|time| time.as_secs_f64()),
        },
        "transient_failures": outages.transient_share,
        "cascade_risk": risk.as_str(),
        "cascade": { "rank": rank, "interval": [interval.0, interval.1], "hours": hours },
    })
}

fn dependency(dependency: &Dependency) -> Value {
    let share = |share: Share| {
        json!({
            "executions": share.executions,
            "failed": share.failed,
            "failure_rate": share.estimate,
            "interval": [share.interval.0, share.interval.1],
        })
    };
    let body = json!({
        "called": dependency.felt.called,
        "failed": dependency.felt.failed,
        "then": share(dependency.then),
        "otherwise": share(dependency.otherwise),
        "lost": dependency.lost,
    });
    named(&dependency.other, body)
}

fn times(times: Times) -> Value {
    json!({ "count": times.count, "mean": times.mean, "p50": times.p50, "p95": times.p95, "p99": times.p99 })
}

fn in_force(known: &InForce) -> Value {
    json!({
        "name": known.parameter.name,
        "after": known.after.map(FailureKind::as_str),
        "value": known.value,
        "default": known.default,
        "origin": known.origin.as_str(),
        "learned": known.learned.as_ref().map(learned),
    })
}

fn learned(row: &ParameterRow) -> Value {
    json!({
        "value": row.value,
        "applied": row.is_applied(),
        "standing": row.standing.as_str(),
        "good": row.good.map(|good| good.value),
        "predicted": row.predicted,
        "sample": row.sample,
        "interval": [row.interval.0, row.interval.1],
        "confidence": row.confidence,
        "reason": row.reason,
        // Evidence of a newer version that is no JSON is still evidence.
        "evidence": serde_json::from_str(&row.evidence).unwrap_or_else(|_| json!(row.evidence)),
        "changed": row.changed.to_string(),
        "revision": row.revision,
    })
}

fn change(change: &ParameterChange) -> Value {
    let mut body = named(&change.new.key.target, learned(&change.new));
    body["name"] = json!(change.new.key.name);
    body["after"] = json!(change.new.key.after.map(FailureKind::as_str));
    body["old"] = json!(change.old);
    body["realised"] = json!(change.realised.map(|realised| json!({
        "gain": realised.gain,
        "interval": [realised.interval.0, realised.interval.1],
        "calls": realised.calls,
        "compared": realised.compared,
    })));
    body
}

fn execution(execution: &Execution) -> Value {
    let row = &execution.outcome;
    let decided_by = execution.decided_by.iter().map(|row| {
        let after = row.key.after.map(FailureKind::as_str);
        json!({ "name": row.key.name, "after": after, "value": row.value, "revision": row.revision })
    });
    let body = json!({
        "function": row.function,
        "run": row.run,
        "execution": row.execution,
        "ended": row.ended.to_string(),
        "ending": row.ending.as_str(),
        "class": row.class,
        "attempts": row.attempts,
        "elapsed": row.elapsed.as_secs_f64(),
        "timeout": row.timeout.as_secs_f64(),
        "retries": row.retries,
        "withheld": row.withheld.map(Withheld::as_str),
        "revision": row.revision,
        "decided_by": decided_by.collect::<Vec<_>>(),
    });
    named(&row.target, body)
}
