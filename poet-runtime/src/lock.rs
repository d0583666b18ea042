//! The one way a mutex is locked here.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, poisoned or not: nothing that holds one of ours leaves half a change behind, and what they guard are
/// counts and tables of learning, which may fail while the call may not.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
