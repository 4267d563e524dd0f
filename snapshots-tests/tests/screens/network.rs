//! The network part of a sprite's screen.

use super::{draw, here, model, text, with_sprites};
use crossterm::event::{
    Event as Press, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::style::Color;
use sprites_api::extension::{NetworkEvent, NetworkLog, UsageHistory, UsageSample, UsageTotals};
use sprites_api::policy::{NetworkPolicy, Rule};
use sprites_tui::action::Part;
use sprites_tui::keys::Keys;
use sprites_tui::model::network::{Only, Pane};
use sprites_tui::model::{Here, Load, Model, Screen};
use sprites_tui::theme::Theme;
use sprites_tui::update::{Effect, Event, update};
use std::time::{Duration, Instant};

const RULES: &str = r#"[{"domain":"github.com","action":"allow"},{"domain":"*.example.com","action":"allow"},
    {"domain":"ads.example.com","action":"deny"},{"include":"defaults"},{"domain":"www.example.com","action":"allow"},
    {"domain":"a.test","action":"allow"},{"domain":"a.test","action":"deny"}]"#;

fn press(model: &mut Model, code: KeyCode) -> Vec<Effect> {
    update(model, Event::Terminal(Press::Key(KeyEvent::from(code))))
}

fn keys(model: &mut Model, keys: &str) -> Vec<Effect> {
    keys.chars().flat_map(|key| press(model, KeyCode::Char(key))).collect()
}

fn event(time: &str, kind: &str, name: &str, verdict: &str, reason: &str, rule: &str) -> NetworkEvent {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let tcp = kind == "tcp";
    NetworkEvent {
        at: format!("2026-11-25T{time}Z").parse().unwrap(),
        kind: kind.into(),
        name: some(name),
        address: tcp.then(|| "192.0.2.7".parse().unwrap()),
        port: tcp.then_some(443),
        verdict: verdict.into(),
        reason: some(reason),
        rule: some(rule),
        sent: if verdict == "closed" { 1_234 } else { 0 },
        received: if verdict == "closed" { 5_600_000 } else { 0 },
        count: 1,
    }
}

fn log() -> NetworkLog {
    let mut flood = event("12:00:09", "dns", "tracker.ads.example", "denied", "no_rule", "");
    flood.count = 4_000;
    NetworkLog {
        missing: None,
        sent: 1_300,
        received: 5_700_000,
        connections: 1,
        lost: 12,
        events: vec![
            flood,
            event("12:00:08", "tcp", "", "denied", "private", ""),
            event("12:00:07", "tcp", "github.com", "closed", "", "github.com"),
            event("12:00:06", "tcp", "www.example.com", "allowed", "", "*.example.com"),
            event("12:00:05", "tcp", "github.com", "allowed", "", "github.com"),
            event("12:00:04", "dns", "evil\u{1b}[2J.example", "denied", "rule", "*"),
        ],
    }
}

fn policy(rules: &str) -> NetworkPolicy {
    serde_json::from_str(&format!("{{\"rules\":{rules}}}")).unwrap()
}

/// The network part of a sprite, with what its server says.
fn opened(columns: u16, rows: u16, rules: &str) -> Model {
    let mut model = model(columns, rows);
    with_sprites(&mut model, &["box"]);
    model.connected = true;
    if let Load::Ready(sprites) = &mut model.sprites {
        sprites.get_mut("box").unwrap().totals =
            UsageTotals { sent_bytes: 1_300, received_bytes: 5_700_000, ..UsageTotals::default() };
    }
    press(&mut model, KeyCode::Enter);
    let asked = press(&mut model, KeyCode::Tab);
    assert_eq!(asked, [Effect::LoadNetwork("box".into()), Effect::LoadNetworkPolicy("box".into())]);
    told(&mut model, rules);
    model
}

fn told(model: &mut Model, rules: &str) {
    update(model, Event::Network("box".into(), Ok(Box::new(log()))));
    update(model, Event::NetworkPolicy("box".into(), Ok(policy(rules))));
}

/// The screen, with times of this machine's zone left out.
fn steady(model: &Model) -> String {
    let zone = |text: &str| {
        let time: jiff::Timestamp = text.parse().unwrap();
        time.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string()
    };
    let shown = text(model);
    (4..10).fold(shown, |shown, second| {
        shown.replace(&zone(&format!("2026-11-25T12:00:{second:02}Z")), &format!("12:00:{second:02}"))
    })
}

#[test]
fn the_log_and_the_rules() {
    let mut model = opened(80, 24, RULES);
    let shown = steady(&model);
    assert!(!shown.contains('\u{1b}') && shown.contains("evil [2J.example"), "{shown}");
    insta::assert_snapshot!("network-log-80x24", shown);
    keys(&mut model, "p");
    insta::assert_snapshot!("network-rules-80x24", steady(&model));
    for (columns, rows) in [(60, 16), (120, 30), (200, 50)] {
        model.size = (columns, rows);
        insta::assert_snapshot!(format!("network-{columns}x{rows}"), steady(&model));
    }
    // Which pane is worked in, and which line, is seen without colours.
    let mut plain = Model::new(here(), Keys::default(), vec![Theme::plain()], 0, (120, 30));
    std::mem::swap(&mut plain.themes, &mut model.themes);
    model.size = (120, 30);
    model.theme = 0;
    let buffer = draw(&model);
    assert!(buffer.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    let marked = |x: u16| buffer[(x, 14)].modifier.contains(ratatui::style::Modifier::REVERSED);
    assert!(marked(62) && !marked(2));
}

#[test]
fn only_what_was_denied_and_only_what_is_open() {
    let mut model = opened(80, 24, RULES);
    keys(&mut model, "o");
    assert_eq!((model.network.only, model.network.lines().len()), (Only::Denied, 3));
    keys(&mut model, "o");
    let open = model.network.lines();
    assert_eq!(
        open.iter().filter_map(|event| event.name.as_deref()).collect::<Vec<_>>(),
        ["www.example.com"]
    );
    assert!(text(&model).contains("what is open now"));
    // A machine that stopped tells no ends.
    update(&mut model, Event::Network("box".into(), Ok(Box::new(NetworkLog { connections: 0, ..log() }))));
    assert!(text(&model).contains("No connection is open."));
    // What is selected stays so when more comes, but the newest is whatever is the newest.
    keys(&mut model, "oj");
    let more = || {
        let mut log = log();
        log.events.insert(0, event("12:00:10", "dns", "new.example", "allowed", "", "*"));
        Event::Network("box".into(), Ok(Box::new(log)))
    };
    update(&mut model, more());
    assert_eq!(model.network.place(&model.network.lines()), 2);
    keys(&mut model, "gg");
    update(&mut model, more());
    assert_eq!(model.network.place(&model.network.lines()), 0);
    // What comes of another sprite, or fails once, takes nothing away.
    update(&mut model, Event::Network("other".into(), Ok(Box::default())));
    update(&mut model, Event::Network("box".into(), Err("broken".into())));
    assert_eq!(model.network.lines().len(), 7);
}

#[test]
fn what_was_denied_is_allowed_with_two_keys_and_a_look() {
    let mut model = opened(80, 24, RULES);
    keys(&mut model, "a");
    insta::assert_snapshot!("network-allow-this", text(&model));
    press(&mut model, KeyCode::Enter);
    assert_eq!(model.network.pane, Pane::Rules);
    assert!(text(&model).contains("changed, not saved: s saves"), "{}", text(&model));
    // Nothing has happened yet; what the server says meanwhile takes nothing away.
    told(&mut model, RULES);
    assert_eq!(model.network.rules.len(), 8);
    // Another thing that changes, and what it ends.
    model.network.rule = 4;
    keys(&mut model, " s");
    insta::assert_snapshot!("network-save", text(&model));
    assert!(press(&mut model, KeyCode::Char('n')).is_empty());
    keys(&mut model, "s");
    let asked = keys(&mut model, "S");
    let [Effect::SetNetworkPolicy { job, name, policy: saved }] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((name.as_str(), saved.rules.len()), ("box", 8));
    // A failure keeps it.
    let tell = |outcome| Event::Done(*job, outcome, Some("box".into()));
    update(&mut model, tell(Err("the server said no".into())));
    assert!(text(&model).contains("not saved") && model.log.back().unwrap().2 == "The server said no.");
    let asked = update(&mut model, tell(Ok("The rules of box hold.".into())));
    assert!(asked.contains(&Effect::LoadNetworkPolicy("box".into())), "{asked:?}");
    update(&mut model, Event::NetworkPolicy("box".into(), Ok(saved.clone())));
    assert!(model.draft("box").is_none());
    keys(&mut model, "s");
    assert!(model.dialog.is_none() && model.log.back().unwrap().2.contains("nothing was changed"));
    // What no rule can open is told instead.
    keys(&mut model, "pj");
    keys(&mut model, "a");
    assert!(model.dialog.is_none() && model.log.back().unwrap().2.contains("config.toml"), "{:?}", model.log);
}

#[test]
fn rules_are_looked_at_while_they_are_typed() {
    let mut model = opened(80, 24, "[]");
    assert!(text(&model).contains("what it tried to reach"));
    keys(&mut model, "p");
    assert!(text(&model).contains("no rules: every public address may be reached"));
    let note = |model: &Model| model.dialog.as_ref().unwrap().note.clone();
    keys(&mut model, "a");
    assert_eq!(note(&model), None);
    keys(&mut model, "bücher.example");
    assert!(note(&model).unwrap().unwrap_err().contains("ASCII form"));
    // It is not taken, and told once.
    press(&mut model, KeyCode::Enter);
    assert!(model.dialog.as_ref().unwrap().error.is_none());
    model.dialog.as_mut().unwrap().input = "".into();
    update(&mut model, Event::Terminal(Press::Paste("*.a.test\n".into())));
    let foretold = note(&model).unwrap().unwrap();
    assert_eq!(
        foretold,
        "allows every host below a.test, not a.test itself; then only what a rule allows may be reached"
    );
    insta::assert_snapshot!("network-first-rule", text(&model));
    press(&mut model, KeyCode::Tab);
    assert!(note(&model).unwrap().unwrap().starts_with("denies *.a.test, and all else is denied too"));
    press(&mut model, KeyCode::Enter);
    // The same again is no contradiction but another word about it.
    keys(&mut model, "a*.A.test");
    assert!(note(&model).unwrap().unwrap().ends_with("takes the place of rule 1"));
    press(&mut model, KeyCode::Enter);
    assert_eq!(model.network.rules, policy(r#"[{"domain":"*.A.test","action":"allow"}]"#).rules);
    keys(&mut model, "i");
    assert_eq!(model.network.rules.last(), Some(&Rule::Include { include: "defaults".into() }));
    // Which rule decides is told while one types.
    keys(&mut model, "wx.a.test");
    assert_eq!(note(&model), Some(Ok("allowed by rule 1, *.A.test".into())));
    keys(&mut model, " ");
    press(&mut model, KeyCode::Esc);
    // They are kept while others are looked at, asked about when one leaves, and forgotten on purpose only.
    press(&mut model, KeyCode::Esc);
    keys(&mut model, "q");
    assert!(!model.quit && text(&model).contains("not saved"));
    press(&mut model, KeyCode::Esc);
    press(&mut model, KeyCode::Enter);
    told(&mut model, "[]");
    assert_eq!((model.part, model.network.rules.len()), (Part::Network, 2));
    keys(&mut model, "pu");
    keys(&mut model, "U");
    assert!(model.network.rules.is_empty() && model.draft("box").is_none());
    keys(&mut model, "q");
    assert!(model.quit);
}

#[test]
fn elsewhere_there_are_rules_and_no_log() {
    let mut model = Model::new(
        Here { context: "cloud".into(), endpoint: "https://api.example".into(), local: false },
        Keys::default(),
        Theme::all(None).0,
        0,
        (120, 30),
    );
    with_sprites(&mut model, &["box"]);
    model.connected = true;
    press(&mut model, KeyCode::Enter);
    press(&mut model, KeyCode::Tab);
    let why = "https://api.example does not offer a log of what sprites reach; the local server of sprites-tui does";
    update(&mut model, Event::Network("box".into(), Err(why.into())));
    update(
        &mut model,
        Event::NetworkPolicy(
            "box".into(),
            Ok(policy(r#"[{"include":"everything"},{"domain":"*","action":"allow"}]"#)),
        ),
    );
    insta::assert_snapshot!("network-elsewhere", text(&model));
    // It is asked when it is opened, not again and again.
    let now = Instant::now();
    update(&mut model, Event::Tick(now));
    let asked = update(&mut model, Event::Tick(now + Duration::from_secs(3600)));
    assert!(!asked.iter().any(|effect| matches!(effect, Effect::LoadNetworkPolicy(_))), "{asked:?}");
    // Nor is there a meter: what it costs is estimated, and stays so when nothing is seen any more.
    for hours in [1, 2] {
        let shown = text(&model);
        assert!(shown.contains("estimated ≥$0.0153") && shown.contains("seen running for 1.0 h"), "{shown}");
        update(&mut model, Event::Connection(Err("the cable is out".into())));
        update(&mut model, Event::Tick(now + Duration::from_secs(3600 * hours)));
    }
}

#[test]
fn it_is_asked_again_while_it_is_looked_at() {
    let mut model = opened(80, 24, RULES);
    let asked = |model: &mut Model, at| {
        let asked = update(model, Event::Tick(at));
        asked.iter().any(|effect| matches!(effect, Effect::LoadNetwork(_)))
    };
    let now = Instant::now();
    assert!(asked(&mut model, now));
    assert!(!asked(&mut model, now + Duration::from_secs(1)));
    assert!(asked(&mut model, now + Duration::from_secs(3)));
    press(&mut model, KeyCode::BackTab);
    assert_eq!((model.part, model.screen), (Part::Checkpoints, Screen::Sprite));
    assert!(!asked(&mut model, now + Duration::from_secs(9)));
}

#[test]
fn a_click_opens_a_part_and_selects_a_line() {
    let mut model = opened(120, 30, RULES);
    let click = |model: &mut Model, column, row| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        update(
            model,
            Event::Terminal(Press::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })),
        )
    };
    // Rows 0 to 4 are header, facts and titles, then come seven of graphs, the figures and a frame.
    let shown = text(&model);
    let row_of = |text: &str| shown.lines().position(|line| line.contains(text)).unwrap() as u16;
    click(&mut model, 70, row_of("2 ✓ allow"));
    assert_eq!((model.network.pane, model.network.rule), (Pane::Rules, 1));
    click(&mut model, 5, row_of("· closed"));
    assert_eq!((model.network.pane, model.network.place(&model.network.lines())), (Pane::Log, 2));
    click(&mut model, 4, 4);
    assert_eq!(model.part, Part::Checkpoints);
    click(&mut model, 18, 4);
    assert_eq!(model.part, Part::Network);
}

#[test]
fn graphs_of_network_and_disk() {
    let now = sprites_api::Time::now().as_micros();
    let samples: Vec<UsageSample> = (0..60)
        .map(|second| UsageSample {
            time: sprites_api::Time::from_micros(now - (59 - second) * 1_000_000),
            seconds: 1.0,
            cpus: 0.5,
            memory_bytes: 80_000_000,
            processes: 3,
            sent_bytes: 40_000,
            received_bytes: if second < 30 { 2_000_000 } else { 100_000 },
            read_bytes: 0,
            written_bytes: 3_000_000,
            cost_usd: 1e-6,
        })
        .collect();
    let mut model = opened(80, 24, RULES);
    let last = *samples.last().unwrap();
    let history = UsageHistory { samples, ..UsageHistory::default() };
    update(&mut model, Event::History("box".into(), 60, Ok(history)));
    if let Load::Ready(sprites) = &mut model.sprites {
        sprites.get_mut("box").unwrap().add(last);
    }
    let shown = text(&model);
    for words in ["network ▴100 kB/s in, ▾40 kB/s out", "disk ▴0 B/s read, ▾3 MB/s written", "2 MB/s"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains("an hour"));
    keys(&mut model, "v");
    assert!(text(&model).contains("an hour") && !text(&model).contains("MB/s"));
    // A wide screen has all.
    model.size = (200, 50);
    let shown = text(&model);
    assert!(
        ["cpu", "memory", "cost", "network", "disk"]
            .iter()
            .all(|title| shown.contains(&format!("┌ {title} ")))
    );
    // Graphs stand on the theme's background, whatever the terminal's is.
    for theme in 0..model.themes.len() {
        model.theme = theme;
        let background = model.colors().background.unwrap_or(Color::Reset);
        assert!(
            draw(&model).content.iter().all(|cell| cell.bg == background || cell.bg != Color::Reset),
            "{theme}"
        );
    }
    // Another part begins with its own.
    model.size = (80, 24);
    press(&mut model, KeyCode::BackTab);
    assert!(text(&model).contains("an hour"));
    keys(&mut model, "v");
    assert!(text(&model).contains("MB/s written"));
}
