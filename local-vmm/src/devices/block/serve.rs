//! The disk's queues at work.

use super::{Block, NAME};
use crate::devices::ring::{self, Ring, Served};
use crate::jail::{self, Role};
use crate::{Chain, MemoryNow};
use std::io;
use std::sync::mpsc::{self, Receiver, SendError, Sender, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The disk with its thread for flushes.
pub struct Server<R> {
    block: Arc<Block>,
    /// At most as many as the queues are long.
    flushes: Sender<Flush<R>>,
    pending: Arc<Pending>,
}

/// Flushes that have not been answered yet.
#[derive(Default)]
struct Pending {
    count: Mutex<usize>,
    none: Condvar,
}

impl Pending {
    fn change(&self, by: isize) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_add_signed(by);
        if *count == 0 {
            self.none.notify_all();
        }
    }
}

/// A flush on its way.
struct Flush<R> {
    ring: R,
    memory: MemoryNow,
    chain: Chain,
}

impl<R: Ring> Server<R> {
    /// Starts the thread for flushes, which lives as long as this.
    pub fn start(block: Block) -> io::Result<Self> {
        let block = Arc::new(block);
        let (flushes, waiting) = mpsc::channel();
        let (device, pending) = (Arc::clone(&block), Arc::<Pending>::default());
        let answered = Arc::clone(&pending);
        jail::spawn(Role::Disk, "disk-flush", move || flush(&device, &waiting, &answered))?;
        Ok(Self { block, flushes, pending })
    }

    /// The disk.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// Serves what the driver put into a queue. Several queues may be served at once, each by one thread.
    pub fn serve(&self, ring: &R, memory: &MemoryNow) {
        let done = ring::drain(
            ring,
            memory,
            || true,
            |chain| {
                if !self.block.takes_long(memory, &chain) {
                    return Served::Used(self.block.handle(memory, chain));
                }
                self.pending.change(1);
                match self.flushes.send(Flush { ring: ring.clone(), memory: memory.clone(), chain }) {
                    Ok(()) => Served::Later,
                    // The thread is gone; the flush is done here.
                    Err(SendError(flush)) => {
                        self.pending.change(-1);
                        Served::Used(self.block.handle(memory, flush.chain))
                    }
                }
            },
        );
        ring::forgive(NAME, done);
    }

    /// Waits until no flush is on its way. Nothing may be [served](Self::serve) meanwhile.
    pub fn settle(&self) {
        let count = self.pending.count.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.pending.none.wait_while(count, |count| *count > 0));
    }
}

/// Does flushes, which wait for the host's disk, and tidies up when there are none.
fn flush<R: Ring>(block: &Block, waiting: &Receiver<Flush<R>>, pending: &Pending) {
    let mut untidy = false;
    loop {
        let next = if untidy { waiting.try_recv() } else { waiting.recv().map_err(Into::into) };
        match next {
            Ok(Flush { ring, memory, chain }) => {
                let head = chain.head_index();
                let written = block.handle(&memory, chain);
                ring::forgive(NAME, ring::finish(&ring, &memory, head, written));
                pending.change(-1);
                untidy = true;
            }
            Err(TryRecvError::Empty) => untidy = block.tidy(),
            Err(TryRecvError::Disconnected) => return,
        }
    }
}
