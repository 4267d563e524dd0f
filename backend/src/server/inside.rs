//! Questions from inside a sprite: what its own API socket cannot answer without the host.
//!
//! The host opens the connections and waits on them; nothing here listens for a guest. What comes is a guest's: a few calls about the sprite itself,
//! and no others.

use super::App;
use super::answer::ApiError;
use super::checkpoints::FromInside;
use super::nbd;
use crate::agent;
use crate::sprites::{ORGANIZATION, Sprite, SpriteError, blocking};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1 as server;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use local_vmm::MachineHandle;
use sprites_api::agent::{NBD, OUTWARD, SIZE};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

/// Connections that wait at each running sprite.
const WAITING: usize = 2;
/// Checkpoints that are shown inside.
const SHOWN: usize = 5;
/// Checkpoints of all kinds that a sprite may have before code inside gets no more.
const FROM_INSIDE: usize = 500;
/// Disks of checkpoints that are served to a sprite at once. One that was shown and is no longer may be looked at a while longer.
const SERVED: usize = 16;
/// Between two looks for sprites that run.
const LOOK: Duration = Duration::from_millis(500);
/// How long an agent may take to accept a connection.
const ACCEPT: Duration = Duration::from_secs(20);
/// After an agent that does not accept one.
const AGAIN: Duration = Duration::from_secs(5);

/// Waits at every sprite that runs, from now on.
pub(super) fn start(app: App, router: Router) {
    tokio::spawn(async move {
        // By id, what each was told last.
        let mut told: HashMap<String, usize> = HashMap::new();
        loop {
            let all = app.sprites.all();
            told.retain(|id, _| all.iter().any(|sprite| sprite.id() == id));
            for sprite in all.into_iter().filter(|sprite| sprite.running_machine().is_some()) {
                while let Some(place) = sprite.waiting.take(WAITING) {
                    tokio::spawn(wait(Arc::downgrade(&sprite), app.clone(), router.clone(), place));
                }
                let list = sprite.list_number();
                if told.insert(sprite.id().to_owned(), list) != Some(list) {
                    tokio::spawn(tell_checkpoints(app.clone(), sprite));
                }
            }
            sleep(LOOK).await;
        }
    });
}

/// The checkpoints that are shown inside, newest first.
async fn newest(app: &App, sprite: &Sprite) -> Result<Vec<String>, SpriteError> {
    let (disks, id) = (app.sprites.disks.clone(), sprite.id().to_owned());
    let all = blocking(move || disks.checkpoints(&id)).await?;
    Ok(all.into_iter().rev().take(SHOWN).map(|checkpoint| checkpoint.id).collect())
}

/// Tells a running sprite which checkpoints it is to show.
async fn tell_checkpoints(app: App, sprite: Arc<Sprite>) {
    let Ok(newest) = newest(&app, &sprite).await else { return };
    let Some(machine) = sprite.running_machine() else { return };
    if let Err(why) = agent::tell(&machine, "checkpoints", &newest).await
        // One that was stopped meanwhile shows them when it starts again.
        && sprite.running_machine().is_some()
    {
        tracing::warn!("{} does not show its checkpoints inside: {why}", sprite.record().name);
    }
}

/// Waits at a sprite for as long as it runs, for one question after the other.
async fn wait(sprite: Weak<Sprite>, app: App, router: Router, place: impl Send) {
    let _place = place;
    loop {
        let Some((sprite, machine)) =
            sprite.upgrade().and_then(|sprite| Some((sprite.clone(), sprite.running_machine()?)))
        else {
            return;
        };
        let asked = timeout(ACCEPT, open(&machine)).await;
        let Ok(Some(connection)) = asked else {
            drop(sprite);
            sleep(AGAIN).await;
            continue;
        };
        let asker = Arc::downgrade(&sprite);
        drop(sprite);
        let (app, router) = (app.clone(), router.clone());
        let service = tower::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let (app, router, asker) = (app.clone(), router.clone(), asker.upgrade());
            async move {
                let response = match asker {
                    Some(sprite) => answer(app, router, &sprite, request.map(Body::new)).await,
                    None => ApiError::new(404, "not_found", "this sprite is being destroyed").into_response(),
                };
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let serving = server::Builder::new()
            .keep_alive(false)
            .serve_connection(connection, TowerToHyperService::new(service))
            .with_upgrades();
        // Its end is the end of one question, or of the machine.
        let _ = serving.await;
    }
}

/// Opens a connection on which the agent asks.
async fn open(machine: &MachineHandle) -> Option<Upgraded> {
    let answer = agent::upgrade(machine.connect().await.ok()?, "outward", OUTWARD).await.ok()?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return None;
    }
    hyper::upgrade::on(answer).await.ok()
}

/// Answers a question as if it had been asked of the server about this one sprite.
async fn answer(app: App, router: Router, sprite: &Arc<Sprite>, mut request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let path = path.as_str();
    let name = sprite.record().name;
    if request.method() == Method::GET && path == "/v1/info" {
        let (id, version) = (sprite.id(), env!("CARGO_PKG_VERSION"));
        let info = serde_json::json!({ "name": name, "id": id, "org": ORGANIZATION, "sprite_url": sprite.url, "version": version });
        return axum::Json(info).into_response();
    }
    if let Some(checkpoint) =
        path.strip_prefix("/v1/checkpoints/").and_then(|rest| rest.strip_suffix("/disk"))
    {
        let checkpoint = checkpoint.to_owned();
        return disk(app, sprite, checkpoint, request).await.unwrap_or_else(IntoResponse::into_response);
    }
    if !may_ask(request.method(), path) {
        return ApiError::new(404, "not_found", "there is nothing at this path").into_response();
    }
    if is_costly(request.method(), path)
        && let Err(refused) = may_have_more(&app, sprite).await
    {
        return refused.into_response();
    }
    request.extensions_mut().insert(FromInside);
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let target = format!("/v1/sprites/{name}{}{query}", path.trim_start_matches("/v1"));
    match target.parse::<Uri>() {
        Ok(uri) => *request.uri_mut() = uri,
        Err(_) => return ApiError::new(400, "invalid", "the address cannot be read").into_response(),
    }
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Serves the disk of one of the sprite's own checkpoints to it.
async fn disk(
    app: App,
    sprite: &Arc<Sprite>,
    checkpoint: String,
    mut request: Request,
) -> Result<Response, ApiError> {
    if request.headers().get(header::UPGRADE).is_none_or(|protocol| protocol.as_bytes() != NBD.as_bytes()) {
        return Err(ApiError::new(
            426,
            "upgrade_required",
            "a disk is served over a connection that changes to nbd",
        ));
    }
    let place = sprite.serving.take(SERVED);
    let place = place.ok_or_else(|| ApiError::new(429, "too_many", "too many checkpoints are looked at"))?;
    let (disks, id) = (app.sprites.disks.clone(), sprite.id().to_owned());
    if !newest(&app, sprite).await?.contains(&checkpoint) {
        return Err(ApiError::new(404, "not_found", "this checkpoint is not among those that are shown"));
    }
    let disk = blocking(move || disks.read(&id, &checkpoint)).await?;
    let changed = hyper::upgrade::on(&mut request);
    let size = disk.size();
    tokio::spawn(async move {
        let _place = place;
        // A guest that breaks off, or the rules, has its connection closed.
        if let Ok(connection) = changed.await {
            let _ = nbd::serve(TokioIo::new(connection), disk).await;
        }
    });
    let head = [
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static(NBD)),
        (HeaderName::from_static(SIZE), HeaderValue::from(size)),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, head).into_response())
}

/// Whether it makes a checkpoint; a restore makes one of what it replaces.
fn is_costly(method: &Method, path: &str) -> bool {
    method == Method::POST && !path.contains("/tasks")
}

/// Whether code inside may make another checkpoint: it could make them faster than anybody can look at them.
async fn may_have_more(app: &App, sprite: &Arc<Sprite>) -> Result<(), ApiError> {
    let refused = |message: &str| Err(ApiError::new(429, "too_many", message));
    if !sprite.inside_budget.take() {
        return refused(
            "code inside may make a checkpoint every ten seconds, and thirty in a row; wait a little",
        );
    }
    let (disks, id) = (app.sprites.disks.clone(), sprite.id().to_owned());
    if blocking(move || Ok(disks.checkpoints(&id)?.len())).await? >= FROM_INSIDE {
        return refused(
            "this sprite has as many checkpoints as code inside may have it make; some must be deleted from outside",
        );
    }
    Ok(())
}

/// Whether code inside may ask for it. Its own checkpoints are not its to delete: they are what undoes its work.
fn may_ask(method: &Method, path: &str) -> bool {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    if !parts.iter().all(|part| plain(part)) {
        return false;
    }
    matches!(
        (method.as_str(), parts.as_slice()),
        ("GET", ["v1", "checkpoints"] | ["v1", "checkpoints", _] | ["v1", "policy", "network"])
            | ("POST", ["v1", "checkpoint"] | ["v1", "checkpoints", _, "restore"])
            | (_, ["v1", "tasks"] | ["v1", "tasks", _])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_asked() {
        let may = |method: &str, path: &str| may_ask(&method.parse().unwrap(), path);
        for (method, path) in [
            ("GET", "/v1/checkpoints"),
            ("GET", "/v1/checkpoints/v1"),
            ("POST", "/v1/checkpoint"),
            ("POST", "/v1/checkpoints/v1/restore"),
            ("PUT", "/v1/tasks/build"),
            ("DELETE", "/v1/tasks/build"),
        ] {
            assert!(may(method, path), "{method} {path}");
        }
        for (method, path) in [
            ("DELETE", "/v1/checkpoints/v1"),
            ("GET", "/v1/sprites"),
            ("GET", "/v1/exec"),
            ("DELETE", "/v1/"),
            ("POST", "/v1/policy/network"),
            ("GET", "/v1/checkpoints/../../other/checkpoints"),
            ("GET", "/v1/tasks//"),
            ("GET", "/v1/local/version"),
        ] {
            assert!(!may(method, path), "{method} {path}");
        }
    }
}
