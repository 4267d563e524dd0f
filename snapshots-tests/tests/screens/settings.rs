//! What can be set, seen and changed.

use super::{model, text, with_sprites};
use crossterm::event::{Event as Press, KeyCode, KeyEvent};
use sprites_tui::config::table::SETTINGS;
use sprites_tui::model::{Model, Screen};
use sprites_tui::update::{Effect, Event, update};

fn press(model: &mut Model, code: KeyCode) -> Vec<Effect> {
    update(model, Event::Terminal(Press::Key(KeyEvent::from(code))))
}

fn keys(model: &mut Model, keys: &str) -> Vec<Effect> {
    keys.chars().fold(Vec::new(), |_, key| press(model, KeyCode::Char(key)))
}

/// As [`Effect::Configure`] names it.
fn index(name: &str) -> usize {
    SETTINGS.iter().position(|setting| setting.name == name).unwrap()
}

#[test]
fn settings_are_changed() {
    for (columns, rows) in [(80, 24), (120, 45)] {
        let mut model = model(columns, rows);
        with_sprites(&mut model, &["box"]);
        model.settings.values = vec![None; SETTINGS.len()];
        model.settings.values[index("ascii")] = Some("false".into());
        model.settings.values[index("theme")] = Some("\"marked\"".into());
        keys(&mut model, "g,");
        assert_eq!(model.screen, Screen::Settings);
        insta::assert_snapshot!(format!("settings-{columns}x{rows}"), text(&model));
        // Few values follow one another, and the last is followed by the usual.
        while model.settings.setting().name != "ascii" {
            press(&mut model, KeyCode::Down);
        }
        assert_eq!(press(&mut model, KeyCode::Enter), [Effect::Configure(index("ascii"), None)]);
        press(&mut model, KeyCode::Down);
        let braille = Some("\"braille\"".to_owned());
        assert_eq!(keys(&mut model, " "), [Effect::Configure(index("graphs"), braille)]);
        // Others are typed, and refused where they are none.
        press(&mut model, KeyCode::End);
        while model.settings.setting().name != "idle" {
            press(&mut model, KeyCode::Up);
        }
        press(&mut model, KeyCode::Enter);
        keys(&mut model, "soon");
        assert_eq!(press(&mut model, KeyCode::Enter), []);
        insta::assert_snapshot!(format!("settings-refused-{columns}x{rows}"), text(&model));
        (0..4).for_each(|_| drop(press(&mut model, KeyCode::Backspace)));
        keys(&mut model, "60");
        let sixty = Some("60".to_owned());
        assert_eq!(press(&mut model, KeyCode::Enter), [Effect::Configure(index("idle"), sixty)]);
        press(&mut model, KeyCode::Home);
        keys(&mut model, "d");
        press(&mut model, KeyCode::Enter);
        keys(&mut model, "x");
        press(&mut model, KeyCode::Enter);
        assert!(model.dialog.as_ref().unwrap().error.as_ref().unwrap().contains("there is no theme"));
        press(&mut model, KeyCode::Esc);
        press(&mut model, KeyCode::Esc);
        assert_eq!(model.screen, Screen::List);
    }
}
