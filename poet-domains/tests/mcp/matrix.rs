//! What the caller of a tool is told of every fault, through every stage of the runtime: which predicate of the error
//! holds, for a write and for a call that may be repeated, and that it is told so by the deadline.

use crate::clock::by;
use crate::server::{Action, Asked, Server, event, http, json_http, rpc_error, sse_http};
use crate::stdio_faults;
use poet_domains::mcp::{McpRequest, McpResource, Target};
use poet_runtime::config::{Config, ServiceConfig};
use poet_runtime::{Error, Reply, Runtime};
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime};

const DEADLINE: Duration = Duration::from_millis(500);

/// What the caller is told: an answer, or the predicate of the error that holds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Answer,
    OutcomeUnknown,
    Deadline,
    Throttled,
    Invalid,
    Service,
}

use Told::{Answer, Deadline, Invalid, OutcomeUnknown, Service, Throttled};

fn told(name: &str, result: &Result<Reply, Error>) -> Told {
    let Err(error) = result else { return Answer };
    let holding: Vec<_> = [
        (error.is_outcome_unknown(), OutcomeUnknown),
        (error.is_deadline(), Deadline),
        (error.is_throttled(), Throttled),
        (error.is_invalid_response(), Invalid),
        (error.is_service(), Service),
    ]
    .into_iter()
    .filter_map(|(holds, told)| holds.then_some(told))
    .collect();
    assert_eq!(holding.len(), 1, "{name}: exactly one predicate holds of {error:?}");
    holding[0]
}

fn runtime(service: ServiceConfig) -> Runtime {
    // Short, so that all attempts fit before the deadline whatever jitter makes of their delays.
    let service = service.pin("retry.base_delay", 0.02);
    Runtime::builder().configuration(Config::default().service(service)).in_memory().seed(7).build().unwrap()
}

fn write() -> McpRequest {
    McpResource::new("crm").tool("write").args(json!({ "key": "k" }))
}

/// Makes the call on a service that is connected already, and holds it to its deadline.
async fn call(service: ServiceConfig, request: McpRequest) -> Result<Reply, Error> {
    let runtime = runtime(service);
    runtime.scope(McpResource::new("crm").list_tools()).await.expect("the server can be connected to");
    let until = Instant::now() + DEADLINE;
    by(until, runtime.scope(request.deadline(DEADLINE).call())).await
}

type Script = fn(&Asked) -> Action;

/// A fault, and what is told of it: to who made a write, and to who may repeat the call.
type Row = (&'static str, Script, Told, Told);

/// Plays each fault to a write and to a call that may be repeated; a write is executed once at most.
async fn over_http(rows: &[Row]) {
    for &(name, script, of_write, of_read) in rows {
        let server = Server::start(script).await;
        let result = call(ServiceConfig::http("crm", server.url()), write()).await;
        assert_eq!(told(name, &result), of_write, "{name}, to a write: {result:?}");
        let server = Server::start(script).await;
        let result = call(ServiceConfig::http("crm", server.url()), write().idempotent()).await;
        assert_eq!(told(name, &result), of_read, "{name}, to a call that may be repeated: {result:?}");
    }
}

fn send(bytes: Vec<u8>) -> Action {
    Action::Send(bytes)
}

fn session_unknown(asked: &Asked) -> Action {
    send(json_http(404, &[], &rpc_error(&asked.id, -32001, "Session not found")))
}

/// As `server-everything` answers after a restart.
fn without_id() -> Value {
    let mut error = rpc_error(&Value::Null, -32000, "Bad Request: No valid session ID provided");
    error.as_object_mut().unwrap().remove("id");
    error
}

fn null_id() -> Value {
    rpc_error(&Value::Null, -32000, "Bad Request: No valid session ID provided")
}

fn stray() -> Value {
    json!({ "jsonrpc": "2.0", "id": 999_999, "result": { "content": [] } })
}

#[tokio::test]
async fn a_refusal_over_http_is_what_it_says_it_is() {
    over_http(&[
        ("429, seconds", |_| send(http(429, &[("Retry-After", "7")], b"slow down")), Throttled, Throttled),
        (
            "429, date",
            |_| {
                let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
                send(http(429, &[("Retry-After", &date)], b""))
            },
            Throttled,
            Throttled,
        ),
        ("503", |_| send(http(503, &[], b"<html>")), Service, Service),
        ("503, seconds", |_| send(http(503, &[("Retry-After", "2")], b"<html>")), Throttled, Throttled),
        ("502", |_| send(http(502, &[], b"<html>")), Service, Service),
        (
            "503, JSON-RPC, seconds",
            |asked| send(json_http(503, &[("Retry-After", "2")], &rpc_error(&asked.id, -32603, "overloaded"))),
            Throttled,
            Throttled,
        ),
        ("408", |_| send(http(408, &[], b"no")), Service, Service),
        ("413", |_| send(http(413, &[], b"no")), Service, Service),
        ("403", |_| send(http(403, &[], b"no")), Service, Service),
        ("401", |_| send(http(401, &[("WWW-Authenticate", "Bearer realm=\"x\"")], b"")), Service, Service),
        ("-32601", |asked| send(json_http(200, &[], &rpc_error(&asked.id, -32601, "no"))), Service, Service),
        ("-32603", |asked| send(json_http(200, &[], &rpc_error(&asked.id, -32603, "no"))), Service, Service),
        ("400 with the id", |asked| send(json_http(400, &[], &rpc_error(&asked.id, -32602, "no"))), Service, Service),
    ])
    .await;
}

#[tokio::test]
async fn how_long_a_service_asked_to_be_left_alone_is_told() {
    let server = Server::start(|_| send(http(429, &[("Retry-After", "7")], b""))).await;
    let error = call(ServiceConfig::http("crm", server.url()), write()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_forgotten_session_over_http_is_healed_and_one_that_stays_forgotten_is_told() {
    let once: Script = |asked| if asked.before == 0 { session_unknown(asked) } else { asked.done() };
    let once_without_id: Script =
        |asked| if asked.before == 0 { send(json_http(400, &[], &without_id())) } else { asked.done() };
    over_http(&[
        ("404 once", once, Answer, Answer),
        ("400 without id once", once_without_id, Answer, Answer),
        ("404 always", session_unknown, Service, Service),
        ("400 without id always", |_| send(json_http(400, &[], &without_id())), Service, Service),
        ("400 with id null always", |_| send(json_http(400, &[], &null_id())), Service, Service),
        ("an error without id on a stream", |_| Action::Hold(sse_http(&event(&without_id()))), Service, Service),
    ])
    .await;
}

#[tokio::test]
async fn an_answer_over_http_that_is_none_is_invalid_and_a_strange_one_is_taken() {
    over_http(&[
        ("accepted", |_| send(http(202, &[], b"")), Invalid, Invalid),
        ("another id", |_| send(json_http(200, &[], &stray())), Invalid, Invalid),
        ("no id", |_| send(json_http(200, &[], &without_id())), Invalid, Invalid),
        ("a web page", |_| send(http(200, &[("content-type", "text/html")], b"<h1>")), Invalid, Invalid),
        (
            "another shape",
            |asked| {
                let weather = json!({ "weather": "fine" });
                send(json_http(200, &[], &json!({ "jsonrpc": "2.0", "id": asked.id, "result": weather })))
            },
            Invalid,
            Invalid,
        ),
        (
            "the id as a string",
            |asked| {
                let mut result = asked.result("done");
                result["id"] = json!(asked.id.to_string());
                send(json_http(200, &[], &result))
            },
            Answer,
            Answer,
        ),
        (
            "a stream that is resumed",
            |asked| {
                let rest = sse_http(&event(&asked.result("done")));
                Action::Resume(sse_http("id: 1\nretry: 10\ndata: \n\n"), rest)
            },
            Answer,
            Answer,
        ),
    ])
    .await;
}

#[tokio::test]
async fn an_answer_lost_over_http_leaves_the_outcome_of_a_write_unknown() {
    over_http(&[
        ("closed", |_| Action::Close(Vec::new()), OutcomeUnknown, Service),
        ("reset", |_| Action::Reset, OutcomeUnknown, Service),
        ("half an answer", |_| Action::Close(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()), OutcomeUnknown, Service),
        ("a stream that ends", |_| Action::Close(sse_http(": soon\n\n")), OutcomeUnknown, Service),
        ("another id on a stream", |_| Action::Hold(sse_http(&event(&stray()))), OutcomeUnknown, Service),
    ])
    .await;
}

#[tokio::test]
async fn silence_over_http_leaves_the_outcome_of_a_write_unknown_and_ends_a_read_with_its_deadline() {
    over_http(&[
        ("silence", |_| Action::Hold(Vec::new()), OutcomeUnknown, Deadline),
        ("a silent stream", |_| Action::Hold(sse_http(": still there\n\n")), OutcomeUnknown, Deadline),
        (
            "half a body",
            |_| Action::Hold(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec()),
            OutcomeUnknown,
            Deadline,
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_was_sent_nothing() {
    for request in [write, || write().idempotent()] {
        let server = Server::start(Asked::done).await;
        let runtime = runtime(ServiceConfig::http("crm", server.url()));
        runtime.scope(McpResource::new("crm").list_tools()).await.expect("the server can be connected to");
        server.stop().await;
        let until = Instant::now() + DEADLINE;
        let result = by(until, runtime.scope(request().deadline(DEADLINE).call())).await;
        assert_eq!(told("refused", &result), Service, "{result:?}");
    }
}

/// A service that is a child of this program and plays the script.
fn child(script: &str) -> ServiceConfig {
    let Target::Stdio { command, args, env } = stdio_faults::target(script) else { unreachable!() };
    let service = args.into_iter().fold(ServiceConfig::stdio("crm", command), ServiceConfig::arg);
    env.into_iter().fold(service, |service, (name, value)| service.env(name, value))
}

#[tokio::test]
async fn what_is_told_of_a_child_is_what_is_told_over_http() {
    for (script, of_write, of_read) in [
        ("silent", OutcomeUnknown, Deadline),
        ("wrong_id", OutcomeUnknown, Deadline),
        ("no_id", OutcomeUnknown, Deadline),
        ("huge", OutcomeUnknown, Deadline),
        ("die", OutcomeUnknown, Service),
        ("shape", Invalid, Invalid),
        ("internal", Service, Service),
        ("string_id", Answer, Answer),
        ("stray", Answer, Answer),
        ("", Answer, Answer),
    ] {
        let result = call(child(script), write()).await;
        assert_eq!(told(script, &result), of_write, "{script}, to a write: {result:?}");
        let result = call(child(script), write().idempotent()).await;
        assert_eq!(told(script, &result), of_read, "{script}, to a call that may be repeated: {result:?}");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_and_one_that_is_no_server_were_sent_nothing() {
    for (command, request) in [("/no/such/program", write()), ("false", write()), ("false", write().idempotent())] {
        let runtime = runtime(ServiceConfig::stdio("crm", command));
        let until = Instant::now() + DEADLINE;
        let result = by(until, runtime.scope(request.deadline(DEADLINE).call())).await;
        assert_eq!(told(command, &result), Service, "{command}: {result:?}");
    }
}
