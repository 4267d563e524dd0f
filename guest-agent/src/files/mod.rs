//! Files of the sprite: `/v1/fs/…`.
//!
//! | file | what it is |
//! |---|---|
//! | `read` | a file's bytes, or a part of them |
//! | `write` | a file's new bytes, put in its place when all are there |
//! | `list` | what a directory holds |
//! | `copy` | copies of files and trees |
//! | `change` | delete, rename, permissions, owners |
//! | `remove` | removing a directory with all that is in it |
//! | `watch` | telling of changes as they happen |
//! | `place` | paths, owners and modes as requests give them |
//! | `failure` | what went wrong, in the form of these calls |
//!
//! The agent is root and so are these calls: the sprite's user could do the same with `sudo`. What they make belongs to that user, unless
//! `asRoot` is said. All work with the disk is done where it holds up no other call.

mod change;
mod copy;
mod failure;
mod list;
mod place;
mod read;
mod remove;
mod watch;
mod write;

use crate::Agent;
use axum::Router;
use axum::routing::{delete, get, post, put};
use failure::Failure;
use std::sync::Arc;

/// Routes of the file calls.
pub(crate) fn router() -> Router<Arc<Agent>> {
    Router::new()
        .route("/v1/fs/read", get(read::run))
        .route("/v1/fs/write", put(write::run))
        .route("/v1/fs/list", get(list::run))
        .route("/v1/fs/delete", delete(change::delete))
        .route("/v1/fs/rename", post(change::rename))
        .route("/v1/fs/copy", post(copy::run))
        .route("/v1/fs/chmod", post(change::mode))
        .route("/v1/fs/chown", post(change::owner))
        .route("/v1/fs/watch", get(watch::run))
}

/// Runs work with the disk in a thread that may wait for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Failure::ours()))
}
