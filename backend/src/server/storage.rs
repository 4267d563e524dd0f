//! `/v1/local/storage`: what sprites' disks take on the host, and what to delete first. Only files on the host are looked at.

use super::App;
use super::answer::ApiError;
use crate::sprites::{SpriteError, Sprites, blocking};
use axum::Json;
use axum::extract::{Path, State};
use sprites_api::Time;
use sprites_api::checkpoint::CURRENT;
use sprites_api::storage::{Deletable, SpriteStorage, Storage};
use std::sync::Arc;

pub(super) async fn of_sprite(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<SpriteStorage>, ApiError> {
    let sprite = app.sprites.get(&name)?;
    let (sprites, id) = (Arc::clone(&app.sprites), sprite.id().to_owned());
    Ok(Json(blocking(move || look(&sprites, &id, name)).await?))
}

pub(super) async fn all(State(app): State<App>) -> Result<Json<Storage>, ApiError> {
    let all: Vec<(String, String)> =
        app.sprites.all().iter().map(|sprite| (sprite.id().to_owned(), sprite.record().name)).collect();
    let sprites = Arc::clone(&app.sprites);
    let looked = blocking(move || {
        let mut storage = Storage::default();
        for (id, name) in all {
            match look(&sprites, &id, name) {
                Ok(found) => storage.sprites.push(found),
                // Destroyed a moment ago, or damaged: its own screen tells more.
                Err(error) => tracing::warn!("{error}"),
            }
        }
        storage.sprites.sort_by_key(|sprite| std::cmp::Reverse(sprite.stored_bytes));
        storage.stored_bytes = storage.sprites.iter().map(|sprite| sprite.stored_bytes).sum();
        storage.first_bytes = storage.sprites.iter().map(|sprite| sprite.first_bytes).sum();
        let root = sprites.paths.sprites();
        let host = nix::sys::statvfs::statvfs(&root).map_err(|errno| SpriteError::Io {
            doing: "look for room in",
            path: root,
            source: errno.into(),
        })?;
        storage.free_bytes = host.blocks_available().saturating_mul(host.fragment_size());
        Ok(storage)
    });
    Ok(Json(looked.await?))
}

fn look(sprites: &Sprites, id: &str, name: String) -> Result<SpriteStorage, SpriteError> {
    let (stored, tree) = (sprites.disks.stored(id)?, sprites.disks.tree(id)?);
    let used = tree.get(CURRENT).and_then(|current| current.parent.clone());
    let mut checkpoints: Vec<Deletable> = tree
        .nodes
        .into_iter()
        .filter(|node| node.id != CURRENT)
        .map(|node| {
            let memory_bytes = sprites.disks.memory_bytes(id, &node.id);
            Deletable {
                is_used: used.as_ref() == Some(&node.id),
                id: node.id,
                create_time: Time::from_micros(node.create_time),
                comment: node.comment,
                is_auto: node.is_auto,
                frees_bytes: node.exclusive.saturating_add(memory_bytes),
                memory_bytes,
            }
        })
        .collect();
    checkpoints.sort_by_key(|checkpoint| (!checkpoint.is_auto, checkpoint.create_time.as_micros()));
    let first: Vec<&Deletable> =
        checkpoints.iter().filter(|checkpoint| checkpoint.is_auto && !checkpoint.is_used).collect();
    Ok(SpriteStorage {
        name,
        stored_bytes: stored.bytes,
        shared_bytes: stored.shared,
        first_bytes: first.iter().map(|checkpoint| checkpoint.frees_bytes).sum(),
        first: first.into_iter().map(|checkpoint| checkpoint.id.clone()).collect(),
        checkpoints,
    })
}
