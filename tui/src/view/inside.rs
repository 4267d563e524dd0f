//! What goes on in a sprite: services, ports, tasks, sessions, and the log of a service.

use super::{filled, geometry};
use crate::model::{Entry, Heads, Item, Load, Log, Model, past};
use crate::number;
use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};
use sprites_api::exec::Session;
use sprites_api::inside::Service;
use sprites_api::services::{EventKind, Status};
use sprites_api::task::Task;
use sprites_backend::client::clean;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Told where nothing goes on.
const NOTHING: &str = "No services, no open ports, no tasks and no sessions. \
    Inside, `sprite-env services create` makes a service.";

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let colors = model.colors();
    let entries = model.inside.entries(&model.forwards);
    let (list, log) = geometry::inside_of(model, area, &entries);
    let mut block =
        Block::bordered().border_style(colors.border()).title(Span::styled(" inside ", colors.accent()));
    let now = Timestamp::now();
    let words = match &model.inside.seen {
        Load::Waiting => Some(("Asking the server…".to_owned(), Style::new())),
        Load::Failed(why) => Some((clean(why), colors.bad())),
        Load::Ready(seen) => {
            let past = past(seen, &model.inside.name, now);
            if let (Some(past), false) = (&past, entries.is_empty()) {
                block = block.title_bottom(Span::styled(format!(" {past} "), colors.warn()));
            }
            let nothing = || {
                past.map_or((NOTHING.to_owned(), colors.dim()), |past| (format!("{past}."), colors.warn()))
            };
            entries.is_empty().then(nothing)
        }
    };
    if let Some((words, style)) = words {
        frame.render_widget(Paragraph::new(words).style(style).wrap(Wrap { trim: true }).block(block), list);
    } else {
        let inside = geometry::inner(list);
        let height = usize::from(inside.height);
        let chosen = geometry::chosen_entry(model, &entries);
        let first = geometry::window(entries.len(), height, chosen);
        let lines: Vec<Line<'_>> = entries
            .iter()
            .enumerate()
            .skip(first)
            .take(height)
            .map(|(index, entry)| {
                let line = line(model, entry, usize::from(inside.width), now);
                if index == chosen { line.patch_style(colors.selection()) } else { line }
            })
            .collect();
        frame.render_widget(Paragraph::new(lines).block(block), list);
    }
    if let Some(area) = log {
        draw_log(model, frame, area);
    }
}

fn line(model: &Model, entry: &Entry, width: usize, now: Timestamp) -> Line<'static> {
    let colors = model.colors();
    let first = (width / 4).clamp(14, 24);
    match entry {
        Entry::Head(heads) => Line::styled(fit(&head(*heads, first), width), colors.dim()),
        Entry::More(count) => Line::styled(format!("  and {count} more"), colors.dim()),
        Entry::Item(Item::Service(_) | Item::Task(_) | Item::Session(_))
            if model.inside.known().is_none() =>
        {
            Line::default()
        }
        Entry::Item(Item::Service(name)) => {
            let services = model.inside.known().into_iter().flat_map(|seen| &seen.interior.services);
            let found = services.into_iter().find(|one| one.name == *name);
            found.map_or_else(Line::default, |one| service(model, one, (first, width), now))
        }
        Entry::Item(Item::Port(number)) => port(model, *number, (first, width)),
        Entry::Item(Item::Task(name)) => {
            let tasks = model.inside.known().into_iter().flat_map(|seen| &seen.tasks);
            let found = tasks.into_iter().find(|one| one.name == *name);
            found.map_or_else(Line::default, |one| task(one, (first, width), now))
        }
        Entry::Item(Item::Session(id)) => {
            let sessions = model.inside.known().into_iter().flat_map(|seen| &seen.interior.sessions);
            let found = sessions.into_iter().find(|one| one.id == *id);
            found.map_or_else(Line::default, |one| session(one, (first, width), now))
        }
    }
}

fn head(heads: Heads, first: usize) -> String {
    let (name, rest) = match heads {
        Heads::Services => ("service", "state     since  pid    restarts  port   program"),
        Heads::Ports => ("port", "program          address          leads here from"),
        Heads::Tasks => ("task", "since   keeps it awake for"),
        Heads::Sessions => ("session", "since              command"),
    };
    format!("{name:<first$} {rest}")
}

fn service(model: &Model, one: &Service, (first, width): (usize, usize), now: Timestamp) -> Line<'static> {
    let colors = model.colors();
    let state = &one.state;
    let (mark, word, style) = match state.status {
        Status::Running => ("●", "running", colors.good()),
        Status::Starting => ("◌", "starting", colors.warn()),
        Status::Stopping => ("◌", "stopping", colors.warn()),
        Status::Failed => ("✗", "failed", colors.bad()),
        Status::Stopped => ("○", "stopped", colors.dim()),
        Status::Unknown => ("?", "unknown", colors.dim()),
    };
    let is_now = model.inside.known().is_some_and(|seen| seen.live);
    let style = if is_now { style } else { colors.dim() };
    let since = state.started_at.map(|at| number::age(at, now)).unwrap_or_default();
    let pid = state.pid.map(|pid| pid.to_string()).unwrap_or_default();
    let port = one.http_port.map(|port| port.to_string()).unwrap_or_default();
    let [since, pid, port] = [since, pid, port].map(|figure| filled(model, figure));
    let (text, about) = match &state.error {
        Some(why) if state.status != Status::Running => (why.as_str(), colors.bad()),
        _ => (one.command.as_str(), colors.dim()),
    };
    let figures =
        format!(" {} {} {:>8}  {} ", cell(&since, 6), cell(&pid, 6), state.restart_count, cell(&port, 6));
    let left = width.saturating_sub(first + 1 + 9 + figures.width());
    Line::from(vec![
        Span::styled(format!("{mark} "), style),
        Span::raw(format!("{} ", cell(&one.name, first - 2))),
        Span::styled(cell(word, 9), style),
        Span::raw(figures),
        Span::styled(number::cut(text, left), about),
    ])
}

fn port(model: &Model, port: u16, (first, width): (usize, usize)) -> Line<'static> {
    let colors = model.colors();
    let listening = model.inside.port(port);
    let middle = match listening {
        Some(one) => format!("{} {} ", cell(&one.program, 16), cell(&one.address, 16)),
        None => cell("nobody listens there", 34),
    };
    let leads = model.forwards.iter().find(|one| one.sprite == model.inside.name && one.port == port);
    let (words, style) = match leads.map(|one| one.address()) {
        Some(Some(address)) => (address, colors.good()),
        Some(None) => ("…".to_owned(), colors.warn()),
        None => ("-".to_owned(), colors.dim()),
    };
    let left = width.saturating_sub(first + 1 + middle.width());
    let style_of = if listening.is_some() { Style::new() } else { colors.warn() };
    Line::from(vec![
        Span::raw(format!("{} ", cell(&port.to_string(), first))),
        Span::styled(middle, style_of),
        Span::styled(number::cut(&words, left), style),
    ])
}

fn task(one: &Task, (first, width): (usize, usize), now: Timestamp) -> Line<'static> {
    let left = (one.expires_at.as_micros() - now.as_microsecond()).max(0) as f64 / 1e6;
    let text = format!(
        "{} {} {}",
        cell(&one.name, first),
        cell(&number::age(one.started_at, now), 7),
        number::length(left)
    );
    Line::raw(fit(&text, width))
}

fn session(one: &Session, (first, width): (usize, usize), now: Timestamp) -> Line<'static> {
    let attached = if one.attached > 0 { "attached" } else { "detached" };
    let text = format!(
        "{} {} {} {}",
        cell(&one.id, first),
        cell(&number::age(one.created, now), 7),
        cell(attached, 10),
        one.command
    );
    Line::raw(fit(&text, width))
}

fn draw_log(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let colors = model.colors();
    let block = Block::bordered().border_style(colors.border());
    let Some(log) = &model.inside.log else {
        let block = block.title(Span::styled(" log ", colors.accent()));
        let words = Paragraph::new("Logs are followed while the sprite runs.").style(colors.dim());
        return frame.render_widget(words.block(block).wrap(Wrap { trim: true }), area);
    };
    let with = match model.inside.search.as_str() {
        "" => String::new(),
        search => format!("with {search:?} "),
    };
    let mut block = block.title(Span::styled(format!(" log of {} {with}", log.service), colors.accent()));
    if log.back > 0 {
        let words = format!(" {} below ", number::count(log.back as u64, "line", "lines"));
        block = block.title_bottom(Span::styled(words, colors.warn()));
    }
    let inside = geometry::inner(area);
    let lines = log_lines(model, log, usize::from(inside.width), usize::from(inside.height));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// The lines that fill a pane, the newest last; only these are wrapped.
fn log_lines(model: &Model, log: &Log, width: usize, height: usize) -> Vec<Line<'static>> {
    let colors = model.colors();
    let mut rows = Vec::new();
    if log.back == 0
        && let Some(why) = &log.ended
    {
        rows.push(Line::styled(number::cut(&format!("— {}", clean(why)), width), colors.warn()));
    } else if log.lines.is_empty() {
        rows.push(Line::styled("Nothing was written yet.", colors.dim()));
    }
    for (kind, text) in log.found(&model.inside.search).skip(log.back) {
        if rows.len() >= height {
            break;
        }
        let style = match kind {
            EventKind::Stdout => Style::new(),
            EventKind::Stderr => colors.warn(),
            EventKind::Error => colors.bad(),
            _ => colors.dim(),
        };
        rows.extend(wrap(text, width).into_iter().rev().map(|row| Line::styled(row, style)));
    }
    rows.truncate(height);
    rows.reverse();
    rows
}

/// Text in rows of at most so many cells.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let (mut rows, mut used) = (vec![String::new()], 0);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide > width {
            rows.push(String::new());
            used = 0;
        }
        if let Some(row) = rows.last_mut() {
            row.push(c);
        }
        used += wide;
    }
    rows
}

/// The text in exactly so many cells.
fn cell(text: &str, width: usize) -> String {
    let text = number::cut(text, width);
    let pad = width.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(pad))
}

/// The text in at most so many cells, without blanks at its end.
fn fit(text: &str, width: usize) -> String {
    number::cut(text, width).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_everything_and_are_never_too_wide() {
        for text in ["", "abc", "日本語日本語", "a日b本c語", "e\u{301}e\u{301}e\u{301}"] {
            for width in 2..9 {
                let rows = wrap(text, width);
                assert_eq!(rows.concat(), text);
                assert!(rows.iter().all(|row| row.width() <= width), "{rows:?}");
            }
        }
        assert_eq!(wrap("abcdef", 4), ["abcd", "ef"]);
        assert_eq!((cell("日本", 3), cell("a", 3)), ("日…".to_owned(), "a  ".to_owned()));
    }
}
