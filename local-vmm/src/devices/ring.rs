//! Queues, whichever transport carries them.
//!
//! What a device does with a queue is the same over vhost-user and over virtio-mmio; only who owns the queue and how the guest is told
//! differ. Both are behind [`Ring`].

use crate::{Chain, MemoryNow};
use std::sync::atomic::Ordering;
use virtio_queue::{Error, Queue, QueueOwnedT, QueueT};

/// A queue that is ready to be served, and the way to tell its driver. Clones are the same queue.
pub trait Ring: Clone + Send + Sync + 'static {
    /// Works on the queue while nobody else does.
    fn with<T>(&self, work: impl FnOnce(&mut Queue) -> T) -> T;

    /// Tells the driver that chains were used. A driver that cannot be told looks by itself in the end.
    fn signal(&self);
}

/// What became of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// It is used up, and so many bytes were written into it.
    Used(u32),
    /// Somebody else will [`finish`] it.
    Later,
    /// It stays in the queue, and nothing else is taken.
    Back,
}

/// Takes chains from a queue as long as there is a use for them.
pub fn drain(
    ring: &impl Ring,
    memory: &MemoryNow,
    wanted: impl Fn() -> bool,
    mut serve: impl FnMut(Chain) -> Served,
) -> Result<(), Error> {
    if !ring.with(|queue| queue.ready()) {
        return Ok(());
    }
    loop {
        ring.with(|queue| queue.disable_notification(&**memory))?;
        while wanted() {
            let next = ring.with(|queue| queue.iter(memory.clone()).map(|mut chains| chains.next()))?;
            let Some(chain) = next else { break };
            let head = chain.head_index();
            match serve(chain) {
                Served::Used(written) => finish(ring, memory, head, written)?,
                Served::Later => {}
                Served::Back => {
                    ring.with(QueueOwnedT::go_to_previous_position);
                    break;
                }
            }
        }
        // New chains are worth looking at only when there is a use for them.
        if !ring.with(|queue| queue.enable_notification(&**memory))? || !wanted() {
            return Ok(());
        }
    }
}

/// Has the driver ring when it offers another chain, whether or not some that it offered before are left.
pub fn ring_for_next(ring: &impl Ring, memory: &MemoryNow) -> Result<(), Error> {
    ring.with(|queue| {
        let next = queue.next_avail();
        // The place that the queue tells the driver is the one that it would take from next.
        queue.set_next_avail(queue.avail_idx(&**memory, Ordering::Acquire)?.0);
        let done = queue.enable_notification(&**memory).map(drop);
        queue.set_next_avail(next);
        done
    })
}

/// Gives back a chain, one that was served [later](Served::Later) too.
pub fn finish(ring: &impl Ring, memory: &MemoryNow, head: u16, written: u32) -> Result<(), Error> {
    let tell = ring.with(|queue| {
        queue.add_used(&**memory, head, written)?;
        queue.needs_notification(&**memory)
    })?;
    if tell {
        ring.signal();
    }
    Ok(())
}

/// A guest that breaks its own queue only loses the device until it mends it; here it is told to the log.
pub fn forgive(device: &str, outcome: Result<(), Error>) {
    if let Err(error) = outcome {
        tracing::warn!("the guest's queue of the {device} makes no sense: {error}");
    }
}
