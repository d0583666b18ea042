//! The fault table over standard input and output.
//!
//! The server is this very test program: started again with a script in its environment, the first test below plays
//! it. What libtest prints around it is the stray text on standard output that a client has to put up with.

use crate::clock::by;
use poet_domains::mcp::{Fault, Limits, McpError, Session, Target, ToolAnswer};
use poet_runtime::Class;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

const SCRIPT: &str = "POET_TEST_STDIO_SCRIPT";
const DEADLINE: Duration = Duration::from_millis(400);

/// Not a test of its own: the server that the other tests of this file start.
#[test]
fn server() {
    let Ok(script) = std::env::var(SCRIPT) else { return };
    let mut out = std::io::stdout().lock();
    let mut send = |message: Value| {
        writeln!(out, "{message}").unwrap();
        out.flush().unwrap();
    };
    for line in std::io::stdin().lock().lines() {
        let Ok(message) = serde_json::from_str::<Value>(&line.unwrap()) else { continue };
        let id = message["id"].clone();
        let result = |result: Value| json!({ "jsonrpc": "2.0", "id": id, "result": result });
        let text = |text: &str| result(json!({ "content": [{ "type": "text", "text": text }] }));
        let error = |code: i32| json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": "no" } });
        match message["method"].as_str().unwrap_or_default() {
            "server/discover" if script == "ignore_discover" => {}
            "server/discover" if script == "die_of_discover" => std::process::exit(1),
            "initialize" => send(result(json!({
                "protocolVersion": "2025-06-18",
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "scripted", "version": "1" },
            }))),
            "tools/list" => {
                let schema = json!({ "type": "object" });
                send(result(json!({ "tools": [{ "name": "write", "inputSchema": schema }] })));
            }
            "tools/call" => match script.as_str() {
                "silent" => {}
                "die" => {
                    eprintln!("out of cheese, token {}", std::env::var("TOKEN").unwrap_or_default());
                    std::process::exit(3);
                }
                "wrong_id" => send(json!({ "jsonrpc": "2.0", "id": 999_999, "result": { "content": [] } })),
                "no_id" => send(json!({ "jsonrpc": "2.0", "error": { "code": -32000, "message": "no" } })),
                "string_id" => {
                    let mut answer = text("done");
                    answer["id"] = json!(id.to_string());
                    send(answer);
                }
                "reports" | "repeats" => {
                    for report in crate::streams::reports(&message, script == "reports", 8) {
                        std::thread::sleep(crate::streams::PACE);
                        send(report);
                    }
                    send(text("done"));
                }
                "shape" => send(result(json!({ "weather": "fine" }))),
                "internal" => send(error(-32603)),
                "huge" => send(text(&"x".repeat(20 * 1024 * 1024))),
                "stray" => {
                    println!("starting up ...");
                    send(text("done"));
                }
                "chatter" => {
                    // More than any pipe holds: a client that does not read it would never get the answer.
                    for _ in 0..4096 {
                        eprintln!("{}", "chatter ".repeat(16));
                    }
                    send(text("done"));
                }
                "secrets" => {
                    let given = std::env::var("POET_TEST_SECRET").ok();
                    let inherited = std::env::var("CARGO_MANIFEST_DIR").ok();
                    send(text(&format!("{given:?} {inherited:?}")));
                }
                _ => send(text(&std::process::id().to_string())),
            },
            _ if id.is_null() => {}
            _ => send(error(-32601)),
        }
    }
}

/// A child of this program that plays the script.
pub(crate) fn target(script: &str) -> Target {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    let env = [(SCRIPT, script), ("TOKEN", "hunter2hunter2")];
    Target::Stdio {
        command: program,
        args: ["--exact", "stdio_faults::server", "--nocapture"].map(str::to_owned).to_vec(),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect(),
    }
}

async fn outcome(script: &str) -> Result<ToolAnswer, McpError> {
    let session = Session::new(target(script), Limits::default());
    session.list_tools(Instant::now() + Duration::from_secs(20)).await.expect("the child can be connected to");
    let until = Instant::now() + DEADLINE;
    by(until, session.call("write", &Map::new(), until, None)).await
}

async fn fault(script: &str) -> (Fault, Class) {
    let error = outcome(script).await.expect_err("the script is a fault");
    (error.fault(), error.class())
}

#[tokio::test]
async fn a_child_answers() {
    assert!(outcome("").await.unwrap().text.parse::<u32>().is_ok());
}

#[tokio::test]
async fn silence_a_wrong_id_and_a_missing_id_end_with_the_deadline() {
    for script in ["silent", "wrong_id", "no_id"] {
        assert_eq!(fault(script).await, (Fault::Timeout { sent: true }, Class::Timeout), "{script}");
    }
}

#[tokio::test]
async fn a_line_longer_than_the_transport_reads_ends_with_the_deadline() {
    assert_eq!(fault("huge").await.1, Class::Timeout);
}

#[tokio::test]
async fn a_child_that_dies_during_the_call_may_have_executed_it_and_its_last_words_are_kept() {
    let error = outcome("die").await.unwrap_err();
    assert_eq!((error.fault(), error.class()), (Fault::Lost, Class::Network { sent: true }));
    let message = error.to_string();
    assert!(message.contains("out of cheese") && !message.contains("hunter2"), "{message}");
}

#[tokio::test]
async fn the_codes_and_shapes_mean_what_they_mean_over_http() {
    assert_eq!(fault("internal").await, (Fault::Rpc { code: -32603 }, Class::Transient));
    assert_eq!(fault("shape").await, (Fault::Answer, Class::Invalid));
    assert_eq!(outcome("string_id").await.unwrap().text, "done");
}

#[tokio::test]
async fn stray_text_on_standard_output_and_a_flood_on_standard_error_do_no_harm() {
    assert_eq!(outcome("stray").await.unwrap().text, "done");
    let session = Session::new(target("chatter"), Limits::default());
    let until = Instant::now() + Duration::from_secs(20);
    assert_eq!(session.call("write", &Map::new(), until, None).await.unwrap().text, "done");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_permanent() {
    let session = Session::new(Target::stdio("/no/such/program", [""; 0]), Limits::default());
    let until = Instant::now() + DEADLINE;
    let error = by(until, session.call("write", &Map::new(), until, None)).await.unwrap_err();
    assert_eq!((error.fault(), error.class()), (Fault::Start, Class::Permanent));
}

#[tokio::test]
async fn a_program_that_is_no_server_sent_nothing() {
    let session = Session::new(Target::stdio("false", [""; 0]), Limits::default());
    let until = Instant::now() + Duration::from_secs(10);
    let error = by(until, session.call("write", &Map::new(), until, None)).await.unwrap_err();
    assert_eq!((error.fault(), error.class()), (Fault::Connect, Class::Network { sent: false }));
}

#[tokio::test]
async fn a_legacy_child_that_ignores_the_question_for_its_era_is_connected_within_a_bound() {
    let limits = Limits { era_probe: Duration::from_millis(300), ..Limits::default() };
    let session = Session::new(target("ignore_discover"), limits);
    let until = Instant::now() + Duration::from_secs(8);
    let answer = by(until, session.call("write", &Map::new(), until, None)).await;
    assert!(answer.is_ok(), "{answer:?}");
}

#[tokio::test]
async fn a_legacy_child_that_dies_of_the_question_for_its_era_is_connected() {
    assert!(outcome("die_of_discover").await.is_ok());
}

#[tokio::test]
async fn a_child_does_not_inherit_what_it_was_not_given() {
    // Set for the whole program by cargo, and not on the list.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let Target::Stdio { command, args, mut env } = target("secrets") else { unreachable!() };
    env.extend(BTreeMap::from([("POET_TEST_SECRET".to_owned(), "given".to_owned())]));
    let given = Session::new(Target::Stdio { command, args, env }, Limits::default());
    let until = Instant::now() + Duration::from_secs(20);
    assert_eq!(given.call("write", &Map::new(), until, None).await.unwrap().text, "Some(\"given\") None");
}
