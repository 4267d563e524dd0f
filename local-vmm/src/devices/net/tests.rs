//! The network card against drivers and peers.

use super::*;
use crate::Memory;
use crate::devices::testing::{Driver, MEMORY, NEXT, Part, TestRing, WRITE, any_parts, lies, memory};
use proptest::prelude::*;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
/// Where frames lie.
const DATA: u64 = 0x2_0000;

struct Rig {
    net: Net,
    peer: UnixStream,
    receive: Driver,
    transmit: Driver,
}

fn rig() -> Rig {
    let (ours, peer) = UnixStream::pair().unwrap();
    peer.set_nonblocking(true).unwrap();
    let memory: Memory = memory();
    let net = Net::new(ours, MAC).unwrap();
    Rig { net, peer, receive: Driver::new(&memory, 0), transmit: Driver::new(&memory, 1) }
}

impl Rig {
    fn serve(&self) {
        let (receive, transmit): (&TestRing, &TestRing) = (&self.receive.ring, &self.transmit.ring);
        serve(&self.net, receive, transmit, &self.receive.now());
    }

    /// The guest sends a frame, in pieces.
    fn send(&mut self, frame: &[u8]) {
        self.transmit.put(DATA, &[0; HEADER]);
        self.transmit.put(DATA + HEADER as u64, frame);
        let len = (HEADER + frame.len()) as u32;
        self.transmit.chain(&[(DATA, 7, NEXT, 1), (DATA + 7, len - 7, 0, 0)]);
        self.serve();
    }

    /// What the peer gets.
    fn arrived(&mut self) -> Vec<u8> {
        let (mut out, mut part) = (Vec::new(), [0; 4096]);
        loop {
            match self.peer.read(&mut part) {
                Ok(0) => return out,
                Ok(read) => out.extend(&part[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return out,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The guest offers a buffer for a frame.
    fn offer(&mut self, len: u32) {
        self.receive.chain(&[(DATA + 0x8000, 10, WRITE | NEXT, 1), (DATA + 0x800a, len - 10, WRITE, 0)]);
        self.serve();
    }
}

fn with_length(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as u32).to_be_bytes()[..], frame].concat()
}

fn frame(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(3).wrapping_add(seed)).collect()
}

#[test]
fn a_cable_that_leads_nowhere() {
    let mut rig = Rig { net: Net::unplugged(MAC).unwrap(), ..rig() };
    for _ in 0..100 {
        rig.send(&frame(MAX_FRAME, 1));
        assert_eq!(rig.transmit.used(), [(0, 0)]);
    }
    rig.offer(2048);
    assert_eq!((rig.receive.used(), rig.net.link().held()), (Vec::new(), 0));
    assert_eq!(rig.net.config()[..6], MAC);
}

#[test]
fn a_driver_that_keeps_the_rules() {
    let mut rig = rig();
    for len in [ETHERNET, 60, MAX_FRAME] {
        rig.send(&frame(len, 1));
        assert_eq!((rig.transmit.used(), rig.arrived()), (vec![(0, 0)], with_length(&frame(len, 1))));
        rig.peer.write_all(&with_length(&frame(len, 2))).unwrap();
        rig.offer(2048);
        assert_eq!(rig.receive.used(), [(0, (HEADER + len) as u32)]);
        let got = rig.receive.get(DATA + 0x8000, HEADER + len);
        assert_eq!(
            (&got[..HEADER], &got[HEADER..]),
            (&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0][..], &frame(len, 2)[..])
        );
    }
    let config = rig.net.config();
    assert_eq!((&config[..6], &config[6..]), (&MAC[..], &[0, 0, 1, 0, 0xdc, 5][..]));
}

#[test]
fn frames_that_are_too_short_or_too_long_are_dropped() {
    let mut rig = rig();
    for len in [0, 1, ETHERNET - 1, MAX_FRAME + 1, 9000] {
        rig.send(&frame(len, 1));
        assert_eq!((rig.transmit.used().len(), rig.arrived().len()), (1, 0), "{len}");
        rig.peer.write_all(&with_length(&frame(len, 3))).unwrap();
    }
    rig.peer.write_all(&with_length(&frame(60, 4))).unwrap();
    rig.offer(2048);
    assert_eq!(rig.receive.used(), [(0, 72)]);
    assert_eq!(rig.receive.get(DATA + 0x8000 + HEADER as u64, 60), frame(60, 4));
    // A buffer that is too small costs the frame, and no more.
    rig.peer.write_all(&[with_length(&frame(60, 5)), with_length(&frame(60, 6))].concat()).unwrap();
    rig.offer(40);
    assert_eq!(rig.receive.used(), [(0, 0)]);
    rig.offer(2048);
    assert_eq!(rig.receive.get(DATA + 0x8000 + HEADER as u64, 60), frame(60, 6));
}

#[test]
fn frames_may_come_in_any_pieces() {
    let mut rig = rig();
    let stream =
        [with_length(&frame(60, 1)), with_length(&frame(2000, 0)), with_length(&frame(90, 2))].concat();
    rig.offer(2048);
    let mut got = Vec::new();
    for byte in stream {
        rig.peer.write_all(&[byte]).unwrap();
        rig.serve();
        for (_, len) in rig.receive.used() {
            got.push(rig.receive.get(DATA + 0x8000 + HEADER as u64, len as usize - HEADER));
            rig.offer(2048);
        }
    }
    assert_eq!(got, [frame(60, 1), frame(90, 2)]);
}

#[test]
fn a_peer_that_does_not_read_holds_up_the_guest_and_fills_nothing() {
    let mut rig = rig();
    let (mut sent, mut used) = (0, 0);
    // Until neither the socket nor this device takes anything more.
    while sent - used < 8 {
        rig.send(&frame(MAX_FRAME, 1));
        sent += 1;
        used += rig.transmit.used().len();
        assert!(sent < 10_000, "it takes everything");
    }
    assert!(rig.net.link().held() <= HELD);
    let mut arrived = 0;
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while arrived < sent * (MAX_FRAME + 4) {
        arrived += rig.arrived().len();
        rig.serve();
        assert!(std::time::Instant::now() < give_up, "{arrived} of {sent} frames' bytes");
    }
    assert_eq!(used + rig.transmit.used().len(), sent);
    assert_eq!(arrived, sent * (MAX_FRAME + 4));
}

#[test]
fn a_guest_without_buffers_gets_nothing_read() {
    let mut rig = rig();
    let mut written = 0;
    loop {
        match rig.peer.write(&with_length(&frame(1000, 1))) {
            // Whole frames only, so that the count below is simple.
            Ok(1004) => written += 1,
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    (0..3).for_each(|_| rig.serve());
    assert_eq!(rig.net.link().waiting(), 1004 + 4);
    let mut got = 0;
    while got < written {
        rig.offer(2048);
        assert_eq!(rig.receive.used(), [(0, 1012)]);
        got += 1;
    }
}

#[test]
fn a_dead_peer_leaves_a_card_that_swallows_frames() {
    for how in 0..3 {
        let mut rig = rig();
        rig.send(&frame(60, 1));
        match how {
            0 => {
                let (other, _gone) = UnixStream::pair().unwrap();
                rig.peer = other;
            }
            1 => rig.peer.shutdown(Shutdown::Both).unwrap(),
            // A stream that has lost its beat is as good as none.
            _ => rig.peer.write_all(&[0xff; 64]).unwrap(),
        }
        rig.offer(2048);
        for _ in 0..200 {
            rig.send(&frame(MAX_FRAME, 1));
        }
        assert_eq!((rig.transmit.used().len(), rig.receive.used().len()), (201, 0), "{how}");
        let link = rig.net.link();
        assert_eq!((link.held(), link.waiting()), (0, 0));
    }
}

#[test]
fn chains_that_lie() {
    for parts in lies(DATA) {
        let mut rig = rig();
        rig.peer.write_all(&with_length(&frame(60, 1))).unwrap();
        rig.transmit.chain(&parts);
        rig.receive.chain(&parts);
        rig.serve();
        let arrived = rig.arrived();
        assert!(arrived.len() <= 4 + MAX_FRAME, "{parts:?}");
    }
    // Nothing beyond the memory becomes a frame.
    let mut rig = rig();
    rig.transmit.chain(&[(DATA, 12, NEXT, 1), (MEMORY as u64 - 10, 60, 0, 0)]);
    rig.serve();
    assert_eq!((rig.transmit.used().len(), rig.arrived().len()), (1, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]
    #[test]
    fn any_chain_does_no_harm(out in any_parts(), into in any_parts(), sent in prop::collection::vec(any::<u8>(), 0..3000)) {
        let mut rig = rig();
        // A peer that says anything.
        rig.peer.write_all(&with_length(&frame(100, 1))).unwrap();
        rig.peer.write_all(&sent).unwrap();
        let both: [(&mut Driver, &Vec<Part>); 2] = [(&mut rig.transmit, &out), (&mut rig.receive, &into)];
        for (driver, parts) in both {
            driver.chain(parts);
        }
        rig.serve();
        prop_assert!(rig.net.link().held() <= HELD && rig.net.link().waiting() <= MAX_FRAME + 8);
        // What arrives are frames.
        let arrived = rig.arrived();
        let mut rest = &arrived[..];
        while let Some((len, after)) = rest.split_first_chunk::<4>() {
            let len = u32::from_be_bytes(*len) as usize;
            prop_assert!((ETHERNET..=MAX_FRAME).contains(&len) && len <= after.len());
            rest = &after[len..];
        }
        prop_assert!(rest.is_empty());
    }
}
