//! What one service is like: how long it takes, how it fails and how often, when it is down, how long its answers hold.

use super::load::Capacity;
use crate::random::{SplitMix64, hash};
use jiff::tz::TimeZone;
use poet_runtime::Class;
use statrs::distribution::{ContinuousCDF, Exp, LogNormal};
use std::time::Duration;

/// A service as its world states it.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The service.
    pub name: String,
    /// The mean time of an answer, in seconds.
    pub mean: f64,
    /// The spread of the logarithm of that time.
    pub sigma: f64,
    /// The share of attempts that fail although it is up.
    pub transient: f64,
    /// How they fail.
    pub failures: Failures,
    /// When it is down, by chance.
    pub down: Option<Down>,
    /// When it is down, as stated: from and until which second.
    pub outages: Vec<(f64, f64)>,
    /// How attempts fail while it is down.
    pub down_failures: Failures,
    /// Hours of the day, in its time zone, in which it fails more often, and by which factor.
    pub hours: Vec<(u8, f64)>,
    /// Where its hours are counted; `None` means UTC.
    pub timezone: Option<(String, TimeZone)>,
    /// How long an answer holds, where it does.
    pub validity: Option<Validity>,
    /// What a call for many takes beside its items, in items: of 2, ten items take four times as long as one.
    pub bulk: f64,
    /// What it can do at once, where that is bounded.
    pub capacity: Option<Capacity>,
}

/// How attempts fail: which share in which way, and after how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Failures {
    /// The ways and their shares, which sum to 1.
    pub kinds: Vec<(Way, f64)>,
    /// After how many seconds those fail that do not hang.
    pub after: f64,
}

/// One way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// There is no answer.
    Hang,
    /// There is an answer of this class.
    Class(Class),
}

impl Way {
    /// Every way with its name.
    pub const ALL: [(&'static str, Self); 6] = [
        ("hang", Self::Hang),
        ("transient", Self::Class(Class::Transient)),
        ("connect", Self::Class(Class::Network { sent: false })),
        ("lost", Self::Class(Class::Network { sent: true })),
        ("throttled", Self::Class(Class::Throttled { retry_after: None })),
        ("invalid", Self::Class(Class::Invalid)),
    ];
}

/// When a service is down, by chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Down {
    /// The mean length of an outage, in seconds.
    pub mean: f64,
    /// The share of all time that it is down.
    pub unavailable: f64,
    /// How lengths are spread about the mean.
    pub lengths: Lengths,
}

/// How the lengths of outages are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lengths {
    /// Memoryless.
    Exponential,
    /// All alike.
    Constant,
    /// Many short, few long: the longer one has lasted, the longer it still will (Lomax, exponent 2).
    Heavy,
}

/// How long an answer holds: a time that is certain, and one that is drawn after it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validity {
    /// Seconds for which it surely holds.
    pub certain: f64,
    /// The mean of the further seconds, exponentially distributed.
    pub mean: f64,
}

/// What becomes of one attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    Answers(Duration),
    Fails(Duration, Class),
    Hangs,
}

impl Failures {
    fn draw(&self, unit: f64) -> Fate {
        let mut left = unit;
        for (way, share) in &self.kinds {
            if left < *share {
                return match way {
                    Way::Hang => Fate::Hangs,
                    Way::Class(class) => Fate::Fails(Duration::from_secs_f64(self.after), *class),
                };
            }
            left -= share;
        }
        Fate::Fails(Duration::from_secs_f64(self.after), Class::Transient)
    }
}

impl Model {
    /// How much more often than usual it fails at this second of a world that began then.
    #[must_use]
    pub fn factor(&self, begin: i64, second: f64) -> f64 {
        if self.hours.is_empty() {
            return 1.0;
        }
        let hour = self.hour(begin, second);
        self.hours.iter().find(|(at, _)| *at == hour).map_or(1.0, |(_, factor)| *factor)
    }

    /// The hour of the day at a second, where the service is.
    fn hour(&self, begin: i64, second: f64) -> u8 {
        let moment = begin.div_euclid(1_000) + second as i64;
        let offset = match &self.timezone {
            Some((_, zone)) => {
                jiff::Timestamp::from_second(moment).map_or(0, |moment| i64::from(zone.to_offset(moment).seconds()))
            }
            None => 0,
        };
        ((moment + offset).rem_euclid(86_400) / 3_600) as u8
    }

    /// What becomes of an attempt for `items` items, where it fails so many times as often as usual.
    pub(super) fn fate(&self, down: bool, factor: f64, items: usize, chance: &mut SplitMix64) -> Fate {
        let (first, second, third) = (chance.unit(), chance.unit(), chance.unit());
        if down {
            return self.down_failures.draw(second);
        }
        if first < self.transient * factor {
            return self.failures.draw(second);
        }
        let time = if self.sigma > 0.0 {
            // The mean of a lognormal is e^(location + sigma^2 / 2).
            let location = self.mean.ln() - self.sigma * self.sigma / 2.0;
            LogNormal::new(location, self.sigma).map_or(self.mean, |spread| spread.inverse_cdf(third))
        } else {
            self.mean
        };
        Fate::Answers(Duration::from_secs_f64(time * (self.bulk + items as f64) / (self.bulk + 1.0)))
    }
}

impl Down {
    fn length(&self, unit: f64) -> f64 {
        match self.lengths {
            Lengths::Exponential => exponential(self.mean, unit),
            Lengths::Constant => self.mean,
            // Its mean is the scale at exponent 2.
            Lengths::Heavy => self.mean * ((1.0 - unit).powf(-0.5) - 1.0),
        }
    }
}

/// When a service is down, over the whole life of a world.
#[derive(Clone, Debug, Default)]
pub struct Outages(Vec<(f64, f64)>);

impl Outages {
    /// Draws the outages from one second of a world that began then until another. They begin more often in the hours
    /// in which the service does badly.
    #[must_use]
    pub fn draw(model: &Model, begin: i64, from: f64, until: f64, seed: u64) -> Self {
        let mut outages = Vec::new();
        if let Some(down) = &model.down {
            let mut chance = SplitMix64::of(seed, hash(&model.name), from.to_bits());
            let most = model.hours.iter().map(|(_, factor)| *factor).fold(1.0, f64::max);
            let gap = down.mean * (1.0 - down.unavailable) / down.unavailable / most;
            let mut at = from;
            loop {
                at += exponential(gap, chance.unit());
                if at > until {
                    break;
                }
                // Thinned against the hours (Lewis and Shedler 1979).
                if chance.unit() * most < model.factor(begin, at) {
                    let length = down.length(chance.unit());
                    outages.push((at, at + length));
                    at += length;
                }
            }
        }
        outages.extend(model.outages.iter().filter(|(at, _)| (from..until).contains(at)));
        Self::of(outages)
    }

    /// The outages of two periods.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        Self::of(self.0)
    }

    fn of(mut outages: Vec<(f64, f64)>) -> Self {
        outages.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut apart: Vec<(f64, f64)> = Vec::with_capacity(outages.len());
        for (from, until) in outages {
            match apart.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(until),
                _ => apart.push((from, until)),
            }
        }
        Self(apart)
    }

    /// Until when the service is down, if it is down at this second.
    #[must_use]
    pub fn until(&self, second: f64) -> Option<f64> {
        let before = self.before(second)?;
        (second < self.0[before].1).then_some(self.0[before].1)
    }

    /// The number of the newest outage that began by this second.
    #[must_use]
    pub fn before(&self, second: f64) -> Option<usize> {
        self.0.partition_point(|(from, _)| *from <= second).checked_sub(1)
    }

    /// When the outage of that number ended.
    #[must_use]
    pub fn end_of(&self, number: usize) -> f64 {
        self.0[number].1
    }
}

/// A draw from the exponential distribution of a mean.
pub(crate) fn exponential(mean: f64, unit: f64) -> f64 {
    Exp::new(1.0 / mean).map_or(mean, |spread| spread.inverse_cdf(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crm() -> Model {
        let failures = |hangs: f64, after| Failures {
            kinds: vec![(Way::Hang, hangs), (Way::Class(Class::Transient), 1.0 - hangs)],
            after,
        };
        Model {
            name: "crm".to_owned(),
            mean: 0.45,
            sigma: 0.6,
            transient: 0.09,
            failures: failures(0.05, 0.1),
            down: Some(Down { mean: 45.0, unavailable: 0.032, lengths: Lengths::Exponential }),
            outages: Vec::new(),
            down_failures: failures(0.4, 0.05),
            hours: vec![(12, 1.4)],
            timezone: None,
            validity: None,
            bulk: 0.0,
            capacity: None,
        }
    }

    #[test]
    fn a_service_is_down_for_about_the_share_of_time_its_world_states() {
        let month = 30.0 * 86_400.0;
        let outages = Outages::draw(&crm(), 0, 0.0, month, 1);
        let down: f64 = outages.0.iter().map(|(from, until)| until - from).sum();
        assert!((0.025..0.042).contains(&(down / month)), "{}", down / month);
        let (from, until) = outages.0[3];
        assert_eq!(outages.until(from), Some(until));
        assert_eq!(outages.until((from + until) / 2.0), Some(until));
        assert_eq!(outages.until(until), None);
    }

    #[test]
    fn heavy_outages_have_the_stated_mean_and_a_shorter_median() {
        let down = Down { mean: 100.0, unavailable: 0.1, lengths: Lengths::Heavy };
        let mut chance = SplitMix64::new(1);
        let mut lengths: Vec<f64> = (0..100_000).map(|_| down.length(chance.unit())).collect();
        lengths.sort_by(f64::total_cmp);
        let mean = lengths.iter().sum::<f64>() / lengths.len() as f64;
        assert!((85.0..115.0).contains(&mean), "{mean}");
        assert!((38.0..45.0).contains(&lengths[50_000]), "{}", lengths[50_000]);
    }

    #[test]
    fn outages_that_overlap_are_one() {
        let outages = Outages::of(vec![(5.0, 9.0), (0.0, 6.0), (20.0, 21.0)]);
        assert_eq!((outages.until(1.0), outages.until(20.5), outages.until(10.0)), (Some(9.0), Some(21.0), None));
    }

    #[test]
    fn answers_take_the_stated_time_and_fail_as_often_as_stated() {
        let mut chance = SplitMix64::new(1);
        let fates: Vec<_> = (0..20_000).map(|_| crm().fate(false, 1.0, 1, &mut chance)).collect();
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
        let hung = fates.iter().filter(|fate| **fate == Fate::Hangs).count() as f64 / fates.len() as f64;
        assert!((hung - 0.0045).abs() < 0.002, "{hung}");
    }

    #[test]
    fn the_hours_of_a_service_follow_its_clock_through_the_change_to_summer_time() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let model = Model { timezone: Some(("America/New_York".to_owned(), zone)), ..crm() };
        // 2024-03-09 and -11, before and after the clocks went forward.
        let (winter, summer) = (1_709_942_400_000, 1_710_115_200_000);
        assert_eq!((model.hour(winter, 17.5 * 3_600.0), model.hour(summer, 16.5 * 3_600.0)), (12, 12));
    }
}
