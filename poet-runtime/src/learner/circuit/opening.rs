//! Learns `breaker.failure_threshold` for each kind of failure, and `breaker.success_credit`: when to open the circuit.
//!
//! The circuit is a test for a change (Page 1954): what an attempt says is the logarithm of how much more likely it is
//! while the service is down than while it is up, and the sum of that opens it at `h = ln 10^7`. So of one kind
//! `h / ln(q / p)` failures in a row open it, where p of the attempts fail so while the service is up and q while it is
//! down; and a success takes `ln(p_ok / q_ok) / h` back.
//!
//! * **Up** is what did not belong to an outage; **down** are the failures that opened the circuit and the probes that
//!   failed. p is a Beta posterior that begins with four attempts of which 3 % failed, q one that begins with Beta(2, 2).
//! * **One outage in ten is of a kind that was never seen.** A kind that outages did not show is not free because of it.
//! * **Failures come in clusters.** However rare a kind is, two of them in a row may be one event, so p is 0.2 % at least.
//! * Of a kind that was never seen at all nothing is said.
//! * **Forgetting**: half-lives of 5,000 attempts up and 500 down.

use super::seen::Seen;
use crate::learner::Subject;
use crate::learner::guard::{MIN_SAMPLE, Proposal, rounded, step};
use crate::learner::posterior::Posterior;
use crate::outcome::FailureKind;
use crate::parameter::{FAILURE_THRESHOLD, SUCCESS_CREDIT};
use serde_json::json;

/// How many times as likely it must be that the service is down than that its failures are chance, as a logarithm: ten
/// million times. Of calls to a service that is well, no more than one in as many opens the circuit (Wald 1947, Lorden
/// 1971), if its rates are known; they are known roughly, and one in a million is what has to be kept.
const EVIDENCE_TO_OPEN: f64 = 16.118_095_650_958_32;

/// What is believed about a kind of failure while the service is up, before any attempt was seen: failed, succeeded.
const PRIOR_UP: (f64, f64) = (0.12, 3.88);

/// The share of outages that are of a kind that was never seen.
const NOVEL: f64 = 0.1;

/// The least share of attempts that is taken to fail in some way while the service is up.
const LEAST_RATE: f64 = 0.002;

/// Proposes a step for each kind that was seen, and for what a success takes back.
pub(super) fn propose(subject: &Subject<'_>, seen: &Seen) -> Vec<Proposal> {
    if seen.attempts_up < MIN_SAMPLE {
        return Vec::new();
    }
    let kinds = FailureKind::ALL.into_iter().filter_map(|kind| threshold(subject, seen, kind));
    kinds.chain(credit(subject, seen)).collect()
}

fn threshold(subject: &Subject<'_>, seen: &Seen, kind: FailureKind) -> Option<Proposal> {
    let (up, down) = (seen.up[kind.index()], seen.down[kind.index()]);
    if up + down == 0.0 {
        return None;
    }
    let belief = Posterior::new(PRIOR_UP.0 + up, PRIOR_UP.1 + seen.ups - up);
    let shown = (2.0 + down) / (4.0 + seen.downs);
    let when_down = (1.0 - NOVEL) * shown + NOVEL * 0.5;
    let bounds = (FAILURE_THRESHOLD.min, FAILURE_THRESHOLD.max);
    let when_up = belief.mean().max(LEAST_RATE);
    let says = (when_down / when_up).ln();
    let ideal = if says > 0.0 { (EVIDENCE_TO_OPEN / says).ceil() } else { bounds.1 };
    let old = subject.before(&FAILURE_THRESHOLD, Some(kind)).round();
    let new = step(&FAILURE_THRESHOLD, old, ideal, bounds);
    if new == old {
        return None;
    }
    // So many in a row are enough where the kind is no more frequent than this while the service is up.
    let enough = |failures: f64| when_down * (-EVIDENCE_TO_OPEN / failures).exp();
    let confidence = match enough(new) {
        _ if new > old => belief.above(enough(old)),
        rate if rate < LEAST_RATE => 0.0,
        rate => belief.below(rate),
    };
    Some(Proposal {
        parameter: &FAILURE_THRESHOLD,
        after: Some(kind),
        old,
        new,
        bounds,
        sample: seen.attempts_up,
        fewest: MIN_SAMPLE,
        interval: belief.interval(),
        confidence,
        predicted: None,
        act: true,
        reason: format!(
            "{:.2} % of attempts fail so while the service is up, {:.0} % while it is down: {ideal} in a row are not chance",
            100.0 * belief.mean(),
            100.0 * when_down,
        ),
        evidence: json!({
            "after": kind.as_str(),
            "fails_up": rounded(belief.mean()),
            "fails_down": rounded(when_down),
            "failures_up": rounded(up),
            "attempts_up": seen.attempts_up,
            "attempts_down": seen.attempts_down,
            "ideal": ideal,
        }),
    })
}

fn credit(subject: &Subject<'_>, seen: &Seen) -> Option<Proposal> {
    let up = seen.succeeds_up();
    let belief = seen.succeeds_down();
    let bounds = (SUCCESS_CREDIT.min, SUCCESS_CREDIT.max);
    let old = subject.before(&SUCCESS_CREDIT, None);
    let new = ((up / belief.mean()).ln() / EVIDENCE_TO_OPEN).clamp(bounds.0, bounds.1);
    let takes = |credit: f64| up * (-EVIDENCE_TO_OPEN * credit).exp();
    // It is right to go so far at least as half the way.
    let half = takes(f64::midpoint(old, new));
    Some(Proposal {
        parameter: &SUCCESS_CREDIT,
        after: None,
        old,
        new,
        bounds,
        sample: seen.attempts_down,
        fewest: MIN_SAMPLE,
        interval: belief.interval(),
        confidence: if new < old { belief.above(half) } else { belief.below(half) },
        predicted: None,
        act: true,
        reason: format!(
            "{}: a success takes back {:.0} % of what opens the circuit",
            seen.successes_in_words(),
            100.0 * new,
        ),
        evidence: seen.successes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{AttemptClass, Key};
    use crate::learner::tests::World;
    use crate::outcome::{Attempt, Class, Ending};
    use crate::parameter::Values;
    use crate::policy::breaker::{Breaker, Sign, Thresholds};
    use std::time::{Duration, Instant};

    const TRANSIENT: FailureKind = FailureKind::Transient;

    /// An hour of attempts at a service that is up, of which a share fails by chance.
    fn healthy(world: &mut World, attempts: u64, rate: f64) {
        for _ in 0..attempts {
            let class = if world.random() < rate { Class::Transient } else { Class::Success };
            world.record(Some(Attempt::first(class, Duration::from_millis(50))), None);
        }
        world.hour += 1;
    }

    fn outages(world: &mut World, count: u64) {
        world.history.add(world.hour, Key::Attempt(AttemptClass::Failure(TRANSIENT)), 5 * count);
        world.history.add(world.hour, Key::Blamed(TRANSIENT), 5 * count);
        world.history.add(world.hour, Key::Probed(AttemptClass::Failure(TRANSIENT)), 4 * count);
        world.hour += 1;
    }

    fn settled(world: &mut World) -> u16 {
        world.settle();
        world.values.failure_threshold[TRANSIENT.index()]
    }

    /// Openings within so many attempts at a service that is well, and failures until the circuit opens once it is down.
    fn tried(values: &Values, rate: f64, attempts: u64, seed: u64) -> (u64, u32) {
        let (mut breaker, mut successes, mut now) = (Breaker::new(), 0, Instant::now());
        let (mut opened, mut world) = (0, World::about("breaker."));
        (0..seed).for_each(|_| _ = world.random());
        let thresholds = Thresholds::of(values);
        for _ in 0..attempts {
            now += Duration::from_millis(100);
            let sign = if world.random() < rate { Sign::Ill(TRANSIENT) } else { Sign::Well };
            successes += u64::from(sign == Sign::Well);
            _ = breaker.record(None, sign, successes, thresholds, now);
            if !breaker.is_closed() {
                opened += 1;
                breaker = Breaker::new();
            }
        }
        let mut failures = 0;
        while breaker.is_closed() {
            failures += 1;
            _ = breaker.record(None, Sign::Ill(TRANSIENT), successes, thresholds, now);
        }
        (opened, failures)
    }

    #[test]
    fn a_service_that_often_fails_by_chance_is_left_alone_after_more_failures_and_a_reliable_one_after_fewer() {
        let thresholds = [0.001, 0.01, 0.09, 0.3].map(|rate| {
            let mut world = World::about("breaker.");
            (0..10).for_each(|_| healthy(&mut world, 500, rate));
            outages(&mut world, 10);
            settled(&mut world)
        });
        assert_eq!(thresholds[0], 3);
        assert!((3..=4).contains(&thresholds[1]), "{thresholds:?}");
        assert!((6..=8).contains(&thresholds[2]), "{thresholds:?}");
        assert!(thresholds[3] > 10, "{thresholds:?}");
    }

    #[test]
    fn an_outage_is_seen_within_six_failures_however_many_healthy_calls_came_before() {
        for healthy_calls in [200, 10_000, 200_000] {
            let mut world = World::about("breaker.");
            for _ in 0..10 {
                healthy(&mut world, healthy_calls / 10, 0.01);
            }
            world.settle();
            let (_, failures) = tried(&world.values, 0.0, healthy_calls, 1);
            println!("after {healthy_calls} healthy calls the circuit opened at failure {failures}");
            assert!(failures <= 6, "{failures} after {healthy_calls}");
        }
    }

    #[test]
    fn of_calls_to_a_service_that_is_well_fewer_than_one_in_a_million_open_the_circuit() {
        const MILLIONS: u64 = 3;
        for rate in [0.01, 0.1] {
            let mut world = World::about("breaker.");
            (0..10).for_each(|_| healthy(&mut world, 1_000, rate));
            outages(&mut world, 10);
            world.settle();
            let (opened, failures) = tried(&world.values, rate, MILLIONS * 1_000_000, 7);
            let Values { failure_threshold, success_credit, .. } = world.values;
            println!(
                "{rate}: threshold {}, credit {success_credit:.2}: {opened} false openings in {MILLIONS} million, \
                 then open at failure {failures}",
                failure_threshold[TRANSIENT.index()],
            );
            assert!(opened < MILLIONS, "{opened} at {rate}");
        }
    }

    #[test]
    fn it_follows_a_service_that_begins_to_fail_by_chance() {
        let mut world = World::about("breaker.");
        (0..10).for_each(|_| healthy(&mut world, 1_000, 0.002));
        outages(&mut world, 5);
        let before = settled(&mut world);
        (0..30).for_each(|_| healthy(&mut world, 1_000, 0.15));
        let after = settled(&mut world);
        assert!(before <= 4 && after >= 8, "{before} {after}");
    }

    #[test]
    fn where_nothing_changes_it_stays() {
        let mut world = World::about("breaker.");
        (0..10).for_each(|_| healthy(&mut world, 1_000, 0.05));
        outages(&mut world, 10);
        let settled_at = settled(&mut world);
        let credit = world.values.success_credit;
        for _ in 0..30 {
            healthy(&mut world, 1_000, 0.05);
            world.update();
        }
        assert_eq!(world.values.failure_threshold[TRANSIENT.index()], settled_at);
        assert_eq!(world.values.success_credit, credit);
    }

    #[test]
    fn what_is_no_evidence_about_the_service_does_not_move_it() {
        let mut world = World::about("breaker.");
        (0..10).for_each(|_| healthy(&mut world, 1_000, 0.05));
        outages(&mut world, 10);
        let before = (settled(&mut world), world.values.success_credit);
        for _ in 0..5_000 {
            world.record(Some(Attempt::first(Class::Permanent, Duration::from_millis(5))), Some(Ending::Failed));
            world.record(Some(Attempt::first(Class::Cancelled, Duration::from_millis(5))), Some(Ending::Cancelled));
            world.record(None, Some(Ending::CircuitOpen));
            world.record(None, Some(Ending::Cached));
        }
        assert_eq!((settled(&mut world), world.values.success_credit), before);
    }

    #[test]
    fn failures_of_an_outage_say_nothing_about_the_service_when_it_is_up() {
        let (mut calm, mut stormy) = (World::about("breaker."), World::about("breaker."));
        for world in [&mut calm, &mut stormy] {
            (0..10).for_each(|_| healthy(world, 500, 0.01));
            outages(world, 3);
        }
        outages(&mut stormy, 300);
        let (calm, stormy) = (settled(&mut calm), settled(&mut stormy));
        assert!(stormy <= calm, "{stormy} {calm}");
    }

    #[test]
    fn a_success_takes_less_back_where_a_service_that_is_down_often_answers() {
        let credit = |relapsed: u64| {
            let mut world = World::about("breaker.");
            (0..10).for_each(|_| healthy(&mut world, 500, 0.01));
            outages(&mut world, 20);
            world.history.add(world.hour, Key::Circuit(crate::evidence::Circuit::Relapsed), relapsed);
            world.settle();
            world.values.success_credit
        };
        let (never, often) = (credit(0), credit(60));
        assert!(often < never && never < 0.6, "{often} {never}");
    }
}
