//! What went wrong with a file: a status, a sentence, and the name of the system's error.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use nix::errno::Errno;
use sprites_api::files::FileError;
use std::io;
use std::path::Path;

/// A file call that fails.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    body: Box<FileError>,
}

impl Failure {
    /// The system's error about `path`.
    pub(super) fn of(error: &io::Error, path: &Path) -> Self {
        let errno = match (error.raw_os_error(), error.kind()) {
            (Some(number), _) => Errno::from_raw(number),
            // A library that puts words of its own around an error keeps its kind and loses its number.
            (None, io::ErrorKind::NotFound) => Errno::ENOENT,
            (None, io::ErrorKind::PermissionDenied) => Errno::EACCES,
            (None, io::ErrorKind::NotADirectory) => Errno::ENOTDIR,
            (None, io::ErrorKind::StorageFull) => Errno::ENOSPC,
            (None, io::ErrorKind::ReadOnlyFilesystem) => Errno::EROFS,
            (None, _) => {
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, "EIO", error.to_string(), path);
            }
        };
        Self::system(errno, path)
    }

    /// The same, by its number.
    pub(super) fn system(errno: Errno, path: &Path) -> Self {
        let (status, code) = match errno {
            // Nothing else may be 404: two clients take that status alone for a missing file.
            Errno::ENOENT => (StatusCode::NOT_FOUND, "ENOENT"),
            Errno::EEXIST => (StatusCode::CONFLICT, "EEXIST"),
            Errno::ENOTEMPTY => (StatusCode::CONFLICT, "ENOTEMPTY"),
            Errno::EBUSY => (StatusCode::CONFLICT, "EBUSY"),
            Errno::EACCES | Errno::EROFS => (StatusCode::FORBIDDEN, "EACCES"),
            Errno::EPERM => (StatusCode::FORBIDDEN, "EPERM"),
            Errno::EISDIR => (StatusCode::BAD_REQUEST, "EISDIR"),
            Errno::ENOTDIR => (StatusCode::BAD_REQUEST, "ENOTDIR"),
            Errno::EINVAL | Errno::ELOOP | Errno::ENAMETOOLONG => (StatusCode::BAD_REQUEST, "EINVAL"),
            Errno::ENOSPC | Errno::EDQUOT => (StatusCode::INSUFFICIENT_STORAGE, "ENOSPC"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "EIO"),
        };
        let mut sentence = errno.desc().to_owned();
        // Two clients look for the words of these sentences in lower case.
        if let Some(first) = sentence.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        Self::new(status, code, sentence, path)
    }

    /// A request that cannot be meant.
    pub(super) fn invalid(sentence: impl Into<String>, path: &Path) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "EINVAL", sentence, path)
    }

    /// A body that broke off or stalled.
    pub(super) fn cut_off(path: &Path) -> Self {
        let sentence = "the contents broke off before their end; the file is as it was before";
        Self::new(StatusCode::BAD_REQUEST, "EIO", sentence, path)
    }

    /// A part of the file that it does not have.
    pub(super) fn beyond(path: &Path) -> Self {
        let sentence = "the file has no such part";
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "EINVAL", sentence, path)
    }

    /// Our own fault.
    pub(super) fn ours() -> Self {
        let sentence = "the agent failed at this request";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "EIO", sentence, Path::new(""))
    }

    fn new(status: StatusCode, code: &str, sentence: impl Into<String>, path: &Path) -> Self {
        let path = path.to_string_lossy().into_owned();
        Self { status, body: Box::new(FileError { error: sentence.into(), code: code.into(), path }) }
    }

    /// The sentence.
    pub(super) fn sentence(&self) -> &str {
        &self.body.error
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(*self.body)).into_response()
    }
}
