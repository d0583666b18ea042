//! The table of parameters, and the values in force for one service and operation.

use crate::outcome::FailureKind;
use crate::profile::Profile;
use std::time::Duration;

/// One thing that can be learned: its name, unit, default and bounds.
#[derive(Debug)]
pub struct Parameter {
    /// The name in configuration, reports and the store.
    pub name: &'static str,
    /// The unit of stored values.
    pub unit: Unit,
    /// Whether it has a value for each kind of failure.
    pub per_failure: bool,
    /// The lowest value that may be learned or pinned.
    pub min: f64,
    /// The highest value that may be learned or pinned; a profile may be stricter.
    pub max: f64,
    /// How far one learned move goes at most.
    pub step: Step,
    /// The default of a profile.
    pub default: fn(&Profile) -> f64,
    /// What it is, in one sentence.
    pub about: &'static str,
}

/// How far one learned move goes at most: what it brings is seen in the evidence before the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Up or down by so much.
    By(f64),
    /// By factors, because what matters is how many times as long or as large it becomes.
    Times {
        /// Up to so many times the value before.
        up: f64,
        /// Down to the value before divided by this.
        down: f64,
        /// Below this a value is as good as none: a step down from it reaches the lower bound, and a step up from less
        /// begins with it. What no factor could do.
        least: f64,
    },
}

impl Step {
    /// Up or down by one.
    pub const ONE: Self = Self::By(1.0);

    /// Up or down by a factor of two.
    const fn twice(least: f64) -> Self {
        Self::Times { up: 2.0, down: 2.0, least }
    }
}

/// The unit of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A whole number.
    Count,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// A value of this unit as a person reads it.
    ///
    /// # Examples
    ///
    /// ```
    /// use poet_runtime::parameter::Unit;
    ///
    /// assert_eq!(Unit::Seconds.show(0.0521), "52 ms");
    /// assert_eq!(Unit::Count.show(2.0), "2");
    /// ```
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Count => format!("{value:.0}"),
            Self::Seconds if value < 0.0095 => format!("{:.1} ms", value * 1e3),
            Self::Seconds if value < 0.9995 => format!("{:.0} ms", value * 1e3),
            Self::Seconds if value < 120.0 => format!("{value:.1} s"),
            Self::Seconds => format!("{:.1} min", value / 60.0),
        }
    }
}

/// `retry.max_retries`: extra tries after a failure of one kind.
pub static MAX_RETRIES: Parameter = Parameter {
    name: "retry.max_retries",
    unit: Unit::Count,
    per_failure: true,
    min: 0.0,
    max: 10.0,
    step: Step::ONE,
    default: |profile| f64::from(profile.max_retries),
    about: "extra tries after a failed attempt, for each kind of failure apart",
};

/// `timeout.attempt`: the longest one attempt may take.
pub static ATTEMPT_TIMEOUT: Parameter = Parameter {
    name: "timeout.attempt",
    unit: Unit::Seconds,
    per_failure: false,
    min: 0.005,
    max: 300.0,
    // More down than up, because the first learned value comes down from a default chosen for the slowest of services;
    // ten seconds to fifty milliseconds are eight steps.
    step: Step::Times { up: 1.5, down: 2.0, least: 0.005 },
    default: |profile| profile.attempt_timeout.as_secs_f64(),
    about: "the longest one attempt may take",
};

/// `retry.base_delay`: the delay before the first retry.
pub static BASE_DELAY: Parameter = Parameter {
    name: "retry.base_delay",
    unit: Unit::Seconds,
    per_failure: false,
    min: 0.010,
    max: 30.0,
    step: Step::twice(0.010),
    default: |profile| profile.base_delay.as_secs_f64(),
    about: "the delay before the first retry, doubled for each further one, with full jitter",
};

/// `breaker.failure_threshold`: failures in a row that open the circuit.
pub static FAILURE_THRESHOLD: Parameter = Parameter {
    name: "breaker.failure_threshold",
    unit: Unit::Count,
    per_failure: false,
    min: 2.0,
    max: 50.0,
    step: Step::ONE,
    default: |profile| f64::from(profile.failure_threshold),
    about: "failures in a row that open the circuit",
};

/// `breaker.open_for`: how long the circuit stays open before it is probed.
pub static OPEN_FOR: Parameter = Parameter {
    name: "breaker.open_for",
    unit: Unit::Seconds,
    per_failure: false,
    min: 1.0,
    max: 1_800.0,
    step: Step::twice(1.0),
    default: |profile| profile.open_for.as_secs_f64(),
    about: "how long the circuit stays open before it is probed",
};

/// `breaker.success_threshold`: successful probes that close the circuit.
pub static SUCCESS_THRESHOLD: Parameter = Parameter {
    name: "breaker.success_threshold",
    unit: Unit::Count,
    per_failure: false,
    min: 1.0,
    max: 10.0,
    step: Step::ONE,
    default: |profile| f64::from(profile.success_threshold),
    about: "successful probes that close the circuit",
};

/// `cache.ttl`: how long an answer is fresh.
pub static CACHE_TTL: Parameter = Parameter {
    name: "cache.ttl",
    unit: Unit::Seconds,
    per_failure: false,
    min: 0.0,
    max: 86_400.0,
    step: Step::twice(1.0),
    default: |profile| profile.cache_ttl.as_secs_f64(),
    about: "how long an answer is served from the cache, where the operation is declared cacheable",
};

/// `batch.threshold`: the fewest items worth one call for all of them.
pub static BATCH_THRESHOLD: Parameter = Parameter {
    name: "batch.threshold",
    unit: Unit::Count,
    per_failure: false,
    min: 2.0,
    max: 500.0,
    step: Step::twice(2.0),
    default: |profile| f64::from(profile.batch_threshold),
    about: "the fewest calls that are made as one, where the operation has a bulk form",
};

/// `batch.window`: how long a call waits for others to join it.
pub static BATCH_WINDOW: Parameter = Parameter {
    name: "batch.window",
    unit: Unit::Seconds,
    per_failure: false,
    min: 0.0,
    max: 30.0,
    step: Step::twice(0.001),
    default: |profile| profile.batch_window.as_secs_f64(),
    about: "how long a call waits for others to be made with it",
};

/// `batch.max_size`: the most items of one call.
pub static BATCH_MAX_SIZE: Parameter = Parameter {
    name: "batch.max_size",
    unit: Unit::Count,
    per_failure: false,
    min: 2.0,
    max: 1_000.0,
    step: Step::twice(2.0),
    default: |profile| f64::from(profile.batch_max_size),
    about: "the most calls that are made as one",
};

/// Every parameter. Adding one is a `static` and a line here.
pub static ALL: &[&Parameter] = &[
    &MAX_RETRIES,
    &ATTEMPT_TIMEOUT,
    &BASE_DELAY,
    &FAILURE_THRESHOLD,
    &OPEN_FOR,
    &SUCCESS_THRESHOLD,
    &CACHE_TTL,
    &BATCH_THRESHOLD,
    &BATCH_WINDOW,
    &BATCH_MAX_SIZE,
];

/// The parameter of that name.
///
/// # Examples
///
/// ```
/// assert_eq!(poet_runtime::parameter::find("timeout.attempt").unwrap().max, 300.0);
/// ```
#[must_use]
pub fn find(name: &str) -> Option<&'static Parameter> {
    ALL.iter().copied().find(|parameter| parameter.name == name)
}

/// The values in force for one service and operation, found once and read by every call.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// Extra tries after a failure of each kind, by [`FailureKind::index`].
    pub max_retries: [u8; FailureKind::ALL.len()],
    /// The longest one attempt may take.
    pub attempt_timeout: Duration,
    /// Whether [`Values::attempt_timeout`] was pinned by a person.
    pub attempt_timeout_pinned: bool,
    /// The delay before the first retry.
    pub base_delay: Duration,
    /// The longest delay before a retry.
    pub max_delay: Duration,
    /// The longest a whole call may take.
    pub deadline: Duration,
    /// Failures in a row that open the circuit.
    pub failure_threshold: u32,
    /// How long the circuit stays open before it is probed.
    pub open_for: Duration,
    /// Successful probes that close the circuit.
    pub success_threshold: u32,
    /// How long an answer is fresh, where the operation is declared cacheable.
    pub cache_ttl: Duration,
    /// The fewest items worth one call for all of them, where the operation has a bulk form.
    pub batch_threshold: u32,
    /// How long a call waits for others to be made with it.
    pub batch_window: Duration,
    /// The most items of one call.
    pub batch_max_size: u32,
    /// The highest revision among the learned values in force; 0 where nothing was learned.
    pub revision: u64,
}

impl Values {
    /// A profile's defaults.
    #[must_use]
    pub fn of(profile: &Profile) -> Self {
        Self {
            max_retries: [profile.max_retries; FailureKind::ALL.len()],
            attempt_timeout: profile.attempt_timeout,
            attempt_timeout_pinned: false,
            base_delay: profile.base_delay,
            max_delay: profile.max_delay,
            deadline: profile.deadline,
            failure_threshold: profile.failure_threshold,
            open_for: profile.open_for,
            success_threshold: profile.success_threshold,
            cache_ttl: profile.cache_ttl,
            batch_threshold: profile.batch_threshold,
            batch_window: profile.batch_window,
            batch_max_size: profile.batch_max_size,
            revision: 0,
        }
    }

    /// Sets one parameter, clamped to its bounds. Returns `false` for a name that is not in [`ALL`].
    pub fn set(&mut self, name: &str, after: Option<FailureKind>, value: f64) -> bool {
        let Some(parameter) = find(name).filter(|_| value.is_finite()) else {
            return false;
        };
        let value = value.clamp(parameter.min, parameter.max);
        let count = value.round() as u32;
        let seconds = Duration::from_secs_f64(value);
        match parameter.name {
            "retry.max_retries" => match after {
                Some(kind) => self.max_retries[kind.index()] = count as u8,
                None => self.max_retries = [count as u8; FailureKind::ALL.len()],
            },
            "timeout.attempt" => self.attempt_timeout = seconds,
            "retry.base_delay" => self.base_delay = seconds,
            "breaker.failure_threshold" => self.failure_threshold = count,
            "breaker.open_for" => self.open_for = seconds,
            "breaker.success_threshold" => self.success_threshold = count,
            "cache.ttl" => self.cache_ttl = seconds,
            "batch.threshold" => self.batch_threshold = count,
            "batch.window" => self.batch_window = seconds,
            "batch.max_size" => self.batch_max_size = count,
            _ => return false,
        }
        true
    }

    /// The value of one parameter in its unit; `None` for a name that is not in [`ALL`].
    #[must_use]
    pub fn get(&self, name: &str, after: Option<FailureKind>) -> Option<f64> {
        Some(match name {
            "retry.max_retries" => f64::from(match after {
                Some(kind) => self.max_retries[kind.index()],
                None => self.most_retries(),
            }),
            "timeout.attempt" => self.attempt_timeout.as_secs_f64(),
            "retry.base_delay" => self.base_delay.as_secs_f64(),
            "breaker.failure_threshold" => f64::from(self.failure_threshold),
            "breaker.open_for" => self.open_for.as_secs_f64(),
            "breaker.success_threshold" => f64::from(self.success_threshold),
            "cache.ttl" => self.cache_ttl.as_secs_f64(),
            "batch.threshold" => f64::from(self.batch_threshold),
            "batch.window" => self.batch_window.as_secs_f64(),
            "batch.max_size" => f64::from(self.batch_max_size),
            _ => return None,
        })
    }

    /// The retries allowed after the kind of failure that allows most.
    #[must_use]
    pub fn most_retries(&self) -> u8 {
        self.max_retries.iter().copied().max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_can_be_set_read_and_is_within_its_bounds_by_default() {
        for parameter in ALL {
            let default = (parameter.default)(Profile::GENERAL);
            assert!((parameter.min..=parameter.max).contains(&default), "{}", parameter.name);
            let mut values = Values::of(Profile::GENERAL);
            assert_eq!(values.get(parameter.name, None), Some(default), "{}", parameter.name);
            assert!(values.set(parameter.name, None, parameter.max), "{}", parameter.name);
            assert_eq!(values.get(parameter.name, None), Some(parameter.max), "{}", parameter.name);
        }
    }

    #[test]
    fn a_value_outside_its_bounds_is_clamped_and_a_nan_refused() {
        let mut values = Values::of(Profile::GENERAL);
        assert!(values.set("timeout.attempt", None, 1e9));
        assert_eq!(values.attempt_timeout, Duration::from_secs(300));
        assert!(!values.set("timeout.attempt", None, f64::NAN));
    }

    #[test]
    fn every_name_stands_once() {
        for (i, a) in ALL.iter().enumerate() {
            assert!(ALL[i + 1..].iter().all(|b| a.name != b.name), "{}", a.name);
        }
    }
}
