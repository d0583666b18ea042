//! What functions felt of the operations they call: a row for each pair and hour.

use super::codec;
use super::queries::{Ids, SLICE, execute, one};
use crate::evidence::Felt;
use crate::store::{Need, TargetKey};
use rusqlite::{Connection, Row, Transaction, params};

/// The table; whole in itself, so that it stands wherever its turn in the list of migrations is.
pub(super) const MIGRATION: &str = "
CREATE TABLE needs (
    function         INTEGER NOT NULL REFERENCES targets (id),
    operation        INTEGER NOT NULL REFERENCES targets (id),
    hour             INTEGER NOT NULL,
    called           INTEGER NOT NULL,   -- executions of the function that called the operation
    failed           INTEGER NOT NULL,   -- those in which the call failed for good
    failed_then      INTEGER NOT NULL,   -- of these, those that failed
    failed_otherwise INTEGER NOT NULL,   -- those that failed although the call had not
    PRIMARY KEY (function, operation, hour)
) STRICT, WITHOUT ROWID;
";

/// Adds to what is there.
pub(super) fn add<'b>(
    transaction: &Transaction<'_>,
    ids: &mut Ids<'b, '_>,
    needs: &'b [(i64, Need)],
) -> rusqlite::Result<()> {
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO needs (function, operation, hour, called, failed, failed_then, failed_otherwise) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
         ON CONFLICT DO UPDATE SET called = called + excluded.called, failed = failed + excluded.failed, \
         failed_then = failed_then + excluded.failed_then, \
         failed_otherwise = failed_otherwise + excluded.failed_otherwise",
    )?;
    for (hour, Need { function, operation, felt }) in needs {
        upsert.execute(params![
            ids.target(function)?,
            ids.target(operation)?,
            hour,
            codec::count(felt.called),
            codec::count(felt.failed),
            codec::count(felt.failed_then),
            codec::count(felt.failed_otherwise),
        ])?;
    }
    Ok(())
}

/// The sum for every pair since an hour.
pub(super) fn since(connection: &Connection, hour: i64) -> rusqlite::Result<Vec<Need>> {
    let sql = "SELECT f.service, f.operation, o.service, o.operation, \
               sum(called), sum(failed), sum(failed_then), sum(failed_otherwise) \
               FROM needs n JOIN targets f ON f.id = n.function JOIN targets o ON o.id = n.operation \
               WHERE hour >= ?1 GROUP BY n.function, n.operation ORDER BY 1, 2, 3, 4";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map([hour], need)?.collect()
}

fn need(row: &Row<'_>) -> rusqlite::Result<Need> {
    let count = |at: usize| row.get(at).map(|n: i64| n.max(0).cast_unsigned());
    Ok(Need {
        function: TargetKey { service: row.get(0)?, operation: row.get(1)? },
        operation: TargetKey { service: row.get(2)?, operation: row.get(3)? },
        felt: Felt { called: count(4)?, failed: count(5)?, failed_then: count(6)?, failed_otherwise: count(7)? },
    })
}

/// Deletes the hours of a function before one, in slices, and says how many rows went.
pub(super) fn prune(connection: &Connection, function: i64, before: i64) -> rusqlite::Result<u64> {
    let old = "FROM needs WHERE function = ?1 AND hour < ?2";
    let mut gone = 0;
    // Looking takes no lock.
    while one(connection, &format!("SELECT EXISTS (SELECT 1 {old})"), [function, before])? == 1 {
        let sql = format!(
            "DELETE FROM needs WHERE (function, operation, hour) IN (SELECT function, operation, hour {old} LIMIT ?3)"
        );
        gone += execute(connection, &sql, [function, before, SLICE])? as u64;
    }
    Ok(gone)
}
