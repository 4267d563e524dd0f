//! What is tried again and what is not, and that every wait ends. The clock is paused: it moves when all there is to do is wait.

use super::*;
use futures::StreamExt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// An endpoint that gives these answers one after the other, the last one for ever; each as it stands, on a connection of its own. An
/// answer that ends in [`OPEN`] leaves its connection open.
struct Answers {
    client: Client,
    asked: Arc<AtomicUsize>,
}

const OPEN: &str = "…";

async fn answering(answers: &[&str]) -> Answers {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answers: Vec<String> = answers.iter().map(|answer| answer.to_string()).collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let number = count.fetch_add(1, Ordering::SeqCst);
            let answer = answers[number.min(answers.len() - 1)].clone();
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let (answer, open) =
                    answer.strip_suffix(OPEN).map_or((&answer[..], false), |cut| (cut, true));
                let _ = stream.write_all(answer.as_bytes()).await;
                if open {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    let endpoint = Endpoint::remote(&url, Some("token".into())).unwrap();
    Answers { client: Client::new(endpoint).unwrap(), asked }
}

impl Answers {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}", body.len())
}

fn wish() -> CreateSprite {
    CreateSprite { name: "box".into(), ..CreateSprite::default() }
}

const SPRITE: &str = r#"{"name":"box","status":"cold"}"#;

#[tokio::test(start_paused = true)]
async fn what_repeats_no_effect_is_tried_again() {
    let found = answer("200 OK", "", SPRITE);
    for first in [
        answer("429 Too Many Requests", "Retry-After: 4\r\n", ""),
        answer("503 Service Unavailable", "", ""),
        answer("502 Bad Gateway", "", "<html>"),
        answer("200 OK", "", SPRITE)[..40].to_owned(),
        String::new(),
    ] {
        let server = answering(&[&first, &found]).await;
        let began = Instant::now();
        assert_eq!(server.client.get("box").await.unwrap().name, "box", "{first}");
        assert_eq!(server.asked(), 2, "{first}");
        if first.contains("Retry-After") {
            assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
        }
    }
    // A limit that refuses has done nothing.
    let limited = answer("429 Too Many Requests", "Retry-After: 2\r\n", "");
    let server = answering(&[&limited, &answer("201 Created", "", SPRITE)]).await;
    assert_eq!(server.client.create(&wish()).await.unwrap().name, "box");
}

#[tokio::test(start_paused = true)]
async fn what_may_have_had_an_effect_is_not_tried_again() {
    for only in [
        answer("503 Service Unavailable", "Retry-After: 1\r\n", ""),
        answer("502 Bad Gateway", "", ""),
        answer("500 Internal Server Error", "", ""),
        answer("429 Too Many Requests", "Retry-After: 3600\r\n", ""),
        answer("201 Created", "", SPRITE)[..40].to_owned(),
        String::new(),
    ] {
        let server = answering(&[&only, &answer("201 Created", "", SPRITE)]).await;
        assert!(server.client.create(&wish()).await.is_err(), "{only}");
        assert_eq!(server.asked(), 1, "{only}");
        let server = answering(&[&only, &answer("200 OK", "", "{\"type\":\"complete\"}\n")]).await;
        let lines: Vec<_> = server.client.restore("box", "v1", false).collect().await;
        assert!(matches!(&lines[..], [Err(_)]), "{lines:?}");
        assert_eq!(server.asked(), 1, "{only}");
        // A command may run although its answer is lost.
        if !only.contains("503") && !only.contains("502") {
            let server = answering(&[&only]).await;
            assert!(server.client.exec("box", ExecRequest::default()).await.is_err(), "{only}");
            assert_eq!(server.asked(), 1, "{only}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_on_refusing_is_told_with_its_own_words() {
    let limited = answer("429 Too Many Requests", "Retry-After: 10\r\n", r#"{"error":"slow down"}"#);
    let server = answering(&[&limited]).await;
    let began = Instant::now();
    let error = server.client.get("box").await.unwrap_err().to_string();
    assert_eq!(error, "slow down (status 429); try again in 10 s");
    assert!(began.elapsed() < transport::CALL, "{:?}", began.elapsed());
    let server = answering(&[&answer("429 Too Many Requests", "Retry-After: 3600\r\n", "")]).await;
    let error = server.client.get("box").await.unwrap_err().to_string();
    assert!(error.contains("try again in 3600 s"), "{error}");
    assert_eq!(server.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sprite_that_comes_back_from_a_restore_is_waited_for() {
    let unknown = answer("404 Not Found", "", r#"{"error":"sprite not found"}"#);
    for restoring in [
        answer("409 Conflict", "", r#"{"error":"conflict","message":"a restore is in progress"}"#),
        answer("503 Service Unavailable", "Retry-After: 3\r\n", ""),
        answer("502 Bad Gateway", "", "<html>"),
    ] {
        // What comes afterwards is told.
        let server = answering(&[&restoring, &restoring, &unknown]).await;
        let error = server.client.exec("box", ExecRequest::default()).await.unwrap_err();
        assert!(matches!(error, Error::NotFound(_)), "{error}");
        assert_eq!(server.asked(), 3);
        // And one that never comes back, too.
        let server = answering(&[&restoring]).await;
        let began = Instant::now();
        let error = server.client.attach("box", "7", None).await.unwrap_err();
        assert_eq!(error.status().unwrap().to_string(), restoring[9..12], "{error}");
        assert!(began.elapsed() <= COMING_BACK, "{:?}", began.elapsed());
    }
    for told_at_once in [
        answer("409 Conflict", "", r#"{"error":"the sprite is being destroyed"}"#),
        answer("503 Service Unavailable", "Retry-After: 60\r\n", ""),
        answer("504 Gateway Timeout", "", ""),
        answer("502 Bad Gateway", "", r#"{"error":"machine_failed","message":"it does not start"}"#),
    ] {
        let server = answering(&[&told_at_once]).await;
        assert!(server.client.exec("box", ExecRequest::default()).await.is_err());
        assert_eq!(server.asked(), 1, "{told_at_once}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_wait_ends() {
    // Connections are made, and nobody ever takes them up.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::new(Endpoint::remote(&url, None).unwrap()).unwrap();
    let deadline = |error: &Error| matches!(error, Error::Deadline { .. });
    assert!(deadline(&client.list_sprites().await.unwrap_err()));
    assert!(deadline(&client.create(&wish()).await.unwrap_err()));
    assert!(deadline(&client.exec("box", ExecRequest::default()).await.unwrap_err()));
    assert!(deadline(&client.exec_http("box", &ExecRequest::default()).await.unwrap_err()));
    assert!(deadline(&client.connect("box", "localhost", 80).await.unwrap_err()));
    assert!(matches!(client.watch().next().await, Some(Err(error)) if deadline(&error)));
    // An upload that nobody takes, and one that nobody answers.
    let endless = futures::stream::repeat_with(|| Ok(Bytes::from(vec![0; 64 << 10])));
    let short = || futures::stream::iter([io::Result::Ok(Bytes::from_static(b"x"))]);
    let options = WriteOptions::default();
    assert!(deadline(&client.write_file("box", "a", options, None, endless).await.unwrap_err()));
    assert!(deadline(&client.write_file("box", "a", options, Some(1), short()).await.unwrap_err()));
}

#[tokio::test(start_paused = true)]
async fn answers_that_stop_in_the_middle_end_too() {
    let head = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 60\r\nContent-Length: 1000\r\n\r\n{";
    let server = answering(&[&format!("{head}{OPEN}")]).await;
    // The status is not lost with the rest.
    let error = server.client.get("box").await.unwrap_err();
    assert!(matches!(error, Error::Busy { .. }) && error.to_string().contains("60 s"), "{error}");
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{";
    let server = answering(&[&format!("{head}{OPEN}")]).await;
    assert!(matches!(server.client.get("box").await, Err(Error::Deadline { .. })));
    let mut file = server.client.read_file("box", "a").await.unwrap();
    assert!(matches!(file.next().await, Some(Ok(_))));
    assert!(matches!(file.next().await, Some(Err(Error::Deadline { .. }))));
    let lines: Vec<_> = server.client.checkpoint("box", &CreateCheckpoint::default()).collect().await;
    assert!(matches!(&lines[..], [Err(Error::Deadline { .. })]), "{lines:?}");
}

/// A body that is slow by itself is no reason to give up.
#[tokio::test(start_paused = true)]
async fn an_upload_waits_for_its_source() {
    let written = answer("200 OK", "", r#"{"path":"/a","size":2,"mode":"0644"}"#);
    let server = answering(&[&written]).await;
    let slow = futures::stream::unfold(0, |number| async move {
        sleep(Duration::from_secs(600)).await;
        (number < 2).then(|| (Ok(Bytes::from_static(b"x")), number + 1))
    });
    let options = WriteOptions::default();
    let outcome = server.client.write_file("box", "a", options, None, slow).await;
    // The small server above does not wait for the body, which is as good.
    assert!(!matches!(outcome, Err(Error::Deadline { .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn web_pages_and_lists_in_the_place_of_streams_are_not_taken_for_answers() {
    let page = answer("200 OK", "Content-Type: text/html; charset=utf-8\r\n", "<html>Log in</html>");
    let server = answering(&[&page]).await;
    for error in [
        server.client.delete("box").await.unwrap_err(),
        server.client.list_sprites().await.unwrap_err(),
        server.client.watch().next().await.unwrap().unwrap_err(),
    ] {
        assert!(error.to_string().contains("web page"), "{error}");
    }
    let page = answer("200 OK", "", "\n<html>Log in</html>");
    let error = answering(&[&page]).await.client.get("box").await.unwrap_err();
    assert!(error.to_string().contains("web page"), "{error}");
    let list = answer("200 OK", "Content-Type: application/json\r\n", r#"{"sprites":[],"name":"acme"}"#);
    let server = answering(&[&list]).await;
    assert!(matches!(server.client.watch().next().await, Some(Err(Error::NotSupported { .. }))));
}

#[tokio::test(start_paused = true)]
async fn lists_without_an_end_are_left() {
    let page = |token: &str| {
        let body = format!(r#"{{"sprites":[{SPRITE}],"has_more":true,"next_continuation_token":{token}}}"#);
        answer("200 OK", "", &body)
    };
    let server = answering(&[&page(r#""a""#), &page(r#""b""#), &page(r#""a""#)]).await;
    let error = server.client.list_sprites().await.unwrap_err().to_string();
    assert!(error.contains("no end"), "{error}");
    assert_eq!(server.asked(), 3);
    // More without a way to it.
    for token in [r#""""#, "null"] {
        let server = answering(&[&page(token)]).await;
        assert_eq!(server.client.list_sprites().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn names_that_cannot_be_are_not_asked_for() {
    let server = answering(&[&answer("200 OK", "", SPRITE)]).await;
    let long = "x".repeat(256);
    for name in ["", ".", "..", "a/b", "..\\a", "a\u{1b}[2J", "a\nb", "a\u{202e}b", &long] {
        let error = server.client.get(name).await.unwrap_err();
        assert!(matches!(error, Error::BadName(_)), "{error}");
        assert!(!error.to_string().chars().any(is_obeyed), "{error}");
    }
    assert_eq!(server.asked(), 0);
    assert!(server.client.get("An odd näme?#%").await.is_ok());
}
