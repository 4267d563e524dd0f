//! Streams of JSON lines (`application/x-ndjson`), read from hostile servers.

use super::error::{Error, Result};
use bytes::{Buf, Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::time::Duration;

/// A stream of typed lines. Ends after its last line, or after its first error.
pub type Lines<T> = BoxStream<'static, Result<T>>;

/// Longest line, bytes. The API promises 64 KiB; twice that leaves room for servers that count differently.
pub const MAX_LINE: usize = 128 * 1024;

/// How a stream ends well.
pub(crate) enum End<T> {
    /// With a line for which this holds; the server's end before it is an error.
    Line(fn(&T) -> bool),
    /// Never; the server's end is always an error.
    Never,
}

/// Cuts a byte stream into lines and reads each as a `T`.
///
/// `body` yields pieces of the body; `idle` is the longest silence between two of them. Lines that are JSON but no `T`
/// are skipped, because newer servers may add kinds; lines that are not JSON end the stream with an error.
pub(crate) fn read<T, S>(endpoint: String, body: S, idle: Duration, end: End<T>) -> Lines<T>
where
    T: DeserializeOwned + Send + 'static,
    S: Stream<Item = Result<Bytes>> + Send + 'static,
{
    let state = Reader { endpoint, body: body.boxed(), idle, end, cutter: Cutter::default(), over: false };
    futures::stream::unfold(state, |mut state| async move {
        let item = state.next().await?;
        Some((item, state))
    })
    .boxed()
}

struct Reader<T> {
    endpoint: String,
    body: BoxStream<'static, Result<Bytes>>,
    idle: Duration,
    end: End<T>,
    cutter: Cutter,
    over: bool,
}

impl<T: DeserializeOwned> Reader<T> {
    async fn next(&mut self) -> Option<Result<T>> {
        if self.over {
            return None;
        }
        let item = loop {
            match self.cutter.next() {
                Ok(Some(line)) => match self.parse(&line) {
                    Ok(Some(value)) => break Ok(value),
                    Ok(None) => continue,
                    Err(error) => break Err(error),
                },
                Ok(None) => match tokio::time::timeout(self.idle, self.body.next()).await {
                    Err(_) => {
                        break Err(Error::Deadline { endpoint: self.endpoint.clone(), after: self.idle });
                    }
                    Ok(Some(Ok(piece))) => self.cutter.push(piece),
                    Ok(Some(Err(error))) => break Err(error),
                    Ok(None) if self.cutter.finish() => continue,
                    Ok(None) => break Err(Error::Cut { endpoint: self.endpoint.clone() }),
                },
                Err(reason) => break Err(Error::Protocol { endpoint: self.endpoint.clone(), reason }),
            }
        };
        self.over = match (&item, &self.end) {
            (Err(_), _) => true,
            (Ok(value), End::Line(is_last)) => is_last(value),
            (Ok(_), End::Never) => false,
        };
        Some(item)
    }

    fn parse(&self, line: &[u8]) -> Result<Option<T>> {
        match serde_json::from_slice(line) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_data() => {
                tracing::debug!(%error, "a line of an unknown kind was skipped");
                Ok(None)
            }
            Err(error) => {
                let reason = format!("a line of its stream is not JSON: {error}");
                Err(Error::Protocol { endpoint: self.endpoint.clone(), reason })
            }
        }
    }
}

/// Finds line ends across pieces; scans each byte once and never holds more than one line and one piece.
#[derive(Default)]
struct Cutter {
    pieces: VecDeque<Bytes>,
    line: BytesMut,
}

impl Cutter {
    fn push(&mut self, piece: Bytes) {
        self.pieces.push_back(piece);
    }

    /// The last line may lack its newline. True when that gave a line to read.
    fn finish(&mut self) -> bool {
        if self.line.iter().all(u8::is_ascii_whitespace) {
            return false;
        }
        self.pieces.push_back(Bytes::from_static(b"\n"));
        true
    }

    /// Next line that is not blank; `None` when more bytes are needed; an error when the line is too long.
    fn next(&mut self) -> std::result::Result<Option<BytesMut>, String> {
        while let Some(piece) = self.pieces.front_mut() {
            let end = piece.iter().position(|&byte| byte == b'\n');
            let take = end.unwrap_or(piece.len());
            if self.line.len() + take > MAX_LINE {
                return Err(format!("a line of its stream is longer than {} KiB", MAX_LINE / 1024));
            }
            self.line.extend_from_slice(&piece[..take]);
            piece.advance(take + usize::from(end.is_some()));
            if piece.is_empty() {
                self.pieces.pop_front();
            }
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                if !line.iter().all(u8::is_ascii_whitespace) {
                    return Ok(Some(line));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    async fn collect(pieces: &[&str], end: End<Value>) -> Vec<Result<Value>> {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from(piece.to_string()))).collect();
        read("test".into(), futures::stream::iter(pieces), Duration::from_secs(5), end).collect().await
    }

    fn is_done(value: &Value) -> bool {
        value["done"].as_bool() == Some(true)
    }

    #[tokio::test]
    async fn lines_across_pieces_blank_lines_and_a_missing_newline() {
        let got =
            collect(&["{\"a\":", "1}\n\n \r\n{\"a\"", ":2}\n{\"done\":true}"], End::Line(is_done)).await;
        let values: Vec<_> = got.into_iter().map(|item| item.unwrap().to_string()).collect();
        assert_eq!(values, [r#"{"a":1}"#, r#"{"a":2}"#, r#"{"done":true}"#]);
    }

    #[tokio::test]
    async fn nothing_is_read_after_the_last_line() {
        let got = collect(&["{\"done\":true}\nnot json\n"], End::Line(is_done)).await;
        assert_eq!(got.len(), 1);
    }

    #[tokio::test]
    async fn an_early_end_and_an_endless_line_are_errors() {
        let got = collect(&["{\"a\":1}\n"], End::Line(is_done)).await;
        assert!(matches!(got.last(), Some(Err(Error::Cut { .. }))));
        let long = "x".repeat(MAX_LINE + 1);
        let got = collect(&[&long], End::Never).await;
        assert!(matches!(got.as_slice(), [Err(Error::Protocol { .. })]));
    }

    #[tokio::test]
    async fn text_that_is_not_json_ends_the_stream_and_other_json_is_skipped() {
        let pieces = vec![Ok(Bytes::from_static(b"[1]\n\"two\"\n<html>\n\"three\"\n"))];
        let body = futures::stream::iter(pieces);
        let got: Vec<Result<String>> =
            read("t".into(), body, Duration::from_secs(5), End::Never).collect().await;
        assert_eq!(got[0].as_ref().unwrap(), "two");
        assert!(matches!(got[1], Err(Error::Protocol { .. })));
        assert_eq!(got.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_has_a_deadline() {
        let body = futures::stream::pending();
        let got: Vec<Result<Value>> =
            read("t".into(), body, Duration::from_secs(90), End::Never).collect().await;
        assert!(matches!(got.as_slice(), [Err(Error::Deadline { .. })]));
    }
}
