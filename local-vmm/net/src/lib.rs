//! The network of a sprite, in user space: one gateway per sprite, between its network card and the host's own sockets.
//!
//! The guest's frames come in on a unix stream. What it may reach is decided here and nowhere else, by name and by address, and told to the owner on
//! a second stream. Nothing needs privileges: connections and datagrams go out by ordinary sockets of the host.
//!
//! | module | |
//! |---|---|
//! | `gateway` | the one task that owns everything; [`run`] |
//! | `cable` | frames on the stream |
//! | `plan` | who has which address |
//! | `frame`, `reply` | what a frame of the guest's is; frames that the gateway makes itself |
//! | `tcp`, `udp`, `echo` | conversations of the guest's, each joined to a socket of the host's |
//! | `dns` | the gateway as name server |
//! | `access` | what may be reached: `policy` (which rule decides about a name), `pins` (which addresses belong to names), `reach` (which lead outside) |
//! | `event`, `control` | what the owner hears and says |
//! | `settings` | what it is started with, and its limits |
//! | `ready`, `timers`, `clock` | who has something to do, and when |
//!
//! # What it does not do
//!
//! - It sees addresses, not what is said to them: two names with one address, as large providers have, are one to it. Which name a connection goes
//!   under is the one that was asked for last.
//! - Datagrams larger than the cable's packets are lost in both directions, for fragments are dropped.
//! - A datagram's answer comes only from where it was sent; a guest cannot be found from outside through another server's help.
//! - Nothing reaches the guest unasked. Connections into a sprite go by the agent's socket device.
//! - A server that refuses datagrams is told of within a second, not at once.
//!
//! # Walls
//!
//! The gateway is meant for a process of its own, and that process needs little. Once it has both streams and its [`Settings`] (with
//! `resolvers` told, and `ipv6`), it opens no file. So it can be confined, after both streams are open and before [`run`], by:
//!
//! - new user, mount, pid, ipc and uts namespaces with an empty root, but the host's network namespace;
//! - Landlock without any path, and without scopes for abstract sockets;
//! - seccomp with: reading and writing of what is open, `epoll_*`, `eventfd2`, `futex`, timers, `mmap`/`munmap`/`mremap`/`madvise`/`brk`,
//!   `getrandom`, `socket` for `AF_INET` and `AF_INET6` (stream, datagram; datagram with ICMP), `AF_NETLINK` (the host's own addresses) and
//!   `socketpair` for `AF_UNIX`, `connect`, `bind` (port 0), `send*`/`recv*`, `shutdown`, `getsockopt`/`setsockopt`, `getsockname`, `close`, `exit*`;
//! - an `RLIMIT_NOFILE` of `limits.connections + limits.flows + limits.echoes + limits.questions` and some more, and `RLIMIT_AS` or a cgroup over
//!   `limits.buffers` and some more.

mod access;
mod cable;
mod clock;
mod control;
mod dns;
mod echo;
mod error;
mod event;
mod frame;
mod gateway;
mod pins;
mod plan;
mod reach;
mod ready;
mod reply;
mod settings;
mod tcp;
mod timers;
mod udp;

pub use control::{Counters, Message, Report, Request};
pub use error::{Error, Result};
pub use event::{Direction, Event, Kind, Outcome, Reason};
pub use frame::Dropped;
pub use gateway::Gateway;
pub use plan::Plan;
pub use reach::host_has_ipv6;
pub use settings::{Limits, Settings};
pub use sprites_api::policy::RuleRef;

use tokio::net::UnixStream;

/// Serves a sprite's network until either side closes: `frames` leads to the guest's card, `control` to the owner.
pub async fn run(frames: UnixStream, control: UnixStream, settings: Settings) -> Result<()> {
    Gateway::new(frames, control, &settings)?.run().await
}
