//! Questions on a stream: each preceded by its length in two bytes, answers likewise, one after the other.

use super::Question;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long a client may be silent.
const IDLE: Duration = Duration::from_secs(20);
/// Longest question. One name and its options take much less.
const LONGEST: usize = 4096;

/// Answers questions until the client has no more.
pub(crate) async fn serve(mut stream: UnixStream, questions: mpsc::Sender<Question>) {
    // Whatever goes wrong ends the stream, which the client sees.
    let _ = answer_all(&mut stream, questions).await;
}

async fn answer_all(stream: &mut UnixStream, questions: mpsc::Sender<Question>) -> io::Result<()> {
    loop {
        let length = usize::from(timeout(IDLE, stream.read_u16()).await??);
        if length > LONGEST {
            return Ok(());
        }
        let mut bytes = vec![0; length];
        timeout(IDLE, stream.read_exact(&mut bytes)).await??;
        let (answers, answer) = oneshot::channel();
        if questions.send(Question { bytes, answers }).await.is_err() {
            return Ok(());
        }
        let Ok(answer) = answer.await else { return Ok(()) };
        let Ok(length) = u16::try_from(answer.len()) else { return Ok(()) };
        timeout(IDLE, stream.write_all(&[&length.to_be_bytes(), &answer[..]].concat())).await??;
    }
}
