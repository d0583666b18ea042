//! Decides whether an estimate becomes a move.
//!
//! Estimators say where a value should be and how sure they are of one step towards it; what all of them owe a person
//! stands here once: no move of a pinned value, none on a small sample, none that is more likely than one in twenty to
//! do harm, none past a bound, none that is too small to be worth a row, and never more than one step at a time. A
//! wrong step is then seen in the evidence before the next.

use super::Subject;
use super::effect::Effects;
use super::trial::{Trial, is_frozen};
use crate::outcome::FailureKind;
use crate::parameter::{Parameter, Step, Unit, family};
use crate::site::Learning;
use crate::store::{Good, ParameterChange, ParameterKey, ParameterRow, Standing};

/// The fewest observations a move rests on.
pub(crate) const MIN_SAMPLE: u64 = 30;

/// The posterior probability, at least, that the new value beats the old.
pub(crate) const MIN_CONFIDENCE: f64 = 0.95;

/// A move by less than this share of the value is noise of the sketch, whose buckets are 10 % apart.
const HYSTERESIS: f64 = 0.05;

/// Hours of the day that may be avoided at most: whoever avoids more of them avoids the service.
const MOST_HOURS: u32 = 8;

/// One step that an estimator proposes.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) parameter: &'static Parameter,
    pub(crate) after: Option<FailureKind>,
    /// The value the step starts from, from [`Subject::before`].
    pub(crate) old: f64,
    /// The value after the step, from [`step`].
    pub(crate) new: f64,
    /// The bounds at this service, within those of the parameter.
    pub(crate) bounds: (f64, f64),
    /// The observations it rests on, in the unit of its evidence: attempts, outages, days.
    pub(crate) sample: u64,
    /// The fewest of them that a move rests on: [`MIN_SAMPLE`] where they are attempts.
    pub(crate) fewest: u64,
    /// 90 % of the belief about what was estimated.
    pub(crate) interval: (f64, f64),
    /// The posterior probability that `new` beats `old`.
    pub(crate) confidence: f64,
    /// What the move is expected to bring, for each call, in the unit of the profile's utility; `None` where that
    /// depends on what the evidence does not say.
    pub(crate) predicted: Option<f64>,
    /// Whether it is acted on; what is worth knowing but not worth acting on is stored and reported all the same.
    pub(crate) act: bool,
    pub(crate) reason: String,
    pub(crate) evidence: serde_json::Value,
}

/// A figure of the evidence, as exactly as a person or a chart can tell apart.
pub(crate) fn rounded(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}

/// One step of a parameter from `old` towards `target`, within bounds.
pub(crate) fn step(parameter: &Parameter, old: f64, target: f64, (low, high): (f64, f64)) -> f64 {
    let target = target.clamp(low, high.max(low));
    let stepped = match parameter.step {
        Step::Any => target,
        Step::By(most) => target.clamp(old - most, old + most),
        Step::Times { down, least, .. } if target < old => {
            let stepped = target.max(old / down);
            if stepped < least { low } else { stepped }
        }
        Step::Times { up, least, .. } => target.min(old.max(least / up) * up),
    };
    // A bound is kept at once, however far the old value was past it.
    stepped.clamp(low, high.max(low))
}

/// The move, if the proposal deserves one.
pub(crate) fn admit(subject: &Subject<'_>, trial: Option<&Trial<'_>>, proposal: Proposal) -> Option<ParameterChange> {
    let Proposal { parameter, after, old, new, bounds: (low, high), sample, fewest, interval, .. } = proposal;
    let Proposal { confidence, predicted, act, reason, evidence, .. } = proposal;
    let numbers = [old, new, confidence, interval.0, interval.1];
    if subject.is_pinned(parameter, after)
        || sample < fewest
        || numbers.iter().any(|number| !number.is_finite())
        || confidence < MIN_CONFIDENCE
    {
        return None;
    }
    let (low, high) = (low.max(parameter.min), high.min(parameter.max));
    if low > high {
        return None;
    }
    let new = match parameter.unit {
        Unit::Count | Unit::Hours | Unit::Weekdays | Unit::MonthlyHour => new.round(),
        // The store and the reports show what is in force; a microsecond is finer than any timer.
        Unit::Seconds | Unit::Factor => (new * 1e6).round() / 1e6,
    }
    .clamp(low, high);
    let too_small = match parameter.step {
        Step::By(_) => new == old,
        Step::Any if parameter.unit != Unit::Seconds && parameter.unit != Unit::Factor => new == old,
        Step::Any | Step::Times { .. } => new == old || (new - old).abs() < HYSTERESIS * old,
    };
    let known = subject.row(parameter, after);
    let standing = match subject.learning {
        _ if !act => Standing::Found,
        Learning::Review => Standing::Proposed,
        Learning::Shadow => Standing::Shadow,
        _ => Standing::Trial,
    };
    // What was only reported may be worth acting on by now, and the other way round.
    let turns = known.is_some_and(|row| (row.standing == Standing::Found) != (standing == Standing::Found));
    if (too_small && !turns) || (turns && !act && new == 0.0 && old == 0.0) {
        return None;
    }
    if parameter.unit == Unit::Hours && (new as u32).count_ones() > MOST_HOURS {
        return None;
    }
    Some(ParameterChange {
        old: Some(old),
        new: ParameterRow {
            key: ParameterKey { target: subject.target.clone(), name: parameter.name.to_owned(), after },
            value: new,
            standing,
            good: good(subject, trial, parameter, after, standing),
            sample,
            interval,
            confidence,
            predicted: predicted.filter(|gain| gain.is_finite()),
            reason,
            evidence: evidence.to_string(),
            changed: subject.now,
            revision: 0,
        },
        realised: None,
    })
}

/// What is to be gone back to.
fn good(
    subject: &Subject<'_>,
    trial: Option<&Trial<'_>>,
    parameter: &Parameter,
    after: Option<FailureKind>,
    standing: Standing,
) -> Option<Good> {
    let known = subject.row(parameter, after);
    match standing {
        // A further step of the same trial.
        Standing::Trial if known.is_some_and(|row| row.standing == Standing::Trial) => known?.good,
        Standing::Trial => {
            let revision = trial.map_or(subject.values.revision, |trial| trial.good);
            Some(Good { value: subject.in_force(parameter, after), revision })
        }
        Standing::Proposed => known?.in_force().map(|value| Good { value, revision: subject.values.revision }),
        _ => None,
    }
}

/// Of moves that would be in force, those of one family: the one that is on trial, else the one that moved longest ago.
/// An effect then has one cause.
pub(crate) fn one_family(
    subject: &Subject<'_>,
    trial: Option<&Trial<'_>>,
    effects: &Effects,
    mut moves: Vec<ParameterChange>,
) -> Vec<ParameterChange> {
    let in_force = |change: &ParameterChange| change.new.standing == Standing::Trial;
    let may_move = |change: &ParameterChange| {
        let moving = family(&change.new.key.name);
        !is_frozen(subject, moving) && trial.is_none_or(|trial| trial.admits(moving, effects, subject.now))
    };
    moves.retain(|change| match change.new.standing {
        Standing::Trial => may_move(change),
        // What a person has just turned down is not proposed again at once.
        Standing::Proposed => !is_frozen(subject, family(&change.new.key.name)),
        _ => true,
    });
    let moved = |change: &&ParameterChange| {
        let moving = family(&change.new.key.name);
        subject.learned.iter().filter(|row| family(&row.key.name) == moving).map(|row| row.changed).max()
    };
    let next = moves.iter().filter(|change| in_force(change)).min_by_key(moved);
    if let Some(next) = next.map(|change| family(&change.new.key.name).to_owned()) {
        moves.retain(|change| !in_force(change) || family(&change.new.key.name) == next);
    }
    moves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learner::tests::World;
    use crate::parameter::{ATTEMPT_TIMEOUT, MAX_RETRIES};
    use serde_json::json;

    fn proposal(old: f64, new: f64) -> Proposal {
        Proposal {
            parameter: &ATTEMPT_TIMEOUT,
            after: None,
            old,
            new,
            bounds: (0.005, 30.0),
            sample: 100,
            fewest: MIN_SAMPLE,
            interval: (0.1, 0.2),
            confidence: 0.99,
            predicted: None,
            act: true,
            reason: "it answers sooner".to_owned(),
            evidence: json!({ "answered": 100 }),
        }
    }

    fn admitted(proposal: Proposal) -> Option<ParameterChange> {
        World::default().with_subject(|subject| admit(subject, None, proposal))
    }

    #[test]
    fn a_move_carries_everything_a_person_asks_for() {
        let change = admitted(proposal(10.0, 5.0)).unwrap();
        assert_eq!((change.old, change.new.value), (Some(10.0), 5.0));
        assert_eq!((change.new.sample, change.new.confidence), (100, 0.99));
        assert_eq!(change.new.standing, Standing::Trial);
        assert_eq!(change.new.good, Some(Good { value: 10.0, revision: 0 }));
        assert_eq!(change.new.reason, "it answers sooner");
        assert_eq!(change.new.evidence, r#"{"answered":100}"#);
    }

    #[test]
    fn too_few_observations_move_nothing() {
        assert_eq!(admitted(Proposal { sample: MIN_SAMPLE - 1, ..proposal(10.0, 5.0) }), None);
        assert!(admitted(Proposal { sample: MIN_SAMPLE, ..proposal(10.0, 5.0) }).is_some());
    }

    #[test]
    fn a_move_that_may_do_harm_is_not_made() {
        assert_eq!(admitted(Proposal { confidence: 0.94, ..proposal(10.0, 5.0) }), None);
        assert_eq!(admitted(Proposal { confidence: f64::NAN, ..proposal(10.0, 5.0) }), None);
    }

    #[test]
    fn a_move_of_less_than_five_per_cent_is_not_worth_a_row() {
        assert_eq!(admitted(proposal(10.0, 9.6)), None);
        assert!(admitted(proposal(10.0, 9.4)).is_some());
    }

    #[test]
    fn a_pinned_value_does_not_move() {
        let mut world = World::default();
        world.pins.push("timeout.attempt");
        assert_eq!(world.with_subject(|subject| admit(subject, None, proposal(10.0, 5.0))), None);
    }

    #[test]
    fn what_a_person_took_back_neither_moves_nor_is_proposed_for_a_day() {
        for (learning, standing) in [(Learning::On, Standing::Forgotten), (Learning::Review, Standing::RolledBack)] {
            let mut world = World::default();
            world.learning = learning;
            let moved = world.with_subject(|subject| admit(subject, None, proposal(10.0, 5.0))).unwrap();
            world.learned.push(ParameterRow { standing, ..moved.new.clone() });
            let left = |world: &World| {
                world.with_subject(|subject| {
                    let effects = Effects::read(subject.history);
                    one_family(subject, None, &effects, vec![moved.clone()]).len()
                })
            };
            assert_eq!(left(&world), 0, "{standing:?}");
            world.hour += 25;
            assert_eq!(left(&world), 1, "{standing:?}");
        }
    }

    #[test]
    fn a_value_past_a_bound_becomes_the_bound() {
        assert_eq!(admitted(proposal(10.0, 99.0)).unwrap().new.value, 30.0);
    }

    #[test]
    fn a_duration_moves_by_half_up_and_by_half_down_and_a_count_by_one() {
        assert_eq!(step(&ATTEMPT_TIMEOUT, 10.0, 100.0, (0.005, 300.0)), 15.0);
        assert_eq!(step(&ATTEMPT_TIMEOUT, 10.0, 0.1, (0.005, 300.0)), 5.0);
        assert_eq!(step(&ATTEMPT_TIMEOUT, 10.0, 9.0, (0.005, 300.0)), 9.0);
        assert_eq!(step(&MAX_RETRIES, 3.0, 0.0, (0.0, 3.0)), 2.0);
        assert_eq!(step(&MAX_RETRIES, 1.0, 3.0, (0.0, 3.0)), 2.0);
    }

    #[test]
    fn a_bound_is_kept_at_once() {
        assert_eq!(step(&ATTEMPT_TIMEOUT, 100.0, 100.0, (0.005, 5.0)), 5.0);
    }
}
