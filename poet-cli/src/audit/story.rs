//! One call told in words: what it was, whether it was allowed, what was decided, and who decided each.

use crate::lines::wrapped;
use poet_runtime::audit::{AuditEntry, Decider, Declared, Validation, Wait, What, Who};
use poet_runtime::report::text::Style;
use poet_runtime::{Ending, parameter};
use std::fmt::Write as _;

/// What stands before the words of a decision.
const INDENT: usize = 12;

pub(super) fn told(entry: &AuditEntry, others: &[AuditEntry], style: Style) -> String {
    let detail = &entry.detail;
    let target = format!("{} of {}", entry.target.operation, entry.target.service);
    let mut out = format!("{}\n", style.heading(&format!("{target}: {}", ending(entry))));
    let mut line = |name: &str, text: Option<String>| {
        if let Some(text) = text {
            labelled(&mut out, name, &text);
        }
    };
    line("call", Some(entry.execution.clone()));
    line("began", Some(entry.began.to_string()));
    line("ended", entry.ended.map(|ended| format!("{ended}, after {}", span(detail.seconds))));
    line("inside", inside(entry));
    line("job", entry.job.clone());
    line("put off as", detail.made_for.as_ref().map(|id| format!("execution {id}: this call was made for its job")));
    if detail.made_for.is_none() {
        line("made by", made_by(others));
    }
    line("kind", Some(kind(entry)));
    line(
        "access",
        detail
            .access
            .as_ref()
            .map(|access| format!("{}: {}", if access.allowed { "allowed" } else { "denied" }, access.rule)),
    );
    line("arguments", Some(arguments(entry)));
    line("answer", answer(entry));
    line("credentials", detail.identity.clone());
    line("priority", Some(detail.priority.clone()));
    line("attempts", Some(detail.attempts.to_string()));
    line("cost", detail.cost.map(|cost| format!("{cost:.4}")));
    line("error", detail.error.clone());
    line("audit", Some(detail.level.clone()));
    if !detail.decisions.is_empty() {
        let _ = writeln!(out, "\n{}", style.heading("what was decided, and by whom"));
    }
    for decision in &detail.decisions {
        let words = format!("{}. {}", words(&decision.what), by(&decision.by, entry));
        let mut lines = wrapped(&words, &" ".repeat(INDENT));
        lines.replace_range(..INDENT, &format!("{:>8.3} s  ", decision.at));
        out.push_str(&lines);
    }
    if detail.left_out > 0 {
        let _ = writeln!(out, "{:INDENT$}and {} more", "", detail.left_out);
    }
    out
}

/// What a list says of a call beside its number.
pub(super) fn brief(entry: &AuditEntry) -> String {
    let detail = &entry.detail;
    let mut said = Vec::new();
    if detail.attempts > 1 {
        said.push(format!("{} attempts", detail.attempts));
    }
    if let Some(access) = detail.access.as_ref().filter(|access| !access.allowed) {
        said.push(access.rule.clone());
    }
    said.extend(entry.job.as_ref().map(|job| format!("job {job}")));
    said.extend(
        entry.fields.iter().filter(|(_, value)| !value.starts_with('#')).map(|(name, value)| format!("{name}={value}")),
    );
    said.join(", ")
}

/// A time in a unit that fits it.
pub(super) fn span(seconds: f64) -> String {
    match seconds {
        ..0.001 => format!("{:.0} µs", seconds * 1e6),
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        ..120.0 => format!("{seconds:.1} s"),
        ..7_200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3_600.0),
    }
}

fn labelled(out: &mut String, name: &str, text: &str) {
    const WIDTH: usize = 15;
    let mut lines = wrapped(text, &" ".repeat(WIDTH));
    lines.replace_range(..WIDTH.min(lines.len()), &format!("  {name:<width$}", width = WIDTH - 2));
    out.push_str(&lines);
}

fn ending(entry: &AuditEntry) -> &'static str {
    match entry.ending {
        None => "about to be made, or left so by a process that was killed: look whether it was executed",
        Some(Ending::Done) => "the service answered",
        Some(Ending::Failed) => "it failed",
        Some(Ending::OutcomeUnknown) => "nobody knows whether it was executed",
        Some(Ending::CircuitOpen) => "refused, because its circuit was open; nothing was sent",
        Some(Ending::Throttled) => "the service asked to be left alone",
        Some(Ending::Deadline) => "its deadline passed",
        Some(Ending::Denied) => "refused; nothing was sent",
        Some(Ending::Coalesced) => "it shared an identical call",
        Some(Ending::Fallback) => "a fallback answered",
        Some(Ending::Cancelled) => "dropped by its caller",
        Some(Ending::Cached) => "answered from memory; the service was not asked",
        Some(Ending::Batched) => "made together with others",
        Some(Ending::Deferred) => "put off",
        Some(Ending::Queued) => "acknowledged, for a worker to make",
        Some(Ending::Crowded) => "refused, because all places were taken; nothing was sent",
    }
}

fn inside(entry: &AuditEntry) -> Option<String> {
    let (function, id) = (entry.function.as_ref()?, entry.inside.as_ref()?);
    Some(format!("{function}, execution {id}"))
}

fn made_by(others: &[AuditEntry]) -> Option<String> {
    let made: Vec<_> =
        others.iter().filter(|other| other.detail.made_for.is_some()).map(|other| other.execution.as_str()).collect();
    (!made.is_empty()).then(|| format!("execution {}", made.join(", ")))
}

fn kind(entry: &AuditEntry) -> String {
    let detail = &entry.detail;
    let kind = match (detail.read_only, detail.repeatable) {
        (true, _) => "a read",
        (false, true) => "may be executed more than once",
        (false, false) => "a write: it must not be executed twice",
    };
    let said = match detail.declared {
        Some(Declared::Call) => "as the call says",
        Some(Declared::Configuration) => "as the configuration says",
        Some(Declared::TrustedServer) => "as the server says, which is trusted",
        Some(_) | None if detail.repeatable => "as its client says",
        Some(_) | None => "because nobody says otherwise",
    };
    format!("{kind}, {said}")
}

fn arguments(entry: &AuditEntry) -> String {
    let detail = &entry.detail;
    let mut said = vec![validation(detail.arguments).to_owned()];
    said.extend(detail.fingerprint.as_ref().map(|hash| format!("all of them hash to {hash}")));
    said.extend(entry.fields.iter().map(|(name, value)| format!("{name} = {value}")));
    said.join("; ")
}

fn answer(entry: &AuditEntry) -> Option<String> {
    (entry.detail.answer != Validation::NotChecked).then(|| validation(entry.detail.answer).to_owned())
}

fn validation(validation: Validation) -> &'static str {
    match validation {
        Validation::Passed => "as declared",
        Validation::Failed => "not as declared",
        Validation::NoSchema => "not checked, because no schema is declared",
        _ => "not checked",
    }
}

fn words(what: &What) -> String {
    match what {
        What::Cached { age } => format!("answered from memory with an answer that was {} old", span(*age)),
        What::Joined => "joined an identical call that was under way".to_owned(),
        What::Batched { size, execution: Some(id) } => format!("made as one of {size}, by execution {id}"),
        What::Batched { size, execution: None } => format!("made as one of {size}"),
        What::PutOff { reason, job, due } => {
            format!("put off until {due} as job {job} ({})", reason.replace('_', " "))
        }
        What::Waited { why, seconds } => {
            let why = match why {
                Wait::RetryAfter => "because the service asked to be left alone",
                Wait::Backoff => "before the next attempt",
                Wait::Concurrency => "for a place, because all were taken",
                _ => "for another reason",
            };
            format!("waited {} {why}", span(*seconds))
        }
        What::Attempted { number, class, seconds, limit, probe } => {
            let outcome = match class.as_str() {
                "success" => "was answered".to_owned(),
                "timeout" => "had no answer".to_owned(),
                "cancelled" => "was dropped".to_owned(),
                class => format!("failed ({class})"),
            };
            let probe = if *probe { ", to find out whether the service is back," } else { "" };
            format!("attempt {number}{probe} {outcome} after {} of at most {}", span(*seconds), span(*limit))
        }
        What::Retried { after } => format!("tried again after a failure that was {after}"),
        What::Raced => "sent a second copy beside the first".to_owned(),
        What::Refreshed => "fetched anew while nobody waits, because a kept answer was given".to_owned(),
        What::Refused { why, retry_in } => {
            let why = match why.as_str() {
                "circuit_open" => "the circuit was open",
                "throttled" => "the service had asked to be left alone",
                "crowded" => "all places were taken, and its turn would have come too late",
                "deadline" => "its deadline had passed",
                "access" => "the rules of its service do not allow it",
                "arguments" => "its arguments are not as declared",
                "configuration" => "it is not configured rightly",
                "unreachable" => "the server could not be asked what the tool is",
                "queue" => "the queue had not answered in time whether it had taken it",
                "audit" => "its audit is strict, and could not be written down",
                other => other,
            };
            let again = retry_in.map(|rest| format!(" for another {}", span(rest))).unwrap_or_default();
            format!("refused, because {why}{again}")
        }
        What::GaveUp { why } => {
            let why = match why.as_str() {
                "attempts" => "no further attempt is allowed after this failure",
                "permanent" => "asking again would not have helped",
                "not_repeatable" => "it may have been executed, and must not be executed twice",
                "deadline" => "the next attempt would have come after the deadline",
                "execution_budget" => "the retries of the function around it were used up",
                "service_budget" => "the retries of the service were used up",
                "circuit_open" => "the circuit had opened",
                "batch" => "the call that was made for several failed for all of them",
                other => other,
            };
            format!("made no further attempt, because {why}")
        }
        What::FellBack { to, execution } => {
            let who = match to.as_str() {
                "cache" => "the answer that was kept stood in",
                "service" => "another tool answered",
                "handler" => "a handler of the program answered",
                other => other,
            };
            execution.as_ref().map_or(who.to_owned(), |id| format!("{who}, in execution {id}"))
        }
        What::Dropped { under_way: true } => {
            "dropped while an attempt was under way, which may have been executed".to_owned()
        }
        What::Dropped { under_way: false } => "dropped while nothing was under way".to_owned(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

fn by(decider: &Decider, entry: &AuditEntry) -> String {
    let who = match decider.who {
        Who::Default => "the default of its profile",
        Who::Configuration => "the configuration",
        Who::Call => "the call itself",
        Who::Person => "a person",
        Who::Learned => "what was learned",
        Who::HeldOut => "what would hold without the value on trial, to compare the two",
        Who::Service => "the service",
        Who::Rule => "a rule that nothing moves",
        Who::Caller => "its caller",
        _ => "somebody that this version does not know",
    };
    let mut said = format!("Decided by {who}");
    let Some(name) = &decider.parameter else { return said };
    let (known, after) = match (parameter::find(name), name.rsplit_once('.')) {
        (Some(parameter), _) => (Some(parameter), None),
        (None, Some((family, after))) => (parameter::find(family), Some(after)),
        (None, None) => (None, None),
    };
    let (Some(parameter), Some(value)) = (known, decider.value) else { return said };
    let kind = after.map(|after| format!(" after {after}")).unwrap_or_default();
    let _ = write!(said, ": {}{kind} = {}", parameter.name, parameter.unit.show(value));
    if let Some(revision) = decider.revision {
        let target = &entry.target;
        let after = after.map(|after| format!(" --after {after}")).unwrap_or_default();
        let _ = write!(
            said,
            ", revision {revision} (`poet params show {} {} {}{after}`)",
            target.service, target.operation, parameter.name
        );
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use poet_runtime::store::conformance;

    #[test]
    fn a_time_is_said_in_a_unit_that_fits() {
        assert_eq!([0.0004, 0.04, 4.0, 400.0, 40_000.0].map(span), ["400 µs", "40 ms", "4.0 s", "7 min", "11.1 h"]);
    }

    #[test]
    fn a_learned_value_says_where_its_history_is() {
        let entry = conformance::entry("run-1", 1_000);
        let decider = Decider {
            parameter: Some("retry.max_retries.timeout".to_owned()),
            value: Some(1.0),
            revision: Some(7),
            ..Who::Learned.into()
        };
        assert_eq!(
            by(&decider, &entry),
            "Decided by what was learned: retry.max_retries after timeout = 1, revision 7 (`poet params show crm call \
             retry.max_retries --after timeout`)"
        );
        assert_eq!(by(&Who::Rule.into(), &entry), "Decided by a rule that nothing moves");
    }
}
