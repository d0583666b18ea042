//! Does many things at once, on a bounded number of threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What each index of `order` comes to, by index, whichever was first; they are begun in this order.
///
/// # Panics
///
/// If one of them does, or `order` is not every index below its length.
pub(crate) fn each<T: Send>(order: &[usize], threads: usize, of: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<T>>> = Mutex::new(order.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, order.len().max(1)) {
            scope.spawn(|| {
                while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = of(index);
                    results.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_iter().map(|result| result.expect("every index was taken by a thread")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_by_index_whichever_was_begun_first() {
        let begun = Mutex::new(Vec::new());
        let results = each(&[2, 0, 1], 1, |index| {
            begun.lock().unwrap().push(index);
            10 * index
        });
        assert_eq!((results, begun.into_inner().unwrap()), (vec![0, 10, 20], vec![2, 0, 1]));
        assert_eq!(each(&[0, 1, 2, 3], 8, |index| index), [0, 1, 2, 3]);
        assert!(each(&[], 2, |index| index).is_empty());
    }
}
