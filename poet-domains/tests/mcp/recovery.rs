//! A server that was lost is found again without user code, and nothing is executed twice on the way.

use crate::clock::by;
use crate::server::{Action, Asked, Server, Speaks, Unknown, event, json_http, sse_http};
use crate::stdio_faults;
use poet_domains::mcp::{Fault, Limits, McpError, Session, Target};
use poet_runtime::Class;
use serde_json::{Map, json};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(20);

async fn call(session: &Session, deadline: Duration) -> Result<String, McpError> {
    let until = Instant::now() + deadline;
    by(until, session.call("write", &Map::new(), until, None)).await.map(|answer| answer.text)
}

/// What the pipeline does with an operation that is not repeatable: again only if nothing was sent.
async fn call_until_sent(session: &Session) -> Result<String, McpError> {
    loop {
        match call(session, LONG).await {
            Err(error) if error.class() == (Class::Network { sent: false }) => {}
            result => return result,
        }
    }
}

#[tokio::test]
async fn a_restarted_server_is_found_again_however_it_refuses_the_old_session() {
    for unknown in [Unknown::NotFound, Unknown::BadRequestWithoutId] {
        let server = Server::start_with(unknown, Asked::done).await;
        let session = Session::new(Target::http(server.url()), Limits::default());
        assert_eq!(call(&session, LONG).await.unwrap(), "done");
        let address = server.stop().await;
        let error = loop {
            match call(&session, LONG).await.unwrap_err() {
                // A connection kept from before, whose end is noticed only in use: on a busy machine that may be now.
                error if error.fault() == Fault::Lost => {}
                error => break error,
            }
        };
        assert_eq!(error.class(), Class::Network { sent: false }, "{error:?}");
        let server = Server::start_at(address, unknown, Asked::done).await;
        assert_eq!(call_until_sent(&session).await.unwrap(), "done");
        assert_eq!(server.calls(), 1, "the call was executed once");
    }
}

#[tokio::test]
async fn a_server_that_forgot_the_session_while_nobody_called_costs_one_refusal() {
    for unknown in [Unknown::NotFound, Unknown::BadRequestWithoutId] {
        let server = Server::start_with(unknown, Asked::done).await;
        let session = Session::new(Target::http(server.url()), Limits::default());
        call(&session, LONG).await.unwrap();
        server.forget_sessions();
        assert_eq!(call(&session, LONG).await.unwrap_err().fault(), Fault::Session);
        assert_eq!(call(&session, LONG).await.unwrap(), "done");
        assert_eq!((server.calls(), server.handshakes()), (2, 2));
    }
}

#[tokio::test]
async fn a_wedged_session_is_not_used_again() {
    let server = Server::start_with(Unknown::Swallowed, Asked::done).await;
    let limits = Limits { health_probe: Duration::from_millis(100), ..Limits::default() };
    let session = Session::new(Target::http(server.url()), limits);
    call(&session, LONG).await.unwrap();
    server.forget_sessions();
    assert_eq!(call(&session, Duration::from_millis(200)).await.unwrap_err().class(), Class::Timeout);
    assert_eq!(call(&session, LONG).await.unwrap(), "done");
    assert_eq!(server.handshakes(), 2);
}

#[tokio::test]
async fn a_slow_call_does_not_cost_a_connection_that_still_answers() {
    let script = |asked: &Asked| if asked.before == 0 { Action::Hold(Vec::new()) } else { asked.done() };
    let server = Server::start(script).await;
    let session = Session::new(Target::http(server.url()), Limits::default());
    session.list_tools(Instant::now() + LONG).await.unwrap();
    let lists = server.lists();
    assert_eq!(call(&session, Duration::from_millis(200)).await.unwrap_err().class(), Class::Timeout);
    assert_eq!(call(&session, LONG).await.unwrap(), "done");
    assert_eq!(call(&session, LONG).await.unwrap(), "done");
    assert_eq!((server.handshakes(), server.lists() - lists), (1, 1), "probed once, not connected anew");
}

#[tokio::test]
async fn a_call_dropped_by_its_caller_makes_the_connection_suspect_too() {
    let server = Server::start_with(Unknown::Swallowed, Asked::done).await;
    let limits = Limits { health_probe: Duration::from_millis(100), ..Limits::default() };
    let session = Session::new(Target::http(server.url()), limits);
    call(&session, LONG).await.unwrap();
    server.forget_sessions();
    assert!(tokio::time::timeout(Duration::from_millis(100), call(&session, LONG)).await.is_err());
    assert_eq!(call(&session, LONG).await.unwrap(), "done");
}

#[tokio::test]
async fn callers_that_come_together_share_one_connection() {
    let server = Server::start(Asked::done).await;
    let session = Session::new(Target::http(server.url()), Limits::default());
    let calls: Vec<_> = (0..32)
        .map(|_| {
            tokio::spawn({
                let session = session.clone();
                async move { call(&session, LONG).await }
            })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "done");
    }
    assert_eq!((server.handshakes(), server.calls()), (1, 32));
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_make_the_next_one_connect_again() {
    let server = Server::start(Asked::done).await;
    server.ignore_discover();
    let limits = Limits { era_probe: Duration::from_millis(300), ..Limits::default() };
    let session = Session::new(Target::http(server.url()), limits);
    let error = call(&session, Duration::from_millis(100)).await.unwrap_err();
    assert_eq!(error.class(), Class::Network { sent: false });
    assert_eq!(call(&session, LONG).await.unwrap(), "done");
    assert_eq!((session.connects(), server.calls()), (1, 1));
}

#[tokio::test]
async fn the_era_is_found_out_once() {
    let server = Server::start(Asked::done).await;
    server.ignore_discover();
    let limits = Limits { era_probe: Duration::from_millis(500), ..Limits::default() };
    let session = Session::new(Target::http(server.url()), limits);
    call(&session, LONG).await.unwrap();
    session.close();
    let again = Instant::now();
    call(&session, LONG).await.unwrap();
    assert!(again.elapsed() < Duration::from_millis(500), "the era was probed again");
    assert_eq!(session.connects(), 2);
}

#[tokio::test]
async fn a_server_of_the_stateless_revision_is_called_without_a_session() {
    let script = |asked: &Asked| if asked.before == 0 { asked.done() } else { Action::Hold(Vec::new()) };
    let server = Server::start(script).await;
    server.speak(Speaks::Modern);
    let session = Session::new(Target::http(server.url()), Limits::default());
    assert_eq!(call(&session, LONG).await.unwrap(), "done");
    assert_eq!(server.header("mcp-protocol-version").as_deref(), Some("2026-07-28"));
    assert_eq!((server.header("mcp-name").as_deref(), server.header("mcp-session-id")), (Some("write"), None));
    // To cancel is to hang up there.
    assert_eq!(call(&session, Duration::from_millis(100)).await.unwrap_err().class(), Class::Timeout);
    tokio::time::timeout(LONG, server.hung_up()).await.expect("the client hung up");
}

#[tokio::test]
async fn a_server_replaced_by_one_of_another_revision_is_found_again() {
    let server = Server::start(Asked::done).await;
    server.speak(Speaks::Modern);
    let session = Session::new(Target::http(server.url()), Limits::default());
    assert_eq!(call(&session, LONG).await.unwrap(), "done");
    server.speak(Speaks::Legacy);
    assert!(call(&session, LONG).await.is_err());
    assert_eq!(call(&session, LONG).await.unwrap(), "done");
    server.speak(Speaks::Modern);
    session.close();
    assert_eq!(call(&session, LONG).await.unwrap(), "done");
}

#[tokio::test]
async fn tools_that_were_announced_to_have_changed_are_listed_anew_before_the_next_call() {
    let announce = |asked: &Asked| {
        let change = json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" });
        let events = if asked.before == 0 { event(&change) } else { String::new() };
        Action::Close(sse_http(&(events + &event(&asked.result("done")))))
    };
    let server = Server::start(announce).await;
    let session = Session::new(Target::http(server.url()), Limits::default());
    call(&session, LONG).await.unwrap();
    let lists = server.lists();
    call(&session, LONG).await.unwrap();
    call(&session, LONG).await.unwrap();
    assert_eq!(server.lists() - lists, 1);
}

#[tokio::test]
async fn a_hundred_calls_are_under_way_at_once() {
    const CALLS: usize = 100;
    // Nobody is answered before all of them have arrived.
    let server = Server::start(|asked| Action::Together(CALLS, json_http(200, &[], &asked.result("done")))).await;
    let session = Session::new(Target::http(server.url()), Limits::default());
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { call(&session, LONG).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "done");
    }
}

#[tokio::test]
async fn a_killed_child_is_started_again_and_a_call_made_after_its_death_was_not_sent() {
    let session = Session::new(stdio_faults::target(""), Limits::default());
    for _ in 0..20 {
        let first = call(&session, LONG).await.unwrap();
        let status = tokio::process::Command::new("kill").args(["-9", &first]).status().await.unwrap();
        assert!(status.success());
        while is_running(&first) {
            tokio::task::yield_now().await;
        }
        // Nobody has told us yet that it is gone; a call that must not be made twice can be made now all the same.
        assert_ne!(call_until_sent(&session).await.unwrap(), first);
    }
    assert_eq!(session.connects(), 21);
}

/// Whether anything of a process is left that could read: its first thread may be gone before the others.
fn is_running(process: &str) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    threads.into_iter().any(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|fields| !fields.is_empty() && !fields.starts_with(['Z', 'X']))
    })
}

#[tokio::test]
async fn a_session_outlives_the_runtime_it_was_connected_on() {
    let server = Server::start(Asked::done).await;
    let session = Session::new(Target::http(server.url()), Limits::default());
    let elsewhere = session.clone();
    let other_runtime = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(call(&elsewhere, LONG)).unwrap();
    });
    other_runtime.await.unwrap();
    assert_eq!(call_until_sent(&session).await.unwrap(), "done");
    assert_eq!(session.connects(), 2);
}
