//! `poet queue run` against an MCP server, the smallest there is.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up is a failed test")]

mod common;
#[path = "common/server.rs"]
mod server;

use poet_runtime::Clock;
use poet_runtime::defer::{Change, DeferralQueue, Job, JobId, NewJob, SqliteQueue, State};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::pin::pin;
use std::process::Output;
use std::task::{Context, Poll, Waker};

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("an embedded queue answers at once"),
    }
}

fn put(path: &Path, jobs: Vec<NewJob>) {
    let mut queue = SqliteQueue::open(path).unwrap();
    ready(queue.apply(&[Change::Enqueue { jobs, max_pending: 100 }])).unwrap().remove(0).unwrap();
}

fn job(service: &str) -> NewJob {
    let arguments = json!({ "id": 7 }).as_object().unwrap().clone();
    NewJob { arguments, ..NewJob::new("mcp_integration", service, "update_contact", Clock::system().anchor().wall) }
}

fn get(path: &Path, id: JobId) -> Job {
    ready(SqliteQueue::open_read_only(path).unwrap().get(id)).unwrap().unwrap()
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    common::poet().current_dir(folder).args(["queue", "run", "--db", "poet.db"]).args(arguments).output().unwrap()
}

#[test]
fn what_is_due_is_made_with_the_services_of_the_configuration_and_the_rest_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("poet.db");
    let url = format!("http://127.0.0.1:{}/mcp", server::Crm::start().port);
    let config = format!("[services.crm]\ndomain = \"mcp_integration\"\nendpoints = [{{ url = \"{url}\" }}]\n");
    fs::write(folder.path().join("poet.toml"), config).unwrap();
    let (due, strange) = (job("crm"), job("billing"));
    let later = NewJob { due: due.expires, ..job("crm") };
    let ids = [due.id, strange.id, later.id];
    put(&path, vec![due, strange, later]);
    let output = run(folder.path(), &["--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["made"]["done"], &said["counts"]["pending"]), (&json!(1), &json!(2)), "{said}");
    let done = get(&path, ids[0]);
    assert_eq!(done.state, State::Done, "{done:?}");
    assert!(done.result.unwrap().to_string().contains('7'));
    assert_eq!([get(&path, ids[1]).state, get(&path, ids[2]).state], [State::Pending; 2]);
    let again = run(folder.path(), &[]);
    let text = String::from_utf8(again.stdout).unwrap();
    assert!(text.contains("2 pending and 0 uncertain are left") && !text.contains("done"), "{text}");
}

#[test]
fn without_services_it_says_where_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    put(&folder.path().join("poet.db"), vec![job("crm")]);
    let output = run(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--config"));
}
