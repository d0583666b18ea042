//! What a service took on and does in its own time: it answered with a token, and is to be asked for what came of it.
//!
//! Taking a request on is an answer, so the attempt ends there, and how long the work takes is no latency of it. What
//! follows is decided here: a call that may be put off becomes a job that knows the token, so that whoever has the queue
//! asks, in this process or after it; any other waits within its deadline. Asking changes nothing, so it is an ordinary
//! call of its own, with its own values, circuit and retries. The operation itself is never started again because of it:
//! where the service does not know the token any more, the outcome of a write is unknown.

use super::{Caller, Fetched, Order, Request, cached, deferred, reply_of};
use crate::audit::{Account, Origin};
use crate::clock::after;
use crate::error::{Error, Kind};
use crate::outcome::{Class, Ending};
use crate::pipeline::flight::Flight;
use crate::pipeline::perceive::Written;
use crate::pipeline::service::{Failure, Landing, settle as settled, writing};
use crate::reply::{Disposition, Reply};
use crate::runtime::Runtime;
use crate::service::{Answer, ServiceCall};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How soon a service is asked again at the soonest, whatever it says.
pub(crate) const SOONEST: Duration = Duration::from_millis(100);

/// How long a service has to be asked a last time before the deadline.
const LAST: Duration = Duration::from_millis(500);

/// How long a service is tried to be told that nobody wants what it took on.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a service says instead of an answer: it has taken the request on.
///
/// From then on it knows of it, also if this process ends.
#[derive(Clone, PartialEq, Eq)]
pub struct Accepted {
    /// What it is asked by; stored where the call is put off.
    pub token: String,
    /// When it wants to be asked.
    pub ask_in: Duration,
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Who has the token may ask.
        f.debug_struct("Accepted").field("ask_in", &self.ask_in).finish_non_exhaustive()
    }
}

/// What a service says of a request that it took on.
#[derive(Debug)]
pub enum News {
    /// It is still at it.
    Working(Accepted),
    /// It is done.
    Done(Fetched),
    /// It failed.
    Failed(Failure),
    /// It does not know of it, or not any more.
    Forgotten,
}

/// Asks once what became of a request.
///
/// # Errors
///
/// If that is not to be found out just now.
pub(crate) async fn ask(
    runtime: &Runtime,
    request: &Request,
    caller: &Arc<dyn Caller>,
    token: &str,
    within: Option<Duration>,
) -> Result<News, Error> {
    let call = ServiceCall {
        repeatable: true,
        priority: request.priority,
        deadline: within,
        ..ServiceCall::new(&request.service, caller.asks_as(), request.profile)
    };
    let target = runtime.0.registry.service_target(&runtime.0, call.service, call.operation, call.profile);
    let mut asked = async |attempt| caller.ask(request, token, attempt).await.map(Arc::new);
    let answer = runtime.call_aside(&target, &call, &mut asked).await?;
    Ok(Arc::into_inner(answer.value).expect("only identical calls share an answer, and this is none"))
}

/// The error of a call whose request failed after it had been taken on.
pub(crate) fn error_of(request: &Request, failure: Failure) -> Error {
    let class = failure.class;
    settled(failure, class, None, Kind::Service { class })
        .at(&request.service, &request.operation)
        .after(1, Duration::ZERO)
}

/// The error of a call whose request the service knows nothing of any more.
pub(crate) fn forgotten(request: &Request) -> Error {
    let kind = if request.repeatable { Kind::Service { class: Class::Transient } } else { Kind::OutcomeUnknown };
    let words = "the service had taken the call on, and does not know of it any more";
    Error::new(kind).with_source(Some(words.into())).at(&request.service, &request.operation).after(1, Duration::ZERO)
}

/// Tells a service that nobody wants what it took on; gives up after a while.
pub(crate) async fn call_off(request: &Request, caller: &Arc<dyn Caller>, token: &str) {
    let until = after(crate::Clock::system().now(), FAREWELL);
    drop(tokio::time::timeout(FAREWELL, caller.call_off(request, token, until)).await);
}

/// Writes down how the call of a job ended whose attempts were over long before.
pub(crate) fn record(runtime: &Runtime, request: &Request, ending: Ending) {
    let target = runtime.0.registry.service_target(&runtime.0, &request.service, &request.operation, request.profile);
    let call = ServiceCall::new(&request.service, &request.operation, request.profile);
    let written = Written { priority: request.priority, ..writing(&call) };
    Flight::take_off(&runtime.0, &target, None, written, true).finish(ending);
}

/// Writes into the audit how a request ended that was taken on for a job.
///
/// # Errors
///
/// Where the audit is strict, and that the request was done cannot be written down.
pub(crate) async fn told(
    runtime: &Runtime,
    request: &Request,
    caller: &Arc<dyn Caller>,
    origin: Origin,
    result: Result<Value, Error>,
) -> Result<(), Error> {
    let Some(account) = Account::of_request(runtime, request, caller) else { return Ok(()) };
    account.made_for(origin);
    let execution = runtime.0.execution_id(account.trail().number());
    let is_done = result.is_ok();
    let answer =
        |value| Answer { value, disposition: Disposition::Done, attempts: 0, elapsed: Duration::ZERO, execution };
    let given = result.map(|value| Reply::new(answer(value), None));
    match account.close(given).await {
        Err(error) if is_done => Err(error),
        _ => Ok(()),
    }
}

/// What a request makes worthless that was done at last.
pub(crate) fn invalidate(runtime: &Runtime, request: Request, caller: Arc<dyn Caller>) {
    let order = Order::new(runtime, request, caller);
    if let Some(write) = cached::Write::of(&order) {
        write.ended(&Ok::<_, Error>(()));
    }
}

/// The reply to a call that was answered; one that was taken on is put off, left to the worker, or waited for.
pub(super) async fn settle<'a>(
    order: &'a Order,
    fetched: Result<Answer<cached::Shared>, Error>,
    landing: Landing<'a>,
) -> (Result<Reply, Error>, Landing<'a>) {
    let mut answer = match fetched {
        Ok(answer) => answer,
        Err(error) => return (Err(error), landing),
    };
    match answer.value.accepted.take() {
        None => (Ok(reply_of(order, answer)), landing),
        Some(accepted) if order.left_to_a_worker => (Ok(reply_of(order, answer).accepted(accepted)), landing),
        // Boxed, so that calls that are answered at once do not carry it about.
        Some(accepted) => Box::pin(put_off_or_wait(order, accepted, answer, landing)).await,
    }
}

async fn put_off_or_wait<'a>(
    order: &'a Order,
    accepted: Accepted,
    answer: Answer<cached::Shared>,
    landing: Landing<'a>,
) -> (Result<Reply, Error>, Landing<'a>) {
    let task = Task::new(order, accepted);
    match deferred::accepted(order, &task.accepted).await {
        deferred::Put::Off(reply) => {
            task.leave();
            landing.put_off();
            (Ok(reply.after(answer.attempts, order.price())), Landing::done())
        }
        deferred::Put::Refused => wait(order, task, answer, landing).await,
        // There may be a job for a moment, and so the request is called off.
        deferred::Put::Unknown => (Err(late(order)), landing.ending(late(order).ending())),
    }
}

/// Waits within the deadline for what the service took on.
pub(super) async fn wait_for<'a>(
    order: &'a Order,
    mut answer: Answer<cached::Shared>,
    landing: Landing<'a>,
) -> (Result<Reply, Error>, Landing<'a>) {
    match answer.value.accepted.take() {
        Some(accepted) => wait(order, Task::new(order, accepted), answer, landing).await,
        None => (Ok(reply_of(order, answer)), landing),
    }
}

async fn wait<'a>(
    order: &'a Order,
    mut task: Task<'a>,
    mut answer: Answer<cached::Shared>,
    landing: Landing<'a>,
) -> (Result<Reply, Error>, Landing<'a>) {
    let end = follow(&order.runtime, &order.request, &order.caller, &mut task.accepted, order.deadline).await;
    let elapsed = order.runtime.0.clock.now().saturating_duration_since(order.began);
    let attempts = u8::try_from(answer.attempts).unwrap_or(u8::MAX);
    let error = match end {
        Some(Ok(Fetched { value, valid_for, .. })) => {
            task.leave();
            let value = Arc::new(value);
            let shown = cached::keep(order, &value, valid_for);
            answer.value.value = value;
            answer.elapsed = elapsed;
            landing.showing(shown).finish(Ending::Done);
            return (Ok(reply_of(order, answer)), Landing::done());
        }
        Some(Err(error)) => {
            task.leave();
            error
        }
        None => late(order),
    };
    let error = error.after(attempts, elapsed);
    let ending = error.ending();
    (Err(error), landing.ending(ending))
}

/// Asks until there is an end; `None` where there was none by the deadline.
pub(super) async fn follow(
    runtime: &Runtime,
    request: &Request,
    caller: &Arc<dyn Caller>,
    accepted: &mut Accepted,
    deadline: Instant,
) -> Option<Result<Fetched, Error>> {
    let clock = &runtime.0.clock;
    let mut is_last = false;
    while !is_last {
        let now = clock.now();
        let left = deadline.saturating_duration_since(now);
        let last = left.saturating_sub(LAST.min(left / 4));
        let pause = accepted.ask_in.max(SOONEST);
        is_last = pause >= last;
        tokio::time::sleep_until(after(now, pause.min(last)).into()).await;
        let left = deadline.saturating_duration_since(clock.now());
        if left.is_zero() {
            break;
        }
        match ask(runtime, request, caller, &accepted.token, Some(left)).await {
            Ok(News::Working(still)) => {
                // Whoever waits for this is alive.
                crate::progress();
                *accepted = still;
            }
            Ok(News::Done(fetched)) => return Some(Ok(fetched)),
            Ok(News::Failed(failure)) => return Some(Err(error_of(request, failure))),
            Ok(News::Forgotten) => return Some(Err(forgotten(request))),
            // It may be found out in a moment; how soon, the circuit of asking decides.
            Err(error) => tracing::debug!(%error, "what became of a call that was taken on is not known yet"),
        }
    }
    None
}

/// What the caller is told if there was no end by the deadline.
fn late(order: &Order) -> Error {
    unfinished(&order.request, order.deadline.saturating_duration_since(order.began))
}

/// The error of a call whose request was not done within that time.
pub(super) fn unfinished(request: &Request, limit: Duration) -> Error {
    let kind = if request.repeatable { Kind::Deadline { limit } } else { Kind::OutcomeUnknown };
    let words = "the service had taken the call on, and had not done it by the deadline";
    Error::new(kind).with_source(Some(words.into())).at(&request.service, &request.operation).after(1, limit)
}

/// A request that a service has taken on and somebody waits for. Dropped, it is called off, unless others may wait too.
struct Task<'a> {
    order: &'a Order,
    accepted: Accepted,
    wanted: bool,
}

impl<'a> Task<'a> {
    fn new(order: &'a Order, accepted: Accepted) -> Self {
        // Whoever joined this call follows the same request.
        Self { order, accepted, wanted: cached::shared_key(order).is_none() }
    }

    /// It has ended, or somebody else cares for it.
    fn leave(mut self) {
        self.wanted = false;
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        let Ok(tokio) = tokio::runtime::Handle::try_current() else { return };
        if self.wanted {
            let (request, caller) = (self.order.request.clone(), self.order.caller.clone());
            let token = std::mem::take(&mut self.accepted.token);
            drop(tokio.spawn(async move { call_off(&request, &caller, &token).await }));
        }
    }
}
