//! Perceive: whether a call is put off, or acknowledged and left to a worker.
//!
//! What is decided by is in [`crate::policy::deferral`]; here the facts are gathered, the job is put into the queue and
//! whoever called is told. A queue that refuses costs nothing but the deferral: the call goes its normal way. One that
//! has not answered at the deadline may still have taken the job, so the job is called back and the caller told what is
//! known.

use super::avoided::Learned;
use super::fallback::until;
use super::{Accepted, Order, Request, batched};
use crate::audit::{Account, Origin};
use crate::calendar::{self, Window};
use crate::clock::Wall;
use crate::context;
use crate::defer::{self, JobId, Occasion, Reason, Ticket};
use crate::error::{Error, Kind};
use crate::outcome::Ending;
use crate::pipeline::flight::Flight;
use crate::pipeline::perceive::{Written, deadline};
use crate::pipeline::service::Caller;
use crate::policy::deferral::{Decision, Facts, decide, delay, probing, spread};
use crate::policy::jitter;
use crate::reply::{Disposition, Reply};
use crate::runtime::Runtime;
use crate::site::Priority;
use crate::store::TargetKey;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What failed is made no sooner than this: long enough to call the job back of which its caller was told that there is
/// none, before anybody makes it.
const SOONEST: Duration = Duration::from_secs(5);

/// The reply of a call that was put off; `None` where it is to be made now.
///
/// # Errors
///
/// If the deadline passed before the queue had answered.
pub(super) async fn before(order: &mut Order) -> Option<Result<Reply, Error>> {
    order.runtime.0.deferral.remember(order.request.profile);
    defer::ensure(&order.runtime);
    let (reason, due) = wish(order)?;
    match put_off(order, reason, (due, None), order.deadline).await {
        Put::Off(reply) => Some(Ok(reply)),
        Put::Refused => {
            order.refused = true;
            None
        }
        Put::Unknown => Some(Err(unknown(order))),
    }
}

/// Puts off a call that failed for good now and is worth making later; the reply has its ticket.
///
/// `None` where it may not be put off, may not be made again, or would fail again: then the error stands. `last` is when
/// the caller is told at the latest.
pub(super) async fn after_failure(order: &Order, error: &Error, last: Instant) -> Option<Reply> {
    // A queue that has just refused the call would refuse it again.
    if order.refused || !may_wait(order) || !defer::may_be_made_again(error, order.request.repeatable) {
        return None;
    }
    let runtime = &order.runtime.0;
    let now = runtime.clock.wall();
    let counter = runtime.deferral.desk.counter();
    let (reason, wait) = match (error.kind(), error.retry_after()) {
        (Kind::CircuitOpen { .. }, rest) => {
            let rest = rest.unwrap_or_else(|| probing(order.target.values().open_for));
            (Reason::ServiceDegraded, spread(rest, jitter::fraction(runtime.seed, counter)))
        }
        (_, Some(wait)) => (Reason::RetryAfter, wait),
        (_, None) => (Reason::Failed, delay(runtime.config.queue.backoff, 1, runtime.seed, counter)),
    };
    match put_off(order, reason, (now.after(wait.max(SOONEST)), None), until(order, last)).await {
        Put::Off(reply) => Some(reply.after(error.attempts(), order.price())),
        // Called back if it was taken at all, and due later than that takes: the error stands.
        Put::Refused | Put::Unknown => None,
    }
}

/// Puts off what the service took on, where the call may be put off: the job knows the token, and asks.
pub(super) async fn accepted(order: &Order, accepted: &Accepted) -> Put {
    if !may_wait(order) || order.refused {
        return Put::Refused;
    }
    let due = order.runtime.0.clock.wall().after(accepted.ask_in.max(super::SOONEST));
    put_off(order, Reason::Accepted, (due, Some(accepted.token.as_str())), order.deadline).await
}

/// Whether the service may take the call on: whoever made it can be told to wait, or nobody waits.
pub(super) fn may_be_accepted(order: &Order) -> bool {
    order.left_to_a_worker || may_wait(order)
}

/// Makes the call of a job: an ordinary call that is neither put off again nor answered by a fallback.
pub(crate) async fn make(
    runtime: &Runtime,
    request: Request,
    caller: Arc<dyn Caller>,
    origin: Origin,
) -> Result<Reply, Error> {
    let account = Account::of_request(runtime, &request, &caller);
    let trail = account.as_ref().map(|account| {
        account.made_for(origin);
        account.trail()
    });
    let order = Order { left_to_a_worker: true, trail, ..Order::new(runtime, request, caller) };
    let (result, landing) = super::now(&order).await;
    match &result {
        // How it ends is written down when it does.
        Ok(reply) if reply.is_accepted().is_some() => landing.put_off(),
        _ => landing.failed(),
    }
    match account {
        None => result,
        Some(account) => Box::pin(account.close(result)).await,
    }
}

/// Why a call that may wait would be put off just now, and until when; `left` is the time it has to wait by itself.
pub(crate) fn obstacle(
    runtime: &Runtime,
    request: &Request,
    priority: Priority,
    left: Duration,
) -> Option<(Reason, Wall)> {
    let inner = &runtime.0;
    let target = inner.registry.service_target(inner, &request.service, &request.operation, request.profile);
    let now = inner.clock.now();
    let rest = target.rest(now);
    // Numbers are drawn only where they are used, so that a healthy call changes nothing for those after it.
    let fraction = rest.map_or(0.0, |_| jitter::fraction(inner.seed, inner.deferral.desk.counter()));
    let held = target.held_until(now);
    let learned = Learned::of(&target.values());
    decided(runtime, &request.service, now, Signs { priority, rest, held, learned, left, fraction })
}

/// The same for a call that is only thought of: nothing is remembered of it, and no number drawn.
pub(crate) fn foreseen(
    runtime: &Runtime,
    (service, operation): (&str, &str),
    priority: Priority,
    left: Duration,
) -> Option<(Reason, Wall)> {
    let inner = &runtime.0;
    let now = inner.clock.now();
    let target = inner.registry.known(service, operation);
    let rest = target.as_ref().and_then(|target| target.rest(now));
    let left =
        target.as_ref().map_or(left, |target| deadline(target, now, None).saturating_duration_since(now).min(left));
    let learned = target.as_ref().map_or_else(Learned::default, |target| Learned::of(&target.values()));
    // What the service asked for holds for all its operations.
    let held = target.or_else(|| inner.registry.of_service(service).into_iter().next());
    let held = held.and_then(|target| target.held_until(now));
    decided(runtime, service, now, Signs { priority, rest, held, learned, left, fraction: 0.0 })
}

/// What the process knows of a call and its service.
#[derive(Clone, Copy)]
struct Signs {
    priority: Priority,
    rest: Option<Duration>,
    held: Option<Instant>,
    learned: Learned,
    left: Duration,
    fraction: f64,
}

fn decided(runtime: &Runtime, service: &str, now: Instant, signs: Signs) -> Option<(Reason, Wall)> {
    let Signs { priority, rest, held, learned, left, fraction } = signs;
    let wall = runtime.0.clock.anchor().wall(now);
    let service = runtime.config().services.get(service);
    let timezone = service.and_then(|service| service.timezone.as_deref());
    let end_of = |windows: &[Window]| calendar::end_of(windows, timezone, wall);
    let written = service.map_or(&[][..], |service| &service.avoid);
    let patience = runtime.config().queue.expire_after;
    let facts = Facts {
        deferrable: true,
        priority,
        rest,
        held: held.map(|until| until.saturating_duration_since(now)),
        maintained_until: service.and_then(|service| end_of(&service.maintenance)),
        avoided_until: end_of(written).max(learned.end(written, timezone, wall, patience)),
        now: wall,
        left,
        fraction,
    };
    match decide(&facts) {
        Decision::MakeNow => None,
        Decision::PutOff { reason, due } => Some((reason, due)),
    }
}

/// Why the call is not made now, and until when.
fn wish(order: &Order) -> Option<(Reason, Wall)> {
    let Order { runtime, request, priority, deadline, .. } = order;
    if !can_be_put_off(order) {
        return None;
    }
    let acknowledged = || order.tool().and_then(|tool| tool.queued).is_some_and(|highest| *priority <= highest);
    if request.queued.unwrap_or_else(acknowledged) {
        // Its worker waits where the call would have.
        let obstacle = obstacle(runtime, request, *priority, Duration::ZERO);
        let now = runtime.0.clock.wall();
        let due = obstacle.map(|(_, due)| due).or_else(|| batched::gathered_until(order, now)).unwrap_or(now);
        return Some((Reason::Acknowledged, due));
    }
    if !may_wait(order) {
        return None;
    }
    let left = deadline.saturating_duration_since(runtime.0.clock.now());
    obstacle(runtime, request, *priority, left)
}

/// Whether there is a queue, somebody who finds who sends the job, and something to wait for the queue with.
fn can_be_put_off(order: &Order) -> bool {
    order.request.profile.caller.is_some()
        && order.runtime.0.deferral.desk.is_open()
        && tokio::runtime::Handle::try_current().is_ok()
}

/// Whether somebody said that the call may be put off, and it does not matter too much.
fn may_wait(order: &Order) -> bool {
    let Order { request, priority, .. } = order;
    *priority < Priority::High
        && can_be_put_off(order)
        && request.deferrable.or_else(|| order.tool()?.deferrable).unwrap_or_else(|| {
            // The author of the function around it meant what it does, not what it has to know for that.
            !request.read_only && context::surrounding(|outer| outer.is_some_and(|outer| outer.deferrable))
        })
}

/// What came of an attempt to put a call off.
pub(super) enum Put {
    Off(Reply),
    /// There is no job.
    Refused,
    /// The time was up, and there may be a job for a moment.
    Unknown,
}

/// The job is due then, and knows the token of what the service took on.
async fn put_off(order: &Order, reason: Reason, (due, accepted): (Wall, Option<&str>), until: Instant) -> Put {
    let Order { runtime, request, target, .. } = order;
    let (inner, desk) = (&runtime.0, &runtime.0.deferral.desk);
    let mut flight = Flight::take_off(inner, target, None, written(order), true);
    flight.follow(order.trail.as_ref());
    if let Err(error) = flight.promise().await {
        flight.hand_over();
        return refused(order, &error);
    }
    let now = inner.clock.wall();
    let occasion = Occasion {
        reason,
        id: if inner.clock.is_virtual() { JobId::drawn(now, inner.seed, flight.execution()) } else { JobId::new(now) },
        due,
        now,
        priority: order.priority,
        order_by: order.tool().and_then(|tool| tool.order_by.clone()),
        execution: inner.execution_id(flight.execution()).to_string(),
        accepted: accepted.map(str::to_owned),
    };
    let job = defer::job(request, occasion, &desk.config());
    let id = job.id;
    if due >= job.expires {
        flight.hand_over();
        return refused(order, &format_args!("it would expire at {}, before it is due at {due}", job.expires));
    }
    let unanswered = Unanswered { desk, id };
    let Ok(put) = tokio::time::timeout_at(until.into(), desk.put(job)).await else {
        flight.finish_after_waiting(Ending::Deadline);
        refused(order, &"the queue did not answer in time");
        return Put::Unknown;
    };
    std::mem::forget(unanswered);
    if let Err(error) = put {
        flight.hand_over();
        return refused(order, &error);
    }
    let key = TargetKey { service: request.service.clone(), operation: request.operation.clone() };
    let known = runtime.health(&request.service, &request.operation).and_then(|health| health.median);
    let estimate = tokio::time::timeout_at(until.into(), desk.estimate(&key, known, due)).await.ok().flatten();
    let ticket = Ticket::new(id, due, reason, estimate, desk.clone());
    let (disposition, ending) = match reason {
        Reason::Acknowledged | Reason::Accepted => (Disposition::Queued(ticket), Ending::Queued),
        _ => (Disposition::Deferred(ticket), Ending::Deferred),
    };
    flight.finish_after_waiting(ending);
    let (service, operation) = (&request.service, &request.operation);
    tracing::info!(service, operation, job = %id, reason = reason.as_str(), %due, "a call was put off");
    if let Some(why) = warning(reason) {
        let warning = format!("{}_{}_deferred_{why}", request.service, request.operation);
        context::tell_surrounding(0, false, vec![warning]);
    }
    let elapsed = inner.clock.now().saturating_duration_since(order.began);
    Put::Off(Reply::pending(disposition, elapsed, inner.execution_id(flight.execution())))
}

/// Nobody knows whether the job was put there; whoever gives up waiting for the answer calls it back.
struct Unanswered<'a> {
    desk: &'a Arc<defer::Desk>,
    id: JobId,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.desk.call_back(self.id);
    }
}

fn refused(order: &Order, why: &dyn std::fmt::Display) -> Put {
    let Order { runtime, request, .. } = order;
    runtime.0.deferral.desk.refuse(&request.service, &request.operation, why);
    Put::Refused
}

/// What the function around the call is told; nothing where that is what was asked for.
fn warning(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::Acknowledged => None,
        Reason::ServiceDegraded => Some("service_health"),
        other => Some(other.as_str()),
    }
}

/// What the caller is told at the deadline if the queue had not answered.
fn unknown(order: &Order) -> Error {
    let limit = order.deadline.saturating_duration_since(order.began);
    let kind = if order.request.repeatable { Kind::Deadline { limit } } else { Kind::OutcomeUnknown };
    let elapsed = order.runtime.0.clock.now().saturating_duration_since(order.began);
    Error::new(kind)
        .with_source(Some("the queue did not answer in time whether it had taken the call".into()))
        .at(&order.request.service, &order.request.operation)
        .after(0, elapsed)
}

fn written(order: &Order) -> Written {
    let Order { request, began, deadline, priority, .. } = order;
    Written {
        repeatable: request.repeatable,
        restartable: true,
        function: false,
        began: Some(*began),
        retries: request.retries,
        timeout: request.timeout,
        deadline: Some(deadline.saturating_duration_since(*began)),
        priority: Some(*priority),
        deferrable: false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AttemptContext, Failure, Fetched, now};
    use super::*;
    use crate::Clock;
    use crate::config::{Config, ServiceConfig};
    use crate::defer::{Filter, State};
    use crate::outcome::Class;
    use crate::profile::Profile;
    use crate::store::BoxFuture;

    static PROFILE: Profile = Profile { caller: Some(find), ..Profile::named("scripted") };

    #[derive(Debug)]
    struct Fails(Class);

    impl Caller for Fails {
        fn attempt<'a>(&'a self, _: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
            Box::pin(std::future::ready(Err(Failure::new(self.0, "scripted"))))
        }
    }

    fn find(_: &Runtime, _: &str) -> Result<Arc<dyn Caller>, Error> {
        Ok(Arc::new(Fails(Class::Permanent)))
    }

    fn runtime() -> Runtime {
        let config = Config::default().service(ServiceConfig::named("crm"));
        let clock = Clock::virtual_from(Wall::from_millis(1_781_078_400_000));
        Runtime::builder().configuration(config).in_memory().clock(clock).seed(7).build().unwrap()
    }

    fn request(repeatable: bool) -> Request {
        let retries = Some(0);
        Request { repeatable, retries, deferrable: Some(true), ..Request::new("crm", "update", &PROFILE) }
    }

    /// The error of a call that fails so, and its deferral.
    async fn fail(runtime: &Runtime, request: Request, class: Class) -> (Error, Option<Reply>) {
        let order = Order::new(runtime, request, Arc::new(Fails(class)));
        let (result, landing) = now(&order).await;
        landing.failed();
        let error = result.unwrap_err();
        let reply = after_failure(&order, &error, order.deadline).await;
        (error, reply)
    }

    fn reason(reply: Option<Reply>) -> Option<Reason> {
        reply.map(|reply| reply.disposition().ticket().expect("it has a ticket").reason())
    }

    #[tokio::test(start_paused = true)]
    async fn in_virtual_time_a_seed_gives_the_same_job_the_same_number() {
        let mut ids = Vec::new();
        for _ in 0..2 {
            let (_, reply) = fail(&runtime(), request(true), Class::Transient).await;
            let reply = reply.expect("it is put off");
            ids.push(reply.disposition().ticket().expect("it has a ticket").id().to_owned());
        }
        assert_eq!(ids[0], ids[1]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_put_off_only_if_it_surely_is_not_made_twice() {
        use Reason::{Failed, RetryAfter};
        const SENT: Class = Class::Network { sent: true };
        const UNSENT: Class = Class::Network { sent: false };
        let asked = Class::Throttled { retry_after: Some(Duration::from_secs(600)) };
        for (class, a_write, a_repeatable) in [
            (Class::Transient, None, Some(Failed)),
            (SENT, None, Some(Failed)),
            (Class::Timeout, None, Some(Failed)),
            (Class::Invalid, None, Some(Failed)),
            (UNSENT, Some(Failed), Some(Failed)),
            (asked, Some(RetryAfter), Some(RetryAfter)),
            (Class::Permanent, None, None),
        ] {
            let runtime = runtime();
            let (error, reply) = fail(&runtime, request(false), class).await;
            assert_eq!(reason(reply), a_write, "{error}");
            let (error, reply) = fail(&self::runtime(), request(true), class).await;
            assert_eq!(reason(reply), a_repeatable, "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_matters_or_may_not_wait_keeps_its_error() {
        let unsent = Class::Network { sent: false };
        let high = Request { priority: Some(Priority::High), ..request(true) };
        let undeclared = Request { deferrable: None, ..request(true) };
        let nobody = Request { profile: Profile::GENERAL, ..request(true) };
        for request in [high, undeclared, nobody] {
            let runtime = runtime();
            assert!(fail(&runtime, request, unsent).await.1.is_none());
            assert!(runtime.queue().list(&Filter::default(), 10).await.unwrap().is_empty());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_not_made_before_it_could_be_called_back() {
        let runtime = runtime();
        let at_once = Class::Throttled { retry_after: Some(Duration::ZERO) };
        let (_, reply) = fail(&runtime, request(false), at_once).await;
        let ticket = reply.unwrap().disposition().ticket().cloned().unwrap();
        assert_eq!(runtime.clock().wall().until(ticket.due()), SOONEST);
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_due_some_time_later_and_pending_until_then() {
        let runtime = runtime();
        let (_, reply) = fail(&runtime, request(true), Class::Transient).await;
        let ticket = reply.unwrap().disposition().ticket().cloned().unwrap();
        let wait = runtime.clock().wall().until(ticket.due());
        assert!((22..=30).contains(&wait.as_secs()), "{wait:?}");
        assert_eq!(ticket.status().await.unwrap(), State::Pending);
    }
}
