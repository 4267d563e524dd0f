//! `/v1/local/sprites/{name}/files…` and `…/diff…`: files of checkpoints and of the present disk, without waking the sprite.
//!
//! Disks are read by a process for each question (`local_vmm::files`): a guest wrote them. What is asked of the present depends on what the sprite does: one that
//! runs is asked itself, past its task as by all who only look; to be compared, it makes an automatic checkpoint. One that sleeps is read from its disk, and what
//! was read is forgotten when the sprite was woken meanwhile.

use super::App;
use super::answer::ApiError;
use super::forward::carry;
use crate::sprites::{NewCheckpoint, Sprite, SpriteError, State, blocking};
use axum::Json;
use axum::body::Body;
use axum::extract::{self, Path, Query, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Limited};
use local_vmm::files::{Answer, Ask, Bytes, Error, LookError, look};
use sprites_api::checkpoint::CURRENT;
use sprites_api::files::{FileError, Listing, MAX_LISTED};
use sprites_api::sprite::Status;
use sprites_api::state::{Diff, FileDiff, FilesAt, SEEN, Seen, Side};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Questions about disks that are worked on at once; each may take a CPU and some memory.
const AT_ONCE: usize = 2;
/// How long a question waits for its turn.
const TURN: Duration = Duration::from_secs(30);
/// How often a disk is looked at anew that changed meanwhile.
const TRIES: usize = 3;
/// How long an agent may take for a listing.
const AGENT: Duration = Duration::from_secs(20);
/// Most bytes of an agent's listing.
const MAX_ANSWER: usize = 16 << 20;

/// Whose turn it is to have disks read.
#[derive(Clone, Debug)]
pub(super) struct Desk(Arc<Semaphore>);

impl Default for Desk {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl From<LookError> for ApiError {
    fn from(error: LookError) -> Self {
        let (status, code) = match &error {
            LookError::Files(error) => match error {
                Error::NotFound(_) => (404, "not_found"),
                Error::NotADirectory(_) | Error::IsADirectory(_) | Error::NotAFile(_) => (400, "invalid"),
                Error::BadPath(_) | Error::Links(_) => (400, "invalid"),
                Error::Moved => (409, "conflict"),
                Error::Damaged(_) | Error::Unsupported(_) | Error::TooMuch(_) => (422, "unreadable"),
                Error::Disk(_) => (500, "internal"),
            },
            LookError::Process(_) => (500, "internal"),
            LookError::Late => (504, "timeout"),
        };
        if status == 500 {
            tracing::error!("{error}");
        }
        Self::new(status, code, error.to_string())
    }
}

type Words = HashMap<String, String>;

fn word(query: &Words, name: &str) -> Result<String, ApiError> {
    let found = query.get(name).filter(|word| !word.is_empty()).cloned();
    found.ok_or_else(|| ApiError::new(400, "invalid", format!("the query lacks {name}")))
}

fn path(query: &Words) -> Result<String, ApiError> {
    // A sprite that runs would take another one from its home on.
    let bad = || ApiError::new(400, "invalid", "path takes an absolute path");
    Some(word(query, "path")?).filter(|path| path.starts_with('/')).ok_or_else(bad)
}

fn state(query: &Words, name: &str) -> String {
    query.get(name).filter(|word| !word.is_empty()).cloned().unwrap_or_else(|| CURRENT.to_owned())
}

fn number(query: &Words, name: &str, usual: u64) -> Result<u64, ApiError> {
    let bad = || ApiError::new(400, "invalid", format!("{name} takes a number of bytes"));
    query.get(name).map_or(Ok(usual), |text| text.parse().map_err(|_| bad()))
}

/// How far the disk of a sprite in that state is its present one.
fn seen(state: &State) -> Seen {
    match state.status {
        // Its memory is gone; what it had flushed is there.
        Status::Cold if state.failure.is_none() => Seen::Whole,
        _ => Seen::AsWritten,
    }
}

/// A sprite and its disks.
struct Looker<'a> {
    app: &'a App,
    sprite: Arc<Sprite>,
}

impl<'a> Looker<'a> {
    fn new(app: &'a App, name: &str) -> Result<Self, ApiError> {
        Ok(Self { app, sprite: app.sprites.get(name)? })
    }

    /// An error when there is no such checkpoint.
    async fn check(&self, id: &str) -> Result<(), ApiError> {
        if id == CURRENT {
            return Ok(());
        }
        let (disks, sprite) = (self.app.sprites.disks.clone(), self.sprite.id().to_owned());
        let known = blocking(move || disks.checkpoints(&sprite)).await?;
        if known.iter().any(|checkpoint| checkpoint.id == id) {
            return Ok(());
        }
        let id: String = id.chars().take(80).collect();
        Err(ApiError::new(404, "not_found", format!("checkpoint not found: {id}")))
    }

    async fn ask(&self, ask: Ask) -> Result<(Answer, Bytes, OwnedSemaphorePermit), ApiError> {
        let turn = timeout(TURN, Arc::clone(&self.app.files.0).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            let sentence = "many look at disks just now; try again in a moment";
            return Err(ApiError::new(429, "too_many", sentence));
        };
        let sprites = &self.app.sprites;
        let volume = sprites.paths.volume(self.sprite.id());
        let (answer, bytes) = look(&sprites.settings.exe, &volume, ask).await?;
        Ok((answer, bytes, turn))
    }

    /// The states to compare. The present of a sprite that runs is made a checkpoint first: only that is of one moment.
    async fn sides(&self, from: &str, to: &str) -> Result<(Side, Side), ApiError> {
        let mut present = None;
        let mut sides = Vec::new();
        for asked in [from, to] {
            self.check(asked).await?;
            let side = match (asked, &present) {
                (CURRENT, Some(present)) => Side::clone(present),
                (CURRENT, None) if self.sprite.state().status == Status::Running => {
                    let new = NewCheckpoint { comment: None, auto: true, memory: false };
                    let made = self.sprite.checkpoint(new).await?;
                    let seen = if made.at_rest { Seen::Whole } else { Seen::AsWritten };
                    Side { asked: asked.into(), at: made.checkpoint.id, seen }
                }
                (CURRENT, None) => {
                    Side { asked: asked.into(), at: asked.into(), seen: seen(&self.sprite.state()) }
                }
                (id, _) => Side { asked: id.into(), at: id.into(), seen: Seen::Whole },
            };
            if asked == CURRENT {
                present = Some(side.clone());
            }
            sides.push(side);
        }
        let to = sides.pop().unwrap_or_default();
        Ok((sides.pop().unwrap_or_default(), to))
    }

    async fn compare(
        &self,
        (from, to): (&str, &str),
        ask: impl Fn(String, String) -> Ask,
    ) -> Result<(Answer, Side, Side), ApiError> {
        let mut tries = Tries::default();
        loop {
            let (from, to) = self.sides(from, to).await?;
            match self.ask(ask(from.at.clone(), to.at.clone())).await {
                Ok((answer, ..)) => return Ok((answer, from, to)),
                Err(error) => tries.again(error)?,
            }
        }
    }

    /// Asks the agent of a sprite that runs; none when it does not.
    async fn ask_agent(
        &self,
        call: &str,
        query: &[(&str, String)],
        range: Option<String>,
    ) -> Result<Option<Response>, ApiError> {
        let Some(machine) = self.sprite.running_machine() else { return Ok(None) };
        let pairs = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let mut request = Request::get(format!("/?{pairs}"));
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        let request =
            request.body(Body::empty()).map_err(|error| ApiError::new(400, "invalid", error.to_string()))?;
        let asked = async {
            let stream = machine.connect().await.map_err(SpriteError::from)?;
            carry(stream, (), &format!("/v1/fs/{call}"), request).await
        };
        let answer = match timeout(AGENT, asked).await {
            Ok(answer) => answer?,
            // It may have fallen asleep a moment ago, and stands still.
            Err(_) if self.sprite.state().status != Status::Running => return Ok(None),
            Err(_) => {
                return Err(ApiError::new(
                    504,
                    "timeout",
                    "the agent inside the sprite does not answer; try again",
                ));
            }
        };
        if answer.status().is_success() {
            return Ok(Some(answer));
        }
        let status = answer.status();
        let told = body(answer).await.ok().and_then(|text| serde_json::from_slice::<FileError>(&text).ok());
        let sentence =
            told.map_or_else(|| format!("the agent inside the sprite answers {status}"), |told| told.error);
        let (status, code) = match status {
            StatusCode::NOT_FOUND => (404, "not_found"),
            status if status.is_client_error() => (400, "invalid"),
            _ => (502, "agent_failed"),
        };
        Err(ApiError::new(status, code, sentence))
    }
}

async fn body(answer: Response) -> Result<bytes::Bytes, ApiError> {
    let broken =
        || ApiError::new(502, "agent_failed", "the agent inside the sprite broke the connection; try again");
    let whole = timeout(AGENT, Limited::new(answer.into_body(), MAX_ANSWER).collect()).await;
    Ok(whole.map_err(|_| broken())?.map_err(|_| broken())?.to_bytes())
}

fn odd() -> ApiError {
    ApiError::new(500, "internal", "the disk's reader answered something else; try again")
}

/// How often something was looked at that changed meanwhile: a sprite that slept was woken.
#[derive(Default)]
struct Tries(usize);

impl Tries {
    /// Whether to look once more after this; the error when not.
    fn again(&mut self, error: ApiError) -> Result<(), ApiError> {
        self.0 += 1;
        if error.is_conflict() && self.0 < TRIES { Ok(()) } else { Err(error) }
    }
}

pub(super) async fn list(
    extract::State(app): extract::State<App>,
    Path(name): Path<String>,
    Query(query): Query<Words>,
) -> Result<Json<FilesAt>, ApiError> {
    let looker = Looker::new(&app, &name)?;
    let (at, path) = (state(&query, "at"), path(&query)?);
    looker.check(&at).await?;
    let mut tries = Tries::default();
    loop {
        match list_once(&looker, &at, &path).await {
            Ok(found) => return Ok(Json(found)),
            Err(error) => tries.again(error)?,
        }
    }
}

async fn list_once(looker: &Looker<'_>, at: &str, path: &str) -> Result<FilesAt, ApiError> {
    if at == CURRENT
        && let Some(answer) = looker.ask_agent("list", &[("path", path.to_owned())], None).await?
    {
        let odd =
            |_| ApiError::new(502, "agent_failed", "the agent inside the sprite answers nonsense; try again");
        let mut listing: Listing = serde_json::from_slice(&body(answer).await?).map_err(odd)?;
        listing.count = listing.count.max(listing.entries.len());
        listing.entries.truncate(MAX_LISTED);
        return Ok(FilesAt { at: at.to_owned(), seen: Seen::Live, listing });
    }
    let seen = if at == CURRENT { seen(&looker.sprite.state()) } else { Seen::Whole };
    match looker.ask(Ask::List { at: at.to_owned(), path: path.to_owned() }).await? {
        (Answer::Listing(listing), ..) => Ok(FilesAt { at: at.to_owned(), seen, listing }),
        _ => Err(odd()),
    }
}

pub(super) async fn read(
    extract::State(app): extract::State<App>,
    Path(name): Path<String>,
    Query(query): Query<Words>,
) -> Result<Response, ApiError> {
    let looker = Looker::new(&app, &name)?;
    let (at, path) = (state(&query, "at"), path(&query)?);
    let (offset, length) = (number(&query, "offset", 0)?, number(&query, "length", u64::MAX)?);
    looker.check(&at).await?;
    let mut tries = Tries::default();
    let (mut response, seen) = loop {
        match read_once(&looker, &at, &path, offset, length).await {
            Ok(found) => break found,
            Err(error) => tries.again(error)?,
        }
    };
    let headers = response.headers_mut();
    headers.insert(SEEN, HeaderValue::from_static(seen.as_str()));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    // A part was asked for by words of the query, not by a range.
    headers.remove(header::CONTENT_RANGE);
    headers.remove(header::ACCEPT_RANGES);
    *response.status_mut() = StatusCode::OK;
    Ok(response)
}

async fn read_once(
    looker: &Looker<'_>,
    at: &str,
    path: &str,
    offset: u64,
    length: u64,
) -> Result<(Response, Seen), ApiError> {
    if at == CURRENT {
        let part = (offset > 0 || length < u64::MAX)
            .then(|| format!("bytes={offset}-{}", offset.saturating_add(length.max(1) - 1)));
        if let Some(answer) = looker.ask_agent("read", &[("path", path.to_owned())], part).await? {
            return Ok((answer, Seen::Live));
        }
    }
    let seen = if at == CURRENT { seen(&looker.sprite.state()) } else { Seen::Whole };
    let ask = Ask::Read { at: at.to_owned(), path: path.to_owned(), offset, length };
    let (Answer::Bytes(head), bytes, turn) = looker.ask(ask).await? else { return Err(odd()) };
    let pieces = futures::stream::unfold(Some((bytes, turn)), |reading| async {
        let (mut bytes, turn) = reading?;
        match bytes.next().await {
            Ok(Some(piece)) => Some((Ok(piece), Some((bytes, turn)))),
            Ok(None) => None,
            // Cut off: fewer bytes come than were promised.
            Err(error) => Some((Err(error), None)),
        }
    });
    let length = [(header::CONTENT_LENGTH, head.length)];
    Ok(((length, Body::from_stream(pieces)).into_response(), seen))
}

pub(super) async fn diff(
    extract::State(app): extract::State<App>,
    Path(name): Path<String>,
    Query(query): Query<Words>,
) -> Result<Json<Diff>, ApiError> {
    let looker = Looker::new(&app, &name)?;
    let (from, to) = (word(&query, "from")?, state(&query, "to"));
    let compared = looker.compare((&from, &to), |from, to| Ask::Diff { from, to }).await?;
    let (Answer::Diff(diff), from, to) = compared else { return Err(odd()) };
    Ok(Json(Diff { from, to, ..diff }))
}

pub(super) async fn diff_file(
    extract::State(app): extract::State<App>,
    Path(name): Path<String>,
    Query(query): Query<Words>,
) -> Result<Json<FileDiff>, ApiError> {
    let looker = Looker::new(&app, &name)?;
    let (from, to, path) = (word(&query, "from")?, state(&query, "to"), path(&query)?);
    let ask = |from, to| Ask::DiffFile { from, to, path: path.clone() };
    let (Answer::FileDiff(diff), from, to) = looker.compare((&from, &to), ask).await? else {
        return Err(odd());
    };
    Ok(Json(FileDiff { from, to, ..diff }))
}
