//! The servers that users are given for their own tests do what they say, and count what they did.

use crate::clock::by;
use poet_domains::mcp::testing::wire::Speaks;
use poet_domains::mcp::testing::{Answer, Faults, Server, Tool};
use poet_domains::mcp::{Fault, Limits, McpError, Session, Target, ToolAnswer};
use poet_runtime::Class;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_millis(400);

/// Calls `tool` on a connection that is there already.
async fn call(session: &Session, arguments: &Value) -> Result<ToolAnswer, McpError> {
    let until = Instant::now() + DEADLINE;
    by(until, session.call("tool", arguments.as_object().unwrap(), until, None)).await
}

async fn connected(server: &Server) -> Session {
    let session = Session::new(Target::http(server.url()), Limits::default());
    session.list_tools(Instant::now() + Duration::from_secs(20)).await.unwrap();
    session
}

/// What a client makes of an answer, and whether the tool was executed.
async fn outcome(answer: Answer) -> (Result<Value, (Fault, Class)>, usize) {
    let server = Server::start([Tool::new("tool").answers(json!({ "id": 7 })).script([answer])]).await.unwrap();
    let result = call(&connected(&server).await, &json!({ "a": 1 })).await;
    let result = result.map(|answer| answer.value).map_err(|error| (error.fault(), error.class()));
    assert_eq!(server.calls("tool"), 1);
    (result, server.executed("tool", &json!({ "a": 1 })))
}

#[tokio::test]
async fn every_answer_is_what_it_says_and_executes_only_where_it_says_so() {
    assert_eq!(outcome(Answer::Done).await, (Ok(json!({ "id": 7 })), 1));
    assert_eq!(outcome(Answer::Value(json!({ "id": 8 }))).await, (Ok(json!({ "id": 8 })), 1));
    assert_eq!(outcome(Answer::Value(json!("a text"))).await, (Ok(json!("a text")), 1));
    assert_eq!(outcome(Answer::Done.after(Duration::from_millis(5))).await, (Ok(json!({ "id": 7 })), 1));
    let wait = Some(Duration::from_secs(2));
    for (answer, fault, executed) in [
        (Answer::rpc_error(-32603, "no"), Fault::Rpc { code: -32603 }, 0),
        (Answer::status(503), Fault::Http { status: 503, retry_after: None }, 0),
        (Answer::throttled(Duration::from_secs(2)), Fault::Http { status: 429, retry_after: wait }, 0),
        (Answer::Hang, Fault::Timeout { sent: true }, 0),
        (Answer::Refused, Fault::Lost, 0),
        (Answer::Lost, Fault::Lost, 1),
        (Answer::Garbage, Fault::Answer, 1),
    ] {
        let (result, times) = outcome(answer.clone()).await;
        assert_eq!((result.unwrap_err().0, times), (fault, executed), "{answer:?}");
    }
    let (result, executed) = outcome(Answer::tool_error("503 Service Unavailable")).await;
    assert_eq!((result.unwrap_err().1, executed), (Class::Transient, 0));
}

#[tokio::test]
async fn a_script_is_for_the_first_calls_and_the_rest_are_answered() {
    let server = Server::start([Tool::new("tool").script([Answer::status(503), Answer::status(502)])]).await.unwrap();
    let session = connected(&server).await;
    assert!(call(&session, &json!({})).await.is_err());
    assert!(call(&session, &json!({})).await.is_err());
    assert!(call(&session, &json!({})).await.is_ok());
    assert_eq!((server.calls("tool"), server.executions("tool").len()), (3, 1));
}

#[tokio::test]
async fn a_tool_does_its_work_where_it_is_executed_and_says_why_where_it_cannot() {
    let tool = Tool::new("tool").does(|arguments| match arguments.get("id") {
        Some(id) => Ok(json!({ "id": id, "done": true })),
        None => Err("400 Bad Request: `id` is missing".to_owned()),
    });
    let server = Server::start([tool]).await.unwrap();
    let session = connected(&server).await;
    assert_eq!(call(&session, &json!({ "id": 7 })).await.unwrap().value, json!({ "id": 7, "done": true }));
    let error = call(&session, &json!({})).await.unwrap_err();
    assert!(error.to_string().contains("`id` is missing"), "{error}");
    assert_eq!(server.executed("tool", &json!({ "id": 7 })), 1);
}

#[tokio::test]
async fn what_becomes_of_a_call_can_depend_on_how_often_its_arguments_came() {
    let first_of_each = |attempt: u64| if attempt == 1 { Answer::status(503) } else { Answer::Done };
    let server = Server::start([Tool::new("tool").decide(move |call| first_of_each(call.attempt))]).await.unwrap();
    let session = connected(&server).await;
    for (id, is_answered) in [(1, false), (2, false), (1, true), (2, true)] {
        assert_eq!(call(&session, &json!({ "id": id })).await.is_ok(), is_answered, "{id}");
    }
}

#[tokio::test]
async fn chance_is_the_same_for_the_same_seed() {
    let run = async |seed| {
        let faults = Faults::seeded(seed).share(0.5, Answer::status(503));
        let server = Server::start([Tool::new("tool").faults(faults)]).await.unwrap();
        let session = connected(&server).await;
        let mut answered = Vec::new();
        for _ in 0..40 {
            answered.push(call(&session, &json!({})).await.is_ok());
        }
        answered
    };
    let first = run(1).await;
    assert_eq!(first, run(1).await);
    assert_ne!(first, run(2).await);
    assert!(first.contains(&true) && first.contains(&false));
}

#[tokio::test]
async fn a_server_that_is_started_again_is_found_at_its_address() {
    let server = Server::start([Tool::new("tool")]).await.unwrap();
    let session = connected(&server).await;
    let address = server.stop().await;
    let server = Server::start_at(address, [Tool::new("tool")]).await.unwrap();
    assert_eq!(call(&session, &json!({})).await.unwrap_err().fault(), Fault::Session);
    assert!(call(&session, &json!({})).await.is_ok());
    server.forget_sessions();
    assert_eq!(call(&session, &json!({})).await.unwrap_err().fault(), Fault::Session);
    assert!(call(&session, &json!({})).await.is_ok());
}

#[tokio::test]
async fn either_revision_is_spoken_and_only_the_old_one_has_sessions_to_forget() {
    for (revision, is_forgotten) in [(Speaks::Legacy, true), (Speaks::Modern, false)] {
        let server = Server::start([Tool::new("tool").answers(json!({ "id": 7 }))]).await.unwrap();
        server.speak(revision);
        let session = connected(&server).await;
        assert_eq!(call(&session, &json!({})).await.unwrap().value, json!({ "id": 7 }));
        server.forget_sessions();
        assert_eq!(call(&session, &json!({})).await.is_err(), is_forgotten, "{revision:?}");
    }
}

#[tokio::test]
async fn a_tool_that_is_not_there_is_not_counted() {
    let server = Server::start([Tool::new("other")]).await.unwrap();
    let error = call(&connected(&server).await, &json!({})).await.unwrap_err();
    assert_eq!(error.fault(), Fault::UnknownTool);
    assert_eq!(server.calls("tool"), 0);
}
