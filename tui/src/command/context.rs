//! `context`: the places sprites are, and their tokens.

use super::Outcome;
use clap::Subcommand;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use secrecy::SecretString;
use sprites_backend::context::{LOCAL, forget_token, keep_token};
use sprites_backend::paths::Paths;
use sprites_tui::config::Config;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::process::ExitCode;

/// Longest token, bytes.
const MAX: u64 = 4096;

#[derive(Debug, Subcommand)]
pub(super) enum Context {
    /// List the contexts of the configuration
    List,
    /// Read a token from the terminal or standard input and keep it in the system's keyring
    Token {
        /// Name of the context
        name: String,
    },
    /// Remove a token from the system's keyring
    Forget {
        /// Name of the context
        name: String,
    },
}

impl Context {
    pub(super) fn run(self) -> Outcome {
        let config = Config::load(&Paths::resolve()?.config_file());
        let known = |name: &str| match config.contexts.iter().any(|context| context.name == name) {
            true => Ok(()),
            false => Err(format!("there is no remote context {name:?}; add it to config.toml first")),
        };
        match self {
            Self::List => {
                println!("{LOCAL}  this machine");
                config.contexts.iter().for_each(|context| println!("{}  {}", context.name, context.url));
                config.mistakes.iter().for_each(|mistake| eprintln!("sprites-tui: {mistake}"));
            }
            Self::Token { name } => {
                known(&name)?;
                keep_token(&name, &ask(&name)?)?;
                println!("The token of {name} is kept in the keyring.");
            }
            Self::Forget { name } => {
                forget_token(&name)?;
                println!("The keyring has no token of {name} any more.");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads a token without showing it.
fn ask(name: &str) -> Result<SecretString, Box<dyn std::error::Error + Send + Sync>> {
    let input = io::stdin();
    let shown = input.is_terminal().then(|| tcgetattr(&input)).transpose()?;
    if let Some(before) = &shown {
        write!(io::stderr(), "Token of {name} (it is not shown): ")?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&input, SetArg::TCSANOW, &hidden)?;
    }
    let mut line = String::new();
    let read = input.lock().take(MAX).read_line(&mut line);
    if let Some(before) = &shown {
        tcsetattr(&input, SetArg::TCSANOW, before)?;
        writeln!(io::stderr())?;
    }
    read?;
    let token = line.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("that is no token; nothing was kept".into());
    }
    Ok(token.to_owned().into())
}
