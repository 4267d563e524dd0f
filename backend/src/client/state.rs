//! Files of a sprite's checkpoints and of its present disk, what changed between them, and what disks take. None of it wakes a sprite: extensions of the local
//! server.

use super::files::{HOME, moving};
use super::transport::Call;
use super::{Client, Result, clean, is_obeyed};
use bytes::Bytes;
use futures::Stream;
use reqwest::Method;
use sprites_api::state::{Diff, FileDiff, FilesAt, MAX_CHANGES, Side};
use sprites_api::storage::{SpriteStorage, Storage};
use std::borrow::Cow;
use std::time::Duration;

/// How long an answer may take: the server gives a disk half a minute, and there may be a queue.
const LOOK: Duration = Duration::from_secs(90);
/// How long bytes may stand still.
const STILL: Duration = Duration::from_secs(60);

impl Client {
    /// What a directory holds at a checkpoint or, with `Current`, now; or the one entry of anything else.
    pub async fn files_at(&self, name: &str, at: &str, path: &str) -> Result<FilesAt> {
        let call = self.look(name, &["files"], &[("at", at), ("path", &absolute(path))])?;
        self.local("looking at files of a checkpoint", self.transport.json(call).await)
    }

    /// A file's bytes at a checkpoint or, with `Current`, now, as they come; at most `length` of them. The first error ends them.
    pub async fn read_at(
        &self,
        name: &str,
        at: &str,
        path: &str,
        length: Option<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + Unpin + use<>> {
        let mut call = self.look(name, &["files", "read"], &[("at", at), ("path", &absolute(path))])?;
        if let Some(length) = length {
            call.url.query_pairs_mut().append_pair("length", &length.to_string());
        }
        call.accept = "*/*";
        let pieces = self.local("looking at files of a checkpoint", self.transport.stream(call).await)?;
        Ok(moving(pieces, STILL, self.transport.label()))
    }

    /// What is different between two states of a sprite's files.
    pub async fn diff(&self, name: &str, from: &str, to: &str) -> Result<Diff> {
        let call = self.look(name, &["diff"], &[("from", from), ("to", to)])?;
        let mut diff: Diff = self.local("comparing checkpoints", self.transport.json(call).await)?;
        diff.changes.truncate(MAX_CHANGES);
        diff.incomplete = diff.incomplete.map(|why| clean(&why));
        Ok(Diff { from: side(diff.from), to: side(diff.to), ..diff })
    }

    /// What is different in one file.
    pub async fn diff_file(&self, name: &str, from: &str, to: &str, path: &str) -> Result<FileDiff> {
        let call =
            self.look(name, &["diff", "file"], &[("from", from), ("to", to), ("path", &absolute(path))])?;
        let diff: FileDiff = self.local("comparing checkpoints", self.transport.json(call).await)?;
        Ok(FileDiff { from: side(diff.from), to: side(diff.to), ..diff })
    }

    /// What all sprites' disks take, and what to delete first.
    pub async fn storage(&self) -> Result<Storage> {
        let call = Call { deadline: LOOK, ..self.get_call(&["v1", "local", "storage"])? };
        self.local("looking at disks", self.transport.json(call).await)
    }

    /// What one sprite's disk takes, and what to delete first.
    pub async fn storage_of(&self, name: &str) -> Result<SpriteStorage> {
        let call = self.look(name, &["storage"], &[])?;
        self.local("looking at disks", self.transport.json(call).await)
    }

    fn look(&self, name: &str, rest: &[&str], words: &[(&str, &str)]) -> Result<Call> {
        let mut call =
            self.transport.call(Method::GET, &[&["v1", "local", "sprites", name], rest].concat())?;
        if !words.is_empty() {
            call.url.query_pairs_mut().extend_pairs(words);
        }
        Ok(Call { deadline: LOOK, ..call })
    }
}

fn side(side: Side) -> Side {
    Side { asked: clean(&side.asked), at: clean(&side.at), ..side }
}

/// Text of a guest for a terminal: lines stay lines and tabs tabs, and nothing else is obeyed.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|sign| if is_obeyed(sign) && !matches!(sign, '\n' | '\t') { '\u{fffd}' } else { sign })
        .collect()
}

/// Like those of a present sprite's files, paths begin at home.
fn absolute(path: &str) -> Cow<'_, str> {
    if path.starts_with('/') || path.is_empty() { path.into() } else { format!("{HOME}/{path}").into() }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn lines_stay_and_nothing_is_obeyed() {
        assert_eq!(plain("a\tb\n\x1b[31mc\r\n"), "a\tb\n\u{fffd}[31mc\u{fffd}\n");
    }
}
