//! File systems made by `mke2fs`, changed by `debugfs`, and read here.

use crate::compare;
use crate::device::Device;
use crate::state::State;
use crate::{Ask, Error, answer, text};
use proptest::prelude::*;
use sprites_api::state::{Aspect, Change, Contents, Diff};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// A disk in memory. Holders are what its blocks hold, so that two states of it are compared as those of a volume are.
#[derive(Clone)]
struct Memory(Vec<u8>);

impl Device for Memory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let part = self.0.get(from..from.saturating_add(buffer.len()));
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn holder(&self, offset: u64, most: u64) -> (Option<u128>, u64) {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let block = offset / 4096 * 4096;
        let Some(bytes) = self.0.get(block as usize..(block + 4096) as usize) else { return (None, 0) };
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let empty = bytes.iter().all(|byte| *byte == 0);
        ((!empty).then(|| hasher.finish().into()), most.min(block + 4096 - offset))
    }

    fn is_still(&self) -> io::Result<bool> {
        Ok(true)
    }
}

/// A tool of e2fsprogs, which is not on every user's path.
fn tool(name: &str, arguments: &[&str]) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let done = Command::new(name).args(arguments).env("PATH", path).output().expect(name);
    assert!(done.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn state(disk: &[u8]) -> State<Memory> {
    State::open(Memory(disk.to_vec()), soon()).unwrap()
}

fn read(state: &State<Memory>, path: &str) -> Vec<u8> {
    let (_, content) = state.open_file(path).unwrap();
    let mut bytes = vec![0; content.size as usize];
    assert_eq!(state.ext4.read_content(&content, 0, &mut bytes).unwrap(), bytes.len());
    bytes
}

fn names(state: &State<Memory>, path: &str) -> Vec<String> {
    state.list(path).unwrap().entries.into_iter().map(|entry| entry.name).collect()
}

/// A file system of everything that there is: links of all lengths, a directory with an index, files with holes, many extents.
fn image() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let put = |path: &str, bytes: &[u8]| fs::write(root.join(path), bytes).unwrap();
    for folder in ["etc", "many", "deep/er/and/deeper"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    put("etc/hosts", b"127.0.0.1 localhost\n");
    put("etc/empty", b"");
    put("etc/large", &(0..3_000_000u32).map(|at| (at / 7) as u8).collect::<Vec<_>>());
    fs::set_permissions(root.join("etc/hosts"), fs::Permissions::from_mode(0o640)).unwrap();
    (0..2000).for_each(|number| put(&format!("many/a-file-with-a-rather-long-name-{number}"), b"x"));
    put("deep/er/and/deeper/file", b"deep\n");
    let links: [(&str, &str); 7] = [
        ("short", "etc/hosts"),
        ("long", &format!("{}etc/hosts", "./".repeat(60))),
        ("absolute", "/etc/hosts"),
        ("out", "../../../../../etc/hosts"),
        ("folder", "deep/er"),
        ("loop", "loop"),
        ("nowhere", "/not/here"),
    ];
    links.iter().for_each(|(name, target)| symlink(target, root.join(name)).unwrap());
    finish(dir.path(), &["-d", root.to_str().unwrap()])
}

fn finish(dir: &Path, more: &[&str]) -> Vec<u8> {
    let disk = dir.join("disk");
    let arguments = ["-q", "-F", "-t", "ext4", "-b", "4096", "-J", "size=4"];
    tool("mke2fs", &[&arguments[..], more, &[disk.to_str().unwrap(), "48M"]].concat());
    fs::read(disk).unwrap()
}

static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(image);

/// The image after commands of `debugfs`; `files` are written beside it first and stand for `$name` in the commands.
fn changed(commands: &[&str], files: &[(&str, &[u8])]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    fs::write(&disk, &*IMAGE).unwrap();
    let mut script = commands.join("\n");
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
        script = script.replace(&format!("${name}"), dir.path().join(name).to_str().unwrap());
    }
    let commands = dir.path().join("commands");
    fs::write(&commands, script + "\n").unwrap();
    tool("debugfs", &["-w", "-f", commands.to_str().unwrap(), disk.to_str().unwrap()]);
    fs::read(disk).unwrap()
}

fn diff(one: &[u8], two: &[u8]) -> Diff {
    compare::compare(&state(one), &state(two)).unwrap()
}

#[test]
fn paths_lead_through_links_and_not_out() {
    let state = state(&IMAGE);
    for path in [
        "/etc/hosts",
        "/short",
        "/long",
        "/absolute",
        "/out",
        "//etc/./../etc/hosts",
        "/folder/../../etc/hosts",
    ] {
        assert_eq!(read(&state, path), b"127.0.0.1 localhost\n", "{path}");
    }
    assert_eq!(names(&state, "/folder"), ["and"]);
    let listing = state.list("/folder/and/deeper").unwrap();
    assert_eq!(
        (listing.path.as_str(), listing.entries[0].path.as_str()),
        ("/deep/er/and/deeper", "/deep/er/and/deeper/file")
    );
    let hosts = &state.list("/etc/hosts").unwrap().entries[0];
    assert_eq!((hosts.mode.as_str(), hosts.size, hosts.is_dir), ("0640", 20, false));
    assert!(hosts.mod_time.as_micros() > 1_600_000_000_000_000);
    let fails = |path: &str| state.find(path, true).map(|found| found.path).unwrap_err();
    assert!(matches!(fails("/nowhere"), Error::NotFound(_)));
    assert!(matches!(fails("/loop"), Error::Links(_)));
    assert!(matches!(fails("/etc/hosts/x"), Error::NotADirectory(_)));
    assert!(matches!(fails("etc"), Error::BadPath(_)));
    assert!(matches!(state.open_file("/etc").unwrap_err(), Error::IsADirectory(_)));
    assert_eq!(state.list("/many").unwrap().count, 2000);
}

/// Another reader of the same file system sees the same.
#[test]
fn a_library_reads_the_same() {
    let theirs = ext4_view::Ext4::load(Box::new(IMAGE.clone())).unwrap();
    let ours = state(&IMAGE);
    let (mut folders, mut files) = (vec!["/".to_owned()], 0);
    while let Some(folder) = folders.pop() {
        let mut seen = Vec::new();
        for entry in theirs.read_dir(folder.as_str()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().as_str().unwrap().to_owned();
            if name == "." || name == ".." {
                continue;
            }
            let path = entry.path().to_str().unwrap().to_owned();
            let (found, told) = (ours.find(&path, false).unwrap().inode, entry.metadata().unwrap());
            assert_eq!(
                (found.size, found.permissions(), found.uid),
                (told.len(), u32::from(told.mode()), told.uid())
            );
            let seconds = i128::from(told.modified().seconds());
            assert_eq!(found.modified, seconds * 1_000_000_000 + i128::from(told.modified().nanoseconds()));
            if told.is_dir() {
                folders.push(path);
            } else if !told.is_symlink() {
                assert_eq!(read(&ours, &path), theirs.read(path.as_str()).unwrap(), "{path}");
                files += 1;
            }
            seen.push(name);
        }
        seen.sort();
        assert_eq!(names(&ours, &folder), seen);
    }
    assert!(files > 2000);
}

#[test]
fn what_was_allocated_and_never_written_is_zeros() {
    let disk = changed(
        &["write $new /later", "fallocate /later 1 40", "sif /later size 100000"],
        &[("new", &[7; 4096])],
    );
    let bytes = read(&state(&disk), "/later");
    assert_eq!(bytes.len(), 100_000);
    assert!(bytes[..4096].iter().all(|byte| *byte == 7) && bytes[4096..].iter().all(|byte| *byte == 0));
}

#[test]
fn what_the_journal_holds_counts() {
    // The one block of /etc/hosts is found by looking for its bytes.
    let text = b"127.0.0.1 localhost\n";
    let block = IMAGE.chunks(4096).position(|block| block.starts_with(text)).unwrap();
    let mut fresh = [0; 4096];
    fresh[..20].copy_from_slice(b"127.0.0.1 otherplace");
    let mut magic = [9; 4096];
    magic[..4].copy_from_slice(&0xc03b_3998u32.to_be_bytes());
    let write = |name: &str| format!("jw -b {block} ${name}");
    let disk = changed(&["jo", &write("fresh"), "jc"], &[("fresh", &fresh)]);
    assert_eq!(&read(&state(&disk), "/etc/hosts")[..], &fresh[..20]);
    assert_eq!(diff(&IMAGE, &disk).incomplete, None);
    // A block that looks like the journal's own.
    let disk = changed(&["jo", &write("magic"), "jc"], &[("magic", &magic)]);
    assert_eq!(&read(&state(&disk), "/etc/hosts")[..], &magic[..20]);
    // Checksums make the journal's blocks longer and change where things stand.
    let disk = changed(&["jo -c", &write("fresh"), "jc"], &[("fresh", &fresh)]);
    assert_eq!(&read(&state(&disk), "/etc/hosts")[..], &fresh[..20]);
    // The last one counts, unless it was taken back.
    let disk =
        changed(&["jo", &write("magic"), &write("fresh"), "jc"], &[("fresh", &fresh), ("magic", &magic)]);
    assert_eq!(&read(&state(&disk), "/etc/hosts")[..], &fresh[..20]);
    let disk = changed(&["jo", &write("fresh"), &format!("jw -r {block}"), "jc"], &[("fresh", &fresh)]);
    assert_eq!(read(&state(&disk), "/etc/hosts"), text);
}

#[test]
fn what_changed_is_told() {
    assert_eq!(diff(&IMAGE, &IMAGE), Diff::default());
    let disk = changed(
        &[
            "rm /etc/hosts",
            "write $hosts /etc/hosts",
            "sif /etc/hosts mode 0100640",
            "mkdir /etc/new",
            "write $hosts /etc/new/file",
            "rm /many/a-file-with-a-rather-long-name-7",
            "sif /etc/empty uid 1000",
            "unlink /short",
            "symlink /short /etc/large",
        ],
        &[("hosts", b"127.0.0.1 localhost\n10.0.0.1 box\n")],
    );
    let found = diff(&IMAGE, &disk);
    let told: Vec<_> = found
        .changes
        .iter()
        .map(|line| (line.path.as_str(), line.change, line.before, line.after, line.aspects.as_slice()))
        .collect();
    let contents: &[Aspect] = &[Aspect::Contents];
    assert_eq!(
        told,
        [
            ("/etc/empty", Change::Changed, Some(0), Some(0), &[Aspect::Owner][..]),
            ("/etc/hosts", Change::Changed, Some(20), Some(33), contents),
            ("/etc/new", Change::Added, None, Some(0), &[]),
            ("/etc/new/file", Change::Added, None, Some(33), &[]),
            ("/many/a-file-with-a-rather-long-name-7", Change::Removed, Some(1), None, &[]),
            ("/short", Change::Changed, Some(9), Some(10), &[Aspect::Target]),
        ]
    );
    assert_eq!((found.added, found.changed, found.removed, found.incomplete), (2, 3, 1, None));
    assert!(found.disk_bytes > 0 && found.disk_bytes < 1 << 20, "{}", found.disk_bytes);
    // The other way round.
    let back = diff(&disk, &IMAGE);
    assert_eq!((back.added, back.changed, back.removed), (1, 3, 2));

    let (before, after) = (state(&IMAGE), state(&disk));
    let file = text::compare(&before, &after, "/etc/hosts").unwrap();
    assert_eq!(file.contents, Contents::Text);
    assert!(
        file.unified.contains("\n+10.0.0.1 box\n") && file.unified.contains("\n 127.0.0.1 localhost\n"),
        "{}",
        file.unified
    );
    let file = text::compare(&before, &after, "/short").unwrap();
    assert!(file.unified.contains("-etc/hosts") && file.unified.contains("+/etc/large"), "{}", file.unified);
    assert_eq!(text::compare(&before, &after, "/etc/large").unwrap().contents, Contents::Same);
    let added = text::compare(&before, &after, "/etc/new/file").unwrap();
    assert_eq!((added.before, added.after, added.contents), (None, Some(33), Contents::Text));
    assert!(matches!(text::compare(&before, &after, "/not"), Err(Error::NotFound(_))));
}

#[test]
fn the_same_bytes_elsewhere_are_the_same_file() {
    let disk = changed(
        &[
            "rm /etc/hosts",
            "write $hosts /etc/hosts",
            "sif /etc/hosts mode 0100640",
            "sif /etc/hosts mtime @1",
        ],
        &[("hosts", b"127.0.0.1 localhost\n")],
    );
    let found = diff(&IMAGE, &disk);
    assert_eq!(found.changes, []);
    assert!(found.disk_bytes > 0);
}

#[test]
fn bytes_come_after_their_head() {
    let ask = Ask::Read { at: "v0".into(), path: "/etc/hosts".into(), offset: 10, length: 5 };
    let mut out = Vec::new();
    answer(&ask, vec![Memory(IMAGE.clone())], soon(), &mut out).unwrap();
    let (head, bytes) = out.split_at(out.iter().position(|byte| *byte == b'\n').unwrap() + 1);
    assert_eq!(String::from_utf8_lossy(head), "{\"bytes\":{\"size\":20,\"mode\":416,\"length\":5}}\n");
    assert_eq!(bytes, b"local");
    let mut out = Vec::new();
    let ask = Ask::List { at: "v0".into(), path: "/not".into() };
    answer(&ask, vec![Memory(IMAGE.clone())], soon(), &mut out).unwrap();
    assert!(String::from_utf8_lossy(&out).contains("not_found"));
}

#[test]
fn a_deadline_ends_it() {
    assert!(matches!(
        State::open(Memory(IMAGE.clone()), Instant::now()).and_then(|state| state.list("/")),
        Err(Error::TooMuch(_))
    ));
}

#[test]
fn a_directory_in_itself_ends() {
    let disk = changed(&["link /deep /deep/er/again"], &[]);
    let found = diff(&[&IMAGE[..], &[]].concat(), &disk);
    assert!(found.changes.len() < 10, "{:?}", found.changes);
    assert!(state(&disk).list("/deep/er/again/er/again/er/again").is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever a guest writes: an answer, in time and without a panic.
    #[test]
    fn nonsense_is_answered(
        spots in prop::collection::vec((0usize..4096 * 1200, any::<u8>()), 1..400),
        words in prop::collection::vec((0usize..1200, 0usize..1020, any::<u32>()), 0..60),
    ) {
        let mut disk = IMAGE.clone();
        for (at, byte) in spots {
            disk[at] = byte;
        }
        for (block, word, value) in words {
            disk[block * 4096 + word * 4..][..4].copy_from_slice(&value.to_le_bytes());
        }
        // What is at the beginning decides whether anything is looked at at all.
        disk[..4096].copy_from_slice(&IMAGE[..4096]);
        let begin = Instant::now();
        let deadline = begin + Duration::from_secs(2);
        for ask in [
            Ask::List { at: String::new(), path: "/many".into() },
            Ask::Read { at: String::new(), path: "/etc/large".into(), offset: 5, length: 1 << 20 },
        ] {
            let _ = answer(&ask, vec![Memory(disk.clone())], deadline, &mut io::sink());
        }
        let ask = Ask::Diff { from: String::new(), to: String::new() };
        let _ = answer(&ask, vec![Memory(IMAGE.clone()), Memory(disk)], deadline, &mut io::sink());
        prop_assert!(begin.elapsed() < Duration::from_secs(10));
    }
}
