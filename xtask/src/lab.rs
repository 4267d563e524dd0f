//! The lab: our monitor's tests on a real KVM, on any host (`local-vmm/examples/lab.rs`).
//!
//! Tests and what they need are linked statically, put onto a disk, and run inside.

use crate::host::{self, For};
use crate::tasks::{self, Result, cargo, must, root};
use serde::Deserialize;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Size of the lab's disk; it is sparse.
const DISK: u64 = 24 << 30;

/// `cargo xtask lab`: builds the tests, boots the lab, runs them. `args` are handed to each test executable.
pub fn lab(args: &[String]) -> Result<()> {
    host::prepare(For::Test)?;
    let images = tasks::test_images()?;
    let image = newest(&images)?;
    let target = root().join("target/lab");
    let init = build(&target, &["build", "-p", "xtask", "--bin", "lab-init"])?;
    let tests = build(&target, &["test", "--no-run", "-p", "local-vmm"])?;
    let init = init.iter().find(|made| made.name == "lab-init").ok_or("the lab's init was not built")?;
    let machine = build(&target, &["build", "-p", "local-vmm", "--bin", "local-vmm"])?;
    let machine = machine.iter().find(|made| made.name == "local-vmm").ok_or("the monitor was not built")?;

    let stage = target.join("stage");
    let _ = fs::remove_dir_all(&stage);
    fs::create_dir_all(stage.join("bin"))?;
    let mut script =
        String::from("set -u\nip link set lo up\nexport SPRITES_TEST_IMAGES=/lab/images TMPDIR=/lab/tmp\n");
    fs::create_dir(stage.join("tmp"))?;
    strip(&machine.executable, &stage.join("bin/local-vmm"))?;
    // Tests know it by the place where it was built.
    let place = machine.executable.display();
    let folder = machine.executable.parent().unwrap_or(Path::new("/")).display();
    script.push_str(&format!("mkdir -p '{folder}'\nln -s /lab/bin/local-vmm '{place}'\ncode=0\n"));
    for (number, test) in tests.iter().filter(|made| made.tests && made.name != "local-vmm").enumerate() {
        let file = format!("{}-{number}", test.name);
        strip(&test.executable, &stage.join("bin").join(&file))?;
        let words: Vec<String> = args.iter().map(|word| format!("'{}'", word.replace('\'', ""))).collect();
        script.push_str(&format!("/lab/bin/{file} --test-threads 1 {} || code=1\n", words.join(" ")));
    }
    script.push_str("exit $code\n");
    fs::write(stage.join("run"), script)?;
    copy_image(&image, &stage.join("images"))?;
    let disk = target.join("lab.ext4");
    make_disk(&stage, &disk)?;
    let mut run = cargo();
    run.args(["run", "-q", "--release", "-p", "local-vmm", "--example", "lab", "--"]);
    must(run.arg(&image).arg(&init.executable).arg(&disk))
}

/// Something that cargo built.
struct Made {
    name: String,
    executable: PathBuf,
    /// Whether it holds tests.
    tests: bool,
}

/// What cargo says of each thing it builds, of that what is of use here.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Runs cargo for static executables.
fn build(target: &Path, words: &[&str]) -> Result<Vec<Made>> {
    let mut command = cargo();
    command.args(words).args([
        "--release",
        "--message-format",
        "json-render-diagnostics",
        "--target",
        TARGET,
    ]);
    command.arg("--target-dir").arg(target).env("RUSTFLAGS", "-C target-feature=+crt-static");
    let done = command.stderr(Stdio::inherit()).output()?;
    if !done.status.success() {
        return Err("the lab's programs did not build; the messages above tell why".into());
    }
    let messages =
        done.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let made = messages.filter_map(|message: Message| {
        Some(Made {
            name: message.target?.name,
            executable: message.executable?,
            tests: message.profile.is_some_and(|profile| profile.test),
        })
    });
    Ok(made.collect())
}

fn newest(images: &Path) -> Result<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(images)?.flatten().map(|entry| entry.path()).collect();
    all.retain(|path| path.join("nested.cpio").is_file());
    all.sort();
    all.pop().ok_or_else(|| format!("no image in {} was made for the lab", images.display()).into())
}

/// Debug information is of no use inside and takes long to copy.
fn strip(from: &Path, to: &Path) -> Result<()> {
    must(Command::new("strip").arg("-o").arg(to).arg(from))
}

/// The image's files, linked, which costs nothing.
fn copy_image(image: &Path, images: &Path) -> Result<()> {
    let to = images.join(image.file_name().ok_or("the image has no name")?);
    fs::create_dir_all(&to)?;
    for entry in fs::read_dir(image)?.flatten() {
        let name = to.join(entry.file_name());
        if fs::hard_link(entry.path(), &name).is_err() {
            symlink(entry.path(), &name)?;
            must(
                Command::new("cp")
                    .arg("--sparse=always")
                    .arg("-L")
                    .arg("--remove-destination")
                    .arg(entry.path())
                    .arg(&name),
            )?;
        }
    }
    Ok(())
}

/// Makes an ext4 disk of a folder.
fn make_disk(stage: &Path, disk: &Path) -> Result<()> {
    let _ = fs::remove_file(disk);
    fs::File::create(disk)?.set_len(DISK)?;
    let path = std::env::var("PATH").unwrap_or_default();
    must(
        Command::new("mke2fs")
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .args(["-q", "-F", "-t", "ext4", "-m", "0", "-E", "lazy_itable_init=0,discard", "-d"])
            .arg(stage)
            .arg(disk),
    )
}
