//! What it costs when nothing happens.

use crate::peer::{Peer, READY, Stage};
use crate::{COLUMNS, LONG, ROWS, figure};
use snapshots_tests::harness::Home;
use snapshots_tests::process::{cpu, memory, wakes};
use snapshots_tests::pty::Pty;
use sprites_api::sprite::CreateSprite;
use std::time::Duration;

/// Sprites of an installation that is doing nothing, and consoles of somebody who does.
const SOME: usize = 20;
/// How long nothing is done.
const MINUTE: Duration = Duration::from_secs(60);
/// The same with consoles: after a minute those that nobody looks at detach.
const SHORTER: Duration = Duration::from_secs(30);
/// Until messages and first samples are over.
const SETTLE: Duration = Duration::from_secs(8);

pub fn measure() {
    list();
    consoles();
    full();
}

/// Twenty sprites of this machine's own server, listed.
fn list() {
    let home = Home::new();
    home.serve();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let client = home.client();
    for number in 0..SOME {
        let wish = CreateSprite { name: format!("idle-{number}"), ..CreateSprite::default() };
        runtime.block_on(client.create(&wish)).expect("a sprite can be made");
    }
    let mut app = Pty::spawn(home.terminal_command(&["--theme", "dark"]), ROWS, COLUMNS);
    app.send("\x1b[?62c");
    app.wait_for("idle-19", LONG);
    // Of these the ages change, which is to be seen; of another's nothing does.
    let old = Stage::new();
    let still = Pty::spawn(old.app(), ROWS, COLUMNS);
    still.wait_for("box", LONG);
    std::thread::sleep(SETTLE);
    let pids = [app.pid(), home.server_pid().expect("the server runs")];
    let (before, woken, printed) = (pids.map(cpu), wakes(pids[0]), still.printed());
    std::thread::sleep(MINUTE);
    let seconds = MINUTE.as_secs_f64();
    for ((name, limit, pid), before) in
        [("app", "<= 0.3", pids[0]), ("server", "<= 1", pids[1])].into_iter().zip(before)
    {
        let percent = (cpu(pid) - before) / seconds * 100.0;
        figure(&format!("CPU of the {name}, 20 sprites listed, idle"), percent, "%", Some(limit));
    }
    let woken = (wakes(pids[0]) - woken) as f64 / seconds;
    figure("the app is woken, 20 sprites listed, idle", woken, "/s", Some("<= 2"));
    let printed = (still.printed() - printed) as f64;
    figure("bytes to the terminal in a minute without a change", printed, "B", Some("<= 0"));
    figure("memory of the app, 20 sprites listed", memory(pids[0]) as f64 / 1e6, "MB", Some("<= 25"));
    app.send("q");
    app.end(LONG);
}

/// Opens consoles beside the first until there are twenty.
fn twenty(stage: &Stage) -> Pty {
    let mut app = stage.seen(Peer::App);
    for number in 2..=SOME {
        app.send("\x1dc");
        app.wait(LONG, "another console", |screen| {
            let text = screen.contents();
            text.contains(&format!(" {number} box ")) && text.contains(READY)
        });
    }
    app
}

/// Twenty attached consoles, whose shells wait.
fn consoles() {
    let stage = Stage::new();
    let app = twenty(&stage);
    std::thread::sleep(Duration::from_secs(2));
    let (before, woken) = (cpu(app.pid()), wakes(app.pid()));
    std::thread::sleep(SHORTER);
    let percent = (cpu(app.pid()) - before) / SHORTER.as_secs_f64() * 100.0;
    figure("CPU of the app, 20 attached consoles, idle", percent, "%", Some("<= 0.5"));
    let woken = (wakes(app.pid()) - woken) as f64 / SHORTER.as_secs_f64();
    figure("the app is woken, 20 attached consoles, idle", woken, "/s", None);
    figure("memory of the app, 20 empty consoles", memory(app.pid()) as f64 / 1e6, "MB", None);
}

/// Twenty consoles, each with ten thousand lines of a hundred letters.
fn full() {
    let stage = Stage::new();
    let mut app = stage.seen(Peer::App);
    for number in 1..=SOME {
        if number > 1 {
            app.send("\x1dc");
            let head = format!(" {number} box ");
            app.wait(LONG, "another console", |screen| {
                screen.contents().contains(&head) && screen.contents().contains(READY)
            });
        }
        app.send("yes $(printf 'x%.0s' {1..100}) | head -n 10000; echo \"<<$((1+1))>>\"\r");
        app.wait_for("<<2>>", LONG);
    }
    // What bounds all consoles together acts once a second.
    std::thread::sleep(Duration::from_secs(3));
    figure(
        "memory of the app, 20 consoles with 10,000 lines each",
        memory(app.pid()) as f64 / 1e6,
        "MB",
        Some("<= 250"),
    );
}
