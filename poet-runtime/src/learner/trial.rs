//! Follows a move up: whether calls are worth more with the new value than with the last good one.
//!
//! A moved value is on trial until [`CALLS`] calls were made with it, three times as many where it looks like harm, or
//! for a day where there are fewer. Meanwhile part of the calls that do not matter much are held out and made with the
//! last good values, and no other family of parameters of the target moves, so that an effect has one cause.
//!
//! * **It goes no further** while calls with it look worth less than those held out beside them.
//! * **It goes back** as soon as it is sure to do harm: calls with it are surely worth less than those held out, which
//!   say that it is not the service that became worse. Or as soon as the circuit has refused more calls than it let pass:
//!   then waiting to be sure costs every one of them, and going back next to nothing. What calls share (a
//!   circuit, a cache) cannot be held out, and is compared with the time before alone; there calls that meet the same
//!   outage count as one, since whether one comes before a move or after it is chance. A family that went back is frozen
//!   for [`FREEZE`].
//! * **It is confirmed** at the end of the trial, if nothing speaks against it. From then on it is the last good value.
//!
//! While nothing is on trial, some calls are made without any of what was learned about single calls. They say what
//! learning brings at all; should it be sure to bring a loss, it is all taken back.

use super::became;
use super::effect::{Difference, Effects, Worth};
use super::{Lesson, Subject};
use crate::clock::Wall;
use crate::outcome::Arm;
use crate::parameter::{self, OPEN_FOR, family};
use crate::profile::Utility;
use crate::store::{ParameterChange, ParameterRow, Realised, Settlement, Standing};
use serde_json::json;
use std::time::Duration;

/// The calls of a trial.
const CALLS: f64 = 200.0;

/// Where there are fewer calls, it ends after this time.
const TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a family does not move after it did harm.
pub(crate) const FREEZE: Duration = Duration::from_secs(24 * 60 * 60);

/// The fewest calls, with a value or held out beside it, that say anything.
const FEWEST: f64 = 4.0;

/// How likely it must be that calls held out are worth more: at the end of the trial, or where the time before says so
/// too; at any of the dozen times that a trial is looked at; and to take no further step for now.
const LIKELY: f64 = 0.99;
const SURE: f64 = 0.998;
const SUSPECT: f64 = 0.9;

/// Calls between two steps of a trial, or the time.
const PACE: (f64, Duration) = (20.0, Duration::from_secs(60 * 60));

/// Where the evidence of a row that went back says that only the time before spoke against it.
const BY_BEFORE: &str = "by_time_before";

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
    RollBack(Realised, Beside),
}

/// What calls with a value were compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Beside {
    /// Calls with the last good values, made at the same time.
    HeldOut,
    /// Calls made before it moved.
    Before,
    /// Calls made without anything that was learned.
    Unlearned,
}

impl Beside {
    fn in_words(self) -> &'static str {
        match self {
            Self::HeldOut => "that were held out with the last good values",
            Self::Before => "before it moved",
            Self::Unlearned => "without it",
        }
    }
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

    /// Whether a family may move while this is on trial: the same one, after some calls that do not look like harm.
    pub(crate) fn admits(&self, moving: &str, effects: &Effects, now: Wall) -> bool {
        let same = self.rows.iter().all(|row| family(&row.key.name) == moving);
        let seen = self.compared(effects.under(self.revision, Arm::InForce)).calls;
        same && (seen >= PACE.0 || now.before(PACE.1) >= self.changed) && !self.is_suspect(effects)
    }

    /// Whether it looks like harm: too little to go back, and too much to go on.
    fn is_suspect(&self, effects: &Effects) -> bool {
        let beside = self.held_out(effects).filter(|_| self.is_of_one_call());
        let size = self.cluster(effects);
        let compared = beside.unwrap_or_else(|| self.before(effects)).in_clusters_of(size);
        self.lately(effects).into_iter().any(|learned| learned.in_clusters_of(size).is_worse_than(compared) >= SUSPECT)
    }

    /// How many calls tell as much as one of them. Those that are held out meet the outages that others meet; those of
    /// another time meet other ones.
    fn cluster(&self, effects: &Effects) -> f64 {
        if self.is_of_one_call() { 1.0 } else { effects.calls_of_an_outage(self.changed.hour()) }
    }

    /// The calls with the last good values, before it moved.
    fn before(&self, effects: &Effects) -> Worth {
        self.compared(effects.under(self.good, Arm::InForce))
    }

    /// The calls with the last good values, since it moved; `None` where they are too few to say anything.
    fn held_out(&self, effects: &Effects) -> Option<Worth> {
        let held = effects.between(self.good, self.revision, Arm::HeldOut);
        (held.calls >= FEWEST).then_some(held)
    }

    /// The calls since the newest step, since the one before it, and so on: what the newest does shall not be lost among
    /// those that did nothing.
    fn lately(&self, effects: &Effects) -> Vec<Worth> {
        let lately = effects.latest(self.good, self.revision, Arm::InForce);
        lately.into_iter().map(|worth| self.compared(worth)).collect()
    }

    /// A circuit that a call opens refuses those that are held out as well: only where the circuit, or the queue, is
    /// itself on trial do calls count that never reached the service.
    fn compared(&self, worth: Worth) -> Worth {
        if self.is_of_one_call() { worth } else { worth.with_refused() }
    }

    fn is_of_one_call(&self) -> bool {
        let of = |row: &&ParameterRow| parameter::find(&row.key.name).is_some_and(parameter::Parameter::is_of_one_call);
        self.rows.iter().all(of)
    }

    /// Whether it says when calls are kept from the service.
    fn is_of_circuit(&self) -> bool {
        self.rows.iter().all(|row| family(&row.key.name) == OPEN_FOR.family())
    }

    /// What it loses where the circuit has refused half as many calls again since the newest step as it let pass, so that few
    /// are left to compare, and more than outages do as the service always had them. That those which passed went well clears
    /// nothing: what opens a circuit is how attempts end, and a retry may have mended every one of them. To wait for more
    /// calls would cost all the others, and if it is the service that is down, going back costs next to nothing.
    fn refuses(&self, effects: &Effects, utility: &Utility) -> Option<Realised> {
        let latest = effects.under(self.revision, Arm::InForce);
        let usual = effects.calls_of_an_outage(self.changed.hour());
        if latest.refused() < (1.5 * latest.calls).max(2.0 * PACE.0).max(4.0 * usual) {
            return None;
        }
        let (all, before) = (latest.with_refused(), effects.under(self.good, Arm::InForce).with_refused());
        (all.is_worse_than(before) >= SURE).then(|| all.less(before).realised(utility, all.calls, before.calls))
    }

    fn judge(&self, subject: &Subject<'_>, effects: &Effects) -> Verdict {
        let utility = &subject.profile.utility;
        let (before, held) = (self.before(effects), self.held_out(effects));
        let beside = held.filter(|_| self.is_of_one_call());
        // Without calls beside it nothing says that it is not the service that became worse.
        let comparable = beside.is_some() || !self.is_of_one_call();
        let compared = beside.unwrap_or(before);
        let fewest = if beside.is_some() { FEWEST } else { PACE.0 };
        let size = self.cluster(effects);
        let lately = self.lately(effects).into_iter().filter(|learned| comparable && learned.calls >= fewest);
        for learned in lately {
            let [told, by, by_before] = [learned, compared, before].map(|worth| worth.in_clusters_of(size));
            let worse = told.is_worse_than(by);
            let is_sure = || worse >= SURE || told.less(by).high < 0.0;
            let is_old = || learned.calls >= CALLS || told.less(by_before).high < 0.0;
            if worse >= LIKELY && (is_sure() || (beside.is_some() && is_old())) {
                let realised = learned.less(compared).realised(utility, learned.calls, compared.calls);
                return Verdict::RollBack(realised, if beside.is_some() { Beside::HeldOut } else { Beside::Before });
            }
        }
        if let Some(realised) = self.refuses(effects, utility) {
            return Verdict::RollBack(realised, Beside::Before);
        }
        let latest = effects.under(self.revision, Arm::InForce);
        let is_told = latest.calls >= CALLS && (!self.is_suspect(effects) || latest.calls >= 3.0 * CALLS);
        // A circuit that kept nobody from the service has not mattered, and others need not wait a day for that.
        let has_mattered = !self.is_of_circuit() || latest.refused() > 0.0;
        let time = if has_mattered { TIME } else { PACE.1 };
        let is_over = is_told || subject.now.before(time) >= self.changed;
        if !is_over {
            return Verdict::Wait;
        }
        let compared = beside.unwrap_or(before);
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
        Verdict::RollBack(realised, beside) => {
            let reason = lost("the value", &realised, beside);
            for row in &trial.rows {
                let good = row.good.map_or(row.value, |good| good.value);
                lesson.moves.push(back(subject, row, good, Standing::RolledBack, beside, &realised, &reason));
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
    if difference.high >= 0.0 || unlearned.calls < FEWEST {
        return false;
    }
    let realised = difference.realised(&subject.profile.utility, learned.calls, unlearned.calls);
    let reason = lost("what was learned", &realised, Beside::Unlearned);
    let of_one_call = |row: &&ParameterRow| {
        let known = parameter::find(&row.key.name);
        known.is_some_and(parameter::Parameter::is_of_one_call) && matches!(row.standing, Standing::Confirmed)
    };
    let rows: Vec<_> = subject.learned.iter().filter(of_one_call).collect();
    for row in &rows {
        let default = parameter::find(&row.key.name).map_or(row.value, |known| (known.default)(subject.profile));
        lesson.moves.push(back(subject, row, default, Standing::Reset, Beside::Unlearned, &realised, &reason));
    }
    !rows.is_empty()
}

/// Why something goes back.
fn lost(what: &str, realised: &Realised, beside: Beside) -> String {
    format!(
        "{} calls with {what} were worth {:.3} less each than {} calls {}; it does not move for {} h",
        realised.calls,
        -realised.gain,
        realised.compared,
        beside.in_words(),
        FREEZE.as_secs() / 3_600,
    )
}

fn back(
    subject: &Subject<'_>,
    row: &ParameterRow,
    value: f64,
    standing: Standing,
    beside: Beside,
    realised: &Realised,
    reason: &str,
) -> ParameterChange {
    let evidence = json!({
        "gain": realised.gain,
        "interval": [realised.interval.0, realised.interval.1],
        "calls": realised.calls,
        "compared": realised.compared,
        "rolled_back": row.revision,
        BY_BEFORE: beside == Beside::Before,
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
///
/// Some went back only because calls were worth less than before. Where they are worth no more since, it was the service
/// that had become worse, and the family is free again.
pub(crate) fn is_frozen(subject: &Subject<'_>, effects: &Effects, moving: &str) -> bool {
    let did_harm = |row: &ParameterRow| {
        let of = |revision| effects.under(revision, Arm::InForce).with_refused();
        let since = of(row.revision);
        let size = effects.calls_of_an_outage(row.changed.hour());
        match went_back_by_before(row).filter(|_| since.calls >= PACE.0) {
            Some(trial) => of(trial).in_clusters_of(size).is_worse_than(since.in_clusters_of(size)) >= SUSPECT,
            None => true,
        }
    };
    subject.learned.iter().any(|row| {
        family(&row.key.name) == moving
            && matches!(row.standing, Standing::RolledBack | Standing::Reset | Standing::Forgotten)
            && subject.now.before(FREEZE) < row.changed
            && !became::is_of_another(row)
            && did_harm(row)
    })
}

/// The revision that a row went back from, if only the time before spoke against it.
fn went_back_by_before(row: &ParameterRow) -> Option<u64> {
    row.evidence_of(BY_BEFORE)?.as_bool()?.then(|| row.evidence_of("rolled_back")?.as_u64())?
}

impl Lesson {
    fn settle(&mut self, revisions: impl Iterator<Item = u64>, standing: Standing, realised: Option<Realised>) {
        self.settled.extend(revisions.map(|revision| Settlement { revision, standing, realised }));
    }
}
