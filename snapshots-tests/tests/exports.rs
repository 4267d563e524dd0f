//! Sprites that move: as files, through an object store, and their files from one server to another.

use hyper_util::rt::TokioIo;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use snapshots_tests::harness::Home;
use snapshots_tests::person::{ENTER, SHORT};
use snapshots_tests::pty::Pty;
use snapshots_tests::said::{fed, until};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;
use tokio::net::TcpListener;

const LONG: Duration = Duration::from_secs(180);
/// Who may use the object store.
const KEY: (&str, &str) = ("AKTEST", "a-secret-of-the-test");

fn status(home: &Home, name: &str) -> String {
    home.json(&["info", name, "--json"])["status"].as_str().unwrap_or_default().to_owned()
}

fn stop(home: &Home, name: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(home.client().stop(name)).unwrap();
}

fn inside(home: &Home, name: &str, script: &str) -> String {
    home.good(&["-s", name, "exec", "sh", "-ec", script])
}

fn checkpoint(home: &Home, name: &str) -> String {
    home.good(&["-s", name, "checkpoint", "create"]).trim().to_owned()
}

/// Ids of a sprite's checkpoints, the oldest first.
fn checkpoints(home: &Home, name: &str) -> Vec<String> {
    let all = home.json(&["-s", name, "checkpoint", "ls", "--include-auto", "--json"]);
    let mut ids: Vec<String> =
        all.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    ids.reverse();
    ids.retain(|id| id != "Current");
    ids
}

/// What is in the sprites' folder.
fn folders(home: &Home) -> usize {
    let entries = fs::read_dir(home.paths().sprites()).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().is_dir() && !entry.file_name().to_string_lossy().starts_with('.'))
        .count()
}

/// An archive as an export is one, with these files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut head = tar::Header::new_gnu();
        head.set_size(bytes.len() as u64);
        archive.append_data(&mut head, name, *bytes).unwrap();
    }
    zstd::encode_all(&archive.into_inner().unwrap()[..], 1).unwrap()
}

/// A sprite goes to another server in one file and what changed later in another, and is the same there; what is no whole export leaves nothing.
#[test]
fn a_sprite_moves_in_files() {
    let (home, other) = (Home::new(), Home::new());
    home.serve_with(&["--no-checkpoints"]);
    other.serve_with(&["--no-checkpoints"]);
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).display().to_string();
    home.good(&["create", "box", "--skip-console", "--label", "mine", "--memory", "512"]);
    home.good(&["-s", "box", "url", "update", "--auth", "public"]);
    inside(
        &home,
        "box",
        "mkdir ~/work && cd ~/work && head -c 3000000 /dev/urandom > large && echo one > text && \
         ln -s text link && sha256sum large > sums && sync",
    );
    let first = checkpoint(&home, "box");
    inside(&home, "box", "cd ~/work && echo two > text && rm link && touch new && sync");
    let second = checkpoint(&home, "box");

    // The present of one that runs.
    let out = home.good(&["export", "box", "--without-image", "--to", &place("")]);
    let now = out.trim();
    assert!(now.contains("/box-auto-") && now.ends_with(".sprite"), "{out}");
    // A checkpoint of one that is stopped, which stays so.
    stop(&home, "box");
    let full = place("full.sprite");
    assert_eq!(
        home.good(&["export", "box", "--checkpoint", &first, "--without-image", "--to", &full]).trim(),
        full
    );
    let (code, _, err) = home.run(&["export", "box", "--checkpoint", &first, "--to", &full]);
    assert!(code == 1 && err.contains("--force"), "{err}");
    let later = place("later.sprite");
    home.good(&["export", "box", "--checkpoint", &second, "--since", &first, "--to", &later]);
    assert_eq!(status(&home, "box"), "cold");
    assert!(fs::metadata(&later).unwrap().len() < fs::metadata(&full).unwrap().len() / 2);
    let whole = place("whole.sprite");
    let (code, bytes, err) =
        fed(piped(&home, &["export", "box", "--checkpoint", &second, "--to", "-"], &whole), "");
    assert!(code == 0 && bytes.is_empty(), "{err}");
    assert_eq!(status(&home, "box"), "cold");

    // What changed comes after what it changed.
    let (code, _, err) = other.run(&["import", &later]);
    assert!(code == 1 && err.contains(&format!("since checkpoint {first}")), "{err}");
    other.good(&["import", &full]);
    assert_eq!(checkpoints(&other, "box"), std::slice::from_ref(&first));
    let info = other.json(&["info", "box", "--json"]);
    assert_eq!(info["labels"][0], "mine");
    assert_eq!(info["url_settings"]["auth"], "sprite");
    assert_eq!(info["config"]["ram_mb"], 512);
    let text = |home: &Home, name: &str, at: &str| home.good(&["-s", name, "cat", "--at", at, "work/text"]);
    assert_eq!(text(&other, "box", &first), "one\n");
    other.good(&["import", &later, "next"]);
    assert_eq!(checkpoints(&other, "next"), [first.clone(), second.clone()]);
    assert_eq!(
        (text(&other, "next", &first), text(&other, "next", &second)),
        ("one\n".into(), "two\n".into())
    );
    // It shares what it stands on, and outlives it.
    other.good(&["destroy", "box", "--force"]);
    let list = "cd ~/work && sha256sum -c --quiet sums && ls";
    assert_eq!(inside(&other, "next", list), "large\nnew\nsums\ntext\n");
    // With the image's blocks it needs no such image, and goes back to where it came from.
    other.good(&["import", &whole, "whole"]);
    assert_eq!(text(&other, "whole", &second), "two\n");
    home.good(&["destroy", "box", "--force"]);
    home.good(&["import", now]);
    assert_eq!(inside(&home, "box", list), "large\nnew\nsums\ntext\n");

    // A name that is taken, and what is none, is cut off, broken, or promises too much.
    let (code, _, err) = other.run(&["import", &full, "next"]);
    assert!(code == 1 && err.contains("exists"), "{err}");
    let good = fs::read(&full).unwrap();
    let (mut broken, mut cut) = (good.clone(), good.clone());
    cut.truncate(good.len() / 2);
    let middle = good.len() / 2;
    broken[middle] ^= 0x55;
    let step = |number: u64| {
        serde_json::json!({
            "state": format!("00000000-0000-4000-8000-{number:012}"), "checkpoint": format!("v{number}"),
            "created": "2026-11-26T00:00:00.000000Z", "data": [[0, 25u64 << 20]],
        })
    };
    let promise = serde_json::json!({
        "format": 1, "name": "bomb", "created": "2026-11-26T00:00:00.000000Z", "disk_bytes": 100u64 << 30,
        "steps": (0..1000).map(step).collect::<Vec<_>>(),
    });
    let before = folders(&other);
    for (what, bytes, sentence) in [
        ("nothing", Vec::new(), "ends in the middle"),
        ("text", b"#!/bin/sh\n".to_vec(), "no exported sprite"),
        ("foreign", archive(&[("etc/passwd", b"x")]), "no exported sprite"),
        ("cut", cut, "ends in the middle"),
        ("broken", broken, "damaged"),
        ("bomb", archive(&[("manifest.json", promise.to_string().as_bytes())]), "the host has room for"),
    ] {
        let from = place(what);
        fs::write(&from, bytes).unwrap();
        let (code, _, err) = other.run(&["import", &from, "odd"]);
        assert!(code == 1 && err.contains(sentence), "{what}: {err}");
        assert_eq!(folders(&other), before, "{what}");
    }

    // A server that is killed in the middle leaves nothing that its next start does not clear away.
    let mut child =
        other.sprite(&["import", "-", "odd"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&good[..middle]).unwrap();
    until(LONG, "the folder of the new disk", || folders(&other) == before + 1);
    kill(Pid::from_raw(other.server_pid().unwrap()), Signal::SIGKILL).unwrap();
    drop(input);
    assert!(!child.wait().unwrap().success());
    other.serve_with(&["--no-checkpoints"]);
    let names = other.good(&["list"]);
    assert!(!names.contains("odd") && folders(&other) == before, "{names}");
    other.good(&["import", &full, "odd"]);
}

/// The command line with its output in a file.
fn piped(home: &Home, arguments: &[&str], to: &str) -> Command {
    let own = home.sprite(arguments);
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" > \"$0\"", to]).arg(own.get_program()).args(own.get_args());
    for (name, value) in own.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// An S3 server on loopback that keeps its objects below `root`, as long as the runtime lives; gives its address.
fn object_store(runtime: &tokio::runtime::Runtime, root: &Path) -> String {
    fs::create_dir_all(root.join("team")).unwrap();
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
    service.set_auth(SimpleAuth::from_single(KEY.0, KEY.1));
    let service = service.build();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service.clone());
            tokio::spawn(connection);
        }
    });
    address
}

/// A team's object store takes exports, lists and gives them; who may not use it is told so, and what is broken off leaves nothing there.
#[test]
fn a_team_shares_exports() {
    let home = Home::new();
    home.serve_with(&["--no-checkpoints"]);
    home.good(&["create", "box", "--skip-console"]);
    stop(&home, "box");
    let id = checkpoint(&home, "box");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let root = tempfile::tempdir().unwrap();
    let address = object_store(&runtime, root.path());
    let as_user = |secret: &str, arguments: &[&str]| {
        let mut command = home.sprite(arguments);
        command.env("AWS_ENDPOINT_URL", &address).env("AWS_ACCESS_KEY_ID", KEY.0);
        command.env("AWS_SECRET_ACCESS_KEY", secret).env("AWS_REGION", "us-east-1");
        fed(command, "")
    };
    let user = |arguments: &[&str]| as_user(KEY.1, arguments);
    let stored = format!("s3://team/work/box-{id}.sprite");
    let (code, out, err) = user(&["export", "box", "--checkpoint", &id, "--to", "s3://team/work/"]);
    assert_eq!((code, out.trim()), (0, stored.as_str()), "{err}");
    let (code, _, err) = user(&["export", "box", "--checkpoint", &id, "--without-image", "--to", &stored]);
    assert!(code == 1 && err.contains("--force"), "{err}");
    let (code, _, err) =
        user(&["export", "box", "--checkpoint", &id, "--without-image", "--to", &stored, "--force"]);
    assert_eq!(code, 0, "{err}");
    let (code, out, err) = user(&["exports", "s3://team/", "--json"]);
    assert_eq!(code, 0, "{err}");
    let listed: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let one = &listed[0];
    assert_eq!(
        (&one["name"], &one["checkpoint"], &one["address"]),
        (&"box".into(), &id.clone().into(), &stored.clone().into())
    );
    assert!(one["bytes"].as_u64().unwrap() > 200, "{one}");
    // What others put there under names that no export has hides none.
    fs::write(root.path().join("team/a\u{1b}[2J\u{202e}.sprite"), "odd").unwrap();
    let (code, again, err) = user(&["exports", "s3://team/", "--json"]);
    assert_eq!((code, again), (0, out), "{err}");
    let (code, out, _) = user(&["exports", "s3://team/elsewhere/"]);
    assert_eq!((code, out.as_str()), (0, ""));
    let (code, out, err) = user(&["import", &stored, "two"]);
    assert_eq!((code, out.trim()), (0, "Made two"), "{err}");
    assert_eq!(checkpoints(&home, "two"), std::slice::from_ref(&id));

    for (arguments, secret, sentence) in [
        (&["import", "s3://team/none.sprite"][..], KEY.1, "there is no such object"),
        (&["import", &stored, "three"], "wrong", "does not accept the credentials"),
        (&["exports", "s3://team/"], "wrong", "does not accept the credentials"),
        (&["exports", "team"], KEY.1, "no address of objects"),
    ] {
        let (code, _, err) = as_user(secret, arguments);
        assert!(code == 1 && err.contains(sentence), "{arguments:?}: {err}");
        assert!(!err.contains(KEY.1) && !err.contains("\n\n"), "{err}");
    }
    let mut nobody = home.sprite(&["exports", "s3://team/"]);
    nobody.env_remove("AWS_ACCESS_KEY_ID").env("AWS_ENDPOINT_URL", &address);
    let (code, _, err) = fed(nobody, "");
    assert!(code == 1 && err.contains("set AWS_ACCESS_KEY_ID"), "{err}");
    let left: Vec<_> = fs::read_dir(root.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("upload"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A store that answers without end is not listened to, and whoever asked hears why in one sentence.
#[test]
fn a_store_without_end_is_given_up() {
    let home = Home::new();
    let store = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", store.local_addr().unwrap());
    let hostile = thread::spawn(move || {
        let (mut stream, _) = store.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        // It takes what the other side and the system's buffers do.
        (0..1024).take_while(|_| stream.write_all(&[b'a'; 64 << 10]).is_ok()).count()
    });
    let mut command = home.sprite(&["exports", "s3://team/"]);
    command.env("AWS_ENDPOINT_URL", &address).env("AWS_ACCESS_KEY_ID", KEY.0);
    command.env("AWS_SECRET_ACCESS_KEY", KEY.1);
    let (code, out, err) = fed(command, "");
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("s3://team/: the object store's answer is longer than"), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(hostile.join().unwrap() < 1024);
}

/// What is broken off in the middle is not there, in a folder as in an object store.
#[test]
fn an_export_that_is_broken_off_is_not_there() {
    let home = Home::new();
    home.serve_with(&["--no-checkpoints"]);
    home.good(&["create", "box", "--skip-console"]);
    let id = checkpoint(&home, "box");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let root = tempfile::tempdir().unwrap();
    let address = object_store(&runtime, root.path());
    let folder = tempfile::tempdir().unwrap();
    let names = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    for (to, at, how) in [
        (folder.path().display().to_string(), folder.path(), Signal::SIGHUP),
        ("s3://team/x.sprite".into(), root.path(), Signal::SIGINT),
        ("s3://team/x.sprite".into(), root.path(), Signal::SIGTERM),
    ] {
        let mut command = home.sprite(&["export", "box", "--checkpoint", &id, "--to", &to]);
        command
            .env("AWS_ENDPOINT_URL", &address)
            .env("AWS_ACCESS_KEY_ID", KEY.0)
            .env("AWS_SECRET_ACCESS_KEY", KEY.1);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let begun = |name: &String| name.starts_with(".upload") || name.starts_with(".sprite-");
        until(LONG, "the first part", || names(at).iter().any(begun));
        kill(Pid::from_raw(child.id() as i32), how).unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
        assert!(said.contains("broken off"), "{said}");
        // The store's own file for a part that was cut off is its affair.
        assert!(!names(at).iter().any(begun), "{:?}", names(at));
    }
    assert!(names(folder.path()).is_empty() && names(&root.path().join("team")).is_empty());
}

/// Files go from this machine's server to another one, and back.
#[test]
fn files_go_from_one_context_to_another() {
    let (home, other) = (Home::new(), Home::new());
    home.serve();
    other.serve();
    let (url, token) = other.tcp();
    fs::create_dir_all(home.paths().config()).unwrap();
    let config = format!("[[contexts]]\nname = \"far\"\nurl = \"{url}\"\ntoken_env = \"FAR_TOKEN\"\n");
    fs::write(home.paths().config_file(), config).unwrap();
    home.good(&["create", "here", "--skip-console"]);
    other.good(&["create", "there", "--skip-console"]);
    inside(
        &home,
        "here",
        "mkdir -p ~/work/deep/empty && cd ~/work && head -c 700000 /dev/urandom > large && echo one > deep/text && \
         chmod 750 deep && chmod 600 large && ln -s /etc/hostname host && ln -s deep/text link && mkfifo pipe && \
         sha256sum large > sums",
    );
    let copy = |arguments: &[&str]| {
        let mut command = home.sprite(&[&["copy"], arguments].concat());
        command.env("FAR_TOKEN", &token);
        fed(command, "")
    };
    let (code, _, err) = copy(&["here:work", "far/there:/home/sprite/copy"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("3 files") && err.contains("2 links") && err.contains("1 left out"), "{err}");
    let shown = inside(
        &other,
        "there",
        "cd ~/copy && sha256sum -c --quiet sums && stat -c '%a %n' deep large deep/empty && readlink host link && cat link && \
         test ! -e pipe",
    );
    assert_eq!(shown, "750 deep\n600 large\n755 deep/empty\n/etc/hostname\ndeep/text\none\n");
    // What is there stays, unless it is said otherwise.
    inside(&other, "there", "echo mine > ~/copy/deep/text");
    let (code, _, err) = copy(&["here:work", "far/there:/home/sprite/copy"]);
    assert!(code == 1 && err.contains("--force writes over it"), "{err}");
    assert_eq!(inside(&other, "there", "cat ~/copy/deep/text"), "mine\n");
    let (code, _, err) = copy(&["here:work/large", "far/there:copy/large"]);
    assert!(code == 1 && err.contains("is there already"), "{err}");
    let (code, _, err) = copy(&["--force", "here:work", "far/there:/home/sprite/copy"]);
    assert_eq!(code, 0, "{err}");
    // Nothing goes through a link that stands there.
    inside(&home, "here", "cd ~/work && rm host && mkdir host && echo x > host/file");
    let (code, _, err) = copy(&["--force", "here:work", "far/there:copy"]);
    assert!(code == 1 && err.contains("through host"), "{err}");
    // And back, one file into a folder.
    let (code, _, err) = copy(&["far/there:copy/deep/text", "here:back/"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(inside(&home, "here", "cat ~/back/text"), "one\n");
    // Not through a link, whatever somebody says.
    let (code, _, err) = copy(&["here:work/sums", "far/there:copy/link", "--force"]);
    assert!(code != 0 && err.contains("a link stands there"), "{err}");
    for (from, to, sentence) in [
        ("here:none", "far/there:x", "no such file"),
        ("here", "far/there:x", "NAME:PATH"),
        ("moon/here:work", "far/there:x", "no context"),
    ] {
        let (code, _, err) = copy(&[from, to]);
        assert!(code != 0 && err.contains(sentence), "{from} {to}: {err}");
    }
}

/// The app writes a checkpoint into the folder it was started in, and makes a sprite of it.
#[test]
fn from_the_app() {
    let home = Home::new();
    home.serve_with(&["--no-checkpoints"]);
    home.good(&["create", "box", "--skip-console"]);
    let id = checkpoint(&home, "box");
    let folder = tempfile::tempdir().unwrap();
    let mut command = home.terminal_command(&[]);
    command.cwd(folder.path());
    let mut app = Pty::spawn(command, 30, 110);
    app.wait_for("box", LONG);
    app.send(ENTER);
    app.wait_for(&id, LONG);
    app.send("gg");
    app.send("O");
    app.wait_for("Export of box", SHORT);
    app.send(ENTER);
    app.wait_for("is exported to", LONG);
    let file = folder.path().join(format!("box-{id}.sprite"));
    assert!(fs::metadata(&file).unwrap().len() > 200);
    app.send("O");
    app.wait_for("Export of box", SHORT);
    app.send(ENTER);
    app.wait_for("is not written over", LONG);
    app.send("gs");
    app.send("I");
    app.wait_for("with another name", SHORT);
    app.send(format!("box-{id}.sprite as other"));
    app.send(ENTER);
    app.wait_for("other is made from", LONG);
    app.send("q");
    assert_eq!(app.end(LONG), 0);
    assert_eq!(checkpoints(&home, "other"), [id]);
}

/// Leaving the app while an object store is waited for asks first, and does not wait for the store.
#[test]
fn leaving_the_app_breaks_off_what_moves() {
    let home = Home::new();
    home.serve_with(&["--no-checkpoints"]);
    home.good(&["create", "box", "--skip-console"]);
    // It takes connections, and says nothing.
    let store = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = home.terminal_command(&[]);
    command.env("AWS_ENDPOINT_URL", format!("http://{}", store.local_addr().unwrap()));
    command.env("AWS_ACCESS_KEY_ID", KEY.0);
    command.env("AWS_SECRET_ACCESS_KEY", KEY.1);
    let mut app = Pty::spawn(command, 30, 110);
    app.wait_for("box", LONG);
    app.send("O");
    app.wait_for("Export of box", SHORT);
    app.send("\x15s3://team/x.sprite\r");
    app.wait_for("Exporting box", LONG);
    for answer in ["n", "Q"] {
        app.send("q");
        app.wait_for("would be broken off", SHORT);
        app.send(answer);
        app.wait(SHORT, "the end of the question", |screen| {
            !screen.contents().contains("would be broken off")
        });
    }
    assert_eq!(app.end(SHORT), 0);
}
