//! Keys with ten thousand sprites.

use crate::{COLUMNS, LONG, ROWS, figure, half_and_most};
use crossterm::event::{Event as Terminal, KeyCode, KeyEvent, KeyModifiers};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{TerminalOptions, Viewport};
use serde_json::json;
use snapshots_tests::harness::Home;
use snapshots_tests::pty::Pty;
use snapshots_tests::scripted::{self, Scripted, stream, usual};
use sprites_api::sprite::{Sprite, Status};
use sprites_tui::keys::Keys;
use sprites_tui::model::{Here, Model};
use sprites_tui::theme::Theme;
use sprites_tui::update::{Event, update};
use sprites_tui::view;
use std::time::{Duration, Instant};

/// Sprites in the list.
const MANY: usize = 10_000;
const ROUNDS: usize = 400;
/// What ends a frame (mode 2026).
const FRAME: &[u8] = b"\x1b[?2026l";

pub fn measure() {
    key_to_frame();
    build();
}

fn sprites() -> Vec<Sprite> {
    let sprite = |number: usize| Sprite {
        name: format!("sprite-{number:05}"),
        id: format!("sprite-{number}"),
        status: [Status::Running, Status::Warm, Status::Cold][number % 3],
        ..Sprite::default()
    };
    (0..MANY).map(sprite).collect()
}

/// From a key to the end of the frame that shows what it did.
fn key_to_frame() {
    let list = json!({ "sprites": sprites(), "has_more": false, "name": "acme" }).to_string();
    let server = Scripted::new(move |request| match request.line().as_str() {
        "GET /v1/sprites" if request.wants_lines() => stream("{\"type\":\"heartbeat\"}\n"),
        "GET /v1/sprites" => scripted::json("200 OK", &list),
        _ => usual(request),
    });
    let home = Home::empty();
    let mut command = home.terminal_command(&["--url", &server.url(), "--theme", "dark"]);
    command.env("SPRITES_TOKEN", "acme/1/2/secret-word");
    let mut app = Pty::spawn(command, ROWS, COLUMNS);
    app.send("\x1b[?62c");
    app.wait_for("sprite-00000", LONG);
    std::thread::sleep(Duration::from_secs(1));
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let key = ["\x1b[B", "\x1b[6~", "\x1b[A", "s"][round % 4];
        let from = app.printed();
        let began = Instant::now();
        app.send(key);
        app.wait_printed(from, FRAME, LONG);
        times.push(began.elapsed().as_secs_f64() * 1e3);
        // As fast as nobody types, and past the least time between two frames.
        std::thread::sleep(Duration::from_millis(25));
    }
    app.send("q");
    app.end(LONG);
    let (half, most) = half_and_most(&times);
    figure("key to frame, 10,000 sprites, half of them", half, "ms", Some("<= 16"));
    figure("key to frame, 10,000 sprites, 99 of 100", most, "ms", Some("<= 16"));
}

/// A frame alone: model to bytes, on a large screen.
fn build() {
    let size = (200, 50);
    let here = Here { context: "local".into(), endpoint: "bench".into(), local: true };
    let mut model = Model::new(here, Keys::default(), Theme::all(None).0, 0, size);
    update(&mut model, Event::Sprites(Ok(sprites())));
    let options = TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, size.0, size.1)) };
    let mut terminal = ratatui::Terminal::with_options(CrosstermBackend::new(Vec::new()), options)
        .expect("a terminal can be made");
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let code = [KeyCode::Down, KeyCode::PageDown, KeyCode::Up, KeyCode::Char('s')][round % 4];
        update(&mut model, Event::Terminal(Terminal::Key(KeyEvent::new(code, KeyModifiers::NONE))));
        let began = Instant::now();
        terminal.draw(|frame| view::draw(&model, frame)).expect("it can be drawn");
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    figure("a frame of 200×50 built and encoded, 99 of 100", half_and_most(&times).1, "ms", Some("<= 4"));
}
