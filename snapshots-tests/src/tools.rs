//! Programs of others that tests use: where they are installed, and running them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where one of them is installed, kept between runs.
pub fn place(name: &str) -> PathBuf {
    let target = std::env::current_exe()
        .expect("this process has a file")
        .ancestors()
        .nth(3)
        .expect("cargo's folders are that deep")
        .to_owned();
    target.join("sdk-tests").join(name)
}

/// A file or folder of what is written for them.
pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk").join(path)
}

/// Runs a command that must succeed.
pub fn must(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} fails:\n{out}\n{err}");
    output
}

/// A Python environment of its own with what a file requires; gives the folder of its programs.
pub fn environment(name: &str, requirements: &Path) -> PathBuf {
    let env = place(name);
    let programs = env.join("bin");
    let python = programs.join("python");
    if !python.exists() {
        must(Command::new("python3").args(["-m", "venv"]).arg(&env));
    }
    must(
        Command::new(&python)
            .args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r"])
            .arg(requirements),
    );
    programs
}
