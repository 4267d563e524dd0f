//! The machine process: one sprite's disk, devices and virtual machine, driven over a socket.
//!
//! | file | what it is |
//! |---|---|
//! | `run` | the life of the process |
//! | `control` | the protocol of `control.sock` |
//! | `work` | what the calls do |
//! | `agent` | calls to the agent inside |
//! | `console` | the console's log |
//! | `files` | names within the run folder |
//! | `handle` | the other side of the socket: how a server drives a machine |

mod agent;
mod console;
pub mod control;
pub(crate) mod files;
pub(crate) mod handle;
mod run;
mod still;
mod work;

pub use run::{MachineError, run};
