//! Decides what becomes of a job after one try: pure, from what the call ended with.
//!
//! The rule above all: what may have been executed and must not be executed twice is uncertain, whatever else could be
//! said for trying again. What was refused before anything was sent is no try.

use super::job::{Job, Verdict};
use super::transition::CANCELLED;
use crate::clock::Wall;
use crate::error::{Error, Kind};
use crate::outcome::Class;
use crate::pipeline::request::{SOONEST, error_of as failed_of, forgotten};
use crate::pipeline::service::{Accepted, News, Request};
use crate::policy::deferral::{delay, probing, spread};
use crate::policy::jitter;
use crate::reply::Reply;
use std::time::Duration;

/// What a service that asks to be left alone for no time at all is left: its refusals are no tries, and only this
/// keeps them from following each other as fast as they can.
const SHORTEST_REST: Duration = Duration::from_secs(1);

/// Of the time a job has waited, the part it waits on at least while the circuit of its service is open, and the most.
const PATIENCE: u32 = 8;
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

/// When and with what randomness a verdict is spoken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Wall,
    pub(super) seed: u64,
    pub(super) counter: u64,
    /// How long after its first failure a job is tried again.
    pub(super) backoff: Duration,
    /// How long the circuit of its service stays open.
    pub(super) open_for: Duration,
}

/// What becomes of a job whose call ended so.
pub(super) fn judge(job: &Job, result: &Result<Reply, Error>, moment: Moment) -> Verdict {
    let error = match result {
        Ok(reply) => {
            return match reply.is_accepted() {
                Some(accepted) => asked_again(accepted, moment),
                None => Verdict::Done(reply.value().clone()),
            };
        }
        Err(error) => error,
    };
    let why = error.to_string();
    match error.kind() {
        Kind::OutcomeUnknown => Verdict::Uncertain(why),
        Kind::CircuitOpen { retry_in } => {
            // Where the circuit opens for moments only, what has waited long may wait a little longer; a queue full of jobs
            // would otherwise ask for nothing but whether it is still open.
            let patience = (job.created.until(moment.now) / PATIENCE).min(LONGEST_PATIENCE);
            let rest = retry_in.unwrap_or(probing(moment.open_for)).max(patience);
            let rest = spread(rest, jitter::fraction(moment.seed, moment.counter));
            Verdict::Again { due: moment.now.after(rest), why, counts_as_attempt: false }
        }
        _ if may_be_made_again(error, job.repeatable) => match error.retry_after() {
            Some(wait) => {
                let due = moment.now.after(wait.max(SHORTEST_REST));
                Verdict::Again { due, why, counts_as_attempt: false }
            }
            None => {
                let due = moment.now.after(delay(moment.backoff, job.attempts, moment.seed, moment.counter));
                Verdict::Again { due, why, counts_as_attempt: !error.is_crowded() }
            }
        },
        _ => Verdict::Failed(why),
    }
}

/// What becomes of a job whose service had taken it on, and was asked.
///
/// That it could not be asked, or does not answer, says nothing about the job: it is asked again until the job expires.
pub(super) fn hear(job: &Job, request: &Request, news: Result<News, Error>, moment: Moment) -> Verdict {
    match news {
        Ok(News::Working(accepted)) => asked_again(&accepted, moment),
        Ok(News::Done(fetched)) => Verdict::Done(fetched.value),
        Ok(News::Failed(failure)) => judge(job, &Err(failed_of(request, failure)), moment),
        Ok(News::Forgotten) => judge(job, &Err(forgotten(request)), moment),
        Err(error) => {
            let wait = error
                .retry_after()
                .map_or_else(|| delay(moment.backoff, 1, moment.seed, moment.counter), |wait| wait.max(SHORTEST_REST));
            put_back(job, moment.now.after(wait), error.to_string())
        }
    }
}

/// Leaves a job as it is until then: nothing was sent.
pub(super) fn put_back(job: &Job, due: Wall, why: String) -> Verdict {
    match job.accepted.clone() {
        Some(token) => Verdict::Accepted { token, due, why: Some(why) },
        None => Verdict::Again { due, why, counts_as_attempt: false },
    }
}

fn asked_again(accepted: &Accepted, moment: Moment) -> Verdict {
    let due = moment.now.after(accepted.ask_in.max(SOONEST));
    Verdict::Accepted { token: accepted.token.clone(), due, why: None }
}

/// Whether a call that failed so is worth making later, and surely not made twice by that.
pub(crate) fn may_be_made_again(error: &Error, repeatable: bool) -> bool {
    let is_worth_it = match error.kind() {
        Kind::CircuitOpen { .. }
        | Kind::Crowded { .. }
        | Kind::Throttled { .. }
        | Kind::BudgetExhausted
        | Kind::Deadline { .. }
        | Kind::Timeout { .. }
        | Kind::InvalidResponse
        | Kind::Unrecorded { .. } => true,
        Kind::Service { class } => class.is_retryable(),
        Kind::OutcomeUnknown | Kind::Denied | Kind::Configuration | Kind::Pending { .. } => false,
    };
    is_worth_it && error.allows_another(repeatable)
}

/// What becomes of a job whose task ended without a word: its caller panicked, or the process would not wait.
pub(super) fn broken_off(job: &Job, why: String, now: Wall, may_try_again: bool) -> Verdict {
    if job.accepted.is_some() {
        return put_back(job, now, why);
    }
    match (job.repeatable, may_try_again) {
        (false, _) => Verdict::Uncertain(why),
        (true, true) => Verdict::Again { due: now, why, counts_as_attempt: true },
        (true, false) => Verdict::Failed(why),
    }
}

/// The error of somebody who waits for a job that has ended without an answer.
pub(super) fn error_of(job: &Job) -> Error {
    use super::job::State;
    let words = job.error.clone().unwrap_or_else(|| format!("the job is {}", job.state));
    let kind = match job.state {
        State::Uncertain => Kind::OutcomeUnknown,
        State::Dead if job.error.as_deref() == Some(CANCELLED) => Kind::Denied,
        State::Dead if job.ended.is_none_or(|ended| ended >= job.expires) => {
            Kind::Deadline { limit: job.created.until(job.expires) }
        }
        State::Dead => Kind::Service { class: Class::Transient },
        _ => Kind::Service { class: Class::Permanent },
    };
    let attempts = u8::try_from(job.attempts).unwrap_or(u8::MAX);
    let elapsed = job.created.until(job.ended.unwrap_or(job.created));
    Error::new(kind).with_source(Some(words.into())).at(&job.service, &job.operation).after(attempts, elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defer::NewJob;
    use crate::pipeline::service::Failure;

    const NOW: Wall = Wall::from_millis(1_800_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    fn verdict(kind: Kind, attempts: u8, repeatable: bool) -> Verdict {
        let new = NewJob { repeatable, ..NewJob::new("general", "crm", "update", NOW) };
        let job = Job { attempts: 1, ..Job::from(new) };
        let error = Error::new(kind).after(attempts, SECOND);
        judge(
            &job,
            &Err(error),
            Moment {
                now: NOW,
                seed: 7,
                counter: 1,
                backoff: Duration::from_secs(30),
                open_for: Duration::from_secs(60),
            },
        )
    }

    fn is_again(verdict: &Verdict) -> Option<(bool, u128)> {
        match verdict {
            Verdict::Again { due, counts_as_attempt, .. } => Some((*counts_as_attempt, NOW.until(*due).as_millis())),
            _ => None,
        }
    }

    const SENT: Class = Class::Network { sent: true };

    #[test]
    fn what_may_have_run_and_must_not_run_twice_is_uncertain_or_failed_and_never_again() {
        assert!(matches!(verdict(Kind::OutcomeUnknown, 1, false), Verdict::Uncertain(_)));
        for class in [Class::Transient, SENT, Class::Timeout, Class::Invalid, Class::Permanent] {
            assert!(matches!(verdict(Kind::Service { class }, 1, false), Verdict::Failed(_)), "{class:?}");
        }
        for kind in [Kind::InvalidResponse, Kind::Deadline { limit: SECOND }, Kind::Timeout { limit: SECOND }] {
            assert!(matches!(verdict(kind, 1, false), Verdict::Failed(_)), "{kind:?}");
        }
    }

    #[test]
    fn what_was_surely_not_executed_is_made_again_whatever_it_is() {
        for kind in [
            Kind::Service { class: Class::Network { sent: false } },
            Kind::Throttled { retry_after: None },
            Kind::Deadline { limit: SECOND },
            Kind::CircuitOpen { retry_in: None },
        ] {
            assert!(is_again(&verdict(kind, 0, false)).is_some(), "{kind:?}");
        }
    }

    #[test]
    fn what_may_be_repeated_is_made_again_after_any_failure_that_may_pass() {
        for class in [Class::Transient, SENT, Class::Timeout, Class::Invalid] {
            let (counts, millis) = is_again(&verdict(Kind::Service { class }, 1, true)).unwrap();
            assert!(counts && (22_500..=30_000).contains(&millis), "{class:?}: {millis}");
        }
        assert!(matches!(verdict(Kind::Service { class: Class::Permanent }, 1, true), Verdict::Failed(_)));
        assert!(matches!(verdict(Kind::Configuration, 0, true), Verdict::Failed(_)));
    }

    #[test]
    fn what_was_refused_is_no_try_and_waits_as_long_as_it_was_told() {
        let throttled = Kind::Throttled { retry_after: Some(90 * SECOND) };
        assert_eq!(is_again(&verdict(throttled, 1, false)), Some((false, 90_000)), "to the second");
        let at_once = Kind::Throttled { retry_after: Some(Duration::ZERO) };
        assert_eq!(is_again(&verdict(at_once, 1, false)), Some((false, 1_000)));
        let (counts, millis) = is_again(&verdict(Kind::CircuitOpen { retry_in: Some(60 * SECOND) }, 0, false)).unwrap();
        assert!(!counts && (60_000..66_000).contains(&millis), "{millis}");
    }

    #[test]
    fn what_has_waited_long_for_a_circuit_waits_an_eighth_as_long_again_up_to_a_minute() {
        for (waited, rest) in [(0, 1), (80, 10), (400, 50), (86_400, 60)] {
            let job = Job::from(NewJob::new("general", "crm", "update", NOW));
            let error = Error::new(Kind::CircuitOpen { retry_in: Some(SECOND) }).after(0, SECOND);
            let now = NOW.after(waited * SECOND);
            let backoff = Duration::from_secs(30);
            let verdict = judge(&job, &Err(error), Moment { now, seed: 7, counter: 1, backoff, open_for: SECOND });
            let Verdict::Again { due, .. } = verdict else { panic!("{verdict:?}") };
            let millis = now.until(due).as_millis();
            assert!((rest * 1_000..=rest * 1_100).contains(&millis), "{waited} s: {millis}");
        }
    }

    /// What becomes of a job that the service had taken on, by what it says of it.
    fn heard(news: Result<News, Error>, repeatable: bool) -> Verdict {
        let new =
            NewJob { repeatable, accepted: Some("task-7".to_owned()), ..NewJob::new("general", "crm", "update", NOW) };
        let request = Request { repeatable, ..Request::new("crm", "update", crate::Profile::GENERAL) };
        let backoff = Duration::from_secs(30);
        hear(&Job::from(new), &request, news, Moment { now: NOW, seed: 7, counter: 1, backoff, open_for: SECOND })
    }

    #[test]
    fn what_was_taken_on_is_asked_about_until_the_service_says_how_it_ended() {
        let working = |ask_in| News::Working(Accepted { token: "task-8".to_owned(), ask_in });
        for (said, rest) in [(5 * SECOND, 5 * SECOND), (Duration::ZERO, SOONEST)] {
            let expected = Verdict::Accepted { token: "task-8".to_owned(), due: NOW.after(rest), why: None };
            assert_eq!(heard(Ok(working(said)), false), expected);
        }
        assert_eq!(heard(Ok(News::Done(serde_json::json!(7).into())), false), Verdict::Done(serde_json::json!(7)));
        let unknown = Error::new(Kind::Timeout { limit: SECOND }).after(3, SECOND);
        let Verdict::Accepted { token, due, why: Some(_) } = heard(Err(unknown), false) else { panic!("it is asked") };
        assert!(token == "task-7" && due > NOW);
    }

    #[test]
    fn what_was_taken_on_and_failed_or_was_forgotten_is_started_again_only_if_it_may_be_repeated() {
        let failed = |class| Ok(News::Failed(Failure::new(class, "scripted")));
        assert!(matches!(heard(failed(Class::Transient), false), Verdict::Failed(_)));
        assert!(is_again(&heard(failed(Class::Transient), true)).is_some());
        assert!(matches!(heard(failed(Class::Permanent), true), Verdict::Failed(_)));
        assert!(matches!(heard(Ok(News::Forgotten), false), Verdict::Uncertain(_)));
        assert!(is_again(&heard(Ok(News::Forgotten), true)).is_some());
    }

    #[test]
    fn asking_that_was_broken_off_is_asking_again() {
        let job =
            Job::from(NewJob { accepted: Some("task-7".to_owned()), ..NewJob::new("general", "crm", "update", NOW) });
        let verdict = broken_off(&job, "shut down".to_owned(), NOW, true);
        assert!(matches!(verdict, Verdict::Accepted { token, .. } if token == "task-7"));
    }

    #[test]
    fn a_job_that_was_broken_off_is_uncertain_unless_it_may_be_repeated() {
        let job = |repeatable| Job::from(NewJob { repeatable, ..NewJob::new("general", "crm", "update", NOW) });
        assert!(matches!(broken_off(&job(false), String::new(), NOW, true), Verdict::Uncertain(_)));
        assert!(matches!(broken_off(&job(true), String::new(), NOW, false), Verdict::Failed(_)));
        assert!(is_again(&broken_off(&job(true), String::new(), NOW, true)).is_some());
    }

    #[test]
    fn a_job_that_a_person_retried_and_that_then_died_was_not_cancelled() {
        let note = crate::defer::Note { by: "anna".to_owned(), text: None };
        let new = || Job::from(NewJob { max_attempts: 1, ..NewJob::new("general", "crm", "update", NOW) });
        let mut cancelled = new();
        cancelled.cancel(&note, NOW).unwrap();
        assert!(error_of(&cancelled).is_denied());
        let late = cancelled.expires.after(86_400 * SECOND);
        let mut expired = cancelled.clone();
        expired.retry(&note, NOW).unwrap();
        expired.expired(late);
        assert!(error_of(&expired).is_deadline(), "{}", error_of(&expired));
        let mut used_up = Job { repeatable: true, ..cancelled };
        used_up.retry(&note, NOW).unwrap();
        used_up.leased("w", NOW, NOW);
        used_up.lapsed(NOW);
        assert!(error_of(&used_up).is_service(), "{}", error_of(&used_up));
    }
}
