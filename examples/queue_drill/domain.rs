//! The domain of the drill: a profile, and who sends its requests to the server, a line for each.
//!
//! Breaker, retries and budget are those of every call. Only the limit of an attempt is pinned: a shorter one that was
//! learned would let a repeatable job be executed again although nobody was killed, and the count could not tell why.

use anyhow::Context;
use poet::config::{Config, Endpoint, QueueConfig, ServiceConfig, ToolConfig};
use poet::service::{AttemptContext, Caller, Failure, Fetched, Request};
use poet::store::BoxFuture;
use poet::{Class, Error, Profile, Runtime};
use serde_json::{Value, json};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

pub(crate) static DRILL: Profile = Profile {
    base_delay: Duration::from_millis(20),
    open_for: Duration::from_secs(1),
    caller: Some(find),
    ..Profile::named("drill")
};

pub(crate) const SERVICE: &str = "ledger";

/// The operation whose jobs may come in any order, and the one whose jobs keep it by their argument `order`.
pub(crate) const COUNT: &str = "count";
pub(crate) const COUNT_IN_ORDER: &str = "count_in_order";

/// The argument by which the server knows a job.
pub(crate) const KEY: &str = "key";

/// What a process of the drill is told about the others.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct World {
    pub(crate) database: std::path::PathBuf,
    pub(crate) server: u16,
    pub(crate) lease: Duration,
}

impl World {
    /// The runtime of a process; only those of workers make jobs.
    pub(crate) fn runtime(&self, works: bool) -> anyhow::Result<Runtime> {
        let mut service = ServiceConfig::named(SERVICE)
            .pin("timeout.attempt", 10)
            .tool(COUNT_IN_ORDER, ToolConfig::default().order_by("order"));
        service.endpoints.push(Endpoint::new(format!("tcp://127.0.0.1:{}", self.server)));
        let queue = QueueConfig {
            work: works,
            concurrency: 16,
            lease: self.lease,
            backoff: Duration::from_millis(50),
            max_pending: 10_000_000,
            // However often its worker is killed, a job is not given up.
            max_attempts: 1000,
            ..QueueConfig::default()
        };
        let config = Config { queue, ..Config::default() }.service(service);
        let database: &Path = &self.database;
        Runtime::builder().configuration(config).database(database).profile(&DRILL).build().context("making a runtime")
    }
}

/// Finds the server by what is configured.
pub(crate) fn find(runtime: &Runtime, service: &str) -> Result<Arc<dyn Caller>, Error> {
    let endpoint = runtime.service(service)?.endpoints.first().and_then(|endpoint| endpoint.url.strip_prefix("tcp://"));
    let address = endpoint.ok_or_else(|| Error::configuration("the server has no address"))?.to_owned();
    Ok(Arc::new(Client { address, idle: runtime.extension() }))
}

/// Connections that nobody uses just now.
#[derive(Debug, Default)]
struct Idle(Mutex<Vec<BufReader<TcpStream>>>);

#[derive(Debug)]
struct Client {
    address: String,
    idle: Arc<Idle>,
}

impl Client {
    /// One request over a connection of its own; one that is given up in the middle is not used again.
    async fn ask(&self, request: &Request) -> Result<Fetched, Failure> {
        let not_sent = |error: io::Error| Failure::new(Class::Network { sent: false }, error);
        let lost = |error: io::Error| Failure::new(Class::Network { sent: true }, error);
        let key = request.arguments.get(KEY).and_then(Value::as_str);
        let key = key.ok_or_else(|| Failure::new(Class::Permanent, "a job without a key"))?;
        let idle = || self.idle.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle().pop();
        let mut line = match waiting {
            Some(line) => line,
            None => BufReader::new(TcpStream::connect(&self.address).await.map_err(not_sent)?),
        };
        line.get_ref().set_nodelay(true).map_err(not_sent)?;
        line.get_mut().write_all(format!("{key}\n").as_bytes()).await.map_err(lost)?;
        let mut said = String::new();
        line.read_line(&mut said).await.map_err(lost)?;
        idle().push(line);
        match said.trim() {
            "done" => Ok(json!({ KEY: key }).into()),
            "refused" => Err(Failure::new(Class::Permanent, "the server refused")),
            "busy" => Err(Failure::new(Class::Throttled { retry_after: None }, "the server was busy")),
            "closed" => Err(Failure::new(Class::Network { sent: false }, "the server was closed")),
            other => Err(Failure::new(Class::Invalid, format!("the server said `{other}`"))),
        }
    }
}

impl Caller for Client {
    fn attempt<'a>(&'a self, request: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        Box::pin(self.ask(request))
    }
}
