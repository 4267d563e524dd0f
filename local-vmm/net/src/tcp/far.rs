//! The other side of a connection: a server outside, or the gateway itself.

use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream, UnixStream};

/// See the module. Both are used in the same way, so that the gateway's own services have the same half-closes and limits as servers.
#[derive(Debug)]
pub(crate) enum Far {
    /// A server.
    Server(TcpStream),
    /// The gateway. Who answers is at the other end of the stream.
    Gateway(UnixStream),
}

/// The guest's own keepalives end at the gateway, so the host sends some instead: else a router on the way forgets the connection.
const KEEPALIVE: Duration = Duration::from_secs(120);

impl Far {
    /// Connects to a server.
    pub(crate) async fn connect(server: SocketAddr) -> io::Result<Self> {
        let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_nodelay(true)?;
        let stream = socket.connect(server).await?;
        SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
        Ok(Self::Server(stream))
    }

    pub(crate) fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Server(stream) => stream.try_read(into),
            Self::Gateway(stream) => stream.try_read(into),
        }
    }

    pub(crate) fn try_write(&self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Server(stream) => stream.try_write(from),
            Self::Gateway(stream) => stream.try_write(from),
        }
    }

    /// Wakes when there is something to read. True when there is already.
    pub(crate) fn wants_read(&self, context: &mut Context<'_>) -> bool {
        let ready = match self {
            Self::Server(stream) => stream.poll_read_ready(context),
            Self::Gateway(stream) => stream.poll_read_ready(context),
        };
        matches!(ready, Poll::Ready(_))
    }

    /// Wakes when there is room to write. True when there is already.
    pub(crate) fn wants_write(&self, context: &mut Context<'_>) -> bool {
        let ready = match self {
            Self::Server(stream) => stream.poll_write_ready(context),
            Self::Gateway(stream) => stream.poll_write_ready(context),
        };
        matches!(ready, Poll::Ready(_))
    }

    /// The guest has finished. What the server makes of it, it says itself.
    pub(crate) fn finish(&self) {
        let _ = match self {
            Self::Server(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
            Self::Gateway(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
        };
    }

    /// Drops the connection so that the server sees it was broken off, not finished.
    pub(crate) fn reset(self) {
        if let Self::Server(stream) = self {
            // Without it the server only sees an end.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
    }
}
