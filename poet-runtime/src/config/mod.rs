//! The configuration of the runtime: where outcomes are kept, how each service is reached, what is pinned.
//!
//! A file is read in two steps. What was written is a tree of values that know their place in the text; what is meant
//! is a [`Config`]. All checking happens between the two, and reports every problem of the file at once; nothing
//! downstream checks again. Only the first step knows whether the file is TOML or YAML.

mod address;
mod audit;
mod bounds;
#[cfg(test)]
mod broken;
#[cfg(test)]
mod broken_services;
mod bytes;
mod connections;
mod contradiction;
mod duration;
mod held;
mod interpolate;
mod limits;
mod load;
mod meaning;
mod node;
mod path;
mod pins;
mod preset;
mod problem;
mod read;
mod retry;
mod secret;
mod service;
mod signing;
mod suggest;
#[cfg(test)]
mod tests;
mod tool;
mod yaml;

pub(crate) use audit::Audited;
pub use audit::{AuditConfig, AuditLevel, AuditRules};
pub use connections::{Balance, BalancerConfig, PoolConfig};
pub use duration::parse as parse_duration;
pub use pins::Pins;
pub use preset::Preset;
pub use problem::{ConfigError, Place, Problem};
pub use retry::RetryStrategy;
pub use secret::Secret;
pub(crate) use service::showable_url;
pub use service::{
    Access, BatchConfig, CacheConfig, Check, Endpoint, FallbackConfig, ServiceConfig, ToolConfig, Transport,
};
pub use signing::{InvalidSigning, Signing, SigningAlgorithm};
pub use suggest::or_all as did_you_mean;

use self::path::Path;
use crate::site::Learning;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The configuration of a runtime.
///
/// # Examples
///
/// ```
/// use poet_runtime::config::{Config, ServiceConfig};
///
/// let config = Config::default().service(ServiceConfig::http("crm", "http://localhost:8002/mcp"));
/// assert!(config.services["crm"].has_address());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The file it was read from; `None` where it was not.
    pub file: Option<PathBuf>,
    /// Where what is not written comes from; `None` means the built-in defaults.
    pub preset: Option<&'static Preset>,
    /// Where outcomes are kept, and for how long.
    pub store: StoreConfig,
    /// What is done with what is learned, where a service or function does not say otherwise.
    pub learning: Learning,
    /// What bounds the cache.
    pub cache: CacheBounds,
    /// How jobs are kept and run.
    pub queue: QueueConfig,
    /// What is written down about calls for whoever has to account for them.
    pub audit: AuditConfig,
    /// The connections to each endpoint of a service that does not say otherwise.
    pub pool: PoolConfig,
    /// How calls are spread over the endpoints of a service that does not say otherwise.
    pub balancer: BalancerConfig,
    /// The services, by their names.
    pub services: BTreeMap<String, ServiceConfig>,
}

impl Config {
    /// Adds a service, or replaces the one of that name.
    #[must_use]
    pub fn service(mut self, service: ServiceConfig) -> Self {
        self.services.insert(service.name.clone(), service);
        self
    }

    /// Checks what a program may have got wrong; a configuration that was read from a file was checked already.
    ///
    /// # Errors
    ///
    /// Every service without a name, every pin with an unknown name, every value out of bounds, every contradiction, and
    /// every name that stands for nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use poet_runtime::config::{Config, ServiceConfig, ToolConfig};
    ///
    /// let update = ToolConfig::default().invalidates("biling.get_account");
    /// let config = Config::default()
    ///     .service(ServiceConfig::named("billing"))
    ///     .service(ServiceConfig::named("crm").tool("update", update));
    /// assert_eq!(
    ///     config.check().unwrap_err().to_string(),
    ///     "services.crm.tools.update.invalidates[0]: there is no service `biling`; did you mean `billing`?"
    /// );
    /// ```
    pub fn check(&self) -> Result<(), ConfigError> {
        let bounds = bounds::problems(&self.cache, &self.queue).into_iter().chain(audit::problems(&self.audit));
        let values = self.services.iter().flat_map(|(name, service)| service_problems(name, service));
        let contradictions =
            contradiction::all(self).into_iter().map(|found| format!("{}: {}", found.path, found.message));
        let problems: Vec<_> = bounds.chain(values).chain(contradictions).map(Problem::new).collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::new(problems)) }
    }
}

fn service_problems(name: &str, service: &ServiceConfig) -> Vec<String> {
    let path = Path::of(&["services", name]);
    let pool = service.pool.iter().flat_map(|pool| connections::problems(&path.key("pool"), pool));
    let nameless = name.trim().is_empty().then(|| format!("{path}: a service needs a name"));
    let own = service.pin.problems().map(|problem| format!("{path}.{problem}"));
    let tools = service.tools.iter().flat_map(|(tool, config)| {
        let path = path.key("tools").key(tool);
        let pins: Vec<_> = config.pin.problems().map(|problem| format!("{path}.{problem}")).collect();
        pins.into_iter().chain(tool::problems(&path, config))
    });
    nameless.into_iter().chain(pool).chain(own).chain(tools).collect()
}

/// What bounds the cache of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheBounds {
    /// Whether anything is kept or served from it. Default `true`.
    pub enabled: bool,
    /// The most answers. Default 10,000.
    pub max_entries: u64,
    /// The most bytes, keys included. Default 64 MiB.
    pub max_bytes: u64,
}

impl Default for CacheBounds {
    fn default() -> Self {
        Self { enabled: true, max_entries: 10_000, max_bytes: 64 << 20 }
    }
}

/// How jobs, which are calls that were put off, are kept and run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// Whether this process runs jobs by itself. Default `true`.
    pub work: bool,
    /// Jobs that this process runs at once. Default 8.
    pub concurrency: usize,
    /// How long a job is taken to be under way without a sign of its worker. Default 30 s.
    pub lease: Duration,
    /// Jobs that may not have ended, uncertain ones among them; beyond it calls are not put off. Default 100,000.
    pub max_pending: u64,
    /// How long after a failed try a job is tried again, half as long again after each further one up to twenty times.
    /// Default 30 s.
    pub backoff: Duration,
    /// How often a job is tried before it is given up. Default 10.
    pub max_attempts: u32,
    /// How long after it was put off a job is given up. Default 24 h.
    pub expire_after: Duration,
    /// How long ended jobs and their results are kept. Default 7 days.
    pub keep: Duration,
}

impl Default for QueueConfig {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            work: true,
            concurrency: 8,
            lease: Duration::from_secs(30),
            max_pending: 100_000,
            backoff: Duration::from_secs(30),
            max_attempts: 10,
            expire_after: DAY,
            keep: Duration::from_secs(7 * 86_400),
        }
    }
}

/// Where outcomes are kept, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The database file; `None` means the user's state folder.
    pub path: Option<PathBuf>,
    /// Whether they are kept in memory, and end with the process; no file is written then. Default `false`.
    pub memory: bool,
    /// How long single outcomes are kept. Default 30 days.
    pub retention: Duration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { path: None, memory: false, retention: Duration::from_secs(30 * 24 * 60 * 60) }
    }
}
