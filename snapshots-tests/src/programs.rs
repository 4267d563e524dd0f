//! Sessions that are programs of this host, each in a terminal of its own: what a sprite's agent does, without a sprite around it. What the app makes of
//! them can so be measured against other programs that show the same ones.

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use sprites_api::exec::{ClientMessage, ServerMessage, SessionInfo};
use std::io::{Read, Write};
use std::thread;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Longest message, bytes: what the API keeps to.
const MESSAGE: usize = 64 << 10;
/// Pieces of output that may wait; then the program waits.
const WAITING: usize = 16;

/// How a program is started: with the terminal's type, as the app asks for it, and a prompt that can be waited for.
pub fn command(words: &[&str]) -> CommandBuilder {
    let mut command = CommandBuilder::new(words[0]);
    command.args(&words[1..]);
    command.env("TERM", "xterm-256color");
    command.env("COLORTERM", "truecolor");
    command.env("PS1", PROMPT);
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// What a shell says when it waits for a line.
pub const PROMPT: &str = "ready$ ";
/// A shell that reads nothing of the person's.
pub const SHELL: [&str; 4] = ["bash", "--norc", "--noprofile", "-i"];

/// Runs a program for as long as the WebSocket is open; its end closes it.
pub(crate) async fn join(mut socket: WebSocketStream<TcpStream>, id: &str, words: &[&str], size: PtySize) {
    let pair = native_pty_system().openpty(size).expect("a terminal can be made");
    let mut child = pair.slave.spawn_command(command(words)).expect("the program can be started");
    drop(pair.slave);
    let mut reader = pair.master.try_clone_reader().expect("the terminal can be read");
    let mut writer = pair.master.take_writer().expect("the terminal can be written");
    let (sender, mut output) = mpsc::channel::<Bytes>(WAITING);
    thread::spawn(move || {
        let mut buffer = [0; MESSAGE];
        while let Ok(read @ 1..) = reader.read(&mut buffer) {
            if sender.blocking_send(Bytes::copy_from_slice(&buffer[..read])).is_err() {
                return;
            }
        }
    });
    let info = SessionInfo {
        session_id: id.to_owned(),
        command: words.join(" "),
        is_owner: true,
        tty: true,
        ..SessionInfo::default()
    };
    let mut going = say(&mut socket, &ServerMessage::SessionInfo(info)).await;
    while going {
        going = tokio::select! {
            piece = output.recv() => match piece {
                Some(piece) => {
                    // Terminals give small pieces.
                    let mut bytes = BytesMut::from(piece);
                    while bytes.len() < MESSAGE / 2 && let Ok(more) = output.try_recv() {
                        bytes.extend_from_slice(&more);
                    }
                    socket.send(Message::Binary(bytes.freeze())).await.is_ok()
                }
                None => {
                    say(&mut socket, &ServerMessage::Exit { exit_code: 0, code: 0 }).await;
                    let _ = socket.close(None).await;
                    false
                }
            },
            message = socket.next() => match message {
                Some(Ok(Message::Binary(bytes))) => writer.write_all(&bytes).is_ok(),
                Some(Ok(Message::Text(text))) => {
                    if let Ok(ClientMessage::Resize { cols, rows }) = serde_json::from_str(&text) {
                        let _ = pair.master.resize(PtySize { rows, cols, ..size });
                    }
                    true
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => false,
                Some(Ok(_)) => true,
            },
        };
    }
    let _ = child.kill();
    let _ = child.wait();
}

async fn say(socket: &mut WebSocketStream<TcpStream>, message: &ServerMessage) -> bool {
    let text = serde_json::to_string(message).expect("a message has a JSON form");
    socket.send(Message::Text(text.into())).await.is_ok()
}
