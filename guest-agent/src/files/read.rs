//! A file's bytes.

use super::blocking;
use super::failure::Failure;
use super::place::Wish;
use axum::body::Body;
use axum::extract::Query;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use nix::errno::Errno;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

/// Bytes read from the disk at once.
const PIECE: usize = 256 << 10;

/// `GET /v1/fs/read`.
pub(super) async fn run(
    Query(pairs): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let wish = Wish::new(pairs);
    let path = wish.path()?;
    let asked = match headers.get(header::RANGE).and_then(|value| value.to_str().ok()).and_then(header_range)
    {
        Some(range) => Some(range),
        None => query_range(&wish)?,
    };
    let opened = path.clone();
    let opened = blocking(move || open(&opened)).await?;
    answer(path, opened, asked)
}

/// A part of a file as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// From a byte to another, which belongs to it, or to the end.
    From(u64, Option<u64>),
    /// So many at the end.
    Last(u64),
}

impl Part {
    /// First byte and number of bytes in a file of `size` bytes; nothing if it has no such part.
    fn within(self, size: u64) -> Option<(u64, u64)> {
        match self {
            Self::From(first, _) if first >= size => None,
            Self::From(first, last) => {
                let end = last.map_or(size, |last| last.saturating_add(1).min(size));
                (end > first).then_some((first, end - first))
            }
            Self::Last(0) => None,
            Self::Last(count) => {
                let count = count.min(size);
                (count > 0).then_some((size - count, count))
            }
        }
    }
}

/// RFC 9110, section 14.1.2. What is not one range of bytes is not a range, and the whole file is the answer.
fn header_range(text: &str) -> Option<Part> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    match (first.trim(), last.trim()) {
        ("", last) => Some(Part::Last(last.parse().ok()?)),
        (first, "") => Some(Part::From(first.parse().ok()?, None)),
        (first, last) => {
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then_some(Part::From(first, Some(last)))
        }
    }
}

fn query_range(wish: &Wish) -> Result<Option<Part>, Failure> {
    Ok(match (wish.number("start")?, wish.number("end")?) {
        (None, None) => None,
        (start, end) => Some(Part::From(start.unwrap_or(0), end)),
    })
}

/// A file that can be read.
struct Opened {
    file: File,
    size: u64,
    /// What was read of it already: files of the kernel say that they are empty, and are not, and some cannot be read at all.
    head: Vec<u8>,
}

fn open(path: &Path) -> Result<Opened, Failure> {
    let failed = |error: std::io::Error| Failure::of(&error, path);
    // Opening a pipe that nobody writes into would wait for ever.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let no_file = || Failure::invalid("it is a device, pipe or socket, and only files can be read", path);
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let mut file = opened.map_err(|error| match error.raw_os_error() {
        // Sockets, and devices that are not there.
        Some(libc::ENXIO | libc::ENODEV) => no_file(),
        _ => failed(error),
    })?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(Failure::system(Errno::EISDIR, path));
    }
    if !metadata.is_file() {
        return Err(no_file());
    }
    let size = metadata.len();
    let mut head = Vec::new();
    if size == 0 {
        head.resize(PIECE, 0);
        let unreadable = |_| Failure::invalid("the system does not let it be read", path);
        let count = file.read(&mut head).map_err(unreadable)?;
        head.truncate(count);
    }
    Ok(Opened { file, size, head })
}

fn answer(path: PathBuf, opened: Opened, asked: Option<Part>) -> Result<Response, Failure> {
    let Opened { mut file, size, head } = opened;
    let kind = (header::CONTENT_TYPE, "application/octet-stream".to_owned());
    let ranges = (header::ACCEPT_RANGES, "bytes".to_owned());
    let Some(part) = asked else {
        if !head.is_empty() {
            let first = futures::stream::iter([Ok(Bytes::from(head))]);
            return Ok(([kind], Body::from_stream(first.chain(stream(file, u64::MAX)))).into_response());
        }
        let length = (header::CONTENT_LENGTH, size.to_string());
        return Ok(([kind, ranges, length], Body::from_stream(stream(file, size))).into_response());
    };
    let Some((first, count)) = part.within(size) else {
        let has = (header::CONTENT_RANGE, format!("bytes */{size}"));
        return Ok(([has], Failure::beyond(&path)).into_response());
    };
    file.seek(SeekFrom::Start(first)).map_err(|error| Failure::of(&error, &path))?;
    let is = (header::CONTENT_RANGE, format!("bytes {first}-{}/{size}", first + count - 1));
    let length = (header::CONTENT_LENGTH, count.to_string());
    Ok((StatusCode::PARTIAL_CONTENT, [kind, ranges, is, length], Body::from_stream(stream(file, count)))
        .into_response())
}

fn stream(file: File, count: u64) -> ReaderStream<tokio::io::Take<tokio::fs::File>> {
    let mut file = tokio::fs::File::from_std(file);
    file.set_max_buf_size(PIECE);
    ReaderStream::with_capacity(file.take(count), PIECE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_file() {
        let of = |text: &str| header_range(text).map(|part| part.within(10));
        assert_eq!(of("bytes=0-4"), Some(Some((0, 5))));
        assert_eq!(of("bytes=4-"), Some(Some((4, 6))));
        assert_eq!(of("bytes=-3"), Some(Some((7, 3))));
        assert_eq!(of("bytes=-30"), Some(Some((0, 10))));
        assert_eq!(of("bytes=8-100"), Some(Some((8, 2))));
        assert_eq!(of("bytes=10-"), Some(None));
        assert_eq!(of("bytes=-0"), Some(None));
        assert_eq!(of("bytes=0-18446744073709551615"), Some(Some((0, 10))));
        for text in
            ["bytes=5-4", "bytes=a-b", "bytes=-", "bytes=0-1,3-4", "lines=1-2", "bytes=99999999999999999999-"]
        {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(Part::From(3, Some(2)).within(10), None);
        assert_eq!(Part::Last(5).within(0), None);
    }
}
