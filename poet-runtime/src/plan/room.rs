//! What a runtime keeps for its plans: their journal, and which keys are in use.

use super::journal::{History, Journal, MemoryJournal};
use crate::error::Error;
use crate::lock::lock;
use crate::runtime::Runtime;
use crate::store::StoreError;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};

/// One of a runtime.
#[derive(Default)]
pub(super) struct Room {
    journal: Mutex<Option<Arc<dyn Journal>>>,
    in_use: Arc<Mutex<HashSet<String>>>,
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").finish_non_exhaustive()
    }
}

impl Room {
    pub(super) fn journal(&self, runtime: &Runtime) -> Arc<dyn Journal> {
        lock(&self.journal).get_or_insert_with(|| default_journal(runtime)).clone()
    }

    /// Takes a key for the life of the claim.
    pub(super) fn claim(&self, key: &str) -> Result<Claim, Error> {
        if !lock(&self.in_use).insert(key.to_owned()) {
            return Err(Error::denied(format!("a plan with the key `{key}` is under way")));
        }
        Ok(Claim { key: key.to_owned(), in_use: self.in_use.clone() })
    }
}

/// Where plans are kept if nobody says so.
fn default_journal(runtime: &Runtime) -> Arc<dyn Journal> {
    #[cfg(feature = "sqlite")]
    if let Some(path) = &runtime.0.database {
        return Arc::new(super::journal::SqliteJournal::at(path));
    }
    let _ = runtime;
    Arc::new(MemoryJournal::default())
}

/// A key in use.
pub(super) struct Claim {
    key: String,
    in_use: Arc<Mutex<HashSet<String>>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.in_use).remove(&self.key);
    }
}

/// The plans of a runtime: where they are kept, and how they went.
#[derive(Debug)]
pub struct Plans<'a>(&'a Runtime);

impl Plans<'_> {
    /// Keeps runs under keys, and the history of all runs, in this journal. To be said before the first plan is run.
    pub fn keep(&self, journal: impl Journal + 'static) {
        *lock(&self.0.extension::<Room>().journal) = Some(Arc::new(journal));
    }

    /// The newest `limit` runs that have ended, and how well each plan did in them.
    ///
    /// # Errors
    ///
    /// The journal's error.
    pub async fn history(&self, limit: usize) -> Result<History, StoreError> {
        let journal = self.0.extension::<Room>().journal(self.0);
        Ok(History::of(journal.history(limit).await?))
    }
}

impl Runtime {
    /// The plans that run in this runtime.
    #[must_use]
    pub fn plans(&self) -> Plans<'_> {
        Plans(self)
    }
}
