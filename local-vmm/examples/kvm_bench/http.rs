//! What is said over a connection to an agent, where the time counts: no client of a library in between.

use crate::measure::LONG;
use sprites_api::exec::FRAME_LENGTHS;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long an agent that is up may take to answer. One that is not refuses, but a guest that is lost never does.
const ANSWER: Duration = Duration::from_secs(5);
/// Bytes that are handed on at once.
const PIECE: usize = 256 << 10;

/// A connection that is kept.
pub struct Kept(BufReader<UnixStream>);

impl Kept {
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        Ok(Self(BufReader::new(stream)))
    }

    pub fn health(&mut self) -> io::Result<()> {
        self.call("GET /v1/agent/health")
    }

    pub fn shutdown(&mut self) -> io::Result<()> {
        self.call("POST /v1/agent/shutdown")
    }

    /// One call, and its whole answer.
    fn call(&mut self, what: &str) -> io::Result<()> {
        // In one piece, because each is a packet.
        let request = format!("{what} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes())?;
        let (mut length, mut first) = (0, String::new());
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(told) = line.strip_prefix("content-length:") {
                length = told.trim().parse().map_err(io::Error::other)?;
            }
            if first.is_empty() {
                first = line;
            }
        }
        self.0.read_exact(&mut vec![0; length])?;
        if first.starts_with("http/1.1 2") { Ok(()) } else { Err(io::Error::other(first)) }
    }
}

/// Has a command print that many bytes; an error when fewer come.
pub fn pour_out(mut stream: UnixStream, bytes: u64) -> io::Result<()> {
    ready(&stream)?;
    // Told by their lengths, pieces follow each other without a pause.
    let request = format!(
        "POST /v1/exec?cmd=head&cmd=-c&cmd={bytes}&cmd=/dev/zero HTTP/1.1\r\nHost: a\r\n{FRAME_LENGTHS}: 1\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let (mut piece, mut seen) = (vec![0; PIECE], 0);
    loop {
        match stream.read(&mut piece)? {
            // What frames them is more, but little.
            0 if seen >= bytes => return Ok(()),
            0 => return Err(io::Error::other(format!("{seen} of {bytes} bytes came"))),
            read => seen += read as u64,
        }
    }
}

/// Gives a command that many bytes to read; an error when it has not seen all.
pub fn pour_in(mut stream: UnixStream, bytes: u64) -> io::Result<()> {
    ready(&stream)?;
    let request = format!(
        "POST /v1/exec?cmd=wc&cmd=-c&stdin=true HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let (piece, mut left) = (vec![0; PIECE], bytes);
    while left > 0 {
        let now = left.min(PIECE as u64);
        stream.write_all(&piece[..now as usize])?;
        left -= now;
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    if answer.contains(&bytes.to_string()) { Ok(()) } else { Err(io::Error::other(answer.into_owned())) }
}

fn ready(stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(LONG))?;
    stream.set_write_timeout(Some(LONG))
}
