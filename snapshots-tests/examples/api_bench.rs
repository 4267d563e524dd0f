//! The API against what people use instead of it, with the same sprite: commands against ssh, files against a plain copy, URLs against a forwarded
//! port. Prints one JSON object a figure; `cargo xtask bench` makes a table of them.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use snapshots_tests::harness::Home;
use sprites_api::sprite::{CreateSprite, UpdateSprite, UpdateUrlSettings};
use sprites_backend::client::{Client, ExecRequest, WriteOptions};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const NAME: &str = "bench";
const ROUNDS: usize = 200;
/// Bytes of a file.
const FILE: usize = 64 << 20;
const FILES: usize = 3;
/// How long a web app is asked.
const ASKING: Duration = Duration::from_secs(8);
/// Connections that ask it at once.
const ASKERS: usize = 4;

/// Takes a file, or gives one: a letter, the length as eight bytes, then the bytes.
const COPY: &str = r#"
import os, socket, threading
def serve(c):
    with c:
        head = c.recv(9, socket.MSG_WAITALL)
        size = int.from_bytes(head[1:], 'big')
        with open('plain', 'wb' if head[:1] == b'u' else 'rb') as file:
            if head[:1] == b'd':
                c.sendfile(file)
                return
            room = memoryview(bytearray(256 << 10))
            while size:
                count = c.recv_into(room)
                if not count:
                    return
                file.write(room[:count])
                size -= count
            c.sendall(b'k')
with socket.create_server(('127.0.0.1', 7000)) as door:
    while True:
        threading.Thread(target=serve, args=(door.accept()[0],)).start()
"#;

/// A web app that says one word on a connection that stays.
const WEB: &str = r#"
import socket, threading
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'
def serve(c):
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with c:
        while True:
            head = b''
            while b'\r\n\r\n' not in head:
                piece = c.recv(65536)
                if not piece:
                    return
                head += piece
            c.sendall(ANSWER)
with socket.create_server(('127.0.0.1', 8080)) as door:
    while True:
        threading.Thread(target=serve, args=(door.accept()[0],)).start()
"#;

#[tokio::main]
async fn main() {
    let home = Home::new();
    home.serve_with(&["--idle", "600", "--no-checkpoints"]);
    let client = home.client();
    let wish = CreateSprite { name: NAME.into(), ..CreateSprite::default() };
    client.create(&wish).await.expect("a sprite can be made");
    // All of them takes minutes.
    let parts = std::env::var("SPRITES_BENCH_PARTS").unwrap_or_default();
    let wanted = |part| parts.is_empty() || parts.split(',').any(|named| named == part);
    if wanted("commands") {
        commands(&home, &client).await;
    }
    if wanted("files") {
        files(&client).await;
    }
    if wanted("urls") {
        urls(&client).await;
    }
}

fn figure(name: &str, value: f64, unit: &str, ratio: f64, limit: &str) {
    println!("{}", json!({ "name": name, "value": value, "unit": unit, "ratio": ratio, "limit": limit }));
}

/// The value below which so many of a hundred lie.
fn percentile(values: &mut [f64], part: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * part / 100).min(values.len() - 1)]
}

fn words(words: &[&str]) -> ExecRequest {
    ExecRequest { cmd: words.iter().map(|word| (*word).to_owned()).collect(), ..ExecRequest::default() }
}

async fn run(client: &Client, line: &str) {
    let done = client.exec_http(NAME, &words(&["bash", "-c", line])).await.expect("the command runs");
    assert_eq!(done.exit_code, 0, "{line}: {}", String::from_utf8_lossy(&done.stderr));
}

async fn put(client: &Client, path: &str, text: &str) {
    let bytes = Bytes::from(text.to_owned());
    let length = bytes.len() as u64;
    let stream = futures::stream::iter([Ok(bytes)]);
    client
        .write_file(NAME, path, WriteOptions::default(), Some(length), stream)
        .await
        .expect("a file can be written");
}

/// Starts a program that goes on by itself, and waits for its port.
async fn start(client: &Client, line: &str, port: u16) {
    run(client, &format!("setsid {line} >/dev/null 2>&1 </dev/null &")).await;
    let give_up = Instant::now() + Duration::from_secs(60);
    while let Err(error) = client.connect(NAME, "127.0.0.1", port).await {
        assert!(Instant::now() < give_up, "{line}: {error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A port of this machine that leads to one of the sprite, as `sprite proxy` makes it.
async fn forward(client: &Client, port: u16) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port can be had");
    let here = listener.local_addr().expect("it has an address").port();
    let client = client.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let client = client.clone();
            tokio::spawn(async move {
                if let Ok(proxy) = client.connect(NAME, "127.0.0.1", port).await {
                    let (from, to) = stream.into_split();
                    proxy.join(from, to).await;
                }
            });
        }
    });
    here
}

/// `true` by the API and by `sprite exec`, against ssh to the same sprite over a connection that is kept.
async fn commands(home: &Home, client: &Client) {
    let folder = home.paths().config_file().with_file_name("ssh");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let key = folder.join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.is_ok_and(|status| status.success()), "ssh-keygen makes no key");
    let public = std::fs::read_to_string(key.with_extension("pub")).expect("the key has a public part");
    run(client, "mkdir -p -m 700 ~/.ssh && sudo mkdir -p /run/sshd").await;
    put(client, ".ssh/authorized_keys", &public).await;
    start(client, "sudo /usr/sbin/sshd -D -p 2222", 2222).await;
    let port = forward(client, 2222).await;
    let ssh = |more: &[&str]| {
        let mut command = Command::new("ssh");
        command.args([
            "-F",
            "none",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "LogLevel=ERROR",
            "-p",
            &port.to_string(),
        ]);
        command.args(["-o", &format!("UserKnownHostsFile={}", folder.join("known").display())]);
        command.args(["-o", &format!("ControlPath={}", folder.join("ctl").display())]);
        command.arg("-i").arg(&key).args(more);
        command.stdin(Stdio::null());
        command
    };
    let master = tokio::task::block_in_place(|| ssh(&["-M", "-N", "-f", "sprite@127.0.0.1"]).status());
    assert!(master.is_ok_and(|status| status.success()), "ssh does not connect");

    let request = words(&["true"]);
    let (mut api, mut cli, mut shell) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS + 5 {
        let start = Instant::now();
        let done = client.exec_http(NAME, &request).await.expect("the command runs");
        let by_api = start.elapsed();
        assert_eq!(done.exit_code, 0);
        let by_cli = timed(home.sprite(&["exec", "-s", NAME, "true"]));
        let by_ssh = timed(ssh(&["sprite@127.0.0.1", "true"]));
        // The first few find caches cold.
        if round >= 5 {
            for (times, time) in [(&mut api, by_api), (&mut cli, by_cli), (&mut shell, by_ssh)] {
                times.push(time.as_secs_f64() * 1e3);
            }
        }
    }
    let _ = ssh(&["-O", "exit", "sprite@127.0.0.1"]).stderr(Stdio::null()).status();
    for (name, times) in [("a command by the API", &mut api), ("a command by `sprite exec`", &mut cli)] {
        for part in [50, 99] {
            let (ours, theirs) = (percentile(times, part), percentile(&mut shell, part));
            figure(&format!("{name}, against ssh, p{part}"), ours, "ms", ours / theirs, "<= 1");
        }
    }
}

/// How long a command takes from here.
fn timed(mut command: Command) -> Duration {
    tokio::task::block_in_place(|| {
        let start = Instant::now();
        let status = command.stdin(Stdio::null()).status().expect("it can be started");
        assert!(status.success(), "{command:?}");
        start.elapsed()
    })
}

/// A file by the API, against one through a forwarded port to a program that only copies.
async fn files(client: &Client) {
    put(client, "copy.py", COPY).await;
    start(client, "python3 copy.py", 7000).await;
    let port = forward(client, 7000).await;
    let piece = Bytes::from((0..256 << 10).map(|at: u32| (at % 251) as u8).collect::<Vec<_>>());
    let mut times: [Vec<f64>; 4] = Default::default();
    for _ in 0..FILES {
        let pieces: Vec<_> = std::iter::repeat_n(piece.clone(), FILE / piece.len()).map(Ok).collect();
        let start = Instant::now();
        let options = WriteOptions::default();
        let sent =
            client.write_file(NAME, "file", options, Some(FILE as u64), futures::stream::iter(pieces)).await;
        assert_eq!(sent.expect("the file is written").size, FILE as u64);
        times[0].push(start.elapsed().as_secs_f64());

        let start = Instant::now();
        let mut stream = plain(port, b'u').await;
        for _ in 0..FILE / piece.len() {
            stream.write_all(&piece).await.expect("it takes the file");
        }
        assert_eq!(stream.read_u8().await.expect("it says that it has it"), b'k');
        times[1].push(start.elapsed().as_secs_f64());

        let start = Instant::now();
        let got = client.read_file(NAME, "file").await.expect("the file is there");
        let count =
            got.try_fold(0, |sum, piece| async move { Ok(sum + piece.len()) }).await.expect("it comes whole");
        assert_eq!(count, FILE);
        times[2].push(start.elapsed().as_secs_f64());

        let start = Instant::now();
        let mut stream = plain(port, b'd').await;
        let mut room = vec![0; 256 << 10];
        let mut left = FILE;
        while left > 0 {
            left -= stream.read(&mut room).await.expect("it gives the file").max(1);
        }
        times[3].push(start.elapsed().as_secs_f64());
    }
    let rate = |times: &mut Vec<f64>| (FILE >> 20) as f64 / percentile(times, 50);
    let [up, plain_up, down, plain_down] = &mut times;
    for (name, ours, theirs) in [("into", rate(up), rate(plain_up)), ("out of", rate(down), rate(plain_down))]
    {
        figure(
            &format!("a file {name} a sprite, against a plain copy"),
            ours,
            "MiB/s",
            ours / theirs,
            ">= 0.9",
        );
    }
}

async fn plain(port: u16, letter: u8) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the port is forwarded");
    let head = [&[letter][..], &(FILE as u64).to_be_bytes()].concat();
    stream.write_all(&head).await.expect("it takes the head");
    stream
}

/// Requests to a web app by the sprite's URL, against a forwarded port.
async fn urls(client: &Client) {
    put(client, "web.py", WEB).await;
    start(client, "python3 web.py", 8080).await;
    let forwarded = forward(client, 8080).await;
    let settings = UpdateUrlSettings { auth: Some("public".into()), ..UpdateUrlSettings::default() };
    let wish = UpdateSprite { url_settings: Some(settings), ..UpdateSprite::default() };
    client.update(NAME, &wish).await.expect("the URL can be made public");
    let url = client.get(NAME).await.expect("the sprite is there").url.expect("it has a URL");
    let host = url.split('/').nth(2).expect("it has a host").to_owned();
    let port: u16 = host.rsplit(':').next().and_then(|port| port.parse().ok()).expect("it has a port");
    let (mut ours, mut theirs) = (0.0, 0.0);
    // Each has its turn twice, as the machine may have been busy once.
    for _ in 0..2 {
        ours += asked(port, &host).await;
        theirs += asked(forwarded, "localhost").await;
    }
    figure(
        "requests to a web app by its URL, against a forwarded port",
        ours / 2.0,
        "1/s",
        ours / theirs,
        ">= 0.5",
    );
}

/// Answers a second, on connections that are kept.
async fn asked(port: u16, host: &str) -> f64 {
    let start = Instant::now();
    let askers = (0..ASKERS).map(|_| async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it takes connections");
        let _ = stream.set_nodelay(true);
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let (mut room, mut count) = (vec![0; 4096], 0u32);
        while start.elapsed() < ASKING {
            stream.write_all(request.as_bytes()).await.expect("it takes a request");
            let mut answer = Vec::new();
            while !answer.ends_with(b"hello") {
                let read = stream.read(&mut room).await.expect("it answers");
                assert!(read > 0, "it closed: {}", String::from_utf8_lossy(&answer));
                answer.extend_from_slice(&room[..read]);
            }
            count += 1;
        }
        f64::from(count)
    });
    let counts: Vec<f64> = futures::stream::iter(askers).buffer_unordered(ASKERS).collect().await;
    counts.iter().sum::<f64>() / start.elapsed().as_secs_f64()
}
