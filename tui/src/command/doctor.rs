//! `doctor`: what this machine can do.

use super::Outcome;
use sprites_backend::doctor::{Grade, examine};
use sprites_backend::paths::Paths;
use sprites_tui::config::Config;
use std::process::ExitCode;

/// Prints all findings; fails when sprites cannot run.
pub(super) fn run() -> Outcome {
    let paths = Paths::resolve()?;
    let findings = examine(&paths);
    for finding in &findings {
        let mark = match finding.grade {
            Grade::Good => "ok  ",
            Grade::Fair => "fair",
            Grade::Bad => "BAD ",
        };
        println!("{mark}  {:<11} {}", finding.subject, finding.fact);
        if let Some(remedy) = &finding.remedy {
            println!("                  → {remedy}");
        }
    }
    let config = Config::load(&paths.config_file());
    for mistake in &config.mistakes {
        println!("fair  config      {mistake}");
    }
    if let Some(listen) = &config.server.listen {
        println!(
            "ok    listening   other machines may reach the server at {listen}, once it was started with this"
        );
    }
    let bad = findings.iter().any(|finding| finding.grade == Grade::Bad);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
