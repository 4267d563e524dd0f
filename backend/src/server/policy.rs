//! `/v1/sprites/{name}/policy/…`: what a sprite may reach, do and take. Kept with the sprite; none of it wakes one.

use super::App;
use super::answer::{ApiError, json};
use crate::sprites::Sprite;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use sprites_api::policy::{NetworkPolicy, Policies, PrivilegesPolicy, ResourcesPolicy};
use std::sync::Arc;

type Body = Result<Bytes, BytesRejection>;
type Done = Result<StatusCode, ApiError>;

fn refused(why: String) -> ApiError {
    ApiError::new(400, "invalid_policy", why)
}

async fn change(app: &App, sprite: &Arc<Sprite>, change: impl FnOnce(&mut Policies)) -> Done {
    app.sprites.change(sprite, |record| change(&mut record.policy)).await?;
    sprite.apply_policies().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn network(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<NetworkPolicy>, ApiError> {
    Ok(Json(app.sprites.get(&name)?.record().policy.network.unwrap_or_default()))
}

pub(super) async fn set_network(State(app): State<App>, Path(name): Path<String>, body: Body) -> Done {
    let sprite = app.sprites.get(&name)?;
    let policy: NetworkPolicy = json(body)?;
    policy.check().map_err(refused)?;
    change(&app, &sprite, |policies| policies.network = Some(policy)).await
}

pub(super) async fn privileges(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<PrivilegesPolicy>, ApiError> {
    Ok(Json(app.sprites.get(&name)?.record().policy.privileges.unwrap_or_default()))
}

pub(super) async fn set_privileges(State(app): State<App>, Path(name): Path<String>, body: Body) -> Done {
    let sprite = app.sprites.get(&name)?;
    let policy: PrivilegesPolicy = json(body)?;
    policy.check().map_err(refused)?;
    change(&app, &sprite, |policies| policies.privileges = Some(policy)).await
}

pub(super) async fn unset_privileges(State(app): State<App>, Path(name): Path<String>) -> Done {
    let sprite = app.sprites.get(&name)?;
    change(&app, &sprite, |policies| policies.privileges = None).await
}

pub(super) async fn resources(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<ResourcesPolicy>, ApiError> {
    Ok(Json(app.sprites.get(&name)?.record().policy.resources.unwrap_or_default()))
}

pub(super) async fn set_resources(State(app): State<App>, Path(name): Path<String>, body: Body) -> Done {
    let sprite = app.sprites.get(&name)?;
    let policy: ResourcesPolicy = json(body)?;
    policy.check().map_err(refused)?;
    change(&app, &sprite, |policies| policies.resources = Some(policy)).await
}

pub(super) async fn unset_resources(State(app): State<App>, Path(name): Path<String>) -> Done {
    let sprite = app.sprites.get(&name)?;
    change(&app, &sprite, |policies| policies.resources = None).await
}
