//! The entry points of annotated functions: what an expansion of `#[poet]` calls.

use super::driver::{End, drive, drive_blocking, fall_back};
use super::flight::Flight;
use super::perceive::Written;
use crate::__private::Call;
use crate::context;
use crate::error::Error;
use crate::outcome::{Class, Ending};
use crate::runtime::Bound;
use crate::site::Site;
use std::future::{Future, Ready};
use std::pin::Pin;

/// The answer of a function that has no fallback.
type NoFallback<T> = fn() -> Ready<T>;

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
    engage(site, call, Attempts { start: attempt, restartable: true }, None::<NoFallback<T>>)
}

/// Runs a function that may be started again, with a fallback.
pub fn run_or<T, M, F, B, G>(site: &'static Site, call: Call<T>, attempt: M, fallback: B) -> impl Future<Output = T>
where
    M: FnMut(bool) -> F,
    F: Future<Output = T>,
    B: FnOnce() -> G,
    G: Future<Output = T>,
{
    engage(site, call, Attempts { start: attempt, restartable: true }, Some(fallback))
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
struct Attempts<M> {
    start: M,
    restartable: bool,
}

/// The one attempt that a body pinned by the expansion is.
fn pinned<'b, F>(body: Pin<&'b mut F>) -> Attempts<impl FnMut(bool) -> Pin<&'b mut F>> {
    let mut body = Some(body);
    Attempts {
        start: move |_| body.take().expect("a body that cannot be started again is started once"),
        restartable: false,
    }
}

fn once<T>(body: impl FnOnce() -> T) -> impl FnMut(bool) -> T {
    let mut body = Some(body);
    move |_| (body.take().expect("a body that cannot be started again is started once"))()
}

fn written<T>(site: &Site, call: &Call<T>, restartable: bool) -> Written {
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
    }
}

#[expect(
    clippy::manual_async_fn,
    reason = "what a block captures stays in place; arguments of an `async fn` are moved"
)]
fn engage<T, M, F, B, G>(
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
        let mut flight = take_off(&bound, site, &call, attempts.restartable);
        let mut judge = Judge::new(&call, &bound);
        let Attempts { mut start, .. } = attempts;
        let end = drive(&mut flight, |last, _| start(last), |answer| judge.class(answer)).await;
        // The ordinary case first, and by itself: every other one moves the answer about.
        if let End::Answer { value, class: Class::Success, .. } = end {
            tell(&mut flight);
            flight.finish(Ending::Done);
            return value;
        }
        let (answer, ending) = judge.settle(end, &flight);
        let unanswered = !matches!(answer, Answer::Good(_));
        if let Some(fallback) = fallback.filter(|_| unanswered)
            && let Some(answer) = fall_back(&mut flight, fallback).await
        {
            land(flight, &mut judge, &answer);
            return answer;
        }
        conclude(flight, &judge, answer, ending)
    }
}

fn engage_sync<T>(
    site: &'static Site,
    call: &Call<T>,
    restartable: bool,
    attempt: impl FnMut(bool) -> T,
    fallback: Option<impl FnOnce() -> T>,
) -> T {
    let bound = Bound::to(site);
    let mut flight = take_off(&bound, site, call, restartable);
    let mut judge = Judge::new(call, &bound);
    let end = drive_blocking(&mut flight, attempt, |answer| judge.class(answer));
    let (answer, ending) = judge.settle(end, &flight);
    let unanswered = !matches!(answer, Answer::Good(_));
    if let Some(fallback) = fallback.filter(|_| unanswered) {
        let answer = context::enter(&mut flight.context, fallback);
        land(flight, &mut judge, &answer);
        return answer;
    }
    conclude(flight, &judge, answer, ending)
}

fn take_off<'a, T>(bound: &'a Bound, site: &'static Site, call: &Call<T>, restartable: bool) -> Flight<'a> {
    let bounded = call.caps.reject.is_some();
    let declared = Some(&site.declaration);
    Flight::take_off(&bound.runtime, &bound.target, declared, written(site, call, restartable), bounded)
}

/// Ends a call that no fallback answered.
fn conclude<T>(mut flight: Flight<'_>, judge: &Judge<'_, T>, answer: Answer<T>, ending: Ending) -> T {
    tell(&mut flight);
    flight.finish(ending);
    match answer {
        Answer::Good(value) | Answer::Failed(value) => value,
        Answer::Refused(error) => judge.reject(error),
    }
}

/// Ends a call that its fallback answered; whether that answer is good decides what the call counts as.
fn land<T>(mut flight: Flight<'_>, judge: &mut Judge<'_, T>, answer: &T) {
    let good = judge.class(answer) == Class::Success;
    tell(&mut flight);
    flight.finish_after_waiting(if good { Ending::Fallback } else { Ending::Failed });
}

/// Hands what happened to the function around this one. Its failures are no failures of a service inside it, so only
/// retries and warnings go up.
fn tell(flight: &mut Flight<'_>) {
    let Some(context) = &mut flight.context else { return };
    let retries = context.retries_made;
    if retries > 0 || !context.warnings.is_empty() {
        context::tell_surrounding(retries, false, std::mem::take(&mut context.warnings));
    }
}

/// What the caller gets.
enum Answer<T> {
    Good(T),
    Failed(T),
    Refused(Error),
}

/// Enforce: classifies and validates answers, and settles what the caller gets.
struct Judge<'a, T> {
    call: &'a Call<T>,
    bound: &'a Bound,
    /// What is wrong with the last answer.
    complaint: Option<String>,
}

impl<'a, T> Judge<'a, T> {
    fn new(call: &'a Call<T>, bound: &'a Bound) -> Self {
        Self { call, bound, complaint: None }
    }

    fn class(&mut self, answer: &T) -> Class {
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

    fn settle(&mut self, end: End<T>, flight: &Flight<'_>) -> (Answer<T>, Ending) {
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
