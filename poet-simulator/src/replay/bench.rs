//! What all studies share: records as the pipeline would make them, and small statistics.

use poet_runtime::{Attempt, Class, Ending, FailureKind, Finished, Record, Shown, TargetId, Turn, Wall};
use std::time::{Duration, Instant};

/// A minute since 1970 as a time of day.
pub(super) fn wall(minute: f64) -> Wall {
    Wall::from_millis((minute * 60_000.0) as i64)
}

fn record() -> Record {
    // Nothing that learns reads this moment: evidence is dated by the wall clock.
    Record::new(TargetId(0), 0, Instant::now())
}

/// An attempt; `after` where it was the retry of one that failed so.
pub(super) fn attempt(class: Class, elapsed: Duration, after: Option<FailureKind>) -> Record {
    let ordinal = if after.is_some() { 2 } else { 1 };
    Record { attempt: Some(Attempt { ordinal, after, ..Attempt::first(class, elapsed) }), ..record() }
}

/// A call that asked again for what was kept.
pub(super) fn refetched(age: u8, changed: bool) -> Record {
    let call = Finished { shown: Some(Shown::Refetched { age, changed }), ..Finished::of(Ending::Done) };
    Record { call: Some(call), ..record() }
}

/// What a circuit did.
pub(super) fn turn(turn: Turn) -> Record {
    Record { turn: Some(turn), ..record() }
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The value below which a share of all lies.
pub(super) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((share * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
}

/// Steps that are each this many times the one before, from `low` to `high`.
pub(super) fn steps(low: f64, high: f64, times: f64) -> Vec<f64> {
    std::iter::successors(Some(low), |step| Some(step * times)).take_while(|step| *step <= high).collect()
}
