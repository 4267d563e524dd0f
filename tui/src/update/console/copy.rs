//! Copy mode, and what comes of it.

use crate::model::Model;
use crate::update::Effect;
use crossterm::event::KeyEvent;
use sprites_console::Outcome;

/// A key in copy mode.
pub(super) fn key(model: &mut Model, id: u64, key: KeyEvent) -> Vec<Effect> {
    let outcome = model.console(id).map(|tab| tab.terminal.copy_key(key));
    outcome.map_or(Vec::new(), |outcome| done(model, outcome))
}

/// What was selected goes to the clipboard.
pub(super) fn done(model: &mut Model, outcome: Outcome) -> Vec<Effect> {
    match outcome {
        Outcome::Copied(text) if !text.is_empty() => {
            model.mux.copied = Some(text.clone());
            vec![Effect::Copy(text)]
        }
        Outcome::Copied(_) | Outcome::Stays | Outcome::Left => Vec::new(),
    }
}
