//! A job as a row, and back.
//!
//! A row with a name or a text that this version does not understand is not a job to it (`None`): a newer one wrote
//! it, or somebody did by hand, and the others are worth more than refusing all.

use crate::clock::Wall;
use crate::defer::job::{Job, NewJob, Reason, State, Token};
use crate::site::Priority;
use rusqlite::{Connection, Row, params};
use serde_json::Value;

/// The columns that [`read`] reads, of `jobs`.
pub(super) const COLUMNS: &str = "number, id, profile, service, operation, arguments, options, repeatable, priority, \
     order_key, reason, state, created, due, expires, started, ended, attempts, max_attempts, owner, token, until, \
     execution, error, result, resolved, accepted";

/// A job and its place in the order of the queue.
pub(super) struct Numbered {
    pub(super) number: i64,
    pub(super) job: Job,
}

/// A job from [`COLUMNS`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Option<Numbered>> {
    let wall = |index| row.get::<_, Option<i64>>(index).map(|millis| millis.map(Wall::from_millis));
    let count = |index| row.get::<_, i64>(index).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let arguments = match row.get_ref(5)?.as_str_or_null()? {
        None => None,
        Some(text) => match serde_json::from_str(text) {
            Ok(Value::Object(arguments)) => Some(arguments),
            _ => return Ok(None),
        },
    };
    let id = row.get_ref(1)?.as_str()?.parse().ok();
    let reason = Reason::from_name(row.get_ref(10)?.as_str()?);
    let state = State::from_name(row.get_ref(11)?.as_str()?);
    let priority = usize::try_from(row.get::<_, i64>(8)?).ok().and_then(|index| Priority::ALL.get(index).copied());
    let (Some(id), Some(reason), Some(state), Some(priority)) = (id, reason, state, priority) else {
        return Ok(None);
    };
    let job = Job {
        id,
        profile: row.get(2)?,
        service: row.get(3)?,
        operation: row.get(4)?,
        arguments,
        options: json(row, 6)?.unwrap_or(Value::Null),
        repeatable: row.get(7)?,
        priority,
        order_key: row.get(9)?,
        reason,
        state,
        created: Wall::from_millis(row.get(12)?),
        due: Wall::from_millis(row.get(13)?),
        expires: Wall::from_millis(row.get(14)?),
        started: wall(15)?,
        ended: wall(16)?,
        attempts: count(17)?,
        max_attempts: count(18)?,
        owner: row.get(19)?,
        token: Token(row.get::<_, i64>(20)?.max(0).cast_unsigned()),
        until: wall(21)?,
        execution: row.get(22)?,
        error: row.get(23)?,
        result: json(row, 24)?,
        resolved: row.get(25)?,
        accepted: row.get(26)?,
    };
    Ok(Some(Numbered { number: row.get(0)?, job }))
}

fn json(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Value>> {
    Ok(row.get_ref(index)?.as_str_or_null()?.and_then(|text| serde_json::from_str(text).ok()))
}

/// Adds a job; one with an order key is no head until [`super::changes`] has looked.
pub(super) fn insert(connection: &Connection, job: &NewJob) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO jobs (id, profile, service, operation, arguments, options, repeatable, priority, order_key, \
         head, reason, state, created, due, expires, attempts, max_attempts, token, execution, accepted) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'pending', ?12, ?13, ?14, ?18, ?15, 0, ?16, ?17)",
    )?;
    insert.execute(params![
        job.id.to_string(),
        job.profile,
        job.service,
        job.operation,
        serde_json::to_string(&job.arguments).expect("JSON can be written as text"),
        (!job.options.is_null()).then(|| job.options.to_string()),
        job.repeatable,
        job.priority as i64,
        job.order_key,
        job.order_key.is_none(),
        job.reason.as_str(),
        job.created.millis(),
        job.due.millis(),
        job.expires.millis(),
        job.max_attempts,
        job.execution,
        job.accepted,
        job.accepted.is_some(),
    ])?;
    Ok(())
}

/// Writes what may have changed about a job.
pub(super) fn update(connection: &Connection, row: &Numbered) -> rusqlite::Result<()> {
    let Numbered { number, job } = row;
    let mut update = connection.prepare_cached(
        "UPDATE jobs SET state = ?2, due = ?3, expires = ?4, started = ?5, ended = ?6, attempts = ?7, owner = ?8, \
         token = ?9, until = ?10, error = ?11, result = ?12, resolved = ?13, accepted = ?15, \
         arguments = iif(?14, arguments, NULL), options = iif(?14, options, NULL) WHERE number = ?1",
    )?;
    update.execute(params![
        number,
        job.state.as_str(),
        job.due.millis(),
        job.expires.millis(),
        job.started.map(Wall::millis),
        job.ended.map(Wall::millis),
        job.attempts,
        job.owner,
        i64::try_from(job.token.0).unwrap_or(i64::MAX),
        job.until.map(Wall::millis),
        job.error,
        job.result.as_ref().map(Value::to_string),
        job.resolved,
        job.arguments.is_some(),
        job.accepted,
    ])?;
    Ok(())
}
