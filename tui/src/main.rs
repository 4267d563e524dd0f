//! `sprites-tui`: the app, and everything else this executable can be.

mod command;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A machine process is confined and then makes threads: it must find none yet, so nothing comes before this.
    command::Arguments::parse().run()
}
