//! TCP: connections of the guest's, each joined to one of the host's.
//!
//! | file | |
//! |---|---|
//! | `mod.rs` | all connections: which segment is whose, who may come in, who has to go |
//! | `connection.rs` | one of them, from its SYN to its end |
//! | `stack.rs` | what the guest speaks to, in smoltcp |
//! | `far.rs` | what the gateway speaks to |
//! | `budget.rs` | how large buffers are |

mod budget;
mod connection;
mod far;
mod stack;

pub(crate) use budget::SMALLEST as SMALLEST_BUFFER;

use crate::access::Grant;
use crate::dns;
use crate::event::{Event, Kind, Outcome, Reason};
use crate::frame::{Pair, Segment};
use crate::gateway::{Around, Who};
use crate::reply::{self, Unreachable};
use crate::settings::Limits;
use crate::timers::Timers;
use budget::Budget;
use connection::{Asked, Connection, Now};
use far::Far;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;

/// See the module.
#[derive(Debug)]
pub(crate) struct Tcp {
    connections: HashMap<Pair, Connection>,
    /// Those that are half open, the oldest first, and some that are not any more.
    half_open: VecDeque<(Pair, u64)>,
    /// How many really are.
    half_open_count: usize,
    /// Those to be served.
    listed: VecDeque<Pair>,
    timers: Timers<Pair>,
    budget: Budget,
    limits: Limits,
    next: u64,
}

/// Whether connections have something to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// They wait for somebody.
    Waits,
    /// There is more to do.
    Busy,
}

impl Tcp {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            connections: HashMap::new(),
            half_open: VecDeque::new(),
            half_open_count: 0,
            listed: VecDeque::new(),
            timers: Timers::new(),
            budget: Budget::new(limits.buffers, limits.connections),
            limits,
            next: 0,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// The guest sent a segment.
    pub(crate) fn segment(&mut self, segment: &Segment<'_>, around: &mut Around) {
        let Some(connection) = self.connections.get_mut(&segment.pair) else {
            if segment.syn && !segment.ack && !segment.rst && !segment.fin {
                self.open(segment, around);
            } else {
                reply::reset(&mut around.out, &around.plan, segment);
            }
            return;
        };
        if connection.syn().is_some() {
            // It asks again, or does not want to any more. Nothing else can be meant for a connection that is not there yet.
            if segment.rst {
                self.end(segment.pair, Outcome::Closed, None, around);
            }
            return;
        }
        let was_half_open = connection.is_half_open();
        connection.receive(segment.packet, around.clock, &mut around.out);
        if was_half_open && !connection.is_half_open() {
            self.half_open_count -= 1;
        }
        self.list(segment.pair);
    }

    /// The guest asks for a connection.
    fn open(&mut self, segment: &Segment<'_>, around: &mut Around) {
        let (pair, now) = (segment.pair, around.clock.now);
        let (address, port) = (pair.remote.ip(), pair.remote.port());
        let own = around.plan.is_gateway(address);
        if own && port != dns::PORT {
            return reply::reset(&mut around.out, &around.plan, segment);
        }
        let granted =
            if own { Ok(Grant::default()) } else { around.access.connect(address, Some(port), now) };
        let grant = match granted {
            Ok(grant) => grant,
            Err(denial) => {
                let grant = Grant { name: denial.name, rule: denial.rule };
                around.report(Kind::Tcp, Outcome::Denied, pair, &grant, Some(denial.reason));
                return reply::reset(&mut around.out, &around.plan, segment);
            }
        };
        if !self.make_room(around) {
            around.report(Kind::Tcp, Outcome::Denied, pair, &grant, Some(Reason::TooMany));
            return reply::reset(&mut around.out, &around.plan, segment);
        }
        self.next += 1;
        let (number, ringer) = (self.next, around.bell.ringer(Who::Tcp(pair)));
        let syn = segment.packet;
        let connection = if own {
            let door = around.door.clone();
            let asks = async move {
                let (ours, theirs) = UnixStream::pair()?;
                tokio::spawn(dns::serve(theirs, door));
                Ok(Far::Gateway(ours))
            };
            Connection::new(pair, grant, number, asks, syn, ringer, now)
        } else {
            Connection::new(pair, grant, number, Far::connect(pair.remote), syn, ringer, now)
        };
        self.connections.insert(pair, connection);
        self.half_open.push_back((pair, number));
        self.half_open_count += 1;
        self.tidy();
        self.list(pair);
    }

    /// Makes room for another connection: the oldest one that is half open gives way. False when all that there may be are open.
    fn make_room(&mut self, around: &mut Around) -> bool {
        while self.half_open_count >= self.limits.half_open
            || self.connections.len() >= self.limits.connections
        {
            let Some((pair, number)) = self.half_open.pop_front() else { return false };
            if self.is_half_open(pair, number) {
                self.break_off(pair, Outcome::Failed, Reason::TooMany, around);
            }
        }
        true
    }

    fn is_half_open(&self, pair: Pair, number: u64) -> bool {
        self.connections
            .get(&pair)
            .is_some_and(|connection| connection.number == number && connection.is_half_open())
    }

    /// Drops what is left over from connections that are gone or open.
    fn tidy(&mut self) {
        if self.half_open.len() > 2 * self.half_open_count + 1024 {
            let mut half_open = std::mem::take(&mut self.half_open);
            half_open.retain(|(pair, number)| self.is_half_open(*pair, *number));
            self.half_open = half_open;
        }
        let connections = &self.connections;
        self.timers.tidy(connections.len(), |pair| connections.get(pair).map(|connection| &connection.due));
    }

    /// Something about a server has changed.
    pub(crate) fn rung(&mut self, pair: Pair) {
        if let Some(connection) = self.connections.get(&pair) {
            connection.ringer.rearm();
            self.list(pair);
        }
    }

    fn list(&mut self, pair: Pair) {
        if let Some(connection) = self.connections.get_mut(&pair)
            && !connection.listed
        {
            connection.listed = true;
            self.listed.push_back(pair);
        }
    }

    /// Whether any wait only for room on the cable, or their turn.
    pub(crate) fn is_listed(&self) -> bool {
        !self.listed.is_empty()
    }

    /// Serves each connection that something has happened to.
    pub(crate) fn serve(&mut self, around: &mut Around) -> Rest {
        while let Some((at, pair)) = self.timers.pop(around.clock.now) {
            if self.connections.get_mut(&pair).is_some_and(|connection| connection.due.taken(at)) {
                self.list(pair);
            }
        }
        let mut rest = Rest::Waits;
        // Those that are listed meanwhile have their turn next.
        for _ in 0..self.listed.len() {
            let Some(pair) = self.listed.pop_front() else { break };
            let Some(connection) = self.connections.get_mut(&pair) else { continue };
            connection.listed = false;
            if connection.syn().is_some() && !self.ask(pair, around) {
                continue;
            }
            let Some(connection) = self.connections.get_mut(&pair) else { continue };
            let (sent, received) = (connection.sent, connection.received);
            let now = connection.serve(around.clock, &mut around.out);
            around.counters.sent += connection.sent - sent;
            around.counters.received += connection.received - received;
            if let Some(at) = connection.wants_at(around.clock).filter(|_| now == Now::Lives) {
                self.timers.set(pair, &mut connection.due, at);
            }
            match now {
                Now::Lives => {}
                Now::Held => self.list(pair),
                Now::More => {
                    self.list(pair);
                    rest = Rest::Busy;
                }
                Now::Ended => self.end(pair, Outcome::Closed, None, around),
            }
        }
        rest
    }

    /// Asks a server that has not answered yet. True when it has now.
    fn ask(&mut self, pair: Pair, around: &mut Around) -> bool {
        let Some(connection) = self.connections.get_mut(&pair) else { return false };
        let Ok(seed) = getrandom::u64() else { return false };
        match connection.ask(|| self.budget.take(), seed, around.clock, &mut around.out) {
            Asked::Pending => false,
            Asked::There => {
                let grant = connection.grant.clone();
                if !around.plan.is_gateway(pair.remote.ip()) {
                    around.report(Kind::Tcp, Outcome::Allowed, pair, &grant, None);
                }
                true
            }
            Asked::Failed(error, syn) => {
                let reason = reason(&error);
                if reason != Reason::Refused {
                    // A guest that goes by it knows more than from the reset alone.
                    reply::unreachable(&mut around.out, &around.plan, Unreachable::Host, &syn);
                }
                refuse(&syn, around);
                self.end(pair, Outcome::Failed, Some(reason), around);
                false
            }
        }
    }

    /// When to look at them next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Once a second: what has waited too long goes.
    pub(crate) fn second(&mut self, around: &mut Around) {
        let seconds = Duration::from_secs;
        let (now, limits) = (around.clock.now, self.limits);
        let overdue = |connection: &Connection| {
            let (silent, age) = (now - connection.moved, now - connection.began);
            if connection.is_half_open() {
                (age > seconds(limits.connect_seconds)).then_some(Reason::TimedOut)
            } else if connection.is_half_closed() {
                (silent > seconds(limits.half_closed_seconds)).then_some(Reason::Idle)
            } else {
                (silent > seconds(limits.idle_seconds)).then_some(Reason::Idle)
            }
        };
        let overdue: Vec<_> =
            self.connections.values().filter_map(|one| Some((one.pair, overdue(one)?))).collect();
        for (pair, reason) in overdue {
            let outcome = if reason == Reason::Idle { Outcome::Closed } else { Outcome::Failed };
            self.break_off(pair, outcome, reason, around);
        }
    }

    /// The policy has changed: what is allowed no more is cut.
    pub(crate) fn review(&mut self, around: &mut Around) {
        let mut cut = Vec::new();
        for connection in self.connections.values_mut() {
            let (address, port) = (connection.pair.remote.ip(), connection.pair.remote.port());
            if around.plan.is_gateway(address) {
                continue;
            }
            match around.access.still(&connection.grant, address, Some(port), around.clock.now) {
                Ok(grant) => connection.grant = grant,
                Err(denial) => {
                    connection.grant.rule = denial.rule;
                    cut.push((connection.pair, denial.reason));
                }
            }
        }
        for (pair, reason) in cut {
            self.break_off(pair, Outcome::Cut, reason, around);
        }
    }

    /// Breaks a connection off on both sides.
    fn break_off(&mut self, pair: Pair, outcome: Outcome, reason: Reason, around: &mut Around) {
        let Some(connection) = self.connections.get_mut(&pair) else { return };
        match connection.syn().map(Box::<[u8]>::from) {
            Some(syn) => {
                if reason == Reason::TimedOut {
                    reply::unreachable(&mut around.out, &around.plan, Unreachable::Host, &syn);
                }
                refuse(&syn, around);
            }
            None => connection.cut(around.clock, &mut around.out),
        }
        self.end(pair, outcome, Some(reason), around);
    }

    /// A connection has ended, or never was.
    fn end(&mut self, pair: Pair, outcome: Outcome, reason: Option<Reason>, around: &mut Around) {
        let Some(connection) = self.connections.remove(&pair) else { return };
        if connection.is_half_open() {
            self.half_open_count -= 1;
        }
        if !around.plan.is_gateway(pair.remote.ip()) {
            let (sent, received) = (connection.sent, connection.received);
            let event =
                Event { sent, received, ..around.event(Kind::Tcp, outcome, pair, &connection.grant, reason) };
            around.log.add(event, around.clock.now);
        }
        if let Some(buffers) = connection.end() {
            self.budget.give(buffers);
        }
    }
}

/// Refuses a connection whose SYN was kept.
fn refuse(syn: &[u8], around: &mut Around) {
    if let Some(segment) = crate::frame::segment_of(syn, &around.plan) {
        reply::reset(&mut around.out, &around.plan, &segment);
    }
}

fn reason(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Reason::Refused,
        io::ErrorKind::TimedOut => Reason::TimedOut,
        _ if matches!(
            error.raw_os_error().map(nix::errno::Errno::from_raw),
            Some(
                nix::errno::Errno::EMFILE
                    | nix::errno::Errno::ENFILE
                    | nix::errno::Errno::ENOBUFS
                    | nix::errno::Errno::ENOMEM
            )
        ) =>
        {
            Reason::TooMany
        }
        _ => Reason::Unreachable,
    }
}
