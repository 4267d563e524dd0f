//! A machine process that a hostile guest has taken over, for the tests of the jail: goes into the jail as any machine process does, then tries what an
//! intruder would, and prints what came of it.
//!
//! | attempt | what it does |
//! |---|---|
//! | `files PATH…` | opens, makes and runs files outside of the machine's folders |
//! | `shared PATH…` | changes and removes files that it may read, because others hold them as well |
//! | `network PORT NAME` | reaches a TCP port of the host's loopback, and a socket in the abstract name space |
//! | `signals PID` | signals a process outside, and everybody it can see |
//! | `privileges` | does what takes privileges |
//! | `memory` | no attempt at all: takes much memory in small pieces and gives it back, in a thread of each kind, which must be let live |
//! | `calls` | makes each system call that is not on a thread's list, and the listed ones with flags that are not |
//!
//! All but the last are made without a filter of system calls: the other walls must hold by themselves.

use local_vmm::jail::{self, ROLES, Role};
use local_vmm::{Host, MachineSpec};
use std::ffi::CString;
use std::io::{self, Read};
use std::mem::zeroed;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Beyond the last system call of any kernel so far.
const CALLS: i64 = 512;
/// `uretprobe` and `uprobe`: the kernel lets them pass by all filters (Linux 6.11 and later), because they serve its own probes and nothing else.
const KERNELS_OWN: [i64; 2] = [335, 336];

/// Goes into the jail and makes an attempt; prints a line for each part of it, `out` when it was kept out and `IN` when it got through.
pub fn run(spec: &Path, attempt: &[&str]) -> Result<(), String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let spec = MachineSpec::load(spec).map_err(|error| told(&error))?;
    let machine = jail::part(&spec).map_err(|error| told(&error))?;
    let _host = Host::open(&spec);
    jail::enter(&spec, &machine).map_err(|error| told(&error))?;
    match attempt {
        ["files", paths @ ..] => paths.iter().for_each(|path| files(path)),
        ["shared", paths @ ..] => paths.iter().for_each(|path| shared(path)),
        ["network", port, name] => network(port.parse().map_err(|error| told(&error))?, name),
        ["signals", pid] => signals(pid.parse().map_err(|error| told(&error))?),
        ["privileges"] => privileges(),
        ["memory"] => ROLES.into_iter().for_each(memory),
        ["calls"] => ROLES.into_iter().for_each(|role| calls(role, spec.kind)),
        _ => return Err("there is no such attempt".into()),
    }
    Ok(())
}

/// The same behind the walls of a gateway: each path is opened, made, run, and connected to.
pub fn run_in_gateway(paths: &[&str]) -> Result<(), String> {
    local_vmm::gateway::confine(&local_vmm::gateway::Settings::default())
        .map_err(|error| error.to_string())?;
    for path in paths {
        files(path);
        tell(&format!("connect to {path}"), &std::os::unix::net::UnixStream::connect(path));
    }
    privileges();
    Ok(())
}

/// One attempt behind the walls of a process that reads a disk. What it may not ask the kernel for ends it.
pub fn run_in_reader(volume: &str, attempt: &str, path: &str) -> Result<(), String> {
    local_vmm::files::confine(std::path::Path::new(volume)).map_err(|error| error.to_string())?;
    let what = format!("{attempt} {path}");
    match attempt {
        "read" => tell(&what, &std::fs::read(path)),
        "write" => tell(&what, &std::fs::write(path, "y")),
        "append" => tell(&what, &std::fs::OpenOptions::new().append(true).open(path)),
        "remove" => tell(&what, &std::fs::remove_file(path)),
        "run" => tell(&what, &std::process::Command::new(path).status()),
        "connect" => tell(&what, &std::os::unix::net::UnixStream::connect(path)),
        "dial" => tell(&what, &std::net::TcpStream::connect(path)),
        "fill" => tell(&what, &Ok(vec![1u8; 2 << 30])),
        _ => return Err(format!("there is no attempt {attempt}")),
    }
    Ok(())
}

fn tell(what: &str, outcome: &io::Result<impl Sized>) {
    match outcome {
        Ok(_) => println!("IN {what}"),
        Err(error) => println!("out {what}: {error}"),
    }
}

/// What a system call gave.
fn outcome(given: i64) -> io::Result<i64> {
    if given < 0 { Err(io::Error::last_os_error()) } else { Ok(given) }
}

fn files(path: &str) {
    tell(
        &format!("read {path}"),
        &std::fs::read(path).map(drop).or_else(|_| std::fs::read_dir(path).map(drop)),
    );
    tell(&format!("make {path}.new"), &std::fs::write(format!("{path}.new"), "x"));
    tell(&format!("run {path}"), &std::process::Command::new(path).status());
    tell(&format!("remove {path}"), &std::fs::remove_file(path));
}

fn shared(path: &str) {
    use std::os::unix::fs::symlink;
    let first = std::fs::File::open(path).and_then(|mut file| file.read(&mut [0; 1]));
    if let Err(error) = first {
        println!("IN {path} cannot even be read: {error}");
    }
    tell(&format!("write {path}"), &std::fs::File::options().write(true).open(path));
    tell(&format!("cut {path}"), &std::fs::File::create(path));
    tell(&format!("remove {path}"), &std::fs::remove_file(path));
    tell(&format!("move {path}"), &std::fs::rename(path, format!("{path}.old")));
    let other = format!("{path}.other");
    // In the same folder files can be made; one that cannot is as good.
    let _ = std::fs::write(&other, "x");
    tell(&format!("replace {path}"), &std::fs::rename(&other, path));
    let _ = std::fs::remove_file(&other);
    tell(
        &format!("open {path} to others"),
        &std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)),
    );
    tell(&format!("link to {path}"), &std::fs::hard_link(path, format!("{path}.link")));
    tell(&format!("lead to {path}"), &symlink(path, format!("{path}.lead")));
}

fn network(port: u16, name: &str) {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream, UdpSocket};
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixStream};
    tell("TCP", &TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
    tell("TCP over IPv6", &TcpStream::connect((Ipv6Addr::LOCALHOST, port)));
    let datagram = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
    tell("UDP", &datagram.and_then(|socket| socket.send_to(b"x", (Ipv4Addr::LOCALHOST, port))));
    let place = SocketAddr::from_abstract_name(name);
    tell("an abstract socket", &place.and_then(|place| UnixStream::connect_addr(&place)));
    // SAFETY: these calls take numbers only.
    let raw = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) };
    tell("raw packets", &outcome(raw.into()));
}

fn signals(pid: i32) {
    // SAFETY: these calls take numbers only; signal 0 only asks whether a signal could be sent.
    let (one, all) = unsafe { (libc::kill(pid, 0), libc::kill(-1, 0)) };
    tell("signal a process", &outcome(one.into()));
    tell("signal everybody", &outcome(all.into()));
    // SAFETY: the call takes numbers only.
    let traced = unsafe { libc::ptrace(libc::PTRACE_ATTACH, pid, 0, 0) };
    tell("trace a process", &outcome(traced));
}

fn memory(role: Role) {
    let work = || {
        for _ in 0..3 {
            let pieces: Vec<Vec<u8>> = (0..4096).map(|_| vec![1; 16 << 10]).collect();
            drop(std::hint::black_box(pieces));
        }
    };
    match jail::spawn(role, "memory", work).map(std::thread::JoinHandle::join) {
        Ok(Ok(())) => println!("out {role:?} gave its memory back and lives"),
        other => println!("IN {role:?}: {other:?}"),
    }
}

fn privileges() {
    let none = std::ptr::null();
    let root = CString::from(c"/");
    // SAFETY: pointers are null or to a string that ends in zero, which these calls check and only read.
    let all = unsafe {
        [
            ("mount", i64::from(libc::mount(none, root.as_ptr(), c"tmpfs".as_ptr(), 0, none.cast()))),
            ("chroot", libc::chroot(root.as_ptr()).into()),
            ("a host name", libc::sethostname(c"x".as_ptr(), 1).into()),
            ("a device", libc::mknod(c"/null".as_ptr(), libc::S_IFCHR | 0o600, libc::makedev(1, 3)).into()),
            ("the clock", libc::settimeofday(&zeroed(), std::ptr::null()).into()),
            ("a lower niceness", libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, -20)),
            ("another group", libc::syscall(libc::SYS_setgid, 12345)),
            ("another user", libc::syscall(libc::SYS_setuid, 12345)),
            ("a module", libc::syscall(libc::SYS_init_module, 0, 0, c"".as_ptr())),
            ("a core file", {
                let most = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
                libc::setrlimit(libc::RLIMIT_CORE, &most).into()
            }),
        ]
    };
    // In this order: each call has left its reason in one place only.
    for (what, given) in all {
        println!("{} {what}", if given < 0 { "out" } else { "IN" });
    }
}

/// Makes calls behind a thread's filter, each in a process of its own, which must not survive it.
fn calls(role: Role, kind: local_vmm::Kind) {
    let listed = jail::allowed(role, kind);
    let unlisted = (0..CALLS)
        .filter(|number| !listed.contains(number) && !KERNELS_OWN.contains(number))
        .map(|number| (number, [0; 3]));
    // Listed, but not like this.
    let far: i64 = 1 << 40;
    let exec = i64::from(libc::PROT_EXEC | libc::PROT_READ);
    let wrong = [
        (libc::SYS_mmap, [0, 4096, exec]),
        (libc::SYS_mprotect, [far, 4096, exec]),
        (libc::SYS_clone, [libc::SIGCHLD.into(), 0, 0]),
        (libc::SYS_ioctl, [1, libc::TIOCSTI as i64, 0]),
        (libc::SYS_socketpair, [libc::AF_INET.into(), 0, 0]),
        (libc::SYS_tgkill, [2, 2, 0]),
        (libc::SYS_prctl, [libc::PR_SET_DUMPABLE.into(), 1, 0]),
    ];
    let mut tried = 0;
    for (number, [a, b, c]) in unlisted.chain(wrong) {
        // SAFETY: there is one thread; the child makes two calls and ends.
        match unsafe { libc::fork() } {
            0 => {
                if jail::confine_this_thread(role).is_ok() {
                    // SAFETY: the filter ends the process before the kernel does anything.
                    unsafe { libc::syscall(number, a, b, c) };
                }
                // SAFETY: nothing of this process is of use any more.
                unsafe { libc::_exit(0) }
            }
            child => {
                let mut status = 0;
                // SAFETY: the status lies on this stack.
                unsafe { libc::waitpid(child, &mut status, 0) };
                if !libc::WIFSIGNALED(status) || libc::WTERMSIG(status) != libc::SIGSYS {
                    println!("IN {role:?} call {number} {a} {b} {c}: status {status:#x}");
                }
                tried += 1;
            }
        }
    }
    println!("out {role:?}: {tried} calls");
}
