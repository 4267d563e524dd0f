//! The first steps, told on the real screens where they can be taken. Each goes on when it has been done; nothing waits for it, and all of it can be skipped.

use super::{Load, Model, Screen};
use crate::action::{Action, Part, Place};
use crate::prefix::Command;
use sprites_api::checkpoint::CURRENT;

/// One step.
struct Step {
    /// What there is to do, in one or two sentences.
    words: fn(&Model) -> String,
    /// Whether it can be done where somebody is.
    here: fn(&Model) -> bool,
    /// Whether that has been done.
    done: fn(&Model) -> bool,
}

const STEPS: [Step; 6] = [
    Step {
        words: |model| match model.has_image {
            Some(false) if model.here.local => format!(
                "Sprites are made of a base image. {} builds it from Debian's packages, in a minute or two.",
                key(model, Action::BuildImage)
            ),
            _ => format!(
                "A sprite is a small Linux computer of its own, which costs nothing while it sleeps. {} makes one.",
                key(model, Action::New)
            ),
        },
        here: |model| {
            let builds = model.has_image == Some(false) && model.possible(Action::BuildImage).is_ok();
            let is_known = model.screen == Screen::List && matches!(model.sprites, Load::Ready(_));
            is_known && (builds || model.possible(Action::New).is_ok())
        },
        done: |model| matches!(&model.sprites, Load::Ready(sprites) if !sprites.is_empty()),
    },
    Step {
        words: |model| {
            format!(
                "{} opens a console in the selected sprite, which boots meanwhile.",
                key(model, Action::Console)
            )
        },
        here: |model| model.possible(Action::Console).is_ok(),
        done: |model| matches!(model.screen, Screen::Console(_)),
    },
    Step {
        words: |model| {
            let prefix = model.mux.prefix.name();
            let leave = model.mux.prefix.key_of(Command::Leave).unwrap_or_else(|| prefix.clone());
            format!(
                "This is its shell; every key is the program's but {prefix}. {prefix}, then {leave}, leaves."
            )
        },
        here: |model| matches!(model.screen, Screen::Console(_)),
        done: |model| !matches!(model.screen, Screen::Console(_)) && !model.consoles.is_empty(),
    },
    Step {
        words: |model| {
            let (open, back) = (key(model, Action::Open), key(model, Action::Back));
            format!(
                "{open} opens the sprite: what it uses, its checkpoints, its network, its files. {back} leads back."
            )
        },
        here: |model| model.possible(Action::Open).is_ok(),
        done: |model| model.screen == Screen::Sprite,
    },
    Step {
        words: |model| {
            let (checkpoint, restore) = (key(model, Action::Checkpoint), key(model, Action::Restore));
            format!(
                "{checkpoint} makes a checkpoint of its disk; {restore} goes back to the selected one, whatever was broken since."
            )
        },
        here: |model| {
            model.place() == Place::Part(Part::Checkpoints) && model.possible(Action::Checkpoint).is_ok()
        },
        done: |model| {
            let made = |nodes: &[sprites_api::extension::TreeNode]| {
                nodes.iter().any(|node| node.id != CURRENT && !node.is_auto)
            };
            model.part == Part::Checkpoints && model.nodes().is_some_and(made)
        },
    },
    Step {
        words: |model| {
            let (palette, help) = (key(model, Action::Palette), key(model, Action::Help));
            format!(
                "{palette} finds every command by a few letters, {help} tells all keys. What is unused falls asleep by itself."
            )
        },
        here: |model| !matches!(model.screen, Screen::Console(_)),
        done: |model| model.palette.is_some() || model.screen == Screen::Help,
    },
];

fn key(model: &Model, action: Action) -> String {
    model.keys.name(action).unwrap_or_else(|| format!("the command {action}"))
}

/// How far somebody has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tour(usize);

impl Model {
    /// What there is to do here now, after how far that is.
    pub fn tour_step(&self) -> Option<(String, String)> {
        let Tour(at) = self.tour?;
        let step = STEPS.get(at).filter(|step| (step.here)(self))?;
        Some((format!("{} of {}", at + 1, STEPS.len()), (step.words)(self)))
    }

    /// Goes on in the tour past what has been done; true when that was its end.
    pub fn tour_goes_on(&mut self) -> bool {
        let Some(Tour(mut at)) = self.tour else { return false };
        while STEPS.get(at).is_some_and(|step| (step.done)(self)) {
            at += 1;
        }
        self.tour = (at < STEPS.len()).then_some(Tour(at));
        self.tour.is_none()
    }
}
