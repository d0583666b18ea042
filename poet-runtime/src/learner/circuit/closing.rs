//! Learns `breaker.success_threshold`: after how many good probes the service is believed to be back.
//!
//! Each good probe makes it `p / q` times as likely that the service is back, where p of the attempts succeed while it is
//! up and q while it is down; at odds of 20 to 1 the circuit closes. So `ln 20 / ln(p / q)` of them are needed: one or
//! two, where a service that is down answers nothing, more where it often does. q is a Beta posterior from probes that
//! failed and from the times the circuit had closed and opened again at once; it begins with one in twenty.
//!
//! Where outages come with our load ([`Cascade`]), all the calls that waited may bring it down again: there the odds are
//! 400 to 1, which takes about twice as many probes. That is looked at once a day, and holds until the next.

use super::cascade::{Cascade, CascadeRisk};
use super::seen::Seen;
use crate::learner::Subject;
use crate::learner::guard::{MIN_SAMPLE, Proposal, step};
use crate::parameter::SUCCESS_THRESHOLD;
use serde_json::json;

/// The odds at which the service is believed to be back, and those where it goes down under load.
const ODDS: f64 = 20.0;
const ODDS_UNDER_LOAD: f64 = 400.0;

/// Where the evidence of a move says that load brings the service down.
const BROUGHT_DOWN: &str = "goes_down_under_load";

/// Proposes one step, where probes were seen.
pub(super) fn propose(subject: &Subject<'_>, seen: &Seen) -> Option<Proposal> {
    let up = seen.succeeds_up();
    let belief = seen.succeeds_down();
    let bounds = (SUCCESS_THRESHOLD.min, SUCCESS_THRESHOLD.max);
    let says = (up / belief.mean()).ln();
    let is_brought_down = goes_down_under_load(subject);
    let odds = if is_brought_down { ODDS_UNDER_LOAD } else { ODDS };
    let ideal = if says > 0.0 { (odds.ln() / says).ceil() } else { bounds.1 };
    let old = subject.before(&SUCCESS_THRESHOLD, None).round();
    let new = step(&SUCCESS_THRESHOLD, old, ideal, bounds);
    if new == old {
        return None;
    }
    // So many good probes are enough where no more of them succeed than this while the service is down.
    let enough = |probes: f64| up * odds.powf(-1.0 / probes);
    let confidence = if new < old { belief.below(enough(new)) } else { belief.above(enough(old)) };
    let mut evidence = seen.successes();
    evidence["ideal"] = json!(ideal);
    evidence[BROUGHT_DOWN] = json!(is_brought_down);
    let load = if is_brought_down { "; it goes down when more is asked" } else { "" };
    Some(Proposal {
        parameter: &SUCCESS_THRESHOLD,
        after: None,
        old,
        new,
        bounds,
        sample: seen.attempts_down,
        fewest: MIN_SAMPLE,
        interval: belief.interval(),
        confidence,
        predicted: None,
        act: true,
        reason: format!("{}{load}: after {ideal} in a row it is back, {odds} to 1", seen.successes_in_words()),
        evidence,
    })
}

/// Whether outages come with load: as the evidence says by the hour, or as it said when the value moved.
fn goes_down_under_load(subject: &Subject<'_>) -> bool {
    if let Some(hourly) = subject.hourly {
        return Cascade::read(hourly.history, subject.now).risk == CascadeRisk::High;
    }
    let said = subject.row(&SUCCESS_THRESHOLD, None).and_then(|row| row.evidence_of(BROUGHT_DOWN));
    said.is_some_and(|said| said == true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{AttemptClass, Circuit, Key};
    use crate::learner::tests::World;
    use crate::outcome::{Attempt, Class, Ending, FailureKind};
    use std::time::Duration;

    fn world(failed_probes: u64, relapsed: u64) -> World {
        let mut world = World::about("breaker.");
        world.history.add(world.hour, Key::Attempt(AttemptClass::Success), 1_000);
        world.history.add(world.hour, Key::Probed(AttemptClass::Failure(FailureKind::Timeout)), failed_probes);
        world.history.add(world.hour, Key::Circuit(Circuit::Relapsed), relapsed);
        world
    }

    fn settled(mut world: World) -> u32 {
        world.settle();
        world.values.success_threshold
    }

    #[test]
    fn where_a_service_that_is_down_answers_nothing_one_good_probe_is_enough() {
        assert_eq!(settled(world(200, 0)), 1);
    }

    #[test]
    fn where_it_often_answers_although_it_is_down_more_of_them_are_needed() {
        let (seldom, often) = (settled(world(200, 0)), settled(world(60, 90)));
        assert!(seldom < 3 && often > 3, "{seldom} {often}");
    }

    #[test]
    fn it_follows_a_service_that_begins_to_flap() {
        let mut world = world(200, 0);
        world.settle();
        world.hour += 1;
        world.history.add(world.hour, Key::Probed(AttemptClass::Failure(FailureKind::Timeout)), 2_000);
        world.history.add(world.hour, Key::Circuit(Circuit::Relapsed), 2_000);
        assert!(settled(world) > 3);
    }

    #[test]
    fn where_it_goes_down_under_load_more_of_them_are_needed() {
        // Outages of every fifth busy hour, or at whatever hour.
        let after = |is_loaded: bool| {
            let mut world = world(200, 0);
            for hour in 0..240 {
                world.hour += 1;
                let is_busy = hour % 24 < 10;
                world.history.add(world.hour, Key::Attempt(AttemptClass::Success), 100);
                world.history.add(world.hour, Key::Call(Ending::Done), if is_busy { 1_000 } else { 100 } + hour);
                let goes_down = if is_loaded { is_busy && hour % 5 == 0 } else { hour % 7 == 0 };
                world.history.add(world.hour, Key::Circuit(Circuit::Opened), u64::from(goes_down));
            }
            world.hour += 1;
            settled(world)
        };
        assert_eq!((after(false), after(true)), (1, 2));
    }

    #[test]
    fn a_few_probes_move_nothing_nor_does_what_is_no_evidence() {
        let mut world = world(MIN_SAMPLE - 1, 0);
        for _ in 0..500 {
            world.record(Some(Attempt::first(Class::Permanent, Duration::from_millis(5))), Some(Ending::Failed));
            world.record(Some(Attempt::first(Class::Cancelled, Duration::from_millis(5))), Some(Ending::Cancelled));
            world.record(None, Some(Ending::CircuitOpen));
            world.record(None, Some(Ending::Cached));
        }
        assert_eq!(settled(world), 3);
    }

    #[test]
    fn where_nothing_changes_it_stays() {
        let mut world = world(300, 3);
        world.settle();
        let before = world.values.success_threshold;
        for _ in 0..20 {
            world.hour += 1;
            world.history.add(world.hour, Key::Probed(AttemptClass::Failure(FailureKind::Timeout)), 100);
            world.history.add(world.hour, Key::Circuit(Circuit::Relapsed), 1);
            world.update();
        }
        assert_eq!(world.values.success_threshold, before);
    }
}
