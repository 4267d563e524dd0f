//! The app and its servers: one that dies, one that is elsewhere.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use snapshots_tests::harness::Home;
use snapshots_tests::pty::Pty;
use sprites_api::sprite::{CreateSprite, Status};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

fn make(home: &Home, name: &str) {
    home.serve();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let wish = CreateSprite { name: name.into(), ..CreateSprite::default() };
    runtime.block_on(async { home.client().create(&wish).await }).unwrap();
}

#[test]
fn a_server_that_dies_is_started_again() {
    let home = Home::new();
    make(&home, "survivor");
    let mut app = Pty::spawn(home.terminal_command(&[]), 24, 80);
    app.wait_for("survivor", LONG);
    let victim = home.server_pid().unwrap();
    kill(Pid::from_raw(victim), Signal::SIGKILL).unwrap();
    // It broke, or was not even made yet.
    app.wait_for("connection to", LONG);
    app.wait(LONG, "another server", |_| home.server_pid().is_some_and(|pid| pid != victim));
    // It is followed again: what is made now is seen, and made through it.
    app.send("n");
    app.wait_for("New sprite", LONG);
    app.send("second\r");
    app.wait_for("second is made", LONG);
    app.wait(LONG, "two sprites", |screen| screen.contents().matches("○ cold").count() >= 2);
    // One that was stopped stays so until somebody wants it.
    assert!(home.command(&["stop"]).status().unwrap().success());
    app.wait_for("was stopped", LONG);
    assert_eq!(home.server_pid(), None);
    app.send("\x1b[15~");
    app.wait(LONG, "a server again", |_| home.server_pid().is_some());
    app.send("n");
    app.wait_for("New sprite", LONG);
    app.send("third\r");
    app.wait_for("third is made", LONG);
    app.send("q");
    assert_eq!(app.end(LONG), 0);
}

#[test]
fn contexts() {
    let (here, there) = (Home::new(), Home::new());
    make(&here, "near");
    make(&there, "far");
    let (url, token) = there.tcp();
    let config = format!(
        "[[contexts]]\nname = \"away\"\nurl = \"{url}\"\ntoken_env = \"AWAY_TOKEN\"\n\
         [[contexts]]\nname = \"locked\"\nurl = \"{url}\"\ntoken_env = \"NO_SUCH_TOKEN\"\n"
    );
    std::fs::write(here.paths().config_file(), config).unwrap();
    let mut command = here.terminal_command(&[]);
    command.env("AWAY_TOKEN", &token);
    let mut app = Pty::spawn(command, 24, 100);
    app.wait_for("near", LONG);
    app.send("C");
    app.wait_for("2  away", LONG);
    app.send("2");
    app.wait_for("far", LONG);
    app.wait(LONG, "nothing of the context before", |screen| !screen.contents().contains("near"));
    assert!(!app.screen().contents().contains(&token));
    // Without a token one stays where one is, and hears why.
    app.send("C");
    app.wait_for("3  locked", LONG);
    app.send("3");
    app.wait_for("NO_SUCH_TOKEN", LONG);
    app.send("C");
    app.wait_for("1  local", LONG);
    app.send("1");
    app.wait_for("near", LONG);
    app.send("q");
    assert_eq!(app.end(LONG), 0);

    // Straight there, with the whole way to a console.
    let mut command = here.terminal_command(&["--context", "away"]);
    command.env("AWAY_TOKEN", &token);
    let mut app = Pty::spawn(command, 24, 100);
    app.wait_for("far", LONG);
    app.send("t");
    app.wait_for("far:~$", LONG);
    app.send("echo $((6*7))\r");
    app.wait_for("42", LONG);
    app.send("\x1ddq");
    assert_eq!(app.end(LONG), 0);
    let refused = here.command(&["--context", "moon"]).output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("context list"));
}

/// What a sprite may reach is changed on the screen, without waking it.
#[test]
fn rules_are_changed() {
    let home = Home::new();
    make(&home, "box");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = home.client();
    let mut app = Pty::spawn(home.terminal_command(&[]), 24, 80);
    app.wait_for("○ cold", LONG);
    app.send("\r");
    app.wait_for("only its own", LONG);
    app.send("\t");
    app.wait_for("It has not tried to reach anything", LONG);
    app.send("p");
    app.wait_for("every public address may be reached", LONG);
    app.send("a");
    app.wait_for("A rule for box", LONG);
    app.send("*.example.com");
    app.wait_for("allows every host below example.com", LONG);
    app.send("\r");
    app.wait_for("not saved", LONG);
    app.send("s");
    app.wait_for("+ allow *.example.com", LONG);
    app.send("S");
    app.wait_for("The rules of box hold", LONG);
    app.wait(LONG, "no draft", |screen| !screen.contents().contains("not saved"));
    let held = runtime.block_on(client.network_policy("box")).unwrap();
    assert_eq!(held.rules.iter().map(ToString::to_string).collect::<Vec<_>>(), ["allow *.example.com"]);
    // What somebody else changes is seen.
    home.good(&["api", "/v1/sprites/box/policy/network", "--", "-X", "POST", "-d", "{\"rules\":[]}"]);
    app.wait_for("every public address may be reached", LONG);
    assert_eq!(runtime.block_on(client.get("box")).unwrap().status, Status::Cold);
    app.send("q");
    assert_eq!(app.end(LONG), 0);
}

/// A minute before a warm sprite, with everything opened that there is to look at, leaves it warm.
#[test]
fn looking_wakes_nobody() {
    let home = Home::new();
    home.serve_with(&["--idle", "1", "--no-checkpoints"]);
    make(&home, "box");
    let said = home.sprite(&["-s", "box", "exec", "true"]).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = home.client();
    let look = || runtime.block_on(client.get("box")).unwrap();
    let give_up = Instant::now() + LONG;
    while look().status != Status::Warm {
        assert!(Instant::now() < give_up, "it never sleeps");
        std::thread::sleep(Duration::from_millis(50));
    }
    let asleep_since = look().last_warming_at;
    let mut app = Pty::spawn(home.terminal_command(&[]), 24, 100);
    let until = Instant::now() + Duration::from_secs(60);
    app.wait_for("◐ warm", LONG);
    while Instant::now() < until {
        // Each with what is shown then, and what no longer is: a screen changes piece by piece.
        for (key, shown, gone) in [
            ("\r", "only its own", " log "),
            ("+", "only its own", " log "),
            ("-", "only its own", " log "),
            ("\t", "what it tried to reach", "only its own"),
            ("p", "every public address may be reached", "what it tried to reach"),
            ("v", "┌ cpu ", "┌ network "),
            ("p", "what it tried to reach", "every public address"),
            ("\t", "┌ inside ", "what it tried to reach"),
            ("\t", "/home/sprite, now", "┌ inside "),
            ("\t", "only its own", "/home/sprite, now"),
            ("e", "what happened to box", "only its own"),
            ("\x1b", "only its own", "what happened"),
            ("$", "this month by", "only its own"),
            ("\x1b", "only its own", "this month by"),
            ("l", " log ", "only its own"),
            ("\x1b", "only its own", " log "),
            ("?", "On the screen of a sprite", "only its own"),
            ("\x1b", "only its own", "On the screen of"),
            ("\x1b", "◐ warm", "only its own"),
            ("\x1b[15~", "◐ warm", "only its own"),
        ] {
            app.send(key);
            app.wait(LONG, shown, |screen| {
                let text = screen.contents();
                text.contains(shown) && !text.contains(gone)
            });
        }
    }
    let after = look();
    assert_eq!((after.status, after.last_warming_at), (Status::Warm, asleep_since));
    app.send("q");
    assert_eq!(app.end(LONG), 0);
}
