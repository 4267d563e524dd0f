//! `/v1/sprites…`: make, list, watch, look, change, destroy.

use super::App;
use super::answer::{ApiError, HEARTBEAT, json, lines};
use crate::sprites::SpriteError;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sprites_api::Time;
use sprites_api::sprite::{CreateSprite, Sprite, SpriteList, UpdateSprite, WatchLine};
use std::collections::HashMap;
use tokio::sync::broadcast::error::RecvError;

/// Most sprites of a page; asking for more gets this many.
const MAX_PAGE: usize = 50;

#[derive(Serialize, Deserialize)]
struct Continuation {
    last: String,
}

pub(super) async fn list(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let prefix = query.get("prefix").cloned().unwrap_or_default();
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepts.contains("application/x-ndjson") {
        return Ok(watch(app, prefix));
    }
    let most = query
        .get("max_results")
        .and_then(|text| text.parse::<usize>().ok())
        .unwrap_or(MAX_PAGE)
        .clamp(1, MAX_PAGE);
    let after = match query.get("continuation_token").filter(|token| !token.is_empty()) {
        Some(token) => {
            let read = STANDARD
                .decode(token)
                .ok()
                .and_then(|text| serde_json::from_slice::<Continuation>(&text).ok());
            let bad =
                || ApiError::new(400, "invalid", "the continuation_token is none that this server gave");
            Some(read.ok_or_else(bad)?.last)
        }
        None => None,
    };
    let all = app.sprites.all();
    let mut rest = all.iter().map(|sprite| sprite.view()).filter(|sprite| {
        sprite.name.starts_with(&prefix) && after.as_ref().is_none_or(|after| sprite.name > *after)
    });
    let sprites: Vec<Sprite> = rest.by_ref().take(most).collect();
    let has_more = rest.next().is_some();
    let token = sprites.last().filter(|_| has_more).map(|sprite| {
        STANDARD.encode(serde_json::to_vec(&Continuation { last: sprite.name.clone() }).unwrap_or_default())
    });
    let counts = app.sprites.counts();
    let list = SpriteList {
        sprites,
        has_more,
        next_continuation_token: token,
        counts: counts.clone(),
        org: Some(counts),
    };
    Ok(Json(list).into_response())
}

/// One line for each sprite, then one for each change, and a sign of life now and then.
fn watch(app: App, prefix: String) -> Response {
    lines(async_stream(app, prefix))
}

fn async_stream(app: App, prefix: String) -> impl futures::Stream<Item = WatchLine> {
    let changes = app.sprites.watch();
    let present = |app: &App, prefix: &str| -> Vec<WatchLine> {
        let all = app.sprites.all();
        let counts = app.sprites.counts();
        let mut now: Vec<WatchLine> = all
            .iter()
            .map(|sprite| WatchLine { org: Some(counts.clone()), ..sprite.watch_line() })
            .filter(|line| line.name.as_ref().is_some_and(|name| name.starts_with(prefix)))
            .collect();
        // Popped from the end.
        now.reverse();
        now
    };
    let now = present(&app, &prefix);
    futures::stream::unfold(
        (app, prefix, changes, now),
        move |(app, prefix, mut changes, mut now)| async move {
            loop {
                if let Some(line) = now.pop() {
                    return Some((line, (app, prefix, changes, now)));
                }
                match tokio::time::timeout(HEARTBEAT, changes.recv()).await {
                    Ok(Ok(line)) if line.name.as_ref().is_some_and(|name| name.starts_with(&prefix)) => {
                        return Some((line, (app, prefix, changes, now)));
                    }
                    Ok(Ok(_)) => {}
                    // Too slow to be told every change: it gets the whole present instead.
                    Ok(Err(RecvError::Lagged(_))) => now = present(&app, &prefix),
                    Ok(Err(RecvError::Closed)) => return None,
                    Err(_) => {
                        let beat = WatchLine {
                            kind: "heartbeat".into(),
                            timestamp: Some(Time::now()),
                            ..WatchLine::default()
                        };
                        return Some((beat, (app, prefix, changes, now)));
                    }
                }
            }
        },
    )
}

pub(super) async fn create(
    State(app): State<App>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let wish: CreateSprite = json(body)?;
    let sprite = app.sprites.create(wish).await?;
    Ok((StatusCode::CREATED, Json(sprite.view())).into_response())
}

pub(super) async fn get(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Sprite>, ApiError> {
    Ok(Json(app.sprites.get(&name)?.view()))
}

/// Changes a sprite, or makes it when there is none of that name: the website says so, and the official clients never ask for one that is not there.
pub(super) async fn update(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    if matches!(app.sprites.get(&name), Err(SpriteError::Unknown(_))) {
        let wish = CreateSprite { name, ..json(body.map(without_name))? };
        let sprite = app.sprites.create(wish).await?;
        return Ok((StatusCode::CREATED, Json(sprite.view())).into_response());
    }
    let wish: UpdateSprite = json(body)?;
    Ok(Json(app.sprites.update(&name, wish).await?.view()).into_response())
}

/// A body as the call takes it that makes a sprite, whose name the path tells here.
fn without_name(body: Bytes) -> Bytes {
    match serde_json::from_slice::<serde_json::Value>(&body) {
        Ok(serde_json::Value::Object(mut wish)) => {
            wish.insert("name".into(), "".into());
            serde_json::to_vec(&wish).map_or(body, Bytes::from)
        }
        _ if body.iter().all(u8::is_ascii_whitespace) => Bytes::from_static(b"{\"name\":\"\"}"),
        _ => body,
    }
}

pub(super) async fn delete(State(app): State<App>, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    app.sprites.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
