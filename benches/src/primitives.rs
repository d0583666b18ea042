//! What calls are made of, so that figures of two machines can be compared.

use crate::sampling::Case;
use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// One case each.
#[must_use]
pub fn cases() -> Vec<Case> {
    let counter = AtomicU64::new(0);
    let swap = ArcSwap::from_pointee(7_u64);
    let queue = ArrayQueue::new(64);
    let mutex = Mutex::new(0_u64);
    vec![
        Case::primitive("Instant::now", Instant::now),
        Case::primitive("atomic addition", move || counter.fetch_add(1, Ordering::Relaxed)),
        Case::primitive("ArcSwap load", move || **swap.load()),
        Case::primitive("ArrayQueue push and pop", move || {
            let _ = queue.push(7_u64);
            queue.pop()
        }),
        Case::primitive("mutex", move || *mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1),
    ]
}
