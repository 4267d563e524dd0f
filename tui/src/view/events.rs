//! When a sprite took on which state, and why; its checkpoints and restores.

use super::text::page;
use crate::model::{Load, Model};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use sprites_api::extension::{Event, EventKind};
use sprites_api::sprite::Status;
use sprites_backend::client::clean;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let colors = model.colors();
    let Some((name, load)) = &model.events else { return };
    let lines = match load {
        Load::Waiting => vec![Line::from("Asking the server…")],
        Load::Failed(why) => vec![Line::styled(clean(why), colors.bad())],
        Load::Ready(events) if events.is_empty() => {
            vec![Line::styled("Nothing has happened to it yet.", colors.dim())]
        }
        Load::Ready(events) => events.iter().map(|event| line(model, event)).collect(),
    };
    page(model, frame, body, &format!(" what happened to {name} "), lines, model.scroll);
}

/// When it was, for people.
pub(super) fn time(event: &Event, short: bool) -> String {
    let at = event.time.timestamp().to_zoned(jiff::tz::TimeZone::system());
    at.strftime(if short { "%m-%d %H:%M" } else { "%F %H:%M:%S" }).to_string()
}

/// A shape and a word besides colour.
pub(super) fn mark(model: &Model, event: &Event) -> (&'static str, Style) {
    let colors = model.colors();
    match (event.kind, event.status) {
        (EventKind::Failure, _) => ("✗ failed", colors.bad()),
        (EventKind::Checkpoint, _) => ("▪ checkpoint", colors.accent()),
        (EventKind::Restore, _) => ("◂ restore", colors.accent()),
        (EventKind::Denied, _) => ("✗ denied", colors.warn()),
        (EventKind::State, Status::Running) => ("● running", colors.good()),
        (EventKind::State, Status::Warm) => ("◐ warm", colors.warn()),
        (EventKind::State, Status::Cold) => ("○ cold", colors.dim()),
        (EventKind::State | EventKind::Unknown, _) => ("? unknown", colors.dim()),
    }
}

fn line(model: &Model, event: &Event) -> Line<'static> {
    let (mark, style) = mark(model, event);
    Line::from(vec![
        Span::styled(format!("{}  ", time(event, false)), model.colors().dim()),
        Span::styled(format!("{mark:<12}  "), style),
        Span::raw(clean(&event.reason)),
    ])
}
