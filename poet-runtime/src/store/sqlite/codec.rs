//! Rows in, rows out: what a value of ours is in a column, and back.
//!
//! A row with a name that this version does not know was written by a newer one with the same tables; it is skipped
//! (`None`), because reading the rest is worth more than refusing all.

use crate::clock::Wall;
use crate::outcome::{Ending, FailureKind, Withheld};
use crate::store::{Good, OutcomeRow, ParameterKey, ParameterRow, Realised, Standing, TargetKey, Trouble};
use rusqlite::{ErrorCode, Row};
use std::time::Duration;

/// The columns [`outcome`] reads, of `outcomes o` with its targets, functions and runs.
pub(super) const OUTCOME: &str = "t.service, t.operation, f.name, r.run, o.execution, o.ended, o.ending, o.class, \
     o.attempts, o.elapsed, o.timeout, o.retries, o.revision, o.withheld";

/// The columns [`parameter`] reads, of `parameters p` or `parameter_changes p` with its target.
pub(super) const PARAMETER: &str = "t.service, t.operation, p.name, p.after, p.value, p.standing, p.sample, p.low, \
     p.high, p.confidence, p.reason, p.evidence, p.changed, p.revision, p.good, p.good_revision, p.predicted";

/// The columns [`realised`] reads, of `parameter_changes p`, after those of [`PARAMETER`] and the old value.
pub(super) const REALISED: &str = "p.gain, p.gain_low, p.gain_high, p.calls, p.compared";

/// An outcome from the columns of [`OUTCOME`].
pub(super) fn outcome(row: &Row<'_>) -> rusqlite::Result<Option<OutcomeRow>> {
    let Some(ending) = Ending::from_name(row.get_ref(6)?.as_str()?) else {
        return Ok(None);
    };
    Ok(Some(OutcomeRow {
        target: target(row)?,
        function: row.get(2)?,
        run: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
        execution: row.get::<_, i64>(4)?.cast_unsigned(),
        ended: Wall::from_millis(row.get(5)?),
        ending,
        class: row.get(7)?,
        attempts: row.get(8)?,
        elapsed: duration(row.get(9)?),
        timeout: duration(row.get(10)?),
        retries: row.get(11)?,
        revision: row.get::<_, i64>(12)?.cast_unsigned(),
        withheld: row.get_ref(13)?.as_str_or_null()?.and_then(Withheld::from_name),
    }))
}

/// A parameter from the columns of [`PARAMETER`].
pub(super) fn parameter(row: &Row<'_>) -> rusqlite::Result<Option<ParameterRow>> {
    let after = match row.get_ref(3)?.as_str()? {
        "" => None,
        name => match FailureKind::from_name(name) {
            Some(kind) => Some(kind),
            None => return Ok(None),
        },
    };
    let Some(standing) = Standing::from_name(row.get_ref(5)?.as_str()?) else {
        return Ok(None);
    };
    let good: Option<f64> = row.get(14)?;
    Ok(Some(ParameterRow {
        key: ParameterKey { target: target(row)?, name: row.get(2)?, after },
        value: row.get(4)?,
        standing,
        good: match good {
            Some(value) => Some(Good { value, revision: row.get::<_, i64>(15)?.cast_unsigned() }),
            None => None,
        },
        sample: row.get::<_, i64>(6)?.cast_unsigned(),
        interval: (row.get(7)?, row.get(8)?),
        confidence: row.get(9)?,
        predicted: row.get(16)?,
        reason: row.get(10)?,
        evidence: row.get(11)?,
        changed: Wall::from_millis(row.get(12)?),
        revision: row.get::<_, i64>(13)?.cast_unsigned(),
    }))
}

/// What a move turned out to bring, from the columns of [`REALISED`].
pub(super) fn realised(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Realised>> {
    let gain: Option<f64> = row.get(at)?;
    let Some(gain) = gain else { return Ok(None) };
    let count = |index: usize| row.get::<_, i64>(at + index).map(i64::cast_unsigned);
    Ok(Some(Realised { gain, interval: (row.get(at + 1)?, row.get(at + 2)?), calls: count(3)?, compared: count(4)? }))
}

fn target(row: &Row<'_>) -> rusqlite::Result<TargetKey> {
    Ok(TargetKey { service: row.get(0)?, operation: row.get(1)? })
}

/// The column of a parameter's kind of failure.
pub(super) fn after(kind: Option<FailureKind>) -> &'static str {
    kind.map_or("", FailureKind::as_str)
}

/// The column of a duration: microseconds.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(micros.max(0).cast_unsigned())
}

/// The column of a count.
pub(super) fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// What an error of SQLite means to whoever asked.
pub(crate) fn trouble(error: &rusqlite::Error) -> Trouble {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            Trouble::Locked
        }
        Some(ErrorCode::DiskFull) => Trouble::Full,
        // A WAL database that exists cannot be opened where its log may not be created.
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Trouble::ReadOnly,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Trouble::Corrupt,
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig) => Trouble::Refused,
        _ => Trouble::Other,
    }
}
