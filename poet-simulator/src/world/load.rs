//! A service that can do only so much at once: calls queue before it, and it works on those whose caller has left.

use std::time::Duration;

/// What a service can do.
#[derive(Clone, Debug, PartialEq)]
pub struct Capacity {
    /// Calls for each second.
    pub per_second: f64,
    /// Stretches in which it is another: from which second, until which, how many.
    pub cuts: Vec<(f64, f64, f64)>,
}

/// The work that stands before a service.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backlog {
    calls: f64,
    at: f64,
}

impl Capacity {
    fn at(&self, second: f64) -> f64 {
        let cut = self.cuts.iter().find(|(from, until, _)| (*from..*until).contains(&second));
        cut.map_or(self.per_second, |(_, _, per_second)| *per_second)
    }

    /// The next second at which it is another.
    fn changes_after(&self, second: f64) -> f64 {
        let moments = self.cuts.iter().flat_map(|(from, until, _)| [*from, *until]);
        moments.filter(|moment| *moment > second).fold(f64::INFINITY, f64::min)
    }

    /// Whether it is less than usual at a second.
    pub(super) fn is_cut(&self, second: f64) -> bool {
        self.at(second) < self.per_second
    }

    /// The end of the last cut that began by then.
    pub(super) fn last_end(&self) -> Option<f64> {
        self.cuts.iter().map(|(_, until, _)| *until).reduce(f64::max)
    }

    /// Puts one call behind the others, and says how long it waits for its end.
    pub(super) fn join(&self, backlog: &mut Backlog, second: f64, weight: f64) -> Duration {
        backlog.work_off(self, second);
        backlog.calls += weight;
        let (mut left, mut at) = (backlog.calls, second);
        loop {
            let (rate, change) = (self.at(at), self.changes_after(at));
            let done = if rate > 0.0 { left / rate } else { f64::INFINITY };
            if at + done <= change || change.is_infinite() {
                return Duration::from_secs_f64((at + done - second).min(86_400.0));
            }
            left -= rate * (change - at);
            at = change;
        }
    }
}

impl Backlog {
    fn work_off(&mut self, capacity: &Capacity, second: f64) {
        while self.at < second {
            let until = capacity.changes_after(self.at).min(second);
            self.calls = (self.calls - capacity.at(self.at) * (until - self.at)).max(0.0);
            self.at = until;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_waits_for_those_before_it_at_the_pace_of_each_stretch() {
        let capacity = Capacity { per_second: 10.0, cuts: vec![(1.0, 2.0, 5.0)] };
        let mut backlog = Backlog::default();
        let waits: Vec<f64> = (0..16).map(|_| capacity.join(&mut backlog, 0.0, 1.0).as_secs_f64()).collect();
        assert!((waits[0] - 0.1).abs() < 1e-9, "{waits:?}");
        assert!((waits[9] - 1.0).abs() < 1e-9, "{waits:?}");
        assert!((waits[14] - 2.0).abs() < 1e-9 && (waits[15] - 2.1).abs() < 1e-9, "{waits:?}");
        // At 1.5 s twelve and a half of the sixteen are done.
        let wait = capacity.join(&mut backlog, 1.5, 1.0).as_secs_f64();
        assert!((wait - 0.7).abs() < 1e-9, "{wait}");
    }
}
