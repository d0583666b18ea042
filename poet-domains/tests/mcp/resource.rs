//! The handle that users hold, through every stage of the runtime.

use crate::clock::by;
use crate::server::{Action, Asked, Server, Speaks, Unknown, http, json_http, rpc_error};
use crate::stdio_faults;
use poet_domains::mcp::{Fault, McpError, McpRequest, McpResource, Target};
use poet_runtime::config::{Check, Config, ServiceConfig, ToolConfig};
use poet_runtime::{Disposition, Error, Reply, Runtime};
use serde_json::json;
use std::error::Error as _;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_millis(600);

fn runtime(service: ServiceConfig) -> Runtime {
    let config = Config::default().service(service);
    Runtime::builder().configuration(config).in_memory().seed(7).build().expect("a correct configuration")
}

fn crm(server: &Server) -> ServiceConfig {
    ServiceConfig::http("crm", server.url())
}

/// Makes a call that is connected already, and holds it to its deadline.
async fn call(runtime: &Runtime, request: McpRequest) -> Result<Reply, Error> {
    runtime.scope(McpResource::new("crm").list_tools()).await.expect("the server can be connected to");
    let deadline = Instant::now() + DEADLINE;
    by(deadline, runtime.scope(request.deadline(DEADLINE).call())).await
}

fn write() -> McpRequest {
    McpResource::new("crm").tool("write").args(json!({ "key": "k" }))
}

fn lost(_: &Asked) -> Action {
    Action::Close(Vec::new())
}

fn once(fault: fn(&Asked) -> Action) -> impl Fn(&Asked) -> Action {
    move |asked| if asked.before == 0 { fault(asked) } else { asked.done() }
}

#[tokio::test]
async fn a_call_by_name_reaches_the_tool_and_tells_what_it_took() {
    let server = Server::start(|asked| Action::Send(json_http(200, &[], &asked.result(r#"{"id": 7}"#)))).await;
    let runtime = runtime(crm(&server).tool("write", ToolConfig::default().cost(0.5)));
    let reply = call(&runtime, write()).await.unwrap();
    assert_eq!(reply.value(), &json!({ "id": 7 }));
    assert_eq!((reply.attempts(), reply.disposition(), reply.cost()), (1, &Disposition::Done, Some(0.5)));
    // A reply's value can be the next call's arguments.
    let next = runtime.scope(McpResource::new("crm").call_tool("write", reply.value())).await;
    assert!(next.is_ok());
}

#[tokio::test]
async fn a_name_nobody_configured_and_arguments_that_are_no_object_send_nothing() {
    let server = Server::start(Asked::done).await;
    let runtime = runtime(crm(&server));
    let error = runtime.scope(McpResource::new("billing").call_tool("write", json!({}))).await.unwrap_err();
    assert!(error.is_configuration() && error.to_string().contains("billing"), "{error}");
    for arguments in [json!([1]), json!("text"), json!(1)] {
        let error = runtime.scope(McpResource::new("crm").call_tool("write", arguments)).await.unwrap_err();
        assert!(error.is_denied(), "{error}");
    }
    assert_eq!(server.handshakes(), 0);
}

#[tokio::test]
async fn a_service_without_an_address_is_told_what_it_lacks() {
    let runtime = runtime(ServiceConfig::named("crm"));
    let error = runtime.scope(McpResource::new("crm").call_tool("write", json!({}))).await.unwrap_err();
    assert!(error.is_configuration() && error.to_string().contains("endpoint"), "{error}");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_executed_once_and_its_outcome_is_unknown() {
    for fault in [lost, |_: &Asked| Action::Hold(Vec::new())] {
        let server = Server::start(fault).await;
        let error = call(&runtime(crm(&server)), write()).await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{error}");
        assert_eq!(server.executions()["k"], 1);
    }
}

#[tokio::test]
async fn what_may_be_repeated_is_tried_again_whoever_says_so() {
    let idempotent = || ToolConfig::default().idempotent();
    let by_caller = Server::start(once(lost)).await;
    let by_config = Server::start(once(lost)).await;
    let by_trust = Server::start(once(lost)).await;
    let read = || McpResource::new("crm").tool("read").args(json!({ "key": "k" }));
    for (server, service, request) in [
        (&by_caller, crm(&by_caller), write().idempotent()),
        (&by_config, crm(&by_config).tool("write", idempotent()), write()),
        (&by_trust, crm(&by_trust).trusted(), read()),
    ] {
        let reply = call(&runtime(service), request).await.unwrap();
        assert_eq!((reply.attempts(), server.executions()["k"]), (2, 2));
    }
}

#[tokio::test]
async fn the_word_of_a_server_nobody_trusts_counts_for_nothing() {
    let server = Server::start(once(lost)).await;
    let read = McpResource::new("crm").tool("read").args(json!({ "key": "k" }));
    assert!(call(&runtime(crm(&server)), read).await.unwrap_err().is_outcome_unknown());
    assert_eq!(server.executions()["k"], 1);
}

#[tokio::test]
async fn a_trusted_server_is_asked_for_its_tools_before_the_first_call() {
    let server = Server::start(once(lost)).await;
    let runtime = runtime(crm(&server).trusted());
    let read = McpResource::new("crm").tool("read").args(json!({ "key": "k" }));
    let reply = runtime.scope(read.call()).await.unwrap();
    assert_eq!(reply.attempts(), 2);
}

#[tokio::test]
async fn a_refusal_before_anything_ran_is_tried_again_for_a_write_too() {
    let forgotten =
        |asked: &Asked| Action::Send(json_http(404, &[], &rpc_error(&asked.id, -32001, "Session not found")));
    let throttled = |_: &Asked| Action::Send(http(429, &[("Retry-After", "0")], b""));
    for fault in [forgotten, throttled] {
        let server = Server::start(once(fault)).await;
        let reply = call(&runtime(crm(&server)), write()).await.unwrap();
        assert_eq!(reply.attempts(), 2);
    }
}

#[tokio::test]
async fn a_restarted_server_needs_no_user_code_whatever_it_is() {
    for (unknown, speaks) in [
        (Unknown::NotFound, Speaks::Legacy),
        (Unknown::BadRequestWithoutId, Speaks::Legacy),
        (Unknown::NotFound, Speaks::Modern),
    ] {
        let server = Server::start_with(unknown, Asked::done).await;
        server.speak(speaks);
        let runtime = runtime(crm(&server));
        call(&runtime, write()).await.unwrap();
        let address = server.stop().await;
        let server = Server::start_at(address, unknown, Asked::done).await;
        server.speak(speaks);
        let deadline = Instant::now() + 10 * DEADLINE;
        let reply = by(deadline, runtime.scope(write().deadline(10 * DEADLINE).call())).await.unwrap();
        assert_eq!((reply.value(), server.executions()["k"]), (&json!("done"), 1));
    }
}

#[tokio::test]
async fn a_read_that_is_not_answered_ends_with_its_limit_or_with_its_deadline() {
    let server = Server::start(|_| Action::Hold(Vec::new())).await;
    let runtime = runtime(crm(&server));
    let limited = write().idempotent().timeout(Duration::from_millis(100)).retries(0);
    let error = call(&runtime, limited).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    let error = call(&runtime, write().idempotent()).await.unwrap_err();
    assert!(error.is_deadline(), "{error:?}");
}

#[tokio::test]
async fn the_tools_own_error_is_the_source() {
    let server = Server::start(|asked| {
        let mut result = asked.result("e-mail address is required");
        result["result"]["isError"] = json!(true);
        Action::Send(json_http(200, &[], &result))
    })
    .await;
    let error = call(&runtime(crm(&server)), write().idempotent()).await.unwrap_err();
    assert!(error.is_service() && error.attempts() == 1, "{error:?}");
    let source = error.source().and_then(|source| source.downcast_ref::<McpError>()).expect("the layer's own error");
    assert_eq!((source.fault(), source.text()), (Fault::Tool, "e-mail address is required"));
}

#[tokio::test]
async fn an_error_that_claims_success_is_the_tools_own_and_is_not_kept() {
    let server =
        Server::start(|asked| Action::Send(json_http(200, &[], &asked.result("Error: repository not found")))).await;
    let get = || write().idempotent();
    let runtime = runtime(crm(&server).tool("write", ToolConfig::default().read_only().cacheable()));
    for calls in 1..=2 {
        let error = call(&runtime, get()).await.unwrap_err();
        assert!(error.is_service() && error.attempts() == 1, "{error:?}");
        let source =
            error.source().and_then(|source| source.downcast_ref::<McpError>()).expect("the layer's own error");
        assert_eq!((source.fault(), source.text()), (Fault::Masked, "Error: repository not found"));
        assert_eq!(server.calls(), calls);
    }
}

#[tokio::test]
async fn who_wants_answers_as_they_are_gets_them() {
    let server = Server::start(|asked| Action::Send(json_http(200, &[], &asked.result("Error: none of them")))).await;
    let runtime = runtime(crm(&server).tool("write", ToolConfig::default().masked_errors(Check::Off)));
    assert_eq!(call(&runtime, write()).await.unwrap().value(), "Error: none of them");
}

#[tokio::test]
async fn arguments_that_the_server_did_not_declare_are_not_sent() {
    let server = Server::start(Asked::done).await;
    let runtime = runtime(crm(&server));
    let error = call(&runtime, McpResource::new("crm").tool("count").args(json!({ "key": 7 }))).await.unwrap_err();
    assert!(error.is_denied(), "{error:?}");
    let words = error.source().expect("what was wrong").to_string();
    assert_eq!(words, "calling count of crm: arguments.key: expected string, found number");
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn an_answer_that_the_server_did_not_declare_is_none() {
    let server = Server::start(|asked| {
        let mut result = asked.result("seven");
        result["result"]["structuredContent"] = json!({ "total": "seven" });
        Action::Send(json_http(200, &[], &result))
    })
    .await;
    let count = McpResource::new("crm").tool("count").retries(0);
    let error = call(&runtime(crm(&server)), count).await.unwrap_err();
    assert!(error.is_invalid_response(), "{error:?}");
    let words = error.source().expect("what was wrong").to_string();
    assert!(words.ends_with("answer.total: expected number, found string"), "{words}");
}

#[tokio::test]
async fn a_tool_that_may_not_be_called_is_not() {
    let server = Server::start(Asked::done).await;
    let guarded = runtime(crm(&server).read_only().trusted().deny("*_all"));
    let error = guarded.scope(write().idempotent().call()).await.unwrap_err();
    assert!(error.is_denied(), "{error:?}");
    let error = guarded.scope(McpResource::new("crm").call_tool("read_all", json!({}))).await.unwrap_err();
    assert!(error.is_denied(), "{error:?}");
    assert_eq!(server.calls(), 0);
    guarded.scope(McpResource::new("crm").call_tool("read", json!({}))).await.unwrap();
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn what_is_known_only_once_connected_is_checked_then() {
    let server = Server::start(Asked::done).await;
    let runtime = runtime(crm(&server));
    let error = runtime.scope(McpResource::new("crm").call_tool("count", json!({ "key": 7 }))).await.unwrap_err();
    let source = error.source().and_then(|source| source.downcast_ref::<McpError>()).expect("the layer's own error");
    assert_eq!((source.fault(), server.calls()), (Fault::Refused, 0));
}

#[tokio::test]
async fn a_server_that_is_not_there_ends_by_the_deadline_and_nothing_was_sent() {
    let server = Server::start(Asked::done).await;
    let runtime = runtime(crm(&server));
    server.stop().await;
    let deadline = Instant::now() + DEADLINE;
    let error = by(deadline, runtime.scope(write().deadline(DEADLINE).call())).await.unwrap_err();
    assert!(!error.is_outcome_unknown(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identical_reads_under_way_share_one_call() {
    let server = Server::start(Asked::done).await;
    let runtime = runtime(crm(&server).tool("read", ToolConfig::default().read_only()));
    let reads: Vec<_> = (0..32)
        .map(|_| {
            let runtime = runtime.clone();
            tokio::spawn(async move {
                runtime.scope(McpResource::new("crm").call_tool("read", json!({ "a": 1, "b": 2 }))).await
            })
        })
        .collect();
    let mut joined = 0;
    for read in reads {
        joined += usize::from(*read.await.unwrap().unwrap().disposition() == Disposition::Coalesced);
    }
    assert_eq!(joined + server.calls(), 32);
    assert!(joined > 0, "all of them waited for the same connection");
}

#[tokio::test]
async fn the_tools_of_a_server_are_listed_with_what_they_claim() {
    let server = Server::start(Asked::done).await;
    let tools = runtime(crm(&server)).scope(McpResource::new("crm").list_tools()).await.unwrap();
    let read_only: Vec<_> = tools.iter().map(|tool| (tool.name.as_str(), tool.read_only)).collect();
    assert_eq!(read_only, [("write", None), ("read", Some(true)), ("count", None)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_function_calls_from_any_thread() {
    let server = Server::start(Asked::done).await;
    let runtime = runtime(crm(&server));
    let crm = McpResource::new("crm");
    // On a thread of a runtime.
    let reply = runtime.scope_blocking(|| crm.call_tool_blocking("write", json!({}))).unwrap();
    assert_eq!(reply.value(), "done");
    // On a thread of no runtime.
    let plain = std::thread::spawn(move || {
        let tools = runtime.scope_blocking(|| crm.list_tools_blocking()).unwrap();
        (tools.len(), runtime.scope_blocking(|| crm.call_tool_blocking("write", json!({}))).unwrap())
    });
    let (tools, reply) = plain.join().unwrap();
    assert_eq!((tools, reply.value()), (3, &json!("done")));
    assert_eq!(server.handshakes(), 1);
}

#[tokio::test]
async fn a_child_is_a_service_like_any_other() {
    let Target::Stdio { command, args, env } = stdio_faults::target("") else { unreachable!() };
    let service = args.into_iter().fold(ServiceConfig::stdio("crm", command), ServiceConfig::arg);
    let runtime = runtime(env.into_iter().fold(service, |service, (name, value)| service.env(name, value)));
    let first = runtime.scope(write().call()).await.unwrap().value().clone();
    let killed = tokio::process::Command::new("kill").args(["-9", first.as_str().unwrap()]).status().await.unwrap();
    assert!(killed.success());
    // Retried without being repeatable only where the death was noticed before anything was sent.
    let second = runtime.scope(write().idempotent().call()).await.unwrap();
    assert_ne!(second.value(), &first);
}
