//! The host-only calls: `/v1/agent/…`.

pub(crate) mod clock;
mod inside;
pub(crate) mod quiesce;
mod seed;
pub(crate) mod usage;
mod web;

use crate::boot;
use crate::outward;
use crate::reply::Refusal;
use crate::{Agent, VERSION, identity};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use hyper::upgrade::Upgraded;
use quiesce::{MAX_WORD, QuiesceError};
use sprites_api::agent::{Counters, Health, Identity, Quiesce, Quiesced, Wake};
use sprites_api::policy::{MAX_BYTES, Policies};
use std::sync::Arc;
use std::time::Duration;

/// The answer to a shutdown gets this long to leave the machine before the shutdown begins.
const FAREWELL: Duration = Duration::from_millis(50);

type Shared = State<Arc<Agent>>;

/// Routes of the host-only calls.
pub(crate) fn router() -> Router<Arc<Agent>> {
    Router::new()
        .route("/v1/agent/health", get(health))
        .route("/v1/agent/usage", get(read_usage))
        .route("/v1/agent/inside", get(inside::look))
        .route("/v1/agent/quiesce", post(do_quiesce))
        .route("/v1/agent/wake", post(wake))
        .route("/v1/agent/web", get(web::connect))
        .route("/v1/agent/outward", get(outward::wait))
        .route("/v1/agent/policy", put(policy).layer(DefaultBodyLimit::max(MAX_BYTES)))
        .route("/v1/agent/checkpoints", put(checkpoints))
        .route("/v1/agent/shutdown", post(shutdown))
}

/// Changes the protocol of a connection to `protocol`, and hands it to `then`.
pub(crate) fn upgrade<F>(
    mut request: Request,
    protocol: &'static str,
    then: impl FnOnce(Upgraded) -> F + Send + 'static,
) -> Result<Response, Refusal>
where
    F: Future<Output = ()> + Send,
{
    let asked = request.headers().get(header::UPGRADE);
    if asked.is_none_or(|value| value.as_bytes() != protocol.as_bytes()) {
        let message = format!("this path takes connections that change to {protocol}");
        return Err(Refusal::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message));
    }
    let changed = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        // A host that went away in this moment wants nothing more.
        if let Ok(connection) = changed.await {
            then(connection).await;
        }
    });
    let head = [(header::CONNECTION, "upgrade"), (header::UPGRADE, protocol)];
    Ok((StatusCode::SWITCHING_PROTOCOLS, head).into_response())
}

async fn policy(State(agent): Shared, body: Bytes) -> Result<StatusCode, Refusal> {
    let policies: Policies = parse(&body)?;
    blocking(move || agent.policy.apply(policies, agent.config.home.as_deref()))
        .await?
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "policy", error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn checkpoints(State(agent): Shared, body: Bytes) -> Result<StatusCode, Refusal> {
    let names: Vec<String> = parse(&body)?;
    crate::shown::set(&agent, names)
        .await
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "mount", error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn health() -> Json<Health> {
    Json(Health { version: VERSION.to_owned(), uptime_ms: clock::uptime_ms() })
}

async fn read_usage(State(agent): Shared) -> Result<Json<Counters>, Refusal> {
    // Reading counters means reading files, and without a cgroup quite many.
    blocking(move || Json(usage::read(&agent.sessions))).await
}

async fn do_quiesce(State(agent): Shared, body: Bytes) -> Result<Json<Quiesced>, Refusal> {
    let Quiesce { word } = parse(&body)?;
    if word.is_empty() || word.len() > MAX_WORD {
        return Err(Refusal::bad(format!("`word` must have 1 to {MAX_WORD} bytes")));
    }
    let quiescer = agent.quiescer.clone();
    let rest = blocking(move || quiescer.quiesce(&word)).await??;
    let micros = |time: Duration| time.as_micros().try_into().unwrap_or(u64::MAX);
    Ok(Json(Quiesced { journal_us: micros(rest.journal), held_us: micros(rest.held), rung: rest.rung }))
}

async fn wake(State(agent): Shared, body: Bytes) -> Result<StatusCode, Refusal> {
    let Wake { now, seed, identity, ipv6 } = parse(&body)?;
    let seed = seed::parse(&seed).ok_or_else(|| {
        Refusal::bad(format!("`seed` must have {} hexadecimal digits", 2 * sprites_api::agent::SEED))
    })?;
    if !agent.config.is_machine {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "not_a_machine",
            "this agent runs as an ordinary process and changes neither clock nor randomness nor names",
        ));
    }
    agent.outward.clear();
    // Nothing that is drawn from now on should be what another machine draws.
    let sown = seed::sow(&seed);
    let set = clock::set(now);
    if let Some(identity) = identity.map(Identity::checked) {
        let taken = identity.clone();
        blocking(move || identity::take(&taken)).await??;
        agent.become_known_as(identity);
    }
    if let Some(ipv6) = ipv6
        && let Err(error) = blocking(move || boot::set_ipv6(ipv6)).await?
    {
        // The other family is there all the same.
        eprintln!("sprite-agent: IPv6 stays as it was: {error}");
    }
    sown?;
    set?;
    Ok(StatusCode::NO_CONTENT)
}

async fn shutdown(State(agent): Shared) -> StatusCode {
    let stop = agent.stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(FAREWELL).await;
        stop.cancel();
    });
    StatusCode::ACCEPTED
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the agent failed at this request")
    })
}

/// Reads a JSON body, whatever its content type says: the one caller is our own host.
fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::bad(format!("the body was not understood: {error}")))
}

impl From<QuiesceError> for Refusal {
    fn from(error: QuiesceError) -> Self {
        let status = match error {
            QuiesceError::System(..) => StatusCode::INTERNAL_SERVER_ERROR,
            QuiesceError::Refused | QuiesceError::Already => StatusCode::CONFLICT,
        };
        Refusal::new(status, error.code(), error.to_string())
    }
}

impl From<seed::SeedError> for Refusal {
    fn from(error: seed::SeedError) -> Self {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "seed_failed", error.to_string())
    }
}

impl From<identity::IdentityError> for Refusal {
    fn from(error: identity::IdentityError) -> Self {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "identity_failed", error.to_string())
    }
}

impl From<clock::ClockError> for Refusal {
    fn from(error: clock::ClockError) -> Self {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "clock_failed", error.to_string())
    }
}
