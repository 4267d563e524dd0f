//! Programs that print without end.

use crate::peer::{Peer, READY, Raw, Stage};
use crate::{LONG, half_and_most, told};
use std::io::Write;
use std::time::{Duration, Instant};

/// Bytes of each file.
const SIZE: usize = 100_000_000;
/// Bytes of `yes`.
const SHORT: usize = 40_000_000;
/// Keys during a flood, each three times.
const KEYS: usize = 30;
/// What the shell prints at the end, and cannot be part of what it is given, nor of the files.
const END: &str = "<<2>>";

struct Flood {
    name: &'static str,
    /// A command that ends.
    command: String,
    bytes: usize,
    /// The same without an end.
    endless: String,
    /// MB/s that are to be reached, whatever tmux does.
    least: Option<f64>,
}

pub fn measure() {
    println!(
        "flood: one shell of this host, `cat` of {} MB and `yes` in 120×40; the app has it over a WebSocket of a \
         server in the bench's process, tmux has its terminal; both draw into a terminal that is read at once",
        SIZE / 1_000_000
    );
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = |name: &str, line: fn(&mut String)| {
        let path = folder.path().join(name);
        write(&path, line);
        let path = path.display().to_string();
        (format!("cat {path}"), format!("while :; do cat {path}; done"))
    };
    let flood = |name, (command, endless), bytes, least| Flood { name, command, bytes, endless, least };
    let floods = [
        flood("yes", (format!("yes | head -c {SHORT}"), "yes".to_owned()), SHORT, Some(20.0)),
        flood("long lines", file("long", long), SIZE, Some(50.0)),
        flood("coloured text", file("coloured", coloured), SIZE, None),
        flood("unicode", file("unicode", unicode), SIZE, None),
    ];
    let stage = Stage::new();
    let mut speeds = Vec::new();
    for peer in [Peer::Tmux, Peer::App, Peer::Bare] {
        let mut shown = stage.unseen(peer);
        speeds.push(floods.each_ref().map(|flood| speed(&mut shown, flood)));
    }
    for (index, flood) in floods.iter().enumerate() {
        let [tmux, app, bare] = [0, 1, 2].map(|peer: usize| speeds[peer][index]);
        let name = format!("flood of {}", flood.name);
        told(&format!("{name}, against tmux"), app, "MB/s", Some(app / tmux), Some(">= 2"));
        if let Some(least) = flood.least {
            told(&format!("{name}, alone"), app, "MB/s", None, Some(&format!(">= {least}")));
        }
        told(&format!("{name}, tmux"), tmux, "MB/s", None, None);
        told(&format!("{name}, the terminal alone"), bare, "MB/s", None, None);
    }
    for flood in &floods[..2] {
        let [app, tmux] = [Peer::App, Peer::Tmux].map(|peer| interrupted(&stage, peer, flood));
        told(
            &format!("ctrl-c to the prompt in a flood of {}, against tmux", flood.name),
            app,
            "ms",
            Some(app / tmux),
            None,
        );
    }
    for flood in &floods {
        let (half, most) = half_and_most(&keys(&stage, flood));
        told(&format!("key to frame in a flood of {}, half", flood.name), half, "ms", None, Some("<= 50"));
        told(
            &format!("key to frame in a flood of {}, 99 of 100", flood.name),
            most,
            "ms",
            None,
            Some("<= 50"),
        );
    }
}

/// MB/s that are shown until the command's end is.
fn speed(shown: &mut Raw, flood: &Flood) -> f64 {
    shown.send("clear\r");
    shown.settle();
    let began = Instant::now();
    shown.send(&format!("{}; echo \"<<$((1+1))>>\"\r", flood.command));
    shown.until(END);
    let rate = flood.bytes as f64 / 1e6 / began.elapsed().as_secs_f64();
    shown.settle();
    rate
}

/// Milliseconds from a key for the app to the frame that shows what it did.
fn keys(stage: &Stage, flood: &Flood) -> Vec<f64> {
    let mut app = stage.seen(Peer::App);
    app.send(format!("{}\r", flood.endless));
    std::thread::sleep(Duration::from_millis(500));
    let mut times = Vec::new();
    for _ in 0..KEYS {
        for (key, shows) in [("\x1d", "ctrl-] …"), (",", "enter: rename"), ("\r", "d leaves")] {
            let began = Instant::now();
            app.send(key);
            app.wait(LONG, shows, |screen| screen.contents().contains(shows));
            times.push(began.elapsed().as_secs_f64() * 1e3);
            std::thread::sleep(Duration::from_millis(23));
        }
    }
    app.send("\x03");
    times
}

/// Milliseconds from ctrl-c to the prompt: what was printed before is shown before.
fn interrupted(stage: &Stage, peer: Peer, flood: &Flood) -> f64 {
    let mut shown = stage.seen(peer);
    let mut times = Vec::new();
    for _ in 0..5 {
        shown.send(format!("{}\r", flood.endless));
        shown.wait(LONG, "the flood", |screen| !screen.contents().contains(READY));
        std::thread::sleep(Duration::from_millis(700));
        let began = Instant::now();
        shown.send("\x03");
        shown.wait(LONG, READY, |screen| screen.contents().contains(READY));
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    half_and_most(&times).0
}

/// A file of lines.
fn write(path: &std::path::Path, line: fn(&mut String)) {
    let mut block = String::new();
    while block.len() < 1 << 20 {
        line(&mut block);
    }
    let mut file = std::fs::File::create(path).expect("the file can be made");
    for _ in 0..SIZE / block.len() {
        file.write_all(block.as_bytes()).expect("the file can be written");
    }
}

fn letters(line: &mut String, count: usize) {
    line.extend((0..count).map(|_| fastrand::alphabetic()));
}

/// Lines of a log: 100 to 400 letters.
fn long(block: &mut String) {
    letters(block, fastrand::usize(100..400));
    block.push('\n');
}

/// Words, each of its own colour.
fn coloured(block: &mut String) {
    for _ in 0..12 {
        block.push_str(&format!("\x1b[38;5;{}m", fastrand::u8(..)));
        letters(block, 7);
        block.push_str("\x1b[0m ");
    }
    block.push('\n');
}

/// Letters of several writings, wide ones, and what combines.
fn unicode(block: &mut String) {
    const WORDS: [&str; 7] = ["größer", "привет", "漢字かな", "e\u{301}te\u{301}", "🦀", "λόγος", "한국어"];
    for _ in 0..12 {
        block.push_str(WORDS[fastrand::usize(..WORDS.len())]);
        block.push(' ');
    }
    block.push('\n');
}
