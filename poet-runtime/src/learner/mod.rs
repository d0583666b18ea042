//! Turns evidence into moves of parameters: one estimator a file, one table of them, one guard.
//!
//! Everything here is a pure function of evidence, profile and the present time. Learning the same evidence twice
//! proposes the same moves, in whatever order and however many processes added to it. Nothing here publishes; whoever
//! holds the store does, and a move that another process made first is superseded there.

mod batch;
pub(crate) mod degradation;
mod draws;
mod guard;
mod hours;
pub(crate) mod posterior;
mod regime;
mod retries;
pub mod season;
#[cfg(test)]
pub(crate) mod tests;
mod timeout;
mod ttl;

use crate::clock::Wall;
use crate::evidence::History;
use crate::outcome::FailureKind;
use crate::parameter::{ATTEMPT_TIMEOUT, BATCH_WINDOW, CACHE_TTL, DEFER_HOURS, MAX_RETRIES, Parameter, Values};
use crate::profile::Profile;
use crate::site::Learning;
use crate::store::{ParameterChange, ParameterRow, TargetKey};
use guard::Proposal;

/// What is learned about, and everything that is known about it.
pub(crate) struct Subject<'a> {
    /// The service and operation.
    pub(crate) target: &'a TargetKey,
    /// What was seen.
    pub(crate) history: &'a History,
    /// What was seen of the operation that does for many items what this one does for one.
    pub(crate) bulk: Option<&'a History>,
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
        (self.pinned)(parameter.name, after)
            || (parameter.name == ATTEMPT_TIMEOUT.name && self.values.attempt_timeout_pinned)
    }

    /// The value a move starts from: the one in force or, in shadow, the one that would be.
    pub(crate) fn before(&self, parameter: &Parameter, after: Option<FailureKind>) -> f64 {
        let in_force = || self.values.get(parameter.name, after).unwrap_or((parameter.default)(self.profile));
        match self.learning {
            Learning::Shadow => self
                .learned
                .iter()
                .find(|row| row.key.name == parameter.name && row.key.after == after)
                .map_or_else(in_force, |row| row.value),
            _ => in_force(),
        }
    }
}

type Estimator = fn(&Subject<'_>) -> Vec<Proposal>;

/// What is learned, and how: the parameter, or the first of those that are learned together. Adding one is a file and a
/// line here.
static ESTIMATORS: &[(&Parameter, Estimator)] = &[
    (&MAX_RETRIES, retries::propose),
    (&ATTEMPT_TIMEOUT, timeout::propose),
    (&CACHE_TTL, ttl::propose),
    (&BATCH_WINDOW, batch::propose),
    (&DEFER_HOURS, hours::propose),
];

/// The moves that the evidence supports, each one step; none where it supports none.
///
/// Publish each with the revision of the row it replaces, so that of two processes that learned at once one wins.
pub(crate) fn learn(subject: &Subject<'_>) -> Vec<ParameterChange> {
    learn_some(subject, "")
}

/// The same for parameters whose names begin so.
pub(crate) fn learn_some(subject: &Subject<'_>, prefix: &str) -> Vec<ParameterChange> {
    if subject.learning == Learning::Off || subject.history.is_empty() {
        return Vec::new();
    }
    ESTIMATORS
        .iter()
        .filter(|(parameter, _)| parameter.name.starts_with(prefix))
        .flat_map(|(_, propose)| propose(subject))
        .filter_map(|proposal| guard::admit(subject, proposal))
        .collect()
}
