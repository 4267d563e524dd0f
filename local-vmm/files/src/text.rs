//! What is different in one file.

use crate::device::Device;
use crate::ext4::{Inode, Kind};
use crate::state::{State, shown};
use crate::{Error, Result};
use similar::TextDiff;
use sprites_api::state::{Contents, FileDiff, MAX_DIFF, MAX_TEXT};
use std::time::Duration;

/// How long the shortest way between two texts is looked for; a longer one is told after that.
const SEARCH: Duration = Duration::from_secs(2);
/// Lines around a change.
const CONTEXT: usize = 3;
/// Bytes in which a file that is no text shows itself by a zero, as git has it.
const BEGINNING: usize = 8000;

/// One side's contents.
enum Side {
    Absent,
    Whole(Vec<u8>),
    Large(u64),
}

impl Side {
    fn size(&self) -> Option<u64> {
        match self {
            Self::Absent => None,
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Large(size) => Some(*size),
        }
    }

    fn bytes(&self) -> &[u8] {
        if let Self::Whole(bytes) = self { bytes } else { &[] }
    }
}

/// Compares what stands at a path in both states. A link counts by its target.
pub(crate) fn compare<D: Device, E: Device>(from: &State<D>, to: &State<E>, path: &str) -> Result<FileDiff> {
    let (one, two) = (find(from, path)?, find(to, path)?);
    if one.is_none() && two.is_none() {
        return Err(Error::NotFound(path.into()));
    }
    let same_place = match (&one, &two) {
        (Some(one), Some(two)) if one.kind == Kind::File && two.kind == Kind::File => {
            from.ext4.is_same_content(&from.ext4.content(one)?, &to.ext4, &to.ext4.content(two)?)
        }
        _ => false,
    };
    let (one, two) = (read(from, one, path)?, read(to, two, path)?);
    let mut diff =
        FileDiff { path: path.into(), before: one.size(), after: two.size(), ..FileDiff::default() };
    let is_binary = |side: &Side| side.bytes().iter().take(BEGINNING).any(|byte| *byte == 0);
    diff.contents = match (&one, &two) {
        _ if same_place => Contents::Same,
        (Side::Large(_), _) | (_, Side::Large(_)) => Contents::Large,
        (Side::Whole(one), Side::Whole(two)) if one == two => Contents::Same,
        _ if is_binary(&one) || is_binary(&two) => Contents::Binary,
        _ => Contents::Text,
    };
    if diff.contents == Contents::Text {
        let (old, new) = (shown(one.bytes()), shown(two.bytes()));
        let found = TextDiff::configure().timeout(SEARCH).diff_lines(&old, &new);
        let mut text = found.unified_diff().context_radius(CONTEXT).to_string();
        if text.len() > MAX_DIFF {
            text.truncate(text.floor_char_boundary(MAX_DIFF));
            diff.is_cut = true;
        }
        diff.unified = text;
    }
    Ok(diff)
}

fn find<D: Device>(state: &State<D>, path: &str) -> Result<Option<Inode>> {
    match state.find(path, false) {
        Ok(found) => Ok(Some(found.inode)),
        Err(Error::NotFound(_) | Error::NotADirectory(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read<D: Device>(state: &State<D>, inode: Option<Inode>, path: &str) -> Result<Side> {
    let Some(inode) = inode else { return Ok(Side::Absent) };
    match inode.kind {
        Kind::Link => Ok(Side::Whole(state.target(&inode)?)),
        Kind::File if inode.size > MAX_TEXT => Ok(Side::Large(inode.size)),
        Kind::File => {
            let mut bytes = vec![0; inode.size as usize];
            state.ext4.read_content(&state.ext4.content(&inode)?, 0, &mut bytes)?;
            Ok(Side::Whole(bytes))
        }
        Kind::Directory => Err(Error::IsADirectory(path.into())),
        Kind::Other => Err(Error::NotAFile(path.into())),
    }
}
