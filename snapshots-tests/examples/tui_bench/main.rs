//! The app as people see it: the real executable in a terminal. How soon it shows something and answers a key, what it costs when nothing happens,
//! what its consoles do under a flood, and what of that tmux does. Prints one JSON object a figure; `cargo xtask bench tui` makes a table of them.
//!
//! | part | what it measures |
//! |---|---|
//! | `start` | from the start to the first frame, and from any end to a terminal as it was |
//! | `many` | keys with ten thousand sprites |
//! | `idle` | CPU, wake-ups and bytes when nothing happens; memory |
//! | `flood` | programs that print without end, against tmux |
//! | `echo` | typing, against tmux |
//! | `history` | new sizes and searches with ten thousand lines |
//!
//! With words it measures only the parts of these names.

mod echo;
mod flood;
mod history;
mod idle;
mod many;
mod peer;
mod start;

use serde_json::json;
use std::time::Duration;

/// Nothing here takes longer, unless it hangs.
const LONG: Duration = Duration::from_secs(120);
/// What it is all measured on.
const ROWS: u16 = 40;
const COLUMNS: u16 = 120;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let parts: [(&str, fn()); 6] = [
        ("start", start::measure),
        ("many", many::measure),
        ("idle", idle::measure),
        ("flood", flood::measure),
        ("echo", echo::measure),
        ("history", history::measure),
    ];
    for (name, measure) in parts {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            measure();
        }
    }
}

/// One figure. With a ratio that is held against the limit, else the value is.
fn told(name: &str, value: f64, unit: &str, ratio: Option<f64>, limit: Option<&str>) {
    println!("{}", json!({ "name": name, "value": value, "unit": unit, "ratio": ratio, "limit": limit }));
}

fn figure(name: &str, value: f64, unit: &str, limit: Option<&str>) {
    told(name, value, unit, None, limit);
}

/// Half of the values and 99 of 100 are at most this.
fn half_and_most(values: &[f64]) -> (f64, f64) {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = |part: f64| values[((values.len() - 1) as f64 * part) as usize];
    (at(0.5), at(0.99))
}
