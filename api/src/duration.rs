//! Durations as the API writes them: Go's text form (`1m30s`, `250ms`), fractions (`5.0s`), or a bare number of seconds.

use std::time::Duration;

/// Reads a duration. `None` for anything else, for negative values, and beyond 1,000 years.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return from_seconds(seconds);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += value * unit;
        rest = &rest[end..];
    }
    if text.is_empty() { None } else { from_seconds(total) }
}

fn from_seconds(seconds: f64) -> Option<Duration> {
    const THOUSAND_YEARS: f64 = 1000.0 * 366.0 * 86400.0;
    (seconds.is_finite() && (0.0..=THOUSAND_YEARS).contains(&seconds))
        .then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let cases =
            [("5s", 5.0), ("1m0s", 60.0), ("1h", 3600.0), ("250ms", 0.25), ("0s", 0.0), ("5.0s", 5.0)];
        for (text, seconds) in cases {
            assert_eq!(parse(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        assert_eq!(parse("600"), Some(Duration::from_secs(600)));
        for bad in ["", "s", "-1s", "5 s", "1x", "NaN", "inf", "9e99", "1..2s", "é"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
