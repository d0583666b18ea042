//! Who decided a value that a call obeyed: the call, the configuration, a person, what was learned, or the profile.
//!
//! Asked after the fact and for audited calls only, so it may take locks that a call does not.

use super::entry::{Decider, Who};
use crate::config::ServiceConfig;
use crate::outcome::{Arm, FailureKind};
use crate::parameter::Parameter;
use crate::store::Standing;
use crate::target::Target;
use std::time::Duration;

/// A value that a call obeyed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Obeyed {
    pub(crate) parameter: &'static Parameter,
    pub(crate) after: Option<FailureKind>,
    /// The value it had for the call, in the parameter's unit.
    pub(crate) value: f64,
    /// Whether the call was made with what was learned, and which values of it.
    pub(crate) learns: bool,
    pub(crate) arm: Arm,
}

impl Obeyed {
    /// A value of an operation that is read now.
    pub(crate) fn now(target: &Target, parameter: &'static Parameter, after: Option<FailureKind>) -> Self {
        let value = target.values().get(parameter.name, after).unwrap_or_default();
        Self { parameter, after, value, learns: target.learning.applies(), arm: Arm::InForce }
    }

    /// Who decided it, where the call itself said nothing.
    pub(crate) fn decider(self, target: &Target, configured: Option<&ServiceConfig>) -> Decider {
        let Self { parameter, after, value, learns, arm } = self;
        let by =
            |who, revision| Decider { who, parameter: Some(named(parameter, after)), value: Some(value), revision };
        if configured.is_some_and(|service| service.held(&target.key.operation, parameter, after).is_some()) {
            return by(Who::Configuration, None);
        }
        let learned = target.learned();
        // What is learned of one kind of failure stands before what is learned of all.
        let of = |after| learned.iter().find(|row| row.key.name == parameter.name && row.key.after == after);
        let row = of(after).or_else(|| of(None)).filter(|row| learns && row.in_force().is_some());
        match row {
            None => by(Who::Default, None),
            Some(row) if row.standing == Standing::Pinned => by(Who::Person, Some(row.revision)),
            Some(row) if parameter.is_of_one_call() && matches!(arm, Arm::HeldOut | Arm::Unlearned) => {
                by(Who::HeldOut, Some(row.revision))
            }
            Some(row) => by(Who::Learned, Some(row.revision)),
        }
    }

    /// What is said where the call itself said the value.
    pub(crate) fn by_the_call(self) -> Decider {
        let Self { parameter, after, value, .. } = self;
        Decider { who: Who::Call, parameter: Some(named(parameter, after)), value: Some(value), revision: None }
    }
}

fn named(parameter: &Parameter, after: Option<FailureKind>) -> String {
    match after {
        Some(kind) => format!("{}.{}", parameter.name, kind.as_str()),
        None => parameter.name.to_owned(),
    }
}

/// Seconds as they are written down: to the microsecond.
pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::parameter::{ATTEMPT_TIMEOUT, MAX_RETRIES};
    use crate::profile::Profile;
    use crate::recorder::Directory;
    use crate::store::{ParameterRow, conformance};
    use std::sync::Arc;

    /// What is said of the timeout of `crm`, with this configured and these rows.
    fn said(service: Option<ServiceConfig>, rows: &[ParameterRow], arm: Arm) -> (Who, Option<u64>) {
        let config = Arc::new(service.into_iter().fold(Config::default(), Config::service));
        let registry = crate::registry::Registry::new(config.clone(), Vec::new(), Profile::GENERAL);
        rows.iter().for_each(|row| registry.apply(row));
        let runtime = crate::Runtime::builder().configuration(Config::default()).in_memory().build().unwrap();
        let target = registry.service_target(&runtime.0, "crm", "call", Profile::GENERAL);
        let obeyed = Obeyed { arm, ..Obeyed::now(&target, &ATTEMPT_TIMEOUT, None) };
        let Decider { who, revision, parameter, .. } = obeyed.decider(&target, config.services.get("crm"));
        assert_eq!(parameter.as_deref(), Some("timeout.attempt"));
        (who, revision)
    }

    fn row(standing: Standing) -> ParameterRow {
        let change = conformance::change("crm", "timeout.attempt", None, 2.0);
        ParameterRow { standing, revision: 7, ..change.new }
    }

    #[test]
    fn who_decided_is_who_a_person_would_have_to_ask() {
        let learned = [row(Standing::Confirmed)];
        let limited = || Some(ServiceConfig::named("crm").timeout(Duration::from_secs(1)));
        assert_eq!(said(None, &[], Arm::InForce), (Who::Default, None));
        assert_eq!(said(limited(), &learned, Arm::InForce), (Who::Configuration, None));
        assert_eq!(said(None, &learned, Arm::InForce), (Who::Learned, Some(7)));
        assert_eq!(said(None, &learned, Arm::Unlearned), (Who::HeldOut, Some(7)));
        assert_eq!(said(None, &[row(Standing::Pinned)], Arm::InForce), (Who::Person, Some(7)));
        assert_eq!(said(None, &[row(Standing::Shadow)], Arm::InForce), (Who::Default, None));
    }

    #[test]
    fn a_value_for_one_kind_of_failure_is_named_with_it() {
        assert_eq!(named(&MAX_RETRIES, Some(FailureKind::Timeout)), "retry.max_retries.timeout");
    }
}
