//! What came of a run, day by day, and what it is worth.

use super::spec::Worth;
use serde::Serialize;

/// Counts of a part of a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests.
    pub requests: u64,
    /// Requests of which everything that was waited for was done at once.
    pub now: u64,
    /// Requests of which everything was done in the end.
    pub eventually: u64,
    /// Requests that failed because an answer did not come in time.
    pub timed_out: u64,
    /// Requests with a part that was put off.
    pub deferred: u64,
    /// Requests that somebody waited for, and those of them that were done at once.
    pub high: (u64, u64),
    /// Attempts that reached a service.
    pub calls: u64,
    /// Attempts that were given up before there was an answer.
    pub abandoned: u64,
    /// Attempts while the service was down.
    pub down_calls: u64,
    /// Calls that were wanted of a service in trouble, and attempts that reached it then.
    pub troubled: (u64, u64),
    /// Calls that were refused although the service was up.
    pub refused_up: u64,
    /// Calls that were wrong, and attempts to make them.
    pub wrong: (u64, u64),
    /// Reads.
    pub reads: u64,
    /// Reads that were answered without asking the service.
    pub hits: u64,
    /// Hits whose answer held no longer.
    pub stale: u64,
    /// Seconds from the end of each outage until an attempt reached the service.
    pub lags: Vec<f32>,
    /// Seconds that each request took.
    pub seconds: Vec<f32>,
}

impl Tally {
    /// Adds another part of the run.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.now += other.now;
        self.eventually += other.eventually;
        self.timed_out += other.timed_out;
        self.deferred += other.deferred;
        self.high = (self.high.0 + other.high.0, self.high.1 + other.high.1);
        self.calls += other.calls;
        self.abandoned += other.abandoned;
        self.down_calls += other.down_calls;
        self.troubled = (self.troubled.0 + other.troubled.0, self.troubled.1 + other.troubled.1);
        self.refused_up += other.refused_up;
        self.wrong = (self.wrong.0 + other.wrong.0, self.wrong.1 + other.wrong.1);
        self.reads += other.reads;
        self.hits += other.hits;
        self.stale += other.stale;
        self.lags.extend_from_slice(&other.lags);
        self.seconds.extend_from_slice(&other.seconds);
    }

    /// The same for each request, at these prices.
    #[must_use]
    pub fn summary(&self, worth: &Worth) -> Summary {
        let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
        let per = |part: u64| share(part, self.requests);
        let mut sorted = self.seconds.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let quantile = |share: f64| {
            let at = (sorted.len() as f64 * share) as usize;
            sorted.get(at.min(sorted.len().saturating_sub(1))).copied().map_or(0.0, f64::from)
        };
        let mean = mean(&sorted);
        Summary {
            requests: self.requests as f64,
            now: per(self.now),
            eventually: per(self.eventually),
            high: share(self.high.1, self.high.0),
            mean,
            p50: quantile(0.50),
            p95: quantile(0.95),
            p99: quantile(0.99),
            calls: per(self.calls),
            cost: worth.dollars * per(self.calls),
            call_timeouts: 1_000.0 * per(self.abandoned),
            request_timeouts: 1_000.0 * per(self.timed_out),
            hits: share(self.hits, self.reads),
            stale: share(self.stale, self.hits),
            deferred: per(self.deferred),
            down_calls: 1_000.0 * per(self.down_calls),
            amplification: share(self.troubled.1, self.troubled.0),
            lag: self::mean(&self.lags),
            refused_up: 1_000.0 * per(self.refused_up),
            wrong: share(self.wrong.1, self.wrong.0),
            utility: worth.now * per(self.now) + worth.eventually * per(self.eventually)
                - worth.call * per(self.calls)
                - worth.stale * per(self.stale)
                - worth.second * mean,
            recovers_after: 0.0,
        }
    }
}

fn mean(of: &[f32]) -> f64 {
    // The sum of nothing is -0, which nobody wants to read.
    of.iter().copied().map(f64::from).fold(0.0, |sum, one| sum + one) / of.len().max(1) as f64
}

/// A [`Tally`] per request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Requests.
    pub requests: f64,
    /// The share of requests done at once.
    pub now: f64,
    /// The share of requests done in the end.
    pub eventually: f64,
    /// The share done at once of those that somebody waited for.
    pub high: f64,
    /// The mean time of a request, in seconds.
    pub mean: f64,
    /// The time within which half of the requests ended, in seconds.
    pub p50: f64,
    /// The time within which 95 % of the requests ended, in seconds.
    pub p95: f64,
    /// The time within which 99 % of the requests ended, in seconds.
    pub p99: f64,
    /// Attempts for each request.
    pub calls: f64,
    /// Dollars for each request.
    pub cost: f64,
    /// Attempts of a thousand requests that were given up without an answer.
    pub call_timeouts: f64,
    /// Requests of a thousand that failed because an answer did not come in time.
    pub request_timeouts: f64,
    /// The share of reads that were hits.
    pub hits: f64,
    /// The share of hits that were stale.
    pub stale: f64,
    /// The share of requests with a part that was put off.
    pub deferred: f64,
    /// Attempts of a thousand requests that came while the service was down.
    pub down_calls: f64,
    /// Attempts that reached a service in trouble for each call that was wanted of it then.
    pub amplification: f64,
    /// Seconds from the end of an outage until an attempt reached the service.
    pub lag: f64,
    /// Calls of a thousand requests that were refused although the service was up.
    pub refused_up: f64,
    /// Attempts for each call that was wrong.
    pub wrong: f64,
    /// What one request was worth.
    pub utility: f64,
    /// Seconds from the end of the last cut of capacity until as much is done as is asked for.
    pub recovers_after: f64,
}

/// A column of the table: its heading, its width with one space, its decimals, a factor, and the figure.
pub type Column = (&'static str, usize, usize, f64, fn(&Summary) -> f64);

/// The columns in which a [`Summary`] is shown.
pub const COLUMNS: [Column; 17] = [
    ("now%", 7, 2, 100.0, |s| s.now),
    ("event%", 7, 2, 100.0, |s| s.eventually),
    ("mean s", 7, 3, 1.0, |s| s.mean),
    ("p50 s", 7, 3, 1.0, |s| s.p50),
    ("p95 s", 7, 3, 1.0, |s| s.p95),
    ("p99 s", 7, 2, 1.0, |s| s.p99),
    ("calls", 6, 2, 1.0, |s| s.calls),
    ("cost $", 7, 3, 1.0, |s| s.cost),
    ("tmo/k", 7, 1, 1.0, |s| s.call_timeouts),
    ("tmoR/k", 7, 1, 1.0, |s| s.request_timeouts),
    ("hit%", 6, 1, 100.0, |s| s.hits),
    ("stale%", 7, 2, 100.0, |s| s.stale),
    ("defer%", 7, 1, 100.0, |s| s.deferred),
    ("down/k", 7, 1, 1.0, |s| s.down_calls),
    ("ampl", 6, 2, 1.0, |s| s.amplification),
    ("lag s", 7, 1, 1.0, |s| s.lag),
    ("utility", 8, 4, 1.0, |s| s.utility),
];

impl Summary {
    /// The mean of several runs.
    #[must_use]
    pub fn mean_of(runs: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| runs.iter().map(of).sum::<f64>() / runs.len().max(1) as f64;
        Self {
            requests: mean(|s| s.requests),
            now: mean(|s| s.now),
            eventually: mean(|s| s.eventually),
            high: mean(|s| s.high),
            mean: mean(|s| s.mean),
            p50: mean(|s| s.p50),
            p95: mean(|s| s.p95),
            p99: mean(|s| s.p99),
            calls: mean(|s| s.calls),
            cost: mean(|s| s.cost),
            call_timeouts: mean(|s| s.call_timeouts),
            request_timeouts: mean(|s| s.request_timeouts),
            hits: mean(|s| s.hits),
            stale: mean(|s| s.stale),
            deferred: mean(|s| s.deferred),
            down_calls: mean(|s| s.down_calls),
            amplification: mean(|s| s.amplification),
            lag: mean(|s| s.lag),
            refused_up: mean(|s| s.refused_up),
            wrong: mean(|s| s.wrong),
            utility: mean(|s| s.utility),
            recovers_after: mean(|s| s.recovers_after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORTH: Worth = Worth { now: 0.5, eventually: 0.5, call: 0.06, second: 0.02, stale: 0.5, dollars: 0.0375 };

    #[test]
    fn a_request_that_is_done_at_once_with_one_call_is_worth_its_success_less_the_call() {
        let tally = Tally { requests: 10, now: 10, eventually: 10, calls: 10, ..Tally::default() };
        assert!((tally.summary(&WORTH).utility - 0.94).abs() < 1e-9);
    }

    #[test]
    fn two_days_are_worth_what_they_are_worth_together() {
        let mut day = Tally { requests: 1, now: 1, seconds: vec![1.0], ..Tally::default() };
        day.add(&Tally { requests: 1, calls: 4, seconds: vec![3.0], ..Tally::default() });
        let summary = day.summary(&WORTH);
        assert_eq!((summary.now, summary.calls, summary.mean, summary.p99), (0.5, 2.0, 2.0, 3.0));
    }
}
