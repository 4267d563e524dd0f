//! A port of this machine that leads to one of a sprite.

use super::{Client, Error};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Connections of one forwarded port at once.
const CONNECTIONS: usize = 256;
/// How far from the wanted port a free one is looked for.
const NEAR: u16 = 32;
/// After a connection that could not be taken, because this process has too many, say.
const PAUSE: Duration = Duration::from_millis(100);

/// A port of 127.0.0.1 that leads to one of a sprite; dropped, it ends, and with it every connection through it.
///
/// The sprite is woken by a connection, not by the port being there.
#[derive(Debug)]
pub struct Forward {
    port: u16,
    closed: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Forward {
    /// Takes connections at port `local`, 0 for any that is free, for port `remote` of the sprite. Whoever connects sees of a failure only
    /// that the connection closes; `told` gets a sentence each time.
    pub async fn open(
        client: Client,
        name: String,
        remote: u16,
        local: u16,
        told: impl Fn(String) + Clone + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::serve(TcpListener::bind((Ipv4Addr::LOCALHOST, local)).await?, client, name, remote, told)
    }

    /// The same at the port of the same number, else the next that is free, else any.
    pub async fn open_near(
        client: Client,
        name: String,
        remote: u16,
        told: impl Fn(String) + Clone + Send + Sync + 'static,
    ) -> io::Result<Self> {
        // Of those that belong to the system only the very one, for who may have it.
        let last = if remote < 1024 { remote } else { remote.saturating_add(NEAR) };
        for local in (remote..=last).chain([0]) {
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, local)).await {
                return Self::serve(listener, client, name, remote, told);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    fn serve(
        listener: TcpListener,
        client: Client,
        name: String,
        remote: u16,
        told: impl Fn(String) + Clone + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let port = listener.local_addr()?.port();
        let closed = CancellationToken::new();
        let connect = take(listener, client, name, remote, told, closed.clone());
        Ok(Self { port, closed, task: AbortOnDropHandle::new(tokio::spawn(connect)) })
    }

    /// The port of 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Gives the port back; connections that are open go on until they end.
    pub fn close(self) {
        self.closed.cancel();
        self.task.detach();
    }
}

/// Takes connections until the port is closed, and ends with the last of them.
async fn take(
    listener: TcpListener,
    client: Client,
    name: String,
    remote: u16,
    told: impl Fn(String) + Clone + Send + Sync + 'static,
    closed: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let taken = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, taken) = tokio::select! {
            taken = taken => taken,
            // Those that are over make room.
            Some(_) = connections.join_next() => continue,
            () = closed.cancelled() => break,
        };
        let Ok((stream, peer)) = taken else {
            sleep(PAUSE).await;
            continue;
        };
        // Small messages are not to wait for more.
        let _ = stream.set_nodelay(true);
        let (client, name, told) = (client.clone(), name.clone(), told.clone());
        connections.spawn(async move {
            let _slot = slot;
            let Ok(here) = stream.local_addr() else { return };
            if !spawn_blocking(move || is_ours(peer, here)).await.unwrap_or(false) {
                return told(format!("port {remote} of {name}: another user of this machine was refused"));
            }
            match client.connect(&name, "localhost", remote).await {
                Ok(connection) => {
                    let (from, to) = stream.into_split();
                    connection.join_while(from, to, || is_held(peer, here)).await;
                }
                Err(error) => told(format!("port {remote} of {name}: {}", why(&error))),
            }
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Why a port is not reached, in few words.
fn why(error: &Error) -> String {
    match error {
        Error::NotConnected { why, .. } => why.clone(),
        other => other.to_string(),
    }
}

/// Whether the other end of a loopback connection is a program of this user, or of root. Whoever forwards a port has a token, which others of this
/// machine have not.
fn is_ours(peer: SocketAddr, here: SocketAddr) -> bool {
    match holder(peer, here) {
        Holder::Unknown => true,
        Holder::Nobody => false,
        Holder::User(user) => user == 0 || user == nix::unistd::geteuid().as_raw(),
    }
}

/// Whether a program of this machine still has the other end of a loopback connection, `peer`, of which no more input comes.
///
/// A program that has only ended its input waits for the answer; one that has closed the connection does not, and the sprite's side must
/// learn of that at once, as some servers take the next connection only then. On the connection itself both look the same.
fn is_held(peer: SocketAddr, here: SocketAddr) -> bool {
    holder(peer, here) != Holder::Nobody
}

/// Who has the other end of a loopback connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// The kernel does not tell.
    Unknown,
    /// It has been closed.
    Nobody,
    /// A program of this user.
    User(u32),
}

/// The kernel's tables tell user and inode of a socket that somebody has, and the inode 0 for one that nobody has
/// (`Documentation/networking/proc_net_tcp.rst` of Linux).
fn holder(peer: SocketAddr, here: SocketAddr) -> Holder {
    let (Ok(table), Some(peer), Some(here)) =
        (fs::read_to_string("/proc/net/tcp"), written(peer), written(here))
    else {
        return Holder::Unknown;
    };
    let more = fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    let user = table.lines().chain(more.lines()).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // A program may use a socket for IPv6 and have it written before an address of IPv4.
        let is = |at: usize, address: &str| words.get(at).is_some_and(|word| word.ends_with(address));
        let held = is(1, &peer) && is(2, &here) && *words.get(9)? != "0";
        held.then(|| words[7].parse().ok()).flatten()
    });
    user.map_or(Holder::Nobody, Holder::User)
}

/// An address as those tables have it: the four bytes as one number of this machine, and the port.
fn written(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    let number = u32::from_ne_bytes(address.ip().octets());
    Some(format!("{number:08X}:{:04X}", address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Shutdown, TcpListener, TcpStream};

    #[test]
    fn whoever_has_closed_is_told_from_whoever_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        let near = TcpStream::connect(here).unwrap();
        let (_far, peer) = listener.accept().unwrap();
        assert!(is_held(peer, here) && is_ours(peer, here));
        near.shutdown(Shutdown::Write).unwrap();
        assert!(is_held(peer, here));
        drop(near);
        assert!(!is_held(peer, here) && !is_ours(peer, here));
    }
}
