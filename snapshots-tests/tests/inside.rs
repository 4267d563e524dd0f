//! Looking into a real sprite: it is neither woken nor kept awake, what it did is known while it sleeps, its log is followed, a port leads to it.

use futures::StreamExt;
use serde_json::json;
use snapshots_tests::harness::Home;
use sprites_api::inside::{Inside, MAX_PORTS};
use sprites_api::services::{Event, EventKind, Status as How};
use sprites_api::sprite::Status;
use sprites_backend::client::{Client, Error, Forward, ServiceAction, is_obeyed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(120);

/// A guest that would like to write on the screen: its process has a name of control characters and very many ports, its log no ends of lines.
const APP: &str = r#"
import socket, sys, time
open("/proc/self/comm", "w").write("a\x1b[2Jb\n")
held = []
for port in range(20000, 20300):
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("127.0.0.1", port))
    one.listen()
    held.append(one)
sys.stdout.write("x" * 100000 + "\n\x1b[31mready\n")
sys.stdout.flush()
count = 0
while True:
    held[0].settimeout(0.5)
    try:
        client, _ = held[0].accept()
        client.sendall(b"hello\n")
        client.close()
    except TimeoutError:
        count += 1
        print("tick", count, flush=True)
"#;

async fn look(client: &Client) -> Inside {
    client.inside("box").await.expect("it is told")
}

/// Waits until what is told is so.
async fn until(client: &Client, what: &str, holds: impl Fn(&Inside) -> bool) -> Inside {
    let give_up = Instant::now() + LONG;
    loop {
        let seen = look(client).await;
        if holds(&seen) {
            return seen;
        }
        assert!(Instant::now() < give_up, "{what} never came: {seen:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn follow(client: &Client, count: usize) -> Vec<Event> {
    let lines = client.follow_log("box", "app", count).map(|line| line.expect("it is a line"));
    timeout(LONG, lines.collect()).await.expect("it ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_into_a_sprite_is_no_use_of_it() {
    let home = Home::new();
    home.serve_with(&["--no-checkpoints", "--idle", "3"]);
    home.good(&["create", "box"]);
    let client = home.client();

    // Of one that never ran nothing is known, and asking does not start it.
    let seen = look(&client).await;
    assert_eq!((seen.status, seen.live, seen.as_of), (Status::Cold, false, None));
    let told = follow(&client, 10).await;
    assert!(matches!(&told[..], [Event { kind: EventKind::Asleep, .. }]), "{told:?}");
    assert_eq!(look(&client).await.status, Status::Cold);
    assert!(matches!(client.inside("moon").await, Err(Error::NotFound(_))));

    // However slow the machine is, it is awake until all is seen.
    let hold = |expire: &str| home.good(&["api", "/v1/sprites/box/tasks", "--", "-X", "PUT", "-d", expire]);
    let release = || home.good(&["api", "/v1/sprites/box/tasks/hold", "--", "-X", "DELETE"]);
    hold(r#"{"name":"hold","expire":"30m"}"#);
    let body = json!({ "cmd": "python3", "args": ["-c", APP], "http_port": 20000 }).to_string();
    let path = "/v1/sprites/box/services/app?duration=0s";
    home.good(&["api", path, "--", "-X", "PUT", "-d", &body]);
    let seen = until(&client, "all its ports", |seen| seen.interior.more_ports > 0).await;
    assert_eq!(seen.tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>(), ["hold"]);
    let (app, ports) = (&seen.interior.services[0], &seen.interior.ports);
    assert_eq!((app.name.as_str(), app.http_port, app.state.status), ("app", Some(20000), How::Running));
    assert!(seen.live && app.state.pid.is_some() && !app.command.chars().any(is_obeyed), "{app:?}");
    assert_eq!((ports.len(), seen.interior.more_ports), (MAX_PORTS, 300 - MAX_PORTS));
    assert_eq!((ports[0].port, ports[0].program.as_str()), (20000, "a [2Jb"));
    let wrong = client.follow_log("box", "none", 1).next().await;
    assert!(matches!(wrong, Some(Err(Error::NotFound(_)))), "{wrong:?}");

    // Looked at all the time, with its log followed, it falls asleep, and the log ends with a word for it.
    let watched = async {
        loop {
            let seen = look(&client).await;
            if seen.status != Status::Running {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    release();
    let (told, seen) = tokio::join!(follow(&client, 1000), timeout(LONG, watched));
    let seen = seen.expect("it falls asleep");
    let (last, lines) = told.split_last().unwrap();
    assert_eq!(last.kind, EventKind::Asleep);
    assert!(last.data.as_ref().unwrap().contains("box is warm: unused for"), "{last:?}");
    let text = |part: &str| {
        lines.iter().filter(|one| one.data.as_ref().is_some_and(|data| data.contains(part))).count()
    };
    // Those written before and those that followed; what has no end of line comes in pieces.
    assert!(text("ready") == 1 && text("tick") >= 2 && text("xxxx") >= 12, "{:?}", lines.last());

    // What it did is known, of the moment at which it fell asleep; looking goes on and it sleeps on.
    assert!(!seen.live && seen.as_of.is_some());
    assert_eq!(seen.interior.services[0].state.status, How::Running);
    assert_eq!(seen.interior.ports.len(), MAX_PORTS);
    let asleep_since = client.get("box").await.unwrap().last_warming_at;
    for _ in 0..20 {
        assert_ne!(look(&client).await.status, Status::Running);
        assert_eq!(follow(&client, 1).await.len(), 1);
    }
    assert_eq!(client.get("box").await.unwrap().last_warming_at, asleep_since);

    // A port that leads there wakes it when somebody connects, and ends when it is dropped.
    let forward =
        Forward::open_near(client.clone(), "box".into(), 20000, |why| panic!("{why}")).await.unwrap();
    let here = ("127.0.0.1", forward.port());
    assert_ne!(look(&client).await.status, Status::Running);
    let mut connection = TcpStream::connect(here).await.unwrap();
    // It waits for nothing, but an end of input would end the way there.
    connection.write_all(b"\n").await.unwrap();
    let mut said = String::new();
    timeout(LONG, connection.read_to_string(&mut said)).await.expect("it answers").unwrap();
    assert_eq!(said, "hello\n");
    hold(r#"{"name":"hold","expire":"30m"}"#);
    until(&client, "it is awake", |seen| seen.live).await;
    drop(forward);
    let give_up = Instant::now() + LONG;
    while TcpStream::connect(here).await.is_ok() {
        assert!(Instant::now() < give_up, "it never ends");
    }

    // Services obey, and a stop is told as sleep is.
    let done: Vec<_> = client.service("box", "app", ServiceAction::Restart).collect().await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    let (told, stopped) = tokio::join!(follow(&client, 0), async {
        until(&client, "it runs again", |seen| seen.live).await;
        client.stop("box").await
    });
    stopped.unwrap();
    assert!(told.last().unwrap().data.as_ref().unwrap().contains("box is cold: it was stopped"), "{told:?}");
    let seen = look(&client).await;
    assert_eq!((seen.status, seen.live, seen.interior.services.len()), (Status::Cold, false, 1));
}
