//! Files inside a sprite: what `/v1/sprites/{name}/fs/…` takes and answers.
//!
//! Paths are those of the sprite. A relative one is joined to `workingDir`; `~` means nothing. Names that are not UTF-8 are
//! shown with replacement characters.

use crate::Time;
use serde::{Deserialize, Deserializer, Serialize};

/// Most pairs or entries that an answer about a whole tree lists; its count goes on.
pub const MAX_LISTED: usize = 10_000;

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A file of bytes; sockets, pipes and devices are shown as one too.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, whatever it leads to.
    Symlink,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Last part of the path; in a recursive listing it is relative to the directory that was asked for.
    pub name: String,
    /// Absolute path.
    pub path: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: FileKind,
    /// Bytes.
    #[serde(default)]
    pub size: u64,
    /// Permission bits, octal.
    #[serde(default)]
    pub mode: String,
    /// Last change of its contents.
    pub mod_time: Time,
    /// Whether it is a directory.
    #[serde(default)]
    pub is_dir: bool,
}

/// Answer of list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The directory, or the one file, that was asked for.
    pub path: String,
    /// Its entries, by name.
    pub entries: Vec<Entry>,
    /// Their number.
    #[serde(default)]
    pub count: usize,
}

/// Answer of write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Absolute path.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Permission bits, octal.
    pub mode: String,
}

/// Body of delete in its older form; the newer one has the same words in its query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Delete {
    /// What to delete.
    pub path: String,
    /// Where a relative path begins.
    pub working_dir: Option<String>,
    /// With everything below.
    pub recursive: bool,
    /// Accepted; the agent has every right already.
    pub as_root: bool,
}

/// Answer of delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Absolute paths that were asked for and are gone.
    pub deleted: Vec<String>,
    /// Their number.
    pub count: usize,
}

/// Body of rename and copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Transfer {
    /// From here.
    pub source: String,
    /// To here.
    pub dest: String,
    /// Where relative paths begin.
    pub working_dir: Option<String>,
    /// Copy: a directory with everything below.
    pub recursive: bool,
    /// Copy: owner, permissions and times as well.
    pub preserve_attrs: bool,
    /// What is new belongs to root, not to the sprite's user.
    pub as_root: bool,
}

/// From where to where, absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// From here.
    pub source: String,
    /// To here.
    pub dest: String,
}

/// Answer of copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Copied {
    /// Files that were copied, the first [`MAX_LISTED`].
    pub copied: Vec<Pair>,
    /// How many were copied in all.
    pub count: usize,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// Body of chmod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChangeMode {
    /// What to change.
    pub path: String,
    /// Where a relative path begins.
    pub working_dir: Option<String>,
    /// Octal digits, or the number itself.
    pub mode: Option<Mode>,
    /// Everything below as well.
    pub recursive: bool,
    /// Accepted; the agent has every right already.
    pub as_root: bool,
}

/// Body of chown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChangeOwner {
    /// What to change.
    pub path: String,
    /// Where a relative path begins.
    pub working_dir: Option<String>,
    /// A number or a name; absent: unchanged.
    pub uid: Option<Owner>,
    /// A number or a name; absent: unchanged.
    pub gid: Option<Owner>,
    /// Everything below as well.
    pub recursive: bool,
    /// Accepted; the agent has every right already.
    pub as_root: bool,
}

/// What chmod or chown changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected<T> {
    /// The first [`MAX_LISTED`].
    pub affected: Vec<T>,
    /// How many in all.
    pub count: usize,
}

/// One item of chmod's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeOf {
    /// Absolute path.
    pub path: String,
    /// Permission bits, octal.
    pub mode: String,
}

/// One item of chown's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerOf {
    /// Absolute path.
    pub path: String,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A user or a group, by number or by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Owner {
    /// Its number.
    Number(u32),
    /// Its name, or its number in digits.
    Name(String),
}

/// Permission bits, at most `0o7777`. On the wire octal digits with or without zeros in front; one client sends the number itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(u32);

impl Mode {
    /// What a file gets that is new and was given none.
    pub const FILE: Self = Self(0o644);
    /// What a directory gets that is new.
    pub const DIRECTORY: Self = Self(0o755);

    /// Bits above the permissions are dropped.
    pub fn new(bits: u32) -> Self {
        Self(bits & 0o7777)
    }

    /// Reads octal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let fits =
            (1..=6).contains(&digits.len()) && digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
        u32::from_str_radix(digits, 8).ok().filter(|bits| fits && *bits <= 0o7777).map(Self)
    }

    /// The bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Serialize for Mode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u32),
            Text(String),
        }
        let mode = match Form::deserialize(deserializer)? {
            Form::Number(bits) => (bits <= 0o7777).then_some(Self(bits)),
            Form::Text(text) => Self::parse(&text),
        };
        mode.ok_or_else(|| serde::de::Error::custom("a mode is octal digits such as 0644"))
    }
}

/// Error body of the file calls, which differs from the common one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileError {
    /// One sentence.
    pub error: String,
    /// Name of the system's error: `ENOENT`, `EEXIST`, `ENOTDIR`, `EISDIR`, `EACCES`, `EPERM`, `ENOTEMPTY`, `EINVAL` or `EIO`.
    #[serde(default)]
    pub code: String,
    /// What it is about.
    #[serde(default)]
    pub path: String,
}

/// Text frame of a client of `fs/watch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WatchRequest {
    /// Watch these as well.
    #[serde(rename_all = "camelCase")]
    Subscribe {
        /// Files or directories.
        #[serde(default)]
        paths: Vec<String>,
        /// Everything below as well.
        #[serde(default)]
        recursive: bool,
        /// Where relative paths begin.
        #[serde(default)]
        working_dir: Option<String>,
    },
    /// Anything else; ignored.
    #[serde(other)]
    Unknown,
}

/// Text frame of the server of `fs/watch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WatchMessage {
    /// From now on these are watched.
    Subscribed {
        /// Absolute paths.
        paths: Vec<String>,
    },
    /// Something changed.
    #[serde(rename_all = "camelCase")]
    Event {
        /// Absolute path.
        path: String,
        /// How it changed.
        event: Change,
        /// When it was noticed.
        timestamp: Time,
        /// Bytes, 0 when it is gone.
        size: u64,
        /// Whether it is a directory; false when it is gone.
        is_dir: bool,
    },
    /// It cannot be watched, or changes were missed.
    Error {
        /// One sentence.
        message: String,
    },
}

/// Part of [`WatchMessage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Its contents.
    Write,
    /// It is new.
    Create,
    /// It is gone.
    Remove,
    /// It has another name, or this is its new one.
    Rename,
    /// Its owner or permissions.
    Chmod,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        for (text, bits) in [("0644", 0o644), ("644", 0o644), ("0755", 0o755), ("0", 0), ("07777", 0o7777)] {
            assert_eq!(Mode::parse(text).map(Mode::bits), Some(bits), "{text}");
        }
        for text in ["", "8", "rw", "-1", "0o", "10000", "0000000644", "+644"] {
            assert_eq!(Mode::parse(text), None, "{text}");
        }
        let read = |json: &str| serde_json::from_str::<ChangeMode>(json).ok().and_then(|body| body.mode);
        assert_eq!(read(r#"{"path":"x","mode":493}"#), Some(Mode(0o755)));
        assert_eq!(read(r#"{"path":"x","mode":"755"}"#), Some(Mode(0o755)));
        assert_eq!(read(r#"{"path":"x","mode":"999"}"#), None);
        assert_eq!(serde_json::to_string(&Mode(0o755)).unwrap(), r#""0755""#);
    }

    #[test]
    fn frames_of_a_watch() {
        let text = r#"{"type":"subscribe","paths":["src"],"recursive":true,"workingDir":"/app"}"#;
        let WatchRequest::Subscribe { paths, recursive, working_dir } = serde_json::from_str(text).unwrap()
        else {
            panic!("{text}")
        };
        assert_eq!((paths, recursive, working_dir.as_deref()), (vec!["src".into()], true, Some("/app")));
        assert_eq!(
            serde_json::from_str::<WatchRequest>(r#"{"type":"ping"}"#).unwrap(),
            WatchRequest::Unknown
        );
        let gone = WatchMessage::Event {
            path: "/a".into(),
            event: Change::Remove,
            timestamp: Time::now(),
            size: 0,
            is_dir: false,
        };
        let told = serde_json::to_value(&gone).unwrap();
        assert_eq!(
            (told["type"].as_str(), told["event"].as_str(), told["isDir"].as_bool()),
            (Some("event"), Some("remove"), Some(false))
        );
    }
}
