//! The fault table over streamable HTTP.

use crate::clock::by;
use crate::server::{Action, Asked, Server, event, http, json_http, rpc_error, sse_http};
use poet_domains::mcp::{Answering, Fault, Limits, McpError, Person, Question, Session, Target, ToolAnswer};
use poet_runtime::Class;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

const DEADLINE: Duration = Duration::from_millis(400);

/// Calls `write` once on a fresh connection to a server with this script.
async fn outcome(script: impl Fn(&Asked) -> Action + Send + Sync + 'static) -> Result<ToolAnswer, McpError> {
    call(script, "write").await
}

async fn call(script: impl Fn(&Asked) -> Action + Send + Sync + 'static, tool: &str) -> Result<ToolAnswer, McpError> {
    let server = Server::start(script).await;
    let session = connected(Target::http(server.url())).await;
    let until = Instant::now() + DEADLINE;
    by(until, session.call(tool, &Map::new(), until, None)).await
}

/// A session that is connected already, so that a row measures its fault and not the handshake.
async fn connected(target: Target) -> Session {
    let session = Session::new(target, Limits::default());
    session.list_tools(Instant::now() + Duration::from_secs(20)).await.expect("the server can be connected to");
    session
}

async fn fault(script: impl Fn(&Asked) -> Action + Send + Sync + 'static) -> (Fault, Class) {
    let error = outcome(script).await.expect_err("the script is a fault");
    (error.fault(), error.class())
}

fn send(bytes: Vec<u8>) -> Action {
    Action::Send(bytes)
}

#[tokio::test]
async fn a_plain_answer_is_an_answer() {
    let answer = outcome(Asked::done).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.is_error), ("done", false));
}

#[tokio::test]
async fn a_throttled_call_says_for_how_long_in_seconds_and_as_a_date() {
    let wait = Some(Duration::from_secs(7));
    let (_, class) = fault(|_| send(http(429, &[("Retry-After", "7")], b"slow down"))).await;
    assert_eq!(class, Class::Throttled { retry_after: wait });
    let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(60));
    let (_, class) = fault(move |_| send(http(429, &[("Retry-After", &date)], b""))).await;
    let Class::Throttled { retry_after: Some(wait) } = class else { panic!("{class:?}") };
    assert!((58..=60).contains(&wait.as_secs()), "{wait:?}");
}

#[tokio::test]
async fn an_overloaded_server_is_transient_and_throttled_if_it_says_when_to_come_back() {
    let (fault_, class) = fault(|_| send(http(503, &[], b"<html>"))).await;
    assert_eq!((fault_, class), (Fault::Http { status: 503, retry_after: None }, Class::Transient));
    let (_, class) = fault(|_| send(http(503, &[("Retry-After", "2")], b"<html>"))).await;
    assert_eq!(class, Class::Throttled { retry_after: Some(Duration::from_secs(2)) });
    let (_, class) = fault(|_| send(http(502, &[], b"<html>"))).await;
    assert_eq!(class, Class::Transient);
}

#[tokio::test]
async fn the_status_and_retry_after_are_kept_where_the_body_is_json_rpc() {
    let (fault, class) =
        fault(|asked| send(json_http(503, &[("Retry-After", "2")], &rpc_error(&asked.id, -32603, "overloaded")))).await;
    let wait = Some(Duration::from_secs(2));
    assert_eq!(
        (fault, class),
        (Fault::Http { status: 503, retry_after: wait }, Class::Throttled { retry_after: wait })
    );
}

#[tokio::test]
async fn a_refused_request_is_permanent_except_a_timeout_of_the_server() {
    for (status, expected) in [(408, Class::Transient), (413, Class::Permanent), (403, Class::Permanent)] {
        let (fault, class) = fault(move |_| send(http(status, &[], b"no"))).await;
        assert_eq!((fault, class), (Fault::Http { status, retry_after: None }, expected));
    }
}

#[tokio::test]
async fn missing_authorization_is_permanent() {
    let (fault, class) = fault(|_| send(http(401, &[("WWW-Authenticate", "Bearer realm=\"x\"")], b""))).await;
    assert_eq!((fault, class), (Fault::Http { status: 401, retry_after: None }, Class::Permanent));
}

#[tokio::test]
async fn a_forgotten_session_was_refused_before_anything_was_executed() {
    let (fault, class) =
        fault(|asked| send(json_http(404, &[], &rpc_error(&asked.id, -32001, "Session not found")))).await;
    assert_eq!((fault, class), (Fault::Session, Class::Network { sent: false }));
}

#[tokio::test]
async fn an_error_without_an_id_does_not_hang() {
    for id in [None, Some(Value::Null)] {
        let error = move |_: &Asked| {
            let mut error = rpc_error(&Value::Null, -32000, "Bad Request: No valid session ID provided");
            if id.is_none() {
                error.as_object_mut().unwrap().remove("id");
            }
            error
        };
        let on_400 = error.clone();
        let (fault_, class) = fault(move |asked| send(json_http(400, &[], &on_400(asked)))).await;
        assert_eq!((fault_, class), (Fault::Session, Class::Network { sent: false }));
        let on_200 = error.clone();
        let (fault_, class) = fault(move |asked| send(json_http(200, &[], &on_200(asked)))).await;
        assert_eq!((fault_, class), (Fault::Answer, Class::Invalid));
        let (_, class) = fault(move |asked| Action::Hold(sse_http(&event(&error(asked))))).await;
        assert!(class.is_retryable(), "{class:?}");
    }
}

#[tokio::test]
async fn a_bad_request_with_the_right_id_is_the_servers_own_error() {
    let (fault, class) = fault(|asked| send(json_http(400, &[], &rpc_error(&asked.id, -32602, "no")))).await;
    assert_eq!((fault, class), (Fault::Rpc { code: -32602 }, Class::Permanent));
}

#[tokio::test]
async fn accepted_without_an_answer_and_the_answer_of_another_request_do_not_hang() {
    let (fault_, class) = fault(|_| send(http(202, &[], b""))).await;
    assert_eq!((fault_, class), (Fault::Answer, Class::Invalid));
    let (fault_, class) =
        fault(|_| send(json_http(200, &[], &json!({ "jsonrpc": "2.0", "id": 999_999, "result": { "content": [] } }))))
            .await;
    assert_eq!((fault_, class), (Fault::Answer, Class::Invalid));
}

#[tokio::test]
async fn no_answer_at_all_ends_with_the_deadline() {
    let expected = (Fault::Timeout { sent: true }, Class::Timeout);
    assert_eq!(fault(|_| Action::Hold(Vec::new())).await, expected);
    assert_eq!(fault(|_| Action::Hold(sse_http(": still there\n\n"))).await, expected);
    assert_eq!(fault(|_| Action::Hold(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec())).await, expected);
}

#[tokio::test]
async fn another_id_on_the_stream_of_a_request_ends_it() {
    let stray = json!({ "jsonrpc": "2.0", "id": 999_999, "result": { "content": [] } });
    let expected = (Fault::Lost, Class::Network { sent: true });
    assert_eq!(fault(move |_| Action::Hold(sse_http(&event(&stray)))).await, expected);
}

#[tokio::test]
async fn an_id_echoed_as_a_string_is_the_id() {
    let answer = outcome(|asked| {
        let mut result = asked.result("done");
        result["id"] = json!(asked.id.to_string());
        send(json_http(200, &[], &result))
    });
    assert_eq!(answer.await.unwrap().text, "done");
}

#[tokio::test]
async fn a_result_of_another_shape_is_invalid() {
    let (fault, class) = fault(|asked| {
        send(json_http(200, &[], &json!({ "jsonrpc": "2.0", "id": asked.id, "result": { "weather": "fine" } })))
    })
    .await;
    assert_eq!((fault, class), (Fault::Answer, Class::Invalid));
}

#[tokio::test]
async fn a_web_page_is_invalid() {
    let (fault, class) = fault(|_| send(http(200, &[("content-type", "text/html")], b"<h1>Welcome</h1>"))).await;
    assert_eq!((fault, class), (Fault::Answer, Class::Invalid));
}

#[tokio::test]
async fn a_connection_lost_during_the_call_may_have_executed_it() {
    let expected = (Fault::Lost, Class::Network { sent: true });
    assert_eq!(fault(|_| Action::Close(Vec::new())).await, expected);
    assert_eq!(fault(|_| Action::Close(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec())).await, expected);
    let half = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    assert_eq!(fault(|_| Action::Close(half.to_vec())).await, expected);
}

#[tokio::test]
async fn a_stream_closed_before_the_answer_may_have_executed_it() {
    let expected = (Fault::Lost, Class::Network { sent: true });
    assert_eq!(fault(|_| Action::Close(sse_http(": soon\n\n"))).await, expected);
}

#[tokio::test]
async fn a_stream_that_can_be_resumed_is_healed() {
    let answer = outcome(|asked| {
        let rest = sse_http(&event(&asked.result("done")));
        Action::Resume(sse_http("id: 1\nretry: 10\ndata: \n\n"), rest)
    });
    assert_eq!(answer.await.unwrap().text, "done");
}

#[tokio::test]
async fn a_stream_that_broke_with_its_server_is_not_waited_for() {
    let asked = Arc::new(Notify::new());
    let arrived = asked.clone();
    let server = Server::start(move |_| {
        arrived.notify_one();
        // An event with an id: a client may resume after it.
        Action::Hold(sse_http("id: 1\ndata: \n\n"))
    })
    .await;
    let session = connected(Target::http(server.url())).await;
    // Less than all attempts to resume take.
    let until = Instant::now() + Duration::from_secs(2);
    let call = tokio::spawn(async move { session.call("write", &Map::new(), until, None).await });
    asked.notified().await;
    server.stop().await;
    assert_eq!(call.await.unwrap().unwrap_err().fault(), Fault::Lost);
}

#[tokio::test]
async fn an_answer_on_a_stream_is_an_answer() {
    let answer = outcome(|asked| Action::Hold(sse_http(&event(&asked.result("done")))));
    assert_eq!(answer.await.unwrap().text, "done");
}

#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    let server = Server::start(Asked::done).await;
    let target = Target::http(server.url());
    let session = connected(target.clone()).await;
    server.stop().await;
    let until = Instant::now() + DEADLINE;
    let error = by(until, session.call("write", &Map::new(), until, None)).await.unwrap_err();
    assert_eq!((error.fault(), error.class()), (Fault::Connect, Class::Network { sent: false }));
    let never = Session::new(target, Limits::default());
    let error = by(until, never.call("write", &Map::new(), until, None)).await.unwrap_err();
    assert_eq!((error.fault(), error.class()), (Fault::Connect, Class::Network { sent: false }));
}

#[tokio::test]
async fn a_server_that_never_finishes_the_handshake_sent_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let session = Session::new(Target::http(format!("http://{}/", listener.local_addr().unwrap())), Limits::default());
    let until = Instant::now() + DEADLINE;
    let error = by(until, session.call("write", &Map::new(), until, None)).await.unwrap_err();
    assert_eq!((error.fault(), error.class()), (Fault::Timeout { sent: false }, Class::Network { sent: false }));
}

#[tokio::test]
async fn what_is_no_address_is_permanent() {
    for url in ["not an address", "ftp://localhost/mcp", ""] {
        let session = Session::new(Target::http(url), Limits::default());
        let until = Instant::now() + DEADLINE;
        let error = by(until, session.call("write", &Map::new(), until, None)).await.unwrap_err();
        assert_eq!((error.fault(), error.class()), (Fault::Start, Class::Permanent), "{url}");
    }
}

#[tokio::test]
async fn an_unknown_tool_is_recognised_in_its_three_shapes() {
    let as_error = |asked: &Asked| send(json_http(200, &[], &rpc_error(&asked.id, -32602, "Unknown tool: nothing")));
    let as_tool_error = |asked: &Asked| {
        let mut result = asked.result("MCP error -32602: Tool nothing not found");
        result["result"]["isError"] = json!(true);
        send(json_http(200, &[], &result))
    };
    let as_text = |asked: &Asked| send(json_http(200, &[], &asked.result("Unknown tool: nothing")));
    for error in [
        call(as_error, "nothing").await.unwrap_err(),
        call(as_tool_error, "nothing").await.unwrap_err(),
        call(as_text, "nothing").await.unwrap_err(),
    ] {
        assert_eq!((error.fault(), error.class()), (Fault::UnknownTool, Class::Permanent));
    }
    let found = call(|asked| send(json_http(200, &[], &asked.result("tool not found in the shed"))), "read").await;
    assert!(found.is_ok(), "the answer of a tool that exists may speak of tools");
}

#[tokio::test]
async fn the_tools_own_error_is_kept_and_read() {
    let failing = |text: &'static str| {
        move |asked: &Asked| {
            let mut result = asked.result(text);
            result["result"]["isError"] = json!(true);
            send(json_http(200, &[], &result))
        }
    };
    let error = outcome(failing("e-mail address is required")).await.unwrap_err();
    assert_eq!((error.fault(), error.class()), (Fault::Tool, Class::Permanent));
    assert_eq!(error.text(), "e-mail address is required");
    let error = outcome(failing("upstream timed out, try again")).await.unwrap_err();
    assert_eq!((error.fault(), error.class()), (Fault::Tool, Class::Transient));
}

#[tokio::test]
async fn the_codes_of_json_rpc_are_told_apart() {
    for (code, expected) in
        [(-32601, Class::Permanent), (-32602, Class::Permanent), (-32603, Class::Transient), (-32050, Class::Permanent)]
    {
        let (_, class) = fault(move |asked| send(json_http(200, &[], &rpc_error(&asked.id, code, "no")))).await;
        assert_eq!(class, expected, "{code}");
    }
}

#[tokio::test]
async fn a_server_that_asks_to_be_asked_again_is_and_one_that_asks_for_a_person_is_told_of_none() {
    let ask = |asked: &Asked, result: Value| {
        send(json_http(200, &[], &json!({ "jsonrpc": "2.0", "id": asked.id, "result": result })))
    };
    let twice = move |asked: &Asked| match asked.before {
        0 => ask(asked, json!({ "resultType": "input_required", "requestState": "s1" })),
        _ if asked.state == "s1" => asked.done(),
        _ => send(http(500, &[], b"the state was not brought back")),
    };
    assert_eq!(outcome(twice).await.unwrap().text, "done");
    let confirm = json!({ "method": "elicitation/create", "params": {
        "message": "Sure?", "requestedSchema": { "type": "object", "properties": {} },
    } });
    let person =
        json!({ "resultType": "input_required", "inputRequests": { "confirm": confirm }, "requestState": "s1" });
    let (fault, class) = fault(move |asked| ask(asked, person.clone())).await;
    assert_eq!((fault, class), (Fault::Input, Class::Permanent));
}

/// Answers what is proposed, or nothing where nothing is.
#[derive(Debug)]
struct Agreeing;

impl Person for Agreeing {
    fn answer(&self, question: Question) -> Answering<'_> {
        let proposed = question.defaults();
        Box::pin(async move { (!proposed.is_empty()).then_some(proposed) })
    }
}

#[tokio::test]
async fn a_person_who_is_there_is_asked_and_the_answer_is_brought_back() {
    let ask = |asked: &Asked, field: Value| {
        let schema = json!({ "type": "object", "properties": { "sure": field } });
        let confirm = json!({ "method": "elicitation/create", "params": {
            "mode": "form", "message": "Sure?", "requestedSchema": schema,
        } });
        let result = json!({ "resultType": "input_required", "inputRequests": { "q": confirm }, "requestState": "s1" });
        send(json_http(200, &[], &json!({ "jsonrpc": "2.0", "id": asked.id, "result": result })))
    };
    for (field, expected) in [
        (json!({ "type": "boolean", "default": true }), json!({ "action": "accept", "content": { "sure": true } })),
        (json!({ "type": "boolean" }), json!({ "action": "decline" })),
    ] {
        let script = move |asked: &Asked| match asked.before {
            0 => ask(asked, field.clone()),
            _ => send(json_http(200, &[], &asked.result(&format!("{} {}", asked.state, asked.answers["q"])))),
        };
        let server = Server::start(script).await;
        let session = Session::new(Target::http(server.url()).attended_by(Agreeing), Limits::default());
        let until = Instant::now() + Duration::from_secs(20);
        let answer = session.call("write", &Map::new(), until, None).await.unwrap();
        assert_eq!(answer.text, format!("\"s1\" {expected}"));
    }
}

#[tokio::test]
async fn giving_up_tells_the_server() {
    let server = Server::start(|_| Action::Hold(Vec::new())).await;
    let session = connected(Target::http(server.url())).await;
    let patience = tokio::time::timeout(Duration::from_millis(100), async {
        let until = Instant::now() + Duration::from_secs(60);
        session.call("write", &Map::new(), until, None).await
    });
    assert!(patience.await.is_err());
    tokio::time::timeout(Duration::from_secs(10), server.cancelled()).await.expect("the server was told");
}

#[tokio::test]
async fn a_deadline_tells_the_server() {
    let server = Server::start(|_| Action::Hold(Vec::new())).await;
    let session = connected(Target::http(server.url())).await;
    let until = Instant::now() + Duration::from_millis(100);
    let error = by(until, session.call("write", &Map::new(), until, None)).await.unwrap_err();
    assert_eq!(error.class(), Class::Timeout);
    tokio::time::timeout(Duration::from_secs(10), server.cancelled()).await.expect("the server was told");
}

#[tokio::test]
async fn the_token_is_sent_and_shown_nowhere() {
    let server = Server::start(Asked::done).await;
    let target = Target::Http { url: server.url(), token: Some("hunter2hunter2".to_owned()) };
    let session = connected(target).await;
    session.call("write", &Map::new(), Instant::now() + Duration::from_secs(5), None).await.unwrap();
    assert_eq!(server.header("authorization").as_deref(), Some("Bearer hunter2hunter2"));
    assert!(!format!("{session:?}").contains("hunter2"));
}
