//! What a sprite reaches, and what it may reach.

mod log;
mod rules;

use super::geometry;
use crate::model::network::{Network, Pane};
use crate::model::{Load, Model, Row};
use crate::number;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect, row: &Row) {
    let areas = geometry::network(area, model.network.pane);
    frame.render_widget(summary(model, row), areas.summary);
    if let Some(area) = areas.log {
        log::draw(model, frame, area);
    }
    if let Some(area) = areas.rules {
        rules::draw(model, frame, area);
    }
}

/// How much went where so far, and how much is open.
fn summary(model: &Model, row: &Row) -> Line<'static> {
    let colors = model.colors();
    let Load::Ready(log) = &model.network.log else { return Line::default() };
    let totals = row.totals;
    let mut spans = vec![Span::raw(format!(
        " {} in, {} out so far   {} open",
        number::bytes(totals.received_bytes),
        number::bytes(totals.sent_bytes),
        number::count(log.connections, "connection", "connections"),
    ))];
    let denied: u64 =
        log.events.iter().filter(|event| event.verdict == "denied").map(|event| event.count).sum();
    if denied > 0 {
        spans.push(Span::styled(format!("   {denied} denied"), colors.warn()));
    }
    if log.lost > 0 {
        let words = format!("   {} not kept", log.lost);
        spans.push(Span::styled(words, colors.dim()));
    }
    Line::from(spans)
}

/// The frame of a pane; that of the one that is worked in stands out.
fn block(model: &Model, title: Vec<Span<'static>>, pane: Pane) -> Block<'static> {
    let colors = model.colors();
    let here = model.network.pane == pane;
    let border = if here { colors.accent() } else { colors.border() };
    Block::bordered().border_style(border).title(Line::from(title))
}

/// A pane that has nothing but words to show.
fn say(frame: &mut Frame<'_>, area: Rect, block: Block<'_>, line: Line<'_>) {
    frame.render_widget(Paragraph::new(line).wrap(Wrap { trim: true }).block(block), area);
}

/// Whether a line is the selected one of the pane that is worked in.
fn is_aimed(network: &Network, pane: Pane, chosen: bool) -> bool {
    chosen && network.pane == pane
}
