//! Whose database it is, and how one of an older version becomes one of this version.
//!
//! The list of migrations is append-only: never change or remove an entry, because databases in the field were made
//! by it. `PRAGMA user_version` counts the entries that were applied; each is applied in one exclusive transaction
//! together with its number, so that a process killed in the middle, or two that start at once, do no harm.

use super::schema;
use rusqlite::{Connection, TransactionBehavior};

const MIGRATIONS: &[&str] = &[
    schema::V1,
    schema::V2,
    schema::V3,
    schema::V4,
    schema::V5,
    schema::V6,
    schema::V7,
    schema::V8,
    schema::V9,
    schema::V10,
];

/// "poet" in ASCII, in the header of every database of ours.
const APPLICATION_ID: i64 = 0x706f_6574;

/// Whose database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// Nobody's yet: it is empty.
    Fresh,
    /// Ours, of this version.
    Current,
    /// Ours, of an older version.
    Older,
    /// Ours, of a newer version, which may mean things by its tables that this one does not know.
    Newer(i64),
    /// Another program's.
    Foreign,
}

/// Reads whose database it is, without changing anything.
pub(super) fn identify(connection: &Connection) -> rusqlite::Result<Identity> {
    // All of it at one moment: another process may be in the middle of making the database.
    let connection = connection.unchecked_transaction()?;
    let read = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (application, version) = (read("application_id")?, read("user_version")?);
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let current = MIGRATIONS.len() as i64;
    Ok(match application {
        APPLICATION_ID if version == current => Identity::Current,
        APPLICATION_ID if version > current => Identity::Newer(version),
        APPLICATION_ID => Identity::Older,
        0 if version == 0 && objects == 0 => Identity::Fresh,
        _ => Identity::Foreign,
    })
}

/// Brings a fresh or older database to this version.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    apply(connection, MIGRATIONS)
}

fn apply(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    for (version, migration) in (1_i64..).zip(migrations) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        // Read inside the transaction: another process may have applied it while this one waited for the lock.
        let applied: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if applied < version {
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.commit()?;
        }
    }
    Ok(())
}

/// The first table of ours that a database of this version lacks.
pub(super) fn missing_table(connection: &Connection) -> rusqlite::Result<Option<&'static str>> {
    for table in schema::TABLES {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)";
        if !connection.query_row(sql, [table], |row| row.get::<_, bool>(0))? {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(connection: &Connection) -> i64 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_empty_database_becomes_ours_and_complete() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert_eq!(identify(&connection).unwrap(), Identity::Fresh);
        migrate(&mut connection).unwrap();
        assert_eq!(identify(&connection).unwrap(), Identity::Current);
        assert_eq!(missing_table(&connection).unwrap(), None);
    }

    #[test]
    fn only_migrations_that_are_missing_are_applied() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        connection.execute("INSERT INTO counters VALUES ('folded', 7)", []).unwrap();
        let further = ["ALTER TABLE counters ADD COLUMN unit TEXT"];
        apply(&mut connection, &[MIGRATIONS, &further].concat()).unwrap();
        assert_eq!(version(&connection), MIGRATIONS.len() as i64 + 1);
        let n: i64 = connection.query_row("SELECT n FROM counters WHERE unit IS NULL", [], |row| row.get(0)).unwrap();
        assert_eq!(n, 7);
    }

    #[test]
    fn a_database_without_jobs_keeps_what_it_has_and_gets_a_queue() {
        let mut connection = Connection::open_in_memory().unwrap();
        apply(&mut connection, &[schema::V1]).unwrap();
        connection.execute("INSERT INTO counters VALUES ('folded', 7)", []).unwrap();
        assert_eq!(identify(&connection).unwrap(), Identity::Older);
        migrate(&mut connection).unwrap();
        assert_eq!(missing_table(&connection).unwrap(), None);
        let n: i64 = connection.query_row("SELECT n FROM counters", [], |row| row.get(0)).unwrap();
        assert_eq!(n, 7);
    }

    #[test]
    fn a_database_of_before_the_audit_keeps_what_it_has_and_gets_one() {
        let mut connection = Connection::open_in_memory().unwrap();
        apply(&mut connection, &MIGRATIONS[..4]).unwrap();
        connection.execute("INSERT INTO counters VALUES ('folded', 7)", []).unwrap();
        assert!(missing_table(&connection).unwrap().is_some());
        migrate(&mut connection).unwrap();
        assert_eq!((identify(&connection).unwrap(), missing_table(&connection).unwrap()), (Identity::Current, None));
        let n: i64 = connection.query_row("SELECT n FROM counters", [], |row| row.get(0)).unwrap();
        assert_eq!(n, 7);
    }

    #[test]
    fn a_database_of_before_the_needs_keeps_what_it_has_and_counts_them_from_now_on() {
        let mut connection = Connection::open_in_memory().unwrap();
        apply(&mut connection, &[schema::V1]).unwrap();
        connection.execute("INSERT INTO targets VALUES (1, 'crm', 'get')", []).unwrap();
        migrate(&mut connection).unwrap();
        assert_eq!(missing_table(&connection).unwrap(), None);
        connection.execute("INSERT INTO needs VALUES (1, 1, 480000, 5, 2, 1, 0)", []).unwrap();
        let n: i64 = connection.query_row("SELECT count(*) FROM targets", [], |row| row.get(0)).unwrap();
        assert_eq!(n, 1);
    }

    #[test]
    fn values_that_were_learned_before_trials_keep_what_they_were() {
        let mut connection = Connection::open_in_memory().unwrap();
        apply(&mut connection, &MIGRATIONS[..3]).unwrap();
        let row = "1, 'timeout.attempt', '', 2.0";
        let rest = "30, 1.0, 2.0, 0.99, 'why', '{}', 0";
        connection.execute_batch("INSERT INTO targets VALUES (1, 'crm', 'get')").unwrap();
        let columns = "target, name, after, value, applied, sample, low, high, confidence, reason, evidence, changed";
        for (revision, applied) in [(1, 1), (2, 0)] {
            let sql = format!("({columns}, revision) VALUES ({row}, {applied}, {rest}, {revision})");
            connection.execute_batch(&format!("INSERT INTO parameter_changes {sql}")).unwrap();
            connection.execute_batch(&format!("REPLACE INTO parameters {sql}")).unwrap();
        }
        migrate(&mut connection).unwrap();
        let read = |sql| connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(read("SELECT standing FROM parameters"), "shadow");
        assert_eq!(read("SELECT group_concat(standing) FROM parameter_changes"), "confirmed,shadow");
    }

    #[test]
    fn the_ages_of_answers_are_what_they_were_in_the_finer_bins() {
        let mut connection = Connection::open_in_memory().unwrap();
        apply(&mut connection, &MIGRATIONS[..8]).unwrap();
        connection.execute("INSERT INTO targets VALUES (1, 'crm', 'get')", []).unwrap();
        for (kind, bin, n) in [("unchanged", 12, 5), ("unchanged", 24, 7), ("changed", 24, 2), ("answered", 12, 9)] {
            connection.execute("INSERT INTO evidence VALUES (1, 480000, ?1, ?2, ?3)", (kind, bin, n)).unwrap();
        }
        migrate(&mut connection).unwrap();
        let mut statement =
            connection.prepare("SELECT kind || ' ' || idx || ' ' || n FROM evidence ORDER BY 1").unwrap();
        let rows: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows, ["answered 12 9", "changed 48 2", "unchanged 24 5", "unchanged 48 7"]);
    }

    #[test]
    fn a_migration_that_fails_leaves_the_version_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        let half = "CREATE TABLE one (n INTEGER) STRICT; CREATE TABLE counters (n INTEGER) STRICT;";
        apply(&mut connection, &[schema::V1, half]).unwrap_err();
        assert_eq!(version(&connection), 1);
        connection.query_row("SELECT n FROM one", [], |_| Ok(())).unwrap_err();
    }

    #[test]
    fn a_newer_version_and_another_programs_tables_are_recognised() {
        let mut newer = Connection::open_in_memory().unwrap();
        migrate(&mut newer).unwrap();
        newer.pragma_update(None, "user_version", 99).unwrap();
        assert_eq!(identify(&newer).unwrap(), Identity::Newer(99));
        let foreign = Connection::open_in_memory().unwrap();
        foreign.execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
        assert_eq!(identify(&foreign).unwrap(), Identity::Foreign);
    }
}
