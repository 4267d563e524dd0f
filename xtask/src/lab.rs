//! The lab: our monitor's tests on a real KVM, on any host (`local-vmm/examples/lab.rs`).
//!
//! Tests and what they need are linked statically, put onto a disk, and run inside, each in a process of its own.
//!
//! The software CPU's own fault is kept away by one core for all of QEMU (the lab says why). What may remain of it, and a machine with much
//! else to do, get a second try in a lab that was booted anew; what fails [`ATTEMPTS`] times has failed. Real KVM gets no second try.

use crate::host::{self, For};
use crate::tasks::{self, Result, cargo, must, root};
use serde::Deserialize;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What is run in the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything.
    All,
    /// The machine, without the server on top of it.
    Machine,
}

/// Profile of the programs that are tested, and of what helps: quick to build.
pub const PROFILE: &str = "lab";
/// Times a test may be tried.
const ATTEMPTS: usize = 2;
/// What the lab prints before the name of a test that passed.
const PASSED: &str = "LAB PASSED ";
/// Size of the lab's disk; it is sparse.
const DISK: u64 = 24 << 30;

/// `cargo xtask lab`: builds the tests, boots the lab, runs them; with `filters` only those whose name contains one of them.
pub fn lab(part: Part, filters: &[String]) -> Result<()> {
    host::prepare(For::Test)?;
    let images = tasks::test_images()?;
    let image = newest(&images)?;
    let target = root().join("target/lab");
    let init = build(&target, PROFILE, &["build", "-p", "xtask", "--bin", "lab-init"])?;
    let mut tests = build(&target, PROFILE, &["test", "--no-run", "-p", "local-vmm"])?;
    // By hand one mostly looks at the machine; the server on top takes as long again to build.
    let app = match part {
        Part::All => {
            tests.extend(build(
                &target,
                PROFILE,
                &["test", "--no-run", "-p", "snapshots-tests", "--test", "kvm"],
            )?);
            Some(build(&target, PROFILE, &["build", "-p", "sprites-tui"])?)
        }
        Part::Machine => None,
    };
    let machine = build(&target, PROFILE, &["build", "-p", "local-vmm", "--bin", "local-vmm"])?;
    let (init, machine) = (program(&init, "lab-init")?, program(&machine, "local-vmm")?);

    let stage = target.join("stage");
    let _ = fs::remove_dir_all(&stage);
    fs::create_dir_all(stage.join("bin"))?;
    let mut script = String::from(
        "set -u\nip link set lo up\nexport SPRITES_TEST_IMAGES=/lab/images TMPDIR=/lab/tmp SPRITES_TEST_EXECUTABLE=/lab/bin/sprites-tui\n",
    );
    fs::create_dir(stage.join("tmp"))?;
    strip(&machine.executable, &stage.join("bin/local-vmm"))?;
    if let Some(app) = &app {
        strip(&program(app, "sprites-tui")?.executable, &stage.join("bin/sprites-tui"))?;
    }
    // Tests know it by the place where it was built.
    script.push_str(&known_as("/lab/bin/local-vmm", &machine.executable));
    let world = root().join("snapshots-tests/sdk/world");
    fs::create_dir(stage.join("world"))?;
    for entry in fs::read_dir(&world)? {
        let file = entry?.path();
        if let Some(name) = file.file_name().filter(|_| file.is_file()) {
            fs::copy(&file, stage.join("world").join(name))?;
        }
    }
    script.push_str(&known_as("/lab/world", &world));
    // The third disk says what is to be done, a line for each test.
    script.push_str(&format!(
        "tr -d '\\0' </dev/vdc | while read -r file name; do\n  \
         dmesg --clear\n  \
         if /lab/bin/$file --exact \"$name\" --nocapture </dev/null 2>&1; then echo \"{PASSED}$file $name\"\n  \
         else dmesg | grep type=1326 | tail -20; fi\ndone\nexit 0\n"
    ));
    let mut todo = Vec::new();
    for (number, test) in tests.iter().filter(|made| made.tests && made.name != "local-vmm").enumerate() {
        let file = format!("{}-{number}", test.name);
        strip(&test.executable, &stage.join("bin").join(&file))?;
        todo.extend(names(&test.executable)?.into_iter().map(|name| format!("{file} {name}")));
    }
    // What needs no KVM is tested outside.
    todo.retain(|test| test.starts_with("real") || test.contains("kvm"));
    todo.retain(|test| filters.is_empty() || filters.iter().any(|filter| test.contains(filter)));
    fs::write(stage.join("run"), script)?;
    copy_image(&image, &stage.join("images"))?;
    let disk = target.join("lab.ext4");
    make_disk(&stage, &disk)?;
    make_ready()?;
    let all = todo.len();
    for attempt in 1..=ATTEMPTS {
        let list = target.join("todo");
        write_list(&list, &todo)?;
        let passed = run(&mut lab_with(&image, init, &disk, &list))?;
        todo.retain(|test| !passed.contains(test));
        if todo.is_empty() {
            println!("test result: ok. {all} tests passed in the lab");
            return Ok(());
        }
        println!("not passed in boot {attempt} of {ATTEMPTS}: {}", todo.join(", "));
    }
    Err(format!("in the lab these failed each of {ATTEMPTS} times: {}", todo.join(", ")).into())
}

/// Words of a script by which something in the lab is found where it is outside, too.
fn known_as(inside: &str, outside: &Path) -> String {
    let folder = outside.parent().unwrap_or(Path::new("/")).display();
    format!("mkdir -p '{folder}'\nln -s {inside} '{}'\n", outside.display())
}

/// Builds the program that boots the lab.
pub fn make_ready() -> Result<()> {
    must(cargo().args(["build", "-q", "--release", "-p", "local-vmm", "--example", "lab"]))
}

/// What boots the lab with these when it is run.
pub fn lab_with(image: &Path, init: &Made, disk: &Path, list: &Path) -> Command {
    let mut lab = Command::new(root().join("target/release/examples/lab"));
    lab.arg(image).arg(&init.executable).arg(disk).arg(list);
    lab
}

/// The executable of that name.
pub fn program<'m>(made: &'m [Made], name: &str) -> Result<&'m Made> {
    let found = made.iter().find(|made| made.name == name && !made.tests);
    found.ok_or_else(|| format!("{name} was not built").into())
}

/// The tests in an executable.
fn names(executable: &Path) -> Result<Vec<String>> {
    let told = Command::new(executable).args(["--list", "--format", "terse"]).output()?;
    let text = String::from_utf8(told.stdout)?;
    Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// A list in a file that is a disk: whole sectors.
pub fn write_list(path: &Path, lines: &[String]) -> Result<()> {
    let mut bytes: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
    bytes.resize(bytes.len().next_multiple_of(4096).max(4096), 0);
    Ok(fs::write(path, bytes)?)
}

/// Boots the lab once and shows what it says; gives the tests that passed. That it ends badly is no news: the next boot tells more.
fn run(lab: &mut Command) -> Result<Vec<String>> {
    let mut child = lab.stdout(Stdio::piped()).spawn()?;
    let mut passed = Vec::new();
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let line = line?;
        match line.split_once(PASSED) {
            Some((_, test)) => passed.push(test.trim().to_owned()),
            None => println!("{line}"),
        }
    }
    child.wait()?;
    Ok(passed)
}

/// Something that cargo built.
pub struct Made {
    name: String,
    pub executable: PathBuf,
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

/// Runs cargo for static executables of that profile.
pub fn build(target: &Path, profile: &str, words: &[&str]) -> Result<Vec<Made>> {
    let mut command = cargo();
    command.args(words).args([
        "--profile",
        profile,
        "--message-format",
        "json-render-diagnostics",
        "--target",
        TARGET,
    ]);
    // A static program does not find the system's way to randomness by itself and would open a device, which the jail does not have.
    let flags = "-C target-feature=+crt-static --cfg getrandom_backend=\"linux_getrandom\"";
    command.arg("--target-dir").arg(target).env("RUSTFLAGS", flags);
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

/// The newest image that was made for the lab.
pub fn newest(images: &Path) -> Result<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(images)?.flatten().map(|entry| entry.path()).collect();
    all.retain(|path| path.join("nested.cpio").is_file());
    all.sort();
    all.pop().ok_or_else(|| format!("no image in {} was made for the lab", images.display()).into())
}

/// Debug information is of no use inside and takes long to copy.
pub fn strip(from: &Path, to: &Path) -> Result<()> {
    must(Command::new("strip").arg("-o").arg(to).arg(from))
}

/// The image's files, linked, which costs nothing.
pub fn copy_image(image: &Path, images: &Path) -> Result<()> {
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
pub fn make_disk(stage: &Path, disk: &Path) -> Result<()> {
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
