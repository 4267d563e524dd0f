//! The picture of the README, made from a real frame: the app in a terminal, with real sprites that really work.
//!
//! `cargo xtask picture`

use snapshots_tests::harness::Home;
use snapshots_tests::person::{LONG, SHORT, checkpoint, leave_to_sprite, make_sprite, open_console};
use snapshots_tests::picture::{Colors, svg};
use snapshots_tests::pty::Pty;
use std::time::Duration;

const ROWS: u16 = 34;
const COLUMNS: u16 = 118;
/// What the first sprite does, so that its graphs show something.
const WORK: &str = "for n in 1 2 3 4 5 6; do python3 -c 'x = [i * i for i in range(400000)]'; sleep 2; done; echo done-$((1+1))\r";

fn main() {
    let to = std::env::args().nth(1).unwrap_or_else(|| "docs/screen.svg".into());
    let home = Home::new();
    let mut app = Pty::spawn(home.terminal_command(&["--theme", "dark"]), ROWS, COLUMNS);
    app.wait_for("no sprite yet", LONG);
    for name in ["agent", "build", "scratch"] {
        make_sprite(&mut app, name);
    }
    app.send("gg");
    open_console(&mut app, "agent:~$");
    app.send("git init -q work && cd work && echo '# notes' > README.md && clear\r");
    app.wait_for("agent:~/work$", SHORT);
    for comment in ["clean checkout", "tests pass"] {
        leave_to_sprite(&mut app);
        checkpoint(&mut app, comment);
        open_console(&mut app, "agent:~/work$");
        app.send(format!("head -c 3000000 /dev/urandom > {} && sync && clear\r", comment.replace(' ', "-")));
        app.wait(SHORT, "an empty screen", |screen| !screen.contents().contains("urandom"));
    }
    app.send(WORK);
    app.wait_for("done-2", LONG);
    leave_to_sprite(&mut app);
    app.wait_for("tests pass", SHORT);
    // Messages about what was done go away by themselves.
    app.wait(SHORT, "no messages", |screen| !screen.contents().contains('✓'));
    settle(&app);
    let picture = svg(
        &app.screen(),
        &Colors::default(),
        "One sprite: its CPU, memory and cost over time, and its checkpoints",
    );
    std::fs::write(&to, picture).expect("the picture can be written");
    println!("{to}");
    app.send("q");
    app.end(SHORT);
}

/// Waits until a whole frame has arrived: nothing has changed for a moment.
fn settle(app: &Pty) {
    loop {
        let before = app.bytes().len();
        std::thread::sleep(Duration::from_millis(200));
        if app.bytes().len() == before {
            return;
        }
    }
}
