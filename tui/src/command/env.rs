//! `env`: where the local server is, for programs that speak to it.

use super::Outcome;
use serde::Deserialize;
use sprites_backend::endpoint::ensure_local_server;
use sprites_backend::paths::Paths;
use std::fs;
use std::process::ExitCode;

#[derive(Deserialize)]
struct Info {
    tcp: String,
}

/// Prints what a shell is to evaluate. The server is started if it does not run.
pub(super) fn run() -> Outcome {
    let paths = Paths::resolve()?;
    ensure_local_server(&paths, &std::env::current_exe()?)?;
    let read = |path: std::path::PathBuf| {
        fs::read_to_string(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
    };
    let info: Info = serde_json::from_str(&read(paths.server_info())?)?;
    let token = read(paths.token())?;
    // Neither has a character that a shell would see anything in.
    println!("export SPRITES_API_URL={}", info.tcp);
    println!("export SPRITES_TOKEN={}", token.trim());
    Ok(ExitCode::SUCCESS)
}
