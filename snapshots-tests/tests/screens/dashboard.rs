//! Screens over all sprites: the dashboard over all contexts, and the timeline.

use super::{here, model, text, with_sprites};
use crossterm::event::{
    Event as Press, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use sprites_api::Time;
use sprites_api::cost::Budget;
use sprites_api::extension::{Event as Past, EventKind, Happened, UsageSample};
use sprites_api::sprite::{Sprite, Status};
use sprites_tui::action::Part;
use sprites_tui::model::dashboard::{Chosen, Counts, Glance, Known, Money, Seen};
use sprites_tui::model::{Here, Load, Model, Screen};
use sprites_tui::update::{Effect, Event, update};

fn press(model: &mut Model, code: KeyCode) -> Vec<Effect> {
    update(model, Event::Terminal(Press::Key(KeyEvent::from(code))))
}

fn keys(model: &mut Model, keys: &str) -> Vec<Effect> {
    keys.chars().fold(Vec::new(), |_, key| press(model, KeyCode::Char(key)))
}

fn click(model: &mut Model, column: u16, row: u16) -> Vec<Effect> {
    let kind = MouseEventKind::Down(MouseButton::Left);
    update(
        model,
        Event::Terminal(Press::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })),
    )
}

fn seen(name: &str, status: Status, hour: f64, why: &str) -> Seen {
    let runs = status == Status::Running;
    Seen {
        name: name.into(),
        status,
        cpus: runs.then_some(hour * 3.0),
        memory: runs.then_some(420_000_000),
        hour,
        why: why.into(),
        ..Seen::default()
    }
}

fn sum(cpus: f64) -> UsageSample {
    UsageSample {
        time: Time::from_micros(0),
        seconds: 1.0,
        cpus,
        memory_bytes: 1_230_000_000,
        processes: 40,
        sent_bytes: 0,
        received_bytes: 0,
        read_bytes: 0,
        written_bytes: 0,
        cost_usd: 0.0,
    }
}

/// What local servers tell.
fn near() -> Known {
    Known {
        counts: Counts { running: 2, warm: 1, cold: 3, failed: 1 },
        sum: Some(sum(1.4)),
        money: Money {
            hour: 0.12,
            month: 41.5,
            forecast: Some(55.0),
            budget: Budget { month_usd: Some(40.0), sleep: true },
            least: false,
        },
        sprites: vec![
            seen("agent", Status::Running, 0.03, "woken by the command make; in use by session 7"),
            seen("web", Status::Running, 0.09, "started by a request to its web address"),
            Seen {
                failure: Some("its disk is damaged".into()),
                ..seen("old", Status::Cold, 0.0, "its start failed")
            },
            Seen {
                denied: 3,
                denial: "tcp 10.0.0.7:443, a private network".into(),
                ..seen("scraper", Status::Warm, 0.0, "unused for 30 s")
            },
        ],
    }
}

/// What endpoints without a meter tell.
fn far() -> Known {
    Known {
        counts: Counts { running: 1, cold: 2, ..Counts::default() },
        money: Money { hour: 0.02, month: 0.11, least: true, ..Money::default() },
        sprites: vec![Seen { cpus: None, memory: None, ..seen("far", Status::Running, 0.02, "") }],
        ..Known::default()
    }
}

fn glance(model: &mut Model, context: &str, endpoint: &str, known: Result<Known, String>) -> Vec<Effect> {
    update(model, Event::Glance(context.into(), Box::new(Glance { endpoint: endpoint.into(), known })))
}

fn some(columns: u16, rows: u16) -> Model {
    let mut model = model(columns, rows);
    with_sprites(&mut model, &["agent", "old", "scraper", "web"]);
    model.connected = true;
    model.contexts = ["local", "work", "cloud"].map(str::to_owned).into();
    model
}

#[test]
fn contexts_at_a_glance() {
    for (columns, rows) in [(80, 24), (200, 50), (60, 16)] {
        let mut model = some(columns, rows);
        keys(&mut model, "g");
        assert_eq!(keys(&mut model, "h"), [Effect::Glance(true)]);
        let why = "cloud has no token: SPRITES_TOKEN is not set and the keyring gives none (it is locked); set it, or run `sprites-tui context token cloud`";
        glance(&mut model, "local", "the local server", Ok(near()));
        insta::assert_snapshot!(format!("dashboard-asking-{columns}x{rows}"), text(&model));
        glance(&mut model, "work", "https://sprites.example.com:8443", Ok(far()));
        glance(&mut model, "cloud", "", Err(why.into()));
        insta::assert_snapshot!(format!("dashboard-{columns}x{rows}"), text(&model));
        // The whole of what is selected is told.
        keys(&mut model, "jj");
        assert_eq!(model.dashboard.chosen, Some(Chosen::Context("cloud".into())));
        insta::assert_snapshot!(format!("dashboard-why-not-{columns}x{rows}"), text(&model));
        // f5 asks all of them, and nothing is asked when it is left.
        assert_eq!(press(&mut model, KeyCode::F(5)), [Effect::GlanceAgain]);
        assert_eq!(press(&mut model, KeyCode::Esc), [Effect::Glance(false)]);
        assert_eq!(model.screen, Screen::List);
    }
}

#[test]
fn nothing_matters() {
    let mut model = some(80, 24);
    model.contexts.truncate(1);
    keys(&mut model, "gh");
    glance(&mut model, "local", "the local server", Ok(Known { sum: Some(sum(0.0)), ..Known::default() }));
    insta::assert_snapshot!("dashboard-quiet", text(&model));
    // What nobody can have asked for is not taken in.
    glance(&mut model, "moon", "", Ok(near()));
    assert_eq!(model.dashboard.glances.len(), 1);
    press(&mut model, KeyCode::Esc);
    glance(&mut model, "local", "", Err("late".into()));
    assert!(model.dashboard.glances["local"].known.is_ok());
    // Graphs of the sum: one moment a second, while it is looked at.
    model.size = (200, 50);
    update(&mut model, Event::Tick(std::time::Instant::now()));
    assert!(model.dashboard.past.is_empty());
    keys(&mut model, "gh");
    update(&mut model, Event::Tick(std::time::Instant::now()));
    assert_eq!(model.dashboard.past.len(), 1);
    assert!(text(&model).contains("┌ cpu 0 % "), "{}", text(&model));
}

#[test]
fn the_way_leads_into_another_context_and_back() {
    let mut model = some(100, 30);
    model.part = Part::Network;
    keys(&mut model, "gh");
    glance(&mut model, "local", "the local server", Ok(near()));
    glance(&mut model, "work", "https://sprites.example.com:8443", Ok(far()));
    // Of this context at once.
    keys(&mut model, "/web");
    press(&mut model, KeyCode::Enter);
    press(&mut model, KeyCode::Enter);
    assert_eq!((model.screen, model.selected.as_deref()), (Screen::Sprite, Some("web")));
    keys(&mut model, "[");
    assert_eq!(model.screen, Screen::Dashboard);
    // Of another, when its list is here.
    keys(&mut model, "/far");
    press(&mut model, KeyCode::Enter);
    assert!(text(&model).contains("far of work runs"), "{}", text(&model));
    assert_eq!(press(&mut model, KeyCode::Enter), [Effect::Enter(1)]);
    let work =
        || Here { context: "work".into(), endpoint: "https://sprites.example.com:8443".into(), local: false };
    model.enter(work());
    let far = || Sprite { name: "far".into(), status: Status::Running, ..Sprite::default() };
    let effects = update(&mut model, Event::Sprites(Ok(vec![far()])));
    assert!(effects.contains(&Effect::Glance(false)), "{effects:?}");
    assert_eq!(
        (model.screen, model.selected.as_deref(), model.part),
        (Screen::Sprite, Some("far"), Part::Network)
    );
    let effects = keys(&mut model, "[");
    assert_eq!(model.screen, Screen::Dashboard);
    assert!(effects.contains(&Effect::Glance(true)));
    // What was known is there still, with the same line selected.
    assert_eq!(model.dashboard.chosen, Some(Chosen::Sprite("work".into(), "far".into())));
    assert!(text(&model).contains("scraper"));
    // Back to a sprite of the first one, which is gone when one gets there.
    keys(&mut model, "/scraper");
    press(&mut model, KeyCode::Enter);
    assert_eq!(press(&mut model, KeyCode::Enter), [Effect::Enter(0)]);
    model.enter(here());
    update(&mut model, Event::Sprites(Ok(vec![far()])));
    assert_eq!(model.screen, Screen::List);
    assert!(text(&model).contains("scraper is gone."));
    // A context alone leads to its list, and whoever turns away stays where he is.
    keys(&mut model, "gh");
    model.dashboard.chosen = Some(Chosen::Context("work".into()));
    assert_eq!(press(&mut model, KeyCode::Enter), [Effect::Enter(1)]);
    model.enter(work());
    update(&mut model, Event::Sprites(Ok(vec![far()])));
    assert_eq!(model.screen, Screen::List);
    keys(&mut model, "[");
    assert_eq!(model.screen, Screen::Dashboard);
}

#[test]
fn clicks_meet_the_lines_of_the_dashboard() {
    let mut model = some(80, 24);
    keys(&mut model, "gh");
    glance(&mut model, "local", "the local server", Ok(near()));
    glance(&mut model, "work", "https://sprites.example.com:8443", Ok(far()));
    let screen = text(&model);
    let row = |words: &str| screen.lines().position(|line| line.contains(words)).unwrap() as u16;
    assert!(click(&mut model, 3, row("work ")).is_empty());
    assert_eq!(model.dashboard.chosen, Some(Chosen::Context("work".into())));
    assert!(click(&mut model, 3, row("scraper")).is_empty());
    assert_eq!(model.dashboard.chosen, Some(Chosen::Sprite("local".into(), "scraper".into())));
    click(&mut model, 3, row("scraper"));
    assert_eq!((model.screen, model.selected.as_deref()), (Screen::Sprite, Some("scraper")));
}

pub(super) fn happened(sprite: &str, second: u32, kind: EventKind, reason: &str) -> Happened {
    let time: Time = "2026-11-25T12:00:00Z".parse().unwrap();
    let time = Time::from_micros(time.as_micros() + i64::from(second) * 1_000_000);
    Happened {
        sprite: sprite.into(),
        event: Past { time, kind, status: Status::Running, reason: reason.into() },
    }
}

/// Without the times, which are told as the clock of this machine has them.
fn timeless(model: &Model) -> String {
    let line = |line: &str| {
        let cells = if line.starts_with("│11-2") { 11 } else { 19 };
        match line.strip_prefix("│11-2").or_else(|| line.strip_prefix("│2026-11-2")) {
            Some(_) => format!("│{}{}", " ".repeat(cells), line.chars().skip(1 + cells).collect::<String>()),
            None => line.to_owned(),
        }
    };
    text(model).lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_happened_to_all() {
    for (columns, rows) in [(80, 24), (200, 50)] {
        let mut model = some(columns, rows);
        keys(&mut model, "g");
        assert_eq!(keys(&mut model, "t"), [Effect::LoadTimeline(None)]);
        let events = vec![
            happened("web", 50, EventKind::Denied, "tcp 10.0.0.7:443, a private network\u{1b}[2J"),
            happened("old", 40, EventKind::Failure, "its start failed: its disk is damaged"),
            happened("web", 30, EventKind::Restore, "v2, what it replaced is pre-restore-v2-1700000000"),
            happened("agent", 20, EventKind::Checkpoint, "v3, before the upgrade"),
            happened("agent", 10, EventKind::State, "woken by the command make"),
            happened("../etc", 5, EventKind::State, "no name at all"),
        ];
        update(&mut model, Event::Timeline(None, Ok(events)));
        insta::assert_snapshot!(format!("timeline-{columns}x{rows}"), timeless(&model));
        // What is selected stays so when more comes, and the newest stays the newest until then.
        press(&mut model, KeyCode::Down);
        let newest = happened("web", 60, EventKind::State, "unused for 30 s");
        let since = Some(newest.event.time).map(|time| Time::from_micros(time.as_micros() - 15_000_000));
        update(
            &mut model,
            Event::Timeline(since, Ok(vec![newest, happened("web", 50, EventKind::Denied, "tcp")])),
        );
        let shown: Vec<String> = model.shown_events().iter().map(|one| one.event.reason.clone()).collect();
        assert_eq!(shown.len(), 6, "{shown:?}");
        assert!(text(&model).contains("old, failed: its start failed"), "{}", text(&model));
        // A failure to ask takes nothing away.
        update(&mut model, Event::Timeline(None, Err("no connection".into())));
        assert!(matches!(model.timeline.events, Load::Ready(_)));
        keys(&mut model, "/checkpoint");
        press(&mut model, KeyCode::Enter);
        assert_eq!(model.shown_events().len(), 1);
        press(&mut model, KeyCode::Enter);
        assert_eq!((model.screen, model.selected.as_deref()), (Screen::Sprite, Some("agent")));
        keys(&mut model, "[");
        assert_eq!(model.screen, Screen::Timeline);
        let screen = text(&model);
        let row = screen.lines().position(|line| line.contains("restore")).unwrap() as u16;
        click(&mut model, 30, row);
        assert_eq!(model.screen, Screen::Timeline);
        click(&mut model, 30, row);
        assert_eq!((model.screen, model.selected.as_deref()), (Screen::Sprite, Some("web")));
    }
    let mut other = some(80, 24);
    keys(&mut other, "gt");
    update(
        &mut other,
        Event::Timeline(None, Err("https://api.sprites.dev does not offer what happened".into())),
    );
    assert!(text(&other).contains("does not offer what happened"));
}
