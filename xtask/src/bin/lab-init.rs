//! The first program of the lab's machine: loads the modules, mounts the disks, runs `/lab/run`, tells how it ended, and turns the machine off.
//!
//! It is linked statically, because there is nothing beside it yet.

use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::chroot;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a disk may take to appear.
const APPEAR: Duration = Duration::from_secs(10);

fn main() {
    // On anybody's machine this would be a disaster.
    if std::process::id() != 1 {
        eprintln!("lab-init is the first program of a machine and does nothing elsewhere");
        std::process::exit(2);
    }
    match work() {
        Ok(code) => println!("LAB EXIT {code}"),
        Err(error) => println!("LAB FAILED {error}"),
    }
    nix::unistd::sync();
    let Err(error) = reboot(RebootMode::RB_AUTOBOOT);
    println!("LAB FAILED to turn off: {error}");
}

fn work() -> Result<i32, Box<dyn Error>> {
    for (kind, at) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        put(kind, at, kind)?;
    }
    for name in fs::read_to_string("/modules/order")?.lines() {
        let module = File::open(Path::new("/modules").join(name))?;
        finit_module(&module, c"", ModuleInitFlags::empty()).map_err(|error| format!("{name}: {error}"))?;
    }
    for (disk, at) in [("/dev/vda", "/newroot"), ("/dev/vdb", "/newroot/lab")] {
        await_disk(disk)?;
        put(disk, at, "ext4")?;
    }
    await_disk("/dev/vdc")?;
    for (kind, at) in [
        ("proc", "/newroot/proc"),
        ("sysfs", "/newroot/sys"),
        ("devtmpfs", "/newroot/dev"),
        ("tmpfs", "/newroot/tmp"),
    ] {
        put(kind, at, kind)?;
    }
    // The new root takes the place of the old one: within a mere chroot the kernel makes no namespaces for users.
    std::env::set_current_dir("/newroot")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
    chroot(".")?;
    std::env::set_current_dir("/lab")?;
    let status = Command::new("/bin/sh")
        .arg("/lab/run")
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .status()?;
    Ok(status.code().unwrap_or(255))
}

fn await_disk(disk: &str) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    while !Path::new(disk).exists() {
        if begun.elapsed() > APPEAR {
            return Err(format!("{disk} does not appear").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn put(what: &str, at: &str, kind: &str) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(at)?;
    let done = mount(Some(what), at, Some(kind), MsFlags::empty(), None::<&str>);
    done.map_err(|error| format!("{what} cannot be mounted at {at}: {error}").into())
}
