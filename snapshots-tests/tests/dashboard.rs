//! Several contexts at once: two servers on one screen, ways between them, and that looking changes nothing.

use futures::TryStreamExt;
use snapshots_tests::harness::Home;
use snapshots_tests::pty::Pty;
use snapshots_tests::said::until;
use snapshots_tests::scripted::{Reply, Scripted, usual};
use sprites_api::checkpoint::{CURRENT, CreateCheckpoint};
use sprites_api::extension::EventKind;
use sprites_api::sprite::{CreateSprite, Status};
use sprites_backend::context::Context;
use sprites_backend::endpoint::Endpoint;
use sprites_tui::glances::Glances;
use sprites_tui::update::Event;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
/// Longer than a watcher pauses between two looks at a server of ours.
const SOME_LOOKS: Duration = Duration::from_secs(12);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Starts a server with a sprite that was used once.
fn serve(home: &Home, arguments: &[&str], name: &str) {
    home.serve_with(arguments);
    let wish = CreateSprite { name: name.into(), ..CreateSprite::default() };
    runtime().block_on(home.client().create(&wish)).unwrap();
    home.good(&["-s", name, "exec", "true"]);
}

/// Makes the other server a context of this one's configuration, beside one that has no token; gives its token.
fn connect(here: &Home, there: &Home) -> String {
    let (url, token) = there.tcp();
    let config = format!(
        "[[contexts]]\nname = \"away\"\nurl = \"{url}\"\ntoken_env = \"AWAY_TOKEN\"\n\
         [[contexts]]\nname = \"locked\"\nurl = \"{url}\"\ntoken_env = \"NO_SUCH_TOKEN\"\n"
    );
    std::fs::write(here.paths().config_file(), config).unwrap();
    token
}

#[test]
fn two_servers_on_one_screen() {
    let (here, there) = (Home::new(), Home::new());
    serve(&here, &["--idle", "600", "--no-checkpoints"], "near");
    serve(&there, &["--idle", "600", "--no-checkpoints"], "far");
    let token = connect(&here, &there);
    let mut command = here.terminal_command(&[]);
    command.env("AWAY_TOKEN", &token);
    let mut app = Pty::spawn(command, 24, 120);
    app.wait_for("near", LONG);
    app.send("gh");
    app.wait(LONG, "sprites of both, and why the third is silent", |screen| {
        let text = screen.contents();
        ["near", "far", "●1", "NO_SUCH_TOKEN", "by the command true"].iter().all(|word| text.contains(word))
    });
    assert!(!app.screen().contents().contains(&token));
    // Into the other, whose server is another, and back.
    app.send("/far\r");
    app.wait(LONG, "the other's sprite alone", |screen| !screen.contents().contains("near"));
    app.send("\r");
    app.wait_for("only its own", LONG);
    app.wait_for("far  ● running", LONG);
    app.send("[");
    app.wait(LONG, "both again", |screen| {
        let text = screen.contents();
        text.contains("┌ contexts") && text.contains("near") && text.contains("far")
    });
    app.send("/near\r");
    app.wait(LONG, "the first one's sprite alone", |screen| !screen.contents().contains(" far "));
    app.send("\r");
    app.wait_for("near  ● running", LONG);
    // What happened is told of the context that one is in.
    app.send("gt");
    app.wait(LONG, "what happened here and not there", |screen| {
        let text = screen.contents();
        text.contains("what happened to all") && text.contains("by the command true") && !text.contains("far")
    });
    app.send("q");
    assert_eq!(app.end(LONG), 0);
}

/// A warm sprite stays warm, and a server that nobody has started stays so until somebody goes there.
#[test]
fn looking_changes_nothing() {
    let (here, there) = (Home::new(), Home::new());
    serve(&there, &["--idle", "1", "--no-checkpoints"], "far");
    let token = connect(&here, &there);
    let runtime = runtime();
    let client = there.client();
    let look = || runtime.block_on(client.get("far")).unwrap();
    until(LONG, "sleep", || look().status == Status::Warm);
    let asleep_since = look().last_warming_at;
    let mut command = here.terminal_command(&["--context", "away"]);
    command.env("AWAY_TOKEN", &token);
    let mut app = Pty::spawn(command, 24, 120);
    app.wait_for("far", LONG);
    app.send("gh");
    app.wait_for("its server is stopped", LONG);
    app.wait_for("◐1", LONG);
    let looked = std::time::Instant::now();
    until(LONG, "some more looks", || {
        let after = look();
        assert_eq!((after.status, after.last_warming_at), (Status::Warm, asleep_since));
        assert_eq!(here.server_pid(), None);
        looked.elapsed() >= SOME_LOOKS
    });
    // Going there is wanting it.
    app.send("\x1b[H\r");
    app.wait(LONG, "a server", |_| here.server_pid().is_some());
    app.wait_for("There is no sprite yet", LONG);
    app.send("q");
    assert_eq!(app.end(LONG), 0);
}

/// A slow context, and a keyring that waits for a person, delay no other; and nothing is asked before somebody looks.
#[test]
fn each_context_is_looked_at_for_itself() {
    let fast = Scripted::new(usual);
    let slow = Scripted::new(|request| Reply::Later(LONG, Box::new(usual(request))));
    let remote = |name: &str, server: &Scripted| {
        let endpoint = Endpoint::remote(&server.url(), None).unwrap();
        Context::new(name, Arc::new(move || Ok(endpoint.clone())))
    };
    let (unlock, locked) = mpsc::channel::<()>();
    let (asked, locked) = (Arc::new(AtomicUsize::new(0)), Mutex::new(locked));
    let keyring = {
        let asked = Arc::clone(&asked);
        Context::new(
            "locked",
            Arc::new(move || {
                asked.fetch_add(1, Ordering::SeqCst);
                let _ = locked.lock().map(|locked| locked.recv());
                Err("it stays locked".to_owned())
            }),
        )
    };
    let contexts = [keyring, remote("slow", &slow), remote("fast", &fast)];
    let runtime = runtime();
    runtime.block_on(async {
        let (sender, mut events) = tokio::sync::mpsc::channel(16);
        let glances = Glances::new(&contexts, &sender);
        glances.again();
        assert!(tokio::time::timeout(Duration::from_millis(200), events.recv()).await.is_err());
        assert_eq!((fast.seen().len(), slow.seen().len(), asked.load(Ordering::SeqCst)), (0, 0, 0));
        glances.look(true);
        let next = tokio::time::timeout(LONG / 12, events.recv()).await;
        let Ok(Some(Event::Glance(name, glance))) = next else { panic!("{next:?}") };
        let known = glance.known.unwrap();
        assert_eq!((name.as_str(), known.counts.cold, known.money.least), ("fast", 1, true));
        // One that waits for a person is not asked again.
        glances.again();
        let next = tokio::time::timeout(LONG / 12, events.recv()).await;
        assert!(matches!(&next, Ok(Some(Event::Glance(name, _))) if name == "fast"), "{next:?}");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        // Looking is reading lists, and nothing about any sprite.
        let lines: Vec<String> = fast.seen().iter().map(|request| request.line()).collect();
        assert!(
            lines.iter().all(|line| line == "GET /v1/sprites" || line == "GET /v1/local/costs"),
            "{lines:?}"
        );
        drop(unlock);
    });
}

/// Checkpoints, restores, failures and what was denied are told with states, of one kind or all.
#[test]
fn what_happened_is_told_of_all() {
    let home = Home::new();
    serve(&home, &["--no-checkpoints"], "box");
    let client = home.client();
    let runtime = runtime();
    let wish = CreateCheckpoint { comment: Some("before the upgrade".into()), memory: false };
    runtime.block_on(client.checkpoint("box", &wish).try_collect::<Vec<_>>()).unwrap();
    let made = runtime.block_on(client.checkpoints("box")).unwrap();
    let id = &made.iter().find(|one| one.id != CURRENT).unwrap().id;
    runtime.block_on(client.restore("box", id, false).try_collect::<Vec<_>>()).unwrap();
    let all = runtime.block_on(client.timeline(None, None, 100)).unwrap();
    assert!(all.iter().all(|one| one.sprite == "box"));
    let times: Vec<_> = all.iter().map(|one| one.event.time).collect();
    assert!(times.is_sorted_by(|one, two| one >= two), "{all:?}");
    let of = |kind: EventKind| runtime.block_on(client.timeline(None, Some(kind), 100)).unwrap();
    let [made] = &of(EventKind::Checkpoint)[..] else { panic!("{all:?}") };
    assert_eq!(made.event.reason, format!("{id}, before the upgrade"));
    let [back] = &of(EventKind::Restore)[..] else { panic!("{all:?}") };
    assert!(back.event.reason.starts_with(id.as_str()), "{back:?}");
    assert!(of(EventKind::Denied).is_empty());
    let states = of(EventKind::State);
    assert!(states.iter().any(|one| one.event.reason.contains("the command true")), "{states:?}");
    // Of one they are the same.
    let of_one = runtime.block_on(client.events("box")).unwrap().events;
    assert_eq!(of_one, all.iter().map(|one| one.event.clone()).collect::<Vec<_>>());
    let newest = all[0].event.time;
    assert!(runtime.block_on(client.timeline(Some(newest), None, 100)).unwrap().is_empty());
    assert_eq!(runtime.block_on(client.timeline(None, None, 2)).unwrap().len(), 2);
}
