//! The door for calls that the runtime may move: answer from the cache, put off, make together with others.
//!
//! Such a call is a [`Request`], names and JSON, which can be stored and sent later, and a [`Caller`], who sends it.
//! The stages stand in the order in which they are asked; each is a file beside this one. What none of them takes goes
//! through [`Runtime::call`], and what fails there meets the fallbacks.

mod accepted;
mod avoided;
mod batched;
mod cached;
mod deferred;
mod fallback;

pub use accepted::{Accepted, News};
pub(crate) use accepted::{SOONEST, ask, call_off, error_of, forgotten, invalidate, record, told};
pub(crate) use deferred::{foreseen, make, obstacle};
pub use fallback::FallbackCall;
pub(crate) use fallback::Fallbacks;

use super::service::{AttemptContext, Failure, Keep, Landing};
use crate::audit::{AccessRule, Account, Declared, Trail, Validation};
use crate::config::{ServiceConfig, ToolConfig};
use crate::context::{self, UnderWay};
use crate::error::Error;
use crate::key::CacheKey;
use crate::outcome::Shown;
use crate::profile::Profile;
use crate::reply::{PENDING, Reply, is_pending};
use crate::runtime::Runtime;
use crate::service::{Answer, ServiceCall};
use crate::site::Priority;
use crate::store::BoxFuture;
use crate::target::Target;
use serde_json::{Map, Value};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is asked of a service: names and JSON, so that it can be stored and sent later.
#[derive(Clone, Debug)]
pub struct Request {
    /// The service, as configured.
    pub service: String,
    /// The operation (tool).
    pub operation: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// The profile of the domain.
    pub profile: &'static Profile,
    /// Whether it may be executed twice. Unknown means no.
    pub repeatable: bool,
    /// Whether it changes nothing, so that identical ones may share one call.
    pub read_only: bool,
    /// What tells the credentials it is sent with from others: what one identity may read, another may not.
    pub identity: u64,
    /// How much it matters; `None` means as the function around it.
    pub priority: Option<Priority>,
    /// The longest the whole call may take.
    pub deadline: Option<Duration>,
    /// The longest one attempt may take.
    pub timeout: Option<Duration>,
    /// Extra tries.
    pub retries: Option<u8>,
    /// What the caller wants of the cache.
    pub cache: CacheWish,
    /// Whether it may be put off; `None` means as configured, or as the function around it says.
    pub deferrable: Option<bool>,
    /// Whether it is acknowledged at once and made by a worker; `None` means as configured.
    pub queued: Option<bool>,
    /// Whether it may be made together with others; `false` for one that already stands for several.
    pub batchable: bool,
    /// Whether it may be answered by a fallback.
    pub fallible: bool,
    /// Operations whose kept answers it makes worthless, beside those that are configured.
    pub invalidates: Vec<String>,
}

impl Request {
    /// A request that may not be repeated, with nothing said about it.
    pub fn new(service: impl Into<String>, operation: impl Into<String>, profile: &'static Profile) -> Self {
        Self {
            service: service.into(),
            operation: operation.into(),
            arguments: Map::new(),
            profile,
            repeatable: false,
            read_only: false,
            identity: 0,
            priority: None,
            deadline: None,
            timeout: None,
            retries: None,
            cache: CacheWish::AsConfigured,
            deferrable: None,
            queued: None,
            batchable: true,
            fallible: true,
            invalidates: Vec::new(),
        }
    }
}

/// What a call wants of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheWish {
    /// What is configured.
    #[default]
    AsConfigured,
    /// A kept answer up to this age, and the answer is kept.
    UpTo(Duration),
    /// No kept answer, and the answer is not kept.
    Never,
    /// No kept answer, but the answer is kept.
    Refresh,
}

/// What a service answered.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The answer.
    pub value: Value,
    /// How long the service says that it is valid; `None` where it says nothing.
    pub valid_for: Option<Duration>,
    /// What the service said instead of an answer, where it took the request on; the value then counts for nothing.
    pub accepted: Option<Accepted>,
}

impl From<Value> for Fetched {
    fn from(value: Value) -> Self {
        Self { value, valid_for: None, accepted: None }
    }
}

impl From<Accepted> for Fetched {
    fn from(accepted: Accepted) -> Self {
        Self { accepted: Some(accepted), ..Self::from(Value::Null) }
    }
}

/// What a caller checks about a request, and who says what it may do: for the audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vetting {
    /// Who says whether it may be executed more than once; `None` where nobody but the call does.
    pub declared: Option<Declared>,
    /// The rule by which it may be sent or not; `None` where nobody checks that.
    pub access: Option<AccessRule>,
    /// What came of holding its arguments against what the service declares.
    pub arguments: Validation,
    /// Whether an answer is held against it: [`Validation::Passed`] of one that counts as an answer.
    pub answers: Validation,
}

/// Sends the requests of one service.
pub trait Caller: Send + Sync + fmt::Debug + 'static {
    /// Makes one attempt.
    fn attempt<'a>(&'a self, request: &'a Request, attempt: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>>;

    /// Asks what became of a request that the service took on, by the token it gave; perhaps in another process than the
    /// one that made the request. It must not start the operation again. The failure is one of asking.
    fn ask<'a>(
        &'a self,
        _request: &'a Request,
        _token: &'a str,
        _attempt: AttemptContext,
    ) -> BoxFuture<'a, Result<News, Failure>> {
        Box::pin(std::future::ready(Ok(News::Forgotten)))
    }

    /// The operation under which asking is learned and reported.
    fn asks_as(&self) -> &'static str {
        "ask"
    }

    /// Tells the service that nobody wants any more what it took on. Whether it stops is its own affair.
    fn call_off<'a>(&'a self, _request: &'a Request, _token: &'a str, _until: Instant) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// What is checked about a request, as far as that is known by now. Asked for calls whose audit is on, before and
    /// after.
    fn vetting(&self, request: &Request) -> Vetting {
        let _ = request;
        Vetting::default()
    }
}

/// Finds who sends the requests of a service by its name.
pub type FindCaller = fn(&Runtime, &str) -> Result<Arc<dyn Caller>, Error>;

/// A request under way, with everything that is known about it. Owned, so that what outlives the caller can take it
/// along.
#[derive(Clone, Debug)]
struct Order {
    runtime: Runtime,
    request: Arc<Request>,
    caller: Arc<dyn Caller>,
    target: Arc<Target>,
    /// How much it matters, the function around it considered.
    priority: Priority,
    /// When it has to have ended.
    deadline: Instant,
    began: Instant,
    /// What the cache may do for it.
    terms: cached::Terms,
    /// Whether the queue has refused to take it.
    refused: bool,
    /// Whether a worker makes it, and nobody waits for the answer.
    left_to_a_worker: bool,
    /// Where it is written down what is decided about it, if its audit is on.
    trail: Option<Trail>,
}

impl Order {
    fn new(runtime: &Runtime, request: Request, caller: Arc<dyn Caller>) -> Self {
        Self::keyed(runtime, request, caller, None)
    }

    /// [`new`](Self::new), where the key of the request is known.
    fn keyed(runtime: &Runtime, request: Request, caller: Arc<dyn Caller>, key: Option<CacheKey>) -> Self {
        let target =
            runtime.0.registry.service_target(&runtime.0, &request.service, &request.operation, request.profile);
        let began = runtime.0.clock.now();
        let deadline = super::perceive::deadline(&target, began, request.deadline);
        let priority = request
            .priority
            .unwrap_or_else(|| context::surrounding(|outer| outer.map_or(Priority::Normal, |outer| outer.priority)));
        let terms = cached::terms(&runtime.0, &request, &target, key);
        Self {
            runtime: runtime.clone(),
            request: Arc::new(request),
            caller,
            target,
            priority,
            deadline,
            began,
            terms,
            refused: false,
            left_to_a_worker: false,
            trail: None,
        }
    }

    fn service(&self) -> Option<&ServiceConfig> {
        self.runtime.config().services.get(&self.request.service)
    }

    fn tool(&self) -> Option<&ToolConfig> {
        self.service()?.tools.get(&self.request.operation)
    }

    fn price(&self) -> Option<f64> {
        self.tool()?.cost
    }
}

impl Runtime {
    /// Makes a request through every stage: it may be answered from the cache, put off, or made together with others.
    ///
    /// # Errors
    ///
    /// The service's own error once no further attempt is made and no fallback answers, or the reason there was none;
    /// see [`Error`].
    #[expect(
        clippy::manual_async_fn,
        reason = "what a block captures stays in place; arguments of an `async fn` are moved"
    )]
    pub fn request(
        &self,
        request: Request,
        caller: Arc<dyn Caller>,
    ) -> impl Future<Output = Result<Reply, Error>> + Send + use<'_> {
        async move {
            if let Some(account) = Account::of_request(self, &request, &caller) {
                return Box::pin(self.audited(account, request, caller)).await;
            }
            match self.at_once(&request, &caller) {
                ControlFlow::Break(answered) => answered,
                // Boxed, so that who is answered from the cache does not move the future of a whole call about.
                ControlFlow::Continue(key) => Box::pin(self.fetch(request, caller, key, None)).await,
            }
        }
    }

    /// [`request`](Self::request), written down.
    async fn audited(&self, account: Box<Account>, request: Request, caller: Arc<dyn Caller>) -> Result<Reply, Error> {
        let result = match self.at_once(&request, &caller) {
            ControlFlow::Break(answered) => answered,
            ControlFlow::Continue(key) => self.fetch(request, caller, key, Some(account.trail())).await,
        };
        account.close(result).await
    }

    /// What is known of a request at once: that it cannot be sent, or its answer. Else its key, where that was made.
    #[inline]
    fn at_once(
        &self,
        request: &Request,
        caller: &Arc<dyn Caller>,
    ) -> ControlFlow<Result<Reply, Error>, Option<CacheKey>> {
        if request.arguments.contains_key(PENDING) || request.arguments.values().any(is_pending) {
            let Request { service, operation, .. } = request;
            let message = "an argument is the value of a call that was put off and is not there yet";
            return ControlFlow::Break(Err(Error::denied(message).at(service, operation)));
        }
        match cached::at_hand(&self.0, request) {
            cached::AtHand::Fresh(reply, renews) => {
                if renews {
                    cached::refresh(&Order::new(self, request.clone(), caller.clone()));
                }
                ControlFlow::Break(Ok(reply))
            }
            cached::AtHand::Nothing(key) => ControlFlow::Continue(key),
        }
    }

    /// [`request`](Self::request) for which nothing was at hand.
    async fn fetch(
        &self,
        request: Request,
        caller: Arc<dyn Caller>,
        key: Option<CacheKey>,
        trail: Option<Trail>,
    ) -> Result<Reply, Error> {
        let mut order = Order { trail, ..Order::keyed(self, request, caller, key) };
        let under_way = UnderWay::begin(self.0.number, order.target.id);
        let result = self.fetch_ordered(&mut order).await;
        under_way.end(result.is_err());
        result
    }

    async fn fetch_ordered(&self, order: &mut Order) -> Result<Reply, Error> {
        let look = cached::look(order);
        if let cached::Look::Found(reply) = look {
            return Ok(reply);
        }
        // An answer that may stand in for a failure is better than none for now.
        if !matches!(look, cached::Look::OnError)
            && let Some(put_off) = deferred::before(order).await
        {
            return put_off;
        }
        let (result, landing) = now(order).await;
        match result {
            Ok(reply) => Ok(reply),
            Err(error) => fallback::settle(order, look, error, landing).await,
        }
    }
}

/// Makes the call now, with others or by itself; what a write makes worthless is forgotten.
async fn now(order: &Order) -> (Result<Reply, Error>, Landing<'_>) {
    let write = cached::Write::of(order);
    let (result, landing) = match batched::join(order).await {
        Some(joined) => joined,
        None => {
            let (fetched, landing) = single(order).await;
            accepted::settle(order, fetched, landing).await
        }
    };
    if let Some(write) = write {
        write.ended(&result);
    }
    (result, landing)
}

/// Makes the call by itself, or shares an identical one that is under way; its answer is kept.
async fn single(order: &Order) -> (Result<Answer<cached::Shared>, Error>, Landing<'_>) {
    let Order { request, caller, .. } = order;
    let attempt = |attempt| {
        let fetching = caller.attempt(request, attempt);
        async move {
            let Fetched { value, valid_for, accepted } = fetching.await?;
            Ok(cached::Shared { value: Arc::new(value), valid_for, accepted })
        }
    };
    fly(order, cached::shared_key(order), None, order, attempt).await
}

/// The reply with what was fetched.
fn reply_of(order: &Order, answer: Answer<cached::Shared>) -> Reply {
    let Answer { value, disposition, attempts, elapsed, execution } = answer;
    Reply::shared(Answer { value: value.value, disposition, attempts, elapsed, execution }, order.price())
}

/// Sends through the pipeline.
async fn fly<'a, V, F>(
    order: &'a Order,
    coalesce: Option<CacheKey>,
    shown: Option<Shown>,
    keep: &impl Keep<V>,
    mut attempt: impl FnMut(AttemptContext) -> F,
) -> (Result<Answer<V>, Error>, Landing<'a>)
where
    V: Clone + Send + Sync + 'static,
    F: Future<Output = Result<V, Failure>>,
{
    let Order { runtime, request, target, priority, deadline, .. } = order;
    let left = deadline.saturating_duration_since(runtime.0.clock.now());
    let call = ServiceCall {
        repeatable: request.repeatable,
        priority: Some(*priority),
        deadline: Some(left),
        timeout: request.timeout,
        retries: request.retries,
        coalesce,
        shown,
        may_be_accepted: deferred::may_be_accepted(order),
        ..ServiceCall::new(&request.service, &request.operation, request.profile)
    };
    runtime.call_and_land(target, &call, keep, &mut attempt).await
}
