//! Echo requests. The gateway answers those for itself; others go out by sockets that the kernel gives to programs without privileges, where the
//! host permits it (`net.ipv4.ping_group_range`).

use crate::access::Grant;
use crate::cable::MTU;
use crate::event::{Kind, Outcome, Reason};
use crate::frame::{Echo, Pair};
use crate::gateway::{Around, Who};
use crate::ready::Ringer;
use crate::reply::{self, Unreachable};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::task::Context;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;

/// Bytes of an echo's header: type, code, checksum, identifier, number.
const HEADER: usize = 8;
/// How long a series is remembered.
const IDLE: Duration = Duration::from_secs(20);
/// Most answers of one series before others have their turn.
const TURN: usize = 16;

/// Types of messages: a request and its answer, for both families.
const REQUEST: [u8; 2] = [8, 128];
const ANSWER: [u8; 2] = [0, 129];

/// See the module.
#[derive(Debug)]
pub(crate) struct Echoes {
    series: HashMap<Pair, Series>,
    most: usize,
}

#[derive(Debug)]
struct Series {
    socket: UdpSocket,
    grant: Grant,
    moved: Instant,
    ringer: Ringer<Who>,
}

impl Echoes {
    pub(crate) fn new(most: usize) -> Self {
        Self { series: HashMap::new(), most }
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// The guest sent a request.
    pub(crate) fn request(&mut self, echo: &Echo<'_>, around: &mut Around) {
        let pair = echo.pair;
        if around.plan.is_gateway(pair.remote.ip()) {
            return reply::echo(&mut around.out, &around.plan, pair, echo.sequence, echo.data);
        }
        let Some(series) = self.series.get_mut(&pair) else { return self.open(echo, around) };
        series.moved = around.clock.now;
        let message = message(echo);
        match series.socket.try_send(&message) {
            Ok(_) => around.counters.sent += echo.data.len() as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => reply::unreachable(&mut around.out, &around.plan, Unreachable::Host, echo.packet),
        }
    }

    /// The first request of a series.
    fn open(&mut self, echo: &Echo<'_>, around: &mut Around) {
        let pair = echo.pair;
        let grant = match around.access.connect(pair.remote.ip(), None, around.clock.now) {
            Ok(grant) => grant,
            Err(denial) => {
                let grant = Grant { name: denial.name, rule: denial.rule };
                around.report(Kind::Icmp, Outcome::Denied, pair, &grant, Some(denial.reason));
                return reply::unreachable(
                    &mut around.out,
                    &around.plan,
                    Unreachable::Forbidden,
                    echo.packet,
                );
            }
        };
        if self.series.len() >= self.most {
            let silent = self.series.iter().min_by_key(|(_, series)| series.moved).map(|(pair, _)| *pair);
            silent.and_then(|silent| self.series.remove(&silent));
        }
        match connect(pair, &message(echo)) {
            Ok(socket) => {
                around.report(Kind::Icmp, Outcome::Allowed, pair, &grant, None);
                let ringer = around.bell.ringer(Who::Echo(pair));
                self.series.insert(pair, Series { socket, grant, moved: around.clock.now, ringer });
                around.counters.sent += echo.data.len() as u64;
                self.rung(pair, around);
            }
            Err(error) => {
                let permitted = error.kind() != io::ErrorKind::PermissionDenied;
                let reason = if permitted { Reason::Unreachable } else { Reason::NotPermitted };
                let why = if permitted { Unreachable::Host } else { Unreachable::Forbidden };
                around.report(Kind::Icmp, Outcome::Failed, pair, &grant, Some(reason));
                reply::unreachable(&mut around.out, &around.plan, why, echo.packet);
            }
        }
    }

    /// An answer has come.
    pub(crate) fn rung(&mut self, pair: Pair, around: &mut Around) {
        let Some(series) = self.series.get_mut(&pair) else { return };
        series.ringer.rearm();
        let mut context = Context::from_waker(series.ringer.waker());
        let mut bytes = [0; MTU];
        for _ in 0..TURN {
            match series.socket.try_recv(&mut bytes) {
                // Without room on the cable it is lost.
                Ok(read) => {
                    let message = &bytes[..read];
                    if read >= HEADER && ANSWER.contains(&message[0]) {
                        let sequence = u16::from_be_bytes([message[6], message[7]]);
                        around.counters.received += (read - HEADER) as u64;
                        reply::echo(&mut around.out, &around.plan, pair, sequence, &message[HEADER..]);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if series.socket.poll_recv_ready(&mut context).is_pending() {
                        return;
                    }
                }
                Err(_) => {}
            }
        }
        // There may be more.
        series.ringer.waker().wake_by_ref();
    }

    /// Once a second: what was silent for long is forgotten.
    pub(crate) fn second(&mut self, now: Instant) {
        self.series.retain(|_, series| now - series.moved <= IDLE);
    }

    /// The policy has changed: what is allowed no more is cut.
    pub(crate) fn review(&mut self, around: &mut Around) {
        self.series.retain(|pair, series| {
            around.access.still(&series.grant, pair.remote.ip(), None, around.clock.now).is_ok()
        });
    }
}

/// A request as it goes out. The kernel fills in the checksum, and an identifier of its own.
fn message(echo: &Echo<'_>) -> Vec<u8> {
    let kind = REQUEST[usize::from(echo.pair.remote.is_ipv6())];
    let [high, low] = echo.sequence.to_be_bytes();
    [&[kind, 0, 0, 0, 0, 0, high, low], echo.data].concat()
}

/// A socket for a series, and its first request.
fn connect(pair: Pair, first: &[u8]) -> io::Result<UdpSocket> {
    let socket = if pair.remote.is_ipv4() {
        Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4))?
    } else {
        Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::ICMPV6))?
    };
    socket.connect(&pair.remote.into())?;
    socket.set_nonblocking(true)?;
    socket.send(first)?;
    // It is none, but sends and receives as one does.
    UdpSocket::from_std(socket.into())
}
