//! What the failure of an operation does to the functions that call it.
//!
//! Executions in which a call failed are compared with those in which it did not. Of few nothing is said: a share is
//! believed as a Beta distribution that began flat in the logarithm of the odds (Jeffreys), and only from
//! [`ENOUGH`] executions on is it called one. It is a comparison and no experiment: where a function and what it calls
//! fail of the same cause, that looks like a need too.

use crate::evidence::Felt;
use crate::learner::posterior::Posterior;
use crate::store::{Need, TargetKey};

/// The executions below which no share is told.
pub const ENOUGH: u64 = 10;

/// A function and an operation that it calls, seen from one of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Dependency {
    /// The other one.
    pub other: TargetKey,
    /// What was counted.
    pub felt: Felt,
    /// How executions went in which the call failed.
    pub then: Share,
    /// How the others went.
    pub otherwise: Share,
    /// The executions that would probably not have failed had the call not; `None` where too few were seen to say.
    pub lost: Option<f64>,
}

/// Executions, and how many of them failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// How many there were.
    pub executions: u64,
    /// Those that failed.
    pub failed: u64,
    /// What share of them fails, estimated; `None` where they are fewer than [`ENOUGH`].
    pub estimate: Option<f64>,
    /// In which it lies with 90 % certainty, however few they are.
    pub interval: (f64, f64),
}

impl Share {
    fn of(executions: u64, failed: u64) -> Self {
        let belief = Posterior::new(failed as f64 + 0.5, executions.saturating_sub(failed) as f64 + 0.5);
        let estimate = (executions >= ENOUGH).then(|| belief.mean());
        Self { executions, failed, estimate, interval: belief.interval() }
    }
}

impl Dependency {
    fn of(other: &TargetKey, felt: Felt) -> Self {
        let then = Share::of(felt.failed, felt.failed_then);
        let otherwise = Share::of(felt.well(), felt.failed_otherwise);
        let more = then.estimate.zip(otherwise.estimate).map(|(then, otherwise)| (then - otherwise).max(0.0));
        // Where none failed none was lost, whatever would have followed.
        let lost = if felt.failed == 0 { Some(0.0) } else { more.map(|more| more * felt.failed as f64) };
        Self { other: other.clone(), felt, then, otherwise, lost }
    }
}

/// What a target calls, as far as it is a function.
pub(super) fn needs(target: &TargetKey, needs: &[Need]) -> Vec<Dependency> {
    let own = needs.iter().filter(|need| need.function == *target);
    ranked(own.map(|need| Dependency::of(&need.operation, need.felt)).collect())
}

/// Which functions call a target.
pub(super) fn felt_by(target: &TargetKey, needs: &[Need]) -> Vec<Dependency> {
    let own = needs.iter().filter(|need| need.operation == *target);
    ranked(own.map(|need| Dependency::of(&need.function, need.felt)).collect())
}

/// Where most is lost first; then those of which nothing can be said, by how often they are called.
fn ranked(mut all: Vec<Dependency>) -> Vec<Dependency> {
    let lost = |dependency: &Dependency| dependency.lost.unwrap_or(-1.0);
    all.sort_by(|a, b| {
        let by_calls = || b.felt.called.cmp(&a.felt.called);
        lost(b).total_cmp(&lost(a)).then_with(by_calls).then_with(|| a.other.cmp(&b.other))
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(service: &str) -> TargetKey {
        TargetKey { service: service.to_owned(), operation: "call".to_owned() }
    }

    fn need(operation: &str, called: u64, failed: u64, failed_then: u64, failed_otherwise: u64) -> Need {
        let felt = Felt { called, failed, failed_then, failed_otherwise };
        Need { function: key("orders"), operation: key(operation), felt }
    }

    #[test]
    fn a_share_of_few_executions_is_not_told_and_its_interval_is_wide() {
        let few = Share::of(3, 3);
        assert_eq!(few.estimate, None);
        assert!(few.interval.0 < 0.6 && few.interval.1 > 0.99, "{few:?}");
        let many = Share::of(49, 45);
        let estimate = many.estimate.unwrap();
        assert!((0.90..0.92).contains(&estimate) && many.interval.0 > 0.83 && many.interval.1 < 0.97, "{many:?}");
        assert_eq!(Share::of(0, 0).estimate, None);
    }

    #[test]
    fn what_costs_most_executions_comes_first_and_what_nobody_can_say_last() {
        let all = [
            need("rare", 5, 3, 3, 0),
            need("harmless", 1_000, 500, 5, 5),
            need("vital", 1_000, 50, 48, 3),
            need("sound", 1_000, 0, 0, 10),
        ];
        let told = needs(&key("orders"), &all);
        let order: Vec<_> = told.iter().map(|told| told.other.service.as_str()).collect();
        assert_eq!(order, ["vital", "harmless", "sound", "rare"]);
        assert!((46.0..48.0).contains(&told[0].lost.unwrap()), "{told:?}");
        assert!(told[1].lost.unwrap() < 1.0, "it fails as often either way");
        assert_eq!((told[2].lost, told[3].lost), (Some(0.0), None));
        assert_eq!(felt_by(&key("vital"), &all)[0].other, key("orders"));
        assert_eq!(felt_by(&key("orders"), &all), []);
    }

    #[test]
    fn who_always_sees_a_service_fail_cannot_say_what_it_would_do_otherwise() {
        let told = needs(&key("orders"), &[need("crm", 40, 38, 38, 0)]);
        assert!(told[0].then.estimate.is_some() && told[0].otherwise.estimate.is_none());
        assert_eq!(told[0].lost, None);
    }
}
