//! One TCP connection as the guest sees it: its far end, in smoltcp.
//!
//! smoltcp's interface looks through all its sockets for each packet and on each turn. So each connection has an interface of its own with one
//! socket, which stands for the server: it has the server's address, and sees only packets that are for it. Measured by `examples/stack.rs`, a
//! packet costs 0.12 microseconds that way, however many connections there are. With all sockets in one interface, as in the crates that are
//! built on smoltcp, it costs the same without others, 1.7 microseconds beside a thousand and 8.8 beside four thousand. An interface is 600
//! bytes.

use crate::cable::{MTU, Outgoing};
use crate::frame::Pair;
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetProtocol, HardwareAddress, IpCidr, IpListenEndpoint};

/// See the module.
pub(crate) struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    kind: EthernetProtocol,
}

/// What came of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// There is nothing more to send now.
    All,
    /// The cable is full.
    Some,
}

impl Stack {
    /// The far end of a connection that the guest is about to open. Each buffer has `buffer` bytes.
    pub(crate) fn new(pair: Pair, buffer: usize, seed: u64, now: Instant, out: &mut Outgoing) -> Self {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let kind = if pair.remote.is_ipv4() { EthernetProtocol::Ipv4 } else { EthernetProtocol::Ipv6 };
        let mut interface = Interface::new(config, &mut Port { packet: None, out, kind }, now);
        let address = pair.remote.ip().into();
        interface.update_ip_addrs(|addresses| {
            // There is room for more than one.
            let _ = addresses.push(IpCidr::new(address, if pair.remote.is_ipv4() { 32 } else { 128 }));
        });
        let new = || tcp::SocketBuffer::new(vec![0; buffer]);
        let mut socket = tcp::Socket::new(new(), new());
        // The guest and the server have their own ideas of when small segments wait, and have had them already.
        socket.set_nagle_enabled(false);
        // Segments come in bunches, and a bunch is acknowledged at once.
        socket.set_ack_delay(None);
        // Neither address nor port is unspecified, and the socket is new.
        let _ = socket.listen(IpListenEndpoint { addr: Some(address), port: pair.remote.port() });
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Self { interface, sockets, handle, kind }
    }

    /// The guest sent a packet that belongs to this connection.
    pub(crate) fn receive(&mut self, packet: &[u8], now: Instant, out: &mut Outgoing) {
        let mut port = Port { packet: Some(packet), out, kind: self.kind };
        self.interface.poll_ingress_single(now, &mut port, &mut self.sockets);
    }

    /// Sends what there is to send.
    pub(crate) fn send(&mut self, now: Instant, out: &mut Outgoing) -> Sent {
        loop {
            if !out.has_room() {
                return Sent::Some;
            }
            let mut port = Port { packet: None, out, kind: self.kind };
            if self.interface.poll_egress(now, &mut port, &mut self.sockets) == PollResult::None {
                return Sent::All;
            }
        }
    }

    /// When it wants to be asked to send, whatever comes.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Instant> {
        self.interface.poll_at(now, &self.sockets)
    }

    pub(crate) fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stack").field(&self.sockets.get::<tcp::Socket<'_>>(self.handle).state()).finish()
    }
}

/// The cable, as one connection's interface sees it: one packet in, any number out.
struct Port<'a> {
    packet: Option<&'a [u8]>,
    out: &'a mut Outgoing,
    kind: EthernetProtocol,
}

struct Incoming<'a>(&'a [u8]);

struct Outlet<'a> {
    out: &'a mut Outgoing,
    kind: EthernetProtocol,
}

impl phy::Device for Port<'_> {
    type RxToken<'a>
        = Incoming<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Outlet<'a>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Incoming<'_>, Outlet<'_>)> {
        let packet = Incoming(self.packet.take()?);
        Some((packet, Outlet { out: self.out, kind: self.kind }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outlet<'_>> {
        self.out.has_room().then_some(Outlet { out: self.out, kind: self.kind })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

impl phy::RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, use_it: F) -> R {
        use_it(self.0)
    }
}

impl phy::TxToken for Outlet<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        // An answer made on the spot while the cable is full is lost, as any packet may be.
        self.out.frame(self.kind, len, fill)
    }
}
