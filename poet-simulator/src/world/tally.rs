//! What came of a run, and what it is worth.

use std::fmt;

/// The prices of the utility that all policies are judged by.
const NOW: f64 = 0.5;
const EVENTUALLY: f64 = 0.5;
const CALL: f64 = 0.06;
const SECOND: f64 = 0.02;
const STALE: f64 = 0.5;
/// The price of one call, in dollars.
const PRICE: f64 = 0.0375;

/// Counts of one run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests.
    pub requests: u64,
    /// Requests of which everything that was waited for was done at once.
    pub now: u64,
    /// Requests of which everything was done in the end.
    pub eventually: u64,
    /// Attempts that reached a service.
    pub calls: u64,
    /// Those of them that came while it was down.
    pub down_calls: u64,
    /// Reads.
    pub reads: u64,
    /// Reads that were answered without asking the service.
    pub hits: u64,
    /// Hits whose answer held no longer.
    pub stale: u64,
    /// Requests that failed because an answer did not come in time.
    pub timed_out: u64,
    /// Parts that were put off.
    pub deferred: u64,
    /// Seconds that each request took.
    pub seconds: Vec<f64>,
}

/// A [`Tally`] per request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// The share of requests done at once.
    pub now: f64,
    /// The share of requests done in the end.
    pub eventually: f64,
    /// The mean time of a request, in seconds.
    pub mean: f64,
    /// The time within which 95 % of the requests ended, in seconds.
    pub p95: f64,
    /// Calls for each request.
    pub calls: f64,
    /// Dollars for each request.
    pub cost: f64,
    /// The share of reads that were hits.
    pub hit: f64,
    /// The share of hits that were stale.
    pub stale: f64,
    /// The share of requests with a part that was put off.
    pub deferred: f64,
    /// Requests of a thousand that failed because an answer did not come in time.
    pub timed_out: f64,
    /// Calls of a thousand requests that came while the service was down.
    pub down_calls: f64,
    /// What one request was worth.
    pub utility: f64,
}

impl Tally {
    /// The same for each request.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
        let per = |part: u64| share(part, self.requests);
        let mut sorted = self.seconds.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let mean = sorted.iter().sum::<f64>() / sorted.len().max(1) as f64;
        let p95 = sorted.get(sorted.len() * 95 / 100).copied().unwrap_or_default();
        Summary {
            now: per(self.now),
            eventually: per(self.eventually),
            mean,
            p95,
            calls: per(self.calls),
            cost: PRICE * per(self.calls),
            hit: share(self.hits, self.reads),
            stale: share(self.stale, self.hits),
            deferred: per(self.deferred),
            timed_out: 1_000.0 * per(self.timed_out),
            down_calls: 1_000.0 * per(self.down_calls),
            utility: NOW * per(self.now) + EVENTUALLY * per(self.eventually)
                - CALL * per(self.calls)
                - STALE * per(self.stale)
                - SECOND * mean,
        }
    }
}

impl Summary {
    /// The names of the columns that [`Summary`] is shown in.
    pub const HEADER: &'static str =
        "   now%  event%  mean s   p95 s   calls  cost $    hit%  stale%  defer%  tmoF/k  down/k utility";

    /// The mean of several runs.
    #[must_use]
    pub fn mean_of(runs: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| runs.iter().map(of).sum::<f64>() / runs.len().max(1) as f64;
        Self {
            now: mean(|s| s.now),
            eventually: mean(|s| s.eventually),
            mean: mean(|s| s.mean),
            p95: mean(|s| s.p95),
            calls: mean(|s| s.calls),
            cost: mean(|s| s.cost),
            hit: mean(|s| s.hit),
            stale: mean(|s| s.stale),
            deferred: mean(|s| s.deferred),
            timed_out: mean(|s| s.timed_out),
            down_calls: mean(|s| s.down_calls),
            utility: mean(|s| s.utility),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:7.2} {:7.2} {:7.3} {:7.3} {:7.3} {:7.3} {:7.2} {:7.2} {:7.2} {:7.2} {:7.1} {:7.3}",
            100.0 * self.now,
            100.0 * self.eventually,
            self.mean,
            self.p95,
            self.calls,
            self.cost,
            100.0 * self.hit,
            100.0 * self.stale,
            100.0 * self.deferred,
            self.timed_out,
            self.down_calls,
            self.utility
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_done_at_once_with_one_call_is_worth_its_success_less_the_call() {
        let tally = Tally { requests: 10, now: 10, eventually: 10, calls: 10, ..Tally::default() };
        assert!((tally.summary().utility - 0.94).abs() < 1e-9);
    }
}
