//! The store in one SQLite file, shared by any number of processes of one machine.
//!
//! One connection, used by one thread. Outcomes and counts are written with `synchronous = NORMAL`: a crash of the
//! process loses nothing that was committed, a power cut the newest commits. A move of a parameter is written with
//! `FULL`, because it is promised. Every transaction that writes begins `IMMEDIATE`, so that it waits for its turn
//! at the start instead of failing in the middle. Memory-mapped reading stays off: a damaged disk would end the process.
//!
//! The connection mends itself: a file that turns out to be damaged is set aside and replaced, one that was deleted
//! or replaced by another process is opened anew. What was being done is then done again, once.

mod codec;
mod file;
mod migrations;
mod queries;
mod schema;

use super::memory::storable;
use super::{
    Batch, BoxFuture, OutcomeRow, ParameterChange, ParameterKey, ParameterRow, Published, Store, StoreError, TargetKey,
    Trouble,
};
use crate::clock::Wall;
use crate::evidence::History;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
pub struct SqliteStore {
    path: PathBuf,
    read_only: bool,
    connection: Option<Connection>,
    /// What tells the opened file from another one under its name.
    identity: Option<(u64, u64)>,
    set_aside: Option<PathBuf>,
}

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
        store.connect()?;
        Ok(store)
    }

    /// A database that is opened when it is first needed, and again whenever that fails: for a program that shall
    /// start whatever the state of its disk.
    #[must_use]
    pub fn at(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        // Absolute, so that a program that changes its folder finds it again.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { path, read_only: false, connection: None, identity: None, set_aside: None }
    }

    /// Opens an existing database for reports: nothing is created, converted, or moved.
    ///
    /// # Errors
    ///
    /// If there is no such file, it is no database of this program and version, or it cannot be read by this user.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let mut store = Self::at(path);
        store.read_only = true;
        store.connect()?;
        Ok(store)
    }

    /// Where the database is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn connect(&mut self) -> Result<&mut Connection, StoreError> {
        // Deleted, or set aside by another process: what is written to it from here on, nobody would read.
        if self.connection.is_some() && file::identity(&self.path) != self.identity {
            tracing::warn!(path = %self.path.display(), "outcome store was replaced under us; opening it anew");
            self.disconnect();
        }
        let opened = match self.connection.take() {
            Some(connection) => connection,
            None if self.read_only => file::open_read_only(&self.path)?,
            None => {
                let (connection, aside) = file::open(&self.path)?;
                self.set_aside = aside.or_else(|| self.set_aside.take());
                self.identity = file::identity(&self.path);
                connection
            }
        };
        if self.identity.is_none() {
            self.identity = file::identity(&self.path);
        }
        Ok(self.connection.insert(opened))
    }

    /// Does one thing; if that finds the file damaged, opens it anew, or another one in its place, and does it again.
    fn with<T>(
        &mut self,
        attempted: &str,
        mut work: impl FnMut(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut outcome = work(self.connect()?);
        // A file cut to nothing loses its tables without being damaged in SQLite's eyes, so anything unexplained is
        // reason to look at it again; only damage is reason to move it.
        if !self.read_only && troubles(&outcome).is_some_and(|t| matches!(t, Trouble::Corrupt | Trouble::Other)) {
            self.disconnect();
            outcome = work(self.connect()?);
            if troubles(&outcome) == Some(Trouble::Corrupt) {
                self.disconnect();
                self.set_aside = file::replace(&self.path, self.identity)?.or_else(|| self.set_aside.take());
                outcome = work(self.connect()?);
            }
        }
        outcome.map_err(|error| {
            let attempted = format!("{attempted} outcome store at {}", self.path.display());
            StoreError::of(codec::trouble(&error), attempted, error)
        })
    }

    fn disconnect(&mut self) {
        if let Some(damaged) = self.connection.take() {
            // Its log is evidence too: closing must neither write it back nor delete it.
            let _ = damaged.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }

    fn write<T>(
        &mut self,
        attempted: &str,
        work: impl FnMut(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        if self.read_only {
            let attempted = format!("{attempted} outcome store at {}", self.path.display());
            return Err(StoreError::of(Trouble::ReadOnly, attempted, "it was opened for reading only"));
        }
        self.with(attempted, work)
    }
}

fn troubles<T>(outcome: &rusqlite::Result<T>) -> Option<Trouble> {
    outcome.as_ref().err().map(codec::trouble)
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| !self.read_only) {
            // Helps the next process to plan its queries; not worth waiting for.
            let _ = connection.busy_timeout(Duration::ZERO);
            let _ = connection.execute_batch("PRAGMA optimize");
        }
    }
}

impl Store for SqliteStore {
    fn describe(&self) -> String {
        format!("SQLite at {}", self.path.display())
    }

    fn set_aside(&self) -> Option<PathBuf> {
        self.set_aside.clone()
    }

    fn append<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.write("writing to", |connection| queries::append(connection, batch)) })
    }

    fn targets(&mut self) -> BoxFuture<'_, Result<Vec<TargetKey>, StoreError>> {
        Box::pin(async move { self.with("reading targets from", |connection| queries::targets(connection)) })
    }

    fn evidence<'a>(
        &'a mut self,
        target: &'a TargetKey,
        since_hour: i64,
    ) -> BoxFuture<'a, Result<History, StoreError>> {
        Box::pin(async move {
            self.with("reading evidence from", |connection| queries::evidence(connection, target, since_hour))
        })
    }

    fn parameters(&mut self) -> BoxFuture<'_, Result<Vec<ParameterRow>, StoreError>> {
        Box::pin(async move { self.with("reading parameters from", |connection| queries::parameters(connection)) })
    }

    fn publish<'a>(
        &'a mut self,
        change: &'a ParameterChange,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<Published, StoreError>> {
        Box::pin(async move {
            storable(change)?;
            self.write("publishing a parameter to", |connection| {
                queries::durably(connection, |connection| queries::publish(connection, change, expected))
            })
        })
    }

    fn changes<'a>(
        &'a mut self,
        key: Option<&'a ParameterKey>,
    ) -> BoxFuture<'a, Result<Vec<ParameterChange>, StoreError>> {
        Box::pin(async move { self.with("reading changes from", |connection| queries::changes(connection, key)) })
    }

    fn outcomes<'a>(
        &'a mut self,
        target: Option<&'a TargetKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<OutcomeRow>, StoreError>> {
        Box::pin(async move {
            self.with("reading outcomes from", |connection| queries::outcomes(connection, target, limit))
        })
    }

    fn folded(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { self.with("reading counters from", |connection| queries::folded(connection)) })
    }

    fn prune(&mut self, outcomes: Wall, evidence_hour: i64) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { self.write("pruning", |connection| queries::prune(connection, outcomes, evidence_hour)) })
    }
}

#[cfg(test)]
mod tests;
