//! The answer of `POST exec` on its way to a client.
//!
//! Its frames have no length. One official client takes each piece that its HTTP library hands it for a frame, so a frame must be one chunk and
//! arrive alone. What comes out of a machine arrives as it likes; so the agent gives lengths, and the pauses are made here, next to the client.

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use sprites_api::exec::{MAX_FRAME, stream};
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tokio_util::codec::LengthDelimitedCodec;
use tokio_util::io::StreamReader;

/// Between two frames; 5 ms were always enough in tests with the client in question, 2 ms were not.
const PAUSE: Duration = Duration::from_millis(10);
/// Before the last frame, which that client cannot do without: longer, for a client that has little of the CPU.
const LAST: Duration = Duration::from_millis(25);

type Frames = Pin<Box<dyn futures::Stream<Item = io::Result<Bytes>> + Send>>;

/// Frames with lengths in; each frame alone, after a pause, out. The sprite stays awake until the last one has gone through.
pub(super) fn paced(body: Body, guard: impl Send + 'static) -> Body {
    let bytes = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
    let frames = LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_read(bytes);
    let frames: Frames = Box::pin(frames.map_ok(bytes::BytesMut::freeze));
    Body::from_stream(futures::stream::unfold(
        (frames, guard, None::<Instant>),
        |(mut frames, guard, sent)| async move {
            let frame = frames.next().await?;
            let last = frame.as_ref().is_ok_and(|frame| frame.first() == Some(&stream::EXIT));
            if let Some(sent) = sent {
                sleep_until(sent + if last { LAST } else { PAUSE }).await;
            }
            Some((frame, (frames, guard, Some(Instant::now()))))
        },
    ))
}
