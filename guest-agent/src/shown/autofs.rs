//! A folder whose entries are mounted when somebody enters them (Linux, `Documentation/filesystems/autofs.rst`; its interface is `linux/auto_fs.h`).
//! One of the modules with `unsafe`: its ioctls.

use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::unistd::pipe2;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// Bytes of a question of the kernel, `struct autofs_v5_packet`.
const PACKET: usize = 304;
/// `autofs_ptype_missing_indirect`: somebody waits for an entry.
const MISSING: u32 = 3;
const READY: u64 = 0x9360;
const FAIL: u64 = 0x9361;

/// Somebody waits for an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    token: u32,
    /// Its name.
    pub(super) name: String,
}

/// Where the kernel asks.
pub(super) struct Questions(Receiver);

/// The folder, to answer.
#[derive(Debug)]
pub(super) struct Folder(File);

/// Makes `path` such a folder. Whoever calls this, and all of its process group, sees it as it is.
pub(super) fn open(path: &Path) -> io::Result<(Folder, Questions)> {
    fs::create_dir_all(path)?;
    let (questions, kernels) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    let options = format!("fd={},minproto=5,maxproto=5,indirect", kernels.as_raw_fd());
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("checkpoints"), path, Some("autofs"), flags, Some(options.as_str()))?;
    Ok((Folder(File::open(path)?), Questions(Receiver::from_owned_fd(questions)?)))
}

impl Questions {
    /// The next entry that is wanted; none when the folder is gone.
    pub(super) async fn next(&mut self) -> Option<Wanted> {
        let mut packet = [0; PACKET];
        loop {
            self.0.read_exact(&mut packet).await.ok()?;
            if let Some(wanted) = parse(&packet) {
                return Some(wanted);
            }
        }
    }
}

/// Layout: version and type (i32 each), token, device (u32), inode (u64), four ids, length of the name (u32 each), the name (256 bytes).
fn parse(packet: &[u8; PACKET]) -> Option<Wanted> {
    let number = |at: usize| u32::from_ne_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
    let length = usize::try_from(number(40)).ok()?;
    let name = packet.get(44..44 + length.min(256))?;
    (number(4) == MISSING)
        .then(|| Wanted { token: number(8), name: String::from_utf8_lossy(name).into_owned() })
}

impl Folder {
    /// Lets those who wait go on; without success they are told that there is no such entry.
    pub(super) fn answer(&self, wanted: &Wanted, success: bool) {
        let call = if success { READY } else { FAIL };
        // SAFETY: these calls take a plain number and touch no memory of this process.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), call as _, libc::c_ulong::from(wanted.token)) };
        if result < 0 {
            eprintln!("sprite-agent: those who wait for {} cannot be told", wanted.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions() {
        let mut packet = [0; PACKET];
        packet[..4].copy_from_slice(&5u32.to_ne_bytes());
        packet[4..8].copy_from_slice(&MISSING.to_ne_bytes());
        packet[8..12].copy_from_slice(&77u32.to_ne_bytes());
        packet[40..44].copy_from_slice(&2u32.to_ne_bytes());
        packet[44..46].copy_from_slice(b"v3");
        assert_eq!(parse(&packet), Some(Wanted { token: 77, name: "v3".into() }));
        // An expiry is none of our business, and a length beyond the name is none.
        packet[4] = 4;
        assert_eq!(parse(&packet), None);
        packet[4] = 3;
        packet[40..44].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(parse(&packet).unwrap().name.len(), 256);
    }
}
