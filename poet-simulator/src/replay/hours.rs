//! Replays the failures of checks against what is predicted of each hour of the day.
//!
//! Every midnight the days before are read, and each check of the day is predicted the chance of its hour. It is held
//! against one constant chance from the same days, by the logarithm of what was given to what came. The hours that
//! would have been called worse in the middle of a trace are looked at again in its second half.

use super::report::{Figure, Form, Goal};
use super::traces::{self, Check};
use super::{Error, Options, Tell};
use poet_runtime::season::{self, Block, Tally};
use std::collections::BTreeMap;

/// Failed checks without which a service says nothing about hours.
const FEWEST: usize = 10;
/// Days before anything is predicted.
const FEWEST_DAYS: usize = 14;
/// The newest days by which a change is seen sooner.
const NEWEST: f64 = 14.0;
/// How much worse is no worse.
const TOLERANCE: f64 = 1.01;

/// The checks of one day by hour.
type Day = [Tally; 24];

/// What one service came to.
#[derive(Clone, Copy, Default)]
struct Loss {
    hours: f64,
    constant: f64,
    /// Hours that were called worse in the middle, and how many of them were in the second half.
    flagged: u32,
    held: u32,
}

pub(super) fn figures(options: &Options, tell: Tell<'_>) -> Result<Vec<Figure>, Error> {
    let mut losses = Vec::new();
    for path in traces::files(&options.data.join("checks"))? {
        let checks = traces::checks(&path)?;
        let days = days(&checks);
        if checks.iter().filter(|check| !check.ok).count() >= FEWEST && days.len() >= 2 * FEWEST_DAYS {
            tell(&format!("{} ({} days)", traces::name(&path), days.len()));
            losses.push(replay(&days));
        }
    }
    Ok(report(&losses))
}

fn report(losses: &[Loss]) -> Vec<Figure> {
    let ratios = || losses.iter().map(|loss| loss.hours / loss.constant);
    let no_worse = ratios().filter(|ratio| *ratio <= TOLERANCE).count();
    let better = ratios().filter(|ratio| *ratio < 0.99).count();
    let (worst, best) = ratios().fold((f64::NAN, f64::NAN), |(high, low), ratio| (ratio.max(high), ratio.min(low)));
    let predicted = Figure::new(
        "services whose hours are predicted no worse than by one rate",
        Goal::AtLeast(0.90),
        Form::Percent,
        (!losses.is_empty()).then(|| no_worse as f64 / losses.len() as f64),
        format!(
            "{no_worse} of {} within 1 %, {better} better by more than that; the log loss is between {best:.3} and {worst:.3} \
             times that of one rate",
            losses.len(),
        ),
    );
    let (flagged, held) = losses.iter().fold((0, 0), |sum, loss| (sum.0 + loss.flagged, sum.1 + loss.held));
    let kept = Figure::new(
        "hours called worse that are so later",
        Goal::AtLeast(0.90),
        Form::Percent,
        (flagged > 0).then(|| f64::from(held) / f64::from(flagged)),
        format!("{held} of {flagged} in {} services", losses.len()),
    );
    vec![predicted, kept]
}

/// The days on which there were checks, by their number since 1970, in UTC.
fn days(checks: &[Check]) -> BTreeMap<i64, Day> {
    let mut days: BTreeMap<i64, Day> = BTreeMap::new();
    for check in checks {
        let hour = check.minute.div_euclid(60);
        let tally = &mut days.entry(hour.div_euclid(24)).or_default()[hour.rem_euclid(24) as usize];
        tally.attempts += 1;
        tally.failures += u64::from(!check.ok);
    }
    days
}

fn replay(days: &BTreeMap<i64, Day>) -> Loss {
    let mut loss = Loss::default();
    let middle = *days.keys().nth(days.len() / 2).unwrap_or(&0);
    for (&day, came) in days.range(middle..) {
        let before = before(days, day);
        let hours = season::predict(&before, season::DAYS_HALF_LIFE);
        let constant = constant(&before);
        for (tally, chance) in came.iter().zip(hours) {
            loss.hours += log_loss(*tally, chance);
            loss.constant += log_loss(*tally, constant);
        }
    }
    let worse = season::worse(&before(days, middle), season::DAYS_HALF_LIFE, NEWEST, 0);
    let later = days.range(middle..).map(|(_, day)| day);
    let sum = |of: &dyn Fn(usize) -> bool| {
        later.clone().flat_map(|day| day.iter().enumerate()).filter(|(hour, _)| of(*hour)).fold(
            Tally::default(),
            |sum, (_, tally)| Tally {
                attempts: sum.attempts + tally.attempts,
                failures: sum.failures + tally.failures,
            },
        )
    };
    for hour in (0..24).filter(|hour| worse & (1 << hour) != 0) {
        loss.flagged += 1;
        loss.held += u32::from(sum(&|at| at == hour).rate() > sum(&|at| at != hour).rate());
    }
    loss
}

/// The days before one, the newest 0 days old.
fn before(days: &BTreeMap<i64, Day>, day: i64) -> Vec<Block<24>> {
    days.range(..day).map(|(at, slots)| Block { age: (day - 1 - at) as f64, slots: *slots }).collect()
}

fn constant(blocks: &[Block<24>]) -> f64 {
    let slots = || blocks.iter().flat_map(|block| block.slots);
    let failures: u64 = slots().map(|tally| tally.failures).sum();
    (failures as f64 + 0.5) / (slots().map(|tally| tally.attempts).sum::<u64>() as f64 + 1.0)
}

fn log_loss(came: Tally, chance: f64) -> f64 {
    let (bad, good) = (came.failures as f64, (came.attempts - came.failures) as f64);
    -(bad * chance.ln() + good * (1.0 - chance).ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(days: i64, fails: impl Fn(i64, i64, i64) -> bool) -> BTreeMap<i64, Day> {
        let mut checks = Vec::new();
        for (day, hour, n) in
            (0..days).flat_map(|day| (0..24).flat_map(move |hour| (0..6).map(move |n| (day, hour, n))))
        {
            let minute = (20_000 + day) * 1_440 + hour * 60 + n * 10;
            checks.push(Check { minute, ok: !fails(day, hour, n), seconds: 0.1 });
        }
        super::days(&checks)
    }

    #[test]
    fn a_nightly_restart_is_predicted_better_by_its_hour_and_called_worse() {
        let loss = replay(&trace(80, |day, hour, n| (hour == 3 && n < 2) || (day + hour) % 29 == n));
        assert!(loss.hours < 0.95 * loss.constant, "{} {}", loss.hours, loss.constant);
        assert_eq!((loss.flagged, loss.held), (1, 1));
    }

    #[test]
    fn one_long_outage_is_no_pattern() {
        let loss = replay(&trace(80, |day, hour, _| (day == 20 && hour >= 12) || (day == 60 && hour < 4)));
        assert!(loss.hours <= TOLERANCE * loss.constant, "{} {}", loss.hours, loss.constant);
        assert_eq!(loss.flagged, 0);
    }
}
