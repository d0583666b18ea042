//! What one service is like: how long it takes, how often it fails, when it is down, how long its answers hold.

use crate::random::{SplitMix64, hash};
use statrs::distribution::{ContinuousCDF, Exp, LogNormal};
use std::time::Duration;

/// A service as its world states it.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// The service.
    pub name: &'static str,
    /// The mean time of an answer, in seconds.
    pub mean: f64,
    /// The spread of the logarithm of that time.
    pub sigma: f64,
    /// The share of attempts that fail although it is up.
    pub transient: f64,
    /// The mean length of an outage, in seconds.
    pub outage: f64,
    /// The share of all time that it is down.
    pub unavailable: f64,
    /// Hours of the day (UTC) in which it fails more often, and by which factor.
    pub hours: &'static [(u8, f64)],
    /// How long an answer holds, where it does.
    pub validity: Option<Validity>,
    /// How much less a further item of one call takes than the first.
    pub bulk: Option<f64>,
}

/// How long an answer holds: a time that is certain, and one that is drawn after it.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    /// Seconds for which it surely holds.
    pub certain: f64,
    /// The mean of the further seconds, exponentially distributed.
    pub mean: f64,
}

/// What a service that is down, or fails, does to an attempt: this share hangs, the rest fails fast.
const HANGS_DOWN: f64 = 0.4;
const HANGS_UP: f64 = 0.05;
const FAILS_DOWN_AFTER: Duration = Duration::from_millis(50);
const FAILS_UP_AFTER: Duration = Duration::from_millis(100);

/// What becomes of one attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    Answers(Duration),
    Fails(Duration),
    Hangs,
}

impl Model {
    /// How much more often than usual it fails at this second of the world.
    fn factor(&self, second: f64) -> f64 {
        let hour = (second / 3_600.0).rem_euclid(24.0) as u8;
        self.hours.iter().find(|(at, _)| *at == hour).map_or(1.0, |(_, factor)| *factor)
    }

    /// What becomes of an attempt for `items` items at a second of the world.
    pub(super) fn fate(&self, down: bool, second: f64, items: usize, chance: &mut SplitMix64) -> Fate {
        let (first, second_draw, third) = (chance.unit(), chance.unit(), chance.unit());
        if down {
            return if second_draw < HANGS_DOWN { Fate::Hangs } else { Fate::Fails(FAILS_DOWN_AFTER) };
        }
        if first < self.transient * self.factor(second) {
            return if second_draw < HANGS_UP { Fate::Hangs } else { Fate::Fails(FAILS_UP_AFTER) };
        }
        // The mean of a lognormal is e^(location + sigma^2 / 2).
        let location = self.mean.ln() - self.sigma * self.sigma / 2.0;
        let time = LogNormal::new(location, self.sigma).map_or(self.mean, |spread| spread.inverse_cdf(third));
        let share = self.bulk.map_or(1.0, |bulk| (2.0 + items as f64) / 3.0 * bulk);
        Fate::Answers(Duration::from_secs_f64(time * share))
    }
}

/// When a service is down, over the whole life of a world.
#[derive(Clone, Debug)]
pub struct Outages(Vec<(f64, f64)>);

impl Outages {
    /// Draws the outages of `seconds` of a world. They begin more often in the hours in which the service does badly.
    #[must_use]
    pub fn draw(model: &Model, seconds: f64, seed: u64) -> Self {
        let mut outages = Vec::new();
        if model.unavailable <= 0.0 {
            return Self(outages);
        }
        let mut chance = SplitMix64::of(seed, hash(model.name), 0);
        let most = model.hours.iter().map(|(_, factor)| *factor).fold(1.0, f64::max);
        let gap = model.outage * (1.0 - model.unavailable) / model.unavailable / most;
        let mut at = 0.0;
        loop {
            at += exponential(gap, chance.unit());
            if at > seconds {
                return Self(outages);
            }
            // Thinned against the hours (Lewis and Shedler 1979).
            if chance.unit() * most < model.factor(at) {
                let until = at + exponential(model.outage, chance.unit());
                outages.push((at, until));
                at = until;
            }
        }
    }

    /// Whether the service is down at this second.
    #[must_use]
    pub fn contain(&self, second: f64) -> bool {
        let after = self.0.partition_point(|(from, _)| *from <= second);
        after > 0 && second < self.0[after - 1].1
    }
}

/// A draw from the exponential distribution of a mean.
pub(super) fn exponential(mean: f64, unit: f64) -> f64 {
    Exp::new(1.0 / mean).map_or(mean, |spread| spread.inverse_cdf(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRM: Model = Model {
        name: "crm",
        mean: 0.45,
        sigma: 0.6,
        transient: 0.09,
        outage: 45.0,
        unavailable: 0.032,
        hours: &[(12, 1.4)],
        validity: None,
        bulk: None,
    };

    #[test]
    fn a_service_is_down_for_about_the_share_of_time_its_world_states() {
        let month = 30.0 * 86_400.0;
        let outages = Outages::draw(&CRM, month, 1);
        let down: f64 = outages.0.iter().map(|(from, until)| until - from).sum();
        assert!((0.025..0.042).contains(&(down / month)), "{}", down / month);
        let (from, until) = outages.0[3];
        assert!(outages.contain(from) && outages.contain((from + until) / 2.0) && !outages.contain(until));
    }

    #[test]
    fn answers_take_the_stated_time_and_fail_as_often_as_stated() {
        let mut chance = SplitMix64::new(1);
        let fates: Vec<_> = (0..20_000).map(|_| CRM.fate(false, 0.0, 1, &mut chance)).collect();
        let times: Vec<f64> = fates
            .iter()
            .filter_map(|fate| match fate {
                Fate::Answers(time) => Some(time.as_secs_f64()),
                _ => None,
            })
            .collect();
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        assert!((mean - 0.45).abs() < 0.02, "{mean}");
        let failed = 1.0 - times.len() as f64 / fates.len() as f64;
        assert!((failed - 0.09).abs() < 0.01, "{failed}");
    }
}
