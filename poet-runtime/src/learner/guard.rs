//! Decides whether an estimate becomes a move.
//!
//! Estimators say where a value should be and how sure they are of one step towards it; what all of them owe a person
//! stands here once: no move of a pinned value, none on a small sample, none that is more likely than one in twenty to
//! do harm, none past a bound, none that is too small to be worth a row, and never more than one step at a time. A
//! wrong step is then seen in the evidence before the next.
//!
//! What they say is not taken on trust: steps and bounds are kept here, whatever was proposed, and what cannot be true
//! (a confidence above 1, a gain that no call can bring, no sample) is taken for what it is.

use super::effect::Effects;
use super::trial::{Trial, is_frozen};
use super::{Subject, timeout, ttl};
use crate::outcome::FailureKind;
use crate::parameter::{ATTEMPT_TIMEOUT, CACHE_TTL, DEFER_HOURS, Parameter, Step, Unit, family};
use crate::site::Learning;
use crate::store::{Good, ParameterChange, ParameterKey, ParameterRow, Standing};

/// The fewest observations a move rests on.
pub(crate) const MIN_SAMPLE: u64 = 30;

/// The posterior probability, at least, that the new value beats the old.
pub(crate) const MIN_CONFIDENCE: f64 = 0.95;

/// A move by less than this share of the value is noise of the sketch, whose buckets are 10 % apart.
const HYSTERESIS: f64 = 0.05;

/// The fewest of any unit: once is never.
const LEAST_SAMPLE: u64 = 2;

/// Hours of the day, and days of the week, that may be avoided at most: whoever avoids more avoids the service.
const MOST_HOURS: u32 = 8;
const MOST_DAYS: u32 = 3;

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
        || sample < fewest.max(LEAST_SAMPLE)
        || numbers.iter().any(|number| !number.is_finite())
        || !(MIN_CONFIDENCE..=1.0).contains(&confidence)
    {
        return None;
    }
    let (least, most) = bounds(subject, parameter);
    let (low, high) = (low.max(least), high.min(most));
    if low > high {
        return None;
    }
    let new = within_one_step(subject, parameter, after, new, (low, high));
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
    // Rounded up by a microsecond, it is still that age.
    if parameter.name == CACHE_TTL.name && new > old && new > ttl::reached(subject) * (1.0 + 1e-6) {
        return None;
    }
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
    let most_slots = match parameter.unit {
        Unit::Hours => MOST_HOURS,
        Unit::Weekdays => MOST_DAYS,
        Unit::Count | Unit::Seconds | Unit::Factor | Unit::MonthlyHour => u32::MAX,
    };
    if (new as u32).count_ones() > most_slots {
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
            predicted: predicted.filter(|gain| gain.abs() <= most_gain(subject)),
            reason,
            evidence: evidence.to_string(),
            changed: subject.now,
            revision: 0,
        },
        realised: None,
    })
}

/// What no learned value of this service goes past.
fn bounds(subject: &Subject<'_>, parameter: &Parameter) -> (f64, f64) {
    let profile = subject.profile;
    let most = match parameter.name {
        "retry.max_retries" => f64::from(profile.max_retries_ceiling),
        "retry.base_delay" => subject.values.max_delay.as_secs_f64(),
        "timeout.attempt" | "hedge.delay" => profile.deadline.as_secs_f64(),
        _ => parameter.max,
    };
    (parameter.min, parameter.max.min(most).max(parameter.min))
}

/// A value as far on the way to what was proposed as one step goes, from where calls really are.
fn within_one_step(
    subject: &Subject<'_>,
    parameter: &'static Parameter,
    after: Option<FailureKind>,
    new: f64,
    bounds: (f64, f64),
) -> f64 {
    let before = subject.before(parameter, after);
    let stepped = step(parameter, before, new, bounds);
    if parameter.name == ATTEMPT_TIMEOUT.name && stepped > new {
        // Where deadlines end attempts before the limit does, a step begins with them.
        return step(parameter, timeout::in_effect(subject, before), new, bounds);
    }
    stepped
}

/// The most that a move can bring for each call: a success that costs nothing in place of a failure that cost as much.
fn most_gain(subject: &Subject<'_>) -> f64 {
    let value = subject.profile.utility.value;
    2.0 * if value > 0.0 { value } else { 1.0 }
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
///
/// Hours in which calls are put off are in force without a trial, and wait for none: they change when a call is made and
/// nothing about how, so no comparison of calls tells anything about them. They are looked at once a day, and rest on
/// days; what their estimator no longer finds it takes back.
pub(crate) fn one_family(
    subject: &Subject<'_>,
    trial: Option<&Trial<'_>>,
    effects: &Effects,
    mut moves: Vec<ParameterChange>,
) -> Vec<ParameterChange> {
    let in_force = |change: &ParameterChange| change.new.standing == Standing::Trial;
    let may_move = |change: &ParameterChange| {
        let moving = family(&change.new.key.name);
        !is_frozen(subject, effects, moving) && trial.is_none_or(|trial| trial.admits(moving, effects, subject.now))
    };
    let is_of_hours = |change: &ParameterChange| family(&change.new.key.name) == DEFER_HOURS.family();
    for change in moves.iter_mut().filter(|change| in_force(change) && is_of_hours(change)) {
        (change.new.standing, change.new.good) = (Standing::Confirmed, None);
    }
    moves.retain(|change| match change.new.standing {
        Standing::Trial => may_move(change),
        // What a person has just turned down is neither done nor proposed again at once.
        Standing::Confirmed | Standing::Proposed => !is_frozen(subject, effects, family(&change.new.key.name)),
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
    use crate::parameter::{DEFER_WEEKDAYS, MAX_RETRIES};
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
    fn what_cannot_be_true_is_not_believed() {
        assert_eq!(admitted(Proposal { confidence: 2.0, ..proposal(10.0, 5.0) }), None);
        assert_eq!(admitted(Proposal { sample: 1, fewest: 0, ..proposal(10.0, 5.0) }), None);
        let boast = Proposal { predicted: Some(1e300), ..proposal(10.0, 5.0) };
        assert_eq!(admitted(boast).unwrap().new.predicted, None);
    }

    #[test]
    fn a_leap_is_one_step_whatever_it_says_it_starts_from() {
        let all = (f64::NEG_INFINITY, f64::INFINITY);
        let leap = |old, new| admitted(Proposal { bounds: all, ..proposal(old, new) }).map(|change| change.new.value);
        assert_eq!(leap(10.0, 0.05), Some(5.0));
        assert_eq!(leap(0.1, 0.05), Some(5.0));
        assert_eq!(leap(10.0, -3.0), Some(5.0));
        assert_eq!(leap(10.0, 300.0), Some(15.0));
    }

    #[test]
    fn whoever_avoids_most_of_the_week_avoids_the_service() {
        let days = |days: u32| {
            let parameter = &DEFER_WEEKDAYS;
            let bounds = (parameter.min, parameter.max);
            admitted(Proposal { parameter, bounds, ..proposal(0.0, f64::from(days)) })
        };
        assert!(days(0b110_0000).is_some());
        assert_eq!(days(0b111_1100), None);
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
    fn hours_neither_wait_for_a_trial_nor_keep_others_waiting() {
        let mut world = World::default();
        let on_trial = world.with_subject(|subject| admit(subject, None, proposal(10.0, 5.0))).unwrap();
        world.learned.push(on_trial.new);
        let hours = Proposal { parameter: &DEFER_HOURS, bounds: (0.0, 16_777_215.0), ..proposal(0.0, 4_096.0) };
        let left = world.with_subject(|subject| {
            let (effects, trial) = (Effects::read(subject.history), Trial::of(subject));
            let moves = admit(subject, None, hours).into_iter().collect();
            one_family(subject, trial.as_ref(), &effects, moves)
        });
        assert_eq!(left.iter().map(|change| change.new.standing).collect::<Vec<_>>(), [Standing::Confirmed]);
    }

    #[test]
    fn a_value_past_a_bound_becomes_the_bound() {
        let narrow = Proposal { bounds: (0.005, 12.0), ..proposal(10.0, 99.0) };
        assert_eq!(admitted(narrow).unwrap().new.value, 12.0);
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
