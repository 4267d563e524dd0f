//! Settings changed from within the app.

use super::Effect;
use crate::action::Action;
use crate::config::{edit, nearest};
use crate::model::{Ask, Dialog, Model};

/// Changes the selected setting, or asks what to.
pub(super) fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    let (setting, chosen) = (model.settings.setting(), model.settings.chosen);
    match (action, model.settings.next()) {
        (Action::UsualValue, _) if model.settings.value().is_none() => Vec::new(),
        (Action::UsualValue, _) => vec![Effect::Configure(chosen, None)],
        (Action::NextValue, Some(value)) => vec![Effect::Configure(chosen, value)],
        _ => {
            let text = model.settings.typed();
            model.dialog = Some(Dialog::new(Ask::Setting(setting.name, setting.about), &text));
            Vec::new()
        }
    }
}

/// What follows from a value that was typed; the error is a sentence.
pub(super) fn typed(model: &Model, typed: &str) -> Result<Effect, String> {
    let setting = model.settings.setting();
    let themes = || model.themes.iter().map(|theme| theme.name.as_str());
    if setting.section.is_empty()
        && setting.name == "theme"
        && !typed.is_empty()
        && !themes().any(|name| name == typed)
    {
        return Err(format!("there is no theme {typed:?}{}", nearest(typed, themes())));
    }
    edit::written(setting, typed).map(|value| Effect::Configure(model.settings.chosen, value))
}
