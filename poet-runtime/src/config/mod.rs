//! The configuration of the runtime: where outcomes are kept, how each service is reached, what is pinned.
//!
//! A file is read in two steps. What was written is a tree of values that know their place in the text; what is meant
//! is a [`Config`]. All checking happens between the two, and reports every problem of the file at once; nothing
//! downstream checks again. Only the first step knows that the file is TOML.

#[cfg(test)]
mod broken;
mod duration;
mod interpolate;
mod load;
mod meaning;
mod node;
mod pins;
mod problem;
mod read;
mod secret;
mod service;
mod suggest;
#[cfg(test)]
mod tests;

pub use pins::Pins;
pub use problem::{ConfigError, Place, Problem};
pub use secret::Secret;
pub use service::{Endpoint, ServiceConfig, ToolConfig, Transport};

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
    /// Where outcomes are kept, and for how long.
    pub store: StoreConfig,
    /// What is done with what is learned, where a service or function does not say otherwise.
    pub learning: Learning,
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
    /// Every service without a name, and every pin with an unknown name or a value out of bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let problems: Vec<_> = self.services.values().flat_map(service_problems).map(Problem::new).collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::new(problems)) }
    }
}

fn service_problems(service: &ServiceConfig) -> Vec<String> {
    let name = &service.name;
    let nameless = name.trim().is_empty().then(|| "services: a service needs a name".to_owned());
    let own = service.pin.problems().map(|problem| format!("services.{name}.{problem}"));
    let tools = service.tools.iter().flat_map(|(tool, config)| {
        config.pin.problems().map(move |problem| format!("services.{name}.tools.{tool}.{problem}"))
    });
    nameless.into_iter().chain(own).chain(tools).collect()
}

/// Where outcomes are kept, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The database file; `None` means the user's state folder.
    pub path: Option<PathBuf>,
    /// How long single outcomes are kept. Default 30 days.
    pub retention: Duration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { path: None, retention: Duration::from_secs(30 * 24 * 60 * 60) }
    }
}
