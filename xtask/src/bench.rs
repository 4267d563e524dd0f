//! `cargo xtask bench`: runs the measuring programs and prints their figures as one table.

use crate::host::{self, For};
use crate::tasks::{Result, cargo, test_images};
use serde::Deserialize;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// Measuring programs: package and example. Each prints lines of [`Figure`].
const SUITES: &[(&str, &str)] = &[
    ("vmm-disk", "disk_bench"),
    ("snapshots-tests", "machine_bench"),
    ("snapshots-tests", "api_bench"),
    ("snapshots-tests", "tui_bench"),
    ("snapshots-tests", "life_bench"),
    ("vmm-net", "net_bench"),
];

/// One measured number.
#[derive(Deserialize)]
pub struct Figure {
    /// What was measured.
    name: String,
    /// The number itself.
    value: f64,
    /// Its unit.
    unit: String,
    /// The number against its peer, measured in the same run.
    #[serde(default)]
    ratio: Option<f64>,
    /// What the ratio, or without one the value, is held against: `<= 1.15`, `>= 0.9`.
    #[serde(default)]
    limit: Option<String>,
}

impl Figure {
    /// That of a line; none when it is something else.
    pub fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    /// Prints it as a row of the table.
    pub fn show(&self) {
        let value = format!("{:.3} {}", self.value, self.unit);
        let ratio = self.ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default();
        let limit = self.limit.as_deref().unwrap_or_default();
        println!("{:<58} {value:>14} {ratio:>8} {limit:>10} {}", self.name, self.verdict());
    }

    fn verdict(&self) -> &'static str {
        let Some(limit) = &self.limit else { return "" };
        let measured = self.ratio.unwrap_or(self.value);
        let holds = |text: &str, test: fn(&f64, &f64) -> bool| {
            text.trim().parse().is_ok_and(|bound| test(&measured, &bound))
        };
        let ok = if let Some(bound) = limit.strip_prefix("<=") {
            holds(bound, f64::le)
        } else if let Some(bound) = limit.strip_prefix(">=") {
            holds(bound, f64::ge)
        } else {
            return "?";
        };
        if ok { "ok" } else { "over" }
    }
}

/// Prints the head of the table.
pub fn head() {
    println!("{:<58} {:>14} {:>8} {:>10}", "figure", "value", "ratio", "limit");
}

/// Runs all suites whose name contains `filter`. A figure outside its limit is told, not an error: machines differ.
pub fn bench(filter: Option<&str>) -> Result<()> {
    host::prepare(For::Bench)?;
    let images = test_images()?;
    head();
    for (package, example) in SUITES {
        if filter.is_some_and(|filter| !example.contains(filter)) {
            continue;
        }
        let mut child = cargo()
            .args(["run", "--release", "-q", "-p", package, "--example", example])
            .env("SPRITES_TEST_IMAGES", &images)
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(output) = child.stdout.take() {
            for line in BufReader::new(output).lines() {
                let line = line?;
                match Figure::read(&line) {
                    Some(figure) => figure.show(),
                    None => println!("{line}"),
                }
            }
        }
        let status = child.wait()?;
        if !status.success() {
            return Err(format!("the suite {example} failed ({status})").into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let figure = |value, ratio, limit: &str| Figure {
            name: "x".into(),
            value,
            unit: "ms".into(),
            ratio,
            limit: Some(limit.into()),
        };
        assert_eq!(figure(9.0, Some(1.1), "<= 1.15").verdict(), "ok");
        assert_eq!(figure(9.0, Some(1.2), "<=1.15").verdict(), "over");
        assert_eq!(figure(6.0, None, "<= 5").verdict(), "over");
        assert_eq!(figure(0.95, None, ">= 0.9").verdict(), "ok");
        assert_eq!(figure(0.95, None, "about 1").verdict(), "?");
    }
}
