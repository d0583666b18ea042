//! What a flight writes down where the audit of its call is on: every decision of the policies, and who decided it.
//!
//! None of this runs for a call that is not audited.

use super::Flight;
use crate::audit::{Decider, Obeyed, Trail, Wait, What, Who, seconds};
use crate::context;
use crate::error::{Error, Kind};
use crate::outcome::{Attempt, Class, FailureKind, Withheld};
use crate::parameter::{
    ATTEMPT_TIMEOUT, BASE_DELAY, CONCURRENCY_LIMIT, FAILURE_THRESHOLD, MAX_RETRIES, OPEN_FOR, Parameter,
};
use crate::policy::Action;
use crate::store::TargetKey;

impl Flight<'_> {
    /// Writes down what is decided from here on, under the number of that audit.
    pub(in crate::pipeline) fn follow(&mut self, trail: Option<&Trail>) {
        if let Some(trail) = trail {
            self.execution = trail.number();
            self.trail = Some(trail.clone());
        }
    }

    /// Puts on disk that the call is about to be made, where its audit is strict.
    ///
    /// # Errors
    ///
    /// If that cannot be written down: nothing is to be sent.
    pub(in crate::pipeline) async fn promise(&mut self) -> Result<(), Error> {
        let Some(trail) = self.trail.clone() else { return Ok(()) };
        let promised = Box::pin(trail.promise(self.runtime, self.policy.limits.deadline)).await;
        self.look_up();
        promised.map_err(|error| self.place(error))
    }

    /// Writes down what was decided.
    #[cold]
    pub(super) fn account(&self, trail: &Trail, ended: Option<Class>, action: &Action) {
        if let Some(attempt) = ended.and(self.ended.as_ref()) {
            self.account_attempt(trail, attempt);
        }
        trail.woke(self.now);
        let kind = ended.and_then(Class::failure);
        match action {
            Action::Start { .. } => self.account_retry(trail, kind),
            Action::Sleep { .. } => {
                self.account_retry(trail, kind);
                let (why, by) = if self.policy.is_backing_off() {
                    (Wait::Backoff, self.decider(trail, &BASE_DELAY, None))
                } else {
                    (Wait::RetryAfter, Who::Service.into())
                };
                trail.wait(self.now, why, by);
            }
            Action::StandInLine { .. } => {
                trail.wait(self.now, Wait::Concurrency, self.decider(trail, &CONCURRENCY_LIMIT, None));
            }
            Action::Return { withheld } => {
                if let Some(class) = ended.filter(|class| *class != Class::Success) {
                    self.account_end(trail, class, *withheld);
                }
            }
            Action::Reject { kind, .. } if self.policy.attempts() == 0 => self.account_refusal(trail, *kind),
            Action::Reject { withheld, .. } => self.account_end(trail, Class::Timeout, *withheld),
        }
    }

    pub(super) fn account_attempt(&self, trail: &Trail, attempt: &Attempt) {
        let by = match attempt.class {
            Class::Timeout if attempt.at_deadline => self.who_set_the_deadline(trail).into(),
            Class::Timeout => self.decider(trail, &ATTEMPT_TIMEOUT, None),
            _ => Who::Service.into(),
        };
        let what = What::Attempted {
            number: attempt.ordinal,
            class: attempt.class.as_str().to_owned(),
            seconds: seconds(attempt.elapsed),
            limit: seconds(self.policy.limit()),
            probe: attempt.probe,
        };
        trail.note(self.now, what, by);
    }

    fn account_retry(&self, trail: &Trail, after: Option<FailureKind>) {
        if let Some(kind) = after {
            let what = What::Retried { after: kind.as_str().to_owned() };
            trail.note(self.now, what, self.decider(trail, &MAX_RETRIES, Some(kind)));
        }
    }

    fn account_end(&self, trail: &Trail, class: Class, withheld: Option<Withheld>) {
        let (why, by) = match (withheld, class.failure()) {
            (Some(Withheld::Deadline), _) => (Withheld::Deadline.as_str(), self.who_set_the_deadline(trail).into()),
            (Some(Withheld::CircuitOpen), _) => {
                (Withheld::CircuitOpen.as_str(), self.decider(trail, &FAILURE_THRESHOLD, class.failure()))
            }
            (Some(rule), _) => (rule.as_str(), Who::Rule.into()),
            (None, Some(kind)) => ("attempts", self.decider(trail, &MAX_RETRIES, Some(kind))),
            (None, None) => ("permanent", Who::Service.into()),
        };
        trail.note(self.now, What::GaveUp { why: why.to_owned() }, by);
    }

    fn account_refusal(&self, trail: &Trail, kind: Kind) {
        let (why, retry_in, by) = match kind {
            Kind::CircuitOpen { retry_in } => ("circuit_open", retry_in, self.decider(trail, &OPEN_FOR, None)),
            Kind::Throttled { retry_after } => ("throttled", retry_after, Who::Service.into()),
            Kind::Crowded { .. } => ("crowded", None, self.decider(trail, &CONCURRENCY_LIMIT, None)),
            _ => ("deadline", None, self.who_set_the_deadline(trail).into()),
        };
        trail.note(self.now, What::Refused { why: why.to_owned(), retry_in: retry_in.map(seconds) }, by);
    }

    /// Who decided a value that the call obeyed.
    pub(super) fn decider(&self, trail: &Trail, parameter: &'static Parameter, after: Option<FailureKind>) -> Decider {
        let limits = &self.policy.limits;
        let (said, value) = match parameter.name {
            "retry.max_retries" => {
                (trail.said().retries, after.map(|kind| f64::from(limits.max_retries[kind.index()])))
            }
            "timeout.attempt" => (trail.said().timeout, limits.attempt.map(|limit| limit.as_secs_f64())),
            "retry.base_delay" => (false, Some(limits.backoff.base.as_secs_f64())),
            "concurrency.limit" => (false, self.places.map(f64::from)),
            _ => (false, None),
        };
        let now = Obeyed::now(self.target, parameter, after);
        let value = value.unwrap_or(now.value);
        let obeyed = Obeyed { value, learns: now.learns && self.revision > 0, arm: self.arm, ..now };
        let configured = self.runtime.config.services.get(&self.target.key.service);
        if said { obeyed.by_the_call() } else { obeyed.decider(self.target, configured) }
    }

    fn who_set_the_deadline(&self, trail: &Trail) -> Who {
        let TargetKey { service, operation } = &self.target.key;
        let configured = self.runtime.config.services.get(service);
        let tool = configured.and_then(|service| service.tools.get(operation)?.deadline);
        if context::surrounding(|outer| outer.is_some_and(|outer| outer.deadline <= self.policy.limits.deadline)) {
            Who::Caller
        } else if trail.said().deadline {
            Who::Call
        } else if tool.or(configured.and_then(|service| service.deadline)).is_some() {
            Who::Configuration
        } else {
            Who::Default
        }
    }
}
