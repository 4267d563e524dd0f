//! Which keys do what.

use crate::action::{Action, Part, Place};
use crokey::KeyCombination;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::collections::{HashMap, HashSet};
use strum::IntoEnumIterator;

/// Keys that are pressed one after the other; mostly there is one.
pub type Chord = Vec<KeyCombination>;

/// What comes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It does this.
    Act(Action),
    /// It begins something, and another key is waited for.
    More,
    /// It does nothing here.
    Nothing,
}

/// All bindings.
#[derive(Clone, Debug)]
pub struct Keys {
    by_action: HashMap<Action, Vec<Chord>>,
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
    pub fn bind(&mut self, action: Action, keys: Vec<Chord>) {
        for other in Action::iter().filter(|other| *other != action && together(action, *other)) {
            if !self.chosen.contains(&other)
                && let Some(usual) = self.by_action.get_mut(&other)
            {
                usual.retain(|usual| !keys.iter().any(|key| clash(key, usual)));
            }
        }
        self.chosen.insert(action);
        self.by_action.insert(action, keys);
    }

    /// What a key does at a place, after those that are waiting.
    pub fn step(&self, waiting: &[KeyCombination], key: KeyEvent, at: Place) -> Step {
        let mut pressed = waiting.to_vec();
        pressed.push(normal(KeyCombination::from(key)));
        let mut more = Step::Nothing;
        for action in Action::iter().filter(|action| fits(action.place(), at)) {
            for keys in self.of(action) {
                if *keys == pressed {
                    return Step::Act(action);
                }
                if keys.starts_with(&pressed) {
                    more = Step::More;
                }
            }
        }
        more
    }

    /// What can follow the keys that are waiting: the next key, and what it does or that it begins something.
    pub fn following(&self, waiting: &[KeyCombination], at: Place) -> Vec<(String, Action)> {
        let here = Action::iter().filter(|action| fits(action.place(), at));
        let next = |keys: &Chord| {
            let rest = keys.strip_prefix(waiting).filter(|rest| !rest.is_empty())?;
            Some(written(rest))
        };
        here.flat_map(|action| self.of(action).iter().filter_map(next).map(move |key| (key, action)))
            .collect()
    }

    /// The keys of an action.
    pub fn of(&self, action: Action) -> &[Chord] {
        self.by_action.get(&action).map_or(&[], Vec::as_slice)
    }

    /// The first key of an action, as it is written.
    pub fn name(&self, action: Action) -> Option<String> {
        self.of(action).first().map(|keys| written(keys))
    }

    /// All keys of an action, as they are written.
    pub fn names(&self, action: Action) -> String {
        self.of(action).iter().map(|keys| written(keys)).collect::<Vec<_>>().join(", ")
    }

    /// Pairs of actions of one place with the same key.
    pub fn clashes(&self) -> Vec<(Action, Action, String)> {
        let mut clashes = Vec::new();
        for one in Action::iter() {
            for two in Action::iter().filter(|two| *two > one && together(one, *two)) {
                let both = |keys: &&Chord| self.of(two).iter().any(|other| clash(keys, other));
                if let Some(keys) = self.of(one).iter().find(both) {
                    clashes.push((one, two, written(keys)));
                }
            }
        }
        clashes
    }
}

/// Whether one of two is never reached: they are the same, or one is the beginning of the other.
fn clash(one: &Chord, two: &Chord) -> bool {
    one.starts_with(two) || two.starts_with(one)
}

/// Whether two actions are possible at one place.
fn together(one: Action, two: Action) -> bool {
    let mut places = Part::iter().map(Place::Part).chain([Place::List, Place::Text, Place::Settings]);
    places.any(|at| fits(one.place(), at) && fits(two.place(), at))
}

/// Whether what is possible at one place is so at another, where somebody is.
pub fn fits(place: Place, at: Place) -> bool {
    match place {
        Place::Everywhere => true,
        Place::Either => matches!(at, Place::List | Place::Part(_)),
        Place::Sprite => matches!(at, Place::Part(_)),
        place => place == at,
    }
}

/// Reads keys as the configuration writes them: one, or several with spaces between them.
pub fn parse(text: &str) -> Result<Chord, String> {
    let keys = text.split_whitespace().map(one).collect::<Result<Chord, _>>()?;
    match keys.len() {
        0 => Err(format!("{text:?} is no key")),
        1..=3 => Ok(keys),
        _ => Err(format!("{text:?} has more than three keys")),
    }
}

fn one(plain: &str) -> Result<KeyCombination, String> {
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
            assert_eq!(keys.step(&[], key, Place::List), Step::Act(Action::Bottom));
        }
        let step = |code, modifiers, at| keys.step(&[], press(code, modifiers), at);
        let (none, shift) = (KeyModifiers::NONE, KeyModifiers::SHIFT);
        let network = Place::Part(Part::Network);
        assert_eq!(step(KeyCode::Char('?'), shift, Place::List), Step::Act(Action::Help));
        assert_eq!(step(KeyCode::Char('-'), none, network), Step::Act(Action::ZoomOut));
        assert_eq!(step(KeyCode::Char('+'), shift, network), Step::Act(Action::ZoomIn));
        assert_eq!(step(KeyCode::Char('r'), none, Place::List), Step::Nothing);
        assert_eq!(keys.name(Action::Bottom).as_deref(), Some("end"));
        assert_eq!(keys.names(Action::Bottom), "end, G");
        for (key, at, action) in [
            (press(KeyCode::BackTab, shift), Part::Network, Action::PreviousPart),
            (press(KeyCode::Tab, shift), Part::Network, Action::PreviousPart),
            (press(KeyCode::Char('u'), none), Part::Checkpoints, Action::Undo),
            (press(KeyCode::Char('u'), none), Part::Network, Action::ForgetRules),
        ] {
            assert_eq!(keys.step(&[], key, Place::Part(at)), Step::Act(action), "{key:?}");
        }
        assert_eq!(keys.names(Action::PreviousPart), "shift-tab");
    }

    #[test]
    fn some_keys_begin_others() {
        let mut keys = Keys::default();
        let key = |letter| press(KeyCode::Char(letter), KeyModifiers::NONE);
        assert_eq!(keys.step(&[], key('g'), Place::List), Step::More);
        let waiting = parse("g").unwrap();
        assert_eq!(keys.step(&waiting, key('g'), Place::List), Step::Act(Action::Top));
        assert_eq!(keys.step(&waiting, key('y'), Place::List), Step::Nothing);
        let following = keys.following(&waiting, Place::List);
        assert!(following.contains(&("g".into(), Action::Top)), "{following:?}");
        assert!(keys.following(&[], Place::List).contains(&("g g".into(), Action::Top)));
        // A key of its own takes the place of all that it begins.
        keys.bind(Action::Filter, vec![waiting]);
        assert_eq!(keys.step(&[], key('g'), Place::List), Step::Act(Action::Filter));
        assert_eq!(keys.clashes(), []);
        for bad in ["", "a b c d", "g nothing"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
