//! One machine by hand: `local-vmm machine --spec FILE`. The app has the same subcommand; this executable needs nothing but this crate.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let spec = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["machine", "--spec", spec] => PathBuf::from(spec),
        _ => {
            eprintln!("usage: local-vmm machine --spec FILE");
            return ExitCode::from(2);
        }
    };
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    match local_vmm::machine::run(&spec) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("local-vmm: {error}");
            ExitCode::FAILURE
        }
    }
}
