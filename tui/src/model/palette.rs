//! The palette: one line that finds every command, sprite, context and theme by a few of its letters, and takes what a command needs.

use super::{Column, Load, Model, ZOOMS};
use crate::action::Action;
use crate::number;
use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use strum::IntoEnumIterator;
use tui_input::Input;

/// Most entries that are found.
const MOST: usize = 200;
/// Most lines that are remembered.
const REMEMBERED: usize = 200;

/// What an entry does.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// As its key does.
    Act(Action),
    /// To the screen of this sprite.
    Go(String),
    /// To the context of that index.
    Context(usize),
    /// To the theme of that index.
    Theme(usize),
    /// Sorts by this column.
    Sort(Column),
    /// Graphs over the span of that index.
    Zoom(usize),
    /// Shows these sprites only.
    Filter(String),
    /// Makes a sprite of that name.
    New(String),
    /// Makes a checkpoint of the selected sprite, with this comment.
    Checkpoint(String),
    /// Makes a sprite of that name from the selected one, or from its selected checkpoint.
    Fork(String),
}

/// One line of what was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// As it is written in the line.
    pub text: String,
    /// What it does, or why it cannot be done now.
    pub about: Result<String, String>,
    /// Its keys, where it has any.
    pub keys: String,
    /// What it does.
    pub command: Command,
}

/// Commands that take a text, what it is, and the action that asks for it.
const TAKING: [(&str, &str, Action); 4] = [
    ("filter", "terms such as state:running !label:ci", Action::Filter),
    ("new", "the name of a sprite to make", Action::New),
    ("checkpoint", "a comment", Action::Checkpoint),
    ("fork", "the name of the new sprite", Action::Fork),
];

/// The open palette.
#[derive(Clone, Debug, Default)]
pub struct Palette {
    /// What is typed.
    pub input: Input,
    /// What was found, the best first.
    pub entries: Vec<Entry>,
    /// Which of them is selected.
    pub chosen: usize,
    /// Which line of the history stands there, counted from the newest.
    recalled: Option<usize>,
}

impl Palette {
    /// One that has just been opened.
    pub fn open(model: &Model) -> Self {
        let mut palette = Self::default();
        palette.find(model);
        palette
    }

    /// Looks for what is typed.
    pub fn find(&mut self, model: &Model) {
        let text = self.input.value().trim_start().to_owned();
        self.chosen = 0;
        self.entries = match taken(model, &text) {
            Some(entry) => vec![entry],
            None => found(all(model), text.trim_end()),
        };
    }

    /// Puts an earlier line there, or a later one.
    pub fn recall(&mut self, model: &Model, back: bool) {
        let next = match (self.recalled, back) {
            (None, true) => Some(0),
            (Some(at), true) => Some(at + 1),
            (None | Some(0), false) => None,
            (Some(at), false) => Some(at - 1),
        };
        let line = match next {
            Some(at) => match model.commands.iter().rev().nth(at) {
                Some(line) => line.clone(),
                None => return,
            },
            None => String::new(),
        };
        self.recalled = next;
        self.input = Input::new(line);
        self.find(model);
    }

    /// The selected entry.
    pub fn entry(&self) -> Option<&Entry> {
        self.entries.get(self.chosen)
    }

    /// Moves the selection, round at both ends.
    pub fn step(&mut self, by: isize) {
        let count = self.entries.len();
        if count > 0 {
            self.chosen = (self.chosen as isize + by).rem_euclid(count as isize) as usize;
        }
    }
}

impl Model {
    /// Remembers a line of the palette; the same line is kept once.
    pub fn remember(&mut self, line: &str) {
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        self.commands.retain(|known| known != line);
        self.commands.push(line.to_owned());
        let more = self.commands.len().saturating_sub(REMEMBERED);
        self.commands.drain(..more);
    }
}

/// A command with what it takes, when that is what is being typed.
fn taken(model: &Model, text: &str) -> Option<Entry> {
    let (word, rest) = text.split_once(' ')?;
    let (_, what, action) = TAKING.iter().find(|(name, ..)| *name == word)?;
    let rest = rest.trim().to_owned();
    let checked = match action {
        Action::Filter => rest.parse::<crate::filter::Filter>().map(drop),
        Action::New | Action::Fork if !rest.is_empty() => {
            sprites_api::name::check(&rest).map_err(|why| why.to_string())
        }
        _ => Ok(()),
    };
    let about = model.possible(*action).and(checked).map(|()| format!("{}: {what}", action.about()));
    let command = match action {
        // Without it the dialog asks.
        Action::New | Action::Fork if rest.is_empty() => Command::Act(*action),
        Action::Filter => Command::Filter(rest),
        Action::New => Command::New(rest),
        Action::Fork => Command::Fork(rest),
        _ => Command::Checkpoint(rest),
    };
    Some(Entry { text: text.to_owned(), about, keys: model.keys.names(*action), command })
}

/// Everything there is: what can be done here first.
fn all(model: &Model) -> Vec<Entry> {
    let action = |action: Action| Entry {
        text: action.to_string(),
        about: model.possible(action).map(|()| action.about().to_owned()),
        keys: model.keys.names(action),
        command: Command::Act(action),
    };
    // It is open already, and nobody moves about by it.
    let (moving, doing): (Vec<Action>, Vec<Action>) =
        Action::iter().filter(|action| *action != Action::Palette).partition(|action| action.moves());
    let (here, elsewhere): (Vec<Entry>, Vec<Entry>) =
        doing.into_iter().map(action).partition(|entry| entry.about.is_ok());
    let told =
        |text: String, about: String, command| Entry { text, about: Ok(about), keys: String::new(), command };
    let mut entries = here;
    if let Load::Ready(sprites) = &model.sprites {
        entries.extend(sprites.iter().map(|(name, row)| {
            let state = format!("the sprite, {}", row.sprite.status.as_str());
            told(format!("go {name}"), state, Command::Go(name.clone()))
        }));
    }
    entries.extend(model.contexts.iter().enumerate().map(|(index, name)| {
        told(format!("context {name}"), "the sprites that are there".into(), Command::Context(index))
    }));
    entries.extend(model.themes.iter().enumerate().map(|(index, theme)| {
        told(format!("theme {}", theme.name), "these colours".into(), Command::Theme(index))
    }));
    entries.extend(Column::iter().map(|column| {
        let word = column.word();
        told(format!("sort {word}"), format!("the list by {word}"), Command::Sort(column))
    }));
    entries.extend(ZOOMS.iter().enumerate().map(|(index, seconds)| {
        let span = number::span(*seconds);
        told(format!("zoom {span}"), format!("graphs over {span}"), Command::Zoom(index))
    }));
    entries.extend(moving.into_iter().map(action));
    entries.extend(elsewhere);
    entries
}

/// Those that fit what is typed, the best first; what cannot be done now comes after what can.
fn found(entries: Vec<Entry>, text: &str) -> Vec<Entry> {
    if text.is_empty() {
        return entries.into_iter().take(MOST).collect();
    }
    let pattern = Pattern::parse(text, CaseMatching::Ignore, Normalization::Smart);
    let mut matcher = Matcher::new(Config::DEFAULT);
    let mut signs = Vec::new();
    let mut scored: Vec<(bool, u32, Entry)> = Vec::new();
    for entry in entries {
        // Its name counts for more than what is told of it.
        let name = pattern.score(Utf32Str::new(&entry.text, &mut signs), &mut matcher).map(|score| score * 4);
        let told = match (&entry.about, &entry.command) {
            (Ok(about), _) => about.as_str(),
            (Err(_), Command::Act(action)) => action.about(),
            (Err(_), _) => "",
        };
        let told = pattern.score(Utf32Str::new(told, &mut signs), &mut matcher);
        if let Some(score) = name.max(told) {
            scored.push((entry.about.is_err(), score, entry));
        }
    }
    scored.sort_by(|one, two| one.0.cmp(&two.0).then(two.1.cmp(&one.1)));
    scored.into_iter().map(|(_, _, entry)| entry).take(MOST).collect()
}
