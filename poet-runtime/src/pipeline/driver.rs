//! The only place that acts: starts attempts, waits, drops what takes too long.
//!
//! It asks the policies what to do about each event and does it. It is generic over the body's future alone, boxes
//! nothing but two attempts that race, holds no lock across an await, and arms a timer only for a body that was not ready
//! at once. Dropping it at any await is safe: the [`Flight`] notes the call as cancelled and gives back its probe.

use super::flight::Flight;
use crate::context;
use crate::error::{Error, Kind};
use crate::outcome::{Class, Withheld};
use crate::policy::{Action, Event};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{self, Poll, ready};
use std::time::Instant;

/// How the attempts of a call ended.
#[derive(Debug)]
pub(super) enum End<T> {
    /// The last attempt ended with this.
    Answer { value: T, class: Class, withheld: Option<Withheld> },
    /// There is no answer to return.
    Refused(Error),
}

/// Runs a call to its end. `attempt(last)` starts an attempt.
pub(super) async fn drive<T, F, M, C>(flight: &mut Flight<'_>, mut attempt: M, mut classify: C) -> End<T>
where
    F: Future<Output = T>,
    M: FnMut(bool, Instant) -> F,
    C: FnMut(&T) -> Class,
{
    let mut answer = None;
    let mut action = flight.on(Event::Began);
    loop {
        action = match action {
            Action::Start { until, last, hedge } => {
                let limit = flight.is_bounded().then_some(until);
                let ended = if let Some(at) = hedge {
                    // Boxed, so that a body that is never raced is held once.
                    Box::pin(race(flight, &mut attempt, &mut classify, (at, until))).await
                } else {
                    // Started by its first poll, so that the context is entered once for both.
                    let body = pin!(async { attempt(last, until).await });
                    within(limit, body, flight).await
                };
                match ended {
                    Ok(Some(value)) => {
                        let class = classify(&value);
                        let attributed = flight.is_attributed();
                        let next = flight.on(Event::Finished { class, attributed });
                        // Most answers are the last; returned from here, they are not moved about.
                        if let Action::Return { withheld } = next {
                            return End::Answer { value, class, withheld };
                        }
                        answer = Some((value, class));
                        next
                    }
                    Ok(None) => {
                        answer = None;
                        flight.on(Event::TimedOut)
                    }
                    Err(NoTimer) => return End::Refused(flight.untimed()),
                }
            }
            Action::Sleep { until } | Action::StandInLine { until } => {
                if tokio::runtime::Handle::try_current().is_err() {
                    return match answer {
                        Some((value, class)) => End::Answer { value, class, withheld: None },
                        None => {
                            let message = "waiting for or between attempts needs a tokio runtime";
                            End::Refused(flight.place(Error::configuration(message)))
                        }
                    };
                }
                match flight.turn() {
                    Some(turn) => {
                        if let Ok(Ok(grant)) = tokio::time::timeout_at(until.into(), turn).await {
                            flight.sit_down(grant);
                        }
                    }
                    None => tokio::time::sleep_until(until.into()).await,
                }
                flight.on(Event::Woke)
            }
            Action::Return { withheld } => {
                let (value, class) = answer.expect("only an answered attempt is returned");
                return End::Answer { value, class, withheld };
            }
            Action::Reject { kind, withheld } => return End::Refused(refusal(kind, withheld, flight)),
        };
    }
}

/// Runs an attempt, and a second copy of it if it is not done `at` a time and a copy may be sent then. Whoever answers
/// first has won, and the other is dropped; whoever fails leaves it to the other.
async fn race<T, F: Future<Output = T>>(
    flight: &mut Flight<'_>,
    attempt: &mut impl FnMut(bool, Instant) -> F,
    classify: &mut impl FnMut(&T) -> Class,
    (at, until): (Instant, Instant),
) -> Result<Option<T>, NoTimer> {
    let mut first = pin!(attempt(false, until));
    if let Some(value) = within(Some(at), first.as_mut(), flight).await? {
        return Ok(Some(value));
    }
    if flight.is_alive() {
        // It was waited for beyond that, and its own time has come.
        return Ok(None);
    }
    if !flight.race() {
        return within(Some(until), first, flight).await;
    }
    let mut second = pin!(attempt(false, until));
    let either = pin!(poll_fn(|cx| {
        if let Poll::Ready(value) = first.as_mut().poll(cx) {
            return Poll::Ready((true, value));
        }
        second.as_mut().poll(cx).map(|value| (false, value))
    }));
    let Some((is_first, value)) = within(Some(until), either, flight).await? else { return Ok(None) };
    let class = classify(&value);
    if !class.is_retryable() {
        if !is_first {
            flight.win();
        }
        return Ok(Some(value));
    }
    flight.lose(is_first, class);
    let other = if is_first { second } else { first };
    within(Some(flight.until()), other, flight).await
}

/// Runs a fallback as a part of the call it answers for; `None` if it is not done when the call has to end.
pub(super) async fn fall_back<T, G>(flight: &mut Flight<'_>, fallback: impl FnOnce() -> G) -> Option<T>
where
    G: Future<Output = T>,
{
    let limit = flight.fallback_until();
    let body = pin!(async { fallback().await });
    within(limit, body, flight).await.ok().flatten()
}

/// [`drive`] for a body that cannot be interrupted: limits are looked at between attempts only.
pub(super) fn drive_blocking<T>(
    flight: &mut Flight<'_>,
    mut attempt: impl FnMut(bool) -> T,
    mut classify: impl FnMut(&T) -> Class,
) -> End<T> {
    let mut answer = None;
    let mut action = flight.on(Event::Began);
    loop {
        action = match action {
            Action::Start { last, .. } => {
                let value = context::enter(&mut flight.context, || attempt(last));
                let class = classify(&value);
                let attributed = flight.is_attributed();
                let next = flight.on(Event::Finished { class, attributed });
                if let Action::Return { withheld } = next {
                    return End::Answer { value, class, withheld };
                }
                answer = Some((value, class));
                next
            }
            // A function stands in no line.
            Action::Sleep { until } | Action::StandInLine { until } => {
                flight.sleep_blocking(until);
                flight.on(Event::Woke)
            }
            Action::Return { withheld } => {
                let (value, class) = answer.expect("only an answered attempt is returned");
                return End::Answer { value, class, withheld };
            }
            Action::Reject { kind, withheld } => return End::Refused(refusal(kind, withheld, flight)),
        };
    }
}

#[cold]
fn refusal(kind: Kind, withheld: Option<Withheld>, flight: &Flight<'_>) -> Error {
    let because = || Some(flight.timeout_in_words().into());
    let error = match (kind, withheld) {
        // What made the outcome unknown is the cause; the predicate stays single, because a caller who repeats on
        // `is_timeout` must not repeat this.
        (Kind::OutcomeUnknown, _) => Error::new(kind).with_source(because()),
        (Kind::Timeout { .. }, Some(Withheld::ServiceBudget | Withheld::ExecutionBudget)) => {
            Error::new(Kind::BudgetExhausted).with_source(because())
        }
        _ => Error::new(kind),
    };
    flight.place(error)
}

/// There is no tokio runtime to wait on.
struct NoTimer;

/// Polls a body until it is done or its time is up; with its context current while it is polled. Of a sign of life it
/// gives, the flight is told, and may then wait for longer.
async fn within<F: Future>(
    limit: Option<Instant>,
    mut body: Pin<&mut F>,
    flight: &mut Flight<'_>,
) -> Result<Option<F::Output>, NoTimer> {
    let mut until = limit;
    let mut poll = |cx: &mut task::Context<'_>, until: &mut Option<Instant>| {
        let signs = context::signs();
        let ended = context::enter(&mut flight.context, || body.as_mut().poll(cx));
        if context::signs() != signs
            && ended.is_pending()
            && let Some(later) = flight.hear()
        {
            *until = until.map(|_| later);
        }
        ended
    };
    // A timer costs 135 ns to arm and drop, so a body that is ready at once gets none.
    if let Poll::Ready(value) = poll_fn(|cx| Poll::Ready(poll(cx, &mut until))).await {
        return Ok(Some(value));
    }
    // The body was polled a moment ago in this same poll of the task, and has registered its waker.
    let mut polled = true;
    let Some(limit) = until else {
        return Ok(Some(
            poll_fn(|cx| {
                if std::mem::take(&mut polled) {
                    return Poll::Pending;
                }
                poll(cx, &mut until)
            })
            .await,
        ));
    };
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(NoTimer);
    }
    let mut timer = pin!(tokio::time::sleep_until(limit.into()));
    poll_fn(|cx| {
        if !std::mem::take(&mut polled)
            && let Poll::Ready(value) = poll(cx, &mut until)
        {
            return Poll::Ready(Ok(Some(value)));
        }
        loop {
            // Outside the task's budget: a body that uses it up at every poll would keep the timer from ever being
            // looked at.
            ready!(pin!(tokio::task::unconstrained(timer.as_mut())).poll(cx));
            // Moved only now: signs may come by the thousand, and the time is up once.
            match until.map(Into::into) {
                Some(later) if later > timer.deadline() => timer.as_mut().reset(later),
                _ => return Poll::Ready(Ok(None)),
            }
        }
    })
    .await
}
