//! Where an endpoint is, and how the local one is started.

use crate::paths::Paths;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use url::Url;

/// How long a server may take from its start to its first answer.
const START: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// Most of a log that is told, bytes.
const TAIL: usize = 400;
/// A log that is larger begins anew, bytes.
const MAX_LOG: u64 = 4 << 20;

/// The vendor's own address.
pub const CLOUD: &str = "https://api.sprites.dev";

/// Where calls go.
#[derive(Clone, Debug)]
pub struct Endpoint {
    place: Place,
    token: Option<SecretString>,
}

/// How an endpoint is reached.
pub enum Access {
    /// By this unix socket.
    Socket(PathBuf),
    /// At this address, with this token.
    Url(String, Option<String>),
}

#[derive(Clone, Debug)]
pub(crate) enum Place {
    Socket(PathBuf),
    Url(Url),
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address is none.
    #[error("{address:?} is no address of an endpoint ({why}); use one such as {CLOUD}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The local server did not come up.
    #[error("the local server does not start: {0}")]
    Start(String),
}

impl Endpoint {
    /// The local server of these paths, by its unix socket.
    pub fn local(paths: &Paths) -> Self {
        Self { place: Place::Socket(paths.server_socket()), token: None }
    }

    /// Any server by its address.
    pub fn remote(address: &str, token: Option<SecretString>) -> Result<Self, EndpointError> {
        let refuse = |why: &str| EndpointError::Address {
            address: address.chars().take(120).collect(),
            why: why.into(),
        };
        let url = Url::parse(address).map_err(|error| refuse(&error.to_string()))?;
        let loopback = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => return Err(refuse("it names no host")),
        };
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            "http" => return Err(refuse("the token would be readable on the way; use https")),
            _ => return Err(refuse("it must begin with https://")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("it must not hold a user or password; give the token by itself"));
        }
        Ok(Self { place: Place::Url(url), token })
    }

    /// Whether it is this machine's own server.
    pub fn is_local(&self) -> bool {
        matches!(self.place, Place::Socket(_))
    }

    /// How another program reaches it; the token is in it, so it is for nobody's eyes.
    pub fn access(&self) -> Access {
        match &self.place {
            Place::Socket(path) => Access::Socket(path.clone()),
            Place::Url(url) => {
                let token = self.token.as_ref().map(|token| token.expose_secret().to_owned());
                Access::Url(url.to_string(), token)
            }
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn token(&self) -> Option<&SecretString> {
        self.token.as_ref()
    }
}

/// For people; never shows the token.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Socket(_) => write!(f, "the local server"),
            Place::Url(url) => write!(f, "{}", url.as_str().trim_end_matches('/')),
        }
    }
}

/// Makes sure that the local server answers: starts `exe serve` in a session of its own when nobody does. Two that do this at once are no
/// harm: one of the servers finds the other's lock and ends.
///
/// Blocks up to [`START`]; call it where that is allowed.
pub fn ensure_local_server(paths: &Paths, exe: &Path) -> Result<(), EndpointError> {
    let start = |error: &dyn fmt::Display| EndpointError::Start(error.to_string());
    paths.prepare().map_err(|error| start(&error))?;
    if answers(paths) {
        return Ok(());
    }
    let log = paths.server_log();
    if fs::metadata(&log).is_ok_and(|found| found.len() > MAX_LOG) {
        // The one before is kept; that it cannot be renamed is no reason not to start.
        let _ = fs::rename(&log, log.with_extension("log.old"));
    }
    let out = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&log)
        .map_err(|error| start(&format_args!("cannot write {}: {error}", log.display())))?;
    let from = out.metadata().map_or(0, |found| found.len());
    let err = out.try_clone().map_err(|error| start(&error))?;
    let mut command = Command::new(exe);
    command.arg("serve").stdin(Stdio::null()).stdout(out).stderr(err).current_dir("/");
    detach(&mut command);
    let mut child =
        command.spawn().map_err(|error| start(&format_args!("cannot run {}: {error}", exe.display())))?;
    let give_up = Instant::now() + START;
    loop {
        if answers(paths) {
            return Ok(());
        }
        // It may have ended because another one was faster, which then answers.
        let ended = child.try_wait().ok().flatten();
        if Instant::now() >= give_up || ended.is_some_and(|status| !status.success() && !held(paths)) {
            return Err(EndpointError::Start(tail(&log, from)));
        }
        std::thread::sleep(LOOK);
    }
}

/// Whether the last server ended in order, and not by a crash, and no other is there yet.
pub fn was_stopped(paths: &Paths) -> bool {
    !paths.server_info().exists() && !paths.server_socket().exists()
}

/// Whether somebody takes calls.
fn answers(paths: &Paths) -> bool {
    std::os::unix::net::UnixStream::connect(paths.server_socket()).is_ok()
}

/// Whether a server has the lock, even if it does not take calls yet.
fn held(paths: &Paths) -> bool {
    fs::File::open(paths.server_lock()).is_ok_and(|lock| lock.try_lock_shared().is_err())
}

/// Gives a process its own session, so that it neither gets the terminal's signals nor ends with it.
fn detach(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: setsid is a system call and nothing else, so it may be made between fork and exec.
    unsafe { command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from)) };
}

/// The end of what was written to a log since `from`.
fn tail(log: &Path, from: u64) -> String {
    let text = fs::read(log).unwrap_or_default();
    let fresh = text.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default();
    let words =
        String::from_utf8_lossy(&fresh[fresh.len().saturating_sub(TAIL)..]).trim().replace('\n', " | ");
    if words.is_empty() { format!("it says nothing; its log is {}", log.display()) } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let token = || Some(SecretString::from("secret-token"));
        for good in [
            CLOUD,
            "https://x.example/base/",
            "http://127.0.0.1:8080",
            "http://localhost:1",
            "http://[::1]:3",
        ] {
            let endpoint = Endpoint::remote(good, token()).unwrap();
            assert!(!format!("{endpoint} {endpoint:?}").contains("secret-token"));
        }
        for bad in [
            "",
            "api.sprites.dev",
            "http://api.sprites.dev",
            "ftp://x",
            "https://u:p@x.example",
            "file:///etc",
        ] {
            assert!(matches!(Endpoint::remote(bad, token()), Err(EndpointError::Address { .. })), "{bad}");
        }
    }

    #[test]
    fn a_server_that_does_not_start_is_told_with_its_words() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let exe = dir.path().join("server");
        fs::write(&exe, "#!/bin/sh\necho no database\nexit 3\n").unwrap();
        fs::set_permissions(&exe, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let error = ensure_local_server(&paths, &exe).unwrap_err().to_string();
        assert!(error.contains("no database"), "{error}");
        assert!(ensure_local_server(&paths, &dir.path().join("none")).is_err());
    }
}
