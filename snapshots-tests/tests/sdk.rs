//! The official SDKs, unchanged, against the local server.

use snapshots_tests::harness::{Home, executable};
use snapshots_tests::tools::{environment, must, place, source};
use std::path::Path;
use std::process::Command;

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

/// Runs scenarios in Python, in an environment of their own that holds what a file requires.
fn python(name: &str, requirements: &str, scenarios: &[&str]) {
    let home = Home::new();
    let python = environment(name, &source("python").join(requirements)).join("python");
    with_server(
        &home,
        scenarios.iter().map(|name| {
            let mut command = Command::new(&python);
            command.arg(source("python").join(name));
            command
        }),
    );
}

/// Runs scenarios in Node, with the packages that stand beside them.
fn node(name: &str, scenarios: &[&str]) {
    let home = Home::new();
    let folder = place(name);
    std::fs::create_dir_all(&folder).unwrap();
    for file in ["package.json", "package-lock.json"].iter().chain(scenarios) {
        std::fs::copy(source(name).join(file), folder.join(file)).unwrap();
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
        scenarios.iter().map(|name| {
            let mut command = Command::new(&node);
            command.arg(name).current_dir(&folder);
            command
        }),
    );
}

/// What the README shows, as it shows it, but that the SDK is in an environment of its own.
fn readme() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let shown =
        text.split("```sh\n").find(|part| part.contains("SpritesClient")).expect("the README shows it");
    let lines = shown.split("```").next().unwrap().lines().filter(|line| !line.starts_with("pip install"));
    let script = lines.collect::<Vec<_>>().join("\n");
    let home = Home::new();
    home.good(&["create", "my-sprite"]);
    let programs = environment("python", &source("python").join("requirements.txt"));
    let folder = |path: &Path| path.parent().unwrap().to_owned();
    let old = std::env::var_os("PATH").unwrap_or_default();
    let path = [programs, folder(executable())].into_iter().chain(std::env::split_paths(&old));
    let mut command = home.command(&[]);
    let environment: Vec<_> =
        command.get_envs().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect();
    command = Command::new("bash");
    command.args(["-euc", &script]).envs(environment).env("PATH", std::env::join_paths(path).unwrap());
    let output = must(&mut command);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains(".bashrc"), "{out}");
}

#[test]
fn sprites_py() {
    python("python", "requirements.txt", &["scenario.py", "inside.py"]);
    readme();
}

#[test]
fn sprites_py_old() {
    python("python-old", "requirements-old.txt", &["old.py"]);
}

#[test]
fn fly_sprites() {
    node("node", &["scenario.js", "inside.js"]);
}

#[test]
fn fly_sprites_old() {
    node("node-old", &["old.js"]);
}
