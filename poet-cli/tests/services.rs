//! `poet check`, `poet tools` and `poet call` against an MCP server, the smallest there is.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up is a failed test")]

mod common;
#[path = "common/server.rs"]
mod server;

use serde_json::{Value, json};
use server::Crm;
use std::fs;
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::AtomicUsize;
use tempfile::TempDir;

const PLAYED: &str = "POET_TEST_PLAYS_A_SERVER";

/// Not a test of its own: the program that another test of this file starts as a server.
#[test]
fn program() {
    if std::env::var_os(PLAYED).is_none() {
        return;
    }
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let Ok(request) = serde_json::from_str::<Value>(&line.unwrap()) else { continue };
        let answer = match server::result(&request, &AtomicUsize::default()) {
            Some(Some(result)) => json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }),
            _ if request["id"].is_null() => continue,
            _ => json!({ "jsonrpc": "2.0", "id": request["id"], "error": { "code": -32601, "message": "no" } }),
        };
        writeln!(out, "{answer}").unwrap();
        out.flush().unwrap();
    }
}

/// A folder with a configuration in YAML: a server, one that nobody is at, and one whose functions call it themselves.
fn folder(crm: &Crm) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "services:\n  crm:\n    url: http://user:hunter2@127.0.0.1:{}/mcp\n    auth_token: ${{CRM_TOKEN:-hunter2}}\n    \
         retry_attempts: 3\n    timeout_ms: 5000\n    tools:\n      update_contact:\n        deferrable: true\n        \
         queued: high\n  payments:\n    deadline: 5s\n",
        crm.port
    );
    fs::write(folder.path().join("poet.yaml"), text).unwrap();
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    common::poet().current_dir(folder).args(arguments).output().unwrap()
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_configuration_is_shown_with_what_it_comes_to_and_without_its_secrets() {
    let folder = folder(&Crm::start());
    let (code, text, _) = told(&run(folder.path(), &["check"]));
    assert_eq!(code, Some(0), "{text}");
    for part in ["poet.yaml: nothing is wrong", "3 attempts of 5.0 s", "timeout.attempt = 5.0 s", "called by functions"]
    {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let (_, shown, _) = told(&run(folder.path(), &["check", "--format", "json"]));
    assert!(!text.contains("hunter2") && !shown.contains("hunter2"), "{text}{shown}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["services"][0]["name"], &shown["services"][0]["attempts"]), (&json!("crm"), &json!(3)));
}

#[test]
fn every_problem_of_a_configuration_is_a_line_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.yml");
    fs::write(&file, "services:\n  crm:\n    uri: http://a\n    timeout_ms: soon\n").unwrap();
    let (code, text, _) = told(&run(folder.path(), &["check", "other.yml"]));
    assert_eq!(
        (code, text.as_str()),
        (
            Some(1),
            "other.yml:3:5: services.crm.uri: there is no such key; did you mean `url`?\n\
             other.yml:4:17: services.crm.timeout_ms: expected a whole number from 5 to 300000, found \"soon\"\n"
        )
    );
    let (code, shown, _) = told(&run(folder.path(), &["check", "other.yml", "--format", "json"]));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((code, &shown["problems"][1]["line"]), (Some(1), &json!(4)));
    let (code, _, error) = told(&run(folder.path(), &["check"]));
    assert!(code == Some(1) && error.contains("there is no configuration"), "{error}");
}

#[test]
fn connecting_finds_who_is_not_there_and_which_tools_are_not() {
    let crm = Crm::start();
    let folder = folder(&crm);
    let file = folder.path().join("poet.yaml");
    let (code, text, _) = told(&run(folder.path(), &["check", "--connect"]));
    assert!(code == Some(0) && text.contains("3 tools: update_contact, get_contact, vanish"), "{text}");

    let more = "  gone:\n    url: http://127.0.0.1:1/mcp\n    retry_attempts: 1\n";
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("update_contact", "updaet_contact") + more).unwrap();
    let (code, text, _) = told(&run(folder.path(), &["check", "--connect"]));
    assert_eq!(code, Some(1), "{text}");
    for part in ["2 problems", "no tool `updaet_contact`; did you mean `update_contact`?", "not connected after"] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn tools_are_listed_with_what_they_take_and_who_says_that_they_may_be_repeated() {
    let folder = folder(&Crm::start());
    let (code, text, _) = told(&run(folder.path(), &["tools", "crm"]));
    let expected = "\
crm  3 tools

update_contact  write (nobody says that it may be repeated)
  takes no arguments

get_contact  write (the server says that it changes nothing, but is not trusted)
  Finds a contact by its number.
    id*: integer
    note: string
    verbose: boolean

vanish  write (nobody says that it may be repeated)
  takes no arguments
";
    assert_eq!((code, text.as_str()), (Some(0), expected));
    let (_, shown, _) = told(&run(folder.path(), &["tools", "--format", "json"]));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let get = &shown["services"][0]["tools"][1];
    assert_eq!((&get["repeatable"], &get["input_schema"]["required"]), (&json!(false), &json!(["id"])));
}

#[test]
fn an_argument_is_sent_as_what_the_schema_says_it_is() {
    let crm = Crm::start();
    let folder = folder(&crm);
    let (code, value, aside) =
        told(&run(folder.path(), &["call", "crm", "get_contact", "id=7", "note=7", "verbose=true"]));
    assert_eq!(code, Some(0), "{aside}");
    let value: Value = serde_json::from_str(&value).unwrap();
    assert_eq!(value["with"], json!({ "id": 7, "note": "7", "verbose": true }));
    assert!(aside.starts_with("poet: 1 attempt, ") && aside.ends_with(": answered by the service\n"), "{aside}");
}

#[test]
fn what_the_tool_does_not_take_is_said_and_nothing_is_sent() {
    let crm = Crm::start();
    let folder = folder(&crm);
    for (arguments, said) in [
        (
            &["crm", "get_contact", "idd=7"][..],
            "`id` is missing: integer\n  there is no argument `idd`; expected `id`, `note` or `verbose`",
        ),
        (&["crm", "get_contact", "id=7", "ntoe=x"][..], "there is no argument `ntoe`; did you mean `note`?"),
        (&["crm", "get_contact", "id=seven"][..], "`id`: expected integer, found \"seven\""),
        (&["crm", "get_contact", "--json", "{\"id\": \"7\"}"][..], "`id`: expected integer, found \"7\""),
        (&["crm", "get_contact", "--json", "[7]"][..], "expected an object"),
        (&["crm", "get_contact", "id=7", "--json", "{}"][..], "write all of them in one way"),
        (&["crm", "vanish", "soon=true"][..], "the tool takes none"),
        (&["crm", "get_contcat", "id=7"][..], "crm has no tool `get_contcat`; did you mean `get_contact`?"),
        (&["cmr", "get_contact", "id=7"][..], "there is no service `cmr`; did you mean `crm`?"),
        (&["payments", "get_contact"][..], "it has no tools"),
        (&["crm"][..], "which tool?"),
        (&["crm", "get_contact", "id=7", "--deadline", "5"][..], "expected a duration"),
        (&["--url", "localhost", "get_contact"][..], "expected an address such as"),
    ] {
        let (code, value, aside) = told(&run(folder.path(), &[&["call"], arguments].concat()));
        assert_eq!((code, value.as_str()), (Some(2), ""), "{arguments:?}: {aside}");
        assert!(aside.contains(said), "{arguments:?}: {aside}");
    }
    assert_eq!(crm.calls(), 0);
}

#[test]
fn a_write_that_may_have_run_has_a_code_of_its_own_and_is_made_once() {
    let crm = Crm::start();
    let folder = folder(&crm);
    let (code, _, aside) = told(&run(folder.path(), &["call", "crm", "vanish"]));
    assert!(code == Some(3) && aside.contains("it may have been executed"), "{code:?} {aside}");
    assert_eq!(crm.calls(), 1);
    let (code, _, aside) = told(&run(folder.path(), &["call", "crm", "vanish", "--idempotent"]));
    assert!(code == Some(1) && aside.starts_with("poet: 3 attempts, "), "{code:?} {aside}");
    assert_eq!(crm.calls(), 4);
}

#[test]
fn a_call_is_put_off_only_where_its_job_outlives_the_command() {
    let crm = Crm::start();
    let folder = folder(&crm);
    let call = ["call", "crm", "update_contact", "id=7"];
    let (code, value, _) = told(&run(folder.path(), &call));
    assert!(code == Some(0) && value.contains("\"updated\": 7"), "{value}");
    let (code, _, aside) = told(&run(folder.path(), &[&call[..], &["--db", "poet.db"]].concat()));
    assert!(code == Some(4) && aside.contains("poet queue show "), "{code:?} {aside}");
    assert_eq!(crm.calls(), 1);
    let (_, jobs, _) = told(&run(folder.path(), &["queue", "list", "--db", "poet.db"]));
    assert!(jobs.contains("update_contact"), "{jobs}");
}

#[test]
fn what_comes_of_a_call_is_written_down_where_a_database_is_named() {
    let folder = folder(&Crm::start());
    told(&run(folder.path(), &["call", "crm", "get_contact", "id=7", "--db", "poet.db"]));
    let (code, report, _) = told(&run(folder.path(), &["report", "--db", "poet.db"]));
    assert!(code == Some(0) && report.contains("get_contact of crm"), "{report}");
}

#[test]
fn arguments_are_read_from_a_file_and_from_standard_input() {
    let folder = folder(&Crm::start());
    fs::write(folder.path().join("seven.json"), "{\"id\": 7}").unwrap();
    let (code, value, _) = told(&run(folder.path(), &["call", "crm", "get_contact", "--json", "@seven.json"]));
    assert!(code == Some(0) && value.contains("\"updated\": 7"), "{value}");

    let mut command = common::poet();
    command.current_dir(folder.path()).args(["call", "crm", "get_contact", "--json", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"id\": 8}").unwrap();
    let (code, value, _) = told(&child.wait_with_output().unwrap());
    assert!(code == Some(0) && value.contains("\"updated\": 8"), "{value}");
}

#[test]
fn a_server_that_stands_in_no_configuration_is_named_by_its_address_or_by_its_program() {
    let crm = Crm::start();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://127.0.0.1:{}/mcp", crm.port);
    let (code, value, aside) = told(&run(folder.path(), &["call", "--url", &url, "get_contact", "id=7"]));
    assert!(code == Some(0) && value.contains("\"updated\": 7"), "{value}{aside}");

    let this = std::env::current_exe().unwrap();
    let program = ["--", this.to_str().unwrap(), "program", "--exact", "--nocapture"];
    let over_stdio = |arguments: &[&str]| {
        let given = ["--env", PLAYED];
        told(&common::poet().env(PLAYED, "1").args(arguments).args(given).args(program).output().unwrap())
    };
    let (code, tools, aside) = over_stdio(&["tools"]);
    assert!(code == Some(0) && tools.starts_with("server  3 tools"), "{tools}{aside}");
    let (code, value, aside) = over_stdio(&["call", "get_contact", "id=8"]);
    assert!(code == Some(0) && value.contains("\"updated\": 8"), "{value}{aside}");
}

#[test]
fn without_services_it_says_where_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["tools"][..], &["call", "crm", "get"][..]] {
        let (code, _, aside) = told(&run(folder.path(), arguments));
        assert!(code == Some(2) && aside.contains("--config") && aside.contains("--url"), "{aside}");
    }
}
