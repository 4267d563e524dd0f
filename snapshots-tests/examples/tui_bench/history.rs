//! New sizes and searches with ten thousand lines of scrollback.

use crate::peer::{Peer, Stage};
use crate::{COLUMNS, LONG, ROWS, figure, half_and_most};
use std::time::{Duration, Instant};

const ROUNDS: usize = 12;

pub fn measure() {
    let stage = Stage::new();
    let mut app = stage.seen(Peer::App);
    // Lines that are as wide as the console and longer, so that a new width wraps them anew.
    app.send("for n in {1..10000}; do printf '%0130d\\n' $n; done; echo needle; echo \"<<$((1+1))>>\"\r");
    app.wait_for("<<2>>", LONG);
    let mut sizes = Vec::new();
    for round in 0..2 * ROUNDS {
        let columns = if round % 2 == 0 { COLUMNS - 40 } else { COLUMNS };
        std::thread::sleep(Duration::from_millis(100));
        let from = app.printed();
        let began = Instant::now();
        app.resize(ROWS, columns);
        // The screen is cleared once more with each size; what follows is the whole frame.
        app.wait_printed(from, b"\x1b[2J", LONG);
        app.wait(LONG, "the frame in its new width", |screen| {
            let corner = screen.cell(ROWS - 2, columns - 1);
            corner.is_some_and(|cell| matches!(cell.contents(), "┘" | "╯"))
        });
        sizes.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let (half, most) = half_and_most(&sizes);
    figure("another width, 10,000 lines of scrollback, half", half, "ms", Some("<= 20"));
    figure("the same, 99 of 100", most, "ms", None);

    let mut searches = Vec::new();
    for _ in 0..ROUNDS {
        app.send("\x1d/needl");
        app.wait_for("search: needl", LONG);
        std::thread::sleep(Duration::from_millis(100));
        let began = Instant::now();
        // All lines are searched with each letter, and with the end of the line.
        app.send("e\r");
        app.wait_for("\"needle\" ", LONG);
        searches.push(began.elapsed().as_secs_f64() * 1e3);
        app.send("q");
        app.wait(LONG, "the present", |screen| !screen.contents().contains("copy: line"));
    }
    figure(
        "a letter more of a search in 10,000 lines, half",
        half_and_most(&searches).0,
        "ms",
        Some("<= 50"),
    );
}
