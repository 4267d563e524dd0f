//! Graphs of what a sprite uses.

use super::geometry;
use crate::look::Graphs;
use crate::model::{Model, Row};
use crate::number;
use ratatui::Frame;
use ratatui::layout::{Alignment, Rect};
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph};
use sprites_api::extension::UsageSample;
use unicode_width::UnicodeWidthStr;

/// One graph: how a sample becomes a value, and how values are told.
struct Graph {
    title: &'static str,
    color: Option<Color>,
    value: fn(&UsageSample) -> f64,
    /// What is drawn below the middle, as the other direction of the same.
    below: Option<fn(&UsageSample) -> f64>,
    /// The axis goes at least this far.
    least: f64,
    label: fn(f64) -> String,
    /// What is so now, the most important first.
    now: fn(&UsageSample) -> Vec<String>,
}

/// The last `span` seconds; as many graphs as there is room for, beginning with those of `group`.
pub(super) fn draw(
    model: &Model,
    frame: &mut Frame<'_>,
    area: Rect,
    row: &Row,
    samples: &[UsageSample],
    span: u64,
    group: Group,
) {
    let colors = model.colors();
    let [cpu, memory, cost, network, disk] = [
        Graph {
            title: "cpu",
            color: colors.cpu,
            value: |sample| sample.cpus * 100.0,
            below: None,
            least: 100.0,
            label: |value| format!("{value:.0}%"),
            now: |now| vec![number::cpus(now.cpus)],
        },
        Graph {
            title: "memory",
            color: colors.memory,
            value: |sample| sample.memory_bytes as f64,
            below: None,
            least: 50e6,
            label: |value| number::bytes(value as u64).replace(".0 ", " "),
            now: |now| match now.processes {
                0 => vec!["no program runs".to_owned()],
                many => vec![number::bytes(now.memory_bytes), number::count(many, "process", "processes")],
            },
        },
        Graph {
            title: "cost",
            color: colors.cost,
            value: |sample| rate(sample, sample.cost_usd * 3600.0),
            below: None,
            least: 0.02,
            label: number::dollars,
            now: |now| vec![format!("{} an hour", number::dollars(rate(now, now.cost_usd * 3600.0)))],
        },
        Graph {
            title: "network",
            color: colors.network.or(colors.cpu),
            value: |sample| rate(sample, sample.received_bytes as f64),
            below: Some(|sample| rate(sample, sample.sent_bytes as f64)),
            least: 1e3,
            label: per_second,
            now: |now| {
                let (inward, out) = (rate(now, now.received_bytes as f64), rate(now, now.sent_bytes as f64));
                vec![format!("▴{} in", per_second(inward)), format!("▾{} out", per_second(out))]
            },
        },
        Graph {
            title: "disk",
            color: colors.disk.or(colors.memory),
            value: |sample| rate(sample, sample.read_bytes as f64),
            below: Some(|sample| rate(sample, sample.written_bytes as f64)),
            least: 1e3,
            label: per_second,
            now: |now| {
                let (read, written) = (rate(now, now.read_bytes as f64), rate(now, now.written_bytes as f64));
                vec![format!("▴{} read", per_second(read)), format!("▾{} written", per_second(written))]
            },
        },
    ];
    let graphs = match (geometry::all_graphs(area), group) {
        (true, _) => vec![cpu, memory, cost, network, disk],
        (false, Group::Computing) => vec![cpu, memory, cost],
        (false, Group::Traffic) => vec![network, disk],
    };
    let places = geometry::columns(area, graphs.len());
    for (graph, place) in graphs.iter().zip(places.iter()) {
        one(model, frame, *place, graph, row.now(), samples, span);
    }
}

/// Which graphs are shown where there is no room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// CPU, memory, cost.
    Computing,
    /// Network, disk.
    Traffic,
}

fn one(
    model: &Model,
    frame: &mut Frame<'_>,
    area: Rect,
    graph: &Graph,
    now: Option<&UsageSample>,
    samples: &[UsageSample],
    span: u64,
) {
    let colors = model.colors();
    let facts = now.map(graph.now).unwrap_or_default();
    let block =
        Block::bordered().border_style(colors.border()).title(heading(model, graph.title, &facts, area));
    let clock = jiff::Timestamp::now().as_microsecond();
    let points = |value: fn(&UsageSample) -> f64, sign: f64| -> Vec<(f64, f64)> {
        let at = |sample: &UsageSample| (sample.time.as_micros() - clock) as f64 / 1e6;
        let points = samples.iter().map(|sample| (at(sample), sign * value(sample)));
        points.filter(|(at, _)| *at >= -(span as f64)).collect()
    };
    let above = points(graph.value, 1.0);
    let below = graph.below.map(|value| points(value, -1.0));
    if above.is_empty() {
        let inside = geometry::inner(area);
        frame.render_widget(block, area);
        let words = Paragraph::new("nothing to show").style(colors.dim()).alignment(Alignment::Center);
        frame.render_widget(words, Rect::new(inside.x, inside.y + inside.height / 2, inside.width, 1));
        return;
    }
    let all = above.iter().chain(below.iter().flatten());
    let most = number::round_up(all.map(|(_, value)| value.abs()).fold(graph.least, f64::max));
    let marker = match model.look.graphs {
        _ if model.look.ascii => Marker::Custom('*'),
        Graphs::Ascii => Marker::Custom('*'),
        Graphs::Blocks => Marker::Quadrant,
        Graphs::Braille => Marker::Braille,
    };
    let data = [Some(&above), below.as_ref()].into_iter().flatten().map(|points| {
        let dataset = Dataset::default().data(points).marker(marker).graph_type(GraphType::Line);
        dataset.style(colors.graph(graph.color))
    });
    let style: Style = colors.dim();
    let x = Axis::default()
        .bounds([-(span as f64), 0.0])
        .labels([format!("-{}", number::span(span)), "now".to_owned()])
        .style(style);
    // The axis below and its labels take two rows, and two labels in one would be written over each other.
    let rows = geometry::inner(area).height.saturating_sub(2);
    let (least, labels) = match below {
        Some(_) if rows < 3 => (-most, vec![(graph.label)(most), (graph.label)(most)]),
        Some(_) => (-most, vec![(graph.label)(most), "0".to_owned(), (graph.label)(most)]),
        None => (0.0, vec!["0".to_owned(), (graph.label)(most)]),
    };
    let y = Axis::default().bounds([least, most]).labels(labels).style(style);
    frame.render_widget(
        Chart::new(data.collect()).block(block).style(colors.base()).x_axis(x).y_axis(y),
        area,
    );
}

/// The title, and those of the facts that there is room for.
fn heading(model: &Model, title: &str, facts: &[String], area: Rect) -> Line<'static> {
    let colors = model.colors();
    let mut heading = vec![Span::styled(format!(" {title} "), colors.accent())];
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
    Line::from(heading)
}

/// So much in the interval of a sample, for each second.
fn rate(sample: &UsageSample, amount: f64) -> f64 {
    if sample.seconds > 0.0 { amount / sample.seconds } else { 0.0 }
}

fn per_second(value: f64) -> String {
    format!("{}/s", number::bytes(value as u64).replace(".0 ", " "))
}
