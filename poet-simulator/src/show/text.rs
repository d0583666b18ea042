//! For a person: the table of policies, the judged figures, and what was learned.

use super::{Shown, mean};
use crate::judge::Verdict;
use crate::world::COLUMNS;
use poet_runtime::parameter::{self, Unit};
use std::fmt::Write as _;

/// What a table says of a number that cannot be one.
const NEVER: &str = "never";

/// The whole answer.
#[must_use]
pub fn text(shown: &Shown<'_>) -> String {
    let mut text = String::new();
    let world = shown.world;
    let seeds = shown.seeds();
    let share = 100.0 * (1.0 - world.measured_from);
    let _ = writeln!(text, "{}: {}", world.name, world.about);
    let rates = if shown.has_several_rates() {
        "several rates".to_owned()
    } else {
        format!("{} requests/s", shown.outcomes.first().map_or(world.rate, |one| one.rate))
    };
    let _ = writeln!(
        text,
        "{} days at {rates}, {}; the last {share:.0} % is measured\n",
        trimmed(shown.days, 3),
        if seeds.len() == 1 { format!("seed {}", seeds[0]) } else { format!("{} seeds", seeds.len()) },
    );
    table(&mut text, shown);
    judged(&mut text, shown.verdicts);
    learned(&mut text, shown);
    text
}

fn table(text: &mut String, shown: &Shown<'_>) {
    let several = shown.has_several_rates();
    let recovers = shown.outcomes.iter().any(|one| one.lived.summary.recovers_after > 0.0);
    let _ = write!(text, "{:19}", "policy");
    if several {
        let _ = write!(text, "{:>6}", "rate");
    }
    for (name, width, ..) in COLUMNS {
        let _ = write!(text, "{name:>width$}");
    }
    if recovers {
        let _ = write!(text, "{:>11}", "recovers s");
    }
    text.push('\n');
    for (policy, rate, runs) in shown.groups() {
        let summary = mean(&runs);
        let _ = write!(text, "{policy:19}");
        if several {
            let _ = write!(text, "{rate:>6}");
        }
        for (_, width, decimals, factor, of) in COLUMNS {
            let _ = write!(text, "{:>width$.decimals$}", factor * of(&summary));
        }
        if recovers {
            let after = summary.recovers_after;
            let shown = if after.is_finite() { format!("{after:.0}") } else { NEVER.to_owned() };
            let _ = write!(text, "{shown:>11}");
        }
        text.push('\n');
    }
    text.push_str(
        "\nnow/event: done at once / in the end; tmo, tmoR: attempts and requests given up; down: attempts into outages;\n\
         ampl: attempts for each call wanted of a service in trouble; lag: from an outage's end to the next attempt\n",
    );
}

fn judged(text: &mut String, verdicts: &[Verdict]) {
    if verdicts.is_empty() {
        return;
    }
    let name = |verdict: &Verdict| match verdict.rate {
        Some(rate) => format!("{} of {} at {rate}/s", verdict.figure, verdict.policy),
        None => format!("{} of {}", verdict.figure, verdict.policy),
    };
    let width = verdicts.iter().map(|verdict| name(verdict).len()).max().unwrap_or(0).max(6);
    let _ = writeln!(text, "\n{:width$}  {:>22}  {:>9}  {:11}  bound by", "figure", "goal", "measured", "");
    for verdict in verdicts {
        let measured = verdict.measured.map_or("-".to_owned(), |measured| {
            if verdict.of_runs { format!("{:.0} %", 100.0 * measured) } else { number(measured) }
        });
        let reached = match verdict.reached {
            Some(true) => "reached",
            Some(false) => "NOT reached",
            None => "not known",
        };
        let _ = writeln!(
            text,
            "{:width$}  {:>22}  {measured:>9}  {reached:11}  {}",
            name(verdict),
            verdict.goal,
            verdict.bound
        );
        if verdict.runs.len() > 1 || verdict.of_runs {
            let runs: Vec<_> = verdict.runs.iter().map(|run| run.map_or("-".to_owned(), number)).collect();
            let _ = writeln!(text, "{:width$}  each run: {}", "", runs.join(" "));
        }
    }
}

fn number(value: f64) -> String {
    if value.is_infinite() {
        return NEVER.to_owned();
    }
    let decimals = if value.abs() < 0.1 {
        4
    } else if value.abs() < 10.0 {
        3
    } else {
        1
    };
    format!("{value:.decimals$}")
}

fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// What was learned in the last run of the runtime, where it differs from what it began with.
fn learned(text: &mut String, shown: &Shown<'_>) {
    let Some(outcome) = shown.outcomes.iter().rev().find(|outcome| !outcome.lived.moves.is_empty()) else { return };
    let _ = writeln!(text, "\nLearned under {} with seed {}:", outcome.policy, outcome.seed);
    let mut seen = std::collections::BTreeMap::new();
    for m in &outcome.lived.moves {
        seen.insert((&m.service, &m.operation, &m.parameter, m.after), m);
    }
    for ((service, operation, name, after), m) in seen {
        let unit = parameter::find(name).map_or(Unit::Factor, |parameter| parameter.unit);
        let after = after.map(|kind| format!(" after {kind}")).unwrap_or_default();
        let applied = if m.applied { String::new() } else { format!("  ({}: not in force)", m.standing) };
        let _ =
            writeln!(text, "  {:52} {:>12}{applied}", format!("{service}.{operation} {name}{after}"), unit.show(m.new));
    }
}
