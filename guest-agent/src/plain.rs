//! Small files that the machine itself reads and writes where anybody inside may put something else: a pipe, which would be waited for until
//! the end of days, or a file without end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Longest file, bytes.
const LONGEST: u64 = 64 << 10;

/// The text of a file; an error when it is none, or too long.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let length = open(OpenOptions::new().read(true), path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if length as u64 > LONGEST { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}

/// Writes it, in place of whatever is no file.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true);
    let mut file = open(options, path).or_else(|_| {
        fs::remove_file(path)?;
        open(options, path)
    })?;
    file.write_all(text.as_bytes())
}

fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;

    #[test]
    fn a_pipe_is_no_file_and_makes_room_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        assert!(read(&path).is_err());
        write(&path, "one\n").unwrap();
        write(&path, "two\n").unwrap();
        assert_eq!(read(&path).unwrap(), "two\n");
        fs::write(&path, vec![b'x'; LONGEST as usize + 1]).unwrap();
        assert!(read(&path).is_err());
        assert!(read(Path::new("/dev/zero")).is_err());
    }
}
