//! Completion scripts and manual pages, made from what can be said.

use super::{Arguments, Outcome};
use clap::CommandFactory;
use clap_complete::Shell;
use std::fs;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

/// Prints a completion script.
pub(super) fn completion(shell: Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "sprites-tui", &mut script);
    stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a manual page for `sprites-tui` and for each command into a folder, which is made.
pub(super) fn pages(folder: &Path) -> Outcome {
    let failed = |error| format!("cannot write {}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), folder).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_said_makes_sense() {
        Arguments::command().debug_assert();
    }
}
