//! The door for calls of services: what a domain crate builds its client on.
//!
//! Unlike the body of a function, a service call belongs to the runtime. It can be started again by whoever made it,
//! and identical reads can share one call.

use super::coalesce::{Role, follow};
use super::driver::{End, drive};
use super::flight::Flight;
use super::perceive::{Written, deadline};
use crate::audit::{Account, Trail, What, Who};
use crate::context::{self, UnderWay};
use crate::error::{Error, Kind};
use crate::outcome::{Class, Ending, Shown, Withheld};
use crate::profile::Profile;
use crate::reply::{Disposition, ExecutionId};
use crate::runtime::Runtime;
use crate::site::Priority;
use crate::target::Target;
use std::error::Error as StdError;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use super::request::{Accepted, CacheWish, Caller, FallbackCall, Fetched, FindCaller, News, Request, Vetting};
pub use crate::fingerprint::{canonical, fnv1a};
pub use crate::key::CacheKey;
pub use crate::policy::jitter::fraction;

/// One call of a service, as its client describes it.
#[derive(Clone, Debug)]
pub struct ServiceCall<'a> {
    /// The service, as configured.
    pub service: &'a str,
    /// The operation (tool).
    pub operation: &'a str,
    /// The profile of the domain.
    pub profile: &'static Profile,
    /// Whether the operation may be executed twice. Unknown means no.
    pub repeatable: bool,
    /// How much it matters; `None` means as the function around it.
    pub priority: Option<Priority>,
    /// The longest the whole call may take.
    pub deadline: Option<Duration>,
    /// The longest one attempt may take.
    pub timeout: Option<Duration>,
    /// Extra tries.
    pub retries: Option<u8>,
    /// What identifies the call among identical reads that may share one; `None` for anything but a read.
    pub coalesce: Option<CacheKey>,
    /// What the call shows beside how it went.
    pub shown: Option<Shown>,
    /// Whether the service may take the call on and do it in its own time.
    pub may_be_accepted: bool,
}

impl<'a> ServiceCall<'a> {
    /// A call that may not be repeated.
    #[must_use]
    pub fn new(service: &'a str, operation: &'a str, profile: &'static Profile) -> Self {
        Self {
            service,
            operation,
            profile,
            repeatable: false,
            priority: None,
            deadline: None,
            timeout: None,
            retries: None,
            coalesce: None,
            shown: None,
            may_be_accepted: false,
        }
    }
}

/// What an attempt is told.
#[derive(Clone, Copy, Debug)]
pub struct AttemptContext {
    /// When the attempt will be dropped if it is not done and has shown no [`progress`](crate::progress) by then.
    pub until: Instant,
    /// When it will be dropped whatever it shows: the deadline of the call.
    pub deadline: Instant,
    /// Whether no other attempt follows.
    pub last: bool,
    /// Whether it will do if the service takes the call on and does it in its own time ([`Accepted`]): the call may be
    /// put off. Where it will not, one that does so all the same is waited for.
    pub may_be_accepted: bool,
}

/// Why an attempt failed.
#[derive(Debug)]
pub struct Failure {
    /// What the attempt was.
    pub class: Class,
    /// The service's or transport's own error.
    pub source: Box<dyn StdError + Send + Sync>,
}

impl Failure {
    /// A failure of a class.
    pub fn new(class: Class, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { class, source: source.into() }
    }
}

/// The answer of a service with what it took to get it.
#[derive(Clone, Debug)]
pub struct Answer<V> {
    /// What the service answered.
    pub value: V,
    /// How it came about.
    pub disposition: Disposition,
    /// Attempts made; 0 where the service was not asked.
    pub attempts: u32,
    /// From the call to the answer.
    pub elapsed: Duration,
    /// The key of the call in the store.
    pub execution: ExecutionId,
}

/// What becomes of an answer beside being returned.
pub(super) trait Keep<V> {
    /// An answer that came about since the caller looked for one, and before it was its turn to make the call.
    fn found(&self) -> Option<Answer<V>>;
    /// Takes note of an answer, and says what it shows.
    fn keep(&self, answer: &V) -> Option<Shown>;
    /// Whether the call is over with an answer; else it is not written down yet.
    fn is_final(&self, _: &V) -> bool {
        true
    }

    /// Where it is written down what is decided, if it is.
    fn trail(&self) -> Option<&Trail>;
}

/// Nothing but what is written down.
impl<V> Keep<V> for Option<Trail> {
    fn found(&self) -> Option<Answer<V>> {
        None
    }

    fn keep(&self, _: &V) -> Option<Shown> {
        None
    }

    fn trail(&self) -> Option<&Trail> {
        self.as_ref()
    }
}

impl Runtime {
    /// Calls a service through every stage. `attempt` starts one attempt; it is called again only where that is safe.
    ///
    /// # Errors
    ///
    /// The service's own error once no further attempt is made, or the reason there was none; see [`Error`].
    pub async fn call<V, F>(
        &self,
        call: &ServiceCall<'_>,
        mut attempt: impl FnMut(AttemptContext) -> F,
    ) -> Result<Answer<V>, Error>
    where
        V: Clone + Send + Sync + 'static,
        F: Future<Output = Result<V, Failure>>,
    {
        let target = self.0.registry.service_target(&self.0, call.service, call.operation, call.profile);
        let under_way = UnderWay::begin(self.0.number, target.id);
        let result = self.call_aside(&target, call, &mut attempt).await;
        under_way.end(result.is_err());
        result
    }

    /// [`call`](Self::call) that is no call of the function around it, but a part of one.
    pub(super) async fn call_aside<V, F>(
        &self,
        target: &Target,
        call: &ServiceCall<'_>,
        attempt: &mut impl FnMut(AttemptContext) -> F,
    ) -> Result<Answer<V>, Error>
    where
        V: Clone + Send + Sync + 'static,
        F: Future<Output = Result<V, Failure>>,
    {
        let account = Account::of_call(self, call);
        let trail = account.as_ref().map(|account| account.trail());
        let (result, landing) = self.call_and_land(target, call, &trail, attempt).await;
        landing.failed();
        match account {
            None => result,
            Some(account) => Box::pin(account.close(result)).await,
        }
    }

    /// [`call`](Self::call), where a failure may still be answered by somebody else.
    pub(super) async fn call_and_land<'a, V, F>(
        &'a self,
        target: &'a Target,
        call: &ServiceCall<'_>,
        keep: &impl Keep<V>,
        attempt: &mut impl FnMut(AttemptContext) -> F,
    ) -> (Result<Answer<V>, Error>, Landing<'a>)
    where
        V: Clone + Send + Sync + 'static,
        F: Future<Output = Result<V, Failure>>,
    {
        match call.coalesce {
            Some(key) if call.repeatable => self.join(target, call, key, keep, attempt).await,
            _ => self.fly(target, call, writing(call), keep, attempt).await,
        }
    }

    async fn join<'a, V, F>(
        &'a self,
        target: &'a Target,
        call: &ServiceCall<'_>,
        key: CacheKey,
        keep: &impl Keep<V>,
        attempt: &mut impl FnMut(AttemptContext) -> F,
    ) -> (Result<Answer<V>, Error>, Landing<'a>)
    where
        V: Clone + Send + Sync + 'static,
        F: Future<Output = Result<V, Failure>>,
    {
        let began = self.0.clock.now();
        let until = deadline(target, began, call.deadline);
        // Who leads after having followed has used up a part of its time.
        let written = Written { began: Some(began), ..writing(call) };
        loop {
            let receiver = match self.0.flights.join(key) {
                Role::Leader(leader) => {
                    if let Some(answer) = keep.found() {
                        leader.answer(Arc::new(Ok::<_, (Kind, String)>(answer.value.clone())));
                        return (Ok(answer), Landing::done());
                    }
                    let (result, landing) = self.fly(target, call, written, keep, attempt).await;
                    if let Some(shared) = shareable(&result) {
                        leader.answer(Arc::new(shared));
                    }
                    return (result, landing);
                }
                Role::Follower(receiver) => receiver,
            };
            let mut flight = Flight::take_off(&self.0, target, None, written, true);
            flight.follow(keep.trail());
            if let Some(trail) = keep.trail() {
                trail.note(flight.now(), What::Joined, Who::Rule);
            }
            if tokio::runtime::Handle::try_current().is_err() {
                let error = flight.place(Error::configuration("joining another call needs a tokio runtime"));
                return (Err(error), Landing::of(flight, Ending::Denied));
            }
            let waited = tokio::time::timeout_at(until.into(), follow(receiver)).await;
            // The leader ended without an answer; somebody else leads now, perhaps this call.
            if let Ok(None) = waited {
                flight.hand_over();
                continue;
            }
            let Ok(Some(shared)) = waited else {
                flight.look_up();
                let error = flight.place(Error::new(Kind::Deadline { limit: until - began }));
                return (Err(error), Landing::of(flight, Ending::Deadline));
            };
            flight.look_up();
            let error = match shared.downcast_ref::<Result<V, (Kind, String)>>() {
                Some(Ok(value)) => {
                    flight.finish(Ending::Coalesced);
                    let answer = Answer {
                        value: value.clone(),
                        disposition: Disposition::Coalesced,
                        attempts: 0,
                        elapsed: flight.elapsed(),
                        execution: self.0.execution_id(flight.execution()),
                    };
                    return (Ok(answer), Landing::done());
                }
                Some(Err((kind, words))) => {
                    let source = format!("the identical call it had joined failed: {words}");
                    Error::new(*kind).with_source(Some(source.into()))
                }
                None => Error::configuration("two kinds of answers share one coalescing key"),
            };
            let error = flight.place(error);
            return (Err(error), Landing::of(flight, Ending::Coalesced));
        }
    }

    async fn fly<'a, V, F>(
        &'a self,
        target: &'a Target,
        call: &ServiceCall<'_>,
        written: Written,
        keep: &impl Keep<V>,
        attempt: &mut impl FnMut(AttemptContext) -> F,
    ) -> (Result<Answer<V>, Error>, Landing<'a>)
    where
        F: Future<Output = Result<V, Failure>>,
    {
        let mut flight = Flight::take_off(&self.0, target, None, written, true);
        flight.shown = call.shown;
        if let Some(trail) = keep.trail() {
            flight.follow(Some(trail));
            if let Err(error) = flight.promise().await {
                return (Err(error), Landing::of(flight, Ending::Denied));
            }
        }
        let deadline = flight.deadline();
        let may_be_accepted = call.may_be_accepted;
        let end = drive(
            &mut flight,
            |last, until| attempt(AttemptContext { until, deadline, last, may_be_accepted }),
            |answer| answer.as_ref().err().map_or(Class::Success, |failure| failure.class),
        )
        .await;
        let retries = flight.retries();
        let result = match end {
            End::Answer { value: Ok(value), .. } => {
                flight.shown = keep.keep(&value).or(flight.shown);
                Ok(value)
            }
            End::Answer { value: Err(failure), class, withheld } => {
                Err(flight.place(settle(failure, class, withheld, flight.timeout_kind())))
            }
            End::Refused(error) => Err(error),
        };
        if retries > 0 {
            let outcome = if result.is_ok() { "recovered" } else { "retried" };
            let warning = format!("{}_{}_{outcome}", call.service, call.operation);
            context::tell_surrounding(0, false, vec![warning]);
        }
        let value = match result {
            Ok(value) => value,
            Err(error) => {
                let ending = error.ending();
                return (Err(error), Landing::of(flight, ending));
            }
        };
        let is_final = keep.is_final(&value);
        if is_final {
            flight.finish(Ending::Done);
        }
        let answer = Answer {
            value,
            disposition: Disposition::Done,
            attempts: u32::from(flight.attempts()),
            elapsed: flight.elapsed(),
            execution: self.0.execution_id(flight.execution()),
        };
        (Ok(answer), if is_final { Landing::done() } else { Landing::of(flight, Ending::Cancelled) })
    }
}

/// A call that failed, or was taken on, and is not written down yet, because somebody else may answer it, or the service
/// later: it is one call, and counts once. Dropped, it was dropped by its caller.
#[derive(Debug)]
#[must_use = "a call that is not landed counts as dropped by its caller"]
pub(super) struct Landing<'a>(Option<(Box<Flight<'a>>, Ending)>);

impl<'a> Landing<'a> {
    /// A call that is written down already.
    pub(super) fn done() -> Self {
        Self(None)
    }

    /// A call that failed, and how.
    pub(super) fn of(flight: Flight<'a>, ending: Ending) -> Self {
        Self(Some((Box::new(flight), ending)))
    }

    /// The same with another end.
    pub(super) fn ending(self, ending: Ending) -> Self {
        Self(self.0.map(|(flight, _)| (flight, ending)))
    }

    /// The same, which shows this.
    pub(super) fn showing(mut self, shown: Option<Shown>) -> Self {
        if let Some((flight, _)) = &mut self.0 {
            flight.shown = shown.or(flight.shown);
        }
        self
    }

    /// It ended so after all.
    pub(super) fn finish(self, ending: Ending) {
        if let Some((mut flight, _)) = self.0 {
            flight.finish_after_waiting(ending);
        }
    }

    /// Nobody answers it.
    pub(super) fn failed(self) {
        if let Some((mut flight, ending)) = self.0 {
            flight.finish(ending);
            context::tell_surrounding(0, true, Vec::new());
        }
    }

    /// A fallback answered it. Says what it took, and its execution.
    pub(super) fn answered(self) -> Option<(Duration, u64)> {
        let (mut flight, _) = self.0?;
        flight.finish_after_waiting(Ending::Fallback);
        Some((flight.elapsed(), flight.execution()))
    }

    /// It was put off, and written down as that; only its last attempt is still to be.
    pub(super) fn put_off(self) {
        if let Some((flight, _)) = self.0 {
            flight.leave();
        }
    }
}

pub(super) fn writing(call: &ServiceCall<'_>) -> Written {
    Written {
        repeatable: call.repeatable,
        restartable: true,
        function: false,
        began: None,
        retries: call.retries,
        timeout: call.timeout,
        deadline: call.deadline,
        priority: call.priority,
        deferrable: false,
    }
}

/// What those who joined are told. An error cannot be cloned; they get its words and its class. That the leader had no
/// more time says nothing about theirs.
fn shareable<V: Clone>(result: &Result<Answer<V>, Error>) -> Option<Result<V, (Kind, String)>> {
    match result {
        Ok(answer) => Some(Ok(answer.value.clone())),
        Err(error) if error.is_deadline() || error.is_crowded() || (error.is_throttled() && error.attempts() == 0) => {
            None
        }
        Err(error) => Some(Err((error.kind(), error.to_string()))),
    }
}

/// What the caller is told about the last failure; `timed_out` is what it is if there was no answer.
pub(super) fn settle(failure: Failure, class: Class, withheld: Option<Withheld>, timed_out: Kind) -> Error {
    let kind = match (class, withheld) {
        (Class::Timeout | Class::Network { sent: true }, Some(Withheld::NotRepeatable)) => Kind::OutcomeUnknown,
        (Class::Throttled { retry_after }, _) => Kind::Throttled { retry_after },
        (_, Some(Withheld::ServiceBudget | Withheld::ExecutionBudget)) => Kind::BudgetExhausted,
        (Class::Timeout, _) => timed_out,
        (Class::Invalid, _) => Kind::InvalidResponse,
        _ => Kind::Service { class },
    };
    Error::new(kind).with_source(Some(failure.source))
}
