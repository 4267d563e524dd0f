//! `cargo xtask run | test | fuzz | lab | bench | tour`: everything one does with a checkout, each complete in itself.

mod bench;
mod fuzz;
mod host;
mod lab;
mod lab_bench;
mod lab_qemu;
mod leftovers;
mod tasks;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Tasks of this checkout.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the host lacks, build, prepare the base image, open the app
    Run {
        /// Handed to `sprites-tui` as they are
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Everything that must hold
    Test {
        /// Handed to `cargo test` as they are, instead of `--workspace`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Measure, and print ratios against peers and limits
    Bench {
        /// Our own monitor against QEMU on the same KVM, in a machine within this one
        #[arg(long)]
        lab: bool,
        /// Only the suites, in the lab the parts, whose name contains this
        filter: Option<String>,
    },
    /// Feed what hostile guests and damaged files can reach with cases of all kinds
    Fuzz {
        /// Only this one; else each in turn
        target: Option<String>,
        /// How long each is fuzzed
        #[arg(long, default_value_t = 10)]
        seconds: u32,
    },
    /// Our own monitor's tests on a real KVM, in a machine within this one
    Lab {
        /// Only the machine, without the server on top of it
        #[arg(long)]
        machine: bool,
        /// Only the tests whose name contains one of these
        filters: Vec<String>,
    },
    /// Draw the documentation's pictures anew from the running app
    Tour,
}

fn main() -> ExitCode {
    let result = match Args::parse().task {
        Task::Run { args } => tasks::run(&args),
        Task::Test { args } => tasks::test(&args),
        Task::Bench { lab: true, filter } => lab_bench::bench(filter.as_deref()),
        Task::Bench { lab: false, filter } => bench::bench(filter.as_deref()),
        Task::Lab { machine, filters } => {
            lab::lab(if machine { lab::Part::Machine } else { lab::Part::All }, &filters)
        }
        Task::Fuzz { target, seconds } => fuzz::fuzz(target.as_deref(), seconds),
        Task::Tour => tasks::tour(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
