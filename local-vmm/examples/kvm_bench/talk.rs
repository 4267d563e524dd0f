//! Round trips and streams over the sockets, which are our device on both: on QEMU over vhost-user.

use crate::http::{Kept, pour_in, pour_out};
use crate::measure::{figure, median, millis, take_turns};
use crate::rig::{Bench, Machine};
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// Rounds of what takes moments.
const TRIPS: usize = 40;
/// Rounds of a stream.
const STREAMS: usize = 3;
/// Bytes of a stream.
const BYTES: u64 = 32 << 20;

/// The smallest command, and the smallest question on a connection that is kept.
pub fn round_trips(bench: &Bench) {
    bench.with_pair(|pair| {
        let timed = |work: &mut dyn FnMut()| {
            let times = (0..=TRIPS).map(|_| {
                let start = Instant::now();
                work();
                millis(start.elapsed())
            });
            // The first is for warming up.
            median(times.skip(1).collect())
        };
        let both = |machine: &dyn Machine| {
            let exec = timed(&mut || drop(machine.run(&["true"], "")));
            let mut kept = machine.agent().and_then(Kept::new).expect("the agent can be reached");
            let health = timed(&mut || kept.health().expect("the agent answers"));
            vec![exec, health]
        };
        let times = take_turns(1, || both(&pair.ours), || both(&pair.plain), || {});
        for ((ours, theirs), what) in times.into_iter().zip(["exec of true, new connection", "question"]) {
            figure(&format!("{what}: p50, against QEMU microvm"), ours, "ms", Some(ours / theirs), None);
        }
    });
}

/// What a command prints, and what it is given to read.
pub fn streams(bench: &Bench) {
    bench.with_pair(|pair| {
        let seconds = |work: fn(UnixStream, u64) -> io::Result<()>, machine: &dyn Machine| {
            let stream = machine.agent().expect("the agent can be reached");
            let start = Instant::now();
            work(stream, BYTES).expect("all of it goes through");
            start.elapsed().as_secs_f64()
        };
        let both = |machine: &dyn Machine| vec![seconds(pour_out, machine), seconds(pour_in, machine)];
        let times = take_turns(STREAMS, || both(&pair.ours), || both(&pair.plain), || {});
        for ((ours, theirs), what) in times.into_iter().zip(["out of an exec", "into an exec"]) {
            let speed = |seconds: f64| BYTES as f64 / 1e6 / seconds;
            figure(&format!("QEMU microvm: stream {what}"), speed(theirs), "MB/s", None, None);
            figure(
                &format!("ours: stream {what}, against it"),
                speed(ours),
                "MB/s",
                Some(theirs / ours),
                None,
            );
        }
    });
}
