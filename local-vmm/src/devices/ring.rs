//! Queues, whichever transport carries them.
//!
//! What a device does with a queue is the same over vhost-user and over virtio-mmio; only who owns the queue and how the guest is told
//! differ. Both are behind [`Ring`].

use crate::{Chain, MemoryNow};
use std::sync::atomic::{AtomicU64, Ordering};
use virtio_queue::{Error, Queue, QueueOwnedT, QueueT};

/// Most chains that are taken from a queue at once, and most looks at whether there are more. A driver that adds chains as fast as they are used,
/// or has its device write them, must not hold a thread for ever: who wants to stop the device waits for the thread.
pub const TURN: usize = 256;

/// A queue that is ready to be served, and the way to tell its driver. Clones are the same queue.
pub trait Ring: Clone + Send + Sync + 'static {
    /// Works on the queue while nobody else does.
    fn with<T>(&self, work: impl FnOnce(&mut Queue) -> T) -> T;

    /// Tells the driver that chains were used. A driver that cannot be told looks by itself in the end.
    fn signal(&self);

    /// Has the device serve the queue again soon, as the driver does when it has put something there.
    fn again(&self);
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

/// Takes chains from a queue as long as there is a use for them. After a [turn](TURN) it has itself called [again](Ring::again).
pub fn drain(
    ring: &impl Ring,
    memory: &MemoryNow,
    wanted: impl Fn() -> bool,
    mut serve: impl FnMut(Chain) -> Served,
) -> Result<(), Error> {
    if !ring.with(|queue| queue.ready()) {
        return Ok(());
    }
    let mut left = TURN;
    let mut promised = false;
    while left > 0 {
        ring.with(|queue| queue.disable_notification(&**memory))?;
        left -= 1;
        while left > 0 && wanted() {
            let next = ring.with(|queue| queue.iter(memory.clone()).map(|mut chains| chains.next()))?;
            let Some(chain) = next else {
                if promised {
                    // There is said to be a chain and there is none: the ring lies where it cannot be read, or where the device writes.
                    return Err(Error::InvalidAvailRingIndex);
                }
                break;
            };
            promised = false;
            left -= 1;
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
        promised = ring.with(|queue| queue.enable_notification(&**memory))?;
        if !promised || !wanted() {
            return Ok(());
        }
    }
    ring.again();
    Ok(())
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

/// A guest that breaks its own queue only loses the device until it mends it; here it is told to the log, more and more seldom the oftener it does.
pub fn forgive(device: &str, outcome: Result<(), Error>) {
    static TIMES: AtomicU64 = AtomicU64::new(0);
    if let Err(error) = outcome {
        let times = TIMES.fetch_add(1, Ordering::Relaxed) + 1;
        if times.is_power_of_two() {
            tracing::warn!("the guest's queue of the {device} makes no sense (seen {times} times): {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::testing::{Driver, MEMORY, WRITE, memory};
    use vm_memory::{Bytes, GuestAddress};

    #[test]
    fn a_driver_that_never_ends_has_its_turn_and_no_more() {
        let mut driver = Driver::new(&memory(), 0);
        driver.chain(&[(0x8000, 16, WRITE, 0)]);
        let mut count = 0u16;
        let done = drain(
            &driver.ring,
            &driver.now(),
            || true,
            |_| {
                count += 1;
                driver.memory.write_obj(count + 1, GuestAddress(0x402)).unwrap();
                Served::Used(0)
            },
        );
        assert!(done.is_ok() && usize::from(count) < TURN && usize::from(count) > TURN / 2);
        assert_eq!(driver.ring.called_again(), 1);
        // What is left comes in the next turn.
        let done = drain(
            &driver.ring,
            &driver.now(),
            || true,
            |_| {
                count += 1;
                Served::Used(0)
            },
        );
        assert!(done.is_ok());
        assert_eq!((driver.ring.called_again(), driver.ring.with(|queue| queue.next_avail())), (0, count));
        assert_eq!(driver.memory.read_obj::<u16>(GuestAddress(0x402)).unwrap(), count);
    }

    #[test]
    fn rings_that_promise_what_is_not_there() {
        // The offers' number is the last thing in the memory, so that no offer can be read.
        let driver = Driver::new(&memory(), 0);
        driver.memory.write_obj(1u16, GuestAddress(MEMORY as u64 - 2)).unwrap();
        driver.ring.with(|queue| queue.set_avail_ring_address(Some(MEMORY as u32 - 4), Some(0)));
        assert!(drain(&driver.ring, &driver.now(), || true, |_| Served::Used(0)).is_err());
        // It lies where the device says whether it wants to be told.
        let driver = Driver::new(&memory(), 0);
        driver.ring.with(|queue| queue.set_avail_ring_address(Some(0x7fe), Some(0)));
        assert!(drain(&driver.ring, &driver.now(), || true, |_| Served::Used(0)).is_err());
    }
}
