//! How large the buffers of a connection are.
//!
//! All of them together have a limit, and every connection that is allowed at all has its [smallest](SMALLEST) buffers set aside. Of the rest each
//! new one takes a share: the first few get what a fast download needs, the thousandth what a request needs. A buffer's size cannot be changed
//! later. But the host gives memory only to pages that were written, so a connection on which little has moved costs little.

/// Bytes of the smallest buffer, of which a connection has two.
pub(crate) const SMALLEST: usize = 8 << 10;
/// Bytes of the largest. It only has to cover the way to the guest and back, some 50 microseconds: towards the server the host's own buffers grow.
const LARGEST: usize = 256 << 10;
/// Which part of what is free a connection takes, for one buffer.
const SHARE: usize = 512;

/// Bytes that are free beyond what is set aside.
#[derive(Debug)]
pub(crate) struct Budget {
    free: usize,
}

/// A connection's part of the budget. It is [given back](Budget::give).
#[derive(Debug)]
#[must_use]
pub(crate) struct Buffers {
    /// Bytes of each of the two.
    pub(crate) each: usize,
}

impl Budget {
    /// For so many connections. What is set aside for them has to be within `bytes`.
    pub(crate) fn new(bytes: usize, connections: usize) -> Self {
        Self { free: bytes.saturating_sub(connections * 2 * SMALLEST) }
    }

    pub(crate) fn take(&mut self) -> Buffers {
        let share = (self.free / SHARE).clamp(1, LARGEST);
        // A power of two at most the share.
        let each = (1 << share.ilog2()).clamp(SMALLEST, LARGEST);
        let beyond = 2 * (each - SMALLEST);
        if beyond > self.free {
            return Buffers { each: SMALLEST };
        }
        self.free -= beyond;
        Buffers { each }
    }

    pub(crate) fn give(&mut self, buffers: Buffers) {
        self.free += 2 * (buffers.each - SMALLEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_stay_within_it() {
        let (bytes, connections) = (256 << 20, 4096);
        let mut budget = Budget::new(bytes, connections);
        let all: Vec<_> = (0..connections).map(|_| budget.take()).collect();
        let sizes: Vec<_> = all.iter().map(|buffers| buffers.each).collect();
        assert!(sizes.iter().map(|each| 2 * each).sum::<usize>() <= bytes);
        assert_eq!((sizes[0], sizes[connections - 1]), (LARGEST, SMALLEST));
        assert!(sizes.is_sorted_by(|one, next| one >= next));
        assert!(sizes[100] >= 256 << 10 && sizes[500] >= 64 << 10 && sizes[1000] >= 16 << 10);
        let before = Budget::new(bytes, connections).free;
        all.into_iter().for_each(|buffers| budget.give(buffers));
        assert_eq!(budget.free, before);
    }
}
