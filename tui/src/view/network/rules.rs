//! The rules of a sprite's network, each with what it does beside the others.

use super::{block, is_aimed, say};
use crate::action::Action;
use crate::model::network::Pane;
use crate::model::{Load, Model};
use crate::number;
use crate::view::geometry;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};
use sprites_api::policy::{Action as Says, Role, Rule, RuleMeaning};
use sprites_backend::client::clean;
use unicode_width::UnicodeWidthStr;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let colors = model.colors();
    let network = &model.network;
    let mut title = vec![Span::styled(" rules ", colors.accent())];
    if model.draft(&network.name).is_some() {
        let key = model.keys.name(Action::SaveRules).unwrap_or_default();
        title.push(Span::styled(format!("changed, not saved: {key} saves "), colors.warn()));
    }
    let block = block(model, title, Pane::Rules);
    match &network.policy {
        Load::Waiting => return say(frame, area, block, Line::from("Asking the server…")),
        Load::Failed(why) => return say(frame, area, block, Line::styled(clean(why), colors.bad())),
        Load::Ready(_) => {}
    }
    frame.render_widget(block, area);
    let (list, told) = geometry::pane(area);
    let total = network.rules.len();
    let first = geometry::window(total, usize::from(list.height), network.rule);
    let width = usize::from(list.width);
    let digits = total.to_string().len();
    let shown = || network.rules.iter().enumerate().skip(first).take(usize::from(list.height));
    // The names as far as there is room; what a rule does is told below as well.
    let room = width.saturating_sub(digits + 1 + 8 + 2);
    let longest = shown().map(|(_, rule)| about(rule).width() + 1).max().unwrap_or(0);
    let rooms = (digits, longest.min(room / 2), room - longest.min(room / 2));
    let mut lines: Vec<Line<'_>> = shown()
        .map(|(index, rule)| {
            let line = line(model, index, rule, rooms);
            if is_aimed(network, Pane::Rules, index == network.rule) {
                line.style(colors.selection())
            } else {
                line
            }
        })
        .collect();
    if let (Ok(meaning), true) = (&network.meaning, lines.len() < usize::from(list.height)) {
        lines.push(Line::styled(meaning.rest(), colors.dim()));
    }
    frame.render_widget(Paragraph::new(lines), list);
    let words = match (&network.meaning, meaning(model, network.rule)) {
        (Err(why), _) => Line::styled(clean(why), colors.bad()),
        (Ok(_), Some(meaning)) => Line::styled(
            format!("Rule {}: {}.", network.rule + 1, clean(&meaning.sentence)),
            style(model, meaning.role),
        ),
        (Ok(_), None) => Line::default(),
    };
    frame.render_widget(Paragraph::new(words).wrap(Wrap { trim: true }), told);
}

fn meaning(model: &Model, index: usize) -> Option<RuleMeaning> {
    model.network.meaning.as_ref().ok()?.of(index)
}

fn style(model: &Model, role: Role) -> Style {
    let colors = model.colors();
    match role {
        Role::Decides => colors.base(),
        Role::Idle => colors.dim(),
        Role::Contradicted => colors.warn(),
    }
}

/// What it is about.
fn about(rule: &Rule) -> String {
    match rule {
        Rule::Domain { domain, .. } => clean(domain),
        Rule::Include { include } => clean(include),
    }
}

/// Its number, what it says, and what that does; a mark where it does nothing, or another says the opposite.
fn line(
    model: &Model,
    index: usize,
    rule: &Rule,
    (digits, about_room, sentence_room): (usize, usize, usize),
) -> Line<'static> {
    let colors = model.colors();
    let (says, look) = match rule {
        Rule::Domain { action: Says::Allow, .. } => ("✓ allow", colors.good()),
        Rule::Domain { action: Says::Deny, .. } => ("✗ deny", colors.bad()),
        Rule::Include { .. } => ("+ list", colors.good()),
    };
    let meaning = meaning(model, index);
    let mark = match meaning.as_ref().map(|meaning| meaning.role) {
        Some(Role::Idle) => "∅ ",
        Some(Role::Contradicted) => "! ",
        _ => "  ",
    };
    let about = number::cut(&about(rule), about_room.saturating_sub(1));
    let pad = " ".repeat(about_room.saturating_sub(about.width()));
    let sentence = meaning.as_ref().map(|meaning| clean(&meaning.sentence)).unwrap_or_default();
    let sentence_style = style(model, meaning.map_or(Role::Decides, |meaning| meaning.role));
    Line::from(vec![
        Span::styled(format!("{:>digits$} ", index + 1), colors.dim()),
        Span::styled(format!("{says:<7} "), look),
        Span::raw(format!("{about}{pad}")),
        Span::styled(mark, colors.warn()),
        Span::styled(number::cut(&sentence, sentence_room), sentence_style),
    ])
}
