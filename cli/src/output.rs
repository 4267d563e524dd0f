//! What is printed: tables for people, JSON for programs, progress for whoever watches a terminal.

use crate::arguments::Format;
use serde_json::{Map, Value};
use sprites_api::Time;
use sprites_backend::client::is_obeyed;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use unicode_width::UnicodeWidthStr;

/// Prints rows under heads: as a table on a terminal, as columns between tabs in a pipe, or as JSON.
pub fn table<const N: usize>(format: Format, heads: [&str; N], rows: Vec<[String; N]>) {
    if format.json {
        let object = |row: [String; N]| -> Value {
            let pairs = heads.iter().zip(row).map(|(head, cell)| (head.to_string(), Value::from(cell)));
            pairs.collect::<Map<_, _>>().into()
        };
        return json(&rows.into_iter().map(object).collect::<Vec<_>>());
    }
    let mut out = stdout().lock();
    if !out.is_terminal() {
        for row in rows {
            // Whoever reads may have gone away.
            let _ = writeln!(out, "{}", columns(&row));
        }
        return;
    }
    let rows: Vec<[String; N]> = rows.into_iter().map(|row| row.map(|cell| plain(&cell))).collect();
    let heads = heads.map(str::to_uppercase);
    let mut widths = heads.each_ref().map(|head| head.width());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    for row in std::iter::once(&heads).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - cell.width() + 2));
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// Prints a value as JSON.
pub fn json(value: &impl serde::Serialize) {
    // Plain data with string keys always has a JSON form.
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let _ = writeln!(stdout(), "{}", escaped(&text));
}

/// Prints a value as JSON of one line, for programs that read as it goes on.
pub fn json_line(value: &impl serde::Serialize) {
    let text = serde_json::to_string(value).unwrap_or_default();
    let _ = writeln!(stdout(), "{}", escaped(&text));
}

/// The same JSON, in which a terminal finds nothing to obey: the format itself escapes only some of that, all of it within texts.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for sign in json.chars() {
        if is_obeyed(sign) && sign != '\n' {
            // All of them have short numbers.
            out.push_str(&format!("\\u{:04x}", u32::from(sign)));
        } else {
            out.push(sign);
        }
    }
    out
}

/// Prints one line.
pub fn line(text: &str) {
    let _ = writeln!(stdout(), "{}", plain(text));
}

/// Prints lines, in which tabs stay.
pub fn text(text: &str) {
    let _ = writeln!(stdout(), "{}", sprites_backend::client::plain(text));
}

/// Prints one line of columns between tabs.
pub fn row(cells: &[String]) {
    let _ = writeln!(stdout(), "{}", columns(cells));
}

fn columns(cells: &[String]) -> String {
    cells.iter().map(|cell| plain(cell)).collect::<Vec<_>>().join("\t")
}

/// Tells how far something is, if somebody watches.
pub fn progress(text: &str) {
    if stderr().is_terminal() {
        let _ = writeln!(stderr(), "{}", plain(text));
    }
}

/// Bytes that are on their way, in one line that is written anew, if somebody watches.
#[derive(Debug)]
pub struct Moving {
    /// When it was written last; none: nobody watches.
    last: Mutex<Option<Instant>>,
}

impl Moving {
    /// Between two times that the line is written.
    const PAUSE: Duration = Duration::from_millis(100);

    pub fn new() -> Self {
        Self { last: Mutex::new(stderr().is_terminal().then(Instant::now)) }
    }

    /// So many bytes are through, of so many where that is known.
    pub fn tell(&self, done: u64, all: Option<u64>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = last.as_mut().filter(|at| at.elapsed() >= Self::PAUSE) else { return };
        *at = Instant::now();
        let of = all.map(|all| format!(" of {}", bytes(all))).unwrap_or_default();
        let _ = write!(stderr(), "\r{}{of}\x1b[K", bytes(done));
    }

    /// Takes the line away.
    pub fn end(&self) {
        if self.last.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// Tells something on the side, whoever watches.
pub fn remark(text: &str) {
    let _ = writeln!(stderr(), "{}", plain(text));
}

/// A time as people read it.
pub fn time(at: Option<Time>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.timestamp().strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// A number of bytes as people read it.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Text without what a terminal would obey: parts of it come from a server, or from inside a sprite.
fn plain(text: &str) -> String {
    text.chars().filter(|sign| !is_obeyed(*sign)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_people() {
        assert_eq!(
            [bytes(0), bytes(999), bytes(1000), bytes(2_500_000)],
            ["0 B", "999 B", "1.0 kB", "2.5 MB"]
        );
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{9b}d\u{202e}"), "a[2Jbcd");
        assert_eq!(columns(&["a\tb".into(), "c".into()]), "ab\tc");
        let value = Value::from("a\u{1b}b\u{9b}c\u{7f}");
        let shown = escaped(&value.to_string());
        assert!(!shown.chars().any(char::is_control), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
        assert_eq!(time(None), "-");
    }
}
