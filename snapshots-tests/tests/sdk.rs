//! The official SDKs, unchanged, against the local server.

use snapshots_tests::harness::Home;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where the SDKs are installed, kept between runs.
fn place(name: &str) -> PathBuf {
    let target = std::env::current_exe()
        .expect("this process has a file")
        .ancestors()
        .nth(3)
        .expect("cargo's folders are that deep")
        .to_owned();
    target.join("sdk-tests").join(name)
}

fn must(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} fails:\n{out}\n{err}");
    output
}

/// Runs scenarios against one server, each in a process of its own.
fn with_server(home: &Home, scenarios: impl IntoIterator<Item = Command>) {
    home.serve();
    let (url, token) = home.tcp();
    for mut command in scenarios {
        command.env("SPRITES_API_URL", &url).env("SPRITES_TOKEN", &token).env("SPRITES_CLIENT_SIGNALS", "0");
        let output = must(&mut command);
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{out}");
        assert!(out.contains("all steps hold"), "{out}");
    }
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk").join(path)
}

#[test]
fn sprites_py() {
    let home = Home::new();
    let env = place("python");
    let python = env.join("bin/python");
    if !python.exists() {
        must(Command::new("python3").args(["-m", "venv"]).arg(&env));
    }
    must(
        Command::new(&python)
            .args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r"])
            .arg(source("python/requirements.txt")),
    );
    with_server(
        &home,
        ["scenario.py", "inside.py"].map(|name| {
            let mut command = Command::new(&python);
            command.arg(source("python").join(name));
            command
        }),
    );
}

#[test]
fn fly_sprites() {
    let home = Home::new();
    let folder = place("node");
    std::fs::create_dir_all(&folder).unwrap();
    for file in ["package.json", "package-lock.json", "scenario.js", "inside.js"] {
        std::fs::copy(source("node").join(file), folder.join(file)).unwrap();
    }
    let node = folder.join("node_modules/.bin/node");
    let installed = folder.join("installed.json");
    let wanted = std::fs::read(folder.join("package.json")).unwrap();
    if !node.exists() || std::fs::read(&installed).ok() != Some(wanted.clone()) {
        must(
            Command::new("npm").args(["install", "--silent", "--no-audit", "--no-fund"]).current_dir(&folder),
        );
        std::fs::write(&installed, wanted).unwrap();
    }
    with_server(
        &home,
        ["scenario.js", "inside.js"].map(|name| {
            let mut command = Command::new(&node);
            command.arg(name).current_dir(&folder);
            command
        }),
    );
}
