//! Thomas Dickey's esctest against a console: every sequence of xterm's, asked for and looked at.
//!
//! `cargo run -p sprites-console --example esctest -- path/to/esctest2/esctest/esctest.py [options of its own]`
//!
//! esctest looks at the screen by asking for the checksum of each cell (DECRQCRA). Consoles do not answer that, so it is answered here.

#[path = "../tests/terminal/mod.rs"]
mod terminal;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use portable_pty::CommandBuilder;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use sprites_console::Console;
use terminal::Terminal;

/// The size that esctest sets before each test.
const SIZE: (u16, u16) = (25, 80);
/// How long esctest may be silent. It gives up waiting for an answer far sooner.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest request for a checksum, in bytes: six numbers.
const LONGEST: usize = 64;
/// What xterm is by now, as esctest has it: blank cells count as spaces, and reverse wrapping has two modes.
const OPTIONS: [&str; 6] = [
    "--expected-terminal=xterm",
    "--max-vt-level=4",
    "--xterm-checksum=334",
    "--xterm-reverse-wrap=383",
    "--timeout=2",
    "--no-print-logs",
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let script = arguments.next().ok_or("say where esctest.py is; its tests are beside it")?;
    let script =
        std::fs::canonicalize(&script).map_err(|error| format!("{script} cannot be read: {error}"))?;
    let arguments: Vec<String> = arguments.collect();
    let folder = std::env::temp_dir().join(format!("esctest-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;

    // Once to know all of them; then each alone, because an answer that one leaves unread confuses all behind it.
    let names = names(&run(&script, &folder.join("all"), &arguments)?);
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for (class, name) in &names {
        let only = [format!("--include=^{class}\\.{name}$")];
        let log = run(&script, &folder.join(format!("{class}.{name}")), &[&arguments, &only[..]].concat())?;
        let group = groups.entry(class.trim_end_matches("Tests").to_owned()).or_default();
        group.count(name.trim_start_matches("test_"), &log)?;
    }
    report(&groups);
    println!("{} says why", folder.display());
    Ok(())
}

/// Runs esctest in a new console to its end, and gives its log.
fn run(script: &Path, log: &Path, arguments: &[String]) -> Result<String, Box<dyn Error>> {
    let mut command = CommandBuilder::new("python3");
    command.arg(script);
    command.args(OPTIONS);
    command.arg(format!("--logfile={}", log.display()));
    command.args(arguments);
    command.env("TERM", "xterm-256color");
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    answer(Terminal::start(command, SIZE, 0));
    let text = std::fs::read_to_string(log)
        .map_err(|error| format!("esctest left no log ({error}); are all of its files beside esctest.py?"))?;
    if text.lines().any(|line| line.starts_with("*** ") && line.ends_with(" ***")) {
        return Ok(text);
    }
    Err(format!("esctest did not come to its end; {} says how far it came", log.display()).into())
}

/// Answers esctest until it ends.
fn answer(mut terminal: Terminal) {
    // xterm's, which esctest takes for granted.
    terminal.console.set_default_colors((0, 0, 0), (255, 255, 255));
    let mut tail = Vec::new();
    while let Some(bytes) = terminal.output(Instant::now() + PATIENCE) {
        let mut answer = terminal.console.feed(&bytes);
        // esctest prints nothing behind a request before it has the answer, so the screen is the one it asks about.
        tail.extend_from_slice(&bytes);
        while let Some((at, numbers)) = request(&tail) {
            tail.drain(..at);
            answer.extend(checksum(&mut terminal.console, &numbers).into_bytes());
        }
        tail.drain(..tail.len().saturating_sub(LONGEST));
        terminal.send(&answer);
    }
}

/// The first request for a checksum: where it ends, and its numbers.
fn request(output: &[u8]) -> Option<(usize, Vec<usize>)> {
    let star = output.windows(2).position(|pair| pair == b"*y")?;
    let begin = output[..star].windows(2).rposition(|pair| pair == b"\x1b[")? + 2;
    let numbers = std::str::from_utf8(&output[begin..star]).ok()?;
    Some((star + 2, numbers.split(';').map(|number| number.parse().unwrap_or(0)).collect()))
}

/// The answer: the sum of all characters in the rectangle, which counts from the margins in origin mode.
fn checksum(console: &mut Console, numbers: &[usize]) -> String {
    let [id, _page, top, left, bottom, right] = *numbers else { return String::new() };
    let first = if ask(console, "\x1b[?6$p") == "\x1b[?6;1$y" {
        let margins = ask(console, "\x1bP$qr\x1b\\");
        let digits = margins.trim_start_matches("\x1bP1$r").split(';').next().unwrap_or_default();
        digits.parse().unwrap_or(1)
    } else {
        1
    };
    let (rows, columns) = console.dimensions();
    let area = Rect::new(0, 0, columns, rows);
    let mut screen = Buffer::empty(area);
    console.draw(area, &mut screen);
    let mut sum = 0;
    for row in (top.max(1)..=bottom).map(|row| row + first - 2).take_while(|row| *row < usize::from(rows)) {
        for column in (left.max(1)..=right.min(columns.into())).map(|column| column - 1) {
            // Both fit: they are within the screen.
            let cell = &screen[(column as u16, row as u16)];
            sum += cell.symbol().chars().map(u32::from).sum::<u32>();
        }
    }
    format!("\x1bP{id}!~{:04X}\x1b\\", sum & 0xffff)
}

fn ask(console: &mut Console, question: &str) -> String {
    String::from_utf8_lossy(&console.feed(question.as_bytes())).into_owned()
}

/// Class and name of each test in a log.
fn names(log: &str) -> Vec<(String, String)> {
    let tests = log.lines().filter_map(|line| line.strip_prefix("Run test: ")?.split_once('.'));
    tests.map(|(class, name)| (class.to_owned(), name.to_owned())).collect()
}

/// Tests of one group: how many hold, how many are known to fail in xterm too or need options, and which fail.
#[derive(Default)]
struct Group {
    passed: usize,
    known: usize,
    failed: Vec<String>,
}

impl Group {
    /// Counts the one test of a log.
    fn count(&mut self, name: &str, log: &str) -> Result<(), String> {
        let said = |what: &str| log.lines().any(|line| line.starts_with(what));
        if said("Passed.") {
            self.passed += 1;
        } else if said("Fails as expected") || said("Skipped because") {
            self.known += 1;
        } else if said("*** TEST") {
            self.failed.push(name.to_owned());
        } else {
            return Err(format!("the log of {name} does not say how it went"));
        }
        Ok(())
    }
}

fn report(groups: &BTreeMap<String, Group>) {
    println!("group: passed, known to fail in xterm too, failed");
    for (name, Group { passed, known, failed }) in groups {
        println!("{name}: {passed}, {known}, {}  {}", failed.len(), failed.join(" "));
    }
    let sum = |count: fn(&Group) -> usize| groups.values().map(count).sum::<usize>();
    println!("all: {}, {}, {}", sum(|one| one.passed), sum(|one| one.known), sum(|one| one.failed.len()));
}
