//! The queue in one SQLite file, the one in which outcomes are kept, shared by any number of processes of one machine.
//!
//! It has a connection of its own with `synchronous = FULL`, so that what was answered outlives a power cut, and every
//! group of changes is one transaction, begun `IMMEDIATE`: with this, two processes cannot lease the same job, because
//! the second reads only after the first has written. The file is readable by its owner only. A file that is damaged
//! is set aside, as the store does it; one that is locked for longer than two seconds, or cannot be written, is an
//! error to whoever wants to put a call off, who then makes the call in its normal way.

mod changes;
mod reads;
mod row;
#[cfg(test)]
mod tests;

use super::job::{Job, JobId};
use super::queue::{Answer, Change, Counts, DeferralQueue, Filter, QueueError, Wanted};
use crate::clock::Wall;
use crate::store::sqlite::database::Database;
use crate::store::{BoxFuture, StoreError};
use rusqlite::Connection;
use std::path::Path;

const NAME: &str = "queue";

/// Keeps jobs in one SQLite file.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use poet_runtime::defer::{Filter, Keeper, NewJob, SqliteQueue};
/// use poet_runtime::{Clock, Wall};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("poet.db");
/// let keeper = Keeper::new(Box::new(SqliteQueue::at(&path)), &Clock::system());
/// let job = NewJob::new("mcp_integration", "crm", "update_contact", Wall::from_millis(1_800_000_000_000));
/// let id = job.id;
/// keeper.enqueue(vec![job], 100_000).await?;
///
/// let other_process = Keeper::new(Box::new(SqliteQueue::open_read_only(&path)?), &Clock::system());
/// assert_eq!(other_process.list(&Filter::default(), 100).await?[0].id, id);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct SqliteQueue(Database);

impl SqliteQueue {
    /// A queue that is opened, and made where it is missing, when it is first needed, and again whenever that fails.
    #[must_use]
    pub fn at(path: impl AsRef<Path>) -> Self {
        Self(Database::at(path, NAME, settings).eager())
    }

    /// Opens a queue, and makes it, readable by its owner only, where it is missing.
    ///
    /// # Errors
    ///
    /// If the file may not be written, is locked, belongs to another program, or was written by a newer version of
    /// this one. [`StoreError::trouble`] says which.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let mut queue = Self::at(path);
        queue.0.connect()?;
        Ok(queue)
    }

    /// Opens an existing queue for looking: nothing is created or changed.
    ///
    /// # Errors
    ///
    /// If there is no such file, it is no database of this program and version, or it cannot be read by this user.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Ok(Self(Database::open_read_only(path, NAME)?))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

fn settings(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "FULL")
}

impl DeferralQueue for SqliteQueue {
    fn describe(&self) -> String {
        format!("SQLite at {}", self.0.path().display())
    }

    fn apply<'a>(
        &'a mut self,
        changes: &'a [Change],
    ) -> BoxFuture<'a, Result<Vec<Result<Answer, QueueError>>, StoreError>> {
        Box::pin(async move { self.0.write("writing to", |connection| changes::apply(connection, changes)) })
    }

    fn get(&mut self, id: JobId) -> BoxFuture<'_, Result<Option<Job>, StoreError>> {
        Box::pin(async move { self.0.with("reading a job from", |connection| reads::get(connection, id)) })
    }

    fn list<'a>(&'a mut self, filter: &'a Filter, limit: usize) -> BoxFuture<'a, Result<Vec<Job>, StoreError>> {
        Box::pin(async move { self.0.with("reading jobs from", |connection| reads::list(connection, filter, limit)) })
    }

    fn counts(&mut self) -> BoxFuture<'_, Result<Counts, StoreError>> {
        Box::pin(async move { self.0.with("counting jobs in", |connection| reads::counts(connection)) })
    }

    fn next_due<'a>(&'a mut self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Option<Wall>, StoreError>> {
        Box::pin(async move { self.0.with("reading jobs from", |connection| reads::next_due(connection, wanted)) })
    }
}
