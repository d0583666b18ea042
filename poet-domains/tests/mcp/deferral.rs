//! A tool call that is put off while its server is down, and made when it is back, by whoever has its queue then.

use crate::server::{Action, Server, http};
use poet_domains::MCP_INTEGRATION;
use poet_domains::mcp::McpResource;
use poet_runtime::config::{Config, QueueConfig, ServiceConfig, ToolConfig};
use poet_runtime::defer::{MemoryQueue, Reason, State};
use poet_runtime::{Builder, Disposition, Runtime};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A server that is down until it is told to be well, and what is configured about it.
async fn server() -> (Server, Arc<AtomicBool>, ServiceConfig) {
    let well = Arc::new(AtomicBool::new(false));
    let server = Server::start({
        let well = well.clone();
        move |asked| if well.load(Ordering::SeqCst) { asked.done() } else { Action::Send(http(503, &[], b"down")) }
    })
    .await;
    let tool = ToolConfig { deferrable: Some(true), ..ToolConfig::default() };
    let config = ServiceConfig::http("crm", server.url())
        .tool("write", tool)
        .pin("breaker.failure_threshold", 2)
        .pin("breaker.open_for", 1);
    (server, well, config)
}

fn builder(service: &ServiceConfig, queue: QueueConfig) -> Builder {
    let config = Config { queue, ..Config::default().service(service.clone()) };
    Runtime::builder().configuration(config).profile(&MCP_INTEGRATION).seed(7)
}

#[tokio::test]
async fn a_write_to_a_server_that_is_down_is_made_once_when_it_is_back() {
    let (server, well, service) = server().await;
    let runtime = builder(&service, QueueConfig::default()).in_memory().build().unwrap();
    let write = || McpResource::new("crm").tool("write").args(json!({ "key": "k" })).call();
    for _ in 0..2 {
        // Each may have been executed as far as anybody can tell, so neither is put off.
        assert!(runtime.scope(write()).await.unwrap_err().is_service());
    }
    let before = server.executions()["k"];
    let reply = runtime.scope(write()).await.unwrap();
    let Disposition::Deferred(ticket) = reply.disposition() else { panic!("{:?}", reply.disposition()) };
    assert_eq!(ticket.reason(), Reason::ServiceDegraded);
    well.store(true, Ordering::SeqCst);
    let answer = ticket.wait(Duration::from_secs(20)).await.unwrap();
    assert_eq!(answer.value(), &json!("done"));
    assert_eq!(server.executions()["k"], before + 1);
}

#[tokio::test]
async fn what_one_process_put_off_another_one_makes_that_has_the_same_queue() {
    let (server, well, service) = server().await;
    let queue = MemoryQueue::new();
    let idle = QueueConfig { work: false, ..QueueConfig::default() };
    let first = builder(&service, idle).in_memory().queue(queue.clone()).build().unwrap();
    let write = McpResource::new("crm").tool("write").args(json!({ "key": "k" })).queued().call();
    let reply = first.scope(write).await.unwrap();
    let ticket = reply.disposition().ticket().cloned().unwrap();
    first.shutdown(Duration::from_secs(5)).await.unwrap();
    drop(first);
    assert!(!server.executions().contains_key("k"));

    well.store(true, Ordering::SeqCst);
    let second = builder(&service, QueueConfig::default()).in_memory().queue(queue.clone()).build().unwrap();
    let reply = second.scope(ticket.wait(Duration::from_secs(20))).await.unwrap();
    assert_eq!(reply.value(), &json!("done"));
    assert_eq!(ticket.status().await.unwrap(), State::Done);
    assert_eq!(server.executions()["k"], 1);
}
