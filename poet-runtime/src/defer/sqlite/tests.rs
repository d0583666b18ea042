//! What the claims about any queue do not say: the file, other processes, and how long it takes.

use super::*;
use crate::defer::conformance::{self, job};
use crate::defer::job::NewJob;
use crate::recorder::block_on::block_on;
use crate::store::{SqliteStore, Trouble};
use std::time::Duration;
use tempfile::TempDir;

fn queue(folder: &TempDir) -> SqliteQueue {
    SqliteQueue::open(folder.path().join("poet.db")).unwrap()
}

fn one(queue: &mut SqliteQueue, change: Change) -> Result<Answer, QueueError> {
    block_on(queue.apply(&[change])).unwrap().remove(0)
}

fn lease(limit: usize, now: Wall) -> Change {
    let (worker, wanted, lease) = ("worker".to_owned(), Wanted::default(), Duration::from_secs(30));
    Change::Lease { worker, wanted, limit, lease, now }
}

#[test]
fn it_does_what_any_queue_must() {
    for claim in conformance::ALL {
        println!("{}", claim.name);
        let folder = TempDir::new().unwrap();
        block_on((claim.check)(&mut queue(&folder)));
    }
}

#[test]
fn what_was_answered_is_there_for_another_process() {
    let folder = TempDir::new().unwrap();
    let new = job();
    one(&mut queue(&folder), Change::Enqueue { jobs: vec![new.clone()], max_pending: 10 }).unwrap();
    let found = block_on(queue(&folder).get(new.id)).unwrap();
    assert_eq!(found, Some(Job::from(new)));
}

#[test]
fn two_connections_share_the_jobs_without_overlap() {
    let folder = TempDir::new().unwrap();
    let jobs: Vec<NewJob> = (0..200).map(|_| job()).collect();
    let now = jobs[0].due;
    one(&mut queue(&folder), Change::Enqueue { jobs, max_pending: 1000 }).unwrap();
    let take = |path: std::path::PathBuf| {
        std::thread::spawn(move || {
            let mut queue = SqliteQueue::open(path).unwrap();
            let mut taken = Vec::new();
            while let Ok(Answer::Leased(jobs)) = one(&mut queue, lease(3, now)) {
                if jobs.is_empty() {
                    break;
                }
                taken.extend(jobs.into_iter().map(|job| job.id));
            }
            taken
        })
    };
    let workers = [(); 2].map(|()| take(folder.path().join("poet.db")));
    let mut taken: Vec<_> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    assert_eq!(taken.len(), 200);
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 200);
}

#[test]
fn every_answer_waits_for_the_disk() {
    let folder = TempDir::new().unwrap();
    let mut queue = queue(&folder);
    let connection = queue.0.connect().unwrap();
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
    assert_eq!(synchronous, 2);
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_arguments() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let mut queue = queue(&folder);
    one(&mut queue, Change::Enqueue { jobs: vec![job()], max_pending: 10 }).unwrap();
    for name in ["poet.db", "poet.db-wal"] {
        let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_file_that_another_process_holds_is_an_error_and_not_a_wait_for_ever() {
    let folder = TempDir::new().unwrap();
    let mut queue = queue(&folder);
    queue.0.connect().unwrap().busy_timeout(Duration::from_millis(1)).unwrap();
    let mut other = Connection::open(queue.path()).unwrap();
    let held = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let refused = block_on(queue.apply(&[Change::Enqueue { jobs: vec![job()], max_pending: 10 }])).unwrap_err();
    assert_eq!(refused.trouble(), Trouble::Locked);
    drop(held);
    one(&mut queue, Change::Enqueue { jobs: vec![job()], max_pending: 10 }).unwrap();
}

#[test]
fn a_damaged_file_is_set_aside_and_an_empty_queue_takes_its_place() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("poet.db");
    std::fs::write(&path, [7; 8192]).unwrap();
    let mut queue = queue(&folder);
    one(&mut queue, Change::Enqueue { jobs: vec![job()], max_pending: 10 }).unwrap();
    assert!(queue.0.set_aside().unwrap().exists());
}

#[test]
fn it_lies_in_the_file_of_the_outcomes() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("poet.db");
    drop(SqliteStore::open(&path).unwrap());
    one(&mut queue(&folder), Change::Enqueue { jobs: vec![job()], max_pending: 10 }).unwrap();
    SqliteStore::open_read_only(&path).unwrap();
}

#[test]
fn a_row_that_cannot_be_understood_is_left_out() {
    let folder = TempDir::new().unwrap();
    let mut queue = queue(&folder);
    let (strange, sound) = (job(), job());
    let now = sound.due;
    let ids = [strange.id, sound.id];
    one(&mut queue, Change::Enqueue { jobs: vec![strange, sound], max_pending: 10 }).unwrap();
    let spoil = "UPDATE jobs SET reason = 'whim' WHERE id = ?1";
    queue.0.connect().unwrap().execute(spoil, [ids[0].to_string()]).unwrap();
    match one(&mut queue, lease(10, now)).unwrap() {
        Answer::Leased(jobs) => assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), ids[1..]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rows_that_cannot_be_understood_take_no_place_among_those_that_are_leased() {
    let folder = TempDir::new().unwrap();
    let mut queue = queue(&folder);
    let jobs: Vec<NewJob> = (0..4).map(|_| job()).collect();
    let (now, sound) = (jobs[0].due, jobs[3].id);
    one(&mut queue, Change::Enqueue { jobs, max_pending: 10 }).unwrap();
    let spoil = "UPDATE jobs SET reason = 'whim' WHERE id <> ?1";
    queue.0.connect().unwrap().execute(spoil, [sound.to_string()]).unwrap();
    match one(&mut queue, lease(2, now)).unwrap() {
        Answer::Leased(jobs) => assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [sound]),
        other => panic!("{other:?}"),
    }
}

/// What SQLite would do, step by step.
fn plan(queue: &mut SqliteQueue, sql: &str) -> String {
    let connection = queue.0.connect().unwrap();
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let mut steps = Vec::new();
    let mut found = statement.raw_query();
    while let Some(row) = found.next().unwrap() {
        steps.push(row.get::<_, String>(3).unwrap());
    }
    steps.join("; ")
}

#[test]
fn nothing_that_a_worker_does_reads_the_whole_table() {
    let folder = TempDir::new().unwrap();
    let mut queue = queue(&folder);
    for (sql, index) in [
        (reads::DUE, "jobs_due"),
        (reads::NEXT, "jobs_due"),
        (reads::LEASE_ENDS, "jobs_until"),
        (reads::EXPIRES, "jobs_expires"),
        (changes::LAPSED, "jobs_until"),
        (changes::EXPIRED, "jobs_expires"),
        (changes::OLDEST_OF_KEY, "jobs_keys"),
        (changes::NOT_HEADS, "jobs_heads"),
        (changes::PRUNE, "jobs_ended"),
    ] {
        let plan = plan(&mut queue, sql);
        assert!(plan.contains(index), "{sql}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{sql}: {plan}");
    }
}

#[test]
fn sixteen_of_many_are_leased_by_reading_sixteen() {
    let folder = TempDir::new().unwrap();
    let mut queue = queue(&folder);
    // Every second one waits behind one that is not due, and half of the others are not due either.
    let jobs: Vec<NewJob> = (0..4000)
        .map(|n| {
            let new = job();
            let due = if n % 4 == 0 { new.due } else { new.expires };
            NewJob { due, order_key: (n % 2 == 1).then(|| "key".to_owned()), ..new }
        })
        .collect();
    let now = jobs[0].created;
    one(&mut queue, Change::Enqueue { jobs, max_pending: 10_000 }).unwrap();
    let connection = queue.0.connect().unwrap();
    let mut statement = connection.prepare(reads::DUE).unwrap();
    let mut rows = statement.query([1, now.millis()]).unwrap();
    for _ in 0..16 {
        rows.next().unwrap().unwrap();
    }
    drop(rows);
    let steps = statement.get_status(rusqlite::StatementStatus::VmStep);
    assert!(steps < 500, "{steps} steps");
}
