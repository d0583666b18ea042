//! Follows a move up: whether calls are worth more with the new value than with the last good one.
//!
//! A moved value is on trial until [`CALLS`] calls were made with it, or for a day where there are fewer. Meanwhile
//! part of the calls that do not matter much are held out and made with the last good values, and no other family of
//! parameters of the target moves, so that an effect has one cause.
//!
//! * **It goes back** as soon as it is sure to do harm: when calls with it are worth less than before, sure at any time
//!   ([`effect`](super::effect)), and the calls held out beside them say that it is not the service that became worse.
//!   What calls share (a circuit, a cache) cannot be held out, and is compared with the time before alone. A family that
//!   went back is frozen for [`FREEZE`].
//! * **It is confirmed** at the end of the trial, if nothing speaks against it. From then on it is the last good value.
//!
//! While nothing is on trial, some calls are made without any of what was learned about single calls. They say what
//! learning brings at all; should it be sure to bring a loss, it is all taken back.

use super::effect::{Difference, Effects, Worth};
use super::{Lesson, Subject};
use crate::clock::Wall;
use crate::outcome::Arm;
use crate::parameter::{self, family};
use crate::store::{ParameterChange, ParameterRow, Realised, Settlement, Standing};
use serde_json::json;
use std::time::Duration;

/// The calls of a trial.
const CALLS: f64 = 200.0;

/// Where there are fewer calls, it ends after this time.
const TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a family does not move after it did harm.
pub(crate) const FREEZE: Duration = Duration::from_secs(24 * 60 * 60);

/// The fewest calls that are held out before they say anything.
const FEWEST_HELD_OUT: f64 = 5.0;

/// How likely it must be that calls held out are worth more.
const LIKELY: f64 = 0.975;

/// Calls between two steps of a trial, or the time.
const PACE: (f64, Duration) = (20.0, Duration::from_secs(60 * 60));

/// The values of one target that are on trial together.
pub(crate) struct Trial<'a> {
    rows: Vec<&'a ParameterRow>,
    /// The newest of their revisions.
    revision: u64,
    /// The revision in force before the first of them.
    pub(crate) good: u64,
    changed: Wall,
}

/// What is to be done about a trial.
enum Verdict {
    Wait,
    Confirm(Option<Realised>),
    RollBack(Realised, String),
}

impl<'a> Trial<'a> {
    /// What is on trial at a target.
    pub(crate) fn of(subject: &Subject<'a>) -> Option<Self> {
        let rows: Vec<_> = subject.learned.iter().filter(|row| row.standing == Standing::Trial).collect();
        let newest = rows.iter().max_by_key(|row| row.revision)?;
        let (revision, changed) = (newest.revision, newest.changed);
        let good = rows.iter().filter_map(|row| row.good).map(|good| good.revision).min().unwrap_or(0);
        Some(Self { rows, revision, good, changed })
    }

    /// Whether a family may move while this is on trial.
    pub(crate) fn admits(&self, moving: &str, effects: &Effects, now: Wall) -> bool {
        let same = self.rows.iter().all(|row| family(&row.key.name) == moving);
        let seen = effects.under(self.revision, Arm::InForce).calls;
        same && (seen >= PACE.0 || now.before(PACE.1) >= self.changed)
    }

    fn is_of_one_call(&self) -> bool {
        let of = |row: &&ParameterRow| parameter::find(&row.key.name).is_some_and(parameter::Parameter::is_of_one_call);
        self.rows.iter().all(of)
    }

    fn judge(&self, subject: &Subject<'_>, effects: &Effects) -> Verdict {
        let utility = &subject.profile.utility;
        let before = effects.under(self.good, Arm::InForce);
        let held = effects.between(self.good, self.revision, Arm::HeldOut);
        let has_held = self.is_of_one_call() && held.calls >= FEWEST_HELD_OUT;
        let whole = effects.between(self.good, self.revision, Arm::InForce);
        let latest = effects.under(self.revision, Arm::InForce);
        for learned in [latest, whole] {
            let beside = learned.less(held);
            let since = learned.less(before);
            let harm = if self.is_of_one_call() {
                beside.high < 0.0
                    || (has_held && since.high < 0.0 && learned.is_worse_than(held) >= LIKELY)
                    || (has_held && learned.calls >= CALLS && learned.is_worse_than(held) >= LIKELY)
            } else {
                since.high < 0.0
            };
            if harm {
                let (difference, compared, with) = if has_held {
                    (beside, held, "that were held out with the last good values")
                } else {
                    (since, before, "before it moved")
                };
                let realised = difference.realised(utility, learned.calls, compared.calls);
                let reason = lost("the value", &realised, with);
                return Verdict::RollBack(realised, reason);
            }
        }
        let is_over = latest.calls >= CALLS || subject.now.before(TIME) >= self.changed;
        if !is_over {
            return Verdict::Wait;
        }
        let compared = if has_held { held } else { before };
        let known = latest.calls > 0.0 && compared.calls > 0.0;
        let difference: Difference = latest.less(compared);
        Verdict::Confirm(known.then(|| difference.realised(utility, latest.calls, compared.calls)))
    }
}

/// Ends what has to end; `true` if it went back, and nothing else is to be done now.
pub(crate) fn follow_up(
    subject: &Subject<'_>,
    on_trial: Option<&Trial<'_>>,
    effects: &Effects,
    lesson: &mut Lesson,
) -> bool {
    let Some(trial) = on_trial else {
        return take_all_back(subject, effects, lesson);
    };
    match trial.judge(subject, effects) {
        Verdict::Wait => false,
        Verdict::Confirm(realised) => {
            lesson.settle(trial.rows.iter().map(|row| row.revision), Standing::Confirmed, realised);
            false
        }
        Verdict::RollBack(realised, reason) => {
            for row in &trial.rows {
                let good = row.good.map_or(row.value, |good| good.value);
                lesson.moves.push(back(subject, row, good, Standing::RolledBack, &realised, &reason));
            }
            lesson.settle(trial.rows.iter().map(|row| row.revision), Standing::RolledBack, Some(realised));
            true
        }
    }
}

/// Takes back all that was learned about single calls, where that is sure to be a loss.
fn take_all_back(subject: &Subject<'_>, effects: &Effects, lesson: &mut Lesson) -> bool {
    let (learned, unlearned): (Worth, Worth) = effects.of_learning();
    let difference = learned.less(unlearned);
    if difference.high >= 0.0 || unlearned.calls < FEWEST_HELD_OUT {
        return false;
    }
    let realised = difference.realised(&subject.profile.utility, learned.calls, unlearned.calls);
    let reason = lost("what was learned", &realised, "without it");
    let of_one_call = |row: &&ParameterRow| {
        let known = parameter::find(&row.key.name);
        known.is_some_and(parameter::Parameter::is_of_one_call) && matches!(row.standing, Standing::Confirmed)
    };
    let rows: Vec<_> = subject.learned.iter().filter(of_one_call).collect();
    for row in &rows {
        let default = parameter::find(&row.key.name).map_or(row.value, |known| (known.default)(subject.profile));
        lesson.moves.push(back(subject, row, default, Standing::Reset, &realised, &reason));
    }
    !rows.is_empty()
}

/// Why something goes back.
fn lost(what: &str, realised: &Realised, compared_with: &str) -> String {
    format!(
        "{} calls with {what} were worth {:.3} less each than {} calls {compared_with}; it does not move for {} h",
        realised.calls,
        -realised.gain,
        realised.compared,
        FREEZE.as_secs() / 3_600,
    )
}

fn back(
    subject: &Subject<'_>,
    row: &ParameterRow,
    value: f64,
    standing: Standing,
    realised: &Realised,
    reason: &str,
) -> ParameterChange {
    let evidence = json!({
        "gain": realised.gain,
        "interval": [realised.interval.0, realised.interval.1],
        "calls": realised.calls,
        "compared": realised.compared,
        "rolled_back": row.revision,
    });
    ParameterChange {
        old: Some(row.value),
        new: ParameterRow {
            value,
            standing,
            good: None,
            sample: realised.calls,
            interval: realised.interval,
            confidence: 1.0 - super::effect::ALPHA,
            predicted: None,
            reason: reason.to_owned(),
            evidence: evidence.to_string(),
            changed: subject.now,
            revision: 0,
            ..row.clone()
        },
        realised: None,
    }
}

/// Whether a family did harm, or was reset by a person, so lately that it does not move.
pub(crate) fn is_frozen(subject: &Subject<'_>, moving: &str) -> bool {
    subject.learned.iter().any(|row| {
        family(&row.key.name) == moving
            && matches!(row.standing, Standing::RolledBack | Standing::Reset | Standing::Forgotten)
            && subject.now.before(FREEZE) < row.changed
    })
}

impl Lesson {
    fn settle(&mut self, revisions: impl Iterator<Item = u64>, standing: Standing, realised: Option<Realised>) {
        self.settled.extend(revisions.map(|revision| Settlement { revision, standing, realised }));
    }
}
