//! Which keys do what.

use crate::action::{Action, Part, Place};
use crokey::KeyCombination;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::collections::{HashMap, HashSet};
use strum::IntoEnumIterator;

/// All bindings.
#[derive(Clone, Debug)]
pub struct Keys {
    by_action: HashMap<Action, Vec<KeyCombination>>,
    /// Actions whose keys somebody chose.
    chosen: HashSet<Action>,
}

impl Default for Keys {
    fn default() -> Self {
        let mut by_action = HashMap::new();
        for action in Action::iter() {
            // The table is checked by a test.
            by_action
                .insert(action, action.default_keys().iter().filter_map(|text| parse(text).ok()).collect());
        }
        Self { by_action, chosen: HashSet::new() }
    }
}

impl Keys {
    /// Gives an action other keys, or none. Actions that still have their usual keys lose those of them that are wanted here.
    pub fn bind(&mut self, action: Action, keys: Vec<KeyCombination>) {
        for other in Action::iter().filter(|other| *other != action && together(action, *other)) {
            if !self.chosen.contains(&other)
                && let Some(usual) = self.by_action.get_mut(&other)
            {
                usual.retain(|key| !keys.contains(key));
            }
        }
        self.chosen.insert(action);
        self.by_action.insert(action, keys);
    }

    /// What a key does at a place.
    pub fn action(&self, key: KeyEvent, at: Place) -> Option<Action> {
        let pressed = normal(KeyCombination::from(key));
        Action::iter()
            .filter(|action| fits(action.place(), at))
            .find(|action| self.of(*action).contains(&pressed))
    }

    /// The keys of an action.
    pub fn of(&self, action: Action) -> &[KeyCombination] {
        self.by_action.get(&action).map_or(&[], Vec::as_slice)
    }

    /// The first key of an action, as it is written.
    pub fn name(&self, action: Action) -> Option<String> {
        self.of(action).first().map(|key| name(*key))
    }

    /// All keys of an action, as they are written.
    pub fn names(&self, action: Action) -> String {
        self.of(action).iter().map(|key| name(*key)).collect::<Vec<_>>().join(", ")
    }

    /// Pairs of actions of one place with the same key.
    pub fn clashes(&self) -> Vec<(Action, Action, String)> {
        let mut clashes = Vec::new();
        for one in Action::iter() {
            for two in Action::iter().filter(|two| *two > one && together(one, *two)) {
                if let Some(key) = self.of(one).iter().find(|key| self.of(two).contains(key)) {
                    clashes.push((one, two, name(*key)));
                }
            }
        }
        clashes
    }
}

/// Whether two actions are possible at one place.
fn together(one: Action, two: Action) -> bool {
    let mut places = Part::iter().map(Place::Part).chain([Place::List]);
    places.any(|at| fits(one.place(), at) && fits(two.place(), at))
}

fn fits(place: Place, at: Place) -> bool {
    match place {
        Place::Everywhere => true,
        Place::Either => matches!(at, Place::List | Place::Part(_)),
        Place::Sprite => matches!(at, Place::Part(_)),
        place => place == at,
    }
}

/// Reads a key as the configuration writes it.
pub fn parse(text: &str) -> Result<KeyCombination, String> {
    let plain = text.trim();
    // A minus alone separates modifiers in the library's grammar.
    let written = if plain == "-" { "hyphen" } else { plain };
    crokey::parse(written)
        .map(normal)
        .map_err(|_| format!("{plain:?} is no key; write keys like q, ctrl-c, shift-tab, f5, pageup"))
}

/// Terminals differ in whether a capital letter comes with shift; here it always does, and other characters never do.
pub fn normal(key: KeyCombination) -> KeyCombination {
    let event: KeyEvent = match key.codes {
        crokey::OneToThree::One(code) => KeyEvent::new(code, key.modifiers),
        _ => return key,
    };
    let (code, mut modifiers) = (event.code, event.modifiers);
    let code = match code {
        // Terminals have a name of their own for shift-tab.
        KeyCode::Tab if modifiers.contains(KeyModifiers::SHIFT) => KeyCode::BackTab,
        KeyCode::BackTab => {
            modifiers |= KeyModifiers::SHIFT;
            KeyCode::BackTab
        }
        KeyCode::Char(c) if c.is_uppercase() => {
            modifiers |= KeyModifiers::SHIFT;
            KeyCode::Char(c.to_lowercase().next().unwrap_or(c))
        }
        KeyCode::Char(c) if !c.is_alphabetic() => {
            modifiers -= KeyModifiers::SHIFT;
            KeyCode::Char(c)
        }
        code => code,
    };
    KeyCombination::new(code, modifiers)
}

/// Keys as they are written for people.
pub fn written(keys: &[KeyCombination]) -> String {
    keys.iter().map(|key| name(*key)).collect::<Vec<_>>().join(" ")
}

fn name(key: KeyCombination) -> String {
    let text = key.to_string().to_lowercase();
    match text.as_str() {
        "hyphen" => "-".into(),
        "up" => "↑".into(),
        "down" => "↓".into(),
        "left" => "←".into(),
        "right" => "→".into(),
        "backtab" => "shift-tab".into(),
        _ => match text.strip_prefix("shift-") {
            Some(letter) if letter.chars().count() == 1 => letter.to_uppercase(),
            _ => text,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers) -> KeyEvent {
        KeyEvent::new(code, modifiers)
    }

    #[test]
    fn every_action_has_a_key_and_none_clash() {
        let keys = Keys::default();
        for action in Action::iter() {
            assert_eq!(keys.of(action).len(), action.default_keys().len(), "{action}");
            // Help shows each in one line of the narrowest usual terminal.
            assert!((1..=58).contains(&action.about().chars().count()), "{action}");
        }
        assert_eq!(keys.clashes(), []);
    }

    #[test]
    fn capitals_come_in_two_forms() {
        let keys = Keys::default();
        for key in
            [press(KeyCode::Char('G'), KeyModifiers::SHIFT), press(KeyCode::Char('G'), KeyModifiers::NONE)]
        {
            assert_eq!(keys.action(key, Place::List), Some(Action::Bottom));
        }
        assert_eq!(
            keys.action(press(KeyCode::Char('?'), KeyModifiers::SHIFT), Place::List),
            Some(Action::Help)
        );
        assert_eq!(
            keys.action(press(KeyCode::Char('-'), KeyModifiers::NONE), Place::Part(Part::Network)),
            Some(Action::ZoomOut)
        );
        assert_eq!(
            keys.action(press(KeyCode::Char('+'), KeyModifiers::SHIFT), Place::Part(Part::Checkpoints)),
            Some(Action::ZoomIn)
        );
        assert_eq!(keys.action(press(KeyCode::Char('r'), KeyModifiers::NONE), Place::List), None);
        assert_eq!(keys.name(Action::Bottom).as_deref(), Some("end"));
        assert_eq!(keys.names(Action::Bottom), "end, G");
        for (key, at, action) in [
            (press(KeyCode::BackTab, KeyModifiers::SHIFT), Part::Network, Some(Action::PreviousPart)),
            (press(KeyCode::Tab, KeyModifiers::SHIFT), Part::Network, Some(Action::PreviousPart)),
            (press(KeyCode::Char('u'), KeyModifiers::NONE), Part::Checkpoints, Some(Action::Undo)),
            (press(KeyCode::Char('u'), KeyModifiers::NONE), Part::Network, Some(Action::ForgetRules)),
        ] {
            assert_eq!(keys.action(key, Place::Part(at)), action, "{key:?}");
        }
        assert_eq!(keys.names(Action::PreviousPart), "shift-tab");
    }
}
