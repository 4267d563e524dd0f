//! Listening sockets and the HTTP connections they bring.

use crate::{Agent, exec, files, host, outward, ports, services};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_vsock::VsockListener;

/// A connection that sends no complete request head for this long is closed.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);
/// Largest request head, bytes; commands and environment travel in the query, which `http` itself holds to 64 KiB.
const HEAD_LIMIT: usize = 192 << 10;
/// Pause after a failed accept, so that a lack of file descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listening socket, and which of the two routers it serves.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    host: bool,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixListener),
    Vsock(VsockListener),
}

impl Listener {
    /// The inner API for programs inside the sprite.
    pub fn inner_unix(socket: UnixListener) -> Self {
        Self { socket: Socket::Unix(socket), host: false }
    }

    /// The inner API and the host-only calls, over a unix socket that only the host can reach.
    pub fn host_unix(socket: UnixListener) -> Self {
        Self { socket: Socket::Unix(socket), host: true }
    }

    /// The inner API and the host-only calls over vsock.
    pub fn host_vsock(socket: VsockListener) -> Self {
        Self { socket: Socket::Vsock(socket), host: true }
    }

    pub(crate) async fn run(self, agent: Arc<Agent>, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(agent.config.limits.connections));
        // The host does not ask itself.
        let router = inner().merge(if self.host { host::router() } else { outward::router() });
        let router = exec::finish(router, agent);
        loop {
            // A slot first: when all are taken, new connections wait in the kernel's queue.
            let slot = tokio::select! {
                slot = slots.clone().acquire_owned() => slot,
                () = stop.cancelled() => return,
            };
            let Ok(slot) = slot else { return };
            let router = router.clone();
            let stop_one = stop.clone();
            let accepted = tokio::select! {
                accepted = async {
                    match &self.socket {
                        Socket::Unix(socket) => socket.accept().await.map(|(stream, _)| {
                            tokio::spawn(async move { serve(stream, router, stop_one).await; drop(slot) });
                        }),
                        Socket::Vsock(socket) => socket.accept().await.map(|(stream, _)| {
                            tokio::spawn(async move { serve(stream, router, stop_one).await; drop(slot) });
                        }),
                    }
                } => accepted,
                () = stop.cancelled() => return,
            };
            if accepted.is_err() {
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What is the same for programs inside and for the host.
fn inner() -> Router<Arc<Agent>> {
    exec::router().merge(files::router()).merge(services::router()).merge(ports::router())
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    stop: CancellationToken,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    tokio::select! {
        // A broken connection concerns its client alone, which has seen it too.
        _ = connection => {}
        () = stop.cancelled() => {}
    }
}
