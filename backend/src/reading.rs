//! Small files that people and other programs write: configurations, themes, tokens.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The text of a file of at most so many bytes. What is no file, as a pipe or a device, is not waited for and not read.
pub fn small(path: &Path, most: u64) -> io::Result<String> {
    let file =
        OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = String::new();
    match file.take(most + 1).read_to_string(&mut text)? as u64 {
        length if length > most => Err(io::Error::other("it is far too large and is not read")),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_small_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(small(&path, 5).unwrap(), "12345");
        assert!(small(&path, 4).unwrap_err().to_string().contains("too large"));
        assert_eq!(small(&dir.path().join("none"), 4).unwrap_err().kind(), io::ErrorKind::NotFound);
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for other in [dir.path(), &pipe, Path::new("/dev/zero"), Path::new("/dev/tty")] {
            assert!(small(other, 4).is_err(), "{}", other.display());
        }
    }
}
