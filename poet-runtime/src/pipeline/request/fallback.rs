//! Enforce: who answers when the service does not.
//!
//! Asked in this order, and the first who answers does: the answer that was kept, where it may still be given in this
//! case; the other service that is configured; the handler that the program registered; the queue, which makes the call
//! later.
//!
//! * A fallback stands in for a service that fails: one that is down, late, throttling, or answers nonsense. What is the
//!   caller's own mistake (refused, not found, not configured) stays the caller's error, whoever is registered.
//! * Nobody does the work again where it may have been done and may not be repeated: then neither the other service nor
//!   the queue is asked. The handler is, and is told, because it may be the one who calls a person.
//! * The answer is marked, and the call counts as one that a fallback answered, once. What the service did in its
//!   attempts is evidence about it as ever, and the other service's own call is evidence about that one.

use super::cached::{Look, Write};
use super::{Order, Request, deferred};
use crate::audit::{What, Who};
use crate::context;
use crate::error::{Error, Kind};
use crate::outcome::Class;
use crate::pipeline::flight::MOMENT;
use crate::pipeline::service::Landing;
use crate::reply::{Disposition, Reply};
use crate::runtime::Runtime;
use crate::service::{Answer, Caller};
use crate::store::BoxFuture;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// What all who may answer at the deadline have together, one after the other.
const LONGEST: Duration = Duration::from_millis(40);

/// A call that its service did not answer, as a registered handler is told of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FallbackCall {
    /// The service.
    pub service: String,
    /// The operation (tool).
    pub operation: String,
    /// The arguments it was to be given.
    pub arguments: Map<String, Value>,
    /// Why the service's own answer is not to be had.
    pub error: String,
    /// Whether the operation may have been executed all the same. It must not be done again then.
    pub outcome_unknown: bool,
}

type Handler = Arc<dyn Fn(FallbackCall) -> BoxFuture<'static, Result<Value, Error>> + Send + Sync>;

/// The handlers of a runtime: as many as its program registers.
#[derive(Default)]
pub(crate) struct Fallbacks(RwLock<HashMap<String, HashMap<String, Handler>>>);

impl Fallbacks {
    fn of(&self, service: &str, operation: &str) -> Option<Handler> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(service)?.get(operation).cloned()
    }
}

impl fmt::Debug for Fallbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallbacks").finish_non_exhaustive()
    }
}

impl Runtime {
    /// Registers who answers for an operation of a service when the service fails and nothing else answers; it takes
    /// the place of the one registered before.
    ///
    /// It is asked after retries are exhausted, and not for mistakes of the caller. It has until the deadline of the
    /// call, or a moment where that has passed. Its answer comes as a [`Reply`] with
    /// [`Disposition::Fallback`]; its error leaves the service's own error standing.
    ///
    /// # Examples
    ///
    /// ```
    /// use poet_runtime::Runtime;
    /// use serde_json::json;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let runtime = Runtime::builder().configuration(Default::default()).in_memory().build()?;
    /// runtime.register_fallback("render", "render_restart_service", |call| async move {
    ///     eprintln!("restart by hand: {:?} ({})", call.arguments, call.error);
    ///     Ok(json!({ "fallback": true, "message": "Queued for manual restart" }))
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn register_fallback<H, F>(&self, service: impl Into<String>, operation: impl Into<String>, handler: H)
    where
        H: Fn(FallbackCall) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Value, Error>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |call| Box::pin(handler(call)));
        let mut registered = self.0.fallbacks.0.write().unwrap_or_else(PoisonError::into_inner);
        registered.entry(service.into()).or_default().insert(operation.into(), handler);
    }
}

/// What a fallback answered.
struct Answered {
    /// Who, in a word that does not change; and who said that it is asked.
    to: (&'static str, Who),
    /// The call of the other service.
    execution: Option<String>,
    value: Arc<Value>,
    /// Who, where that says more than the reason does.
    who: Option<String>,
    /// Attempts made at another service, and what they cost.
    attempts: u32,
    cost: Option<f64>,
}

impl Answered {
    fn at_hand(to: (&'static str, Who), value: impl Into<Arc<Value>>, who: Option<String>) -> Self {
        Self { to, execution: None, value: value.into(), who, attempts: 0, cost: None }
    }
}

/// What the caller gets for a call that failed.
pub(super) async fn settle(order: &Order, look: Look, error: Error, landing: Landing<'_>) -> Result<Reply, Error> {
    let Order { runtime, request, .. } = order;
    if !request.fallible || !is_failure_of_the_service(&error) {
        landing.failed();
        return Err(error);
    }
    let last = order.deadline.max(runtime.0.clock.now()) + LONGEST;
    let Answered { to: (to, by), execution: other, value, who, attempts, cost } =
        match instead(order, look, &error, last).await {
            Ok(answered) => answered,
            Err(Some(perhaps_done)) => {
                landing.failed();
                let elapsed = runtime.0.clock.now().saturating_duration_since(order.began);
                let unknown = Error::new(Kind::OutcomeUnknown).with_source(Some(Box::new(perhaps_done)));
                return Err(unknown.at(&request.service, &request.operation).after(attempts_of(&error), elapsed));
            }
            Err(None) => {
                return match deferred::after_failure(order, &error, last).await {
                    Some(reply) => {
                        landing.put_off();
                        Ok(reply)
                    }
                    None => {
                        landing.failed();
                        Err(error)
                    }
                };
            }
        };
    if let Some(trail) = &order.trail {
        trail.note(runtime.0.clock.now(), What::FellBack { to: to.to_owned(), execution: other }, by);
    }
    let reason = match who {
        Some(who) => format!("{}: {error}; {who}", word(&error)),
        None => format!("{}: {error}", word(&error)),
    };
    let (elapsed, execution) = landing.answered().unwrap_or_else(|| {
        let elapsed = runtime.0.clock.now().saturating_duration_since(order.began);
        (elapsed, runtime.0.next_execution())
    });
    context::tell_surrounding(0, false, vec![format!("{}_{}_fallback", request.service, request.operation)]);
    let own = order.price().map(|price| price * f64::from(error.attempts()));
    let answer = Answer {
        value,
        disposition: Disposition::Fallback { reason },
        attempts: error.attempts() + attempts,
        elapsed,
        execution: runtime.0.execution_id(execution),
    };
    Ok(Reply::shared(answer, None).costing(own.into_iter().chain(cost).reduce(|a, b| a + b)))
}

/// Asks everybody who may answer, one after the other.
///
/// # Errors
///
/// Where nobody does; with the error of the other service, if it may have done what must not be done twice.
async fn instead(order: &Order, look: Look, error: &Error, last: Instant) -> Result<Answered, Option<Error>> {
    if let Some((value, age)) = look.stands_in(order, error) {
        let to = ("cache", Who::Configuration);
        return Ok(Answered::at_hand(to, value, Some(format!("this answer is {age:.0?} old"))));
    }
    let perhaps_done = match other_service(order, error).await {
        Ok(Some(answered)) => return Ok(answered),
        Ok(None) => None,
        Err(error) => Some(error),
    };
    let unknown = perhaps_done.is_some() || !error.allows_another(order.request.repeatable);
    handler(order, error, unknown, last).await.ok_or(perhaps_done)
}

fn attempts_of(error: &Error) -> u8 {
    u8::try_from(error.attempts()).unwrap_or(u8::MAX)
}

/// Whether the service is at fault, and not the caller.
fn is_failure_of_the_service(error: &Error) -> bool {
    !matches!(
        error.kind(),
        Kind::Denied
            | Kind::Configuration
            | Kind::Unrecorded { .. }
            | Kind::Pending { .. }
            | Kind::Service { class: Class::Permanent | Class::Cancelled | Class::Success }
    )
}

/// What the other service that is configured answers; `None` where there is none, or it surely did nothing.
///
/// # Errors
///
/// Its error, where it may have done what must not be done twice.
async fn other_service(order: &Order, error: &Error) -> Result<Option<Answered>, Error> {
    let Order { runtime, request, caller, deadline, .. } = order;
    let Some(other) = order.tool().and_then(|tool| tool.fallback.as_ref()) else { return Ok(None) };
    let left = deadline.saturating_duration_since(runtime.0.clock.now());
    let itself = other.service == request.service && other.tool == request.operation;
    // That a write may be repeated is true of one service, and says nothing about two that both do it.
    if itself || left.is_zero() || !error.allows_another(request.read_only) {
        return Ok(None);
    }
    let caller = if other.service == request.service {
        caller.clone()
    } else {
        let Some(find) = request.profile.caller else { return Ok(None) };
        match find(runtime, &other.service) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "the fallback cannot be asked");
                return Ok(None);
            }
        }
    };
    let service = runtime.config().services.get(&other.service);
    let tool = service.and_then(|service| service.tools.get(&other.tool));
    let says = |what: fn(&crate::config::ToolConfig) -> Option<bool>| tool.and_then(what);
    // That a write may be repeated is true of the tool that does it, and nothing is known of this one. A read is one
    // wherever it is asked for.
    let read_only = says(|tool| tool.read_only).unwrap_or(request.read_only);
    let repeatable = says(|tool| tool.idempotent).unwrap_or(read_only);
    let instead = Request {
        arguments: request.arguments.clone(),
        repeatable,
        read_only: read_only && repeatable,
        identity: request.identity,
        priority: Some(order.priority),
        deadline: Some(left),
        deferrable: Some(false),
        queued: Some(false),
        fallible: false,
        ..Request::new(&*other.service, &*other.tool, request.profile)
    };
    // Whoever does the work, what it makes worthless is the same.
    let write = Write::of(order);
    let answer = ask(runtime, instead, caller).await;
    if let Some(write) = write {
        write.ended(&answer);
    }
    match answer {
        Ok(reply) => Ok(Some(Answered {
            to: ("service", Who::Configuration),
            execution: Some(reply.execution_id().to_string()),
            value: reply.shared_value().clone(),
            who: Some(format!("{} of {} answered", other.tool, other.service)),
            attempts: reply.attempts(),
            cost: reply.cost(),
        })),
        Err(error) => {
            tracing::warn!(%error, "the fallback failed as well");
            // Whatever may be repeated there: to do it here as well would be the second time.
            if request.repeatable || error.allows_another(false) { Ok(None) } else { Err(error) }
        }
    }
}

/// A request inside a request: its future has to end somewhere.
fn ask<'a>(runtime: &'a Runtime, request: Request, caller: Arc<dyn Caller>) -> BoxFuture<'a, Result<Reply, Error>> {
    Box::pin(runtime.request(request, caller))
}

async fn handler(order: &Order, error: &Error, outcome_unknown: bool, last: Instant) -> Option<Answered> {
    let Order { runtime, request, .. } = order;
    let handler = runtime.0.fallbacks.of(&request.service, &request.operation)?;
    if tokio::runtime::Handle::try_current().is_err() {
        return None;
    }
    let call = FallbackCall {
        service: request.service.clone(),
        operation: request.operation.clone(),
        arguments: request.arguments.clone(),
        error: error.to_string(),
        outcome_unknown,
    };
    let until = until(order, last);
    match timeout_at(until.into(), handler(call)).await {
        Ok(Ok(value)) => Some(Answered::at_hand(("handler", Who::Caller), value, None)),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the fallback failed as well");
            None
        }
        Err(_) => {
            tracing::warn!(
                service = request.service,
                operation = request.operation,
                "the fallback was not done in time"
            );
            None
        }
    }
}

/// When who is asked now has to be done: by the deadline, or within a moment where that has passed, and by the `last`
/// moment at any rate.
pub(super) fn until(order: &Order, last: Instant) -> Instant {
    order.deadline.max(order.runtime.0.clock.now() + MOMENT).min(last)
}

/// What failed, in a word that does not change.
fn word(error: &Error) -> &'static str {
    match error.kind() {
        Kind::Timeout { .. } => "timeout",
        Kind::Deadline { .. } => "deadline",
        Kind::CircuitOpen { .. } => "circuit_open",
        Kind::Crowded { .. } => "crowded",
        Kind::Throttled { .. } | Kind::Service { class: Class::Throttled { .. } } => "throttled",
        Kind::OutcomeUnknown => "outcome_unknown",
        Kind::BudgetExhausted => "retry_budget",
        Kind::InvalidResponse => "invalid_response",
        Kind::Denied | Kind::Configuration | Kind::Unrecorded { .. } | Kind::Pending { .. } | Kind::Service { .. } => {
            "service_unavailable"
        }
    }
}
