//! The handle that users hold: a service by its name, whose tools are called through every stage of the runtime.
//!
//! Reads that are identical and under way at the same time share one call.

use super::blocking;
use super::checks::Checks;
use super::connection::{Limits, Target, ToolInfo};
use super::fleet::{EndpointStatus, Fleet, Place, failure};
use super::input::Attended;
use super::nature::{asks_the_server, declares_a_read, nature};
use super::session::{Due, Session};
use super::signer::Signer;
use super::task;
use super::unsendable::Unsendable;
use crate::MCP_INTEGRATION;
use poet_runtime::config::{Endpoint, ServiceConfig, ToolConfig, Transport};
use poet_runtime::service::{
    AttemptContext, CacheKey, CacheWish, Caller, Failure, Fetched, News, Request, ServiceCall, Vetting,
};
use poet_runtime::store::BoxFuture;
use poet_runtime::{AsPriority, Clock, Error, Priority, Reply, Runtime};
use serde::Serialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The operation under which listing tools is learned and reported.
const LIST: &str = "tools/list";

/// An MCP server, by the name it is configured under.
///
/// Making one is cheap and touches nothing; the server is connected to at the first call, and all handles of one name
/// share the connection.
///
/// # Examples
///
/// ```no_run
/// use poet_domains::mcp::McpResource;
/// use serde_json::json;
/// use std::time::Duration;
///
/// # async fn example() -> Result<(), poet_runtime::Error> {
/// let crm = McpResource::new("salesforce_crm");
/// let contact = crm.call_tool("get_contact", json!({ "id": 7 })).await?;
/// let updated = crm
///     .tool("update_contact")
///     .args(contact.value())
///     .idempotent()
///     .deadline(Duration::from_secs(5))
///     .call()
///     .await?;
/// println!("{} after {} attempts", updated.value(), updated.attempts());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct McpResource {
    service: Cow<'static, str>,
}

impl McpResource {
    /// The server configured under this name. Whether there is one is asked at the first call.
    pub fn new(service: impl Into<Cow<'static, str>>) -> Self {
        Self { service: service.into() }
    }

    /// The name it is configured under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.service
    }

    /// Calls a tool. The arguments are whatever serialises to a JSON object.
    ///
    /// # Errors
    ///
    /// The tool's or the server's own error, or why there was no answer; see [`Error`].
    pub async fn call_tool(&self, tool: impl Into<String>, arguments: impl Serialize) -> Result<Reply, Error> {
        self.tool(tool).args(arguments).call().await
    }

    /// [`call_tool`](Self::call_tool) for synchronous functions: blocks the thread.
    ///
    /// # Errors
    ///
    /// As for [`call_tool`](Self::call_tool).
    pub fn call_tool_blocking(&self, tool: impl Into<String>, arguments: impl Serialize) -> Result<Reply, Error> {
        self.tool(tool).args(arguments).call_blocking()
    }

    /// Starts to describe a call about which there is more to say than its arguments.
    pub fn tool(&self, tool: impl Into<String>) -> McpRequest {
        McpRequest {
            service: self.service.clone(),
            tool: tool.into(),
            arguments: Ok(Map::new()),
            idempotent: false,
            priority: None,
            deadline: None,
            timeout: None,
            retries: None,
            cache: CacheWish::AsConfigured,
            deferrable: None,
            queued: None,
            invalidates: Vec::new(),
        }
    }

    /// Asks the server which tools it has.
    ///
    /// # Errors
    ///
    /// If there is no such service, or no answer.
    pub async fn list_tools(&self) -> Result<Vec<ToolInfo>, Error> {
        Ok(self.list_within(None).await?.to_vec())
    }

    /// [`list_tools`](Self::list_tools), within that time; else as long as a call may take.
    pub(super) async fn list_within(&self, within: Option<Duration>) -> Result<Arc<[ToolInfo]>, Error> {
        let runtime = Runtime::current();
        let fleet = self.fleet(&runtime)?;
        list(&runtime, &self.service, &fleet, within).await
    }

    /// The tools that the server listed last; `None` if it never did. Nothing is asked.
    pub(super) fn known_tools(&self) -> Option<Arc<[ToolInfo]>> {
        self.fleet(&Runtime::current()).ok()?.known_tools()
    }

    /// Whether the server has said since that its tools have changed.
    pub(super) fn is_outdated(&self) -> bool {
        self.fleet(&Runtime::current()).is_ok_and(|fleet| fleet.is_outdated())
    }

    fn fleet(&self, runtime: &Runtime) -> Result<Fleet, Error> {
        runtime.extension::<Connections>().fleet(runtime, runtime.service(&self.service)?)
    }

    /// How each of its endpoints stands, as calls of this process showed it.
    ///
    /// # Errors
    ///
    /// If there is no such service.
    pub fn endpoints(&self) -> Result<Vec<EndpointStatus>, Error> {
        let runtime = Runtime::current();
        Ok(self.fleet(&runtime)?.status())
    }

    /// Adds an endpoint for this process, or gives the one of that address another weight.
    ///
    /// # Errors
    ///
    /// If there is no such service, or it is a program.
    ///
    /// # Examples
    ///
    /// ```
    /// use poet_domains::mcp::McpResource;
    /// use poet_runtime::Runtime;
    /// use poet_runtime::config::{Config, Endpoint, ServiceConfig};
    ///
    /// # fn main() -> Result<(), poet_runtime::Error> {
    /// let config = Config::default().service(ServiceConfig::http("crm", "http://one.test/mcp"));
    /// let runtime = Runtime::builder().configuration(config).in_memory().build()?;
    /// # let runtime = tokio::runtime::Runtime::new().unwrap().block_on(runtime.scope(async {
    /// let crm = McpResource::new("crm");
    /// crm.add_endpoint(&Endpoint::new("http://two.test/mcp"))?;
    /// assert_eq!(crm.endpoints()?.len(), 2);
    /// assert!(crm.remove_endpoint("http://one.test/mcp")?);
    /// # Ok::<_, poet_runtime::Error>(())
    /// # }))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn add_endpoint(&self, endpoint: &Endpoint) -> Result<(), Error> {
        let runtime = Runtime::current();
        let config = runtime.service(&self.service)?;
        if config.transport == Transport::Stdio {
            return Err(Error::configuration(format!("service `{}` is a program and has no endpoints", config.name)));
        }
        runtime.extension::<Connections>().fleet(&runtime, config)?.add(Place::from(endpoint));
        Ok(())
    }

    /// Takes an endpoint away for this process; the calls under way at it end undisturbed. `false` where there is none of
    /// that address, or no other one.
    ///
    /// # Errors
    ///
    /// If there is no such service.
    pub fn remove_endpoint(&self, url: &str) -> Result<bool, Error> {
        let runtime = Runtime::current();
        Ok(self.fleet(&runtime)?.remove(url))
    }

    /// [`list_tools`](Self::list_tools) for synchronous functions: blocks the thread.
    ///
    /// # Errors
    ///
    /// As for [`list_tools`](Self::list_tools).
    pub fn list_tools_blocking(&self) -> Result<Vec<ToolInfo>, Error> {
        blocking::wait(self.list_tools())
    }
}

/// One call of a tool, being described. What is written here stands before the configuration and before what was
/// learned.
#[derive(Clone, Debug)]
#[must_use = "a described call does nothing until it is called"]
pub struct McpRequest {
    pub(super) service: Cow<'static, str>,
    pub(super) tool: String,
    pub(super) arguments: Result<Map<String, Value>, String>,
    pub(super) idempotent: bool,
    pub(super) priority: Option<Priority>,
    deadline: Option<Duration>,
    timeout: Option<Duration>,
    retries: Option<u8>,
    pub(super) cache: CacheWish,
    pub(super) deferrable: Option<bool>,
    pub(super) queued: Option<bool>,
    invalidates: Vec<String>,
}

impl McpRequest {
    /// The arguments: whatever serialises to a JSON object. `null` means none.
    pub fn args(mut self, arguments: impl Serialize) -> Self {
        self.arguments = match serde_json::to_value(arguments) {
            Ok(Value::Object(arguments)) => Ok(arguments),
            Ok(Value::Null) => Ok(Map::new()),
            Ok(other) => Err(format!("are {} and have to be an object", kind(&other))),
            Err(error) => Err(format!("cannot be written as JSON: {error}")),
        };
        self
    }

    /// Says that executing the call twice does no more than executing it once.
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// How much the call matters; else as much as the function around it.
    pub fn priority(mut self, priority: impl AsPriority) -> Self {
        self.priority = Some(priority.as_priority());
        self
    }

    /// The longest the whole call may take, waits and retries included.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The longest one attempt may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Extra tries, as far as trying again is safe.
    pub fn retries(mut self, retries: u8) -> Self {
        self.retries = Some(retries);
        self
    }

    /// Accepts a kept answer up to this age, and keeps the answer.
    pub fn cache_ttl(mut self, ttl: Duration) -> Self {
        self.cache = CacheWish::UpTo(ttl);
        self
    }

    /// Neither accepts a kept answer nor keeps this one.
    pub fn no_cache(mut self) -> Self {
        self.cache = CacheWish::Never;
        self
    }

    /// Accepts no kept answer, but keeps this one.
    pub fn refresh(mut self) -> Self {
        self.cache = CacheWish::Refresh;
        self
    }

    /// Says that the call may be put off until the service is well.
    ///
    /// The reply then has no value yet and a ticket in its [`disposition`](Reply::disposition).
    pub fn deferrable(mut self) -> Self {
        self.deferrable = Some(true);
        self
    }

    /// Acknowledges the call at once and leaves it to a worker: the reply has a ticket instead of a value.
    pub fn queued(mut self) -> Self {
        self.queued = Some(true);
        self
    }

    /// Says whose kept answers this call makes worthless: a tool of the same service, or `service.tool`.
    pub fn invalidates(mut self, operation: impl Into<String>) -> Self {
        self.invalidates.push(operation.into());
        self
    }

    /// Makes the call.
    ///
    /// # Errors
    ///
    /// The tool's or the server's own error, or why there was no answer; see [`Error`].
    pub async fn call(self) -> Result<Reply, Error> {
        let (service, tool) = (&self.service, &self.tool);
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::configuration(
                "calling a tool needs a tokio runtime; `call_tool_blocking` brings its own",
            ));
        }
        let runtime = Runtime::current();
        let config = runtime.service(service)?;
        let fleet = runtime.extension::<Connections>().fleet(&runtime, config)?;
        let arguments = match self.arguments {
            Ok(arguments) => arguments,
            Err(problem) => {
                let error = Error::denied(format!("the arguments of {tool} of {service} {problem}"));
                let caller: Arc<dyn Caller> = Arc::new(Unsendable(fleet.caller()));
                let request = Request::new(&**service, tool, &MCP_INTEGRATION);
                return Err(runtime.refused(&request, &caller, error).await);
            }
        };
        let unset = ToolConfig::default();
        let configured = config.tools.get(tool).unwrap_or(&unset);

        let mut deadline = self.deadline;
        if asks_the_server(self.idempotent, config, configured) && fleet.known_tools().is_none() {
            // Once for every service. The time it takes is the call's.
            let limit = deadline.or(configured.deadline).or(config.deadline).unwrap_or(MCP_INTEGRATION.deadline);
            let clock = Clock::system();
            let began = clock.now();
            if let Err(error) = list(&runtime, service, &fleet, Some(limit)).await {
                let request = Request { arguments, ..Request::new(&**service, tool, &MCP_INTEGRATION) };
                return Err(runtime.refused(&request, &fleet.caller(), error).await);
            }
            deadline = Some(limit.saturating_sub(clock.now().saturating_duration_since(began)));
        }
        let known = fleet.known_tool(tool);
        let refused = fleet.refuse(tool, known.as_deref(), &arguments);
        let nature = nature(self.idempotent, configured, known.as_deref().filter(|_| config.trusted));
        let request = Request {
            arguments,
            repeatable: nature.repeatable,
            read_only: nature.read_only || declares_a_read(self.cache, configured),
            identity: identity(config),
            priority: self.priority,
            deadline,
            timeout: self.timeout,
            retries: self.retries,
            cache: self.cache,
            deferrable: self.deferrable,
            queued: self.queued,
            invalidates: self.invalidates,
            ..Request::new(&**service, tool, &MCP_INTEGRATION)
        };
        if let Some(problem) = refused {
            let error = Error::denied(format!("calling {tool} of {service}: {problem}"));
            return Err(runtime.refused(&request, &fleet.caller(), error).await);
        }
        let replied = runtime.request(request, fleet.caller()).await;
        // After the call, which connects and lists the tools anew where that has to be.
        if let Some(shape) = fleet.shape(tool) {
            runtime.note_schema(service, tool, shape);
        }
        replied
    }

    /// [`call`](Self::call) for synchronous functions: blocks the thread.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    pub fn call_blocking(self) -> Result<Reply, Error> {
        blocking::wait(self.call())
    }
}

/// A connection of one's own as the caller of a request: for what the configuration of a service cannot say.
impl Caller for Session {
    fn attempt<'a>(&'a self, request: &'a Request, attempt: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        Box::pin(async move {
            let due = Due::of_attempt(attempt);
            let called = self.call_once(&request.operation, &request.arguments, &due, None).await.map_err(failure)?;
            Ok(task::fetched(called, str::to_owned))
        })
    }

    fn ask<'a>(
        &'a self,
        request: &'a Request,
        token: &'a str,
        attempt: AttemptContext,
    ) -> BoxFuture<'a, Result<News, Failure>> {
        Box::pin(async move {
            let due = Due::of_attempt(attempt);
            let asking = self.follow_once(token, &request.operation, &request.arguments, &due);
            task::news(asking.await, token)
        })
    }

    fn asks_as(&self) -> &'static str {
        task::ASK
    }

    fn call_off<'a>(&'a self, _: &'a Request, token: &'a str, until: Instant) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // Nobody waits for what comes of it.
            let _ = self.forgo(token, until).await;
        })
    }

    fn vetting(&self, request: &Request) -> Vetting {
        let tools = self.known_tools();
        let known = tools.as_deref().and_then(|tools| tools.iter().find(|tool| tool.name == request.operation));
        self.vet(&request.operation, known, &request.arguments)
    }
}

/// Finds who sends the requests of a service: for calls that were put off and are made by a worker.
pub(crate) fn caller(runtime: &Runtime, service: &str) -> Result<Arc<dyn Caller>, Error> {
    Ok(runtime.extension::<Connections>().fleet(runtime, runtime.service(service)?)?.caller())
}

/// What tells one set of credentials from another, and does not tell what they are.
fn identity(config: &ServiceConfig) -> u64 {
    let mut identity = DefaultHasher::new();
    config.auth_token.as_ref().map(|token| token.expose()).hash(&mut identity);
    config.signing.as_ref().map(|signing| (signing.key_id(), signing.key())).hash(&mut identity);
    identity.finish()
}

async fn list(
    runtime: &Runtime,
    service: &str,
    fleet: &Fleet,
    deadline: Option<Duration>,
) -> Result<Arc<[ToolInfo]>, Error> {
    // Those who call a server first all at once ask it once.
    let coalesce = Some(CacheKey::of(&(LIST, service)));
    let call =
        ServiceCall { repeatable: true, deadline, coalesce, ..ServiceCall::new(service, LIST, &MCP_INTEGRATION) };
    let answer =
        runtime.call(&call, |attempt| async move { fleet.list(Due::of_attempt(attempt)).await.map_err(failure) });
    Ok(answer.await?.value)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The connections of one runtime, one for each service; they end with it.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<HashMap<String, Fleet>>);

impl Connections {
    pub(super) fn fleet(&self, runtime: &Runtime, config: &ServiceConfig) -> Result<Fleet, Error> {
        let mut fleets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fleet) = fleets.get(&config.name) {
            return Ok(fleet.clone());
        }
        let target = target(config)?;
        let places = match &config.command {
            Some(command) if config.transport == Transport::Stdio => {
                vec![Place { address: command.clone(), shown: command.clone(), weight: 1 }]
            }
            _ => config.endpoints.iter().map(Place::from).collect(),
        };
        let (pool, balancer) = (runtime.config().pool_of(config), runtime.config().balancer_of(config));
        let limits = Limits { connect: pool.connection_timeout, ..Limits::default() };
        let checks = Arc::new(Checks::of(config));
        let signer = config.signing.as_ref().map(Signer::try_from).transpose()?;
        let fleet = Fleet::new(places, pool, balancer, checks.clone(), move |place: &Place| {
            let there = Attended::from(target.at(&place.address));
            let there = match &signer {
                Some(signer) => there.signed_by(signer.clone()),
                None => there,
            };
            Session::checked(there, limits, checks.clone())
        });
        fleets.insert(config.name.clone(), fleet.clone());
        Ok(fleet)
    }
}

/// How the service is spoken to, at the first of its endpoints.
fn target(config: &ServiceConfig) -> Result<Target, Error> {
    let missing = |what: &str| Error::configuration(format!("service `{}` has no {what}", config.name));
    let token = config.auth_token.as_ref().map(|token| token.expose().to_owned());
    let first = config.endpoints.first().map(|endpoint| endpoint.url.clone());
    let url = || first.clone().ok_or_else(|| missing("endpoint to call its tools at"));
    match config.transport {
        Transport::Http => Ok(Target::Http { url: url()?, token }),
        Transport::Sse => Ok(Target::Sse { url: url()?, token }),
        #[cfg(feature = "websocket")]
        Transport::WebSocket => Ok(Target::WebSocket { url: url()?, token }),
        Transport::Stdio => {
            let command = config.command.clone().ok_or_else(|| missing("command to start it with"))?;
            Ok(Target::Stdio { command, args: config.args.clone(), env: config.env.clone() })
        }
        other => Err(Error::configuration(format!(
            "service `{}`: the transport `{}` is not in this build; enable the feature `websocket` of poet-domains",
            config.name,
            other.as_str()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use poet_runtime::config::{Signing, SigningAlgorithm};

    #[test]
    fn what_one_key_was_answered_is_not_given_to_another() {
        let crm = |key_id| {
            let key = Signing::new(SigningAlgorithm::HmacSha256, key_id, "c2l4dGVlbiBieXRlcyEhIQ==");
            identity(&ServiceConfig::http("crm", "http://crm").signing(key.expect("it is a key")))
        };
        assert_eq!(crm("ann"), crm("ann"));
        assert_ne!(crm("ann"), crm("bob"));
        assert_ne!(crm("ann"), identity(&ServiceConfig::http("crm", "http://crm")));
    }

    #[test]
    fn every_transport_of_a_configuration_is_spoken_at_every_endpoint() {
        for transport in Transport::ALL {
            let command = (transport == Transport::Stdio).then(|| "crm-server".to_owned());
            let config = ServiceConfig { transport, command, ..ServiceConfig::http("crm", "http://one.test/mcp") };
            let target = target(&config).expect("it is spoken");
            let shown = format!("{:?}", target.at("http://two.test/mcp"));
            assert!(shown.contains("two.test") || shown.contains("crm-server"), "{transport:?}: {shown}");
        }
        let nowhere = ServiceConfig::named("crm");
        assert!(target(&nowhere).unwrap_err().is_configuration());
    }
}
