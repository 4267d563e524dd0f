//! Finding and acting: the palette, filters, marks, chords, ways back, read-only mode; and that no keys and events get lost in them.

use super::{dashboard, model, text, with_sprites};
use crossterm::event::{
    Event as Press, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use proptest::prelude::*;
use sprites_api::extension::EventKind;
use sprites_api::sprite::{Sprite, Status, WatchLine};
use sprites_tui::action::{Action, Part};
use sprites_tui::model::dashboard::{Glance, Known, Seen};
use sprites_tui::model::{Ask, Attachment, Here, Load, Many, Model, Row, Screen};
use sprites_tui::theme::Theme;
use sprites_tui::update::{Effect, Event, update};
use sprites_tui::view::geometry;
use strum::IntoEnumIterator;

fn press(model: &mut Model, code: KeyCode) -> Vec<Effect> {
    update(model, Event::Terminal(Press::Key(KeyEvent::from(code))))
}

fn ctrl(model: &mut Model, key: char) -> Vec<Effect> {
    update(model, Event::Terminal(Press::Key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL))))
}

/// Types; gives what came of the last key.
fn keys(model: &mut Model, keys: &str) -> Vec<Effect> {
    keys.chars().fold(Vec::new(), |_, key| press(model, KeyCode::Char(key)))
}

fn some(columns: u16, rows: u16) -> Model {
    let mut model = model(columns, rows);
    with_sprites(&mut model, &["agent", "box", "tmp-1", "tmp-2", "web"]);
    model.connected = true;
    model
}

fn chosen(model: &Model) -> Option<&str> {
    model.palette.as_ref().and_then(|palette| palette.entry()).map(|entry| entry.text.as_str())
}

#[test]
fn the_palette_finds_everything() {
    let mut model = some(100, 30);
    model.themes.extend(Theme::all(None).0);
    keys(&mut model, ":");
    insta::assert_snapshot!("palette", text(&model));
    keys(&mut model, "chkp");
    assert_eq!(chosen(&model), Some("checkpoint"));
    press(&mut model, KeyCode::Enter);
    assert!(matches!(&model.dialog, Some(dialog) if dialog.ask == Ask::Checkpoint("agent".into())));
    press(&mut model, KeyCode::Esc);
    // What it is told to be about finds it as well.
    keys(&mut model, ":this month");
    assert_eq!(chosen(&model), Some("costs"));
    press(&mut model, KeyCode::Esc);
    assert!(model.palette.is_none());
    // Sprites, themes, columns.
    keys(&mut model, ":go web");
    press(&mut model, KeyCode::Enter);
    assert_eq!((model.screen, model.selected.as_deref()), (Screen::Sprite, Some("web")));
    keys(&mut model, ":theme light");
    assert_eq!(chosen(&model), Some("theme light"));
    // What is selected is seen, and leaving it takes it back.
    assert_eq!(model.colors().name, "light");
    press(&mut model, KeyCode::Esc);
    assert_eq!(model.colors().name, "marked");
    keys(&mut model, ":theme light");
    press(&mut model, KeyCode::Enter);
    assert_eq!(model.colors().name, "light");
    keys(&mut model, ":sort cost");
    press(&mut model, KeyCode::Enter);
    assert_eq!((model.screen, model.order.first().map(String::as_str)), (Screen::List, Some("web")));
    // What cannot be done says why, and does nothing.
    keys(&mut model, ":undo");
    assert_eq!(chosen(&model), Some("undo"));
    press(&mut model, KeyCode::Enter);
    assert!(model.palette.is_some() && text(&model).contains("cannot be done on this screen"));
    press(&mut model, KeyCode::Esc);
    keys(&mut model, ":nothing is called like that");
    assert!(text(&model).contains("Nothing is called that."));
    press(&mut model, KeyCode::Enter);
    press(&mut model, KeyCode::Esc);
    // Earlier lines come back, the newest first.
    keys(&mut model, ":");
    ctrl(&mut model, 'p');
    assert_eq!(chosen(&model), Some("sort cost"));
    ctrl(&mut model, 'p');
    ctrl(&mut model, 'p');
    ctrl(&mut model, 'n');
    assert_eq!(chosen(&model), Some("theme light"));
    press(&mut model, KeyCode::Esc);
}

#[test]
fn commands_take_what_they_need() {
    let mut model = some(100, 30);
    keys(&mut model, ":new api-2");
    assert!(
        matches!(&press(&mut model, KeyCode::Enter)[..], [Effect::Create { name, .. }] if name == "api-2")
    );
    keys(&mut model, ":new Not a name");
    insta::assert_snapshot!("palette-refuses", text(&model));
    assert_eq!(press(&mut model, KeyCode::Enter), []);
    press(&mut model, KeyCode::Esc);
    model.selected = Some("box".into());
    keys(&mut model, ":checkpoint before the upgrade");
    let effects = press(&mut model, KeyCode::Enter);
    assert!(
        matches!(&effects[..], [Effect::Checkpoint { name, comment: Some(comment), .. }]
            if name == "box" && comment == "before the upgrade"),
        "{effects:?}"
    );
    keys(&mut model, ":filter state:running");
    press(&mut model, KeyCode::Enter);
    assert_eq!(model.order, ["agent", "tmp-2"]);
    // Tab writes the selected command out.
    keys(&mut model, ":for");
    press(&mut model, KeyCode::Tab);
    assert_eq!(model.palette.as_ref().map(|palette| palette.input.value()), Some("fork"));
    press(&mut model, KeyCode::Esc);
    // A click on an entry does it, one beside it closes the palette.
    keys(&mut model, ":");
    let click = |column, row| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        Event::Terminal(Press::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }))
    };
    update(&mut model, click(0, 29));
    assert!(model.palette.is_none());
}

#[test]
fn filters_are_looked_at_while_they_are_typed() {
    let mut model = some(80, 24);
    keys(&mut model, "/!name:tmp");
    assert_eq!(model.order, ["agent", "box", "web"]);
    keys(&mut model, " stat:");
    insta::assert_snapshot!("filter-mistake", text(&model));
    // A mistake is not taken, and what was shown is shown still.
    press(&mut model, KeyCode::Enter);
    assert!(model.dialog.is_some());
    assert_eq!(model.filter, "!name:tmp stat");
    for _ in 0.." stat:".len() {
        press(&mut model, KeyCode::Backspace);
    }
    press(&mut model, KeyCode::Enter);
    assert!(model.dialog.is_none());
    assert_eq!(model.order, ["agent", "box", "web"]);
    // Taken back, it is as it was before.
    keys(&mut model, "/ box");
    assert_eq!(model.order, ["box"]);
    press(&mut model, KeyCode::Esc);
    assert_eq!((model.filter.as_str(), model.order.len()), ("!name:tmp", 3));
    press(&mut model, KeyCode::Esc);
    assert_eq!(model.order.len(), 5);
}

#[test]
fn marked_sprites_are_acted_on_together() {
    let mut model = some(80, 24);
    keys(&mut model, "jj ");
    assert_eq!(model.selected.as_deref(), Some("tmp-2"));
    keys(&mut model, "V");
    insta::assert_snapshot!("marked", text(&model));
    keys(&mut model, "x");
    assert!(
        matches!(&model.dialog, Some(dialog) if matches!(&dialog.ask, Ask::Many(Many::Destroy, names) if names.len() == 2))
    );
    insta::assert_snapshot!("marked-destroy", text(&model));
    // One key destroys nothing, and neither does one name.
    press(&mut model, KeyCode::Enter);
    keys(&mut model, "tmp-1");
    assert_eq!(press(&mut model, KeyCode::Enter), []);
    press(&mut model, KeyCode::Esc);
    keys(&mut model, "xdestroy 2");
    let effects = press(&mut model, KeyCode::Enter);
    let of = |effect: &Effect| match effect {
        Effect::Destroy { name, .. } | Effect::Stop { name, .. } => name.clone(),
        effect => panic!("{effect:?}"),
    };
    assert_eq!(effects.iter().map(of).collect::<Vec<_>>(), ["tmp-1", "tmp-2"]);
    assert!(model.marked.is_empty());
    keys(&mut model, "*z");
    assert_eq!(keys(&mut model, "Z").len(), 5);
    // Marks go with esc, and with their sprites.
    keys(&mut model, "* ");
    assert_eq!(model.marked.len(), 4);
    update(&mut model, Event::Sprite("agent".into(), None));
    assert!(!model.marked.contains("agent"));
    press(&mut model, KeyCode::Esc);
    assert!(model.marked.is_empty());
}

#[test]
fn nothing_is_changed_in_read_only_mode() {
    let mut model = some(80, 24);
    keys(&mut model, "R");
    insta::assert_snapshot!("read-only", text(&model));
    for action in Action::iter().filter(|action| action.changes()) {
        assert!(model.possible(action).is_err(), "{action}");
    }
    for key in "ncfzxbB".chars() {
        assert_eq!(keys(&mut model, &key.to_string()), [], "{key}");
        assert!(model.dialog.is_none(), "{key}");
    }
    keys(&mut model, ":new box-2");
    assert_eq!(press(&mut model, KeyCode::Enter), []);
    press(&mut model, KeyCode::Esc);
    // Looking and typing go on.
    assert!(matches!(keys(&mut model, "t")[..], [Effect::OpenConsole { .. }]));
    ctrl(&mut model, ']');
    keys(&mut model, "d");
    keys(&mut model, "Rn");
    assert!(model.dialog.is_some());
}

#[test]
fn a_key_can_begin_others() {
    let mut model = some(80, 24);
    keys(&mut model, "g");
    insta::assert_snapshot!("chord", text(&model));
    keys(&mut model, "n");
    assert_eq!((model.screen, model.part), (Screen::Sprite, Part::Network));
    assert!(model.waiting.is_empty());
    keys(&mut model, "gs");
    assert_eq!(model.screen, Screen::List);
    // What does not follow does nothing, and is no key of its own.
    keys(&mut model, "gx");
    assert!(model.dialog.is_none() && model.waiting.is_empty());
}

#[test]
fn ways_lead_back_and_forward() {
    let mut model = some(80, 24);
    press(&mut model, KeyCode::Enter);
    press(&mut model, KeyCode::Tab);
    keys(&mut model, "gs");
    model.selected = Some("web".into());
    press(&mut model, KeyCode::Enter);
    keys(&mut model, "$");
    assert!(text(&model).contains("sprites › costs"));
    keys(&mut model, "[");
    assert_eq!((model.screen, model.selected.as_deref()), (Screen::Sprite, Some("web")));
    assert!(text(&model).contains("sprites › web › network"));
    keys(&mut model, "[[");
    assert_eq!((model.selected.as_deref(), model.part), (Some("agent"), Part::Network));
    let effects = keys(&mut model, "[");
    assert_eq!(model.part, Part::Checkpoints);
    assert!(!effects.contains(&Effect::LoadHistory("agent".into(), 60)), "it is open already");
    // Over what is gone meanwhile.
    update(&mut model, Event::Sprite("web".into(), None));
    keys(&mut model, "]]]]]");
    assert_eq!(model.screen, Screen::Costs);
    keys(&mut model, "]");
    assert!(text(&model).contains("This is where you were last."));
}

#[test]
fn texts_are_searched() {
    let mut model = some(80, 24);
    keys(&mut model, "?/checkp");
    press(&mut model, KeyCode::Enter);
    insta::assert_snapshot!("help-searched", text(&model));
    press(&mut model, KeyCode::Esc);
    assert_eq!((model.screen, model.search.as_str()), (Screen::Help, ""));
    press(&mut model, KeyCode::Esc);
    assert_eq!(model.screen, Screen::List);
}

#[test]
fn the_first_steps_go_on_with_what_is_done() {
    let mut model = model(80, 24);
    model.connected = true;
    model.has_image = Some(false);
    model.sprites = Load::Ready(std::collections::BTreeMap::new());
    keys(&mut model, "H");
    assert!(text(&model).contains("b builds it"));
    model.has_image = Some(true);
    insta::assert_snapshot!("tour", text(&model));
    update(&mut model, Event::Sprites(Ok(vec![sprite(1)])));
    assert!(text(&model).contains("2 of 6") && text(&model).contains("t opens a console"));
    keys(&mut model, "t");
    insta::assert_snapshot!("tour-in-a-console", text(&model));
    ctrl(&mut model, ']');
    keys(&mut model, "d");
    assert!(text(&model).contains("4 of 6"));
    // They are told only where they can be taken.
    keys(&mut model, "?");
    assert!(!text(&model).contains("first steps"));
    press(&mut model, KeyCode::Esc);
    press(&mut model, KeyCode::Enter);
    assert!(text(&model).contains("5 of 6"));
    // Whoever has seen enough leaves it; whoever wants it again begins anew, past what has been done.
    assert_eq!(keys(&mut model, "H"), [Effect::Toured]);
    assert!(!text(&model).contains("first steps"));
    press(&mut model, KeyCode::Esc);
    keys(&mut model, "H");
    assert!(text(&model).contains("2 of 6"));
    keys(&mut model, "HghH");
    assert!(text(&model).contains("they begin in the list of sprites"));
}

/// The steps have rows of their own: the screen has fewer, and its last is still there.
#[test]
fn the_first_steps_cover_nothing() {
    for (columns, rows) in [(60, 16), (80, 24), (120, 40), (200, 50)] {
        let mut model = some(columns, rows);
        keys(&mut model, "H");
        let shown = text(&model);
        assert!(shown.contains("first steps, 2 of 6:") && shown.contains("H skips them."), "{shown}");
        let effects = keys(&mut model, "t");
        let Some(Effect::OpenConsole { id, .. }) = effects.first() else { panic!("{effects:?}") };
        let place = geometry::console(&model);
        let tab = model.console(*id).unwrap();
        assert_eq!(tab.terminal.dimensions(), (place.height, place.width));
        tab.attachment = Attachment::Attached;
        let _ = tab.terminal.feed(format!("{}the last row", "\r\n".repeat(60)).as_bytes());
        let shown = text(&model);
        assert!(shown.contains("the last row") && shown.contains("first steps, 3 of 6:"), "{shown}");
        assert!(!shown.contains("skips them"), "that key is the program's: {shown}");
        ctrl(&mut model, ']');
        keys(&mut model, "d");
        press(&mut model, KeyCode::Enter);
        let shown = text(&model);
        assert!(shown.contains("5 of 6") && shown.contains("Asking the server"), "{shown}");
    }
}

/// What may come in any order.
#[derive(Clone, Debug)]
enum Step {
    Key(KeyCode, KeyModifiers),
    Mouse(MouseEventKind, u16, u16),
    Resize(u16, u16),
    Paste(String),
    Comes(u8),
    Goes(u8),
    List(Vec<u8>),
    Runs(u8, u8),
    Chord(char),
    Seen(bool, Vec<u8>),
    Happened(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let keys: Vec<char> = "nctTDrufdzxqQRSUWZkjgGs$/:?*V[]evlbBPC+-aiowp 95yé漢\u{301}".chars().collect();
    let code = prop_oneof![
        8 => prop::sample::select(keys).prop_map(KeyCode::Char),
        4 => prop::sample::select(vec![
            KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab, KeyCode::Up, KeyCode::Down, KeyCode::Left,
            KeyCode::Right, KeyCode::Home, KeyCode::End, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Backspace, KeyCode::F(5),
        ]),
    ];
    let modifiers = prop_oneof![6 => Just(KeyModifiers::NONE), 1 => Just(KeyModifiers::CONTROL), 1 => Just(KeyModifiers::ALT)];
    let mouse = prop::sample::select(vec![
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::ScrollDown,
        MouseEventKind::ScrollUp,
        MouseEventKind::Drag(MouseButton::Left),
        MouseEventKind::Up(MouseButton::Left),
    ]);
    prop_oneof![
        12 => (code, modifiers).prop_map(|(code, modifiers)| Step::Key(code, modifiers)),
        2 => (mouse, 0..220_u16, 0..60_u16).prop_map(|(kind, column, row)| Step::Mouse(kind, column, row)),
        1 => (0..220_u16, 0..60_u16).prop_map(|(columns, rows)| Step::Resize(columns, rows)),
        1 => ".{0,20}".prop_map(Step::Paste),
        1 => (0..6_u8).prop_map(Step::Comes),
        1 => (0..6_u8).prop_map(Step::Goes),
        1 => prop::collection::vec(0..6_u8, 0..6).prop_map(Step::List),
        1 => (0..6_u8, 0..3_u8).prop_map(|(which, how)| Step::Runs(which, how)),
        2 => prop::sample::select(vec!['h', 't', 's', 'c']).prop_map(Step::Chord),
        1 => (any::<bool>(), prop::collection::vec(0..6_u8, 0..6)).prop_map(|(here, which)| Step::Seen(here, which)),
        1 => prop::collection::vec(0..6_u8, 0..6).prop_map(Step::Happened),
    ]
}

/// A glance at a context; one without sprites does not answer.
fn seen(context: &str, which: &[u8]) -> Event {
    let one = |which: &u8| Seen { name: format!("s{which}"), status: Status::Running, ..Seen::default() };
    let known = Known { sprites: which.iter().map(one).collect(), ..Known::default() };
    let known = if which.is_empty() { Err("it does not answer".to_owned()) } else { Ok(known) };
    Event::Glance(context.to_owned(), Box::new(Glance { endpoint: String::new(), known }))
}

fn sprite(which: u8) -> Sprite {
    Sprite { name: format!("s{which}"), id: format!("sprite-{which}"), ..Sprite::default() }
}

/// What a step consists of.
fn events(step: Step) -> Vec<Event> {
    match step {
        Step::Chord(key) => {
            ['g', key].map(|key| event(Step::Key(KeyCode::Char(key), KeyModifiers::NONE))).into()
        }
        step => vec![event(step)],
    }
}

fn event(step: Step) -> Event {
    match step {
        Step::Chord(_) => Event::Wake,
        Step::Seen(here, which) => seen(if here { "local" } else { "away" }, &which),
        Step::Happened(which) => {
            let one = |which: u8| {
                dashboard::happened(&format!("s{which}"), u32::from(which), EventKind::State, "why")
            };
            Event::Timeline(None, Ok(which.into_iter().map(one).collect()))
        }
        Step::Key(code, modifiers) => Event::Terminal(Press::Key(KeyEvent::new(code, modifiers))),
        Step::Mouse(kind, column, row) => {
            Event::Terminal(Press::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }))
        }
        Step::Resize(columns, rows) => Event::Terminal(Press::Resize(columns, rows)),
        Step::Paste(text) => Event::Terminal(Press::Paste(text)),
        Step::Comes(which) => Event::Sprite(format!("s{which}"), Some(Box::new(sprite(which)))),
        Step::Goes(which) => Event::Sprite(format!("s{which}"), None),
        Step::List(which) => Event::Sprites(Ok(which.into_iter().map(sprite).collect())),
        Step::Runs(which, how) => Event::Watched(WatchLine {
            kind: "sprite".into(),
            name: Some(format!("s{which}")),
            status: Some([Status::Running, Status::Warm, Status::Cold][usize::from(how % 3)]),
            running_version: None,
            last_running_at: None,
            last_warming_at: None,
            timestamp: None,
            org: None,
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    /// Nothing panics, what is selected stays selected as long as it is there, and nothing else is destroyed than what was named.
    #[test]
    fn no_keys_and_events_lose_the_selection(steps in prop::collection::vec(step(), 1..60)) {
        let mut model = model(80, 24);
        // What is typed and pasted is not ours, and may have any sign in it.
        model.themes = vec![Theme::plain()];
        model.connected = true;
        let rows = (0..4).map(|which| (format!("s{which}"), Row::new(sprite(which))));
        model.sprites = Load::Ready(rows.collect());
        model.arrange();
        model.contexts = vec!["local".into(), "away".into()];
        let steps = steps.into_iter().flat_map(|step| {
            let outside = !matches!(step, Step::Key(..) | Step::Mouse(..) | Step::Paste(_) | Step::Chord(_));
            events(step).into_iter().map(move |event| (outside, event))
        });
        for (outside, event) in steps {
            let line = model.dashboard.chosen.clone();
            let before = model.selected.clone();
            let effects = update(&mut model, event);
            let there = |name: &String| model.order.contains(name);
            if outside && let Some(name) = before.filter(there) {
                prop_assert_eq!(model.selected.as_ref(), Some(&name));
            }
            if outside && let Some(line) = line.filter(|line| model.dashboard_lines().contains(line)) {
                prop_assert_eq!(model.dashboard.chosen.as_ref(), Some(&line));
            }
            if let Some(Effect::Enter(index)) = effects.iter().find(|effect| matches!(effect, Effect::Enter(_))) {
                let context = model.contexts[*index].clone();
                model.enter(Here { context, ..Here::default() });
            }
            if let Load::Ready(sprites) = &model.sprites {
                prop_assert!(model.order.iter().all(|name| sprites.contains_key(name)));
                prop_assert!(model.marked.iter().all(|name| sprites.contains_key(name)));
            }
            prop_assert!(!effects.iter().any(|effect| matches!(effect, Effect::Destroy { .. })), "{:?}", effects);
            if model.size.0 > 0 && model.size.1 > 0 {
                text(&model);
            }
        }
    }
}
