//! `/v1/local/sprites/{name}/inside` and the logs of its services: looking into a sprite that is not to notice.
//!
//! Connections to the machine are made past the sprite's task, as the meter's are: they count as no use.

use super::App;
use super::answer::{ApiError, HEARTBEAT, lines};
use super::forward::carry;
use crate::client::{End, Error, Lines, read_lines};
use crate::sprites::{Sprite, SpriteError, State};
use axum::Json;
use axum::body::Body;
use axum::extract::{self, Path, Query, Request};
use axum::http::StatusCode;
use axum::response::Response;
use futures::{StreamExt, TryStreamExt};
use local_vmm::MachineHandle;
use sprites_api::Time;
use sprites_api::inside::{Inside, LINES, MAX_LINES};
use sprites_api::services::{Event, EventKind, check_name};
use sprites_api::sprite::Status;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// Most who follow logs of one sprite at once; its agent has a few hundred connections for everybody.
const FOLLOWERS: usize = 16;
/// How long an agent follows a log for one request, seconds; then its answer is complete.
const FOLLOW: u64 = 3600;
/// An agent that follows for that long has been silent for too long.
const SILENCE: Duration = Duration::from_secs(2 * FOLLOW);
/// A sprite that is being stopped ends its agent this long before it is stopped, at most.
const ENDING: Duration = Duration::from_secs(25);

pub(super) async fn inside(
    extract::State(app): extract::State<App>,
    Path(name): Path<String>,
) -> Result<Json<Inside>, ApiError> {
    Ok(Json(app.sprites.get(&name)?.look().await))
}

pub(super) async fn logs(
    extract::State(app): extract::State<App>,
    Path((name, service)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, ApiError> {
    let sprite = app.sprites.get(&name)?;
    let count = match query.get("lines").map(|text| text.parse::<usize>()) {
        None => LINES,
        Some(Ok(count)) => count.min(MAX_LINES),
        Some(Err(_)) => return Err(ApiError::new(400, "invalid", "lines takes a number")),
    };
    check_name(&service).map_err(|_| unknown(&service))?;
    let place = sprite.following.take(FOLLOWERS).ok_or_else(|| {
        let sentence = format!("{FOLLOWERS} already follow logs of {name}; close one of them");
        ApiError::new(429, "too_many", sentence)
    })?;
    let mut state = sprite.watch();
    let opened = match sprite.running_machine() {
        Some(machine) => tokio::select! {
            events = open(&machine, &service, count) => Some(events?),
            // Its agent stands still.
            _ = left(&mut state) => None,
        },
        None => None,
    };
    Ok(match opened {
        Some(events) => lines(follow(Follower { name, events, state }, place)),
        None => lines(futures::stream::iter([event(EventKind::Asleep, asleep(&name, &sprite))])),
    })
}

/// Asks the agent for the last lines of a log and all that follow.
async fn open(machine: &MachineHandle, service: &str, count: usize) -> Result<Lines<Event>, ApiError> {
    let stream = machine.connect().await.map_err(SpriteError::from)?;
    let request = Request::get(format!("/?lines={count}&duration={FOLLOW}s")).body(Body::empty());
    let request = request.map_err(|error| ApiError::new(500, "internal", error.to_string()))?;
    let answer = carry(stream, (), &format!("/v1/services/{service}/logs"), request).await?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Err(unknown(service)),
        status => {
            let sentence = format!("the agent inside the sprite answers {status}; try again");
            return Err(ApiError::new(502, "agent_failed", sentence));
        }
    }
    let pieces = answer.into_body().into_data_stream();
    let pieces = pieces.map_err(|error| Error::Setup(error.to_string()));
    let last = |event: &Event| event.kind == EventKind::Complete;
    Ok(read_lines("the agent".to_owned(), pieces, SILENCE, End::Line(last)))
}

/// Somebody who follows a log.
struct Follower {
    name: String,
    events: Lines<Event>,
    state: watch::Receiver<State>,
}

/// What the agent tells, a sign of life now and then, and last why there is no more. The place is free when that is over.
fn follow<P: Send + 'static>(
    follower: Follower,
    place: P,
) -> impl futures::Stream<Item = Event> + Send + 'static {
    futures::stream::unfold(Some((follower, place)), |following| async {
        let (mut follower, place) = following?;
        let next = tokio::select! {
            biased;
            sentence = left(&mut follower.state) => Err(event(EventKind::Asleep, follower.ended(sentence))),
            next = follower.events.next() => match next {
                Some(Ok(told)) if told.kind == EventKind::Complete => Err(Event { log_files: None, ..told }),
                Some(Ok(told)) => Ok(told),
                Some(Err(_)) | None => Err(follower.cut().await),
            },
            () = tokio::time::sleep(HEARTBEAT) => Ok(event(EventKind::Keepalive, None)),
        };
        Some(match next {
            // That is ours to say.
            Ok(told) if told.kind == EventKind::Asleep => {
                (event(EventKind::Keepalive, None), Some((follower, place)))
            }
            Ok(told) => (Event { log_files: None, ..told }, Some((follower, place))),
            Err(last) => (last, None),
        })
    })
}

impl Follower {
    /// The agent tells no more: because the sprite is being stopped, or for a reason of its own.
    async fn cut(&mut self) -> Event {
        match timeout(ENDING, left(&mut self.state)).await {
            Ok(reason) => event(EventKind::Asleep, self.ended(reason)),
            Err(_) => {
                let sentence = format!("the agent inside {} ended the log; follow it again", self.name);
                event(EventKind::Error, Some(sentence))
            }
        }
    }

    fn ended(&self, reason: Option<String>) -> Option<String> {
        Some(match reason {
            Some(reason) => format!("{} is {reason}", self.name),
            None => format!("{} is gone", self.name),
        })
    }
}

/// Waits until the sprite does not run; tells how it is and why, or nothing when there is no such sprite any more.
async fn left(state: &mut watch::Receiver<State>) -> Option<String> {
    let state = state.wait_for(|state| state.status != Status::Running).await.ok()?;
    Some(format!("{}: {}", state.status.as_str(), state.reason))
}

fn asleep(name: &str, sprite: &Sprite) -> Option<String> {
    let state = sprite.state();
    Some(format!("{name} is {}: {}", state.status.as_str(), state.reason))
}

fn event(kind: EventKind, data: Option<String>) -> Event {
    Event { kind, data, exit_code: None, timestamp: Time::now().as_micros() / 1000, log_files: None }
}

fn unknown(service: &str) -> ApiError {
    let service: String = service.chars().take(64).collect();
    ApiError::new(404, "not_found", format!("service not found: {service}"))
}
