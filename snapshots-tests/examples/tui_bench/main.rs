//! The app: how soon it shows something, how soon it answers a key, what it costs when nothing happens. Prints one JSON object a figure;
//! `cargo xtask bench` makes a table of them.

use crossterm::event::{Event as Terminal, KeyCode, KeyEvent, KeyModifiers};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{TerminalOptions, Viewport};
use serde_json::json;
use snapshots_tests::harness::Home;
use snapshots_tests::process::cpu;
use snapshots_tests::pty::Pty;
use sprites_api::sprite::{CreateSprite, Sprite, Status};
use sprites_tui::keys::Keys;
use sprites_tui::model::{Here, Model};
use sprites_tui::theme::Theme;
use sprites_tui::update::{Event, update};
use sprites_tui::view;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
const ROUNDS: usize = 11;
/// Sprites in the longest list.
const MANY: usize = 10_000;
/// Sprites of an installation that is doing nothing.
const SOME: usize = 20;
/// How long nothing is done.
const IDLE: Duration = Duration::from_secs(20);

fn main() {
    let home = Home::new();
    home.serve();
    first_frame(&home);
    key_to_frame();
    idle(&home);
}

fn figure(name: &str, value: f64, unit: &str, limit: Option<&str>) {
    println!("{}", json!({ "name": name, "value": value, "unit": unit, "ratio": null, "limit": limit }));
}

fn at(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part) as usize]
}

/// From the start of the process, its server running, to the list on the screen.
fn first_frame(home: &Home) {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut app = Pty::spawn(home.terminal_command(&["--theme", "dark"]), 40, 120);
        app.wait_for("sprites", LONG);
        times.push(start.elapsed().as_secs_f64() * 1e3);
        app.wait_for("no sprite yet", LONG);
        app.send("q");
        app.end(LONG);
    }
    figure("first frame of the app, theme given", at(times, 0.5), "ms", Some("<= 100"));
}

/// From a key to the bytes of the frame that shows what it did, with very many sprites.
fn key_to_frame() {
    let size = (200, 50);
    let here = Here { context: "local".into(), endpoint: "bench".into(), local: true };
    let mut model = Model::new(here, Keys::default(), Theme::all(None).0, 0, size);
    let sprites = (0..MANY).map(|number| Sprite {
        name: format!("sprite-{number:05}"),
        id: format!("sprite-{number}"),
        status: [Status::Running, Status::Warm, Status::Cold][number % 3],
        ..Sprite::default()
    });
    update(&mut model, Event::Sprites(Ok(sprites.collect())));
    let options = TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, size.0, size.1)) };
    let mut terminal = ratatui::Terminal::with_options(CrosstermBackend::new(Vec::new()), options)
        .expect("a terminal can be made");
    terminal.draw(|frame| view::draw(&model, frame)).expect("it can be drawn");
    let mut times = Vec::new();
    for round in 0..400 {
        let code = [KeyCode::Down, KeyCode::PageDown, KeyCode::Up, KeyCode::Char('s')][round % 4];
        let start = Instant::now();
        update(&mut model, Event::Terminal(Terminal::Key(KeyEvent::new(code, KeyModifiers::NONE))));
        terminal.draw(|frame| view::draw(&model, frame)).expect("it can be drawn");
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    figure("key to frame, 10,000 sprites, half of them", at(times.clone(), 0.5), "ms", Some("<= 16"));
    figure("key to frame, 10,000 sprites, 99 of 100", at(times, 0.99), "ms", Some("<= 16"));
}

/// What app and server use while twenty sprites are listed and nothing happens.
fn idle(home: &Home) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let client = home.client();
    for number in 0..SOME {
        let wish = CreateSprite { name: format!("idle-{number}"), ..CreateSprite::default() };
        runtime.block_on(client.create(&wish)).expect("a sprite can be made");
    }
    let mut app = Pty::spawn(home.terminal_command(&["--theme", "dark"]), 40, 120);
    app.wait_for("idle-19", LONG);
    // Messages and first samples are over.
    std::thread::sleep(Duration::from_secs(5));
    let pids = [app.pid(), home.server_pid().expect("the server runs")];
    let before = pids.map(cpu);
    std::thread::sleep(IDLE);
    for ((name, pid), before) in ["app", "server"].into_iter().zip(pids).zip(before) {
        let percent = (cpu(pid) - before) / IDLE.as_secs_f64() * 100.0;
        figure(&format!("CPU of the {name}, 20 sprites listed, idle"), percent, "%", Some("<= 1"));
    }
    app.send("q");
    app.end(LONG);
}
