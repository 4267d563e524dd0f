//! Whether the host is short of memory.

use std::fs;

/// Below this part of all memory the host is short of it: one sixteenth.
const SHORT: u64 = 16;
/// Percent of the last ten seconds in which some program waited for memory, from which on the host is short of it.
const WAITING: f64 = 10.0;

/// Whether sleeping sprites should give their memory back.
pub(super) fn is_high() -> bool {
    let says = |path: &str, is: fn(&str) -> bool| fs::read_to_string(path).is_ok_and(|text| is(&text));
    says("/proc/meminfo", is_short) || says("/proc/pressure/memory", waits)
}

/// Reads `/proc/pressure/memory`, where the kernel has it (Linux, `Documentation/accounting/psi.rst`).
fn waits(text: &str) -> bool {
    let some = text.lines().find_map(|line| line.strip_prefix("some "));
    let average = some.and_then(|line| line.split_whitespace().find_map(|word| word.strip_prefix("avg10=")));
    average.and_then(|average| average.parse::<f64>().ok()).is_some_and(|percent| percent >= WAITING)
}

/// Reads `/proc/meminfo` (`man 5 proc`).
fn is_short(text: &str) -> bool {
    let value = |key: &str| -> Option<u64> {
        let line = text.lines().find(|line| line.split(':').next() == Some(key))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    match (value("MemTotal"), value("MemAvailable")) {
        (Some(total), Some(available)) => available < total / SHORT,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short() {
        let told =
            |available| format!("MemTotal:       16000 kB\nMemFree: 1 kB\nMemAvailable:   {available} kB\n");
        assert!(is_short(&told(999)) && !is_short(&told(1000)));
        let pressure = |percent| {
            format!("some avg10={percent} avg60=0.00 avg300=0.00 total=7\nfull avg10=99.00 avg60=0.00\n")
        };
        assert!(waits(&pressure("10.00")) && waits(&pressure("83.12")) && !waits(&pressure("9.99")));
        assert!(!waits("") && !waits(&pressure("x")));
        assert!(!is_short("") && !is_short("MemTotal: x kB\nMemAvailable: 0 kB"));
    }
}
