//! The tools inside a sprite: `sprite-env`, which speaks to the sprite's own API, and `sprite-console`, which starts a login shell.
//!
//! They are the agent's executable under other names, so that an image needs nothing of ours in it.

mod client;
mod console;
mod env;

use std::process::ExitCode;

/// Names under which the executable is a tool.
pub const NAMES: [&str; 2] = ["sprite-env", "sprite-console"];

/// Runs the tool of that name. None if there is no such tool.
pub fn run(name: &str, arguments: Vec<String>) -> Option<ExitCode> {
    match name {
        "sprite-env" => Some(env::run(arguments)),
        "sprite-console" => Some(console::run()),
        _ => None,
    }
}
