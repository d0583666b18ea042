//! The built command on a database that the store made.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up is a failed test")]

mod common;

use poet_runtime::evidence::{AttemptClass, History, Key, Sketch};
use poet_runtime::store::{
    Batch, OutcomeRow, ParameterChange, ParameterKey, ParameterRow, SqliteStore, Standing, Store, TargetKey,
};
use poet_runtime::{Clock, Ending, FailureKind};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, Output, Stdio};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("an embedded store answers at once"),
    }
}

fn crm() -> TargetKey {
    TargetKey { service: "salesforce_crm".to_owned(), operation: "update_contact".to_owned() }
}

/// Three calls, and two learned values.
fn database(folder: &Path) -> PathBuf {
    let path = folder.join("poet.db");
    let mut store = SqliteStore::open(&path).unwrap();
    let now = Clock::system().anchor().wall;
    let mut history = History::default();
    history.add(now.hour(), Key::Call(Ending::Done), 2);
    history.add(now.hour(), Key::Call(Ending::Failed), 1);
    history.add(now.hour(), Key::Attempt(AttemptClass::Success), 2);
    history.add(now.hour(), Key::Answered(Sketch::bucket(Duration::from_millis(50))), 2);
    let outcomes = (1..=3)
        .map(|execution| OutcomeRow {
            target: crm(),
            function: None,
            run: "run".to_owned(),
            execution,
            ended: now,
            ending: if execution == 3 { Ending::Failed } else { Ending::Done },
            class: Some("success".to_owned()),
            attempts: 1,
            elapsed: Duration::from_millis(50),
            timeout: Duration::from_secs(5),
            retries: 1,
            revision: 2,
            withheld: None,
        })
        .collect();
    ready(store.append(&Batch { outcomes, evidence: vec![(crm(), history)], ..Batch::default() })).unwrap();
    let kinds = [("timeout.attempt", None, 10.0, 5.0), ("retry.max_retries", Some(FailureKind::Transient), 2.0, 1.0)];
    for (name, after, old, value) in kinds {
        let new = ParameterRow {
            key: ParameterKey { target: crm(), name: name.to_owned(), after },
            value,
            standing: Standing::Confirmed,
            good: None,
            predicted: None,
            sample: 100,
            interval: (0.91, 0.98),
            confidence: 0.97,
            reason: "it recovers at once".to_owned(),
            evidence: r#"{"tried":100}"#.to_owned(),
            changed: now,
            revision: 0,
        };
        ready(store.publish(&ParameterChange { old: Some(old), new, realised: None }, None)).unwrap();
    }
    path
}

fn poet(arguments: &[&str]) -> Command {
    let mut command = common::poet();
    command.args(arguments);
    command
}

fn run(path: &Path, arguments: &[&str]) -> Output {
    poet(arguments).arg("--db").arg(path).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

#[test]
fn a_report_says_how_the_service_does_and_who_decided() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let text = stdout(&run(&path, &["report"]));
    for part in ["update_contact of salesforce_crm", "66.7 %", "learned, revision 2", "it recovers at once"] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(!text.contains('\x1b'), "a pipe is no terminal");
    let json = json(&run(&path, &["report", "--format", "json", "--limit", "2"]));
    assert_eq!(json["executions"].as_array().unwrap().len(), 2);
    assert_eq!(json["executions"][0]["decided_by"][0]["value"], 1.0);
    assert_eq!(json["targets"][0]["service"], "salesforce_crm");
}

#[test]
fn poet_db_names_the_database_and_the_option_goes_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let output = poet(&["params", "list"]).env("POET_DB", &path).output().unwrap();
    assert!(stdout(&output).contains("timeout.attempt"));
    let output = poet(&["params", "list"]).env("POET_DB", "/nowhere/poet.db").arg("--db").arg(&path).output().unwrap();
    assert!(stdout(&output).contains("timeout.attempt"));
}

#[test]
fn without_either_the_configuration_names_the_database() {
    let folder = tempfile::tempdir().unwrap();
    database(folder.path());
    let file = folder.path().join("poet.toml");
    std::fs::write(&file, "[store]\npath = \"poet.db\"\n").unwrap();
    let here = poet(&["params", "list"]).current_dir(folder.path()).output().unwrap();
    assert!(stdout(&here).contains("timeout.attempt"));
    let named = poet(&["params", "list", "--config"]).arg(&file).output().unwrap();
    assert!(stdout(&named).contains("timeout.attempt"));
    std::fs::write(&file, "[store]\npath = 7\n").unwrap();
    let wrong = poet(&["params", "list", "--config"]).arg(&file).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("poet.toml:2:"), "{}", stderr(&wrong));
}

#[test]
fn a_parameter_is_shown_with_its_evidence_and_history() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let show = ["params", "show", "salesforce_crm", "update_contact", "retry.max_retries"];
    let text = stdout(&run(&path, &[&show[..], &["--after", "transient"]].concat()));
    for part in ["in force", "why: it recovers at once", r#""tried":100"#, "2 -> 1"] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert_eq!(text, stdout(&run(&path, &show)), "the only kind need not be named");
    let json = json(&run(&path, &[&show[..], &["--format", "json"]].concat()));
    assert_eq!(json["learned"]["evidence"]["tried"], 100);
    assert_eq!(json["history"][0]["old"], 2.0);
}

#[test]
fn history_lists_the_oldest_move_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let json = json(&run(&path, &["params", "history", "--format", "json"]));
    let revisions: Vec<_> = json["changes"].as_array().unwrap().iter().map(|c| c["revision"].as_u64()).collect();
    assert_eq!(revisions, [Some(1), Some(2)]);
    let text = stdout(&run(&path, &["params", "history"]));
    assert!(text.contains("timeout.attempt: 10.0 s -> 5.0 s, confidence 0.97 on 100 observations"), "{text}");
}

#[test]
fn nothing_found_is_said_on_stderr_with_code_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let missing = folder.path().join("missing.db");
    let foreign = folder.path().join("notes.txt");
    std::fs::write(&foreign, "not a database at all, but long enough to be read as the head of one").unwrap();
    let show = |operation| ["params", "show", "salesforce_crm", operation, "breaker.open_for"];
    for (path, arguments, said) in [
        (&path, &["report", "--service", "billing"][..], "nothing is known about service `billing`"),
        (&path, &show("delete")[..], "only about `update_contact`"),
        (&path, &show("update_contact")[..], "nothing was learned about `breaker.open_for` yet"),
        (&missing, &["report"][..], "missing.db"),
        (&foreign, &["report"][..], "not a poet database"),
    ] {
        let output = run(path, arguments);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{arguments:?}");
        let stderr = stderr(&output);
        assert!(stderr.starts_with("poet: ") && stderr.contains(said), "{arguments:?}: {stderr}");
    }
    assert!(!missing.exists(), "a report creates nothing");
}

#[test]
fn what_cannot_be_understood_has_code_two_and_says_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let show = |name| ["params", "show", "salesforce_crm", "update_contact", name];
    for (arguments, said) in [
        (&["reprot"][..], "report"),
        (&["report", "--limit", "many"][..], "--limit"),
        (&show("timeout")[..], "`timeout.attempt`"),
        (&[&show("timeout.attempt")[..], &["--after", "timeout"]].concat()[..], "leave `--after` out"),
        (&[&show("retry.max_retries")[..], &["--after", "slow"]].concat()[..], "`throttled`"),
    ] {
        let output = run(&path, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
    }
    let output = poet(&["report"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("POET_DB"));
}

#[test]
fn help_teaches_with_examples() {
    let help = stdout(&poet(&["--help"]).output().unwrap());
    assert!(help.contains("Examples:") && help.contains("poet report --db poet.db"), "{help}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = poet(&["report"]);
    let output = command.arg("--db").arg(&path).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[cfg(unix)]
#[test]
fn the_database_is_not_changed_by_being_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let before = std::fs::read(&path).unwrap();
    stdout(&run(&path, &["report"]));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
