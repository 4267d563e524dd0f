//! Builds the agent as a static executable, so that it travels inside this crate and plain cargo commands are enough.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    for watched in ["guest-agent/src", "guest-agent/Cargo.toml", "api/src", "api/Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    if env::var_os("CARGO_FEATURE_FUZZING").is_some() {
        // Fuzzing boots nothing, and an agent takes longer to build than all the rest.
        let none = out.join("no-agent");
        std::fs::write(&none, []).expect("its own folder can be written");
        println!("cargo::rustc-env=SPRITES_AGENT={}", none.display());
        return;
    }
    // <target>/<profile>/build/<crate>/out: one folder for all profiles, so that the agent is built once.
    let target = out.ancestors().nth(4).unwrap_or(&out).join("agent");
    let agent = build(&root, &target);
    println!("cargo::rustc-env=SPRITES_AGENT={}", agent.display());
}

fn build(root: &Path, target: &Path) -> PathBuf {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "-p",
            "sprites-guest-agent",
            "--bin",
            "sprite-agent",
            "--profile",
            "agent",
        ])
        .args(["--target", TARGET, "--target-dir"])
        .arg(target);
    // What the outer cargo tells this script must not reach the inner one.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let told = ["CARGO_CFG_", "CARGO_FEATURE_", "CARGO_PKG_", "DEP_"]
            .iter()
            .any(|start| name.starts_with(start));
        let one = [
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC_WORKSPACE_WRAPPER",
            "CLIPPY_ARGS",
            "TARGET",
            "OUT_DIR",
            "PROFILE",
        ];
        if told || one.contains(&name.as_str()) {
            cargo.env_remove(name);
        }
    }
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    let done = cargo.status().expect("cargo can be run");
    assert!(done.success(), "the agent did not build; the messages above tell why");
    target.join(TARGET).join("agent").join("sprite-agent")
}
