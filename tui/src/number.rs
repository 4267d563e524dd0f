//! Numbers for people.

use jiff::Timestamp;
use sprites_api::Time;

/// Units of bytes, each a thousand of the one before.
pub const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];

/// Bytes in powers of 1000: `1.2 GB`.
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.5 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// Dollars, with as many digits as tell something.
pub fn dollars(amount: f64) -> String {
    match amount {
        a if a >= 100.0 => format!("${a:.0}"),
        a if a >= 0.1 => format!("${a:.2}"),
        a if a > 0.0 => {
            let digits = format!("{a:.4}");
            // Cents at least, and no more than tells something.
            let short = digits.trim_end_matches('0');
            format!("${short:0<4}")
        }
        _ => "$0".into(),
    }
}

/// CPUs in percent of one.
pub fn cpus(cpus: f64) -> String {
    format!("{:.0} %", cpus * 100.0)
}

/// How long ago: `3 m`, `5 h`, `12 d`.
pub fn age(since: Time, now: Timestamp) -> String {
    let seconds = (now.as_microsecond() - since.as_micros()) / 1_000_000;
    match seconds {
        ..0 => "now".into(),
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} m", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A length of time: `12 s`, `5 m`, `2.5 h`, `3.1 d`.
pub fn length(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.0} s"),
        s if s < 3600.0 => format!("{:.0} m", s / 60.0),
        s if s < 86_400.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}

/// So many of something: `1 process`, `2 processes`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The least round number that is not below this: where an axis ends.
pub fn round_up(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 1.0;
    }
    let ten = 10f64.powf(value.log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    // A hair above is rounding, not another step.
    steps.iter().map(|step| step * ten).find(|round| *round >= value * 0.999_999).unwrap_or(10.0 * ten)
}

/// A span of a graph in the largest unit that divides it: `1 m`, `90 s`, `6 h`.
pub fn span(seconds: u64) -> String {
    match seconds {
        _ if seconds == 0 || !seconds.is_multiple_of(60) => format!("{seconds} s"),
        _ if !seconds.is_multiple_of(3600) => format!("{} m", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// The text cut to a width in cells, with an ellipsis.
pub fn cut(text: &str, width: usize) -> String {
    use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(
            [bytes(0), bytes(999), bytes(1500), bytes(352_100_000), bytes(2_000_000_000)],
            ["0 B", "999 B", "1.5 kB", "352 MB", "2.0 GB"]
        );
        assert_eq!(
            [dollars(0.0), dollars(0.000_42), dollars(1.5), dollars(1234.0)],
            ["$0", "$0.0004", "$1.50", "$1234"]
        );
        assert_eq!([dollars(0.02), dollars(0.0012), dollars(0.000_001)], ["$0.02", "$0.0012", "$0.00"]);
        assert_eq!(
            [length(4.2), length(61.0), length(9000.0), length(1e6)],
            ["4 s", "1 m", "2.5 h", "11.6 d"]
        );
        assert_eq!(
            [round_up(0.0), round_up(100.0), round_up(101.0), round_up(67.2e6)],
            [1.0, 100.0, 150.0, 80e6]
        );
        assert_eq!(
            [cut("abc", 3), cut("abcd", 3), cut("日本語", 4), cut("ab", 0)],
            ["abc", "ab…", "日…", ""]
        );
        assert_eq!([span(60), span(21_600)], ["1 m", "6 h"]);
    }
}
