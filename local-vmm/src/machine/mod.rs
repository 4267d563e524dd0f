//! The machine process: one sprite's disk, devices and virtual machine, driven over a socket.
//!
//! | file | what it is |
//! |---|---|
//! | `run` | the life of the process |
//! | `control` | the protocol of `control.sock` |
//! | `work` | what the calls do |
//! | `agent` | calls to the agent inside |
//! | `log` | logs that have an end |
//! | `files` | names within the run folder, and how they are used safely |
//! | `exit` | how the process ended |
//! | `still` | a machine that does not come up |
//! | `handle` | the other side of the socket: how a server drives a machine |

mod agent;
pub mod control;
pub(crate) mod exit;
pub(crate) mod files;
pub(crate) mod handle;
pub(crate) mod log;
mod run;
mod still;
mod work;

pub use run::{MachineError, run};
