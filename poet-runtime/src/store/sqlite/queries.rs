//! What is written and read, one function a method of the store.

use super::{audit, codec, needs, past, schema};
use crate::clock::Wall;
use crate::evidence::{History, Key};
use crate::outcome::Withheld;
use crate::store::{
    Batch, OutcomeRow, ParameterChange, ParameterKey, ParameterRow, Published, SchemaRow, Settlement, TargetKey,
};
use rusqlite::{Connection, OptionalExtension, Params, ToSql, Transaction, TransactionBehavior, params};
use std::collections::HashMap;

/// Rows that one transaction deletes: the writer of another process waits no longer than this takes (about 30 ms).
pub(super) const SLICE: i64 = 2_000;

/// Rows that pruning looks at without finding an old one before it stops. Rows are nearly in the order of ending;
/// this far apart they are only if a clock was wrong.
const LOOKAHEAD: i64 = 100_000;

/// Free pages that pruning gives back to the system at a time, and how often.
const VACUUM: (i64, usize) = (500, 20);

/// The ids of the names in one batch, looked up once each.
pub(super) struct Ids<'a, 'c> {
    transaction: &'a Transaction<'c>,
    targets: HashMap<&'a TargetKey, i64>,
    functions: HashMap<&'a str, i64>,
}

impl<'a, 'c> Ids<'a, 'c> {
    pub(super) fn new(transaction: &'a Transaction<'c>) -> Self {
        Self { transaction, targets: HashMap::new(), functions: HashMap::new() }
    }

    pub(super) fn target(&mut self, target: &'a TargetKey) -> rusqlite::Result<i64> {
        if let Some(&id) = self.targets.get(target) {
            return Ok(id);
        }
        let id = target_id(self.transaction, target)?;
        self.targets.insert(target, id);
        Ok(id)
    }

    pub(super) fn function(&mut self, function: &'a str) -> rusqlite::Result<i64> {
        if let Some(&id) = self.functions.get(function) {
            return Ok(id);
        }
        execute(self.transaction, "INSERT INTO functions (name) VALUES (?1) ON CONFLICT DO NOTHING", [function])?;
        let id = one(self.transaction, "SELECT id FROM functions WHERE name = ?1", [function])?;
        self.functions.insert(function, id);
        Ok(id)
    }
}

pub(super) fn execute(connection: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute(params)
}

pub(super) fn one(connection: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<i64> {
    connection.prepare_cached(sql)?.query_row(params, |row| row.get(0))
}

fn target_id(connection: &Connection, target: &TargetKey) -> rusqlite::Result<i64> {
    let names = [&target.service, &target.operation];
    execute(connection, "INSERT INTO targets (service, operation) VALUES (?1, ?2) ON CONFLICT DO NOTHING", names)?;
    one(connection, "SELECT id FROM targets WHERE service = ?1 AND operation = ?2", names)
}

/// The counter of records that were folded into counts.
const FOLDED: &str = "folded";

/// Adds to a counter.
pub(super) fn count(connection: &Connection, name: &str, n: u64) -> rusqlite::Result<()> {
    if n > 0 {
        let sql = "INSERT INTO counters (name, n) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET n = n + excluded.n";
        execute(connection, sql, params![name, codec::count(n)])?;
    }
    Ok(())
}

/// What a counter has come to.
pub(super) fn counted(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce((SELECT n FROM counters WHERE name = ?1), 0)";
    Ok(one(connection, sql, [name])?.max(0).cast_unsigned())
}

/// The ids of the processes in a batch, each marked as seen until its newest outcome.
fn run_ids<'b>(connection: &Connection, batch: &'b Batch) -> rusqlite::Result<HashMap<&'b str, i64>> {
    let mut runs: HashMap<&str, i64> = HashMap::new();
    for row in &batch.outcomes {
        let seen = runs.entry(&row.run).or_insert(i64::MIN);
        *seen = row.ended.millis().max(*seen);
    }
    for (run, seen) in &mut runs {
        let sql = "INSERT INTO runs (run, seen) VALUES (?1, ?2) \
                   ON CONFLICT (run) DO UPDATE SET seen = max(seen, excluded.seen) RETURNING id";
        *seen = one(connection, sql, params![run, *seen])?;
    }
    Ok(runs)
}

pub(super) fn append(connection: &mut Connection, batch: &Batch) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    add_rows(&transaction, batch)?;
    transaction.commit()
}

fn add_rows(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    let runs = run_ids(transaction, batch)?;
    let mut ids = Ids::new(transaction);
    let mut insert = transaction.prepare_cached(
        "INSERT INTO outcomes (target, function, run, execution, ended, ending, class, attempts, elapsed, timeout, \
         retries, revision, withheld) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    for row in &batch.outcomes {
        insert.execute(params![
            ids.target(&row.target)?,
            row.function.as_deref().map(|name| ids.function(name)).transpose()?,
            runs.get(row.run.as_str()),
            row.execution.cast_signed(),
            row.ended.millis(),
            row.ending.as_str(),
            row.class,
            row.attempts,
            codec::micros(row.elapsed),
            codec::micros(row.timeout),
            row.retries,
            row.revision.cast_signed(),
            row.withheld.map(Withheld::as_str),
        ])?;
    }
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO evidence (target, hour, kind, idx, n) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT DO UPDATE SET n = n + excluded.n",
    )?;
    for (target, history) in batch.evidence.iter().filter(|(_, history)| !history.is_empty()) {
        let target = ids.target(target)?;
        for (hour, key, n) in history.cells() {
            let (kind, index) = key.encode();
            upsert.execute(params![target, hour, kind, index, codec::count(n)])?;
        }
    }
    needs::add(transaction, &mut ids, &batch.needs)?;
    count(transaction, FOLDED, batch.folded)?;
    audit::write_down(transaction, &batch.audit)?;
    count(transaction, audit::DROPPED, batch.audit_dropped)?;
    Ok(())
}

pub(super) fn targets(connection: &Connection) -> rusqlite::Result<Vec<TargetKey>> {
    let sql = "SELECT service, operation FROM targets t \
               WHERE EXISTS (SELECT 1 FROM evidence WHERE target = t.id) \
                  OR EXISTS (SELECT 1 FROM parameters WHERE target = t.id) \
               ORDER BY service, operation";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok(TargetKey { service: row.get(0)?, operation: row.get(1)? }))?;
    rows.collect()
}

pub(super) fn evidence(connection: &Connection, target: &TargetKey, since_hour: i64) -> rusqlite::Result<History> {
    let sql = "SELECT hour, kind, idx, n FROM evidence \
               WHERE target = (SELECT id FROM targets WHERE service = ?1 AND operation = ?2) AND hour >= ?3 \
               ORDER BY hour";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![target.service, target.operation, since_hour])?;
    let mut history = History::default();
    while let Some(row) = rows.next()? {
        // A kind or index this version does not know: a newer one counts more than we do.
        let index = u16::try_from(row.get::<_, i64>(2)?).ok();
        if let Some(key) = index.and_then(|index| Key::decode(row.get_ref(1).ok()?.as_str().ok()?, index)) {
            history.add(row.get(0)?, key, row.get::<_, i64>(3)?.max(0).cast_unsigned());
        }
    }
    Ok(history)
}

pub(super) fn parameters(connection: &Connection) -> rusqlite::Result<Vec<ParameterRow>> {
    let columns = codec::PARAMETER;
    let sql = format!("SELECT {columns} FROM parameters p JOIN targets t ON t.id = p.target ORDER BY p.revision");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map([], codec::parameter)?.filter_map(Result::transpose).collect()
}

pub(super) fn schemas(connection: &Connection) -> rusqlite::Result<Vec<SchemaRow>> {
    let sql = "SELECT t.service, t.operation, s.schema, s.seen, s.began FROM schemas s \
               JOIN targets t ON t.id = s.target ORDER BY t.service, t.operation, s.id";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &rusqlite::Row<'_>| {
        let target = TargetKey { service: row.get(0)?, operation: row.get(1)? };
        let (schema, seen) = (row.get::<_, i64>(2)?.cast_unsigned(), Wall::from_millis(row.get(3)?));
        Ok(SchemaRow { target, schema, seen, began: row.get(4)? })
    };
    statement.query_map([], read)?.collect()
}

pub(super) fn note_schema(connection: &mut Connection, row: &SchemaRow) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let target = target_id(&transaction, &row.target)?;
    let sql = "INSERT INTO schemas (target, schema, seen, began) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    execute(&transaction, sql, params![target, row.schema.cast_signed(), row.seen.millis(), row.began])?;
    transaction.commit()
}

pub(super) fn folded(connection: &Connection) -> rusqlite::Result<u64> {
    counted(connection, FOLDED)
}

fn present(connection: &Connection, target: i64, key: &ParameterKey) -> rusqlite::Result<Option<ParameterRow>> {
    let columns = codec::PARAMETER;
    let sql = format!(
        "SELECT {columns} FROM parameters p JOIN targets t ON t.id = p.target \
         WHERE p.target = ?1 AND p.name = ?2 AND p.after = ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let row = statement.query_row(params![target, key.name, codec::after(key.after)], codec::parameter).optional()?;
    Ok(row.flatten())
}

/// With every commit on disk before it returns; put back whatever comes of it.
pub(super) fn durably<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    let result = work(connection);
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    result
}

pub(super) fn publish(
    connection: &mut Connection,
    change: &ParameterChange,
    expected: Option<u64>,
) -> rusqlite::Result<Published> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let key = &change.new.key;
    let target = target_id(&transaction, &key.target)?;
    if let Some(now) = present(&transaction, target, key)?.filter(|row| Some(row.revision) != expected) {
        return Ok(Published::Superseded(now));
    }
    let newest = one(&transaction, "SELECT coalesce(max(revision), 0) FROM parameter_changes", [])?;
    let revision = newest.max(codec::count(expected.unwrap_or(0))).saturating_add(1);
    let row = ParameterRow { revision: revision.cast_unsigned(), ..change.new.clone() };
    let after = codec::after(key.after);
    let (sample, changed) = (codec::count(row.sample), row.changed.millis());
    let applied = row.is_applied();
    let standing = row.standing.as_str();
    let good = row.good.map(|good| good.value);
    let good_revision = row.good.map(|good| codec::count(good.revision));
    let columns: [&dyn ToSql; 18] = [
        &target,
        &key.name,
        &after,
        &row.value,
        &applied,
        &sample,
        &row.interval.0,
        &row.interval.1,
        &row.confidence,
        &row.reason,
        &row.evidence,
        &changed,
        &revision,
        &standing,
        &good,
        &good_revision,
        &row.predicted,
        &change.old,
    ];
    let names = "target, name, after, value, applied, sample, low, high, confidence, reason, evidence, changed, \
                 revision, standing, good, good_revision, predicted";
    let values = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17";
    execute(&transaction, &format!("INSERT INTO parameter_changes ({names}, old) VALUES ({values}, ?18)"), columns)?;
    execute(&transaction, &format!("REPLACE INTO parameters ({names}) VALUES ({values})"), &columns[..17])?;
    transaction.commit()?;
    Ok(Published::Moved(row))
}

pub(super) fn settle(connection: &mut Connection, settlement: Settlement) -> rusqlite::Result<Option<ParameterRow>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let revision = codec::count(settlement.revision);
    let standing = settlement.standing.as_str();
    let realised = settlement.realised;
    let sql = "UPDATE parameter_changes SET standing = ?2, gain = ?3, gain_low = ?4, gain_high = ?5, calls = ?6, \
               compared = ?7 WHERE revision = ?1";
    let noted = params![
        revision,
        standing,
        realised.map(|realised| realised.gain),
        realised.map(|realised| realised.interval.0),
        realised.map(|realised| realised.interval.1),
        realised.map(|realised| codec::count(realised.calls)),
        realised.map(|realised| codec::count(realised.compared)),
    ];
    execute(&transaction, sql, noted)?;
    execute(&transaction, "UPDATE parameters SET standing = ?2 WHERE revision = ?1", params![revision, standing])?;
    let columns = codec::PARAMETER;
    let sql = format!("SELECT {columns} FROM parameters p JOIN targets t ON t.id = p.target WHERE p.revision = ?1");
    let row = transaction.prepare_cached(&sql)?.query_row([revision], codec::parameter).optional()?;
    transaction.commit()?;
    Ok(row.flatten())
}

pub(super) fn changes(connection: &Connection, key: Option<&ParameterKey>) -> rusqlite::Result<Vec<ParameterChange>> {
    let (columns, realised) = (codec::PARAMETER, codec::REALISED);
    let sql = format!(
        "SELECT {columns}, p.old, {realised} FROM parameter_changes p JOIN targets t ON t.id = p.target \
         WHERE ?1 IS NULL OR (t.service = ?1 AND t.operation = ?2 AND p.name = ?3 AND p.after = ?4) \
         ORDER BY p.revision"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let wanted = params![
        key.map(|key| &key.target.service),
        key.map(|key| &key.target.operation),
        key.map(|key| &key.name),
        key.map(|key| codec::after(key.after)),
    ];
    let read = |row: &rusqlite::Row<'_>| {
        let (old, realised) = (row.get(17)?, codec::realised(row, 18)?);
        Ok(codec::parameter(row)?.map(|new| ParameterChange { old, new, realised }))
    };
    statement.query_map(wanted, read)?.filter_map(Result::transpose).collect()
}

pub(super) fn outcomes(
    connection: &Connection,
    target: Option<&TargetKey>,
    limit: usize,
) -> rusqlite::Result<Vec<OutcomeRow>> {
    let columns = codec::OUTCOME;
    let sql = format!(
        "SELECT {columns} FROM outcomes o JOIN targets t ON t.id = o.target \
         LEFT JOIN functions f ON f.id = o.function LEFT JOIN runs r ON r.id = o.run \
         WHERE ?1 IS NULL OR o.target = (SELECT id FROM targets WHERE service = ?1 AND operation = ?2) \
         ORDER BY o.id DESC LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let wanted = params![target.map(|t| &t.service), target.map(|t| &t.operation), limit];
    statement.query_map(wanted, codec::outcome)?.filter_map(Result::transpose).collect()
}

pub(super) fn prune(connection: &mut Connection, before: Wall, evidence_hour: i64) -> rusqlite::Result<u64> {
    let mut gone = prune_outcomes(connection, before)?;
    execute(connection, "DELETE FROM runs WHERE seen < ?1", [before.millis()])?;
    gone += prune_evidence(connection, evidence_hour)?;
    for _ in 0..VACUUM.1 {
        if one(connection, "PRAGMA freelist_count", [])? == 0 {
            break;
        }
        // Each step of the statement frees one page, and only asking for rows steps it.
        let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({})", VACUUM.0))?;
        let mut pages = vacuum.query([])?;
        while pages.next()?.is_some() {}
    }
    Ok(gone)
}

fn prune_outcomes(connection: &mut Connection, before: Wall) -> rusqlite::Result<u64> {
    let newest = one(connection, "SELECT coalesce(max(id), 0) FROM outcomes", [])?;
    let surplus = newest - schema::MAX_OUTCOMES;
    let (mut from, mut idle, mut gone) = (i64::MIN, 0, 0);
    while idle < LOOKAHEAD {
        // The last row of the slice that begins here.
        let sql = "SELECT max(id) FROM (SELECT id FROM outcomes WHERE id > ?1 ORDER BY id LIMIT ?2)";
        let Some(to) = connection.prepare_cached(sql)?.query_row([from, SLICE], |row| row.get::<_, Option<i64>>(0))?
        else {
            break;
        };
        let old = "id > ?1 AND id <= ?2 AND (ended < ?3 OR id <= ?4)";
        let range = [from, to, before.millis(), surplus];
        // Looking takes no lock; only a slice with something to delete waits for its turn to write.
        if one(connection, &format!("SELECT EXISTS (SELECT 1 FROM outcomes WHERE {old})"), range)? == 1 {
            gone += execute(connection, &format!("DELETE FROM outcomes WHERE {old}"), range)? as u64;
            idle = 0;
        } else {
            idle += SLICE;
        }
        from = to;
    }
    Ok(gone)
}

fn prune_evidence(connection: &mut Connection, before: i64) -> rusqlite::Result<u64> {
    let targets: Vec<i64> = connection
        .prepare_cached("SELECT id FROM targets")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut gone = 0;
    for target in targets {
        gone += past::fold(connection, target, before)?;
        gone += needs::prune(connection, target, before)?;
    }
    Ok(gone)
}
