//! How fast this process makes jobs, and so when one that waits can be expected to be done.

use crate::clock::Wall;
use crate::store::TargetKey;
use std::collections::VecDeque;
use std::time::Duration;

/// Jobs that are remembered.
const KEPT: usize = 64;

/// How long the last jobs took to make.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<(TargetKey, Duration)>);

impl Pace {
    /// A job was made, and took so long.
    pub(super) fn note(&mut self, target: TargetKey, took: Duration) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((target, took));
    }

    fn mean(&self) -> Option<Duration> {
        let jobs = u32::try_from(self.0.len()).expect("bounded by KEPT");
        (jobs > 0).then(|| self.0.iter().map(|(_, took)| *took).sum::<Duration>() / jobs)
    }

    fn median(&self, target: &TargetKey) -> Option<Duration> {
        let mut took: Vec<_> = self.0.iter().filter(|(made, _)| made == target).map(|(_, took)| *took).collect();
        took.sort_unstable();
        took.get(took.len() / 2).copied()
    }

    /// When a job that is due then can be expected to be done, where `ahead` jobs wait and `at_once` are made at once.
    ///
    /// `known` is how long the operation takes, as far as calls that were not put off showed. `None` where neither they
    /// nor jobs showed it, or where jobs are ahead and none was made yet.
    pub(super) fn estimate(
        &self,
        target: &TargetKey,
        known: Option<Duration>,
        due: Wall,
        ahead: u64,
        at_once: usize,
    ) -> Option<Wall> {
        let own = self.median(target).or(known)?;
        let before =
            if ahead == 0 { Duration::ZERO } else { self.mean()?.mul_f64(ahead as f64 / at_once.max(1) as f64) };
        Some(due.after(before + own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUE: Wall = Wall::from_millis(1_800_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    fn target(operation: &str) -> TargetKey {
        TargetKey { service: "crm".into(), operation: operation.into() }
    }

    #[test]
    fn where_nothing_is_known_nothing_is_promised() {
        let mut pace = Pace::default();
        assert_eq!(pace.estimate(&target("slow"), None, DUE, 0, 8), None);
        assert_eq!(pace.estimate(&target("slow"), Some(SECOND), DUE, 3, 8), None, "how fast are the three?");
        pace.note(target("fast"), SECOND);
        assert_eq!(pace.estimate(&target("slow"), None, DUE, 0, 8), None, "another operation's time");
    }

    #[test]
    fn an_estimate_is_the_queue_before_it_and_its_own_time() {
        let mut pace = Pace::default();
        assert_eq!(pace.estimate(&target("slow"), Some(2 * SECOND), DUE, 0, 8), Some(DUE.after(2 * SECOND)));
        for seconds in [1, 1, 4, 5, 9] {
            pace.note(target("slow"), seconds * SECOND);
        }
        // Mean 4 s, 20 ahead, 8 at once: 10 s; and a median of 4 s.
        assert_eq!(pace.estimate(&target("slow"), None, DUE, 20, 8), Some(DUE.after(14 * SECOND)));
        for _ in 0..KEPT {
            pace.note(target("slow"), SECOND);
        }
        assert_eq!(pace.estimate(&target("slow"), None, DUE, 0, 8), Some(DUE.after(SECOND)), "old jobs are forgotten");
    }
}
