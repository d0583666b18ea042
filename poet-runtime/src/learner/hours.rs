//! Learns `defer.hours`, `defer.weekdays` and `defer.monthly`: when a service fails more, by the clock on its own wall.
//!
//! What is worse is decided in [`season`] from whole days and weeks, what happens once a month in [`monthly`]. Here the
//! history is read in the service's time zone, and what was found is weighed: putting work off pays if
//! `(f_now - f_later) * value + (attempts_now - attempts_later) * call > hour_late * hours`, with f the share of calls
//! that fail after all their retries. Where a retry usually helps that is rarely so, and then the window is reported and
//! not acted on. It is paid for by what is credible of the difference, 95 % of the belief, not by its mean.
//!
//! Only days that have ended count, so that nothing is decided more often than there is evidence. Evidence are attempts
//! made by this service's own callers; probes, refusals, answers from the cache and wrong requests are none.

mod local;
mod monthly;

use super::Subject;
use super::guard::{Proposal, rounded};
use super::season::{self, Block, Effect, Views};
use crate::calendar;
use crate::parameter::{DEFER_HOURS, DEFER_MONTHLY, DEFER_WEEKDAYS, MonthlyHour, Parameter};
use crate::site::Learning;
use local::{Day, Days, Retries};
use serde_json::{Value, json};

/// Half as much is believed of a day of the week after this many weeks.
const WEEKS_HALF_LIFE: f64 = 8.0;

/// Days of the week are compared once so many weeks were seen.
const MIN_WEEKS: i32 = 8;

/// From so many of the newest days, or weeks, alone a change is seen sooner.
const NEWEST_DAYS: f64 = 14.0;
const NEWEST_WEEKS: f64 = 8.0;

/// Proposes the hours, the days of the week and the hour of the month in which work that may wait is put off.
pub(crate) fn propose(subject: &Subject<'_>) -> Vec<Proposal> {
    let days = Days::read(subject);
    let lately = &days.lately;
    if lately.len() < season::MIN_BLOCKS as usize {
        return Vec::new();
    }
    [hours(subject, lately), weekdays(subject, lately), monthly(subject, &days)].into_iter().flatten().collect()
}

/// What is proposed for slots of one kind.
struct Season<'a, const N: usize> {
    parameter: &'static Parameter,
    blocks: Vec<Block<N>>,
    half_life: f64,
    newest: f64,
    /// How long one slot lasts, in hours.
    length: f64,
    /// The retries made in a slot, and in all others.
    retries: &'a dyn Fn(usize) -> (Retries, Retries),
}

fn hours(subject: &Subject<'_>, days: &[Day]) -> Option<Proposal> {
    let newest = days.last()?.day;
    let season = Season {
        parameter: &DEFER_HOURS,
        blocks: days.iter().map(|day| Block { age: f64::from(newest - day.day), slots: day.hours }).collect(),
        half_life: season::DAYS_HALF_LIFE,
        newest: NEWEST_DAYS,
        length: 1.0,
        retries: &|slot| local::retries(days, |_, hour| hour == slot),
    };
    season.propose(subject)
}

fn weekdays(subject: &Subject<'_>, days: &[Day]) -> Option<Proposal> {
    if days.last()?.day - days.first()?.day < MIN_WEEKS * 7 - 1 {
        return None;
    }
    let blocks = local::weeks(days);
    let season = Season {
        parameter: &DEFER_WEEKDAYS,
        blocks,
        half_life: WEEKS_HALF_LIFE,
        newest: NEWEST_WEEKS,
        length: 24.0,
        retries: &|slot| local::retries(days, |day, _| usize::from(calendar::weekday(day)) == slot),
    };
    season.propose(subject)
}

impl<const N: usize> Season<'_, N> {
    /// What putting a call of this slot off to the end of its window is worth, the slots of the mask being windows.
    fn gain(&self, subject: &Subject<'_>, windows: u32, slot: usize, effect: &Effect, errors: f64) -> f64 {
        let late = self.length * f64::from(run_after(windows, slot, N)) - self.length / 2.0;
        gain(subject, effect, &(self.retries)(slot), late, errors)
    }

    fn propose(&self, subject: &Subject<'_>) -> Option<Proposal> {
        let known = Known::of(subject, self.parameter);
        let before = known.value as u32;
        let views = Views::of(&self.blocks, self.half_life, self.newest);
        let worse = views.worse(before);
        if worse | before == 0 {
            return None;
        }
        let pays: u32 = slots::<N>(worse)
            .filter(|&slot| {
                // What is acted on stays so until it does not pay; what is not must surely pay.
                let errors = if known.acted_on && before & (1 << slot) != 0 { 0.0 } else { 1.645 };
                self.gain(subject, worse, slot, &views.clearer(slot), errors) > 0.0
            })
            .fold(0, |mask, slot| mask | 1 << slot);
        // What pays is acted on; where nothing does, all that is worse is reported.
        let (target, act) = match (pays, known.acted_on) {
            (0, true) => (0, true),
            (0, false) => (worse, worse == 0),
            (pays, _) => (pays, true),
        };
        let same = target == before && (act == known.acted_on || target == 0 || subject.learning == Learning::Shadow);
        if same {
            return None;
        }
        let confidence = |slot: usize| match worse & (1 << slot) {
            0 => season::over(&views.all[slot], &views.new[slot]),
            _ => views.clearer(slot).confidence(),
        };
        let moved = if target == before { target } else { target ^ before };
        let named = if target == 0 { before } else { target };
        let shown: Vec<_> = slots::<N>(named).map(|slot| (slot, views.clearer(slot))).collect();
        let gains = shown.iter().map(|(slot, effect)| self.gain(subject, named, *slot, effect, 0.0));
        let gain = gains.sum::<f64>() / shown.len().max(1) as f64;
        let joined = joined(&shown);
        let named = self.parameter.unit.show(f64::from(named));
        Some(Proposal {
            parameter: self.parameter,
            after: None,
            // What is reported and not acted on is not in force: a move that begins to act starts from none.
            old: if act && !known.acted_on && target == before { 0.0 } else { known.value },
            new: f64::from(target),
            bounds: (self.parameter.min, self.parameter.max),
            sample: joined.blocks,
            fewest: season::MIN_BLOCKS,
            interval: joined.interval(),
            confidence: slots::<N>(moved).map(confidence).fold(1.0, f64::min),
            predicted: (act && target != 0).then_some(gain),
            act,
            reason: reason(&named, &joined, Fate::of(target, worse, act)),
            evidence: json!({
                "slots": shown.iter().map(|(slot, effect)| shown_effect(*slot, effect)).collect::<Vec<_>>(),
                "worse": self.parameter.unit.show(f64::from(worse)),
                "gain_for_each_call": rounded(gain),
            }),
        })
    }
}

fn monthly(subject: &Subject<'_>, days: &Days) -> Option<Proposal> {
    let known = Known::of(subject, &DEFER_MONTHLY);
    let rule = monthly::find(days);
    let new = rule.map_or(0.0, |rule| f64::from(rule.at.code()));
    // Without a rule the one known stays until its months are forgotten or contradict it.
    let rule = match (rule, MonthlyHour::from_code(known.value as u16)) {
        (Some(rule), _) => rule,
        (None, Some(at)) => monthly::contradicted(days, at)?,
        (None, None) => return None,
    };
    let pays = gain(subject, &rule.effect, &local::retries(&days.lately, |_, _| false), 0.5, 1.645) > 0.0;
    let act = new == 0.0 || pays;
    if new == known.value && (act == known.acted_on || subject.learning == Learning::Shadow || known.acted_on) {
        return None;
    }
    Some(Proposal {
        parameter: &DEFER_MONTHLY,
        after: None,
        old: if new == known.value { 0.0 } else { known.value },
        new,
        bounds: (DEFER_MONTHLY.min, DEFER_MONTHLY.max),
        sample: rule.effect.blocks,
        fewest: monthly::MIN_HITS,
        interval: rule.effect.interval(),
        confidence: rule.confidence,
        predicted: None,
        act,
        reason: reason(&rule.at.to_string(), &rule.effect, Fate::of(new as u32, new as u32, act)),
        evidence: json!({ "months": rule.effect.blocks, "hits": rule.effect.failing, "chance": rule.chance }),
    })
}

/// What was learned of a parameter before.
struct Known {
    value: f64,
    acted_on: bool,
}

impl Known {
    fn of(subject: &Subject<'_>, parameter: &Parameter) -> Self {
        let in_force = subject.in_force(parameter, None);
        subject.row(parameter, None).map_or(Self { value: in_force, acted_on: in_force != 0.0 }, |row| Self {
            value: row.value,
            acted_on: row.is_applied() && row.value != 0.0,
        })
    }
}

/// What putting a call off is worth: failures and attempts it saves, less what being late costs, taken so many errors
/// on the safe side.
fn gain(subject: &Subject<'_>, effect: &Effect, retries: &(Retries, Retries), late: f64, errors: f64) -> f64 {
    let utility = subject.profile.utility;
    let allowed = if retries.0.tried + retries.1.tried == 0 { 0 } else { subject.values.most_retries() };
    let inside = (effect.inside - errors * effect.error).clamp(0.0, 1.0);
    let (fails_now, attempts_now) = retries.0.of(inside, allowed);
    let (fails_later, attempts_later) = retries.1.of(effect.outside, allowed);
    (fails_now - fails_later) * utility.value + (attempts_now - attempts_later) * utility.call
        - utility.hour_late * late
}

/// Which slots a mask has.
fn slots<const N: usize>(mask: u32) -> impl Iterator<Item = usize> {
    (0..N).filter(move |slot| mask & (1 << slot) != 0)
}

/// How many slots it is from the beginning of this one to the end of its run.
fn run_after(mask: u32, slot: usize, of: usize) -> u32 {
    (0..of).take_while(|ahead| mask & (1 << ((slot + ahead) % of)) != 0).count() as u32
}

/// Several slots as one, each alike.
fn joined(slots: &[(usize, Effect)]) -> Effect {
    let n = slots.len().max(1) as f64;
    let mean = |of: fn(&Effect) -> f64| slots.iter().map(|(_, effect)| of(effect)).sum::<f64>() / n;
    Effect {
        blocks: slots.iter().map(|(_, effect)| effect.blocks).min().unwrap_or(0),
        failing: slots.iter().map(|(_, effect)| effect.failing).min().unwrap_or(0),
        worth: mean(|effect| effect.worth),
        inside: mean(|effect| effect.inside),
        outside: mean(|effect| effect.outside),
        error: mean(|effect| effect.error * effect.error).sqrt(),
        shrunk: mean(|effect| effect.shrunk),
    }
}

/// What becomes of a window.
#[derive(Clone, Copy)]
enum Fate {
    ActedOn,
    Reported,
    /// It fails no more than others do.
    Over,
    /// It does fail more, but putting off does not pay any more.
    Useless,
}

impl Fate {
    const fn of(target: u32, worse: u32, act: bool) -> Self {
        match (target, worse, act) {
            (0, 0, _) => Self::Over,
            (0, ..) => Self::Useless,
            (.., true) => Self::ActedOn,
            (.., false) => Self::Reported,
        }
    }
}

fn reason(named: &str, effect: &Effect, fate: Fate) -> String {
    let (inside, outside) = (100.0 * effect.inside, 100.0 * effect.outside);
    let seen = format!("{inside:.1} % of attempts failed in {named}, {outside:.1} % besides, over {}", effect.blocks);
    match fate {
        Fate::ActedOn => format!("{seen} of them; work that may wait is put off to the end"),
        Fate::Reported => format!("{seen} of them; putting work off does not surely pay, so this is only reported"),
        Fate::Over => format!("{seen} of them; that is no longer credibly more"),
        Fate::Useless => format!("{seen} of them; putting work off does not pay any more"),
    }
}

fn shown_effect(slot: usize, effect: &Effect) -> Value {
    let (low, high) = effect.interval();
    json!({
        "slot": slot,
        "seen": effect.blocks,
        "failed_in": effect.failing,
        "inside": rounded(effect.inside),
        "outside": rounded(effect.outside),
        "interval": [rounded(low), rounded(high)],
        "factor": rounded(effect.factor()),
    })
}

#[cfg(test)]
mod tests;
