//! Turns evidence into moves of parameters: one estimator a file, one table of them, one guard.
//!
//! Everything here is a pure function of evidence, profile and the present time. Learning the same evidence twice
//! proposes the same moves, in whatever order and however many processes added to it. Nothing here publishes; whoever
//! holds the store does, and a move that another process made first is superseded there.

mod backoff;
#[cfg(test)]
mod bad;
mod batch;
pub(crate) mod became;
pub(crate) mod circuit;
mod concurrency;
pub(crate) mod degradation;
mod draws;
mod effect;
mod guard;
mod hedge;
mod hours;
pub(crate) mod posterior;
mod regime;
mod retries;
pub mod season;
pub(crate) mod siblings;
#[cfg(test)]
pub(crate) mod tests;
mod timeout;
mod trial;
mod ttl;

use crate::clock::Wall;
use crate::evidence::{History, Hourly};
use crate::outcome::FailureKind;
use crate::parameter::{
    ATTEMPT_TIMEOUT, BASE_DELAY, BATCH_WINDOW, CACHE_TTL, CONCURRENCY_LIMIT, DEFER_HOURS, FAILURE_THRESHOLD,
    HEDGE_DELAY, MAX_RETRIES, Parameter, Values,
};
use crate::profile::Profile;
use crate::site::Learning;
use crate::store::{ParameterChange, ParameterRow, Settlement, Standing, TargetKey};
use effect::Effects;
use guard::Proposal;
use siblings::Siblings;
use trial::Trial;

/// What is learned about, and everything that is known about it.
pub(crate) struct Subject<'a> {
    /// The service and operation.
    pub(crate) target: &'a TargetKey,
    /// What was seen: by the hour for a day, and before that in blocks of hours (see [`crate::evidence::block_of`]).
    pub(crate) history: &'a History,
    /// Once a day: all of it by the hour, and what the store has of the hours before.
    pub(crate) hourly: Option<Hourly<'a>>,
    /// What was seen of the operation that does for many items what this one does for one.
    pub(crate) bulk: Option<&'a History>,
    /// What the other services of its domain showed.
    pub(crate) siblings: &'a Siblings,
    /// Its defaults, ceilings and utility.
    pub(crate) profile: &'a Profile,
    /// The values in force now.
    pub(crate) values: &'a Values,
    /// What was learned about it before, applied or in shadow.
    pub(crate) learned: &'a [ParameterRow],
    /// Whether a person decided a value.
    pub(crate) pinned: &'a dyn Fn(&str, Option<FailureKind>) -> bool,
    /// The IANA time zone whose hours its history is read in; UTC where `None`.
    pub(crate) timezone: Option<&'a str>,
    /// Whether moves are applied.
    pub(crate) learning: Learning,
    /// The present.
    pub(crate) now: Wall,
}

impl Subject<'_> {
    pub(crate) fn is_pinned(&self, parameter: &Parameter, after: Option<FailureKind>) -> bool {
        let by_hand = |row: &ParameterRow| row.standing == Standing::Pinned;
        (self.pinned)(parameter.name, after)
            || self.row(parameter, after).is_some_and(by_hand)
            || (parameter.name == ATTEMPT_TIMEOUT.name && self.values.attempt_timeout_pinned)
    }

    /// Whether nothing is, or can be, learned about it.
    fn is_unknown(&self) -> bool {
        self.learning == Learning::Off || self.history.is_empty()
    }

    /// What was learned about a parameter, in force or not.
    pub(crate) fn row(&self, parameter: &Parameter, after: Option<FailureKind>) -> Option<&ParameterRow> {
        self.learned.iter().find(|row| row.key.name == parameter.name && row.key.after == after)
    }

    /// The value that calls are made with.
    pub(crate) fn in_force(&self, parameter: &Parameter, after: Option<FailureKind>) -> f64 {
        self.values.get(parameter.name, after).unwrap_or((parameter.default)(self.profile))
    }

    /// The value a move starts from: the one in force or, where nothing is put in force, the one that would be.
    pub(crate) fn before(&self, parameter: &Parameter, after: Option<FailureKind>) -> f64 {
        let only_known = |row: &&ParameterRow| match row.standing {
            Standing::Shadow => self.learning == Learning::Shadow,
            Standing::Proposed => self.learning == Learning::Review,
            Standing::Found => true,
            // What was in force before learning was put in shadow is where shadow goes on from.
            _ => self.learning == Learning::Shadow && row.in_force().is_some(),
        };
        let known = self.row(parameter, after).filter(only_known);
        known.map_or_else(|| self.in_force(parameter, after), |row| row.value)
    }
}

type Estimator = fn(&Subject<'_>) -> Vec<Proposal>;

/// The parameter, or the first of those that are learned together, and who estimates it.
type Table = [(&'static Parameter, Estimator)];

/// What is learned, and how. Adding one is a file and a line here.
static ESTIMATORS: &Table = &[
    (&MAX_RETRIES, retries::propose),
    (&ATTEMPT_TIMEOUT, timeout::propose),
    (&BASE_DELAY, backoff::propose),
    (&CACHE_TTL, ttl::propose),
    (&BATCH_WINDOW, batch::propose),
    (&DEFER_HOURS, hours::propose),
    (&CONCURRENCY_LIMIT, concurrency::propose),
    (&HEDGE_DELAY, hedge::propose),
    (&FAILURE_THRESHOLD, circuit::propose),
];

/// What follows from the evidence about a target.
#[derive(Debug, Default)]
pub(crate) struct Lesson {
    /// The moves it supports, each one step; none where it supports none. Publish each with the revision of the row it
    /// replaces, so that of two processes that learned at once one wins.
    pub(crate) moves: Vec<ParameterChange>,
    /// The trials that have ended.
    pub(crate) settled: Vec<Settlement>,
}

/// The moves, each one step, of parameters whose names begin so; of any number of families at once.
pub(crate) fn learn_some(subject: &Subject<'_>, prefix: &str) -> Vec<ParameterChange> {
    if subject.is_unknown() { Vec::new() } else { admitted(subject, ESTIMATORS, None, prefix) }
}

/// Learns from the evidence about a target.
pub(crate) fn learn(subject: &Subject<'_>) -> Lesson {
    learn_by(ESTIMATORS, subject)
}

/// The same, whoever estimates: what becomes of a move does not rest on how good they are.
fn learn_by(estimators: &Table, subject: &Subject<'_>) -> Lesson {
    let mut lesson = Lesson::default();
    if subject.is_unknown() {
        return lesson;
    }
    let effects = Effects::read(subject.history);
    let on_trial = Trial::of(subject);
    if subject.learning.applies() && trial::follow_up(subject, on_trial.as_ref(), &effects, &mut lesson) {
        return lesson;
    }
    let on_trial = on_trial.filter(|_| lesson.settled.is_empty());
    let moves = admitted(subject, estimators, on_trial.as_ref(), "");
    lesson.moves = guard::one_family(subject, on_trial.as_ref(), &effects, moves);
    lesson
}

/// What the estimators of parameters whose names begin so propose, as far as the guard admits it.
fn admitted(
    subject: &Subject<'_>,
    estimators: &Table,
    on_trial: Option<&Trial<'_>>,
    prefix: &str,
) -> Vec<ParameterChange> {
    estimators
        .iter()
        .filter(|(parameter, _)| parameter.name.starts_with(prefix))
        .flat_map(|(_, propose)| propose(subject))
        .filter_map(|proposal| guard::admit(subject, on_trial, proposal))
        .collect()
}
