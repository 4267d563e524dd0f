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

/// Which time graphs are of, all in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    /// How long it is.
    pub span: u64,
    /// How long ago it ends.
    pub end: u64,
    /// How long ago the moment is of which values are told; now, when there is none.
    pub mark: Option<u64>,
}

impl Time {
    /// The last seconds.
    pub fn last(span: u64) -> Self {
        Self { span, end: 0, mark: None }
    }

    fn begin(self) -> f64 {
        -((self.span + self.end) as f64)
    }
}

/// That time; as many graphs as there is room for, beginning with those of `group`.
pub(super) fn draw(
    model: &Model,
    frame: &mut Frame<'_>,
    area: Rect,
    row: &Row,
    samples: &[UsageSample],
    time: Time,
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
        one(model, frame, *place, graph, row.now(), samples, time);
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
    time: Time,
) {
    let colors = model.colors();
    let facts = match time.mark {
        None => now.map(graph.now).unwrap_or_default(),
        Some(ago) => of_a_moment(graph, samples, ago, time.span),
    };
    let block =
        Block::bordered().border_style(colors.border()).title(heading(model, graph.title, &facts, area));
    let clock = jiff::Timestamp::now().as_microsecond();
    let points = |value: fn(&UsageSample) -> f64, sign: f64| -> Vec<(f64, f64)> {
        let at = |sample: &UsageSample| (sample.time.as_micros() - clock) as f64 / 1e6;
        let points = samples.iter().map(|sample| (at(sample), sign * value(sample)));
        points.filter(|(at, _)| (time.begin()..=-(time.end as f64)).contains(at)).collect()
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
    let marker = match model.look.drawn_with() {
        Graphs::Ascii => Marker::Custom('*'),
        Graphs::Blocks => Marker::Quadrant,
        Graphs::Braille => Marker::Braille,
    };
    let marked = time
        .mark
        .map(|ago| [(-(ago as f64), if below.is_some() { -most } else { 0.0 }), (-(ago as f64), most)]);
    let mut data: Vec<Dataset<'_>> =
        marked.iter().map(|line| drawn(line, marker).style(colors.dim())).collect();
    let values = [Some(&above), below.as_ref()].into_iter().flatten();
    data.extend(values.map(|points| drawn(points, marker).style(colors.graph(graph.color))));
    let style: Style = colors.dim();
    let x = Axis::default()
        .bounds([time.begin(), -(time.end as f64)])
        .labels([format!("-{}", number::span(time.span + time.end)), end_of(time)])
        .style(style);
    // The axis below and its labels take two rows, and two labels in one would be written over each other.
    let rows = geometry::inner(area).height.saturating_sub(2);
    let (least, labels) = match below {
        Some(_) if rows < 3 => (-most, vec![(graph.label)(most), (graph.label)(most)]),
        Some(_) => (-most, vec![(graph.label)(most), "0".to_owned(), (graph.label)(most)]),
        None => (0.0, vec!["0".to_owned(), (graph.label)(most)]),
    };
    let y = Axis::default().bounds([least, most]).labels(labels).style(style);
    frame.render_widget(Chart::new(data).block(block).style(colors.base()).x_axis(x).y_axis(y), area);
}

fn drawn(points: &[(f64, f64)], marker: Marker) -> Dataset<'_> {
    Dataset::default().data(points).marker(marker).graph_type(GraphType::Line)
}

fn end_of(time: Time) -> String {
    if time.end == 0 { "now".to_owned() } else { format!("-{}", number::span(time.end)) }
}

/// What was so at a moment, and when that was: of the sample that it is in, or nothing where the sprite slept.
fn of_a_moment(graph: &Graph, samples: &[UsageSample], ago: u64, span: u64) -> Vec<String> {
    let at = jiff::Timestamp::now().as_microsecond() - ago as i64 * 1_000_000;
    let shown = jiff::Timestamp::from_microsecond(at).unwrap_or_default();
    let clock = shown.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string();
    let distance = |sample: &&UsageSample| (sample.time.as_micros() - at).abs();
    // Between two moments that can be chosen, there may be many samples, or a sample of a minute.
    let near =
        |sample: &&UsageSample| distance(sample) as f64 / 1e6 <= (span as f64 / 60.0).max(sample.seconds);
    let mut facts = match samples.iter().min_by_key(distance).filter(near) {
        Some(sample) => (graph.now)(sample),
        None => vec!["asleep".to_owned()],
    };
    // Where there is little room, the time is known from another graph.
    facts.insert(1.min(facts.len()), clock);
    facts
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
