//! Addresses that really lead outside: the gateway in one network namespace, servers in another, a cable between them. Nothing leaves the two.
//!
//! Where the host permits no namespaces, or has no `ip`, the test says so and is passed over.

#[path = "../support/guest.rs"]
mod guest;
#[path = "../support/net.rs"]
mod net;

use crate::net::{NameServer, Net, add, addresses, echo, serve_at};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::tcp::State;
use smoltcp::socket::{icmp, udp};
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, IpEndpoint};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::thread;
use vmm_net::{Kind, Limits, Outcome, Reason, Request, Settings};

/// Set within the namespaces: what this process is there.
const PART: &str = "VMM_NET_PART";
/// Where the servers say that they are there.
const READY: &str = "VMM_NET_READY";

/// The gateway's own address, the servers', one that nobody has, one whose packets vanish, and one that no route leads to.
const OWN: Ipv4Addr = Ipv4Addr::new(5, 5, 5, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(5, 5, 5, 2);
const NOBODY: Ipv4Addr = Ipv4Addr::new(5, 5, 5, 9);
const SILENT: Ipv4Addr = Ipv4Addr::new(5, 5, 5, 3);
const NOWHERE: Ipv4Addr = Ipv4Addr::new(6, 6, 6, 6);
/// In a private network that the gateway's host is in, and the host's own there.
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 2);
const OWN_PRIVATE: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
/// Public, and in a network that the gateway's host is in.
const NEAR: Ipv4Addr = Ipv4Addr::new(7, 7, 7, 2);
const NEAR_V6: Ipv6Addr = Ipv6Addr::new(0x2600, 6, 0, 0, 0, 0, 0, 2);
const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2600, 5, 0, 0, 0, 0, 0, 2);
const PORT: u16 = 7000;

/// Makes the two namespaces, starts the servers in one and this test in the other.
const SCRIPT: &str = r#"
set -e
ip link set lo up
VMM_NET_PART=servers unshare --net "$VMM_NET_TEST" --exact real_addresses --nocapture &
servers=$!
trap 'kill $servers' EXIT
tries=0
while ! test -e "$VMM_NET_READY"; do
    tries=$((tries + 1))
    test $tries -lt 600 || exit 1
    sleep 0.05
done
ip link add inner type veth peer name outer netns $servers
ip address add 5.5.5.1/32 dev inner
ip address add 7.7.7.1/24 dev inner
ip address add 192.168.77.1/24 dev inner
ip address add 2600:6::1/64 dev inner nodad
ip link set inner up
ip route add 5.5.5.0/24 dev inner src 5.5.5.1
ip -6 route add 2600:5::/64 dev inner
nsenter --net=/proc/$servers/ns/net sh -ec '
    ip link set lo up
    ip address add 5.5.5.2/24 dev outer
    ip address add 7.7.7.2/24 dev outer
    ip address add 192.168.77.2/24 dev outer
    ip address add 2600:5::2/64 dev outer nodad
    ip address add 2600:6::2/128 dev outer nodad
    ip link set outer up
    ip -6 route add 2600:6::/64 dev outer'
ip -6 route add default via 2600:5::2
ip neighbour add 5.5.5.3 lladdr 02:00:00:00:00:77 dev inner
echo 0 0 > /proc/sys/net/ipv4/ping_group_range
VMM_NET_PART=gateway "$VMM_NET_TEST" --exact real_addresses --nocapture
"#;

#[test]
fn real_addresses() {
    match std::env::var(PART).as_deref() {
        Ok("servers") => servers(),
        Ok(_) => gateway(),
        Err(_) => namespaces(),
    }
}

fn namespaces() {
    let possible =
        ["ip -V", "nsenter -V", "unshare --user --map-root-user --net true"].iter().all(|command| {
            let mut words = command.split(' ');
            let run = Command::new(words.next().unwrap()).args(words).output();
            run.is_ok_and(|output| output.status.success())
        });
    if !possible {
        eprintln!("passed over: this host permits no network namespaces, or has no tools for them");
        return;
    }
    let ready = std::env::temp_dir().join(format!("vmm-net-ready-{}", std::process::id()));
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "sh", "-c", SCRIPT])
        .env("VMM_NET_TEST", std::env::current_exe().unwrap())
        .env(READY, &ready)
        .output()
        .unwrap();
    let _ = std::fs::remove_file(&ready);
    let say = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", say(&output.stdout), say(&output.stderr));
}

/// What is outside.
fn servers() {
    serve_at((Ipv6Addr::UNSPECIFIED, PORT).into(), echo);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 2048];
        while let Ok((read, from)) = socket.recv_from(&mut bytes) {
            socket.send_to(&bytes[..read], from).unwrap();
        }
    });
    NameServer::start_at((Ipv4Addr::UNSPECIFIED, 53).into(), |name, kind, message| {
        let address: IpAddr = match name {
            "own.example.com." => OWN.into(),
            "private.example.com." => NEIGHBOUR.into(),
            "loop.example.com." => Ipv4Addr::LOCALHOST.into(),
            _ => SERVER.into(),
        };
        add(message, name, kind, address);
        add(message, name, kind, SERVER_V6.into());
    });
    std::fs::write(std::env::var(READY).unwrap(), "").unwrap();
    // Until the test is over.
    loop {
        thread::park();
    }
}

fn gateway() {
    let resolvers = vec![(SERVER, 53).into()];
    let limits = Limits { connect_seconds: 5, ..Limits::default() };
    let mut net = Net::start(Settings { resolvers, limits, ..Settings::default() });
    connections(&mut net);
    datagrams(&mut net);
    echoes(&mut net);
    private(&mut net);
    names(&mut net);
    net.end();
}

fn connections(net: &mut Net) {
    for to in [IpAddr::from(SERVER), SERVER_V6.into()] {
        let handle = net.guest.connected((to, PORT).into()).unwrap();
        net.guest.tcp(handle).send_slice(b"hello").unwrap();
        net.guest.until("an echo", |guest| (guest.tcp(handle).recv_queue() == 5).then_some(()));
    }
    let to = IpAddr::from(NEAR_V6);
    assert!(net.guest.connected((to, PORT).into()).is_none());
    let event = net.owner.event(|event| event.address == Some(to));
    assert_eq!((event.verdict, event.reason), (Outcome::Denied, Some(Reason::Private)));
    for (to, port, verdict, reason) in [
        (NEAR, PORT, Outcome::Denied, Reason::Private),
        (SERVER, PORT + 1, Outcome::Failed, Reason::Refused),
        // A public address, but the host's own: behind it are the host's own services.
        (OWN, PORT, Outcome::Denied, Reason::Forbidden),
        (NOWHERE, PORT, Outcome::Failed, Reason::Unreachable),
        (NOBODY, PORT, Outcome::Failed, Reason::Unreachable),
        (SILENT, PORT, Outcome::Failed, Reason::TimedOut),
    ] {
        assert!(net.guest.connected((to, port).into()).is_none(), "{to}");
        let event = net.owner.event(|event| event.address == Some(to.into()) && event.port == Some(port));
        assert_eq!((event.kind, event.verdict, event.reason), (Kind::Tcp, verdict, Some(reason)), "{to}");
    }
}

fn datagrams(net: &mut Net) {
    let socket = net.guest.udp();
    assert_eq!(net.guest.exchange(socket, (SERVER, PORT).into(), b"hello"), b"hello");
    // Nobody is at that port, and the guest hears of it.
    for server in [IpAddr::from(SERVER), SERVER_V6.into()] {
        let port = net.guest.sockets.get_mut::<udp::Socket<'_>>(socket).endpoint().port;
        let new = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 16], vec![0; 4096]);
        let mut errors = icmp::Socket::new(new(), new());
        errors.bind(icmp::Endpoint::Udp(port.into())).unwrap();
        let errors = net.guest.sockets.add(errors);
        let sender = net.guest.sockets.get_mut::<udp::Socket<'_>>(socket);
        // Empty, for the guest's stack wants an error to hold the whole datagram.
        sender.send_slice(b"", IpEndpoint::from(SocketAddr::new(server, PORT + 1))).unwrap();
        let bytes = net.guest.until("an error", |guest| {
            guest.sockets.get_mut::<icmp::Socket<'_>>(errors).recv().ok().map(|(bytes, _)| bytes.to_vec())
        });
        // A port that is unreachable: the two families have their own numbers for it.
        let kind = if server.is_ipv4() { [3, 3] } else { [1, 4] };
        assert_eq!(bytes[..2], kind);
        net.guest.sockets.remove(errors);
    }
}

fn echoes(net: &mut Net) {
    let socket = net.guest.icmp(99);
    let repr = Icmpv4Repr::EchoRequest { ident: 99, seq_no: 12, data: b"hello" };
    let handle = net.guest.sockets.get_mut::<icmp::Socket<'_>>(socket);
    let room = handle.send(repr.buffer_len(), SERVER.into()).unwrap();
    repr.emit(&mut Icmpv4Packet::new_unchecked(room), &ChecksumCapabilities::default());
    let (bytes, from) = net.guest.until("an answer", |guest| {
        let (bytes, from) = guest.sockets.get_mut::<icmp::Socket<'_>>(socket).recv().ok()?;
        Some((bytes.to_vec(), from))
    });
    let packet = Icmpv4Packet::new_checked(&bytes[..]).unwrap();
    let repr = Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default()).unwrap();
    assert_eq!(repr, Icmpv4Repr::EchoReply { ident: 99, seq_no: 12, data: b"hello" });
    assert_eq!(IpAddr::from(from), IpAddr::from(SERVER));
}

fn private(net: &mut Net) {
    let to = (NEIGHBOUR, PORT).into();
    assert!(net.guest.connected(to).is_none());
    assert_eq!(
        net.resolve("private.example.com.", RecordType::A).metadata.response_code,
        ResponseCode::Refused
    );
    net.owner.ask(&Request::AllowPrivate(true)).unwrap();
    let open = net.guest.connected(to).unwrap();
    assert_eq!(addresses(&net.resolve("private.example.com.", RecordType::A)), [IpAddr::from(NEIGHBOUR)]);
    // The host's own address there stays closed.
    assert!(net.guest.connected((OWN_PRIVATE, PORT).into()).is_none());
    // What is closed again is cut.
    net.owner.ask(&Request::AllowPrivate(false)).unwrap();
    net.guest.until("a reset", |guest| (guest.tcp(open).state() == State::Closed).then_some(()));
    let event = net.owner.event(|event| event.verdict == Outcome::Cut);
    assert_eq!((event.address, event.reason), (Some(NEIGHBOUR.into()), Some(Reason::Private)));
}

fn names(net: &mut Net) {
    net.owner.policy(r#"{"domain":"*.example.com","action":"allow"}"#);
    assert!(net.guest.connected((SERVER, PORT).into()).is_none());
    for name in ["own.example.com.", "loop.example.com."] {
        assert_eq!(net.resolve(name, RecordType::A).metadata.response_code, ResponseCode::Refused, "{name}");
    }
    for (kind, address) in [(RecordType::A, IpAddr::from(SERVER)), (RecordType::AAAA, SERVER_V6.into())] {
        assert_eq!(addresses(&net.resolve("www.example.com.", kind)), [address]);
        assert!(net.guest.connected((address, PORT).into()).is_some());
    }
    // The name server itself, though its address is one that may be connected to.
    assert!(net.guest.connected((SERVER, 53).into()).is_none());
    let event = net.owner.event(|event| event.reason == Some(Reason::OtherResolver));
    assert_eq!(event.port, Some(53));
}
