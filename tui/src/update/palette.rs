//! Keys in the palette, and what its entries do.

use super::{Effect, act, dialog, jump, list};
use crate::model::{Command, Load, Model, Palette, Spot, Weight, ZOOMS};
use crossterm::event::{Event as Terminal, KeyCode, KeyEvent, KeyModifiers};
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

/// Longest line, characters.
const MAX: usize = 400;
/// Entries of a page.
const PAGE: isize = 10;

pub(super) fn open(model: &mut Model) -> Vec<Effect> {
    model.palette = Some(Palette::open(model));
    Vec::new()
}

pub(super) fn key(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    // Out of the model while it looks through it.
    let Some(mut palette) = model.palette.take() else { return Vec::new() };
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Esc => return Vec::new(),
        KeyCode::Char('c') if ctrl => return Vec::new(),
        KeyCode::Enter => return enter(model, palette),
        KeyCode::Tab => {
            if let Some(entry) = palette.entry() {
                palette.input = Input::new(entry.text.clone());
                palette.find(model);
            }
        }
        KeyCode::Down => palette.step(1),
        KeyCode::Up => palette.step(-1),
        KeyCode::PageDown => palette.step(PAGE),
        KeyCode::PageUp => palette.step(-PAGE),
        KeyCode::Char('p') if ctrl => palette.recall(model, true),
        KeyCode::Char('n') if ctrl => palette.recall(model, false),
        _ => {
            let full = palette.input.value().chars().count() >= MAX;
            if !full || !matches!(key.code, KeyCode::Char(_)) {
                palette.input.handle_event(&Terminal::Key(key));
                palette.find(model);
            }
        }
    }
    model.palette = Some(palette);
    Vec::new()
}

/// Takes text into the line.
pub(super) fn paste(model: &mut Model, text: &str) {
    let Some(mut palette) = model.palette.take() else { return };
    let line: String = text.chars().filter(|sign| !sign.is_control()).take(MAX).collect();
    palette.input = Input::new(format!("{}{line}", palette.input.value()));
    palette.find(model);
    model.palette = Some(palette);
}

fn enter(model: &mut Model, palette: Palette) -> Vec<Effect> {
    let Some(entry) = palette.entry().cloned() else {
        model.palette = Some(palette);
        return Vec::new();
    };
    if let Err(why) = entry.about {
        model.say(Weight::Bad, why);
        model.palette = Some(palette);
        return Vec::new();
    }
    model.remember(&entry.text);
    run(model, entry.command)
}

fn run(model: &mut Model, command: Command) -> Vec<Effect> {
    match command {
        Command::Act(action) => act::act(model, action),
        Command::Go(name) => {
            let part = model.part;
            jump::go(model, Spot::Sprite(name, part))
        }
        Command::Context(index) => dialog::enter(model, index),
        Command::Theme(index) => {
            act::theme(model, index);
            Vec::new()
        }
        Command::Sort(column) => {
            model.sort = column;
            model.arrange();
            jump::go(model, Spot::List)
        }
        Command::Zoom(index) => act::zoom(model, index.min(ZOOMS.len() - 1)),
        Command::Filter(terms) => {
            // It was looked at while it was typed.
            let _ = list::filter(model, &terms);
            jump::go(model, Spot::List)
        }
        Command::New(name) => dialog::create(model, name),
        Command::Checkpoint(comment) => match name(model) {
            Some(name) => dialog::checkpoint(model, name, Some(comment), false),
            None => Vec::new(),
        },
        Command::Fork(to) => match name(model) {
            Some(name) => {
                let from = model.chosen_checkpoint().map(|node| node.id.clone());
                dialog::fork(model, name, to, from, false)
            }
            None => Vec::new(),
        },
    }
}

fn name(model: &Model) -> Option<String> {
    match &model.sprites {
        Load::Ready(_) => model.current().map(|row| row.sprite.name.clone()),
        _ => None,
    }
}
