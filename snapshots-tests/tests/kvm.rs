//! What the server can do only where KVM is real: sleep on disk, checkpoints with memory, live forks, instant creation. Elsewhere there is nothing to
//! test; `cargo xtask lab` runs it.

use futures::StreamExt;
use local_vmm::Kind;
use snapshots_tests::harness::Home;
use snapshots_tests::world::World;
use sprites_api::checkpoint::{CreateCheckpoint, ProgressLine};
use sprites_api::extension::Fork;
use sprites_api::sprite::{CreateSprite, Status};
use sprites_backend::client::{Client, ExecEvent, ExecRequest, Lines};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(240);
/// Tells one boot from another.
const BOOT: &str = "cat /proc/sys/kernel/random/boot_id";
/// A program that counts on, ten times a second.
const COUNTER: &str = "setsid sh -c 'n=0; while :; do n=$((n+1)); echo $n > /tmp/count; sleep 0.1; done' >/dev/null 2>&1 & sleep 0.5";

/// Runs a shell command inside; its output.
async fn sh(client: &Client, name: &str, command: &str) -> String {
    let request =
        ExecRequest { cmd: ["sh", "-c", command].map(str::to_owned).into(), ..ExecRequest::default() };
    let run = async {
        let (_sender, mut receiver) = client.exec(name, request).await.unwrap().split();
        let mut text = Vec::new();
        while let Some(event) = receiver.next().await {
            match event {
                ExecEvent::Stdout(bytes) => text.extend_from_slice(&bytes),
                ExecEvent::Exit(_) => break,
                _ => {}
            }
        }
        String::from_utf8_lossy(&text).trim().to_owned()
    };
    tokio::time::timeout(LONG, run).await.unwrap_or_else(|_| panic!("{command} does not end"))
}

/// The last line of some work, which must be good.
async fn done(mut lines: Lines<ProgressLine>) {
    while let Some(line) = lines.next().await {
        let line = line.unwrap();
        assert_ne!(line.kind, "error", "{line:?}");
        if line.kind == "complete" {
            return;
        }
    }
    panic!("it broke off");
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let give_up = Instant::now() + LONG;
    while !holds().await {
        assert!(Instant::now() < give_up, "{what} never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn counts_on(client: &Client, name: &str) {
    let read = async || sh(client, name, "cat /tmp/count").await.parse::<u64>().unwrap_or(0);
    let before = read().await;
    assert!(before > 0, "nothing counts in {name}");
    until("the next number", async || read().await > before).await;
}

async fn status(client: &Client, name: &str) -> Status {
    client.get(name).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_kept_restored_and_forked() {
    if Kind::of_this_host() != Kind::Kvm {
        println!("KVM is not real here; cargo xtask lab runs this test");
        return;
    }
    let home = Home::new();
    home.serve_with(&["--idle", "2", "--warm", "2"]);
    let client = home.client();
    assert_eq!(client.version().await.unwrap().machine, "kvm");
    let new = |name: &str| CreateSprite { name: name.into(), ..CreateSprite::default() };
    client.create(&new("box")).await.unwrap();
    let boot = sh(&client, "box", BOOT).await;
    sh(&client, "box", COUNTER).await;

    // It falls asleep, then gives its memory back, and goes on as if nothing had been.
    until("sleep on disk", async || home.machine_pids().is_empty()).await;
    assert_eq!(status(&client, "box").await, Status::Warm);
    home.end_server();
    home.serve_with(&["--idle", "3600", "--warm", "3600"]);
    assert_eq!(status(&client, "box").await, Status::Warm);
    counts_on(&client, "box").await;
    assert_eq!(sh(&client, "box", BOOT).await, boot);

    // A checkpoint with memory; what comes after it is undone, what ran then runs on.
    sh(&client, "box", "echo before > mark").await;
    done(client.checkpoint("box", &CreateCheckpoint { comment: None, memory: true })).await;
    let tree = client.tree("box").await.unwrap();
    let node = tree.nodes.iter().find(|node| node.memory_bytes.is_some()).expect("one has memory");
    let id = node.id.clone();
    sh(&client, "box", "echo after > mark").await;
    done(client.restore("box", &id, true)).await;
    assert_eq!(sh(&client, "box", "cat mark").await, "before");
    assert_eq!(sh(&client, "box", BOOT).await, boot);
    counts_on(&client, "box").await;

    // A fork that runs on beside it, and one from now.
    for (name, checkpoint) in [("twin", Some(id.clone())), ("now", None)] {
        client.fork("box", &Fork { name: name.into(), checkpoint, memory: true }).await.unwrap();
        assert_eq!(status(&client, name).await, Status::Warm);
        assert_eq!(sh(&client, name, "hostname; echo $SPRITE_NAME").await, format!("{name}\n{name}"));
        assert_eq!(sh(&client, name, BOOT).await, boot);
        counts_on(&client, name).await;
    }
    assert_ne!(
        sh(&client, "box", "cat /etc/machine-id").await,
        sh(&client, "twin", "cat /etc/machine-id").await
    );

    // Without memory it is an ordinary restore, and an ordinary checkpoint has none to give.
    done(client.restore(
        "twin",
        &{
            done(client.checkpoint("twin", &CreateCheckpoint::default())).await;
            client.tree("twin").await.unwrap().nodes[0].id.clone()
        },
        false,
    ))
    .await;
    assert_ne!(sh(&client, "twin", BOOT).await, boot);
    let refused =
        client.fork("twin", &Fork { name: "no".into(), checkpoint: Some("v0".into()), memory: true }).await;
    assert!(refused.unwrap_err().to_string().contains("has no memory"));

    // By now the image has a template, and a new sprite goes on from it: its own name, its own boot id, no checkpoints.
    until("the template", async || {
        std::fs::read_dir(home.paths().sprites())
            .unwrap()
            .flatten()
            .any(|entry| entry.path().join("template.json").is_file())
    })
    .await;
    let mut boots = vec![boot.clone()];
    for name in ["quick", "quicker"] {
        let begun = Instant::now();
        client.create(&new(name)).await.unwrap();
        assert_eq!(sh(&client, name, "hostname").await, name);
        println!("{name}: created and answering after {} ms", begun.elapsed().as_millis());
        boots.push(sh(&client, name, BOOT).await);
        assert_eq!(client.tree(name).await.unwrap().nodes.len(), 1);
        client.delete(name).await.unwrap();
    }
    boots.sort();
    boots.dedup();
    assert_eq!(boots.len(), 3, "{boots:?}");

    // A stopped sprite has no memory left, and a deleted checkpoint leaves none behind.
    client.stop("box").await.unwrap();
    assert_eq!(status(&client, "box").await, Status::Cold);
    assert_ne!(sh(&client, "box", BOOT).await, boot);
    done(client.checkpoint("box", &CreateCheckpoint::default())).await;
    client.delete_checkpoint("box", &id).await.unwrap();
    let tree = client.tree("box").await.unwrap();
    assert!(tree.nodes.iter().all(|node| node.id != id));
    counts_on(&client, "now").await;
    for name in ["box", "twin", "now"] {
        client.delete(name).await.unwrap();
    }
}

/// What a sprite hears of a web server outside: a word of greeting, or why there is none.
async fn fetch(client: &Client, name: &str, host: &str) -> String {
    sh(client, name, &format!("curl -sS --max-time 100 http://{host}/ 2>&1")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_comes_back_with_the_memory() {
    if Kind::of_this_host() != Kind::Kvm {
        println!("KVM is not real here; cargo xtask lab runs this test");
        return;
    }
    let Some(world) = World::empty("--idle 2 --warm 2") else { return };
    let client = world.home.client();
    let new = |name: &str| CreateSprite { name: name.into(), ..CreateSprite::default() };
    let hello = async |name: &str, host: &str| {
        assert_eq!(fetch(&client, name, host).await, "hello from outside", "{name}: {host}");
    };
    let refused = async |name: &str, host: &str| {
        let said = fetch(&client, name, host).await;
        assert!(said.contains("curl: (6)"), "{name}: {host}: {said}");
    };
    client.create(&new("box")).await.unwrap();
    hello("box", "allowed.example").await;
    hello("box", "six.example").await;
    let boot = sh(&client, "box", BOOT).await;
    let rules = r#"{"rules":[{"domain":"allowed.example","action":"allow"},{"domain":"six.example","action":"allow"}]}"#;
    client.set_network_policy("box", &serde_json::from_str(rules).unwrap()).await.unwrap();
    refused("box", "other.example").await;

    // It gives its memory back, and is on the network again, by another gateway with the same rules.
    until("sleep on disk", async || world.home.machine_pids().is_empty()).await;
    hello("box", "allowed.example").await;
    hello("box", "six.example").await;
    refused("box", "other.example").await;
    assert_eq!(sh(&client, "box", BOOT).await, boot);

    // A fork that runs on beside it has its own way out.
    client.fork("box", &Fork { name: "twin".into(), checkpoint: None, memory: true }).await.unwrap();
    hello("twin", "allowed.example").await;
    refused("twin", "other.example").await;
    assert_eq!(sh(&client, "twin", BOOT).await, boot);
    hello("box", "allowed.example").await;
    client.delete("twin").await.unwrap();

    // A template's machine never had a network; those that go on from it have one.
    until("the template", async || {
        let folders = std::fs::read_dir(world.home.paths().sprites()).unwrap();
        folders.flatten().any(|entry| entry.path().join("template.json").is_file())
    })
    .await;
    client.create(&new("quick")).await.unwrap();
    hello("quick", "other.example").await;
    hello("quick", "six.example").await;
    for name in ["box", "quick"] {
        client.delete(name).await.unwrap();
    }
}
