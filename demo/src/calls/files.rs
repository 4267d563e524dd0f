//! Files: of checkpoints and of the present, what changed, what disks take.

use super::{Answer, Params, Refused};
use crate::Stage;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::IntoResponse;
use sprites_api::checkpoint::CURRENT;
use sprites_api::files::Written;
use sprites_api::storage::Storage;
use std::collections::HashMap;

fn word<'a>(params: &'a HashMap<String, String>, name: &str, usual: &'a str) -> &'a str {
    params.get(name).map_or(usual, String::as_str)
}

pub async fn list(
    State(stage): State<Stage>,
    Path(name): Path<String>,
    Query(params): Params,
) -> Answer<impl IntoResponse> {
    let (at, path) = (word(&params, "at", CURRENT), word(&params, "path", "/"));
    stage.act(|world| world.actor(&name)?.files_at(at, path)).map(Json)
}

pub async fn read(
    State(stage): State<Stage>,
    Path(name): Path<String>,
    Query(params): Params,
) -> Answer<String> {
    let (at, path) = (word(&params, "at", CURRENT), word(&params, "path", "/"));
    stage.act(|world| world.actor(&name)?.file_at(at, path))
}

/// As the vendor's call: a use of the sprite.
pub async fn read_now(
    State(stage): State<Stage>,
    Path(name): Path<String>,
    Query(params): Params,
) -> Answer<String> {
    stage.act(|world| {
        world.wake(&name, "a look at a file")?;
        world.actor(&name)?.file_at(CURRENT, word(&params, "path", "/"))
    })
}

pub async fn write(
    State(stage): State<Stage>,
    Path(name): Path<String>,
    Query(params): Params,
    bytes: Bytes,
) -> Answer<Json<Written>> {
    let text = String::from_utf8(bytes.to_vec());
    let text = text.map_err(|_| Refused("the demo keeps texts only, and this is none".to_owned()))?;
    let size = text.len() as u64;
    stage.act(|world| {
        world.wake(&name, "a file that was written")?;
        let path = world.actor(&name)?.write(word(&params, "path", "/"), text)?;
        Ok(Json(Written { path, size, mode: "0644".into() }))
    })
}

pub async fn diff(
    State(stage): State<Stage>,
    Path(name): Path<String>,
    Query(params): Params,
) -> Answer<impl IntoResponse> {
    let (from, to) = (word(&params, "from", CURRENT), word(&params, "to", CURRENT));
    stage.act(|world| world.actor(&name)?.diff(from, to)).map(Json)
}

pub async fn diff_file(
    State(stage): State<Stage>,
    Path(name): Path<String>,
    Query(params): Params,
) -> Answer<impl IntoResponse> {
    let (from, to) = (word(&params, "from", CURRENT), word(&params, "to", CURRENT));
    stage.act(|world| world.actor(&name)?.diff_file(from, to, word(&params, "path", "/"))).map(Json)
}

pub async fn storage(State(stage): State<Stage>) -> Json<Storage> {
    Json(stage.world().storage())
}
