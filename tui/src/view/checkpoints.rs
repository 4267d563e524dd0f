//! A sprite's checkpoints, as a tree.

use super::{filled, geometry};
use crate::model::{Load, Model};
use crate::number;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row as Cells, Table, Wrap};
use sprites_api::checkpoint::CURRENT;
use sprites_api::extension::{Tree, TreeNode};
use sprites_backend::client::clean;
use std::collections::HashMap;
use unicode_width::UnicodeWidthStr;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
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
    let mark = match (current, model.files.marked.as_ref() == Some(&node.id)) {
        (_, true) => "◆ ",
        (true, _) => "● ",
        _ => "○ ",
    };
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
            number::cut(&filled(model, words), room),
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
