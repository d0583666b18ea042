//! The servers of the example, each asked by a plain MCP client: what a user of the framework builds on has to be true
//! before the framework comes into it.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are part of the test")]
#![expect(dead_code, reason = "the module belongs to the example, which uses all of it")]

#[path = "../examples/customer_sync/servers/mod.rs"]
mod servers;

use rmcp::ServiceExt;
use rmcp::model::{CallToolRequestParams, CallToolResult, JsonObject};
use rmcp::service::{RoleClient, RunningService};
use serde_json::{Value, json};
use servers::ledger::Ledger;
use servers::services::{self, Service};
use servers::station::Station;
use std::path::Path;

type Client = RunningService<RoleClient, ()>;

/// A client of the service, which is served in this process.
async fn client(service: &'static Service, folder: &Path, pattern: &str) -> Client {
    let station = Station::open(service, folder, pattern.parse().unwrap()).unwrap();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move { station.serve(theirs).await.unwrap().waiting().await });
    ().serve(ours).await.unwrap()
}

async fn call(client: &Client, tool: &'static str, arguments: Value) -> CallToolResult {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    client.call_tool(request(tool, arguments)).await.unwrap()
}

fn request(tool: &'static str, arguments: JsonObject) -> CallToolRequestParams {
    CallToolRequestParams::new(tool).with_arguments(arguments)
}

fn text(result: &CallToolResult) -> String {
    serde_json::to_string(&result.content).unwrap()
}

fn service(name: &str) -> &'static Service {
    services::named(name).unwrap()
}

#[test]
fn every_stated_pattern_is_shown_as_it_was_written() {
    for service in &services::ALL {
        let pattern: poet_simulator::Pattern = service.pattern.parse().unwrap();
        assert_eq!(pattern.to_string(), service.pattern, "{}", service.name);
    }
}

#[tokio::test]
async fn every_tool_is_listed_with_true_hints() {
    let folder = tempfile::tempdir().unwrap();
    for service in &services::ALL {
        let client = client(service, folder.path(), "").await;
        let tools = client.list_all_tools().await.unwrap();
        let named: Vec<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
        let expected: Vec<_> = std::iter::once(service.tool).chain(service.bulk.map(|bulk| bulk.tool)).collect();
        assert_eq!(named, expected);
        for tool in &tools {
            let hints = tool.annotations.clone().unwrap();
            assert_eq!(hints.read_only_hint, Some(tool.name == "get_customer"));
            assert_eq!(hints.idempotent_hint, Some(true));
            let about = if tool.name == service.tool { "id" } else { service.bulk.unwrap().items };
            assert!(tool.input_schema["properties"][about].is_object());
        }
        client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn a_customer_passes_all_four_services() {
    let folder = tempfile::tempdir().unwrap();
    let database = client(service("customer_database"), folder.path(), "").await;
    let customer = call(&database, "get_customer", json!({ "id": "C-00042" })).await.structured_content.unwrap();
    assert_eq!(customer["email"], "customer42@example.com");
    for service in services::ALL.iter().filter(|service| service.name != "customer_database") {
        let client = client(service, folder.path(), "").await;
        let result = call(&client, service.tool, customer.clone()).await;
        assert_eq!(result.structured_content, Some(json!({ "id": "C-00042", "done": true })), "{}", service.name);
        let counts = Ledger::open(folder.path(), service).unwrap().counts().unwrap();
        assert_eq!((counts.requests, counts.executions, counts.repeated), (1, 1, 0));
    }
}

#[tokio::test]
async fn a_bulk_tool_does_for_each_of_a_list_what_the_other_does_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let analytics = service("analytics_warehouse");
    let client = client(analytics, folder.path(), "").await;
    let customer = |id: &str| json!({ "id": id, "name": "A", "email": "a@example.com", "plan": "team" });
    let customers = json!({ "customers": [customer("C-1"), customer("C-2")] });
    let answer = call(&client, "upsert_customers", customers).await.structured_content.unwrap();
    assert_eq!(answer, json!({ "results": [{ "id": "C-1", "done": true }, { "id": "C-2", "done": true }] }));
    let counts = Ledger::open(folder.path(), analytics).unwrap().counts().unwrap();
    assert_eq!((counts.requests, counts.executions, counts.repeated), (1, 2, 0));
    let one_is_wrong = json!({ "customers": [customer("C-3"), { "id": 4 }] });
    assert_eq!(call(&client, "upsert_customers", one_is_wrong).await.is_error, Some(true));
    assert_eq!(Ledger::open(folder.path(), analytics).unwrap().counts().unwrap().executions, 2, "all or nothing");
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_as_an_error_of_the_tool() {
    let folder = tempfile::tempdir().unwrap();
    let database = client(service("customer_database"), folder.path(), "").await;
    let unknown = call(&database, "get_customer", json!({ "id": "C-99999" })).await;
    assert!(unknown.is_error == Some(true) && text(&unknown).contains("404"), "{unknown:?}");
    let wrong = call(&database, "get_customer", json!({ "id": 42 })).await;
    assert!(wrong.is_error == Some(true) && text(&wrong).contains("400"), "{wrong:?}");
    let Value::Object(arguments) = json!({ "id": "C-00001" }) else { unreachable!() };
    assert!(database.call_tool(request("drop_customer", arguments)).await.is_err());
}

#[tokio::test]
async fn a_failed_call_says_503_and_executes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let billing = service("billing_system");
    let client = client(billing, folder.path(), "first attempt of each key fails").await;
    let customer = json!({ "id": "C-00001", "name": "A", "email": "a@example.com", "plan": "team" });
    let first = call(&client, "sync_customer", customer.clone()).await;
    assert!(first.is_error == Some(true) && text(&first).contains("temporarily unavailable"), "{first:?}");
    let books = || Ledger::open(folder.path(), billing).unwrap().counts().unwrap();
    assert_eq!((books().requests, books().executions), (1, 0));
    assert_ne!(call(&client, "sync_customer", customer.clone()).await.is_error, Some(true));
    assert_ne!(call(&client, "sync_customer", customer).await.is_error, Some(true));
    assert_eq!((books().requests, books().executions, books().repeated), (3, 2, 1));
}

#[tokio::test]
async fn a_service_that_is_started_again_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let crm = service("salesforce_crm");
    let customer = json!({ "id": "C-00001", "name": "A", "email": "a@example.com", "plan": "team" });
    for expected in [Some(true), Some(false), Some(true)] {
        let client = client(crm, folder.path(), "calls 1 to 1 fail; calls 3 to 3 are rejected").await;
        assert_eq!(call(&client, "update_contact", customer.clone()).await.is_error, expected);
        client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_answer_was_executed_and_a_hanging_call_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let analytics = service("analytics_warehouse");
    let client = client(analytics, folder.path(), "calls 1 to 1 are lost; calls 2 to 2 hang").await;
    let Value::Object(customer) = json!({ "id": "C-1", "name": "A", "email": "a@example.com", "plan": "team" }) else {
        unreachable!()
    };
    let books = || {
        let counts = Ledger::open(folder.path(), analytics).unwrap().counts().unwrap();
        (counts.requests, counts.executions)
    };
    for expected in [(1, 1), (2, 1)] {
        let seen = async {
            while books() != expected {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            answer = client.call_tool(request("upsert_customer", customer.clone())) => panic!("answered: {answer:?}"),
            () = seen => {}
        }
    }
    // What hung would have been executed before the call after it.
    client.call_tool(request("upsert_customer", customer)).await.unwrap();
    assert_eq!(books(), (3, 2));
}
