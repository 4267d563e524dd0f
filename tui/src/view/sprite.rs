//! One sprite: facts, graphs, checkpoints.

use super::{geometry, list};
use crate::model::{Load, Model, Row, ZOOMS};
use crate::number;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Cell, Chart, Dataset, GraphType, Paragraph, Row as Cells, Table, Wrap};
use sprites_api::checkpoint::CURRENT;
use sprites_api::extension::{Tree, TreeNode, UsageSample};
use sprites_backend::client::clean;
use std::collections::HashMap;
use unicode_width::UnicodeWidthStr;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let [facts_area, graphs_area, tree_area] = geometry::sprite(body);
    let Some(row) = model.current() else { return };
    facts(model, frame, facts_area, row);
    graphs(model, frame, graphs_area, row, &model.history.samples, ZOOMS[model.zoom]);
    tree(model, frame, tree_area);
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
    let shared = match row.shared {
        0 => String::new(),
        bytes => format!(", {} with forks", number::bytes(bytes)),
    };
    let second = format!(
        " {} stored{}   {} so far   awake {}   {:.3} CPU-h   {:.3} GB-h memory",
        number::bytes(row.stored),
        shared,
        number::dollars(row.totals.cost_usd),
        number::length(row.totals.running_seconds),
        row.totals.cpu_hours,
        row.totals.memory_gb_hours
    );
    let third = match &row.sprite.failure {
        Some(why) => Line::styled(format!(" {why}"), colors.bad()),
        None => Line::styled(format!(" {}", why(row)), colors.dim()),
    };
    let text = vec![Line::from(first), Line::from(second), third];
    frame.render_widget(Paragraph::new(text), area);
}

/// Why it is as it is: who woke it and who uses it, or why it sleeps. Its id where nobody says.
fn why(row: &Row) -> String {
    let Some(reason) = &row.sprite.reason else { return row.sprite.id.clone() };
    match row.sprite.in_use_by.as_slice() {
        [] => reason.clone(),
        uses => format!("{reason}; in use by {}", uses.join(", ")),
    }
}

/// CPU, memory and cost over the last `span` seconds.
pub(super) fn graphs(
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

fn tree(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let colors = model.colors();
    let block =
        Block::bordered().border_style(colors.border()).title(Span::styled(" checkpoints ", colors.accent()));
    let tree = match &model.tree {
        Some((_, Load::Ready(tree))) => tree,
        Some((_, Load::Failed(why))) => {
            frame.render_widget(
                Paragraph::new(why.clone()).wrap(Wrap { trim: true }).style(colors.bad()).block(block),
                area,
            );
            return;
        }
        _ => {
            frame.render_widget(Paragraph::new("Asking the server…").block(block), area);
            return;
        }
    };
    let inside = geometry::inner(area);
    let height = usize::from(inside.height.saturating_sub(1));
    let chosen = tree.nodes.iter().position(|node| Some(&node.id) == model.checkpoint.as_ref()).unwrap_or(0);
    let first = geometry::window(tree.nodes.len(), height, chosen);
    let depths = depths(tree);
    let now = jiff::Timestamp::now();
    let id = (inside.width / 3).clamp(16, 44);
    let comment = usize::from(inside.width.saturating_sub(id + 12 + 6 + 3));
    let rows = tree.nodes.iter().enumerate().skip(first).take(height).map(|(index, node)| {
        let depth = depths.get(node.id.as_str()).copied().unwrap_or(0);
        let row = line(model, node, depth, now, (usize::from(id), comment));
        if index == chosen { row.style(colors.selection()) } else { row }
    });
    let head = Cells::new([
        Cell::from("id"),
        Cell::from("comment"),
        Cell::from(Line::from("only its own").alignment(Alignment::Right)),
        Cell::from(Line::from("age").alignment(Alignment::Right)),
    ])
    .style(colors.dim());
    let widths = [Constraint::Length(id), Constraint::Min(10), Constraint::Length(12), Constraint::Length(6)];
    frame.render_widget(Table::new(rows, widths).header(head).block(block), area);
}

/// A checkpoint, its id and its comment in that many cells.
fn line(
    model: &Model,
    node: &TreeNode,
    depth: usize,
    now: jiff::Timestamp,
    (width, room): (usize, usize),
) -> Cells<'static> {
    let colors = model.colors();
    let current = node.id == CURRENT;
    let branch = if depth == 0 { String::new() } else { format!("{}└ ", "  ".repeat((depth - 1).min(6))) };
    let mark = if current { "● " } else { "○ " };
    let style = if current {
        colors.good()
    } else if node.is_auto {
        colors.dim()
    } else {
        Style::new()
    };
    let comment = node.comment.as_deref().map(clean).unwrap_or_default();
    let words = match (&node.parent, node.memory_bytes) {
        (_, Some(bytes)) if !current => {
            let label = format!("with memory, {}", number::bytes(bytes));
            if comment.is_empty() { label } else { format!("{comment} · {label}") }
        }
        _ if !current => comment,
        (Some(parent), _) => format!("the live disk, from {}", clean(parent)),
        (None, _) => "the live disk".to_owned(),
    };
    let name = number::cut(&clean(&node.id), width.saturating_sub(branch.width() + mark.width()));
    let age = if current { "now".to_owned() } else { number::age(node.create_time, now) };
    Cells::new([
        Cell::from(Line::styled(format!("{branch}{mark}{name}"), style)),
        Cell::from(Line::styled(
            number::cut(&words, room),
            if current || node.is_auto { colors.dim() } else { Style::new() },
        )),
        Cell::from(Line::from(number::bytes(node.exclusive_bytes)).alignment(Alignment::Right)),
        Cell::from(Line::from(age).alignment(Alignment::Right)),
    ])
}

/// How far each checkpoint is indented: a child that has siblings stands deeper, a single child stands where its parent does, so that a
/// long line of work stays a straight line.
fn depths(tree: &Tree) -> HashMap<&str, usize> {
    let mut children: HashMap<Option<&str>, usize> = HashMap::new();
    for node in &tree.nodes {
        *children.entry(node.parent.as_deref()).or_default() += 1;
    }
    let mut depths: HashMap<&str, usize> = HashMap::new();
    for node in &tree.nodes {
        let parent = node.parent.as_deref();
        let base = parent.and_then(|id| depths.get(id).copied()).unwrap_or(0);
        let fork = parent.is_some() && children.get(&parent).copied().unwrap_or(0) > 1;
        depths.insert(&node.id, base + usize::from(fork));
    }
    depths
}
