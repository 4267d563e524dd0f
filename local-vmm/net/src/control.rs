//! The line to the owner: requests in, answers, events and counters out, one JSON object a line.
//!
//! | the owner says | |
//! |---|---|
//! | `{"policy": {"rules": […]}}` | from now on that policy; what it allows no more is cut before the answer |
//! | `{"allow_private": true}` | see `Settings::allow_private` |
//! | `{"resolvers": ["192.0.2.1:53"]}` | see `Settings::resolvers` |
//!
//! Empty lines are none. Each request is answered, in order, by `{"done": true}` or `{"error": "…"}`. Once a second, if anything has changed, comes a [`Report`].

use crate::error::{Error, Result};
use crate::event::{Event, Log};
use serde::{Deserialize, Serialize};
use sprites_api::Time;
use sprites_api::policy::{MAX_BYTES, NetworkPolicy};
use std::io;
use std::net::SocketAddr;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Longest request, and a little for what stands around a policy.
const LONGEST: usize = MAX_BYTES + (64 << 10);
/// Bytes read at once.
const PART: usize = 64 << 10;
/// While so much waits for the owner, nothing is read and no report is made. Events wait in their ring.
const WAITING: usize = 256 << 10;

/// What the owner asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Another policy.
    Policy(NetworkPolicy),
    /// Whether private networks may be reached as long as the policy has no rules.
    AllowPrivate(bool),
    /// Which name servers are asked; none: the host's.
    Resolvers(Vec<SocketAddr>),
}

/// What the owner hears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The request is carried out.
    Done(bool),
    /// The request cannot be carried out; why.
    Error(String),
    /// What has happened.
    Report(Report),
}

/// What has happened since the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// In the order in which they began.
    pub events: Vec<Event>,
    /// How many are not among them, because nobody read them in time.
    pub lost: u64,
    /// As they are now.
    pub counters: Counters,
}

/// Sums since the gateway began, and what there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// When the gateway began, microseconds since 1970: sums of two gateways have nothing to do with each other.
    pub began: i64,
    /// Bytes from the guest, without headers.
    pub sent: u64,
    /// Bytes for the guest, without headers.
    pub received: u64,
    /// TCP connections.
    pub connections: u64,
    /// UDP conversations.
    pub flows: u64,
}

impl Counters {
    /// Those of a gateway that begins now.
    pub(crate) fn new() -> Self {
        Self { began: Time::now().as_micros(), ..Self::default() }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Control {
    stream: UnixStream,
    incoming: Vec<u8>,
    /// How much of it has no end of a line.
    searched: usize,
    outgoing: Vec<u8>,
    reported: Counters,
}

impl Control {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            incoming: Vec::new(),
            searched: 0,
            outgoing: Vec::new(),
            reported: Counters::default(),
        }
    }

    /// Waits until something can be read, or written if anything is left to write.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        let interest = match self.outgoing.len() {
            0 => Interest::READABLE,
            1..WAITING => Interest::READABLE | Interest::WRITABLE,
            _ => Interest::WRITABLE,
        };
        self.stream.ready(interest).await.map(drop)
    }

    /// Reads what is there. False when the owner is gone.
    pub(crate) fn read(&mut self) -> Result<bool> {
        while self.outgoing.len() < WAITING {
            // What is looked at is no longer than a request and a part.
            if self.incoming.len() > LONGEST || self.has_line() {
                return Ok(true);
            }
            let before = self.incoming.len();
            self.incoming.resize(before + PART, 0);
            let read = self.stream.try_read(&mut self.incoming[before..]);
            self.incoming.truncate(before + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(error) => {
                    return match error.kind() {
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(true),
                        io::ErrorKind::ConnectionReset => Ok(false),
                        _ => Err(Error::Control(error)),
                    };
                }
            }
        }
        Ok(true)
    }

    fn has_line(&mut self) -> bool {
        self.incoming[self.searched..].contains(&b'\n')
    }

    /// The next whole request. One that cannot be read is answered here.
    pub(crate) fn request(&mut self) -> Result<Option<Request>> {
        loop {
            let Some(end) = self.incoming[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.incoming.len();
                return if self.searched > LONGEST { Err(Error::LongLine(LONGEST)) } else { Ok(None) };
            };
            let rest = self.incoming.split_off(self.searched + end + 1);
            let line = std::mem::replace(&mut self.incoming, rest);
            self.searched = 0;
            // Whoever takes over the line ends what may have been begun on it.
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice(&line) {
                Ok(request) => return Ok(Some(request)),
                Err(error) => {
                    self.say(&Message::Error(format!("this is no request to the network: {error}")))
                }
            }
        }
    }

    /// Answers a request.
    pub(crate) fn answer(&mut self, result: std::result::Result<(), String>) {
        self.say(&result.map_or_else(Message::Error, |()| Message::Done(true)));
    }

    /// Tells what has happened, if anything has and the owner reads.
    pub(crate) fn report(&mut self, log: &mut Log, counters: Counters) {
        if self.outgoing.len() >= WAITING || self.is_told(log, counters) {
            return;
        }
        let (events, lost) = log.take();
        self.reported = counters;
        self.say(&Message::Report(Report { events, lost, counters }));
    }

    /// Whether the owner has been told everything.
    pub(crate) fn is_told(&self, log: &Log, counters: Counters) -> bool {
        log.is_empty() && counters == self.reported
    }

    fn say(&mut self, message: &Message) {
        // It is made of nothing but what can be written.
        if serde_json::to_writer(&mut self.outgoing, message).is_ok() {
            self.outgoing.push(b'\n');
        }
    }

    /// Hands the owner what it takes. False when it is gone.
    pub(crate) fn flush(&mut self) -> Result<bool> {
        let mut gone = 0;
        let there = loop {
            if gone == self.outgoing.len() {
                break true;
            }
            match self.stream.try_write(&self.outgoing[gone..]) {
                Ok(0) => break false,
                Ok(written) => gone += written,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => break true,
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => break false,
                    _ => return Err(Error::Control(error)),
                },
            }
        };
        self.outgoing.drain(..gone);
        Ok(there)
    }
}
