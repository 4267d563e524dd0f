//! What the programs that measure machines have in common. They are examples of two packages, and both take this folder in by its path.

mod blocks;
pub mod plain;

pub use blocks::Blocks;
pub use plain::Raw;

use serde_json::json;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longest any step may take.
pub const LONG: Duration = Duration::from_secs(120);

/// Tells a number, one JSON object a line; with a peer its ratio to the peer's number.
pub fn figure(name: &str, value: f64, unit: &str, ratio: Option<f64>, limit: Option<&str>) {
    println!("{}", json!({ "name": name, "value": value, "unit": unit, "ratio": ratio, "limit": limit }));
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Measures two things in turns, whoever goes first changing, and gives the medians of their numbers, ours first. A first round is not counted:
/// in it caches fill, and the guests' file systems begin to use their groups of blocks. `between` follows each round.
pub fn take_turns(
    rounds: usize,
    ours: impl Fn() -> Vec<f64>,
    theirs: impl Fn() -> Vec<f64>,
    between: impl Fn(),
) -> Vec<(f64, f64)> {
    let mut all: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    for round in 0..=rounds {
        let (ours, theirs) = if round % 2 == 0 {
            let ours = ours();
            (ours, theirs())
        } else {
            let theirs = theirs();
            (ours(), theirs)
        };
        assert_eq!(ours.len(), theirs.len(), "both tell the same numbers");
        between();
        if round == 0 {
            all = vec![(Vec::new(), Vec::new()); ours.len()];
            continue;
        }
        for (index, (ours, theirs)) in ours.into_iter().zip(theirs).enumerate() {
            all[index].0.push(ours);
            all[index].1.push(theirs);
        }
    }
    all.into_iter().map(|(ours, theirs)| (median(ours), median(theirs))).collect()
}

/// Runs a command over a connection to the agent or the server; its output, without the frame bytes.
pub fn exec(stream: UnixStream, path: &str, command: &[&str], input: &str) -> io::Result<String> {
    let mut stream = stream;
    stream.set_read_timeout(Some(LONG))?;
    stream.set_write_timeout(Some(LONG))?;
    let words: String = command.iter().map(|word| format!("cmd={word}&")).collect();
    write!(
        stream,
        "POST {path}?{words}stdin=true HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{input}",
        input.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text: String =
        String::from_utf8_lossy(&answer).chars().filter(|c| !c.is_control() || *c == '\n').collect();
    if text.starts_with("HTTP/1.1 200") { Ok(text) } else { Err(io::Error::other(text)) }
}

/// Numbers that stand alone on a line.
pub fn numbers(text: &str) -> Vec<f64> {
    text.lines().filter(|line| line.contains('.')).filter_map(|line| line.trim().parse().ok()).collect()
}
