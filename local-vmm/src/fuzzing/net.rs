//! The network card: any queues and any peer first, then a driver and a peer that keep the rules, whose frames must all arrive.

use super::devices::BUFFER;
use super::guest::{Guest, GuestRing};
use crate::devices::net as device;
use crate::devices::net::Net;
use arbitrary::{Result, Unstructured};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// Frames that a network takes.
const GOOD: std::ops::RangeInclusive<usize> = 14..=1514;
/// Bytes before a frame in a queue.
const HEADER: u32 = 12;
/// Longest frame that a peer may have passed over.
const PASSED: usize = 128 << 10;
/// Where a good driver's frames come in; those that go out lie at [`BUFFER`].
const COMING: u64 = BUFFER + 0x2000;
/// Most steps of a conversation: more than the card keeps frames.
const STEPS: usize = 120;

/// The network card.
pub fn net(data: &[u8]) {
    let _ = try_net(&mut Unstructured::new(data));
}

fn try_net(u: &mut Unstructured<'_>) -> Result<()> {
    let (ours, peer) = UnixStream::pair().expect("a pair of sockets can be made");
    if u.arbitrary()? {
        narrow(&ours);
    }
    let net = Net::new(ours, [2, 0, 0, 0, 0, 7]).expect("the device starts");
    let mut peer = Peer::new(peer);
    let headers = (0..16)
        .map(|_| {
            let len = u.int_in_range(0..=26)?;
            Ok(u.bytes(len.min(u.len()))?.to_vec())
        })
        .collect::<Result<Vec<_>>>()?;
    let guest = Guest::new(u, device::QUEUES, &headers)?;
    let [receive, transmit] = guest.rings() else { unreachable!("it has two queues") };
    for _ in 0..u.int_in_range(1..=12)? {
        peer.any_step(u)?;
        if u.ratio(3, 4)? {
            device::serve(&net, receive, transmit, &guest.now());
            net.check();
        }
    }
    device::serve(&net, receive, transmit, &guest.now());
    net.check();
    // A peer that tells of a frame and sends another thing makes frames that it does not know of.
    if guest.check() && !peer.broken {
        for len in guest.written(device::RECEIVE as u64).into_iter().filter(|len| *len > 0) {
            peer.forget_until(|frame| frame.len() == len.wrapping_sub(HEADER) as usize);
        }
    }
    if peer.broken {
        // Frames are lost, and a driver that keeps the rules is none the worse.
        drop(peer);
        for _ in 0..3 {
            let mut driver = Driver::new(&guest, &net);
            driver.send(&[7; 60]);
            driver.serve();
            assert!(driver.is_sent(), "a cable that leads nowhere holds up the guest");
        }
        return Ok(());
    }
    converse(u, &guest, &net, &mut peer)
}

/// A driver and a peer that keep the rules.
fn converse(u: &mut Unstructured<'_>, guest: &Guest, net: &Net, peer: &mut Peer) -> Result<()> {
    let mut driver = Driver::new(guest, net);
    // What the case left on its way comes to its end first.
    let mut quiet = 0;
    while quiet < 2 {
        let moved = peer.write(usize::MAX) + peer.read(usize::MAX);
        driver.offer(2048);
        driver.serve();
        let got = driver.got();
        quiet = if moved == 0 && got.is_none() && net.is_flushed() { quiet + 1 } else { 0 };
        if let Some(frame) = got {
            peer.forget_until(|sent| *sent == frame);
        }
    }
    assert!(peer.out.is_empty() && peer.part.is_empty(), "a piece of a frame stays on its way");
    peer.sent.clear();
    peer.frames.clear();
    let mut sent = VecDeque::new();
    for step in 0..u.int_in_range(0..=STEPS)? {
        match u.int_in_range(0..=7u8)? {
            0..=2 if driver.is_sent() => {
                let frame = any_frame(u, step)?;
                driver.send(&frame);
                if GOOD.contains(&frame.len()) {
                    sent.push_back(frame);
                }
            }
            3 => {
                let frame = any_frame(u, step)?;
                peer.send(&frame);
                peer.write(usize::MAX);
            }
            4 => driver.offer(2048),
            5 => drop(peer.read(u.int_in_range(0..=0x8000)?)),
            _ => {}
        }
        driver.serve();
        if let Some(frame) = driver.got() {
            assert_eq!(Some(frame), peer.sent.pop_front(), "a frame for the guest is lost or another");
        }
        arrived(peer, &mut sent);
    }
    while !driver.is_sent() || !net.is_flushed() || !sent.is_empty() || !peer.sent.is_empty() {
        let moved = peer.write(usize::MAX) + peer.read(usize::MAX);
        driver.offer(2048);
        driver.serve();
        let got = driver.got();
        assert!(moved > 0 || got.is_some() || !net.is_flushed(), "frames are lost");
        if let Some(frame) = got {
            assert_eq!(Some(frame), peer.sent.pop_front(), "a frame for the guest is lost or another");
        }
        arrived(peer, &mut sent);
    }
    Ok(())
}

/// What came to the peer is what the guest sent.
fn arrived(peer: &mut Peer, sent: &mut VecDeque<Vec<u8>>) {
    for frame in peer.frames.drain(..) {
        assert_eq!(Some(frame), sent.pop_front(), "a frame of the guest's is lost or another");
    }
}

fn any_frame(u: &mut Unstructured<'_>, seed: usize) -> Result<Vec<u8>> {
    let len = match u.int_in_range(0..=7u8)? {
        0 => u.int_in_range(0..=2000)?,
        1 => *u.choose(&[0, 13, 14, 1514, 1515])?,
        2..=4 => *GOOD.end(),
        _ => u.int_in_range(GOOD)?,
    };
    Ok(frame(len, seed))
}

/// Bytes by which a frame is known.
fn frame(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ seed.wrapping_mul(37)) as u8).collect()
}

/// Lets as little as possible wait in the socket, so that the card's own bounds are reached.
fn narrow(socket: &UnixStream) {
    let least: libc::c_int = 1;
    let len = size_of_val(&least) as libc::socklen_t;
    // SAFETY: the socket is open, and the value is a number that lives through the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDBUF,
            std::ptr::from_ref(&least).cast(),
            len,
        )
    };
    assert_eq!(done, 0, "a socket's buffer can be set");
}

/// The other end of the cable.
struct Peer {
    stream: UnixStream,
    /// Bytes that did not go into the cable yet.
    out: Vec<u8>,
    /// Good frames that it sent and that may still come to the guest, in order.
    sent: VecDeque<Vec<u8>>,
    /// Frames that came, and a piece of the next one.
    frames: Vec<Vec<u8>>,
    part: Vec<u8>,
    /// It broke the rules, or went away.
    broken: bool,
    count: usize,
}

impl Peer {
    fn new(stream: UnixStream) -> Self {
        stream.set_nonblocking(true).expect("a socket can be told not to block");
        let (out, sent, frames, part) = (Vec::new(), VecDeque::new(), Vec::new(), Vec::new());
        Self { stream, out, sent, frames, part, broken: false, count: 0 }
    }

    /// Does anything.
    fn any_step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=11u8)? {
            0..=3 => {
                self.count += 1;
                let frame = any_frame(u, self.count)?;
                self.send(&frame);
            }
            4 => {
                // One that is passed over.
                let len = *u.choose(&[0, 1, 13, 1515, 4096, 9000, PASSED])?;
                self.send(&frame(len, 0));
            }
            5 if u.ratio(1, 4)? => {
                let len: u32 = if u.arbitrary()? { PASSED as u32 + 1 } else { u.arbitrary()? };
                self.out.extend(len.to_be_bytes());
                self.broken = true;
            }
            6 if u.ratio(1, 4)? => {
                let how = *u.choose(&[Shutdown::Read, Shutdown::Write, Shutdown::Both])?;
                self.stream.shutdown(how).expect("a socket can be shut");
                self.broken = true;
            }
            7 | 8 => drop(self.read(u.int_in_range(0..=0x8000)?)),
            _ => {}
        }
        let most = if u.arbitrary()? { usize::MAX } else { u.int_in_range(0..=4096)? };
        self.write(most);
        Ok(())
    }

    /// Sends a frame as soon as the cable takes it.
    fn send(&mut self, frame: &[u8]) {
        self.out.extend((frame.len() as u32).to_be_bytes());
        self.out.extend(frame);
        if GOOD.contains(&frame.len()) {
            self.sent.push_back(frame.to_vec());
        }
    }

    /// Puts at most so many bytes into the cable; gives how many it took.
    fn write(&mut self, most: usize) -> usize {
        let len = self.out.len().min(most);
        match self.stream.write(&self.out[..len]) {
            Ok(count) => self.out.drain(..count).len(),
            Err(error) => {
                assert!(self.broken || error.kind() == ErrorKind::WouldBlock, "{error}");
                0
            }
        }
    }

    /// Takes at most so many bytes, and looks at them; gives how many there were.
    fn read(&mut self, most: usize) -> usize {
        let mut total = 0;
        let mut bytes = [0; 4096];
        while total < most {
            let len = bytes.len().min(most - total);
            match self.stream.read(&mut bytes[..len]) {
                Ok(0) => {
                    assert!(self.broken, "the card has hung up");
                    break;
                }
                Ok(count) => {
                    total += count;
                    self.part.extend(&bytes[..count]);
                    self.look();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    assert!(self.broken, "{error}");
                    break;
                }
            }
        }
        total
    }

    fn look(&mut self) {
        while let Some(len) = self.part.first_chunk::<4>() {
            let len = u32::from_be_bytes(*len) as usize;
            assert!(GOOD.contains(&len), "a frame of {len} bytes came");
            if self.part.len() < 4 + len {
                break;
            }
            self.frames.push(self.part[4..4 + len].to_vec());
            self.part.drain(..4 + len);
        }
    }

    /// The guest got such a frame: it was sent, and those before it were lost, because the guest had too little room for them.
    fn forget_until(&mut self, such: impl Fn(&Vec<u8>) -> bool) {
        while let Some(frame) = self.sent.pop_front() {
            if such(&frame) {
                return;
            }
        }
        panic!("the guest got a frame that nobody sent");
    }
}

/// A driver that keeps the rules, with at most one chain in each queue.
struct Driver<'g> {
    guest: &'g Guest,
    net: &'g Net,
    receive: GuestRing,
    transmit: GuestRing,
    /// Whether a chain is there for the card.
    sending: bool,
    offering: bool,
}

impl<'g> Driver<'g> {
    fn new(guest: &'g Guest, net: &'g Net) -> Self {
        let [receive, transmit] = [device::RECEIVE, device::TRANSMIT].map(|queue| guest.empty(queue as u64));
        Self { guest, net, receive, transmit, sending: false, offering: false }
    }

    fn serve(&self) {
        device::serve(self.net, &self.receive, &self.transmit, &self.guest.now());
        self.net.check();
    }

    fn send(&mut self, frame: &[u8]) {
        self.guest.write(BUFFER, &[0; HEADER as usize]);
        self.guest.write(BUFFER + u64::from(HEADER), frame);
        let len = HEADER + frame.len() as u32;
        let parts = [(BUFFER, 5, false), (BUFFER + 5, len - 5, false)];
        self.transmit = self.guest.offer(device::TRANSMIT as u64, &parts);
        self.sending = true;
    }

    /// Whether the card has what was sent last.
    fn is_sent(&self) -> bool {
        let used = self.guest.used(device::TRANSMIT as u64);
        assert!(used.is_none_or(|len| len == 0), "the card wrote into what was sent");
        !self.sending || used.is_some()
    }

    /// Offers room for a frame, unless there is some.
    fn offer(&mut self, len: u32) {
        if !self.offering {
            let parts = [(COMING, 20, true), (COMING + 20, len - 20, true)];
            self.receive = self.guest.offer(device::RECEIVE as u64, &parts);
            self.offering = true;
        }
    }

    /// A frame that came.
    fn got(&mut self) -> Option<Vec<u8>> {
        let len = self.guest.used(device::RECEIVE as u64).filter(|_| self.offering)?;
        self.offering = false;
        let bytes = self.guest.read(COMING, len as usize);
        assert_eq!(bytes[..HEADER as usize], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        Some(bytes[HEADER as usize..].to_vec())
    }
}
