//! Reports as text, within a hundred columns.
//!
//! Percent and units stand here only; a machine reads [`json`](super::json).

use super::{Cascade, CascadeRisk, Execution, InForce, Outages, Report, Target, Times};
use crate::clock::Wall;
use crate::evidence::Tried;
use crate::outcome::{FailureKind, Withheld};
use crate::parameter::{self, Parameter, Unit};
use crate::store::{ParameterChange, ParameterRow, Realised, Standing, TargetKey};
use std::time::Duration;

mod needs;

/// The widest line that is written, as far as names allow.
pub const WIDTH: usize = 100;

/// How headings are set off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Characters only.
    #[default]
    Plain,
    /// Headings in bold, for a terminal.
    Terminal,
}

impl Style {
    /// A heading in this style.
    #[must_use]
    pub fn heading(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Terminal => format!("\x1b[1m{text}\x1b[0m"),
        }
    }
}

/// A whole report.
#[must_use]
pub fn report(report: &Report, style: Style) -> String {
    let mut out = Lines::default();
    out.line(&style.heading(&format!("{}, at {} UTC", report.store, minute(report.taken))));
    for target in &report.targets {
        out.blank();
        out.line(&style.heading(&name(&target.key)));
        summary(&mut out, target);
        out.blank();
        decisions(&mut out, target);
    }
    if !report.executions.is_empty() {
        out.blank();
        out.line(&style.heading("newest calls, and the learned values that decided how long they could take"));
        executions(&mut out, &report.executions);
    }
    if !report.changes.is_empty() {
        out.blank();
        out.line(&style.heading("newest changes"));
        changes(&mut out, &report.changes.iter().take(10).collect::<Vec<_>>());
    }
    if report.folded > 0 {
        out.blank();
        out.line(&format!("{} records came faster than they could be stored and were only counted", report.folded));
    }
    out.0
}

/// The parameters of every service and operation.
#[must_use]
pub fn parameters(report: &Report, style: Style) -> String {
    let mut out = Lines::default();
    for (index, target) in report.targets.iter().enumerate() {
        if index > 0 {
            out.blank();
        }
        out.line(&style.heading(&name(&target.key)));
        decisions(&mut out, target);
    }
    out.0
}

/// One parameter of a service and operation with every move it made, oldest first.
#[must_use]
pub fn parameter(target: &TargetKey, known: &InForce, moves: &[&ParameterChange], style: Style) -> String {
    let unit = known.parameter.unit;
    let mut out = Lines::default();
    out.line(&style.heading(&format!("{} of {}", titled(known.parameter.name, known.after), name(target))));
    out.wrapped(2, known.parameter.about);
    let mut rows = vec![
        ["in force".to_owned(), unit.show(known.value)],
        ["decided by".to_owned(), decider(known)],
        ["before learning".to_owned(), unit.show(known.default)],
        ["bounds".to_owned(), bounds(known.parameter)],
    ];
    if let Some(row) = &known.learned {
        if is_estimate(row) {
            rows.extend([
                ["learned".to_owned(), unit.show(row.value)],
                ["sample".to_owned(), row.sample.to_string()],
                ["interval".to_owned(), interval(known.parameter, row.interval)],
                ["confidence".to_owned(), format!("{} that it beats the value before", sure(row.confidence))],
            ]);
        }
        rows.push(["changed".to_owned(), format!("{} UTC, revision {}", minute(row.changed), row.revision)]);
    }
    out.table(&[Side::Left, Side::Left], None, &rows);
    if let Some(row) = &known.learned {
        out.wrapped(2, &format!("why: {}", row.reason));
        out.wrapped(2, &format!("evidence: {}", row.evidence.replace(",\"", ", \"")));
    }
    if !moves.is_empty() {
        out.blank();
        out.line(&style.heading("history"));
        changes(&mut out, moves);
    }
    out.0
}

/// What a person decided: the value before and the one after, who said so, and what it means.
#[must_use]
pub fn decision(moved: &ParameterChange, meaning: &str, style: Style) -> String {
    let row = &moved.new;
    let shown = |value| shown(&row.key.name, value);
    let old = moved.old.map_or("default".to_owned(), shown);
    let new = match row.in_force() {
        Some(value) => shown(value),
        None => format!("that of profile and configuration ({} before learning)", shown(row.value)),
    };
    let mut out = Lines::default();
    out.line(&style.heading(&format!("{} of {}", titled(&row.key.name, row.key.after), name(&row.key.target))));
    out.wrapped(2, &format!("{old} -> {new}, revision {}", row.revision));
    out.wrapped(2, &row.reason);
    out.wrapped(2, meaning);
    out.0
}

/// Moves of parameters, in the order given.
#[must_use]
pub fn history(moves: &[&ParameterChange]) -> String {
    let mut out = Lines::default();
    changes(&mut out, moves);
    out.0
}

fn summary(out: &mut Lines, target: &Target) {
    let calls: u64 = target.endings.iter().map(|(_, n)| n).sum();
    let attempts: u64 = target.attempts.iter().map(|(_, n)| n).sum();
    let endings = target.endings.iter().map(|(ending, n)| format!("{} {n}", ending.as_str()));
    let classes = target.attempts.iter().map(|(class, n)| format!("{class} {n}"));
    let rate = target.success_rate.map_or("-".to_owned(), |rate| format!("{:.1} %", 100.0 * rate));
    let mut facts = vec![
        ("health", health(target)),
        ("calls", format!("{calls}: {}", endings.collect::<Vec<_>>().join(", "))),
        ("success", rate),
        ("attempts", format!("{attempts}: {}", classes.collect::<Vec<_>>().join(", "))),
    ];
    if let Some(attempts) = target.attempts_per_call {
        facts.push(("", format!("{attempts:.2} for each call that reached the service")));
    }
    if let Some(rate) = target.cache_hit_rate {
        facts.push(("from cache", format!("{:.1} % of the calls", 100.0 * rate)));
    }
    if let Some(seen) = &target.outages {
        facts.push(("outages", outages(seen)));
    }
    if let Some(latency) = target.latency {
        facts.push((
            "answered in",
            format!("{} ({} answers, {} given up)", spread(latency), latency.count, target.given_up),
        ));
    } else if target.given_up > 0 {
        facts.push(("answered in", format!("never; {} attempts were given up", target.given_up)));
    }
    if let Some(times) = target.call_time {
        facts.push(("calls took", format!("{} (the newest {}, waits included)", spread(times), times.count)));
    }
    facts.extend(needs::facts(target));
    if let Some(since) = target.another_since {
        let since = minute(since);
        let said = format!("another one since {since} UTC, by its schema: what was counted before is not learned from");
        facts.push(("the tool is", said));
    }
    for (label, fact) in facts {
        out.wrapped_after(&format!("  {label:<12} "), &fact);
    }
}

fn outages(seen: &Outages) -> String {
    let within = |time: Option<Duration>| time.map_or("-".to_owned(), |time| Unit::Seconds.show(time.as_secs_f64()));
    let mut said = format!(
        "{}: half were over within {}, nine in ten within {}",
        seen.count,
        within(seen.recovery_p50),
        within(seen.recovery_p90),
    );
    if let Some(share) = seen.transient_share {
        said += &format!("; {:.0} % of failed attempts belong to none", 100.0 * share);
    }
    let Cascade { risk, rank, interval: (low, high), hours } = seen.cascade;
    said += &match risk {
        CascadeRisk::Unknown => "; whether load brings it down is not known".to_owned(),
        CascadeRisk::Low | CascadeRisk::High => format!(
            "; the risk that load brings it down is {} (the {hours} hours in which one began rank at {rank:.2} of 0 to 1 \
             by their load, 90 % interval {low:.2}-{high:.2})",
            risk.as_str()
        ),
    };
    said
}

fn health(target: &Target) -> String {
    let of = |tried: Tried, span: &str| {
        tried.rate().map(|rate| format!("{:.1} % of {:.0} attempts of the last {span}", 100.0 * rate, tried.attempts()))
    };
    let rates = [of(target.vitals.recent, "hour"), of(target.vitals.day, "day")];
    let rates: Vec<_> = rates.into_iter().flatten().collect();
    let condition = target.condition.as_str();
    let mut said =
        if rates.is_empty() { condition.to_owned() } else { format!("{condition}: {} succeeded", rates.join(", ")) };
    if let Some(skill) = target.degradation_skill {
        said += &format!("; what fails next is foretold with a Brier skill of {skill:.2}");
    }
    said
}

fn spread(times: Times) -> String {
    let show = |time| Unit::Seconds.show(time);
    let Times { mean, p50, p95, p99, .. } = times;
    format!("mean {}, p50 {}, p95 {}, p99 {}", show(mean), show(p50), show(p95), show(p99))
}

fn decisions(out: &mut Lines, target: &Target) {
    let rows: Vec<[String; 6]> = target
        .parameters
        .iter()
        .map(|known| {
            let unit = known.parameter.unit;
            let estimated = known.learned.as_ref().filter(|row| is_estimate(row));
            [
                titled(known.parameter.name, known.after),
                unit.show(known.value),
                unit.show(known.default),
                decider(known),
                estimated.map_or(String::new(), |row| sure(row.confidence)),
                estimated.map_or(String::new(), |row| row.sample.to_string()),
            ]
        })
        .collect();
    if rows.is_empty() {
        out.line("  nothing was learned");
        return;
    }
    let sides = [Side::Left, Side::Right, Side::Right, Side::Left, Side::Right, Side::Right];
    let head = ["parameter", "in force", "before", "decided by", "sure", "sample"].map(str::to_owned);
    let table = lay(&sides, Some(&head), &rows);
    // The reason stands under its row: it is the answer to "who decided?".
    for (index, line) in table.iter().enumerate() {
        out.line(line);
        let known = index.checked_sub(1).and_then(|index| target.parameters.get(index));
        if let Some(row) = known.and_then(|known| known.learned.as_ref()) {
            out.wrapped(6, &row.reason);
        }
    }
}

fn decider(known: &InForce) -> String {
    let Some(row) = &known.learned else { return "default or configured".to_owned() };
    let value = known.parameter.unit.show(row.value);
    match row.standing {
        Standing::Trial => format!("learned, on trial, revision {}", row.revision),
        Standing::Confirmed => format!("learned, revision {}", row.revision),
        Standing::Shadow => format!("shadow says {value}"),
        Standing::Proposed => format!("proposed is {value}"),
        Standing::Found => format!("not acted on: {value}"),
        Standing::RolledBack => format!("rolled back, revision {}", row.revision),
        Standing::Reset => "taken back".to_owned(),
        Standing::Forgotten => "a person reset it".to_owned(),
        Standing::Pinned => "a person pinned it".to_owned(),
    }
}

/// What forbade a try that was due, in a column of one letter.
const fn letter(withheld: Withheld) -> &'static str {
    match withheld {
        Withheld::NotRepeatable => "w",
        Withheld::Deadline => "d",
        Withheld::ExecutionBudget => "e",
        Withheld::ServiceBudget => "s",
        Withheld::CircuitOpen => "c",
    }
}

fn executions(out: &mut Lines, executions: &[Execution]) {
    let rows: Vec<[String; 8]> = executions
        .iter()
        .map(|execution| {
            let row = &execution.outcome;
            [
                // The year is in the first line of the report.
                second(row.ended).chars().skip(5).collect(),
                format!("{}/{}", row.target.service, row.target.operation),
                row.ending.as_str().to_owned(),
                format!("{}/{}", row.attempts, u32::from(row.retries) + 1),
                row.withheld.map_or("", letter).to_owned(),
                Unit::Seconds.show(row.elapsed.as_secs_f64()),
                Unit::Seconds.show(row.timeout.as_secs_f64()),
                row.revision.to_string(),
            ]
        })
        .collect();
    let sides = [Side::Left, Side::Left, Side::Left, Side::Right, Side::Left, Side::Right, Side::Right, Side::Right];
    let head = ["ended", "call", "ending", "tries", "", "took", "timeout", "rev"].map(str::to_owned);
    out.table(&sides, Some(&head), &rows);
    out.wrapped(
        2,
        "tries: made/allowed, fewer in a failure that another one could not mend; the letter behind them says what forbade \
         one that was due: w it may have run and is a write, d the deadline, e or s the retry budget of the execution or \
         of the service, c the open circuit; rev: the revision of the newest learned value in force, 0 where nothing was \
         learned",
    );
    let mut revisions: Vec<&ParameterRow> =
        executions.iter().filter_map(|execution| execution.decided_by.first()).collect();
    revisions.sort_by_key(|row| std::cmp::Reverse(row.revision));
    revisions.dedup_by_key(|row| row.revision);
    for row in revisions {
        out.wrapped_after(&format!("  revision {}: ", row.revision), &format!("{} {}", decided(row), row.reason));
    }
}

/// `retry.max_retries after transient = 1;`
fn decided(row: &ParameterRow) -> String {
    format!("{} = {};", titled(&row.key.name, row.key.after), shown(&row.key.name, row.value))
}

fn changes(out: &mut Lines, changes: &[&ParameterChange]) {
    for change in changes {
        let row = &change.new;
        let old = change.old.map_or("default".to_owned(), |old| shown(&row.key.name, old));
        let standing = match row.standing {
            Standing::Confirmed => "",
            Standing::Trial => " (on trial)",
            Standing::Shadow => " (shadow: not applied)",
            Standing::Proposed => " (waits for approval: not applied)",
            Standing::Found => " (not acted on)",
            Standing::RolledBack => " (rolled back)",
            Standing::Reset => " (taken back)",
            Standing::Forgotten => " (reset by a person)",
            Standing::Pinned => " (pinned by a person)",
        };
        out.line(&format!("  {}  revision {}  {}", second(row.changed), row.revision, name(&row.key.target)));
        let estimate = if is_estimate(row) {
            format!(", confidence {} on {} observations", sure(row.confidence), row.sample)
        } else {
            String::new()
        };
        let (title, new) = (titled(&row.key.name, row.key.after), shown(&row.key.name, row.value));
        out.wrapped(6, &format!("{title}: {old} -> {new}{standing}{estimate}"));
        out.wrapped(6, &row.reason);
        if let Some(effect) = effect(change) {
            out.wrapped(6, &effect);
        }
    }
}

/// What a move was expected to bring, and what it turned out to.
fn effect(change: &ParameterChange) -> Option<String> {
    let predicted = change.new.predicted.map(|gain| format!("expected to bring {gain:+.4} a call"));
    let realised = change.realised.map(|realised| {
        let Realised { gain, interval: (low, high), calls, compared } = realised;
        format!("brought {gain:+.4} a call ({low:+.4} to {high:+.4}), {calls} calls against {compared}")
    });
    let parts: Vec<String> = [predicted, realised].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// What may be pinned. What may be learned depends on the profile, which a store does not know.
fn bounds(parameter: &Parameter) -> String {
    let show = |value| parameter.unit.show(value);
    format!("{} to {}; the profile may be stricter", show(parameter.min), show(parameter.max))
}

/// Whether it rests on observations, and not on what a person said.
fn is_estimate(row: &ParameterRow) -> bool {
    row.sample > 0
}

/// What was estimated: a share, or a value of the parameter itself.
fn interval(parameter: &Parameter, (low, high): (f64, f64)) -> String {
    match parameter.share {
        Some(of) => format!("{:.0} % to {:.0} % {of}, with 90 % certainty", 100.0 * low, 100.0 * high),
        None => format!("{} to {}, with 90 % certainty", parameter.unit.show(low), parameter.unit.show(high)),
    }
}

/// Nothing that was learned is certain.
fn sure(confidence: f64) -> String {
    if confidence >= 0.995 { "> 0.99".to_owned() } else { format!("{confidence:.2}") }
}

fn shown(name: &str, value: f64) -> String {
    parameter::find(name).map_or_else(|| value.to_string(), |parameter| parameter.unit.show(value))
}

fn titled(name: &str, after: Option<FailureKind>) -> String {
    after.map_or_else(|| name.to_owned(), |kind| format!("{name} after {}", kind.as_str()))
}

fn name(target: &TargetKey) -> String {
    format!("{} of {}", target.operation, target.service)
}

fn minute(at: Wall) -> String {
    cut(at, 16)
}

fn second(at: Wall) -> String {
    cut(at, 19)
}

/// `2026-01-31T12:34:56.789Z` up to a length, readable: `2026-01-31 12:34`. UTC.
fn cut(at: Wall, length: usize) -> String {
    at.to_string().chars().take(length).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    fn blank(&mut self) {
        self.0.push('\n');
    }

    fn table<const N: usize>(&mut self, sides: &[Side; N], head: Option<&[String; N]>, rows: &[[String; N]]) {
        for line in lay(sides, head, rows) {
            self.line(&line);
        }
    }

    /// A paragraph, every line indented.
    fn wrapped(&mut self, indent: usize, text: &str) {
        self.wrapped_after(&" ".repeat(indent), text);
    }

    /// A paragraph after a label; its further lines stand under its first word.
    fn wrapped_after(&mut self, label: &str, text: &str) {
        let indent = label.chars().count();
        let mut line = label.to_owned();
        let mut width = indent;
        for word in words(text) {
            let length = word.chars().count();
            if width > indent && width + length + 1 > WIDTH {
                self.line(&line);
                line = " ".repeat(indent);
                width = indent;
            }
            if width > indent {
                line.push(' ');
                width += 1;
            }
            line.push_str(&word);
            width += length;
        }
        self.line(&line);
    }
}

/// The words of a text; a number and its unit are one.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let is_unit = matches!(word.trim_end_matches([',', ';', ':', '.', ')']), "ms" | "s" | "min" | "%");
        match words.last_mut() {
            Some(number) if is_unit => number.extend([" ", word]),
            _ => words.push(word.to_owned()),
        }
    }
    words
}

/// The lines of a table, columns as wide as their widest cell.
fn lay<const N: usize>(sides: &[Side; N], head: Option<&[String; N]>, rows: &[[String; N]]) -> Vec<String> {
    let mut widths = [0; N];
    for row in head.into_iter().chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let write = |row: &[String; N]| {
        let mut line = String::new();
        for ((cell, side), width) in row.iter().zip(sides).zip(widths) {
            let room = " ".repeat(width - cell.chars().count());
            line.push_str("  ");
            match side {
                Side::Left => line.extend([cell, room.as_str()]),
                Side::Right => line.extend([room.as_str(), cell]),
            }
        }
        line.trim_end().to_owned()
    };
    head.into_iter().chain(rows).map(write).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_not_parted_from_its_unit() {
        for unit in ["ms", "s,", "min;", "%"] {
            let mut out = Lines::default();
            // The number ends two columns before the edge, where its unit would just not fit.
            out.wrapped(2, &format!("{} 5.0 {unit}", "x".repeat(WIDTH - 2 - 4)));
            assert!(out.0.ends_with(&format!("\n  5.0 {unit}\n")), "{}", out.0);
        }
    }
}
