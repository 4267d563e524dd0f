//! `doctor`: what this machine can do.

use super::Outcome;
use sprites_backend::doctor::{Finding, Grade, examine};
use sprites_backend::paths::Paths;
use sprites_tui::config::Config;
use std::process::ExitCode;

/// Prints all findings; fails when sprites cannot run.
pub(super) fn run() -> Outcome {
    let paths = Paths::resolve()?;
    let mut findings = examine(&paths);
    findings.extend(configured(&Config::load(&paths.config_file())));
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

/// What the configuration says that matters here.
fn configured(config: &Config) -> Vec<Finding> {
    let finding = |subject, grade, fact| Finding { subject, grade, fact, remedy: None };
    let mistakes = config.mistakes.iter().map(|mistake| finding("config", Grade::Fair, mistake.clone()));
    let listen = config.server.listen.iter().map(|listen| {
        let fact = format!("other machines may reach a server that was started since at {listen}");
        finding("listening", Grade::Good, fact)
    });
    mistakes.chain(listen).collect()
}
