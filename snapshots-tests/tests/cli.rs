//! Subcommands, as scripts use them.

use snapshots_tests::harness::Home;
use snapshots_tests::pty::Pty;
use snapshots_tests::said::fed;
use sprites_api::sprite::CreateSprite;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(120);

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

#[test]
fn images_disks_contexts_and_the_doctor() {
    let home = Home::new();
    let run = |arguments: &[&str]| home.command(arguments).output().unwrap();

    let listed = run(&["image", "list"]);
    assert!(listed.status.success() && text(&listed).contains("Debian"), "{}", text(&listed));
    let json: serde_json::Value = serde_json::from_slice(&run(&["image", "list", "--json"]).stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert!(run(&["image", "ensure"]).status.success());

    home.serve();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let wish = CreateSprite { name: "box".into(), ..CreateSprite::default() };
    runtime.block_on(async { home.client().create(&wish).await }).unwrap();
    let checked = run(&["disk", "check"]);
    assert!(checked.status.success() && text(&checked).contains("box: clean"), "{}", text(&checked));
    let unknown = run(&["disk", "check", "moon"]);
    assert!(!unknown.status.success() && text(&unknown).contains("no sprite \"moon\""), "{}", text(&unknown));

    // Both forms, read by the format's own tool.
    let to = tempfile::tempdir().unwrap();
    for (format, extra) in [("raw", &["--format", "raw"][..]), ("qcow2", &[])] {
        let file = to.path().join(format);
        let name = file.to_str().unwrap();
        let exported = run(&[&["disk", "export", "box", name], extra].concat());
        assert!(exported.status.success(), "{}", text(&exported));
        let told =
            std::process::Command::new("qemu-img").args(["info", "-f", format, name]).output().unwrap();
        assert!(told.status.success() && text(&told).contains("100 GiB"), "{}", text(&told));
        let again = run(&[&["disk", "export", "box", name], extra].concat());
        assert!(!again.status.success() && text(&again).contains("exists"), "{}", text(&again));
    }
    let wrong = run(&["disk", "export", "box", to.path().join("x").to_str().unwrap(), "--checkpoint", "v9"]);
    assert!(!wrong.status.success() && text(&wrong).contains("no checkpoint"), "{}", text(&wrong));

    let doctor = run(&["doctor"]);
    for subject in ["KVM", "QEMU", "image", "disk space", "server"] {
        assert!(text(&doctor).contains(subject), "{}", text(&doctor));
    }
    assert!(doctor.status.success(), "{}", text(&doctor));

    // Mistakes that cost only themselves are told where somebody looks.
    std::fs::write(home.paths().config_file(), "[server]\nidle = 8\nbogus = 1\nwarm = \"x\"\n").unwrap();
    let told = text(&run(&["doctor"]));
    assert!(told.contains("line 3") && told.contains("line 4") && !told.contains("line 2"), "{told}");
    std::fs::remove_file(home.paths().config_file()).unwrap();

    let unknown = run(&["image", "remove", "moon"]);
    assert!(!unknown.status.success() && text(&unknown).contains("moon"), "{}", text(&unknown));

    // Without an image no sprite can be made, so the last one is not removed by the way.
    let refused = run(&["image", "remove", json[0]["id"].as_str().unwrap()]);
    assert!(!refused.status.success() && text(&refused).contains("--force"), "{}", text(&refused));
    assert!(text(&run(&["image", "list"])).contains("Debian"));

    let contexts = run(&["context", "list"]);
    assert!(text(&contexts).starts_with("local"), "{}", text(&contexts));
    let unknown = run(&["context", "token", "moon"]);
    assert!(!unknown.status.success() && text(&unknown).contains("config.toml"), "{}", text(&unknown));
    // The app needs a terminal, and says so.
    let piped = run(&[]);
    assert!(!piped.status.success() && text(&piped).contains("needs a terminal"), "{}", text(&piped));
}

/// A folder whose record is damaged is somebody's disk: it is mended from the database, or left alone, never swept away.
#[test]
fn a_damaged_record_costs_no_disk() {
    let home = Home::new();
    home.serve();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = home.client();
    let wish = CreateSprite { name: "box".into(), ..CreateSprite::default() };
    let id = runtime.block_on(async { client.create(&wish).await }).unwrap().id;
    let record = home.paths().sprite(&id).join("sprite.json");
    std::fs::write(&record, "{").unwrap();
    home.end_server();
    home.serve();
    assert_eq!(runtime.block_on(async { client.get("box").await }).unwrap().id, id);
    assert!(std::fs::read_to_string(&record).unwrap().contains(&id));
    // The database too: the server says what to do, and afterwards nothing is lost.
    home.end_server();
    std::fs::write(home.paths().database(), "this is no database at all, and never was one").unwrap();
    let refused = home.command(&["serve"]).output().unwrap();
    assert!(!refused.status.success() && text(&refused).contains("move it away"), "{}", text(&refused));
    for file in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{file}", home.paths().database().display()));
    }
    home.serve();
    assert_eq!(runtime.block_on(async { client.get("box").await }).unwrap().id, id);
}

/// A server with this certificate beyond loopback's own door, and its port.
fn serve_with(home: &Home, params: rcgen::CertificateParams) -> String {
    let place = |name: &str| home.paths().config_file().with_file_name(name);
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(place("certificate.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(place("key.pem"), key.serialize_pem()).unwrap();
    let config = format!(
        "[server]\nlisten = \"https://127.0.0.1:0\"\ncertificate = {:?}\nkey = {:?}\n",
        place("certificate.pem"),
        place("key.pem")
    );
    fs::write(home.paths().config_file(), config).unwrap();
    home.serve();
    let info: serde_json::Value =
        serde_json::from_slice(&fs::read(home.paths().server_info()).unwrap()).unwrap();
    info["outside"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
}

#[test]
fn certificates_and_tokens_that_are_not_accepted_are_told_in_plain_words() {
    let usual = || rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let mut authority = usual();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let mut old = usual();
    old.not_after = rcgen::date_time_ymd(2020, 1, 1);
    for (params, trusted, word) in [
        (usual(), false, "self-signed"),
        (usual(), true, ""),
        (old, true, "expired"),
        (authority, false, "CA:FALSE"),
    ] {
        let home = Home::empty();
        let port = serve_with(&home, params);
        let (_, token) = home.tcp();
        let list = |host: &str, token: &str| {
            let mut command = home.sprite(&["list", "--json"]);
            command.env("SPRITES_API_URL", format!("https://{host}:{port}")).env("SPRITE_TOKEN", token);
            if trusted {
                command.env("SSL_CERT_FILE", home.paths().config_file().with_file_name("certificate.pem"));
            }
            fed(command, "")
        };
        let (code, out, err) = list("localhost", &token);
        if word.is_empty() {
            assert!(code == 0 && out.trim() == "[]", "{code} {out}{err}");
            let (code, _, err) = list("127.0.0.1", &token);
            assert!(code == 1 && err.contains("is for localhost and not for 127.0.0.1"), "{err}");
            let (code, _, err) = list("localhost", "wrong");
            assert!(code == 1 && err.contains("the token is wrong") && !err.contains("folder"), "{err}");
        } else {
            assert!(code == 1 && err.contains(word) && err.lines().count() == 1, "{code} {err}");
            assert!(word == "expired" || err.contains("SSL_CERT_FILE"), "{err}");
            assert!(!err.contains("that it is up"), "{err}");
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn files_of_a_sprite_come_and_go_whole() {
    let home = Home::new();
    home.good(&["create", "web"]);
    let file = |more: &[&str]| home.run(&[&["-s", "web", "file"], more].concat());
    let inside = |script: &str| home.good(&["-s", "web", "exec", "sh", "-c", script]);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let word = |name: &str| at(name).to_str().unwrap().to_owned();

    // Every refusal names the sprite, the path, and what helps.
    fs::write(at("notes.txt"), "one\n").unwrap();
    inside("mkdir folder");
    for (arguments, words) in [
        (
            vec!["push", &word("notes.txt"), "work/notes.txt"],
            "work/notes.txt in web: no such file or directory; --parents",
        ),
        (vec!["push", &word("notes.txt"), "folder"], "folder in web: is a directory; a slash"),
        (vec!["pull", "none", &word("x")], "none in web: no such file or directory"),
        (vec!["pull", "folder", &word("x")], "folder in web: is a directory; --recursive"),
        (vec!["pull", "-r", "none", &word("x")], "none in web: no such file or directory"),
        (vec!["ls", "none"], "none in web: no such file or directory"),
        (vec!["edit", "folder"], "folder in web: is a directory"),
    ] {
        let (code, _, err) = file(&arguments);
        assert!(code == 1 && err.contains(words) && !err.contains("status"), "{arguments:?}: {code} {err}");
    }
    assert!(!at("x").exists());
    let mut edit = home.sprite(&["-s", "web", "file", "edit", "work/new.txt"]);
    edit.env("EDITOR", "echo mine >").env_remove("VISUAL").env("TMPDIR", dir.path());
    let (code, _, err) = fed(edit, "");
    let kept = err.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(
        code == 1 && err.contains("work/new.txt in web") && fs::read_to_string(kept).unwrap() == "mine\n",
        "{err}"
    );
    assert_eq!(file(&["push", "-p", &word("notes.txt"), "work/notes.txt"]).0, 0);

    // Standard input and output; without a destination under its own name in this folder.
    let pushed = fed(home.sprite(&["-s", "web", "file", "push", "-", "piped"]), "from a pipe\n");
    assert_eq!(pushed, (0, String::new(), String::new()));
    assert_eq!(file(&["pull", "piped", "-"]), (0, "from a pipe\n".into(), String::new()));
    assert_eq!(file(&["push", "-r", "-", "x"]).0, 2);
    let mut here = home.sprite(&["-s", "web", "file", "pull", "work/notes.txt"]);
    here.current_dir(fs::create_dir(at("here")).map(|()| at("here")).unwrap());
    assert_eq!(fed(here, "").0, 0);
    assert_eq!(fs::read_to_string(at("here/notes.txt")).unwrap(), "one\n");

    // A whole folder: links as links, modes of files and folders, empty folders; what is neither is named.
    for folder in ["tree/bin", "tree/lib", "tree/empty/deep", "tree/secret"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    fs::write(at("tree/lib/tool.py"), "print(1)\n").unwrap();
    fs::set_permissions(at("tree/lib/tool.py"), Permissions::from_mode(0o750)).unwrap();
    fs::write(at("tree/secret/key"), "k").unwrap();
    for (link, target) in [
        ("bin/tool", "../lib/tool.py"),
        ("bin/python", "/usr/bin/python3"),
        ("gone", "nowhere"),
        ("-x", "-y"),
    ] {
        symlink(target, at("tree").join(link)).unwrap();
    }
    fs::set_permissions(at("tree/secret"), Permissions::from_mode(0o700)).unwrap();
    nix::unistd::mkfifo(&at("tree/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (code, _, err) = file(&["push", "-r", &word("tree"), "app"]);
    assert!(code == 0 && err.contains("tree/pipe is a pipe and is left out"), "{code} {err}");
    assert!(err.ends_with("Copied 2 files (10 B), 5 folders, 4 links; 1 left out\n"), "{err}");
    let told = inside(
        "cd app; readlink bin/tool bin/python gone -- -x; ./bin/tool || python3 bin/tool; stat -c %a secret empty/deep lib/tool.py; find . -name '.sprite*'",
    );
    assert_eq!(told, "../lib/tool.py\n/usr/bin/python3\nnowhere\n-y\n1\n700\n755\n750\n");
    // Once more gives the same.
    assert_eq!(file(&["push", "-r", &word("tree"), "app"]).0, 0);

    // And back. What leads out of the folder, or is no file, is named and left out.
    inside("mkfifo app/fifo; ln -s secret/key app/short; ln -s bin/../../x app/sly");
    let (code, _, err) = file(&["pull", "-r", "app", &word("back")]);
    assert!(code == 0 && err.contains("app/fifo is a device, pipe or socket"), "{code} {err}");
    for link in ["bin/python is a link to /usr/bin/python3", "sly is a link to bin/../../x"] {
        assert!(err.contains(link), "{err}");
    }
    assert!(err.ends_with("Copied 2 files (10 B), 5 folders, 4 links; 3 left out\n"), "{err}");
    assert_eq!(fs::read_link(at("back/bin/tool")).unwrap(), Path::new("../lib/tool.py"));
    assert_eq!(fs::read_link(at("back/-x")).unwrap(), Path::new("-y"));
    assert_eq!(fs::read_to_string(at("back/short")).unwrap(), "k");
    assert_eq!(
        [mode(&at("back/secret")), mode(&at("back/lib/tool.py")), mode(&at("back/empty/deep"))],
        [0o700, 0o750, 0o755]
    );
    // Nothing is written through a link that stands here, and that is an error.
    fs::remove_dir_all(at("back/secret")).unwrap();
    symlink(at("here"), at("back/secret")).unwrap();
    let (code, _, err) = file(&["pull", "-r", "app", &word("back")]);
    assert!(code == 1 && err.contains("is a link here") && err.contains("because of errors"), "{code} {err}");
    assert!(!at("here/key").exists());
}

/// A child that ends with the test.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn ports_answer_after_the_end_of_the_input_and_say_when_they_are_refused() {
    let home = Home::new();
    home.good(&["create", "web"]);
    let service =
        ["sprite-env", "services", "create", "app", "--cmd", "python3", "--args", "-m,http.server,8000"];
    home.good(&[&["-s", "web", "exec"], &service[..]].concat());
    let request = "GET / HTTP/1.0\r\n\r\n";
    let (code, out, err) = fed(home.sprite(&["-s", "web", "proxy", "-W", ":8000"]), request);
    assert!(code == 0 && out.starts_with("HTTP/1.0 200"), "{code} {out}{err}");

    let mut proxy = home.sprite(&["-s", "web", "proxy", "0:8000", "0:81"]);
    let mut proxy = Held(proxy.stderr(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(proxy.0.stderr.take().unwrap()).lines().map(|line| line.unwrap());
    let mut ports = said.by_ref().take(2).map(|line| {
        let port = line.split(' ').next().unwrap().to_owned();
        TcpStream::connect(port).unwrap()
    });
    let (mut open, mut refused) = (ports.next().unwrap(), ports.next().unwrap());
    open.set_read_timeout(Some(LONG)).unwrap();
    open.write_all(request.as_bytes()).unwrap();
    open.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    refused.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(refused.read(&mut [0]).unwrap_or(0), 0);
    let told = said.next().unwrap();
    assert!(told.contains("port 81 of web") && told.contains("refused"), "{told}");

    // A port that is taken here is told when the screen is the person's again.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let script = format!(
        "python3 -m http.server {port} >/dev/null 2>&1 & until curl -so /dev/null localhost:{port}; do sleep 0.2; done; sleep 2; echo over"
    );
    let mut console =
        Pty::spawn(home.sprite_in_terminal(&["-s", "web", "exec", "-t", "sh", "-c", &script]), 24, 100);
    console.wait_for("over", LONG);
    assert_eq!(console.end(LONG), 0);
    console.drained(LONG);
    let shown = console.screen().contents().replace('\n', "");
    assert!(shown.contains(&format!("port {port} of web does not lead from")), "{shown}");
    assert!(shown.contains(&format!("`sprite proxy -s web 0:{port}`")), "{shown}");

    // What is told at a detach can be pasted.
    let mut console =
        Pty::spawn(home.sprite_in_terminal(&["console", "-s", "web", "--context", "local"]), 24, 100);
    console.wait_for("web:~$", LONG);
    console.send([0x1c]);
    console.wait_for("-s web --context local` comes back", LONG);
    assert_eq!(console.end(LONG), 0);
}

#[test]
fn what_is_asked_and_said_of_sprites_and_checkpoints() {
    let home = Home::new();
    let (code, out, err) = home.run(&["create", "big", "--cpus", "999", "--memory", "1"]);
    assert_eq!((code, out.as_str()), (0, "Created big\n"));
    assert!(err.contains("CPUs instead of 999 and 256 MiB of memory instead of 1"), "{err}");
    assert_eq!(home.run(&["create", "web"]), (0, "Created web\n".into(), String::new()));
    assert!(home.good(&["info", "web"]).contains("Name          web"));
    assert!(home.good(&["url", "web"]).starts_with("URL: http"));
    for (arguments, code, words) in [
        (&["info", "moon"][..], 1, "sprite not found: moon; `sprite list` tells which there are"),
        (&["-s", "moon", "exec", "true"], 1, "`sprite list`"),
        (&["-s", "moon", "file", "ls"], 1, "`sprite list`"),
        (
            &["-s", "web", "restore", "v9"],
            1,
            "checkpoint not found: v9; `sprite checkpoint list` tells which there are",
        ),
        (&["-s", "web", "checkpoint", "info", "v9"], 1, "`sprite checkpoint list`"),
        (&["-s", "web", "config", "update"], 2, "nothing to change"),
        (&["services"], 2, "sprite-env services"),
        (&["destroy", "web", "moon", "-f"], 1, "not found: moon"),
        (&["destroy", "web", "big"], 2, "destroying web, big is for ever"),
    ] {
        let (found, _, err) = home.run(arguments);
        assert!(found == code && err.contains(words), "{arguments:?}: {found} {err}");
        assert!(!err.contains("'s'"), "{err}");
    }
    let update = ["-s", "web", "config", "update", "--url-auth", "public", "--label", "a", "--label", "b"];
    assert_eq!(home.good(&update), "Auth: public (was sprite)\nLabels: a, b (was none)\n");
    assert!(home.good(&update).starts_with("Nothing changed"));

    // Columns stay columns.
    let mut watch = home.sprite(&["ls", "-w", "--prefix", "web"]);
    let mut watch = Held(watch.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(watch.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.split('\t').skip(1).collect::<Vec<_>>(), ["web", "cold\n"]);

    // On a terminal one line of progress, and the id; a checkpoint is not deleted without asking.
    let on_terminal = |arguments: &[&str], answer: &str, code: u32| {
        let mut terminal = Pty::spawn(home.sprite_in_terminal(arguments), 24, 100);
        if !answer.is_empty() {
            terminal.wait_for("[y/N]", LONG);
            terminal.send(answer);
        }
        let found = terminal.end(LONG);
        terminal.drained(LONG);
        let shown = terminal.screen().contents();
        assert_eq!(found, code, "{arguments:?}: {shown}");
        shown
    };
    let shown = on_terminal(&["-s", "web", "checkpoint", "create"], "", 0);
    assert_eq!(shown.trim(), "Making a checkpoint of web ...\nv0");
    // The newest is what the sprite stands on.
    assert_eq!(home.good(&["-s", "web", "checkpoint", "create"]), "v1\n");
    let delete = ["-s", "web", "checkpoint", "delete", "v0"];
    assert!(on_terminal(&delete, "n\r", 1).contains("Nothing was deleted"));
    assert!(on_terminal(&["-s", "web", "checkpoint", "delete", "v9"], "", 1).contains("not found"));
    assert!(on_terminal(&delete, "y\r", 0).contains("Deleted v0"));
    assert_eq!(home.good(&["-s", "web", "checkpoint", "create"]), "v2\n");
    assert_eq!(home.good(&["-s", "web", "checkpoint", "delete", "-f", "v1"]), "Deleted v1\n");
    assert_eq!(home.good(&["destroy", "web", "big", "-f"]), "Destroyed web\nDestroyed big\n");
}

#[test]
fn a_stop_of_nothing_starts_nothing() {
    let home = Home::empty();
    let stop = || text(&home.command(&["stop"]).output().unwrap());
    assert_eq!(stop(), "Nothing runs.\n");
    assert!(!home.paths().server_log().exists() && home.processes().is_empty());
    home.serve();
    assert!(stop().contains("The server is stopped."));
}
