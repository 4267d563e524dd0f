//! Locks that outlive a panic: what each guards is whole at every moment.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the lock guards.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
