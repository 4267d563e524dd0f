//! kill -9 at any moment: of the server, of a machine, of the app. No acknowledged checkpoint is lost, disks stay clean, running sprites are
//! taken over. A few rounds here; `cargo test -p snapshots-tests --test kills -- --ignored` does fifty of each.

use futures::StreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use snapshots_tests::harness::Home;
use snapshots_tests::pty::Pty;
use sprites_api::checkpoint::CreateCheckpoint;
use sprites_api::sprite::{CreateSprite, Status};
use sprites_backend::client::{Client, ExecEvent, ExecRequest};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(120);
const NAME: &str = "victim";

/// Small and repeatable.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Runs a shell command inside; its exit code, if the connection lasted.
async fn sh(client: &Client, command: &str) -> Option<i32> {
    let request =
        ExecRequest { cmd: ["sh", "-c", command].map(str::to_owned).into(), ..ExecRequest::default() };
    let run = async {
        let (_sender, mut receiver) = client.exec(NAME, request).await.ok()?.split();
        while let Some(event) = receiver.next().await {
            if let ExecEvent::Exit(code) = event {
                return Some(code);
            }
        }
        None
    };
    tokio::time::timeout(LONG, run).await.ok().flatten()
}

/// Makes a checkpoint; true when it was acknowledged.
async fn checkpoint(client: &Client, comment: &str) -> bool {
    let mut lines =
        client.checkpoint(NAME, &CreateCheckpoint { comment: Some(comment.into()), memory: false });
    while let Some(Ok(line)) = lines.next().await {
        if line.kind == "complete" {
            return true;
        }
    }
    false
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let give_up = Instant::now() + LONG;
    while !holds().await {
        assert!(Instant::now() < give_up, "{what} never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Work inside and checkpoints from outside, while something is killed at a random moment.
async fn rounds(count: u64, seed: u64, server: bool) {
    let home = Home::new();
    home.serve();
    let client = home.client();
    client.create(&CreateSprite { name: NAME.into(), ..CreateSprite::default() }).await.unwrap();
    let mut random = Random(seed);
    let mut acknowledged = Vec::new();
    for round in 0..count {
        assert_eq!(sh(&client, &format!("echo {round} > round; sync")).await, Some(0), "round {round}");
        let before = home.machine_pids();
        assert_eq!(before.len(), 1);
        let load = tokio::spawn({
            let client = client.clone();
            async move { sh(&client, "while :; do head -c 400000 /dev/urandom > junk; sync; rm junk; done").await }
        });
        let maker = tokio::spawn({
            let client = client.clone();
            async move {
                let comment = format!("round {round}");
                checkpoint(&client, &comment).await.then_some(comment)
            }
        });
        tokio::time::sleep(Duration::from_millis(random.next(400))).await;
        let victim = if server { home.server_pid().unwrap() } else { before[0] };
        kill(Pid::from_raw(victim), Signal::SIGKILL).unwrap();
        acknowledged.extend(maker.await.unwrap());
        load.abort();
        if server {
            // The dying one may still take a connection, so one look is not enough.
            until("the server", async || {
                home.serve();
                client.version().await.is_ok_and(|version| i32::try_from(version.pid) != Ok(victim))
            })
            .await;
            assert_eq!(home.machine_pids(), before, "the machine was not taken over");
            assert_eq!(client.get(NAME).await.unwrap().status, Status::Running);
        } else {
            until("the end of the machine", async || {
                client.get(NAME).await.is_ok_and(|sprite| sprite.status == Status::Cold)
            })
            .await;
            let checked = home.command(&["disk", "check", NAME]).output().unwrap();
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
        }
        assert_eq!(
            sh(&client, &format!("grep -qx {round} round")).await,
            Some(0),
            "round {round}: a flushed file is lost"
        );
        let listed = client.checkpoints(NAME).await.unwrap();
        for comment in &acknowledged {
            let found = listed.iter().any(|one| one.comment.as_ref() == Some(comment));
            assert!(found, "the acknowledged checkpoint {comment:?} is lost");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers() {
    rounds(4, 11, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines() {
    rounds(4, 12, false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn fifty_servers() {
    rounds(50, 13, true).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn fifty_machines() {
    rounds(50, 14, false).await;
}

/// The app, killed while it works: what it asked for is done or not, its console's program goes on, and the terminal is put back.
fn apps_killed(count: u64, seed: u64) {
    let home = Home::new();
    home.serve();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = home.client();
    let wish = CreateSprite { name: NAME.into(), ..CreateSprite::default() };
    runtime.block_on(client.create(&wish)).unwrap();
    let mut random = Random(seed);
    for round in 0..count {
        let mut app = Pty::spawn(home.terminal_command(&["--theme", "dark"]), 24, 80);
        app.wait_for(NAME, LONG);
        // A checkpoint by keyboard and a busy console, in the middle of which it ends.
        app.send("c");
        app.wait_for("A comment", LONG);
        app.send(format!("round {round}\r"));
        app.send("t");
        app.wait_for("victim:~$", LONG);
        app.send("seq 1 100000000\r");
        std::thread::sleep(Duration::from_millis(random.next(400)));
        kill(Pid::from_raw(app.pid()), Signal::SIGKILL).unwrap();
        app.wait(LONG, "a terminal as it was", |screen| {
            !screen.alternate_screen()
                && !screen.hide_cursor()
                && !screen.bracketed_paste()
                && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
        });
        until_true("line by line, with echo", || app.is_cooked());
        app.end(LONG);
        assert_eq!(runtime.block_on(client.get(NAME)).unwrap().status, Status::Running);
        // The program in its console goes on, until it is ended here.
        runtime.block_on(async {
            let sessions = client.sessions(NAME).await.unwrap();
            assert!(!sessions.is_empty(), "round {round}: the console's shell is gone");
            for session in sessions {
                let mut lines = client.kill_session(NAME, &session.id, "SIGKILL");
                while lines.next().await.is_some() {}
            }
        });
    }
    // What a killed app leaves is no hindrance to the next one.
    let mut app = Pty::spawn(home.terminal_command(&[]), 24, 80);
    app.wait_for(NAME, LONG);
    app.send("q");
    assert_eq!(app.end(LONG), 0);
    let listed = runtime.block_on(client.checkpoints(NAME)).unwrap();
    assert!(!listed.is_empty());
}

fn until_true(what: &str, holds: impl Fn() -> bool) {
    let give_up = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < give_up, "{what} never came");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn apps() {
    apps_killed(3, 15);
}

#[test]
#[ignore = "takes minutes"]
fn fifty_apps() {
    apps_killed(50, 16);
}
