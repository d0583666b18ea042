//! The entry points of annotated functions: what an expansion of `#[poet]` calls.

use super::coalesce::Leader;
use super::driver::{End, drive, drive_blocking, fall_back};
use super::flight::Flight;
use super::perceive::Written;
use super::reuse::{self, Begun, Followed, Reuse};
use crate::__private::Call;
use crate::context;
use crate::error::Error;
use crate::outcome::{Class, Ending};
use crate::runtime::Bound;
use crate::site::Site;
use std::future::{Future, Ready};
use std::pin::Pin;
use std::time::Instant;

/// The answer of a function that has no fallback.
pub(super) type NoFallback<T> = fn() -> Ready<T>;

/// Runs a function that must not be started twice.
pub fn run_once<T, F: Future<Output = T>>(
    site: &'static Site,
    call: Call<T>,
    body: Pin<&mut F>,
) -> impl Future<Output = T> {
    engage(site, call, pinned(body), None::<NoFallback<T>>)
}

/// Runs a function that must not be started twice, with a fallback.
pub fn run_once_or<T, F, B, G>(
    site: &'static Site,
    call: Call<T>,
    body: Pin<&mut F>,
    fallback: B,
) -> impl Future<Output = T>
where
    F: Future<Output = T>,
    B: FnOnce() -> G,
    G: Future<Output = T>,
{
    engage(site, call, pinned(body), Some(fallback))
}

/// Runs a function that may be started again; `attempt(last)` starts it.
pub fn run<T, M, F>(site: &'static Site, call: Call<T>, attempt: M) -> impl Future<Output = T>
where
    M: FnMut(bool) -> F,
    F: Future<Output = T>,
{
    engage(site, call, Attempts { start: attempt, restartable: true, began: None }, None::<NoFallback<T>>)
}

/// Runs a function that may be started again, with a fallback.
pub fn run_or<T, M, F, B, G>(site: &'static Site, call: Call<T>, attempt: M, fallback: B) -> impl Future<Output = T>
where
    M: FnMut(bool) -> F,
    F: Future<Output = T>,
    B: FnOnce() -> G,
    G: Future<Output = T>,
{
    engage(site, call, Attempts { start: attempt, restartable: true, began: None }, Some(fallback))
}

/// Runs a synchronous function that must not be started twice.
pub fn run_sync_once<T>(site: &'static Site, call: Call<T>, body: impl FnOnce() -> T) -> T {
    engage_sync(site, &call, false, once(body), None::<fn() -> T>)
}

/// Runs a synchronous function that must not be started twice, with a fallback.
pub fn run_sync_once_or<T>(
    site: &'static Site,
    call: Call<T>,
    body: impl FnOnce() -> T,
    fallback: impl FnOnce() -> T,
) -> T {
    engage_sync(site, &call, false, once(body), Some(fallback))
}

/// Runs a synchronous function that may be started again.
pub fn run_sync<T>(site: &'static Site, call: Call<T>, attempt: impl FnMut(bool) -> T) -> T {
    engage_sync(site, &call, true, attempt, None::<fn() -> T>)
}

/// Runs a synchronous function that may be started again, with a fallback.
pub fn run_sync_or<T>(
    site: &'static Site,
    call: Call<T>,
    attempt: impl FnMut(bool) -> T,
    fallback: impl FnOnce() -> T,
) -> T {
    engage_sync(site, &call, true, attempt, Some(fallback))
}

/// How attempts of a body come about.
pub(super) struct Attempts<M> {
    pub(super) start: M,
    pub(super) restartable: bool,
    /// When the call began, where that was before now.
    pub(super) began: Option<Instant>,
}

/// The one attempt that a body pinned by the expansion is.
pub(super) fn pinned<'b, F>(body: Pin<&'b mut F>) -> Attempts<impl FnMut(bool) -> Pin<&'b mut F>> {
    let mut body = Some(body);
    Attempts {
        start: move |_| body.take().expect("a body that cannot be started again is started once"),
        restartable: false,
        began: None,
    }
}

fn once<T>(body: impl FnOnce() -> T) -> impl FnMut(bool) -> T {
    let mut body = Some(body);
    move |_| (body.take().expect("a body that cannot be started again is started once"))()
}

pub(super) fn written<T>(site: &Site, call: &Call<T>, restartable: bool) -> Written {
    let declared = &site.declaration;
    Written {
        repeatable: declared.idempotent,
        restartable,
        function: true,
        began: None,
        retries: declared.retries,
        timeout: declared.timeout,
        deadline: declared.deadline,
        priority: call.priority.or(declared.priority),
        deferrable: declared.deferrable,
    }
}

#[expect(
    clippy::manual_async_fn,
    reason = "what a block captures stays in place; arguments of an `async fn` are moved"
)]
pub(super) fn engage<T, M, F, B, G>(
    site: &'static Site,
    call: Call<T>,
    attempts: Attempts<M>,
    fallback: Option<B>,
) -> impl Future<Output = T>
where
    M: FnMut(bool) -> F,
    F: Future<Output = T>,
    B: FnOnce() -> G,
    G: Future<Output = T>,
{
    async move {
        let bound = Bound::to(site);
        let Attempts { mut start, restartable, mut began } = attempts;
        let mut leader = None;
        match reuse::begin::<T, F>(&bound, site, &call, restartable) {
            Begun::Plain => {}
            Begun::Answered(answer) => return answer,
            Begun::Leads(role) => leader = Some(role),
            Begun::Follows(following) => match following.await {
                Followed::Answered(answer) => return answer,
                Followed::Failed(flight, error) => {
                    return Box::pin(without_an_answer::<T, F, B, G>(*flight, &call, &bound, site, error, fallback))
                        .await;
                }
                Followed::Leads(role, then) => (leader, began) = (role, Some(then)),
            },
        }
        // Made where it is used: what lies in the future is written in bytes and read in words, which costs 15 ns.
        let mut flight = take_off(&bound, site, &call, Written { began, ..written(site, &call, restartable) });
        let mut judge = Judge::new(&call, &bound);
        let end = drive(&mut flight, |last, _| start(last), |answer| judge.class(answer)).await;
        // The ordinary case first, and by itself: every other one moves the answer about.
        if let End::Answer { value, class: Class::Success, .. } = end {
            if call.kept.is_some() {
                keep::<T, F>(&bound, site, &call, &value, &mut flight, leader);
            }
            tell_answered(&mut flight);
            flight.finish(Ending::Done);
            return value;
        }
        if let Some(leader) = leader {
            reuse::tell(*leader, failure(&end).map(Err));
        }
        let class = class(&end);
        let (answer, ending) = judge.settle(end, &flight);
        let unanswered = !matches!(answer, Answer::Good(_));
        if let Some(old) = Reuse::of::<F>(&bound, site, &call).and_then(|reuse| reuse.on_error(class, flight.now())) {
            return stand_in(flight, old);
        }
        if let Some(fallback) = fallback.filter(|_| unanswered)
            && let Some(answer) = fall_back(&mut flight, fallback).await
        {
            land(flight, &mut judge, &answer);
            return answer;
        }
        conclude(flight, &judge, answer, ending)
    }
}

/// Keeps a good answer, and tells those who wait for it.
#[cold]
fn keep<T, F>(
    bound: &Bound,
    site: &'static Site,
    call: &Call<T>,
    value: &T,
    flight: &mut Flight<'_>,
    leader: Option<Box<Leader<'_>>>,
) {
    let Some(reuse) = Reuse::of::<F>(bound, site, call) else { return };
    let value = reuse.keep(value, flight);
    if let Some(leader) = leader {
        reuse::tell(*leader, value.map(Ok));
    }
}

/// What a call that failed was. One that was refused because the service rests, or for lack of time, was not answered;
/// any other refusal is an answer of its own.
fn class<T>(end: &End<T>) -> Class {
    match end {
        End::Answer { class, .. } => *class,
        End::Refused(error) => unanswered(error),
    }
}

/// [`class`] of what the caller would be told.
pub(super) fn unanswered(error: &Error) -> Class {
    match error.class() {
        Class::Permanent
            if error.is_denied() || error.is_configuration() || error.is_pending() || error.is_service() =>
        {
            Class::Permanent
        }
        Class::Permanent => Class::Transient,
        class => class,
    }
}

/// What those who joined a call that failed are told of it.
fn failure<T>(end: &End<T>) -> Option<Class> {
    match end {
        End::Answer { class, .. } => Some(*class),
        End::Refused(error) if error.is_deadline() || (error.is_throttled() && error.attempts() == 0) => None,
        End::Refused(error) => Some(error.class()),
    }
}

/// Ends a call whose body failed with an answer that was kept before.
fn stand_in<T>(mut flight: Flight<'_>, old: T) -> T {
    let key = flight.key();
    if let Some(context) = &mut flight.context {
        context.warnings.push(format!("{}_{}_stale", key.service, key.operation));
    }
    tell_answered(&mut flight);
    flight.finish_after_waiting(Ending::Fallback);
    old
}

/// Ends a call that joined one that failed.
async fn without_an_answer<T, F, B, G>(
    mut flight: Flight<'_>,
    call: &Call<T>,
    bound: &Bound,
    site: &'static Site,
    error: Error,
    fallback: Option<B>,
) -> T
where
    B: FnOnce() -> G,
    G: Future<Output = T>,
{
    if let Some(old) =
        Reuse::of::<F>(bound, site, call).and_then(|reuse| reuse.on_error(unanswered(&error), flight.now()))
    {
        return stand_in(flight, old);
    }
    let mut judge = Judge::new(call, bound);
    if let Some(fallback) = fallback
        && let Some(answer) = fall_back(&mut flight, fallback).await
    {
        land(flight, &mut judge, &answer);
        return answer;
    }
    let error = flight.place(error);
    let ending = if error.is_deadline() { Ending::Deadline } else { Ending::Coalesced };
    conclude(flight, &judge, Answer::Refused(error), ending)
}

fn engage_sync<T, M: FnMut(bool) -> T>(
    site: &'static Site,
    call: &Call<T>,
    restartable: bool,
    attempt: M,
    fallback: Option<impl FnOnce() -> T>,
) -> T {
    let bound = Bound::to(site);
    let reuse = Reuse::of::<M>(&bound, site, call);
    if let Some(answer) = reuse.as_ref().and_then(Reuse::hit) {
        return answer;
    }
    let mut flight = take_off(&bound, site, call, written(site, call, restartable));
    let mut judge = Judge::new(call, &bound);
    let end = drive_blocking(&mut flight, attempt, |answer| judge.class(answer));
    let class = class(&end);
    let (answer, ending) = judge.settle(end, &flight);
    match (&answer, &reuse) {
        (Answer::Good(value), Some(reuse)) => {
            reuse.keep(value, &mut flight);
        }
        (Answer::Failed(_) | Answer::Refused(_), Some(reuse)) => {
            if let Some(old) = reuse.on_error(class, flight.now()) {
                return stand_in(flight, old);
            }
        }
        (_, None) => {}
    }
    let unanswered = !matches!(answer, Answer::Good(_));
    if let Some(fallback) = fallback.filter(|_| unanswered) {
        let answer = context::enter(&mut flight.context, fallback);
        land(flight, &mut judge, &answer);
        return answer;
    }
    conclude(flight, &judge, answer, ending)
}

pub(super) fn take_off<'a, T>(bound: &'a Bound, site: &'static Site, call: &Call<T>, written: Written) -> Flight<'a> {
    let bounded = call.caps.reject.is_some();
    Flight::take_off(&bound.runtime, &bound.target, Some(&site.declaration), written, bounded)
}

/// Ends a call that no fallback answered.
pub(super) fn conclude<T>(mut flight: Flight<'_>, judge: &Judge<'_, T>, answer: Answer<T>, ending: Ending) -> T {
    tell(&mut flight, !matches!(answer, Answer::Good(_)));
    flight.finish(ending);
    match answer {
        Answer::Good(value) | Answer::Failed(value) => value,
        Answer::Refused(error) => judge.reject(error),
    }
}

/// Ends a call that its fallback answered; whether that answer is good decides what the call counts as.
fn land<T>(mut flight: Flight<'_>, judge: &mut Judge<'_, T>, answer: &T) {
    let good = judge.class(answer) == Class::Success;
    tell(&mut flight, !good);
    flight.finish_after_waiting(if good { Ending::Fallback } else { Ending::Failed });
}

/// [`tell`] of a call that gives its caller an answer.
fn tell_answered(flight: &mut Flight<'_>) {
    tell(flight, false);
}

/// Hands what happened to the function around this one. Its failures are no failures of a service inside it, so only
/// retries and warnings go up, and whether what its caller gets is an error.
fn tell(flight: &mut Flight<'_>, failed: bool) {
    flight.tell_ended(failed);
    let Some(context) = &mut flight.context else { return };
    let retries = context.retries_made;
    if retries > 0 || !context.warnings.is_empty() {
        context::tell_surrounding(retries, false, std::mem::take(&mut context.warnings));
    }
}

/// What the caller gets.
pub(super) enum Answer<T> {
    Good(T),
    Failed(T),
    Refused(Error),
}

/// Enforce: classifies and validates answers, and settles what the caller gets.
pub(super) struct Judge<'a, T> {
    call: &'a Call<T>,
    bound: &'a Bound,
    /// What is wrong with the last answer.
    complaint: Option<String>,
}

impl<'a, T> Judge<'a, T> {
    pub(super) fn new(call: &'a Call<T>, bound: &'a Bound) -> Self {
        Self { call, bound, complaint: None }
    }

    pub(super) fn class(&mut self, answer: &T) -> Class {
        let class = self.call.class(answer, self.bound.target.profile);
        if class != Class::Success {
            return class;
        }
        match self.call.validate.and_then(|complain| complain(answer)) {
            Some(complaint) => {
                self.complaint = Some(complaint);
                Class::Invalid
            }
            None => Class::Success,
        }
    }

    pub(super) fn settle(&mut self, end: End<T>, flight: &Flight<'_>) -> (Answer<T>, Ending) {
        match end {
            End::Answer { value, class: Class::Success, .. } => (Answer::Good(value), Ending::Done),
            End::Answer { value, class, withheld } => {
                if let Some(withheld) = withheld {
                    let declared = &self.bound.target.key;
                    tracing::debug!(
                        service = declared.service,
                        operation = declared.operation,
                        class = class.as_str(),
                        withheld = withheld.as_str(),
                        "not tried again"
                    );
                }
                match self.complaint.take().filter(|_| class == Class::Invalid && self.call.caps.reject.is_some()) {
                    Some(complaint) => {
                        let error = flight.place(Error::invalid_response(complaint));
                        (Answer::Refused(error), Ending::Failed)
                    }
                    None => (Answer::Failed(value), Ending::Failed),
                }
            }
            End::Refused(error) => {
                let ending = error.ending();
                (Answer::Refused(error), ending)
            }
        }
    }

    fn reject(&self, error: Error) -> T {
        let reject = self.call.caps.reject.expect("only a call that can carry a refusal is ever refused");
        reject(error)
    }
}
