//! What a failure does further up, in sentences.

use super::super::{Dependency, ENOUGH, Share, Target};
use crate::store::TargetKey;

/// The most that is told of a target; [`json`](super::super::json) has all.
const MOST: usize = 8;

/// What a target needs, and who feels it, a labelled sentence each.
pub(super) fn facts(target: &Target) -> Vec<(&'static str, String)> {
    let mut facts = listed("needs", "more it calls", &target.needs, |dependency| {
        format!("called in {}, {}", executions(dependency.felt.called), fared(dependency, "failed"))
    });
    if target.untold > 0 {
        let label = if facts.is_empty() { "needs" } else { "" };
        let executions = executions(target.untold);
        facts.push((label, format!("{executions} called more than is told apart here")));
    }
    facts.extend(listed("felt by", "more functions", &target.felt_by, |dependency| {
        format!("called it in {}, {}", executions(dependency.felt.called), fared(dependency, "it failed"))
    }));
    facts
}

fn listed(
    label: &'static str,
    more: &str,
    all: &[Dependency],
    sentence: impl Fn(&Dependency) -> String,
) -> Vec<(&'static str, String)> {
    let mut said: Vec<_> = all
        .iter()
        .take(MOST)
        .map(|dependency| format!("{}: {}", name(&dependency.other), sentence(dependency)))
        .collect();
    if all.len() > MOST {
        said.push(format!("and {} {more}", all.len() - MOST));
    }
    said.into_iter().enumerate().map(|(at, said)| (if at == 0 { label } else { "" }, said)).collect()
}

/// `failed in 4.1 % of them; then 92 % of executions failed (0.3 % otherwise), …`
fn fared(dependency: &Dependency, failed: &str) -> String {
    let Dependency { felt, then, otherwise, .. } = dependency;
    if felt.failed == 0 {
        return format!("{failed} in none of them");
    }
    let often = if felt.called < ENOUGH {
        format!("{failed} in {}", grouped(felt.failed))
    } else {
        format!("{failed} in {} of them", percent(felt.failed as f64 / felt.called as f64))
    };
    let interval = |share: &Share| format!("{}-{}", digits(share.interval.0), percent(share.interval.1));
    match (then.estimate, otherwise.estimate) {
        (Some(then_failed), Some(otherwise_failed)) => format!(
            "{often}; then {} of executions failed ({} otherwise), 90 % intervals {} and {}",
            percent(then_failed),
            percent(otherwise_failed),
            interval(then),
            interval(otherwise),
        ),
        (Some(then_failed), None) => format!(
            "{often}; then {} of executions failed, 90 % interval {} (otherwise: too few to say)",
            percent(then_failed),
            interval(then),
        ),
        (None, _) => format!("{often}: too few to say what follows"),
    }
}

fn name(target: &TargetKey) -> String {
    format!("{}.{}", target.service, target.operation)
}

fn executions(count: u64) -> String {
    if count == 1 { "1 execution".to_owned() } else { format!("{} executions", grouped(count)) }
}

/// A share in percent; one decimal where that tells something.
fn percent(share: f64) -> String {
    format!("{} %", digits(share))
}

fn digits(share: f64) -> String {
    let percent = 100.0 * share;
    if (0.05..9.95).contains(&percent) { format!("{percent:.1}") } else { format!("{percent:.0}") }
}

/// `1,203`.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([7, 203, 1_203, 12_034_567].map(grouped), ["7", "203", "1,203", "12,034,567"]);
    }

    #[test]
    fn a_share_has_a_decimal_where_it_is_small() {
        assert_eq!([0.0, 0.0031, 0.041, 0.92, 1.0].map(percent), ["0 %", "0.3 %", "4.1 %", "92 %", "100 %"]);
    }
}
