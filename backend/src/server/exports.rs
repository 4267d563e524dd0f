//! `/v1/local/sprites/{name}/export` and `/v1/local/import`: sprites as files for other machines.
//!
//! A file may have any length, and so may the work. What has a deadline is silence: of a client that takes nothing, or sends nothing
//! ([`BODY`](super::BODY)).

use super::App;
use super::answer::ApiError;
use crate::sprites::ExportWish;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use sprites_api::extension::CHECKPOINT_HEADER;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

const CHECKPOINT: HeaderName = HeaderName::from_static(CHECKPOINT_HEADER);
/// Exports and imports that go on at once; each takes a CPU.
const AT_ONCE: usize = 4;
/// Pieces that wait to be taken by the other side.
const PIECES: usize = 8;
/// How long a client may take nothing: it may hand it on by a slow way.
const STILL: Duration = Duration::from_secs(600);
/// How long a body is still read after its import failed: a client hears the answer when it has sent what it has.
const DRAIN: Duration = Duration::from_secs(10);

/// Who may export or import now.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Turns {
    fn take(&self) -> Result<tokio::sync::OwnedSemaphorePermit, ApiError> {
        let sentence =
            format!("{AT_ONCE} exports and imports go on, and that is the most; try again when one is done");
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| ApiError::new(429, "too_many", sentence))
    }
}

fn flag(query: &HashMap<String, String>, name: &str) -> bool {
    query.get(name).is_some_and(|value| value == "true" || value == "1")
}

fn word(query: &HashMap<String, String>, name: &str) -> Option<String> {
    query.get(name).filter(|word| !word.is_empty()).cloned()
}

pub(super) async fn export(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, ApiError> {
    let turn = app.exports.take()?;
    let wish = ExportWish {
        checkpoint: word(&query, "checkpoint"),
        since: word(&query, "since"),
        whole: flag(&query, "whole"),
    };
    let export = app.sprites.export(&name, wish).await?;
    let checkpoint = HeaderValue::from_str(export.checkpoint())
        .map_err(|_| ApiError::new(500, "internal", "the checkpoint's id cannot be told"))?;
    let (sender, receiver) = mpsc::channel(PIECES);
    let out = Outlet { sender, runtime: Handle::current() };
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        if let Err(error) = export.write(out.clone()) {
            tracing::warn!("the export of {name} ended early: {error}");
            // Cut off, so that nobody takes it for whole. The client may be gone.
            let _ = out.send(Err(io::Error::other(error.to_string())));
        }
    });
    let headers =
        [(header::CONTENT_TYPE, HeaderValue::from_static(vmm_archive::MEDIA_TYPE)), (CHECKPOINT, checkpoint)];
    Ok((headers, Body::from_stream(ReceiverStream::new(receiver))).into_response())
}

/// The body of an answer, to be written by a thread.
#[derive(Clone)]
struct Outlet {
    sender: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
}

impl Outlet {
    fn send(&self, piece: io::Result<Bytes>) -> io::Result<()> {
        match self.runtime.block_on(timeout(STILL, self.sender.send(piece))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client went away")),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the client took nothing for {} s", STILL.as_secs()),
            )),
        }
    }
}

impl Write for Outlet {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.send(Ok(Bytes::copy_from_slice(piece)))?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) async fn import(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
    body: Body,
) -> Result<Response, ApiError> {
    let _turn = app.exports.take()?;
    let (sender, receiver) = mpsc::channel(PIECES);
    let input = Inlet { receiver, rest: Some(Bytes::new()) };
    let wanted = Wanted(Arc::new(AtomicBool::new(true)));
    let import = app.sprites.import(word(&query, "name"), input, Arc::clone(&wanted.0));
    let (made, ()) = tokio::join!(import, carry(body, sender));
    Ok((StatusCode::CREATED, Json(made?.view())).into_response())
}

/// Whether somebody waits for an import: dropped with the call, it says no.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Hands on what comes of a body, and its end: nothing. A body that breaks off has no end.
async fn carry(mut body: Body, sender: mpsc::Sender<io::Result<Option<Bytes>>>) {
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = sender.closed() => break,
        };
        let (piece, is_last) = match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(piece) => (Ok(Some(piece)), false),
                Err(_) => continue,
            },
            Some(Err(error)) => (Err(io::Error::other(error)), true),
            None => (Ok(None), true),
        };
        if sender.send(piece).await.is_err() {
            break;
        }
        if is_last {
            return;
        }
    }
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = timeout(DRAIN, rest).await;
}

/// The body of a request, to be read by a thread.
struct Inlet {
    receiver: mpsc::Receiver<io::Result<Option<Bytes>>>,
    /// What came and was not read yet; none behind the end.
    rest: Option<Bytes>,
}

impl Read for Inlet {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(rest) = &mut self.rest else { return Ok(0) };
            if !rest.is_empty() {
                let part = rest.split_to(rest.len().min(buffer.len()));
                buffer[..part.len()].copy_from_slice(&part);
                return Ok(part.len());
            }
            let broken = || io::Error::new(io::ErrorKind::ConnectionAborted, "the client went away");
            self.rest = match self.receiver.blocking_recv().ok_or_else(broken)? {
                Ok(piece) => piece,
                Err(error) => {
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, error));
                }
            };
        }
    }
}
