//! What a program finds around itself: its environment, its working directory, its pipes.

use super::file::AsyncFile;
use super::user::User;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{Gid, Uid, fchown, pipe2};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Search path.
const PATH: &str =
    "/.sprite/bin:/home/sprite/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The standard environment, and over it what was asked for.
pub(crate) fn environment(
    user: &User,
    tty: bool,
    wanted: impl IntoIterator<Item = (String, String)>,
) -> BTreeMap<String, String> {
    let path = if user.is_other() { None } else { std::env::var("PATH").ok() };
    let standard = [
        ("PATH", path.unwrap_or_else(|| PATH.to_owned())),
        ("HOME", user.home.clone()),
        ("USER", user.name.clone()),
        ("LOGNAME", user.name.clone()),
        ("SHELL", user.shell.clone()),
        ("LANG", "C.UTF-8".to_owned()),
        ("TERM", if tty { "xterm-256color" } else { "dumb" }.to_owned()),
    ];
    let mut env: BTreeMap<String, String> =
        standard.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    env.extend(wanted);
    env
}

/// The working directory: the one that is wanted, a relative one from home on; else home; else the root. The error is a directory that is not
/// there.
pub(crate) fn directory(user: &User, wanted: Option<&str>) -> Result<String, String> {
    let is_folder = |path: &str| std::fs::metadata(path).is_ok_and(|meta| meta.is_dir());
    let home = if is_folder(&user.home) { user.home.clone() } else { "/".to_owned() };
    let Some(wanted) = wanted else { return Ok(home) };
    let dir = Path::new(&home).join(wanted).to_string_lossy().into_owned();
    if is_folder(&dir) { Ok(dir) } else { Err(dir) }
}

/// The environment as the kernel takes it.
pub(crate) fn words(environment: BTreeMap<String, String>) -> Vec<CString> {
    strings(environment.into_iter().map(|(key, value)| format!("{key}={value}")))
}

/// Text without NUL bytes, which the door has checked; an entry with one would be left out.
pub(crate) fn strings(list: impl IntoIterator<Item = String>) -> Vec<CString> {
    list.into_iter().filter_map(|text| CString::new(text).ok()).collect()
}

/// A pipe for a program's output: its end, and ours.
pub(crate) fn output(user: &User) -> io::Result<(OwnedFd, AsyncFile)> {
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
    own(&theirs, user, None);
    Ok((theirs, AsyncFile::new(ours)?))
}

/// Gives a pipe or terminal to a user: programs open `/dev/stdout` and its like by name, which asks for the owner's rights.
pub(crate) fn own(file: impl AsFd, user: &User, group: Option<u32>) {
    if user.is_other() {
        // Without it most programs work all the same, so a refusal is not worth failing for.
        let _ = fchown(file, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(group.unwrap_or(user.gid))));
    }
}

/// How much a pipe can hold, bytes; `otherwise` if the kernel does not say.
pub(crate) fn pipe_size(pipe: impl AsFd, otherwise: usize) -> usize {
    fcntl(pipe, FcntlArg::F_GETPIPE_SZ).map_or(otherwise, |size| size.max(0) as usize)
}
