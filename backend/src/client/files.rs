//! Files of a sprite.

use super::error::{Error, Result};
use super::transport::Call;
use super::{Client, Lines};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use reqwest::Method;
use serde::Serialize;
use sprites_api::files::{ChangeMode, Copied, Deleted, Listing, Mode, Transfer, Written};
use std::io;
use std::time::Duration;

/// How long a transfer may stand still.
const STILL: Duration = Duration::from_secs(60);

/// How a file is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteOptions {
    /// Its permissions; as they are, or as usual.
    pub mode: Option<Mode>,
    /// Whether directories that are missing are made.
    pub parents: bool,
}

impl Client {
    /// What a directory holds, with everything below if that is wanted; or the one entry of anything else.
    pub async fn list_files(&self, name: &str, path: &str, recursive: bool) -> Result<Listing> {
        let mut call = self.file_call(Method::GET, name, "list", path)?;
        if recursive {
            call.url.query_pairs_mut().append_pair("recursive", "true");
        }
        self.transport.json(self.long(call)).await
    }

    /// A file's bytes as they come. The first error ends them.
    pub async fn read_file(
        &self,
        name: &str,
        path: &str,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + Unpin + use<>> {
        let mut call = self.file_call(Method::GET, name, "read", path)?;
        call.accept = "*/*";
        let label = self.transport.label();
        let pieces = self.transport.stream(self.long(call)).await?;
        Ok(moving(pieces, STILL, label))
    }

    /// Writes a file from a stream of `length` bytes; the old one stays until all have arrived.
    pub async fn write_file(
        &self,
        name: &str,
        path: &str,
        options: WriteOptions,
        length: Option<u64>,
        bytes: impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
    ) -> Result<Written> {
        let mut call = self.file_call(Method::PUT, name, "write", path)?;
        if options.parents {
            call.url.query_pairs_mut().append_pair("mkdirParents", "true");
        }
        if let Some(mode) = options.mode {
            call.url.query_pairs_mut().append_pair("mode", &mode.to_string());
        }
        let answer = self.transport.upload(call, length, bytes).await?;
        serde_json::from_slice(&answer).map_err(|error| self.transport.protocol(error.to_string()))
    }

    /// Deletes a file or an empty directory, or a whole one.
    pub async fn delete_file(&self, name: &str, path: &str, recursive: bool) -> Result<Deleted> {
        let mut call = self.file_call(Method::DELETE, name, "delete", path)?;
        if recursive {
            call.url.query_pairs_mut().append_pair("recursive", "true");
        }
        self.transport.json(self.long(call)).await
    }

    /// Gives a file another name.
    pub async fn rename_file(&self, name: &str, source: &str, dest: &str) -> Result<()> {
        let wish = Transfer { source: source.into(), dest: dest.into(), ..Transfer::default() };
        self.file_post(name, "rename", &wish).await.map(drop)
    }

    /// Copies a file, or a directory with everything below.
    pub async fn copy_file(&self, name: &str, source: &str, dest: &str, recursive: bool) -> Result<Copied> {
        let wish = Transfer { source: source.into(), dest: dest.into(), recursive, ..Transfer::default() };
        let body = self.file_post(name, "copy", &wish).await?;
        serde_json::from_slice(&body).map_err(|error| self.transport.protocol(error.to_string()))
    }

    /// Changes the permissions of a file or directory.
    pub async fn change_mode(&self, name: &str, path: &str, mode: Mode) -> Result<()> {
        let wish = ChangeMode {
            path: path.into(),
            working_dir: Some(HOME.into()),
            mode: Some(mode),
            ..ChangeMode::default()
        };
        self.file_post(name, "chmod", &wish).await.map(drop)
    }

    async fn file_post(&self, name: &str, call: &str, wish: &impl Serialize) -> Result<Bytes> {
        let call = self.post(&["v1", "sprites", name, "fs", call], wish)?;
        self.transport.body(self.long(call)).await
    }

    fn file_call(&self, method: Method, name: &str, call: &str, path: &str) -> Result<Call> {
        if path.contains('\0') {
            return Err(Error::BadName(path.chars().take(64).collect()));
        }
        let mut call = self.transport.call(method, &["v1", "sprites", name, "fs", call])?;
        call.url.query_pairs_mut().append_pair("path", path).append_pair("workingDir", HOME);
        Ok(call)
    }
}

/// Where paths of a sprite begin that do not begin with a slash.
pub const HOME: &str = "/home/sprite";

/// A stream that does not stand still for longer than `still`.
pub(super) fn moving(
    pieces: Lines<Bytes>,
    still: Duration,
    endpoint: String,
) -> impl Stream<Item = Result<Bytes>> + Send + Unpin {
    let pieces = futures::stream::try_unfold((pieces, endpoint), move |(mut pieces, endpoint)| async move {
        match tokio::time::timeout(still, pieces.try_next()).await {
            Ok(Ok(Some(piece))) => Ok(Some((piece, (pieces, endpoint)))),
            Ok(Ok(None)) => Ok(None),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Deadline { endpoint, after: still }),
        }
    });
    pieces.boxed()
}
