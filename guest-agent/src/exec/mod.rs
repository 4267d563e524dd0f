//! The inner API: `/v1/exec` and below.

mod json;
mod kill;
mod post;
mod query;
mod socket;

use crate::process::launch::LaunchError;
use crate::reply::Refusal;
use crate::session::registry::{Found, describe};
use crate::session::start::{Request as Start, StartError};
use crate::session::{Attachment, TooManyClients};
use crate::websocket::{self, Upgrade};
use crate::{Agent, VERSION, identity};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::FutureExt;
use query::Pairs;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// Largest JSON body, bytes.
const BODY_LIMIT: usize = 64 << 10;

type Shared = State<Arc<Agent>>;

/// A program that could not start, told to the client the way a shell would tell it.
pub(crate) struct Stillborn {
    pub(crate) code: u8,
    pub(crate) message: String,
}

/// Routes of the inner API.
pub(crate) fn router() -> Router<Arc<Agent>> {
    Router::new()
        .route("/v1/exec", get(start_or_list).post(post::run).head(version))
        .route("/v1/exec/{id}", get(attach_or_show))
        .route("/v1/exec/{id}/kill", post(kill::run))
}

/// Adds what holds for every route: headers of every answer, bounds, answers to unknown paths and to our own faults.
pub(crate) fn finish(router: Router<Arc<Agent>>, agent: Arc<Agent>) -> Router {
    router
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path"))
        .method_not_allowed_fallback(async || {
            Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this path does not take this method",
            )
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(around))
        .with_state(agent)
}

async fn around(request: Request, next: Next) -> Response {
    let mut response = AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the agent failed at this request; other sessions are not touched",
        )
        .into_response()
    });
    let headers = response.headers_mut();
    headers.insert("sprite-version", HeaderValue::from_static(VERSION));
    headers.insert("x-sprite-capabilities", HeaderValue::from_static("signal"));
    response
}

async fn version() -> StatusCode {
    StatusCode::OK
}

async fn start_or_list(
    State(agent): Shared,
    Query(pairs): Query<Pairs>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    let Some(upgrade) = websocket::asked(upgrade, &headers, &agent)? else {
        return Ok(Json(agent.sessions.list()).into_response());
    };
    if let Some(id) = query::session_id(&pairs) {
        return attach(&agent, &id, &pairs, upgrade).await;
    }
    let request = query::start(&pairs)?;
    let (stdin, tty) = (request.stdin, request.tty);
    let mode = socket::Mode { owner: true, stdin };
    Ok(match start(&agent, request).await? {
        Ok(attachment) => upgrade.on_upgrade(move |ws| socket::serve(ws, attachment, mode, agent)),
        Err(stillborn) => {
            let limits = agent.config.limits.clone();
            upgrade.on_upgrade(move |ws| socket::serve_stillborn(ws, stillborn, tty, limits))
        }
    })
}

async fn attach_or_show(
    State(agent): Shared,
    Path(id): Path<String>,
    Query(pairs): Query<Pairs>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    match websocket::asked(upgrade, &headers, &agent)? {
        Some(upgrade) => attach(&agent, &id, &pairs, upgrade).await,
        None => match agent.sessions.find(&id) {
            Found::Live(session) => Ok(Json(describe(&session)).into_response()),
            Found::Ended | Found::Unknown => Err(Refusal::no_session(&id)),
        },
    }
}

async fn attach(
    agent: &Arc<Agent>,
    id: &str,
    pairs: &Pairs,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Refusal> {
    let Found::Live(session) = agent.sessions.find(id) else { return Err(Refusal::no_session(id)) };
    let size = query::size(pairs)?;
    let stdin = query::attach_stdin(pairs)?;
    if let Some((cols, rows)) = size {
        session.resize(cols, rows).await;
    }
    let attachment = session.attach().await?;
    let mode = socket::Mode { owner: false, stdin };
    let agent = Arc::clone(agent);
    Ok(upgrade.on_upgrade(move |ws| socket::serve(ws, attachment, mode, agent)))
}

/// Starts a session. The inner error is a program that is not there or may not run: the request itself was in order.
async fn start(agent: &Arc<Agent>, mut request: Start) -> Result<Result<Attachment, Stillborn>, Refusal> {
    let task = {
        let agent = agent.clone();
        // A task of its own: a client that leaves in this moment must not leave a process behind that nobody knows.
        tokio::spawn(async move {
            // What the client gives goes over it.
            let told = agent.identity();
            request.env.splice(..0, identity::environment(&told));
            agent.sessions.start(request, &agent.config).await
        })
    };
    let result = task.await.map_err(|_| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the agent failed to start the session")
    })?;
    match result {
        Ok(attachment) => Ok(Ok(attachment)),
        Err(StartError::Launch(error)) if error.exit_code().is_some() => {
            let code = error.exit_code().unwrap_or(u8::MAX);
            Ok(Err(Stillborn { code, message: error.to_string() }))
        }
        Err(error) => Err(error.into()),
    }
}

impl From<StartError> for Refusal {
    fn from(error: StartError) -> Self {
        let message = error.to_string();
        match error {
            StartError::Full(limit) => Refusal::limit("session_limit_exceeded", message, limit),
            StartError::NoDirectory(_) | StartError::Launch(LaunchError::Directory(_)) => {
                Refusal::bad(message)
            }
            _ => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "start_failed", message),
        }
    }
}

impl From<TooManyClients> for Refusal {
    fn from(error: TooManyClients) -> Self {
        Refusal::limit("client_limit_exceeded", error.to_string(), error.limit)
    }
}
