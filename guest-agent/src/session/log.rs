//! The output of one session between its process and its clients.
//!
//! One bounded ring of bytes; each client has its own position in it. Three rules:
//!
//! 1. With clients, the process is held back while one of them is a whole window behind. So a slow client slows the
//!    process down, as a slow terminal would, and memory stays bounded.
//! 2. A client that takes nothing at all for [`PATIENCE`] is not waited for any more while another one reads. When it falls
//!    out of the ring it has *lost* its place, and is told.
//! 3. Without clients nothing is held back; the oldest output goes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long a client that takes nothing holds up the others.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Price of a segment in the bound, so that output in tiny alternating pieces is bounded too.
const SEGMENT_COST: usize = 32;

/// The ring.
#[derive(Debug)]
pub(crate) struct Log {
    inner: Mutex<Inner>,
    /// Wakes clients.
    data: Notify,
    /// Wakes the one who fills the ring.
    room: Notify,
    window: u64,
    capacity: usize,
    /// Keep output that every client has seen, for those who attach later.
    keep: bool,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: VecDeque<u8>,
    /// Runs of bytes of one stream, each with the position of its end.
    segments: VecDeque<(u8, u64)>,
    /// Positions count all bytes since the session began.
    start: u64,
    end: u64,
    readers: HashMap<u64, Place>,
    next_reader: u64,
    finished: Option<u8>,
}

/// A client's place.
#[derive(Clone, Copy, Debug)]
struct Place {
    position: u64,
    /// When it last took something, or last had nothing to take.
    taken: Instant,
}

/// What comes next for a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Output of one stream. With a prefix asked for, the stream id is the first byte.
    Data(Vec<u8>),
    /// Output was dropped between the last piece and now.
    Lost,
    /// The session is over and all was delivered.
    End(u8),
}

impl Log {
    /// An empty log. `keep` keeps delivered output for later clients.
    pub(crate) fn new(window: usize, capacity: usize, keep: bool) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            data: Notify::new(),
            room: Notify::new(),
            window: window as u64,
            // A lone client must never lose its place, also when each of two streams adds a piece past the window.
            capacity: capacity.max(2 * window),
            keep,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until output is wanted (rules 1 to 3).
    pub(crate) async fn room(&self) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            let hold = self.lock().hold(self.window);
            match hold {
                Hold::Free => return,
                Hold::Full => room.await,
                Hold::Until(instant) => {
                    // Either way the question is asked again.
                    let _ = tokio::time::timeout_at(instant.into(), room).await;
                }
            }
        }
    }

    /// Adds output.
    pub(crate) fn append(&self, stream: u8, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut inner = self.lock();
        let (before, now) = (inner.end, Instant::now());
        for place in inner.readers.values_mut().filter(|place| place.position == before) {
            place.taken = now;
        }
        inner.bytes.extend(bytes);
        inner.end += bytes.len() as u64;
        let end = inner.end;
        match inner.segments.back_mut() {
            Some(last) if last.0 == stream => last.1 = end,
            _ => inner.segments.push_back((stream, end)),
        }
        inner.trim(self.capacity, self.keep);
        drop(inner);
        self.data.notify_waiters();
    }

    /// Marks the end of the output.
    pub(crate) fn finish(&self, code: u8) {
        self.lock().finished = Some(code);
        self.data.notify_waiters();
    }

    /// A client that begins with the oldest output kept.
    pub(crate) fn reader_from_start(self: &Arc<Self>) -> Reader {
        self.reader(|inner| inner.start)
    }

    /// A client that begins with the next output.
    pub(crate) fn reader_from_end(self: &Arc<Self>) -> Reader {
        self.reader(|inner| inner.end)
    }

    fn reader(self: &Arc<Self>, position: impl FnOnce(&Inner) -> u64) -> Reader {
        let mut inner = self.lock();
        let id = inner.next_reader;
        inner.next_reader += 1;
        let position = position(&inner);
        inner.readers.insert(id, Place { position, taken: Instant::now() });
        Reader { log: self.clone(), id }
    }
}

/// Whether the process must wait.
enum Hold {
    Free,
    /// Until a client takes something.
    Full,
    /// Until then, or until a client takes something.
    Until(Instant),
}

impl Inner {
    fn hold(&self, window: u64) -> Hold {
        let behind = |place: &&Place| self.cost_after(place.position) >= window;
        let Some(latest) = self.readers.values().filter(behind).map(|place| place.taken).max() else {
            return Hold::Free;
        };
        if self.readers.values().all(|place| behind(&place)) {
            return Hold::Full;
        }
        let until = latest + PATIENCE;
        if Instant::now() < until { Hold::Until(until) } else { Hold::Free }
    }

    /// What the output after `position` counts for in the bound.
    fn cost_after(&self, position: u64) -> u64 {
        let segments = self.segments.len() - self.segments.partition_point(|(_, end)| *end <= position);
        self.end - position + (SEGMENT_COST * segments) as u64
    }

    fn move_reader(&mut self, id: u64, position: u64) {
        self.readers.insert(id, Place { position, taken: Instant::now() });
    }

    fn trim(&mut self, capacity: usize, keep: bool) {
        let cost = self.bytes.len() + SEGMENT_COST * self.segments.len();
        let mut excess = cost.saturating_sub(capacity);
        if !keep {
            // Bytes that the slowest client has taken serve nobody any more.
            let slowest = self.readers.values().map(|place| place.position).min().unwrap_or(self.end);
            excess = excess.max(slowest.saturating_sub(self.start) as usize);
        }
        while excess > 0 {
            let Some((_, end)) = self.segments.front().copied() else { return };
            let length = (end - self.start) as usize;
            if length <= excess {
                self.segments.pop_front();
                excess = excess.saturating_sub(length + if keep { SEGMENT_COST } else { 0 });
                self.bytes.drain(..length);
                self.start = end;
            } else {
                self.bytes.drain(..excess);
                self.start += excess as u64;
                return;
            }
        }
    }
}

/// One client's place in a log. Dropping it frees the process from waiting for this client.
#[derive(Debug)]
pub(crate) struct Reader {
    log: Arc<Log>,
    id: u64,
}

impl Reader {
    /// Waits for the next piece, at most `max` bytes. Cancelling loses nothing.
    pub(crate) async fn next(&mut self, max: usize, prefix: bool) -> Next {
        loop {
            let data = self.log.data.notified();
            tokio::pin!(data);
            data.as_mut().enable();
            if let Some(next) = self.take(max, prefix) {
                return next;
            }
            data.await;
        }
    }

    fn take(&self, max: usize, prefix: bool) -> Option<Next> {
        let mut inner = self.log.lock();
        let position = inner.readers.get(&self.id).map_or(inner.end, |place| place.position);
        if position < inner.start {
            let start = inner.start;
            inner.move_reader(self.id, start);
            return Some(Next::Lost);
        }
        if position == inner.end {
            return inner.finished.map(Next::End);
        }
        let index = inner.segments.partition_point(|(_, end)| *end <= position);
        let (stream, end) = *inner.segments.get(index)?;
        let from = (position - inner.start) as usize;
        let length = ((end - position) as usize).min(max);
        let mut piece = Vec::with_capacity(length + 1);
        if prefix {
            piece.push(stream);
        }
        piece.extend(inner.bytes.range(from..from + length));
        inner.move_reader(self.id, position + length as u64);
        if !self.log.keep {
            inner.trim(self.log.capacity, false);
        }
        drop(inner);
        self.log.room.notify_waiters();
        Some(Next::Data(piece))
    }

    /// Goes on with the next output, leaving out what lies between.
    pub(crate) fn skip_to_end(&mut self) {
        let mut inner = self.log.lock();
        let end = inner.end;
        inner.move_reader(self.id, end);
        drop(inner);
        self.log.room.notify_waiters();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.log.lock().readers.remove(&self.id);
        self.log.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use proptest::prelude::*;

    fn held(log: &Log) -> bool {
        log.room().now_or_never().is_none()
    }

    #[test]
    fn a_lone_reader_holds_the_process_back() {
        let log = Log::new(100, 200, true);
        assert!(!held(&log));
        let mut reader = log.reader_from_start();
        log.append(1, &[7; 70]);
        assert!(held(&log));
        assert_eq!(reader.next(4, true).now_or_never(), Some(Next::Data(vec![1, 7, 7, 7, 7])));
        assert!(!held(&log));
        log.append(1, &[7; 10]);
        assert!(held(&log));
        drop(reader);
        assert!(!held(&log));
    }

    #[test]
    fn a_reader_that_stands_still_beside_one_that_reads_loses_its_place() {
        let log = Log::new(64, 128, false);
        let (mut still, mut moving) = (log.reader_from_start(), log.reader_from_start());
        for _ in 0..8 {
            log.append(1, &[0; 32]);
            assert!(matches!(moving.next(64, false).now_or_never(), Some(Next::Data(_))));
        }
        assert_eq!(still.next(64, false).now_or_never(), Some(Next::Lost));
        still.skip_to_end();
        log.finish(3);
        assert_eq!(still.next(64, false).now_or_never(), Some(Next::End(3)));
        assert_eq!(moving.next(64, false).now_or_never(), Some(Next::End(3)));
    }

    #[test]
    fn patience_ends() {
        let log = Log::new(64, 256, false);
        let (still, mut moving) = (log.reader_from_start(), log.reader_from_start());
        log.append(1, &[0; 100]);
        assert!(matches!(log.lock().hold(64), Hold::Full), "both are behind");
        moving.next(100, false).now_or_never().unwrap();
        assert!(matches!(log.lock().hold(64), Hold::Until(_)), "one may still read");
        log.lock().readers.get_mut(&still.id).unwrap().taken -= PATIENCE;
        assert!(matches!(log.lock().hold(64), Hold::Free), "it has had its time");
        drop(moving);
        assert!(matches!(log.lock().hold(64), Hold::Full), "alone it is waited for");
    }

    #[test]
    fn tiny_alternating_pieces_are_bounded() {
        let log = Log::new(1 << 10, 4 << 10, true);
        for round in 0..100_000u32 {
            log.append(1 + (round % 2) as u8, b"x");
        }
        let inner = log.lock();
        assert!(inner.segments.len() * SEGMENT_COST + inner.bytes.len() <= 4 << 10);
        assert_eq!(inner.end - inner.start, inner.bytes.len() as u64);
    }

    proptest! {
        /// Whatever the sizes, a reader that keeps up sees every byte of every stream in order.
        #[test]
        fn nothing_is_changed(pieces in prop::collection::vec((1u8..3, prop::collection::vec(any::<u8>(), 1..40)), 0..60), max in 1usize..50) {
            let log = Log::new(64, 256, false);
            let mut reader = log.reader_from_start();
            let mut seen = Vec::new();
            for (stream, bytes) in &pieces {
                log.append(*stream, bytes);
                while let Some(Next::Data(piece)) = reader.next(max, true).now_or_never() {
                    seen.extend(piece[1..].iter().map(|byte| (piece[0], *byte)));
                }
            }
            let wanted: Vec<(u8, u8)> =
                pieces.iter().flat_map(|(stream, bytes)| bytes.iter().map(|byte| (*stream, *byte))).collect();
            prop_assert_eq!(seen, wanted);
            prop_assert!(log.lock().bytes.is_empty());
        }
    }
}
