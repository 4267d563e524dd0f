//! Paths, flags, owners and modes as requests give them.

use super::failure::Failure;
use crate::Agent;
use crate::process::user::User;
use nix::errno::Errno;
use nix::unistd::{Gid, Uid};
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

/// Links followed before a path is taken for a loop, as in the kernel.
const LINKS: usize = 40;

/// The query of a file call.
#[derive(Debug, Default)]
pub(super) struct Wish(Vec<(String, String)>);

impl Wish {
    pub(super) fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// The last value of a name that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// A switch; absent is off.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Failure> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(Failure::invalid(format!("`{name}` must be true or false"), Path::new(""))),
        }
    }

    /// A number of bytes.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let bad = |_| Failure::invalid(format!("`{name}` must be a number of bytes"), Path::new(""));
        self.get(name).map(|text| text.parse().map_err(bad)).transpose()
    }

    /// Where `path` leads.
    pub(super) fn path(&self) -> Result<PathBuf, Failure> {
        absolute(self.get("path").unwrap_or_default(), self.get("workingDir"))
    }
}

/// A JSON body, whatever type its sender calls it.
pub(super) fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes)
        .map_err(|error| Failure::invalid(format!("the body cannot be read: {error}"), Path::new("")))
}

/// A path as an absolute one. `..` stays, because what it means depends on the links before it.
pub(super) fn absolute(path: &str, dir: Option<&str>) -> Result<PathBuf, Failure> {
    let dir = dir.unwrap_or("/");
    if path.is_empty() {
        return Err(Failure::invalid("`path` is missing", Path::new("")));
    }
    if path.contains('\0') || dir.contains('\0') {
        return Err(Failure::invalid("a path cannot hold a NUL byte", Path::new("")));
    }
    let whole = Path::new("/").join(dir).join(path);
    Ok(whole.components().filter(|part| *part != Component::CurDir).collect())
}

/// Where a path leads when its last part is a link, or a chain of links, though nothing need stand at the end.
pub(super) fn follow(path: &Path) -> Result<PathBuf, Failure> {
    let mut at = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&at) {
            Ok(target) => at = at.parent().unwrap_or(Path::new("/")).join(target),
            // No link, or nothing there; what is wrong with it shows when it is used.
            Err(_) => return Ok(at),
        }
    }
    Err(Failure::system(Errno::ELOOP, path))
}

/// Whose a new file is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewOwner(Option<(u32, u32)>);

impl NewOwner {
    /// The sprite's user, or root when that is asked for. An agent that is not root cannot choose.
    pub(super) fn choose(agent: &Agent, as_root: bool) -> Self {
        if as_root || !nix::unistd::geteuid().is_root() {
            return Self(None);
        }
        let user = User::find(agent.config.user.as_deref());
        Self(Some((user.uid, user.gid)))
    }

    /// The one of an existing file.
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(nix::unistd::geteuid().is_root().then(|| (metadata.uid(), metadata.gid())))
    }

    /// Makes it so for an open file.
    pub(super) fn give(self, file: &File, path: &Path) -> Result<(), Failure> {
        let Some((uid, gid)) = self.0 else { return Ok(()) };
        nix::unistd::fchown(file.as_fd(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|errno| Failure::system(errno, path))
    }

    /// Makes it so for what stands at a path; a link itself, not what it leads to.
    pub(super) fn give_at(self, path: &Path) -> Result<(), Failure> {
        let Some((uid, gid)) = self.0 else { return Ok(()) };
        std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(|error| Failure::of(&error, path))
    }
}

/// Makes a directory and those above it that are missing.
pub(super) fn make_directories(dir: &Path, owner: NewOwner) -> Result<(), Failure> {
    let mut missing = Vec::new();
    for at in dir.ancestors() {
        match fs::metadata(at) {
            Ok(metadata) if metadata.is_dir() => break,
            Ok(_) => return Err(Failure::system(Errno::ENOTDIR, at)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => missing.push(at),
            Err(error) => return Err(Failure::of(&error, at)),
        }
    }
    for at in missing.into_iter().rev() {
        make_directory(at, owner)?;
    }
    Ok(())
}

/// Makes one directory; that another call has made it meanwhile is as good.
pub(super) fn make_directory(dir: &Path, owner: NewOwner) -> Result<(), Failure> {
    match fs::create_dir(dir) {
        Ok(()) => owner.give_at(dir),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) && dir.is_dir() => Ok(()),
        Err(error) => Err(Failure::of(&error, dir)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let to =
            |path: &str, dir: Option<&str>| absolute(path, dir).ok().map(|path| path.display().to_string());
        assert_eq!(to("a/b", Some("/work")).as_deref(), Some("/work/a/b"));
        assert_eq!(to("/a", Some("/work")).as_deref(), Some("/a"));
        assert_eq!(to("./a//b/./c/", Some("work")).as_deref(), Some("/work/a/b/c"));
        assert_eq!(to("../x", Some("/a/b")).as_deref(), Some("/a/b/../x"));
        assert_eq!(to(".", None).as_deref(), Some("/"));
        assert_eq!(to("", Some("/work")), None);
        assert_eq!(to("a\0b", None), None);
    }

    #[test]
    fn links_that_lead_round_in_a_circle() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, c) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
        std::os::unix::fs::symlink("b", &a).unwrap();
        std::os::unix::fs::symlink(&a, &b).unwrap();
        assert!(follow(&a).is_err());
        std::os::unix::fs::symlink("nothing-there", &c).unwrap();
        assert_eq!(follow(&c).unwrap(), dir.path().join("nothing-there"));
    }
}
