//! One connection of the guest's, from its SYN to its end.
//!
//! The server is connected before the SYN is answered, so the guest learns what a direct connection would tell it: refused, unreachable, or nothing
//! for long. Until then a connection is the SYN's packet and a socket. After that bytes go from the guest's window into the server's socket and
//! from there into the guest's window, without a copy in between; what one side does not take, the other is not asked for.

use super::budget::Buffers;
use super::far::Far;
use super::stack::{Sent, Stack};
use crate::access::Grant;
use crate::cable::Outgoing;
use crate::clock::Clock;
use crate::frame::Pair;
use crate::ready::Ringer;
use crate::timers::Due;
use smoltcp::socket::tcp::State as TcpState;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Most bytes that one connection moves in one direction before the others have their turn.
const TURN: usize = 256 << 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) pair: Pair,
    pub(crate) grant: Grant,
    /// Different for each, also for two that follow each other under the same pair.
    pub(crate) number: u64,
    pub(crate) began: Instant,
    /// When something moved last.
    pub(crate) moved: Instant,
    pub(crate) due: Due,
    pub(crate) ringer: Ringer<crate::gateway::Who>,
    /// It is on the list of those to be served.
    pub(crate) listed: bool,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    stage: Stage,
}

enum Stage {
    /// The server is asked.
    Connecting { asks: Pin<Box<dyn Future<Output = io::Result<Far>> + Send>>, syn: Box<[u8]> },
    /// Both sides are there.
    Joined(Box<Joined>),
}

#[derive(Debug)]
struct Joined {
    stack: Stack,
    far: Option<Far>,
    buffers: Option<Buffers>,
    /// The guest has answered.
    open: bool,
    /// The server has been told that the guest has finished.
    guest_finished: bool,
    /// The server has finished.
    far_finished: bool,
}

/// What has become of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Now {
    /// It goes on.
    Lives,
    /// It goes on, and would have more for the guest, but the cable is full.
    Held,
    /// It goes on, and has more to do at once.
    More,
    /// Both sides have finished, or one has broken it off.
    Ended,
}

/// What has become of the server.
pub(crate) enum Asked {
    /// It is still asked.
    Pending,
    /// It is there.
    There,
    /// It is not.
    Failed(io::Error, Box<[u8]>),
}

impl Connection {
    /// A connection that waits for its server. `syn` is the packet that asked for it.
    pub(crate) fn new(
        pair: Pair,
        grant: Grant,
        number: u64,
        asks: impl Future<Output = io::Result<Far>> + Send + 'static,
        syn: &[u8],
        ringer: Ringer<crate::gateway::Who>,
        now: Instant,
    ) -> Self {
        Self {
            pair,
            grant,
            number,
            began: now,
            moved: now,
            due: Due::default(),
            ringer,
            listed: false,
            sent: 0,
            received: 0,
            stage: Stage::Connecting { asks: Box::pin(asks), syn: syn.into() },
        }
    }

    /// Whether either side has not answered yet.
    pub(crate) fn is_half_open(&self) -> bool {
        match &self.stage {
            Stage::Connecting { .. } => true,
            Stage::Joined(joined) => !joined.open,
        }
    }

    /// Whether one side has finished.
    pub(crate) fn is_half_closed(&self) -> bool {
        matches!(&self.stage, Stage::Joined(joined) if joined.guest_finished || joined.far_finished)
    }

    /// The packet that asked for a connection whose server has not answered yet.
    pub(crate) fn syn(&self) -> Option<&[u8]> {
        match &self.stage {
            Stage::Connecting { syn, .. } => Some(syn),
            Stage::Joined(_) => None,
        }
    }

    /// Asks the server. Once it is there, the guest's SYN is answered.
    pub(crate) fn ask(
        &mut self,
        buffers: impl FnOnce() -> Buffers,
        seed: u64,
        clock: Clock,
        out: &mut Outgoing,
    ) -> Asked {
        let Stage::Connecting { asks, syn } = &mut self.stage else { return Asked::There };
        match asks.as_mut().poll(&mut Context::from_waker(self.ringer.waker())) {
            Poll::Pending => Asked::Pending,
            Poll::Ready(Err(error)) => Asked::Failed(error, std::mem::take(syn)),
            Poll::Ready(Ok(far)) => {
                let buffers = buffers();
                let mut stack = Stack::new(self.pair, buffers.each, seed, clock.smol(), out);
                stack.receive(syn, clock.smol(), out);
                self.moved = clock.now;
                self.stage = Stage::Joined(Box::new(Joined {
                    stack,
                    far: Some(far),
                    buffers: Some(buffers),
                    open: false,
                    guest_finished: false,
                    far_finished: false,
                }));
                Asked::There
            }
        }
    }

    /// The guest sent a packet.
    pub(crate) fn receive(&mut self, packet: &[u8], clock: Clock, out: &mut Outgoing) {
        if let Stage::Joined(joined) = &mut self.stage {
            joined.stack.receive(packet, clock.smol(), out);
            joined.look();
        }
    }

    /// Moves what can be moved in both directions.
    pub(crate) fn serve(&mut self, clock: Clock, out: &mut Outgoing) -> Now {
        let Stage::Joined(joined) = &mut self.stage else { return Now::Lives };
        let mut context = Context::from_waker(self.ringer.waker());
        let (sent, received, broken) = joined.exchange(&mut context);
        self.sent += sent as u64;
        self.received += received as u64;
        if sent + received > 0 {
            self.moved = clock.now;
        }
        if broken {
            joined.stack.socket().abort();
        }
        let all = joined.stack.send(clock.smol(), out);
        let ended = match joined.stack.socket().state() {
            // Its reset has to get out first.
            TcpState::Closed => all == Sent::All,
            // Nothing gets lost on this cable, so there is nobody to wait for.
            TcpState::TimeWait => all == Sent::All && joined.guest_finished,
            _ => false,
        };
        match all {
            _ if ended => Now::Ended,
            Sent::Some => Now::Held,
            Sent::All if sent >= TURN || received >= TURN => Now::More,
            Sent::All => Now::Lives,
        }
    }

    /// When it wants to be served, whatever comes.
    pub(crate) fn wants_at(&mut self, clock: Clock) -> Option<Instant> {
        let Stage::Joined(joined) = &mut self.stage else { return None };
        // It has just sent all it could, so "at once" is never meant.
        let soonest = clock.now + Duration::from_millis(1);
        joined.stack.due(clock.smol()).map(|at| clock.std(at).max(soonest))
    }

    /// Breaks it off on both sides. The guest's reset is sent if there is room for it.
    pub(crate) fn cut(&mut self, clock: Clock, out: &mut Outgoing) {
        if let Stage::Joined(joined) = &mut self.stage {
            joined.stack.socket().abort();
            joined.stack.send(clock.smol(), out);
        }
    }

    /// Lets go of the server, and gives back its buffers.
    pub(crate) fn end(self) -> Option<Buffers> {
        let Stage::Joined(mut joined) = self.stage else { return None };
        if let Some(far) = joined.far.take() {
            if joined.guest_finished && joined.far_finished {
                drop(far);
            } else {
                far.reset();
            }
        }
        joined.buffers.take()
    }
}

impl Joined {
    /// Whether the guest has answered. One whose answer is among the frames of this turn is not half open any more.
    fn look(&mut self) {
        self.open |= !matches!(self.stack.socket().state(), TcpState::Listen | TcpState::SynReceived);
    }

    /// Moves bytes: how many from the guest, how many for it, and whether the server has broken off.
    fn exchange(&mut self, context: &mut Context<'_>) -> (usize, usize, bool) {
        let Some(far) = &self.far else { return (0, 0, false) };
        let socket = self.stack.socket();
        let (mut sent, mut received) = (0, 0);
        while sent < TURN && socket.can_recv() {
            let result = socket.recv(|bytes| match far.try_write(bytes) {
                Ok(written) => (written, Ok(written)),
                Err(error) => (0, Err(error)),
            });
            match result {
                Ok(Ok(written)) => sent += written,
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !far.wants_write(context) {
                        break;
                    }
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(_)) => return (sent, received, true),
                // The guest broke it off, or has finished.
                Err(_) => break,
            }
        }
        // The guest's end is behind all its bytes.
        let finished = matches!(
            socket.state(),
            TcpState::CloseWait | TcpState::LastAck | TcpState::Closing | TcpState::TimeWait
        );
        if finished && !socket.can_recv() && !self.guest_finished {
            self.guest_finished = true;
            far.finish();
        }
        while self.open && received < TURN && !self.far_finished && socket.can_send() {
            let result = socket.send(|room| match far.try_read(room) {
                Ok(read) => (read, Ok(read)),
                Err(error) => (0, Err(error)),
            });
            match result {
                Ok(Ok(0)) => {
                    self.far_finished = true;
                    socket.close();
                }
                Ok(Ok(read)) => received += read,
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !far.wants_read(context) {
                        break;
                    }
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(_)) => return (sent, received, true),
                Err(_) => break,
            }
        }
        (sent, received, false)
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connecting { .. } => f.write_str("Connecting"),
            Self::Joined(joined) => joined.fmt(f),
        }
    }
}
