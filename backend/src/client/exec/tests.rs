//! Endpoints that fall silent, take nothing, or close when nobody expects it. No time passes but the paused clock's.

use super::*;
use tokio::io::{DuplexStream, duplex};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

type Server = WebSocketStream<DuplexStream>;

/// A session, and the endpoint at its other end, between which `room` bytes may be under way.
async fn session(room: usize) -> (ExecSession, Server) {
    let (near, far) = duplex(room);
    let near = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    (ExecSession::over(near, false), WebSocketStream::from_raw_socket(far, Role::Server, None).await)
}

fn info() -> Message {
    Message::Text(r#"{"type":"session_info","session_id":"20","command":"x"}"#.into())
}

fn output(byte: u8) -> Message {
    Message::Binary(vec![stream::STDOUT, byte].into())
}

fn exit(code: u8) -> Message {
    Message::Binary(vec![stream::EXIT, code].into())
}

/// Everything that is told until the end.
async fn all(mut receiver: ExecReceiver) -> Vec<ExecEvent> {
    let mut events = Vec::new();
    while let Some(event) = receiver.next().await {
        events.push(event);
    }
    events
}

fn is_error(event: &ExecEvent, word: &str) -> bool {
    matches!(event, ExecEvent::Error(why) if why.contains(word))
}

#[tokio::test(start_paused = true)]
async fn silence_is_noticed_when_it_has_lasted_long_enough() {
    let (session, mut server) = session(1 << 20).await;
    server.send(info()).await.unwrap();
    let (_sender, receiver) = session.split();
    let began = Instant::now();
    // The connection stays open, and nobody reads at its other end.
    let events = all(receiver).await;
    assert!(
        matches!(&events[..], [ExecEvent::Info(_), silent, ExecEvent::Closed] if is_error(silent, "45 s"))
    );
    assert!(began.elapsed() < DEAD + Duration::from_secs(1), "{:?}", began.elapsed());
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_command_is_not_taken_for_a_dead_connection() {
    let (session, server) = session(1 << 20).await;
    let (mut sink, mut source) = server.split();
    // Reading answers pings.
    let reader = tokio::spawn(async move { while let Some(Ok(_)) = source.next().await {} });
    let (_sender, receiver) = session.split();
    let events = tokio::spawn(all(receiver));
    sink.send(info()).await.unwrap();
    sleep(Duration::from_secs(3600)).await;
    sink.send(exit(7)).await.unwrap();
    sink.close().await.unwrap();
    let events = events.await.unwrap();
    assert!(matches!(&events[..], [ExecEvent::Info(_), ExecEvent::Exit(7), ExecEvent::Closed]), "{events:?}");
    reader.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_reads_slowly_loses_nothing() {
    let (session, server) = session(1 << 20).await;
    let (mut sink, mut source) = server.split();
    let reader = tokio::spawn(async move { while let Some(Ok(_)) = source.next().await {} });
    let (_sender, receiver) = session.split();
    sink.send(info()).await.unwrap();
    // More than may wait, then nothing is read for ten minutes, as behind a pager.
    for _ in 0..2 * EVENTS {
        sink.send(output(b'x')).await.unwrap();
    }
    sleep(Duration::from_secs(600)).await;
    let events = tokio::spawn(all(receiver));
    sleep(Duration::from_secs(1)).await;
    sink.send(exit(0)).await.unwrap();
    sink.close().await.unwrap();
    let events = events.await.unwrap();
    assert_eq!(events.iter().filter(|event| matches!(event, ExecEvent::Stdout(_))).count(), 2 * EVENTS);
    assert!(!events.iter().any(|event| is_error(event, "")), "{:?}", events.last());
    reader.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_takes_nothing_is_left() {
    let (session, mut server) = session(4 << 10).await;
    server.send(info()).await.unwrap();
    let (sender, receiver) = session.split();
    let began = Instant::now();
    sender.input(Bytes::from(vec![b'x'; 64 << 10])).await.unwrap();
    let events = all(receiver).await;
    let [.., why, ExecEvent::Closed] = &events[..] else { panic!("{events:?}") };
    assert!(is_error(why, "taken nothing for 30 s"), "{events:?}");
    assert!(began.elapsed() <= SEND + CLOSE, "{:?}", began.elapsed());
    assert!(sender.input(Bytes::from_static(b"x")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn every_unexpected_end_is_told() {
    let closed =
        |reason: &'static str| Message::Close(Some(CloseFrame { code: 1011.into(), reason: reason.into() }));
    for (messages, word) in [
        (vec![closed("")], Some("before the session began")),
        (vec![closed("no\x1b[2J capacity")], Some("the endpoint closed the connection: no [2J capacity")),
        (vec![info(), closed("restoring")], Some("restoring")),
        (vec![info(), output(b'x'), closed("")], None),
        (vec![info(), exit(3), closed("all done")], None),
        (vec![info(), Message::Text("{".into()), Message::Text(r#"{"type":"error"}"#.into())], Some("broke")),
    ] {
        let (session, mut server) = session(1 << 16).await;
        let (_sender, receiver) = session.split();
        for message in messages {
            server.send(message).await.unwrap();
        }
        // Dropped without a word where there was no close.
        drop(server);
        let events = all(receiver).await;
        assert_eq!(events.last(), Some(&ExecEvent::Closed));
        let told = events.iter().any(|event| is_error(event, word.unwrap_or_default()));
        assert_eq!(told, word.is_some(), "{events:?}");
    }
}
