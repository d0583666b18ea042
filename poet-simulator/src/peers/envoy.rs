//! What Envoy does for a cluster: a budget of retries under way, and the ejection of a host that fails.
//!
//! Retries may be 20 % of the requests under way, at least three; a delay is drawn from 25 ms doubling up to 250 ms. A host
//! with five failures in a row is ejected for 30 s times the number of its ejections, at most 300 s. A cluster of one host
//! is stated as such: what its ejection does to a call is that the call is refused.

/// What may be retried at once.
#[derive(Debug, Default)]
pub(super) struct Budget {
    active: u32,
    retrying: u32,
}

impl Budget {
    pub(super) const RETRIES: u32 = 2;
    pub(super) const BASE: f64 = 0.025;
    pub(super) const LONGEST: f64 = 0.25;
    const SHARE: f64 = 0.2;
    const LEAST: f64 = 3.0;

    pub(super) fn begin(&mut self) {
        self.active += 1;
    }

    pub(super) fn end(&mut self) {
        self.active = self.active.saturating_sub(1);
    }

    /// Whether one more may be retried.
    pub(super) fn retry(&mut self) -> bool {
        let fits = f64::from(self.retrying) < (Self::SHARE * f64::from(self.active)).max(Self::LEAST);
        self.retrying += u32::from(fits);
        fits
    }

    pub(super) fn retried(&mut self) {
        self.retrying = self.retrying.saturating_sub(1);
    }
}

/// Whether a host is asked.
#[derive(Debug, Default)]
pub(super) struct Ejection {
    failures: u32,
    times: u32,
    until: f64,
    well_since: f64,
}

impl Ejection {
    const FAILURES: u32 = 5;
    const BASE: f64 = 30.0;
    const LONGEST: f64 = 300.0;
    /// How often the number of ejections of a host that is well goes down by one.
    const SWEEP: f64 = 10.0;

    pub(super) fn is_out(&self, now: f64) -> bool {
        now < self.until
    }

    pub(super) fn observe(&mut self, now: f64, failed: bool) {
        while self.times > 0 && now >= self.well_since.max(self.until) + Self::SWEEP {
            self.well_since = self.well_since.max(self.until) + Self::SWEEP;
            self.times -= 1;
        }
        if !failed {
            self.failures = 0;
            return;
        }
        self.failures += 1;
        if self.failures >= Self::FAILURES && !self.is_out(now) {
            self.times += 1;
            self.failures = 0;
            self.until = now + (Self::BASE * f64::from(self.times)).min(Self::LONGEST);
            self.well_since = self.until;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_fails_again_is_out_for_longer() {
        let mut ejection = Ejection::default();
        for _ in 0..5 {
            ejection.observe(0.0, true);
        }
        assert!(ejection.is_out(29.0) && !ejection.is_out(30.0));
        for _ in 0..5 {
            ejection.observe(31.0, true);
        }
        assert!(ejection.is_out(90.0) && !ejection.is_out(91.0));
    }

    #[test]
    fn three_may_be_retried_however_few_are_under_way() {
        let mut budget = Budget::default();
        budget.begin();
        assert_eq!((0..5).filter(|_| budget.retry()).count(), 3);
        budget.retried();
        assert!(budget.retry());
    }
}
