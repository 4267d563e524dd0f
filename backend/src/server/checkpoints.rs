//! Checkpoints: make, list, look, restore, delete. The wording of the streams is the original's, because tools parse it.

use super::App;
use super::answer::{ApiError, json, lines};
use crate::client::is_obeyed;
use crate::sprites::{NewCheckpoint, Sprite, blocking};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use sprites_api::Time;
use sprites_api::checkpoint::{CURRENT, Checkpoint, CreateCheckpoint, ProgressLine};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Ancestors that are told of a checkpoint. All of them, of all, would be a list as long as the square of their number.
const HISTORY: usize = 100;
/// Lines of one piece of work; far more than it has.
const LINES: usize = 32;

/// The request comes from code inside the sprite. Its checkpoints are of the disk alone: keeping memory costs the host as much as the machine has.
#[derive(Clone, Copy, Debug)]
pub(super) struct FromInside;

pub(super) async fn create(
    State(app): State<App>,
    Path(name): Path<String>,
    inside: Option<Extension<FromInside>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let wish: CreateCheckpoint = json(body)?;
    let sprite = app.sprites.get(&name)?;
    Ok(work(move |tell| async move {
        tell.send(ProgressLine::info("Creating checkpoint...")).await.ok();
        // Others read it on their terminals.
        let comment = wish.comment.map(|text| text.chars().filter(|sign| !is_obeyed(*sign)).collect());
        let new = NewCheckpoint { comment, auto: false, memory: wish.memory && inside.is_none() };
        let made = match sprite.checkpoint(new).await {
            Ok(made) => made,
            Err(error) => return ProgressLine::error(ApiError::from(error).text()),
        };
        if !made.at_rest {
            tell.send(ProgressLine::info(
                "Warning: the sprite's file system did not come to rest; what was written in the last half minute may be missing",
            ))
            .await
            .ok();
        }
        let made = made.checkpoint;
        let created =
            Time::from_micros(made.create_time).timestamp().strftime("%Y-%m-%d %H:%M:%S").to_string();
        for text in [
            "Checkpoint created successfully".to_owned(),
            "\nCheckpoint Details:".to_owned(),
            format!("  ID: {}", made.id),
            format!("  Created: {created}"),
            format!("  Path: checkpoints/{}", made.id),
        ] {
            tell.send(ProgressLine::info(text)).await.ok();
        }
        ProgressLine::complete(format!("Checkpoint {} created successfully", made.id))
    }))
}

pub(super) async fn restore(
    State(app): State<App>,
    Path((name, id)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, ApiError> {
    let sprite = app.sprites.get(&name)?;
    let memory = query.get("memory").is_some_and(|value| value == "true" || value == "1");
    find(&app, &sprite, &id).await?;
    if id == CURRENT {
        return Err(ApiError::new(
            409,
            "conflict",
            "Current is the live disk, not a checkpoint; name a checkpoint instead",
        ));
    }
    Ok(work(move |tell| async move {
        tell.send(ProgressLine::info(format!("Restoring checkpoint {id}..."))).await.ok();
        match sprite.restore(&id, memory).await {
            Ok(restored) => {
                if let Some(undo) = restored.undo {
                    tell.send(ProgressLine::info(format!("What was replaced is kept as {undo}"))).await.ok();
                }
                ProgressLine::complete(format!("Checkpoint {id} restored successfully"))
            }
            Err(error) => ProgressLine::error(ApiError::from(error).text()),
        }
    }))
}

/// Work that is told line by line. It goes on when the caller goes away: half a checkpoint helps nobody.
fn work<F>(run: impl FnOnce(mpsc::Sender<ProgressLine>) -> F) -> Response
where
    F: Future<Output = ProgressLine> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(LINES);
    let task = run(sender.clone());
    tokio::spawn(async move {
        let last = task.await;
        sender.send(last).await.ok();
    });
    lines(ReceiverStream::new(receiver))
}

pub(super) async fn list(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Vec<Checkpoint>>, ApiError> {
    let sprite = app.sprites.get(&name)?;
    let auto = query.get("includeAuto").is_some_and(|value| value == "true" || value == "1");
    let line = query.get("history").filter(|line| !line.is_empty()).cloned();
    Ok(Json(look(&app, &sprite, move |records| records.list(line.as_deref(), auto)).await?))
}

pub(super) async fn get(
    State(app): State<App>,
    Path((name, id)): Path<(String, String)>,
) -> Result<Json<Checkpoint>, ApiError> {
    let sprite = app.sprites.get(&name)?;
    Ok(Json(find(&app, &sprite, &id).await?))
}

pub(super) async fn delete(
    State(app): State<App>,
    Path((name, id)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let sprite = app.sprites.get(&name)?;
    find(&app, &sprite, &id).await?;
    if id == CURRENT {
        return Err(ApiError::new(
            409,
            "conflict",
            "Current is the live disk; destroy the sprite to be rid of it",
        ));
    }
    sprite.forget(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(app: &App, sprite: &Sprite, id: &str) -> Result<Checkpoint, ApiError> {
    let wanted = id.to_owned();
    let found = look(app, sprite, move |list| list.one(&wanted)).await?;
    found.ok_or_else(|| {
        let id: String = id.chars().take(80).collect();
        ApiError::new(404, "not_found", format!("checkpoint not found: {id}"))
    })
}

/// Looks at the disk's own records and wakes nobody. There may be thousands, so that it is done aside.
async fn look<T: Send + 'static>(
    app: &App,
    sprite: &Sprite,
    look: impl FnOnce(&Records) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let (sprites, id) = (Arc::clone(&app.sprites), sprite.id().to_owned());
    let looked = blocking(move || {
        let records = Records::new(sprites.disks.checkpoints(&id)?, sprites.disks.parent(&id)?);
        Ok(look(&records))
    });
    Ok(looked.await?)
}

/// What a disk has written down of its checkpoints.
struct Records {
    /// In the order in which they were made.
    all: Vec<vmm_disk::Checkpoint>,
    /// What the live disk stands on.
    parent: Option<String>,
    /// Place of each in the list.
    places: HashMap<String, usize>,
}

impl Records {
    fn new(all: Vec<vmm_disk::Checkpoint>, parent: Option<String>) -> Self {
        let places = all.iter().enumerate().map(|(place, one)| (one.id.clone(), place)).collect();
        Self { all, parent, places }
    }

    fn stored(&self, id: &str) -> Option<&vmm_disk::Checkpoint> {
        self.places.get(id).and_then(|place| self.all.get(*place))
    }

    /// What it comes from, the nearest first, as far as [`HISTORY`] goes.
    fn history(&self, parent: Option<&String>) -> Option<Vec<String>> {
        let line: Vec<String> = std::iter::successors(parent, |id| self.stored(id)?.parent.as_ref())
            .take(HISTORY)
            .cloned()
            .collect();
        (!line.is_empty()).then_some(line)
    }

    fn shown(&self, one: &vmm_disk::Checkpoint) -> Checkpoint {
        Checkpoint {
            id: one.id.clone(),
            create_time: Time::from_micros(one.create_time),
            comment: one.comment.clone(),
            history: self.history(one.parent.as_ref()),
            is_auto: one.is_auto,
            source_id: one.parent.clone(),
            health: None,
        }
    }

    /// The live disk as one of them.
    fn current(&self) -> Checkpoint {
        Checkpoint {
            id: CURRENT.into(),
            create_time: Time::now(),
            comment: None,
            history: self.history(self.parent.as_ref()),
            is_auto: false,
            source_id: self.parent.clone(),
            health: None,
        }
    }

    fn one(&self, id: &str) -> Option<Checkpoint> {
        if id == CURRENT { Some(self.current()) } else { self.stored(id).map(|one| self.shown(one)) }
    }

    /// Those that come from `line`, or all; newest first, led by the live disk.
    fn list(&self, line: Option<&str>, auto: bool) -> Vec<Checkpoint> {
        // Parents were made before their children.
        let mut of_line: HashSet<&str> = line.into_iter().collect();
        for one in &self.all {
            if one.parent.as_deref().is_some_and(|parent| of_line.contains(parent)) {
                of_line.insert(&one.id);
            }
        }
        let fits = |id: &str| line.is_none() || of_line.contains(id);
        let current = self.parent.as_deref().map_or(line.is_none(), fits) || line == Some(CURRENT);
        let rest = self.all.iter().rev().filter(|one| (auto || !one.is_auto) && fits(&one.id));
        let current = current.then(|| self.current());
        current.into_iter().chain(rest.map(|one| self.shown(one))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(count: usize) -> Records {
        let one = |number: usize| vmm_disk::Checkpoint {
            id: format!("v{number}"),
            create_time: number as i64,
            comment: None,
            parent: number.checked_sub(1).map(|before| format!("v{before}")),
            is_auto: number % 2 == 1,
        };
        Records::new((0..count).map(one).collect(), Some(format!("v{}", count - 1)))
    }

    #[test]
    fn lists_and_lines() {
        let mut records = records(4);
        // v3 comes from v1 after a restore, and so does the live disk.
        records.all[3].parent = Some("v1".into());
        let ids =
            |line, auto| -> Vec<String> { records.list(line, auto).into_iter().map(|one| one.id).collect() };
        assert_eq!(ids(None, true), ["Current", "v3", "v2", "v1", "v0"]);
        assert_eq!(ids(None, false), ["Current", "v2", "v0"]);
        assert_eq!(ids(Some("v2"), true), ["v2"]);
        assert_eq!(ids(Some("v1"), true), ["Current", "v3", "v2", "v1"]);
        assert!(ids(Some("v9"), true).is_empty());
        assert_eq!(records.one("v3").unwrap().history.unwrap(), ["v1", "v0"]);
        assert_eq!(records.one(CURRENT).unwrap().source_id.as_deref(), Some("v3"));
        assert!(records.one("v0").unwrap().history.is_none() && records.one("v9").is_none());
    }

    #[test]
    fn a_long_line_is_told_as_far_as_it_is_looked_at() {
        let records = records(5000);
        assert_eq!(records.one("v4999").unwrap().history.unwrap().len(), HISTORY);
        assert_eq!(records.list(None, true).len(), 5001);
        assert_eq!(records.list(Some("v0"), true).len(), 5001);
    }
}
