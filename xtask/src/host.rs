//! What the host must have installed, and installing it.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};

/// Something needed: how to see that it is there, and the Debian package that brings it.
struct Need {
    /// A program on the path, or a file when it begins with `/`.
    proof: &'static str,
    package: &'static str,
    why: &'static str,
}

/// For running sprites.
const RUN: &[Need] = &[
    Need { proof: "cc", package: "gcc", why: "compiles the C parts of SQLite, zstd and ring" },
    Need {
        proof: "qemu-system-x86_64",
        package: "qemu-system-x86",
        why: "runs sprites where KVM is not usable",
    },
    Need { proof: "mmdebstrap", package: "mmdebstrap", why: "builds the base image" },
    Need { proof: "mke2fs", package: "e2fsprogs", why: "builds the base image" },
    Need { proof: "newuidmap", package: "uidmap", why: "builds the base image without root" },
    Need { proof: "unshare", package: "util-linux", why: "builds the base image without root" },
    Need { proof: "xz", package: "xz-utils", why: "unpacks kernel modules" },
];

/// For the tests, beside [`RUN`].
const TEST: &[Need] = &[
    Need { proof: "qemu-img", package: "qemu-utils", why: "checks exported disks" },
    Need { proof: "e2fsck", package: "e2fsprogs", why: "checks exported disks" },
    Need { proof: "python3", package: "python3", why: "runs the Python SDK" },
    Need {
        proof: "/usr/lib/python3/dist-packages/pip",
        package: "python3-pip",
        why: "fetches the Python SDK",
    },
    Need { proof: "ip", package: "iproute2", why: "joins network namespaces for the gateway's tests" },
    Need { proof: "curl", package: "curl", why: "makes the calls that the website shows" },
    Need {
        proof: "chromium-headless-shell",
        package: "chromium-headless-shell",
        why: "opens the web app of a sprite",
    },
    Need { proof: "ssh", package: "openssh-client", why: "is what commands are measured against" },
    Need { proof: "npm", package: "npm", why: "fetches the JavaScript SDK" },
    Need { proof: "vttest", package: "vttest", why: "tries what consoles understand" },
];

/// For measuring, beside both.
const BENCH: &[Need] = &[
    Need { proof: "passt", package: "passt", why: "is what the network is measured against" },
    Need { proof: "tmux", package: "tmux", why: "is what consoles are measured against" },
];

/// For pictures of the app.
const TOUR: &[Need] = &[
    Need { proof: "cc", package: "gcc", why: "compiles the C parts of SQLite and ring" },
    Need {
        proof: "faketime",
        package: "faketime",
        why: "holds the clock, so that the same pictures come out",
    },
];

/// For fuzzing.
const FUZZ: &[Need] = &[
    Need { proof: "cc", package: "gcc", why: "links the fuzzing programs" },
    Need { proof: "c++", package: "g++", why: "compiles libFuzzer" },
];

/// What a task needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Running sprites.
    Run,
    /// Running sprites and testing everything.
    Test,
    /// The same, and measuring.
    Bench,
    /// Pictures of the app, in which no sprite runs.
    Tour,
    /// Fuzzing, which runs no sprite.
    Fuzz,
}

/// Times that missing packages are installed: one package may push another out, which is then missing.
const ROUNDS: usize = 3;

/// Installs what is missing when that is possible, and says exactly what it runs; else says what to install.
pub fn prepare(purpose: For) -> Result<(), Box<dyn Error>> {
    let missing = || -> Vec<&Need> {
        let needs: &[&[Need]] = match purpose {
            For::Run => &[RUN],
            For::Test => &[RUN, TEST],
            For::Bench => &[RUN, TEST, BENCH],
            For::Tour => &[TOUR],
            For::Fuzz => &[FUZZ],
        };
        needs.iter().copied().flatten().filter(|need| !is_there(need)).collect()
    };
    for _ in 0..ROUNDS {
        match missing() {
            none if none.is_empty() => return Ok(()),
            some => install(&some)?,
        }
    }
    match missing().first() {
        Some(need) => Err(format!("{} was installed, but {} is not there", need.package, need.proof).into()),
        None => Ok(()),
    }
}

fn install(missing: &[&Need]) -> Result<(), Box<dyn Error>> {
    for need in missing {
        println!("missing: {} ({})", need.package, need.why);
    }
    let mut packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    packages.sort_unstable();
    packages.dedup();
    if !on_path("apt-get") {
        return Err(format!(
            "this is not a Debian system; install what Debian calls {} and try again",
            packages.join(", ")
        )
        .into());
    }
    let as_root: &[&str] = if nix::unistd::geteuid().is_root() {
        &[]
    } else if on_path("sudo") {
        &["sudo"]
    } else {
        let list = packages.join(" ");
        return Err(format!(
            "neither root nor sudo is at hand; have `apt-get install {list}` run and try again"
        )
        .into());
    };
    // A fresh machine has no package lists, so that the first attempt may fail; then they are fetched.
    let install = ["apt-get", "install", "-y", "--no-install-recommends"];
    let install: Vec<&str> = as_root.iter().chain(&install).chain(&packages).copied().collect();
    let update: Vec<&str> = as_root.iter().chain(&["apt-get", "update"]).copied().collect();
    if said_and_ran(&install)? || (said_and_ran(&update)? && said_and_ran(&install)?) {
        return Ok(());
    }
    Err(format!("installing failed; run `{}` by hand to see why", install.join(" ")).into())
}

fn is_there(need: &Need) -> bool {
    // pip comes in many ways; any that python3 finds is good.
    if need.package == "python3-pip" {
        let quiet = Command::new("python3")
            .args(["-c", "import pip, venv, ensurepip"])
            .stderr(Stdio::null())
            .status();
        return quiet.is_ok_and(|status| status.success());
    }
    on_path(need.proof)
}

/// Whether a program is on the path or in the folders of system tools.
pub fn on_path(program: &str) -> bool {
    if program.starts_with('/') {
        return Path::new(program).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| dir.join(program).is_file())
}

fn said_and_ran(words: &[&str]) -> Result<bool, Box<dyn Error>> {
    println!("running: {}", words.join(" "));
    let status = Command::new(words[0])
        .args(&words[1..])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(if words[0] == "sudo" { Stdio::inherit() } else { Stdio::null() })
        .status()?;
    Ok(status.success())
}
