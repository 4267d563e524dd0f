//! How fast the gateway is beside passt, in the same set-up: seen by a guest whose stack is smoltcp, at the other end of a unix stream. Prints one
//! JSON object a figure; `cargo xtask bench net` makes a table of them, and has passt installed.
//!
//! Both are measured in turns, [`ROUNDS`] times. A figure is the median of what the gateway did; its ratio the median of the rounds' ratios, which
//! a machine that gets slower and faster disturbs least.

#[path = "../tests/support/guest.rs"]
mod guest;

use guest::Guest;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use vmm_net::{Plan, Settings};

/// Times that each network is measured.
const ROUNDS: usize = 7;
/// How long each throughput is.
const TIME: Duration = Duration::from_secs(1);
/// Bytes of the guest's windows.
const WINDOW: usize = 1 << 20;
/// Questions whose answers are timed.
const QUESTIONS: usize = 5000;
/// Connections made one after the other.
const CONNECTIONS: u32 = 2000;
/// Connections on which nothing moves.
const IDLE: usize = 1000;

/// What is measured: name, unit, and whether more is better.
const FIGURES: [(&str, &str, bool); 9] = [
    ("out, 1 stream", "Gbit/s", true),
    ("out, 8 streams", "Gbit/s", true),
    ("in, 1 stream", "Gbit/s", true),
    ("in, 8 streams", "Gbit/s", true),
    ("request and answer, p50", "us", false),
    ("request and answer, p99", "us", false),
    ("connections one after the other", "1/s", true),
    ("out, 1 stream, beside 1,000 idle", "Gbit/s", true),
    ("request and answer, p50, beside 1,000", "us", false),
];

fn main() {
    let servers = Servers::start();
    let (mut ours, mut passts) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(measure(gateway(), Ipv4Addr::LOCALHOST, &servers));
        let (card, mut passt) = passt();
        passts.push(measure(card, Plan::default().gateway, &servers));
        // It ends with its cable, which is gone.
        passt.wait().expect("passt ends");
    }
    for (at, (name, unit, more)) in FIGURES.into_iter().enumerate() {
        let (value, peer) =
            (median(ours.iter().map(|round| round[at])), median(passts.iter().map(|round| round[at])));
        let ratio = median(ours.iter().zip(&passts).map(|(ours, passts)| ours[at] / passts[at]));
        // Beside very many, buffers are small on purpose: all together they have a limit.
        let limit = (!name.contains("beside")).then_some(if more { ">= 1" } else { "<= 1" });
        let name = format!("network: {name} (passt: {peer:.1})");
        println!("{}", json!({ "name": name, "value": value, "unit": unit, "ratio": ratio, "limit": limit }));
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One round against the network at the other end of the cable, where `host` is this one.
fn measure(card: UnixStream, host: Ipv4Addr, servers: &Servers) -> [f64; FIGURES.len()] {
    let mut guest = Guest::new(card, &Plan::default());
    let at = |server: SocketAddr| SocketAddr::new(IpAddr::V4(host), server.port());
    let (sink, source, echo) = (at(servers.sink), at(servers.source), at(servers.echo));
    // The first connection finds buffers small and addresses unknown.
    upload(&mut guest, sink, 1);
    let out = [1, 8].map(|streams| upload(&mut guest, sink, streams));
    let back = [1, 8].map(|streams| download(&mut guest, source, streams));
    let (half, most) = latency(&mut guest, echo);
    let made = connections(&mut guest, echo);
    for _ in 0..IDLE {
        // It is left to the network: the guest's own stack would look through all of them for each packet.
        let handle = guest.connected(echo).expect("a connection");
        guest.sockets.remove(handle);
    }
    let beside = upload(&mut guest, sink, 1);
    let (half_beside, _) = latency(&mut guest, echo);
    [out[0], out[1], back[0], back[1], half, most, made, beside, half_beside]
}

/// A gateway in a thread of its own; the guest's end of the cable.
fn gateway() -> UnixStream {
    let (card, cable) = UnixStream::pair().expect("a pair");
    let (owner, control) = UnixStream::pair().expect("a pair");
    for stream in [&cable, &control] {
        stream.set_nonblocking(true).expect("a socket");
    }
    let settings =
        Settings { reachable: vec!["127.0.0.0/8".parse().expect("a range")], ..Settings::default() };
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let tokio = |stream| tokio::net::UnixStream::from_std(stream).expect("a socket");
            vmm_net::run(tokio(cable), tokio(control), settings).await.expect("a gateway");
        });
        drop(owner);
    });
    card
}

/// passt with one end of a cable; the guest's end. The host's loopback has the address of the gateway there.
fn passt() -> (UnixStream, Child) {
    let (card, cable) = UnixStream::pair().expect("a pair");
    fcntl(&cable, FcntlArg::F_SETFD(FdFlag::empty())).expect("it can be handed on");
    let plan = Plan::default();
    let child = Command::new("passt")
        .args(["--foreground", "--quiet", "--ipv4-only", "--fd", &cable.as_raw_fd().to_string()])
        .args(["--address", &plan.guest.to_string(), "--netmask", &plan.prefix.to_string()])
        .args(["--gateway", &plan.gateway.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("passt is installed");
    (card, child)
}

/// What the guest speaks to.
struct Servers {
    sink: SocketAddr,
    source: SocketAddr,
    echo: SocketAddr,
}

impl Servers {
    fn start() -> Self {
        Self {
            sink: serve(|mut stream| {
                let mut part = vec![0; 256 << 10];
                while let Ok(1..) = stream.read(&mut part) {}
            }),
            source: serve(|mut stream| while stream.write_all(&[7; 256 << 10]).is_ok() {}),
            echo: serve(|mut stream| {
                let mut part = [0; 64];
                while stream.read_exact(&mut part).is_ok() && stream.write_all(&part).is_ok() {}
            }),
        }
    }
}

fn serve(each: impl Fn(TcpStream) + Send + Copy + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("a port");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_nodelay(true).expect("a socket");
            let spawned = thread::Builder::new().stack_size(512 << 10).spawn(move || each(stream));
            drop(spawned.expect("a thread"));
        }
    });
    address
}

/// Gbit/s to a server.
fn upload(guest: &mut Guest, to: SocketAddr, streams: usize) -> f64 {
    let handles: Vec<_> = (0..streams).map(|_| guest.connect(to, WINDOW)).collect();
    let (start, mut moved) = (Instant::now(), 0);
    guest.until("time", |guest| {
        for handle in &handles {
            let socket = guest.tcp(*handle);
            let before = socket.send_queue();
            if socket.can_send() {
                // What lies in the buffer is sent as it is.
                while socket.can_send() {
                    socket.send(|room| (room.len(), ())).expect("a connection");
                }
                moved += socket.send_queue() - before;
            }
        }
        (start.elapsed() > TIME).then_some(())
    });
    let rate = rate(moved, start);
    handles.into_iter().for_each(|handle| guest.tcp(handle).abort());
    rate
}

/// Gbit/s from a server.
fn download(guest: &mut Guest, to: SocketAddr, streams: usize) -> f64 {
    let handles: Vec<_> = (0..streams).map(|_| guest.connect(to, WINDOW)).collect();
    let (start, mut moved) = (Instant::now(), 0);
    guest.until("time", |guest| {
        for handle in &handles {
            let socket = guest.tcp(*handle);
            while socket.can_recv() {
                moved += socket.recv(|bytes| (bytes.len(), bytes.len())).expect("a connection");
            }
        }
        (start.elapsed() > TIME).then_some(())
    });
    let rate = rate(moved, start);
    handles.into_iter().for_each(|handle| guest.tcp(handle).abort());
    rate
}

fn rate(bytes: usize, start: Instant) -> f64 {
    bytes as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9
}

/// Microseconds within which half of all answers come, and 99 of 100.
fn latency(guest: &mut Guest, to: SocketAddr) -> (f64, f64) {
    let handle = guest.connected(to).expect("a connection");
    let mut times: Vec<f64> = (0..QUESTIONS)
        .map(|_| {
            let start = Instant::now();
            guest.tcp(handle).send_slice(&[1; 64]).expect("a connection");
            guest.until("an answer", |guest| {
                let socket = guest.tcp(handle);
                (socket.recv_queue() >= 64)
                    .then(|| socket.recv(|bytes| (bytes.len(), ())).expect("an answer"))
            });
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    guest.tcp(handle).abort();
    times.sort_by(f64::total_cmp);
    (times[QUESTIONS / 2], times[QUESTIONS * 99 / 100])
}

/// Connections a second.
fn connections(guest: &mut Guest, to: SocketAddr) -> f64 {
    let start = Instant::now();
    for _ in 0..CONNECTIONS {
        let handle = guest.connected(to).expect("a connection");
        guest.tcp(handle).abort();
        guest.turn();
        guest.sockets.remove(handle);
    }
    f64::from(CONNECTIONS) / start.elapsed().as_secs_f64()
}
