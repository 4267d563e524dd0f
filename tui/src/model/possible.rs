//! What can be done now, and why the rest cannot. Keys, hints and the palette all ask here.

use super::{Attachment, Model, Screen};
use crate::action::{Action, Place};
use crate::keys::fits;
use sprites_api::checkpoint::CURRENT;
use sprites_api::extension::TreeNode;
use sprites_api::sprite::Status;

/// What begins the id of a checkpoint that a restore made of what it replaced.
const REPLACED: &str = "pre-restore-";

impl Model {
    /// Where keys have their meaning now.
    pub fn place(&self) -> Place {
        match self.screen {
            Screen::List => Place::List,
            Screen::Sprite => Place::Part(self.part),
            Screen::Settings => Place::Settings,
            Screen::Help | Screen::Log | Screen::Costs | Screen::Events | Screen::Storage | Screen::Sheet => {
                Place::Text
            }
            Screen::Console(_) => Place::Everywhere,
        }
    }

    /// Whether an action can be done now; the error is a sentence that tells why not.
    pub fn possible(&self, action: Action) -> Result<(), String> {
        let key = |action| self.keys.name(action).unwrap_or_else(|| format!("the action {action}"));
        if !fits(action.place(), self.place()) {
            return Err("That cannot be done on this screen.".into());
        }
        if self.read_only && action.changes() {
            return Err(format!("Nothing is changed in read-only mode; {} ends it.", key(Action::ReadOnly)));
        }
        let Some(row) = self.current() else {
            return if action.is_of_a_sprite() {
                Err("There is no sprite selected.".into())
            } else {
                self.possible_without(action)
            };
        };
        let one = || self.marked_here().is_empty();
        match action {
            Action::Stop if row.sprite.status == Status::Cold && one() => {
                Err(format!("{} is stopped already.", row.sprite.name))
            }
            Action::Detach if !self.has_attached(&row.sprite.name) && one() => {
                Err(format!("No console of {} is attached.", row.sprite.name))
            }
            Action::Restore | Action::DeleteCheckpoint if self.chosen_checkpoint().is_none() => {
                Err("Current is the live disk; select a checkpoint first.".into())
            }
            Action::Undo if self.replaced().is_none() => Err("There is no restore to undo.".into()),
            action => self.possible_with_files(action).and_then(|()| self.possible_without(action)),
        }
    }

    /// The same for what has nothing to do with the selected sprite.
    fn possible_without(&self, action: Action) -> Result<(), String> {
        let key = |action| self.keys.name(action).unwrap_or_else(|| format!("the action {action}"));
        match action {
            Action::New if self.here.local && self.has_image == Some(false) => Err(format!(
                "There is no base image yet; {} builds one, which takes a minute or two.",
                key(Action::BuildImage)
            )),
            Action::BuildImage if !self.here.local => Err("Images are built on this machine only.".into()),
            Action::BuildImage if self.build.is_some() => Err("An image is being built already.".into()),
            Action::Budget if self.costs.is_none() => {
                Err("This endpoint keeps no budget; the local server does.".into())
            }
            Action::Contexts if self.contexts.len() < 2 => {
                Err("There is no other context; add one to config.toml, as the README tells.".into())
            }
            Action::JumpBack if !self.trail.has_before() => Err("You were nowhere before.".into()),
            Action::JumpForward if !self.trail.has_after() => Err("This is where you were last.".into()),
            _ => Ok(()),
        }
    }

    fn has_attached(&self, name: &str) -> bool {
        let attached = |tab: &super::Tab| {
            tab.sprite == name && matches!(tab.attachment, Attachment::Attached | Attachment::Connecting)
        };
        self.consoles.iter().any(attached)
    }

    /// The marked sprites, on the screen where they are shown.
    pub fn marked_here(&self) -> Vec<String> {
        // There may be very many, and mostly none is marked.
        if self.screen != Screen::List || self.marked.is_empty() {
            return Vec::new();
        }
        self.order.iter().filter(|name| self.marked.contains(*name)).cloned().collect()
    }

    /// The selected checkpoint, unless it is the live disk or not on the screen.
    pub fn chosen_checkpoint(&self) -> Option<&TreeNode> {
        if self.place() != Place::Part(crate::action::Part::Checkpoints) {
            return None;
        }
        let id = self.checkpoint.as_ref().filter(|id| *id != CURRENT)?;
        self.nodes()?.iter().find(|node| node.id == *id)
    }

    /// The newest checkpoint that a restore made of what it replaced.
    pub fn replaced(&self) -> Option<&TreeNode> {
        let made = |node: &&TreeNode| node.id.starts_with(REPLACED);
        self.nodes()?.iter().filter(made).max_by_key(|node| node.create_time.as_micros())
    }
}
