//! A tool that works for long: its call is put off with the number of its task, the program ends, and the next one asks
//! about that task instead of calling the tool again.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are part of the test")]

use poet::config::{Config, ServiceConfig};
use poet::defer::Filter;
use poet::mcp::McpResource;
use poet::mcp::testing::wire::Speaks;
use poet::mcp::testing::{Answer, Server, Tool};
use poet::{Disposition, Runtime};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

/// What a program is made of that is started now.
fn runtime(service: ServiceConfig, database: &Path) -> Runtime {
    let config = Config::default().service(service);
    let builder = Runtime::builder().configuration(config).profile(&poet::domains::MCP_INTEGRATION).database(database);
    builder.seed(7).build().unwrap()
}

#[tokio::test]
async fn a_task_outlives_the_program_that_started_it_and_its_tool_is_called_once() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("poet.db");
    let takes = Duration::from_millis(700);
    let tool = Tool::new("export").answers(json!({ "rows": 12 })).decide(move |_| Answer::Done.as_task(takes));
    let server = Server::start([tool]).await.unwrap();
    server.speak(Speaks::Modern);

    let first = runtime(server.service("warehouse"), &database);
    let export = McpResource::new("warehouse").tool("export").args(json!({ "year": 2026 })).deferrable().call();
    let reply = first.scope(export).await.unwrap();
    assert!(matches!(reply.disposition(), Disposition::Queued(_)), "{:?}", reply.disposition());
    first.shutdown(LONG).await.unwrap();
    drop((first, reply));

    let second = runtime(server.service("warehouse"), &database);
    let job = second.queue().list(&Filter::default(), 10).await.unwrap().remove(0);
    assert!(job.accepted.is_some(), "it is on disk by what the server is asked");
    let ticket = second.queue().ticket(job.id).await.unwrap().unwrap();
    let reply = second.scope(ticket.wait(LONG)).await.unwrap();
    assert_eq!(reply.value(), &json!({ "rows": 12 }));
    assert_eq!((server.calls("export"), server.executed("export", &json!({ "year": 2026 }))), (1, 1));
    assert!(server.asked_about_tasks() > 0);
    second.shutdown(LONG).await.unwrap();
}
