//! A group of changes in one transaction, each in a savepoint of its own.
//!
//! What a change makes of a job is decided in `transition.rs`; here it is read, and written back. A job with an order
//! key can be leased only while it is the *head* of its key, which is kept in its row: looking for older jobs while
//! leasing would read every job of a key that has many.

use super::reads;
use super::row::{self, Numbered};
use crate::clock::Wall;
use crate::defer::job::{Job, JobId, NewJob, State, Token};
use crate::defer::queue::{Answer, Change, MAX_ENDED, QueueError, Recovered, SLICE, Wanted};
use crate::store::sqlite::codec::trouble;
use crate::store::{StoreError, Trouble};
use rusqlite::{Connection, Params, TransactionBehavior};
use std::collections::HashSet;
use std::time::Duration;

pub(super) const LAPSED: &str =
    "SELECT number FROM jobs WHERE state = 'leased' AND until <= ?1 ORDER BY until LIMIT ?2";

pub(super) const EXPIRED: &str =
    "SELECT number FROM jobs WHERE state = 'pending' AND expires <= ?1 ORDER BY expires LIMIT ?2";

pub(super) const OLDEST_OF_KEY: &str = "SELECT min(number) FROM jobs \
     WHERE order_key = ?1 AND state = ?2 AND state IN ('pending', 'leased', 'uncertain')";

pub(super) const NOT_HEADS: &str = "UPDATE jobs SET head = 0 \
     WHERE order_key = ?1 AND state = 'pending' AND head = 1 AND number IS NOT ?2";

pub(super) const PRUNE: &str = "DELETE FROM jobs WHERE number IN (SELECT number FROM jobs \
     WHERE state IN ('done', 'failed', 'dead') AND ended < ?1 ORDER BY ended LIMIT ?2)";

/// Why one change is not made: it is refused, or SQLite cannot.
enum Stop {
    Refused(QueueError),
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<QueueError> for Stop {
    fn from(error: QueueError) -> Self {
        Self::Refused(error)
    }
}

pub(super) fn apply(
    connection: &mut Connection,
    changes: &[Change],
) -> rusqlite::Result<Vec<Result<Answer, QueueError>>> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut answers = Vec::with_capacity(changes.len());
    for change in changes {
        let savepoint = transaction.savepoint()?;
        match make(&savepoint, change) {
            Ok(answer) => {
                savepoint.commit()?;
                answers.push(Ok(answer));
            }
            // Dropped, a savepoint is rolled back.
            Err(Stop::Refused(error)) => answers.push(Err(error)),
            Err(Stop::Failed(error)) if trouble(&error) == Trouble::Refused => {
                answers.push(Err(StoreError::of(Trouble::Refused, "storing a job", error).into()));
            }
            Err(Stop::Failed(error)) => return Err(error),
        }
    }
    transaction.commit()?;
    Ok(answers)
}

fn make(connection: &Connection, change: &Change) -> Result<Answer, Stop> {
    match change {
        Change::Enqueue { jobs, max_pending } => enqueue(connection, jobs, *max_pending),
        Change::Lease { worker, wanted, limit, lease, now } => {
            Ok(Answer::Leased(take(connection, worker, wanted, *limit, *lease, *now)?))
        }
        Change::Renew { held, lease, now } => Ok(Answer::Renewed(renew(connection, held, now.after(*lease))?)),
        Change::Report { id, token, verdict, now } => {
            on_job(connection, *id, |job| Ok(job.reported(*token, verdict, *now)))
                .map(|(_, said)| Answer::Reported(said))
        }
        Change::Recover { now } => Ok(Answer::Recovered(recover(connection, *now)?)),
        Change::Cancel { id, note, now } => intervene(connection, *id, |job| job.cancel(note, *now)),
        Change::Retry { id, note, now } => intervene(connection, *id, |job| job.retry(note, *now)),
        Change::Resolve { id, resolution, note, now } => {
            intervene(connection, *id, |job| job.resolve(resolution, note, *now))
        }
        Change::Prune { before } => Ok(Answer::Pruned(prune(connection, *before)?)),
    }
}

fn execute(connection: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute(params)
}

fn numbers(connection: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<Vec<i64>> {
    connection.prepare_cached(sql)?.query_map(params, |row| row.get(0))?.collect()
}

fn enqueue(connection: &Connection, jobs: &[NewJob], max: u64) -> Result<Answer, Stop> {
    let mut known = connection.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1")?;
    let mut new = Vec::new();
    for job in jobs {
        if !known.exists([job.id.to_string()])? {
            new.push(job);
        }
    }
    let live = reads::counts(connection)?.live();
    if !new.is_empty() && live.saturating_add(new.len() as u64) > max {
        return Err(QueueError::Full { live, max }.into());
    }
    for job in &new {
        row::insert(connection, job)?;
    }
    for key in new.iter().filter_map(|job| job.order_key.as_deref()).collect::<HashSet<_>>() {
        set_head(connection, key)?;
    }
    Ok(Answer::Enqueued)
}

fn take(
    connection: &Connection,
    worker: &str,
    wanted: &Wanted,
    limit: usize,
    lease: Duration,
    now: Wall,
) -> rusqlite::Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for mut row in reads::due(connection, wanted, limit, now)? {
        row.job.leased(worker, now.after(lease), now);
        row::update(connection, &row)?;
        jobs.push(row.job);
    }
    Ok(jobs)
}

fn renew(connection: &Connection, held: &[(JobId, Token)], until: Wall) -> rusqlite::Result<Vec<JobId>> {
    let mut lost = Vec::new();
    for (id, token) in held {
        let mut row = reads::numbered(connection, *id)?;
        let holds = row.as_mut().is_some_and(|row| row.job.renewed(*token, until));
        match row.filter(|_| holds) {
            Some(row) => row::update(connection, &row)?,
            None => lost.push(*id),
        }
    }
    Ok(lost)
}

fn intervene(
    connection: &Connection,
    id: JobId,
    decide: impl FnOnce(&mut Job) -> Result<(), QueueError>,
) -> Result<Answer, Stop> {
    on_job(connection, id, decide).map(|(job, ())| Answer::Changed(Box::new(job)))
}

fn on_job<T>(
    connection: &Connection,
    id: JobId,
    decide: impl FnOnce(&mut Job) -> Result<T, QueueError>,
) -> Result<(Job, T), Stop> {
    let mut row = reads::numbered(connection, id)?.ok_or(QueueError::Missing(id))?;
    let said = decide(&mut row.job)?;
    put_back(connection, &row)?;
    Ok((row.job, said))
}

fn put_back(connection: &Connection, row: &Numbered) -> rusqlite::Result<()> {
    row::update(connection, row)?;
    row.job.order_key.as_deref().map_or(Ok(()), |key| set_head(connection, key))
}

fn recover(connection: &Connection, now: Wall) -> rusqlite::Result<Recovered> {
    let mut recovered = Recovered::default();
    let slice = [now.millis(), SLICE as i64];
    for number in numbers(connection, LAPSED, slice)? {
        let Some(mut row) = reads::at(connection, number)? else { continue };
        row.job.lapsed(now);
        put_back(connection, &row)?;
        recovered.add(row.job.id, row.job.state);
    }
    for number in numbers(connection, EXPIRED, slice)? {
        let Some(mut row) = reads::at(connection, number)? else { continue };
        row.job.expired(now);
        put_back(connection, &row)?;
        recovered.add(row.job.id, row.job.state);
    }
    Ok(recovered)
}

/// Finds the job of a key that may be leased: the oldest, unless it is uncertain or any of them is under way.
fn set_head(connection: &Connection, key: &str) -> rusqlite::Result<()> {
    let mut oldest = connection.prepare_cached(OLDEST_OF_KEY)?;
    let mut oldest = |state: State| oldest.query_row([key, state.as_str()], |row| row.get::<_, Option<i64>>(0));
    let pending = oldest(State::Pending)?;
    let uncertain = oldest(State::Uncertain)?;
    let free = oldest(State::Leased)?.is_none();
    let head = pending.filter(|number| free && uncertain.is_none_or(|uncertain| *number < uncertain));
    execute(connection, NOT_HEADS, (key, head))?;
    if let Some(head) = head {
        execute(connection, "UPDATE jobs SET head = 1 WHERE number = ?1 AND head = 0", [head])?;
    }
    Ok(())
}

fn prune(connection: &Connection, before: Wall) -> rusqlite::Result<u64> {
    let counts = reads::counts(connection)?;
    let ended: u64 = State::ALL.into_iter().filter(|state| state.has_ended()).map(|state| counts.of(state)).sum();
    let surplus = ended.saturating_sub(MAX_ENDED).min(SLICE as u64);
    let surplus = execute(connection, PRUNE, [i64::MAX, surplus.cast_signed()])?;
    let old = execute(connection, PRUNE, [before.millis(), (SLICE - surplus) as i64])?;
    Ok((surplus + old) as u64)
}
