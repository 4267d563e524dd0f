//! Graphs of what a sprite uses.

use super::geometry;
use crate::model::{Model, Row};
use crate::number;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph};
use sprites_api::extension::UsageSample;
use unicode_width::UnicodeWidthStr;

/// CPU, memory and cost over the last `span` seconds.
pub(super) fn draw(
    model: &Model,
    frame: &mut Frame<'_>,
    area: Rect,
    row: &Row,
    samples: &[UsageSample],
    span: u64,
) {
    let colors = model.colors();
    let parts: [Rect; 3] = Layout::horizontal([Constraint::Ratio(1, 3); 3]).areas(area);
    let now = jiff::Timestamp::now().as_microsecond();
    let at = |sample: &UsageSample| (sample.time.as_micros() - now) as f64 / 1e6;
    let points = |value: fn(&UsageSample) -> f64| -> Vec<(f64, f64)> {
        samples
            .iter()
            .map(|sample| (at(sample), value(sample)))
            .filter(|(at, _)| *at >= -(span as f64))
            .collect()
    };
    let latest = row.now();
    let cpu = points(|sample| sample.cpus * 100.0);
    graph(
        model,
        frame,
        parts[0],
        "cpu",
        &latest.map(|now| vec![number::cpus(now.cpus)]).unwrap_or_default(),
        colors.cpu,
        &cpu,
        100.0,
        span,
        |value| format!("{value:.0}%"),
    );
    let memory = points(|sample| sample.memory_bytes as f64);
    let text = latest.map(|now| match now.processes {
        0 => vec!["no program runs".to_owned()],
        many => vec![number::bytes(now.memory_bytes), number::count(many, "process", "processes")],
    });
    graph(
        model,
        frame,
        parts[1],
        "memory",
        &text.unwrap_or_default(),
        colors.memory,
        &memory,
        50e6,
        span,
        |value| number::bytes(value as u64).replace(".0 ", " "),
    );
    let cost =
        points(|sample| if sample.seconds > 0.0 { sample.cost_usd / sample.seconds * 3600.0 } else { 0.0 });
    let text = cost
        .last()
        .filter(|_| latest.is_some())
        .map(|(_, rate)| vec![format!("{} an hour", number::dollars(*rate))]);
    graph(
        model,
        frame,
        parts[2],
        "cost",
        &text.unwrap_or_default(),
        colors.cost,
        &cost,
        0.02,
        span,
        number::dollars,
    );
}

#[allow(clippy::too_many_arguments, reason = "a graph has that many parts")]
fn graph(
    model: &Model,
    frame: &mut Frame<'_>,
    area: Rect,
    title: &str,
    facts: &[String],
    color: Option<Color>,
    points: &[(f64, f64)],
    least: f64,
    span: u64,
    label: impl Fn(f64) -> String,
) {
    let colors = model.colors();
    let mut heading = vec![Span::styled(format!(" {title} "), colors.accent())];
    // Those that there is room for.
    let mut room = usize::from(area.width).saturating_sub(title.len() + 5);
    for (index, fact) in facts.iter().enumerate() {
        if index > 0 && fact.width() + 1 > room {
            break;
        }
        let fact = number::cut(fact, room);
        room = room.saturating_sub(fact.width() + 2);
        let comma = if index > 0 { ", " } else { "" };
        heading.push(Span::styled(format!("{comma}{fact}"), colors.base()));
    }
    if !facts.is_empty() {
        heading.push(Span::raw(" "));
    }
    let block = Block::bordered().border_style(colors.border()).title(Line::from(heading));
    let most = number::round_up(points.iter().map(|(_, value)| *value).fold(least, f64::max));
    if points.is_empty() {
        let inside = geometry::inner(area);
        frame.render_widget(block, area);
        let words = Paragraph::new("nothing to show").style(colors.dim()).alignment(Alignment::Center);
        frame.render_widget(words, Rect::new(inside.x, inside.y + inside.height / 2, inside.width, 1));
        return;
    }
    let data = Dataset::default()
        .data(points)
        .marker(Marker::Braille)
        .graph_type(GraphType::Line)
        .style(colors.graph(color));
    let style: Style = colors.dim();
    let x = Axis::default()
        .bounds([-(span as f64), 0.0])
        .labels([format!("-{}", number::span(span)), "now".to_owned()])
        .style(style);
    let y = Axis::default().bounds([0.0, most]).labels(["0".to_owned(), label(most)]).style(style);
    frame.render_widget(Chart::new(vec![data]).block(block).x_axis(x).y_axis(y), area);
}
