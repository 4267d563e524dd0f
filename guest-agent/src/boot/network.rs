//! The loopback device, and the card that leads outside. One of the modules with `unsafe`: the interface ioctls (`man 7 netdevice`, `man 7 rtnetlink`).

use crate::plain;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use sprites_api::agent::{ADDRESS, ADDRESS_V6, CARD, GATEWAY, GATEWAY_V6, NETMASK, PREFIX_V6};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// Begins the file of name servers that was written here. One that begins otherwise is somebody's own.
const MARK: &str = "# Made when the sprite starts; remove this line to keep what you write.\n";

/// Brings the loopback device up.
pub(super) fn loopback_up() -> io::Result<()> {
    up(&control(AddressFamily::Inet)?, "lo")
}

/// Gives the card its addresses and a way out, if there is a card; false if there is none.
pub(super) fn card_up(ipv6: bool) -> io::Result<bool> {
    if !has_card() {
        return Ok(false);
    }
    let socket = control(AddressFamily::Inet)?;
    for (what, address) in [(libc::SIOCSIFADDR, ADDRESS), (libc::SIOCSIFNETMASK, NETMASK)] {
        let mut request = named(CARD);
        request.ifr_ifru.ifru_addr = place(address);
        call(&socket, what, &request)?;
    }
    up(&socket, CARD)?;
    // SAFETY: all zeros is a valid `rtentry`.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = place([0; 4]);
    route.rt_genmask = place([0; 4]);
    route.rt_gateway = place(GATEWAY);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    match call(&socket, libc::SIOCADDRT, &route) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    name_server(Path::new("/etc/resolv.conf"))?;
    set_ipv6(ipv6)?;
    Ok(true)
}

/// Gives the card an address of IPv6 and a way out, or takes all of that family from it: where it leads nowhere, programs should not try it. Without
/// a card there is nothing to do.
pub(crate) fn set_ipv6(on: bool) -> io::Result<()> {
    if !has_card() {
        return Ok(());
    }
    // Nobody else is on the cable: no router that announces itself, and no address that somebody might have already.
    for (setting, value) in
        [("accept_ra", "0"), ("accept_dad", "0"), ("disable_ipv6", if on { "0" } else { "1" })]
    {
        match fs::write(format!("/proc/sys/net/ipv6/conf/{CARD}/{setting}"), value) {
            // A kernel without this family.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !on => return Ok(()),
            written => written?,
        }
    }
    if !on {
        return Ok(());
    }
    let socket = control(AddressFamily::Inet6)?;
    let number = if_nametoindex(CARD)? as libc::c_int;
    let place = |address: [u16; 8]| libc::in6_addr { s6_addr: Ipv6Addr::from(address).octets() };
    let address = libc::in6_ifreq {
        ifr6_addr: place(ADDRESS_V6),
        ifr6_prefixlen: PREFIX_V6.into(),
        ifr6_ifindex: number,
    };
    let route = Route6 {
        to: place([0; 8]),
        from: place([0; 8]),
        gateway: place(GATEWAY_V6),
        kind: 0,
        to_bits: 0,
        from_bits: 0,
        metric: 1,
        info: 0,
        flags: (libc::RTF_UP | libc::RTF_GATEWAY).into(),
        card: number,
    };
    for outcome in [call(&socket, libc::SIOCSIFADDR, &address), call(&socket, libc::SIOCADDRT, &route)] {
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// A route, in the form that the kernel takes it for IPv6 (`struct in6_rtmsg` of `linux/ipv6_route.h`).
#[repr(C)]
struct Route6 {
    to: libc::in6_addr,
    from: libc::in6_addr,
    gateway: libc::in6_addr,
    kind: u32,
    to_bits: u16,
    from_bits: u16,
    metric: u32,
    info: libc::c_ulong,
    flags: u32,
    card: libc::c_int,
}

fn has_card() -> bool {
    Path::new("/sys/class/net").join(CARD).exists()
}

/// Has programs ask the gateway for names, unless somebody has said otherwise.
fn name_server(path: &Path) -> io::Result<()> {
    let text = format!("{MARK}nameserver {}\n", Ipv4Addr::from(GATEWAY));
    match plain::read(path) {
        Ok(present) if present == text => Ok(()),
        Ok(present) if !present.is_empty() && !present.starts_with(MARK) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(()),
        _ => {
            // A link that leads nowhere is none.
            let _ = fs::remove_file(path);
            plain::write(path, &text)
        }
    }
}

fn control(family: AddressFamily) -> io::Result<OwnedFd> {
    Ok(socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?)
}

fn up(socket: &OwnedFd, name: &str) -> io::Result<()> {
    let mut request = named(name);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    call(socket, libc::SIOCSIFFLAGS, &request)
}

fn named(name: &str) -> libc::ifreq {
    // SAFETY: all zeros is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

/// An IPv4 address in the form of these calls: family, port, address (`struct sockaddr_in`).
fn place(address: [u8; 4]) -> libc::sockaddr {
    // SAFETY: all zeros is a valid `sockaddr`.
    let mut place: libc::sockaddr = unsafe { std::mem::zeroed() };
    place.sa_family = libc::AF_INET as libc::sa_family_t;
    for (to, from) in place.sa_data[2..].iter_mut().zip(address) {
        *to = from as libc::c_char;
    }
    place
}

fn call<T>(socket: &OwnedFd, what: libc::Ioctl, request: &T) -> io::Result<()> {
    // SAFETY: each of these calls reads the structure that it is given here, which is valid, and writes nothing.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), what, std::ptr::from_ref(request)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_wrote_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let ours = format!("{MARK}nameserver 10.0.2.2\n");
        for (before, after) in [
            (None, ours.as_str()),
            (Some(""), &ours),
            (Some(&format!("{MARK}nameserver 192.0.2.1\n")), &ours),
            (Some("nameserver 192.0.2.1\n"), "nameserver 192.0.2.1\n"),
        ] {
            let _ = fs::remove_file(&path);
            if let Some(before) = before {
                fs::write(&path, before).unwrap();
            }
            name_server(&path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
        }
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("nowhere/at/all", &path).unwrap();
        name_server(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), ours);
    }
}
