//! Calls that a server does by tasks: waited for, or put off and asked about, by whoever has the queue then.

use crate::clock::by;
use poet_domains::MCP_INTEGRATION;
use poet_domains::mcp::testing::wire::Speaks;
use poet_domains::mcp::testing::{Answer, Server, Tool};
use poet_domains::mcp::{Fault, Limits, McpRequest, McpResource, Session, Target};
use poet_runtime::config::{Config, QueueConfig, ServiceConfig};
use poet_runtime::defer::{DeferralQueue, MemoryQueue, Note, Reason, State, Ticket};
use poet_runtime::{Class, Disposition, Error, Reply, Runtime};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(20);
const TAKES: Duration = Duration::from_millis(350);
const NEVER: Duration = Duration::from_secs(3_600);

/// A server of the stateless revision whose tool answers so.
async fn server(answer: Answer) -> Server {
    let server = Server::start([Tool::new("export").answers(json!({ "id": 7 })).decide(move |_| answer.clone())]);
    let server = server.await.unwrap();
    server.speak(Speaks::Modern);
    server
}

fn runtime_of(service: ServiceConfig, queue: impl DeferralQueue + 'static, work: bool) -> Runtime {
    // Jobs are made again soon, so that a test need not wait.
    let queue_config = QueueConfig { work, backoff: Duration::from_millis(200), ..QueueConfig::default() };
    let config = Config { queue: queue_config, ..Config::default().service(service) };
    let builder = Runtime::builder().configuration(config).profile(&MCP_INTEGRATION).in_memory().queue(queue);
    builder.seed(7).build().unwrap()
}

fn runtime(server: &Server) -> Runtime {
    runtime_of(server.service("crm"), MemoryQueue::new(), true)
}

fn export() -> McpRequest {
    McpResource::new("crm").tool("export").args(json!({ "year": 2026 })).deadline(LONG)
}

async fn call(runtime: &Runtime, request: McpRequest) -> Result<Reply, Error> {
    runtime.scope(request.call()).await
}

/// The ticket of a call that was put off because the server does it in its own time.
async fn ticket(runtime: &Runtime, request: McpRequest) -> Ticket {
    let reply = call(runtime, request).await.unwrap();
    let Disposition::Queued(ticket) = reply.disposition() else { panic!("{:?}", reply.disposition()) };
    assert_eq!((ticket.reason(), reply.attempts()), (Reason::Accepted, 1));
    ticket.clone()
}

fn executions(server: &Server) -> usize {
    server.executed("export", &json!({ "year": 2026 }))
}

#[tokio::test]
async fn a_call_that_may_be_put_off_has_a_ticket_and_its_answer_when_the_task_is_done() {
    let server = server(Answer::Done.as_task(TAKES)).await;
    let runtime = runtime(&server);
    let ticket = ticket(&runtime, export().deferrable()).await;
    assert_eq!(ticket.wait(LONG).await.unwrap().value(), &json!({ "id": 7 }));
    assert_eq!((server.calls("export"), executions(&server)), (1, 1));
    assert!((3..=6).contains(&server.asked_about_tasks()), "{}", server.asked_about_tasks());
}

#[tokio::test]
async fn a_queued_call_is_done_by_a_task_of_its_worker() {
    let server = server(Answer::Done.as_task(TAKES)).await;
    let runtime = runtime(&server);
    let reply = call(&runtime, export().queued()).await.unwrap();
    let ticket = reply.disposition().ticket().cloned().unwrap();
    assert_eq!(ticket.wait(LONG).await.unwrap().value(), &json!({ "id": 7 }));
    assert!(executions(&server) == 1 && server.asked_about_tasks() > 0);
}

#[tokio::test]
async fn nobody_who_waits_is_made_to_wait_for_the_next_time_the_server_is_asked() {
    let server = server(Answer::Done.as_task(TAKES)).await;
    let reply = call(&runtime(&server), export()).await.unwrap();
    assert_eq!((reply.value(), reply.disposition()), (&json!({ "id": 7 }), &Disposition::Done));
    assert_eq!(server.asked_about_tasks(), 0, "no task was offered to be taken, so it answered");
}

#[tokio::test]
async fn a_tool_that_is_only_done_by_tasks_is_waited_for() {
    let server = server(Answer::Done.only_as_task(TAKES)).await;
    let reply = call(&runtime(&server), export()).await.unwrap();
    assert_eq!((reply.value(), reply.disposition(), reply.attempts()), (&json!({ "id": 7 }), &Disposition::Done, 1));
    assert_eq!((server.calls("export"), executions(&server)), (2, 1), "the first one was refused");

    let session = Session::new(Target::http(server.url()), Limits::default());
    let arguments = Map::from_iter([("year".to_owned(), json!(2027))]);
    let answer = session.call("export", &arguments, Instant::now() + LONG, None).await.unwrap();
    assert_eq!(answer.value, json!({ "id": 7 }));
    let until = Instant::now() + TAKES / 2;
    let error = by(until, session.call("export", &arguments, until, None)).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Timeout { sent: true });
}

#[tokio::test]
async fn another_process_asks_about_the_same_task_and_starts_nothing() {
    let queue = MemoryQueue::new();
    let server = server(Answer::Done.as_task(TAKES)).await;
    let first = runtime_of(server.service("crm"), queue.clone(), false);
    let job = ticket(&first, export().deferrable()).await.job();
    first.shutdown(Duration::from_secs(5)).await.unwrap();
    drop(first);
    assert_eq!(server.asked_about_tasks(), 0);

    let second = runtime_of(server.service("crm"), queue, true);
    let ticket = second.queue().ticket(job).await.unwrap().unwrap();
    let reply = second.scope(ticket.wait(LONG)).await.unwrap();
    assert_eq!(reply.value(), &json!({ "id": 7 }));
    assert_eq!((server.calls("export"), executions(&server)), (1, 1));
}

#[tokio::test]
async fn a_write_whose_task_the_server_forgot_is_uncertain_and_never_started_again() {
    let server = server(Answer::Done.as_task(NEVER)).await;
    let runtime = runtime(&server);
    let ticket = ticket(&runtime, export().deferrable()).await;
    server.forget_tasks();
    let error = ticket.wait(LONG).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    assert_eq!((ticket.status().await.unwrap(), executions(&server)), (State::Uncertain, 1));
}

#[tokio::test]
async fn what_may_be_repeated_is_started_again_after_the_server_forgot_its_task() {
    let takes = |call: u64| if call == 1 { NEVER } else { TAKES };
    let tool = Tool::new("export").answers(json!({ "id": 7 }));
    let tool = tool.decide(move |call| Answer::Done.as_task(takes(call.number)));
    let server = Server::start([tool]).await.unwrap();
    server.speak(Speaks::Modern);
    let runtime = runtime(&server);
    let ticket = ticket(&runtime, export().idempotent().deferrable()).await;
    server.forget_tasks();
    assert_eq!(ticket.wait(LONG).await.unwrap().value(), &json!({ "id": 7 }));
    assert_eq!(executions(&server), 2);
}

#[tokio::test]
async fn a_session_never_says_that_a_call_was_not_sent_whose_task_it_lost_sight_of() {
    let server = server(Answer::Done.only_as_task(NEVER)).await;
    let session = Session::new(Target::http(server.url()), Limits::default());
    session.list_tools(Instant::now() + LONG).await.unwrap();
    let call = |within: Duration| {
        let (session, until) = (session.clone(), Instant::now() + within);
        tokio::spawn(async move { by(until, session.call("export", &Map::new(), until, None)).await })
    };
    let forgotten = call(LONG);
    while server.executions("export").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.forget_tasks();
    assert_eq!(forgotten.await.unwrap().unwrap_err().class(), Class::Network { sent: true });

    let unreachable = call(Duration::from_secs(2));
    while server.executions("export").len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.stop().await;
    assert_eq!(unreachable.await.unwrap().unwrap_err().class(), Class::Timeout);
}

/// How a call ends whose task ends so: for who waits, and for whose job asks.
async fn ends(answer: Answer) -> [Error; 2] {
    let server = server(answer.only_as_task(TAKES)).await;
    let runtime = runtime(&server);
    let waited = call(&runtime, export()).await.unwrap_err();
    let ticket = ticket(&runtime, export().deferrable()).await;
    let put_off = ticket.wait(LONG).await.unwrap_err();
    assert_eq!(ticket.status().await.unwrap(), State::Failed);
    [waited, put_off]
}

#[tokio::test]
async fn a_task_that_failed_is_the_error_of_the_call() {
    let errors = [Answer::rpc_error(-32603, "out of paper"), Answer::tool_error("out of paper"), Answer::Refused];
    for (answer, words) in errors.into_iter().zip(["out of paper", "out of paper", "cancelled"]) {
        for error in ends(answer).await {
            assert!(error.is_service() && format!("{error:?}").contains(words), "{error:?}");
        }
    }
}

#[tokio::test]
async fn what_a_task_ended_with_is_looked_at_as_any_answer_is() {
    let answer = Answer::Value(json!({ "error": "Internal error: connection to the database refused" }));
    for error in ends(answer).await {
        assert!(error.is_service(), "an error that does not say so: {error:?}");
    }
}

#[tokio::test]
async fn at_the_deadline_the_outcome_of_a_write_is_unknown_and_the_server_is_told() {
    let server = server(Answer::Done.only_as_task(NEVER)).await;
    let runtime = runtime(&server);
    runtime.scope(McpResource::new("crm").list_tools()).await.unwrap();
    let deadline = Duration::from_secs(1);
    let until = Instant::now() + deadline;
    let error = by(until, call(&runtime, export().deadline(deadline))).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    is_told(&server).await;
    assert_eq!(executions(&server), 1);
}

async fn is_told(server: &Server) {
    let until = Instant::now() + LONG;
    while server.cancelled_tasks() == 0 {
        assert!(Instant::now() < until, "the server was not told");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_cancelled_job_cancels_its_task() {
    let server = server(Answer::Done.as_task(NEVER)).await;
    let runtime = runtime_of(server.service("crm"), MemoryQueue::new(), false);
    let ticket = ticket(&runtime, export().deferrable()).await;
    let note = Note { by: "anna".to_owned(), text: None };
    runtime.queue().cancel(ticket.job(), note).await.unwrap();
    assert_eq!((server.cancelled_tasks(), ticket.status().await.unwrap()), (1, State::Dead));
}

#[tokio::test]
async fn of_several_endpoints_the_one_is_asked_that_has_the_task() {
    let servers = [server(Answer::Done.as_task(TAKES)).await, server(Answer::Done.as_task(TAKES)).await];
    let service = ServiceConfig::http("crm", servers[0].url()).endpoint(servers[1].url());
    let runtime = runtime_of(service, MemoryQueue::new(), true);
    let mut tickets = Vec::new();
    for year in 0..6 {
        tickets.push(ticket(&runtime, export().args(json!({ "year": year })).deferrable()).await);
    }
    for ticket in tickets {
        assert_eq!(ticket.wait(LONG).await.unwrap().value(), &json!({ "id": 7 }));
    }
    let calls: Vec<Value> = servers.iter().map(|server| json!(server.calls("export"))).collect();
    assert_eq!(servers.iter().map(|server| server.calls("export")).sum::<usize>(), 6, "{calls:?}");
}
