//! Typing: from a key to the letter that the program's terminal gives back.

use crate::peer::{Peer, Stage};
use crate::{LONG, half_and_most, told};
use std::time::{Duration, Instant};

/// Letters that are typed.
const LETTERS: usize = 300;
/// Letters of a line.
const LINE: usize = 60;

pub fn measure() {
    println!(
        "echo: letters typed to `cat` of this host, shown by the app, by tmux, and by the terminal alone"
    );
    let stage = Stage::new();
    let [bare, tmux, app] =
        [Peer::Bare, Peer::Tmux, Peer::App].map(|peer| half_and_most(&typed(&stage, peer)));
    for (part, bare, tmux, app, limit) in
        [("half", bare.0, tmux.0, app.0, "<= 5"), ("99 of 100", bare.1, tmux.1, app.1, "<= 16")]
    {
        let (app, tmux) = ((app - bare).max(0.0), (tmux - bare).max(0.0));
        told(&format!("echo added by the app, {part}"), app, "ms", None, Some(limit));
        told(&format!("echo added by the app, {part}, against tmux"), app, "ms", Some(app / tmux), None);
    }
}

fn typed(stage: &Stage, peer: Peer) -> Vec<f64> {
    let mut shown = stage.seen(peer);
    shown.send("clear; cat\r");
    shown.wait(LONG, "an empty line", |screen| !screen.contents().contains("ready$"));
    let mut times = Vec::new();
    for number in 0..LETTERS {
        // Nobody types faster than this.
        std::thread::sleep(Duration::from_millis(30 + fastrand::u64(..40)));
        if number % LINE == LINE - 1 {
            shown.send("\r");
            std::thread::sleep(Duration::from_millis(300));
        }
        let letter = char::from(b'a' + (number % 26) as u8);
        let (row, column) = shown.screen().cursor_position();
        let began = Instant::now();
        shown.send(letter.to_string());
        shown.wait(LONG, "the letter", |screen| {
            screen.cell(row, column).is_some_and(|cell| cell.contents().starts_with(letter))
        });
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    times
}
