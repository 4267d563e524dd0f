//! What this machine can do for sprites, and what to do about what it cannot.

use crate::paths::Paths;
use local_vmm::emulated;
use local_vmm::kvm::{self, KvmState};
use nix::sys::statvfs::statvfs;
use std::path::Path;
use vmm_image::ImageStore;

/// Below this many bytes sprites have no room to work.
const SPACE_LOW: u64 = 5 << 30;
/// Below this many they cannot.
const SPACE_NONE: u64 = 1 << 30;

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// Nothing to do.
    Good,
    /// It works, not as well as it could.
    Fair,
    /// Sprites cannot run.
    Bad,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// How good it is.
    pub grade: Grade,
    /// What was found, one sentence.
    pub fact: String,
    /// What to do, where something is to be done.
    pub remedy: Option<String>,
}

/// Looks at everything. Takes up to a few seconds: the probe of KVM counts time.
pub fn examine(paths: &Paths) -> Vec<Finding> {
    vec![kvm(), qemu(), image(paths), space(paths), server(paths)]
}

fn finding(subject: &'static str, grade: Grade, fact: impl Into<String>, remedy: Option<&str>) -> Finding {
    Finding { subject, grade, fact: fact.into(), remedy: remedy.map(str::to_owned) }
}

fn kvm() -> Finding {
    let emulated = "Sprites run in QEMU's software CPU: just as isolated, several times slower.";
    match kvm::probe() {
        KvmState::Usable => finding("KVM", Grade::Good, "The hardware runs guests.", None),
        KvmState::Emulated => finding(
            "KVM",
            Grade::Fair,
            format!("/dev/kvm is there, but only emulated by software. {emulated}"),
            Some("use a machine, or a cloud instance type, with hardware or nested virtualisation"),
        ),
        KvmState::NoPermission => finding(
            "KVM",
            Grade::Fair,
            format!("/dev/kvm is there, but you may not open it. {emulated}"),
            Some("run `sudo usermod -aG kvm $USER`, then log in again"),
        ),
        KvmState::Absent => finding(
            "KVM",
            Grade::Fair,
            format!("There is no /dev/kvm. {emulated}"),
            Some("turn virtualisation on in the firmware, or load the module kvm-intel or kvm-amd"),
        ),
    }
}

fn qemu() -> Finding {
    match emulated::find() {
        Some(qemu) => {
            finding("QEMU", Grade::Good, format!("{} at {}.", qemu.version, qemu.path.display()), None)
        }
        None => {
            finding("QEMU", Grade::Bad, "It is not installed.", Some("run `apt-get install qemu-system-x86`"))
        }
    }
}

fn image(paths: &Paths) -> Finding {
    match ImageStore::open(paths.images()).and_then(|store| store.latest()) {
        Ok(image) => finding(
            "image",
            Grade::Good,
            format!("Debian {} with kernel {}, {}.", image.info.suite, image.info.kernel, image.info.id),
            None,
        ),
        Err(vmm_image::Error::NoImages) => finding(
            "image",
            Grade::Bad,
            "There is no base image yet.",
            Some("run `sprites-tui image build`, or press b in the app"),
        ),
        Err(error) => finding(
            "image",
            Grade::Bad,
            format!("The images cannot be read: {error}."),
            Some("run `sprites-tui image build`"),
        ),
    }
}

fn space(paths: &Paths) -> Finding {
    // The folder itself may not be there yet.
    let place = paths.data().ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match statvfs(place) {
        Ok(found) => {
            let free = found.blocks_available() * found.fragment_size();
            let fact = format!("{:.1} GB free at {}.", free as f64 / 1e9, place.display());
            match free {
                ..SPACE_NONE => finding(
                    "disk space",
                    Grade::Bad,
                    fact,
                    Some("free some space, or delete checkpoints you no longer need"),
                ),
                SPACE_NONE..SPACE_LOW => {
                    finding("disk space", Grade::Fair, fact, Some("free some space soon"))
                }
                _ => finding("disk space", Grade::Good, fact, None),
            }
        }
        Err(error) => finding("disk space", Grade::Fair, format!("It cannot be found out: {error}."), None),
    }
}

fn server(paths: &Paths) -> Finding {
    match std::os::unix::net::UnixStream::connect(paths.server_socket()) {
        Ok(_) => finding(
            "server",
            Grade::Good,
            format!("It answers at {}.", paths.server_socket().display()),
            None,
        ),
        Err(_) => finding("server", Grade::Good, "It is not running; it starts when it is needed.", None),
    }
}
