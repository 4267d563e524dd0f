//! All sprites.

use super::{filled, geometry, graphs};
use crate::action::Action;
use crate::look::{Graphs, Look};
use crate::model::{Column, Load, Model, Row};
use crate::number;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row as Cells, Table, Wrap};
use sprites_api::sprite::Status;

/// Cells of the small graph of a line.
const SPARK: usize = 10;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The same without blocks.
const ASCII_BARS: [char; 8] = ['_', '.', '-', ':', '=', '+', '*', '#'];

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let (area, preview) = geometry::list(body);
    let colors = model.colors();
    let mut title = if model.filter.is_empty() {
        " sprites ".to_owned()
    } else {
        format!(" sprites: {}, {} of them ", model.filter, model.order.len())
    };
    if !model.marked.is_empty() {
        title += &format!("· {} marked ", model.marked.len());
    }
    let block = Block::bordered().border_style(colors.border()).title(Span::styled(title, colors.accent()));
    let say = |frame: &mut Frame<'_>, words: String| {
        let inside = geometry::inner(body);
        frame.render_widget(Block::bordered().border_style(colors.border()), body);
        let place = Rect::new(
            inside.x + 2,
            inside.y + inside.height / 3,
            inside.width.saturating_sub(4),
            inside.height - inside.height / 3,
        );
        frame.render_widget(
            Paragraph::new(words).wrap(Wrap { trim: true }).alignment(Alignment::Center),
            place,
        );
    };
    let key = |action| model.keys.name(action).unwrap_or_default();
    match &model.sprites {
        Load::Waiting => return say(frame, "Asking the server…".into()),
        Load::Failed(why) => {
            return say(
                frame,
                format!("The sprites cannot be listed.\n\n{why}\n\n{} tries again.", key(Action::Refresh)),
            );
        }
        Load::Ready(sprites) if sprites.is_empty() => {
            let words = match (&model.build, model.has_image) {
                (Some(_), _) => {
                    "The base image is being built; the line below tells how far it is.".to_owned()
                }
                (None, Some(false)) if model.here.local => {
                    format!(
                        "Welcome. Sprites need a base image first: {} builds one from Debian's packages in a minute or two.",
                        key(Action::BuildImage)
                    )
                }
                _ => format!(
                    "There is no sprite yet.\n\n{} makes your first one: a small Linux computer of its own.",
                    key(Action::New)
                ),
            };
            return say(frame, words);
        }
        Load::Ready(_) if model.order.is_empty() => {
            return say(
                frame,
                format!("No sprite is {:?}. {} shows all again.", model.filter, key(Action::Back)),
            );
        }
        Load::Ready(sprites) => {
            let inside = geometry::inner(area);
            let chosen = model
                .selected
                .as_ref()
                .and_then(|name| model.order.iter().position(|other| other == name))
                .unwrap_or(0);
            let height = usize::from(inside.height.saturating_sub(1));
            let first = geometry::window(model.order.len(), height, chosen);
            let now = jiff::Timestamp::now();
            // Only what is visible is built: ten thousand sprites cost no more than ten.
            let shown = model.order.iter().enumerate().skip(first).take(height);
            let rows = shown.filter_map(|(index, name)| {
                let row = line(model, sprites.get(name)?, now, inside.width);
                Some(if index == chosen { row.style(colors.selection()) } else { row })
            });
            let table = Table::new(rows, widths(inside.width).into_iter().map(Constraint::Length))
                .header(head(model, inside.width))
                .column_spacing(1)
                .block(block);
            frame.render_widget(table, area);
        }
    }
    if let (Some(preview), Some(row)) = (preview, model.current()) {
        let recent: Vec<_> = row.recent.iter().copied().collect();
        graphs::draw(model, frame, preview, row, &recent, graphs::Time::last(60), graphs::Group::Computing);
    }
}

/// On narrow screens the small graphs and the age go first.
fn columns(width: u16) -> Vec<Column> {
    let mut columns =
        vec![Column::Name, Column::State, Column::Cpu, Column::Memory, Column::Storage, Column::Cost];
    if width >= 74 {
        columns.push(Column::Age);
    }
    columns
}

/// Cells of each column; the name takes what the others leave.
fn widths(width: u16) -> Vec<u16> {
    let spark = width >= 96;
    let fixed = |column: Column| match column {
        Column::Name => 0,
        Column::State | Column::Memory | Column::Storage | Column::Cost => 9,
        Column::Cpu if spark => 7 + SPARK as u16,
        Column::Cpu => 7,
        Column::Age => 5,
    };
    let columns = columns(width);
    let taken = columns.iter().map(|column| fixed(*column) + 1).sum::<u16>() - 1;
    let name = width.saturating_sub(taken).max(8);
    columns.into_iter().map(|column| if column == Column::Name { name } else { fixed(column) }).collect()
}

fn head(model: &Model, width: u16) -> Cells<'static> {
    let cells = columns(width).into_iter().map(|column| {
        let word = column.word();
        let arrow = match (column == model.sort, model.reverse) {
            (false, _) => "",
            (true, false) => " ▾",
            (true, true) => " ▴",
        };
        Cell::from(Line::from(format!("{word}{arrow}")).alignment(align(column)))
    });
    Cells::new(cells).style(model.colors().dim())
}

fn align(column: Column) -> Alignment {
    match column {
        Column::Name | Column::State | Column::Cpu => Alignment::Left,
        _ => Alignment::Right,
    }
}

fn line(model: &Model, row: &Row, now: jiff::Timestamp, width: u16) -> Cells<'static> {
    let colors = model.colors();
    let name = widths(width).first().copied().unwrap_or_default();
    let cells = columns(width).into_iter().map(|column| {
        let content = match column {
            Column::Name if model.marked.is_empty() => {
                Line::from(number::cut(&row.sprite.name, usize::from(name)))
            }
            Column::Name => {
                let mark = if model.marked.contains(&row.sprite.name) { "▪ " } else { "  " };
                let name = number::cut(&row.sprite.name, usize::from(name).saturating_sub(2));
                Line::from(vec![Span::styled(mark, colors.accent()), Span::raw(name)])
            }
            Column::State => state(model, row),
            Column::Cpu => {
                let cpus = row.now().map(|now| number::cpus(now.cpus)).unwrap_or_default();
                let mut spans = vec![Span::raw(format!("{:>6} ", filled(model, cpus)))];
                if width >= 96 {
                    spans.push(Span::styled(spark(row, model.look), colors.graph(colors.cpu)));
                }
                Line::from(spans)
            }
            Column::Memory => {
                let bytes = row.now().map(|now| number::bytes(now.memory_bytes)).unwrap_or_default();
                Line::from(filled(model, bytes))
            }
            Column::Storage => {
                let bytes = if row.stored > 0 { number::bytes(row.stored) } else { String::new() };
                Line::from(filled(model, bytes))
            }
            Column::Cost => Line::from(amount(model, row.totals.cost_usd)),
            Column::Age => {
                let age = row.sprite.created_at.map(|at| number::age(at, now)).unwrap_or_default();
                Line::from(filled(model, age))
            }
        };
        Cell::from(content.alignment(align(column)))
    });
    Cells::new(cells)
}

/// Money; where it is an estimate, marked as the least that can be.
pub(super) fn amount(model: &Model, usd: f64) -> String {
    let least = if model.is_estimated() { "≥" } else { "" };
    format!("{least}{}", number::dollars(usd))
}

/// Shape and word besides colour.
pub(super) fn state(model: &Model, row: &Row) -> Line<'static> {
    let colors = model.colors();
    if row.sprite.failure.is_some() {
        return Line::styled("✗ failed", colors.bad());
    }
    match row.sprite.status {
        Status::Running => Line::styled("● running", colors.good()),
        Status::Warm => Line::styled("◐ warm", colors.warn()),
        Status::Cold => Line::styled("○ cold", colors.dim()),
        Status::Unknown => Line::styled("? unknown", colors.dim()),
    }
}

/// The last CPU samples as bars; a full bar is all of the busiest moment, at least one CPU.
fn spark(row: &Row, look: Look) -> String {
    let bars = if look.drawn_with() == Graphs::Ascii { ASCII_BARS } else { BARS };
    let recent: Vec<f64> = row.recent.iter().rev().take(SPARK).map(|sample| sample.cpus).collect();
    let most = recent.iter().copied().fold(1.0, f64::max);
    let bars: String = recent
        .iter()
        .rev()
        .map(|cpus| bars[((cpus / most * 7.0).round().clamp(0.0, 7.0)) as usize])
        .collect();
    format!("{bars:>SPARK$}")
}
