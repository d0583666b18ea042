//! What functions felt of the operations they call, summed up on its way to the store.

use crate::evidence::Felt;
use crate::outcome::TargetId;
use crate::store::{Need, TargetKey};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Instant;

/// Sums that wait for the store, each of a pair and an hour. More there are only where a store fails for long or
/// functions call what is named by their input; what has no place is counted as untold.
const MAX_WAITING: usize = 4_096;

/// What an execution of a function that has ended says about its calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Needed {
    pub(crate) function: TargetId,
    /// What it called, and whether that failed for good; `None` stands for all that it called beyond what is told apart.
    pub(crate) operation: Option<(TargetId, bool)>,
    /// Whether the execution failed.
    pub(crate) failed: bool,
    pub(crate) ended: Instant,
}

/// The sums by function, operation and hour.
#[derive(Debug, Default)]
pub(super) struct Needs(BTreeMap<(TargetId, TargetId, i64), Felt>);

impl Needs {
    /// Adds what an execution said in an hour. Returns whether there is a place for it.
    pub(super) fn add(&mut self, needed: &Needed, hour: i64) -> bool {
        let Some((operation, call_failed)) = needed.operation else { return false };
        self.merge((needed.function, operation, hour), &Felt::once(call_failed, needed.failed))
    }

    fn merge(&mut self, key: (TargetId, TargetId, i64), felt: &Felt) -> bool {
        let full = self.0.len() >= MAX_WAITING;
        match self.0.entry(key) {
            Entry::Occupied(mut known) => known.get_mut().merge(felt),
            Entry::Vacant(_) if full => return false,
            Entry::Vacant(new) => drop(new.insert(*felt)),
        }
        true
    }

    /// Adds all of another. Returns what there is no place for: the function, the hour, and how many executions.
    pub(super) fn merge_all(&mut self, other: Self) -> Vec<(TargetId, i64, u64)> {
        let placeless = other.0.into_iter().filter(|(key, felt)| !self.merge(*key, felt));
        placeless.map(|((function, _, hour), felt)| (function, hour, felt.called)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn forget_before(&mut self, hour: i64) {
        self.0.retain(|(.., at), _| *at >= hour);
    }

    /// The sums as they are stored. What has no name is left out.
    pub(super) fn named(&self, name: impl Fn(TargetId) -> Option<TargetKey>) -> Vec<(i64, Need)> {
        let named = self.0.iter().filter_map(|(&(function, operation, hour), &felt)| {
            Some((hour, Need { function: name(function)?, operation: name(operation)?, felt }))
        });
        named.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Book, Moody, start};
    use super::super::{RecorderSettings, lock};
    use super::*;
    use crate::store::Store;

    fn needed(operation: u32, call_failed: bool, failed: bool) -> Needed {
        let operation = Some((TargetId(operation), call_failed));
        Needed { function: TargetId(0), operation, failed, ended: Instant::now() }
    }

    #[tokio::test]
    async fn a_full_queue_and_a_store_that_fails_lose_none() {
        let mut store = Moody::new();
        store.breaks(true);
        let recorder = start(&store, &Book::silent(), RecorderSettings { queue: 16, ..RecorderSettings::default() });
        let (gate, mut said) = (store.gate.clone(), 0);
        for _ in 0..3 {
            let held = lock(&gate);
            for n in 0..500_u32 {
                recorder.record_need(&needed(0, n % 5 == 0, n % 2 == 0));
                said += 1;
            }
            drop(held);
            recorder.flush().await.unwrap_err();
        }
        assert_eq!(recorder.health().folded, 0, "they have no rows that could be missing");
        store.breaks(false);
        recorder.flush().await.unwrap();
        let all = store.needs(i64::MIN).await.unwrap();
        let felt = Felt { called: said, failed: said / 5, failed_then: said / 10, failed_otherwise: said * 2 / 5 };
        assert_eq!(all.iter().map(|need| need.felt).collect::<Vec<_>>(), [felt]);
    }

    #[test]
    fn what_has_no_place_is_said_and_what_is_known_goes_on_being_counted() {
        let mut needs = Needs::default();
        for operation in 0..MAX_WAITING as u32 {
            assert!(needs.add(&needed(operation, true, false), 7));
        }
        assert!(!needs.add(&needed(MAX_WAITING as u32, false, false), 7));
        assert!(needs.add(&needed(3, true, true), 7));
        let mut more = Needs::default();
        for failed in [true, false] {
            more.add(&needed(3, false, failed), 7);
            more.add(&needed(3, false, failed), 8);
        }
        assert_eq!(needs.merge_all(more), [(TargetId(0), 8, 2)]);
        let name = |id: TargetId| {
            (id.0 == 0 || id.0 == 3).then(|| TargetKey { service: "s".to_owned(), operation: id.0.to_string() })
        };
        let named = needs.named(name);
        assert_eq!(named.len(), 2, "two of them have a name");
        assert_eq!(named[1].1.felt, Felt { called: 4, failed: 2, failed_then: 1, failed_otherwise: 1 });
        needs.forget_before(8);
        assert!(needs.is_empty());
    }
}
