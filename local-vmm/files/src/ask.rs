//! Questions about the files on a disk, and their answers.

use crate::compare;
use crate::device::Device;
use crate::ext4::Content;
use crate::state::State;
use crate::{Error, Result, text};
use serde::{Deserialize, Serialize};
use sprites_api::files::Listing;
use sprites_api::state::{Diff, FileDiff};
use std::io::{self, Write};
use std::time::Instant;

/// Bytes that are read and handed on at once.
const PIECE: usize = 256 << 10;

/// A question. States are ids of checkpoints, or [`CURRENT`](vmm_disk::CURRENT) for a disk that nobody writes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// What a directory holds.
    List {
        /// Which state.
        at: String,
        /// Absolute.
        path: String,
    },
    /// A file's bytes.
    Read {
        /// Which state.
        at: String,
        /// Absolute.
        path: String,
        /// First byte.
        offset: u64,
        /// Most bytes.
        length: u64,
    },
    /// What is different between two states.
    Diff {
        /// One.
        from: String,
        /// The other.
        to: String,
    },
    /// What is different in one file.
    DiffFile {
        /// One state.
        from: String,
        /// The other.
        to: String,
        /// Absolute.
        path: String,
    },
}

impl Ask {
    /// The states that it is about.
    pub fn states(&self) -> Vec<&str> {
        match self {
            Self::List { at, .. } | Self::Read { at, .. } => vec![at],
            Self::Diff { from, to } | Self::DiffFile { from, to, .. } => vec![from, to],
        }
    }
}

/// What comes before the bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Size of the whole file.
    pub size: u64,
    /// Its permissions.
    pub mode: u32,
    /// How many bytes follow.
    pub length: u64,
}

/// An answer: one line of JSON. After [`Answer::Bytes`] that many bytes follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Ask::List`].
    Listing(Listing),
    /// To [`Ask::Read`].
    Bytes(Head),
    /// To [`Ask::Diff`].
    Diff(Diff),
    /// To [`Ask::DiffFile`].
    FileDiff(FileDiff),
    /// To any.
    Failed(Error),
}

/// Answers a question about disks, which are those of its [states](Ask::states), in that order; whatever comes is told in the answer, except that it cannot be
/// written.
///
/// # Errors
/// When nobody listens any more.
pub fn answer<D: Device>(
    ask: &Ask,
    disks: Vec<D>,
    deadline: Instant,
    out: &mut impl Write,
) -> io::Result<()> {
    let states = match disks.into_iter().map(|disk| State::open(disk, deadline)).collect::<Result<Vec<_>>>() {
        Ok(states) => states,
        Err(error) => return refuse(error, out),
    };
    let still =
        || match states.iter().map(|state| state.ext4.device.is_still()).collect::<io::Result<Vec<_>>>() {
            Ok(still) if still.iter().all(|still| *still) => Ok(()),
            Ok(_) => Err(Error::Moved),
            Err(error) => Err(Error::Disk(error.to_string())),
        };
    let (head, bytes) = match consider(ask, &states).and_then(|found| still().map(|()| found)) {
        Ok(found) => found,
        Err(error) => (Answer::Failed(error), None),
    };
    tell(&head, out)?;
    if let (Some((content, mut offset, length)), Some(state)) = (bytes, states.first()) {
        let (mut piece, end) = (vec![0; PIECE], offset + length);
        while offset < end {
            let most = (end - offset).min(PIECE as u64) as usize;
            let count = state.ext4.read_content(&content, offset, &mut piece[..most]);
            // Fewer bytes than were promised are the only way to tell it here.
            let count = count.and_then(|count| still().map(|()| count)).map_err(io::Error::other)?;
            out.write_all(&piece[..count])?;
            offset += count as u64;
        }
    }
    out.flush()
}

/// Answers that there is no answer.
///
/// # Errors
/// When nobody listens any more.
pub fn refuse(error: Error, out: &mut impl Write) -> io::Result<()> {
    tell(&Answer::Failed(error), out)
}

fn tell(head: &Answer, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, head)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Content of a file, and which part of it: first byte and number.
type Part = (Content, u64, u64);

fn consider<D: Device>(ask: &Ask, states: &[State<D>]) -> Result<(Answer, Option<Part>)> {
    Ok(match (ask, states) {
        (Ask::List { path, .. }, [at]) => (Answer::Listing(at.list(path)?), None),
        (Ask::Read { path, offset, length, .. }, [at]) => {
            let (inode, content) = at.open_file(path)?;
            let length = content.size.saturating_sub(*offset).min(*length);
            let head = Head { size: content.size, mode: inode.permissions(), length };
            (Answer::Bytes(head), Some((content, *offset, length)))
        }
        (Ask::Diff { .. }, [from, to]) => (Answer::Diff(compare::compare(from, to)?), None),
        (Ask::DiffFile { path, .. }, [from, to]) => (Answer::FileDiff(text::compare(from, to, path)?), None),
        _ => return Err(Error::Disk("the question does not fit its disks".into())),
    })
}
