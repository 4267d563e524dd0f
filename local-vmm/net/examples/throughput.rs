//! How fast a network is, seen by a guest whose stack is smoltcp, at the other end of a unix stream:
//!
//!     cargo run --release -p vmm-net --example throughput
//!     cargo run --release -p vmm-net --example throughput -- --passt <socket>
//!
//! The second form measures passt in the same set-up, for comparison. It is started before with
//! `passt -f -s <socket> -a 10.0.2.15 -n 24 -g 10.0.2.2`, and gives the host's loopback as its gateway's address.

#[path = "../tests/support/guest.rs"]
mod guest;

use guest::Guest;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use smoltcp::socket::tcp::State;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use vmm_net::{Plan, Settings};

/// How long each measurement takes.
const TIME: Duration = Duration::from_secs(4);
/// Bytes of the guest's windows.
const WINDOW: usize = 1 << 20;
/// Questions whose answers are timed.
const QUESTIONS: usize = 5000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let plan = Plan::default();
    // Time that the gateway's thread has computed, microseconds.
    let cpu = Arc::new(AtomicU64::new(0));
    let (card, host) = match arguments.iter().position(|argument| argument == "--passt") {
        Some(at) => (UnixStream::connect(&arguments[at + 1]).expect("passt listens"), plan.gateway),
        None => (gateway(cpu.clone()), Ipv4Addr::LOCALHOST),
    };
    let mut guest = Guest::new(card, &plan);
    let at = |server: SocketAddr| SocketAddr::new(IpAddr::V4(host), server.port());

    let sink = serve(|mut stream| {
        let mut part = vec![0; 256 << 10];
        while let Ok(1..) = stream.read(&mut part) {}
    });
    let source = serve(|mut stream| while stream.write_all(&[7; 256 << 10]).is_ok() {});
    let echo = serve(|mut stream| {
        let mut part = [0; 64];
        while stream.read_exact(&mut part).is_ok() && stream.write_all(&part).is_ok() {}
    });

    for streams in [1, 8] {
        measure("guest to host", streams, &cpu, || upload(&mut guest, at(sink), streams));
        measure("host to guest", streams, &cpu, || download(&mut guest, at(source), streams));
    }
    latency(&mut guest, at(echo));
    connections(&mut guest, at(echo));
    let idle = idle(&mut guest, at(echo));
    println!("beside {idle} idle connections:");
    measure("guest to host", 1, &cpu, || upload(&mut guest, at(sink), 1));
    measure("host to guest", 1, &cpu, || download(&mut guest, at(source), 1));
    latency(&mut guest, at(echo));
}

/// A gateway in a thread of its own; the guest's end of the cable.
fn gateway(cpu: Arc<AtomicU64>) -> UnixStream {
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
            let ticks = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let usage: Usage = getrusage(UsageWho::RUSAGE_THREAD).expect("a thread");
                    let time = usage.user_time() + usage.system_time();
                    cpu.store(time.num_microseconds() as u64, Ordering::Relaxed);
                }
            };
            let run = vmm_net::run(tokio(cable), tokio(control), settings);
            tokio::select! {
                result = run => result.expect("a gateway"),
                () = ticks => {}
            }
        });
        drop(owner);
    });
    card
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

/// `run` gives how many bytes it moved.
fn measure(what: &str, streams: usize, cpu: &AtomicU64, run: impl FnOnce() -> usize) {
    let (start, before) = (Instant::now(), cpu.load(Ordering::Relaxed));
    let bytes = run() as f64;
    let seconds = start.elapsed().as_secs_f64();
    let busy = (cpu.load(Ordering::Relaxed) - before) as f64 / 1e6;
    let rate = bytes * 8.0 / seconds / 1e9;
    let core =
        if busy > 0.0 { format!(", {:5.2} Gbit/s a core", bytes * 8.0 / busy / 1e9) } else { String::new() };
    println!("{what}, {streams} at once: {rate:5.2} Gbit/s{core}");
}

fn upload(guest: &mut Guest, to: SocketAddr, streams: usize) -> usize {
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
    for handle in handles {
        guest.tcp(handle).abort();
    }
    moved
}

fn download(guest: &mut Guest, to: SocketAddr, streams: usize) -> usize {
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
    for handle in handles {
        guest.tcp(handle).abort();
    }
    moved
}

fn latency(guest: &mut Guest, to: SocketAddr) {
    let handle = guest.connected(to).expect("a connection");
    let mut times: Vec<Duration> = (0..QUESTIONS)
        .map(|_| {
            let start = Instant::now();
            guest.tcp(handle).send_slice(&[1; 64]).expect("a connection");
            guest.until("an answer", |guest| {
                let socket = guest.tcp(handle);
                (socket.recv_queue() >= 64)
                    .then(|| socket.recv(|bytes| (bytes.len(), ())).expect("an answer"))
            });
            start.elapsed()
        })
        .collect();
    guest.tcp(handle).abort();
    times.sort();
    println!(
        "a question and its answer: half within {:?}, 99 of 100 within {:?}",
        times[QUESTIONS / 2],
        times[QUESTIONS * 99 / 100]
    );
}

fn connections(guest: &mut Guest, to: SocketAddr) {
    let (start, count) = (Instant::now(), 2000);
    for _ in 0..count {
        let handle = guest.connected(to).expect("a connection");
        guest.tcp(handle).abort();
        guest.turn();
        guest.sockets.remove(handle);
    }
    println!(
        "connections one after the other: {:.0} a second",
        f64::from(count) / start.elapsed().as_secs_f64()
    );
}

/// Many connections on which nothing moves. They are left to the gateway: the guest's own stack would look through them for each packet.
fn idle(guest: &mut Guest, to: SocketAddr) -> usize {
    let count = 1000;
    for _ in 0..count {
        let handle = guest.connected(to).expect("a connection");
        assert_eq!(guest.tcp(handle).state(), State::Established);
        guest.sockets.remove(handle);
    }
    count
}
