//! Asking the host's name servers.

use super::message::{DATAGRAM, answer_to};
use hickory_proto::op::{Metadata, ResponseCode};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long one server has to answer.
const ANSWER: Duration = Duration::from_millis(2500);
/// How long a question takes at most. Programs inside give up after five seconds, and ask again.
const QUESTION: Duration = Duration::from_secs(9);
/// How often all servers are asked.
const ROUNDS: usize = 2;
/// Most servers, as in a resolver's own rules.
const SERVERS: usize = 3;
/// How long the file is believed without a look at it.
const FRESH: Duration = Duration::from_secs(2);
/// Where the host says which they are.
const FILE: &str = "/etc/resolv.conf";

/// Which name servers are asked.
#[derive(Debug)]
pub(crate) struct Servers {
    servers: Vec<SocketAddr>,
    /// Somebody said which, so no file is read.
    told: bool,
    looked: Option<Instant>,
    modified: Option<SystemTime>,
}

impl Servers {
    /// Those; if none, the host's.
    pub(crate) fn new(servers: Vec<SocketAddr>) -> Self {
        Self { told: !servers.is_empty(), servers, looked: None, modified: None }
    }

    pub(crate) fn get(&mut self, now: Instant) -> Vec<SocketAddr> {
        let fresh = self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < FRESH);
        if !self.told && !fresh {
            self.looked = Some(now);
            self.read(Path::new(FILE));
        }
        self.servers.clone()
    }

    /// Reads the file if it has changed. What cannot be read leaves what was there: a laptop between two networks, or a process behind walls.
    fn read(&mut self, file: &Path) {
        let Ok(modified) = std::fs::metadata(file).and_then(|data| data.modified()) else { return };
        if self.modified == Some(modified) {
            return;
        }
        if let Ok(text) = std::fs::read_to_string(file) {
            self.modified = Some(modified);
            self.servers = servers(&text);
        }
    }
}

/// Name servers of a `resolv.conf`.
fn servers(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        // With a zone, which link-local addresses have, it is of no use here.
        .filter_map(|rest| rest.trim().parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, 53))
        .take(SERVERS)
        .collect()
}

/// Asks the servers one after the other, until one has an answer. `None`: none has.
pub(crate) async fn ask(servers: Vec<SocketAddr>, question: Vec<u8>) -> Option<Vec<u8>> {
    let all = async {
        let mut answered = None;
        for server in std::iter::repeat_n(&servers, ROUNDS).flatten() {
            let Ok(Ok((said, bytes))) = timeout(ANSWER, ask_one(*server, &question)).await else { continue };
            // What another server may know better.
            if !matches!(said.response_code, ResponseCode::ServFail | ResponseCode::Refused) {
                return Some(bytes);
            }
            answered = Some(bytes);
        }
        answered
    };
    timeout(QUESTION, all).await.ok().flatten()
}

/// An answer: what its header says, and its bytes.
type Answer = (Metadata, Vec<u8>);

async fn ask_one(server: SocketAddr, question: &[u8]) -> io::Result<Answer> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A socket of its own for each question: the kernel chooses a port that nobody can guess, and drops what comes from others.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut bytes = [0; 4096];
    loop {
        let read = socket.recv(&mut bytes).await?;
        // Something else may be an old answer or a forged one; the right one may still come.
        if let Some(said) = answer_to(question, &bytes[..read]) {
            if said.truncation || read > usize::from(DATAGRAM) {
                return ask_stream(server, question).await;
            }
            return Ok((said, bytes[..read].to_vec()));
        }
    }
}

async fn ask_stream(server: SocketAddr, question: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let mut bytes = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut bytes).await?;
    let said = answer_to(question, &bytes);
    said.map(|said| (said, bytes)).ok_or_else(|| io::Error::other("an answer to another question"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says() {
        let text = "# nameserver 9.9.9.9\nsearch example.com\nnameserver 127.0.0.53\n  nameserver\t2001:db8::1  \nnameserver fe80::1%eth0\noptions edns0\n";
        let expected: [SocketAddr; 2] =
            ["127.0.0.53:53".parse().unwrap(), "[2001:db8::1]:53".parse().unwrap()];
        assert_eq!(servers(text), expected);
        let told = vec!["127.0.0.1:5353".parse().unwrap()];
        assert_eq!(Servers::new(told.clone()).get(Instant::now()), told);
    }
}
