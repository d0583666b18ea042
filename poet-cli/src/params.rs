//! `poet params`: what was learned, and what a person decides about it.

use crate::arguments::{Arguments, Params, Which};
use crate::decide::{self, Desk};
use crate::{Refusal, database, non_empty};
use poet_runtime::FailureKind;
use poet_runtime::config::Pins;
use poet_runtime::decision::Decision;
use poet_runtime::parameter::{self, Parameter};
use poet_runtime::report::{InForce, Report, Target, json, text};
use poet_runtime::store::ParameterChange;
use std::path::Path;

pub(crate) fn run(command: &Params, arguments: &Arguments, path: &Path) -> Result<String, Refusal> {
    let (report, format) = (&database::gather(path, &command.scope())?, arguments.format);
    let desk = Desk { report, arguments, path };
    let mut moves: Vec<&ParameterChange> = report.changes.iter().rev().collect();
    match command {
        Params::List { service } => {
            non_empty(report, service.as_deref())?;
            Ok(format.of(|style| text::parameters(report, style), || json::parameters(report)))
        }
        Params::Show(which) => {
            let name = parameter(which)?.name;
            let target = target(report, which)?;
            let known = find(target, name, which.after)?;
            moves.retain(|change| {
                change.new.key.target == target.key
                    && change.new.key.name == name
                    && change.new.key.after == known.after
            });
            Ok(format.of(
                |style| text::parameter(&target.key, known, &moves, style),
                || json::parameter(&target.key, known, &moves),
            ))
        }
        Params::History { service } => {
            non_empty(report, service.as_deref())?;
            if moves.is_empty() {
                return Err(Refusal::nothing(format!("nothing was learned yet in {}", report.store)));
            }
            Ok(format.of(|_| text::history(&moves), || json::history(&moves)))
        }
        Params::Approve(order) => decide::run(Decision::Approve, order, &desk),
        Params::Pin { order, value } => {
            let value = Pins::parse(parameter(&order.which)?, value)
                .map_err(|allowed| Refusal::usage(format!("`{}` cannot be pinned so: {allowed}", order.which.name)))?;
            decide::run(Decision::Pin(value), order, &desk)
        }
        Params::Unpin(order) => decide::run(Decision::Unpin, order, &desk),
        Params::Rollback(order) => decide::run(Decision::RollBack, order, &desk),
        Params::Reset(order) => decide::run(Decision::Reset, order, &desk),
    }
}

/// The parameter that is meant.
pub(crate) fn parameter(which: &Which) -> Result<&'static Parameter, Refusal> {
    let name = &which.name;
    let Some(parameter) = parameter::find(name) else {
        let names: Vec<_> = parameter::ALL.iter().map(|parameter| parameter.name).collect();
        return Err(Refusal::usage(format!("`{name}` is no parameter; write one of `{}`", names.join("`, `"))));
    };
    if which.after.is_some() && !parameter.per_failure {
        let message = format!("`{name}` is the same after every kind of failure; leave `--after` out");
        return Err(Refusal::usage(message));
    }
    Ok(parameter)
}

/// The service and operation that is meant.
pub(crate) fn target<'a>(report: &'a Report, Which { service, operation, .. }: &Which) -> Result<&'a Target, Refusal> {
    non_empty(report, Some(service))?;
    report.targets.iter().find(|target| target.key.operation == *operation).ok_or_else(|| {
        let known: Vec<_> = report.targets.iter().map(|target| target.key.operation.as_str()).collect();
        Refusal::nothing(format!(
            "nothing is known about `{operation}` of `{service}`, only about `{}`",
            known.join("`, `")
        ))
    })
}

/// The value after a kind of failure; without one, the only value there is.
pub(crate) fn find<'a>(target: &'a Target, name: &str, after: Option<FailureKind>) -> Result<&'a InForce, Refusal> {
    let named: Vec<&InForce> = target.parameters.iter().filter(|known| known.parameter.name == name).collect();
    let exact = named.iter().find(|known| known.after == after).copied();
    let kinds: Vec<_> = named.iter().filter_map(|known| known.after).map(FailureKind::as_str).collect();
    match (exact, named.as_slice()) {
        (Some(known), _) => Ok(known),
        (None, [only]) if after.is_none() => Ok(only),
        (None, []) => {
            Err(Refusal::nothing(format!("nothing was learned about `{name}` yet; the profile or a pin decides it")))
        }
        _ if kinds.is_empty() => {
            let after = after.map_or(String::new(), |kind| format!(" after `{}`", kind.as_str()));
            Err(Refusal::nothing(format!("nothing was learned about `{name}`{after} yet")))
        }
        _ if after.is_some() => Err(Refusal::nothing(format!(
            "nothing was learned about `{name}` after that kind of failure yet, only after `{}`",
            kinds.join("`, `")
        ))),
        _ => Err(Refusal::nothing(format!(
            "`{name}` was learned for each kind of failure apart; write `--after` with one of `{}`",
            kinds.join("`, `")
        ))),
    }
}
