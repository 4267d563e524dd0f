//! A machine in a folder: its memory and its state.
//!
//! Several folders may hold the same memory, as hard links of one file: a checkpoint, the sprite that went back to it, the forks of both. Whoever
//! runs from a memory has a link to it in a folder of its own for as long as it runs. What was given by others is called `shared` there, and nobody
//! writes into it: behind its walls a machine cannot. What a machine has written itself is called `own`; as long as that has one link, the machine
//! may write its changes into it. The state is never shared: it is the mark that the folder can be started from, written last and removed
//! first.

use super::KvmError;
use super::state::State;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Files of a kept machine.
pub(super) const STATE: &str = "state";
/// Memory that the machine has written itself.
pub(super) const OWN: &str = "own";
/// Memory that others have given it.
pub(crate) const SHARED: &str = "shared";

/// Whether a machine is kept in a folder.
pub fn is_kept(dir: &Path) -> bool {
    dir.join(STATE).is_file()
}

/// Whether one is, and this version can read it.
pub fn is_current(dir: &Path) -> bool {
    State::is_current(&dir.join(STATE))
}

/// Bytes on the host of a machine that is kept in a folder; 0 when there is none.
pub fn kept_bytes(dir: &Path) -> u64 {
    if !is_kept(dir) {
        return 0;
    }
    [dir.join(STATE), memory(dir)]
        .iter()
        .filter_map(|path| path.metadata().ok())
        .map(|file| file.blocks() * 512)
        .sum()
}

/// The memory of a kept machine: its own, else the one that it was given.
pub(super) fn memory(dir: &Path) -> PathBuf {
    let own = dir.join(OWN);
    if own.exists() { own } else { dir.join(SHARED) }
}

/// Removes what a machine was given and does not need any more, because it has written its own. Behind its walls it could not.
pub(crate) fn tidy(dir: &Path) {
    if dir.join(OWN).exists() {
        // Often it is not there.
        let _ = fs::remove_file(dir.join(SHARED));
    }
}

/// Makes a kept machine one that cannot be started from. To be called before one goes on, because its disk moves away from it then.
pub fn forget(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(STATE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(dir)?.sync_all(),
    }
}

/// Gives another folder the same machine, from whose memory two can go on then. It must be on the same file system to cost nothing.
pub fn share(from: &Path, to: &Path) -> io::Result<()> {
    make(to)?;
    forget(to)?;
    for old in [OWN, SHARED] {
        match fs::remove_file(to.join(old)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let (source, shared) = (memory(from), to.join(SHARED));
    if fs::hard_link(&source, &shared).is_err() {
        copy(&File::open(&source)?, &File::create_new(&shared)?)?;
    }
    let (state, unfinished) = (to.join(STATE), to.join(STATE).with_extension("new"));
    fs::copy(from.join(STATE), &unfinished)?;
    File::open(&unfinished)?.sync_all()?;
    fs::rename(unfinished, state)?;
    File::open(to)?.sync_all()
}

/// Makes a folder that is the owner's alone.
pub(super) fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Where the next memory of a machine is written, and what is in it already.
#[derive(Debug)]
pub(super) enum Target {
    /// The memory that the machine came from, which is its own: what changed is written into it.
    Own(File),
    /// A new file that holds what the machine came from: what changed is written into it.
    Copied(File, PathBuf),
    /// A new file, to be filled.
    Empty(File, PathBuf),
}

impl Target {
    /// For a machine that came from `base`, in that folder.
    pub(super) fn of(base: Option<&File>, dir: &Path) -> io::Result<Self> {
        let Some(base) = base else {
            let (file, path) = unfinished(dir)?;
            return Ok(Self::Empty(file, path));
        };
        let known = base.metadata()?;
        if let Ok(own) = File::options().write(true).open(dir.join(OWN)) {
            let found = own.metadata()?;
            if (found.dev(), found.ino()) == (known.dev(), known.ino()) && found.nlink() == 1 {
                return Ok(Self::Own(own));
            }
        }
        let (file, path) = unfinished(dir)?;
        copy(base, &file)?;
        Ok(Self::Copied(file, path))
    }

    pub(super) fn file(&self) -> &File {
        match self {
            Self::Own(file) | Self::Copied(file, _) | Self::Empty(file, _) => file,
        }
    }

    /// Whether only what changed has to be written.
    pub(super) fn has_the_rest(&self) -> bool {
        !matches!(self, Self::Empty(..))
    }

    /// Makes it last, as the folder's memory.
    pub(super) fn finish(self, dir: &Path) -> io::Result<()> {
        self.file().sync_data()?;
        match self {
            Self::Own(_) => Ok(()),
            Self::Copied(_, path) | Self::Empty(_, path) => fs::rename(path, dir.join(OWN)),
        }
    }
}

fn unfinished(dir: &Path) -> io::Result<(File, PathBuf)> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = dir.join(OWN).with_extension("new");
    let file = File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    Ok((file, path))
}

/// Copies what is in a file and leaves its holes; file systems that can share blocks do.
fn copy(from: &File, to: &File) -> io::Result<()> {
    use nix::unistd::{Whence, lseek};
    let size = i64::try_from(from.metadata()?.len()).map_err(io::Error::other)?;
    to.set_len(size.unsigned_abs())?;
    let mut at = 0;
    while at < size {
        let begin = match lseek(from, at, Whence::SeekData) {
            // Nothing but a hole is left.
            Err(nix::errno::Errno::ENXIO) => break,
            found => found?,
        };
        let end = lseek(from, begin, Whence::SeekHole)?;
        let (mut read, mut write) = (begin, begin);
        while read < end {
            let left = usize::try_from(end - read).map_err(io::Error::other)?;
            let done = nix::fcntl::copy_file_range(from, Some(&mut read), to, Some(&mut write), left)?;
            if done == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        at = end;
    }
    Ok(())
}

/// Says that the folder cannot be used, and why.
pub(super) fn refused(path: &Path, why: impl ToString) -> KvmError {
    KvmError::State(path.display().to_string(), why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    /// A memory with data, a hole, and data.
    fn some_memory(dir: &Path) -> File {
        make(dir).unwrap();
        let file = File::options().read(true).write(true).create_new(true).open(dir.join(OWN)).unwrap();
        file.set_len(1 << 20).unwrap();
        file.write_all_at(&[1; 4096], 0).unwrap();
        file.write_all_at(&[2; 4096], 512 << 10).unwrap();
        fs::write(dir.join(STATE), "state").unwrap();
        file
    }

    #[test]
    fn one_link_is_written_into_and_more_are_not() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (root.path().join("one"), root.path().join("two"));
        let base = some_memory(&one);
        assert!(is_kept(&one) && kept_bytes(&one) < 1 << 20);
        assert!(matches!(Target::of(Some(&base), &one).unwrap(), Target::Own(_)));
        share(&one, &two).unwrap();
        assert!(is_kept(&two));
        for dir in [&one, &two] {
            let target = Target::of(Some(&base), dir).unwrap();
            assert!(matches!(target, Target::Copied(..)) && target.has_the_rest());
            let mut bytes = [0; 4096];
            target.file().read_exact_at(&mut bytes, 512 << 10).unwrap();
            assert_eq!(bytes, [2; 4096]);
            target.file().write_all_at(&[3; 4096], 0).unwrap();
            assert!(target.file().metadata().unwrap().blocks() * 512 < 1 << 20, "its holes are filled");
        }
        // Two has a memory of its own from now on.
        Target::of(Some(&base), &two).unwrap().finish(&two).unwrap();
        assert!(matches!(Target::of(Some(&base), &two).unwrap(), Target::Copied(..)));
        // What it was given is still there, and goes when it is tidied.
        assert!(two.join(SHARED).exists() && memory(&two) == two.join(OWN));
        assert!(matches!(Target::of(Some(&base), &one).unwrap(), Target::Copied(..)));
        tidy(&two);
        tidy(&one);
        assert!(!two.join(SHARED).exists() && memory(&one).exists());
        assert!(matches!(Target::of(Some(&base), &one).unwrap(), Target::Own(_)));
        let mut first = [0; 4096];
        base.read_exact_at(&mut first, 0).unwrap();
        assert_eq!(first, [1; 4096]);
        forget(&two).unwrap();
        forget(&two).unwrap();
        assert!(!is_kept(&two) && kept_bytes(&two) == 0);
        assert!(!Target::of(None, &two).unwrap().has_the_rest());
    }
}
