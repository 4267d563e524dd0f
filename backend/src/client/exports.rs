//! Sprites as files for other machines: extensions of the local server.

use super::files::moving;
use super::transport::Call;
use super::{Client, Error, Lines, Result};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest::Method;
use sprites_api::extension::CHECKPOINT_HEADER;
use sprites_api::sprite::Sprite;
use std::io;
use std::time::Duration;

/// How long the first byte of an export may take: a checkpoint is made, and the image is read once.
const HEAD: Duration = Duration::from_secs(300);
/// How long bytes may stand still.
const STILL: Duration = Duration::from_secs(60);
/// Longest id of a checkpoint.
const MAX_ID: usize = 80;

/// What is wanted of a sprite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportWish {
    /// Which checkpoint; else the present.
    pub checkpoint: Option<String>,
    /// Only what changed since this one.
    pub since: Option<String>,
    /// Without the blocks of the image, for a machine that has the same one. What changed since a checkpoint never has them.
    pub without_image: bool,
}

/// An export that comes.
pub struct Export {
    /// Id of the checkpoint that it is of; lower-case letters, digits and hyphens.
    pub checkpoint: String,
    /// Its bytes. It is whole when they end without an error.
    pub bytes: Lines<Bytes>,
}

impl Client {
    /// A sprite as a file for another machine. Of a checkpoint it wakes nobody; local servers only.
    pub async fn export(&self, name: &str, wish: &ExportWish) -> Result<Export> {
        let mut call = self.get_call(&["v1", "local", "sprites", name, "export"])?;
        for (word, value) in [("checkpoint", &wish.checkpoint), ("since", &wish.since)] {
            if let Some(value) = value {
                call.url.query_pairs_mut().append_pair(word, value);
            }
        }
        if !wish.without_image && wish.since.is_none() {
            call.url.query_pairs_mut().append_pair("whole", "true");
        }
        let call = Call { accept: "*/*", deadline: HEAD, ..call };
        let (headers, pieces) = self.local("exports", self.transport.headed(call).await)?;
        let told = headers.get(CHECKPOINT_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        // It becomes part of a file's name.
        if told.is_empty() || told.len() > MAX_ID || !told.bytes().all(plain) {
            return Err(self.transport.protocol("it does not tell which checkpoint the export is of".into()));
        }
        let bytes = moving(pieces, STILL, self.transport.label()).boxed();
        Ok(Export { checkpoint: told.to_owned(), bytes })
    }

    /// Makes a sprite from an export of `length` bytes, named as it says or `name`; local servers only.
    pub async fn import(
        &self,
        name: Option<&str>,
        length: Option<u64>,
        bytes: impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
    ) -> Result<Sprite> {
        let mut call = self.transport.call(Method::POST, &["v1", "local", "import"])?;
        if let Some(name) = name {
            call.url.query_pairs_mut().append_pair("name", name);
        }
        let answer = self.local("imports", self.transport.upload(call, length, bytes).await)?;
        let read = |error: serde_json::Error| -> Error { self.transport.protocol(error.to_string()) };
        serde_json::from_slice(&answer).map_err(read)
    }
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Export({})", self.checkpoint)
    }
}
