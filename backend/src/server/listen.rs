//! Listening: connections from clients, as many as the process has files for, and each only as long as it speaks.

use crate::lock::locked;
use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::collections::HashMap;
use std::future::{Future, Ready, ready};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

/// A connection that sends no whole request head for this long is closed, whether it has sent a request before or not. Longer than any client keeps
/// a connection that it does not use (Go: 90 s), which would otherwise send a request into one that is just being closed.
const HEAD: Duration = Duration::from_secs(120);
/// How long a handshake before the first request may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Most connections of a listener.
const MOST: u64 = 4096;
/// Fewest, however few files there are.
const FEWEST: u64 = 64;
/// Files that are needed for other things.
const OTHERS: u64 = 256;
/// Files that the process wants to have.
const FILES: u64 = 65_536;
/// A connection that takes nothing of what it is sent for this long is closed. As long as a session waits for a client.
const STALL: Duration = Duration::from_secs(15 * 60);
/// One other machine may have this part of the connections of a listener.
const SHARE: usize = 4;
/// After a failed accept, so that a lack of files does not become a busy loop.
const PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection; each request has it as an extension.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peer {
    /// Where it comes from; nothing for this machine's own sockets.
    pub(super) address: Option<IpAddr>,
    /// Whether nobody else can read along.
    pub(super) encrypted: bool,
}

/// Where connections come from.
pub(super) trait Source {
    /// What they are.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// One on its way: some begin with a handshake.
    type Opening: Future<Output = io::Result<Self::Stream>> + Send + 'static;

    /// The next one.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Opening, Peer)>> + Send;
}

impl Source for TcpListener {
    type Stream = tokio::net::TcpStream;
    type Opening = Ready<io::Result<Self::Stream>>;

    async fn next(&self) -> io::Result<(Self::Opening, Peer)> {
        let (stream, address) = self.accept().await?;
        // Small messages are not to wait for more; a stream without this works too.
        let _ = stream.set_nodelay(true);
        Ok((ready(Ok(stream)), Peer { address: Some(address.ip()), encrypted: false }))
    }
}

impl Source for UnixListener {
    type Stream = tokio::net::UnixStream;
    type Opening = Ready<io::Result<Self::Stream>>;

    async fn next(&self) -> io::Result<(Self::Opening, Peer)> {
        Ok((ready(Ok(self.accept().await?.0)), Peer::default()))
    }
}

/// Gives the process more files where it may have them, and tells how many connections a listener may have: each may need another one to a sprite.
pub(super) fn connections() -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let wanted = FILES.min(hard);
    let files = match setrlimit(Resource::RLIMIT_NOFILE, wanted.max(soft), hard) {
        Ok(()) => wanted.max(soft),
        // It works with what it has.
        Err(_) => soft,
    };
    usize::try_from((files.saturating_sub(OTHERS) / 4).clamp(FEWEST, MOST)).unwrap_or(FEWEST as usize)
}

/// Serves connections for ever, at most so many at once; more wait in the kernel's queue.
pub(super) async fn serve(source: impl Source, router: Router, most: usize) {
    let slots = Arc::new(Semaphore::new(most));
    let peers = Arc::new(Peers { most: (most / SHARE).max(1), open: Mutex::default() });
    loop {
        // It is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match source.next().await {
            Ok((opening, peer)) => {
                let Some(place) = Peers::admit(&peers, peer.address) else { continue };
                let router = router.clone();
                let service = service_fn(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(peer);
                    router.clone().oneshot(request)
                });
                tokio::spawn(async move {
                    let Ok(Ok(stream)) = timeout(HANDSHAKE, opening).await else { return };
                    let mut stream = TimeoutStream::new(stream);
                    stream.set_write_timeout(Some(STALL));
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEAD)
                        .serve_connection(TokioIo::new(Box::pin(stream)), service)
                        .with_upgrades();
                    // A broken connection concerns its client alone, which has seen it too.
                    let _ = connection.await;
                    drop((slot, place));
                });
            }
            Err(error) => {
                tracing::warn!("a connection cannot be taken: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// How many connections each other machine has.
struct Peers {
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One of them.
struct Admitted(Option<(Arc<Peers>, IpAddr)>);

impl Peers {
    /// A place for a connection from there; none when it has enough. This machine's own are all let in.
    fn admit(peers: &Arc<Self>, address: Option<IpAddr>) -> Option<Admitted> {
        let Some(address) = address.filter(|address| !address.is_loopback()) else {
            return Some(Admitted(None));
        };
        let mut open = locked(&peers.open);
        let count = open.entry(address).or_default();
        if *count >= peers.most {
            return None;
        }
        *count += 1;
        Some(Admitted(Some((Arc::clone(peers), address))))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let Some((peers, address)) = &self.0 else { return };
        let mut open = locked(&peers.open);
        if let Some(count) = open.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                open.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_all_connections() {
        let peers = Arc::new(Peers { most: 2, open: Mutex::default() });
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let held: Vec<_> = (0..3).map(|_| Peers::admit(&peers, Some(one))).collect();
        assert_eq!(held.iter().filter(|place| place.is_some()).count(), 2);
        assert!(Peers::admit(&peers, Some("192.0.2.2".parse().unwrap())).is_some());
        drop(held);
        assert!(peers.open.lock().unwrap().is_empty());
        assert!(Peers::admit(&peers, Some(one)).is_some());
        let own: Vec<_> = (0..10).map(|_| Peers::admit(&peers, Some("127.0.0.1".parse().unwrap()))).collect();
        assert!(own.iter().all(Option::is_some) && Peers::admit(&peers, None).is_some());
    }
}
