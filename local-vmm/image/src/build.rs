//! The steps of a build, in a folder of its own.

use crate::command::Run;
use crate::kernel::Kernel;
use crate::progress::{BOOTSTRAP_END, Reader};
use crate::recipe::{CLEAN, CUSTOMIZE, DPKG_OPTIONS, MAKE_EXT4};
use crate::{Cancel, Config, Error, Progress, Result, archive};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// File names of an image.
pub(crate) const ROOTFS: &str = "rootfs.ext4";
pub(crate) const KERNEL: &str = "vmlinuz";
pub(crate) const MODULES: &str = "modules.cpio";
/// There only when asked for.
pub(crate) const NESTED: &str = "nested.cpio";
/// Carries the kernel's version to the description; not part of the finished image.
pub(crate) const VERSION: &str = "version";

/// A slow line fetches a few hundred megabytes in this time.
const BOOTSTRAP_DEADLINE: Duration = Duration::from_secs(60 * 60);
const EXT4_DEADLINE: Duration = Duration::from_secs(15 * 60);
const CLEAN_DEADLINE: Duration = Duration::from_secs(5 * 60);

/// Fills `work` with the three files of an image and [`VERSION`].
pub(crate) fn build(
    work: &Path,
    id: &str,
    config: &Config,
    progress: &mut impl FnMut(Progress),
    cancel: &Cancel,
) -> Result<()> {
    tracing::info!("building image {id}");
    bootstrap(work, config, progress, cancel)?;
    progress(Progress { fraction: BOOTSTRAP_END, step: "Making the disk".into() });
    let run = Run {
        doing: "making the disk",
        tool: "unshare",
        package: "util-linux uidmap",
        deadline: EXT4_DEADLINE,
        cancel,
    };
    let mut command = as_root(MAKE_EXT4, work)?;
    command.arg(config.size_gib.to_string());
    run.go(command, |_| ())?;
    progress(Progress { fraction: 0.95, step: "Packing the kernel".into() });
    let unpacked = work.join("kernel");
    let kernel = Kernel::find(&unpacked)?;
    archive::write(&work.join(MODULES), &kernel.modules(false)?)?;
    if config.nested {
        archive::write(&work.join(NESTED), &kernel.modules(true)?)?;
    }
    fs::copy(kernel.image(), work.join(KERNEL)).map_err(Error::io("copy", work.join(KERNEL)))?;
    fs::write(work.join(VERSION), &kernel.version).map_err(Error::io("write", work.join(VERSION)))?;
    clean(&unpacked, cancel)?;
    progress(Progress { fraction: 0.98, step: "Flushing".into() });
    Ok(())
}

/// Makes `rootfs.tar` in `work`, kernel package included.
fn bootstrap(
    work: &Path,
    config: &Config,
    progress: &mut impl FnMut(Progress),
    cancel: &Cancel,
) -> Result<()> {
    let mut command = Command::new("mmdebstrap");
    command.args(["--verbose", "--variant=minbase", "--architectures=amd64"]);
    command.arg(format!("--include={}", config.all_packages().join(",")));
    command.arg(format!("--customize-hook={CUSTOMIZE}"));
    command.args(DPKG_OPTIONS.iter().map(|option| format!("--dpkgopt={option}")));
    command.arg(&config.suite).arg(work.join("rootfs.tar")).args(config.source_files());
    // The tools' messages are read for progress and errors, so they must come in the language this program knows.
    command.env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
    let run = Run {
        doing: "installing Debian",
        tool: "mmdebstrap",
        package: "mmdebstrap",
        deadline: BOOTSTRAP_DEADLINE,
        cancel,
    };
    let mut reader = Reader::new();
    run.go(command, |line| {
        tracing::debug!("{line}");
        if let Some(now) = reader.line(line) {
            progress(now);
        }
    })
}

/// Removes a folder of a build, whoever owns its files.
pub(crate) fn clean(path: &Path, cancel: &Cancel) -> Result<()> {
    let run = Run {
        doing: "removing an unfinished build",
        tool: "unshare",
        package: "util-linux uidmap",
        deadline: CLEAN_DEADLINE,
        cancel,
    };
    run.go(as_root(CLEAN, path)?, |_| ())
}

/// A shell that runs `script` with `$1` = `path`, as root: the real one, or that of a new user namespace.
fn as_root(script: &str, path: &Path) -> Result<Command> {
    let path = fs::canonicalize(path).map_err(Error::io("find", path))?;
    let mut command;
    if nix::unistd::geteuid().is_root() {
        command = Command::new("sh");
    } else {
        command = Command::new("unshare");
        command.args(["--map-root-user", "--map-auto", "sh"]);
    }
    command.args(["-c", script, "sh"]).arg(path);
    // mke2fs stands in sbin, which is not on an ordinary user's path.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).env("LC_ALL", "C.UTF-8");
    Ok(command)
}
