//! Much output, slow clients, bounded memory.

mod common;

use common::{Agent, Client, cmd, sh};
use sprites_guest_agent::Config;

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_slow_client_gets_everything() {
    let mut config = Config::process();
    (config.limits.window, config.limits.history) = (32 << 10, 64 << 10);
    let agent = Agent::with(config).await;
    let mut client = agent.exec(&sh("seq 1 400000; echo done >&2")).await;
    // Not read for a while: the command must wait, not run to its end.
    agent.until_list("it is there", |list| list.len() == 1).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(agent.get("/v1/exec").await.json()["count"], 1);
    while client.step().await {}
    let wanted: String = (1..=400_000).map(|number| format!("{number}\n")).collect();
    assert!(client.said.out() == wanted, "{} of {} bytes", client.said.stdout.len(), wanted.len());
    assert_eq!((client.said.err().as_str(), client.said.code()), ("done\n", 0));
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_does_not_stall_a_fast_one() {
    let mut config = Config::process();
    (config.limits.window, config.limits.history) = (32 << 10, 64 << 10);
    let agent = Agent::with(config).await;
    for tty in [false, true] {
        let extra = if tty { "&tty=true" } else { "" };
        let script = "echo ready; read x; seq 1 300000; echo the end; read y";
        let mut fast = agent.exec(&format!("{}&stdin=true{extra}", sh(script))).await;
        fast.until("ready").await;
        let mut slow = agent.exec(&format!("/{}", fast.id())).await;
        slow.until("ready").await;
        if tty {
            fast.typed("\n").await
        } else {
            fast.stdin(b"\n").await
        }
        // Everything passes though `slow` reads nothing.
        while !fast.said.stdout.windows(7).rev().take(64 << 10).any(|window| window == b"the end") {
            assert!(fast.step().await);
        }
        if tty {
            fast.typed("\n").await
        } else {
            fast.stdin(b"\n").await
        }
        assert_eq!(fast.rest().await.code(), 0);
        let said = slow.rest().await;
        if tty {
            // A terminal catches up with the picture as it is.
            assert!(said.out().contains("the end"));
            assert_eq!(said.code(), 0);
        } else {
            // Pipes cannot: the client is told that it has lost output.
            assert_eq!((said.close, said.exit_text), (Some(4008), None));
        }
    }
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_flood_runs_on() {
    let agent = Agent::start().await;
    let mut client = agent
        .exec(&format!("{}&tty=true", sh("echo ready; read x; seq 1 300000; echo the end; read y")))
        .await;
    client.until("ready").await;
    let id = client.id();
    client.typed("\n").await;
    drop(client);
    let mut again = loop {
        let mut again = agent.exec(&format!("/{id}")).await;
        // The picture is complete when the first output follows or the end shows.
        again.text("ask for an error, which follows the picture").await;
        again.until_error().await;
        if again.said.out().contains("the end") {
            break again;
        }
    };
    assert!(again.said.out().contains("300000"));
    again.typed("\n").await;
    assert_eq!(again.rest().await.code(), 0);
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_million_lines() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("host.sock");
    let mut agent = std::process::Command::new(env!("CARGO_BIN_EXE_sprite-agent"))
        .arg("--host-socket")
        .arg(&socket)
        .spawn()
        .unwrap();
    common::until("the agent listens", async || socket.exists()).await;
    for tty in ["", "&tty=true"] {
        let query = format!("{}{tty}", sh("yes | head -n 10000000"));
        let mut client = Client::connect(&socket, &query).await.unwrap();
        let mut lines = 0u64;
        loop {
            let more = client.step().await;
            lines += client.said.stdout.iter().filter(|byte| **byte == b'\n').count() as u64;
            client.said.stdout.clear();
            if !more {
                break;
            }
        }
        assert_eq!(lines, 10_000_000);
        assert_eq!(client.said.code(), 0);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    let peak: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(agent.id() as i32), nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    assert!(agent.wait().unwrap().success());
    assert!(peak < 64 << 10, "the agent took {peak} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_short_commands() {
    let agent = Agent::start().await;
    for round in 0..50 {
        let text = round.to_string();
        let said = agent.exec(&cmd(&["echo", &text])).await.rest().await;
        assert_eq!((said.out().trim(), said.code()), (text.as_str(), 0));
    }
    agent.until_list("none is left", <[_]>::is_empty).await;
    agent.finish().await;
}
