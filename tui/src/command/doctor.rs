//! `doctor`: what this machine can do.

use super::Outcome;
use sprites_backend::doctor::{Grade, examine};
use sprites_backend::paths::Paths;
use std::process::ExitCode;

/// Prints all findings; fails when sprites cannot run.
pub(super) fn run() -> Outcome {
    let findings = examine(&Paths::resolve()?);
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
    let bad = findings.iter().any(|finding| finding.grade == Grade::Bad);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
