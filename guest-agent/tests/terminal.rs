//! Sessions with a terminal: size, input, signals, the picture on attach.

mod common;

use common::{Agent, cmd, sh, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_of_the_wanted_size() {
    let agent = Agent::start().await;
    let said = agent.exec(&format!("{}&tty=true", cmd(&["tty"]))).await.rest().await;
    assert!(said.out().contains("/dev/pts/"), "{}", said.out());
    assert_eq!((said.exit_frame, said.code(), said.close), (None, 0, Some(1000)));
    let said = agent.exec(&format!("{}&tty=true", cmd(&["stty", "size"]))).await.rest().await;
    assert_eq!(said.out(), "24 80\r\n");
    let client = agent.exec(&format!("{}&tty=true&cols=100&rows=30", sh("stty size; exit 5"))).await;
    assert_eq!((client.info["cols"].as_i64(), client.info["rows"].as_i64()), (Some(100), Some(30)));
    let said = client.rest().await;
    assert_eq!(said.out(), "30 100\r\n");
    assert_eq!((said.code(), said.close), (5, Some(4000)));
    assert_eq!(said.exit_text.unwrap()["code"], 5);
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_and_resizing() {
    let agent = Agent::start().await;
    let script = "trap 'stty size' WINCH; echo ready; while read line; do echo got $line; done";
    let mut client = agent.exec(&format!("{}&tty=true", cmd(&["bash", "-c", script]))).await;
    client.until("ready").await;
    client.typed("word\n").await;
    client.until("got word").await;
    client.text(r#"{"type":"resize","cols":0,"rows":5}"#).await;
    client.text(r#"{"type":"resize","cols":120,"rows":50}"#).await;
    // The trap runs between two lines.
    client.typed("next\n").await;
    client.until("50 120").await;
    // Ctrl-D ends the input of a terminal.
    client.typed("\x04").await;
    assert_eq!(client.rest().await.code(), 0);
    agent.finish().await;
}

/// The process group in the foreground of a process's terminal, proc(5).
fn foreground(pid: &str) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat[stat.rfind(')').unwrap()..].split(' ').nth(6).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn control_c_and_signals_reach_the_foreground() {
    let agent = Agent::start().await;
    let query = format!("{}&tty=true&env=PS1%3Dprompt-", cmd(&["bash", "--norc", "-i"]));
    let mut client = agent.exec(&query).await;
    let shell = client.id();
    for way in ["\x03", r#"{"type":"signal","signal":"INT"}"#] {
        // A shell loses what is typed while it changes the terminal's mode, so each step waits for its prompt, or for the
        // program to have the terminal.
        client.until("prompt-").await;
        client.typed("sleep 600\n").await;
        until("the program has the terminal", async || foreground(&shell) != shell).await;
        client.said.stdout.clear();
        if way.starts_with('{') { client.text(way).await } else { client.typed(way).await }
    }
    client.until("prompt-").await;
    client.typed("exit 3\n").await;
    assert_eq!(client.rest().await.code(), 3);
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stdin_false_protects_a_terminal() {
    let agent = Agent::start().await;
    let mut client = agent.exec(&format!("{}&tty=true&stdin=false", sh("echo ready; cat"))).await;
    client.until("ready").await;
    client.typed("\x04").await;
    client.text(r#"{"type":"signal","signal":"KILL"}"#).await;
    // Had the key arrived, `cat` would have ended by itself, with zero.
    assert_eq!(client.rest().await.code(), 137);
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_picture_comes_back_on_attach() {
    let agent = Agent::start().await;
    let script = "seq -f 'line %g' 200; printf '\\033[31mred\\033[m> '; read x; echo got $x; read y";
    let mut first = agent.exec(&format!("{}&tty=true", sh(script))).await;
    first.until("red").await;
    let id = first.id();
    drop(first);
    agent.until_list("nobody is attached", |list| list[0]["attached"] == 0).await;

    let mut second = agent.exec(&format!("/{id}?stdin=true")).await;
    assert_eq!((&second.info["is_owner"], &second.info["tty"]), (&false.into(), &true.into()));
    second.until("red").await;
    let mut screen = vt100::Parser::default();
    screen.process(&second.said.stdout);
    let text = screen.screen().contents();
    assert!(text.contains("line 200\nred>"), "{text}");
    assert!(second.said.out().contains("line 1\r\n"), "lines that had left the screen are told too");

    // Two clients share one session: both see, both may type.
    let mut third = agent.exec(&format!("?id={id}")).await;
    third.until("red").await;
    second.typed("shared\n").await;
    second.until("got shared").await;
    third.until("got shared").await;
    third.typed("\n").await;
    assert_eq!(second.rest().await.code(), 0);
    assert_eq!(third.rest().await.code(), 0);
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attach_may_resize_and_may_be_silent() {
    let agent = Agent::start().await;
    let mut owner = agent.exec(&format!("{}&tty=true", sh("echo ready; read x; stty size"))).await;
    owner.until("ready").await;
    let mut guest = agent.exec(&format!("/{}?stdin=false&cols=90&rows=33", owner.id())).await;
    assert_eq!(guest.info["cols"], 90);
    // This client has said that it does not type.
    guest.typed("\x04").await;
    owner.typed("\n").await;
    owner.until("33 90").await;
    assert_eq!(owner.rest().await.code(), 0);
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_that_breaks_the_emulator_does_not_break_the_session() {
    let agent = Agent::start().await;
    let script =
        r"printf '\033[24;80H\342\235\244\357\270\217'; printf '\033[23;80Hx'; echo ready; read x; echo on";
    let mut owner = agent.exec(&format!("{}&tty=true", sh(script))).await;
    owner.until("ready").await;
    let mut guest = agent.exec(&format!("/{}", owner.id())).await;
    owner.typed("\n").await;
    owner.until("on").await;
    guest.until("on").await;
    assert_eq!(owner.rest().await.code(), 0);
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn default_command_is_a_shell() {
    let agent = Agent::start().await;
    let mut client = agent.exec("?tty=true").await;
    assert_eq!(client.info["command"], "bash");
    client.typed("exit 4\n").await;
    assert_eq!(client.rest().await.code(), 4);
    agent.finish().await;
}
