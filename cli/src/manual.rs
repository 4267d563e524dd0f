//! Completion scripts and manual pages, made from what can be said.

use crate::arguments::Arguments;
use crate::failure::{Failure, Outcome};
use clap::CommandFactory;
use clap_complete::Shell;
use std::fs;
use std::io::stdout;
use std::path::Path;
use std::process::ExitCode;

/// Prints a completion script.
pub fn completion(shell: Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "sprite", &mut script);
    // Whoever reads may have gone away.
    let _ = std::io::Write::write_all(&mut stdout(), &script);
    Ok(ExitCode::SUCCESS)
}

/// Writes a manual page for `sprite` and for each command into a folder, which is made.
pub fn pages(folder: &Path) -> Outcome {
    fs::create_dir_all(folder).map_err(Failure::io("make", folder.display()))?;
    clap_mangen::generate_to(Arguments::command(), folder).map_err(Failure::io("write", folder.display()))?;
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
