//! One sprite: facts, and the part of its screen that is looked at.

use super::{checkpoints, files, geometry, graphs, inside, list, network};
use crate::action::Part;
use crate::model::{Model, Row, ZOOMS};
use crate::number;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let areas = geometry::sprite(body, model.part);
    let Some(row) = model.current() else { return };
    facts(model, frame, areas.facts, row);
    titles(model, frame, areas.titles);
    let group = match (model.part, model.other_graphs) {
        (Part::Network, false) | (Part::Checkpoints | Part::Inside | Part::Files, true) => {
            graphs::Group::Traffic
        }
        _ => graphs::Group::Computing,
    };
    if areas.graphs.height > 0 {
        let time = graphs::Time {
            span: ZOOMS[model.zoom],
            end: model.graphs_end,
            mark: model.graphs_mark.map(|before| before + model.graphs_end),
        };
        graphs::draw(model, frame, areas.graphs, row, &model.history.samples, time, group);
    }
    match model.part {
        Part::Checkpoints => checkpoints::draw(model, frame, areas.part),
        Part::Network => network::draw(model, frame, areas.part, row),
        Part::Inside => inside::draw(model, frame, areas.part),
        Part::Files => files::draw(model, frame, areas.part),
    }
}

/// The titles of all parts, the open one marked by more than colour.
fn titles(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let colors = model.colors();
    for (part, place) in geometry::titles(area) {
        let style =
            if part == model.part { colors.accent().add_modifier(Modifier::REVERSED) } else { colors.dim() };
        frame.render_widget(Line::styled(format!(" {} ", part.title()), style), place);
    }
}

fn facts(model: &Model, frame: &mut Frame<'_>, area: Rect, row: &Row) {
    let colors = model.colors();
    let mut first = vec![Span::styled(format!(" {}  ", row.sprite.name), colors.accent())];
    first.extend(
        list::state(model, row)
            .spans
            .into_iter()
            .map(|span| Span::styled(span.content, list::state(model, row).style)),
    );
    for label in &row.sprite.labels {
        first.push(Span::styled(format!("  #{label}"), colors.dim()));
    }
    let second = match model.is_estimated() {
        true => format!(
            " {} while it was looked at: seen running for {}, at the vendor's least prices, without storage",
            list::amount(model, row.totals.cost_usd),
            number::length(row.totals.running_seconds)
        ),
        false => used(row),
    };
    let third = match &row.sprite.failure {
        Some(why) => Line::styled(format!(" {why}"), colors.bad()),
        None => Line::styled(format!(" {}", why(row)), colors.dim()),
    };
    let text = vec![Line::from(first), Line::from(second), third];
    frame.render_widget(Paragraph::new(text), area);
}

/// What it holds and has used.
fn used(row: &Row) -> String {
    let shared = match row.shared {
        0 => String::new(),
        bytes => format!(", {} shared with forks", number::bytes(bytes)),
    };
    format!(
        " {} stored{}   {} so far   awake {}   {:.3} CPU-h   {:.3} GB-h memory",
        number::bytes(row.stored),
        shared,
        number::dollars(row.totals.cost_usd),
        number::length(row.totals.running_seconds),
        row.totals.cpu_hours,
        row.totals.memory_gb_hours
    )
}

/// Why it is as it is: who woke it and who uses it, or why it sleeps. Its id where nobody says.
fn why(row: &Row) -> String {
    let Some(reason) = &row.sprite.reason else { return row.sprite.id.clone() };
    match row.sprite.in_use_by.as_slice() {
        [] => reason.clone(),
        uses => format!("{reason}; in use by {}", uses.join(", ")),
    }
}
