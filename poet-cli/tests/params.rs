//! What a person decides about values, with the built command, beside a runtime that is open on the same database.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up is a failed test")]

mod common;

use poet_runtime::service::{Failure, ServiceCall};
use poet_runtime::store::{
    Good, ParameterChange, ParameterKey, ParameterRow, Published, SqliteStore, Standing, Store, TargetKey,
};
use poet_runtime::{Clock, FailureKind, Profile, Runtime, Wall};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

const TIMEOUT: &str = "timeout.attempt";
const RETRIES: &str = "retry.max_retries";

/// Moves of a parameter, from ten.
async fn moved(path: &Path, name: &str, after: Option<FailureKind>, moves: &[(f64, Standing)]) {
    let mut store = SqliteStore::open(path).unwrap();
    let (mut old, mut revision) = (10.0, None);
    for &(value, standing) in moves {
        let target = TargetKey { service: "crm".to_owned(), operation: "get".to_owned() };
        let new = ParameterRow {
            key: ParameterKey { target, name: name.to_owned(), after },
            value,
            standing,
            good: (standing == Standing::Proposed).then_some(Good { value: old, revision: 0 }),
            predicted: None,
            sample: 100,
            interval: (1.0, 2.0),
            confidence: 0.97,
            reason: "it answers sooner".to_owned(),
            evidence: r#"{"answered":100}"#.to_owned(),
            changed: Wall::from_millis(1_700_000_000_000),
            revision: 0,
        };
        let change = ParameterChange { old: Some(old), new, realised: None };
        let Published::Moved(row) = store.publish(&change, revision).await.unwrap() else { panic!("superseded") };
        (old, revision) = (row.in_force().unwrap_or(old), Some(row.revision));
    }
}

async fn database(folder: &Path, moves: &[(f64, Standing)]) -> PathBuf {
    let path = folder.join("poet.db");
    moved(&path, TIMEOUT, None, moves).await;
    path
}

/// `poet params WHAT crm get …`, in the folder of the database.
fn params(path: &Path, what: &str, arguments: &[&str]) -> Output {
    let mut command = common::poet();
    command.args(["params", what, "crm", "get"]).args(arguments).arg("--db").arg(path);
    command.env("USER", "alice").current_dir(path.parent().unwrap()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The same, whatever its lines.
fn words(output: &Output) -> String {
    stdout(output).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn refused(output: &Output, code: i32, said: &str) {
    assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{}", stderr(output));
    assert!(stderr(output).contains(said), "{}", stderr(output));
}

/// What stands in the database now.
async fn rows(path: &Path) -> Vec<ParameterRow> {
    SqliteStore::open(path).unwrap().parameters().await.unwrap()
}

fn running(path: &Path) -> Runtime {
    let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
    Runtime::builder().configuration(Default::default()).database(path).clock(clock).seed(7).build().unwrap()
}

async fn call(runtime: &Runtime) {
    let call = ServiceCall { repeatable: true, ..ServiceCall::new("crm", "get", Profile::GENERAL) };
    runtime.call(&call, async |_| Ok::<_, Failure>(())).await.unwrap();
}

/// The limit of an attempt in a running process, once it has read what others stored.
async fn limit(runtime: &Runtime) -> Duration {
    tokio::time::advance(Duration::from_secs(61)).await;
    runtime.flush().await.unwrap();
    runtime.values("crm", "get").unwrap().attempt_timeout
}

#[tokio::test(start_paused = true)]
async fn a_process_that_runs_takes_up_every_decision_within_a_minute() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), &[(5.0, Standing::Confirmed)]).await;
    let runtime = running(&path);
    call(&runtime).await;
    assert_eq!(limit(&runtime).await, Duration::from_secs(5));
    stdout(&params(&path, "pin", &[TIMEOUT, "2500ms"]));
    assert_eq!(limit(&runtime).await, Duration::from_millis(2_500));
    assert!(runtime.values("crm", "get").unwrap().attempt_timeout_pinned, "for writes as well");
    stdout(&params(&path, "unpin", &[TIMEOUT]));
    assert_eq!(limit(&runtime).await, Duration::from_millis(2_500));
    assert!(!runtime.values("crm", "get").unwrap().attempt_timeout_pinned);
    stdout(&params(&path, "rollback", &[TIMEOUT]));
    assert_eq!(limit(&runtime).await, Duration::from_secs(5));
    stdout(&params(&path, "reset", &[TIMEOUT]));
    assert_eq!(limit(&runtime).await, Profile::GENERAL.attempt_timeout);
    stdout(&params(&path, "pin", &[RETRIES, "7", "--after", "lost"]));
    limit(&runtime).await;
    assert_eq!(runtime.values("crm", "get").unwrap().max_retries[FailureKind::Lost.index()], 7);
}

#[tokio::test(start_paused = true)]
async fn a_pin_is_in_force_from_the_first_call_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), &[(5.0, Standing::Confirmed)]).await;
    stdout(&params(&path, "pin", &[TIMEOUT, "3s"]));
    let runtime = running(&path);
    call(&runtime).await;
    assert_eq!(runtime.values("crm", "get").unwrap().attempt_timeout, Duration::from_secs(3));
}

#[tokio::test]
async fn a_pin_says_what_was_what_is_and_what_it_means() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), &[(5.0, Standing::Confirmed)]).await;
    let text = stdout(&params(&path, "pin", &[TIMEOUT, "3s", "--note", "ticket 4711"]));
    for part in
        ["timeout.attempt of get of crm", "5.0 s -> 3.0 s, revision 2", "(alice): ticket 4711", "`poet params unpin`"]
    {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let shown = stdout(&params(&path, "show", &[TIMEOUT]));
    assert!(shown.contains("a person pinned it") && shown.contains("5.0 s -> 3.0 s (pinned by a person)\n"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&params(&path, "unpin", &[TIMEOUT, "--format", "json"]))).unwrap();
    assert_eq!((&json["old"], &json["value"], &json["in_force"]), (&3.0.into(), &3.0.into(), &3.0.into()));
    assert_eq!((&json["standing"], &json["evidence"]["by"]), (&"confirmed".into(), &"alice".into()));
}

#[tokio::test]
async fn what_waits_for_approval_is_approved_or_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let moves = [(8.0, Standing::Confirmed), (4.0, Standing::Proposed)];
    let path = database(folder.path(), &moves).await;
    let text = words(&params(&path, "approve", &[TIMEOUT]));
    assert!(text.contains("8.0 s -> 4.0 s, revision 3") && text.contains("it goes back by itself"), "{text}");
    assert_eq!(rows(&path).await[0].good, Some(Good { value: 8.0, revision: 2 }));
    refused(&params(&path, "approve", &[TIMEOUT]), 1, "nothing waits for approval: 4.0 s is in force, on trial");

    let other = tempfile::tempdir().unwrap();
    let path = database(other.path(), &moves).await;
    let text = words(&params(&path, "rollback", &[TIMEOUT]));
    assert!(text.contains("8.0 s -> 8.0 s") && text.contains("the proposal of 4.0 s is dropped"), "{text}");
    assert_eq!((rows(&path).await[0].value, rows(&path).await[0].standing), (8.0, Standing::RolledBack));
}

#[tokio::test]
async fn a_reset_names_the_value_before_learning() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), &[(8.0, Standing::Confirmed), (5.0, Standing::Confirmed)]).await;
    let text = stdout(&params(&path, "reset", &[TIMEOUT]));
    assert!(text.contains("5.0 s -> that of profile and configuration (10.0 s before learning)"), "{text}");
    assert!(stdout(&params(&path, "show", &[TIMEOUT])).contains("a person reset it"));
    refused(&params(&path, "reset", &[TIMEOUT]), 1, "there is nothing to forget: a person reset it");
}

#[tokio::test]
async fn a_kind_of_failure_is_named_where_it_has_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("poet.db");
    moved(&path, RETRIES, Some(FailureKind::Timeout), &[(2.0, Standing::Confirmed), (1.0, Standing::Confirmed)]).await;
    refused(&params(&path, "pin", &[RETRIES, "1"]), 2, "write `--after` with one of `transient`, `connect`");
    let text = stdout(&params(&path, "rollback", &[RETRIES]));
    assert!(text.contains("retry.max_retries after timeout of get of crm\n  1 -> 2"), "the only kind: {text}");
    stdout(&params(&path, "pin", &[RETRIES, "0", "--after", "lost"]));
    refused(&params(&path, "reset", &[RETRIES]), 1, "write `--after` with one of");
    refused(&params(&path, "pin", &[TIMEOUT, "1s", "--after", "lost"]), 2, "leave `--after` out");
}

#[tokio::test]
async fn a_value_that_may_not_be_is_answered_with_what_may() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), &[(5.0, Standing::Confirmed)]).await;
    for value in ["900", "-1", "soon", "1h", "NaN"] {
        let said = format!("expected seconds from 0.005 to 300, or a duration such as \"2s\", found `{value}`");
        refused(&params(&path, "pin", &[TIMEOUT, value]), 2, &said);
    }
    refused(&params(&path, "pin", &[RETRIES, "2.5", "--after", "lost"]), 2, "a whole number from 0 to 10");
    assert_eq!(rows(&path).await[0].revision, 1, "nothing was changed");
}

#[tokio::test]
async fn what_the_configuration_holds_is_changed_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), &[(5.0, Standing::Confirmed), (4.0, Standing::Pinned)]).await;
    let file = folder.path().join("poet.toml");
    std::fs::write(&file, "[services.crm.pin]\n\"timeout.attempt\" = \"2s\"\n").unwrap();
    for (what, value) in [("pin", Some("3s")), ("rollback", None)] {
        let arguments: Vec<&str> = [TIMEOUT].into_iter().chain(value).collect();
        let output = params(&path, what, &arguments);
        refused(&output, 1, "`timeout.attempt` is held at 2.0 s by ");
        assert!(stderr(&output).contains("poet.toml, which goes before what is stored; change it there"));
    }
    let text = words(&params(&path, "unpin", &[TIMEOUT]));
    assert!(text.contains("holds it at 2.0 s all the same"), "{text}");
}

#[tokio::test]
async fn what_is_stored_is_said_not_to_be_in_force_where_learning_is_off_or_in_shadow() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), &[(5.0, Standing::Confirmed)]).await;
    std::fs::write(folder.path().join("poet.toml"), "[services.crm]\nlearning = \"shadow\"\n").unwrap();
    let text = words(&params(&path, "pin", &[TIMEOUT, "3s"]));
    assert!(text.contains("nothing that is stored is in force"), "{text}");
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_does_not_keep_a_person_from_going_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), &[(5.0, Standing::Confirmed)]).await;
    std::fs::write(folder.path().join("poet.toml"), "learning = 7\n").unwrap();
    let text = words(&params(&path, "rollback", &[TIMEOUT]));
    assert!(text.contains("5.0 s -> 10.0 s") && text.contains("could not be read"), "{text}");
}

#[tokio::test]
async fn where_nothing_is_known_nothing_is_decided() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), &[(5.0, Standing::Confirmed)]).await;
    refused(&params(&path, "unpin", &[TIMEOUT]), 1, "nobody pinned it: 5.0 s is in force");
    for what in ["approve", "unpin", "rollback", "reset"] {
        refused(&params(&path, what, &["breaker.open_for"]), 1, "nothing was learned about `breaker.open_for` yet");
        refused(&params(&path, what, &["timeout"]), 2, "`timeout` is no parameter");
    }
    let missing = folder.path().join("missing.db");
    refused(&params(&missing, "pin", &[TIMEOUT, "3s"]), 1, "missing.db");
    assert!(!missing.exists(), "a database that is not there is not made");
    stdout(&params(&path, "pin", &["breaker.open_for", "20s"]));
    assert_eq!(rows(&path).await[1].value, 20.0, "what was never learned can be pinned");
}
