//! What was learned in a run: every move of every parameter, dated in seconds of the world.

use poet_runtime::parameter;
use poet_runtime::store::{ParameterChange, Standing};
use serde::Serialize;
use serde_json::Value;

/// One move of a parameter.
#[derive(Clone, Debug, Serialize)]
pub struct Move {
    /// When, in seconds of the world.
    pub second: f64,
    /// The service.
    pub service: String,
    /// The operation.
    pub operation: String,
    /// The parameter.
    pub parameter: String,
    /// The kind of failure, where it has a value for each.
    pub after: Option<&'static str>,
    /// The value before.
    pub old: Option<f64>,
    /// The value.
    pub new: f64,
    /// What it is by now: on trial, confirmed, only found, …
    pub standing: &'static str,
    /// Whether calls are made with it.
    pub applied: bool,
    /// What it was estimated from.
    pub evidence: Value,
}

impl Move {
    pub(super) fn of(change: &ParameterChange, begin: i64) -> Self {
        let row = &change.new;
        Self {
            second: (row.changed.millis() - begin) as f64 / 1_000.0,
            service: row.key.target.service.clone(),
            operation: row.key.target.operation.clone(),
            parameter: row.key.name.clone(),
            after: row.key.after.map(poet_runtime::FailureKind::as_str),
            old: change.old,
            new: row.value,
            standing: row.standing.as_str(),
            applied: row.is_applied(),
            evidence: serde_json::from_str(&row.evidence).unwrap_or(Value::Null),
        }
    }

    /// The hours of the day it flags, be they acted on or only worth knowing; `None` where it is not about them.
    #[must_use]
    pub fn hours(&self) -> Option<u32> {
        let forgotten =
            [Standing::Reset, Standing::Forgotten].iter().any(|standing| standing.as_str() == self.standing);
        (self.parameter == parameter::DEFER_HOURS.name).then_some(if forgotten { 0 } else { self.new as u32 })
    }
}
