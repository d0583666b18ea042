//! The store in one SQLite file, shared by any number of processes of one machine.
//!
//! One connection, used by one thread. Outcomes and counts are written with `synchronous = NORMAL`: a crash of the
//! process loses nothing that was committed, a power cut the newest commits. A move of a parameter is written with
//! `FULL`, because it is promised. Every transaction that writes begins `IMMEDIATE`, so that it waits for its turn
//! at the start instead of failing in the middle. Memory-mapped reading stays off: a damaged disk would end the process.
//!
//! The connection mends itself, see [`database`].

mod audit;
pub(crate) mod codec;
pub(crate) mod database;
mod file;
mod migrations;
mod needs;
mod past;
mod queries;
mod schema;

use super::memory::storable;
use super::{
    Batch, BoxFuture, Need, OutcomeRow, ParameterChange, ParameterKey, ParameterRow, Published, SchemaRow, Settlement,
    Store, StoreError, TargetKey,
};
use crate::audit::{AuditCounts, AuditEntry, AuditFilter, AuditKey};
use crate::clock::Wall;
use crate::evidence::{History, PastHour};
use database::Database;
use std::path::{Path, PathBuf};

/// What it is called in messages.
const NAME: &str = "outcome store";

/// Keeps everything in one SQLite file.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use poet_runtime::store::{SqliteStore, Store};
///
/// let folder = tempfile::tempdir()?;
/// let store = SqliteStore::open(folder.path().join("poet.db"))?;
/// assert!(store.describe().ends_with("poet.db"));
/// assert!(SqliteStore::open_read_only(folder.path().join("other.db")).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SqliteStore(Database);

impl SqliteStore {
    /// Opens a database, and makes it, readable by its owner only, where it is missing.
    ///
    /// A damaged file is renamed to `<name>.corrupt-<utc time>` and replaced by an empty one; [`Store::set_aside`]
    /// then says where it went.
    ///
    /// # Errors
    ///
    /// If the file may not be written, is locked for longer than five seconds, belongs to another program, or was
    /// written by a newer version of this one. [`StoreError::trouble`] says which.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let mut store = Self::at(path);
        store.0.connect()?;
        Ok(store)
    }

    /// A database that is opened when it is first needed, and again whenever that fails: for a program that shall
    /// start whatever the state of its disk.
    #[must_use]
    pub fn at(path: impl AsRef<Path>) -> Self {
        Self(Database::at(path, NAME, |_| Ok(())))
    }

    /// Opens an existing database for reports: nothing is created, converted, or moved.
    ///
    /// # Errors
    ///
    /// If there is no such file, it is no database of this program and version, or it cannot be read by this user.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Ok(Self(Database::open_read_only(path, NAME)?))
    }

    /// Where the database is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Store for SqliteStore {
    fn describe(&self) -> String {
        format!("SQLite at {}", self.0.path().display())
    }

    fn set_aside(&self) -> Option<PathBuf> {
        self.0.set_aside()
    }

    fn append<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.0.write("writing to", |connection| queries::append(connection, batch)) })
    }

    fn targets(&mut self) -> BoxFuture<'_, Result<Vec<TargetKey>, StoreError>> {
        Box::pin(async move { self.0.with("reading targets from", |connection| queries::targets(connection)) })
    }

    fn evidence<'a>(
        &'a mut self,
        target: &'a TargetKey,
        since_hour: i64,
    ) -> BoxFuture<'a, Result<History, StoreError>> {
        Box::pin(async move {
            self.0.with("reading evidence from", |connection| queries::evidence(connection, target, since_hour))
        })
    }

    fn past<'a>(
        &'a mut self,
        target: &'a TargetKey,
        since_hour: i64,
    ) -> BoxFuture<'a, Result<Vec<PastHour>, StoreError>> {
        Box::pin(async move {
            self.0.with("reading past hours from", |connection| past::since(connection, target, since_hour))
        })
    }

    fn needs(&mut self, since_hour: i64) -> BoxFuture<'_, Result<Vec<Need>, StoreError>> {
        Box::pin(async move { self.0.with("reading needs from", |connection| needs::since(connection, since_hour)) })
    }

    fn parameters(&mut self) -> BoxFuture<'_, Result<Vec<ParameterRow>, StoreError>> {
        Box::pin(async move { self.0.with("reading parameters from", |connection| queries::parameters(connection)) })
    }

    fn publish<'a>(
        &'a mut self,
        change: &'a ParameterChange,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<Published, StoreError>> {
        Box::pin(async move {
            storable(change)?;
            self.0.write("publishing a parameter to", |connection| {
                queries::durably(connection, |connection| queries::publish(connection, change, expected))
            })
        })
    }

    fn settle(&mut self, settlement: Settlement) -> BoxFuture<'_, Result<Option<ParameterRow>, StoreError>> {
        Box::pin(async move {
            self.0.write("ending a trial in", |connection| {
                queries::durably(connection, |connection| queries::settle(connection, settlement))
            })
        })
    }

    fn changes<'a>(
        &'a mut self,
        key: Option<&'a ParameterKey>,
    ) -> BoxFuture<'a, Result<Vec<ParameterChange>, StoreError>> {
        Box::pin(async move { self.0.with("reading changes from", |connection| queries::changes(connection, key)) })
    }

    fn outcomes<'a>(
        &'a mut self,
        target: Option<&'a TargetKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<OutcomeRow>, StoreError>> {
        Box::pin(async move {
            self.0.with("reading outcomes from", |connection| queries::outcomes(connection, target, limit))
        })
    }

    fn schemas(&mut self) -> BoxFuture<'_, Result<Vec<SchemaRow>, StoreError>> {
        Box::pin(async move { self.0.with("reading schemas from", |connection| queries::schemas(connection)) })
    }

    fn note_schema<'a>(&'a mut self, row: &'a SchemaRow) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.0.write("noting a schema in", |connection| {
                queries::durably(connection, |connection| queries::note_schema(connection, row))
            })
        })
    }

    fn folded(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { self.0.with("reading counters from", |connection| queries::folded(connection)) })
    }

    fn prune(&mut self, outcomes: Wall, evidence_hour: i64) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(
            async move { self.0.write("pruning", |connection| queries::prune(connection, outcomes, evidence_hour)) },
        )
    }

    fn promise<'a>(&'a mut self, entries: &'a [AuditEntry]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.0.write("writing the audit to", |connection| {
                queries::durably(connection, |connection| audit::promise(connection, entries))
            })
        })
    }

    fn audit<'a>(
        &'a mut self,
        filter: &'a AuditFilter,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<AuditEntry>, StoreError>> {
        Box::pin(async move {
            self.0.with("reading the audit from", |connection| audit::entries(connection, filter, limit))
        })
    }

    fn audit_counts(&mut self) -> BoxFuture<'_, Result<AuditCounts, StoreError>> {
        Box::pin(async move { self.0.with("reading counters from", |connection| audit::counts(connection)) })
    }

    fn audit_key(&mut self) -> BoxFuture<'_, Result<Option<AuditKey>, StoreError>> {
        Box::pin(async move { self.0.with("reading the key of the audit from", |connection| audit::key(connection)) })
    }

    fn keep_audit_key(&mut self, drawn: AuditKey) -> BoxFuture<'_, Result<AuditKey, StoreError>> {
        Box::pin(async move {
            self.0.write("writing the key of the audit to", |connection| {
                queries::durably(connection, |connection| audit::keep_key(connection, drawn))
            })
        })
    }

    fn prune_audit(&mut self, before: Wall, most: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(
            async move { self.0.write("pruning the audit in", |connection| audit::prune(connection, before, most)) },
        )
    }
}

#[cfg(test)]
mod tests;
