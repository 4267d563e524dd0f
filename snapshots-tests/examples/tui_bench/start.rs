//! From the start to the first frame, and from any end to a terminal as it was.

use crate::{COLUMNS, LONG, ROWS, figure, half_and_most};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use snapshots_tests::harness::Home;
use snapshots_tests::pty::Pty;
use snapshots_tests::said::fed;
use std::time::Instant;

const ROUNDS: usize = 11;

pub fn measure() {
    let home = Home::new();
    home.serve();
    let start = || {
        let began = Instant::now();
        let app = Pty::spawn(home.terminal_command(&["--theme", "dark"]), ROWS, COLUMNS);
        app.wait_for("sprites", LONG);
        let took = millis(began);
        app.wait_for("no sprite yet", LONG);
        (app, took)
    };
    let mut first = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..ROUNDS {
        for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGHUP), Some(Signal::SIGKILL)] {
            let (mut app, took) = start();
            first.push(took);
            let began = Instant::now();
            match signal {
                None => app.send("q"),
                Some(signal) => kill(Pid::from_raw(app.pid()), signal).expect("it runs"),
            }
            app.wait(LONG, "the terminal as it was", |screen| {
                !screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste()
            });
            while !app.is_cooked() {
                std::thread::yield_now();
            }
            ends.push(millis(began));
            app.end(LONG);
        }
    }
    figure("first frame of the app, theme given", half_and_most(&first).0, "ms", Some("<= 50"));
    let helps = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        assert_eq!(fed(home.command(&["--help"]), "").0, 0);
        millis(began)
    });
    figure("--help", half_and_most(&helps.collect::<Vec<_>>()).0, "ms", Some("<= 20"));
    let (half, most) = half_and_most(&ends);
    figure("from q, SIGTERM, SIGHUP, SIGKILL to a terminal as it was, half", half, "ms", Some("<= 100"));
    figure("the same, 99 of 100", most, "ms", Some("<= 100"));
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
