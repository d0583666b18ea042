//! The journal in memory: for tests and for programs that want no file. It ends with the process.

use super::{Entry, Journal, MAX_RUNS, Opening, Recorded, Run};
use crate::lock::lock;
use crate::store::{BoxFuture, StoreError, Trouble};
use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

/// Runs kept for the history.
const HISTORY: usize = 1_000;

/// Keeps runs in memory: up to 10,000 under keys, and the newest 1,000 that have ended.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    runs: HashMap<String, Recorded>,
    /// Keys of runs that have ended, oldest first.
    done: VecDeque<String>,
    history: VecDeque<Run>,
}

impl Kept {
    fn make_room(&mut self) -> Result<(), StoreError> {
        while self.runs.len() >= MAX_RUNS {
            let oldest = self.done.pop_front();
            let full = || StoreError::of(Trouble::Full, "beginning a plan", format!("{MAX_RUNS} are under way"));
            self.runs.remove(&oldest.ok_or_else(full)?);
        }
        Ok(())
    }
}

impl Journal for MemoryJournal {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn open<'a>(&'a self, opening: &'a Opening<'a>) -> BoxFuture<'a, Result<Recorded, StoreError>> {
        Box::pin(async move {
            let mut kept = lock(&self.0);
            if let Some(recorded) = kept.runs.get(opening.key) {
                return Ok(recorded.clone());
            }
            kept.make_room()?;
            let recorded = Recorded { fingerprint: opening.fingerprint.to_owned(), ..Recorded::default() };
            kept.runs.insert(opening.key.to_owned(), recorded.clone());
            Ok(recorded)
        })
    }

    fn note<'a>(&'a self, key: &'a str, entry: &'a Entry) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let mut kept = lock(&self.0);
            let unknown =
                || StoreError::of(Trouble::Missing, format!("noting a step of `{key}`"), "it was never begun");
            let entries = &mut kept.runs.get_mut(key).ok_or_else(unknown)?.entries;
            let known = entries.iter().any(|known| known.step == entry.step && known.what == entry.what);
            if !known {
                entries.push(entry.clone());
            }
            Ok(!known)
        })
    }

    fn end<'a>(&'a self, run: &'a Run, outcome: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut kept = lock(&self.0);
            if let Some(key) = &run.key {
                if let Some(recorded) = kept.runs.get_mut(key) {
                    recorded.outcome = Some(outcome.to_owned());
                    recorded.entries = Vec::new();
                }
                kept.done.push_back(key.clone());
            }
            if kept.history.len() == HISTORY {
                kept.history.pop_front();
            }
            kept.history.push_back(run.clone());
            Ok(())
        })
    }

    fn history(&self, limit: usize) -> BoxFuture<'_, Result<Vec<Run>, StoreError>> {
        Box::pin(async move { Ok(lock(&self.0).history.iter().rev().take(limit).cloned().collect()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_keeps_what_a_journal_must() {
        super::super::conformance::check(&MemoryJournal::default()).await;
    }
}
