//! The API's calls, as far as the app makes them. What is not here is refused.

mod files;

use crate::timeline::timeline;
use crate::world::{Result as Told, World, list, second};
use crate::{Stage, console};
use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use serde_json::json;
use sprites_api::checkpoint::{CreateCheckpoint, ProgressLine};
use sprites_api::cost::Budget;
use sprites_api::exec::SessionList;
use sprites_api::extension::{Events, Fork, Image, Images, Timeline, UsageLine, UsageTotals, Version};
use sprites_api::policy::NetworkPolicy;
use sprites_api::services::{Event, EventKind};
use sprites_api::sprite::{CreateSprite, WatchLine};
use sprites_api::{Time, sprite::Status};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::broadcast;

/// Between two signs of life of a stream.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Between two lines of a service's log.
const LOG: Duration = Duration::from_millis(1500);
/// Longest past that is told, seconds.
const MAX_WINDOW: i64 = 366 * 24 * 3600;

type Params = Query<HashMap<String, String>>;

pub fn router(stage: Stage) -> Router {
    let sprites = Router::new()
        .route("/", get(sprites).post(create))
        .route("/{name}", get(one).delete(destroy))
        .route("/{name}/checkpoint", post(checkpoint))
        .route("/{name}/checkpoints/{id}", delete(delete_checkpoint))
        .route("/{name}/checkpoints/{id}/restore", post(restore))
        .route("/{name}/policy/network", get(policy).post(set_policy))
        .route("/{name}/services/{service}/{action}", post(service))
        .route("/{name}/exec", get(exec))
        .route("/{name}/exec/{id}", get(attach))
        .route("/{name}/fs/read", get(files::read_now))
        .route("/{name}/fs/write", put(files::write));
    let local = Router::new()
        .route("/version", get(version))
        .route("/images", get(images))
        .route("/usage", get(usage))
        .route("/costs", get(costs))
        .route("/events", get(all_events))
        .route("/budget", get(budget).put(set_budget))
        .route("/sprites/{name}/tree", get(tree))
        .route("/sprites/{name}/usage", get(history))
        .route("/sprites/{name}/events", get(events))
        .route("/sprites/{name}/network", get(network))
        .route("/sprites/{name}/inside", get(inside))
        .route("/sprites/{name}/files", get(files::list))
        .route("/sprites/{name}/files/read", get(files::read))
        .route("/sprites/{name}/diff", get(files::diff))
        .route("/sprites/{name}/diff/file", get(files::diff_file))
        .route("/storage", get(files::storage))
        .route("/sprites/{name}/fork", post(fork))
        .route("/sprites/{name}/stop", post(stop))
        .route("/sprites/{name}/services/{service}/logs", get(logs));
    Router::new().nest("/v1/sprites", sprites).nest("/v1/local", local).fallback(missing).with_state(stage)
}

/// What it does not offer.
async fn missing() -> Refused {
    Refused("the demo does not do that: its sprites are not there".to_owned())
}

/// Why something was not done.
struct Refused(String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status =
            if self.0.ends_with("not found") { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST };
        (status, Json(json!({ "error": self.0 }))).into_response()
    }
}

type Answer<T> = Result<T, Refused>;

impl Stage {
    /// Does something, and tells those who watch.
    fn act<T>(&self, work: impl FnOnce(&mut World) -> Told<T>) -> Answer<T> {
        let outcome = work(&mut self.world());
        self.told();
        outcome.map_err(Refused)
    }
}

fn body<T: serde::de::DeserializeOwned>(bytes: &Bytes) -> Answer<T> {
    serde_json::from_slice(bytes).map_err(|error| Refused(error.to_string()))
}

fn lines<T: Serialize>(lines: impl Stream<Item = T> + Send + 'static) -> Response {
    let written = lines.map(|line| {
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        Ok::<_, std::convert::Infallible>(text)
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(written)).into_response()
}

/// What there is, then what comes, and a sign of life now and then.
fn followed<T: Clone + Serialize + Send + 'static>(
    now: Vec<T>,
    coming: broadcast::Receiver<T>,
    beat: T,
) -> Response {
    let coming = stream::unfold((coming, beat), |(mut coming, beat)| async move {
        loop {
            match tokio::time::timeout(HEARTBEAT, coming.recv()).await {
                Ok(Ok(line)) => return Some((line, (coming, beat))),
                Ok(Err(broadcast::error::RecvError::Lagged(_))) => {}
                Ok(Err(broadcast::error::RecvError::Closed)) => return None,
                Err(_) => return Some((beat.clone(), (coming, beat))),
            }
        }
    });
    lines(stream::iter(now).chain(coming))
}

async fn version() -> Json<Version> {
    let version = env!("CARGO_PKG_VERSION").into();
    Json(Version { product: "sprites-demo".into(), version, machine: "kvm".into(), pid: std::process::id() })
}

async fn images() -> Json<Images> {
    let image = Image {
        id: "demo".into(),
        created: Time::now(),
        description: "a demo".into(),
        kernel: "none".into(),
        bytes: 0,
    };
    Json(Images { images: vec![image], building: false })
}

async fn sprites(State(stage): State<Stage>, headers: HeaderMap) -> Response {
    let all = list(&stage.world());
    if !headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().ends_with(b"ndjson")) {
        return Json(all).into_response();
    }
    let line = |sprite: &sprites_api::sprite::Sprite| WatchLine {
        kind: "sprite".into(),
        name: Some(sprite.name.clone()),
        status: Some(sprite.status),
        ..WatchLine::default()
    };
    let beat = WatchLine { kind: "heartbeat".into(), ..WatchLine::default() };
    followed(all.sprites.iter().map(line).collect(), stage.changes.subscribe(), beat)
}

async fn usage(State(stage): State<Stage>) -> Response {
    let totals = UsageTotals::default();
    let beat = UsageLine { name: String::new(), sample: None, stored_bytes: 0, shared_bytes: 0, totals };
    let now = stage.world().usage();
    followed(now, stage.usage.subscribe(), beat)
}

async fn create(State(stage): State<Stage>, bytes: Bytes) -> Answer<impl IntoResponse> {
    let wish: CreateSprite = body(&bytes)?;
    Ok((StatusCode::CREATED, Json(stage.act(|world| world.create(&wish.name))?)))
}

async fn one(State(stage): State<Stage>, Path(name): Path<String>) -> Answer<impl IntoResponse> {
    stage.act(|world| world.actor(&name).map(|actor| Json(actor.sprite.clone())))
}

async fn destroy(State(stage): State<Stage>, Path(name): Path<String>) -> Answer<StatusCode> {
    stage.act(|world| world.destroy(&name))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn tree(State(stage): State<Stage>, Path(name): Path<String>) -> Answer<impl IntoResponse> {
    stage.act(|world| world.actor(&name).map(|actor| Json(actor.tree())))
}

/// Work that is told line by line.
fn progress(outcome: Answer<String>) -> Answer<Response> {
    let word = outcome?;
    Ok(lines(stream::iter([ProgressLine::info("This is a demo."), ProgressLine::complete(word)])))
}

async fn checkpoint(State(stage): State<Stage>, Path(name): Path<String>, bytes: Bytes) -> Answer<Response> {
    let wish: CreateCheckpoint = body(&bytes)?;
    let made = stage.act(|world| world.checkpoint(&name, wish.comment, wish.memory));
    progress(made.map(|id| format!("Checkpoint {id} of {name} is made.")))
}

async fn restore(State(stage): State<Stage>, Path((name, id)): Path<(String, String)>) -> Answer<Response> {
    progress(stage.act(|world| world.restore(&name, &id)))
}

async fn delete_checkpoint(
    State(stage): State<Stage>,
    Path((name, id)): Path<(String, String)>,
) -> Answer<StatusCode> {
    stage.act(|world| world.delete_checkpoint(&name, &id))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn fork(
    State(stage): State<Stage>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answer<impl IntoResponse> {
    let wish: Fork = body(&bytes)?;
    stage.act(|world| world.fork(&name, &wish.name, wish.checkpoint.as_deref())).map(Json)
}

async fn stop(State(stage): State<Stage>, Path(name): Path<String>) -> Answer<StatusCode> {
    stage.act(|world| world.stop(&name))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn history(
    State(stage): State<Stage>,
    Path(name): Path<String>,
    Query(params): Params,
) -> Answer<impl IntoResponse> {
    let window = params.get("window").and_then(|text| text.trim_end_matches('s').parse().ok()).unwrap_or(60);
    stage.act(|world| world.actor(&name).map(|actor| Json(actor.history(window.clamp(1, MAX_WINDOW)))))
}

async fn events(State(stage): State<Stage>, Path(name): Path<String>) -> Answer<impl IntoResponse> {
    stage.act(|world| {
        let actor = world.actor(&name)?;
        Ok(Json(Events { events: actor.events.iter().rev().cloned().collect() }))
    })
}

async fn all_events(State(stage): State<Stage>, Query(params): Params) -> Json<Timeline> {
    let since = params.get("since").and_then(|text| text.parse::<Time>().ok()).map_or(0, Time::as_micros);
    let most = params.get("limit").and_then(|text| text.parse().ok()).unwrap_or(200);
    let kind = params.get("kind").map(String::as_str);
    Json(Timeline { events: timeline(&stage.world(), since, kind, most) })
}

async fn network(State(stage): State<Stage>, Path(name): Path<String>) -> Answer<impl IntoResponse> {
    stage.act(|world| world.actor(&name).map(|actor| Json(actor.network())))
}

async fn inside(State(stage): State<Stage>, Path(name): Path<String>) -> Answer<impl IntoResponse> {
    stage.act(|world| world.actor(&name).map(|actor| Json(actor.inside())))
}

async fn policy(State(stage): State<Stage>, Path(name): Path<String>) -> Answer<impl IntoResponse> {
    stage.act(|world| world.actor(&name).map(|actor| Json(actor.policy.clone())))
}

async fn set_policy(
    State(stage): State<Stage>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answer<StatusCode> {
    let policy: NetworkPolicy = body(&bytes)?;
    stage.act(|world| world.actor(&name).map(|actor| actor.policy = policy))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn costs(State(stage): State<Stage>, Query(params): Params) -> impl IntoResponse {
    let by = params.get("by").map_or("sprite", String::as_str);
    Json(stage.world().costs(by))
}

async fn budget(State(stage): State<Stage>) -> Json<Budget> {
    Json(stage.world().budget)
}

async fn set_budget(State(stage): State<Stage>, bytes: Bytes) -> Answer<StatusCode> {
    let wish: Budget = body(&bytes)?;
    wish.check().map_err(Refused)?;
    stage.world().budget = wish;
    Ok(StatusCode::NO_CONTENT)
}

fn told(kind: EventKind, data: impl Into<String>) -> Event {
    let timestamp = Time::now().as_micros() / 1000;
    Event { kind, data: Some(data.into()), exit_code: None, timestamp, log_files: None }
}

async fn service(
    State(stage): State<Stage>,
    Path((name, service, action)): Path<(String, String, String)>,
) -> Answer<Response> {
    let runs = action != "stop";
    stage.act(|world| {
        world.wake(&name, "you")?;
        world.actor(&name)?.service(&service, runs)
    })?;
    let kind = if runs { EventKind::Started } else { EventKind::Stopped };
    Ok(lines(stream::iter([told(kind, service), told(EventKind::Complete, "")])))
}

async fn logs(State(stage): State<Stage>, Path((name, service)): Path<(String, String)>) -> Answer<Response> {
    stage.act(|world| world.actor(&name).map(drop))?;
    let line = move |number: u64| {
        let paths = ["/", "/cart", "/api/items", "/login"];
        let path = paths[(number % 4) as usize];
        told(EventKind::Stdout, format!("[demo] {service}: GET {path} 200 in {} ms", 3 + number * 7 % 40))
    };
    let before: Vec<Event> = (0..20).map(&line).collect();
    let coming = stream::unfold(second() as u64, move |number| {
        let (stage, name, line) = (stage.clone(), name.clone(), line.clone());
        async move {
            loop {
                tokio::time::sleep(LOG).await;
                let status = stage.world().actor(&name).map(|actor| actor.sprite.status);
                if !matches!(status, Ok(Status::Running)) {
                    return None;
                }
                let now = second() as u64;
                if now > number {
                    return Some((line(now), now));
                }
            }
        }
    });
    Ok(lines(stream::iter(before).chain(coming).chain(stream::iter([told(EventKind::Asleep, "it sleeps")]))))
}

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

async fn exec(State(stage): State<Stage>, Path(name): Path<String>, upgrade: Upgrade) -> Answer<Response> {
    let Ok(upgrade) = upgrade else {
        let sessions = stage.act(|world| world.actor(&name).map(|actor| actor.sessions()))?;
        return Ok(Json(SessionList { count: sessions.len(), sessions }).into_response());
    };
    let id = stage.act(|world| world.console(&name))?;
    Ok(upgrade.on_upgrade(move |socket| console::join(stage, name, id, socket)))
}

async fn attach(
    State(stage): State<Stage>,
    Path((name, id)): Path<(String, u32)>,
    upgrade: Upgrade,
) -> Answer<Response> {
    let upgrade = upgrade.map_err(|why| Refused(why.to_string()))?;
    stage.act(|world| {
        let there = world.actor(&name)?.consoles.contains_key(&id);
        there.then_some(()).ok_or_else(|| "session not found".to_owned())?;
        world.wake(&name, "a console")
    })?;
    Ok(upgrade.on_upgrade(move |socket| console::join(stage, name, id, socket)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_has_a_reason() {
        let reason = |why: &str| Refused(why.into()).into_response().status();
        assert_eq!(reason("sprite not found"), StatusCode::NOT_FOUND);
        assert_eq!(reason("there is a sprite box already"), StatusCode::BAD_REQUEST);
    }
}
