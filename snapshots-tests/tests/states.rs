//! Files of checkpoints and of the present, looked at and compared from outside, with a real sprite that is not to notice.

use futures::TryStreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use snapshots_tests::harness::{Home, command_line};
use snapshots_tests::person::{ENTER, SHORT};
use snapshots_tests::process::naming;
use snapshots_tests::pty::Pty;
use snapshots_tests::said::until;
use sprites_api::state::{Change, Diff, Seen};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(180);

fn status(home: &Home) -> String {
    home.json(&["info", "box", "--json"])["status"].as_str().unwrap_or_default().to_owned()
}

/// What changed below the home folder; the system has files of its own that change.
fn told(diff: &Diff) -> Vec<(Change, &str, Option<u64>, Option<u64>)> {
    let own = diff.changes.iter().filter(|line| line.path.starts_with("/home/sprite/work"));
    own.map(|line| (line.change, line.path.as_str(), line.before, line.after)).collect()
}

#[test]
fn what_changed_is_seen_from_outside() {
    let home = Home::new();
    home.serve_with(&["--idle", "3", "--no-checkpoints"]);
    home.good(&["create", "box", "--skip-console"]);
    let inside = |script: &str| home.good(&["-s", "box", "exec", "sh", "-ec", script]);
    let checkpoint = || home.good(&["-s", "box", "checkpoint", "create"]).trim().to_owned();
    inside(
        "mkdir -p ~/work/old && cd ~/work && printf 'one\\ntwo\\nthree\\n' > text && echo x > old/gone && \
         echo same > same && head -c 3000000 /dev/urandom > large && ln -s /etc/hostname link && \
         fallocate -l 200000 later && printf begin | dd of=later conv=notrunc status=none",
    );
    let first = checkpoint();
    inside(
        "cd ~/work && sed -i s/two/2/ text && rm -r old && touch same && mkdir new && echo new > new/file && \
         chmod 600 large && printf '\\0\\1' > bytes",
    );
    let second = checkpoint();

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = home.client();
    let diff = |from: &str, to: &str| runtime.block_on(client.diff("box", from, to)).unwrap();
    let read = |at: &str, path: &str| -> Vec<u8> {
        let pieces = runtime.block_on(client.read_at("box", at, path, None)).unwrap();
        let pieces: Vec<_> = runtime.block_on(pieces.try_collect()).unwrap();
        pieces.concat()
    };

    // While it runs.
    let found = diff(&first, &second);
    assert_eq!(
        told(&found),
        [
            (Change::Added, "/home/sprite/work/bytes", None, Some(2)),
            (Change::Changed, "/home/sprite/work/large", Some(3_000_000), Some(3_000_000)),
            (Change::Added, "/home/sprite/work/new", None, Some(0)),
            (Change::Added, "/home/sprite/work/new/file", None, Some(4)),
            (Change::Removed, "/home/sprite/work/old", Some(0), None),
            (Change::Removed, "/home/sprite/work/old/gone", Some(2), None),
            (Change::Changed, "/home/sprite/work/text", Some(14), Some(12)),
        ]
    );
    assert_eq!((found.incomplete, found.from.seen, found.to.seen), (None, Seen::Whole, Seen::Whole));
    assert!((1..1 << 30).contains(&found.disk_bytes), "{}", found.disk_bytes);
    let later = read(&first, "/home/sprite/work/later");
    assert!(
        later.len() == 200_000 && later.starts_with(b"begin") && later[5..].iter().all(|byte| *byte == 0)
    );

    // The present of one that runs is its own word, and to be compared a checkpoint of it.
    inside("echo live > ~/work/live");
    let listing = runtime.block_on(client.files_at("box", "Current", "/home/sprite/work")).unwrap();
    assert!(listing.seen == Seen::Live || status(&home) != "running");
    assert!(listing.listing.entries.iter().any(|entry| entry.name == "live" && entry.size == 5));
    assert_eq!(read("Current", "/home/sprite/work/live"), b"live\n");
    inside("echo more >> ~/work/live");
    let found = diff(&second, "Current");
    assert_eq!(told(&found), [(Change::Added, "/home/sprite/work/live", None, Some(10))]);
    assert!(found.to.at.starts_with("auto-"), "{:?}", found.to);

    // One that sleeps with its memory stays asleep, and its disk is told for what it is.
    inside("sync");
    until(LONG, "sleep", || status(&home) == "warm");
    let found = diff(&second, "Current");
    assert_eq!(told(&found), [(Change::Added, "/home/sprite/work/live", None, Some(10))]);
    assert_eq!((found.to.at.as_str(), found.to.seen), ("Current", Seen::AsWritten));
    assert_eq!(read("Current", "/home/sprite/work/live"), b"live\nmore\n");
    assert_eq!(status(&home), "warm");

    // One that is stopped, by the command line.
    runtime.block_on(client.stop("box")).unwrap();
    assert_eq!(status(&home), "cold");
    let (code, out, err) = home.run(&["-s", "box", "diff", &first, "--path", "/home/sprite/work/text"]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    assert!(out.contains("\n-two\n+2\n") && out.contains("\n one\n"), "{out}");
    let (code, out, _) = home.run(&["-s", "box", "diff", &first]);
    assert!(code == 1 && out.contains("+\t-\t4 B\t/home/sprite/work/new/file\n"), "{out}");
    let (code, out, _) = home.run(&["-s", "box", "diff", &second, &second]);
    assert_eq!((code, out.as_str()), (0, ""));
    let (code, out, _) = home.run(&["-s", "box", "diff", &first, "--path", "/home/sprite/work/bytes"]);
    assert!(code == 1 && out.contains("Binary files"), "{out}");
    assert_eq!(
        home.good(&["-s", "box", "cat", "--at", &first, "/home/sprite/work/text"]),
        "one\ntwo\nthree\n"
    );
    // A link leads to the sprite's own file, not to the host's.
    let name = home.good(&["-s", "box", "cat", "--at", &first, "/home/sprite/work/link"]);
    assert_eq!(name, home.good(&["-s", "box", "cat", "/etc/hostname"]));
    assert_ne!(name, std::fs::read_to_string("/etc/hostname").unwrap_or_default());
    let out = home.good(&["-s", "box", "file", "ls", "--at", &first, "/home/sprite/work"]);
    assert!(out.contains("old/") && !out.contains("live"), "{out}");
    for (words, sentence) in [
        (&["cat", "--at", "v99", "/etc/hosts"][..], "checkpoint not found: v99"),
        (&["cat", "--at", &first, "/not/here"], "there is no"),
        (&["cat", "--at", &first, "/etc"], "is a directory"),
        (&["cat", "--at", &first, "etc"], "/home/sprite/etc"),
    ] {
        let (code, _, err) = home.run(&[&["-s", "box"], words].concat());
        assert!(code == 1 && err.contains(sentence), "{words:?}: {err}");
    }

    // What to delete first is what was made for the comparison.
    let storage = runtime.block_on(client.storage_of("box")).unwrap();
    let automatic = storage.checkpoints.iter().filter(|one| one.is_auto).count();
    assert!(storage.stored_bytes > 3_000_000 && automatic >= 1, "{storage:?}");
    assert!(storage.checkpoints.iter().take(automatic).all(|one| one.is_auto), "{storage:?}");
    assert!(
        storage.first.len() + usize::from(storage.checkpoints.iter().any(|one| one.is_auto && one.is_used))
            == automatic
    );
    let all = runtime.block_on(client.storage()).unwrap();
    assert!(all.sprites.iter().any(|sprite| sprite.name == "box") && all.free_bytes > 0);
    assert_eq!(status(&home), "cold");
    until(LONG, "the end of those who looked", || {
        !naming(snapshots_tests::harness::executable()).iter().any(|(_, words)| words.contains(" files"))
    });
}

/// Somebody edits a file of the sprite with an editor of this machine, and copies one out.
#[test]
fn a_file_is_edited_here() {
    let home = Home::new();
    home.serve();
    home.good(&["create", "box", "--skip-console"]);
    let inside = |script: &str| home.good(&["-s", "box", "exec", "sh", "-ec", script]);
    inside("printf 'one\\n' > ~/zz.txt && chmod 640 ~/zz.txt");
    let folder = tempfile::tempdir().unwrap();
    let editor = folder.path().join("editor");
    // The second time somebody else writes to the file in the meantime.
    let script = format!(
        "#!/bin/sh\nif grep -q one \"$1\"; then sed -i s/one/uno/ \"$1\"; exit; fi\n\
         if grep -q theirs \"$1\"; then echo the editor; read -r line; echo \"$line\" > \"$1\"; exit; fi\n\
         {} -s box exec sh -c 'echo theirs > ~/zz.txt' </dev/null >/dev/null 2>&1; echo mine > \"$1\"\n",
        command_line().display()
    );
    std::fs::write(&editor, script).unwrap();
    let mut command = home.terminal_command(&[]);
    command.env("VISUAL", "");
    command.env("EDITOR", format!("sh {}", editor.display()));
    command.cwd(folder.path());
    let mut app = Pty::spawn(command, 30, 110);
    app.wait_for("box", LONG);
    app.send(ENTER);
    app.wait_for("the live disk", LONG);
    app.send("gf");
    // That of the file is told elsewhere on the screen, too.
    app.wait_for(".profile", LONG);
    // The last line.
    app.send("G");
    app.send("E");
    app.wait_for("zz.txt is written", SHORT);
    assert_eq!(inside("cat ~/zz.txt; stat -c %a ~/zz.txt"), "uno\n640\n");
    app.send("y");
    app.wait_for("is copied to", SHORT);
    assert_eq!(std::fs::read_to_string(folder.path().join("zz.txt")).unwrap(), "uno\n");
    app.send("y");
    app.wait_for("is here already", SHORT);
    app.send("E");
    app.wait_for("was changed in the sprite meanwhile", LONG);
    assert_eq!(inside("cat ~/zz.txt"), "theirs\n");
    // What was written is not lost.
    let kept = app.screen().contents().replace('\n', " ");
    assert!(kept.contains("is kept in"), "{kept}");
    // Nor when the app is ended while the editor has the terminal.
    app.send("E");
    app.wait_for("the editor", LONG);
    kill(Pid::from_raw(app.pid()), Signal::SIGTERM).unwrap();
    app.send("last words\r");
    app.end(LONG);
    assert_eq!(inside("cat ~/zz.txt"), "last words\n");
}
