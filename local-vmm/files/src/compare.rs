//! What is different between two states of the same disk.
//!
//! Both trees are gone through side by side. An inode that stands in the same bytes of both disks, by who holds them, is the same and is not looked at; so of a
//! large disk that hardly changed only the directories are read, and those of one state only. Where inodes differ, their metadata tells; where that leaves it
//! open, the places of the bytes; and only where these differ too, the bytes themselves.

use crate::device::{Device, differing, is_same};
use crate::ext4::{Ext4, Inode, Kind, Named, ROOT};
use crate::state::{State, below, kind, shown};
use crate::{Error, Result};
use sprites_api::state::{Aspect, Change, Changed, Diff, MAX_CHANGES};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Most names that are gone through.
const NAMES: u64 = 4_000_000;
/// Deepest directory that is gone into.
const DEPTH: usize = 256;
/// Most bytes of files that are compared one by one; what remains counts as changed.
const BYTES: u64 = 2 << 30;
/// Most bytes of paths that are told.
const TOLD: usize = 8 << 20;
/// Bytes that are compared at once.
const STEP: usize = 256 << 10;

/// Compares two states. What cannot be finished in time is told as far as it came.
pub(crate) fn compare<D: Device, E: Device>(from: &State<D>, to: &State<E>) -> Result<Diff> {
    let (one, two) = (&from.ext4, &to.ext4);
    let disk_bytes = differing(&one.device, &two.device);
    let mut walk = Walk {
        from,
        to,
        diff: Diff { disk_bytes, ..Diff::default() },
        names: 0,
        bytes: 0,
        told: 0,
        seen: HashSet::new(),
    };
    // Not one block is another.
    if disk_bytes > 0 {
        let roots = (Some(one.inode(ROOT)?), Some(two.inode(ROOT)?));
        match walk.directory(b"/", roots, 0) {
            // What was found is true; there may be more.
            Err(error @ Error::TooMuch(_)) => walk.diff.incomplete = Some(error.to_string()),
            outcome => outcome?,
        }
    }
    Ok(walk.diff)
}

struct Walk<'a, D, E> {
    from: &'a State<D>,
    to: &'a State<E>,
    diff: Diff,
    names: u64,
    bytes: u64,
    told: usize,
    /// Directories that were gone into, by their inodes in both states: a disk may say that one lies in itself.
    seen: HashSet<(u32, u32)>,
}

/// Whether an inode stands in bytes that are the same by who holds them.
fn is_same_inode<D: Device, E: Device>(one: &Ext4<D>, two: &Ext4<E>, number: u32) -> Result<bool> {
    let ((block, at), (block_there, at_there)) = (one.inode_place(number)?, two.inode_place(number)?);
    let place = one.place(block)? + u64::from(at);
    let place_there = two.place(block_there)? + u64::from(at_there);
    Ok(is_same(&one.device, place, &two.device, place_there, 1))
}

impl<D: Device, E: Device> Walk<'_, D, E> {
    fn directory(
        &mut self,
        path: &[u8],
        (one, two): (Option<Inode>, Option<Inode>),
        depth: usize,
    ) -> Result<()> {
        let number = |inode: &Option<Inode>| inode.as_ref().map_or(0, |inode| inode.number);
        if depth > DEPTH || !self.seen.insert((number(&one), number(&two))) {
            self.diff.incomplete.get_or_insert_with(|| {
                format!("{:?} lies too deep or in itself and was left out", shown(path))
            });
            return Ok(());
        }
        let same = match (&one, &two) {
            (Some(one), Some(two)) if one.number == two.number => self.is_same_directory(one, two)?,
            _ => false,
        };
        let before = match &one {
            Some(inode) => self.from.ext4.names(inode)?,
            None => BTreeMap::new(),
        };
        let after = match &two {
            Some(_) if same => before.clone(),
            Some(inode) => self.to.ext4.names(inode)?,
            None => BTreeMap::new(),
        };
        self.names += (before.len() + after.len()) as u64;
        if self.names > NAMES {
            return Err(Error::TooMuch(format!("more than {NAMES} names")));
        }
        for name in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            self.name(&below(path, name), before.get(name).copied(), after.get(name).copied(), depth)?;
        }
        Ok(())
    }

    fn name(&mut self, path: &[u8], before: Option<Named>, after: Option<Named>, depth: usize) -> Result<()> {
        if let (Some(before), Some(after)) = (before, after)
            && before.inode == after.inode
            && !before.is_dir
            && !after.is_dir
            && is_same_inode(&self.from.ext4, &self.to.ext4, before.inode)?
        {
            return Ok(());
        }
        self.from.ext4.check_time()?;
        let one = before.map(|named| self.from.ext4.inode(named.inode)).transpose()?;
        let two = after.map(|named| self.to.ext4.inode(named.inode)).transpose()?;
        let aspects = match (&one, &two) {
            (Some(one), Some(two)) => self.aspects(one, two)?,
            _ => Vec::new(),
        };
        match (&one, &two) {
            (Some(_), Some(_)) if aspects.is_empty() => {}
            _ => self.tell(path, one.as_ref(), two.as_ref(), aspects),
        }
        let dir = |inode: Option<Inode>| inode.filter(|inode| inode.kind == Kind::Directory);
        match (dir(one), dir(two)) {
            (None, None) => Ok(()),
            dirs => self.directory(path, dirs, depth + 1),
        }
    }

    fn tell(&mut self, path: &[u8], one: Option<&Inode>, two: Option<&Inode>, aspects: Vec<Aspect>) {
        let (change, count) = match (one, two) {
            (None, _) => (Change::Added, &mut self.diff.added),
            (_, None) => (Change::Removed, &mut self.diff.removed),
            _ => (Change::Changed, &mut self.diff.changed),
        };
        *count += 1;
        let Some(inode) = two.or(one) else { return };
        if self.diff.changes.len() < MAX_CHANGES && self.told < TOLD {
            self.told += path.len();
            // A directory's own bytes and a device's mean nothing to anybody.
            let size = |inode: &Inode| match inode.kind {
                Kind::File | Kind::Link => inode.size,
                Kind::Directory | Kind::Other => 0,
            };
            self.diff.changes.push(Changed {
                path: shown(path),
                change,
                kind: kind(inode),
                before: one.map(size),
                after: two.map(size),
                aspects,
            });
        }
    }

    /// In what two inodes of the same name differ, times not counted.
    fn aspects(&mut self, one: &Inode, two: &Inode) -> Result<Vec<Aspect>> {
        let mut aspects = Vec::new();
        if one.kind != two.kind {
            aspects.push(Aspect::Kind);
        } else if one.kind == Kind::File && !self.is_same_file(one, two)? {
            aspects.push(Aspect::Contents);
        } else if one.kind == Kind::Link && self.from.target(one)? != self.to.target(two)? {
            aspects.push(Aspect::Target);
        }
        if one.permissions() != two.permissions() {
            aspects.push(Aspect::Mode);
        }
        if (one.uid, one.gid) != (two.uid, two.gid) {
            aspects.push(Aspect::Owner);
        }
        Ok(aspects)
    }

    /// Whether two directories list the same by where they stand. What they list may have changed.
    fn is_same_directory(&self, one: &Inode, two: &Inode) -> Result<bool> {
        let (from, to) = (&self.from.ext4, &self.to.ext4);
        Ok(is_same_inode(from, to, one.number)?
            && from.is_same_content(&from.content(one)?, to, &to.content(two)?))
    }

    fn is_same_file(&mut self, one: &Inode, two: &Inode) -> Result<bool> {
        if one.size != two.size {
            return Ok(false);
        }
        if one.size == 0
            || one.number == two.number && is_same_inode(&self.from.ext4, &self.to.ext4, one.number)?
        {
            return Ok(true);
        }
        let (content, there) = (self.from.ext4.content(one)?, self.to.ext4.content(two)?);
        if self.from.ext4.is_same_content(&content, &self.to.ext4, &there) {
            return Ok(true);
        }
        let (mut left, mut right) = (vec![0; STEP], vec![0; STEP]);
        let mut at = 0;
        while at < content.size {
            if self.bytes >= BYTES {
                let sentence = || {
                    "files of more than 2 GiB had to be compared byte by byte; the rest counts as changed"
                        .to_owned()
                };
                self.diff.incomplete.get_or_insert_with(sentence);
                return Ok(false);
            }
            let count = self.from.ext4.read_content(&content, at, &mut left)?;
            let count_there = self.to.ext4.read_content(&there, at, &mut right)?;
            if count != count_there || left[..count] != right[..count_there] {
                return Ok(false);
            }
            at += STEP as u64;
            self.bytes += 2 * STEP as u64;
        }
        Ok(true)
    }
}
