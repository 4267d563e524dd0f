//! One state of a sprite's files: paths, listings, bytes.

use crate::device::Device;
use crate::ext4::{Content, Ext4, Inode, Kind, ROOT};
use crate::{Error, Result};
use sprites_api::Time;
use sprites_api::files::{Entry, FileKind, Listing, MAX_LISTED, Mode};
use std::collections::VecDeque;
use std::time::Instant;

/// Longest path, bytes (`PATH_MAX`).
const LONGEST: usize = 4096;
/// Links that a path may lead through (`MAXSYMLINKS`).
const LINKS: usize = 40;

/// Most bytes of a folder's path that are told with its entries.
const TOLD: usize = 8 << 20;

/// See the module.
pub(crate) struct State<D> {
    pub ext4: Ext4<D>,
}

/// What stands at a path.
pub(crate) struct Found {
    /// Without links but the last, and without `.` and `..`.
    pub path: Vec<u8>,
    pub inode: Inode,
}

/// Text of a path for people and answers.
pub(crate) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// A name below a path.
pub(crate) fn below(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut whole = path.to_vec();
    if whole.last() != Some(&b'/') {
        whole.push(b'/');
    }
    whole.extend_from_slice(name);
    whole
}

pub(crate) fn kind(inode: &Inode) -> FileKind {
    match inode.kind {
        Kind::Directory => FileKind::Directory,
        Kind::Link => FileKind::Symlink,
        Kind::File | Kind::Other => FileKind::File,
    }
}

impl<D: Device> State<D> {
    pub(crate) fn open(device: D, deadline: Instant) -> Result<Self> {
        Ok(Self { ext4: Ext4::open(device, deadline)? })
    }

    /// Goes along a path; `follow` tells whether a link at its end is followed too. There is no way out of the disk: its root is where `/` leads, and `..` ends.
    pub(crate) fn find(&self, path: &str, follow: bool) -> Result<Found> {
        let wanted = path;
        if !path.starts_with('/') || path.len() > LONGEST || path.contains('\0') {
            return Err(Error::BadPath(path.chars().take(200).collect()));
        }
        let mut rest: VecDeque<Vec<u8>> = parts(path.as_bytes()).collect();
        let mut way: Vec<(Vec<u8>, Inode)> = Vec::new();
        let root = self.ext4.inode(ROOT)?;
        let mut links = 0;
        while let Some(part) = rest.pop_front() {
            if part == b".." {
                way.pop();
                continue;
            }
            let dir = way.last().map_or(&root, |(_, inode)| inode);
            if dir.kind != Kind::Directory {
                return Err(Error::NotADirectory(wanted.into()));
            }
            let named = self.ext4.names(dir)?.get(&part).copied();
            let inode = self.ext4.inode(named.ok_or_else(|| Error::NotFound(wanted.into()))?.inode)?;
            if inode.kind == Kind::Link && (follow || !rest.is_empty()) {
                links += 1;
                let target = self.target(&inode)?;
                if links > LINKS || target.len() + rest.len() > LONGEST {
                    return Err(Error::Links(wanted.into()));
                }
                if target.first() == Some(&b'/') {
                    way.clear();
                }
                for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                    rest.push_front(part);
                }
                continue;
            }
            way.push((part, inode));
        }
        let path = way.iter().fold(Vec::from(b"/"), |path, (name, _)| below(&path, name));
        Ok(Found { path, inode: way.pop().map_or(root, |(_, inode)| inode) })
    }

    /// Where a link leads.
    pub(crate) fn target(&self, link: &Inode) -> Result<Vec<u8>> {
        if let Some(target) = link.short_target() {
            return Ok(target.to_vec());
        }
        if link.size >= LONGEST as u64 {
            return Err(Error::damaged(format!("the link with inode {} is too long", link.number)));
        }
        let mut target = vec![0; link.size as usize];
        self.ext4.read_content(&self.ext4.content(link)?, 0, &mut target)?;
        Ok(target)
    }

    /// What a directory holds, or the one entry of anything else.
    pub(crate) fn list(&self, path: &str) -> Result<Listing> {
        let found = self.find(path, true)?;
        let mut entries = Vec::new();
        let count = if found.inode.kind == Kind::Directory {
            let names = self.ext4.names(&found.inode)?;
            // Each entry tells its whole path.
            let most = MAX_LISTED.min(TOLD / (found.path.len() + 1));
            for (name, named) in names.iter().take(most) {
                entries.push(entry(name, &below(&found.path, name), &self.ext4.inode(named.inode)?));
            }
            names.len()
        } else {
            let name = found.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            entries.push(entry(name, &found.path, &found.inode));
            1
        };
        Ok(Listing { path: shown(&found.path), entries, count })
    }

    /// The contents of the file at a path.
    pub(crate) fn open_file(&self, path: &str) -> Result<(Inode, Content)> {
        let inode = self.find(path, true)?.inode;
        match inode.kind {
            Kind::File => Ok((inode.clone(), self.ext4.content(&inode)?)),
            Kind::Directory => Err(Error::IsADirectory(path.into())),
            Kind::Link | Kind::Other => Err(Error::NotAFile(path.into())),
        }
    }
}

/// The parts of a path that mean something.
fn parts(path: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec)
}

fn entry(name: &[u8], path: &[u8], inode: &Inode) -> Entry {
    let micros = i64::try_from(inode.modified / 1000).unwrap_or_default();
    Entry {
        name: shown(name),
        path: shown(path),
        kind: kind(inode),
        size: if inode.kind == Kind::Other { 0 } else { inode.size },
        mode: Mode::new(inode.permissions()).to_string(),
        mod_time: Time::from_micros(micros),
        is_dir: inode.kind == Kind::Directory,
    }
}
