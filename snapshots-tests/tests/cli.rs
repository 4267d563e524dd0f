//! Subcommands, as scripts use them.

use snapshots_tests::harness::Home;
use sprites_api::sprite::CreateSprite;
use std::process::Output;

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
