//! The one key that a console takes, and what can follow it.
//!
//! Pressed twice it goes to the program; alone it waits, without an end.

use crate::keys::{normal, parse, written};
use crokey::KeyCombination;
use crossterm::event::KeyEvent;
use std::collections::{HashMap, HashSet};
use strum::{Display, EnumIter, EnumString, IntoEnumIterator, IntoStaticStr};

/// The key, unless the configuration says otherwise.
const KEY: &str = "ctrl-]";

/// One thing to do in a console. Its name in the configuration file is in kebab case.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumIter, EnumString, Display, IntoStaticStr,
)]
#[strum(serialize_all = "kebab-case")]
#[allow(missing_docs, reason = "`about` says what each is")]
pub enum Command {
    Leave,
    NextTab,
    PreviousTab,
    NewTab,
    Close,
    SplitRight,
    SplitBelow,
    Join,
    Break,
    FocusLeft,
    FocusDown,
    FocusUp,
    FocusRight,
    FocusNext,
    Zoom,
    Resize,
    Copy,
    Search,
    Paste,
    Rename,
    Repaint,
}

impl Command {
    /// What it does, in a few words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Leave => "leave; the program goes on while the sprite is awake",
            Self::NextTab => "next tab",
            Self::PreviousTab => "tab before",
            Self::NewTab => "new tab",
            Self::Close => "close; the program goes on",
            Self::SplitRight => "split: new one to the right",
            Self::SplitBelow => "split: new one below",
            Self::Join => "put another tab beside it",
            Self::Break => "make it a tab of its own",
            Self::FocusLeft => "go left",
            Self::FocusDown => "go down",
            Self::FocusUp => "go up",
            Self::FocusRight => "go right",
            Self::FocusNext => "go to the next pane",
            Self::Zoom => "zoom, or back",
            Self::Resize => "resize with the arrows",
            Self::Copy => "copy mode: scroll, select",
            Self::Search => "search back",
            Self::Paste => "paste what was copied last",
            Self::Rename => "rename the tab",
            Self::Repaint => "paint everything anew",
        }
    }

    /// Keys unless the configuration says otherwise.
    pub fn default_keys(self) -> &'static [&'static str] {
        match self {
            Self::Leave => &["d", "esc", "q"],
            Self::NextTab => &["n"],
            Self::PreviousTab => &["p"],
            Self::NewTab => &["c", "t"],
            Self::Close => &["x"],
            Self::SplitRight => &["v", "|", "%"],
            Self::SplitBelow => &["s", "-", "\""],
            Self::Join => &["a"],
            Self::Break => &["!"],
            Self::FocusLeft => &["left", "h"],
            Self::FocusDown => &["down", "j"],
            Self::FocusUp => &["up", "k"],
            Self::FocusRight => &["right", "l"],
            Self::FocusNext => &["tab", "o"],
            Self::Zoom => &["z"],
            Self::Resize => &["r"],
            Self::Copy => &["["],
            Self::Search => &["/"],
            Self::Paste => &["]"],
            Self::Rename => &[","],
            Self::Repaint => &["ctrl-l"],
        }
    }
}

/// The key and what can follow it.
#[derive(Clone, Debug)]
pub struct Prefix {
    key: KeyCombination,
    by_command: HashMap<Command, Vec<KeyCombination>>,
    /// Commands whose keys somebody chose.
    chosen: HashSet<Command>,
}

impl Default for Prefix {
    fn default() -> Self {
        let keys = |texts: &[&str]| texts.iter().filter_map(|text| single(text).ok()).collect();
        // The tables are checked by a test.
        let by_command = Command::iter().map(|command| (command, keys(command.default_keys()))).collect();
        let key = single(KEY).unwrap_or(crokey::key!(f12));
        Self { key, by_command, chosen: HashSet::new() }
    }
}

impl Prefix {
    /// Whether this is the key.
    pub fn is(&self, key: KeyEvent) -> bool {
        let pressed = told(key);
        // One byte stands for both, and the library names it by the digit.
        pressed == self.key || legacy(pressed) == legacy(self.key)
    }

    /// What follows the key with this one.
    pub fn command(&self, key: KeyEvent) -> Option<Command> {
        let pressed = told(key);
        Command::iter().find(|command| self.of(*command).contains(&pressed))
    }

    /// Takes another key; the error is a part of a sentence.
    pub fn set_key(&mut self, text: &str) -> Result<(), String> {
        let key = single(text)?;
        if key.modifiers.is_empty()
            && !matches!(key.codes, crokey::OneToThree::One(crossterm::event::KeyCode::F(_)))
        {
            return Err(format!(
                "{text:?} is typed in programs; take one with ctrl or alt, or a function key"
            ));
        }
        self.key = key;
        Ok(())
    }

    /// Gives a command other keys, or none. Commands that still have their usual keys lose those of them that are wanted here. The error is
    /// a part of a sentence.
    pub fn bind(&mut self, command: Command, texts: &[String]) -> Result<(), String> {
        let keys = texts.iter().map(|text| single(text)).collect::<Result<Vec<_>, _>>()?;
        for (other, usual) in &mut self.by_command {
            if *other != command && !self.chosen.contains(other) {
                usual.retain(|key| !keys.contains(key));
            }
        }
        self.chosen.insert(command);
        self.by_command.insert(command, keys);
        Ok(())
    }

    /// Takes a setting of `[console]`: `prefix`, or the name of a command. The error is a part of a sentence.
    pub fn set(&mut self, name: &str, keys: &[String]) -> Result<(), String> {
        match (name, keys) {
            ("prefix", [key]) => self.set_key(key),
            ("prefix", _) => Err("the prefix is one key".to_owned()),
            _ => match name.parse() {
                Ok(command) => self.bind(command, keys),
                Err(_) => {
                    let names: Vec<&str> = Command::iter().map(Into::into).collect();
                    Err(format!(
                        "[console] has no setting {name:?}; it has prefix, scrollback, {}",
                        names.join(", ")
                    ))
                }
            },
        }
    }

    /// The key, as it is written.
    pub fn name(&self) -> String {
        written(&[self.key])
    }

    /// The first key of a command, as it is written.
    pub fn key_of(&self, command: Command) -> Option<String> {
        self.of(command).first().map(|key| written(&[*key]))
    }

    /// All keys of a command, as they are written.
    pub fn keys_of(&self, command: Command) -> String {
        self.of(command).iter().map(|key| written(&[*key])).collect::<Vec<_>>().join(", ")
    }

    /// All keys of a command.
    pub fn of(&self, command: Command) -> &[KeyCombination] {
        self.by_command.get(&command).map_or(&[], Vec::as_slice)
    }
}

/// What a person pressed, however the terminal tells it.
fn told(key: KeyEvent) -> KeyCombination {
    normal(KeyCombination::new(key.code, key.modifiers))
}

/// The same key for those that terminals without modern protocols do not tell apart.
fn legacy(key: KeyCombination) -> KeyCombination {
    use crossterm::event::{KeyCode, KeyModifiers};
    let crokey::OneToThree::One(KeyCode::Char(c)) = key.codes else { return key };
    if key.modifiers != KeyModifiers::CONTROL {
        return key;
    }
    let digit = match c {
        '\\' | '|' => '4',
        ']' | '}' => '5',
        '^' | '~' => '6',
        '_' | '/' => '7',
        c => c,
    };
    KeyCombination::new(KeyCode::Char(digit), KeyModifiers::CONTROL)
}

fn single(text: &str) -> Result<KeyCombination, String> {
    match parse(text)?.as_slice() {
        [key] => Ok(*key),
        _ => Err(format!("{text:?} is more than one key")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossterm::event::{KeyCode, KeyModifiers};

    #[test]
    fn every_command_has_keys_and_none_clash() {
        let prefix = Prefix::default();
        let mut seen = HashSet::new();
        for command in Command::iter() {
            assert_eq!(prefix.of(command).len(), command.default_keys().len(), "{command}");
            for key in prefix.of(command) {
                assert!(seen.insert(*key), "{command} shares a key");
            }
        }
        assert_eq!(prefix.name(), KEY);
    }

    #[test]
    fn the_key_comes_in_two_forms_and_can_be_another() {
        let mut prefix = Prefix::default();
        let control = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
        assert!(prefix.is(control(']')) && prefix.is(control('5')) && !prefix.is(control('a')));
        assert!(!prefix.is(KeyEvent::new(KeyCode::Char(']'), KeyModifiers::NONE)));
        prefix.set_key("ctrl-a").unwrap();
        assert!(prefix.is(control('a')) && !prefix.is(control(']')));
        assert!(prefix.set_key("a").is_err() && prefix.set_key("f12").is_ok());
    }

    #[test]
    fn keys_are_bound_and_taken() {
        let mut prefix = Prefix::default();
        let key = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
        prefix.bind(Command::Zoom, &["n".to_owned()]).unwrap();
        assert_eq!(prefix.command(key('n')), Some(Command::Zoom));
        assert_eq!(prefix.keys_of(Command::NextTab), "");
        assert!(prefix.bind(Command::Zoom, &["cttrl-x".to_owned()]).is_err());
        assert_eq!(
            prefix.command(KeyEvent::new(KeyCode::Char('%'), KeyModifiers::SHIFT)),
            Some(Command::SplitRight)
        );
    }
}
