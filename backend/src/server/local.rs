//! `/v1/local/…`: what the original does not offer. None of it wakes a sprite or keeps one awake.

use super::App;
use super::answer::{ApiError, HEARTBEAT, json, lines};
use crate::meter::budget::Month;
use crate::sprites::blocking;
use crate::store::bills::By;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use sprites_api::Time;
use sprites_api::cost::{Budget, Costs};
use sprites_api::extension::{
    Events, Fork, Images, NetworkLog, Tree, TreeNode, UsageHistory, UsageLine, UsageTotals, Version,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// Events of a sprite that are told.
const MAX_EVENTS: usize = 100;
/// Longest window of a history.
const MAX_WINDOW: Duration = Duration::from_secs(366 * 24 * 3600);

pub(super) async fn version() -> Json<Version> {
    Json(Version {
        product: "sprites-tui".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        machine: local_vmm::Kind::of_this_host().as_str().into(),
        pid: std::process::id(),
    })
}

/// The description of the whole API.
pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], sprites_api::OPENAPI).into_response()
}

/// One line a sprite, then a line for each sample, and a sign of life now and then.
pub(super) async fn usage(State(app): State<App>) -> Response {
    let (mut now, samples) = app.meter.listen();
    now.reverse();
    lines(futures::stream::unfold((now, samples), |(mut now, mut samples)| async move {
        loop {
            if let Some(line) = now.pop() {
                return Some((line, (now, samples)));
            }
            match tokio::time::timeout(HEARTBEAT, samples.recv()).await {
                Ok(Ok(line)) => return Some((line, (now, samples))),
                // Each line tells the whole; missing some does no harm.
                Ok(Err(RecvError::Lagged(_))) => {}
                Ok(Err(RecvError::Closed)) => return None,
                Err(_) => {
                    let beat = UsageLine {
                        name: String::new(),
                        sample: None,
                        stored_bytes: 0,
                        shared_bytes: 0,
                        totals: UsageTotals::default(),
                    };
                    return Some((beat, (now, samples)));
                }
            }
        }
    }))
}

pub(super) async fn history(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<UsageHistory>, ApiError> {
    let sprite = app.sprites.get(&name)?;
    let text = query.get("window").map_or("1h", String::as_str);
    let window = sprites_api::duration::parse(text).filter(|window| !window.is_zero());
    let bad = || ApiError::new(400, "invalid", "window takes a length of time such as 10m, 1h or 24h");
    Ok(Json(app.meter.history(&sprite, window.ok_or_else(bad)?.min(MAX_WINDOW)).await?))
}

pub(super) async fn costs(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Costs>, ApiError> {
    let bad = |sentence: &str| ApiError::new(400, "invalid", sentence);
    let by = match query.get("by").map_or("sprite", String::as_str) {
        "sprite" => By::Sprite,
        "label" => By::Label,
        "day" => By::Day,
        _ => return Err(bad("by is sprite, label or day")),
    };
    let month = match query.get("month") {
        Some(text) => Some(Month::parse(text).ok_or_else(|| bad("month takes a month such as 2026-11"))?),
        None => None,
    };
    Ok(Json(app.meter.costs(month, by).await?))
}

pub(super) async fn budget(State(app): State<App>) -> Result<Json<Budget>, ApiError> {
    Ok(Json(app.meter.budget().await?))
}

pub(super) async fn set_budget(
    State(app): State<App>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, ApiError> {
    app.meter.set_budget(json(body)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn events(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Events>, ApiError> {
    let (store, id) = (Arc::clone(&app.sprites.store), app.sprites.get(&name)?.id().to_owned());
    Ok(Json(Events { events: blocking(move || Ok(store.events(&id, MAX_EVENTS)?)).await? }))
}

pub(super) async fn network(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<NetworkLog>, ApiError> {
    Ok(Json(app.sprites.get(&name)?.network.log()))
}

pub(super) async fn tree(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Tree>, ApiError> {
    let sprite = app.sprites.get(&name)?;
    let (sprites, id) = (Arc::clone(&app.sprites), sprite.id().to_owned());
    let nodes = blocking(move || {
        let nodes = sprites.disks.tree(&id)?.nodes.into_iter();
        Ok(nodes.map(|node| (sprites.disks.memory_bytes(&id, &node.id), node)).collect::<Vec<_>>())
    })
    .await?;
    let nodes = nodes.into_iter().map(|(memory, node)| TreeNode {
        memory_bytes: (memory > 0).then_some(memory),
        id: node.id,
        parent: node.parent,
        create_time: Time::from_micros(node.create_time),
        comment: node.comment,
        is_auto: node.is_auto,
        exclusive_bytes: node.exclusive,
        shared_bytes: node.shared,
    });
    Ok(Json(Tree { nodes: nodes.collect() }))
}

pub(super) async fn fork(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let wish: Fork = json(body)?;
    let sprite = app.sprites.fork(&name, wish).await?;
    Ok((StatusCode::CREATED, Json(sprite.view())).into_response())
}

pub(super) async fn stop(State(app): State<App>, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    app.sprites.get(&name)?.stop().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn images(State(app): State<App>) -> Result<Json<Images>, ApiError> {
    Ok(Json(app.images.list().await?))
}

pub(super) async fn build_image(State(app): State<App>) -> Response {
    lines(app.images.build())
}
