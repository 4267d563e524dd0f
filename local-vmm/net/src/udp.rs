//! UDP: each conversation of the guest's has a socket of the host's, connected to its other end.
//!
//! So only that other end can answer, its errors come back, and no socket is shared. What it costs: who learns the guest's outside address from one
//! server cannot be reached there by another, as calls between two machines behind routers would want.

use crate::access::Grant;
use crate::cable::MTU;
use crate::event::{Event, Kind, Outcome, Reason};
use crate::frame::{Datagram, Pair};
use crate::gateway::{Around, Who};
use crate::ready::Ringer;
use crate::reply::{self, Unreachable};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Context;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;

/// Most datagrams of one conversation before the others have their turn.
const TURN: usize = 64;

/// How long after its last datagram a conversation is looked at for errors.
const LATELY: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct Udp {
    flows: HashMap<Pair, Flow>,
    /// Those that wait for room on the cable.
    held: VecDeque<Pair>,
    most: usize,
    idle: Duration,
}

#[derive(Debug)]
struct Flow {
    socket: UdpSocket,
    grant: Grant,
    moved: Instant,
    sent: u64,
    received: u64,
    ringer: Ringer<Who>,
    held: bool,
    /// Headers of the last datagram, for an error that comes back.
    last: Headers,
}

/// As much of a packet as tells which conversation it was: both headers, of IPv6 at most.
#[derive(Clone, Copy, Debug)]
struct Headers {
    bytes: [u8; 48],
    len: usize,
}

impl Flow {
    /// An error came back for what was sent.
    fn tell(&self, error: &io::Error, around: &mut Around) {
        let refused = error.kind() == io::ErrorKind::ConnectionRefused;
        let why = if refused { Unreachable::Port } else { Unreachable::Host };
        reply::unreachable(&mut around.out, &around.plan, why, &self.last.bytes[..self.last.len]);
    }
}

impl Headers {
    fn of(packet: &[u8]) -> Self {
        let mut bytes = [0; 48];
        let len = packet.len().min(bytes.len());
        bytes[..len].copy_from_slice(&packet[..len]);
        Self { bytes, len }
    }
}

impl Udp {
    pub(crate) fn new(most: usize, idle: Duration) -> Self {
        Self { flows: HashMap::new(), held: VecDeque::new(), most, idle }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    /// The guest sent a datagram.
    pub(crate) fn datagram(&mut self, datagram: &Datagram<'_>, around: &mut Around) {
        let pair = datagram.pair;
        let Some(flow) = self.flows.get_mut(&pair) else { return self.open(datagram, around) };
        flow.moved = around.clock.now;
        flow.last = Headers::of(datagram.packet);
        match flow.socket.try_send(datagram.payload) {
            Ok(sent) => {
                flow.sent += sent as u64;
                around.counters.sent += sent as u64;
            }
            // A datagram before this one was refused. This one may be for somebody who listens by now.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let _ = flow.socket.try_send(datagram.payload);
                reply::unreachable(&mut around.out, &around.plan, Unreachable::Port, datagram.packet);
            }
            // The host's socket is full, and datagrams get lost.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => reply::unreachable(&mut around.out, &around.plan, Unreachable::Host, datagram.packet),
        }
    }

    /// The first datagram of a conversation.
    fn open(&mut self, datagram: &Datagram<'_>, around: &mut Around) {
        let pair = datagram.pair;
        let (address, port) = (pair.remote.ip(), pair.remote.port());
        if around.plan.is_gateway(address) {
            return reply::unreachable(&mut around.out, &around.plan, Unreachable::Port, datagram.packet);
        }
        let grant = match around.access.connect(address, Some(port), around.clock.now) {
            Ok(grant) => grant,
            Err(denial) => {
                let grant = Grant { name: denial.name, rule: denial.rule };
                around.report(Kind::Udp, Outcome::Denied, pair, &grant, Some(denial.reason));
                return reply::unreachable(
                    &mut around.out,
                    &around.plan,
                    Unreachable::Forbidden,
                    datagram.packet,
                );
            }
        };
        if self.flows.len() >= self.most {
            // There are a thousand at most, and this is no common case.
            let silent = self.flows.iter().min_by_key(|(_, flow)| flow.moved).map(|(pair, _)| *pair);
            if let Some(silent) = silent {
                self.end(silent, Outcome::Closed, Some(Reason::TooMany), around);
            }
        }
        match connect(pair.remote, datagram.payload) {
            Ok(socket) => {
                around.report(Kind::Udp, Outcome::Allowed, pair, &grant, None);
                let ringer = around.bell.ringer(Who::Udp(pair));
                let (moved, sent) = (around.clock.now, datagram.payload.len() as u64);
                around.counters.sent += sent;
                let (received, held, last) = (0, false, Headers::of(datagram.packet));
                self.flows.insert(pair, Flow { socket, grant, moved, sent, received, ringer, held, last });
                // The bell is to ring from now on.
                self.rung(pair, around);
            }
            Err(_) => {
                around.report(Kind::Udp, Outcome::Failed, pair, &grant, Some(Reason::Unreachable));
                reply::unreachable(&mut around.out, &around.plan, Unreachable::Host, datagram.packet);
            }
        }
    }

    /// Something has come for the guest.
    pub(crate) fn rung(&mut self, pair: Pair, around: &mut Around) {
        let Some(flow) = self.flows.get_mut(&pair) else { return };
        flow.ringer.rearm();
        let mut context = Context::from_waker(flow.ringer.waker());
        // One more than fits, to tell what does not.
        let mut bytes = [0; MTU + 1];
        for _ in 0..TURN {
            if !around.out.has_room() {
                break;
            }
            match flow.socket.try_recv(&mut bytes) {
                Ok(read) => {
                    flow.moved = around.clock.now;
                    flow.received += read as u64;
                    around.counters.received += read as u64;
                    reply::datagram(&mut around.out, &around.plan, pair, &bytes[..read]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if flow.socket.poll_recv_ready(&mut context).is_pending() {
                        return;
                    }
                }
                Err(error) => flow.tell(&error, around),
            }
        }
        if !flow.held {
            flow.held = true;
            self.held.push_back(pair);
        }
    }

    /// Goes on with those that had more for the guest than there was room for.
    pub(crate) fn serve(&mut self, around: &mut Around) {
        for _ in 0..self.held.len() {
            if !around.out.has_room() {
                return;
            }
            let Some(pair) = self.held.pop_front() else { return };
            if let Some(flow) = self.flows.get_mut(&pair) {
                flow.held = false;
                self.rung(pair, around);
            }
        }
    }

    /// Whether any wait for room on the cable, or their turn.
    pub(crate) fn is_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Once a second: what was silent for long is forgotten, and who spoke lately hears of errors. The runtime wakes nobody for an error alone.
    pub(crate) fn second(&mut self, around: &mut Around) {
        let now = around.clock.now;
        for flow in self.flows.values().filter(|flow| now - flow.moved <= LATELY) {
            if let Ok(Some(error)) = flow.socket.take_error() {
                flow.tell(&error, around);
            }
        }
        let silent =
            self.flows.iter().filter(|(_, flow)| now - flow.moved > self.idle).map(|(pair, _)| *pair);
        for pair in silent.collect::<Vec<_>>() {
            self.end(pair, Outcome::Closed, None, around);
        }
    }

    /// The policy has changed: what is allowed no more is cut.
    pub(crate) fn review(&mut self, around: &mut Around) {
        let mut cut = Vec::new();
        for (pair, flow) in &mut self.flows {
            let (address, port) = (pair.remote.ip(), pair.remote.port());
            match around.access.still(&flow.grant, address, Some(port), around.clock.now) {
                Ok(grant) => flow.grant = grant,
                Err(denial) => {
                    flow.grant.rule = denial.rule;
                    cut.push((*pair, denial.reason));
                }
            }
        }
        for (pair, reason) in cut {
            self.end(pair, Outcome::Cut, Some(reason), around);
        }
    }

    fn end(&mut self, pair: Pair, outcome: Outcome, reason: Option<Reason>, around: &mut Around) {
        let Some(flow) = self.flows.remove(&pair) else { return };
        let (sent, received) = (flow.sent, flow.received);
        let event = Event { sent, received, ..around.event(Kind::Udp, outcome, pair, &flow.grant, reason) };
        around.log.add(event, around.clock.now);
    }
}

/// A socket for a conversation, and its first datagram. A socket of the runtime's takes none before the runtime has looked at it.
fn connect(to: SocketAddr, first: &[u8]) -> io::Result<UdpSocket> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(to)?;
    socket.send(first)?;
    UdpSocket::from_std(socket)
}
