//! Which of thousands of sockets has something to do: each rings one bell, and the gateway's task goes by the list of who rang.
//!
//! A task for each connection would cost a frame's copy and two wake-ups for every packet. This way the one task that owns all state moves bytes
//! between the guest's window and the host's socket directly.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use tokio::sync::Notify;

/// Who rang.
#[derive(Debug)]
pub(crate) struct Bell<K> {
    rung: Mutex<Vec<K>>,
    notify: Notify,
}

/// One who may ring.
#[derive(Debug)]
pub(crate) struct Ringer<K> {
    pull: Arc<Pull<K>>,
    waker: Waker,
}

#[derive(Debug)]
struct Pull<K> {
    key: K,
    bell: Arc<Bell<K>>,
    /// It is on the list already.
    rung: AtomicBool,
}

impl<K: Copy + Send + Sync + 'static> Bell<K> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { rung: Mutex::default(), notify: Notify::new() })
    }

    /// Somebody who may ring by that name.
    pub(crate) fn ringer(self: &Arc<Self>, key: K) -> Ringer<K> {
        let pull = Arc::new(Pull { key, bell: self.clone(), rung: AtomicBool::new(false) });
        Ringer { waker: pull.clone().into(), pull }
    }

    /// Waits until somebody has rung.
    pub(crate) async fn rings(&self) {
        self.notify.notified().await;
    }

    /// Who has rung since the last time. Some of them may be gone.
    pub(crate) fn take(&self, into: &mut Vec<K>) {
        into.clear();
        std::mem::swap(&mut *self.list(), into);
    }

    fn list(&self) -> MutexGuard<'_, Vec<K>> {
        // Each step leaves it whole.
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Copy + Send + Sync + 'static> Ringer<K> {
    /// It may ring again. To be called before looking at what it rang for, lest a ring goes unheard.
    pub(crate) fn rearm(&self) {
        self.pull.rung.store(false, Ordering::Release);
    }

    /// What a socket wakes.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }
}

impl<K: Copy + Send + Sync + 'static> Wake for Pull<K> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.bell.list().push(self.key);
            self.bell.notify.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_on_the_list_once() {
        let bell = Bell::new();
        let (one, two) = (bell.ringer(1), bell.ringer(2));
        let mut rung = Vec::new();
        one.waker().wake_by_ref();
        one.waker().wake_by_ref();
        two.waker().wake_by_ref();
        bell.take(&mut rung);
        assert_eq!(rung, [1, 2]);
        one.waker().wake_by_ref();
        bell.take(&mut rung);
        assert_eq!(rung, [] as [i32; 0]);
        one.rearm();
        one.waker().wake_by_ref();
        bell.take(&mut rung);
        assert_eq!(rung, [1]);
    }
}
