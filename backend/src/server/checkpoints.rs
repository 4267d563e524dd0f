//! Checkpoints: make, list, look, restore, delete. The wording of the streams is the original's, because tools parse it.

use super::App;
use super::answer::{ApiError, json, lines};
use crate::sprites::{NewCheckpoint, Sprite, blocking};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use sprites_api::Time;
use sprites_api::checkpoint::{CURRENT, Checkpoint, CreateCheckpoint, ProgressLine};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Lines of one piece of work; far more than it has.
const LINES: usize = 32;

pub(super) async fn create(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let wish: CreateCheckpoint = json(body)?;
    let sprite = app.sprites.get(&name)?;
    Ok(work(move |tell| async move {
        tell.send(ProgressLine::info("Creating checkpoint...")).await.ok();
        let new = NewCheckpoint { comment: wish.comment, auto: false, memory: wish.memory };
        let made = match sprite.checkpoint(new).await {
            Ok(made) => made,
            Err(error) => return ProgressLine::error(ApiError::from(error).text()),
        };
        if !made.at_rest {
            tell.send(ProgressLine::info(
                "Warning: the sprite's file system did not come to rest; what was written in the last half minute may be missing",
            ))
            .await
            .ok();
        }
        let made = made.checkpoint;
        let created =
            Time::from_micros(made.create_time).timestamp().strftime("%Y-%m-%d %H:%M:%S").to_string();
        for text in [
            "Checkpoint created successfully".to_owned(),
            "\nCheckpoint Details:".to_owned(),
            format!("  ID: {}", made.id),
            format!("  Created: {created}"),
            format!("  Path: checkpoints/{}", made.id),
        ] {
            tell.send(ProgressLine::info(text)).await.ok();
        }
        ProgressLine::complete(format!("Checkpoint {} created successfully", made.id))
    }))
}

pub(super) async fn restore(
    State(app): State<App>,
    Path((name, id)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, ApiError> {
    let sprite = app.sprites.get(&name)?;
    let memory = query.get("memory").is_some_and(|value| value == "true" || value == "1");
    find(&app, &sprite, &id).await?;
    if id == CURRENT {
        return Err(ApiError::new(
            409,
            "conflict",
            "Current is the live disk, not a checkpoint; name a checkpoint instead",
        ));
    }
    Ok(work(move |tell| async move {
        tell.send(ProgressLine::info(format!("Restoring checkpoint {id}..."))).await.ok();
        match sprite.restore(&id, memory).await {
            Ok(restored) => {
                if let Some(undo) = restored.undo {
                    tell.send(ProgressLine::info(format!("What was replaced is kept as {undo}"))).await.ok();
                }
                ProgressLine::complete(format!("Checkpoint {id} restored successfully"))
            }
            Err(error) => ProgressLine::error(ApiError::from(error).text()),
        }
    }))
}

/// Work that is told line by line. It goes on when the caller goes away: half a checkpoint helps nobody.
fn work<F>(run: impl FnOnce(mpsc::Sender<ProgressLine>) -> F) -> Response
where
    F: Future<Output = ProgressLine> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(LINES);
    let task = run(sender.clone());
    tokio::spawn(async move {
        let last = task.await;
        sender.send(last).await.ok();
    });
    lines(ReceiverStream::new(receiver))
}

pub(super) async fn list(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Vec<Checkpoint>>, ApiError> {
    let sprite = app.sprites.get(&name)?;
    let auto = query.get("includeAuto").is_some_and(|value| value == "true" || value == "1");
    let mut all = all(&app, &sprite).await?;
    if let Some(line) = query.get("history").filter(|line| !line.is_empty()) {
        all.retain(|checkpoint| {
            checkpoint.id == *line
                || checkpoint.history.as_ref().is_some_and(|history| history.contains(line))
        });
    }
    all.retain(|checkpoint| auto || !checkpoint.is_auto);
    Ok(Json(all))
}

pub(super) async fn get(
    State(app): State<App>,
    Path((name, id)): Path<(String, String)>,
) -> Result<Json<Checkpoint>, ApiError> {
    let sprite = app.sprites.get(&name)?;
    Ok(Json(find(&app, &sprite, &id).await?))
}

pub(super) async fn delete(
    State(app): State<App>,
    Path((name, id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let sprite = app.sprites.get(&name)?;
    find(&app, &sprite, &id).await?;
    if id == CURRENT {
        return Err(ApiError::new(
            409,
            "conflict",
            "Current is the live disk; destroy the sprite to be rid of it",
        ));
    }
    sprite.forget(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(app: &App, sprite: &Sprite, id: &str) -> Result<Checkpoint, ApiError> {
    let found = all(app, sprite).await?.into_iter().find(|checkpoint| checkpoint.id == id);
    found.ok_or_else(|| {
        ApiError::new(
            404,
            "not_found",
            format!("checkpoint not found: {}", id.chars().take(80).collect::<String>()),
        )
    })
}

/// All checkpoints, newest first, led by the live disk. Looks at the disk's own records and wakes nobody.
async fn all(app: &App, sprite: &Sprite) -> Result<Vec<Checkpoint>, ApiError> {
    let (sprites, id) = (Arc::clone(&app.sprites), sprite.id().to_owned());
    let (stored, parent) =
        blocking(move || Ok((sprites.disks.checkpoints(&id)?, sprites.disks.parent(&id)?))).await?;
    let parents: HashMap<String, Option<String>> =
        stored.iter().map(|one| (one.id.clone(), one.parent.clone())).collect();
    let history = |mut at: Option<String>| {
        let mut line = Vec::new();
        while let Some(id) = at {
            at = parents.get(&id).cloned().flatten();
            line.push(id);
        }
        (!line.is_empty()).then_some(line)
    };
    let current = Checkpoint {
        id: CURRENT.into(),
        create_time: Time::now(),
        comment: None,
        history: history(parent.clone()),
        is_auto: false,
        source_id: parent,
        health: None,
    };
    let rest = stored.into_iter().rev().map(|one| Checkpoint {
        history: history(one.parent.clone()),
        create_time: Time::from_micros(one.create_time),
        source_id: one.parent,
        is_auto: one.is_auto,
        comment: one.comment,
        id: one.id,
        health: None,
    });
    Ok(std::iter::once(current).chain(rest).collect())
}
