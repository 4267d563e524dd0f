//! Questions from inside a sprite: what its own API socket cannot answer without the host.
//!
//! The host opens the connections and waits on them; nothing here listens for a guest. What comes is a guest's: a few calls about the sprite itself,
//! and no others.

use super::App;
use super::answer::ApiError;
use crate::sprites::{ORGANIZATION, Sprite};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use local_vmm::MachineHandle;
use serde_json::json;
use sprites_api::agent::OUTWARD;
use sprites_api::policy::NetworkPolicy;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

/// Connections that wait at each running sprite.
const WAITING: usize = 2;
/// Between two looks for sprites that run.
const LOOK: Duration = Duration::from_millis(500);
/// How long an agent may take to accept a connection.
const ACCEPT: Duration = Duration::from_secs(20);
/// After an agent that does not accept one.
const AGAIN: Duration = Duration::from_secs(5);

/// Waits at every sprite that runs, from now on.
pub(super) fn start(app: App, router: Router) {
    tokio::spawn(async move {
        loop {
            for sprite in app.sprites.all() {
                let waits = sprite.running_machine().is_some();
                for _ in 0..WAITING {
                    if waits && let Some(place) = sprite.waiting_place(WAITING) {
                        tokio::spawn(wait(Arc::downgrade(&sprite), router.clone(), place));
                    }
                }
            }
            sleep(LOOK).await;
        }
    });
}

/// Waits at a sprite for as long as it runs, for one question after the other.
async fn wait(sprite: Weak<Sprite>, router: Router, place: impl Send) {
    let _place = place;
    // A machine that has just come up knows of no policy.
    if let Some(sprite) = sprite.upgrade()
        && let Some(policy) = sprite.record().policy.network
    {
        tell_policy(&sprite, &policy).await;
    }
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
        let (name, id) = (sprite.record().name, sprite.id().to_owned());
        let (url, version) = (sprite.url.clone(), env!("CARGO_PKG_VERSION"));
        drop(sprite);
        let router = router.clone();
        let service = tower::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let (router, name) = (router.clone(), name.clone());
            let info =
                json!({ "name": name, "id": id, "org": ORGANIZATION, "sprite_url": url, "version": version });
            async move {
                Ok::<_, std::convert::Infallible>(answer(router, &name, info, request.map(Body::new)).await)
            }
        });
        let serving = server::Builder::new()
            .keep_alive(false)
            .serve_connection(connection, TowerToHyperService::new(service));
        // Its end is the end of one question, or of the machine.
        let _ = serving.await;
    }
}

/// Opens a connection on which the agent asks.
async fn open(machine: &MachineHandle) -> Option<Upgraded> {
    let stream = machine.connect().await.ok()?;
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(async move {
        // Its end shows in the answer.
        let _ = connection.with_upgrades().await;
    });
    let request = Request::get("/v1/agent/outward")
        .header(header::HOST, "agent")
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, OUTWARD)
        .body(Body::empty())
        .ok()?;
    let answer = sender.send_request(request).await.ok()?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return None;
    }
    hyper::upgrade::on(answer).await.ok()
}

/// Answers a question as if it had been asked of the server about this one sprite.
async fn answer(router: Router, name: &str, info: serde_json::Value, mut request: Request) -> Response {
    let path = request.uri().path();
    if request.method() == Method::GET && path == "/v1/info" {
        return axum::Json(info).into_response();
    }
    if !may_ask(request.method(), path) {
        return ApiError::new(404, "not_found", "there is nothing at this path").into_response();
    }
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

/// Tells a running sprite its policy; one that sleeps is told when it wakes.
pub(super) async fn tell_policy(sprite: &Sprite, policy: &NetworkPolicy) {
    let Some(machine) = sprite.running_machine() else { return };
    let told = async {
        let stream = machine.connect().await.ok()?;
        let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let request = Request::put("/v1/agent/policy")
            .header(header::HOST, "agent")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(serde_json::to_vec(policy).ok()?))
            .ok()?;
        sender.send_request(request).await.ok().filter(|answer| answer.status().is_success())
    };
    if !matches!(timeout(ACCEPT, told).await, Ok(Some(_))) {
        tracing::warn!("{} was not told its policy; the copy inside is of before", sprite.record().name);
    }
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
