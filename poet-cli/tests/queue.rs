//! `poet queue` on a database with a job in each state.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up is a failed test")]

mod common;

use poet_runtime::defer::{
    Answer, Change, DeferralQueue, JobId, NewJob, QueueError, SqliteQueue, State, Token, Verdict, Wanted,
};
use poet_runtime::{Clock, Wall};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Output;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tempfile::TempDir;

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("an embedded queue answers at once"),
    }
}

fn change(queue: &mut SqliteQueue, change: Change) -> Result<Answer, QueueError> {
    ready(queue.apply(&[change])).unwrap().remove(0)
}

/// A database with a job in each state.
struct World {
    folder: TempDir,
    jobs: [(State, JobId); 6],
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut queue = SqliteQueue::open(folder.path().join("poet.db")).unwrap();
        let now = Clock::system().anchor().wall;
        let arguments = serde_json::json!({ "email": "zoe@example.org" }).as_object().unwrap().clone();
        let job = |due: Wall| NewJob {
            arguments: arguments.clone(),
            due,
            max_attempts: 1,
            ..NewJob::new("mcp_integration", "salesforce_crm", "update_contact", due)
        };
        let past = |hours: u64| now.before(Duration::from_secs(3600 * hours));
        let hour = Duration::from_secs(3600);
        let made = [past(10), past(9), past(8), past(7), past(6)].map(job);
        let ids = made.clone().map(|job| job.id);
        change(&mut queue, Change::Enqueue { jobs: made.to_vec(), max_pending: 10 }).unwrap();
        let lease = Change::Lease {
            worker: "worker 7".to_owned(),
            wanted: Wanted::default(),
            limit: 4,
            lease: hour,
            now: past(5),
        };
        change(&mut queue, lease).unwrap();
        let verdicts = [
            Verdict::Done(serde_json::json!({ "id": 7 })),
            Verdict::Failed("no such contact".to_owned()),
            Verdict::Again { due: now, why: "connection refused".to_owned(), counts_as_attempt: true },
        ];
        for (id, verdict) in ids.into_iter().zip(verdicts) {
            change(&mut queue, Change::Report { id, token: Token(1), verdict, now: past(5) }).unwrap();
        }
        change(&mut queue, Change::Recover { now }).unwrap();
        let lease =
            Change::Lease { worker: "worker 8".to_owned(), wanted: Wanted::default(), limit: 1, lease: hour, now };
        change(&mut queue, lease).unwrap();
        let pending = job(now.after(hour));
        let last = pending.id;
        change(&mut queue, Change::Enqueue { jobs: vec![pending], max_pending: 10 }).unwrap();
        let states = [State::Done, State::Failed, State::Dead, State::Uncertain, State::Leased, State::Pending];
        let all = [ids[0], ids[1], ids[2], ids[3], ids[4], last];
        Self { folder, jobs: std::array::from_fn(|n| (states[n], all[n])) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("poet.db")
    }

    fn id(&self, state: State) -> String {
        self.jobs.iter().find(|(known, _)| *known == state).unwrap().1.to_string()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run(&self.path(), arguments)
    }

    fn state(&self, id: &str) -> State {
        ready(SqliteQueue::open(self.path()).unwrap().get(id.parse().unwrap())).unwrap().unwrap().state
    }

    /// The refusal of a command, which must change nothing.
    fn refusal(&self, state: State, arguments: &[&str]) -> String {
        let id = self.id(state);
        let output = self.run(&[&arguments[..1], &[id.as_str()], &arguments[1..]].concat());
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{arguments:?}");
        assert_eq!(self.state(&id), state);
        String::from_utf8(output.stderr).unwrap()
    }
}

fn run(path: &Path, arguments: &[&str]) -> Output {
    let mut command = common::poet();
    command.env("USER", "anna").arg("queue").args(arguments).arg("--db").arg(path).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

#[test]
fn a_list_counts_every_state_and_names_the_newest_first() {
    let world = World::new();
    let text = stdout(&world.run(&["list"]));
    for part in ["1 pending, 1 leased, 1 done, 1 failed, 1 dead, 1 uncertain", "salesforce_crm.update_contact"] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(text.contains("    given up after 1 attempts: connection refused"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let listed = json(&world.run(&["list", "--format", "json", "--limit", "2"]));
    let ids: Vec<_> = listed["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [world.id(State::Pending), world.id(State::Leased)]);
    assert_eq!(listed["counts"]["uncertain"], 1);
}

#[test]
fn a_list_is_of_one_state_or_service_where_that_is_asked_for() {
    let world = World::new();
    let failed = json(&world.run(&["list", "--state", "failed", "--format", "json"]));
    assert_eq!(failed["jobs"][0]["id"], world.id(State::Failed));
    assert_eq!(failed["jobs"].as_array().unwrap().len(), 1);
    assert!(stdout(&world.run(&["list", "--service", "billing"])).contains("no job is like that"));
    let unknown = world.run(&["list", "--state", "waiting"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("`uncertain`"));
}

#[test]
fn a_job_is_found_by_the_beginning_of_its_number_where_that_is_one_only() {
    let world = World::new();
    let id = world.id(State::Done);
    let text = stdout(&world.run(&["show", &id[..32].to_uppercase()]));
    assert!(text.contains(&id) && text.contains(r#"{"id":7}"#), "{text}");
    let many = world.run(&["show", "0"]);
    assert_eq!(many.status.code(), Some(2));
    assert!(String::from_utf8(many.stderr).unwrap().contains("more than one job"));
    let none = world.run(&["show", "seven"]);
    assert_eq!(none.status.code(), Some(1));
}

#[test]
fn arguments_are_shown_only_where_they_are_asked_for() {
    let world = World::new();
    let id = world.id(State::Uncertain);
    let text = stdout(&world.run(&["show", &id]));
    assert!(!text.contains("zoe@example.org"), "{text}");
    assert!(text.contains(&format!("poet queue resolve {id} --done")), "{text}");
    assert!(stdout(&world.run(&["show", &id, "--arguments"])).contains("zoe@example.org"));
    assert!(!stdout(&world.run(&["show", &id, "--format", "json"])).contains("zoe@example.org"));
}

#[test]
fn what_is_uncertain_is_resolved_and_who_did_it_is_kept() {
    for (decision, state) in [("--done", State::Done), ("--failed", State::Failed), ("--again", State::Pending)] {
        let world = World::new();
        let id = world.id(State::Uncertain);
        let job = json(&world.run(&["resolve", &id, decision, "--note", "looked", "--format", "json"]));
        assert_eq!(job["state"], state.as_str());
        assert!(job["decided"].as_str().unwrap().ends_with("by anna: looked"), "{job}");
        assert_eq!(world.state(&id), state);
    }
}

#[test]
fn a_decision_about_an_uncertain_job_has_to_be_one() {
    let world = World::new();
    let id = world.id(State::Uncertain);
    for decision in [&["resolve", id.as_str()][..], &["resolve", &id, "--done", "--failed"]] {
        assert_eq!(world.run(decision).status.code(), Some(2));
    }
    assert_eq!(world.state(&id), State::Uncertain);
}

#[test]
fn what_failed_is_retried_and_what_is_pending_cancelled() {
    let world = World::new();
    for (state, command, then) in [
        (State::Failed, "retry", State::Pending),
        (State::Dead, "retry", State::Pending),
        (State::Pending, "cancel", State::Dead),
    ] {
        let id = world.id(state);
        stdout(&world.run(&[command, &id]));
        assert_eq!(world.state(&id), then);
    }
}

#[test]
fn what_could_make_a_call_run_twice_is_refused_with_what_to_do_instead() {
    let world = World::new();
    for (state, command, said) in [
        (State::Uncertain, &["retry"][..], "poet queue resolve"),
        (State::Uncertain, &["cancel"], "poet queue resolve"),
        (State::Leased, &["retry"], "a worker is making the call"),
        (State::Leased, &["cancel"], "a worker is making the call"),
        (State::Done, &["retry"], "is done and cannot be retried"),
        (State::Failed, &["resolve", "--again"], "poet queue retry"),
    ] {
        let refusal = world.refusal(state, command);
        assert!(refusal.contains(said), "{command:?} of {state}: {refusal}");
    }
}

#[test]
fn a_database_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.db");
    for arguments in [&["list"][..], &["cancel", "0"]] {
        assert_eq!(run(&missing, arguments).status.code(), Some(1));
    }
    assert!(!missing.exists());
}
