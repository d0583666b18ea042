//! What a domain brings by default, as constants: its profile.
//!
//! A profile holds no behaviour of its own. It states defaults, the bounds no learner may cross, and who recognises
//! the domain's errors. Configuration is laid over it, learned values move within its bounds.

use crate::outcome::{Class, Ending, Finished};
use crate::service::FindCaller;
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
    /// The share of attempts that shall succeed; a service that credibly falls below it is degraded. Default 0.95.
    pub success_target: f64,
    /// How long an answer is fresh, where an operation is declared cacheable. Default 5 min.
    pub cache_ttl: Duration,
    /// The share of answers from the cache that may be out of date; learned freshness keeps it. Default 0.01.
    pub staleness: f64,
    /// How long after its freshness an answer is still given while a new one is fetched. Default 30 s.
    pub stale_while_revalidate: Duration,
    /// How long after its freshness an answer is still given when the service fails. Default 10 min.
    pub stale_if_error: Duration,
    /// The fewest calls that are made as one, where an operation has a bulk form. Default 5.
    pub batch_threshold: u32,
    /// How long a call waits for others to be made with it. Default 50 ms.
    pub batch_window: Duration,
    /// The most calls that are made as one. Default 50.
    pub batch_max_size: u32,
    /// Attempts of one operation that are under way at once; others wait for their turn. Default 64.
    pub concurrency_limit: u32,
    /// What a learned value is worth.
    pub utility: Utility,
    /// Recognises the domain's own errors in an error's source chain. Default: recognises none.
    pub classify: Option<fn(&(dyn Error + 'static)) -> Option<Class>>,
    /// Finds who sends the requests of a service, for those that were put off and are sent later, perhaps by another
    /// process. Default: nobody, and nothing is put off.
    pub caller: Option<FindCaller>,
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
            success_target: 0.95,
            cache_ttl: Duration::from_secs(300),
            staleness: 0.01,
            stale_while_revalidate: Duration::from_secs(30),
            stale_if_error: Duration::from_secs(600),
            batch_threshold: 5,
            batch_window: Duration::from_millis(50),
            batch_max_size: 50,
            concurrency_limit: 64,
            utility: Utility::DEFAULT,
            classify: None,
            caller: None,
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
    /// The price of one answer that is out of date. Default 0.5.
    pub stale: f64,
    /// The price of an hour by which work that nobody waits for is late. Default 0.05.
    pub hour_late: f64,
}

impl Utility {
    /// The defaults of the reference world.
    pub const DEFAULT: Self = Self { value: 1.0, call: 0.06, second: 0.02, stale: 0.5, hour_late: 0.05 };

    /// What one finished call was worth, from 0 (as bad as a failure that cost as much as a success is worth, or worse)
    /// to 1 (a success that cost nothing); 0.5 where nothing was gained or lost.
    #[must_use]
    pub fn worth(&self, call: &Finished) -> f64 {
        let value = if matches!(call.ending, Ending::Done | Ending::Batched) { self.value } else { 0.0 };
        let cost = self.cost(f64::from(call.attempts), call.elapsed.as_secs_f64());
        // Without a value to compare costs with, less is better in itself.
        let scale = if self.value > 0.0 { self.value } else { 1.0 };
        (((value - cost) / scale + 1.0) / 2.0).clamp(0.0, 1.0)
    }

    /// What so many attempts and so many seconds of waiting cost.
    pub(crate) fn cost(&self, attempts: f64, seconds: f64) -> f64 {
        self.call * attempts + self.second * seconds
    }
}
