//! The tools of all services at one place: which there are, and which of them a name stands for.
//!
//! What is known of a service's tools is kept with its connection, where every new list replaces the last one. The
//! registry keeps names, and why a service could not be asked; so it is never older than the connections are.

mod name;

use self::name::{Meant, Offer};
use super::blocking;
use super::connection::ToolInfo;
use super::nature::Repeatable;
use super::resource::{McpRequest, McpResource};
use crate::MCP_INTEGRATION;
use futures_util::future::join_all;
use poet_runtime::config::{ServiceConfig, did_you_mean};
use poet_runtime::{Error, Health, Reply, Runtime};
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The tools of several MCP servers: what there is, what it takes, how it does, and who is called by which name.
///
/// It is a handle, as [`McpResource`] is: clones are one, and what it tells is what the runtime in force knows.
///
/// # Examples
///
/// ```no_run
/// use poet_domains::mcp::Registry;
/// use serde_json::json;
/// use std::time::Duration;
///
/// # async fn example() -> Result<(), poet_runtime::Error> {
/// let registry = Registry::discover(Duration::from_secs(5)).await?;
/// for listing in registry.services() {
///     println!("{}: {} tools", listing.service, listing.tools.len());
/// }
/// let reply = registry.call_any_tool("search_pages", json!({ "query": "refunds" })).await?;
/// println!("{}", reply.value());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Registry(Arc<[Entry]>);

#[derive(Debug)]
struct Entry {
    resource: McpResource,
    problem: Mutex<Option<Problem>>,
}

/// Why a service could not be asked.
#[derive(Clone, Debug)]
struct Problem {
    error: Arc<Error>,
    /// Whether it had been asked before. If not, that its tools are known now means that it is over.
    knew: bool,
}

/// One service, as far as it is known.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listing {
    /// Its name.
    pub service: String,
    /// Its tools as it listed them last, in its order; none where it has not answered yet.
    pub tools: Vec<RegisteredTool>,
    /// Why it could not be asked the last time. It is asked again by [`Registry::refresh`], and by whoever asks for a
    /// tool that is not known.
    pub problem: Option<Arc<Error>>,
}

/// One tool of one service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RegisteredTool {
    /// The service it belongs to.
    pub service: String,
    /// What the server says of it.
    pub info: ToolInfo,
    /// Who says whether it may be called more than once.
    pub repeatable: Repeatable,
    /// How it did in this process; `None` if it was never called.
    pub usage: Option<Health>,
}

impl RegisteredTool {
    /// The name that stands for it and nothing else: `service.tool`.
    #[must_use]
    pub fn qualified_name(&self) -> String {
        format!("{}.{}", self.service, self.info.name)
    }

    /// Starts to describe a call of it.
    pub fn request(&self) -> McpRequest {
        McpResource::new(self.service.clone()).tool(self.info.name.clone())
    }
}

impl Registry {
    /// Asks every MCP server of the configuration for its tools, all at once, and ends within that time.
    ///
    /// A server that does not answer is no error: its [`Listing`] says what happened, and it is asked again when it
    /// is needed.
    ///
    /// # Errors
    ///
    /// [`Error::is_configuration`] if no MCP server is configured.
    pub async fn discover(within: Duration) -> Result<Self, Error> {
        let runtime = Runtime::current();
        let services = runtime.config().services.values().filter(|service| is_mcp_server(service));
        let names: Vec<_> = services.map(|service| service.name.clone()).collect();
        if names.is_empty() {
            return Err(Error::configuration(
                "no MCP server is configured: write [services.NAME] with `url` or `command` in poet.toml (POET_CONFIG \
                 names another file), or give it to Runtime::builder().service(…)",
            ));
        }
        Self::discover_of(names, within).await
    }

    /// [`discover`](Self::discover) for some of the services.
    ///
    /// # Errors
    ///
    /// [`Error::is_configuration`] if one of them is not configured.
    pub async fn discover_of(
        services: impl IntoIterator<Item = impl Into<String>>,
        within: Duration,
    ) -> Result<Self, Error> {
        let runtime = Runtime::current();
        let mut entries: Vec<Entry> = Vec::new();
        for service in services {
            let service = service.into();
            runtime.service(&service)?;
            if entries.iter().all(|entry| entry.resource.name() != service) {
                entries.push(Entry { resource: McpResource::new(service), problem: Mutex::default() });
            }
        }
        let registry = Self(entries.into());
        ask(registry.0.iter(), Some(within)).await;
        Ok(registry)
    }

    /// [`discover`](Self::discover) for synchronous functions: blocks the thread.
    ///
    /// # Errors
    ///
    /// As for [`discover`](Self::discover).
    pub fn discover_blocking(within: Duration) -> Result<Self, Error> {
        blocking::wait(Self::discover(within))
    }

    /// Asks those services again that did not answer or that said that their tools have changed, within that time.
    pub async fn refresh(&self, within: Duration) {
        ask(self.0.iter().filter(|entry| entry.is_to_be_asked()), Some(within)).await;
    }

    /// What is known of each service, in the order of their names or in which they were given.
    #[must_use]
    pub fn services(&self) -> Vec<Listing> {
        let runtime = Runtime::current();
        self.0.iter().map(|entry| entry.listing(&runtime)).collect()
    }

    /// Every tool of every service that has answered.
    #[must_use]
    pub fn tools(&self) -> Vec<RegisteredTool> {
        self.services().into_iter().flat_map(|listing| listing.tools).collect()
    }

    /// What is known of one tool of one service.
    ///
    /// # Errors
    ///
    /// [`Error::is_configuration`] if the service is not among those that were asked, [`Error::is_denied`] if it has
    /// no such tool, and why it could not be asked if nothing is known of its tools.
    pub fn tool(&self, service: &str, name: &str) -> Result<RegisteredTool, Error> {
        let Some(entry) = self.0.iter().find(|entry| entry.resource.name() == service) else {
            let names: Vec<_> = self.0.iter().map(|entry| entry.resource.name()).collect();
            let guess = did_you_mean(service, &names);
            return Err(Error::configuration(format!("there is no service `{service}` in the registry; {guess}")));
        };
        let listing = entry.listing(&Runtime::current());
        match listing.tools.into_iter().find(|tool| tool.info.name == name) {
            Some(tool) => Ok(tool),
            None => Err(unknown(&format!("{service}.{name}"), std::slice::from_ref(entry))),
        }
    }

    /// Starts to describe a call of the tool that a name stands for: that of a tool only one service offers, or
    /// `service.tool`.
    ///
    /// Where no service is known to offer it, those that did not answer are asked again.
    ///
    /// # Errors
    ///
    /// [`Error::is_denied`] if more than one service offers it, or none does. If services that might offer it do not
    /// answer, why they do not.
    pub async fn route(&self, name: &str) -> Result<McpRequest, Error> {
        ask(self.0.iter().filter(|entry| entry.resource.is_outdated()), None).await;
        if let Some(request) = self.known(name)? {
            return Ok(request);
        }
        ask(self.0.iter().filter(|entry| entry.is_to_be_asked()), None).await;
        self.known(name)?.ok_or_else(|| unknown(name, &self.0))
    }

    /// Calls the tool that a name stands for, as [`route`](Self::route) finds it.
    ///
    /// # Errors
    ///
    /// As for [`route`](Self::route) and [`McpResource::call_tool`].
    pub async fn call_any_tool(&self, name: &str, arguments: impl Serialize) -> Result<Reply, Error> {
        self.route(name).await?.args(arguments).call().await
    }

    /// [`call_any_tool`](Self::call_any_tool) for synchronous functions: blocks the thread.
    ///
    /// # Errors
    ///
    /// As for [`call_any_tool`](Self::call_any_tool).
    pub fn call_any_tool_blocking(&self, name: &str, arguments: impl Serialize) -> Result<Reply, Error> {
        blocking::wait(self.route(name))?.args(arguments).call_blocking()
    }

    /// The call that a name stands for, as far as is known without asking anybody.
    fn known(&self, name: &str) -> Result<Option<McpRequest>, Error> {
        with_offers(&self.0, |offers| match name::meant(name, offers) {
            Meant::Tool { service, tool } | Meant::Perhaps { service, tool } => {
                Ok(Some(McpResource::new(service.to_owned()).tool(tool)))
            }
            Meant::Several(services) => Err(Error::denied(name::ambiguity(name, &services))),
            Meant::Nothing => Ok(None),
        })
    }
}

impl Entry {
    fn is_to_be_asked(&self) -> bool {
        self.resource.known_tools().is_none() || self.problem().is_some() || self.resource.is_outdated()
    }

    fn problem(&self) -> Option<Arc<Error>> {
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        (problem.knew || self.resource.known_tools().is_none()).then_some(problem.error)
    }

    fn listing(&self, runtime: &Runtime) -> Listing {
        let service = self.resource.name();
        let unset = ServiceConfig::default();
        let config = runtime.config().services.get(service).unwrap_or(&unset);
        let tool = |info: &ToolInfo| RegisteredTool {
            service: service.to_owned(),
            repeatable: Repeatable::of(config, info),
            usage: runtime.health(service, &info.name),
            info: info.clone(),
        };
        let tools = self.resource.known_tools();
        Listing {
            service: service.to_owned(),
            tools: tools.iter().flat_map(|tools| tools.iter()).map(tool).collect(),
            problem: self.problem(),
        }
    }
}

/// Asks these services for their tools, all at once.
async fn ask(entries: impl Iterator<Item = &Entry>, within: Option<Duration>) {
    let asked = entries.map(|entry| async move {
        let knew = entry.resource.known_tools().is_some();
        let error = entry.resource.list_within(within).await.err();
        let problem = error.map(|error| Problem { error: Arc::new(error), knew });
        *entry.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    });
    join_all(asked).await;
}

/// Hands on the names of the tools of these services.
fn with_offers<R>(entries: &[Entry], ask: impl FnOnce(&[Offer<'_>]) -> R) -> R {
    let known: Vec<_> = entries.iter().map(|entry| entry.resource.known_tools()).collect();
    let names: Vec<Option<Vec<&str>>> = known
        .iter()
        .map(|tools| tools.as_ref().map(|tools| tools.iter().map(|tool| tool.name.as_str()).collect()))
        .collect();
    let offers: Vec<_> = entries
        .iter()
        .zip(&names)
        .map(|(entry, tools)| Offer { service: entry.resource.name(), tools: tools.as_deref() })
        .collect();
    ask(&offers)
}

/// Says why nothing is known by a name: because nobody offers it, or because somebody who might does not answer.
fn unknown(name: &str, entries: &[Entry]) -> Error {
    let guess = with_offers(entries, |offers| name::guess(name, offers));
    let silent: Vec<_> = entries.iter().filter(|entry| entry.resource.known_tools().is_none()).collect();
    let Some(problem) = silent.iter().find_map(|entry| entry.problem()) else {
        return Error::denied(format!("there is no tool `{name}`; {guess}"));
    };
    let named: Vec<_> = silent.iter().map(|entry| format!("`{}`", entry.resource.name())).collect();
    let message = format!(
        "no service that answered has a tool `{name}`; nothing is known of the tools of {}: {problem}",
        named.join(", ")
    );
    Error::service(problem.class(), message)
}

/// Whether a service is one whose tools can be asked for, and not one that functions call themselves.
fn is_mcp_server(service: &ServiceConfig) -> bool {
    service.has_address() && service.domain.as_deref().is_none_or(|domain| domain == MCP_INTEGRATION.name)
}
