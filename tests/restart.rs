//! The loop, closed: a service fails in a pattern, the process is killed, and the first call of the next one differs.
//!
//! The first process runs a tool that fails every first attempt and one that hangs now and then, and is killed with
//! `kill -9` while it is at it. The second one makes one call of each. What it did is read from the database, beside
//! the row that decided it.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are part of the test")]

use poet::store::{OutcomeRow, ParameterRow, SqliteStore, Store};
use poet::{Class, Error, FailureKind, Profile, Runtime, poet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Names the part of the story this process plays, and its database, when it is started by the test below.
const PART: &str = "POET_RESTART_PART";
const DATABASE: &str = "POET_RESTART_DATABASE";

/// Quicker than the defaults, so that hanging calls do not make the story long.
static SMALL_WORLD: Profile = Profile {
    attempt_timeout: Duration::from_secs(1),
    base_delay: Duration::from_millis(2),
    deadline: Duration::from_secs(5),
    ..Profile::named("small_world")
};

/// A service that fails every first attempt.
#[derive(Default)]
struct Flaky {
    attempts: AtomicU32,
}

#[poet(domain = SMALL_WORLD, service = "crm", operation = "lookup", idempotent)]
async fn lookup(crm: &Flaky) -> Result<u32, Error> {
    let attempt = crm.attempts.fetch_add(1, Ordering::Relaxed);
    if attempt == 0 { Err(Error::service(Class::Transient, "503 Service Unavailable")) } else { Ok(attempt) }
}

/// A service that hangs on the first attempt of every eighth call and otherwise answers in 5 ms.
#[poet(domain = SMALL_WORLD, service = "crm", operation = "export", idempotent)]
async fn export(call: u32, attempts: &AtomicU32) -> Result<(), Error> {
    if call % 8 == 0 && attempts.fetch_add(1, Ordering::Relaxed) == 0 {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    Ok(())
}

/// Not a test of its own: what the process started by the test below does.
#[test]
fn a_process_of_the_story() {
    let (Ok(part), Ok(database)) = (std::env::var(PART), std::env::var(DATABASE)) else { return };
    let runtime = Runtime::builder().configuration(Default::default()).database(database).seed(1).build().unwrap();
    let process = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    process.block_on(async {
        runtime.clone().install().unwrap();
        if part == "second" {
            lookup(&Flaky::default()).await.unwrap();
            export(8, &AtomicU32::new(0)).await.unwrap();
            runtime.shutdown(Duration::from_secs(5)).await.unwrap();
            return;
        }
        // Every call of them needs a retry, and a service is granted ten of those a second.
        let lookups = (0..2_u32).map(|_| {
            tokio::spawn(async {
                loop {
                    // One that the budget of retries does not reach fails, which is no part of the story.
                    let _ = lookup(&Flaky::default()).await;
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
            })
        });
        let exports = (0..8_u32).map(|worker| {
            tokio::spawn(async move {
                for call in 0.. {
                    let _ = export(worker + call, &AtomicU32::new(0)).await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            })
        });
        let workers: Vec<_> = lookups.chain(exports).collect();
        // Says that what was learned is in force, then goes on at full load until it is killed.
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            runtime.flush().await.unwrap();
            if settled(&runtime).await {
                println!("learned");
                std::io::stdout().flush().unwrap();
            }
            assert!(workers.iter().all(|worker| !worker.is_finished()), "a worker failed");
        }
    });
}

/// Whether both parameters have moved as far as the story needs.
async fn settled(runtime: &Runtime) -> bool {
    let _ = runtime;
    let mut store = SqliteStore::open_read_only(std::env::var(DATABASE).unwrap()).unwrap();
    let rows = store.parameters().await.unwrap();
    timeout(&rows).is_some_and(|row| row.value < 0.3) && retries(&rows).is_some()
}

fn timeout(rows: &[ParameterRow]) -> Option<&ParameterRow> {
    rows.iter().find(|row| row.key.name == "timeout.attempt" && row.key.target.operation == "export")
}

fn retries(rows: &[ParameterRow]) -> Option<&ParameterRow> {
    rows.iter().find(|row| {
        row.key.name == "retry.max_retries"
            && row.key.target.operation == "lookup"
            && row.key.after == Some(FailureKind::Transient)
    })
}

fn start(part: &str, database: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["a_process_of_the_story", "--exact", "--nocapture", "--test-threads=1"])
        .env(PART, part)
        .env(DATABASE, database)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn the_first_call_after_a_kill_uses_what_was_learned_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("poet.db");

    let mut first = start("first", &database);
    let said = BufReader::new(first.stdout.take().unwrap()).lines().map_while(Result::ok).any(|line| line == "learned");
    assert!(said, "the first process ended before it had learned: {:?}", first.wait());
    first.kill().unwrap();
    first.wait().unwrap();

    let mut store = SqliteStore::open(&database).unwrap();
    let learned = store.parameters().await.unwrap();
    let before: Vec<String> = runs(&mut store).await;
    drop(store);

    assert!(start("second", &database).wait().unwrap().success());

    let mut store = SqliteStore::open_read_only(&database).unwrap();
    let outcomes = store.outcomes(None, 10_000).await.unwrap();
    let first_of = |operation: &str| -> OutcomeRow {
        let new = outcomes.iter().filter(|row| !before.contains(&row.run) && row.target.operation == operation);
        new.min_by_key(|row| row.execution).unwrap().clone()
    };

    let (decided, call) = (timeout(&learned).unwrap(), first_of("export"));
    println!("\n{}\n  because of {decided:#?}", told(&call));
    assert_eq!(call.attempts, 2, "the first attempt hung, and was given up");
    assert!((call.timeout.as_secs_f64() - decided.value).abs() < 1e-3);
    assert!(
        call.elapsed < SMALL_WORLD.attempt_timeout,
        "the default would have waited {:?}",
        SMALL_WORLD.attempt_timeout
    );
    assert!(call.revision >= decided.revision);

    let (decided, call) = (retries(&learned).unwrap(), first_of("lookup"));
    println!("\n{}\n  because of {decided:#?}", told(&call));
    assert_eq!((call.attempts, call.ending.as_str()), (2, "done"));
    assert!(call.revision >= decided.revision);
}

fn told(row: &OutcomeRow) -> String {
    format!(
        "{} of {}: {} after {} attempts in {:.0?}, each limited to {:.0?}, {} retries allowed, revision {}",
        row.target.operation,
        row.target.service,
        row.ending.as_str(),
        row.attempts,
        row.elapsed,
        row.timeout,
        row.retries,
        row.revision
    )
}

async fn runs(store: &mut SqliteStore) -> Vec<String> {
    let mut runs: Vec<_> = store.outcomes(None, 100_000).await.unwrap().into_iter().map(|row| row.run).collect();
    runs.sort();
    runs.dedup();
    runs
}
