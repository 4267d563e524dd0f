//! What surrounds every screen: header, footer, toasts, dialogs.

use crate::action::{Action, Part};
use crate::model::dashboard::Counts;
use crate::model::network::Pane;
use crate::model::{Ask, Attachment, Dialog, Forward, Load, Model, Screen, Weight};
use crate::number;
use ratatui::Frame;
use ratatui::layout::{Alignment, Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Padding, Paragraph, Wrap};
use sprites_api::sprite::Status;
use sprites_backend::client::clean;
use unicode_width::UnicodeWidthStr;

/// Consoles that are reached by a digit.
const TABS: usize = 9;
/// Forwarded ports that are told one by one.
const TOLD_FORWARDS: usize = 3;

/// Where, how many, how much; consoles on the right. What matters less goes first where there is little room; the price never does.
pub(super) fn header(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let room = usize::from(area.width);
    // Names of consoles are cut before words of the header go, and go when it has no more to give.
    let choices = (0..=LEAST_TOLD).flat_map(|told| [(told, 14), (told, 8)]).chain([(LEAST_TOLD, 0)]);
    let fitting = choices
        .map(|(told, name)| (summary(model, area.width, told), tabs(model, name)))
        .find(|(left, right)| left.width() + right.width() < room);
    let (left, right) = fitting.unwrap_or_else(|| (summary(model, area.width, LEAST_TOLD), tabs(model, 0)));
    let width = u16::try_from(right.width()).unwrap_or(u16::MAX).min(area.width);
    frame.render_widget(left, area);
    frame.render_widget(right, Rect::new(area.right() - width, area.y, width, 1));
}

/// The shortest form of [`summary`].
const LEAST_TOLD: usize = 5;

/// All there is in one line: with 0 everything, up to [`LEAST_TOLD`] less and less.
fn summary(model: &Model, width: u16, less: usize) -> Line<'static> {
    let colors = model.colors();
    // The way here goes before words of figures do.
    let has_way = less < 2;
    let less = if has_way { less } else { less - 1 };
    let mut line = vec![Span::styled(" sprites", colors.accent())];
    if model.demo {
        let words = if less < 3 { " a demo: nothing is real " } else { " a demo " };
        line.push(Span::raw(" "));
        line.push(Span::styled(words, colors.warn().add_modifier(Modifier::REVERSED)));
    }
    if has_way {
        for crumb in model.crumbs() {
            line.push(Span::styled(" › ", colors.dim()));
            line.push(Span::styled(number::cut(&crumb, 24), colors.accent()));
        }
    }
    if model.read_only {
        line.push(Span::styled("  read-only", colors.warn()));
    }
    // Where it is goes without saying on this machine.
    if !model.demo && less < 4 && (!model.here.local || less == 0) {
        let place = if model.contexts.len() > 1 {
            format!("{} · {}", model.here.context, model.here.endpoint)
        } else {
            model.here.endpoint.clone()
        };
        line.push(Span::styled(format!("  {}", number::cut(&place, usize::from(width / 3))), colors.dim()));
    }
    if model.emulated && less < 2 {
        line.push(Span::styled("  emulated CPU", colors.warn()));
    }
    let Load::Ready(sprites) = &model.sprites else { return Line::from(line) };
    let cost = match model.is_estimated() {
        true => model.least_usd,
        false => sprites.values().map(|row| row.totals.cost_usd).sum(),
    };
    let mut counts = Counts::default();
    sprites.values().for_each(|row| counts.add(row));
    let states = [
        ("●", counts.running, Status::Running.as_str(), colors.good()),
        ("◐", counts.warm, Status::Warm.as_str(), colors.warn()),
        ("○", counts.cold, Status::Cold.as_str(), colors.dim()),
        ("✗", counts.failed, "failed", colors.bad()),
    ];
    line.push(Span::raw(" "));
    // That some have failed is worth a word only where it is so.
    for (mark, count, state, style) in
        states.into_iter().filter(|(mark, count, ..)| *mark != "✗" || *count > 0)
    {
        let words = if less < 3 { format!("  {mark} {count} {state}") } else { format!(" {mark}{count}") };
        line.push(Span::styled(words, style));
    }
    if !model.forwards.is_empty() {
        line.push(Span::styled(
            format!("{}{}", if less < 3 { "   " } else { " " }, forwards(model, less)),
            colors.good(),
        ));
    }
    let Some(costs) = &model.costs else {
        let words = match (less < 3, model.is_estimated()) {
            (false, _) => "  ",
            (true, false) => "   so far ",
            (true, true) => "   while looked at, estimated ",
        };
        line.push(Span::styled(words, colors.dim()));
        line.push(Span::raw(super::list::amount(model, cost)));
        return Line::from(line);
    };
    let words = if less < 3 { "   this month " } else { "  " };
    line.push(Span::styled(words, colors.dim()));
    line.push(Span::styled(number::dollars(costs.total.cost_usd), super::costs::standing(model, costs)));
    if let Some(most) = costs.budget.month_usd.filter(|_| less < 2) {
        line.push(Span::styled(format!(" of {}", number::dollars(most)), colors.dim()));
    }
    // At the beginning there is nothing to go by.
    let forecast = costs.forecast_usd.map(number::dollars).filter(|_| less < 1);
    if let Some(usd) = forecast.filter(|usd| *usd != number::dollars(costs.total.cost_usd)) {
        line.push(Span::styled(format!(", about {usd} in the end"), colors.dim()));
    }
    Line::from(line)
}

/// Ports of this machine that lead into sprites, or how many there are.
fn forwards(model: &Model, less: usize) -> String {
    let count = model.forwards.len();
    let shown = match less {
        0 => TOLD_FORWARDS,
        1 | 2 => 1,
        _ => return format!("⇄{count}"),
    };
    let one = |forward: &Forward| {
        let (name, port) = (number::cut(&forward.sprite, 20), forward.port);
        match forward.local {
            Some(local) if local != port => format!("{local}→{name}:{port}"),
            _ => format!("{name}:{port}"),
        }
    };
    let told = model.forwards.iter().take(shown).map(one).collect::<Vec<_>>().join(" ");
    let more = if count > shown { format!(" +{}", count - shown) } else { String::new() };
    format!("⇄ {told}{more}")
}

/// The consoles with their numbers, their names cut to a width; those in brackets are detached.
fn tabs(model: &Model, name: usize) -> Line<'static> {
    let colors = model.colors();
    let mut spans = Vec::new();
    let shown_ids: Vec<u64> = model.panes().into_iter().map(|(id, _)| id).collect();
    for (index, tab) in model.consoles.iter().enumerate().take(TABS) {
        let here = shown_ids.contains(&tab.id);
        let style = if here { colors.accent().add_modifier(Modifier::REVERSED) } else { colors.dim() };
        let shown = match (number::cut(tab.title(), name), &tab.attachment) {
            (name, Attachment::Detached) => format!("({name})"),
            (name, _) if tab.rang => format!("{name}!"),
            (name, _) => name,
        };
        let words = if name == 0 { format!(" {} ", index + 1) } else { format!(" {} {shown} ", index + 1) };
        spans.push(Span::styled(words, style));
    }
    if model.consoles.len() > TABS {
        spans.push(Span::styled(format!(" +{} ", model.consoles.len() - TABS), colors.dim()));
    }
    Line::from(spans)
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
    } else if model.dialog.is_some() && !model.look.plain {
        // Keys are the dialog's, which tells them. Whoever hears it would be told the others again when it is gone.
        Line::default()
    } else if let Screen::Console(_) = model.screen {
        super::console::keys(model)
    } else {
        hints(model, area.width)
    };
    frame.render_widget(line, area);
}

fn hints(model: &Model, width: u16) -> Line<'static> {
    use Action as A;
    let colors = model.colors();
    // In the order they are shown, and in the order they go where there is little room.
    let (wanted, spare): (&[A], &[A]) = match model.screen {
        Screen::List if model.has_image == Some(false) => (&[A::BuildImage, A::Help, A::Quit], &[]),
        Screen::List if model.order.is_empty() => (&[A::New, A::Help, A::Quit], &[]),
        Screen::List => (
            &[
                A::Open,
                A::Console,
                A::New,
                A::Checkpoint,
                A::Fork,
                A::Stop,
                A::Destroy,
                A::Mark,
                A::Filter,
                A::Palette,
                A::Dashboard,
                A::Help,
                A::Quit,
            ],
            &[A::Dashboard, A::Mark, A::Stop, A::Fork, A::Destroy, A::Filter, A::Palette, A::Checkpoint],
        ),
        Screen::Sprite if model.part == Part::Network => {
            match (model.network.pane, model.draft(&model.network.name).is_some()) {
                (Pane::Log, _) => (
                    &[
                        A::Back,
                        A::NextPart,
                        A::NextPane,
                        A::Only,
                        A::AddRule,
                        A::TryName,
                        A::Graphs,
                        A::Console,
                        A::Help,
                        A::Quit,
                    ],
                    &[A::Console, A::Graphs, A::TryName, A::Quit, A::NextPart],
                ),
                (Pane::Rules, false) => (
                    &[
                        A::Back,
                        A::NextPart,
                        A::NextPane,
                        A::AddRule,
                        A::ToggleRule,
                        A::DeleteRule,
                        A::IncludeDefaults,
                        A::TryName,
                        A::Help,
                        A::Quit,
                    ],
                    &[A::Quit, A::TryName, A::NextPart, A::IncludeDefaults, A::DeleteRule, A::ToggleRule],
                ),
                (Pane::Rules, true) => (
                    &[
                        A::Back,
                        A::NextPane,
                        A::AddRule,
                        A::ToggleRule,
                        A::DeleteRule,
                        A::IncludeDefaults,
                        A::TryName,
                        A::SaveRules,
                        A::ForgetRules,
                        A::Help,
                    ],
                    &[A::IncludeDefaults, A::TryName, A::NextPane, A::DeleteRule, A::AddRule, A::ToggleRule],
                ),
            }
        }
        Screen::Sprite if model.part == Part::Inside => (
            &[
                A::Back,
                A::NextPart,
                A::StartService,
                A::StopService,
                A::RestartService,
                A::ForwardPort,
                A::Browse,
                A::Console,
                A::Help,
                A::Quit,
            ],
            &[A::Quit, A::Console, A::NextPart, A::RestartService],
        ),
        Screen::Sprite if model.part == Part::Files => (
            &[
                A::Back,
                A::NextPart,
                A::OpenFile,
                A::ParentFolder,
                A::CopyOut,
                A::EditFile,
                A::Console,
                A::Help,
                A::Quit,
            ],
            &[A::Quit, A::Console, A::NextPart],
        ),
        Screen::Sprite => (
            &[
                A::Back,
                A::NextPart,
                A::Compare,
                A::BrowseFiles,
                A::Console,
                A::Checkpoint,
                A::Restore,
                A::Undo,
                A::Fork,
                A::DeleteCheckpoint,
                A::Stop,
                A::ZoomOut,
                A::Help,
                A::Quit,
            ],
            &[
                A::ZoomOut,
                A::Stop,
                A::Fork,
                A::Quit,
                A::DeleteCheckpoint,
                A::BrowseFiles,
                A::Compare,
                A::Console,
                A::NextPart,
            ],
        ),
        Screen::Dashboard => (
            &[
                A::Visit,
                A::Back,
                A::Refresh,
                A::Search,
                A::Timeline,
                A::Contexts,
                A::Palette,
                A::Help,
                A::Quit,
            ],
            &[A::Palette, A::Contexts, A::Quit, A::Timeline],
        ),
        Screen::Timeline => (
            &[A::Visit, A::Back, A::Search, A::Dashboard, A::Palette, A::Help, A::Quit],
            &[A::Palette, A::Quit],
        ),
        Screen::Settings => (
            &[A::Back, A::NextValue, A::TypeValue, A::UsualValue, A::Palette, A::Help, A::Quit],
            &[A::Palette],
        ),
        _ => (&[A::Back, A::Search, A::Palette, A::Quit], &[]),
    };
    let width_of =
        |action: &Action| model.keys.name(*action).map_or(0, |key| key.width() + action.hint().width() + 3);
    // What cannot be done now is no hint.
    let mut shown: Vec<A> = wanted.iter().copied().filter(|action| model.possible(*action).is_ok()).collect();
    for action in spare {
        if shown.iter().map(width_of).sum::<usize>() <= usize::from(width) {
            break;
        }
        shown.retain(|kept| kept != action);
    }
    let mut spans = Vec::new();
    for action in shown {
        let Some(key) = model.keys.name(action) else { continue };
        spans.push(Span::styled(format!(" {key}"), colors.accent()));
        spans.push(Span::styled(format!(" {} ", action.hint()), colors.dim()));
    }
    Line::from(spans)
}

/// Short messages in the lower right corner, as small as they can be: what they cover is being looked at.
pub(super) fn toasts(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let colors = model.colors();
    let most = usize::from(body.width) * 2 / 3;
    let mut bottom = body.bottom();
    for toast in model.toasts.iter().rev() {
        let style = match toast.weight {
            Weight::Good => colors.good(),
            Weight::Bad => colors.bad(),
        };
        let text = toast.words();
        let width = text.width().min(most);
        // Words do not fill every line to its end.
        let lines =
            if text.width() <= most { 1 } else { (text.width() * 9 / 8).div_ceil(width).clamp(2, 4) as u16 };
        if bottom < body.y + lines {
            return;
        }
        let width = width as u16 + 2;
        let place = Rect::new(body.right() - width, bottom - lines, width, lines);
        frame.render_widget(Clear, place);
        let style = colors.base().patch(style).add_modifier(Modifier::REVERSED);
        frame.render_widget(
            Paragraph::new(text)
                .wrap(Wrap { trim: true })
                .block(Block::new().padding(Padding::horizontal(1)).style(style)),
            place,
        );
        bottom = place.y;
    }
}

/// Lines of a dialog for what would come of what is typed.
const NOTED: u16 = 3;

/// A dialog in the middle.
pub(super) fn dialog(model: &Model, frame: &mut Frame<'_>, area: Rect, dialog: &Dialog) {
    let colors = model.colors();
    let width = 64.min(area.width - 4);
    let text = dialog.text();
    let rows = |line: &str| line.width().div_ceil(usize::from(width) - 4).max(1) as u16;
    let lines = text.lines().map(rows).sum::<u16>() + 1;
    let typing = dialog.is_typed();
    // What would come of it is told where it has its place from the beginning.
    let noted = if dialog.has_note() { NOTED } else { 0 };
    // What is wrong is told whole.
    let last_lines = dialog.error.as_ref().map_or(1, |why| rows(why).min(3));
    let height = (lines + last_lines + noted + if typing { 4 } else { 3 }).min(area.height);
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
    if let Some(note) = &dialog.note {
        let (words, style) = match note {
            Ok(told) => (told, colors.good()),
            Err(why) => (why, colors.bad()),
        };
        let place = Rect::new(inside.x, inside.y + lines + 1, inside.width, NOTED).intersection(inside);
        let words = number::cut(&clean(words), usize::from(place.width) * usize::from(NOTED));
        frame.render_widget(Paragraph::new(words).style(style).wrap(Wrap { trim: true }), place);
    }
    let last_lines = last_lines.min(inside.height);
    let last = Rect::new(inside.x, inside.bottom().saturating_sub(last_lines), inside.width, last_lines);
    let (words, style) = match (&dialog.error, dialog.key()) {
        (Some(why), _) => (number::cut(why, usize::from(last.width) * usize::from(last_lines)), colors.bad()),
        (None, Some(key)) => (format!("{key} yes    any other key no"), colors.warn()),
        (None, None) if typing => ("enter ok    esc cancel".to_owned(), colors.dim()),
        (None, None) if matches!(dialog.ask, Ask::Address(..)) => {
            ("any key goes on".to_owned(), colors.dim())
        }
        (None, None) => ("a number goes there    esc stays".to_owned(), colors.dim()),
    };
    let words = Paragraph::new(words).style(style).alignment(Alignment::Right).wrap(Wrap { trim: true });
    frame.render_widget(words, last);
}
