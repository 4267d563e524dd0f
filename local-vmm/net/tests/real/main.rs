//! The gateway between a guest that is a stack of its own and servers on the loopback, which the settings of these tests say is outside.

mod dns;
#[path = "../support/guest.rs"]
mod guest;
mod ipv6;
#[path = "../support/net.rs"]
mod net;
mod policy;
mod tcp;
mod udp;
