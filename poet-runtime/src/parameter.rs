//! The table of parameters, and the values in force for one service and operation.

use crate::outcome::FailureKind;
use crate::profile::Profile;
use std::fmt;
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
    /// What was estimated, where that is a share and no value of the parameter.
    pub share: Option<&'static str>,
}

impl Parameter {
    /// What is learned, tried and frozen together: the part of the name before the dot.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(poet_runtime::parameter::ATTEMPT_TIMEOUT.family(), "timeout");
    /// ```
    #[must_use]
    pub fn family(&self) -> &'static str {
        family(self.name)
    }

    /// Whether calls made with one value and calls made with another can be compared side by side. What calls share
    /// (the circuit, the cache, batches, places) can only be compared with the time before.
    #[must_use]
    pub fn is_of_one_call(&self) -> bool {
        matches!(self.family(), "retry" | "timeout" | "hedge")
    }
}

/// The family of the parameter of that name.
pub(crate) fn family(name: &str) -> &str {
    name.split_once('.').map_or(name, |(family, _)| family)
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
    /// To wherever the evidence says: for what is switched on or off, or stands in no order.
    Any,
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
    /// A factor, or a share of one.
    Factor,
    /// Hours of the day: bit 0 is midnight to one o'clock.
    Hours,
    /// Days of the week: bit 0 is Monday.
    Weekdays,
    /// An hour of a day of the week in a week of the month, from [`MonthlyHour::code`]; 0 is none.
    MonthlyHour,
}

/// One hour once a month: an hour of the n-th such day of the week.
///
/// # Examples
///
/// ```
/// use poet_runtime::parameter::MonthlyHour;
///
/// let first_saturday = MonthlyHour { week: 1, weekday: 5, hour: 2 };
/// assert_eq!(MonthlyHour::from_code(first_saturday.code()), Some(first_saturday));
/// assert_eq!(first_saturday.to_string(), "first sat 02:00-03:00");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MonthlyHour {
    /// 1 to 4: the n-th such day of the month; 5: the last one.
    pub week: u8,
    /// 0 is Monday.
    pub weekday: u8,
    /// 0 to 23.
    pub hour: u8,
}

impl MonthlyHour {
    /// The largest code.
    pub const MAX: u16 = 5 * 168;

    /// The number it is stored as, from 1.
    #[must_use]
    pub const fn code(self) -> u16 {
        1 + (self.week as u16 - 1) * 168 + self.weekday as u16 * 24 + self.hour as u16
    }

    /// What a code stands for; `None` for 0 and for what is none.
    #[must_use]
    pub const fn from_code(code: u16) -> Option<Self> {
        if code == 0 || code > Self::MAX {
            return None;
        }
        let code = code - 1;
        Some(Self { week: (code / 168) as u8 + 1, weekday: (code % 168 / 24) as u8, hour: (code % 24) as u8 })
    }
}

impl fmt::Display for MonthlyHour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let week = ["first", "second", "third", "fourth", "last"][usize::from(self.week.clamp(1, 5)) - 1];
        let day = DAYS[usize::from(self.weekday % 7)];
        write!(f, "{week} {day} {:02}:00-{:02}:00", self.hour, self.hour + 1)
    }
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Runs of set bits, as half-open ranges.
fn runs(mask: u32, bits: u32) -> impl Iterator<Item = (u32, u32)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bits && mask & (1 << at) == 0 {
            at += 1;
        }
        let from = at;
        while at < bits && mask & (1 << at) != 0 {
            at += 1;
        }
        (at > from).then_some((from, at))
    })
}

fn none_or(parts: &[String]) -> String {
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
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
    /// assert_eq!(Unit::Hours.show(f64::from(0b11_0000_0000_0000u32)), "12:00-14:00");
    /// assert_eq!(Unit::Weekdays.show(96.0), "sat, sun");
    /// ```
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Count => format!("{value:.0}"),
            Self::Factor => format!("{value:.2}"),
            Self::Hours => {
                let hours = runs(value as u32, 24).map(|(from, until)| format!("{from:02}:00-{until:02}:00"));
                none_or(&hours.collect::<Vec<_>>())
            }
            Self::Weekdays => {
                let days = (0..7).filter(|day| value as u32 & (1 << day) != 0);
                none_or(&days.map(|day| DAYS[day].to_owned()).collect::<Vec<_>>())
            }
            Self::MonthlyHour => {
                MonthlyHour::from_code(value as u16).map_or_else(|| "none".to_owned(), |hour| hour.to_string())
            }
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
    share: Some("chance of success"),
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
    share: None,
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
    share: None,
};

/// `breaker.failure_threshold`: failures of one kind in a row that open the circuit.
pub static FAILURE_THRESHOLD: Parameter = Parameter {
    name: "breaker.failure_threshold",
    unit: Unit::Count,
    per_failure: true,
    min: 2.0,
    max: 50.0,
    // A service that fails half the time by chance is twenty steps of one away, and each step takes its trial.
    step: Step::twice(2.0),
    default: |profile| f64::from(profile.failure_threshold),
    about: "failures in a row that open the circuit, for each kind of failure apart; of several kinds each counts its share",
    share: Some("of attempts fail so while the service is up"),
};

/// `breaker.success_credit`: how much of what opens the circuit one success takes back.
pub static SUCCESS_CREDIT: Parameter = Parameter {
    name: "breaker.success_credit",
    unit: Unit::Factor,
    per_failure: false,
    min: 0.05,
    max: 1.0,
    step: Step::Any,
    default: |_| 1.0,
    about: "how much of what opens the circuit one success takes back; 1: all of it",
    share: Some("of probes succeed although the service is down"),
};

/// `breaker.open_for`: how long the circuit stays open before it is probed for the first time.
pub static OPEN_FOR: Parameter = Parameter {
    name: "breaker.open_for",
    unit: Unit::Seconds,
    per_failure: false,
    min: 1.0,
    max: 1_800.0,
    // What suits services is between a second and an hour, and outages are rare. Asking too early costs a call a wait,
    // asking too late all that come meanwhile.
    step: Step::Times { up: 4.0, down: 8.0, least: 1.0 },
    default: |profile| profile.open_for.as_secs_f64(),
    about: "how long the circuit stays open before it is first probed",
    share: None,
};

/// `breaker.open_ratio`: how long the second wait is, as a multiple of the first.
pub static OPEN_RATIO: Parameter = Parameter {
    name: "breaker.open_ratio",
    unit: Unit::Factor,
    per_failure: false,
    min: 0.1,
    max: 4.0,
    step: Step::Any,
    default: |_| 1.0,
    about: "how long the circuit stays open after the first probe that failed, as a multiple of `breaker.open_for`",
    share: None,
};

/// `breaker.open_growth`: the power of the time it has been open with which the waits between probes grow.
pub static OPEN_GROWTH: Parameter = Parameter {
    name: "breaker.open_growth",
    unit: Unit::Factor,
    per_failure: false,
    min: 0.0,
    max: 1.25,
    step: Step::Any,
    default: |_| 0.0,
    about: "the power of the time it has been open with which the waits between probes grow, up to 2 h; 0: they stay, 0.5: \
            as its square root, 1: each is as long as all before it",
    share: None,
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
    share: Some("of probes succeed although the service is down"),
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
    share: Some("of the hits are out of date"),
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
    share: None,
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
    share: None,
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
    share: None,
};

/// `hedge.delay`: how long an attempt is waited for before a second copy of it is sent; 0: none is.
pub static HEDGE_DELAY: Parameter = Parameter {
    name: "hedge.delay",
    unit: Unit::Seconds,
    per_failure: false,
    min: 0.0,
    max: 60.0,
    step: Step::Any,
    default: |_| 0.0,
    about: "how long an attempt of a repeatable operation is waited for before a second one races it; 0: never",
    share: None,
};

/// `concurrency.limit`: attempts under way at once.
pub static CONCURRENCY_LIMIT: Parameter = Parameter {
    name: "concurrency.limit",
    unit: Unit::Count,
    per_failure: false,
    min: 1.0,
    max: 1_024.0,
    step: Step::Times { up: 1.5, down: 1.5, least: 1.0 },
    default: |profile| f64::from(profile.concurrency_limit),
    about: "attempts of the operation that are under way at once; others wait for their turn, within their deadline",
    share: None,
};

/// `defer.hours`: hours of the day in which calls that may wait are put off.
pub static DEFER_HOURS: Parameter = Parameter {
    name: "defer.hours",
    unit: Unit::Hours,
    per_failure: false,
    min: 0.0,
    max: 16_777_215.0,
    step: Step::Any,
    default: |_| 0.0,
    about: "hours of the day, in the service's time zone, in which calls that may wait are put off",
    share: Some("of attempts fail in these hours"),
};

/// `defer.weekdays`: days of the week on which calls that may wait are put off.
pub static DEFER_WEEKDAYS: Parameter = Parameter {
    name: "defer.weekdays",
    unit: Unit::Weekdays,
    per_failure: false,
    min: 0.0,
    max: 127.0,
    step: Step::Any,
    default: |_| 0.0,
    about: "days of the week, in the service's time zone, on which calls that may wait are put off",
    share: Some("of attempts fail on these days"),
};

/// `defer.monthly`: the hour of the month in which calls that may wait are put off.
pub static DEFER_MONTHLY: Parameter = Parameter {
    name: "defer.monthly",
    unit: Unit::MonthlyHour,
    per_failure: false,
    min: 0.0,
    max: MonthlyHour::MAX as f64,
    step: Step::Any,
    default: |_| 0.0,
    about: "the hour once a month, in the service's time zone, in which calls that may wait are put off",
    share: Some("of attempts fail in this hour"),
};

/// Every parameter. Adding one is a `static` and a line here.
pub static ALL: &[&Parameter] = &[
    &MAX_RETRIES,
    &ATTEMPT_TIMEOUT,
    &BASE_DELAY,
    &FAILURE_THRESHOLD,
    &SUCCESS_CREDIT,
    &OPEN_FOR,
    &OPEN_RATIO,
    &OPEN_GROWTH,
    &SUCCESS_THRESHOLD,
    &CACHE_TTL,
    &BATCH_THRESHOLD,
    &BATCH_WINDOW,
    &BATCH_MAX_SIZE,
    &HEDGE_DELAY,
    &CONCURRENCY_LIMIT,
    &DEFER_HOURS,
    &DEFER_WEEKDAYS,
    &DEFER_MONTHLY,
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

/// How delays grow from one retry to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Growth {
    /// Each is twice as long as the one before.
    #[default]
    Doubling,
    /// Each is longer than the one before by so much: whole milliseconds, from one of them to a minute.
    By(Duration),
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
    /// Whether a sign of life lets the time for one attempt begin anew.
    pub progress_extends: bool,
    /// The delay before the first retry.
    pub base_delay: Duration,
    /// The longest delay before a retry.
    pub max_delay: Duration,
    /// How delays grow from one retry to the next.
    pub growth: Growth,
    /// The longest a whole call may take.
    pub deadline: Duration,
    /// Failures of each kind in a row that open the circuit, by [`FailureKind::index`].
    pub failure_threshold: [u16; FailureKind::ALL.len()],
    /// How much of what opens the circuit one success takes back; 1: all of it.
    pub success_credit: f64,
    /// How long the circuit stays open before it is first probed.
    pub open_for: Duration,
    /// How long it stays open after the first probe that failed, as a multiple of [`Values::open_for`].
    pub open_ratio: f64,
    /// The power of the time it has been open with which the waits between probes grow.
    pub open_growth: f64,
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
    /// How long an attempt is waited for before a second copy of it is sent; `ZERO`: none is.
    pub hedge_delay: Duration,
    /// Attempts under way at once.
    pub concurrency_limit: u16,
    /// Hours of the day in which calls that may wait are put off; bit 0 is midnight to one o'clock.
    pub defer_hours: u32,
    /// Days of the week on which they are; bit 0 is Monday.
    pub defer_weekdays: u8,
    /// The hour once a month in which they are, as [`MonthlyHour::code`]; 0: none.
    pub defer_monthly: u16,
    /// Of 256 calls that do not matter much, how many are made with the last good values instead of these.
    pub held_out: u8,
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
            progress_extends: true,
            base_delay: profile.base_delay,
            max_delay: profile.max_delay,
            growth: Growth::Doubling,
            deadline: profile.deadline,
            failure_threshold: [saturated(profile.failure_threshold); FailureKind::ALL.len()],
            success_credit: 1.0,
            open_for: profile.open_for,
            open_ratio: 1.0,
            open_growth: 0.0,
            success_threshold: profile.success_threshold,
            cache_ttl: profile.cache_ttl,
            batch_threshold: profile.batch_threshold,
            batch_window: profile.batch_window,
            batch_max_size: profile.batch_max_size,
            hedge_delay: Duration::ZERO,
            concurrency_limit: saturated(profile.concurrency_limit),
            defer_hours: 0,
            defer_weekdays: 0,
            defer_monthly: 0,
            held_out: 0,
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
            "breaker.failure_threshold" => match after {
                Some(kind) => self.failure_threshold[kind.index()] = saturated(count),
                None => self.failure_threshold = [saturated(count); FailureKind::ALL.len()],
            },
            "breaker.success_credit" => self.success_credit = value,
            "breaker.open_ratio" => self.open_ratio = value,
            "breaker.open_growth" => self.open_growth = value,
            "breaker.open_for" => self.open_for = seconds,
            "breaker.success_threshold" => self.success_threshold = count,
            "cache.ttl" => self.cache_ttl = seconds,
            "batch.threshold" => self.batch_threshold = count,
            "batch.window" => self.batch_window = seconds,
            "batch.max_size" => self.batch_max_size = count,
            "hedge.delay" => self.hedge_delay = seconds,
            "concurrency.limit" => self.concurrency_limit = saturated(count),
            "defer.hours" => self.defer_hours = count,
            "defer.weekdays" => self.defer_weekdays = count as u8,
            "defer.monthly" => self.defer_monthly = saturated(count),
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
            "breaker.failure_threshold" => f64::from(match after {
                Some(kind) => self.failure_threshold[kind.index()],
                None => self.failure_threshold.into_iter().min().unwrap_or(u16::MAX),
            }),
            "breaker.success_credit" => self.success_credit,
            "breaker.open_ratio" => self.open_ratio,
            "breaker.open_growth" => self.open_growth,
            "breaker.open_for" => self.open_for.as_secs_f64(),
            "breaker.success_threshold" => f64::from(self.success_threshold),
            "cache.ttl" => self.cache_ttl.as_secs_f64(),
            "batch.threshold" => f64::from(self.batch_threshold),
            "batch.window" => self.batch_window.as_secs_f64(),
            "batch.max_size" => f64::from(self.batch_max_size),
            "hedge.delay" => self.hedge_delay.as_secs_f64(),
            "concurrency.limit" => f64::from(self.concurrency_limit),
            "defer.hours" => f64::from(self.defer_hours),
            "defer.weekdays" => f64::from(self.defer_weekdays),
            "defer.monthly" => f64::from(self.defer_monthly),
            _ => return None,
        })
    }

    /// The retries allowed after the kind of failure that allows most.
    #[must_use]
    pub fn most_retries(&self) -> u8 {
        self.max_retries.iter().copied().max().unwrap_or(0)
    }
}

/// More than fits is as good as no bound.
fn saturated(count: u32) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
