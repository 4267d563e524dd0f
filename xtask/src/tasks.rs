//! The tasks other than measuring.

use crate::host::{self, For};
use crate::lab;
use crate::leftovers;
use std::error::Error;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Environment variable that names the folder of images tests run on.
const TEST_IMAGES: &str = "SPRITES_TEST_IMAGES";

/// Result of a task.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

/// cargo, in the root of the checkout.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // Set by cargo for this program; they would make the inner cargo rebuild what depends on them.
    for (key, _) in std::env::vars_os() {
        if key.to_str().is_some_and(|key| key.starts_with("CARGO_PKG_") || key.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(key);
        }
    }
    command
}

/// Runs a command to its end; an error tells which one failed.
pub fn must(command: &mut Command) -> Result<()> {
    let status =
        command.status().map_err(|error| format!("cannot run {:?}: {error}", command.get_program()))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed ({status})").into()) }
}

/// `cargo xtask run`.
pub fn run(args: &[String]) -> Result<()> {
    host::prepare(For::Run)?;
    must(cargo().args(["build", "--release", "-p", "sprites-tui", "-p", "sprites-cli"]))?;
    let program = root().join("target/release/sprites-tui");
    must(Command::new(&program).args(["image", "ensure"]))?;
    Err(Command::new(&program).args(args).exec().into())
}

/// `cargo xtask test`.
pub fn test(args: &[String]) -> Result<()> {
    let begun = Instant::now();
    host::prepare(For::Test)?;
    let images = test_images()?;
    let run = format!("{}-{}", std::process::id(), SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
    let mut tests = cargo();
    tests.arg("test").env(TEST_IMAGES, &images).env(leftovers::MARK, &run);
    if args.is_empty() {
        // One run tells everything that fails.
        tests.args(["--workspace", "--no-fail-fast"]);
    }
    let outcome = must(tests.args(args));
    let left = leftovers::find(&run);
    for process in &left {
        eprintln!("left running: {process}");
    }
    outcome?;
    if !left.is_empty() {
        return Err(format!("the tests passed but left {} processes running", left.len()).into());
    }
    // Where KVM is real the same tests have just run on it.
    if args.is_empty() && !has_kvm()? {
        lab::lab(lab::Part::All, &[])?;
    }
    println!("test result: ok. everything holds; nothing left running; {} s", begun.elapsed().as_secs());
    Ok(())
}

/// Whether our monitor can run machines on this host.
fn has_kvm() -> Result<bool> {
    let told = cargo()
        .args(["run", "-q", "-p", "local-vmm", "--bin", "local-vmm", "probe"])
        .stderr(Stdio::inherit())
        .output()?;
    match std::str::from_utf8(&told.stdout)?.trim() {
        "" => Err(format!("local-vmm does not say what KVM is here ({})", told.status).into()),
        word => Ok(word == "Usable"),
    }
}

/// The folder of the image that tests run on, built when it is missing or its recipe changed.
pub fn test_images() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os(TEST_IMAGES) {
        return Ok(given.into());
    }
    let images = root().join("target/test-images");
    let recipe = recipe()?;
    let stamp = images.join("recipe");
    if std::fs::read(&stamp).is_ok_and(|built| built == recipe) {
        return Ok(images);
    }
    println!("building the image for tests (once)");
    // One of an older recipe would be an image too many.
    match std::fs::remove_dir_all(&images) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    must(
        cargo()
            .args(["run", "-q", "-p", "vmm-image", "--example", "build", "--", "--nested"])
            .args(TEST_PACKAGES)
            .arg(&images),
    )?;
    std::fs::write(&stamp, recipe)?;
    Ok(images)
}

/// What the image for tests holds beside the standard packages: a server to measure against.
const TEST_PACKAGES: &[&str] = &["openssh-server"];

/// What an image depends on: a change in these sources asks for a new one.
fn recipe() -> Result<Vec<u8>> {
    let mut all = TEST_PACKAGES.join(" ").into_bytes();
    for file in ["config.rs", "recipe.rs", "kernel.rs", "build.rs", "archive.rs"] {
        all.extend(std::fs::read(root().join("local-vmm/image/src").join(file))?);
    }
    Ok(all)
}

/// `cargo xtask tour`.
pub fn tour() -> Result<()> {
    host::prepare(For::Tour)?;
    must(cargo().args(["run", "-p", "snapshots-tests", "--example", "tour", "--", "docs"]))
}
