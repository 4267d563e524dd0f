//! How fast a console takes output and draws.
//!
//! `cargo run --release -p sprites-console --example throughput`

use std::hint::black_box;
use std::time::{Duration, Instant};

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use sprites_console::Console;

const ROWS: u16 = 50;
const COLUMNS: u16 = 200;
/// As large as the pieces a connection hands over.
const PIECE: usize = 16 * 1024;
/// How long each case runs.
const SPAN: Duration = Duration::from_secs(2);

fn main() {
    let screen = Rect::new(0, 0, COLUMNS, ROWS);
    println!("console of {ROWS} rows, {COLUMNS} columns, 10,000 lines of scrollback");
    feed("short lines (yes)", &b"y\r\n".repeat(PIECE / 3));
    feed(
        "log lines of 80",
        &[b'x'; 78].iter().chain(b"\r\n").copied().cycle().take(PIECE).collect::<Vec<u8>>(),
    );
    let alphabet: Vec<u8> = (b'a'..=b'z').cycle().take(PIECE - 2).chain(*b"\r\n").collect();
    feed("long lines", &alphabet);
    feed("coloured words", &b"\x1b[1;32mword\x1b[0m \x1b[38;5;200mother\x1b[0m\r\n".repeat(400));
    feed("wide characters", "漢字かな\r\n".repeat(PIECE / 14).as_bytes());
    feed("full-screen redraws", &full_redraw());

    let mut console = Console::new(ROWS, COLUMNS, 10_000);
    let _ = console.feed(&full_redraw());
    let mut buffer = Buffer::empty(screen);
    let (mut frames, start) = (0u32, Instant::now());
    while start.elapsed() < SPAN {
        console.draw(screen, black_box(&mut buffer));
        frames += 1;
    }
    println!("{:<24}{:>10.1} µs a frame", "draw", start.elapsed().as_secs_f64() * 1e6 / f64::from(frames));
}

fn feed(name: &str, piece: &[u8]) {
    let mut console = Console::new(ROWS, COLUMNS, 10_000);
    let (mut bytes, start) = (0usize, Instant::now());
    while start.elapsed() < SPAN {
        black_box(console.feed(black_box(piece)));
        bytes += piece.len();
    }
    let rate = bytes as f64 / f64::from(1 << 20) / start.elapsed().as_secs_f64();
    println!("{name:<24}{rate:>10.1} MiB/s");
}

/// One screen as an editor draws it: each row positioned, coloured in parts.
fn full_redraw() -> Vec<u8> {
    let mut bytes = b"\x1b[H".to_vec();
    for row in 1..=ROWS {
        bytes.extend(format!("\x1b[{row};1H\x1b[48;5;{row}m").bytes());
        for word in 0..COLUMNS / 10 {
            bytes.extend(format!("\x1b[3{}mabcdefghi ", word % 8).bytes());
        }
        bytes.extend(b"\x1b[0m");
    }
    bytes
}
