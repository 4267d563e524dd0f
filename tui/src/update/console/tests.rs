//! Consoles without a server: what keys, mouse and programs do to the model.

use super::super::{Event, update};
use super::*;
use crate::keys::Keys;
use crate::model::{Drag, Here, Task};
use crate::theme::Theme;
use crossterm::event::{Event as Terminal, MouseButton, MouseEvent, MouseEventKind};
use proptest::prelude::*;
use ratatui::Terminal as Screens;
use ratatui::backend::TestBackend;
use sprites_api::exec::SessionInfo;
use sprites_api::sprite::Sprite;
use std::time::Duration;

const NONE: KeyModifiers = KeyModifiers::NONE;

/// The app with sprites of these names.
fn app(names: &[&str]) -> Model {
    let here = Here { context: "local".into(), endpoint: "here".into(), local: true };
    let mut model = Model::new(here, Keys::default(), vec![Theme::plain()], 0, (120, 40));
    listed(&mut model, names);
    model
}

fn listed(model: &mut Model, names: &[&str]) {
    let sprite = |name: &&str| Sprite { name: (*name).to_owned(), ..Sprite::default() };
    update(model, Event::Sprites(Ok(names.iter().map(sprite).collect())));
}

/// A console of `name`, connected to that session.
fn opened(model: &mut Model, name: &str, session: &str) -> u64 {
    let effects = open(model, name, true);
    let Some(Effect::OpenConsole { id, .. }) = effects.last() else { panic!("{effects:?}") };
    attached(model, *id, session);
    *id
}

fn attached(model: &mut Model, id: u64, session: &str) {
    let info = SessionInfo { session_id: session.into(), ..SessionInfo::default() };
    update(model, Event::Console(id, ExecEvent::Info(info)));
}

fn printed(model: &mut Model, id: u64, text: &str) -> Vec<Effect> {
    update(model, Event::Console(id, ExecEvent::Stdout(text.as_bytes().to_vec().into())))
}

fn press(model: &mut Model, code: KeyCode, modifiers: KeyModifiers) -> Vec<Effect> {
    update(model, Event::Terminal(Terminal::Key(KeyEvent::new(code, modifiers))))
}

/// Presses keys one after another; `^` is the one key.
fn keys(model: &mut Model, keys: &str) -> Vec<Effect> {
    keys.chars()
        .flat_map(|key| match key {
            '^' => press(model, KeyCode::Char(']'), KeyModifiers::CONTROL),
            key => press(model, KeyCode::Char(key), NONE),
        })
        .collect()
}

fn mouse(model: &mut Model, kind: MouseEventKind, (column, row): (u16, u16)) -> Vec<Effect> {
    let event = MouseEvent { kind, column, row, modifiers: NONE };
    update(model, Event::Terminal(Terminal::Mouse(event)))
}

const DOWN: MouseEventKind = MouseEventKind::Down(MouseButton::Left);
const MOVE: MouseEventKind = MouseEventKind::Drag(MouseButton::Left);
const UP: MouseEventKind = MouseEventKind::Up(MouseButton::Left);

fn drawn(model: &Model) -> String {
    let mut screen = Screens::new(TestBackend::new(model.size.0, model.size.1)).unwrap();
    screen.draw(|frame| crate::view::draw(model, frame)).unwrap();
    let buffer = screen.backend().buffer();
    let row = |y| (0..model.size.0).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..model.size.1).map(row).collect::<Vec<_>>().join("\n")
}

fn input(effects: &[Effect]) -> Vec<u8> {
    let bytes = |effect: &Effect| match effect {
        Effect::ConsoleInput(_, bytes) => bytes.to_vec(),
        _ => Vec::new(),
    };
    effects.iter().flat_map(bytes).collect()
}

#[test]
fn the_one_key_waits_and_goes_through_twice() {
    let mut model = app(&["box"]);
    let id = opened(&mut model, "box", "1");
    assert_eq!(input(&keys(&mut model, "q")), b"q", "all others are the program's");
    assert_eq!(keys(&mut model, "^"), []);
    assert!(matches!(model.mux.task, Task::Waiting(_)) && !model.mux.hint);
    assert!(drawn(&model).contains("ctrl-] …"));
    // Nothing for a second: what can follow is shown, and it still waits.
    let since = model.wakes_at().unwrap();
    std::thread::sleep(since.saturating_duration_since(Instant::now()));
    update(&mut model, Event::Wake);
    assert_eq!(model.wakes_at(), None, "it does not wake again and again");
    let screen = drawn(&model);
    assert!(
        screen.contains("split: new one below") && screen.contains("send ctrl-] to the program"),
        "{screen}"
    );
    assert_eq!(input(&keys(&mut model, "^")), b"\x1d");
    assert!(!drawn(&model).contains("after ctrl-]"));
    assert_eq!(keys(&mut model, "^y"), [], "what means nothing is not sent");
    for leave in [KeyCode::Esc, KeyCode::Char('q'), KeyCode::Char('d')] {
        show(&mut model, id);
        keys(&mut model, "^");
        press(&mut model, leave, NONE);
        assert_eq!(model.screen, Screen::List);
    }
    show(&mut model, id);
    assert!(drawn(&model).contains("ctrl-] d leaves"));
    model.mux.prefix.set_key("ctrl-a").unwrap();
    assert!(drawn(&model).contains("ctrl-a d leaves"));
    assert_eq!(input(&keys(&mut model, "^")), b"\x1d");
}

#[test]
fn splits_are_told_their_sizes_before_the_first_byte() {
    let mut model = app(&["box", "web"]);
    let first = opened(&mut model, "box", "1");
    let effects = keys(&mut model, "^v");
    let Screen::Console(second) = model.screen else { panic!() };
    assert!(effects.contains(&Effect::ConsoleResize(first, 36, 58)), "{effects:?}");
    let [.., Effect::OpenConsole { id, rows: 36, cols: 58, fresh: true, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(*id, second);
    attached(&mut model, second, "2");
    printed(&mut model, second, "right side");
    printed(&mut model, first, "left side");
    let screen = drawn(&model);
    assert!(screen.lines().any(|line| line.contains("left side") && line.contains("right side")), "{screen}");

    // Focus, zoom, resize by key.
    keys(&mut model, "^h");
    assert_eq!(model.screen, Screen::Console(first));
    let effects = keys(&mut model, "^z");
    assert!(effects.contains(&Effect::ConsoleResize(first, 36, 118)), "{effects:?}");
    assert!(!drawn(&model).contains("right side"));
    keys(&mut model, "^z");
    let effects = keys(&mut model, "^rll");
    assert!(effects.contains(&Effect::ConsoleResize(first, 36, 66)), "{effects:?}");
    assert!(matches!(model.mux.task, Task::Resize));
    assert_eq!(keys(&mut model, "x"), [], "any other key ends it");
    // The mouse gives the focus, and moves lines.
    mouse(&mut model, DOWN, (100, 20));
    mouse(&mut model, UP, (100, 20));
    assert_eq!(model.screen, Screen::Console(second));
    mouse(&mut model, DOWN, (67, 20));
    assert!(matches!(model.mux.drag, Some(Drag::Line(_))));
    let effects = mouse(&mut model, MOVE, (30, 20));
    assert!(effects.contains(&Effect::ConsoleResize(first, 36, 28)), "{effects:?}");
    mouse(&mut model, UP, (30, 20));
    assert_eq!(model.mux.drag, None);
    // The window changes, and both are told.
    let effects = update(&mut model, Event::Terminal(Terminal::Resize(100, 30)));
    let resized = effects.iter().filter(|effect| matches!(effect, Effect::ConsoleResize(..))).count();
    assert_eq!(resized, 2, "{effects:?}");

    // A console of another sprite joins, and leaves again.
    let third = opened(&mut model, "web", "3");
    assert_eq!(model.panes().len(), 1);
    show(&mut model, first);
    update(&mut model, Event::Terminal(Terminal::Resize(160, 40)));
    keys(&mut model, "^a3");
    assert_eq!(model.mux.layout(first).unwrap().ids().len(), 3);
    assert_eq!(model.screen, Screen::Console(third));
    keys(&mut model, "^!");
    assert_eq!(model.mux.layout(first).unwrap().ids(), [first, second]);
    assert_eq!(model.panes().len(), 1);

    // Closing keeps the program; the other gets the room.
    show(&mut model, second);
    let effects = keys(&mut model, "^x");
    assert!(effects.contains(&Effect::ConsoleDetach(second)), "{effects:?}");
    assert_eq!((model.screen, model.panes().len()), (Screen::Console(first), 1));
    assert_eq!(model.console(second).unwrap().attachment, Attachment::Detached);
    assert_eq!(model.mux.layouts, []);
}

#[test]
fn tabs_follow_each_other() {
    let mut model = app(&["box"]);
    let ids: Vec<u64> = (0..3).map(|number| opened(&mut model, "box", &number.to_string())).collect();
    show(&mut model, ids[0]);
    for (key, at) in [("^n", 1), ("^n", 2), ("^n", 0), ("^p", 2), ("^2", 1)] {
        keys(&mut model, key);
        assert_eq!(model.screen, Screen::Console(ids[at]), "{key}");
    }
    keys(&mut model, "^,build");
    press(&mut model, KeyCode::Enter, NONE);
    assert_eq!(model.console(ids[1]).unwrap().title(), "build");
    assert!(drawn(&model).contains("2 build"));
    // Of one sprite, gone: its consoles leave the screen.
    let effects = keys(&mut model, "^s");
    assert!(matches!(effects.last(), Some(Effect::OpenConsole { .. })));
    assert_eq!(model.tabs().len(), 3, "a split is one tab");
}

#[test]
fn a_drag_copies_and_says_so() {
    let mut model = app(&["box"]);
    let id = opened(&mut model, "box", "1");
    printed(&mut model, id, "hello world\r\n");
    mouse(&mut model, DOWN, (1, 2));
    assert_eq!(mouse(&mut model, UP, (1, 2)), [], "a click copies nothing");
    mouse(&mut model, DOWN, (7, 2));
    mouse(&mut model, MOVE, (11, 2));
    assert!(drawn(&model).contains("copy: line"));
    assert_eq!(mouse(&mut model, UP, (11, 2)), [Effect::Copy("world".into())]);
    assert_eq!(input(&keys(&mut model, "^]")), b"world", "it is pasted by a key");
    // With keys, while the program goes on.
    keys(&mut model, "^[");
    printed(&mut model, id, &"more\r\n".repeat(1000));
    assert_eq!(keys(&mut model, "gvey"), [Effect::Copy("hello".into())]);
    // Above the console the view scrolls by itself.
    mouse(&mut model, DOWN, (1, 20));
    mouse(&mut model, MOVE, (1, 0));
    let line = |model: &mut Model| model.console(id).unwrap().terminal.copying().unwrap().line;
    let before = line(&mut model);
    let again = model.wakes_at().expect("it scrolls on");
    std::thread::sleep(again.saturating_duration_since(Instant::now()));
    update(&mut model, Event::Wake);
    assert!(line(&mut model) < before);
    mouse(&mut model, UP, (1, 0));
    assert_eq!(model.wakes_at(), None);
    // A search is typed, and drawn.
    keys(&mut model, "^/mor");
    assert!(drawn(&model).contains("search: mor"));
    update(&mut model, Event::Terminal(Terminal::Paste("e".into())));
    assert!(drawn(&model).contains("search: more"));
}

#[test]
fn links_open_with_a_modifier() {
    let mut model = app(&["box"]);
    let id = opened(&mut model, "box", "1");
    printed(
        &mut model,
        id,
        "see \x1b]8;;https://a.example/\x07here\x1b]8;;\x07 \x1b]8;;file:///etc/passwd\x07no\x1b]8;;\x07",
    );
    let click = |model: &mut Model, column, modifiers| {
        let event = MouseEvent { kind: DOWN, column, row: 2, modifiers };
        update(model, Event::Terminal(Terminal::Mouse(event)))
    };
    assert_eq!(click(&mut model, 6, KeyModifiers::CONTROL), [Effect::Browse("https://a.example/".into())]);
    assert_eq!(click(&mut model, 6, NONE), []);
    assert_eq!(click(&mut model, 11, KeyModifiers::CONTROL), []);
    assert!(model.toasts.back().unwrap().text.contains("no web page"));
}

#[test]
fn a_program_that_copies_all_the_time_does_so_now_and_then() {
    let mut model = app(&["box"]);
    let id = opened(&mut model, "box", "1");
    assert_eq!(printed(&mut model, id, "\x1b]52;c;aGk=\x07"), [Effect::Copy("hi".into())]);
    assert_eq!(model.wakes_at(), None);
    for _ in 0..100 {
        assert_eq!(printed(&mut model, id, "\x1b]52;c;bm8=\x07"), []);
    }
    assert_eq!(printed(&mut model, id, "\x1b]52;c;bGFzdA==\x07"), []);
    // The last of them is not lost.
    let at = model.wakes_at().unwrap();
    assert_eq!(told::copied(&mut model, at), [Effect::Copy("last".into())]);
    assert_eq!(model.wakes_at(), None);
}

#[test]
fn programs_copy_where_somebody_looks_and_tell_seldom() {
    let mut model = app(&["box"]);
    let hidden = opened(&mut model, "box", "1");
    let id = opened(&mut model, "box", "2");
    assert_eq!(printed(&mut model, id, "\x1b]52;c;aGk=\x07"), [Effect::Copy("hi".into())]);
    assert_eq!(printed(&mut model, hidden, "\x1b]52;c;aGk=\x07"), []);
    assert!(model.toasts.back().unwrap().text.contains("nobody looks"));
    let before = model.log.len();
    for _ in 0..100 {
        printed(&mut model, id, "\x1b]9;spam\x07\x07");
    }
    assert_eq!(model.log.len(), before + 1);
    assert!(std::mem::take(&mut model.mux.bell));
    // No more than some in a second are heard.
    printed(&mut model, id, "\x07");
    assert!(!model.mux.bell);
    printed(&mut model, hidden, "\x07");
    assert!(!model.mux.bell && drawn(&model).contains("1 box!"));
    show(&mut model, hidden);
    update(&mut model, Event::Tick(Instant::now()));
    assert!(!drawn(&model).contains("1 box!"));
}

#[test]
fn those_beside_the_focus_stay_and_others_detach() {
    let mut model = app(&["box"]);
    let hidden = opened(&mut model, "box", "1");
    let first = opened(&mut model, "box", "2");
    keys(&mut model, "^v");
    let Screen::Console(second) = model.screen else { panic!() };
    attached(&mut model, second, "3");
    let later = Instant::now() + UNSEEN + Duration::from_secs(1);
    let effects = update(&mut model, Event::Tick(later));
    assert!(effects.contains(&Effect::ConsoleDetach(hidden)), "{effects:?}");
    for id in [first, second] {
        assert_eq!(model.console(id).unwrap().attachment, Attachment::Attached);
    }
}

#[test]
fn layout_and_consoles_come_back_and_attach_when_they_are_looked_at() {
    let mut model = app(&["box", "web"]);
    opened(&mut model, "web", "w");
    let first = opened(&mut model, "box", "1");
    keys(&mut model, "^s");
    let Screen::Console(second) = model.screen else { panic!() };
    attached(&mut model, second, "2");
    keys(&mut model, "^,logs");
    press(&mut model, KeyCode::Enter, NONE);
    show(&mut model, first);
    let effects = update(&mut model, Event::Tick(Instant::now()));
    let Some(Effect::Keep(kept)) = effects.iter().find(|effect| matches!(effect, Effect::Keep(_))) else {
        panic!("{effects:?}")
    };
    assert!(!update(&mut model, Event::Tick(Instant::now())).iter().any(|e| matches!(e, Effect::Keep(_))));

    // Another run, in which a sprite is gone.
    let mut model = app(&[]);
    model.mux.restored = false;
    model.mux.kept = kept.clone();
    listed(&mut model, &["box"]);
    assert_eq!(model.consoles.len(), 2);
    assert!(model.consoles.iter().all(|tab| tab.attachment == Attachment::Detached));
    assert_eq!(model.consoles[1].title(), "logs");
    let id = model.consoles[0].id;
    let effects = show(&mut model, id);
    let sessions: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::OpenConsole { session, fresh: false, rows, .. } => Some((session.as_deref(), *rows)),
            _ => None,
        })
        .collect();
    assert_eq!(sessions, [(Some("1"), 17), (Some("2"), 17)]);
    // Nothing is forgotten before the list is there.
    let model = app(&[]);
    let mut early = Model::new(model.here.clone(), Keys::default(), vec![Theme::plain()], 0, (80, 24));
    early.mux.kept = kept.clone();
    assert_eq!(early.mux.kept.with(&early), *kept);
}

/// One thing that can happen.
#[derive(Clone, Debug)]
enum Step {
    Key(KeyCode, KeyModifiers),
    Prefixed(KeyCode),
    Mouse(MouseEventKind, (u16, u16)),
    Printed(usize, Vec<u8>),
    Attached(usize),
    Ended(usize),
    Resize(u16, u16),
    Paste,
    Wake,
    Tick,
    Gone,
}

fn code() -> impl Strategy<Value = KeyCode> {
    let letters: Vec<char> = "abcdhjklnopqrstvxyzvVgGne/?[]!,123-|%".chars().collect();
    prop_oneof![
        8 => prop::sample::select(letters).prop_map(KeyCode::Char),
        2 => prop::sample::select(vec![KeyCode::Esc, KeyCode::Enter, KeyCode::Left, KeyCode::Up, KeyCode::PageUp]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = vec![
        DOWN,
        MOVE,
        UP,
        MouseEventKind::ScrollUp,
        MouseEventKind::ScrollDown,
        MouseEventKind::Moved,
        MouseEventKind::Down(MouseButton::Right),
    ];
    let text = prop::sample::select(vec![
        "hello\r\n",
        "\x1b[?1049h",
        "\x1b[?1049l",
        "\x1b[?1000h\x1b[?1006h",
        "\x1b[?2026h",
        "\x1b[2J",
        "漢👍🏽\u{301}",
        "\x1b]52;c;aGk=\x07",
        "\x07\x1b]9;x\x07",
        "\x1b[>31u",
        "\x1b[c\x1b[>q",
        "\x1bc",
        "http://a.example ",
    ]);
    prop_oneof![
        4 => (code(), prop::bool::ANY).prop_map(|(code, control)| {
            Step::Key(code, if control { KeyModifiers::CONTROL } else { NONE })
        }),
        8 => code().prop_map(Step::Prefixed),
        4 => (prop::sample::select(kinds), (0u16..130, 0u16..45)).prop_map(|(kind, at)| Step::Mouse(kind, at)),
        3 => (0usize..9, prop::collection::vec(text, 0..5)).prop_map(|(id, texts)| Step::Printed(id, texts.concat().into())),
        1 => (0usize..9, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(id, bytes)| Step::Printed(id, bytes)),
        3 => (0usize..9).prop_map(Step::Attached),
        1 => (0usize..9).prop_map(Step::Ended),
        1 => (1u16..200, 1u16..60).prop_map(|(columns, rows)| Step::Resize(columns, rows)),
        1 => Just(Step::Paste),
        1 => Just(Step::Wake),
        1 => Just(Step::Tick),
        1 => Just(Step::Gone),
    ]
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_screen_is_drawn(steps in prop::collection::vec(step(), 1..60)) {
        let mut model = app(&["box", "web"]);
        opened(&mut model, "box", "1");
        let mut screen = Screens::new(TestBackend::new(120, 40)).unwrap();
        for (number, step) in steps.into_iter().enumerate() {
            let id = |model: &Model, place: usize| {
                let count = model.consoles.len().max(1);
                model.consoles.get(place % count).map_or(0, |tab| tab.id)
            };
            match step {
                Step::Key(code, modifiers) => drop(press(&mut model, code, modifiers)),
                Step::Prefixed(code) => {
                    press(&mut model, KeyCode::Char(']'), KeyModifiers::CONTROL);
                    press(&mut model, code, NONE);
                }
                Step::Mouse(kind, at) => drop(mouse(&mut model, kind, at)),
                Step::Printed(place, bytes) => {
                    let id = id(&model, place);
                    update(&mut model, Event::Console(id, ExecEvent::Stdout(bytes.into())));
                }
                Step::Attached(place) => {
                    let id = id(&model, place);
                    attached(&mut model, id, &number.to_string());
                }
                Step::Ended(place) => {
                    let id = id(&model, place);
                    update(&mut model, Event::Console(id, ExecEvent::Exit(0)));
                }
                Step::Resize(columns, rows) => {
                    update(&mut model, Event::Terminal(Terminal::Resize(columns, rows)));
                    screen.backend_mut().resize(columns, rows);
                    screen.resize(ratatui::layout::Rect::new(0, 0, columns, rows)).unwrap();
                }
                Step::Paste => drop(update(&mut model, Event::Terminal(Terminal::Paste("a\x1bb\n".into())))),
                Step::Wake => drop(update(&mut model, Event::Wake)),
                Step::Tick => drop(update(&mut model, Event::Tick(Instant::now() + UNSEEN * 2))),
                Step::Gone => model.consoles.retain(|tab| tab.id % 3 != 0 || matches!(model.screen, Screen::Console(id) if id == tab.id)),
            }
            update(&mut model, Event::Wake);
            screen.draw(|frame| crate::view::draw(&model, frame)).unwrap();
            if let Screen::Console(id) = model.screen {
                prop_assert!(model.consoles.iter().any(|tab| tab.id == id));
                prop_assert!(model.panes().iter().any(|(pane, _)| *pane == id), "the focus is on the screen");
                for (pane, place) in model.panes() {
                    let inside = crate::view::geometry::inner(place);
                    let tab = model.consoles.iter().find(|tab| tab.id == pane).unwrap();
                    prop_assert_eq!(tab.terminal.dimensions(), (inside.height, inside.width));
                }
            } else {
                // Back, by the way a person takes.
                if model.dialog.is_some() {
                    press(&mut model, KeyCode::Esc, NONE);
                }
                model.dialog = None;
                if let Some(id) = model.consoles.last().map(|tab| tab.id) {
                    show(&mut model, id);
                } else {
                    opened(&mut model, "box", "again");
                }
            }
            model.quit = false;
        }
    }
}

#[test]
fn many_scrollbacks_are_bounded_together() {
    let mut model = app(&["box"]);
    let ids: Vec<u64> = (0..12).map(|session| opened(&mut model, "box", &session.to_string())).collect();
    let lines = "\n".repeat(10_000);
    let cells = |model: &Model| -> Vec<usize> {
        model.consoles.iter().map(|tab| tab.terminal.scrollback_cells()).collect()
    };
    // As many as there is room for keep all.
    for id in &ids[..6] {
        printed(&mut model, *id, &lines);
    }
    let full = cells(&model)[0];
    assert!(cells(&model)[..6].iter().all(|cells| *cells == full && *cells > CELLS / 12));
    for id in &ids[6..] {
        printed(&mut model, *id, &lines);
    }
    let after = cells(&model);
    assert!(after.iter().sum::<usize>() <= CELLS, "{after:?}");
    assert!(after.iter().all(|cells| *cells + 200 >= CELLS / 12), "{after:?}");
}
