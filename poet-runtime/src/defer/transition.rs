//! What becomes of a job: every way from one state to another, decided here and stored elsewhere.
//!
//! The rule above all: a job that may have been executed and must not be executed twice never becomes pending by
//! itself. Only a person, or the worker that held it, can say more than *uncertain*.

use super::job::{Job, NewJob, Resolution, State, Token, Verdict};
use super::queue::{Note, QueueError, Reported};
use crate::clock::Wall;
use serde_json::Value;
use std::time::Duration;

/// Why a job is dead that somebody cancelled.
pub(super) const CANCELLED: &str = "cancelled";

/// What a job that is started over has before it expires, at least.
const TIME: Duration = Duration::from_secs(86_400);

impl From<NewJob> for Job {
    fn from(new: NewJob) -> Self {
        Self {
            id: new.id,
            profile: new.profile,
            service: new.service,
            operation: new.operation,
            arguments: Some(new.arguments),
            options: new.options,
            repeatable: new.repeatable,
            priority: new.priority,
            order_key: new.order_key,
            reason: new.reason,
            state: State::Pending,
            created: new.created,
            due: new.due,
            expires: new.expires,
            started: None,
            ended: None,
            // That it was taken on was a try.
            attempts: u32::from(new.accepted.is_some()),
            max_attempts: new.max_attempts,
            owner: None,
            token: Token::default(),
            until: None,
            execution: new.execution,
            accepted: new.accepted,
            error: None,
            result: None,
            resolved: None,
        }
    }
}

impl Job {
    /// Whether its time to start has come and not yet gone.
    pub(super) fn is_due(&self, now: Wall) -> bool {
        self.state == State::Pending && self.due <= now && self.expires > now
    }

    /// A worker takes it.
    pub(super) fn leased(&mut self, worker: &str, until: Wall, now: Wall) {
        self.state = State::Leased;
        self.attempts += 1;
        self.token.0 += 1;
        self.owner = Some(worker.to_owned());
        self.started = Some(now);
        self.until = Some(until);
    }

    /// A worker says that it is still at it. Whether it holds the job.
    pub(super) fn renewed(&mut self, token: Token, until: Wall) -> bool {
        let holds = self.state == State::Leased && self.token == token;
        if holds {
            self.until = Some(until);
        }
        holds
    }

    /// A worker says what came of its try.
    pub(super) fn reported(&mut self, token: Token, verdict: &Verdict, now: Wall) -> Reported {
        let counts = match self.state {
            // A lease that ended leaves it pending or uncertain, until somebody else takes it.
            State::Leased | State::Pending | State::Uncertain => true,
            // Given up while its worker was slow: that it was done is still true, and nothing else matters.
            State::Dead => matches!(verdict, Verdict::Done(_)),
            State::Done | State::Failed => false,
        };
        if !counts || self.token != token || token == Token::default() {
            return Reported::Refused(self.state);
        }
        // One lease has one verdict.
        self.token.0 += 1;
        self.asked();
        match verdict {
            Verdict::Done(result) => self.done(Some(result.clone()), now),
            Verdict::Failed(why) => self.failed(why, now),
            Verdict::Again { due, why, counts_as_attempt } => self.again(*due, why, *counts_as_attempt, now),
            Verdict::Accepted { token, due, why } => self.taken_on(token, *due, why.clone()),
            Verdict::Uncertain(why) => self.uncertain(why.clone()),
        }
        Reported::Accepted(self.state)
    }

    /// Its lease ended without a verdict.
    pub(super) fn lapsed(&mut self, now: Wall) {
        let worker = self.owner.as_deref().unwrap_or("unknown");
        let why = format!("worker {worker} gave no sign before its lease ended");
        self.asked();
        if let Some(token) = self.accepted.clone() {
            self.taken_on(&token, now, Some(why));
        } else if self.repeatable {
            self.again(now, &why, true, now);
        } else {
            self.uncertain(why);
        }
    }

    /// It was pending for too long.
    pub(super) fn expired(&mut self, now: Wall) {
        let last = self.error.take().map_or(String::new(), |error| format!("; before that: {error}"));
        if self.accepted.is_some() && !self.repeatable {
            return self.uncertain(format!("the service had taken it on and had not done it when it expired{last}"));
        }
        self.dead(format!("expired before it was executed{last}"), now);
    }

    pub(super) fn cancel(&mut self, note: &Note, now: Wall) -> Result<(), QueueError> {
        self.permit("cancelled", self.state == State::Pending)?;
        self.resolved = Some(format!("cancelled by {note}"));
        self.dead(CANCELLED.to_owned(), now);
        Ok(())
    }

    pub(super) fn retry(&mut self, note: &Note, now: Wall) -> Result<(), QueueError> {
        self.permit("retried", matches!(self.state, State::Failed | State::Dead))?;
        self.resolved = Some(format!("retried by {note}"));
        self.start_over(now);
        Ok(())
    }

    pub(super) fn resolve(&mut self, resolution: &Resolution, note: &Note, now: Wall) -> Result<(), QueueError> {
        self.permit("resolved", self.state == State::Uncertain)?;
        let how = match resolution {
            Resolution::Done(_) => "done",
            Resolution::Failed => "failed",
            Resolution::Again => "to be made again",
        };
        self.resolved = Some(format!("resolved as {how} by {note}"));
        match resolution {
            Resolution::Done(result) => self.done(result.clone(), now),
            Resolution::Failed => self.ended(State::Failed, now),
            Resolution::Again => self.start_over(now),
        }
        Ok(())
    }

    fn permit(&self, asked: &'static str, permitted: bool) -> Result<(), QueueError> {
        if permitted { Ok(()) } else { Err(QueueError::State { id: self.id, state: self.state, asked }) }
    }

    fn done(&mut self, result: Option<Value>, now: Wall) {
        self.ended(State::Done, now);
        self.result = result;
        self.error = None;
        // Nothing will be made with them again.
        self.arguments = None;
        self.options = Value::Null;
        self.accepted = None;
    }

    fn failed(&mut self, why: &str, now: Wall) {
        self.ended(State::Failed, now);
        self.error = Some(why.to_owned());
    }

    /// A lease ends under which the service was only asked about it: that was no try.
    fn asked(&mut self) {
        if self.state == State::Leased && self.accepted.is_some() {
            self.attempts = self.attempts.saturating_sub(1);
        }
    }

    fn taken_on(&mut self, token: &str, due: Wall, why: Option<String>) {
        self.accepted = Some(token.to_owned());
        self.state = State::Pending;
        self.due = due;
        self.until = None;
        self.error = why;
    }

    fn again(&mut self, due: Wall, why: &str, counts: bool, now: Wall) {
        // Whatever was taken on before has ended.
        self.accepted = None;
        if !counts {
            self.attempts = self.attempts.saturating_sub(1);
        } else if self.attempts >= self.max_attempts {
            return self.dead(format!("given up after {} attempts: {why}", self.attempts), now);
        }
        self.state = State::Pending;
        self.due = due;
        self.until = None;
        self.error = Some(why.to_owned());
    }

    fn uncertain(&mut self, why: String) {
        self.state = State::Uncertain;
        self.until = None;
        self.error = Some(why);
    }

    fn dead(&mut self, why: String, now: Wall) {
        self.ended(State::Dead, now);
        self.error = Some(why);
    }

    fn ended(&mut self, state: State, now: Wall) {
        self.state = state;
        self.ended = Some(now);
        self.until = None;
    }

    fn start_over(&mut self, now: Wall) {
        self.state = State::Pending;
        self.accepted = None;
        self.attempts = 0;
        self.due = now;
        self.expires = self.expires.max(now.after(TIME));
        self.ended = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall::from_millis(1_800_000_000_000);

    fn leased(repeatable: bool) -> Job {
        let mut job = Job::from(NewJob { repeatable, max_attempts: 2, ..NewJob::new("p", "crm", "update", NOW) });
        job.leased("w", NOW, NOW);
        job
    }

    fn again(counts_as_attempt: bool) -> Verdict {
        Verdict::Again { due: NOW, why: "busy".to_owned(), counts_as_attempt }
    }

    #[test]
    fn what_may_not_be_repeated_is_uncertain_when_its_lease_ends_and_anything_else_pending() {
        let (mut once, mut often) = (leased(false), leased(true));
        once.lapsed(NOW);
        often.lapsed(NOW);
        assert_eq!((once.state, often.state), (State::Uncertain, State::Pending));
    }

    #[test]
    fn a_lease_has_one_verdict() {
        let mut job = leased(true);
        assert_eq!(job.reported(Token(1), &again(true), NOW), Reported::Accepted(State::Pending));
        assert_eq!(job.reported(Token(1), &Verdict::Done(Value::Null), NOW), Reported::Refused(State::Pending));
    }

    #[test]
    fn a_job_that_was_never_leased_takes_no_verdict() {
        let mut job = Job::from(NewJob::new("p", "crm", "update", NOW));
        assert_eq!(job.reported(Token(0), &Verdict::Done(Value::Null), NOW), Reported::Refused(State::Pending));
    }

    #[test]
    fn what_was_not_sent_is_no_attempt() {
        let mut job = leased(false);
        job.reported(Token(1), &again(false), NOW);
        assert_eq!(job.attempts, 0);
    }

    #[test]
    fn the_last_attempt_ends_in_death_and_late_news_of_success_still_counts() {
        let mut job = leased(true);
        job.lapsed(NOW);
        job.leased("w", NOW, NOW);
        job.lapsed(NOW);
        assert_eq!(job.state, State::Dead);
        let token = job.token;
        assert_eq!(job.reported(token, &again(true), NOW), Reported::Refused(State::Dead));
        assert_eq!(job.reported(token, &Verdict::Done(Value::Null), NOW), Reported::Accepted(State::Done));
    }

    #[test]
    fn arguments_go_when_it_is_done_and_stay_for_a_retry_when_it_failed() {
        let (mut done, mut failed) = (leased(false), leased(false));
        done.reported(Token(1), &Verdict::Done(Value::Null), NOW);
        failed.reported(Token(1), &Verdict::Failed("no such contact".to_owned()), NOW);
        assert_eq!(done.arguments, None);
        assert!(failed.arguments.is_some());
    }

    fn taken_on(job: &mut Job) {
        let token = job.token;
        let verdict = Verdict::Accepted { token: "task-7".to_owned(), due: NOW, why: None };
        assert_eq!(job.reported(token, &verdict, NOW), Reported::Accepted(State::Pending));
    }

    #[test]
    fn what_a_service_has_taken_on_is_asked_about_however_often_and_lapses_into_nothing_worse() {
        let mut job = leased(false);
        taken_on(&mut job);
        for _ in 0..10 {
            job.leased("w", NOW, NOW);
            taken_on(&mut job);
        }
        job.leased("w", NOW, NOW);
        job.lapsed(NOW);
        assert_eq!((job.state, job.attempts, job.accepted.as_deref()), (State::Pending, 1, Some("task-7")));
        job.expired(NOW);
        assert_eq!(job.state, State::Uncertain, "whether it was done nobody knows");
    }

    #[test]
    fn what_is_started_over_is_no_more_what_was_taken_on() {
        let note = Note { by: "anna".to_owned(), text: None };
        let mut resolved = leased(false);
        taken_on(&mut resolved);
        resolved.uncertain("forgotten".to_owned());
        resolved.resolve(&Resolution::Again, &note, NOW).unwrap();
        let mut retried = leased(false);
        taken_on(&mut retried);
        retried.cancel(&note, NOW).unwrap();
        assert!(retried.accepted.is_some(), "whoever cancelled it has to tell the service");
        retried.retry(&note, NOW).unwrap();
        let mut repeated = leased(true);
        taken_on(&mut repeated);
        repeated.leased("w", NOW, NOW);
        let token = repeated.token;
        repeated.reported(token, &again(true), NOW);
        assert_eq!([resolved.accepted, retried.accepted, repeated.accepted], [None, None, None]);
    }

    #[test]
    fn a_retry_has_all_attempts_and_a_day_again() {
        let mut job = Job::from(NewJob { expires: NOW, ..NewJob::new("p", "crm", "update", NOW) });
        job.expired(NOW);
        job.retry(&Note { by: "anna".to_owned(), text: None }, NOW).unwrap();
        assert!(job.is_due(NOW) && job.attempts == 0);
    }
}
