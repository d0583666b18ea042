//! What a service was asked and what it executed, on disk from the moment it happened.
//!
//! The number of a call, and how often its key came, are what the fault pattern decides by. They are read from the
//! ledger and not counted in memory, because a service that runs as a child process is started again and again.

use super::services::{Refusal, Service};
use rmcp::model::JsonObject;
use rusqlite::{Connection, TransactionBehavior, params};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS calls(number INTEGER PRIMARY KEY, key TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
    CREATE INDEX IF NOT EXISTS calls_by_key ON calls(key);
    CREATE TABLE IF NOT EXISTS executions(
        call INTEGER NOT NULL REFERENCES calls(number), key TEXT NOT NULL, at INTEGER NOT NULL
    ) STRICT;";

/// The database of one service.
#[derive(Debug)]
pub(crate) struct Ledger {
    connection: Connection,
    service: &'static Service,
}

/// A call that has been written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// 1 for the first call the service ever got.
    pub(crate) number: u32,
    /// 1 for the first call with this key.
    pub(crate) attempt: u32,
    /// How long after the first call the service ever got.
    pub(crate) at: Duration,
}

/// What a service has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Requests that arrived, retries included.
    pub(crate) requests: u32,
    /// Records for which a request was executed; one request may be about many.
    pub(crate) executions: u32,
    /// Executions of something that had been executed before.
    pub(crate) repeated: u32,
}

/// Where the service keeps its data.
pub(crate) fn path(folder: &Path, service: &Service) -> PathBuf {
    folder.join(service.name).with_extension("db")
}

impl Ledger {
    /// Opens the database of the service in that folder, and creates it where there is none.
    pub(crate) fn open(folder: &Path, service: &'static Service) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(path(folder, service))?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let tables = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tables.execute_batch(TABLES)?;
        tables.execute_batch(service.tables)?;
        tables.commit()?;
        Ok(Self { connection, service })
    }

    /// Writes down that a call about `key` has arrived.
    pub(crate) fn arrive(&mut self, key: &str) -> rusqlite::Result<Arrival> {
        let now = milliseconds_since_epoch();
        // Immediate: several processes may serve one ledger, and two calls must not get one number.
        let entry = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        entry.prepare_cached("INSERT INTO calls(key, at) VALUES (?1, ?2)")?.execute(params![key, now])?;
        let (number, attempt, began): (u32, u32, i64) = entry
            .prepare_cached(
                "SELECT last_insert_rowid(), (SELECT count(*) FROM calls WHERE key = ?1),
                        (SELECT at FROM calls WHERE number = 1)",
            )?
            .query_row([key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        entry.commit()?;
        let at = Duration::from_millis(u64::try_from(now - began).unwrap_or(0));
        Ok(Arrival { number, attempt, at })
    }

    /// Executes the tool for each record and writes down that it was executed: all of it, or nothing.
    pub(crate) fn execute(&mut self, arrival: Arrival, records: Vec<JsonObject>) -> Result<Vec<Value>, Refusal> {
        let entry = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut values = Vec::new();
        for record in records {
            let key = key(&record);
            values.push((self.service.execute)(&entry, record)?);
            entry.prepare_cached("INSERT INTO executions(call, key, at) VALUES (?1, ?2, ?3)")?.execute(params![
                arrival.number,
                key,
                milliseconds_since_epoch()
            ])?;
        }
        entry.commit()?;
        Ok(values)
    }

    /// What the service has seen so far.
    pub(crate) fn counts(&self) -> rusqlite::Result<Counts> {
        self.connection.query_row(
            "SELECT (SELECT count(*) FROM calls), count(*), count(*) - count(DISTINCT key) FROM executions",
            [],
            |row| Ok(Counts { requests: row.get(0)?, executions: row.get(1)?, repeated: row.get(2)? }),
        )
    }
}

/// What a record is about.
pub(super) fn key(record: &JsonObject) -> String {
    record.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn milliseconds_since_epoch() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
