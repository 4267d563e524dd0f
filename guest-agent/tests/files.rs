//! Files: every call, in its good and in its bad forms.

mod common;

use common::{Agent, encode, frame, until};
use futures::SinkExt;
use hyper::Method;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_tungstenite::tungstenite::Message;

struct Place {
    agent: Agent,
    dir: TempDir,
}

impl Place {
    async fn new() -> Self {
        Self { agent: Agent::start().await, dir: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn query(&self, call: &str, name: &str, more: &str) -> String {
        let dir = encode(self.dir.path().to_str().unwrap());
        format!("/v1/fs/{call}?path={}&workingDir={dir}{more}", encode(name))
    }

    async fn write(&self, name: &str, text: &str, more: &str) -> common::Answer {
        self.agent.request(Method::PUT, &self.query("write", name, more), text.to_owned()).await
    }

    async fn list(&self, name: &str, more: &str) -> Value {
        self.agent.get(&self.query("list", name, more)).await.json()
    }

    async fn post(&self, call: &str, mut body: Value) -> common::Answer {
        body["workingDir"] = self.dir.path().to_str().unwrap().into();
        self.agent.post(&format!("/v1/fs/{call}"), body.to_string()).await
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn assert_failure(answer: &common::Answer, status: u16, code: &str) {
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), body["code"].as_str()), (status, Some(code)), "{body}");
    assert!(body["error"].as_str().is_some_and(|text| text.len() > 3), "{body}");
}

#[tokio::test]
async fn written_and_read() {
    let place = Place::new().await;
    let answer = place.write("a.txt", "hello", "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({ "path": place.at("a.txt"), "size": 5, "mode": "0644" }));
    let read = place.agent.get(&place.query("read", "a.txt", "")).await;
    assert_eq!((read.status.as_u16(), &read.body[..]), (200, &b"hello"[..]));
    assert_eq!(read.headers["content-type"], "application/octet-stream");
    assert_eq!(read.headers["content-length"], "5");

    let answer = place.write("a.txt", "#!/bin/sh", "&mode=755").await;
    assert_eq!(answer.json()["mode"], "0755");
    assert_eq!(mode(&place.at("a.txt")), 0o755);
    // It stays what it was, where nothing else is said.
    place.write("a.txt", "", "").await;
    assert_eq!(mode(&place.at("a.txt")), 0o755);
    assert_eq!(place.agent.get(&place.query("read", "a.txt", "")).await.body.len(), 0);
    // Nothing half-made stays.
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 1);
    place.agent.finish().await;
}

#[tokio::test]
async fn parts_of_a_file() {
    let place = Place::new().await;
    fs::write(place.at("f"), "0123456789").unwrap();
    let path = place.query("read", "f", "");
    for (range, text, says) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
    ] {
        let socket = place.agent.path("host.sock");
        let answer = common::request_with(&socket, Method::GET, &path, ("range", range), "".into()).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (206, text.as_bytes()), "{range}");
        assert_eq!(answer.headers["content-range"], says);
    }
    let answer = place.agent.get(&format!("{path}&start=3&end=5")).await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (206, &b"345"[..]));
    let socket = place.agent.path("host.sock");
    let beyond = common::request_with(&socket, Method::GET, &path, ("range", "bytes=10-"), "".into()).await;
    assert_eq!(beyond.status.as_u16(), 416);
    // Files of the kernel say that they are empty, and are not.
    let kernel = place.agent.get("/v1/fs/read?path=/proc/self/status").await;
    assert!(String::from_utf8_lossy(&kernel.body).contains("Pid:"));
    place.agent.finish().await;
}

#[tokio::test]
async fn what_cannot_be_read_or_written() {
    let place = Place::new().await;
    fs::create_dir(place.at("dir")).unwrap();
    fs::write(place.at("file"), "x").unwrap();
    nix::unistd::mkfifo(&place.at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.at("socket")).unwrap();
    symlink("loop", place.at("loop")).unwrap();
    let get = async |call: &str, name: &str| place.agent.get(&place.query(call, name, "")).await;
    assert_failure(&get("read", "none").await, 404, "ENOENT");
    assert_failure(&get("read", "dir").await, 400, "EISDIR");
    assert_failure(&get("read", "pipe").await, 400, "EINVAL");
    assert_failure(&get("read", "socket").await, 400, "EINVAL");
    assert_failure(&get("read", "loop").await, 400, "EINVAL");
    assert_failure(&get("read", "file/x").await, 400, "ENOTDIR");
    assert_failure(&get("list", "none").await, 404, "ENOENT");
    assert_failure(&place.agent.get("/v1/fs/read").await, 400, "EINVAL");
    assert_failure(&place.agent.get("/v1/fs/read?path=a%00b").await, 400, "EINVAL");
    assert_failure(&place.write("dir", "x", "").await, 400, "EISDIR");
    assert_failure(&place.write("pipe", "x", "").await, 400, "EINVAL");
    assert_failure(&place.write("no/such/dir", "x", "").await, 404, "ENOENT");
    assert_failure(&place.write("file/x", "x", "&mkdirParents=true").await, 400, "ENOTDIR");
    assert_failure(&place.write("x", "x", "&mode=rw").await, 400, "EINVAL");
    assert_failure(&place.write("x", "x", "&mkdirParents=perhaps").await, 400, "EINVAL");
    let answer = place.agent.post(&place.query("write", "x", ""), "x").await;
    assert_eq!(answer.status.as_u16(), 405);
    place.agent.finish().await;
}

#[tokio::test]
async fn directories_are_made_by_writing_into_them() {
    let place = Place::new().await;
    assert_eq!(place.write("deep/er/f", "x", "&mkdirParents=true").await.status, 200);
    assert_eq!(place.write("other/f", "x", "&mkdir=true").await.status, 200);
    // As clients make one directory, and only one.
    assert_eq!(place.write("one/.keep", "", "&mkdirParents=false&mode=0700").await.status, 200);
    assert_eq!(mode(&place.at("one")), 0o700);
    assert_failure(&place.write("two/levels/.keep", "", "").await, 404, "ENOENT");
    place.agent.finish().await;
}

#[tokio::test]
async fn a_link_leads_to_the_file_that_is_written() {
    let place = Place::new().await;
    fs::write(place.at("real"), "old").unwrap();
    fs::set_permissions(place.at("real"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("real", place.at("link")).unwrap();
    symlink("not-yet", place.at("dangling")).unwrap();
    place.write("link", "new", "").await;
    place.write("dangling", "here", "").await;
    assert!(place.at("link").is_symlink() && place.at("dangling").is_symlink());
    assert_eq!(fs::read_to_string(place.at("real")).unwrap(), "new");
    assert_eq!(mode(&place.at("real")), 0o600);
    assert_eq!(fs::read_to_string(place.at("not-yet")).unwrap(), "here");
    place.agent.finish().await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_the_old_file() {
    let place = Place::new().await;
    fs::write(place.at("f"), "old").unwrap();
    for head in ["content-length: 1000\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let mut stream = UnixStream::connect(place.agent.path("host.sock")).await.unwrap();
        let path = place.query("write", "f", "");
        stream.write_all(format!("PUT {path} HTTP/1.1\r\nhost: x\r\n{head}").as_bytes()).await.unwrap();
        until("the upload has begun", async || fs::read_dir(place.dir.path()).unwrap().count() == 2).await;
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // Whether it still answers is its own affair.
        let _ = stream.read_to_end(&mut answer).await;
        drop(stream);
        until("nothing is left of it", async || fs::read_dir(place.dir.path()).unwrap().count() == 1).await;
        assert_eq!(fs::read_to_string(place.at("f")).unwrap(), "old");
    }
    place.agent.finish().await;
}

#[tokio::test]
async fn lists() {
    let place = Place::new().await;
    fs::create_dir_all(place.at("d/sub")).unwrap();
    fs::write(place.at("d/b.txt"), "12345").unwrap();
    fs::write(place.at("d/sub/c.txt"), "").unwrap();
    symlink("b.txt", place.at("d/a")).unwrap();
    let names = |list: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        list["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (text(&one["name"]), text(&one["type"])))
            .collect()
    };
    let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
    };
    let list = place.list("d", "").await;
    assert_eq!(names(&list), pairs(&[("a", "symlink"), ("b.txt", "file"), ("sub", "directory")]));
    assert_eq!((list["count"].as_u64(), list["path"].as_str()), (Some(3), place.at("d").to_str()));
    let file = &list["entries"][1];
    assert_eq!(
        (file["size"].as_u64(), file["mode"].as_str(), file["isDir"].as_bool()),
        (Some(5), Some("0644"), Some(false))
    );
    assert!(file["modTime"].as_str().unwrap().ends_with('Z'));
    let deep = place.list("d", "&recursive=true&pattern=*.txt").await;
    assert_eq!(names(&deep), pairs(&[("b.txt", "file"), ("sub/c.txt", "file")]));
    let one = place.list("d/b.txt", "").await;
    assert_eq!((names(&one), one["count"].as_u64()), (pairs(&[("b.txt", "file")]), Some(1)));
    fs::create_dir(place.at("empty")).unwrap();
    assert_eq!(place.list("empty", "").await["entries"], json!([]));
    // Far more than one piece of an answer.
    fs::create_dir(place.at("many")).unwrap();
    for index in 0..3000 {
        fs::write(place.at("many").join(format!("file-{index:05}")), "").unwrap();
    }
    let many = place.list("many", "").await;
    assert_eq!((many["count"].as_u64(), many["entries"].as_array().unwrap().len()), (Some(3000), 3000));
    assert_eq!(many["entries"][2999]["name"], "file-02999");
    place.agent.finish().await;
}

#[tokio::test]
async fn deletes() {
    let place = Place::new().await;
    fs::create_dir_all(place.at("full/sub")).unwrap();
    fs::create_dir(place.at("outside")).unwrap();
    fs::write(place.at("outside/f"), "x").unwrap();
    symlink(place.at("outside"), place.at("full/link")).unwrap();
    let delete =
        async |path: String, body: &str| place.agent.request(Method::DELETE, &path, body.to_owned()).await;
    assert_failure(&delete(place.query("delete", "none", ""), "").await, 404, "ENOENT");
    assert_failure(&delete(place.query("delete", "full", ""), "").await, 409, "ENOTEMPTY");
    assert_failure(&delete("/v1/fs/delete?path=/&recursive=true".into(), "").await, 400, "EINVAL");
    assert_failure(&delete("/v1/fs/delete?path=/proc/../&recursive=true".into(), "").await, 400, "EINVAL");
    let gone = delete(place.query("delete", "full", "&recursive=true"), "").await;
    assert_eq!(gone.json(), json!({ "deleted": [place.at("full")], "count": 1 }));
    assert!(place.at("outside/f").exists(), "a link was followed");
    // The older form, with a body.
    let body = json!({ "path": "outside/f", "workingDir": place.dir.path() }).to_string();
    assert_eq!(delete("/v1/fs/delete".into(), &body).await.status, 200);
    assert_eq!(delete(place.query("delete", "outside", ""), "").await.status, 200);
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 0);
    place.agent.finish().await;
}

#[tokio::test]
async fn renames_and_copies() {
    let place = Place::new().await;
    fs::create_dir_all(place.at("tree/sub")).unwrap();
    fs::write(place.at("tree/sub/f"), "12345").unwrap();
    fs::write(place.at("a"), "a").unwrap();
    fs::set_permissions(place.at("a"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("sub/f", place.at("tree/link")).unwrap();

    let copied = place.post("copy", json!({ "source": "a", "dest": "b" })).await.json();
    assert_eq!((copied["count"].as_u64(), copied["totalBytes"].as_u64()), (Some(1), Some(1)));
    assert_eq!(mode(&place.at("b")), 0o750);
    assert_failure(&place.post("copy", json!({ "source": "tree", "dest": "t2" })).await, 400, "EISDIR");
    assert_failure(&place.post("copy", json!({ "source": "a", "dest": "a" })).await, 400, "EINVAL");
    let inside = json!({ "source": "tree", "dest": "tree/sub/again", "recursive": true });
    assert_failure(&place.post("copy", inside).await, 400, "EINVAL");
    assert_failure(&place.post("copy", json!({ "source": "none", "dest": "x" })).await, 404, "ENOENT");
    let tree = json!({ "source": "tree", "dest": "t2", "recursive": true, "preserveAttrs": true });
    let copied = place.post("copy", tree).await.json();
    assert_eq!((copied["count"].as_u64(), copied["totalBytes"].as_u64()), (Some(2), Some(5)), "{copied}");
    assert_eq!(fs::read_to_string(place.at("t2/link")).unwrap(), "12345");
    assert!(place.at("t2/link").is_symlink());
    let times = |name: &str| fs::metadata(place.at(name)).unwrap().modified().unwrap();
    assert_eq!(times("t2/sub/f"), times("tree/sub/f"));

    let renamed = place.post("rename", json!({ "source": "b", "dest": "a" })).await;
    assert_eq!(renamed.json(), json!({ "source": place.at("b"), "dest": place.at("a") }));
    assert!(!place.at("b").exists());
    assert_failure(&place.post("rename", json!({ "source": "b", "dest": "c" })).await, 404, "ENOENT");
    assert_failure(&place.post("rename", json!({ "source": "t2", "dest": "tree" })).await, 409, "ENOTEMPTY");
    assert_failure(&place.agent.post("/v1/fs/rename", "{").await, 400, "EINVAL");
    place.agent.finish().await;
}

#[tokio::test]
async fn permissions_and_owners() {
    let place = Place::new().await;
    fs::create_dir(place.at("d")).unwrap();
    fs::write(place.at("d/f"), "").unwrap();
    fs::write(place.at("target"), "").unwrap();
    symlink("../target", place.at("d/link")).unwrap();
    fs::set_permissions(place.at("target"), fs::Permissions::from_mode(0o600)).unwrap();
    let all = place.post("chmod", json!({ "path": "d", "mode": 0o755, "recursive": true })).await.json();
    assert_eq!(all["count"], 2, "{all}");
    assert_eq!((mode(&place.at("d/f")), mode(&place.at("target"))), (0o755, 0o600));
    assert_failure(&place.post("chmod", json!({ "path": "d" })).await, 400, "EINVAL");
    assert_failure(&place.post("chmod", json!({ "path": "none", "mode": "0644" })).await, 404, "ENOENT");
    let me = nix::unistd::geteuid().as_raw();
    let own = place.post("chown", json!({ "path": "d/f", "uid": me.to_string() })).await.json();
    assert_eq!(own["affected"][0]["uid"], me);
    assert_failure(&place.post("chown", json!({ "path": "d/f" })).await, 400, "EINVAL");
    let unknown = json!({ "path": "d/f", "uid": "nobody-of-this-name" });
    assert_failure(&place.post("chown", unknown).await, 400, "EINVAL");
    place.agent.finish().await;
}

#[tokio::test]
async fn changes_are_told() {
    let place = Place::new().await;
    let mut socket = place.agent.socket("/v1/fs/watch").await;
    let subscribe =
        json!({ "type": "subscribe", "paths": ["."], "recursive": true, "workingDir": place.dir.path() });
    socket.send(Message::Text(subscribe.to_string().into())).await.unwrap();
    assert_eq!(frame(&mut socket).await, json!({ "type": "subscribed", "paths": [place.dir.path()] }));
    let mut expect = async |event: &str, name: &str| {
        loop {
            let told = frame(&mut socket).await;
            assert_eq!(told["type"], "event", "{told}");
            if told["event"] == event && told["path"] == place.at(name).to_str().unwrap() {
                return told;
            }
        }
    };
    fs::write(place.at("f"), "12345").unwrap();
    expect("create", "f").await;
    let told = expect("write", "f").await;
    assert_eq!((told["size"].as_u64(), told["isDir"].as_bool()), (Some(5), Some(false)));
    fs::set_permissions(place.at("f"), fs::Permissions::from_mode(0o600)).unwrap();
    expect("chmod", "f").await;
    fs::rename(place.at("f"), place.at("g")).unwrap();
    expect("rename", "f").await;
    expect("rename", "g").await;
    fs::remove_file(place.at("g")).unwrap();
    let told = expect("remove", "g").await;
    assert_eq!(told["size"], 0);
    // A directory that is new is watched too, and what stood in it before that is told.
    fs::create_dir_all(place.at("new/deep")).unwrap();
    expect("create", "new/deep").await;
    until("changes deep down are told", async || {
        fs::write(place.at("new/deep/x"), "x").unwrap();
        place.at("new/deep/x").exists()
    })
    .await;
    // By its creation alone, when it was there before anybody could look.
    expect("create", "new/deep/x").await;
    for bad in
        ["nonsense", r#"{"type":"subscribe","paths":["none"]}"#, r#"{"type":"subscribe","paths":[""]}"#]
    {
        socket.send(Message::Text(bad.into())).await.unwrap();
        loop {
            let told = frame(&mut socket).await;
            if told["type"] == "error" {
                break;
            }
        }
    }
    drop(socket);
    place.agent.finish().await;
}
