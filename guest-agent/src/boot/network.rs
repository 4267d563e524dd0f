//! The machine's own name and its loopback device. One of the modules with `unsafe`: the interface ioctls.

use super::say;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;

/// A hosts file larger than this is somebody's special work and is left alone, bytes.
const HOSTS_LIMIT: usize = 64 << 10;
/// Address of the machine's own name, by Debian's custom.
const OWN: &str = "127.0.1.1";

/// Sets the name and brings the loopback device up. Failures are told and do not stop the sprite.
pub(super) fn settle(name: Option<&str>) {
    let name = name.unwrap_or("sprite");
    if let Err(error) = nix::unistd::sethostname(name) {
        say(&format!("the host name was not set: {}", error.desc()));
    }
    if let Err(error) = loopback_up() {
        say(&format!("the loopback device did not come up: {error}"));
    }
    if let Err(error) = write_changed("/etc/hostname", &format!("{name}\n")).and_then(|()| {
        let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
        if hosts.len() > HOSTS_LIMIT { Ok(()) } else { write_changed("/etc/hosts", &with_name(&hosts, name)) }
    }) {
        say(&format!("the hosts file was not written: {error}"));
    }
}

/// Writes only what differs: a boot should not dirty blocks for nothing.
fn write_changed(path: &str, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|present| present == text) { Ok(()) } else { fs::write(path, text) }
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

fn loopback_up() -> io::Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: all zeros is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is a valid `ifreq` with a name and flags, and the call only reads it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
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
