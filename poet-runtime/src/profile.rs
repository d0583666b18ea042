//! What a domain brings by default, as constants: its profile.
//!
//! A profile holds no behaviour of its own. It states defaults, the bounds no learner may cross, and who recognises
//! the domain's errors. Configuration is laid over it, learned values move within its bounds.

use crate::outcome::Class;
use std::error::Error;
use std::time::Duration;

/// The defaults, bounds and error classifier of one domain.
///
/// # Examples
///
/// ```
/// use poet_runtime::Profile;
/// use std::time::Duration;
///
/// static SLOW_REPORTS: Profile = Profile {
///     attempt_timeout: Duration::from_secs(60),
///     deadline: Duration::from_secs(180),
///     ..Profile::named("slow_reports")
/// };
/// assert_eq!(SLOW_REPORTS.max_retries, 2);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// The name used in `domain = "…"`, in configuration and in reports.
    pub name: &'static str,
    /// Extra tries after the first attempt. Default 2.
    pub max_retries: u8,
    /// The most extra tries that learning or configuration may allow. Default 3.
    pub max_retries_ceiling: u8,
    /// Extra tries that one execution may make in all, over every call nested in it. Default 6.
    pub execution_retries: u8,
    /// The delay before the first retry; doubles with each further one, with full jitter. Default 200 ms.
    pub base_delay: Duration,
    /// The longest delay before a retry. Default 10 s.
    pub max_delay: Duration,
    /// The longest one attempt may take. Default 10 s.
    pub attempt_timeout: Duration,
    /// The longest a whole call may take, waits included. Default 30 s.
    pub deadline: Duration,
    /// Failures in a row that open the circuit. Default 5.
    pub failure_threshold: u32,
    /// How long the circuit stays open before it is probed. Default 60 s.
    pub open_for: Duration,
    /// Successful probes that close the circuit, and probes allowed at once while it is half-open. Default 3.
    pub success_threshold: u32,
    /// What a learned value is worth.
    pub utility: Utility,
    /// Recognises the domain's own errors in an error's source chain. Default: recognises none.
    pub classify: Option<fn(&(dyn Error + 'static)) -> Option<Class>>,
}

impl Profile {
    /// The profile of a function or service that names no domain.
    pub const GENERAL: &'static Self = &Self::named("general");

    /// A profile with the built-in defaults.
    #[must_use]
    pub const fn named(name: &'static str) -> Self {
        Self {
            name,
            max_retries: 2,
            max_retries_ceiling: 3,
            execution_retries: 6,
            base_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
            failure_threshold: 5,
            open_for: Duration::from_secs(60),
            success_threshold: 3,
            utility: Utility::DEFAULT,
            classify: None,
        }
    }
}

/// What an operation is worth and what it costs, in one unit: `value * success - call * calls - second * seconds`.
///
/// Every learned parameter maximises this, so that one trade-off decides all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Utility {
    /// The worth of one success. Default 1.
    pub value: f64,
    /// The price of one call to the service. Default 0.06.
    pub call: f64,
    /// The price of one second of waiting. Default 0.02.
    pub second: f64,
}

impl Utility {
    /// The defaults of the reference world.
    pub const DEFAULT: Self = Self { value: 1.0, call: 0.06, second: 0.02 };
}
