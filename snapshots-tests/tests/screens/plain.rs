//! The screen line by line, as somebody hears it.

use super::{here, with_sprites};
use crossterm::event::{Event as Press, KeyCode, KeyEvent};
use sprites_api::sprite::Status;
use sprites_backend::paths::Paths;
use sprites_tui::appearance::{Appearance, Flags};
use sprites_tui::config::Config;
use sprites_tui::keys::Keys;
use sprites_tui::model::{Load, Model, Tour, Weight};
use sprites_tui::plain::Plain;
use sprites_tui::theme::Theme;
use sprites_tui::update::{Event, update};

/// The app as `--plain` dresses it, and what it has told.
struct Told {
    model: Model,
    plain: Plain,
}

impl Told {
    fn new(size: (u16, u16), ascii: bool) -> Self {
        let home = tempfile::tempdir().unwrap();
        let flags = Flags { plain: true, ascii, theme: Some("nord".into()), ..Flags::default() };
        let config = Config::default();
        let fresh = Appearance::new(&Paths::under(home.path()), flags, &config).fresh(config);
        let mut model = Model::new(here(), Keys::default(), vec![Theme::plain()], 0, size);
        model.dress(fresh);
        with_sprites(&mut model, &["api-1", "api-2", "api-3", "box"]);
        model.connected = true;
        Self { model, plain: Plain::default() }
    }

    fn told(&mut self) -> String {
        let mut out = Vec::new();
        self.plain.tell(&self.model, &mut out).unwrap();
        String::from_utf8(out).unwrap().replace("\r\n", "\n")
    }

    fn press(&mut self, code: KeyCode) -> String {
        update(&mut self.model, Event::Terminal(Press::Key(KeyEvent::from(code))));
        self.told()
    }

    fn keys(&mut self, keys: &str) -> String {
        keys.chars().map(|key| self.press(KeyCode::Char(key))).last().unwrap_or_default()
    }
}

#[test]
fn what_is_selected_is_told() {
    for size in [(80, 24), (120, 40), (200, 50)] {
        let mut app = Told::new(size, false);
        let whole = app.told();
        assert_eq!(whole.matches("> ").count(), 1, "{whole}");
        assert!(whole.contains("> api-1 ● running"), "{whole}");
        // Names may differ in a digit only.
        let told = app.press(KeyCode::Down);
        assert!(told.starts_with("> api-2 ◐ warm"), "{told}");
        let told = app.press(KeyCode::Down);
        assert!(told.starts_with("> api-3 ○ cold"), "{told}");
        assert_eq!(app.told(), "");
        // What is selected stays so when others come before it.
        app.model.reverse = true;
        app.model.arrange();
        assert!(!app.told().contains("> "));
        for (screen, selected) in [("g,", "> theme"), (":", "> ")] {
            let told = app.keys(screen);
            assert!(told.lines().any(|line| line.starts_with(selected)), "{told}");
            app.press(KeyCode::Esc);
        }
    }
}

#[test]
fn figures_can_be_attributed_and_those_that_only_move_are_not_told() {
    let mut app = Told::new((80, 24), false);
    let whole = app.told();
    assert!(whole.contains("\nbox ● running - - 4.5 MB $0.03 -\n"), "{whole}");
    assert!(whole.contains("> api-1 ● running - - - $0 -\n"), "{whole}");
    let Load::Ready(rows) = &mut app.model.sprites else { unreachable!() };
    let row = rows.get_mut("box").unwrap();
    (row.totals.cost_usd, row.stored) = (0.04, 4_500_000_000);
    assert_eq!(app.told(), "");
    let Load::Ready(rows) = &mut app.model.sprites else { unreachable!() };
    rows.get_mut("box").unwrap().sprite.status = Status::Warm;
    assert!(app.told().contains("box ◐ warm - - 4.5 GB $0.04 -\n"));
}

/// What lies above others has its own lines, and those below are not told again when it is gone.
#[test]
fn layers_are_told_for_themselves() {
    let mut app = Told::new((80, 24), false);
    app.model.tour = Some(Tour::default());
    update(&mut app.model, Event::Wake);
    let whole = app.told();
    let step = "\nfirst steps, 2 of 6: t opens a console in the selected sprite, which boots meanwhile. H skips them.\n";
    assert!(whole.contains(step), "{whole}");
    let open = app.keys(":");
    assert!(open.contains("commands") && !open.contains("api-"), "{open}");
    let typed = app.keys("2");
    assert!(typed.contains(": 2\n"), "{typed}");
    let closed = app.press(KeyCode::Esc);
    assert_eq!(closed, "> api-1 ● running - - - $0 -\n");
    let dialog = app.keys("n");
    assert!(dialog.contains("enter ok esc cancel") && !dialog.contains("api-"), "{dialog}");
    assert_eq!(app.keys("1"), "1\n");
    assert_eq!(app.press(KeyCode::Esc), closed);
    let words = "A message that is longer than any line of the screen is told as one line nevertheless, because it is heard.";
    app.model.say(Weight::Bad, words);
    assert_eq!(app.told(), format!("! {words}\n"));
    // Whoever does it again hears it again.
    app.model.say(Weight::Bad, words);
    assert_eq!(app.told(), format!("! {words}\n"));
    assert_eq!(app.told(), "");
    let help = app.keys("?");
    assert!(help.contains("In the list of sprites\n") && !help.contains("api-"), "{help}");
}

/// However wide the terminal is, lines of two panes are not told as one.
#[test]
fn panes_are_told_apart() {
    let mut app = Told::new((200, 50), false);
    let log = app.keys("gn");
    assert!(log.contains("\nwhat it tried to reach\n") && !log.contains("rules\n"), "{log}");
    let rules = app.keys("p");
    assert!(rules.contains("rules\n") && !rules.contains("what it tried"), "{rules}");
}

#[test]
fn names_of_figures_are_told_apart() {
    let mut app = Told::new((80, 24), false);
    with_sprites(&mut app.model, &["1", "2", "3", "10", "20"]);
    app.model.selected = Some("1".into());
    app.told();
    for name in ["10", "2", "20", "3"] {
        let told = app.press(KeyCode::Down);
        assert!(told.starts_with(&format!("> {name} ")), "{told}");
    }
}

#[test]
fn neither_frames_nor_graphs_are_told_in_ascii_either() {
    let mut app = Told::new((120, 40), true);
    let whole = app.told() + &app.keys(":") + &app.press(KeyCode::Esc);
    assert!(!whole.contains('#') && !whole.contains("**"), "{whole}");
    assert!(whole.is_ascii() && !whole.contains('|') && !whole.contains("--"), "{whole}");
}
