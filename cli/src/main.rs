//! `sprite`. See the library.

use clap::Parser;
use sprites_cli::arguments::{self, Arguments};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| arguments::better(error).exit());
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("sprite: it cannot run: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(sprites_cli::run(arguments));
    // A thread may be waiting for a key that never comes.
    runtime.shutdown_timeout(Duration::from_millis(50));
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            failure.tell();
            failure.code()
        }
    }
}
