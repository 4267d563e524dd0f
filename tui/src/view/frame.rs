//! What surrounds every screen: header, footer, toasts, dialogs.

use crate::action::Action;
use crate::keys::LEAVE_NAME;
use crate::model::{Attachment, Dialog, Load, Model, Screen, Weight};
use crate::number;
use ratatui::Frame;
use ratatui::layout::{Alignment, Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};
use sprites_api::sprite::Status;
use sprites_backend::client::clean;
use unicode_width::UnicodeWidthStr;

/// From this width on the header tells everything.
const WIDE: u16 = 100;

/// Where, how many, how much; consoles on the right.
pub(super) fn header(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let colors = model.colors();
    let mut left = vec![Span::styled(" sprites ", colors.accent())];
    // Where it is goes without saying on this machine; there is not always room for it.
    if !model.here.local || area.width >= WIDE {
        let place = if model.contexts.len() > 1 {
            format!("{} · {}", model.here.context, model.here.endpoint)
        } else {
            model.here.endpoint.clone()
        };
        left.push(Span::styled(number::cut(&place, usize::from(area.width / 3)), colors.dim()));
    }
    if model.emulated {
        left.push(Span::styled(" · emulated CPU", colors.warn()));
    }
    if let Load::Ready(sprites) = &model.sprites {
        let count = |status: Status| sprites.values().filter(|row| row.sprite.status == status).count();
        let cost: f64 = sprites.values().map(|row| row.totals.cost_usd).sum();
        left.push(Span::raw("   "));
        left.push(Span::styled(format!("● {} running", count(Status::Running)), colors.good()));
        left.push(Span::styled(format!("  ◐ {} warm", count(Status::Warm)), colors.warn()));
        left.push(Span::styled(format!("  ○ {} cold", count(Status::Cold)), colors.dim()));
        left.push(Span::raw(format!("   {} so far", number::dollars(cost))));
    }
    frame.render_widget(Line::from(left), area);
    let mut tabs = Vec::new();
    for (index, tab) in model.consoles.iter().enumerate().take(9) {
        let here = model.screen == Screen::Console(tab.id);
        let style = if here { colors.accent().add_modifier(Modifier::REVERSED) } else { colors.dim() };
        let mark = if tab.attachment == Attachment::Attached { "" } else { "·" };
        tabs.push(Span::styled(format!(" {}{} {} ", index + 1, mark, number::cut(&tab.sprite, 14)), style));
    }
    if !tabs.is_empty() {
        let line = Line::from(tabs);
        let width = u16::try_from(line.width()).unwrap_or(u16::MAX).min(area.width);
        let place = Rect::new(area.right() - width, area.y, width, 1);
        frame.render_widget(Clear, place);
        frame.render_widget(Block::new().style(colors.base()), place);
        frame.render_widget(line, place);
    }
}

/// Work under way, else the keys of the present screen.
pub(super) fn footer(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let colors = model.colors();
    let line = if let Some(build) = &model.build {
        let cells = 20;
        let full = (build.fraction.clamp(0.0, 1.0) * f64::from(cells)) as usize;
        Line::from(vec![
            Span::styled(" base image ", colors.accent()),
            Span::styled(format!("{}{}", "█".repeat(full), "░".repeat(cells as usize - full)), colors.good()),
            Span::raw(format!(" {:.0} %  {}", build.fraction * 100.0, clean(&build.step))),
        ])
    } else if let Some(job) = model.jobs.first() {
        let more =
            if model.jobs.len() > 1 { format!("  and {} more", model.jobs.len() - 1) } else { String::new() };
        Line::from(vec![
            Span::styled(" ⋯ ", colors.warn()),
            Span::raw(job.text.clone()),
            Span::styled(more, colors.dim()),
        ])
    } else if let Screen::Console(_) = model.screen {
        Line::from(vec![
            Span::styled(format!(" {LEAVE_NAME}"), colors.accent()),
            Span::styled(" leave; the program goes on   ", colors.dim()),
            Span::styled("shift-pageup", colors.accent()),
            Span::styled(" or wheel: scroll back", colors.dim()),
        ])
    } else {
        hints(model, area.width)
    };
    frame.render_widget(line, area);
}

fn hints(model: &Model, width: u16) -> Line<'static> {
    use Action as A;
    let colors = model.colors();
    let wanted: &[A] = match model.screen {
        Screen::List if model.has_image == Some(false) => &[A::BuildImage, A::Help, A::Quit],
        Screen::List if model.order.is_empty() => &[A::New, A::Help, A::Quit],
        Screen::List => {
            &[A::Open, A::Console, A::New, A::Checkpoint, A::Fork, A::Destroy, A::Filter, A::Help, A::Quit]
        }
        Screen::Sprite => &[
            A::Back,
            A::Console,
            A::Checkpoint,
            A::Restore,
            A::Undo,
            A::Fork,
            A::DeleteCheckpoint,
            A::ZoomOut,
            A::Help,
        ],
        _ => &[A::Back, A::Quit],
    };
    let width_of =
        |action: Action| model.keys.name(action).map_or(0, |key| key.width() + action.hint().width() + 4);
    // Help is the last to go: it leads to all the others.
    let kept = wanted.iter().copied().find(|action| *action == A::Help);
    let mut room = usize::from(width).saturating_sub(1 + kept.map_or(0, width_of));
    let mut shown = Vec::new();
    for action in wanted.iter().copied().filter(|action| Some(*action) != kept) {
        let more = width_of(action);
        if more > room {
            break;
        }
        room -= more;
        shown.push(action);
    }
    let mut spans = Vec::new();
    for action in shown.into_iter().chain(kept) {
        let Some(key) = model.keys.name(action) else { continue };
        spans.push(Span::styled(format!(" {key}"), colors.accent()));
        spans.push(Span::styled(format!(" {}  ", action.hint()), colors.dim()));
    }
    Line::from(spans)
}

/// Short messages in the lower right corner.
pub(super) fn toasts(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let colors = model.colors();
    let mut bottom = body.bottom();
    for toast in model.toasts.iter().rev() {
        let width = (toast.text.width() + 4).min(usize::from(body.width) * 2 / 3).max(20);
        let lines = toast.text.width().div_ceil(width - 4).clamp(1, 4) as u16;
        if bottom < body.y + lines + 2 {
            return;
        }
        let width = width as u16;
        let place = Rect::new(body.right() - width, bottom - lines - 2, width, lines + 2);
        let (style, mark) = match toast.weight {
            Weight::Good => (colors.good(), " ✓ "),
            Weight::Bad => (colors.bad(), " ! "),
        };
        frame.render_widget(Clear, place);
        let block = Block::bordered().border_style(style).title(mark).style(colors.base());
        frame.render_widget(Paragraph::new(toast.text.clone()).wrap(Wrap { trim: true }).block(block), place);
        bottom = place.y;
    }
}

/// A dialog in the middle.
pub(super) fn dialog(model: &Model, frame: &mut Frame<'_>, area: Rect, dialog: &Dialog) {
    let colors = model.colors();
    let width = 64.min(area.width - 4);
    let text = dialog.text();
    let rows = |line: &str| line.width().div_ceil(usize::from(width) - 4).max(1) as u16;
    let lines = text.lines().map(rows).sum::<u16>() + 1;
    let typing = dialog.is_typed();
    let height = (lines + if typing { 5 } else { 4 }).min(area.height);
    let place = Rect::new((area.width - width) / 2, (area.height - height) / 2, width, height);
    frame.render_widget(Clear, place);
    let title = format!(" {} ", dialog.title());
    let block = Block::bordered().border_style(colors.accent()).title(title).style(colors.base());
    frame.render_widget(block, place);
    let inside = Rect::new(place.x + 2, place.y + 1, place.width - 4, place.height - 2);
    frame.render_widget(
        Paragraph::new(text).wrap(Wrap { trim: true }),
        Rect::new(inside.x, inside.y, inside.width, lines.min(inside.height)),
    );
    if typing {
        let row = inside.y + lines.min(inside.height.saturating_sub(2));
        let field = Rect::new(inside.x, row, inside.width, 1);
        let scroll = dialog.input.visual_scroll(usize::from(field.width) - 1);
        let style = Style::new().add_modifier(Modifier::UNDERLINED);
        frame.render_widget(Block::new().style(style), field);
        frame.render_widget(
            Paragraph::new(dialog.input.value()).scroll((0, scroll as u16)).style(style),
            field,
        );
        frame.set_cursor_position(Position::new(
            field.x + (dialog.input.visual_cursor().saturating_sub(scroll)) as u16,
            row,
        ));
    }
    let last = Rect::new(inside.x, inside.bottom().saturating_sub(1), inside.width, 1);
    let (words, style) = match (&dialog.error, dialog.key()) {
        (Some(why), _) => (number::cut(why, usize::from(last.width)), colors.bad()),
        (None, Some(key)) => (format!("{key} yes    any other key no"), colors.warn()),
        (None, None) if typing => ("enter ok    esc cancel".to_owned(), colors.dim()),
        (None, None) => ("a number goes there    esc stays".to_owned(), colors.dim()),
    };
    frame.render_widget(Paragraph::new(words).style(style).alignment(Alignment::Right), last);
}
