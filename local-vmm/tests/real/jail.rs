//! What somebody finds who took over a machine process: nothing.

use crate::rig::{Rig, exe};
use local_vmm::Kind;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;
use vmm_disk::{NewCheckpoint, Volume};

/// Has the intruder try; gives what it says, and checks that nothing got through.
fn attempt(rig: &Rig, kind: Kind, words: &[&str]) -> String {
    let mut spec = rig.spec("box");
    spec.kind = kind;
    std::fs::create_dir_all(spec.inside()).unwrap();
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
    // What the server goes by is out of reach.
    let spec = rig.spec("box");
    std::fs::create_dir_all(&spec.run_dir).unwrap();
    let outside = ["lock", "pid", "exit.json"].map(|name| spec.run_dir.join(name));
    outside.iter().for_each(|path| std::fs::write(path, "x").unwrap());
    let paths = paths.chain(outside.iter().map(|path| path.to_str().unwrap()));
    let words: Vec<&str> = ["files"].into_iter().chain(paths).collect();
    attempt(&rig, Kind::Kvm, &words);
    // The process that waits outside removes the number of the one that has ended; all else is as it was.
    assert!(
        outside.iter().filter(|path| !path.ends_with("pid")).all(|path| std::fs::read(path).unwrap() == b"x")
    );
    assert!(neighbour.exists());
    // QEMU must be able to read itself, but may touch nothing either.
    attempt(
        &rig,
        Kind::Emulated,
        &["files", "/etc/passwd", "/dev/kvm", "/dev/mem", "/root", around.to_str().unwrap()],
    );
}

#[test]
fn what_others_hold_as_well_cannot_be_changed() {
    let rig = Rig::new();
    let checkpoint = Volume::open(&rig.volume("box")).unwrap().checkpoint(NewCheckpoint::default()).unwrap();
    rig.store.fork(&rig.volume("box"), &checkpoint.id, &rig.volume("fork")).unwrap();
    let spec = rig.spec("box");
    // A memory that a template gave it.
    std::fs::create_dir_all(&spec.memory).unwrap();
    let memory = spec.memory.join("shared");
    std::fs::write(&memory, "memory").unwrap();
    std::fs::hard_link(&memory, rig.volume("fork").join("memory-of-both")).unwrap();
    let layers: Vec<_> = std::fs::read_dir(vmm_disk::layers(&spec.volume))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.metadata().unwrap().nlink() > 1)
        .collect();
    assert!(!layers.is_empty(), "a fork shares its layers");
    let paths = layers.iter().chain([&memory]).map(|path| path.to_str().unwrap());
    let words: Vec<&str> = ["shared"].into_iter().chain(paths).collect();
    for kind in KINDS {
        attempt(&rig, kind, &words);
    }
    assert_eq!(std::fs::read(&memory).unwrap(), b"memory");
    // From outside they can be removed, as a sprite is that nobody wants any more.
    std::fs::remove_file(&memory).unwrap();
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

/// The C library's allocator opens files now and then, which would be the end of a thread that may open none.
#[test]
fn memory_can_be_given_back() {
    let rig = Rig::new();
    for kind in KINDS {
        attempt(&rig, kind, &["memory"]);
    }
}

/// A reader of disks that was taken over has its one disk, and cannot even change that.
#[test]
fn a_reader_of_disks_is_kept_in_too() {
    let dir = tempfile::tempdir().unwrap();
    let (volume, outside) = (dir.path().join("volume"), dir.path().join("token"));
    std::fs::create_dir(&volume).unwrap();
    let layer = volume.join("layer");
    std::fs::write(&layer, "x").unwrap();
    std::fs::write(&outside, "x").unwrap();
    let server = volume.join("server.sock");
    let _listener = UnixListener::bind(&server).unwrap();
    let told = |attempt: &str, path: &str| {
        let arguments = ["intrude", "--reader", volume.to_str().unwrap(), attempt, path];
        let done = Command::new(exe()).args(arguments).output().unwrap();
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let (layer, outside, server) =
        (layer.to_str().unwrap(), outside.to_str().unwrap(), server.to_str().unwrap());
    // Otherwise nothing below shows anything.
    assert_eq!(told("read", layer), format!("IN read {layer}\n"));
    for (attempt, path) in [
        ("read", outside),
        ("read", "/etc/passwd"),
        ("read", "/proc/self/mem"),
        ("write", layer),
        ("append", layer),
        ("remove", layer),
        ("write", outside),
        ("run", "/bin/true"),
        ("connect", server),
        ("dial", "127.0.0.1:9"),
        ("fill", "memory"),
    ] {
        let said = told(attempt, path);
        assert!(!said.contains("IN "), "{said}");
    }
    assert_eq!(std::fs::read_to_string(layer).unwrap(), "x");
}

/// A gateway that was taken over has neither the host's files nor the server's socket, which asks for no token.
#[test]
fn a_gateway_is_kept_in_too() {
    let rig = Rig::new();
    let spec = rig.spec("box");
    std::fs::create_dir_all(&spec.run_dir).unwrap();
    let server = spec.run_dir.join("server.sock");
    let _listener = UnixListener::bind(&server).unwrap();
    let file = spec.run_dir.join("token");
    std::fs::write(&file, "x").unwrap();
    let paths =
        [server.to_str().unwrap(), file.to_str().unwrap(), "/root/.profile", "/proc/self/mem", "/bin/true"];
    let done = Command::new(exe()).args(["intrude", "--gateway"]).args(paths).output().unwrap();
    let (said, log) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said} {log}");
    assert!(said.lines().count() > 5 * 4, "{said}");
    assert!(said.lines().all(|line| line.starts_with("out ")), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "x");
}
