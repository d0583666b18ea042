//! The journal in the SQLite file in which outcomes are kept, shared by any number of processes of one machine.
//!
//! Written with `synchronous = FULL`, because a step is started on the strength of what was written. That of two starts
//! of one step only the first is taken, whichever process it comes from, is the table's own key.

use super::{Entry, Happening, Journal, MAX_RUNS, Opening, Recorded, Run};
use crate::clock::Wall;
use crate::lock::lock;
use crate::plan::result::Status;
use crate::store::sqlite::database::Database;
use crate::store::{BoxFuture, StoreError};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, TransactionBehavior, params};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NAME: &str = "journal of plans";

/// How long an entry waits for another process to let go: a step waits for it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The migration that makes the tables.
pub(crate) const MIGRATION: &str = "
CREATE TABLE plan_runs (              -- a run of a plan that has a key or has ended; 10,000 of them
    id          INTEGER PRIMARY KEY,
    key         TEXT UNIQUE,          -- null: the run cannot be taken up again
    plan        TEXT NOT NULL,
    fingerprint TEXT NOT NULL,        -- of steps and inputs
    began       INTEGER NOT NULL,
    ended       INTEGER,
    status      TEXT,
    completed   INTEGER,
    total       INTEGER,
    elapsed     INTEGER,
    outcome     TEXT                  -- a JSON object, for a run with a key
) STRICT;
CREATE INDEX plan_runs_ended ON plan_runs (ended) WHERE ended IS NOT NULL;

CREATE TABLE plan_steps (             -- what happened to the steps of runs that have not ended
    id      INTEGER PRIMARY KEY,      -- in the order in which it happened
    run     INTEGER NOT NULL REFERENCES plan_runs (id) ON DELETE CASCADE,
    step    TEXT NOT NULL,
    what    TEXT NOT NULL,
    account TEXT NOT NULL,            -- a JSON object; empty for what has only started
    UNIQUE (run, step, what)
) STRICT;
";

/// Keeps runs in one SQLite file: 10,000 that have ended, and all that have not.
#[derive(Clone, Debug)]
pub struct SqliteJournal(Arc<Mutex<Database>>);

impl SqliteJournal {
    /// A journal that is opened, and made where it is missing, when it is first needed.
    #[must_use]
    pub fn at(path: impl AsRef<Path>) -> Self {
        Self(Arc::new(Mutex::new(Database::at(path, NAME, settings))))
    }

    /// Does one thing on a thread that may wait for the disk.
    async fn with<T: Send + 'static>(
        &self,
        attempted: &'static str,
        work: impl FnMut(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let database = self.0.clone();
        let done = tokio::task::spawn_blocking(move || lock(&database).write(attempted, work));
        done.await.map_err(|error| StoreError::new(format!("{attempted} {NAME}"), error))?
    }
}

fn settings(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.busy_timeout(BUSY_TIMEOUT)
}

impl Journal for SqliteJournal {
    fn describe(&self) -> String {
        format!("SQLite at {}", lock(&self.0).path().display())
    }

    fn open<'a>(&'a self, opening: &'a Opening<'a>) -> BoxFuture<'a, Result<Recorded, StoreError>> {
        let [key, plan, fingerprint] = [opening.key, opening.plan, opening.fingerprint].map(str::to_owned);
        let began = opening.began.millis();
        Box::pin(self.with("beginning a plan in", move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute(
                "INSERT OR IGNORE INTO plan_runs (key, plan, fingerprint, began) VALUES (?1, ?2, ?3, ?4)",
                params![key, plan, fingerprint, began],
            )?;
            let (id, fingerprint, outcome) = transaction.query_row(
                "SELECT id, fingerprint, outcome FROM plan_runs WHERE key = ?1",
                [&key],
                |row| Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?)),
            )?;
            let entries = transaction
                .prepare_cached("SELECT step, what, account FROM plan_steps WHERE run = ?1 ORDER BY id")?
                .query_map([id], entry)?
                .collect::<rusqlite::Result<_>>()?;
            transaction.commit()?;
            Ok(Recorded { fingerprint, entries, outcome })
        }))
    }

    fn note<'a>(&'a self, key: &'a str, entry: &'a Entry) -> BoxFuture<'a, Result<bool, StoreError>> {
        let (key, entry) = (key.to_owned(), entry.clone());
        Box::pin(self.with("noting a step in", move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // A run that is not there is an error, not an entry that is there already.
            let run: i64 = transaction
                .prepare_cached("SELECT id FROM plan_runs WHERE key = ?1 AND ended IS NULL")?
                .query_row([&key], |row| row.get(0))?;
            let added = transaction
                .prepare_cached("INSERT OR IGNORE INTO plan_steps (run, step, what, account) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![run, entry.step, entry.what.as_str(), entry.account])?;
            transaction.commit()?;
            Ok(added == 1)
        }))
    }

    fn end<'a>(&'a self, run: &'a Run, outcome: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        let (run, outcome) = (run.clone(), outcome.to_owned());
        Box::pin(self.with("ending a plan in", move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let elapsed = i64::try_from(run.duration.as_micros()).unwrap_or(i64::MAX);
            let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
            let outcome = run.key.as_ref().map(|_| &outcome);
            // The history says when a run ended; that it began then is not said of one that nobody can take up.
            transaction.execute(
                "INSERT INTO plan_runs (key, plan, fingerprint, began, ended, status, completed, total, elapsed, outcome)
                 VALUES (?1, ?2, '', ?3, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (key) DO UPDATE SET ended = excluded.ended, status = excluded.status,
                    completed = excluded.completed, total = excluded.total, elapsed = excluded.elapsed,
                    outcome = excluded.outcome",
                params![
                    run.key,
                    run.plan,
                    run.ended.millis(),
                    status_name(run.status),
                    count(run.completed_steps),
                    count(run.total_steps),
                    elapsed,
                    outcome,
                ],
            )?;
            transaction.execute("DELETE FROM plan_steps WHERE run = (SELECT id FROM plan_runs WHERE key = ?1)", [&run.key])?;
            transaction.execute(
                "DELETE FROM plan_runs WHERE ended IS NOT NULL AND id IN
                    (SELECT id FROM plan_runs WHERE ended IS NOT NULL ORDER BY ended DESC LIMIT -1 OFFSET ?1)",
                [count(MAX_RUNS)],
            )?;
            transaction.commit()
        }))
    }

    fn history(&self, limit: usize) -> BoxFuture<'_, Result<Vec<Run>, StoreError>> {
        Box::pin(self.with("reading plans from", move |connection| {
            connection
                .prepare_cached(
                    "SELECT plan, key, ended, status, completed, total, elapsed FROM plan_runs
                     WHERE ended IS NOT NULL ORDER BY ended DESC, id DESC LIMIT ?1",
                )?
                .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], run)?
                .collect()
        }))
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let what: String = row.get(1)?;
    let unknown = || rusqlite::Error::FromSqlConversionFailure(1, Type::Text, format!("`{what}`").into());
    Ok(Entry { step: row.get(0)?, what: Happening::named(&what).ok_or_else(unknown)?, account: row.get(2)? })
}

fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    let count = |index: usize| row.get::<_, i64>(index).map(|n| usize::try_from(n).unwrap_or(0));
    let status: String = row.get(3)?;
    let unknown = || rusqlite::Error::FromSqlConversionFailure(3, Type::Text, format!("`{status}`").into());
    let every = [Status::Completed, Status::Partial, Status::Failed];
    Ok(Run {
        plan: row.get(0)?,
        key: row.get(1)?,
        ended: Wall::from_millis(row.get(2)?),
        status: every.into_iter().find(|known| status_name(*known) == status).ok_or_else(unknown)?,
        completed_steps: count(4)?,
        total_steps: count(5)?,
        duration: Duration::from_micros(u64::try_from(row.get::<_, i64>(6)?).unwrap_or(0)),
    })
}

fn status_name(status: Status) -> &'static str {
    match status {
        Status::Completed => "completed",
        Status::Partial => "partial",
        Status::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Inputs, State, Step, named};
    use crate::{Error, Runtime};
    use serde_json::{Value, json};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// How many entries there are of a run.
    fn entries(journal: &SqliteJournal, key: &str) -> i64 {
        let sql = "SELECT count(*) FROM plan_steps WHERE run = (SELECT id FROM plan_runs WHERE key = ?1)";
        lock(&journal.0).with("counting in", |connection| connection.query_row(sql, [key], |row| row.get(0))).unwrap()
    }

    #[tokio::test]
    async fn it_keeps_what_a_journal_must() {
        let folder = tempfile::tempdir().unwrap();
        super::super::conformance::check(&SqliteJournal::at(folder.path().join("poet.db"))).await;
    }

    #[tokio::test]
    async fn entries_go_when_their_run_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let journal = SqliteJournal::at(folder.path().join("poet.db"));
        let runtime = Runtime::builder().in_memory().build().unwrap();
        runtime.plans().keep(journal.clone());
        let plan = named("p").step(Step::new("a").call(async |_: Inputs| Ok(json!(1)), json!({}))).keyed("k");
        assert!(plan.run_in(&runtime).await.unwrap().success);
        assert_eq!(entries(&journal, "k"), 0);
    }

    #[tokio::test]
    async fn a_plan_is_taken_up_by_another_process_from_the_database_of_the_runtime() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("poet.db");
        let config = crate::config::Config::default;
        let process = || Runtime::builder().configuration(config()).database(&path).build().unwrap();
        let charged = Arc::new(AtomicU32::new(0));
        let counted = charged.clone();
        let charge = move |_: Inputs| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok(json!({ "id": 7 })) }
        };
        // The second step never answers, and the process "ends" while it runs.
        let hangs = async |_: Inputs| std::future::pending::<Result<Value, Error>>().await;
        let plan = named("order")
            .step(Step::new("charge").call(charge, json!({})))
            .step(Step::new("ship").call(hangs, json!({ "of": "$charge.id" })))
            .keyed("order-4711");
        let first = process();
        let started = async {
            while charged.load(Ordering::Relaxed) == 0 || entries(&SqliteJournal::at(&path), "order-4711") < 3 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = plan.run_in(&first) => panic!("it cannot end"),
            () = started => {}
        }
        drop(first);
        let outcome = plan.run_in(&process()).await.unwrap();
        assert_eq!(charged.load(Ordering::Relaxed), 1);
        assert_eq!(outcome.step("charge").unwrap().state, State::Done);
        assert_eq!(outcome.step("ship").unwrap().state, State::Unknown);
        assert_eq!(outcome.json::<Value>("charge").unwrap(), json!({ "id": 7 }));
    }
}
