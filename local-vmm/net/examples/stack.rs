//! What a packet costs when smoltcp holds many connections: all of them in one interface, as its examples and the crates built on it have them, or
//! each in an interface of its own, found by a hash of its pair, as `vmm-net` has them:
//!
//!     cargo run --release -p vmm-net --example stack
//!
//! One connection carries data from a client, the others are idle. Only the server's side is timed.

use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as SmolInstant;
use smoltcp::wire::{
    HardwareAddress, IpCidr, IpEndpoint, IpListenEndpoint, Ipv4Address, Ipv4Packet, TcpPacket,
};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Bytes that are carried for each measurement.
const BYTES: usize = 64 << 20;
const CLIENT: Ipv4Address = Ipv4Address::new(10, 0, 2, 15);
const SERVER: Ipv4Address = Ipv4Address::new(192, 0, 2, 1);
const PORT: u16 = 80;

/// Packets in, packets out.
#[derive(Default)]
struct Queues {
    incoming: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
}

struct Received(Vec<u8>);
struct Sent<'a>(&'a mut VecDeque<Vec<u8>>);

impl Device for Queues {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _: SmolInstant) -> Option<(Received, Sent<'_>)> {
        Some((Received(self.incoming.pop_front()?), Sent(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: SmolInstant) -> Option<Sent<'_>> {
        (self.outgoing.len() < 128).then_some(Sent(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, use_it: F) -> R {
        use_it(&self.0)
    }
}

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut packet = vec![0; len];
        let result = fill(&mut packet);
        self.0.push_back(packet);
        result
    }
}

/// An interface with its sockets.
struct Side {
    interface: Interface,
    sockets: SocketSet<'static>,
}

impl Side {
    fn new(address: Ipv4Address, queues: &mut Queues) -> Self {
        let mut interface = Interface::new(Config::new(HardwareAddress::Ip), queues, SmolInstant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(address.into(), 24)).expect("room for an address");
        });
        interface.routes_mut().add_default_ipv4_route(address).expect("room for a route");
        Self { interface, sockets: SocketSet::new(Vec::new()) }
    }

    fn listen(&mut self, port: u16, buffer: usize) -> SocketHandle {
        let handle = self.sockets.add(socket(buffer));
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.listen(IpListenEndpoint { addr: Some(SERVER.into()), port }).expect("a new socket");
        handle
    }

    /// Takes all packets, gives all bytes away, and sends all packets.
    fn serve(&mut self, handle: SocketHandle, now: SmolInstant, queues: &mut Queues) -> usize {
        while !queues.incoming.is_empty() {
            self.interface.poll_ingress_single(now, queues, &mut self.sockets);
        }
        let (socket, mut taken) = (self.sockets.get_mut::<tcp::Socket<'_>>(handle), 0);
        while socket.can_recv() {
            taken += socket.recv(|bytes| (bytes.len(), bytes.len())).expect("a connection");
        }
        while self.interface.poll_egress(now, queues, &mut self.sockets) != PollResult::None {}
        taken
    }
}

fn socket(buffer: usize) -> tcp::Socket<'static> {
    let new = || tcp::SocketBuffer::new(vec![0; buffer]);
    let mut socket = tcp::Socket::new(new(), new());
    socket.set_ack_delay(None);
    socket
}

/// Carries the bytes to a server; how long the server took for each packet.
fn carry(mut serve: impl FnMut(SmolInstant, &mut Queues) -> usize) -> Duration {
    let mut queues = Queues::default();
    let mut client = Side::new(CLIENT, &mut queues);
    let handle = client.sockets.add(socket(256 << 10));
    let local = (IpEndpoint::new(CLIENT.into(), 0).addr, 4000);
    let connecting = client.sockets.get_mut::<tcp::Socket<'_>>(handle);
    connecting.connect(client.interface.context(), (SERVER, PORT), local).expect("a new socket");
    let (start, mut taken, mut packets, mut time) = (Instant::now(), 0, 0, Duration::ZERO);
    while taken < BYTES {
        let now = SmolInstant::from_micros(i64::try_from(start.elapsed().as_micros()).expect("a short run"));
        client.interface.poll(now, &mut queues, &mut client.sockets);
        let socket = client.sockets.get_mut::<tcp::Socket<'_>>(handle);
        while socket.can_send() {
            socket.send(|room| (room.len(), ())).expect("a connection");
        }
        client.interface.poll(now, &mut queues, &mut client.sockets);
        std::mem::swap(&mut queues.incoming, &mut queues.outgoing);
        packets += queues.incoming.len();
        let before = Instant::now();
        taken += serve(now, &mut queues);
        time += before.elapsed();
        std::mem::swap(&mut queues.incoming, &mut queues.outgoing);
    }
    time / u32::try_from(packets).expect("a short run")
}

fn main() {
    println!(
        "size of an interface: {} bytes, of a socket: {}",
        size_of::<Interface>(),
        size_of::<tcp::Socket<'_>>()
    );
    println!("{:>6} idle   one interface   an interface each", "");
    for idle in [0, 100, 1000, 4000] {
        let mut all = Side::new(SERVER, &mut Queues::default());
        for number in 0..idle {
            all.listen(1000 + number, 64);
        }
        let handle = all.listen(PORT, 256 << 10);
        let one = carry(|now, queues| all.serve(handle, now, queues));

        let mut sides = HashMap::new();
        for number in 0..=idle {
            let mut side = Side::new(SERVER, &mut Queues::default());
            let port = if number == idle { PORT } else { 1000 + number };
            let handle = side.listen(port, if port == PORT { 256 << 10 } else { 64 });
            sides.insert((CLIENT, 4000u16, SERVER, port), (side, handle));
        }
        let each = carry(|now, queues| {
            // Each packet is looked at to find whose it is.
            let mut pair = None;
            for packet in &queues.incoming {
                let ip = Ipv4Packet::new_checked(&packet[..]).expect("a packet");
                let tcp = TcpPacket::new_checked(ip.payload()).expect("a segment");
                let found = (ip.src_addr(), tcp.src_port(), ip.dst_addr(), tcp.dst_port());
                pair = sides.contains_key(&found).then_some(found);
            }
            match pair.and_then(|pair| sides.get_mut(&pair)) {
                Some((side, handle)) => side.serve(*handle, now, queues),
                None => 0,
            }
        });
        println!("{idle:>11} {:>12} ns {:>16} ns", one.as_nanos(), each.as_nanos());
    }
}
