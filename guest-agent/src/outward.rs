//! What only the host can answer: the agent asks it, on connections that the host has opened and that wait here.
//!
//! The host opens them, not the agent, so that nothing on the host listens for a guest. Each carries one request.

use crate::Agent;
use crate::host::upgrade;
use crate::reply::Refusal;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::{any, get, post};
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use sprites_api::agent::OUTWARD;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Connections that wait; the oldest goes when there are more. Those of a host that has gone are among them.
const WAITING: usize = 8;
/// A request waits this long for a connection.
const CONNECTION: Duration = Duration::from_secs(5);
/// A checkpoint or a restore may take this long to the head of its answer.
const ANSWER: Duration = Duration::from_secs(120);
/// Largest body, bytes.
const BODY: usize = 64 << 10;

/// Connections on which the host waits for questions.
#[derive(Debug, Default)]
pub(crate) struct Outward {
    waiting: Mutex<VecDeque<Upgraded>>,
    arrived: Notify,
}

/// What programs inside may ask of the host. Deleting a checkpoint is not among it: what undoes their work is not theirs.
pub(crate) fn router() -> Router<Arc<Agent>> {
    Router::new()
        .route("/v1/info", get(ask))
        .route("/v1/checkpoint", post(ask))
        .route("/v1/checkpoints", get(ask))
        .route("/v1/checkpoints/{id}", get(ask))
        .route("/v1/checkpoints/{id}/restore", post(ask))
        .route("/v1/policy/network", get(ask))
        .route("/v1/tasks", any(ask))
        .route("/v1/tasks/{name}", any(ask))
}

/// `GET /v1/agent/outward`: a connection for one question.
pub(crate) async fn wait(State(agent): State<Arc<Agent>>, request: Request) -> Result<Response, Refusal> {
    upgrade(request, OUTWARD, move |connection| async move { agent.outward.add(connection) })
}

async fn ask(State(agent): State<Arc<Agent>>, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY).await.map_err(|_| {
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too large or broke off")
    })?;
    // Connections of a host that has gone fail at once; a new one brings new ones.
    for _ in 0..=WAITING {
        let Ok(connection) = timeout(CONNECTION, agent.outward.take()).await else { break };
        let mut question = hyper::Request::new(Body::from(body.clone()));
        *question.method_mut() = parts.method.clone();
        *question.uri_mut() = parts.uri.clone();
        question.headers_mut().insert(header::HOST, header::HeaderValue::from_static("host"));
        for name in [header::ACCEPT, header::CONTENT_TYPE] {
            if let Some(value) = parts.headers.get(&name) {
                question.headers_mut().insert(name, value.clone());
            }
        }
        match put(connection, question).await {
            Ok(answer) => return Ok(answer),
            Err(Failed::Late) => {
                return Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "the host does not answer"));
            }
            Err(Failed::Broken) => {}
        }
    }
    let message = "the host of this sprite does not listen now; try again in a moment";
    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "no_host", message))
}

enum Failed {
    Broken,
    Late,
}

async fn put(connection: Upgraded, question: hyper::Request<Body>) -> Result<Response, Failed> {
    let (mut sender, driver) = http1::handshake(connection).await.map_err(|_| Failed::Broken)?;
    tokio::spawn(async move {
        // Its end shows in the answer.
        let _ = driver.await;
    });
    match timeout(ANSWER, sender.send_request(question)).await {
        Ok(Ok(answer)) => Ok(answer.map(Body::new)),
        Ok(Err(_)) => Err(Failed::Broken),
        Err(_) => Err(Failed::Late),
    }
}

impl Outward {
    /// Asks for a connection that changes to `protocol`; gives it and the headers of the answer, or nothing when the host does not want to.
    pub(crate) async fn change(&self, path: &str, protocol: &'static str) -> Option<(Upgraded, HeaderMap)> {
        for _ in 0..=WAITING {
            let connection = timeout(CONNECTION, self.take()).await.ok()?;
            let Ok((mut sender, driver)) = http1::handshake(connection).await else { continue };
            tokio::spawn(async move {
                // Its end shows in the answer.
                let _ = driver.with_upgrades().await;
            });
            let question = hyper::Request::get(path)
                .header(header::HOST, "host")
                .header(header::CONNECTION, "upgrade")
                .header(header::UPGRADE, protocol)
                .body(Body::empty())
                .ok()?;
            match timeout(ANSWER, sender.send_request(question)).await {
                Ok(Ok(answer)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    let headers = answer.headers().clone();
                    return Some((hyper::upgrade::on(answer).await.ok()?, headers));
                }
                Ok(Ok(_)) | Err(_) => return None,
                Ok(Err(_)) => {}
            }
        }
        None
    }

    fn add(&self, connection: Upgraded) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= WAITING {
            waiting.pop_front();
        }
        waiting.push_back(connection);
        self.arrived.notify_one();
    }

    /// Lets go of all: a machine that stood still has lost them.
    pub(crate) fn clear(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn take(&self) -> Upgraded {
        loop {
            let newest = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_back();
            match newest {
                Some(connection) => return connection,
                None => self.arrived.notified().await,
            }
        }
    }
}
