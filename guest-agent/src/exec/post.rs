//! A command over plain HTTP: `POST /v1/exec`. The answer's body is a row of frames like those of the WebSocket.
//!
//! Frames have no length. One client takes each piece that its HTTP library hands it for one frame, so each frame is one
//! chunk, and the next one follows only after a pause in which the first has surely been read by itself. Pauses do not survive the way out of
//! the machine, so the host asks for lengths instead and paces by itself.

use super::query::{self, Pairs};
use super::{BODY_LIMIT, Shared, json, start};
use crate::reply::Refusal;
use crate::session::log::Next;
use crate::session::{Attachment, Session};
use axum::body::{Body, BodyDataStream};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use sprites_api::exec::{FRAME_LENGTHS, stream};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Payload of one frame at most.
const FRAME: usize = 60 << 10;
/// Pause between frames; 5 ms were always enough in tests with the client in question, 2 ms were not.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) async fn run(
    State(agent): Shared,
    Query(pairs): Query<Pairs>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let names_none = !pairs.iter().any(|(key, _)| key == "cmd" || key == "path");
    let body = if names_none {
        // Then the body may.
        let bytes = axum::body::to_bytes(body, BODY_LIMIT).await.map_err(|_| {
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too large or broke off")
        })?;
        // A body that is meant as input is one for the usual shell.
        let is_input = pairs.iter().any(|(key, value)| key == "stdin" && value == "true");
        match json::read(&bytes) {
            Ok(wish) => return json::run(&agent, wish).await,
            Err(_) if is_input => Body::from(bytes),
            Err(why) => return Err(Refusal::bad(why)),
        }
    } else {
        body
    };
    let mut request = query::start(&pairs)?;
    let lengths = headers.contains_key(FRAME_LENGTHS);
    // There is no way back to such a session, so it must not outlive its client.
    request.tty = false;
    request.linger = Some(Duration::ZERO);
    let wants_body = request.stdin;
    let frames = match start(&agent, request).await? {
        Ok(attachment) => {
            let upload = wants_body.then(|| {
                tokio::spawn(upload(attachment.session.clone(), body.into_data_stream())).abort_handle()
            });
            Frames { source: Source::Live(Box::new(attachment)), upload, lengths, not_before: Instant::now() }
        }
        Err(stillborn) => {
            let mut message = vec![stream::STDERR];
            message.extend_from_slice(stillborn.message.as_bytes());
            message.push(b'\n');
            Frames {
                source: Source::Message(message, stillborn.code),
                upload: None,
                lengths,
                not_before: Instant::now(),
            }
        }
    };
    let body = Body::from_stream(futures::stream::unfold(frames, |mut frames| async {
        let frame = frames.next().await?;
        Some((Ok::<_, Infallible>(frame), frames))
    }));
    let mut answer = ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response();
    if lengths {
        answer.headers_mut().insert(FRAME_LENGTHS, HeaderValue::from_static("1"));
    }
    Ok(answer)
}

/// Request body to standard input.
async fn upload(session: Arc<Session>, mut body: BodyDataStream) {
    while let Some(Ok(bytes)) = body.next().await {
        session.write(bytes).await;
    }
    session.end_input();
}

struct Frames {
    source: Source,
    upload: Option<AbortHandle>,
    /// Frames are told apart by their lengths, and need no pause.
    lengths: bool,
    not_before: Instant,
}

enum Source {
    Live(Box<Attachment>),
    Message(Vec<u8>, u8),
    Exit(u8),
    Done,
}

impl Frames {
    async fn next(&mut self) -> Option<Bytes> {
        // The pause comes first, so that output of the meantime travels in one frame.
        tokio::time::sleep_until(self.not_before).await;
        let (frame, then) = match &mut self.source {
            Source::Live(attachment) => match attachment.next(FRAME, true).await {
                Next::Data(frame) => (frame, None),
                Next::End(code) => (vec![stream::EXIT, code], Some(Source::Done)),
                // Cannot come to a lone client, and no other can attach in time to make it lag unseen; an exit frame
                // with a code that no success has is the honest end.
                Next::Lost => (vec![stream::EXIT, u8::MAX], Some(Source::Done)),
            },
            Source::Message(message, code) => (std::mem::take(message), Some(Source::Exit(*code))),
            Source::Exit(code) => (vec![stream::EXIT, *code], Some(Source::Done)),
            Source::Done => return None,
        };
        if let Some(then) = then {
            self.source = then;
        }
        if self.lengths {
            let mut whole = u32::try_from(frame.len()).unwrap_or(0).to_be_bytes().to_vec();
            whole.extend(frame);
            return Some(whole.into());
        }
        self.not_before = Instant::now() + PAUSE;
        Some(frame.into())
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        if let Some(upload) = &self.upload {
            upload.abort();
        }
    }
}
