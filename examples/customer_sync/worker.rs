//! What a user of the framework writes: one annotated function, and a runtime for it.

use crate::command::Shift;
use crate::customers::{Finished, Made, Move};
use crate::fleet;
use crate::servers::services::{self, Transport};
use anyhow::Context;
use poet::config::{Config, QueueConfig, ServiceConfig, ToolConfig};
use poet::defer::State;
use poet::mcp::McpResource;
use poet::report::{Report, text};
use poet::store::{OutcomeRow, SqliteStore, Store};
use poet::{Clock, Disposition, Ending, Error, Priority, Reply, Runtime, poet};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What can be asked for a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    UpdateCrm,
    SyncBilling,
    UpdateAnalytics,
}

/// What the customer database knows of a customer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Customer {
    id: String,
    name: String,
    email: String,
    plan: String,
}

/// What was done for a customer.
#[derive(Clone, Debug)]
pub(crate) struct Processed {
    pub(crate) customer: Customer,
    pub(crate) completed: Vec<&'static str>,
    pub(crate) warnings: Vec<String>,
    pub(crate) moves: Vec<Move>,
}

/// Brings the services in step with what the customer database says. No retry, timeout or breaker is written here.
#[poet(domain = "mcp_integration", learning = "on", priority = priority, deadline = "3s")]
async fn process_customer_data(id: &str, operations: &[Operation], priority: Priority) -> Result<Processed, Error> {
    let customer = McpResource::new("customer_database").call_tool("get_customer", json!({ "id": id })).await?;
    let mut completed = Vec::new();
    let mut moves = Vec::new();
    for operation in operations {
        let (service, tool, marker) = match operation {
            Operation::UpdateCrm => ("salesforce_crm", "update_contact", "crm_updated"),
            Operation::SyncBilling => ("billing_system", "sync_customer", "billing_synced"),
            Operation::UpdateAnalytics => ("analytics_warehouse", "upsert_customer", "analytics_updated"),
        };
        let reply = McpResource::new(service).call_tool(tool, customer.value()).await?;
        moves.extend(moved(service, tool, &reply));
        completed.push(marker);
    }
    Ok(Processed { customer: customer.json()?, completed, warnings: poet::warnings(), moves })
}

/// Writes to the customer what was done. The customer was looked up a moment ago, so the cache answers.
#[poet(domain = "mcp_integration", deadline = "3s")]
async fn notify(id: &str) -> Result<(Customer, Option<Move>), Error> {
    let customer = McpResource::new("customer_database").call_tool("get_customer", json!({ "id": id })).await?;
    Ok((customer.json()?, moved("customer_database", "get_customer", &customer)))
}

/// What became of a call that was not simply made.
fn moved(service: &str, tool: &str, reply: &Reply) -> Option<Move> {
    let (how, why) = match reply.disposition() {
        Disposition::Cached { age } => ("cached", format!("the service answered {} ms ago", age.as_millis())),
        Disposition::Coalesced => ("joined", "an identical call was under way".to_owned()),
        Disposition::Batched { size } => ("batched", format!("made as one of {size}")),
        Disposition::Deferred(ticket) => ("deferred", ticket.reason().as_str().to_owned()),
        Disposition::Queued(ticket) => ("queued", ticket.reason().as_str().to_owned()),
        Disposition::Fallback { reason } => ("fallback", reason.clone()),
        _ => return None,
    };
    Some(Move { call: format!("{service}.{tool}"), how: how.to_owned(), why })
}

/// Everything a customer can be asked for, in the order in which the caller happens to ask.
const EVERYTHING: [Operation; 3] = [Operation::UpdateCrm, Operation::SyncBilling, Operation::UpdateAnalytics];

/// Processes the customers of a shift, and tells of each as it ends.
pub(crate) async fn work(shift: &Shift, mut tell: impl FnMut(&Finished) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let runtime = Runtime::builder()
        .configuration(services(shift)?)
        .database(database(&shift.folder))
        .seed(shift.seed)
        .build()?;
    runtime.clone().install()?;

    let mut waiting = (1..=shift.customers).map(|number| shift.skip + number);
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() < shift.parallel
            && let Some(number) = waiting.next()
        {
            under_way.spawn(process(number));
        }
        let Some(finished) = under_way.join_next().await else { break };
        tell(&finished.context("a customer's task panicked")?)?;
    }
    // What was put off is made before the process ends; otherwise the next one would make it.
    tokio::time::timeout(PATIENCE, drained(&runtime)).await.context("calls that were put off are still not made")??;
    Ok(runtime.shutdown(Duration::from_secs(5)).await?)
}

/// Waits until nothing that was put off is still to be made.
async fn drained(runtime: &Runtime) -> anyhow::Result<()> {
    loop {
        let counts = runtime.queue().counts().await.context("looking at the calls that were put off")?;
        if counts.of(State::Pending) + counts.of(State::Leased) == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How long the calls that were put off may take in the end.
const PATIENCE: Duration = Duration::from_secs(30);

async fn process(number: u32) -> Finished {
    let id = format!("C-{number:05}");
    let priority = match number % 10 {
        0 => Priority::High,
        // Nobody waits for these.
        5 => Priority::Low,
        _ => Priority::Normal,
    };
    let began = Instant::now();
    let result = process_customer_data(&id, &EVERYTHING, priority).await;
    let elapsed = began.elapsed();
    let (error, warnings, mut moves) = match result {
        Ok(processed) if processed.customer.id != id => (Some(format!("asked for {id}")), processed.warnings, vec![]),
        Ok(processed) if processed.completed.len() != EVERYTHING.len() => {
            (Some("incomplete".to_owned()), processed.warnings, processed.moves)
        }
        Ok(processed) => (None, processed.warnings, processed.moves),
        Err(error) => (Some(error.to_string()), Vec::new(), Vec::new()),
    };
    if let (None, Ok((customer, look))) = (&error, notify(&id).await) {
        debug_assert_eq!(customer.id, id, "an answer about somebody else");
        moves.extend(look);
    }
    Finished { id, error, elapsed, warnings, moves }
}

/// The world of the example runs fifty times as fast as the scenario, and so does the minute a circuit stays open.
const OPEN_FOR: f64 = 1.2;

/// And so do the thirty seconds after which a call that was put off is tried again.
const BACKOFF: Duration = Duration::from_millis(600);

/// How the four services are reached. Their word on what may be repeated is believed: they are ours.
fn services(shift: &Shift) -> anyhow::Result<Config> {
    let program = std::env::current_exe()?.into_os_string();
    let program = program.into_string().ok().context("the path of this program is no text")?;
    let queue = QueueConfig { backoff: BACKOFF, ..QueueConfig::default() };
    let mut config = Config { queue, ..Config::default() };
    for service in &services::ALL {
        let configured = match service.transport {
            Transport::Http => {
                let address = shift.addresses.iter().find(|(name, _)| name == service.name);
                let (_, url) = address.with_context(|| format!("nobody said where {} is", service.name))?;
                ServiceConfig::http(service.name, url)
            }
            Transport::Stdio => {
                let mut configured = ServiceConfig::stdio(service.name, &program);
                for argument in fleet::arguments(service, &shift.folder, shift.seed) {
                    configured = configured.arg(argument.into_string().ok().context("the folder's path is no text")?);
                }
                configured
            }
        };
        config = config.service(tools(configured, service).trusted().pin("breaker.open_for", OPEN_FOR));
    }
    Ok(config)
}

/// What may be done with the calls of a service beside making them one by one, at once.
fn tools(configured: ServiceConfig, service: &services::Service) -> ServiceConfig {
    let unset = ToolConfig::default();
    let tool = match service.name {
        "customer_database" => unset.read_only().cacheable(),
        "salesforce_crm" => unset.idempotent().deferrable(),
        "billing_system" => unset.idempotent().queued(Priority::Low),
        _ => unset.idempotent(),
    };
    let tool = match service.bulk {
        Some(bulk) => tool.batch(bulk.tool, bulk.items, bulk.results),
        None => tool,
    };
    configured.tool(service.tool, tool)
}

fn database(folder: &Path) -> PathBuf {
    folder.join("poet.db")
}

/// The calls of the newest run, from the database it left.
pub(crate) async fn calls(folder: &Path) -> anyhow::Result<Vec<Made>> {
    let mut store = SqliteStore::open(database(folder))?;
    let outcomes = store.outcomes(None, usize::MAX).await?;
    let newest = outcomes.first().map(|row| row.run.clone());
    // What the layer asks a server about its tools, and the function around the calls, are not calls of a customer's.
    let is_call = |row: &OutcomeRow| {
        services::named(&row.target.service).is_some_and(|service| service.tool == row.target.operation)
    };
    // What was put off has an outcome of its own when it is made.
    let is_made = |row: &OutcomeRow| !matches!(row.ending, Ending::Deferred | Ending::Queued);
    let is_of_run = |row: &OutcomeRow| Some(&row.run) == newest.as_ref();
    let of_run = outcomes.into_iter().filter(|row| is_of_run(row) && is_call(row) && is_made(row));
    let made = of_run.map(|row| Made {
        service: row.target.service,
        succeeded: matches!(row.ending, Ending::Done | Ending::Cached | Ending::Batched | Ending::Coalesced),
        attempts: u32::from(row.attempts),
        elapsed: row.elapsed,
    });
    Ok(made.collect())
}

/// What the runs have learned, with the evidence.
pub(crate) async fn learned(folder: &Path) -> anyhow::Result<String> {
    let mut store = SqliteStore::open(database(folder))?;
    let clock = Clock::system();
    let report = Report::gather(&mut store, clock.anchor().wall(clock.now())).await?;
    Ok(format!("What was learned, and from what:\n\n{}", text::parameters(&report, text::Style::Plain)))
}
