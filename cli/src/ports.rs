//! Forwarded ports: those that somebody names, and those that open in a sprite while a command runs there.

use crate::arguments::{PlaceArguments, Proxy as Wish};
use crate::failure::{Failure, Outcome};
use crate::output;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sprites_backend::client::{Client, Error};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

/// Connections of one forwarded port at once.
const CONNECTIONS: usize = 256;
/// Ports that are forwarded by themselves: what runs in a sprite decides which, so not too many.
const AUTOMATIC: usize = 32;
/// And none that belongs to the system.
const FIRST: u16 = 1024;
/// Remarks that are kept until the screen is the person's again.
const KEPT: usize = 16;

/// Where remarks go: at once, or, while a program draws the screen, when that is over.
#[derive(Clone, Debug)]
pub(crate) struct Remarks(Option<Arc<Mutex<Vec<String>>>>);

impl Remarks {
    /// Told at once.
    pub(crate) fn at_once() -> Self {
        Self(None)
    }

    /// Kept.
    pub(crate) fn kept() -> Self {
        Self(Some(Arc::default()))
    }

    fn tell(&self, text: String) {
        let Some(kept) = &self.0 else { return output::remark(&format!("sprite: {text}")) };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        // The first ones tell what is wrong, and each of them once is enough.
        if kept.len() < KEPT && !kept.contains(&text) {
            kept.push(text);
        }
    }

    /// Tells what was kept.
    fn release(&self) {
        self.take().iter().for_each(|text| output::remark(&format!("sprite: {text}")));
    }

    fn take(&self) -> Vec<String> {
        let Some(kept) = &self.0 else { return Vec::new() };
        std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// `sprite proxy`.
pub(crate) async fn proxy(place: &PlaceArguments, wish: Wish) -> Outcome {
    let (client, name) = place.both().await?;
    if let Some(target) = wish.stdio {
        let (host, port) = target.rsplit_once(':').unwrap_or(("", &target));
        let host = if host.is_empty() { "localhost" } else { host };
        let connection = client.connect(&name, host, number(port)?).await?;
        connection.join_while(tokio::io::stdin(), tokio::io::stdout(), output_is_read).await;
        return Ok(ExitCode::SUCCESS);
    }
    let mut listening = JoinSet::new();
    for text in &wish.ports {
        let (local, remote) = match text.split_once(':') {
            Some((local, remote)) => (number(local)?, number(remote)?),
            None => (number(text)?, number(text)?),
        };
        let listener = bind(local).await.map_err(Failure::io("listen on", format!("port {local}")))?;
        let local = listener.local_addr().map_or(local, |address| address.port());
        output::remark(&format!("127.0.0.1:{local} leads to port {remote} of {name}; ctrl-c ends it"));
        listening.spawn(serve(listener, client.clone(), name.clone(), remote, Remarks::at_once()));
    }
    tokio::signal::ctrl_c().await.map_err(Failure::io("wait for", "ctrl-c"))?;
    Ok(ExitCode::SUCCESS)
}

fn number(text: &str) -> Result<u16, Failure> {
    text.parse().map_err(|_| Failure::Usage(format!("{text:?} is no port")))
}

async fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

/// Takes connections for ever.
async fn serve(listener: TcpListener, client: Client, name: String, remote: u16, remarks: Remarks) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // It is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        // Small messages are not to wait for more.
        let _ = stream.set_nodelay(true);
        let (client, name, remarks) = (client.clone(), name.clone(), remarks.clone());
        tokio::spawn(async move {
            let _slot = slot;
            match client.connect(&name, "localhost", remote).await {
                Ok(connection) => {
                    let here = stream.local_addr().ok();
                    let (from, to) = stream.into_split();
                    connection.join_while(from, to, || here.is_none_or(|here| is_held(peer, here))).await;
                }
                // Whoever connected sees only that the connection closes.
                Err(error) => remarks.tell(format!("port {remote} of {name}: {}", told(&error))),
            }
        });
    }
}

/// Why a port is not reached, in few words.
fn told(error: &Error) -> String {
    match error {
        Error::NotConnected { why, .. } => why.clone(),
        other => other.to_string(),
    }
}

/// Whether somebody reads what goes to the standard output. A pipe without a reader says so; anything else that says nothing is read.
fn output_is_read() -> bool {
    let out = io::stdout();
    let mut looked = [PollFd::new(out.as_fd(), PollFlags::empty())];
    // Of these two it tells without being asked.
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    poll(&mut looked, PollTimeout::ZERO).is_err()
        || !looked[0].revents().is_some_and(|told| told.intersects(gone))
}

/// Whether a program of this machine still has the other end of a loopback connection, `peer`, of which no more input comes.
///
/// A program that has only ended its input waits for the answer; one that has closed the connection does not, and the sprite's side must
/// learn of that at once, as some servers take the next connection only then. On the connection itself both look the same; but the kernel's
/// table tells the inode of a socket that somebody has, and 0 for one that nobody has (`Documentation/networking/proc_net_tcp.rst` of Linux).
/// Where there is no such table the answer is waited for.
fn is_held(peer: SocketAddr, here: SocketAddr) -> bool {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    match &tables {
        [Err(_), _] => true,
        tables => tables.iter().flatten().any(|table| has_owner(table, peer, here)),
    }
}

fn has_owner(table: &str, peer: SocketAddr, here: SocketAddr) -> bool {
    let (Some(peer), Some(here)) = (written(peer), written(here)) else { return true };
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // A program may use a socket for IPv6 and have it written before an address of IPv4.
        let is = |at: usize, address: &str| words.get(at).is_some_and(|word| word.ends_with(address));
        is(1, &peer) && is(2, &here) && words.get(9).is_some_and(|inode| *inode != "0")
    })
}

/// An address as those tables have it: the four bytes as one number of this machine, and the port.
fn written(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    let number = u32::from_ne_bytes(address.ip().octets());
    Some(format!("{number:08X}:{:04X}", address.port()))
}

/// Ports that are forwarded while a command runs. Dropped, it ends them.
#[derive(Debug)]
pub(crate) struct Forwards {
    client: Client,
    name: String,
    open: HashMap<u16, AbortHandle>,
    remarks: Remarks,
    /// Whether somebody may be told of what goes well: not over a screen that a program draws.
    tells: bool,
    /// For commands that lead to the same sprite.
    flags: String,
}

impl Forwards {
    /// With remarks that are kept, only those are told, and nothing of what goes well.
    pub(crate) fn new(client: Client, name: String, flags: String, remarks: Remarks) -> Self {
        let tells = remarks.0.is_none();
        Self { client, name, open: HashMap::new(), remarks, tells, flags }
    }

    /// A port opened in the sprite.
    pub(crate) async fn open(&mut self, port: u16) {
        if port < FIRST || self.open.len() >= AUTOMATIC || self.open.contains_key(&port) {
            return;
        }
        // One that is in use here stays whose it is.
        let listener = match bind(port).await {
            Ok(listener) => listener,
            Err(error) => {
                let why = match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "something on this machine has that port, another `sprite` perhaps".into()
                    }
                    _ => error.to_string(),
                };
                let (name, flags) = (&self.name, &self.flags);
                return self.remarks.tell(format!(
                    "port {port} of {name} does not lead from 127.0.0.1:{port} here: {why}; \
                     `sprite proxy {flags} 0:{port}` lets it lead from a free one"
                ));
            }
        };
        let task =
            tokio::spawn(serve(listener, self.client.clone(), self.name.clone(), port, self.remarks.clone()));
        self.open.insert(port, task.abort_handle());
        if self.tells {
            output::progress(&format!("port {port} of {} is now 127.0.0.1:{port}", self.name));
        }
    }

    /// It closed.
    pub(crate) fn close(&mut self, port: u16) {
        if let Some(task) = self.open.remove(&port) {
            task.abort();
        }
    }

    /// The screen is the person's again: tells what was kept.
    pub(crate) fn release(&self) {
        self.remarks.release();
    }
}

impl Drop for Forwards {
    fn drop(&mut self) {
        for task in self.open.values() {
            task.abort();
        }
    }
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
        assert!(is_held(peer, here));
        near.shutdown(Shutdown::Write).unwrap();
        assert!(is_held(peer, here));
        drop(near);
        assert!(!is_held(peer, here));
    }

    #[test]
    fn remarks_are_kept_until_the_screen_is_free() {
        let remarks = Remarks::kept();
        for number in 0..100 {
            remarks.tell(format!("port {}", number % 20));
        }
        assert_eq!(remarks.take().len(), KEPT);
        assert!(remarks.take().is_empty());
    }
}
