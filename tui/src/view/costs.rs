//! The bill of the month.

use super::text::page;
use crate::action::Action;
use crate::model::{Group, Load, Model};
use crate::number;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use sprites_api::cost::{Costs, Standing};
use sprites_backend::client::clean;
use unicode_width::UnicodeWidthStr;

/// Cells of a bar.
const BAR: usize = 20;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let colors = model.colors();
    let (group, load) = &model.bill;
    let by: &'static str = group.into();
    let title = format!(" this month by {by} ");
    let lines = match load {
        Load::Waiting => vec![Line::from("Asking the server…")],
        Load::Failed(why) => vec![Line::styled(clean(why), colors.bad())],
        Load::Ready(costs) => bill(model, *group, costs, usize::from(body.width.saturating_sub(2))),
    };
    page(model, frame, body, &title, lines, model.scroll);
}

fn bill(model: &Model, group: Group, costs: &Costs, width: usize) -> Vec<Line<'static>> {
    let colors = model.colors();
    let key = |action| model.keys.name(action).unwrap_or_default();
    let mut lines = summary(model, costs);
    lines.push(Line::styled(
        format!("{} other lines   {} budget", key(Action::Costs), key(Action::Budget)),
        colors.dim(),
    ));
    lines.push(Line::default());
    if costs.rows.is_empty() {
        let words = match group {
            Group::Label => "No sprite with a label has used anything this month.",
            _ => "Nothing has been used this month.",
        };
        lines.push(Line::styled(words, colors.dim()));
        return lines;
    }
    let traffic = width >= 100;
    let bar = if width >= 130 { BAR } else { 0 };
    let name = width.saturating_sub(9 + 9 + 11 + 11 + 11 + 20 * usize::from(traffic) + bar + 2).clamp(24, 40);
    lines.push(Line::styled(
        format!(
            "{:name$} {:>8} {:>8} {:>10} {:>10} {:>10}{}",
            Into::<&'static str>::into(group),
            "cost",
            "awake",
            "CPU-h",
            "memory",
            "stored",
            if traffic { format!(" {:>9} {:>9}", "sent", "received") } else { String::new() }
        ),
        colors.dim(),
    ));
    let most = costs.rows.iter().map(|row| row.used.cost_usd).fold(f64::MIN_POSITIVE, f64::max);
    for row in &costs.rows {
        let gone = if row.gone { " (destroyed)" } else { "" };
        let shown = format!("{}{gone}", number::cut(&clean(&row.name), name - gone.len()));
        let pad = " ".repeat(name - shown.width());
        let used = row.used;
        let style = if row.gone { colors.dim() } else { Style::new() };
        let mut spans = vec![
            Span::styled(format!("{shown}{pad}"), style),
            Span::raw(format!(
                " {:>8} {:>8} {:>10.3} {:>7.2} GB {:>7.2} GB",
                number::dollars(used.cost_usd),
                number::length(used.running_seconds),
                used.cpu_hours,
                used.memory_gb_hours,
                used.stored_gb_hours
            )),
        ];
        if traffic {
            let (sent, received) = (number::bytes(used.sent_bytes), number::bytes(used.received_bytes));
            spans.push(Span::raw(format!(" {sent:>9} {received:>9}")));
        }
        if bar > 0 {
            let full = (used.cost_usd / most * bar as f64).round() as usize;
            spans.push(Span::styled(format!("  {}", "█".repeat(full.min(bar))), colors.graph(colors.cost)));
        }
        lines.push(Line::from(spans));
    }
    lines.push(Line::default());
    lines.push(Line::styled(
        "What Fly.io would charge by its price list for the same; awake, a sprite pays for 1/16 CPU and 0.25 GB at least. Memory, storage: GB-hours.",
        colors.dim(),
    ));
    lines
}

/// So far, in the end, and how much it may be.
fn summary(model: &Model, costs: &Costs) -> Vec<Line<'static>> {
    let colors = model.colors();
    let used = costs.total.cost_usd;
    let mut first = vec![Span::raw("so far "), Span::styled(number::dollars(used), standing(model, costs))];
    if let Some(usd) = costs.forecast_usd {
        first.push(Span::raw(format!("   about {} by its end", number::dollars(usd))));
    }
    match costs.budget.month_usd {
        Some(most) => {
            let then = if costs.budget.sleep { ", then all sleep" } else { "" };
            first.push(Span::raw(format!("   budget {}{then}", number::dollars(most))));
        }
        None => first.push(Span::styled("   no budget", colors.dim())),
    }
    vec![Line::from(first)]
}

/// How the amount of the month is shown.
pub(super) fn standing(model: &Model, costs: &Costs) -> Style {
    let colors = model.colors();
    match costs.budget.standing(costs.total.cost_usd) {
        Standing::Within => colors.base(),
        Standing::Near => colors.warn(),
        Standing::Over => colors.bad(),
    }
}
