//! What is asked of the queue without changing it.

use super::row::{self, COLUMNS, Numbered};
use crate::clock::Wall;
use crate::defer::job::{Job, JobId, State};
use crate::defer::queue::{Counts, Filter, Wanted};
use crate::site::Priority;
use rusqlite::{Connection, OptionalExtension, params};

/// What may be started of one priority, in order.
pub(super) const DUE: &str = "SELECT number, profile, service FROM jobs \
     WHERE state = 'pending' AND head = 1 AND priority = ?1 AND due <= ?2 AND expires > ?2 ORDER BY due, number";

/// The same, whenever it is due.
pub(super) const NEXT: &str = "SELECT due, profile, service FROM jobs \
     WHERE state = 'pending' AND head = 1 AND priority = ?1 ORDER BY due, number";

pub(super) const LEASE_ENDS: &str = "SELECT min(until) FROM jobs WHERE state = 'leased'";
pub(super) const EXPIRES: &str = "SELECT min(expires) FROM jobs WHERE state = 'pending'";

const PRIORITIES: i64 = Priority::ALL.len() as i64;

pub(super) fn get(connection: &Connection, id: JobId) -> rusqlite::Result<Option<Job>> {
    Ok(numbered(connection, id)?.map(|row| row.job))
}

pub(super) fn numbered(connection: &Connection, id: JobId) -> rusqlite::Result<Option<Numbered>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1"))?;
    Ok(statement.query_row([id.to_string()], row::read).optional()?.flatten())
}

pub(super) fn at(connection: &Connection, number: i64) -> rusqlite::Result<Option<Numbered>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE number = ?1"))?;
    Ok(statement.query_row([number], row::read).optional()?.flatten())
}

pub(super) fn list(connection: &Connection, filter: &Filter, limit: usize) -> rusqlite::Result<Vec<Job>> {
    // 'g' is the first letter that no number contains.
    let sql = format!(
        "SELECT {COLUMNS} FROM jobs WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR service = ?2) \
         AND (?3 IS NULL OR (id >= ?3 AND id < ?3 || 'g')) ORDER BY number DESC LIMIT ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement
        .query_map(params![filter.state.map(State::as_str), filter.service, filter.prefix, limit], row::read)?;
    rows.filter_map(|row| Some(row.transpose()?.map(|row| row.job))).collect()
}

pub(super) fn counts(connection: &Connection) -> rusqlite::Result<Counts> {
    let mut statement = connection.prepare_cached("SELECT state, n FROM job_counts")?;
    let mut rows = statement.query([])?;
    let mut counts = Counts::default();
    while let Some(row) = rows.next()? {
        if let Some(state) = State::from_name(row.get_ref(0)?.as_str()?) {
            counts.set(state, row.get::<_, i64>(1)?.max(0).cast_unsigned());
        }
    }
    Ok(counts)
}

/// The jobs that are to be started next, the first first.
pub(super) fn due(
    connection: &Connection,
    wanted: &Wanted,
    limit: usize,
    now: Wall,
) -> rusqlite::Result<Vec<Numbered>> {
    let mut statement = connection.prepare_cached(DUE)?;
    let mut found = Vec::new();
    // One priority after the other, because only within one is the index in the order that is wanted.
    for priority in (0..PRIORITIES).rev() {
        let mut rows = statement.query([priority, now.millis()])?;
        while found.len() < limit {
            let Some(row) = rows.next()? else { break };
            if wanted.includes(row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?) {
                // What cannot be understood takes nobody's place.
                found.extend(at(connection, row.get(0)?)?);
            }
        }
    }
    Ok(found)
}

pub(super) fn next_due(connection: &Connection, wanted: &Wanted) -> rusqlite::Result<Option<Wall>> {
    let earliest = |sql| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<i64>>(0));
    let mut moments = vec![earliest(LEASE_ENDS)?, earliest(EXPIRES)?];
    let mut statement = connection.prepare_cached(NEXT)?;
    for priority in 0..PRIORITIES {
        let mut rows = statement.query([priority])?;
        while let Some(row) = rows.next()? {
            if wanted.includes(row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?) {
                moments.push(row.get(0)?);
                break;
            }
        }
    }
    Ok(moments.into_iter().flatten().min().map(Wall::from_millis))
}
