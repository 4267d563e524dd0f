//! The executable as a process of its own: arguments, orphans, the end.

mod common;

use common::{Client, alive, request, sh, until};
use hyper::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::{Child, Command, Stdio};

fn agent(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sprite-agent")).args(arguments).stderr(Stdio::piped()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments() {
    for arguments in [&["--what"][..], &[], &["--socket"]] {
        let output = agent(arguments).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage:"));
    }
    let output = agent(&["--socket", "/no/such/folder/s"]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/folder/s"));
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_adopted_and_collected() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("host.sock");
    let mut process = agent(&["--host-socket", socket.to_str().unwrap(), "--adopt-orphans"]);
    until("the agent listens", async || socket.exists()).await;
    // Each shell leaves a child behind that outlives it by a moment.
    let mut orphans = Vec::new();
    for _ in 0..10 {
        let client = Client::connect(&socket, &sh("sleep 0.05 & echo $!")).await.unwrap();
        let said = client.rest().await;
        assert_eq!(said.code(), 0);
        orphans.push(said.out().trim().to_owned());
    }
    for pid in orphans {
        until("the orphan is collected", async || !std::path::Path::new(&format!("/proc/{pid}")).exists())
            .await;
    }
    // Exit codes of sessions are not lost to the collection of orphans.
    for code in 0..20 {
        let client = Client::connect(&socket, &sh(&format!("true & exit {code}"))).await.unwrap();
        assert_eq!(client.rest().await.code(), code);
    }
    kill(Pid::from_raw(process.id() as i32), Signal::SIGTERM).unwrap();
    assert!(process.wait().unwrap().success());
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_agent_ends_its_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("host.sock");
    let mut process = agent(&["--host-socket", socket.to_str().unwrap()]);
    until("the agent listens", async || socket.exists()).await;
    let client = Client::connect(&socket, &sh("sleep 600; true")).await.unwrap();
    let pid = client.id().parse().unwrap();
    assert!(alive(pid));
    let health = request(&socket, Method::GET, "/v1/agent/health", "".into()).await;
    assert!(health.status.is_success());
    let wait = tokio::task::spawn_blocking(move || process.wait().map(|status| (status, process.id())));
    request(&socket, Method::POST, "/v1/agent/shutdown", "".into()).await;
    let (status, _) = wait.await.unwrap().unwrap();
    assert!(status.success());
    until("the session is gone", async || !alive(pid)).await;
}
