//! The system around many sprites.
//!
//! | module | what it is | feature |
//! |---|---|---|
//! | [`client`] | one client for every endpoint, local or remote | always |
//! | [`context`] | the places sprites are, and their tokens | always |
//! | [`depot`] | where exported sprites are kept: files, object stores | always |
//! | [`endpoint`] | where an endpoint is, and how a local one is started | always |
//! | [`paths`] | where things live | always |
//! | [`rates`] | what use costs | always |
//! | [`reading`] | small files that people write | always |
//! | [`estimate`] | what sprites cost of which no use is told | always |
//! | `server` | the local server: HTTP and WebSocket | `server` |
//! | `sprites` | one task per sprite: lifecycle, checkpoints, forks | `server` |
//! | `lock` | locks that outlive a panic | always |
//! | `agent` | short calls to the agent inside a machine | `server` |
//! | `meter` | use, sampled and priced | `server` |
//! | `store` | the database | `server` |
//! | `doctor` | what this machine can do, and what to do about it | `server` |

#[cfg(feature = "server")]
mod agent;
pub mod client;
pub mod context;
pub mod depot;
#[cfg(feature = "server")]
pub mod doctor;
pub mod endpoint;
pub mod estimate;
mod lock;
#[cfg(feature = "server")]
mod meter;
pub mod paths;
pub mod rates;
pub mod reading;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
mod sprites;
#[cfg(feature = "server")]
mod store;

#[cfg(feature = "server")]
pub use sprites::{NetworkSettings, StoredDisk, stored_disks};
