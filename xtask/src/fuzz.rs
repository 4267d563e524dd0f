//! `cargo xtask fuzz`: feeds what a hostile guest or a damaged file can reach from libFuzzer.
//!
//! The programs are in `fuzz/`, laid out as cargo-fuzz has it, but neither it nor a nightly compiler is needed: coverage marks are a matter of
//! flags, and libFuzzer comes with its crate. The stable compiler has no AddressSanitizer; debug assertions, overflow checks and each target's
//! own assertions look instead. Everything that is made is below `target/fuzz`.

use crate::host::{self, For};
use crate::tasks::{Result, cargo, must, root};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// What libFuzzer needs the compiler to put into the code, as cargo-fuzz asks for it; and every check that a test has.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg",
    "fuzzing",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Ccodegen-units=1",
];
/// Most memory of a fuzzing program, MiB.
const MEMORY: u32 = 2048;
/// Most time for a case, seconds.
const TIMEOUT: u32 = 25;
/// Longest case, bytes.
const LONGEST: u32 = 16 << 10;

/// Fuzzes the target of that name, or each of them, for so many seconds. A case that fails is kept, told, and the end.
pub fn fuzz(only: Option<&str>, seconds: u32) -> Result<()> {
    host::prepare(For::Fuzz)?;
    let targets = targets(only)?;
    let made = root().join("target/fuzz");
    must(
        cargo()
            .current_dir(root().join("fuzz"))
            .args(["build", "--release", "--bins", "--locked", "--target", TRIPLE, "--target-dir"])
            .arg(made.join("build"))
            .env("RUSTFLAGS", FLAGS.join(" ")),
    )?;
    // Files that cases make, in memory where that can be had; they go with it whatever becomes of the cases.
    let shm = Path::new("/dev/shm");
    let scratch = if shm.is_dir() { shm } else { &made }.join(format!("sprites-fuzz-{}", std::process::id()));
    let mut failed = Vec::new();
    for target in &targets {
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(&scratch)?;
        if !run(&made, target, seconds, &scratch)? {
            failed.push(target.as_str());
        }
    }
    let _ = fs::remove_dir_all(&scratch);
    if failed.is_empty() { Ok(()) } else { Err(format!("cases failed: {}", failed.join(", ")).into()) }
}

/// Names of the targets: those of the programs' sources.
fn targets(only: Option<&str>) -> Result<Vec<String>> {
    let mut all: Vec<String> = fs::read_dir(root().join("fuzz/fuzz_targets"))?
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".rs")?.to_owned()))
        .collect();
    all.sort();
    match only {
        None => Ok(all),
        Some(name) if all.iter().any(|target| target == name) => Ok(vec![name.to_owned()]),
        Some(name) => Err(format!("there is no target {name}; there are {}", all.join(", ")).into()),
    }
}

/// Fuzzes one target and tells in one line what came of it; false when a case failed.
fn run(made: &Path, target: &str, seconds: u32, scratch: &Path) -> Result<bool> {
    let program = made.join("build").join(TRIPLE).join("release").join(target);
    let (found, artifacts, logs) =
        (made.join("corpus").join(target), made.join("artifacts"), made.join("logs"));
    for dir in [&found, &artifacts, &logs] {
        fs::create_dir_all(dir)?;
    }
    let prefix = artifacts.join(format!("{target}-"));
    let log = logs.join(target);
    let begun = Instant::now();
    let status = Command::new(&program)
        // New cases go into the first folder; the one of the checkout is only read.
        .arg(&found)
        .arg(root().join("fuzz/corpus").join(target))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-timeout={TIMEOUT}"))
        .arg(format!("-max_len={LONGEST}"))
        .arg(format!("-artifact_prefix={}", prefix.display()))
        .arg("-print_final_stats=1")
        .env("TMPDIR", scratch)
        .stdout(File::create(&log)?)
        .stderr(File::options().append(true).open(&log)?)
        .status()
        .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    let told = Told::read(&String::from_utf8_lossy(&fs::read(&log)?));
    println!(
        "{target:<16} {:>5} s {:>12} cases {:>6} kept {:>6} marks {:>5} MiB  {}",
        begun.elapsed().as_secs(),
        told.cases,
        fs::read_dir(&found)?.count(),
        told.marks,
        told.memory,
        if status.success() { "ok" } else { "FAILED" }
    );
    if status.success() {
        return Ok(true);
    }
    match told.artifact {
        Some(case) => println!(
            "  the case is {}\n  again: {} {}\n  once mended, keep it: cp {} fuzz/corpus/{target}/",
            case.display(),
            program.display(),
            case.display(),
            case.display()
        ),
        None => println!("  it ended with {status} and left no case; its words are in {}", log.display()),
    }
    Ok(false)
}

/// What libFuzzer says at its end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    cases: u64,
    /// Places in the code that were reached.
    marks: u64,
    /// MiB.
    memory: u64,
    artifact: Option<PathBuf>,
}

impl Told {
    fn read(log: &str) -> Self {
        let number = |text: &str| text.split_whitespace().next().and_then(|word| word.parse().ok());
        let mut told = Self::default();
        for line in log.lines() {
            if let Some(rest) = line.strip_prefix("stat::number_of_executed_units:") {
                told.cases = number(rest).unwrap_or(0);
            } else if let Some(rest) = line.strip_prefix("stat::peak_rss_mb:") {
                told.memory = number(rest).unwrap_or(0);
            } else if let Some((_, case)) = line.split_once("Test unit written to ") {
                told.artifact = Some(case.trim().into());
            } else if line.starts_with('#')
                && let Some((_, rest)) = line.split_once("cov: ")
            {
                told.marks = number(rest).unwrap_or(told.marks);
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says() {
        let log = "INFO: Seed: 1\n#2\tINITED cov: 10 ft: 10 corp: 1/1b\n#99\tNEW    cov: 12 ft: 20 corp: 2/9b\n\
                   artifact_prefix='x'; Test unit written to /a/b-crash-1\nstat::number_of_executed_units: 123\n\
                   stat::peak_rss_mb:              45\n";
        let told = Told { cases: 123, marks: 12, memory: 45, artifact: Some("/a/b-crash-1".into()) };
        assert_eq!(Told::read(log), told);
        assert_eq!(Told::read(""), Told::default());
    }

    #[test]
    fn each_target_has_its_program_and_its_cases() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        let all = targets(None).unwrap();
        assert!(!all.is_empty());
        for target in &all {
            assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} is not in the manifest");
            let cases = root().join("fuzz/corpus").join(target);
            assert!(fs::read_dir(&cases).unwrap().count() > 0, "{target} has no cases");
        }
        assert!(targets(Some("nothing")).is_err());
    }
}
