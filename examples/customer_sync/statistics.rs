//! The figures of a run: how much of it succeeded, in how many attempts, and how long it took.

use crate::customers::Run;
use crate::servers::services;
use std::time::Duration;

/// The figures of calls of one kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figures {
    pub(crate) calls: usize,
    pub(crate) succeeded: usize,
    /// `None` where there were no calls.
    pub(crate) attempts_per_call: Option<f64>,
    pub(crate) times: Option<Times>,
}

/// How long calls took, the failed ones included: their callers have waited as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) mean: Duration,
    pub(crate) p95: Duration,
    pub(crate) p99: Duration,
}

/// The figures of a run.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) took: Duration,
    pub(crate) customers: Figures,
    /// By service, in the order of the table of services.
    pub(crate) services: Vec<(&'static str, Figures)>,
    /// The commonest reasons of failures and how many there were.
    pub(crate) errors: Vec<(String, usize)>,
    pub(crate) warnings: Vec<(String, usize)>,
    /// What was done with calls that were not simply made, by call and how, and an example of why.
    pub(crate) moves: Vec<Moved>,
}

/// Calls of one tool that were moved in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) call: String,
    pub(crate) how: String,
    pub(crate) count: usize,
    /// The commonest reason.
    pub(crate) why: String,
}

impl Summary {
    pub(crate) fn of(run: &Run) -> Self {
        let customers = run.customers.iter().map(|customer| (customer.error.is_none(), 1, customer.elapsed));
        let services = services::ALL.iter().map(|service| {
            let calls = run.calls.iter().filter(|call| call.service == service.name);
            (service.name, Figures::of(calls.map(|call| (call.succeeded, call.attempts, call.elapsed))))
        });
        Self {
            took: run.took,
            customers: Figures::of(customers),
            services: services.collect(),
            errors: tally(run.customers.iter().filter_map(|customer| customer.error.as_deref())),
            warnings: tally(run.customers.iter().flat_map(|customer| &customer.warnings).map(String::as_str)),
            moves: moved(run),
        }
    }
}

impl Figures {
    fn of(calls: impl Iterator<Item = (bool, u32, Duration)>) -> Self {
        let calls: Vec<(bool, u32, Duration)> = calls.collect();
        let attempts: u32 = calls.iter().map(|(_, attempts, _)| attempts).sum();
        let count = u32::try_from(calls.len()).unwrap_or(u32::MAX);
        Self {
            calls: calls.len(),
            succeeded: calls.iter().filter(|(succeeded, ..)| *succeeded).count(),
            attempts_per_call: (count > 0).then(|| f64::from(attempts) / f64::from(count)),
            times: Times::of(calls.iter().map(|(.., elapsed)| *elapsed).collect()),
        }
    }
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let count = u32::try_from(times.len()).ok().filter(|count| *count > 0)?;
        let mean = times.iter().sum::<Duration>() / count;
        // Nearest rank: a time that some caller has waited, not one between two of them.
        let quantile = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
        Some(Self { mean, p95: quantile(95), p99: quantile(99) })
    }
}

/// What was done with calls that were not simply made.
fn moved(run: &Run) -> Vec<Moved> {
    let mut reasons = std::collections::BTreeMap::<(&str, &str), Vec<&str>>::new();
    for one in run.customers.iter().flat_map(|customer| &customer.moves) {
        reasons.entry((&one.call, &one.how)).or_default().push(&one.why);
    }
    let moved = reasons.into_iter().map(|((call, how), why)| Moved {
        call: call.to_owned(),
        how: how.to_owned(),
        count: why.len(),
        why: tally(why.into_iter()).remove(0).0,
    });
    moved.collect()
}

/// How often each text occurs, the commonest first.
fn tally<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<(String, usize)> {
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for text in texts {
        *counts.entry(text).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().map(|(text, count)| (text.to_owned(), count)).collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::customers::{Finished, Made, Move};

    fn customer(error: Option<&str>, millis: u64) -> Finished {
        Finished {
            id: "C-00001".to_owned(),
            error: error.map(str::to_owned),
            elapsed: Duration::from_millis(millis),
            warnings: vec!["late".to_owned()],
            moves: vec![Move {
                call: "crm.update".to_owned(),
                how: "deferred".to_owned(),
                why: "retry_after".to_owned(),
            }],
        }
    }

    fn call(attempts: u32) -> Made {
        let service = "billing_system".to_owned();
        Made { service, succeeded: attempts == 1, attempts, elapsed: Duration::from_millis(10) }
    }

    #[test]
    fn a_run_is_summed_up_by_customer_and_by_service() {
        let customers = vec![customer(None, 10), customer(Some("down"), 50), customer(Some("down"), 30)];
        let calls = vec![call(1), call(3), call(3)];
        let summary = Summary::of(&Run { customers, calls, took: Duration::from_secs(1) });
        assert_eq!((summary.customers.calls, summary.customers.succeeded), (3, 1));
        assert_eq!(summary.customers.times.unwrap().mean, Duration::from_millis(30));
        let (_, billing) = summary.services.iter().find(|(name, _)| *name == "billing_system").unwrap();
        assert_eq!((billing.calls, billing.succeeded), (3, 1));
        assert!((billing.attempts_per_call.unwrap() - 7.0 / 3.0).abs() < 1e-9);
        assert_eq!(summary.errors, [("down".to_owned(), 2)]);
        assert_eq!(summary.warnings, [("late".to_owned(), 3)]);
        let [moved] = summary.moves.as_slice() else { panic!("one kind of move") };
        assert_eq!((moved.count, moved.why.as_str()), (3, "retry_after"));
    }

    #[test]
    fn a_quantile_is_a_time_that_was_waited() {
        let times = Times::of((1..=100).map(Duration::from_millis).collect()).unwrap();
        assert_eq!((times.p95, times.p99), (Duration::from_millis(95), Duration::from_millis(99)));
        let times = Times::of(vec![Duration::from_millis(4)]).unwrap();
        assert_eq!((times.mean, times.p95), (Duration::from_millis(4), Duration::from_millis(4)));
    }

    #[test]
    fn no_calls_have_no_mean() {
        let summary = Summary::of(&Run::default());
        assert_eq!((summary.customers.attempts_per_call, summary.customers.times), (None, None));
    }
}
