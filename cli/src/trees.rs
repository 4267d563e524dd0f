//! Whole folders, into a sprite and out of it: files, folders, links, and the permissions of all of them.
//!
//! Nothing is left out without a word. One file that cannot be copied does not end the copy, but the command then ends with a code that tells;
//! what would befall every other file too, such as a lost connection, does end it.
//!
//! The API has no calls for links, so they are made and read by commands in the sprite, as its user: `ln` and `find`.
//!
//! What a sprite tells is not trusted: nothing is written outside of the folder that is given. Names have no steps upwards, nothing is written
//! through a link that stands here, and a link is made only when it leads to something below. For the latter `..` may stand at its beginning only: behind a
//! name it would count from wherever that name leads.

use crate::failure::{Failure, Outcome};
use crate::files::{Trouble, pull_one, push_one, system_error};
use crate::output;
use bytes::Bytes;
use sprites_api::files::{Entry, FileKind, Listing, Mode};
use sprites_backend::client::{Client, ExecEvent, ExecRequest, HOME, WriteOptions};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;
use walkdir::WalkDir;

/// Permissions that a folder of a sprite has when nobody says others.
pub(crate) const USUAL: u32 = 0o755;
/// Stands in a folder of a sprite for a moment: there is no call that makes a folder, but files can be written with those above them.
const PLACEHOLDER: &str = ".sprite-empty-folder";
/// Most output of a command in the sprite that is kept, bytes.
const KEPT: usize = 32 << 20;
/// Bytes of input that are sent at once.
const PIECE: usize = 32 << 10;

/// What was copied, and what was not.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    files: u64,
    bytes: u64,
    pub(crate) folders: u64,
    links: u64,
    /// Not to be copied by its nature.
    passed: u64,
    failed: u64,
}

impl Tally {
    pub(crate) fn file(&mut self, size: u64) {
        self.files += 1;
        self.bytes += size;
    }

    /// Something is left out as it should be.
    pub(crate) fn pass(&mut self, why: &str) {
        self.passed += 1;
        output::remark(why);
    }

    /// Something is left out because of an error.
    pub(crate) fn fail(&mut self, why: &str) {
        self.failed += 1;
        output::remark(&format!("sprite: {why}"));
    }

    /// The same; an error when there is no use in going on.
    pub(crate) fn trouble(&mut self, trouble: Trouble) -> Result<(), Failure> {
        if trouble.ends_all {
            return Err(trouble.failure);
        }
        self.fail(&trouble.failure.to_string());
        Ok(())
    }

    fn words(&self) -> String {
        let counted = |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let mut words = format!("{} ({})", counted(self.files, "file"), output::bytes(self.bytes));
        for (count, one) in [(self.folders, "folder"), (self.links, "link")] {
            if count > 0 {
                words += &format!(", {}", counted(count, one));
            }
        }
        if self.passed > 0 {
            words += &format!("; {} left out", self.passed);
        }
        if self.failed > 0 {
            words += &format!("; {} left out because of errors", self.failed);
        }
        words
    }

    /// Tells all of it at the end, whichever it is.
    pub(crate) fn end(self, outcome: Result<(), Failure>) -> Outcome {
        if outcome.is_ok() || self.files > 0 {
            output::remark(&format!("Copied {}", self.words()));
        }
        outcome?;
        Ok(if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Copies a folder's contents into a folder of the sprite.
pub(crate) async fn push(client: &Client, name: &str, local: &Path, remote: &str) -> Outcome {
    let mut tally = Tally::default();
    let metadata = fs::metadata(local).map_err(Failure::io("read", local.display()))?;
    let outcome = if metadata.is_dir() {
        push_folder(client, name, local, remote, &mut tally).await
    } else {
        let size = push_one(client, name, local, remote, true).await;
        size.map(|size| tally.file(size)).map_err(Failure::from)
    };
    tally.end(outcome)
}

async fn push_folder(
    client: &Client,
    name: &str,
    local: &Path,
    remote: &str,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let is_new = match client.list_files(name, remote, false).await {
        Ok(listing) if one_file(&listing).is_some() => {
            return Err(Failure::Other(format!(
                "{remote} in {name}: it is no folder, and {} is one",
                local.display()
            )));
        }
        Ok(_) => false,
        Err(error) if system_error(&error) == Some("ENOENT") => true,
        Err(error) => return Err(Trouble::there(error, name, remote, &[]).into()),
    };
    let (mut folders, mut links, mut made) = (Vec::new(), Vec::new(), HashSet::new());
    for found in WalkDir::new(local).sort_by_file_name() {
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tally.fail(&error.to_string());
                continue;
            }
        };
        let below = found.path().strip_prefix(local).unwrap_or(found.path());
        let Some(to) = below.to_str().map(|below| joined(remote, below)) else {
            tally.fail(&format!(
                "{}: its name is not UTF-8, and the API has no way to say it",
                found.path().display()
            ));
            continue;
        };
        let (kind, failed) = (found.file_type(), Trouble::here("read", found.path()));
        if kind.is_dir() {
            match found.metadata() {
                Ok(metadata) => folders.push((below.to_owned(), to, metadata.permissions().mode())),
                Err(error) => tally.trouble(failed(error.into()))?,
            }
        } else if kind.is_file() {
            match push_one(client, name, found.path(), &to, true).await {
                Ok(size) => {
                    tally.file(size);
                    made.extend(below.ancestors().skip(1).map(Path::to_owned));
                }
                Err(trouble) => tally.trouble(trouble)?,
            }
        } else if kind.is_symlink() {
            match fs::read_link(found.path()) {
                Ok(target) => links.push((target, to)),
                Err(error) => tally.trouble(failed(error))?,
            }
        } else {
            let kind = match kind {
                kind if kind.is_fifo() => "pipe",
                kind if kind.is_socket() => "socket",
                _ => "device",
            };
            tally.pass(&format!("{} is a {kind} and is left out", found.path().display()));
        }
    }
    // The deepest first, which brings those above along.
    for (below, to, _) in folders.iter().rev() {
        if !made.contains(below) {
            match make_folder(client, name, to).await {
                Ok(()) => made.extend(below.ancestors().map(Path::to_owned)),
                Err(trouble) => tally.trouble(trouble)?,
            }
        }
    }
    make_links(client, name, &links, tally).await?;
    for (below, to, mode) in folders.iter().rev() {
        let is_top = below.as_os_str().is_empty();
        // Last, for in a folder that may not be written nothing could be made. One that was there before, as the whole or with usual permissions
        // here, keeps its own: whoever copies something into /tmp does not mean to change /tmp.
        let wanted = if is_top { is_new } else { mode & 0o7777 != USUAL };
        tally.folders += u64::from(!is_top && made.contains(below));
        if !wanted || !made.contains(below) {
            continue;
        }
        if let Err(error) = client.change_mode(name, to, Mode::new(*mode)).await {
            tally.trouble(Trouble::there(error, name, to, &[]))?;
        }
    }
    Ok(())
}

/// A path below one of the sprite.
pub(crate) fn joined(remote: &str, below: &str) -> String {
    match (below, remote.trim_end_matches('/')) {
        ("", _) => remote.to_owned(),
        (_, "") if remote.is_empty() => below.to_owned(),
        (_, folder) => format!("{folder}/{below}"),
    }
}

pub(crate) async fn make_folder(client: &Client, name: &str, path: &str) -> Result<(), Trouble> {
    let there = |error| Trouble::there(error, name, path, &[]);
    let placeholder = joined(path, PLACEHOLDER);
    let options = WriteOptions { mode: None, parents: true };
    let nothing = futures::stream::empty();
    client.write_file(name, &placeholder, options, Some(0), nothing).await.map_err(there)?;
    client.delete_file(name, &placeholder, false).await.map(drop).map_err(there)
}

/// Makes links in the sprite, each where it leads and where it is. One that is there gives way, a folder does not.
pub(crate) async fn make_links(
    client: &Client,
    name: &str,
    links: &[(PathBuf, String)],
    tally: &mut Tally,
) -> Result<(), Failure> {
    if links.is_empty() {
        return Ok(());
    }
    let mut input = Vec::new();
    for (target, path) in links {
        // One that begins with a hyphen is no option, because of the `--` before it.
        for word in [target.as_os_str().as_bytes(), path.as_bytes()] {
            input.extend_from_slice(word);
            input.push(0);
        }
    }
    let done = run(client, name, &["xargs", "-0", "-r", "-n", "2", "ln", "-sfT", "--"], input).await?;
    let count = links.len() as u64;
    if done.code == 0 {
        tally.links += count;
        return Ok(());
    }
    // `ln` tells one line for each that it does not make.
    let words = String::from_utf8_lossy(&done.errors).into_owned();
    let lines: Vec<&str> = words.lines().filter(|line| line.starts_with("ln:")).collect();
    for line in &lines {
        tally.fail(&format!("a link in {name}: {line}"));
    }
    if lines.is_empty() {
        tally.fail(&format!(
            "{count} links: they cannot be made in {name} (code {}): {}",
            done.code,
            words.trim()
        ));
        tally.failed += count - 1;
    } else {
        tally.links += count.saturating_sub(lines.len() as u64);
    }
    Ok(())
}

/// What a command in the sprite did.
struct Done {
    code: i32,
    output: Vec<u8>,
    errors: Vec<u8>,
}

/// Runs a command in the sprite to its end.
async fn run(client: &Client, name: &str, words: &[&str], input: Vec<u8>) -> Result<Done, Failure> {
    let request = ExecRequest {
        cmd: words.iter().map(|word| word.to_string()).collect(),
        // Where the paths of the file calls begin.
        dir: Some(HOME.into()),
        // Its words are read here.
        env: vec![("LC_ALL".into(), "C".into())],
        stdin: true,
        ..ExecRequest::default()
    };
    // The connection lasts as long as this half of it.
    let (sender, mut receiver) = client.exec(name, request).await?.split();
    let input_sender = sender.clone();
    tokio::spawn(async move {
        let sender = input_sender;
        for piece in input.chunks(PIECE) {
            if sender.input(Bytes::copy_from_slice(piece)).await.is_err() {
                return;
            }
        }
        // It may have ended without reading everything.
        let _ = sender.eof();
    });
    let cut = |why: &str| Failure::Other(format!("{} in {name}: {why}", words.join(" ")));
    let (mut output, mut errors, mut said) = (Vec::new(), Vec::new(), None);
    while let Some(event) = receiver.next().await {
        match event {
            ExecEvent::Stdout(bytes) => output.extend_from_slice(&bytes),
            ExecEvent::Stderr(bytes) => errors.extend_from_slice(&bytes),
            ExecEvent::Exit(code) => return Ok(Done { code, output, errors }),
            ExecEvent::Error(why) => said = Some(why),
            ExecEvent::Closed => break,
            ExecEvent::Info(_) | ExecEvent::Port { .. } => {}
        }
        if output.len() + errors.len() > KEPT {
            return Err(cut("it tells more than can be kept here"));
        }
    }
    drop(sender);
    Err(cut(said.as_deref().unwrap_or("the connection ended before the command did")))
}

/// Copies a folder's contents out of the sprite.
pub(crate) async fn pull(client: &Client, name: &str, remote: &str, local: &Path) -> Outcome {
    let listing = client.list_files(name, remote, true).await;
    let listing = listing.map_err(|error| Trouble::there(error, name, remote, &[]))?;
    let mut tally = Tally::default();
    let outcome = match one_file(&listing) {
        Some(entry) if entry.kind == FileKind::File => {
            let to = match Path::new(remote).file_name() {
                Some(file) if local.is_dir() => local.join(file),
                _ => local.to_owned(),
            };
            let size = pull_one(client, name, remote, &to, bits(entry)).await;
            size.map(|size| tally.file(size)).map_err(Failure::from)
        }
        _ => pull_folder(client, name, &listing, local, &mut tally).await,
    };
    tally.end(outcome)
}

/// The one entry of what is no folder.
pub(crate) fn one_file(listing: &Listing) -> Option<&Entry> {
    match &listing.entries[..] {
        [entry] if entry.path == listing.path => Some(entry),
        _ => None,
    }
}

/// Permissions as they are given to what is made here: for whom it is, and nothing by which a program would run as somebody else.
pub(crate) fn bits(entry: &Entry) -> Option<u32> {
    Mode::parse(&entry.mode).map(|mode| mode.bits() & 0o777)
}

async fn pull_folder(
    client: &Client,
    name: &str,
    listing: &Listing,
    local: &Path,
    tally: &mut Tally,
) -> Result<(), Failure> {
    fs::create_dir_all(local).map_err(Failure::io("make", local.display()))?;
    let (mut folders, mut links) = (Vec::new(), Vec::new());
    for entry in &listing.entries {
        let below = match inside(&entry.name).and_then(|below| clear(local, &below).map(|()| below)) {
            Ok(below) => below,
            Err(why) => {
                tally.fail(&why);
                continue;
            }
        };
        let to = local.join(&below);
        match entry.kind {
            FileKind::Symlink => links.push((below, to, &entry.path)),
            FileKind::Directory => match make_here(&to) {
                Ok(()) => {
                    tally.folders += 1;
                    folders.push((to, bits(entry)));
                }
                Err(trouble) => tally.trouble(trouble)?,
            },
            FileKind::File => match pull_file(client, name, entry, &to).await {
                Ok(Some(size)) => tally.file(size),
                Ok(None) => {
                    tally.pass(&format!("{} is a device, pipe or socket and is left out", entry.path))
                }
                Err(trouble) => tally.trouble(trouble)?,
            },
        }
    }
    // Only now, so that nothing above was written through one.
    if !links.is_empty() {
        let targets = targets(client, name, &listing.path).await?;
        for (below, to, path) in links {
            match targets.get(below.as_os_str()) {
                None => tally
                    .fail(&format!("{path} in {name}: where this link leads is not told; it is left out")),
                Some(target) if !leads_inside(&below, target) => tally.pass(&format!(
                    "{path} is a link to {}, not below the folder that is copied, and is left out",
                    target.display()
                )),
                // Links that were made meanwhile must not lead this one elsewhere.
                Some(_) if clear(local, &below).is_err() => {
                    tally.pass(&format!("{path} would be made through another link, and is left out"))
                }
                Some(target) => match make_link(&to, target) {
                    Ok(()) => tally.links += 1,
                    Err(trouble) => tally.trouble(trouble)?,
                },
            }
        }
    }
    // The deepest first and last of all, for in one that may not be written nothing could be made.
    for (folder, mode) in folders.iter().rev() {
        let Some(mode) = mode else { continue };
        if let Err(error) = fs::set_permissions(folder, Permissions::from_mode(*mode)) {
            tally.trouble(Trouble::here("set the permissions of", folder)(error))?;
        }
    }
    Ok(())
}

/// Copies one file of a listing; gives its size, or nothing if it is none with contents.
async fn pull_file(client: &Client, name: &str, entry: &Entry, to: &Path) -> Result<Option<u64>, Trouble> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(Trouble::here("make", folder))?;
    }
    match pull_one(client, name, &entry.path, to, bits(entry)).await {
        Ok(size) => Ok(Some(size)),
        // A listing shows them as files, and reading one tells what it is.
        Err(trouble) if trouble.failure.to_string().contains("only files can be read") => Ok(None),
        Err(trouble) => Err(trouble),
    }
}

fn make_here(folder: &Path) -> Result<(), Trouble> {
    let failed = Trouble::here("make", folder);
    match fs::symlink_metadata(folder) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(failed(std::io::Error::other("something else is in its place"))),
        Err(_) => fs::create_dir_all(folder).map_err(failed),
    }
}

fn make_link(at: &Path, target: &Path) -> Result<(), Trouble> {
    let failed = Trouble::here("make the link", at);
    if let Some(folder) = at.parent() {
        fs::create_dir_all(folder).map_err(&failed)?;
    }
    if fs::symlink_metadata(at).is_ok_and(|found| !found.is_dir()) {
        fs::remove_file(at).map_err(&failed)?;
    }
    std::os::unix::fs::symlink(target, at).map_err(failed)
}

/// Where the links below a folder of the sprite lead, by their path below it.
pub(crate) async fn targets(
    client: &Client,
    name: &str,
    folder: &str,
) -> Result<HashMap<OsString, PathBuf>, Failure> {
    let words = ["find", "-H", folder, "-mindepth", "1", "-type", "l", "-printf", "%P\\0%l\\0"];
    // What it may not look at is not told by it, and found missing.
    let done = run(client, name, &words, Vec::new()).await?;
    let mut words = done.output.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    let mut found = HashMap::new();
    while let (Some(path), Some(target)) = (words.next(), words.next()) {
        found.insert(path, target.into());
    }
    Ok(found)
}

/// A name that the sprite told, as a path that stays below the folder it is put into.
pub(crate) fn inside(name: &str) -> Result<PathBuf, String> {
    let path = Path::new(name);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !plain {
        return Err(format!(
            "the sprite names a file {name:?}, which is not below its folder; nothing was written there"
        ));
    }
    Ok(path.to_owned())
}

/// Whether no link stands here above a path, by which it would lead elsewhere.
fn clear(local: &Path, below: &Path) -> Result<(), String> {
    let above = below.ancestors().skip(1).filter(|part| !part.as_os_str().is_empty());
    let mut links = above.map(|part| local.join(part)).filter(|part| part.is_symlink());
    match links.next() {
        Some(link) => Err(format!(
            "{} would be written through {}, which is a link here; it is left out",
            local.join(below).display(),
            link.display()
        )),
        None => Ok(()),
    }
}

/// Whether a link leads to something below the folder that it is itself below.
fn leads_inside(below: &Path, target: &Path) -> bool {
    let mut room = below.components().count().saturating_sub(1);
    let mut named = false;
    for part in target.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(_) => named = true,
            Component::ParentDir if !named && room > 0 => room -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    !target.as_os_str().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn names_that_a_sprite_tells_stay_below_their_folder() {
        for name in ["a", "a/b.txt", "..a"] {
            assert!(inside(name).is_ok(), "{name}");
        }
        for name in ["", "..", "../x", "a/../../x", "/etc/passwd"] {
            assert!(inside(name).is_err(), "{name}");
        }
    }

    #[test]
    fn links_are_made_only_to_what_is_below() {
        let inside = |below: &str, target: &str| leads_inside(Path::new(below), Path::new(target));
        for (below, target) in
            [("a", "b"), ("a", "./b/c"), ("bin/x", "../lib/x.js"), ("a/b/c", "../../z"), ("a/b", "..")]
        {
            assert!(inside(below, target), "{below} {target}");
        }
        for (below, target) in [
            ("a", ".."),
            ("a", "../x"),
            ("a", "/etc/passwd"),
            ("a/b", "../../x"),
            ("a", "b/../../x"),
            // Where `b` is a link to something higher up this would be outside.
            ("a/c/d", "b/../x"),
            ("a", ""),
        ] {
            assert!(!inside(below, target), "{below} {target}");
        }
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(dir.path().join("real")).unwrap();
        symlink(other.path(), dir.path().join("real/link")).unwrap();
        assert!(clear(dir.path(), Path::new("real/a")).is_ok());
        // It gives way itself.
        assert!(clear(dir.path(), Path::new("real/link")).is_ok());
        assert!(clear(dir.path(), Path::new("real/link/a/b")).is_err());
        assert!(make_here(&dir.path().join("real/link")).is_err());
        make_link(&dir.path().join("real/link"), Path::new("a")).unwrap();
        assert_eq!(fs::read_link(dir.path().join("real/link")).unwrap(), Path::new("a"));
        assert!(make_link(&dir.path().join("real"), Path::new("a")).is_err());
    }

    #[test]
    fn what_was_copied_in_words() {
        let tally = Tally { files: 1, bytes: 2500, links: 2, failed: 1, ..Tally::default() };
        assert_eq!(tally.words(), "1 file (2.5 kB), 2 links; 1 left out because of errors");
    }

    #[test]
    fn paths_below() {
        assert_eq!(joined("work/", "a/b"), "work/a/b");
        assert_eq!(joined("/", "a"), "/a");
        assert_eq!(joined("work", ""), "work");
    }
}
