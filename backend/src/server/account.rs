//! Calls about the organisation, and those that look after a sprite's runtime.

use super::App;
use super::answer::ApiError;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use sprites_api::Time;
use sprites_api::sprite::OrgCounts;
use std::collections::HashMap;
use std::time::Instant;

/// Lines of a log that are told when the caller tells no number, and most of them.
const LINES: (usize, usize) = (100, 1000);

/// `GET /v1/organization`.
pub(super) async fn organization(State(app): State<App>) -> Json<Value> {
    let OrgCounts { name, running, warm, cold, running_limit, warm_limit } = app.sprites.counts();
    Json(json!({
        "name": name, "slug": name, "running": running, "warm": warm, "cold": cold,
        "running_limit": running_limit, "warm_limit": warm_limit,
    }))
}

/// `POST …/upgrade`. The runtime comes with the server, so a sprite has the newest one whenever it boots; one that runs an older one is told to boot
/// by `restart`.
pub(super) async fn upgrade(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.sprites.get(&name)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/restart`.
pub(super) async fn restart(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let sprite = app.sprites.get(&name)?;
    sprite.stop().await?;
    drop(sprite.connect("a restart").await?);
    Ok(Json(json!({ "sprite_name": name, "machine_id": sprite.id(), "message": "Sprite restarted" })))
}

/// `GET …/check`. Looks, and wakes nobody.
pub(super) async fn check(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    let started = Instant::now();
    let sprite = app.sprites.get(&name)?;
    let failure = sprite.state().failure;
    Ok(Json(json!({
        "sprite_name": name,
        "sprite_id": sprite.id(),
        "status": if failure.is_some() { "failed" } else { "ok" },
        "reason": failure,
        "checked_at": Time::now(),
        "elapsed": format!("{}µs", started.elapsed().as_micros()),
    })))
}

/// `GET …/logs`: last words of the machine, its console first.
pub(super) async fn logs(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Vec<String>>, ApiError> {
    let sprite = app.sprites.get(&name)?;
    let most = query.get("limit").and_then(|text| text.parse().ok()).unwrap_or(LINES.0).min(LINES.1);
    let handle = local_vmm::MachineHandle::at(&app.sprites.paths.machine(sprite.id()));
    let read = tokio::task::spawn_blocking(move || handle.last_words(most)).await;
    Ok(Json(read.unwrap_or_default()))
}
