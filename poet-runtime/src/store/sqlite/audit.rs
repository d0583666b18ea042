//! The audit in its tables.
//!
//! An entry is written once, or twice where it is strict: before the call and at its end. What has ended is never changed
//! again, whoever asks for it.

use super::codec;
use super::queries::{Ids, count, counted, execute, one};
use crate::audit::{AuditCounts, AuditEntry, AuditFilter, AuditKey, Detail};
use crate::clock::Wall;
use crate::outcome::Ending;
use crate::store::TargetKey;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, Transaction, TransactionBehavior, params};

/// The counter of calls without an entry.
pub(super) const DROPPED: &str = "audit_dropped";
/// The counter of entries that went before their time.
const DELETED: &str = "audit_deleted";
/// The halves of the key, among the counters.
const KEY: [&str; 2] = ["audit_key_high", "audit_key_low"];

/// Entries that one transaction deletes, with their arguments.
const SLICE: i64 = 1_000;

pub(super) fn promise(connection: &mut Connection, entries: &[AuditEntry]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    write_down(&transaction, entries)?;
    transaction.commit()
}

pub(super) fn write_down(transaction: &Transaction<'_>, entries: &[AuditEntry]) -> rusqlite::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut ids = Ids::new(transaction);
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO audit (execution, target, function, inside, job, began, ended, ending, detail) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
         ON CONFLICT (execution) DO UPDATE SET job = excluded.job, ended = excluded.ended, ending = excluded.ending, \
         detail = excluded.detail WHERE audit.ended IS NULL RETURNING id",
    )?;
    let mut field = transaction
        .prepare_cached("INSERT INTO audit_fields (name, value, audit) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?;
    for entry in entries {
        let target = ids.target(&entry.target)?;
        let function = entry.function.as_deref().map(|name| ids.function(name)).transpose()?;
        let columns = params![
            entry.execution,
            target,
            function,
            entry.inside,
            entry.job,
            entry.began.millis(),
            entry.ended.map(Wall::millis),
            entry.ending.map(Ending::as_str),
            serde_json::to_string(&entry.detail).unwrap_or_default(),
        ];
        let id: Option<i64> = upsert.query_row(columns, |row| row.get(0)).optional()?;
        for (name, value) in id.map(|_| &entry.fields).into_iter().flatten() {
            field.execute(params![name, value, id])?;
        }
    }
    Ok(())
}

pub(super) fn entries(
    connection: &Connection,
    filter: &AuditFilter,
    limit: usize,
) -> rusqlite::Result<Vec<AuditEntry>> {
    let mut clauses: Vec<String> = Vec::new();
    let mut wanted: Vec<Box<dyn ToSql>> = Vec::new();
    let mut is = |clause: &str, value: Box<dyn ToSql>| {
        wanted.push(value);
        clauses.push(clause.replace("??", &format!("?{}", wanted.len())));
    };
    if let Some(execution) = &filter.execution {
        is("a.execution = ??", Box::new(execution.clone()));
    }
    if let Some(service) = &filter.service {
        is("t.service = ??", Box::new(service.clone()));
    }
    if let Some(operation) = &filter.operation {
        is("t.operation = ??", Box::new(operation.clone()));
    }
    if let Some(since) = filter.since {
        is("a.began >= ??", Box::new(since.millis()));
    }
    if let Some(ending) = filter.ending {
        is("a.ending = ??", Box::new(ending.as_str()));
    }
    if filter.unfinished {
        is("(a.ended IS NULL AND ??)", Box::new(true));
    }
    if let Some(job) = &filter.job {
        is("a.job = ??", Box::new(job.clone()));
    }
    if let Some(inside) = &filter.inside {
        is("a.inside = ??", Box::new(inside.clone()));
    }
    if let Some(prefix) = &filter.prefix {
        is("a.execution >= ??", Box::new(prefix.clone()));
        is("a.execution < ??", Box::new(format!("{prefix}\u{10ffff}")));
    }
    if let Some((name, values)) = &filter.field {
        is("a.id IN (SELECT audit FROM audit_fields WHERE name = ?? AND value IN (", Box::new(name.clone()));
        let first = wanted.len() + 1;
        wanted.extend(values.iter().map(|value| Box::new(value.clone()) as Box<dyn ToSql>));
        let places: Vec<_> = (first..=wanted.len()).map(|place| format!("?{place}")).collect();
        if let Some(last) = clauses.last_mut() {
            last.push_str(&format!("{}))", places.join(", ")));
        }
    }
    let all = if clauses.is_empty() { "1".to_owned() } else { clauses.join(" AND ") };
    let sql = format!(
        "SELECT a.id, a.execution, t.service, t.operation, f.name, a.inside, a.job, a.began, a.ended, a.ending, a.detail \
         FROM audit a JOIN targets t ON t.id = a.target LEFT JOIN functions f ON f.id = a.function \
         WHERE {all} ORDER BY a.began DESC, a.id DESC LIMIT {}",
        i64::try_from(limit).unwrap_or(i64::MAX)
    );
    let mut statement = connection.prepare(&sql)?;
    let found = statement.query_map(rusqlite::params_from_iter(wanted), entry)?;
    let mut fields =
        connection.prepare_cached("SELECT name, value FROM audit_fields WHERE audit = ?1 ORDER BY name")?;
    let mut entries = Vec::new();
    for found in found {
        let Some((id, mut entry)) = found? else { continue };
        entry.fields = fields.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        entries.push(entry);
    }
    Ok(entries)
}

/// `None` for one that a newer version wrote in words of its own.
fn entry(row: &Row<'_>) -> rusqlite::Result<Option<(i64, AuditEntry)>> {
    let ending = match row.get_ref(9)?.as_str_or_null()? {
        None => None,
        Some(name) => match Ending::from_name(name) {
            Some(ending) => Some(ending),
            None => return Ok(None),
        },
    };
    let Ok(detail) = serde_json::from_str::<Detail>(row.get_ref(10)?.as_str()?) else { return Ok(None) };
    let entry = AuditEntry {
        execution: row.get(1)?,
        target: TargetKey { service: row.get(2)?, operation: row.get(3)? },
        function: row.get(4)?,
        inside: row.get(5)?,
        job: row.get(6)?,
        began: Wall::from_millis(row.get(7)?),
        ended: row.get::<_, Option<i64>>(8)?.map(Wall::from_millis),
        ending,
        fields: Vec::new(),
        detail,
    };
    Ok(Some((row.get(0)?, entry)))
}

pub(super) fn counts(connection: &Connection) -> rusqlite::Result<AuditCounts> {
    Ok(AuditCounts { dropped: counted(connection, DROPPED)?, deleted: counted(connection, DELETED)? })
}

pub(super) fn key(connection: &Connection) -> rusqlite::Result<Option<AuditKey>> {
    let mut statement = connection.prepare_cached("SELECT n FROM counters WHERE name = ?1")?;
    let mut half = |name: &str| statement.query_row([name], |row| row.get::<_, i64>(0)).optional();
    let [high, low] = [half(KEY[0])?, half(KEY[1])?];
    Ok(high.zip(low).map(|(high, low)| AuditKey::from_bits(high.cast_unsigned(), low.cast_unsigned())))
}

pub(super) fn keep_key(connection: &mut Connection, drawn: AuditKey) -> rusqlite::Result<AuditKey> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have drawn one meanwhile.
    let kept = match key(&transaction)? {
        Some(kept) => kept,
        None => {
            let (high, low) = drawn.bits();
            for (name, half) in KEY.into_iter().zip([high, low]) {
                execute(
                    &transaction,
                    "REPLACE INTO counters (name, n) VALUES (?1, ?2)",
                    params![name, half.cast_signed()],
                )?;
            }
            drawn
        }
    };
    transaction.commit()?;
    Ok(kept)
}

pub(super) fn prune(connection: &mut Connection, before: Wall, most: u64) -> rusqlite::Result<u64> {
    let old = delete(connection, "began < ?1", before.millis())?;
    let newest = one(connection, "SELECT coalesce(max(id), 0) FROM audit", [])?;
    let surplus = newest.saturating_sub(codec::count(most));
    let early = delete(connection, "id <= ?1", surplus)?;
    count(connection, DELETED, early)?;
    Ok(old + early)
}

fn delete(connection: &Connection, which: &str, bound: i64) -> rusqlite::Result<u64> {
    let mut gone = 0;
    loop {
        // Looking takes no lock; only what has something to delete waits for its turn to write.
        if one(connection, &format!("SELECT EXISTS (SELECT 1 FROM audit WHERE {which})"), [bound])? == 0 {
            return Ok(gone);
        }
        let sql = format!("DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE {which} LIMIT {SLICE})");
        gone += execute(connection, &sql, [bound])? as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::entry;
    use crate::store::{SqliteStore, Store};
    use std::sync::{Arc, Barrier};

    #[test]
    fn processes_that_start_at_once_hash_with_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("poet.db");
        drop(SqliteStore::open(&path).unwrap());
        let barrier = Arc::new(Barrier::new(4));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (path, barrier) = (path.clone(), barrier.clone());
                std::thread::spawn(move || {
                    let mut store = SqliteStore::open(path).unwrap();
                    barrier.wait();
                    crate::recorder::block_on::block_on(store.keep_audit_key(AuditKey::drawn())).unwrap().bits()
                })
            })
            .collect();
        let keys: std::collections::BTreeSet<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(keys.len(), 1);
    }

    #[tokio::test]
    async fn arguments_go_with_their_entry() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("poet.db");
        let mut store = SqliteStore::open(&path).unwrap();
        store.promise(&[entry("run-1", 1_000), entry("run-2", 5_000)]).await.unwrap();
        assert_eq!(store.prune_audit(Wall::from_millis(2_000), 100).await.unwrap(), 1);
        let connection = Connection::open(&path).unwrap();
        assert_eq!(one(&connection, "SELECT count(*) FROM audit_fields", []).unwrap(), 2);
    }
}
