//! The files part of a sprite's screen, comparisons, texts, and what disks take.

use super::{model, text, with_sprites};
use crossterm::event::{Event as Press, KeyCode, KeyEvent};
use sprites_api::Time;
use sprites_api::extension::{Tree, TreeNode};
use sprites_api::files::{Entry, FileKind, Listing};
use sprites_api::state::{Aspect, Change, Changed, Contents, Diff, FileDiff, FilesAt, Seen, Side};
use sprites_api::storage::{Deletable, SpriteStorage, Storage};
use sprites_backend::depot::Place;
use sprites_tui::action::Part;
use sprites_tui::model::{Edit, Mark, Model, Screen};
use sprites_tui::update::{Effect, Event, update};
use std::sync::Arc;

fn press(model: &mut Model, code: KeyCode) -> Vec<Effect> {
    update(model, Event::Terminal(Press::Key(KeyEvent::from(code))))
}

fn keys(model: &mut Model, keys: &str) -> Vec<Effect> {
    keys.chars().flat_map(|key| press(model, KeyCode::Char(key))).collect()
}

fn ago(hours: i64) -> Time {
    Time::from_micros(Time::now().as_micros() - (hours * 3600 + 30) * 1_000_000)
}

fn entry(folder: &str, name: &str, kind: FileKind, size: u64) -> Entry {
    Entry {
        name: name.into(),
        path: format!("{}/{name}", folder.trim_end_matches('/')),
        kind,
        size,
        mode: "0644".into(),
        mod_time: ago(3),
        is_dir: kind == FileKind::Directory,
    }
}

fn folder(at: &str, path: &str, seen: Seen) -> FilesAt {
    let entries = vec![
        entry(path, "notes.txt", FileKind::File, 1234),
        entry(path, "evil \u{1b}[31mname", FileKind::File, 5),
        entry(path, "link", FileKind::Symlink, 9),
        entry(path, "src", FileKind::Directory, 4096),
    ];
    FilesAt { at: at.into(), seen, listing: Listing { path: path.into(), count: entries.len(), entries } }
}

fn node(id: &str, parent: Option<&str>) -> TreeNode {
    TreeNode {
        id: id.into(),
        parent: parent.map(str::to_owned),
        create_time: ago(5),
        comment: None,
        is_auto: false,
        exclusive_bytes: 5_000_000,
        shared_bytes: 0,
        memory_bytes: None,
    }
}

/// On the screen of a sprite with two checkpoints.
fn opened(columns: u16, rows: u16) -> Model {
    let mut model = model(columns, rows);
    with_sprites(&mut model, &["box"]);
    model.selected = Some("box".into());
    press(&mut model, KeyCode::Enter);
    let nodes = vec![node("v0", None), node("v1", Some("v0")), node("Current", Some("v1"))];
    update(&mut model, Event::Tree("box".into(), Ok(Tree { nodes })));
    model
}

fn come(model: &mut Model, at: &str, path: &str, seen: Seen) {
    let outcome = Ok(Box::new(folder(at, path, seen)));
    let (at, path) = (at.to_owned(), path.to_owned());
    update(model, Event::Files { name: "box".into(), at, path, outcome });
}

fn loads(at: &str, path: &str) -> Effect {
    Effect::LoadFiles { name: "box".into(), at: at.into(), path: path.into() }
}

#[test]
fn files_are_browsed() {
    let mut model = opened(100, 30);
    assert!(keys(&mut model, "gf").contains(&loads("Current", "/home/sprite")));
    insta::assert_snapshot!("files-waiting", text(&model));
    come(&mut model, "Current", "/home/sprite", Seen::Live);
    // What comes late for another folder changes nothing.
    come(&mut model, "v0", "/elsewhere", Seen::Whole);
    insta::assert_snapshot!("files", text(&model));
    // Folders are first.
    assert_eq!(press(&mut model, KeyCode::Enter), [loads("Current", "/home/sprite/src")]);
    come(&mut model, "Current", "/home/sprite/src", Seen::AsWritten);
    assert!(text(&model).contains("as its disk has it"));
    // Back up, onto the folder that was left.
    assert_eq!(press(&mut model, KeyCode::Backspace), [loads("Current", "/home/sprite")]);
    come(&mut model, "Current", "/home/sprite", Seen::Live);
    assert_eq!(model.files.entry().unwrap().name, "src");
    // A file is shown as text, without what a terminal would obey.
    press(&mut model, KeyCode::End);
    let effects = press(&mut model, KeyCode::Enter);
    let [Effect::ReadFile { id, path, link: false, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(path, "/home/sprite/notes.txt");
    update(&mut model, Event::FileRead(id + 100, Ok((b"not this one".to_vec(), false))));
    update(&mut model, Event::FileRead(*id, Ok((b"one\n\ttwo \x1b[31m\n".to_vec(), true))));
    insta::assert_snapshot!("files-text", text(&model));
    press(&mut model, KeyCode::Esc);
    assert_eq!((model.screen, model.part), (Screen::Sprite, Part::Files));
    // A link may lead to a folder, which is opened then.
    press(&mut model, KeyCode::Up);
    let effects = press(&mut model, KeyCode::Enter);
    let [Effect::ReadFile { id, link: true, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(update(&mut model, Event::FolderBehind(*id, "/srv".into())), [loads("Current", "/srv")]);
    assert_eq!(model.screen, Screen::Sprite);
    model.files.path = "/".into();
    assert_eq!(press(&mut model, KeyCode::Backspace), []);
}

#[test]
fn a_checkpoint_is_browsed_and_copied_from() {
    let mut model = opened(80, 24);
    press(&mut model, KeyCode::Home);
    assert!(keys(&mut model, "o").contains(&loads("v0", "/home/sprite")));
    come(&mut model, "v0", "/home/sprite", Seen::Whole);
    press(&mut model, KeyCode::End);
    let effects = keys(&mut model, "y");
    assert!(
        matches!(effects.as_slice(), [Effect::CopyOut { at, path, .. }] if at == "v0" && path.ends_with("notes.txt"))
    );
    // The past is not edited.
    assert_eq!(keys(&mut model, "E"), []);
    assert!(text(&model).contains("present files"), "{}", text(&model));
}

#[test]
fn sprites_are_exported_and_imported() {
    let mut model = opened(80, 24);
    press(&mut model, KeyCode::Home);
    // A checkpoint has its usual name at once, the present when it is one.
    assert_eq!(keys(&mut model, "O"), []);
    assert!(text(&model).contains("box-v0.sprite"), "{}", text(&model));
    let effects = press(&mut model, KeyCode::Enter);
    let [Effect::Export { job, name, checkpoint: Some(id), to: Place::File(to) }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!((name.as_str(), id.as_str(), to.to_str()), ("box", "v0", Some("box-v0.sprite")));
    assert!(text(&model).contains("Exporting box"), "{}", text(&model));
    update(&mut model, Event::Progress(*job, "Exporting box: 12 MB".into()));
    assert!(text(&model).contains("12 MB"), "{}", text(&model));
    update(&mut model, Event::Done(*job, Ok("box at v0 is exported.".into()), Some("box".into())));
    assert!(text(&model).contains("is exported"), "{}", text(&model));
    press(&mut model, KeyCode::End);
    keys(&mut model, "O");
    assert!(text(&model).contains("./"), "{}", text(&model));
    press(&mut model, KeyCode::Esc);

    press(&mut model, KeyCode::Esc);
    keys(&mut model, "Is3:///x");
    assert_eq!(press(&mut model, KeyCode::Enter), []);
    assert!(text(&model).contains("no address of an object"), "{}", text(&model));
    (0..8).for_each(|_| drop(press(&mut model, KeyCode::Backspace)));
    keys(&mut model, "s3://team/a b.sprite as other");
    let effects = press(&mut model, KeyCode::Enter);
    let [Effect::Import { from: Place::Object { bucket, key }, name: Some(name), .. }] = effects.as_slice()
    else {
        panic!("{effects:?}")
    };
    assert_eq!((bucket.as_str(), key.as_str(), name.as_str()), ("team", "a b.sprite", "other"));
}

#[test]
fn states_are_compared() {
    let mut model = opened(100, 30);
    press(&mut model, KeyCode::Home);
    press(&mut model, KeyCode::Down);
    let wanted = Effect::LoadDiff { name: "box".into(), from: "v0".into(), to: "v1".into() };
    assert!(keys(&mut model, "m").contains(&wanted));
    let line = |change, path: &str, kind, before, after, aspects: &[Aspect]| Changed {
        path: path.into(),
        change,
        kind,
        before,
        after,
        aspects: aspects.to_vec(),
    };
    let side = |asked: &str, at: &str| Side { asked: asked.into(), at: at.into(), seen: Seen::Whole };
    let changes = vec![
        line(Change::Changed, "/etc/hosts", FileKind::File, Some(120), Some(140), &[Aspect::Contents]),
        line(Change::Added, "/home/sprite/new", FileKind::Directory, None, Some(0), &[]),
        line(Change::Removed, "/home/sprite/old\u{1b}]", FileKind::File, Some(2_000_000), None, &[]),
        line(
            Change::Changed,
            "/usr/bin/tool",
            FileKind::File,
            Some(9),
            Some(9),
            &[Aspect::Mode, Aspect::Owner],
        ),
    ];
    let diff = Diff {
        from: side("v0", "v0"),
        to: side("v1", "v1"),
        changes,
        added: 1,
        changed: 2,
        removed: 30,
        disk_bytes: 1,
        incomplete: None,
    };
    let (from, to) = ("v0".to_owned(), "v1".to_owned());
    let came = |from: &str, to: &str, diff: &Diff| Event::Diff {
        name: "box".into(),
        from: from.into(),
        to: to.into(),
        outcome: Ok(Box::new(diff.clone())),
    };
    update(&mut model, came(&from, &to, &diff));
    insta::assert_snapshot!("files-changes", text(&model));
    let effects = press(&mut model, KeyCode::Enter);
    let [Effect::LoadFileDiff { id, from, to, path, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((from.as_str(), to.as_str(), path.as_str()), ("v0", "v1", "/etc/hosts"));
    let unified = "@@ -1,2 +1,2 @@\n a\n-b\n+c \u{7}\n".to_owned();
    let file = FileDiff { contents: Contents::Text, unified, path: path.clone(), ..FileDiff::default() };
    update(&mut model, Event::FileDiff(*id, Ok(Box::new(file))));
    insta::assert_snapshot!("files-difference", text(&model));
    press(&mut model, KeyCode::Esc);
    // From changes back to files.
    assert_eq!(press(&mut model, KeyCode::Backspace), [loads("Current", "/home/sprite")]);

    // With a mark, and with the present; more of that is asked of what was looked at.
    keys(&mut model, "gc");
    press(&mut model, KeyCode::Home);
    keys(&mut model, " ");
    press(&mut model, KeyCode::End);
    let wanted = Effect::LoadDiff { name: "box".into(), from: "v0".into(), to: "Current".into() };
    assert!(keys(&mut model, "m").contains(&wanted));
    let present = Diff { to: side("Current", "auto-1"), ..diff };
    update(&mut model, came("v0", "Current", &present));
    assert!(text(&model).contains("the present is kept as auto-1"));
    let effects = press(&mut model, KeyCode::Enter);
    assert!(matches!(effects.as_slice(), [Effect::LoadFileDiff { to, .. }] if to == "auto-1"));
    // And back to the tree, from where the files are those of now.
    press(&mut model, KeyCode::Esc);
    press(&mut model, KeyCode::Esc);
    assert_eq!((model.screen, model.part), (Screen::Sprite, Part::Checkpoints));
    assert_eq!((model.files.at.as_str(), model.files.changes.is_none()), ("Current", true));
}

#[test]
fn a_file_is_edited_unless_nothing_may_be_changed() {
    let mut model = opened(100, 30);
    keys(&mut model, "gf");
    come(&mut model, "Current", "/home/sprite", Seen::Live);
    press(&mut model, KeyCode::End);
    let effects = keys(&mut model, "E");
    let [Effect::FetchEdit { job, path, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    let edit = Edit {
        job: *job,
        name: "box".into(),
        path: path.clone(),
        copy: "/tmp/copy".into(),
        before: Arc::new(b"x".to_vec()),
    };
    let effects = update(&mut model, Event::EditFetched(*job, Ok(edit.clone())));
    assert_eq!(effects, [Effect::RunEditor(edit.clone())]);
    assert_eq!(update(&mut model, Event::Edited(edit.clone(), Ok(()))), [Effect::SaveEdit(edit.clone())]);
    update(&mut model, Event::Edited(edit, Err("vi ended with 1".into())));
    assert!(model.jobs.is_empty() && text(&model).contains("vi ended"));
    model.read_only = true;
    assert_eq!(keys(&mut model, "E"), []);
}

#[test]
fn what_disks_take_is_told() {
    let mut model = opened(100, 30);
    assert_eq!(keys(&mut model, "gd"), [Effect::LoadStorage]);
    let one = |id: &str, is_auto: bool, is_used, frees_bytes| Deletable {
        id: id.into(),
        create_time: ago(30),
        comment: (!is_auto).then(|| "before the\u{7} upgrade".into()),
        is_auto,
        frees_bytes,
        memory_bytes: 0,
        is_used,
    };
    let checkpoints = vec![
        one("auto-1", true, false, 7_000_000),
        one("auto-2", true, true, 1_000_000),
        one("v1", false, false, 9_000),
    ];
    let sprite = SpriteStorage {
        name: "box".into(),
        stored_bytes: 90_000_000,
        shared_bytes: 2_000_000,
        checkpoints,
        first: vec!["auto-1".into()],
        first_bytes: 7_000_000,
    };
    let storage = Storage {
        sprites: vec![sprite],
        stored_bytes: 90_000_000,
        first_bytes: 7_000_000,
        free_bytes: 5_000_000_000,
    };
    update(&mut model, Event::Storage(Ok(storage)));
    insta::assert_snapshot!("disks", text(&model));
    assert!(sprites_tui::model::shown(b"a\0b", false)[0].0 == Mark::Aside);
}
