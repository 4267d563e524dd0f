//! One machine by hand: `local-vmm machine --spec FILE`. The app has the same subcommand; this executable needs nothing but this crate.
//!
//! `local-vmm probe` prints what KVM is here, one word. `local-vmm intrude --spec FILE ATTEMPT`, `--gateway PATH…` or `--reader VOLUME ATTEMPT PATH`, is for tests: see [`intruder`].

mod intruder;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).log_internal_errors(false).init();
    let done = match words[..] {
        ["machine", "--spec", spec] => {
            local_vmm::machine::run(&PathBuf::from(spec)).map_err(|error| error.to_string())
        }
        ["probe"] => {
            println!("{:?}", local_vmm::kvm::probe());
            Ok(())
        }
        ["intrude", "--gateway", ref paths @ ..] => intruder::run_in_gateway(paths),
        ["intrude", "--reader", volume, attempt, path] => intruder::run_in_reader(volume, attempt, path),
        ["intrude", "--spec", spec, ref attempt @ ..] => intruder::run(&PathBuf::from(spec), attempt),
        _ => {
            eprintln!("usage: local-vmm machine --spec FILE");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("local-vmm: {error}");
            ExitCode::FAILURE
        }
    }
}
