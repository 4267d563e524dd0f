//! What somebody finds who took over a machine process: nothing.

use crate::rig::{Rig, exe};
use local_vmm::Kind;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;

/// Has the intruder try; gives what it says, and checks that nothing got through.
fn attempt(rig: &Rig, kind: Kind, words: &[&str]) -> String {
    let mut spec = rig.spec("box");
    spec.kind = kind;
    std::fs::create_dir_all(&spec.run_dir).unwrap();
    std::fs::create_dir_all(&spec.memory).unwrap();
    let file = spec.save().unwrap();
    let done = Command::new(exe()).args(["intrude", "--spec"]).arg(file).args(words).output().unwrap();
    let (said, log) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{kind:?} {words:?}: {} {said} {log}", done.status);
    assert!(
        said.lines().count() > 0 && said.lines().all(|line| line.starts_with("out ")),
        "{words:?}: {said}"
    );
    said.into_owned()
}

const KINDS: [Kind; 2] = [Kind::Kvm, Kind::Emulated];

#[test]
fn no_file_can_be_opened() {
    let rig = Rig::new();
    // Its neighbour's disk is as far away as the rest of the host.
    rig.store.create(&rig.volume("neighbour"), &rig.image.rootfs(), vmm_disk::DEFAULT_SIZE).unwrap();
    let neighbour = rig.volume("neighbour").join("manifest.json");
    let around = rig.volume("box").join("../../neighbour/volume/manifest.json");
    let paths = ["/etc/passwd", "/proc/self/mem", "/proc/1/root/etc/passwd", "/dev/kvm", "/dev/mem", "/root"];
    let paths = paths.into_iter().chain([neighbour.to_str().unwrap(), around.to_str().unwrap()]);
    let words: Vec<&str> = ["files"].into_iter().chain(paths).collect();
    attempt(&rig, Kind::Kvm, &words);
    assert!(neighbour.exists());
    // QEMU must be able to read itself, but may touch nothing either.
    attempt(
        &rig,
        Kind::Emulated,
        &["files", "/etc/passwd", "/dev/kvm", "/dev/mem", "/root", around.to_str().unwrap()],
    );
}

#[test]
fn no_network_can_be_reached() {
    let rig = Rig::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let name = format!("sprites-jail-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    for kind in KINDS {
        attempt(&rig, kind, &["network", &port, &name]);
    }
}

#[test]
fn no_process_can_be_signalled_and_nothing_privileged_done() {
    let rig = Rig::new();
    let myself = std::process::id().to_string();
    for kind in KINDS {
        attempt(&rig, kind, &["signals", &myself]);
        attempt(&rig, kind, &["privileges"]);
    }
}

#[test]
fn no_unlisted_call_can_be_made() {
    let rig = Rig::new();
    for kind in KINDS {
        let said = attempt(&rig, kind, &["calls"]);
        assert_eq!(said.lines().count(), local_vmm::jail::ROLES.len(), "{said}");
        println!("{kind:?}: {said}");
    }
}
