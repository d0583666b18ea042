//! The main job as declared steps: what the dry run says is what then happens, and what happens when a branch fails.
//!
//! The servers are those of the example, over HTTP; what they were asked and what they executed is read from their own
//! books.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are part of the test")]
#![expect(dead_code, reason = "the module belongs to the example, which uses all of it")]

#[path = "../examples/customer_sync/servers/mod.rs"]
mod servers;

use poet::config::{CacheConfig, Config, ServiceConfig, ToolConfig};
use poet::defer::JobId;
use poet::mcp::McpResource;
use poet::plan::{self, Mode, Outcome, Plan, Progress, State, Status, Step, Undo};
use poet::{Error, Runtime};
use serde_json::{Value, json};
use servers::ledger::{self, Ledger};
use servers::services::{self, Service};
use servers::station::Station;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// The four services, each with its faults, and a runtime that knows them.
struct World {
    folder: TempDir,
    runtime: Runtime,
}

impl World {
    /// Faults are given by the name of the service; the others have none.
    async fn with(faults: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        for service in &services::ALL {
            let pattern =
                faults.iter().find(|(name, _)| *name == service.name).map_or("takes 10ms", |(_, faults)| faults);
            let url = serve(service, folder.path(), pattern).await;
            let tool = match service.name {
                "customer_database" => ToolConfig::default().read_only().cache(kept()),
                _ => ToolConfig::default().idempotent(),
            };
            config = config.service(ServiceConfig::http(service.name, url).tool(service.tool, tool));
        }
        let database = folder.path().join("poet.db");
        let runtime = Runtime::builder().configuration(config).database(database).seed(7).build().unwrap();
        Self { folder, runtime }
    }

    /// How many requests a service got, and how many records it executed.
    fn counted(&self, service: &str) -> (u32, u32) {
        let ledger = Ledger::open(self.folder.path(), services::named(service).unwrap()).unwrap();
        let counts = ledger.counts().unwrap();
        (counts.requests, counts.executions)
    }

    fn contact(&self) -> String {
        let path = ledger::path(self.folder.path(), services::named("salesforce_crm").unwrap());
        let contacts = rusqlite::Connection::open(path).unwrap();
        contacts.query_row("SELECT name FROM contacts WHERE id = 'C-00042'", [], |row| row.get(0)).unwrap()
    }
}

/// Kept for as long as is stated: where it is learned, some of the hits are asked again to learn from.
fn kept() -> CacheConfig {
    CacheConfig { ttl: Some(Duration::from_secs(300)), ..CacheConfig::default() }
}

async fn serve(service: &'static Service, folder: &Path, pattern: &str) -> String {
    let station = Station::open(service, folder, pattern.parse().unwrap()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(station.serve_http(listener));
    format!("http://{address}/mcp")
}

fn update(name: &str, service: &'static str) -> Step {
    let tool = services::named(service).unwrap().tool;
    let customer = json!({
        "id": "$customer.id", "name": "$customer.name", "email": "$customer.email", "plan": "$customer.plan",
    });
    Step::new(name).call(McpResource::new(service).tool(tool), customer)
}

/// Who the customer is, then everybody who has to know; nobody waits for the warehouse.
fn sync() -> Plan {
    plan::named("customer_data_sync").input("id", "C-00042").step(
        Step::new("customer").call(McpResource::new("customer_database").tool("get_customer"), json!({ "id": "$id" })),
    )
}

fn reference() -> Plan {
    sync()
        .step(update("crm", "salesforce_crm"))
        .step(update("billing", "billing_system"))
        .step(update("analytics", "analytics_warehouse").queued())
}

fn states(outcome: &Outcome) -> Vec<(&str, State)> {
    outcome.steps.iter().map(|step| (step.name.as_str(), step.state)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_does_what_the_dry_run_said() {
    let world = World::with(&[("salesforce_crm", "takes 60ms"), ("billing_system", "takes 60ms")]).await;
    let said = reference().explain(&world.runtime).unwrap();
    println!("{said}\n");
    let lines: Vec<_> = said.steps.iter().map(|step| (step.name.as_str(), step.stage, step.mode)).collect();
    assert_eq!(
        lines,
        [
            ("customer", 1, Mode::CacheFirst),
            ("crm", 2, Mode::Now),
            ("billing", 2, Mode::Now),
            ("analytics", 2, Mode::Queued),
        ]
    );
    assert_eq!(world.counted("customer_database"), (0, 0), "a dry run sends nothing");

    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = seen.clone();
    let plan = reference().on_progress(move |progress| match progress {
        Progress::Started(step) => heard.lock().unwrap().push(step.to_owned()),
        Progress::Ended(step) => heard.lock().unwrap().push(format!("/{}", step.name)),
        _ => {}
    });
    let outcome = plan.run_in(&world.runtime).await.unwrap();
    println!("{:#}", outcome.to_json());

    let seen = seen.lock().unwrap().clone();
    let started: Vec<_> = seen.iter().filter(|event| !event.starts_with('/')).collect();
    assert_eq!(started, ["customer", "crm", "billing", "analytics"], "in the order of the dry run");
    assert_eq!(seen[..2], ["customer", "/customer"], "the first stage ends before the second begins");
    let ended = |step: &str| seen.iter().position(|event| event == step).unwrap();
    assert!(ended("/crm") > ended("billing") && ended("/billing") > ended("crm"), "at the same time: {seen:?}");

    assert_eq!(outcome.status, Status::Partial, "the warehouse is still to come");
    let modes: Vec<_> = outcome.steps.iter().map(|step| step.mode.as_deref().unwrap()).collect();
    assert_eq!(modes, ["done", "done", "done", "queued"], "nothing was in the cache yet");
    assert!(outcome.json::<Value>("analytics").unwrap_err().is_pending());

    let put_off = outcome.step("analytics").unwrap().put_off.as_ref().unwrap();
    let id: JobId = put_off.ticket.parse().unwrap();
    let ticket = world.runtime.queue().ticket(id).await.unwrap().unwrap();
    let answer = ticket.wait(Duration::from_secs(20)).await.unwrap();
    assert_eq!(answer.value(), &json!({ "id": "C-00042", "done": true }));
    for service in &services::ALL {
        assert_eq!(world.counted(service.name), (1, 1), "{}", service.name);
    }

    let again = reference().run_in(&world.runtime).await.unwrap();
    assert_eq!(again.step("customer").unwrap().mode.as_deref(), Some("cached"));
    assert_eq!(world.counted("customer_database"), (1, 1), "as the dry run said, the cache comes first");
}

/// Billing rejects everybody, at once; the CRM takes its time, and the warehouse comes after it.
async fn rejected() -> World {
    World::with(&[("billing_system", "calls 1 to 1000 are rejected"), ("salesforce_crm", "takes 60ms")]).await
}

fn branches(billing: Step) -> Plan {
    sync()
        .step(update("crm", "salesforce_crm"))
        .step(billing)
        .step(update("analytics", "analytics_warehouse").after("crm"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_branch_stops_the_others_unless_they_are_to_go_on() {
    let world = rejected().await;
    let stopped = branches(update("billing", "billing_system")).run_in(&world.runtime).await.unwrap();
    let expected = |analytics| {
        [("customer", State::Done), ("crm", State::Done), ("billing", State::Failed), ("analytics", analytics)]
    };
    assert_eq!(states(&stopped), expected(State::NotStarted));

    let world = rejected().await;
    let went_on = branches(update("billing", "billing_system")).keep_going().run_in(&world.runtime).await.unwrap();
    assert_eq!(states(&went_on), expected(State::Done));
    assert_eq!((went_on.status, went_on.completed_steps, went_on.total_steps), (Status::Failed, 3, 4));
    assert_eq!(world.counted("analytics_warehouse"), (1, 1));
    let error: Error = went_on.into_result().unwrap_err();
    assert!(error.is_service() && error.to_string().contains("rejects this record"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_plan_can_do_without_leaves_a_partial_result() {
    let world = rejected().await;
    let receipt = Step::new("receipt")
        .call(McpResource::new("salesforce_crm").tool("update_contact"), json!({ "id": "$billing.id" }));
    let plan = branches(update("billing", "billing_system").optional()).step(receipt).keep_going();
    let outcome = plan.run_in(&world.runtime).await.unwrap();
    assert_eq!(
        states(&outcome),
        [
            ("customer", State::Done),
            ("crm", State::Done),
            ("billing", State::Failed),
            ("analytics", State::Done),
            ("receipt", State::Skipped),
        ]
    );
    assert_eq!((outcome.success, outcome.status), (false, Status::Partial));
    assert_eq!(world.counted("salesforce_crm"), (1, 1), "what needs the bill is not sent");
    assert!(outcome.into_result().is_ok(), "nothing failed that has to succeed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_before_a_failure_is_undone() {
    let world = World::with(&[("billing_system", "calls 1 to 1000 are rejected")]).await;
    let before = json!({ "id": "$customer.id", "name": "as before", "email": "$customer.email", "plan": "free" });
    let crm = || McpResource::new("salesforce_crm").tool("update_contact");
    let plan = sync()
        .step(update("crm", "salesforce_crm").compensate(crm(), before))
        .step(update("billing", "billing_system").after("crm"))
        .step(update("analytics", "analytics_warehouse").after("billing").queued());
    let outcome = plan.run_in(&world.runtime).await.unwrap();
    assert_eq!(
        states(&outcome),
        [
            ("customer", State::Done),
            ("crm", State::Compensated),
            ("billing", State::Failed),
            ("analytics", State::NotStarted),
        ]
    );
    assert_eq!(outcome.status, Status::Failed);
    assert_eq!(outcome.step("crm").unwrap().compensation, Some(Undo::Done));
    assert_eq!((world.counted("salesforce_crm"), world.contact()), ((2, 2), "as before".to_owned()));
    assert_eq!(world.counted("analytics_warehouse"), (0, 0));
}
