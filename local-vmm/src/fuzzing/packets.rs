//! Connections between host and guest, packet by packet: both sides do anything in any order, and what one sends the other gets, in order.

use super::devices::{packet, sockets};
use crate::devices::vsock::packet::{HOST_CID, Header, op};
use crate::devices::vsock::{GUEST_CID, Vsock};
use arbitrary::{Result, Unstructured};
use sprites_api::agent::VSOCK_PORT;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

/// Most steps of a case.
const STEPS: usize = 200;
/// Most connections of a case.
const CONNECTIONS: usize = 4;

/// A connection as both of its ends should see it. Bytes count up from 0 in each direction, so that a lost or swapped one shows.
struct Peer {
    stream: UnixStream,
    host_sent: u64,
    guest_got: u64,
    guest_sent: u64,
    host_got: u64,
    /// Room that the guest told last, and what it said to have passed on.
    room: (u32, u32),
}

/// Packets in both directions.
pub fn vsock_packets(data: &[u8]) {
    let sockets = sockets();
    sockets.forget_all();
    let mut peers = HashMap::new();
    let mut u = Unstructured::new(data);
    for _ in 0..STEPS {
        if u.is_empty() || step(&mut u, &sockets, &mut peers).is_err() {
            break;
        }
        sockets.check();
    }
    drop(peers);
    sockets.forget_all();
}

fn step(u: &mut Unstructured<'_>, sockets: &Vsock, peers: &mut HashMap<u32, Peer>) -> Result<()> {
    let ports = sockets.ports();
    let port = if ports.is_empty() { None } else { Some(*u.choose(&ports)?) };
    match u.int_in_range(0..=11u8)? {
        0 if peers.len() < CONNECTIONS => {
            let stream = sockets.connect().expect("there is room for a connection");
            stream.set_nonblocking(true).expect("a socket can be told not to block");
            let new = sockets.ports().into_iter().find(|port| !ports.contains(port)).expect("it has a port");
            let peer = Peer { stream, host_sent: 0, guest_got: 0, guest_sent: 0, host_got: 0, room: (0, 0) };
            peers.insert(new, peer);
        }
        1 => {
            // The host's program writes.
            let len = u.int_in_range(0..=8192usize)?;
            if let Some(peer) = port.and_then(|port| peers.get_mut(&port)) {
                let bytes: Vec<u8> = (0..len as u64).map(|at| (peer.host_sent + at) as u8).collect();
                peer.host_sent += peer.stream.write(&bytes).unwrap_or(0) as u64;
            }
        }
        2 => {
            // It reads.
            if let Some(peer) = port.and_then(|port| peers.get_mut(&port)) {
                read(peer, u.int_in_range(0..=0x2_0000)?);
            }
        }
        3 => {
            let how = *u.choose(&[Shutdown::Read, Shutdown::Write, Shutdown::Both])?;
            if let Some(peer) = port.and_then(|port| peers.get(&port)) {
                // It may have ended already.
                let _ = peer.stream.shutdown(how);
            }
        }
        4 if u.ratio(1, 4)? => drop(port.and_then(|port| peers.remove(&port))),
        5 | 6 => {
            let room = u.int_in_range(0..=0x1_0000)?;
            for _ in 0..u.int_in_range(0..=4)? {
                take(sockets, peers, room);
            }
        }
        7 => {
            // A guest that keeps the rules opens what it is asked to.
            let room = u.int_in_range(1..=0x1_0000)?;
            if let Some(port) = port {
                say(sockets, peers, &plain(port, op::RESPONSE, room), &[]);
            }
        }
        8 | 9 => {
            // And sends.
            let len = u.int_in_range(0..=0x1_0000usize)?;
            if let Some((port, peer)) = port.and_then(|port| Some((port, peers.get_mut(&port)?))) {
                let bytes: Vec<u8> = (0..len as u64).map(|at| (peer.guest_sent + at) as u8).collect();
                let header = Header { len: len as u32, ..plain(port, op::RW, peer.room.0) };
                let header = Header { fwd_cnt: peer.room.1, ..header };
                if sockets.is_open(port) {
                    peer.guest_sent += len as u64;
                }
                say(sockets, peers, &header, &bytes);
            }
        }
        10 => {
            // It passes on what it got.
            if let Some((port, peer)) = port.and_then(|port| Some((port, peers.get_mut(&port)?))) {
                let header =
                    Header { fwd_cnt: peer.guest_got as u32, ..plain(port, op::CREDIT_UPDATE, 0x1_0000) };
                say(sockets, peers, &header, &[]);
            }
        }
        _ => {
            // It says anything. Data out of the blue would only spoil the count.
            let header = packet(u, port)?;
            let header =
                if header.op == op::RW { Header { op: op::CREDIT_REQUEST, ..header } } else { header };
            say(sockets, peers, &header, &[]);
        }
    }
    Ok(())
}

fn plain(port: u32, op: u16, room: u32) -> Header {
    Header {
        src_cid: GUEST_CID,
        dst_cid: HOST_CID,
        src_port: VSOCK_PORT,
        dst_port: port,
        kind: 1,
        op,
        buf_alloc: room,
        ..Header::default()
    }
}

/// The guest says something; remembers what it told of its room when that is for a connection.
fn say(sockets: &Vsock, peers: &mut HashMap<u32, Peer>, header: &Header, data: &[u8]) {
    let counts = header.src_cid == GUEST_CID
        && header.dst_cid == HOST_CID
        && header.kind == 1
        && header.src_port == VSOCK_PORT;
    if let Some(peer) = peers.get_mut(&header.dst_port).filter(|_| counts) {
        peer.room = (header.buf_alloc, header.fwd_cnt);
    }
    sockets.take(header, data);
}

/// The guest takes a packet, if there is one, and looks at it.
fn take(sockets: &Vsock, peers: &mut HashMap<u32, Peer>, room: usize) {
    let mut data = Vec::new();
    let Some(header) = sockets.next(room, &mut data) else { return };
    assert_eq!((header.src_cid, header.dst_cid), (HOST_CID, GUEST_CID));
    assert_eq!(header.len as usize, data.len());
    assert!(data.len() <= room, "a packet is larger than its buffer");
    assert!((1..=7).contains(&header.op), "{} is no word", header.op);
    if header.op != op::RW {
        assert!(data.is_empty());
        return;
    }
    assert!(!data.is_empty(), "a packet of data has none");
    let Some(peer) = peers.get_mut(&header.src_port) else { return };
    let on_its_way = (peer.guest_got as u32).wrapping_sub(peer.room.1);
    let credit = peer.room.0.saturating_sub(on_its_way);
    assert!(data.len() <= credit as usize, "{} bytes are sent where {credit} have room", data.len());
    for byte in data {
        assert_eq!(byte, peer.guest_got as u8, "a byte for the guest is lost or comes twice");
        peer.guest_got += 1;
    }
    assert!(peer.guest_got <= peer.host_sent);
}

/// The host's program reads at most so much.
fn read(peer: &mut Peer, most: usize) {
    let mut bytes = vec![0; most];
    match peer.stream.read(&mut bytes) {
        Ok(count) => {
            for byte in &bytes[..count] {
                assert_eq!(*byte, peer.host_got as u8, "a byte for the host is lost or comes twice");
                peer.host_got += 1;
            }
            assert!(peer.host_got <= peer.guest_sent);
        }
        Err(error) => {
            let ends = [ErrorKind::WouldBlock, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
            assert!(ends.contains(&error.kind()), "{error}");
        }
    }
}
