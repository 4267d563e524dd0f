//! Whole screens in every state, as text and, for one, with its colours.
//!
//! After a deliberate change: `INSTA_UPDATE=always cargo test -p snapshots-tests --test screens`, then look at the difference.

#[path = "screens/dashboard.rs"]
mod dashboard;
#[path = "screens/files.rs"]
mod files;
#[path = "screens/find.rs"]
mod find;
#[path = "screens/inside.rs"]
mod inside;
#[path = "screens/network.rs"]
mod network;
#[path = "screens/plain.rs"]
mod plain;
#[path = "screens/settings.rs"]
mod settings;

use crossterm::event::{Event as Press, KeyCode, KeyEvent};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use snapshots_tests::fit;
use sprites_api::Time;
use sprites_api::cost::{Budget, CostRow, Costs};
use sprites_api::extension::{BuildLine, Event as Past, EventKind, Tree, TreeNode, UsageSample, UsageTotals};
use sprites_api::sprite::{Sprite, Status};
use sprites_tui::keys::Keys;
use sprites_tui::look::{Graphs, Look};
use sprites_tui::model::{Ask, Dialog, Group, Here, History, Load, Model, Row, Screen, Weight};
use sprites_tui::theme::Theme;
use sprites_tui::update::{Effect, Event, update};
use sprites_tui::view;
use std::collections::BTreeMap;

fn here() -> Here {
    Here { context: "local".into(), endpoint: "the local server".into(), local: true }
}

fn model(columns: u16, rows: u16) -> Model {
    Model::new(here(), Keys::default(), vec![fit::marked()], 0, (columns, rows))
}

fn draw(model: &Model) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(model.size.0, model.size.1)).unwrap();
    terminal.draw(|frame| view::draw(model, frame)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    if model.colors().name == "marked" {
        let console = matches!(model.screen, Screen::Console(_)).then(|| view::geometry::console(model));
        fit::check(&buffer, |x, y| console.is_some_and(|area| area.contains((x, y).into())));
    }
    buffer
}

fn text(model: &Model) -> String {
    let buffer = draw(model);
    let area = buffer.area;
    let line = |y| {
        let cells = (0..area.width).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned()
    };
    (0..area.height).map(line).collect::<Vec<_>>().join("\n")
}

/// Sprites in all states; times are left out, because they would change.
fn with_sprites(model: &mut Model, names: &[&str]) {
    let statuses = [Status::Running, Status::Warm, Status::Cold];
    let rows: BTreeMap<String, Row> = names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let status = statuses[index % statuses.len()];
            let sprite =
                Sprite { name: (*name).into(), id: format!("sprite-{index}"), status, ..Sprite::default() };
            let mut row = Row::new(sprite);
            row.stored = 1_500_000 * index as u64;
            row.totals = UsageTotals { cost_usd: 0.01 * index as f64, ..UsageTotals::default() };
            ((*name).to_owned(), row)
        })
        .collect();
    model.sprites = Load::Ready(rows);
    model.has_image = Some(true);
    model.arrange();
}

#[test]
fn the_list_before_there_is_one() {
    let mut model = model(80, 24);
    insta::assert_snapshot!("list-loading", text(&model));
    model.sprites = Load::Failed("no connection to the local server: refused".into());
    insta::assert_snapshot!("list-failed", text(&model));
    model.sprites = Load::Ready(BTreeMap::new());
    model.has_image = Some(false);
    insta::assert_snapshot!("list-no-image", text(&model));
    model.build =
        Some(BuildLine { fraction: 0.42, step: "Installing packages".into(), ..BuildLine::default() });
    insta::assert_snapshot!("list-building", text(&model));
    model.build = None;
    model.has_image = Some(true);
    insta::assert_snapshot!("list-empty", text(&model));
}

#[test]
fn the_list() {
    let names = ["agent", "box", "a-very-long-name-that-goes-on-and-on-until-it-ends-at-last", "zebra"];
    for (columns, rows) in [(80, 24), (120, 40), (200, 50), (60, 16)] {
        let mut model = model(columns, rows);
        model.emulated = true;
        with_sprites(&mut model, &names);
        insta::assert_snapshot!(format!("list-{columns}x{rows}"), text(&model));
    }
    let mut failed = model(80, 24);
    with_sprites(&mut failed, &names);
    if let Load::Ready(rows) = &mut failed.sprites {
        let row = rows.get_mut("box").unwrap();
        // Terminal codes and wide characters from a server do no harm.
        *row = Row::new(Sprite {
            name: "box".into(),
            failure: Some("it \x1b[31mbroke 日本語".into()),
            ..Sprite::default()
        });
        row.sprite.labels = vec!["標識".into()];
    }
    failed.selected = Some("box".into());
    failed.screen = Screen::Sprite;
    failed.tree = Some(("box".into(), Load::Failed("the disk is damaged".into())));
    insta::assert_snapshot!("sprite-failed", text(&failed));
}

#[test]
fn ten_thousand_sprites_show_the_selected_one() {
    let mut model = model(80, 24);
    let names: Vec<String> = (0..10_000).map(|n| format!("s{n:05}")).collect();
    with_sprites(&mut model, &names.iter().map(String::as_str).collect::<Vec<_>>());
    model.select(7_777);
    insta::assert_snapshot!("list-many", text(&model));
    model.filter = "s0123".into();
    model.arrange();
    insta::assert_snapshot!("list-filtered", text(&model));
    model.filter = "none".into();
    model.arrange();
    insta::assert_snapshot!("list-nothing-fits", text(&model));
}

#[test]
fn a_sprite_with_its_checkpoints() {
    let mut model = model(100, 34);
    with_sprites(&mut model, &["box"]);
    model.screen = Screen::Sprite;
    let long_ago = Time::from_micros(0);
    let node = |id: &str, parent: Option<&str>, comment: Option<&str>, bytes| TreeNode {
        id: id.into(),
        parent: parent.map(str::to_owned),
        create_time: long_ago,
        comment: comment.map(str::to_owned),
        is_auto: id.starts_with("pre"),
        exclusive_bytes: bytes,
        shared_bytes: 0,
        memory_bytes: (id == "v1").then_some(71 << 20),
    };
    let nodes = vec![
        node("v0", None, Some("first"), 4096),
        node("v1", Some("v0"), None, 1_200_000),
        node(
            "v2",
            Some("v1"),
            Some("a comment that is far too long for the room it has on this screen, and then some"),
            0,
        ),
        node("pre-restore-v1-1700000000", Some("v2"), Some("Before restoring v1"), 77_000_000),
        node("Current", Some("v1"), None, 12_288),
    ];
    model.tree = Some(("box".into(), Load::Ready(Tree { nodes })));
    model.checkpoint = Some("v1".into());
    // The age of what is long ago grows a day every day.
    let words = text(&model);
    let stable: Vec<&str> = words
        .lines()
        .map(|line| line.split(" d│").next().unwrap_or(line))
        .map(|line| line.trim_end_matches(|c: char| c.is_ascii_digit()))
        .collect();
    insta::assert_snapshot!("sprite", stable.join("\n"));
}

#[test]
fn graphs_tell_of_a_moment_and_go_back_in_time() {
    let mut model = model(160, 40);
    with_sprites(&mut model, &["box"]);
    let press = |model: &mut Model, letter| {
        update(model, Event::Terminal(Press::Key(KeyEvent::from(KeyCode::Char(letter)))))
    };
    update(&mut model, Event::Terminal(Press::Key(KeyEvent::from(KeyCode::Enter))));
    let now = Time::now().as_micros();
    let sample = |second: i64| UsageSample {
        time: Time::from_micros(now - second * 1_000_000),
        seconds: 1.0,
        cpus: 0.37,
        memory_bytes: 123_000_000,
        processes: 4,
        sent_bytes: 0,
        received_bytes: 0,
        read_bytes: 0,
        written_bytes: 0,
        cost_usd: 0.0,
    };
    model.history.samples = (0..=20).chain(40..=80).rev().map(sample).collect();
    assert!(!text(&model).contains("37 %"));
    for _ in 0..5 {
        press(&mut model, ',');
    }
    assert!(text(&model).contains("37 %") && text(&model).contains("123 MB"), "{}", text(&model));
    for _ in 0..25 {
        press(&mut model, ',');
    }
    assert!(text(&model).contains("asleep"));
    for _ in 0..50 {
        press(&mut model, '.');
    }
    assert_eq!(model.graphs_mark, None);
    assert_eq!(press(&mut model, '<'), [Effect::LoadHistory("box".into(), 90)]);
    assert!(text(&model).contains("-90 s") && text(&model).contains("-30 s"), "{}", text(&model));
    assert_eq!(press(&mut model, '>'), [Effect::LoadHistory("box".into(), 60)]);
    assert_eq!(press(&mut model, '>'), []);
}

#[test]
fn dialogs_and_texts() {
    let asks = [
        ("new", Ask::New),
        ("destroy", Ask::Destroy("box".into())),
        ("restore", Ask::Restore("box".into(), "v3".into())),
        ("delete", Ask::Delete("box".into(), "v3".into(), 5_000_000)),
    ];
    for (name, ask) in asks {
        let mut model = model(80, 24);
        with_sprites(&mut model, &["box"]);
        model.dialog = Some(Dialog::new(ask, ""));
        insta::assert_snapshot!(format!("dialog-{name}"), text(&model));
    }
    let mut memory = model(80, 24);
    with_sprites(&mut memory, &["box"]);
    let restore = Dialog::new(Ask::Restore("box".into(), "v3".into()), "");
    memory.dialog = Some(Dialog { switch: Some(true), ..restore });
    insta::assert_snapshot!("dialog-restore-memory", text(&memory));
    let mut help = model(80, 50);
    help.screen = Screen::Help;
    insta::assert_snapshot!("help", text(&help));
    let small = model(40, 10);
    insta::assert_snapshot!("too-small", text(&small));
}

#[test]
fn without_colours_nothing_is_coloured_and_states_still_differ() {
    let mut model = Model::new(here(), Keys::default(), vec![Theme::plain()], 0, (80, 24));
    with_sprites(&mut model, &["a", "b", "c"]);
    let buffer = draw(&model);
    let reset = ratatui::style::Color::Reset;
    assert!(buffer.content.iter().all(|cell| cell.fg == reset && cell.bg == reset));
    let words = text(&model);
    assert!(words.contains("● running") && words.contains("◐ warm") && words.contains("○ cold"));
}

#[test]
fn every_theme_colours_the_selection() {
    for theme in 0..Theme::all(None).0.len() {
        let mut model = model(80, 24);
        model.themes = Theme::all(None).0;
        model.theme = theme;
        with_sprites(&mut model, &["a", "b"]);
        let buffer = draw(&model);
        assert_ne!(buffer[(3, 3)].style(), buffer[(3, 4)].style(), "{}", model.colors().name);
    }
}

/// What graphs are drawn with, and that ASCII is all there is where nothing else is wanted.
#[test]
fn graphs_of_three_kinds() {
    let mut model = model(100, 34);
    with_sprites(&mut model, &["box"]);
    model.screen = Screen::Sprite;
    let now = jiff::Timestamp::now().as_microsecond();
    let samples: Vec<UsageSample> = (0..60)
        .map(|second| UsageSample {
            time: Time::from_micros(now - (60 - second) * 1_000_000),
            seconds: 1.0,
            cpus: (second % 7) as f64 / 7.0,
            memory_bytes: 1_000_000 * second as u64,
            processes: 1,
            sent_bytes: 0,
            received_bytes: 0,
            read_bytes: 0,
            written_bytes: 0,
            cost_usd: 0.0,
        })
        .collect();
    if let Load::Ready(rows) = &mut model.sprites {
        rows.get_mut("box").unwrap().recent.extend(samples.iter().copied());
    }
    model.history = History { name: "box".into(), samples };
    for (graphs, range) in [
        (Graphs::Braille, '\u{2801}'..='\u{28ff}'),
        (Graphs::Blocks, '\u{2580}'..='\u{259f}'),
        (Graphs::Ascii, '*'..='*'),
    ] {
        model.look.graphs = graphs;
        let words = text(&model);
        assert!(words.contains(|c| range.contains(&c)), "{graphs}: {words}");
    }
    for screen in [Screen::Sprite, Screen::List, Screen::Help] {
        model.screen = screen;
        model.look = Look { ascii: true, ..Look::default() };
        assert!(text(&model).is_ascii());
    }
    model.screen = Screen::List;
    insta::assert_snapshot!("list-ascii", text(&model));
}

/// Messages stay until a key where motion is reduced.
#[test]
fn messages_stay_until_they_are_read() {
    let mut model = model(80, 24);
    with_sprites(&mut model, &["box"]);
    model.look.reduced_motion = true;
    model.say(Weight::Good, "It is done.");
    let later = std::time::Instant::now() + std::time::Duration::from_secs(3600);
    update(&mut model, Event::Tick(later));
    assert!(text(&model).contains("It is done."));
    update(&mut model, Event::Terminal(Press::Key(KeyEvent::from(KeyCode::Down))));
    assert!(!text(&model).contains("It is done."));
    assert!(Event::Tick(later).is_unasked());
}

#[test]
fn tab_switches_memory_where_it_is_to_be_had() {
    let press = |model: &mut Model, code| update(model, Event::Terminal(Press::Key(KeyEvent::from(code))));
    for (keeps, expected) in [(false, false), (true, true)] {
        let mut model = model(80, 24);
        with_sprites(&mut model, &["box"]);
        model.keeps_memory = keeps;
        press(&mut model, KeyCode::Char('c'));
        assert_eq!(text(&model).contains("with memory"), keeps);
        press(&mut model, KeyCode::Tab);
        let effects = press(&mut model, KeyCode::Enter);
        let [Effect::Checkpoint { memory, name, .. }] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!((*memory, name.as_str()), (expected, "box"));
    }
}

fn costs(used: f64, budget: Budget) -> Costs {
    let row = |name: &str, gone, cost_usd| CostRow {
        name: name.into(),
        gone,
        used: UsageTotals {
            sent_bytes: 12_000_000,
            received_bytes: 3_400_000_000,
            cpu_hours: cost_usd * 10.0,
            memory_gb_hours: cost_usd * 20.0,
            stored_gb_hours: 100.0,
            running_seconds: 7200.0,
            cost_usd,
            ..UsageTotals::default()
        },
    };
    let rows =
        vec![row("web", false, used * 0.75), row("a-sprite-with-a-very-long-name-indeed", true, used / 4.0)];
    Costs {
        from: "2026-11-01T00:00:00Z".parse().unwrap(),
        until: "2026-12-01T00:00:00Z".parse().unwrap(),
        rows,
        total: UsageTotals { cost_usd: used, ..UsageTotals::default() },
        forecast_usd: Some(used * 2.0),
        budget,
    }
}

#[test]
fn what_a_month_costs() {
    let mut model = model(120, 30);
    with_sprites(&mut model, &["web", "db"]);
    model.connected = true;
    let key = |model: &mut Model, key| {
        update(model, Event::Terminal(Press::Key(KeyEvent::from(KeyCode::Char(key)))))
    };
    let budget = Budget { month_usd: Some(20.0), sleep: true };
    let told = |model: &mut Model, used, budget| {
        update(model, Event::Costs(Group::Sprite, Ok(Box::new(costs(used, budget)))));
    };
    told(&mut model, 4.0, budget);
    assert_eq!(key(&mut model, '$'), [Effect::LoadCosts(Group::Sprite)]);
    told(&mut model, 4.0, budget);
    insta::assert_snapshot!("costs-120x30", text(&model));
    model.size = (80, 24);
    insta::assert_snapshot!("costs-80x24", text(&model));
    // Again for other lines; what comes late for those of before is not taken for them.
    assert_eq!(key(&mut model, '$'), [Effect::LoadCosts(Group::Label)]);
    told(&mut model, 5.0, budget);
    assert!(text(&model).contains("by label") && text(&model).contains("Asking"), "{}", text(&model));
    // That it comes to its end is said once.
    assert!(model.toasts.is_empty());
    told(&mut model, 17.0, budget);
    told(&mut model, 18.0, budget);
    assert_eq!(model.toasts.len(), 1, "{:?}", model.toasts);
    told(&mut model, 21.0, budget);
    assert!(model.toasts.back().unwrap().text.contains("all sprites sleep"), "{:?}", model.toasts);
    model.toasts.clear();
    key(&mut model, 'B');
    insta::assert_snapshot!("dialog-budget", text(&model));
    for wrong in ["x", "-5"] {
        model.dialog.as_mut().unwrap().input = wrong.into();
        assert!(update(&mut model, Event::Terminal(Press::Key(KeyEvent::from(KeyCode::Enter)))).is_empty());
        assert!(model.dialog.as_ref().unwrap().error.is_some(), "{wrong}");
    }
    model.dialog.as_mut().unwrap().input = "30".into();
    let asked = update(&mut model, Event::Terminal(Press::Key(KeyEvent::from(KeyCode::Enter))));
    let wanted = Budget { month_usd: Some(30.0), sleep: true };
    assert!(matches!(&asked[..], [Effect::SetBudget { budget, .. }] if *budget == wanted), "{asked:?}");
}

#[test]
fn what_happened_and_why_it_is_awake() {
    let mut model = model(80, 24);
    with_sprites(&mut model, &["web"]);
    let key = |model: &mut Model, key| {
        update(model, Event::Terminal(Press::Key(KeyEvent::from(KeyCode::Char(key)))))
    };
    assert_eq!(key(&mut model, 'e'), [Effect::LoadEvents("web".into())]);
    let event = |time: &str, status, reason: &str| Past {
        time: time.parse().unwrap(),
        kind: EventKind::State,
        status,
        reason: reason.into(),
    };
    let events = vec![
        event("2026-11-25T12:00:30Z", Status::Warm, "unused for 30 s"),
        event("2026-11-25T12:00:00Z", Status::Running, "started by the command make\u{1b}[2J"),
    ];
    update(&mut model, Event::Events("web".into(), Ok(events)));
    let shown = text(&model);
    assert!(
        shown.contains("what happened to web") && shown.contains("◐ warm        unused for 30 s"),
        "{shown}"
    );
    assert!(shown.contains("started by the command make [2J") && !shown.contains('\u{1b}'), "{shown}");
    update(&mut model, Event::Terminal(Press::Key(KeyEvent::from(KeyCode::Esc))));
    update(&mut model, Event::Terminal(Press::Key(KeyEvent::from(KeyCode::Enter))));
    let sprite = Sprite {
        name: "web".into(),
        status: Status::Running,
        reason: Some("woken by the command make".into()),
        in_use_by: vec!["session 12".into(), "its web address".into()],
        ..Sprite::default()
    };
    update(&mut model, Event::Sprite("web".into(), Some(Box::new(sprite))));
    let shown = text(&model);
    assert!(shown.contains("woken by the command make; in use by session 12, its web address"), "{shown}");
}
