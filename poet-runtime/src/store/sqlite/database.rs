//! A connection that mends itself: a file that turns out to be damaged is set aside and replaced, one that was deleted
//! or replaced by another process is opened anew. What was being done is then done again, once.

use super::{codec, file};
use crate::clock;
use crate::store::{StoreError, Trouble};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A database of ours, opened when it is first needed, and again whenever that fails.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    /// What it is called in messages.
    name: &'static str,
    read_only: bool,
    /// Whether it looks every millisecond whether another process has let go.
    eager: bool,
    /// What a new connection is told beside the common settings.
    settings: fn(&Connection) -> rusqlite::Result<()>,
    pub(super) connection: Option<Connection>,
    /// What tells the opened file from another one under its name.
    identity: Option<(u64, u64)>,
    set_aside: Option<PathBuf>,
}

impl Database {
    pub(crate) fn at(
        path: impl AsRef<Path>,
        name: &'static str,
        settings: fn(&Connection) -> rusqlite::Result<()>,
    ) -> Self {
        let path = path.as_ref();
        // Absolute, so that a program that changes its folder finds it again.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { path, name, read_only: false, eager: false, settings, connection: None, identity: None, set_aside: None }
    }

    /// The same, but waiting for other processes by looking every millisecond, about two seconds long.
    ///
    /// SQLite's own way of waiting looks every 100 ms in the end. Nobody keeps turns, so where another process writes
    /// one group after the other, that is seldom enough to find it busy every time.
    pub(crate) fn eager(mut self) -> Self {
        self.eager = true;
        self
    }

    /// Opens an existing database for reading: nothing is created, converted, or moved.
    pub(crate) fn open_read_only(path: impl AsRef<Path>, name: &'static str) -> Result<Self, StoreError> {
        let mut database = Self::at(path, name, |_| Ok(()));
        database.read_only = true;
        database.connect()?;
        Ok(database)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a damaged file was moved, if that had to be done.
    pub(crate) fn set_aside(&self) -> Option<PathBuf> {
        self.set_aside.clone()
    }

    pub(crate) fn connect(&mut self) -> Result<&mut Connection, StoreError> {
        // Deleted, or set aside by another process: what is written to it from here on, nobody would read.
        if self.connection.is_some() && file::identity(&self.path) != self.identity {
            tracing::warn!(path = %self.path.display(), "{} was replaced under us; opening it anew", self.name);
            self.disconnect();
        }
        let opened = match self.connection.take() {
            Some(connection) => connection,
            None if self.read_only => file::open_read_only(&self.path)?,
            None => {
                let (mut connection, aside) = file::open(&self.path)?;
                self.set_aside = aside.or_else(|| self.set_aside.take());
                self.identity = file::identity(&self.path);
                if self.eager {
                    connection.busy_handler(Some(look_again)).map_err(|error| self.failed("opening", error))?;
                }
                (self.settings)(&connection).map_err(|error| self.failed("opening", error))?;
                connection
            }
        };
        if self.identity.is_none() {
            self.identity = file::identity(&self.path);
        }
        Ok(self.connection.insert(opened))
    }

    /// Does one thing; if that finds the file damaged, opens it anew, or another one in its place, and does it again.
    pub(crate) fn with<T>(
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
        outcome.map_err(|error| self.failed(attempted, error))
    }

    /// The same for what changes it.
    pub(crate) fn write<T>(
        &mut self,
        attempted: &str,
        work: impl FnMut(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        if self.read_only {
            let attempted = format!("{attempted} {} at {}", self.name, self.path.display());
            return Err(StoreError::of(Trouble::ReadOnly, attempted, "it was opened for reading only"));
        }
        self.with(attempted, work)
    }

    fn failed(&self, attempted: &str, error: rusqlite::Error) -> StoreError {
        let attempted = format!("{attempted} {} at {}", self.name, self.path.display());
        StoreError::of(codec::trouble(&error), attempted, error)
    }

    fn disconnect(&mut self) {
        if let Some(damaged) = self.connection.take() {
            // Its log is evidence too: closing must neither write it back nor delete it.
            let _ = damaged.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }
}

/// How often a database that waits eagerly looks before it gives up.
const LOOKS: i32 = 2000;

fn look_again(looked: i32) -> bool {
    clock::sleep_blocking(Duration::from_millis(1));
    looked < LOOKS
}

fn troubles<T>(outcome: &rusqlite::Result<T>) -> Option<Trouble> {
    outcome.as_ref().err().map(codec::trouble)
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| !self.read_only) {
            // Helps the next process to plan its queries; not worth waiting for.
            let _ = connection.busy_timeout(Duration::ZERO);
            let _ = connection.execute_batch("PRAGMA optimize");
        }
    }
}
