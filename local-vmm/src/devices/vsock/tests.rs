//! The device against a scripted guest, and its queues against drivers.

use super::*;
use crate::devices::ring::Ring;
use crate::devices::testing::{Driver, NEXT, WRITE, any_parts, lies, memory};
use proptest::prelude::*;
use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

fn device() -> (tempfile::TempDir, Arc<Vsock>) {
    let dir = tempfile::tempdir().unwrap();
    let vsock = Vsock::start(UnixListener::bind(dir.path().join("s")).unwrap()).unwrap();
    // So that tests can guess the numbers of connections.
    vsock.lock().next_port = FIRST_PORT;
    (dir, vsock)
}

/// Waits for the next packet for the guest.
fn next(vsock: &Vsock) -> (Header, Vec<u8>) {
    let mut data = Vec::new();
    let give_up = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(header) = vsock.next(4096, &mut data) {
            return (header, data);
        }
        assert!(Instant::now() < give_up, "no packet came");
        thread::yield_now();
    }
}

fn guest(to: &Header, op: u16) -> Header {
    Header {
        src_cid: GUEST_CID,
        dst_cid: HOST_CID,
        src_port: to.dst_port,
        dst_port: to.src_port,
        kind: TYPE_STREAM,
        op,
        buf_alloc: 8192,
        ..Header::default()
    }
}

fn open(vsock: &Vsock) -> (UnixStream, Header) {
    let stream = vsock.connect().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (request, _) = next(vsock);
    assert_eq!((request.op, request.dst_port), (op::REQUEST, VSOCK_PORT));
    vsock.handle(&guest(&request, op::RESPONSE), &[]);
    (stream, request)
}

fn send(vsock: &Vsock, to: &Header, data: &[u8]) {
    vsock.handle(&Header { len: data.len() as u32, ..guest(to, op::RW) }, data);
}

#[test]
fn data_and_half_closes_pass_in_both_directions() {
    let (_dir, vsock) = device();
    let (mut stream, request) = open(&vsock);
    stream.write_all(b"hello").unwrap();
    let (header, data) = next(&vsock);
    assert_eq!((header.op, header.len, &data[..]), (op::RW, 5, &b"hello"[..]));
    stream.shutdown(Shutdown::Write).unwrap();
    let (header, _) = next(&vsock);
    assert_eq!((header.op, header.flags), (op::SHUTDOWN, SHUTDOWN_SEND));
    send(&vsock, &request, b"world");
    vsock.handle(&Header { flags: SHUTDOWN_SEND, ..guest(&request, op::SHUTDOWN) }, &[]);
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    assert_eq!(got, "world");
    assert_eq!(next(&vsock).0.op, op::RST);
    assert!(vsock.lock().connections.is_empty());
}

#[test]
fn the_hosts_full_close_is_told() {
    let (_dir, vsock) = device();
    let (stream, request) = open(&vsock);
    drop(stream);
    let (header, _) = next(&vsock);
    assert_eq!((header.op, header.flags), (op::SHUTDOWN, SHUTDOWN_SEND | SHUTDOWN_RECEIVE));
    vsock.handle(&guest(&request, op::RST), &[]);
    assert!(vsock.lock().connections.is_empty());
}

#[test]
fn a_host_that_leaves_before_the_guest_answers_is_no_burden() {
    let (_dir, vsock) = device();
    let stream = vsock.connect().unwrap();
    let (request, _) = next(&vsock);
    drop(stream);
    let give_up = Instant::now() + Duration::from_secs(10);
    while !vsock.lock().connections[&request.src_port].readable {
        assert!(Instant::now() < give_up, "the hang-up is never seen");
        thread::yield_now();
    }
    // The guest sleeps. Nothing is asked of epoll, so that nothing is reported again and again.
    let mut events = [EpollEvent::empty(); 4];
    assert_eq!(vsock.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap(), 0);
    vsock.handle(&guest(&request, op::RESPONSE), &[]);
    let (header, _) = next(&vsock);
    assert_eq!((header.op, header.flags), (op::SHUTDOWN, SHUTDOWN_SEND | SHUTDOWN_RECEIVE));
}

#[test]
fn nothing_is_sent_beyond_the_guests_room() {
    let (_dir, vsock) = device();
    let (mut stream, request) = open(&vsock);
    stream.write_all(&[7; 20_000]).unwrap();
    let mut got = 0;
    while got < 8192 {
        got += next(&vsock).1.len();
    }
    assert_eq!(got, 8192);
    assert!(vsock.next(4096, &mut Vec::new()).is_none());
    vsock.handle(&Header { fwd_cnt: 8192, ..guest(&request, op::CREDIT_UPDATE) }, &[]);
    while got < 16_384 {
        got += next(&vsock).1.len();
    }
    assert_eq!(got, 16_384);
}

#[test]
fn a_guest_that_sends_more_than_allowed_is_cut_off() {
    let (_dir, vsock) = device();
    let (mut stream, request) = open(&vsock);
    let mut sent = 0usize;
    while vsock.lock().connections.contains_key(&request.src_port) {
        send(&vsock, &request, &[1; 32 << 10]);
        sent += 32 << 10;
        assert!(sent < 8 << 20, "it was never cut off");
    }
    while next(&vsock).0.op != op::RST {}
    let mut got = Vec::new();
    // What had been taken before is dropped with the connection or arrives; more never does.
    let _ = stream.read_to_end(&mut got);
    assert!(got.len() <= sent);
}

#[test]
fn room_is_told_again_when_the_host_reads() {
    let (_dir, vsock) = device();
    let (mut stream, request) = open(&vsock);
    let reader = thread::spawn(move || {
        let mut got = vec![0; 4 << 20];
        stream.read_exact(&mut got).unwrap();
        got.len()
    });
    let (mut sent, mut forwarded) = (0u32, 0u32);
    while sent < 4 << 20 {
        while sent < 4 << 20 && sent.wrapping_sub(forwarded) + (32 << 10) <= BUFFER {
            send(&vsock, &request, &[1; 32 << 10]);
            sent += 32 << 10;
        }
        if sent < 4 << 20 {
            let (header, _) = next(&vsock);
            assert_eq!(header.op, op::CREDIT_UPDATE);
            forwarded = header.fwd_cnt;
        }
    }
    assert_eq!(reader.join().unwrap(), 4 << 20);
}

#[test]
fn strangers_are_refused() {
    let (_dir, vsock) = device();
    let ghost = Header {
        src_cid: 3,
        dst_cid: 2,
        src_port: 9,
        dst_port: 22,
        kind: 1,
        op: op::REQUEST,
        ..Header::default()
    };
    for header in
        [ghost, Header { op: op::RW, ..ghost }, Header { src_cid: 9, ..ghost }, Header { kind: 2, ..ghost }]
    {
        vsock.handle(&header, &[]);
        let (answer, _) = next(&vsock);
        assert_eq!((answer.op, answer.src_port, answer.dst_port), (op::RST, 22, 9));
    }
    vsock.handle(&Header { op: op::RST, ..ghost }, &[]);
    assert!(!vsock.has_next());
    for _ in 0..2 * MAX_CONTROL {
        vsock.handle(&ghost, &[]);
    }
    assert_eq!(vsock.lock().control.len(), MAX_CONTROL);
}

/// Where packets lie.
const DATA: u64 = 0x2_0000;

#[test]
fn a_driver_that_keeps_the_rules() {
    let (_dir, vsock) = device();
    let memory = memory();
    let (mut receive, mut transmit) = (Driver::new(&memory, 0), Driver::new(&memory, 1));
    let mut stream = vsock.connect().unwrap();
    receive.chain(&[(DATA, 20, WRITE | NEXT, 1), (DATA + 20, 1000, WRITE, 0)]);
    serve(&vsock, &receive.ring, &transmit.ring, &receive.now(), true);
    assert!(receive.used().is_empty(), "it is given something while that is held back");
    serve(&vsock, &receive.ring, &transmit.ring, &receive.now(), false);
    assert_eq!(receive.used(), [(0, HEADER as u32)]);
    let request = Header::read(receive.get(DATA, HEADER).as_slice().try_into().unwrap());
    assert_eq!((request.op, request.dst_port), (op::REQUEST, VSOCK_PORT));
    for (op, data) in [(op::RESPONSE, &b""[..]), (op::RW, b"hello")] {
        let header = Header { len: data.len() as u32, ..guest(&request, op) };
        transmit.put(DATA + 0x1000, &[&header.bytes()[..], data].concat());
        let len = HEADER as u32;
        transmit.chain(&[(DATA + 0x1000, len, NEXT, 1), (DATA + 0x1000 + u64::from(len), 16, 0, 0)]);
        serve(&vsock, &receive.ring, &transmit.ring, &receive.now(), false);
        assert_eq!(transmit.used(), [(0, 0)]);
    }
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut got = [0; 5];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"hello");
}

#[test]
fn a_reset_is_told_once_and_its_answer_is_heard() {
    let mut driver = Driver::new(&memory(), 0);
    for number in 0..3 {
        driver.describe(number, &[(DATA + 0x100 * u64::from(number), 4, WRITE, 0)]);
        driver.offer(number);
    }
    driver.ring.with(|queue| virtio_queue::QueueT::set_event_idx(queue, true));
    let now = driver.now();
    assert_eq!(tell_reset(&driver.ring, &now), Some(3));
    assert_eq!(driver.used().len(), 1, "it is told more than once");
    assert!(!has_understood(&driver.ring, &now, 3));
    // The driver rings at the offer that follows those that it has made, not at the one after the first.
    let place = 0x804 + 8 * u64::from(crate::devices::testing::SIZE);
    assert_eq!(driver.get(place, 2), 3u16.to_le_bytes());
    assert_eq!(driver.ring.with(|queue| virtio_queue::QueueT::next_avail(queue)), 1);
    driver.offer(0);
    assert!(has_understood(&driver.ring, &now, 3));
    // A driver without a buffer is told nothing, and waited for in vain by nobody.
    driver.ring.with(|queue| virtio_queue::QueueT::set_next_avail(queue, 4));
    assert_eq!(tell_reset(&driver.ring, &now), None);
}

#[test]
fn chains_that_lie() {
    for parts in lies(DATA) {
        let (_dir, vsock) = device();
        let _stream = vsock.connect().unwrap();
        let memory = memory();
        let (mut receive, mut transmit) = (Driver::new(&memory, 0), Driver::new(&memory, 1));
        receive.chain(&parts);
        transmit.chain(&parts);
        serve(&vsock, &receive.ring, &transmit.ring, &receive.now(), false);
        assert!(
            vsock.lock().connections.len() <= 1 && vsock.lock().control.len() <= MAX_CONTROL,
            "{parts:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_chain_does_no_harm(out in any_parts(), into in any_parts(), packet in prop::collection::vec(any::<u8>(), 64)) {
        let (_dir, vsock) = device();
        let _stream = vsock.connect().unwrap();
        let memory = memory();
        let (mut receive, mut transmit) = (Driver::new(&memory, 0), Driver::new(&memory, 1));
        receive.put(DATA, &packet);
        receive.chain(&into);
        transmit.chain(&out);
        serve(&vsock, &receive.ring, &transmit.ring, &receive.now(), false);
        prop_assert!(vsock.lock().connections.len() <= 1 && vsock.lock().control.len() <= MAX_CONTROL);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_sequence_of_packets_does_harm(
        packets in prop::collection::vec((0u16..9, 0u32..5, any::<u32>(), any::<u32>(), 0usize..3000), 1..60)
    ) {
        let (_dir, vsock) = device();
        let streams: Vec<_> = (0..3).map(|_| vsock.connect().unwrap()).collect();
        for (op, port, buf_alloc, fwd_cnt, len) in packets {
            let header = Header {
                src_cid: 3, dst_cid: 2, src_port: VSOCK_PORT, dst_port: FIRST_PORT + port, kind: 1,
                op, flags: buf_alloc & 3, buf_alloc, fwd_cnt, len: len as u32,
            };
            vsock.handle(&header, &vec![0; len]);
            let _ = vsock.next(len, &mut Vec::new());
        }
        prop_assert!(vsock.lock().connections.len() <= 3);
        drop(streams);
    }
}
