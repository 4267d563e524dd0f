//! The inside part of a sprite's screen, and forwarded ports.

use super::{draw, here, model, text, with_sprites};
use crossterm::event::{Event as Press, KeyCode, KeyEvent, KeyModifiers, MouseEvent, MouseEventKind};
use sprites_api::Time;
use sprites_api::exec::Session;
use sprites_api::inside::{Inside, Interior, Port, Service};
use sprites_api::services::{Event as Told, EventKind, State, Status as How};
use sprites_api::sprite::Status;
use sprites_api::task::Task;
use sprites_backend::client::ServiceAction;
use sprites_tui::action::Part;
use sprites_tui::model::{Here, Item, Load, Model};
use sprites_tui::update::{Effect, Event, update};
use std::time::{Duration, Instant};

fn press(model: &mut Model, code: KeyCode) -> Vec<Effect> {
    update(model, Event::Terminal(Press::Key(KeyEvent::from(code))))
}

fn key(model: &mut Model, key: char) -> Vec<Effect> {
    press(model, KeyCode::Char(key))
}

/// So long ago; half a minute more, so that a slow test tells the same minute.
fn ago(minutes: i64) -> Time {
    Time::from_micros(Time::now().as_micros() - (minutes * 60 + 30) * 1_000_000)
}

fn service(name: &str, status: How, http_port: Option<u16>) -> Service {
    let runs = status == How::Running;
    let state = State {
        name: name.into(),
        status,
        pid: runs.then_some(412),
        started_at: runs.then(|| ago(3)),
        error: (status == How::Failed).then(|| "it ended by itself with exit code 1".into()),
        restart_count: u32::from(status == How::Failed) * 12,
        next_restart_at: None,
    };
    Service { name: name.into(), command: "python3 -m http.server 8000".into(), http_port, state }
}

fn seen(status: Status, live: bool) -> Inside {
    let port =
        |port, program: &str| Port { port, address: "0.0.0.0".into(), pid: 412, program: program.into() };
    let services = vec![
        service("broken", How::Failed, None),
        service("web", How::Running, Some(8000)),
        service("worker-with-a-long-name-of-its-own", How::Stopped, None),
    ];
    let session = Session {
        id: "77".into(),
        command: "bash -l".into(),
        workdir: "/".into(),
        created: ago(12),
        bytes_per_second: 0.0,
        is_active: false,
        tty: true,
        last_activity: None,
        attached: 0,
    };
    let until = Time::from_micros(Time::now().as_micros() + 510_000_000);
    Inside {
        status,
        as_of: Some(ago(5)),
        live,
        tasks: vec![Task { name: "build".into(), started_at: ago(2), expires_at: until }],
        interior: Interior {
            services,
            ports: vec![port(5432, "postgres"), port(8000, "python3")],
            more_ports: 7,
            sessions: vec![session],
            more_sessions: 0,
        },
    }
}

fn told(kind: EventKind, data: &str) -> Told {
    Told { kind, data: Some(data.into()), exit_code: None, timestamp: 0, log_files: None }
}

/// Opens the part of the selected sprite; gives the number of the log that is followed, if one is.
fn open(model: &mut Model, seen: Inside) -> Option<u64> {
    press(model, KeyCode::Enter);
    while model.part != Part::Inside {
        press(model, KeyCode::Tab);
    }
    let name = model.selected.clone().unwrap();
    let effects = update(model, Event::Inside(name, Ok(Box::new(seen))));
    effects.iter().find_map(|effect| match effect {
        Effect::FollowLog { id, .. } => Some(*id),
        _ => None,
    })
}

fn awake(size: (u16, u16)) -> Model {
    let mut model = model(size.0, size.1);
    with_sprites(&mut model, &["box"]);
    model.connected = true;
    model
}

#[test]
fn what_goes_on_in_a_sprite() {
    for (columns, rows) in [(80, 24), (200, 50), (60, 16)] {
        let mut model = awake((columns, rows));
        assert!(open(&mut model, seen(Status::Running, true)).is_some());
        press(&mut model, KeyCode::Down);
        let effects = press(&mut model, KeyCode::Char('p'));
        // Another service is selected, so another log is followed.
        assert_eq!(effects[0], Effect::OpenForward("box".into(), 8000));
        let id = model.inside.log.as_ref().unwrap().id;
        update(&mut model, Event::Forwarded("box".into(), 8000, Ok(8001)));
        let long = format!("a line that is {} long", "very ".repeat(60));
        let lines = vec![
            Told { data: None, ..told(EventKind::Started, "") },
            told(EventKind::Stdout, "\u{1b}[32mgreen\u{1b}[0m\tand 日本語 \u{1b}]0;title\u{7}\u{202e}"),
            told(EventKind::Stdout, &long),
            told(EventKind::Stderr, "oops"),
            Told { exit_code: Some(3), data: None, ..told(EventKind::Exit, "") },
        ];
        update(&mut model, Event::ServiceLog(id, lines));
        model.toasts.clear();
        insta::assert_snapshot!(format!("inside-{columns}x{rows}"), text(&model));
        // What is not of now does not look as if it was.
        update(&mut model, Event::ServiceLogEnded(id, "box is warm: unused for 30 s".into()));
        update(&mut model, Event::Inside("box".into(), Ok(Box::new(seen(Status::Warm, false)))));
        insta::assert_snapshot!(format!("inside-asleep-{columns}x{rows}"), text(&model));
    }
}

#[test]
fn where_nothing_is_known_or_nothing_goes_on() {
    let mut model = awake((80, 24));
    let nothing = Inside { tasks: Vec::new(), interior: Interior::default(), ..seen(Status::Running, true) };
    assert_eq!(open(&mut model, nothing.clone()), None);
    assert!(text(&model).contains("No services, no open ports"), "{}", text(&model));
    for action in ['u', 'd', 'r', 'p'] {
        assert!(key(&mut model, action).is_empty());
        assert!(model.toasts.back().unwrap().text.starts_with("Select a "), "{:?}", model.toasts);
    }
    let unknown = Inside { status: Status::Cold, as_of: None, live: false, ..nothing };
    update(&mut model, Event::Inside("box".into(), Ok(Box::new(unknown))));
    assert!(text(&model).contains("box is cold, and nothing is known yet of what runs in it."));
    // An endpoint that tells nothing is not asked again and again.
    let elsewhere = Here { context: "away".into(), endpoint: "https://away".into(), local: false };
    model.here = elsewhere;
    model.inside.seen = Load::Waiting;
    update(&mut model, Event::Inside("box".into(), Err("away does not tell \u{1b}[2J".into())));
    assert!(text(&model).contains("away does not tell [2J"), "{}", text(&model));
    assert!(update(&mut model, Event::Tick(Instant::now() + Duration::from_secs(60))).is_empty());
    assert_eq!(here().context, "local");
}

#[test]
fn the_log_that_is_looked_at_is_followed_and_no_other() {
    let mut model = awake((80, 24));
    let first = open(&mut model, seen(Status::Running, true)).unwrap();
    let again = seen(Status::Running, true);
    assert!(update(&mut model, Event::Inside("box".into(), Ok(Box::new(again.clone())))).is_empty());
    // The next service, the next log; what comes late for the one before is not taken for it.
    let effects = press(&mut model, KeyCode::Down);
    let [Effect::FollowLog { id, service, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(service, "web");
    update(&mut model, Event::ServiceLog(first, vec![told(EventKind::Stdout, "late")]));
    update(&mut model, Event::ServiceLog(*id, vec![told(EventKind::Stdout, "web's own")]));
    assert!(text(&model).contains("web's own") && !text(&model).contains("late"));
    // A port, a task: the log stays.
    for _ in 0..2 {
        assert!(
            press(&mut model, KeyCode::Down).iter().all(|effect| matches!(effect, Effect::FollowLog { .. }))
        );
    }
    assert!(matches!(model.inside.chosen, Some(Item::Port(5432))), "{:?}", model.inside.chosen);
    assert!(press(&mut model, KeyCode::Down).is_empty());
    // One that ended is followed again when there is news of a sprite that runs, and not before.
    let id = model.inside.log.as_ref().unwrap().id;
    assert!(update(&mut model, Event::ServiceLogEnded(id, "box is warm: unused".into())).is_empty());
    assert!(
        update(&mut model, Event::Tick(Instant::now()))
            .iter()
            .all(|one| !matches!(one, Effect::FollowLog { .. }))
    );
    let asleep = seen(Status::Warm, false);
    assert!(update(&mut model, Event::Inside("box".into(), Ok(Box::new(asleep)))).is_empty());
    let effects = update(&mut model, Event::Inside("box".into(), Ok(Box::new(again.clone()))));
    assert!(matches!(effects[..], [Effect::FollowLog { .. }]), "{effects:?}");
    // Whoever looks elsewhere follows nothing.
    assert!(press(&mut model, KeyCode::Tab).contains(&Effect::UnfollowLog));
    assert!(update(&mut model, Event::Inside("box".into(), Ok(Box::new(again)))).is_empty());
}

#[test]
fn logs_are_scrolled_and_the_list_by_other_keys() {
    let mut model = awake((80, 24));
    let id = open(&mut model, seen(Status::Running, true)).unwrap();
    let lines = (0..200).map(|number| told(EventKind::Stdout, &format!("line {number}."))).collect();
    update(&mut model, Event::ServiceLog(id, lines));
    assert!(text(&model).contains("line 199."));
    press(&mut model, KeyCode::PageUp);
    assert!(!text(&model).contains("line 199.") && text(&model).contains("lines below"));
    press(&mut model, KeyCode::Home);
    assert!(text(&model).contains("line 0."));
    press(&mut model, KeyCode::End);
    let wheel = |row| {
        Event::Terminal(Press::Mouse(MouseEvent {
            kind: MouseEventKind::ScrollUp,
            column: 10,
            row,
            modifiers: KeyModifiers::NONE,
        }))
    };
    update(&mut model, wheel(20));
    assert!(text(&model).contains("3 lines below"), "{}", text(&model));
    let chosen = model.inside.chosen.clone();
    press(&mut model, KeyCode::Down);
    assert_ne!(model.inside.chosen, chosen);
    update(&mut model, wheel(8));
    assert_eq!(model.inside.chosen, chosen);
    // Only lines that hold a text, in whatever case.
    key(&mut model, '/');
    "STARTED".chars().for_each(|letter| drop(key(&mut model, letter)));
    press(&mut model, KeyCode::Enter);
    let log = model.inside.log.as_ref().unwrap();
    assert!(log.found(&model.inside.search).all(|(_, line)| line.contains("started")));
    assert!(text(&model).contains("with \"STARTED\""), "{}", text(&model));
}

#[test]
fn services_are_started_at_once_or_after_a_question() {
    let mut model = awake((80, 24));
    open(&mut model, seen(Status::Running, true));
    let effects = key(&mut model, 'r');
    let action = ServiceAction::Restart;
    assert!(
        matches!(&effects[..], [Effect::Service { service, action: a, .. }] if service == "broken" && *a == action),
        "{effects:?}"
    );
    // What sleeps is woken by it, which is said before.
    let row = model.current().unwrap().sprite.clone();
    let row = sprites_api::sprite::Sprite { status: Status::Warm, ..row };
    update(&mut model, Event::Sprite("box".into(), Some(Box::new(row))));
    model.jobs.clear();
    assert!(key(&mut model, 'u').is_empty());
    insta::assert_snapshot!("dialog-wake", text(&model));
    assert!(key(&mut model, 'n').is_empty() && model.dialog.is_none());
    key(&mut model, 'd');
    let effects = key(&mut model, 'W');
    assert!(matches!(&effects[..], [Effect::Service { action: ServiceAction::Stop, .. }]), "{effects:?}");
}

#[test]
fn ports_lead_here_until_the_same_key() {
    let mut model = awake((80, 24));
    open(&mut model, seen(Status::Running, true));
    while model.inside.chosen != Some(Item::Port(5432)) {
        press(&mut model, KeyCode::Down);
    }
    assert_eq!(key(&mut model, 'p'), [Effect::OpenForward("box".into(), 5432)]);
    assert!(update(&mut model, Event::Forwarded("box".into(), 5432, Ok(5433))).is_empty());
    assert!(text(&model).contains("127.0.0.1:5433") && text(&model).lines().next().unwrap().contains("⇄"));
    // It stays while nobody listens, and when the screen is left.
    let mut closed = seen(Status::Running, true);
    closed.interior.ports.remove(0);
    update(&mut model, Event::Inside("box".into(), Ok(Box::new(closed.clone()))));
    assert!(text(&model).contains("nobody listens there"), "{}", text(&model));
    press(&mut model, KeyCode::Esc);
    assert!(text(&model).lines().next().unwrap().contains("⇄"), "{}", text(&model));
    open(&mut model, closed);
    while model.inside.chosen != Some(Item::Port(5432)) {
        press(&mut model, KeyCode::Down);
    }
    model.toasts.clear();
    for _ in 0..5 {
        update(&mut model, Event::ForwardTrouble("port 5432 of box: connection refused".into()));
    }
    assert_eq!(model.toasts.len(), 1);
    assert_eq!(key(&mut model, 'p'), [Effect::CloseForward("box".into(), 5432)]);
    assert!(!text(&model).lines().next().unwrap().contains("⇄"));
    // One that is opened after its end is closed again, and one of a sprite that is gone too.
    let late = update(&mut model, Event::Forwarded("box".into(), 5432, Ok(5433)));
    assert_eq!(late, [Effect::CloseForward("box".into(), 5432)]);
    key(&mut model, 'p');
    let gone = update(&mut model, Event::Sprite("box".into(), None));
    assert!(gone.contains(&Effect::CloseForward("box".into(), 8000)), "{gone:?}");
    assert!(model.forwards.is_empty());
}

#[test]
fn addresses_go_to_the_browser_or_are_shown() {
    let mut model = awake((80, 24));
    open(&mut model, seen(Status::Running, true));
    // No word of an endpoint starts anything but a browser.
    for (url, good) in [("file:///etc/passwd", false), ("http://box-1a2b3.localhost:7777", true)] {
        let mut sprite = model.current().unwrap().sprite.clone();
        sprite.url = Some(url.into());
        update(&mut model, Event::Sprite("box".into(), Some(Box::new(sprite))));
        let wanted = if good { vec![Effect::Browse(url.to_owned())] } else { Vec::new() };
        assert_eq!(key(&mut model, 'o'), wanted, "{url}");
    }
    // A port is forwarded first.
    while model.inside.chosen != Some(Item::Port(8000)) {
        press(&mut model, KeyCode::Down);
    }
    assert_eq!(key(&mut model, 'o'), [Effect::OpenForward("box".into(), 8000)]);
    let opened = update(&mut model, Event::Forwarded("box".into(), 8000, Ok(8000)));
    assert_eq!(opened, [Effect::Browse("http://box.localhost:8000/".into())]);
    assert_eq!(key(&mut model, 'o'), [Effect::Browse("http://box.localhost:8000/".into())]);
    let why = "the app runs over ssh, so a browser would open elsewhere";
    update(&mut model, Event::NotBrowsed("http://box.localhost:8000/".into(), why.into()));
    model.toasts.clear();
    insta::assert_snapshot!("dialog-address", text(&model));
    key(&mut model, 'x');
    assert!(model.dialog.is_none());
}

#[test]
fn a_guest_without_measure_is_shown_in_bounds() {
    let mut model = awake((80, 24));
    let mut much = seen(Status::Running, true);
    let many = |number: u16| Port { port: number, address: "::".into(), pid: 1, program: "日".repeat(200) };
    much.interior.ports = (1..=256).map(many).collect();
    much.interior.more_ports = 65_000;
    much.interior.services =
        (0..64).map(|number| service(&format!("{number:064}"), How::Running, None)).collect();
    let id = open(&mut model, much).unwrap();
    // A log without an end of line, and one of nothing but ends.
    update(&mut model, Event::ServiceLog(id, vec![told(EventKind::Stdout, &"x".repeat(1 << 20))]));
    assert!(text(&model).contains(&"x".repeat(78)));
    for _ in 0..20 {
        update(&mut model, Event::ServiceLog(id, vec![told(EventKind::Stdout, ""); 256]));
        draw(&model);
    }
    assert!(model.inside.log.as_ref().unwrap().lines.len() <= 2000);
    for code in [KeyCode::Down, KeyCode::PageUp, KeyCode::Home, KeyCode::End, KeyCode::Up] {
        for _ in 0..400 {
            press(&mut model, code);
        }
        draw(&model);
    }
    for size in [(60, 16), (61, 17), (129, 36), (130, 35), (1000, 300)] {
        model.size = size;
        let shown = text(&model);
        assert!(!shown.contains('\u{1b}'));
    }
}
