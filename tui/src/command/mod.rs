//! The command line: subcommands and what they do.

mod app;
mod config;
mod context;
#[cfg(feature = "local")]
mod costs;
#[cfg(feature = "local")]
mod disk;
#[cfg(feature = "local")]
mod doctor;
#[cfg(feature = "local")]
mod env;
#[cfg(feature = "local")]
mod image;
mod manual;
#[cfg(feature = "local")]
mod server;
#[cfg(feature = "local")]
mod stop;

use clap::{Parser, Subcommand};
use sprites_tui::appearance::Flags;
use std::process::ExitCode;

/// Sprites on one screen: small persistent Linux computers, on this machine or in the cloud.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Arguments {
    /// Address of a remote endpoint instead of this machine; its token comes from the environment variable SPRITES_TOKEN
    #[arg(long, value_name = "URL", env = "SPRITES_API_URL")]
    url: Option<String>,
    /// Context to begin with: `local`, or one of the configuration
    #[arg(long, conflicts_with = "url")]
    context: Option<String>,
    /// Theme, instead of the configured one
    #[arg(long)]
    theme: Option<String>,
    /// Look at the app without a machine and without an account: nothing that it shows is real
    #[arg(long, conflicts_with_all = ["url", "context"])]
    demo: bool,
    /// Draw nothing beyond ASCII
    #[arg(long)]
    ascii: bool,
    /// No full screen: tell what changes line by line, for screen readers
    #[arg(long)]
    plain: bool,
    /// Change nothing from the app: no sprite, checkpoint, rule or budget
    #[arg(long)]
    read_only: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the local server in the foreground; the app starts one by itself when it needs it
    #[cfg(feature = "local")]
    Serve(server::Serve),
    /// Run one machine
    #[cfg(feature = "local")]
    #[command(hide = true)]
    Machine(server::Machine),
    /// Run the network of one machine
    #[cfg(feature = "local")]
    #[command(hide = true)]
    Gateway(server::Gateway),
    /// Answer one question about the files on a disk
    #[cfg(feature = "local")]
    #[command(hide = true)]
    Files,
    /// Put the terminal back when the app is killed
    #[command(name = sprites_tui::guard::COMMAND, hide = true)]
    TerminalGuard,
    /// Base images, from which sprites are made
    #[cfg(feature = "local")]
    Image {
        #[command(subcommand)]
        command: image::Image,
    },
    /// Remote endpoints and their tokens
    Context {
        #[command(subcommand)]
        command: context::Context,
    },
    /// What can be configured: check the file, show what holds, print schemas for editors
    Config {
        #[command(subcommand)]
        command: config::Config,
    },
    /// Print a completion script
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages into a folder, one for each command
    Manual {
        /// The folder, which is made
        folder: std::path::PathBuf,
    },
    /// Tell what this machine can do for sprites, and what to do about what it cannot
    #[cfg(feature = "local")]
    Doctor,
    /// What this machine's sprites cost
    #[cfg(feature = "local")]
    Costs(costs::Costs),
    /// Tell or change how much a month may cost
    #[cfg(feature = "local")]
    Budget(costs::Change),
    /// Print address and token of the local server for a shell: eval "$(sprites-tui env)"
    #[cfg(feature = "local")]
    Env,
    /// Stop sprites; without names all of them, and the server
    #[cfg(feature = "local")]
    Stop(stop::Stop),
    /// Sprites' disks, while they do not run
    #[cfg(feature = "local")]
    Disk {
        #[command(subcommand)]
        command: disk::Disk,
    },
}

impl Arguments {
    /// Whether this process serves others, and must outlive each of them.
    #[cfg(feature = "local")]
    fn serves(&self) -> bool {
        matches!(self.command, Some(Command::Serve(_) | Command::Machine(_) | Command::Gateway(_)))
    }

    #[cfg(not(feature = "local"))]
    fn serves(&self) -> bool {
        false
    }

    /// Does what was asked for.
    pub fn run(self) -> ExitCode {
        if !matches!(self.command, None | Some(Command::TerminalGuard)) && !self.serves() {
            end_with_the_pipe();
        }
        let flags =
            Flags { theme: self.theme, ascii: self.ascii, plain: self.plain, read_only: self.read_only };
        let outcome = match self.command {
            #[cfg(feature = "local")]
            Some(Command::Serve(serve)) => serve.run(),
            #[cfg(feature = "local")]
            Some(Command::Machine(machine)) => machine.run(),
            #[cfg(feature = "local")]
            Some(Command::Gateway(gateway)) => gateway.run(),
            #[cfg(feature = "local")]
            Some(Command::Files) => server::files(),
            #[cfg(feature = "local")]
            Some(Command::Image { command }) => command.run(),
            #[cfg(feature = "local")]
            Some(Command::Doctor) => doctor::run(),
            #[cfg(feature = "local")]
            Some(Command::Env) => env::run(),
            #[cfg(feature = "local")]
            Some(Command::Costs(costs)) => costs.run(),
            #[cfg(feature = "local")]
            Some(Command::Budget(change)) => change.run(),
            #[cfg(feature = "local")]
            Some(Command::Stop(stop)) => stop.run(),
            #[cfg(feature = "local")]
            Some(Command::Disk { command }) => command.run(),
            Some(Command::Context { command }) => command.run(),
            Some(Command::Config { command }) => command.run(),
            Some(Command::Completion { shell }) => manual::completion(shell),
            Some(Command::Manual { folder }) => manual::pages(&folder),
            Some(Command::TerminalGuard) => {
                sprites_tui::guard::watch();
                Ok(ExitCode::SUCCESS)
            }
            None if self.demo => app::demo(flags),
            None => app::run(self.url.as_deref(), self.context, flags),
        };
        match outcome {
            Ok(code) => code,
            Err(error) => {
                eprintln!("sprites-tui: {error}");
                ExitCode::FAILURE
            }
        }
    }
}

/// A program whose output nobody reads any more ends quietly, as others do.
fn end_with_the_pipe() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: the default action runs no code of this program.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}

type Outcome = Result<ExitCode, Box<dyn std::error::Error + Send + Sync>>;
