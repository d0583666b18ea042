//! What is left of hours whose evidence is old: their attempts, for what comes once a month.

use super::queries::{execute, one};
use crate::evidence::PastHour;
use crate::store::{PAST_HOURS, TargetKey};
use rusqlite::{Connection, TransactionBehavior, params};

/// Version 10: the attempts of hours whose evidence is gone.
pub(super) const MIGRATION: &str = "
CREATE TABLE past (
    target   INTEGER NOT NULL REFERENCES targets (id),
    hour     INTEGER NOT NULL,
    attempts INTEGER NOT NULL,       -- outside probes, by requests that were not at fault
    failures INTEGER NOT NULL,
    PRIMARY KEY (target, hour)
) STRICT, WITHOUT ROWID;
";

/// Hours that are folded at once: with a few hundred counts an hour some thousand rows.
const SLICE: i64 = 24;

/// The attempts of a target, from an hour on.
pub(super) fn since(connection: &Connection, target: &TargetKey, hour: i64) -> rusqlite::Result<Vec<PastHour>> {
    let sql = "SELECT hour, attempts, failures FROM past \
               WHERE target = (SELECT id FROM targets WHERE service = ?1 AND operation = ?2) AND hour >= ?3 \
               ORDER BY hour";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![target.service, target.operation, hour], |row| {
        let count = |column| row.get::<_, i64>(column).map(|n| n.max(0).cast_unsigned());
        Ok(PastHour { hour: row.get(0)?, attempts: count(1)?, failures: count(2)? })
    })?;
    rows.collect()
}

/// Keeps the attempts of the hours before one and deletes what else was counted in them. Returns how many counts went.
pub(super) fn fold(connection: &mut Connection, target: i64, before: i64) -> rusqlite::Result<u64> {
    let mut gone = 0;
    loop {
        // Looking takes no lock; only a slice with something to fold waits for its turn to write.
        let hours = "SELECT DISTINCT hour FROM evidence WHERE target = ?1 AND hour < ?2 ORDER BY hour LIMIT ?3";
        let last = format!("SELECT max(hour) FROM ({hours})");
        let row = [target, before, SLICE];
        let Some(last) = connection.prepare_cached(&last)?.query_row(row, |row| row.get::<_, Option<i64>>(0))? else {
            break;
        };
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Of attempts, 0 is one that was answered, 1 one whose request was at fault, and the others failed.
        execute(
            &transaction,
            "INSERT INTO past (target, hour, attempts, failures) \
             SELECT target, hour, sum(n), sum(CASE idx WHEN 0 THEN 0 ELSE n END) FROM evidence \
             WHERE target = ?1 AND hour <= ?2 AND kind = 'attempt' AND idx <> 1 GROUP BY target, hour \
             ON CONFLICT DO UPDATE SET attempts = attempts + excluded.attempts, failures = failures + excluded.failures",
            [target, last],
        )?;
        gone += execute(&transaction, "DELETE FROM evidence WHERE target = ?1 AND hour <= ?2", [target, last])? as u64;
        transaction.commit()?;
    }
    let oldest = before.saturating_sub(PAST_HOURS);
    let is_old = "SELECT EXISTS (SELECT 1 FROM past WHERE target = ?1 AND hour < ?2)";
    if one(connection, is_old, [target, oldest])? == 1 {
        execute(connection, "DELETE FROM past WHERE target = ?1 AND hour < ?2", [target, oldest])?;
    }
    Ok(gone)
}
