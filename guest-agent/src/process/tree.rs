//! The process table as `/proc` shows it: for usage and for reaching all processes of a session without a cgroup.

use std::collections::HashMap;
use std::fs;

/// One line of `/proc/<pid>/stat`, proc(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    /// CPU time of the process and its collected children, clock ticks.
    pub(crate) ticks: u64,
    /// Resident memory, pages.
    pub(crate) pages: u64,
}

/// All processes now.
pub(crate) fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| {
            entry.file_name().to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()))
        })
        .filter_map(|entry| parse(&fs::read_to_string(entry.path().join("stat")).ok()?))
        .collect()
}

/// Those of `all` that belong to a session leader of `leaders`, or descend from one.
pub(crate) fn of_sessions(all: &[Process], leaders: &[i32]) -> Vec<Process> {
    let by_pid: HashMap<i32, &Process> = all.iter().map(|one| (one.pid, one)).collect();
    let belongs = |one: &Process| {
        let mut at = one;
        // Bounded, because the table changes while it is read and need not be a tree.
        for _ in 0..64 {
            if leaders.contains(&at.session) || leaders.contains(&at.pid) {
                return true;
            }
            match by_pid.get(&at.parent) {
                Some(parent) => at = parent,
                None => return false,
            }
        }
        false
    };
    all.iter().copied().filter(belongs).collect()
}

/// Ends every process of a session and its descendants at once, as far as they can be found.
pub(crate) fn kill_session(leader: i32) {
    use nix::sys::signal::{Signal, kill};
    for process in of_sessions(&all(), &[leader]) {
        let _ = kill(nix::unistd::Pid::from_raw(process.pid), Signal::SIGKILL);
    }
    let _ = super::signal::send_group(leader, Signal::SIGKILL);
}

fn parse(stat: &str) -> Option<Process> {
    // The name may hold spaces and brackets: numbers begin after the last bracket.
    let pid = stat.split_once(' ')?.0.parse().ok()?;
    let rest: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    let number = |index: usize| rest.get(index).and_then(|text| text.parse::<i64>().ok());
    let ticks = (11..=14).map(number).sum::<Option<i64>>()?;
    Some(Process {
        pid,
        parent: number(1)? as i32,
        session: number(3)? as i32,
        ticks: ticks.max(0) as u64,
        pages: number(21)?.max(0) as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets() {
        let line =
            "42 (a) b (c) S 7 42 40 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 5 6000 77 18446744073709551615";
        assert_eq!(parse(line), Some(Process { pid: 42, parent: 7, session: 40, ticks: 100, pages: 77 }));
        for bad in ["", "42", "42 (a", "42 (a) S", "x (a) S 1 1 1 1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn finds_itself() {
        let me = std::process::id() as i32;
        assert!(all().iter().any(|one| one.pid == me));
    }
}
