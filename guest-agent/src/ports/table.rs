//! The kernel's list of TCP sockets, proc(5).

use sprites_api::exec::PortEvent;
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The state in which a socket listens, in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// Every port that somebody listens on. Who does is looked for only if the port is not among those known `before`.
pub(super) fn listening(before: &BTreeMap<u16, PortEvent>) -> BTreeMap<u16, PortEvent> {
    let mut found: BTreeMap<u16, Socket> = BTreeMap::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(file).unwrap_or_default();
        for socket in text.lines().filter_map(parse) {
            // One line for a port, though it may be open on several addresses: the first is IPv4, which can be reached always.
            found.entry(socket.port).or_insert(socket);
        }
    }
    let is_new = found.iter().any(|(port, _)| !before.contains_key(port));
    let owners = if is_new { owners() } else { BTreeMap::new() };
    found
        .into_iter()
        .map(|(port, socket)| {
            let event = before.get(&port).cloned().unwrap_or_else(|| PortEvent {
                port,
                address: socket.address.to_string(),
                pid: owners.get(&socket.inode).copied().unwrap_or(0),
            });
            (port, event)
        })
        .collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Socket {
    address: IpAddr,
    port: u16,
    inode: u64,
}

/// One line of the list, if it is of a socket that listens.
fn parse(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    Some(Socket { address: parse_address(address)?, port: u16::from_str_radix(port, 16).ok()?, inode })
}

/// An address as the kernel prints it: words of 32 bits in the host's order, each in hexadecimal digits.
fn parse_address(text: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for at in (0..text.len()).step_by(8) {
        let word = u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => Some(Ipv4Addr::from(four).into()),
        Err(_) => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?).into()),
    }
}

/// Which process has which socket; of several, one.
fn owners() -> BTreeMap<u64, i32> {
    let mut owners = BTreeMap::new();
    let Ok(processes) = fs::read_dir("/proc") else { return owners };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        for file in files.flatten() {
            let Ok(target) = fs::read_link(file.path()) else { continue };
            let inode = target
                .to_str()
                .and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                owners.entry(inode).or_insert(pid);
            }
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_list() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0";
        let socket = Socket { address: Ipv4Addr::LOCALHOST.into(), port: 8080, inode: 4711 };
        assert_eq!(parse(line), Some(socket));
        let six = "   1: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0";
        assert_eq!(parse(six).map(|socket| socket.address), Some(Ipv6Addr::LOCALHOST.into()));
        for bad in [
            "",
            "  sl  local_address rem_address   st",
            &line.replace(" 0A ", " 01 "),
            &line.replace("1F90", ""),
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn finds_a_port_and_who_has_it() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = listening(&BTreeMap::new());
        assert_eq!(found[&port].pid, std::process::id() as i32);
        assert_eq!(found[&port].address, "127.0.0.1");
        drop(socket);
        assert!(!listening(&found).contains_key(&port));
    }
}
