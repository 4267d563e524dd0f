//! Who the machine is: its host name, its hosts file, its machine id, and what sessions are told of it.

use crate::plain;
use nix::errno::Errno;
use sprites_api::agent::Identity;
use std::io;
use std::path::Path;

/// Address of the machine's own name, by Debian's custom.
const OWN: &str = "127.0.1.1";

/// Why the machine did not become what it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// The kernel refused.
    #[error("the host name was not set: {}", .0.desc())]
    Name(Errno),
    /// A file was not written.
    #[error("{0} was not written: {1}")]
    File(&'static str, io::Error),
}

/// Makes the machine that one. All steps are tried; gives the first failure.
pub(crate) fn take(identity: &Identity) -> Result<(), IdentityError> {
    let name = identity.name.as_deref().unwrap_or("sprite");
    let set = nix::unistd::sethostname(name).map_err(IdentityError::Name);
    let named = write_changed("/etc/hostname", &format!("{name}\n"));
    let known = match plain::read(Path::new("/etc/hosts")) {
        // It is somebody's special work.
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(()),
        hosts => write_changed("/etc/hosts", &with_name(&hosts.unwrap_or_default(), name)),
    };
    let numbered = match &identity.machine_id {
        Some(id) => write_changed("/etc/machine-id", &format!("{id}\n")),
        None => Ok(()),
    };
    set.and(named).and(known).and(numbered)
}

/// Environment of sessions that follows from it.
pub(crate) fn environment(identity: &Identity) -> impl Iterator<Item = (String, String)> {
    [("SPRITE_NAME", &identity.name), ("SPRITE_URL", &identity.url)]
        .into_iter()
        .filter_map(|(key, value)| value.clone().map(|value| (key.to_owned(), value)))
}

/// Writes only what differs: a boot should not dirty blocks for nothing.
fn write_changed(path: &'static str, text: &str) -> Result<(), IdentityError> {
    if plain::read(Path::new(path)).is_ok_and(|present| present == text) {
        return Ok(());
    }
    plain::write(Path::new(path), text).map_err(|error| IdentityError::File(path, error))
}

/// The hosts file with the machine's name on our line, and all other lines as they are.
fn with_name(hosts: &str, name: &str) -> String {
    let mut out: String = hosts
        .lines()
        .filter(|line| line.split_ascii_whitespace().next() != Some(OWN))
        .flat_map(|line| [line, "\n"])
        .collect();
    if !hosts.lines().any(|line| line.starts_with("127.0.0.1")) {
        out.insert_str(0, "127.0.0.1 localhost\n::1 localhost ip6-localhost\n");
    }
    out.push_str(&format!("{OWN} {name}\n"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let first = with_name("", "one");
        assert_eq!(first, "127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 one\n");
        let second = with_name(&format!("{first}10.0.0.1 mine"), "two");
        assert!(second.contains("10.0.0.1 mine\n") && second.ends_with("127.0.1.1 two\n"));
        assert!(!second.contains("one"));
        assert_eq!(with_name(&second, "two"), second);
    }
}
