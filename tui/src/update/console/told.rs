//! What programs tell or give of their own accord.

use crate::model::{COPIES, Model, Weight};
use crate::update::Effect;
use sprites_console::Happening;
use std::time::{Duration, Instant};

/// Between two notices of one console: a program must not fill the screen with them.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two bells: more of them is noise.
const BELLS: Duration = Duration::from_millis(250);

/// Takes what a console's program has told. What it copies is taken only where a person looks: it would replace what they copied
/// themselves.
pub(super) fn told(model: &mut Model, id: u64) -> Vec<Effect> {
    let seen = model.panes().iter().any(|(shown, _)| *shown == id);
    let Some(tab) = model.console(id) else { return Vec::new() };
    let rang = tab.terminal.bell();
    let now = Instant::now();
    let mut notice = None;
    let mut copy = None;
    for happening in tab.terminal.happenings() {
        match happening {
            Happening::Copy(text) => copy = Some(text),
            Happening::Notice(title, text) => {
                if tab.told.is_none_or(|at| now.saturating_duration_since(at) >= PAUSE) {
                    tab.told = Some(now);
                    let between = if title.is_empty() || text.is_empty() { "" } else { ": " };
                    notice = Some(format!("{}: {title}{between}{text}", tab.title()));
                }
            }
        }
    }
    tab.rang |= rang && !seen;
    let refused = (copy.is_some() && !seen).then(|| tab.title().to_owned());
    if rang && seen && model.mux.rang_at.is_none_or(|at| now.saturating_duration_since(at) >= BELLS) {
        (model.mux.bell, model.mux.rang_at) = (true, Some(now));
    }
    if let Some(notice) = notice {
        model.say(Weight::Good, notice);
    }
    match (copy, refused) {
        (Some(text), None) => {
            model.mux.copies = Some(text);
            copied(model, now)
        }
        (_, Some(title)) => {
            let text =
                format!("{title} wanted to copy something and was not let, because nobody looks at it");
            if !model.toasts.iter().any(|toast| toast.text.starts_with(&text)) {
                model.say(Weight::Bad, text);
            }
            Vec::new()
        }
        (None, None) => Vec::new(),
    }
}

/// Gives the clipboard what a program copied, unless one has just done so; then the last of what comes meanwhile waits.
pub(super) fn copied(model: &mut Model, now: Instant) -> Vec<Effect> {
    let mux = &mut model.mux;
    if mux.copied_at.is_some_and(|at| now.saturating_duration_since(at) < COPIES) {
        return Vec::new();
    }
    let Some(text) = mux.copies.take() else { return Vec::new() };
    mux.copied_at = Some(now);
    mux.copied = Some(text.clone());
    vec![Effect::Copy(text)]
}
