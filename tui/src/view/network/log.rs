//! What a sprite tried to reach, what became of it, and by which rule.

use super::{block, is_aimed, say};
use crate::model::network::{Only, Pane};
use crate::model::{Load, Model};
use crate::number;
use crate::view::geometry;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};
use sprites_api::extension::{NetworkEvent, NetworkLog};
use sprites_backend::client::clean;
use unicode_width::UnicodeWidthStr;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let colors = model.colors();
    let network = &model.network;
    let title = match network.only {
        Only::All => " what it tried to reach ",
        Only::Denied => " what was denied ",
        Only::Open => " what is open now ",
    };
    let block = block(model, vec![Span::styled(title, colors.accent())], Pane::Log);
    match &network.log {
        Load::Waiting => return say(frame, area, block, Line::from("Asking the server…")),
        Load::Failed(why) => return say(frame, area, block, Line::styled(clean(why), colors.warn())),
        Load::Ready(_) => {}
    }
    let lines = network.lines();
    let Some(chosen) = lines.get(network.place(&lines)) else {
        if let Load::Ready(NetworkLog { missing: Some(why), .. }) = &network.log {
            let words = format!("It has no network: {}.", clean(why));
            return say(frame, area, block, Line::styled(words, colors.warn()));
        }
        let words = match network.only {
            Only::All => "It has not tried to reach anything since the server started.",
            Only::Denied => "Nothing was denied.",
            Only::Open => "No connection is open.",
        };
        return say(frame, area, block, Line::styled(words, colors.dim()));
    };
    frame.render_widget(block, area);
    let (list, told) = geometry::pane(area);
    let place = network.place(&lines);
    let first = geometry::window(lines.len(), usize::from(list.height), place);
    let zone = jiff::tz::TimeZone::system();
    let shown = lines.iter().enumerate().skip(first).take(usize::from(list.height));
    let shown = shown.map(|(index, event)| {
        let line = line(model, event, &zone, usize::from(list.width));
        if is_aimed(network, Pane::Log, index == place) { line.style(colors.selection()) } else { line }
    });
    frame.render_widget(Paragraph::new(shown.collect::<Vec<_>>()), list);
    let words = Paragraph::new(sentence(chosen)).style(colors.dim()).wrap(Wrap { trim: true });
    frame.render_widget(words, told);
}

/// When, what became of it, of which kind, where, how often, why.
fn line(model: &Model, event: &NetworkEvent, zone: &jiff::tz::TimeZone, width: usize) -> Line<'static> {
    let colors = model.colors();
    let at = jiff::Timestamp::from_microsecond(event.at.as_micros()).unwrap_or_default();
    let time = at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string();
    let (mark, style) = verdict(model, &event.verdict);
    let many = if event.count > 1 { format!(" ×{}", event.count) } else { String::new() };
    // What time, verdict and kind leave is for the place and the reason.
    let room = width.saturating_sub(9 + 10 + 6);
    let place_room = (room * 3 / 5).saturating_sub(1);
    let place = number::cut(&event.place(), place_room.saturating_sub(many.width()));
    let pad = " ".repeat((place_room + 1).saturating_sub(place.width() + many.width()));
    Line::from(vec![
        Span::styled(format!("{time} "), colors.dim()),
        Span::styled(format!("{mark:<9} "), style),
        Span::styled(format!("{:<5} ", number::cut(&event.kind, 5)), colors.dim()),
        Span::raw(place),
        Span::styled(many, colors.warn()),
        Span::raw(pad),
        Span::styled(number::cut(&short(event), room.saturating_sub(place_room + 1)), colors.dim()),
    ])
}

/// A shape and a word besides colour.
fn verdict(model: &Model, verdict: &str) -> (String, Style) {
    let colors = model.colors();
    match verdict {
        "allowed" => ("✓ allowed".into(), colors.good()),
        "denied" => ("✗ denied".into(), colors.bad()),
        "failed" => ("! failed".into(), colors.warn()),
        "closed" => ("· closed".into(), colors.dim()),
        "cut" => ("✂ cut".into(), colors.bad()),
        other => (number::cut(other, 9), colors.dim()),
    }
}

/// What matters most of it, in few words.
fn short(event: &NetworkEvent) -> String {
    match (event.why(), event.verdict.as_str(), &event.rule) {
        (Some(why), ..) => why,
        (None, "closed", _) => traffic(event),
        (None, _, Some(rule)) => format!("by {rule}"),
        (None, ..) => String::new(),
    }
}

fn traffic(event: &NetworkEvent) -> String {
    format!("{} in, {} out", number::bytes(event.received), number::bytes(event.sent))
}

/// All that is known of it, as a sentence.
fn sentence(event: &NetworkEvent) -> String {
    let place = event.place();
    let address = match (event.address, &event.name) {
        (Some(address), Some(_)) => format!(" at {address}"),
        _ => String::new(),
    };
    let what = match event.kind.as_str() {
        "dns" => format!("The name {place} was asked for{address}"),
        "tcp" => format!("A connection to {place}{address}"),
        "udp" => format!("Datagrams to {place}{address}"),
        "icmp" => format!("Echo requests to {place}{address}"),
        _ => "Packets that are not in order".to_owned(),
    };
    let why = match (event.reason.is_some(), &event.rule) {
        (true, _) => event.why().map(|why| format!(", {why}")).unwrap_or_default(),
        (false, Some(rule)) => format!(" by the rule {rule}"),
        (false, None) => String::new(),
    };
    let carried =
        if event.sent + event.received > 0 { format!("; {}", traffic(event)) } else { String::new() };
    let many =
        if event.count > 1 { format!("; {} times within a second", event.count) } else { String::new() };
    format!("{what}: {}{why}{carried}{many}.", event.verdict)
}
