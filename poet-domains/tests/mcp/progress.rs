//! A server that reports progress is waited for beyond the limit of an attempt, over every transport; one that only
//! repeats itself is not, and no report carries a call over its deadline.

use crate::clock::by;
use crate::streams::{LONG, PACE, Play, connected};
use crate::{sse_faults, stdio_faults};
use poet_domains::MCP_INTEGRATION;
use poet_domains::mcp::testing::wire::Speaks;
use poet_domains::mcp::testing::{Answer, Server, Tool};
use poet_domains::mcp::{McpResource, Target};
use poet_runtime::config::{Config, ServiceConfig};
use poet_runtime::service::Request;
use poet_runtime::{Error, Reply, Runtime};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than the time between two reports by much, and shorter than all of them together.
const LIMIT: Duration = Duration::from_millis(600);
const REPORTS: u32 = 8;

/// Calls a tool, giving up an attempt after [`LIMIT`].
async fn call(target: Target) -> Result<Reply, Error> {
    let runtime = Runtime::builder().configuration(Config::default()).in_memory().seed(7).build().unwrap();
    let request = Request {
        timeout: Some(LIMIT),
        retries: Some(0),
        deadline: Some(LONG),
        repeatable: true,
        ..Request::new("crm", "write", &MCP_INTEGRATION)
    };
    runtime.request(request, Arc::new(connected(target).await)).await
}

async fn is_waited_for(rising: Target, repeating: Target) {
    assert!(PACE * REPORTS > LIMIT);
    assert_eq!(call(rising).await.unwrap().value(), &json!("done"));
    let error = call(repeating).await.unwrap_err();
    assert!(error.is_timeout(), "what does not advance is no progress: {error}");
}

#[tokio::test]
async fn a_child_that_reports_progress_is_waited_for() {
    is_waited_for(stdio_faults::target("reports"), stdio_faults::target("repeats")).await;
}

#[tokio::test]
async fn a_stream_of_events_that_reports_progress_is_waited_for() {
    let play = |rising| move |_| Play::Reports { rising, reports: REPORTS };
    let (rising, repeating) =
        (sse_faults::Server::start(play(true)).await, sse_faults::Server::start(play(false)).await);
    is_waited_for(rising.target(), repeating.target()).await;
}

#[cfg(feature = "websocket")]
#[tokio::test]
async fn a_socket_that_reports_progress_is_waited_for() {
    use crate::websocket_faults::Server;
    let play = |rising| move |_| Play::Reports { rising, reports: REPORTS };
    let (rising, repeating) = (Server::start(play(true)).await, Server::start(play(false)).await);
    is_waited_for(rising.target(), repeating.target()).await;
}

fn slow(reports: u32) -> Tool {
    Tool::new("export").script([Answer::Value(json!({ "id": 7 })).after_reports(reports, PACE)])
}

/// Calls the tool of a server over streamable HTTP, by its name.
async fn export(service: ServiceConfig, deadline: Duration) -> Result<Reply, Error> {
    let config = Config::default().service(service.timeout(LIMIT));
    let runtime = Runtime::builder().configuration(config).in_memory().seed(7).build().unwrap();
    runtime.scope(McpResource::new("crm").list_tools()).await.expect("the server can be connected to");
    let until = Instant::now() + deadline;
    let call = McpResource::new("crm").tool("export").retries(0).deadline(deadline).call();
    by(until, runtime.scope(call)).await
}

#[tokio::test]
async fn a_response_that_reports_progress_is_waited_for_in_either_era() {
    for revision in [Speaks::Legacy, Speaks::Modern] {
        let server = Server::start([slow(REPORTS)]).await.unwrap();
        server.speak(revision);
        let reply = export(server.service("crm"), LONG).await.unwrap();
        assert_eq!((reply.value(), reply.attempts()), (&json!({ "id": 7 }), 1), "{revision:?}");
    }
}

#[tokio::test]
async fn no_report_carries_a_call_over_its_deadline() {
    let server = Server::start([slow(60)]).await.unwrap();
    let error = export(server.service("crm"), 2 * LIMIT).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "it is a write, and was sent: {error}");
    assert_eq!(server.executions("export").len(), 1);
}

#[tokio::test]
async fn where_progress_is_not_to_count_the_limit_is_hard() {
    let server = Server::start([slow(60)]).await.unwrap();
    let began = Instant::now();
    let error = export(server.service("crm").progress_extends(false), LONG).await.unwrap_err();
    assert!(error.is_outcome_unknown() && began.elapsed() < LONG / 2, "{error}");
}
