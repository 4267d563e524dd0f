//! Whether the host is short of memory.

use std::fs;

/// Below this part of all memory the host is short of it: one sixteenth.
const SHORT: u64 = 16;

/// Whether sleeping sprites should give their memory back.
pub(super) fn is_high() -> bool {
    fs::read_to_string("/proc/meminfo").is_ok_and(|text| is_short(&text))
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
        assert!(!is_short("") && !is_short("MemTotal: x kB\nMemAvailable: 0 kB"));
    }
}
