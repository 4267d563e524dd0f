//! `/v1/sprites/{name}/tasks…`: holds that keep a sprite awake. The same calls come from inside, where programs make them.

use super::App;
use super::answer::{ApiError, json};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use sprites_api::task::{Hold, Task, TaskList, check_name};

type Body = Result<Bytes, BytesRejection>;

fn refused(why: &'static str) -> ApiError {
    ApiError::new(400, "invalid", why)
}

fn unknown(task: &str) -> ApiError {
    ApiError::new(404, "not_found", format!("task not found: {}", task.chars().take(80).collect::<String>()))
}

pub(super) async fn list(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<TaskList>, ApiError> {
    Ok(Json(TaskList { tasks: app.sprites.get(&name)?.tasks() }))
}

pub(super) async fn get(
    State(app): State<App>,
    Path((name, task)): Path<(String, String)>,
) -> Result<Json<Task>, ApiError> {
    let found = app.sprites.get(&name)?.tasks().into_iter().find(|one| one.name == task);
    found.map(Json).ok_or_else(|| unknown(&task))
}

/// Makes one that must not exist.
pub(super) async fn create(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, ApiError> {
    let hold: Hold = json(body)?;
    let task = named(&hold)?;
    let sprite = app.sprites.get(&name)?;
    if sprite.tasks().iter().any(|one| one.name == task) {
        return Err(ApiError::new(409, "exists", format!("a task named {task} exists; refresh it with PUT")));
    }
    let made = sprite.hold(&task, hold.length().map_err(refused)?)?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// Makes or refreshes the one that the body names.
pub(super) async fn put(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Task>, ApiError> {
    let hold: Hold = json(body)?;
    let task = named(&hold)?;
    Ok(Json(app.sprites.get(&name)?.hold(&task, hold.length().map_err(refused)?)?))
}

/// Makes or refreshes the one that the path names.
pub(super) async fn put_one(
    State(app): State<App>,
    Path((name, task)): Path<(String, String)>,
    body: Body,
) -> Result<Json<Task>, ApiError> {
    check_name(&task).map_err(refused)?;
    let hold: Hold = json(body)?;
    Ok(Json(app.sprites.get(&name)?.hold(&task, hold.length().map_err(refused)?)?))
}

pub(super) async fn delete(
    State(app): State<App>,
    Path((name, task)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    if app.sprites.get(&name)?.release(&task) { Ok(StatusCode::NO_CONTENT) } else { Err(unknown(&task)) }
}

fn named(hold: &Hold) -> Result<String, ApiError> {
    let name = hold.name.clone().unwrap_or_default();
    check_name(&name).map_err(refused)?;
    Ok(name)
}
