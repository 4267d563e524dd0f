//! Every context at a glance, and the sprites that matter in all of them.

use super::geometry::across::{self, foot, lines, places};
use super::{filled, geometry, graphs};
use crate::action::Action;
use crate::model::dashboard::{Chosen, Counts, Glance, Known, Money, SPAN, Seen};
use crate::model::{Model, Row};
use crate::number;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};
use sprites_api::cost::Standing;
use sprites_api::sprite::Status;
use unicode_width::UnicodeWidthStr;

/// From this many columns on addresses, memory and states in words have room.
const WIDE: usize = 110;
/// Cells of a context's figures: states, CPU, memory, an hour, the month, its end; and where there is little room. Those without any are left out.
const FIGURES: [usize; 6] = [19, 7, 8, 8, 9, 10];
const FEW_FIGURES: [usize; 6] = [15, 7, 0, 8, 9, 0];
/// From this many columns on there is room for all of them.
const ROOMY: usize = 74;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let all = model.dashboard_lines();
    let chosen = model.dashboard_place(&all);
    let shown = model.shown_contexts();
    let areas = across::dashboard(body, shown.len());
    contexts(model, frame, areas.contexts, &shown, chosen);
    if let Some(area) = areas.graphs {
        let past: Vec<_> = model.dashboard.past.iter().copied().collect();
        let mut row = Row::default();
        row.recent.extend(past.last());
        graphs::draw(model, frame, area, &row, &past, graphs::Time::last(SPAN), graphs::Group::Computing);
    }
    sprites(model, frame, areas.sprites, shown.len(), chosen);
    let told = told(model, all.get(chosen));
    frame.render_widget(Paragraph::new(told).wrap(Wrap { trim: true }), areas.told);
}

fn contexts(model: &Model, frame: &mut Frame<'_>, area: Rect, shown: &[&str], chosen: usize) {
    let colors = model.colors();
    let title = match model.search.as_str() {
        "" => " contexts ".to_owned(),
        search => format!(" contexts with {search:?} "),
    };
    let block = Block::bordered().border_style(colors.border()).title(Span::styled(title, colors.accent()));
    frame.render_widget(block, area);
    let inside = geometry::inner(area);
    let width = Width::new(usize::from(inside.width));
    let head = ["sprites", "cpu", "memory", "an hour", "month", "in the end"];
    let mut line = vec![Span::raw(format!("{:<1$} ", "name", width.name))];
    if width.address > 0 {
        line.push(Span::raw(format!("{:<1$} ", "address", width.address)));
    }
    for (index, (word, cells)) in head.into_iter().zip(width.figures).enumerate() {
        let word = number::cut(word, cells);
        match (index, cells) {
            (_, 0) => {}
            (0, _) => line.push(Span::raw(format!("{word:<cells$}"))),
            _ => line.push(Span::raw(format!(" {word:>cells$}"))),
        }
    }
    let row = |y| Rect { y, height: 1, ..inside };
    frame.render_widget(Line::from(line).style(colors.dim()), row(inside.y));
    let place = lines(area, foot(shown.len()));
    let (near, _) = places(shown.len(), chosen);
    let first = geometry::window(shown.len(), usize::from(place.height), near);
    let visible = shown.iter().enumerate().skip(first).zip(place.rows());
    for ((index, name), row) in visible {
        let line = context(model, name, &width);
        frame.render_widget(if index == chosen { line.style(colors.selection()) } else { line }, row);
    }
    if foot(shown.len()) > 0 && place.bottom() < inside.bottom() {
        let total = model.dashboard.total();
        let mut line = width.begin("all", String::new(), colors.accent());
        line.extend(figures(model, &total, width.figures));
        frame.render_widget(Line::from(line), row(inside.bottom() - 1));
    }
}

/// Cells of the columns of contexts.
struct Width {
    name: usize,
    address: usize,
    figures: [usize; 6],
    /// Of all behind name and address.
    rest: usize,
}

impl Width {
    fn new(all: usize) -> Self {
        let figures = if all >= ROOMY { FIGURES } else { FEW_FIGURES };
        let taken: usize = figures.iter().map(|cells| cells + usize::from(*cells > 0)).sum();
        let left = all.saturating_sub(taken);
        let address = if all >= WIDE { left.saturating_sub(22).min(48) } else { 0 };
        let name = left.saturating_sub(address + usize::from(address > 0)).clamp(8, 24);
        let rest = all.saturating_sub(name + 1 + address + usize::from(address > 0));
        Self { name, address, figures, rest }
    }

    fn begin(&self, name: &str, address: String, style: Style) -> Vec<Span<'static>> {
        let mut spans = vec![Span::styled(padded(name, self.name) + " ", style)];
        if self.address > 0 {
            spans.push(Span::raw(padded(&address, self.address) + " "));
        }
        spans
    }
}

/// The text cut and filled to a width in cells.
fn padded(text: &str, width: usize) -> String {
    let text = number::cut(text, width);
    let pad = " ".repeat(width.saturating_sub(text.width()));
    text + &pad
}

fn context(model: &Model, name: &str, width: &Width) -> Line<'static> {
    let colors = model.colors();
    let glance = model.dashboard.glances.get(name);
    let address = glance.map(|glance| place(model, glance)).unwrap_or_default();
    let here = name == model.here.context;
    let mut line = width.begin(name, address, if here { colors.accent() } else { Style::new() });
    match glance.map(|glance| &glance.known) {
        None => line.push(Span::styled("asking…", colors.dim())),
        Some(Err(why)) => {
            line.push(Span::styled(
                format!("✗ {}", number::cut(why, width.rest.saturating_sub(2))),
                colors.bad(),
            ));
        }
        Some(Ok(known)) => line.extend(figures(model, known, width.figures)),
    }
    Line::from(line)
}

/// Where a context is.
fn place(model: &Model, glance: &Glance) -> String {
    if model.demo { "not real".to_owned() } else { glance.endpoint.clone() }
}

fn figures(model: &Model, known: &Known, cells: [usize; 6]) -> Vec<Span<'static>> {
    let colors = model.colors();
    let [states, cpu, memory, hour, month, end] = cells;
    let Known { counts, sum, money, .. } = known;
    let mut spans = counted(model, counts, states);
    let told = |text: Option<String>, cells: usize| match text {
        _ if cells == 0 => Span::raw(""),
        Some(text) => Span::raw(format!(" {text:>cells$}")),
        None => Span::styled(format!(" {:>cells$}", "—"), colors.dim()),
    };
    let usd = |usd: f64| format!("{}{}", if money.least { "≥" } else { "" }, number::dollars(usd));
    spans.push(told(sum.map(|sum| number::cpus(sum.cpus)), cpu));
    spans.push(told(sum.map(|sum| number::bytes(sum.memory_bytes)), memory));
    spans.push(told(Some(usd(money.hour)), hour));
    // Without colours a budget that is used up is to be seen as well.
    let over = if money.standing() == Standing::Over { "!" } else { "" };
    spans.push(told(Some(over.to_owned() + &usd(money.month)), month).style(standing(model, money)));
    spans.push(told(money.forecast.map(usd), end));
    spans
}

/// How many are in which state, by shape besides colour; those of which there are none are left out.
fn counted(model: &Model, counts: &Counts, cells: usize) -> Vec<Span<'static>> {
    let colors = model.colors();
    let states = [
        ("●", counts.running, colors.good()),
        ("◐", counts.warm, colors.warn()),
        ("○", counts.cold, colors.dim()),
        ("✗", counts.failed, colors.bad()),
    ];
    let mut spans: Vec<Span<'static>> = states
        .into_iter()
        .filter(|(_, count, _)| *count > 0)
        .map(|(mark, count, style)| Span::styled(format!("{mark}{count} "), style))
        .collect();
    if spans.is_empty() {
        spans.push(Span::styled("none", colors.dim()));
    }
    let taken: usize = spans.iter().map(Span::width).sum();
    spans.push(Span::raw(" ".repeat(cells.saturating_sub(taken))));
    spans
}

fn standing(model: &Model, money: &Money) -> Style {
    match money.standing() {
        Standing::Within => Style::new(),
        Standing::Near => model.colors().warn(),
        Standing::Over => model.colors().bad(),
    }
}

fn sprites(model: &Model, frame: &mut Frame<'_>, area: Rect, contexts: usize, chosen: usize) {
    let colors = model.colors();
    let title = Span::styled(" failed, awake, denied something ", colors.accent());
    let block = Block::bordered().border_style(colors.border()).title(title);
    let inside = geometry::inner(area);
    frame.render_widget(block, area);
    let shown = model.shown_sprites();
    if shown.is_empty() {
        let words = match model.search.is_empty() {
            true => "Every sprite sleeps, and none has failed.",
            false => "No sprite that matters holds that.",
        };
        frame.render_widget(Line::styled(words, colors.dim()), Rect { height: 1, ..inside });
        return;
    }
    let columns = Columns::new(usize::from(inside.width));
    frame.render_widget(columns.head().style(colors.dim()), Rect { height: 1, ..inside });
    let place = lines(area, 0);
    let (_, near) = places(contexts, chosen);
    let first = geometry::window(shown.len(), usize::from(place.height), near);
    for ((index, (context, seen)), row) in shown.iter().enumerate().skip(first).zip(place.rows()) {
        let line = columns.line(model, context, seen);
        let is_chosen = contexts + index == chosen;
        frame.render_widget(if is_chosen { line.style(colors.selection()) } else { line }, row);
    }
}

/// Cells of the columns of sprites.
struct Columns {
    wide: bool,
    context: usize,
    name: usize,
    why: usize,
}

/// Cells of CPU, memory, an hour.
const USE: [usize; 3] = [6, 8, 8];

impl Columns {
    fn new(all: usize) -> Self {
        let wide = all >= WIDE;
        let (context, name) = if wide { (16, 28) } else { (9, 18) };
        let taken = context + 1 + name + 1 + if wide { 10 + 9 } else { 2 } + USE[0] + 1 + USE[2] + 2;
        Self { wide, context, name, why: all.saturating_sub(taken) }
    }

    fn head(&self) -> Line<'static> {
        let [cpu, memory, hour] = USE;
        let state = if self.wide { format!("{:<9} ", "state") } else { "  ".to_owned() };
        let memory = if self.wide { format!(" {:>memory$}", "memory") } else { String::new() };
        let (context, name) = (self.context, self.name);
        Line::raw(format!(
            "{:<context$} {:<name$} {state}{:>cpu$}{memory} {:>hour$}  {}",
            "context",
            "sprite",
            "cpu",
            "an hour",
            number::cut("why", self.why)
        ))
    }

    fn line(&self, model: &Model, context: &str, seen: &Seen) -> Line<'static> {
        let colors = model.colors();
        let (mark, style) = match (&seen.failure, seen.status) {
            (Some(_), _) => ("✗ failed", colors.bad()),
            (None, Status::Running) => ("● running", colors.good()),
            (None, Status::Warm) => ("◐ warm", colors.warn()),
            (None, Status::Cold) => ("○ cold", colors.dim()),
            (None, Status::Unknown) => ("? unknown", colors.dim()),
        };
        let mark = if self.wide { padded(mark, 9) } else { mark.chars().take(1).collect() };
        let [cpu, memory, hour] = USE;
        let runs = seen.status == Status::Running;
        let told = |text: Option<String>, cells: usize| match text {
            Some(text) => format!("{text:>cells$}"),
            None if runs => format!("{:>cells$}", "—"),
            None => format!("{:>cells$}", filled(model, "")),
        };
        let mut used = told(seen.cpus.map(number::cpus), cpu);
        if self.wide {
            used += &format!(" {}", told(seen.memory.map(number::bytes), memory));
        }
        let least = if seen.cpus.is_none() { "≥" } else { "" };
        used += &format!(
            " {}",
            told((seen.hour > 0.0).then(|| format!("{least}{}", number::dollars(seen.hour))), hour)
        );
        let why = match (&seen.failure, seen.denied) {
            (Some(why), _) => Span::styled(number::cut(why, self.why), colors.bad()),
            (None, 0) => Span::styled(number::cut(&seen.why, self.why), colors.dim()),
            (None, denied) => {
                let words = format!("{denied} denied: {}; {}", seen.denial, seen.why);
                Span::styled(number::cut(&words, self.why), colors.warn())
            }
        };
        Line::from(vec![
            Span::styled(padded(context, self.context) + " ", colors.dim()),
            Span::raw(padded(&seen.name, self.name) + " "),
            Span::styled(mark + " ", style),
            Span::raw(used + "  "),
            why,
        ])
    }
}

/// All that is known of the selected line.
fn told(model: &Model, chosen: Option<&Chosen>) -> Vec<Line<'static>> {
    let colors = model.colors();
    let key = |action| model.keys.name(action).unwrap_or_default();
    match chosen {
        Some(Chosen::Context(name)) => {
            let Some(glance) = model.dashboard.glances.get(name) else {
                return vec![Line::styled(format!(" {name} is being asked…"), colors.dim())];
            };
            let keys = format!(" {} asks again, {} goes there", key(Action::Refresh), key(Action::Visit));
            match &glance.known {
                Err(why) => {
                    vec![Line::styled(format!(" {why}"), colors.bad()), Line::styled(keys, colors.dim())]
                }
                Ok(known) => {
                    let there = if *name == model.here.context { "; you are there" } else { "" };
                    let answers = format!(" {name}, {}, answers{there}", place(model, glance));
                    vec![Line::raw(answers), budget(model, &known.money)]
                }
            }
        }
        Some(Chosen::Sprite(context, name)) => {
            let all = model.shown_sprites();
            let seen = all.into_iter().find(|(of, seen)| of == context && seen.name == *name);
            let Some((_, seen)) = seen else { return Vec::new() };
            let mut lines = Vec::new();
            lines.extend(seen.failure.as_ref().map(|why| Line::styled(format!(" {why}"), colors.bad())));
            let words = match seen.why.as_str() {
                "" => format!(" {name} of {context} runs; its endpoint does not tell why"),
                why => format!(" {name} of {context}: {why}"),
            };
            lines.push(Line::styled(words, colors.dim()));
            if seen.denied > 0 {
                let times = number::count(seen.denied, "time", "times");
                let words = format!(" its network denied something {times} lately, at last {}", seen.denial);
                lines.push(Line::styled(words, colors.warn()));
            }
            lines
        }
        None => Vec::new(),
    }
}

/// How the month stands.
fn budget(model: &Model, money: &Money) -> Line<'static> {
    let colors = model.colors();
    let month = number::dollars(money.month);
    if money.least {
        let words = format!(
            " it tells no use: ≥{month} while it was looked at, at the vendor's least prices, without storage"
        );
        return Line::styled(words, colors.dim());
    }
    let Some(most) = money.budget.month_usd else {
        return Line::styled(format!(" {month} this month, without a budget"), colors.dim());
    };
    let standing = match (money.standing(), money.budget.sleep) {
        (Standing::Over, true) => ", which is used up: all its sprites sleep",
        (Standing::Over, false) => ", which is used up",
        (Standing::Near, _) => ", which comes to its end",
        (Standing::Within, _) => "",
    };
    let words = format!(" {month} this month of a budget of {}{standing}", number::dollars(most));
    Line::styled(words, self::standing(model, money))
}
