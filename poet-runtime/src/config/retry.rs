//! Strategies of trying again that have a name.

use crate::parameter::{BASE_DELAY, Growth, MAX_RETRIES, Parameter, Values};
use std::time::Duration;

/// How often, and after which waits, a failed call is made again: a name for values that go together.
///
/// What a strategy says is not learned, as what is pinned is not. The delays are upper ends, drawn from in full jitter.
///
/// # Examples
///
/// ```
/// use poet_runtime::config::{RetryStrategy, ServiceConfig};
///
/// let crm = ServiceConfig::http("crm", "http://localhost:8002/mcp").retry(&RetryStrategy::NETWORK);
/// assert_eq!(crm.retry.unwrap().attempts, 4);
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct RetryStrategy {
    /// The name in configuration.
    pub name: &'static str,
    /// Attempts in all, the first one included.
    pub attempts: u8,
    /// The delay before the second attempt.
    pub base: Duration,
    /// The longest delay.
    pub longest: Duration,
    /// How delays grow from one to the next.
    pub growth: Growth,
}

impl RetryStrategy {
    /// For what is done in milliseconds: 3 attempts, 100 ms, at most 5 s.
    pub const QUICK: Self = Self {
        name: "quick",
        attempts: 3,
        base: Duration::from_millis(100),
        longest: Duration::from_secs(5),
        growth: Growth::Doubling,
    };
    /// For most: 5 attempts, 1 s, at most 30 s.
    pub const STANDARD: Self = Self {
        name: "standard",
        attempts: 5,
        base: Duration::from_secs(1),
        longest: Duration::from_secs(30),
        growth: Growth::Doubling,
    };
    /// For a line that is lost now and then: 4 attempts, 500 ms, at most 10 s.
    pub const NETWORK: Self = Self {
        name: "network",
        attempts: 4,
        base: Duration::from_millis(500),
        longest: Duration::from_secs(10),
        growth: Growth::Doubling,
    };
    /// For a service that counts calls: 3 attempts, 2 s and a second more each time, at most 30 s.
    pub const THROTTLE: Self = Self {
        name: "throttle",
        attempts: 3,
        base: Duration::from_secs(2),
        longest: Duration::from_secs(30),
        growth: Growth::By(Duration::from_secs(1)),
    };
    /// Every strategy. Adding one is a constant and a line here.
    pub const ALL: &'static [&'static Self] = &[&Self::QUICK, &Self::STANDARD, &Self::NETWORK, &Self::THROTTLE];

    /// What it holds a parameter at, in the parameter's unit; `None` where it says nothing about it.
    #[must_use]
    pub fn get(&self, parameter: &Parameter) -> Option<f64> {
        match parameter.name {
            name if name == MAX_RETRIES.name => Some(f64::from(self.attempts.saturating_sub(1))),
            name if name == BASE_DELAY.name => Some(self.base.as_secs_f64()),
            _ => None,
        }
    }

    /// Lays the strategy over values, and returns the parameters it holds.
    pub(super) fn apply(&self, values: &mut Values) -> [&'static Parameter; 2] {
        values.max_delay = self.longest;
        values.growth = self.growth;
        let held = [&MAX_RETRIES, &BASE_DELAY];
        for parameter in held {
            if let Some(value) = self.get(parameter) {
                values.set(parameter.name, None, value);
            }
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;
    use std::collections::BTreeSet;

    #[test]
    fn every_strategy_has_a_name_of_its_own_and_is_within_the_bounds_of_its_parameters() {
        let names: BTreeSet<_> = RetryStrategy::ALL.iter().map(|strategy| strategy.name).collect();
        assert_eq!(names.len(), RetryStrategy::ALL.len());
        for strategy in RetryStrategy::ALL {
            assert!(strategy.attempts > 0 && strategy.base <= strategy.longest, "{}", strategy.name);
            for parameter in [&MAX_RETRIES, &BASE_DELAY] {
                let value = strategy.get(parameter).unwrap();
                assert!((parameter.min..=parameter.max).contains(&value), "{} {}", strategy.name, parameter.name);
            }
        }
    }

    #[test]
    fn a_strategy_is_laid_over_all_of_its_values() {
        let mut values = Values::of(Profile::GENERAL);
        let held = RetryStrategy::THROTTLE.apply(&mut values).map(|parameter| parameter.name);
        assert_eq!(held, ["retry.max_retries", "retry.base_delay"]);
        assert_eq!((values.most_retries(), values.base_delay), (2, Duration::from_secs(2)));
        assert_eq!(values.max_delay, Duration::from_secs(30));
        assert_eq!(values.growth, Growth::By(Duration::from_secs(1)));
    }
}
