//! Finds the hour that fails once a month: an hour of the n-th, or last, such day of the week.
//!
//! There are 840 such hours, each seen once a month, so nearly any history has one that looks bad. An hour is a hit if it
//! failed three times as often as its service usually does, and more than chance allows; how often any hour is a hit is
//! counted. A rule is an hour that was one in six of the last eight months, where so many hits by chance would happen
//! less than once in ten thousand histories, all 840 hours considered.

use super::local::Days;
use crate::calendar::{place_in_month, weekday};
use crate::learner::season::{Effect, Tally};
use crate::parameter::MonthlyHour;
use statrs::distribution::{Binomial, DiscreteCDF};
use std::collections::{BTreeMap, HashMap};

/// The fewest hits of a rule.
pub(super) const MIN_HITS: u64 = 6;

/// Of so many of its newest months.
const MONTHS: usize = 8;

/// The most likely that so many hits may be by chance, over all hours.
const CHANCE: f64 = 1e-4;

/// An hour that fails this many times as often as usual is a hit.
const TIMES: f64 = 3.0;

/// A rule, and what it rests on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) at: MonthlyHour,
    /// Blocks are months, failing ones hits.
    pub(super) effect: Effect,
    /// How likely so many hits are by chance, over all hours.
    pub(super) chance: f64,
    pub(super) confidence: f64,
}

/// The hour that is worse once a month, if there is one; of several that of which this is surest.
pub(super) fn find(days: &Days) -> Option<Rule> {
    let months = Months::of(days)?;
    let rules = months.seen.keys().filter_map(|code| months.rule(*code));
    rules.filter(|rule| rule.chance < CHANCE && rule.effect.failing >= MIN_HITS).min_by(|a, b| {
        // The least likely; on a tie the earlier hour, so that the answer does not depend on the order of a map.
        a.chance.total_cmp(&b.chance).then(a.at.code().cmp(&b.at.code()))
    })
}

/// What is known against a rule that was found before; `None` while its months bear it out.
pub(super) fn contradicted(days: &Days, at: MonthlyHour) -> Option<Rule> {
    let months = Months::of(days)?;
    let rule = months.rule(at.code())?;
    // Half of the months of a rule without a hit, and it is none.
    (rule.effect.failing * 2 <= rule.effect.blocks).then_some(Rule { confidence: 0.95, ..rule })
}

struct Months {
    /// By code of the hour, the newest month first.
    seen: HashMap<u16, Vec<(Tally, bool)>>,
    usual: f64,
    /// The share of hours that are hits.
    hits: f64,
}

impl Months {
    fn of(days: &Days) -> Option<Self> {
        let mut all = Tally::default();
        days.all().flat_map(|day| day.hours).for_each(|tally| all.add(tally));
        let usual = all.rate();
        if all.failures == 0 {
            return None;
        }
        let mut by_month: HashMap<u16, BTreeMap<i32, (Tally, bool)>> = HashMap::new();
        let (mut hours, mut hits) = (0.0, 0.0);
        for day in days.all() {
            let Some((month, nth, last)) = place_in_month(day.day) else { continue };
            for (hour, tally) in day.hours.iter().enumerate().filter(|(_, tally)| tally.attempts > 0) {
                let hit = is_hit(*tally, usual);
                hours += 1.0;
                hits += f64::from(u8::from(hit));
                let weeks = [(nth <= 4).then_some(nth), last.then_some(5)];
                for week in weeks.into_iter().flatten() {
                    let at = MonthlyHour { week, weekday: weekday(day.day), hour: hour as u8 };
                    by_month.entry(at.code()).or_default().insert(month, (*tally, hit));
                }
            }
        }
        let seen = by_month.into_iter().map(|(code, months)| (code, months.into_values().rev().take(MONTHS).collect()));
        // One more of each, so that what was never seen is not impossible.
        Some(Self { seen: seen.collect(), usual, hits: (hits + 1.0) / (hours + 2.0) })
    }

    fn rule(&self, code: u16) -> Option<Rule> {
        let months = self.seen.get(&code)?;
        let hits = months.iter().filter(|(_, hit)| *hit).count() as u64;
        let by_chance = Binomial::new(self.hits.clamp(0.0, 1.0), months.len() as u64).ok()?;
        let tail = if hits == 0 { 1.0 } else { by_chance.sf(hits - 1) };
        let chance = (tail * f64::from(MonthlyHour::MAX)).min(1.0);
        let rates: Vec<f64> = months.iter().map(|(tally, _)| tally.rate()).collect();
        let n = rates.len() as f64;
        let inside = rates.iter().sum::<f64>() / n;
        let variance = rates.iter().map(|rate| (rate - inside).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        let effect = Effect {
            blocks: rates.len() as u64,
            failing: hits,
            worth: n,
            inside,
            outside: self.usual,
            error: (variance / n).sqrt().max(1e-3),
            shrunk: 1.0,
        };
        Some(Rule { at: MonthlyHour::from_code(code)?, effect, chance, confidence: 1.0 - chance })
    }
}

/// Whether so many failures are more than three times as many as usual, and more than chance makes of few attempts.
fn is_hit(tally: Tally, usual: f64) -> bool {
    if tally.failures < 2 || tally.rate() < TIMES * usual {
        return false;
    }
    Binomial::new(usual.clamp(0.0, 1.0), tally.attempts).is_ok_and(|chance| chance.sf(tally.failures - 1) < 0.01)
}
