//! The built command on worlds.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up is a failed test")]

use std::process::{Command, Output, Stdio};

fn simulate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_poet"));
    command.arg("simulate").args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_list_names_every_world_and_policy() {
    let list = out(&simulate(&["--list"]));
    for name in ["reference", "overload", "adversarial", "best_static", "learned_no_queue", "clairvoyant"] {
        assert!(list.contains(&format!("  {name} ")), "{list}");
    }
}

#[test]
fn a_world_is_shown_as_a_table_with_its_goals_as_json_and_as_a_page() {
    let short = ["small", "--policies", "none,clairvoyant", "--days", "0.2"];
    let text = out(&simulate(&short));
    assert!(text.contains("\nnone ") && text.contains("\nclairvoyant "), "{text}");
    let json = out(&simulate(&[&short[..], &["--format", "json", "--seeds", "2"]].concat()));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["seeds"], &json["policies"][1]["policy"]), (&[1, 2].into(), &"clairvoyant".into()));
    let page = out(&simulate(&[&short[..], &["--format", "html"]].concat()));
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg"), "{page}");
}

#[test]
fn two_processes_write_the_same_log() {
    let folder = tempfile::tempdir().unwrap();
    let logs = ["one.jsonl", "two.jsonl"].map(|name| {
        let path = folder.path().join(name);
        let path_ = path.to_str().unwrap();
        let output = simulate(&[
            "small",
            "--policies",
            "learned",
            "--days",
            "0.03",
            "--rate",
            "0.2",
            "--seed",
            "3",
            "--log",
            path_,
        ]);
        assert!(output.status.success(), "{}", err(&output));
        std::fs::read(path).unwrap()
    });
    assert!(logs[0].len() > 10_000, "{}", logs[0].len());
    assert!(logs[0] == logs[1], "the logs differ");
}

#[test]
fn what_cannot_be_understood_is_answered_with_what_can() {
    let cases = [
        (&["nowhere"][..], "no such world: write one of `reference`"),
        (&["small", "--policies", "lerned"], "there is no policy `lerned`; write some of `none`"),
        (&["small", "--seeds", "few"], "expected a number of seeds, or a list such as 1,2,7"),
        (&["small", "--days", "0"], "expected a number above 0"),
        (&["small", "--log", "x"], "--log writes one run"),
    ];
    for (arguments, expected) in cases {
        let output = simulate(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(err(&output).contains(expected), "{arguments:?}: {}", err(&output));
    }
}

/// A folder of traces in which one resource changes every hour.
fn traces() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("changes")).unwrap();
    let minutes: String = (0..20).map(|hour| format!("{}\n", 28_000_000 + hour * 60)).collect();
    std::fs::write(folder.path().join("changes/page.csv"), format!("minute\n{minutes}")).unwrap();
    folder
}

#[test]
fn traces_are_replayed_into_figures_as_a_table_and_as_json_with_progress_beside_them() {
    let folder = traces();
    let replay = ["traces", "--only", "freshness", "--seeds", "1", "--data", folder.path().to_str().unwrap()];
    let output = simulate(&replay);
    let text = out(&output);
    assert!(text.starts_with("figure ") && text.contains("  reached  found\n"), "{text}{}", err(&output));
    assert!(err(&output).starts_with("freshness: "), "{}", err(&output));
    let json = out(&simulate(&[&replay[..], &["--format", "json"]].concat()));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let figures = json["figures"].as_array().unwrap();
    assert_eq!(figures.len(), text.lines().count() - 1);
    assert!(figures.iter().all(|figure| figure["goal"].is_string()), "{json}");
}

#[test]
fn what_a_folder_of_traces_lacks_is_named_before_anything_is_replayed() {
    let folder = traces();
    let data = folder.path().to_str().unwrap();
    let broken = tempfile::tempdir().unwrap();
    std::fs::write(broken.path().join("outages.csv"), "when,what\n").unwrap();
    for (arguments, code, said) in [
        (&["--data", data][..], 1, "outages.csv: "),
        (&["--data", data, "--only", "freshness,hours"], 1, "checks: "),
        (&["--data", "/nowhere"], 1, "reading traces from /nowhere/"),
        (&[], 2, "write `--data DIR`"),
    ] {
        let output = simulate(&[&["traces"], arguments].concat());
        assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{arguments:?}");
        let said_all = err(&output).contains(said) && err(&output).contains("changes/*.csv  minute");
        assert!(err(&output).starts_with("poet: ") && said_all, "{arguments:?}: {}", err(&output));
    }
    let broken = broken.path().to_str().unwrap();
    for (arguments, code, said) in [
        (&["--data", broken, "--only", "probing"][..], 1, "outages.csv:1: found `when,what`, allowed is the header"),
        (&["--data", data, "--only", "speed"], 2, "no study; write one of `probing`"),
        (&["--data", data, "--format", "html"], 2, "write text or json"),
    ] {
        let output = simulate(&[&["traces"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(err(&output).contains(said), "{arguments:?}: {}", err(&output));
    }
}
