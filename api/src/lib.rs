//! Wire types of the Sprites API: what travels between a client, a server and the agent inside a sprite.
//!
//! Plain data and serde, and what a policy means; nothing here does I/O. The vendor's published API is the source for everything outside
//! [`extension`], [`cost`] and [`inside`]; `docs/api.md` names the rules a type alone cannot tell (status codes, order of frames).
//!
//! | module | subject |
//! |---|---|
//! | [`sprite`] | a sprite: object, create, update, list, watch |
//! | [`exec`] | commands: query, stream frames, control messages, sessions, kill |
//! | [`files`] | files inside a sprite: list, write, copy, change, watch |
//! | [`services`] | programs that a sprite keeps running |
//! | [`policy`] | what a sprite may reach, do and take |
//! | [`task`] | holds that keep a sprite awake |
//! | [`checkpoint`] | checkpoints and the progress lines of create and restore |
//! | [`extension`] | what the local server adds: usage, tree, fork, images, version |
//! | [`cost`] | what the local server adds: bills and the budget |
//! | [`inside`] | what the local server adds: looking at what runs in a sprite |
//! | [`agent`] | host-only calls of the agent: quiesce, clock, usage counters, shutdown |
//! | [`error`] | the error body |
//! | [`name`], [`duration`], [`time`] | the three scalar forms used everywhere |

pub mod agent;
pub mod checkpoint;
pub mod cost;
pub mod duration;
pub mod error;
pub mod exec;
pub mod extension;
pub mod files;
pub mod inside;
pub mod name;
pub mod policy;
pub mod services;
pub mod sprite;
pub mod state;
pub mod storage;
pub mod task;
pub mod time;

pub use error::ErrorBody;
pub use time::Time;

/// The OpenAPI description of everything the local server answers, as JSON; extensions are marked `x-extension`.
///
/// Kept by hand beside the types. Tests hold it against the server's routes and real answers.
pub const OPENAPI: &str = include_str!("../openapi.json");
