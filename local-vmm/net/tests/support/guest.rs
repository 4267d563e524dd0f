//! The guest: a card with smoltcp behind it, at the other end of the cable.

#![allow(dead_code, reason = "each program that shares it uses its part")]

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::socket::{icmp, tcp, udp};
use smoltcp::time::Instant as SmolInstant;
use smoltcp::wire::{EthernetAddress, IpCidr, IpEndpoint};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use vmm_net::Plan;

/// How long anything may take before a test has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Bytes of a frame's length.
const LENGTH: usize = 4;
/// Bytes of frames that the card keeps in each direction.
const HELD: usize = 256 << 10;

/// See the module.
pub struct Guest {
    pub interface: Interface,
    pub sockets: SocketSet<'static>,
    pub card: Card,
    start: Instant,
    port: u16,
}

/// Its card.
pub struct Card {
    stream: UnixStream,
    incoming: Vec<u8>,
    seen: usize,
    pub outgoing: Vec<u8>,
    /// Frames come, but nobody looks at them.
    pub deaf: bool,
    /// Each so-many-th frame is lost, in both directions. 0: none.
    pub loses: usize,
    frames: usize,
    pub gone: bool,
}

impl Guest {
    pub fn new(stream: UnixStream, plan: &Plan) -> Self {
        stream.set_nonblocking(true).unwrap();
        let mut card = Card {
            stream,
            incoming: Vec::new(),
            seen: 0,
            outgoing: Vec::new(),
            deaf: false,
            loses: 0,
            frames: 0,
            gone: false,
        };
        let mut config = Config::new(EthernetAddress(plan.guest_mac).into());
        config.random_seed = 7;
        let start = Instant::now();
        let mut interface = Interface::new(config, &mut card, SmolInstant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(plan.guest.into(), plan.prefix)).unwrap();
            addresses.push(IpCidr::new(plan.guest_v6.into(), plan.prefix_v6)).unwrap();
        });
        interface.routes_mut().add_default_ipv4_route(plan.gateway).unwrap();
        interface.routes_mut().add_default_ipv6_route(plan.gateway_v6).unwrap();
        Self { interface, sockets: SocketSet::new(Vec::new()), card, start, port: 20_000 }
    }

    pub fn now(&self) -> SmolInstant {
        SmolInstant::from_micros(self.start.elapsed().as_micros() as i64)
    }

    /// Does what can be done.
    pub fn turn(&mut self) {
        self.card.flush();
        self.card.read();
        let now = self.now();
        self.interface.poll(now, &mut self.card, &mut self.sockets);
        self.card.flush();
    }

    /// Waits until frames come, or room for them, or a timer.
    pub fn wait(&mut self, most: Duration) {
        let now = self.now();
        let delay = self.interface.poll_delay(now, &self.sockets).map_or(most, Into::into).min(most);
        let mut flags = PollFlags::POLLIN;
        if !self.card.outgoing.is_empty() {
            flags |= PollFlags::POLLOUT;
        }
        // Rounded up, lest it spins through the last millisecond.
        let millis = delay.as_micros().div_ceil(1000).min(1000) as u16;
        let timeout = if delay.is_zero() { PollTimeout::ZERO } else { PollTimeout::from(millis) };
        poll(&mut [PollFd::new(self.card.stream.as_fd(), flags)], timeout).unwrap();
    }

    /// Goes on until there is a result.
    pub fn until<T>(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.turn();
            if let Some(result) = done(self) {
                self.turn();
                return result;
            }
            assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
            self.wait(Duration::from_millis(50));
        }
    }

    /// A connection that is not there yet.
    pub fn connect(&mut self, to: SocketAddr, buffer: usize) -> SocketHandle {
        let new = || tcp::SocketBuffer::new(vec![0; buffer]);
        let mut socket = tcp::Socket::new(new(), new());
        socket.set_nagle_enabled(false);
        // A test that waits for its owner does not turn the guest, and what it would have sent later would never be.
        socket.set_ack_delay(None);
        let handle = self.sockets.add(socket);
        // The stack would go to a loopback from a loopback.
        let same = |address: &&IpCidr| address.address().version() == IpEndpoint::from(to).addr.version();
        let own = self.interface.ip_addrs().iter().find(same).unwrap().address();
        let port = self.next_port();
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.connect(self.interface.context(), IpEndpoint::from(to), (own, port)).unwrap();
        handle
    }

    /// A connection; none if it was refused.
    pub fn connected(&mut self, to: SocketAddr) -> Option<SocketHandle> {
        let handle = self.connect(to, 64 << 10);
        let there = self.until("a connection", |guest| match guest.tcp(handle).state() {
            tcp::State::Established | tcp::State::CloseWait => Some(true),
            tcp::State::Closed => Some(false),
            _ => None,
        });
        there.then_some(handle)
    }

    pub fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// A socket for datagrams.
    pub fn udp(&mut self) -> SocketHandle {
        let new = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; 64 << 10]);
        let mut socket = udp::Socket::new(new(), new());
        socket.bind(self.next_port()).unwrap();
        self.sockets.add(socket)
    }

    /// Sends a datagram and gives the next one that comes.
    pub fn exchange(&mut self, handle: SocketHandle, to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
        self.sockets.get_mut::<udp::Socket<'_>>(handle).send_slice(bytes, IpEndpoint::from(to)).unwrap();
        self.until("a datagram", |guest| {
            let socket = guest.sockets.get_mut::<udp::Socket<'_>>(handle);
            socket.recv().ok().map(|(bytes, _)| bytes.to_vec())
        })
    }

    /// A socket for echoes with that identifier.
    pub fn icmp(&mut self, ident: u16) -> SocketHandle {
        let new = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 16], vec![0; 16 << 10]);
        let mut socket = icmp::Socket::new(new(), new());
        socket.bind(icmp::Endpoint::Ident(ident)).unwrap();
        self.sockets.add(socket)
    }

    fn next_port(&mut self) -> u16 {
        self.port += 1;
        self.port
    }
}

impl Card {
    fn flush(&mut self) {
        while !self.gone && !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(written) => drop(self.outgoing.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.gone = true,
            }
        }
    }

    fn read(&mut self) {
        if self.deaf {
            return;
        }
        self.incoming.drain(..self.seen);
        self.seen = 0;
        let before = self.incoming.len();
        if before < HELD {
            self.incoming.resize(HELD, 0);
            let read = self.stream.read(&mut self.incoming[before..]);
            self.incoming.truncate(before + *read.as_ref().unwrap_or(&0));
            self.gone |= matches!(read, Ok(0));
        }
    }

    /// Sends any frame.
    pub fn send(&mut self, frame: &[u8]) {
        self.outgoing.extend((frame.len() as u32).to_be_bytes());
        self.outgoing.extend(frame);
    }

    /// Sends what there is to send, all of it, and drops what comes.
    pub fn drain(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        while !self.outgoing.is_empty() && !self.gone {
            self.flush();
            self.read();
            while self.next().is_some() {}
            let mut polled = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN | PollFlags::POLLOUT)];
            poll(&mut polled, PollTimeout::from(100u16)).unwrap();
            assert!(Instant::now() < deadline, "the gateway takes nothing");
        }
    }

    fn is_lost(&mut self) -> bool {
        self.frames += 1;
        self.loses > 0 && self.frames.is_multiple_of(self.loses)
    }

    fn next(&mut self) -> Option<std::ops::Range<usize>> {
        let length = self.incoming[self.seen..].first_chunk::<LENGTH>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let start = self.seen + LENGTH;
        (self.incoming.len() >= start + length).then(|| {
            self.seen = start + length;
            start..start + length
        })
    }
}

pub struct Received<'a>(&'a [u8]);
pub struct Send<'a> {
    outgoing: &'a mut Vec<u8>,
    lost: bool,
}

impl phy::Device for Card {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Send<'a>;

    fn receive(&mut self, _: SmolInstant) -> Option<(Received<'_>, Send<'_>)> {
        let mut at = self.next()?;
        while self.is_lost() {
            at = self.next()?;
        }
        let lost = self.is_lost();
        Some((Received(&self.incoming[at]), Send { outgoing: &mut self.outgoing, lost }))
    }

    fn transmit(&mut self, _: SmolInstant) -> Option<Send<'_>> {
        let lost = self.is_lost();
        (self.outgoing.len() < HELD).then_some(Send { outgoing: &mut self.outgoing, lost })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, use_it: F) -> R {
        use_it(self.0)
    }
}

impl phy::TxToken for Send<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let start = self.outgoing.len();
        self.outgoing.extend((len as u32).to_be_bytes());
        self.outgoing.resize(start + LENGTH + len, 0);
        let result = fill(&mut self.outgoing[start + LENGTH..]);
        if self.lost {
            self.outgoing.truncate(start);
        }
        result
    }
}
