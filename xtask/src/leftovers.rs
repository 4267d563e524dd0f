//! Processes that tests left running: there must be none.

use std::fs;
use std::time::{Duration, Instant};

/// Mark in the environment of everything a test run starts.
pub const MARK: &str = "SPRITES_TEST_RUN";

/// How long processes that are just ending get.
const GRACE: Duration = Duration::from_secs(10);

/// Command lines of processes that carry this run's mark, after those that are ending had time to end.
pub fn find(run: &str) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let found = marked(run);
        if found.is_empty() || begun.elapsed() > GRACE {
            return found;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn marked(run: &str) -> Vec<String> {
    let wanted = format!("{MARK}={run}");
    let own = std::process::id().to_string();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for entry in processes.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|b| b.is_ascii_digit()) && *name != own)
        else {
            continue;
        };
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        if environment.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes()) {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            found.push(format!("{pid}: {}", command.trim()));
        }
    }
    found
}
