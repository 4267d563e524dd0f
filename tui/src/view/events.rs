//! When a sprite took on which state, and why.

use super::text::page;
use crate::model::{Load, Model};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use sprites_api::extension::Event;
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

fn line(model: &Model, event: &Event) -> Line<'static> {
    let colors = model.colors();
    let at = jiff::Timestamp::from_microsecond(event.time.as_micros()).unwrap_or_default();
    let time = at.to_zoned(jiff::tz::TimeZone::system()).strftime("%F %H:%M:%S").to_string();
    let (mark, style) = match event.status {
        Status::Running => ("● running", colors.good()),
        Status::Warm => ("◐ warm", colors.warn()),
        Status::Cold => ("○ cold", colors.dim()),
        Status::Unknown => ("? unknown", colors.dim()),
    };
    Line::from(vec![
        Span::styled(format!("{time}  "), colors.dim()),
        Span::styled(format!("{mark:<10}  "), style),
        Span::raw(clean(&event.reason)),
    ])
}
