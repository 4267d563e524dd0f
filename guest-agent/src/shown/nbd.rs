//! Disks that somebody else serves, by the kernel's network block device (Linux, `drivers/block/nbd.c`; its interface is `linux/nbd.h`). One of the
//! modules with `unsafe`: its ioctls.

use nix::sys::signal::SigSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Bytes of a block.
const BLOCK: u64 = 4096;
/// The one who serves has so many seconds for each request; then the device fails.
const TIMEOUT: u64 = 60;
/// The kernel shows a device's size as soon as it has begun.
const BEGIN: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(2);

const SET_SOCK: u64 = 0xab00;
const SET_BLKSIZE: u64 = 0xab01;
const DO_IT: u64 = 0xab03;
const CLEAR_SOCK: u64 = 0xab04;
const SET_SIZE_BLOCKS: u64 = 0xab07;
const SET_TIMEOUT: u64 = 0xab09;
const SET_FLAGS: u64 = 0xab0a;
/// `NBD_FLAG_HAS_FLAGS` and `NBD_FLAG_READ_ONLY`.
const READ_ONLY: u64 = 0b11;

/// A device for a disk of `size` bytes that can only be read, and the socket on which requests for it come. It is there until that socket is closed.
///
/// Each device has a thread of its own, from its first step on: the kernel takes every step of the thread that took the first one, also when that
/// means another disk by now.
pub(super) fn attach(size: u64) -> io::Result<(PathBuf, UnixStream)> {
    let (ours, kernels) = UnixStream::pair()?;
    let (tell, told) = mpsc::channel();
    std::thread::Builder::new().name("nbd".into()).spawn(move || {
        // A signal to this thread, such as that a child has ended, would end the device.
        let _ = SigSet::all().thread_block();
        let prepared = prepare(size, &kernels);
        let device = match prepared {
            Ok((number, device)) => {
                let _ = tell.send(Ok(number));
                device
            }
            Err(error) => {
                let _ = tell.send(Err(error));
                return;
            }
        };
        // This lasts until the other end of the socket is closed, which is the end of a device and no failure.
        let _ = set(&device, DO_IT, 0);
        let _ = set(&device, CLEAR_SOCK, 0);
        drop(kernels);
    })?;
    let number = told.recv().map_err(io::Error::other)??;
    let shown = PathBuf::from(format!("/sys/block/nbd{number}/size"));
    let give_up = Instant::now() + BEGIN;
    while fs::read_to_string(&shown).is_ok_and(|size| size.trim() == "0") {
        if Instant::now() > give_up {
            return Err(io::Error::other("the kernel does not begin with the device"));
        }
        std::thread::sleep(LOOK);
    }
    Ok((PathBuf::from(format!("/dev/nbd{number}")), ours))
}

/// A free device, set up as far as it can be before it begins.
fn prepare(size: u64, socket: &UnixStream) -> io::Result<(usize, File)> {
    for number in 0.. {
        let opened = OpenOptions::new().read(true).write(true).open(format!("/dev/nbd{number}"));
        let device = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::other("all devices for checkpoints are in use"),
            _ => error,
        })?;
        if set(&device, SET_SOCK, socket.as_raw_fd() as u64).is_err() {
            // Somebody uses it.
            continue;
        }
        let ready = set(&device, SET_BLKSIZE, BLOCK)
            .and_then(|()| set(&device, SET_SIZE_BLOCKS, size / BLOCK))
            .and_then(|()| set(&device, SET_TIMEOUT, TIMEOUT))
            .and_then(|()| set(&device, SET_FLAGS, READ_ONLY));
        if let Err(error) = ready {
            let _ = set(&device, CLEAR_SOCK, 0);
            return Err(error);
        }
        return Ok((number, device));
    }
    Err(io::ErrorKind::NotFound.into())
}

fn set(device: &File, what: u64, value: u64) -> io::Result<()> {
    let device: RawFd = device.as_raw_fd();
    // SAFETY: these calls take a plain number and touch no memory of this process.
    let result = unsafe { libc::ioctl(device, what as _, value as libc::c_ulong) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
