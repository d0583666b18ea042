//! What is configured about a service and its tools: how it is reached, what may be assumed of it, what is pinned.

use super::audit::AuditRules;
use super::connections::{BalancerConfig, PoolConfig};
use super::pins::Pins;
use super::retry::RetryStrategy;
use super::secret::Secret;
use super::signing::Signing;
use crate::calendar::Window;
use crate::site::{Learning, Priority};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How a service is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Transport {
    /// Streamable HTTP, to an endpoint.
    #[default]
    Http,
    /// A program of this machine, over its standard input and output.
    Stdio,
    /// The older HTTP of the protocol: a stream of events, and requests beside it.
    Sse,
    /// A WebSocket.
    WebSocket,
}

impl Transport {
    /// Every transport.
    pub const ALL: [Self; 4] = [Self::Http, Self::Stdio, Self::Sse, Self::WebSocket];

    /// The name used in configuration and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Stdio => "stdio",
            Self::Sse => "sse",
            Self::WebSocket => "websocket",
        }
    }
}

/// One address of a service.
///
/// Its debug form leaves out user information and query, where people put keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The address: `http://…` or `https://…`, of a WebSocket `ws://…` or `wss://…`.
    pub url: String,
    /// Its share of the calls, against the weights of the other endpoints. Default 1.
    pub weight: u32,
}

impl Endpoint {
    /// An endpoint of weight 1.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), weight: 1 }
    }

    /// The address without the parts in which people put keys: user information, query and fragment.
    #[must_use]
    pub fn showable(&self) -> String {
        showable_url(&self.url)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("url", &showable_url(&self.url)).field("weight", &self.weight).finish()
    }
}

/// An address without the parts in which people put keys: user information, query and fragment.
pub(crate) fn showable_url(url: &str) -> String {
    let (url, hidden) = match url.find(['?', '#']) {
        Some(end) => (&url[..end], &url[end..=end]),
        None => (url, ""),
    };
    let dots = if hidden.is_empty() { "" } else { "…" };
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    let authority = url[host..].find('/').map_or(url.len(), |end| host + end);
    match url[host..authority].rfind('@') {
        Some(at) => format!("{}…{}{hidden}{dots}", &url[..host], &url[host + at..]),
        None => format!("{url}{hidden}{dots}"),
    }
}

/// Which tools of a service may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Access {
    /// Every tool.
    #[default]
    All,
    /// Those that change nothing, as the configuration or a trusted server says.
    ReadOnly,
}

/// What is done about what a server says of itself and of its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Check {
    /// It is checked.
    #[default]
    On,
    /// It is taken as it is.
    Off,
}

/// What is configured about one service.
///
/// A service that is only named, without endpoint or command, is one that annotated functions call themselves: its
/// domain, limits and pins hold for them.
///
/// # Examples
///
/// ```
/// use poet_runtime::config::{ServiceConfig, ToolConfig};
///
/// let crm = ServiceConfig::http("crm", "http://localhost:8002/mcp")
///     .tool("update_contact", ToolConfig::default().idempotent().cost(0.02))
///     .pin("retry.max_retries", 2);
/// assert_eq!(crm.tools["update_contact"].idempotent, Some(true));
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct ServiceConfig {
    /// The name it is called, learned and reported under.
    pub name: String,
    /// The name of the profile its defaults come from; `None` means the runtime's default.
    pub domain: Option<String>,
    /// How it is spoken to.
    pub transport: Transport,
    /// Where it is reached, if it is no program.
    pub endpoints: Vec<Endpoint>,
    /// The connections to each of them, or to the program; `None` means as under [`Config::pool`](super::Config::pool), for
    /// a program [as for one](PoolConfig::of_a_program).
    pub pool: Option<PoolConfig>,
    /// How calls are spread over them; `None` means as under [`Config::balancer`](super::Config::balancer).
    pub balancer: Option<BalancerConfig>,
    /// The program to start for [`Transport::Stdio`].
    pub command: Option<String>,
    /// The arguments of [`ServiceConfig::command`].
    pub args: Vec<String>,
    /// Environment variables set for [`ServiceConfig::command`].
    pub env: BTreeMap<String, String>,
    /// The bearer token sent to an endpoint.
    pub auth_token: Option<Secret>,
    /// What requests to an endpoint are signed with.
    pub signing: Option<Signing>,
    /// Whether what the service says about its own tools (read-only, idempotent) is believed. Default `false`.
    pub trusted: bool,
    /// Which of its tools may be called. Default all.
    pub access: Access,
    /// The tools that may be called, by names in which `*` stands for any letters; empty means every one.
    pub allow: Vec<String>,
    /// The tools that may not be called, by names in which `*` stands for any letters. It stands before
    /// [`ServiceConfig::allow`].
    pub deny: Vec<String>,
    /// Whether answers that claim success are looked at for errors. Default [`Check::On`].
    pub masked_errors: Check,
    /// Whether arguments and answers are held against the schemas that the service declares. Default [`Check::On`].
    pub schemas: Check,
    /// Whether an attempt that shows progress is waited for anew; `None` means yes.
    pub progress_extends: Option<bool>,
    /// What is written down about its calls; what is not said is as under [`Config::audit`](super::Config::audit).
    pub audit: AuditRules,
    /// The IANA time zone whose hours and weekdays its history is read in; `None` means UTC.
    pub timezone: Option<String>,
    /// What is done with what is learned about it; `None` means [`Config::learning`](super::Config::learning).
    pub learning: Option<Learning>,
    /// The longest a whole call may take, waits and retries included; `None` means as the profile says.
    pub deadline: Option<Duration>,
    /// The longest one attempt may take; `None` means learned, from the profile's default on.
    pub timeout: Option<Duration>,
    /// How often, and after which waits, a failed call is made again; `None` means learned, from the profile's default
    /// on.
    pub retry: Option<&'static RetryStrategy>,
    /// What differs for single tools, by their names.
    pub tools: BTreeMap<String, ToolConfig>,
    /// Parameters held at a value, for every tool that does not pin them itself.
    pub pin: Pins,
    /// Hours of the week in which calls that may wait are put off, in [`ServiceConfig::timezone`].
    pub avoid: Vec<Window>,
    /// Hours of the week in which the service is being maintained, in [`ServiceConfig::timezone`]: as
    /// [`ServiceConfig::avoid`], under its own reason.
    pub maintenance: Vec<Window>,
}

impl ServiceConfig {
    /// A service that annotated functions call themselves.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// A service reached over HTTP.
    pub fn http(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self { endpoints: vec![Endpoint::new(url)], ..Self::named(name) }
    }

    /// A service that is a program of this machine, started with [`ServiceConfig::arg`]s.
    pub fn stdio(name: impl Into<String>, command: impl Into<String>) -> Self {
        Self { transport: Transport::Stdio, command: Some(command.into()), ..Self::named(name) }
    }

    /// Adds an address of weight 1.
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoints.push(Endpoint::new(url));
        self
    }

    /// Says how many connections there are, and how long each lives.
    #[must_use]
    pub fn pool(mut self, pool: PoolConfig) -> Self {
        self.pool = Some(pool);
        self
    }

    /// Says how calls are spread over the endpoints.
    #[must_use]
    pub fn balancer(mut self, balancer: BalancerConfig) -> Self {
        self.balancer = Some(balancer);
        self
    }

    /// Adds an argument to the command.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets an environment variable for the command.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sends a bearer token to the endpoint.
    #[must_use]
    pub fn auth_token(mut self, token: impl Into<Secret>) -> Self {
        self.auth_token = Some(token.into());
        self
    }

    /// Signs what is sent to the endpoint.
    #[must_use]
    pub fn signing(mut self, signing: Signing) -> Self {
        self.signing = Some(signing);
        self
    }

    /// Takes the defaults of a domain's profile.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Believes what the service says about its own tools.
    #[must_use]
    pub fn trusted(mut self) -> Self {
        self.trusted = true;
        self
    }

    /// Lets only tools be called that change nothing.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.access = Access::ReadOnly;
        self
    }

    /// Lets only tools of these names be called; `*` stands for any letters.
    #[must_use]
    pub fn allow(mut self, tools: impl Into<String>) -> Self {
        self.allow.push(tools.into());
        self
    }

    /// Lets no tool of these names be called; `*` stands for any letters.
    #[must_use]
    pub fn deny(mut self, tools: impl Into<String>) -> Self {
        self.deny.push(tools.into());
        self
    }

    /// Says whether answers that claim success are looked at for errors.
    #[must_use]
    pub fn masked_errors(mut self, check: Check) -> Self {
        self.masked_errors = check;
        self
    }

    /// Says whether arguments and answers are held against the schemas that the service declares.
    #[must_use]
    pub fn schemas(mut self, check: Check) -> Self {
        self.schemas = check;
        self
    }

    /// Says whether an attempt that shows progress is waited for anew, within the deadline of its call.
    #[must_use]
    pub fn progress_extends(mut self, extends: bool) -> Self {
        self.progress_extends = Some(extends);
        self
    }

    /// Says what is done with what is learned about the service.
    #[must_use]
    pub fn learning(mut self, learning: Learning) -> Self {
        self.learning = Some(learning);
        self
    }

    /// Limits a whole call, waits and retries included.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Limits one attempt.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Fixes how often, and after which waits, a failed call is made again.
    #[must_use]
    pub fn retry(mut self, strategy: &'static RetryStrategy) -> Self {
        self.retry = Some(strategy);
        self
    }

    /// Says what differs for one tool.
    #[must_use]
    pub fn tool(mut self, name: impl Into<String>, tool: ToolConfig) -> Self {
        self.tools.insert(name.into(), tool);
        self
    }

    /// Holds a parameter at a value in its unit, seconds or a count.
    ///
    /// The name and the bounds are checked by [`Config::check`](super::Config::check).
    #[must_use]
    pub fn pin(mut self, name: impl Into<String>, value: impl Into<f64>) -> Self {
        self.pin.set(name, value);
        self
    }

    /// Puts off what may wait in these hours of the week.
    #[must_use]
    pub fn avoid(mut self, window: Window) -> Self {
        self.avoid.push(window);
        self
    }

    /// Puts off what may wait while the service is maintained.
    #[must_use]
    pub fn maintenance(mut self, window: Window) -> Self {
        self.maintenance.push(window);
        self
    }

    /// Says what is written down about its calls.
    #[must_use]
    pub fn audit(mut self, audit: impl Into<AuditRules>) -> Self {
        self.audit = audit.into();
        self
    }

    /// Whether it says where or how the service is reached, so that the runtime can call its tools.
    #[must_use]
    pub fn has_address(&self) -> bool {
        match self.transport {
            Transport::Stdio => self.command.is_some(),
            Transport::Http | Transport::Sse | Transport::WebSocket => !self.endpoints.is_empty(),
        }
    }
}

impl fmt::Debug for ServiceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments and variables of a command are where its keys are; their number and names say enough.
        f.debug_struct("ServiceConfig")
            .field("name", &self.name)
            .field("domain", &self.domain)
            .field("transport", &self.transport)
            .field("endpoints", &self.endpoints)
            .field("pool", &self.pool)
            .field("balancer", &self.balancer)
            .field("command", &self.command)
            .field("args", &format_args!("{} [redacted]", self.args.len()))
            .field("env", &self.env.keys().map(|name| (name, "[redacted]")).collect::<BTreeMap<_, _>>())
            .field("auth_token", &self.auth_token)
            .field("signing", &self.signing)
            .field("trusted", &self.trusted)
            .field("access", &self.access)
            .field("allow", &self.allow)
            .field("deny", &self.deny)
            .field("masked_errors", &self.masked_errors)
            .field("schemas", &self.schemas)
            .field("progress_extends", &self.progress_extends)
            .field("audit", &self.audit)
            .field("timezone", &self.timezone)
            .field("learning", &self.learning)
            .field("deadline", &self.deadline)
            .field("timeout", &self.timeout)
            .field("retry", &self.retry.map(|retry| retry.name))
            .field("tools", &self.tools)
            .field("pin", &self.pin)
            .field("avoid", &self.avoid)
            .field("maintenance", &self.maintenance)
            .finish()
    }
}

/// What is configured about one tool of a service, where it differs from the service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolConfig {
    /// Whether it may be executed more than once; `None` means as the call, or a trusted server, says.
    pub idempotent: Option<bool>,
    /// Whether it changes nothing; `None` means as the call, or a trusted server, says.
    pub read_only: Option<bool>,
    /// Whether answers that claim success are looked at for errors; `None` means as for the service.
    pub masked_errors: Option<Check>,
    /// Whether arguments and answers are held against the schemas that the service declares; `None` means as for the
    /// service.
    pub schemas: Option<Check>,
    /// Whether an attempt that shows progress is waited for anew; `None` means as for the service.
    pub progress_extends: Option<bool>,
    /// What is written down about its calls; what is not said is as for the service.
    pub audit: AuditRules,
    /// The price of one call, in the one currency that all prices are in.
    pub cost: Option<f64>,
    /// The longest one attempt may take.
    pub timeout: Option<Duration>,
    /// The longest a whole call may take, waits and retries included.
    pub deadline: Option<Duration>,
    /// How often, and after which waits, a failed call is made again.
    pub retry: Option<&'static RetryStrategy>,
    /// Parameters held at a value; they stand before those of the service.
    pub pin: Pins,
    /// Whether and how its answers are kept; `None` means not, unless the call says so.
    pub cache: Option<CacheConfig>,
    /// The operations whose kept answers a call of this one makes worthless: `tool` of the same service, or
    /// `service.tool`.
    pub invalidates: Vec<String>,
    /// Whether a call may be put off until the service is well; `None` means as the call, or the function around it,
    /// says.
    pub deferrable: Option<bool>,
    /// Calls of this priority or a lower one are acknowledged at once and made by a worker.
    pub queued: Option<Priority>,
    /// The argument by whose value jobs of this tool keep their order.
    pub order_by: Option<String>,
    /// How several calls are made as one.
    pub batch: Option<BatchConfig>,
    /// Who is asked instead when it fails.
    pub fallback: Option<FallbackConfig>,
}

/// How the answers of a tool are kept. What is `None` is as learned or as the profile says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CacheConfig {
    /// How long an answer is fresh; what is written here is not learned.
    pub ttl: Option<Duration>,
    /// How long after that it is still given while a new one is fetched.
    pub stale_while_revalidate: Option<Duration>,
    /// How long after that it is still given when the service fails.
    pub stale_if_error: Option<Duration>,
}

/// A tool that does for many items what another one does for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchConfig {
    /// The tool that takes many, of the same service.
    pub tool: String,
    /// The argument that holds the list of items; each item is the arguments of one call.
    pub items: String,
    /// Where in the answer the list of results stands, one for each item in the same order: names joined by dots;
    /// empty where the answer is the list.
    pub results: String,
}

/// Another tool that can answer instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FallbackConfig {
    /// Its service.
    pub service: String,
    /// Its name; it is given the same arguments.
    pub tool: String,
}

impl ToolConfig {
    /// Says that it may be executed more than once.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = Some(true);
        self
    }

    /// Says that it changes nothing.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = Some(true);
        self
    }

    /// Says whether answers that claim success are looked at for errors.
    #[must_use]
    pub fn masked_errors(mut self, check: Check) -> Self {
        self.masked_errors = Some(check);
        self
    }

    /// Says whether arguments and answers are held against the schemas that the service declares.
    #[must_use]
    pub fn schemas(mut self, check: Check) -> Self {
        self.schemas = Some(check);
        self
    }

    /// Says whether an attempt that shows progress is waited for anew, within the deadline of its call.
    #[must_use]
    pub fn progress_extends(mut self, extends: bool) -> Self {
        self.progress_extends = Some(extends);
        self
    }

    /// Keeps its answers for as long as is learned.
    #[must_use]
    pub fn cacheable(mut self) -> Self {
        self.cache = Some(CacheConfig::default());
        self
    }

    /// Keeps its answers as told.
    #[must_use]
    pub fn cache(mut self, cache: CacheConfig) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Says whose kept answers a call of this one makes worthless.
    #[must_use]
    pub fn invalidates(mut self, operation: impl Into<String>) -> Self {
        self.invalidates.push(operation.into());
        self
    }

    /// Says that calls may be put off until the service is well.
    #[must_use]
    pub fn deferrable(mut self) -> Self {
        self.deferrable = Some(true);
        self
    }

    /// Acknowledges calls of this priority or a lower one at once and leaves them to a worker.
    #[must_use]
    pub fn queued(mut self, up_to: Priority) -> Self {
        self.queued = Some(up_to);
        self
    }

    /// Keeps jobs in order by the value of this argument.
    #[must_use]
    pub fn order_by(mut self, argument: impl Into<String>) -> Self {
        self.order_by = Some(argument.into());
        self
    }

    /// Says how several calls are made as one.
    #[must_use]
    pub fn batch(mut self, tool: impl Into<String>, items: impl Into<String>, results: impl Into<String>) -> Self {
        self.batch = Some(BatchConfig { tool: tool.into(), items: items.into(), results: results.into() });
        self
    }

    /// Says who is asked instead when it fails.
    #[must_use]
    pub fn fallback(mut self, service: impl Into<String>, tool: impl Into<String>) -> Self {
        self.fallback = Some(FallbackConfig { service: service.into(), tool: tool.into() });
        self
    }

    /// Says what is written down about its calls.
    #[must_use]
    pub fn audit(mut self, audit: impl Into<AuditRules>) -> Self {
        self.audit = audit.into();
        self
    }

    /// States the price of one call.
    #[must_use]
    pub fn cost(mut self, cost: f64) -> Self {
        self.cost = Some(cost);
        self
    }

    /// Limits one attempt.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Fixes how often, and after which waits, a failed call is made again.
    #[must_use]
    pub fn retry(mut self, strategy: &'static RetryStrategy) -> Self {
        self.retry = Some(strategy);
        self
    }

    /// Limits a whole call, waits and retries included.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Holds a parameter at a value in its unit, seconds or a count.
    ///
    /// The name and the bounds are checked by [`Config::check`](super::Config::check).
    #[must_use]
    pub fn pin(mut self, name: impl Into<String>, value: impl Into<f64>) -> Self {
        self.pin.set(name, value);
        self
    }
}

#[cfg(test)]
mod tests;
