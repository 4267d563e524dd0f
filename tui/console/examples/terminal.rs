//! A program of this machine in a console, full screen: to look at the console with real programs, without any sprite.
//!
//! `cargo run --release -p sprites-console --example terminal -- vim`
//!
//! Shift with page up and page down scrolls; the wheel too, unless the program asked for the mouse. Ends with the program.

use std::io::{self, Read, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crossterm::event::{
    self, DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture, Event,
    KeyCode, KeyModifiers, MouseEventKind,
};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use ratatui::DefaultTerminal;
use ratatui::layout::Position;
use sprites_console::Console;

/// Least time between two frames.
const FRAME: Duration = Duration::from_millis(16);

enum Input {
    Output(Vec<u8>),
    End,
    Event(Event),
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut command = CommandBuilder::new(arguments.next().unwrap_or_else(|| "bash".to_owned()));
    command.args(arguments);
    command.env("TERM", "xterm-256color");
    if let Ok(folder) = std::env::current_dir() {
        command.cwd(folder);
    }

    let (cols, rows) = crossterm::terminal::size()?;
    let size = |rows, cols| PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size(rows, cols)).map_err(io::Error::other)?;
    let mut child = pair.slave.spawn_command(command).map_err(io::Error::other)?;
    drop(pair.slave);
    let mut reader = pair.master.try_clone_reader().map_err(io::Error::other)?;
    let mut writer = pair.master.take_writer().map_err(io::Error::other)?;

    // A bounded queue: a flood waits in the terminal device until it is shown.
    let (sender, inputs) = mpsc::sync_channel(64);
    let events = sender.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            if sender.send(Input::Output(buffer[..count].to_vec())).is_err() {
                return;
            }
        }
        let _ = sender.send(Input::End);
    });
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if events.send(Input::Event(event)).is_err() {
                return;
            }
        }
    });

    let mut console = Console::new(rows, cols, 10_000);
    let mut terminal = ratatui::init();
    crossterm::execute!(io::stdout(), EnableMouseCapture, EnableBracketedPaste)?;
    let result = run(&mut terminal, &mut console, &inputs, &mut writer, |rows, cols| {
        pair.master.resize(size(rows, cols)).map_err(io::Error::other)
    });
    crossterm::execute!(io::stdout(), DisableBracketedPaste, DisableMouseCapture)?;
    ratatui::restore();
    child.kill().ok();
    result
}

fn run(
    terminal: &mut DefaultTerminal,
    console: &mut Console,
    inputs: &Receiver<Input>,
    writer: &mut impl Write,
    resize: impl Fn(u16, u16) -> io::Result<()>,
) -> io::Result<()> {
    let mut drawn: Option<(Instant, u64)> = None;
    loop {
        let wait = drawn.map_or(Duration::ZERO, |(at, _)| FRAME.saturating_sub(at.elapsed()));
        let behind = drawn.is_none_or(|(_, generation)| generation != console.generation());
        if behind && wait.is_zero() {
            terminal.draw(|frame| {
                let area = frame.area();
                console.draw(area, frame.buffer_mut());
                if let Some((x, y)) = console.cursor() {
                    frame.set_cursor_position(Position::new(area.x + x, area.y + y));
                }
            })?;
            drawn = Some((Instant::now(), console.generation()));
            continue;
        }
        let wait = if behind { wait } else { Duration::from_secs(60) };
        let input = match inputs.recv_timeout(wait) {
            Ok(input) => input,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        match input {
            Input::Output(bytes) => writer.write_all(&console.feed(&bytes))?,
            Input::End => return Ok(()),
            Input::Event(Event::Key(key)) => {
                let page = i32::from(console.dimensions().0);
                match (key.modifiers, key.code) {
                    (KeyModifiers::SHIFT, KeyCode::PageUp) => console.scroll(page),
                    (KeyModifiers::SHIFT, KeyCode::PageDown) => console.scroll(-page),
                    _ => {
                        let bytes = console.key(key);
                        if !bytes.is_empty() {
                            console.scroll_to_bottom();
                            writer.write_all(&bytes)?;
                        }
                    }
                }
            }
            Input::Event(Event::Paste(text)) => writer.write_all(&console.paste(&text))?,
            Input::Event(Event::Mouse(mouse)) => {
                let area = terminal.get_frame().area();
                match (console.mouse(mouse, area), mouse.kind) {
                    (Some(bytes), _) => writer.write_all(&bytes)?,
                    (None, MouseEventKind::ScrollUp) => console.scroll(3),
                    (None, MouseEventKind::ScrollDown) => console.scroll(-3),
                    (None, _) => {}
                }
            }
            Input::Event(Event::Resize(cols, rows)) => {
                console.resize(rows, cols);
                resize(rows, cols)?;
            }
            Input::Event(Event::FocusGained | Event::FocusLost) => {}
        }
        writer.flush()?;
    }
}
