//! `/v1/services…`: definitions, and lines that tell what happens.

use super::{Defined, Services, not_running};
use crate::Agent;
use crate::process::signal;
use crate::reply::{self, Refusal};
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use sprites_api::services::{
    self as api, Definition, Event, EventKind, FOLLOW, LogFiles, STOP, SignalService,
};
use sprites_api::{Time, duration};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Longest time that an answer follows what happens.
const FOLLOW_LIMIT: Duration = Duration::from_secs(3600);
/// Longest time that a service may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(600);
/// Lines that wait for a slow client.
const WAITING: usize = 64;
/// Lines of a log that are told when the client tells no number.
const LINES: usize = 10_000;

type Pairs = Query<Vec<(String, String)>>;
type Shared = State<Arc<Agent>>;

/// Routes of the service calls.
pub(crate) fn router() -> Router<Arc<Agent>> {
    Router::new()
        .route("/v1/services", get(list))
        .route("/v1/services/signal", post(send_signal))
        .route("/v1/services/{service}", get(one).put(define).delete(remove))
        .route("/v1/services/{service}/start", post(start))
        .route("/v1/services/{service}/stop", post(stop))
        .route("/v1/services/{service}/restart", post(restart))
        .route("/v1/services/{service}/logs", get(logs))
}

async fn list(State(agent): Shared) -> Json<Vec<api::Service>> {
    Json(agent.services.list())
}

async fn one(State(agent): Shared, Path(name): Path<String>) -> Result<Json<api::Service>, Refusal> {
    Ok(Json(agent.services.get(&name)?))
}

async fn define(
    State(agent): Shared,
    Path(name): Path<String>,
    Query(pairs): Pairs,
    body: Bytes,
) -> Result<Response, Refusal> {
    let follow = time(&pairs, "duration", FOLLOW, FOLLOW_LIMIT)?;
    let definition: Definition = json(&body)?;
    let defined = agent.services.define(&name, definition).await?;
    let service = agent.services.known(&name)?;
    match defined {
        Defined::Unchanged => {
            let message = format!("{name} already runs with this definition; restart it to run it anew");
            let (tell, lines) = mpsc::channel(WAITING);
            for event in [event(EventKind::Started, Some(message)), complete(&name)] {
                // There is room for both.
                let _ = tell.try_send(event);
            }
            Ok(reply::lines(lines))
        }
        Defined::Changed => {
            let events = service.log.subscribe();
            Ok(answer(&agent, name, events, Some(follow), |services, name| async move {
                services.start(&name).await
            }))
        }
    }
}

async fn remove(State(agent): Shared, Path(name): Path<String>) -> Result<StatusCode, Refusal> {
    agent.services.known(&name)?;
    // A task of its own: what was begun is carried through also when the client leaves.
    let work = tokio::spawn(async move { agent.services.remove(&name).await });
    work.await.unwrap_or_else(|_| Err(reply::ours()))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn start(
    State(agent): Shared,
    Path(name): Path<String>,
    Query(pairs): Pairs,
) -> Result<Response, Refusal> {
    let follow = time(&pairs, "duration", FOLLOW, FOLLOW_LIMIT)?;
    let events = agent.services.known(&name)?.log.subscribe();
    Ok(answer(
        &agent,
        name,
        events,
        Some(follow),
        |services, name| async move { services.start(&name).await },
    ))
}

async fn stop(
    State(agent): Shared,
    Path(name): Path<String>,
    Query(pairs): Pairs,
) -> Result<Response, Refusal> {
    let patience = time(&pairs, "timeout", STOP, STOP_LIMIT)?;
    let service = agent.services.known(&name)?;
    if !service.is_wanted() {
        return Err(not_running(&name));
    }
    let events = service.log.subscribe();
    Ok(answer(&agent, name, events, None, move |services, name| async move {
        services.stop(&name, patience).await
    }))
}

async fn restart(
    State(agent): Shared,
    Path(name): Path<String>,
    Query(pairs): Pairs,
) -> Result<Response, Refusal> {
    let follow = time(&pairs, "duration", FOLLOW, FOLLOW_LIMIT)?;
    let service = agent.services.known(&name)?;
    let events = service.log.subscribe();
    let ran = service.is_wanted();
    Ok(answer(&agent, name, events, Some(follow), move |services, name| async move {
        if ran {
            services.stop(&name, Duration::from_secs(STOP)).await?;
        }
        services.start(&name).await
    }))
}

async fn send_signal(State(agent): Shared, body: Bytes) -> Result<StatusCode, Refusal> {
    let wish: SignalService = json(&body)?;
    agent.services.known(&wish.name)?;
    let signal =
        signal::parse(&wish.signal).ok_or_else(|| Refusal::bad("there is no signal of this name"))?;
    agent.services.signal(&wish.name, signal).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn logs(
    State(agent): Shared,
    Path(name): Path<String>,
    Query(pairs): Pairs,
) -> Result<Response, Refusal> {
    let follow = time(&pairs, "duration", 0, FOLLOW_LIMIT)?;
    let most = match value(&pairs, "lines") {
        Some(text) => text.parse().map_err(|_| Refusal::bad("`lines` must be a number"))?,
        None => LINES,
    };
    let log = Arc::clone(&agent.services.known(&name)?.log);
    let read = tokio::task::spawn_blocking(move || log.last(most)).await;
    let (last, events) = read.map_err(|_| reply::ours())?;
    let (tell, lines) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        for event in last {
            if tell.send(event).await.is_err() {
                return;
            }
        }
        let deadline = Instant::now() + follow;
        if pass_on(events, &tell, deadline, false).await {
            // The client may have left in this moment.
            let _ = tell.send(complete(&name)).await;
        }
    });
    Ok(reply::lines(lines))
}

/// Does something with a service and tells what happens meanwhile; then for as long as `follow`, or until its process ends.
fn answer<F>(
    agent: &Arc<Agent>,
    name: String,
    mut events: broadcast::Receiver<Event>,
    follow: Option<Duration>,
    work: impl FnOnce(Arc<Services>, String) -> F,
) -> Response
where
    F: Future<Output = Result<(), Refusal>> + Send + 'static,
{
    let (tell, lines) = mpsc::channel(WAITING);
    // A task of its own: what was begun is carried through also when the client leaves.
    let mut work = tokio::spawn(work(Arc::clone(&agent.services), name.clone()));
    tokio::spawn(async move {
        let result = loop {
            tokio::select! {
                biased;
                one = events.recv() => {
                    if let Ok(one) = one && tell.send(one).await.is_err() {
                        return;
                    }
                }
                result = &mut work => break result.unwrap_or_else(|_| Err(reply::ours())),
            }
        };
        if let Err(refusal) = &result {
            let _ = tell.send(event(EventKind::Error, Some(refusal.to_string()))).await;
        }
        let deadline = Instant::now() + follow.filter(|_| result.is_ok()).unwrap_or_default();
        if pass_on(events, &tell, deadline, true).await {
            let _ = tell.send(complete(&name)).await;
        }
    });
    reply::lines(lines)
}

/// Passes events on until the deadline, or until a process has ended if that is the end. False when the client has left.
async fn pass_on(
    mut events: broadcast::Receiver<Event>,
    tell: &mpsc::Sender<Event>,
    deadline: Instant,
    ends_with_process: bool,
) -> bool {
    loop {
        let one = tokio::select! {
            biased;
            one = events.recv() => match one {
                Ok(one) => one,
                Err(RecvError::Lagged(count)) => {
                    event(EventKind::Error, Some(format!("{count} lines came too fast and are only in the log file")))
                }
                Err(RecvError::Closed) => return true,
            },
            () = sleep_until(deadline) => return true,
            () = tell.closed() => return false,
        };
        let is_end = ends_with_process && one.kind == EventKind::Exit;
        if tell.send(one).await.is_err() {
            return false;
        }
        if is_end {
            return true;
        }
    }
}

fn event(kind: EventKind, data: Option<String>) -> Event {
    Event { kind, data, exit_code: None, timestamp: Time::now().as_micros() / 1000, log_files: None }
}

fn complete(name: &str) -> Event {
    Event { log_files: Some(LogFiles::of(name)), ..event(EventKind::Complete, None) }
}

fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().rev().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
}

fn time(pairs: &[(String, String)], name: &str, usual: u64, most: Duration) -> Result<Duration, Refusal> {
    let Some(text) = value(pairs, name) else { return Ok(Duration::from_secs(usual)) };
    let bad = || Refusal::bad(format!("`{name}` must be a duration such as 5s or a number of seconds"));
    Ok(duration::parse(text).ok_or_else(bad)?.min(most))
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad(format!("the body cannot be read: {error}")))
}
