//! What processes of this host use (`man 5 proc`).

use std::fs;
use std::path::Path;

/// CPU time of a process so far, seconds: fields 14 and 15 of `stat`, in ticks of 10 ms.
pub fn cpu(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// How often its threads have waited and were woken so far.
pub fn wakes(pid: i32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs").flatten();
    let of = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok()).map(of).sum()
}

/// Its memory, bytes: what it shares with others is divided among them.
pub fn memory(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Processes whose command line names this path or something below it, with their command lines.
pub fn naming(path: &Path) -> Vec<(i32, String)> {
    let wanted = path.to_string_lossy().into_owned();
    let pids = fs::read_dir("/proc").expect("there are processes").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let told = pids.filter_map(|pid: i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&words).replace('\0', " ");
        line.contains(&wanted).then_some((pid, line))
    });
    told.collect()
}
