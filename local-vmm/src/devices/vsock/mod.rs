//! Sockets between host and guest, virtio device 19 (VIRTIO 1.2, section 5.10).
//!
//! Connections are made from the host's side only: each connection to a unix socket becomes one to [`PORT`](sprites_api::agent::VSOCK_PORT)
//! in the guest. Half-closed connections stay half-closed, and neither side can make the other buffer without bound: towards the host
//! [`BUFFER`](connection::BUFFER) bytes are kept per connection, towards the guest nothing is read that it has no room for.
//!
//! Two threads meet here. The transport's calls [`Vsock::receive`] for what the guest sent and [`Vsock::next`] for what it should get. The
//! host's thread waits for unix sockets and wakes the transport. A connection that is asked for before the guest's driver is up simply
//! waits in the queue: nothing depends on which side is ready first.

mod connection;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzzing;
pub mod packet;
mod serve;

pub use serve::{has_understood, serve, tell_reset};

use crate::jail::{self, Role};
use crate::{Chain, Memory};
use connection::{BUFFER, Connection, Phase};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use packet::{HEADER, HOST_CID, Header, SHUTDOWN_RECEIVE, SHUTDOWN_SEND, TYPE_STREAM, op};
use sprites_api::agent::VSOCK_PORT;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vmm_sys_util::eventfd::EventFd;

/// Its number in the standard.
pub const KIND: u32 = 19;
/// What the log calls it.
pub const NAME: &str = "socket device";
/// Number of its queues: the third is for events.
pub const QUEUES: usize = 3;
/// Queue of packets for the guest.
pub const RECEIVE: usize = 0;
/// Queue of packets from the guest.
pub const TRANSMIT: usize = 1;
/// Context id of the guest.
pub const GUEST_CID: u64 = 3;
/// Most connections at once.
const MAX_CONNECTIONS: usize = 1024;
/// Most packets without data that wait for the guest; a guest that provokes more than that loses them.
const MAX_CONTROL: usize = 4096;
/// Most data of one packet, as in Linux.
const MAX_DATA: usize = 64 << 10;
/// Ports of the host's side begin here; programs' own ports are lower.
const FIRST_PORT: u32 = 1 << 30;
/// Token of the listening socket; connections use their port.
const LISTENER: u64 = 0;

/// The device. It offers no feature bits of its own, which means streams only.
#[derive(Debug)]
pub struct Vsock {
    inner: Mutex<Inner>,
    epoll: Epoll,
    wake: EventFd,
}

#[derive(Debug, Default)]
struct Inner {
    connections: BTreeMap<u32, Connection>,
    next_port: u32,
    /// Packets without data for the guest, in order.
    control: VecDeque<Header>,
    /// Ports whose connections may have data for the guest, each at most once.
    ready: VecDeque<u32>,
}

impl Vsock {
    /// A device that takes connections from `listener`, in a thread of its own that lives as long as the process.
    pub fn start(listener: UnixListener) -> io::Result<Arc<Self>> {
        listener.set_nonblocking(true)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        let wake = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)?;
        let inner = Mutex::new(Inner { next_port: first_port(), ..Inner::default() });
        let vsock = Arc::new(Self { inner, epoll, wake });
        let device = Arc::clone(&vsock);
        jail::spawn(Role::Sockets, "vsock-host", move || device.host(&listener))?;
        Ok(vsock)
    }

    /// The configuration space: the guest's context id.
    pub fn config(&self) -> [u8; 8] {
        GUEST_CID.to_le_bytes()
    }

    /// Readable when [`next`](Self::next) should be called; the transport reads it empty before it does.
    pub fn waker(&self) -> &EventFd {
        &self.wake
    }

    /// A connection to the agent from within this process.
    pub fn connect(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        self.admit(theirs)?;
        Ok(ours)
    }

    /// Takes one packet of the guest. Chains that hold none are passed over.
    pub fn receive(&self, memory: &Memory, chain: Chain) {
        let Ok(mut reader) = chain.reader(memory) else { return };
        let mut header = [0; HEADER];
        if reader.read_exact(&mut header).is_err() {
            return;
        }
        let header = Header::read(&header);
        let mut data = Vec::new();
        if header.op == op::RW {
            let len = header.len as usize;
            if len > MAX_DATA || len > reader.available_bytes() {
                return;
            }
            data.resize(len, 0);
            if reader.read_exact(&mut data).is_err() {
                return;
            }
        }
        self.handle(&header, &data);
    }

    /// What the guest's packet means.
    fn handle(&self, header: &Header, data: &[u8]) {
        let mut inner = self.lock();
        if header.src_cid != GUEST_CID || header.dst_cid != HOST_CID || header.kind != TYPE_STREAM {
            return inner.refuse(header);
        }
        let port = header.dst_port;
        let Some(connection) = inner.connections.get_mut(&port).filter(|_| header.src_port == VSOCK_PORT)
        else {
            // Nothing on the host listens for a guest, and whatever else this is belongs to a connection that is gone.
            return inner.refuse(header);
        };
        connection.learn(header);
        let mut keep = true;
        let mut answer = None;
        match header.op {
            op::RESPONSE if connection.phase == Phase::Asked => connection.phase = Phase::Open,
            op::RW if connection.phase == Phase::Open => {
                if !connection.take(data) || connection.flush().is_err() {
                    answer = Some(op::RST);
                    keep = false;
                } else if connection.owes_credit() {
                    answer = Some(op::CREDIT_UPDATE);
                }
            }
            op::SHUTDOWN => {
                connection.guest_shutdown(header.flags);
                if connection.flush().is_err() || connection.host_done && header.flags & SHUTDOWN_SEND != 0 {
                    // Linux takes the reset as the end of an orderly close.
                    answer = Some(op::RST);
                    connection.phase = Phase::Draining;
                    keep = connection.is_full();
                }
            }
            op::RST => {
                connection.guest_shutdown(SHUTDOWN_SEND | SHUTDOWN_RECEIVE);
                connection.phase = Phase::Draining;
                keep = connection.flush().is_ok() && connection.is_full();
            }
            op::CREDIT_UPDATE | op::RESPONSE | op::RW => {}
            op::CREDIT_REQUEST => answer = Some(op::CREDIT_UPDATE),
            // A connection that exists cannot be asked for, and there are no other words.
            _ => {
                answer = Some(op::RST);
                keep = false;
            }
        }
        if let Some(op) = answer {
            inner.tell(port, op, 0);
        }
        if keep {
            self.watch(&mut inner, port);
        } else {
            inner.connections.remove(&port);
        }
    }

    /// Whether the guest should be given something.
    pub fn has_next(&self) -> bool {
        let inner = self.lock();
        !inner.control.is_empty() || !inner.ready.is_empty()
    }

    /// The next packet for the guest. Its data, at most `room` bytes, is put into `data`.
    pub fn next(&self, room: usize, data: &mut Vec<u8>) -> Option<Header> {
        data.clear();
        let mut inner = self.lock();
        loop {
            if let Some(header) = inner.control.pop_front() {
                return Some(header);
            }
            let port = inner.ready.pop_front()?;
            let Some(connection) = inner.connections.get_mut(&port) else { continue };
            let most = (connection.credit() as usize).min(room).min(MAX_DATA);
            if connection.phase != Phase::Open || !connection.readable || connection.host_done || most == 0 {
                // A response or an update of the credit brings it back.
                continue;
            }
            data.resize(most, 0);
            match connection.read(data) {
                Ok(0) => {
                    data.clear();
                    self.host_ended(&mut inner, port);
                }
                Ok(read) => {
                    data.truncate(read);
                    let mut header = header(port, op::RW);
                    header.len = read as u32;
                    connection.fill(&mut header);
                    inner.ready.push_back(port);
                    return Some(header);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    data.clear();
                    connection.readable = false;
                    self.watch(&mut inner, port);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    data.clear();
                    inner.ready.push_back(port);
                }
                Err(_) => {
                    data.clear();
                    inner.tell(port, op::RST, 0);
                    inner.connections.remove(&port);
                }
            }
        }
    }

    /// The host's side sends nothing more, and perhaps receives nothing more either.
    fn host_ended(&self, inner: &mut Inner, port: u32) {
        let Some(connection) = inner.connections.get_mut(&port) else { return };
        connection.host_done = true;
        connection.readable = false;
        let gone = hung_up(&connection.stream);
        let flags = if gone { SHUTDOWN_SEND | SHUTDOWN_RECEIVE } else { SHUTDOWN_SEND };
        if connection.told != flags {
            connection.told = flags;
            inner.tell(port, op::SHUTDOWN, flags);
        }
        self.watch(inner, port);
    }

    /// Tells epoll what to wait for, and the guest's side what is there to read.
    fn watch(&self, inner: &mut Inner, port: u32) {
        let Some(connection) = inner.connections.get(&port) else { return };
        let mut events = EpollFlags::EPOLLONESHOT;
        if connection.is_full() {
            events |= EpollFlags::EPOLLOUT;
        }
        if !connection.readable && !connection.host_done {
            events |= EpollFlags::EPOLLIN;
        }
        // A hang-up is reported whatever is asked for. So nothing is asked while there is something to read, which leads to the end of the
        // stream anyway, nor once the guest knows of it: a guest that sleeps must not make this thread spin.
        let told_all = connection.told == SHUTDOWN_SEND | SHUTDOWN_RECEIVE;
        let waits = connection.is_full() || !connection.readable && !told_all;
        if waits
            && let Err(error) =
                self.epoll.modify(&connection.stream, &mut EpollEvent::new(events, u64::from(port)))
        {
            tracing::warn!("a connection to the agent cannot be watched: {error}");
        }
        let wants = connection.readable && connection.phase == Phase::Open && connection.credit() > 0;
        if wants && !inner.ready.contains(&port) {
            inner.ready.push_back(port);
        }
    }

    /// The host's thread.
    fn host(&self, listener: &UnixListener) {
        let mut events = [EpollEvent::empty(); 64];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => {
                    tracing::error!("the agent can no longer be reached: {error}");
                    return;
                }
            };
            for event in &events[..count] {
                match event.data() {
                    LISTENER => self.accept(listener),
                    port => self.host_event(port as u32, event.events()),
                }
            }
            if self.has_next() {
                // It only fails when the counter is full, and then the transport is awake anyway.
                let _ = self.wake.write(1);
            }
        }
    }

    fn accept(&self, listener: &UnixListener) {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    if let Err(error) = self.admit(stream) {
                        tracing::warn!("a connection to the agent is refused: {error}");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::warn!("a connection to the agent cannot be accepted: {error}");
                    return;
                }
            }
        }
    }

    fn admit(&self, stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let mut inner = self.lock();
        if inner.connections.len() >= MAX_CONNECTIONS {
            return Err(io::Error::other(format!("there are {MAX_CONNECTIONS} already")));
        }
        let port = inner.free_port();
        self.epoll
            .add(&stream, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, u64::from(port)))?;
        inner.connections.insert(port, Connection::new(stream));
        inner.tell(port, op::REQUEST, 0);
        drop(inner);
        let _ = self.wake.write(1);
        Ok(())
    }

    fn host_event(&self, port: u32, events: EpollFlags) {
        let mut inner = self.lock();
        let Some(connection) = inner.connections.get_mut(&port) else { return };
        if connection.is_full() && connection.flush().is_err() {
            inner.tell(port, op::RST, 0);
            inner.connections.remove(&port);
            return;
        }
        if connection.phase == Phase::Draining && !connection.is_full() {
            inner.connections.remove(&port);
            return;
        }
        let owes = connection.owes_credit();
        let gone = events.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
        if events.contains(EpollFlags::EPOLLIN) || gone && !connection.host_done {
            connection.readable = true;
        }
        let ended = gone && connection.host_done;
        if owes {
            inner.tell(port, op::CREDIT_UPDATE, 0);
        }
        if ended {
            self.host_ended(&mut inner, port);
        } else {
            self.watch(&mut inner, port);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each step under the lock leaves the table whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Puts a packet without data into the guest's queue.
    fn tell(&mut self, port: u32, op: u16, flags: u32) {
        let mut header = header(port, op);
        header.flags = flags;
        if let Some(connection) = self.connections.get_mut(&port) {
            connection.fill(&mut header);
        }
        if self.control.len() < MAX_CONTROL {
            self.control.push_back(header);
        }
    }

    /// Answers a packet that belongs to no connection.
    fn refuse(&mut self, packet: &Header) {
        if packet.op == op::RST || self.control.len() >= MAX_CONTROL {
            return;
        }
        self.control.push_back(Header {
            src_cid: HOST_CID,
            dst_cid: GUEST_CID,
            src_port: packet.dst_port,
            dst_port: packet.src_port,
            kind: packet.kind,
            op: op::RST,
            ..Header::default()
        });
    }

    fn free_port(&mut self) -> u32 {
        loop {
            let port = self.next_port;
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
            if !self.connections.contains_key(&port) {
                return port;
            }
        }
    }
}

/// Where the numbers of ports begin: each time somewhere else. A guest that was kept on disk may still hold sockets of the connections it had then,
/// closed and not yet let go, and a new one with the same number would be taken for one of those.
fn first_port() -> u32 {
    let mut bytes = [0; 4];
    crate::random::fill(&mut bytes);
    FIRST_PORT | (u32::from_le_bytes(bytes) & (FIRST_PORT - 1))
}

fn header(port: u32, op: u16) -> Header {
    Header {
        src_cid: HOST_CID,
        dst_cid: GUEST_CID,
        src_port: port,
        dst_port: VSOCK_PORT,
        kind: TYPE_STREAM,
        op,
        buf_alloc: BUFFER,
        ..Header::default()
    }
}

/// Whether the other side closed both directions.
fn hung_up(stream: &UnixStream) -> bool {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).is_ok()
        && fds[0].revents().is_some_and(|events| events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR))
}

#[cfg(test)]
mod tests;
