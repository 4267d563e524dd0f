//! Consoles in their frames, and what can be done with them.

mod hint;

use super::geometry;
use crate::model::{Attachment, Model, Tab, Task};
use crate::number;
use crate::prefix::Command;
use crate::theme::Theme;
use crossterm::cursor::SetCursorStyle;
use ratatui::Frame;
use ratatui::layout::{Alignment, Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};
use sprites_backend::client::clean;
use sprites_console::{Marks, Shape, Status};
use termprofile::TermProfile;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect, id: u64) {
    let panes = model.panes();
    for (pane, place) in &panes {
        // The body that is drawn is the one that panes are cut from.
        let place = place.intersection(body);
        let Some((number, tab)) = model.consoles.iter().enumerate().find(|(_, tab)| tab.id == *pane) else {
            continue;
        };
        draw_pane(model, frame, place, (number + 1, tab), *pane == id);
    }
}

/// What can follow the one key, once somebody has waited for it.
pub(super) fn hint(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    if model.mux.hint {
        hint::draw(model, frame, body);
    }
}

fn draw_pane(model: &Model, frame: &mut Frame<'_>, place: Rect, (number, tab): (usize, &Tab), focused: bool) {
    let colors = model.colors();
    let copying = tab.terminal.copying();
    let border = if focused { colors.accent() } else { colors.dim() };
    let mut block = Block::bordered().border_style(border).title(title(colors, place, number, tab, border));
    if focused && let Some(words) = told(model, usize::from(place.width)) {
        let words = Line::from(Span::styled(words, colors.accent()));
        block = block.title(words.alignment(Alignment::Right));
    }
    let zoomed = model.mux.layout(tab.id).is_some_and(|layout| model.panes().len() < layout.ids().len());
    let below = match &copying {
        Some(status) => Some(copy_status(status)),
        None if tab.terminal.scrolled() > 0 => {
            Some(format!(" {} of {} lines back ", tab.terminal.scrolled(), tab.terminal.scrollback()))
        }
        None if zoomed => Some(" zoomed; others are covered ".to_owned()),
        None => None,
    };
    if let Some(words) = below {
        let words = number::cut(&words, usize::from(place.width.saturating_sub(2)));
        block =
            block.title_bottom(Line::from(Span::styled(words, colors.warn())).alignment(Alignment::Right));
    }
    frame.render_widget(block, place);
    let inside = geometry::inner(place).intersection(place);
    if inside.is_empty() {
        return;
    }
    tab.terminal.draw_marked(inside, frame.buffer_mut(), &marks(colors));
    reduce(model.mux.profile, frame, inside);
    let line = Rect::new(inside.x, inside.bottom() - 1, inside.width, 1);
    let asked = match &model.mux.task {
        Task::Rename(input) if focused => {
            Some((format!(" name: {}", input.value()), input.visual_cursor() + 7))
        }
        _ => copying.as_ref().and_then(typed),
    };
    let message = match &tab.attachment {
        _ if asked.is_some() => None,
        Attachment::Attached => None,
        Attachment::Connecting => {
            Some((" connecting; a cold sprite takes a few seconds… ".to_owned(), colors.warn()))
        }
        Attachment::Detached => Some((" detached; any key connects again ".to_owned(), colors.warn())),
        Attachment::Ended(code) => Some((format!(" ended with code {code}; esc goes back "), colors.dim())),
        Attachment::Failed(why) => Some((format!(" {why}; esc goes back "), colors.bad())),
    };
    let width = usize::from(line.width);
    if let Some((words, cursor)) = asked {
        frame.render_widget(Clear, line);
        frame.render_widget(Paragraph::new(number::cut(&words, width)).style(colors.accent()), line);
        let column = u16::try_from(cursor.min(width.saturating_sub(1))).unwrap_or(0);
        frame.set_cursor_position(Position::new(line.x + column, line.y));
    } else if let Some((words, style)) = message {
        frame.render_widget(Clear, line);
        frame.render_widget(Paragraph::new(number::cut(&words, width)).style(style), line);
    } else if focused && let Some((x, y)) = tab.terminal.cursor() {
        let at = Position::new(inside.x + x, inside.y + y);
        if inside.contains(at) {
            frame.set_cursor_position(at);
        }
    }
}

/// Number and name, the title that the program has, and where it is.
fn title(colors: &Theme, place: Rect, number: usize, tab: &Tab, border: Style) -> Line<'static> {
    let most = usize::from(place.width).saturating_sub(40).clamp(10, 60);
    let words = match (tab.terminal.title(), tab.terminal.directory()) {
        (Some(title), Some(directory)) if !title.contains(directory) => format!("{title}  {directory}"),
        (Some(title), _) => title.to_owned(),
        (None, Some(directory)) => directory.to_owned(),
        (None, None) => String::new(),
    };
    let words = number::cut(&clean(&words), most);
    let words = if words.is_empty() { words } else { format!(" {words} ") };
    Line::from(vec![
        Span::styled(format!(" {number} {} ", number::cut(&clean(tab.title()), 40)), border),
        Span::styled(words, colors.dim()),
    ])
}

/// The one key, always; and what keys do now.
fn told(model: &Model, width: usize) -> Option<String> {
    let prefix = &model.mux.prefix;
    let name = prefix.name();
    let words = match &model.mux.task {
        Task::None => match prefix.key_of(Command::Leave) {
            Some(leave) if width >= 60 => format!(" {name} {leave} leaves "),
            _ => format!(" {name} "),
        },
        Task::Waiting(_) => format!(" {name} … "),
        Task::Resize => " resize: arrows; any other key ends ".to_owned(),
        Task::Join => " which tab: 1 … 9 ".to_owned(),
        Task::Rename(_) => " enter: rename; esc: not ".to_owned(),
    };
    Some(words).filter(|words| words.chars().count() + 4 <= width)
}

fn marks(colors: &Theme) -> Marks {
    let reversed = |style: Style| style.add_modifier(Modifier::REVERSED);
    Marks { selection: reversed(Style::new()), hit: reversed(colors.warn()), here: reversed(colors.accent()) }
}

fn copy_status(status: &Status) -> String {
    let selecting = match status.selecting {
        Some(Shape::Characters) => ", selecting",
        Some(Shape::Lines) => ", selecting lines",
        Some(Shape::Block) => ", selecting a block",
        None => "",
    };
    let search = match (&status.search, status.hits) {
        (Some((text, _)), (_, 0)) if !text.is_empty() => format!(", {text:?} is not there"),
        (Some((text, _)), (0, many)) if !text.is_empty() => format!(", {text:?} {many} times"),
        (Some((text, _)), (here, many)) if !text.is_empty() => format!(", {text:?} {here} of {many}"),
        _ => String::new(),
    };
    format!(" copy: line {} of {}{selecting}{search} ", status.line, status.lines)
}

/// The line in which a search is typed, and where its cursor is.
fn typed(status: &Status) -> Option<(String, usize)> {
    let (text, typing) = status.search.as_ref()?;
    let words = format!(" search: {text}");
    let cursor = unicode_width::UnicodeWidthStr::width(words.as_str());
    typing.then_some((words, cursor))
}

/// Brings colours to those that the terminal around the app has.
fn reduce(profile: TermProfile, frame: &mut Frame<'_>, area: Rect) {
    if profile == TermProfile::TrueColor {
        return;
    }
    let buffer = frame.buffer_mut();
    for y in area.top()..area.bottom() {
        for x in area.left()..area.right() {
            let cell = &mut buffer[(x, y)];
            for color in [&mut cell.fg, &mut cell.bg, &mut cell.underline_color] {
                if matches!(color, Color::Rgb(..) | Color::Indexed(_)) {
                    *color = profile.adapt_color(*color).unwrap_or(Color::Reset);
                }
            }
        }
    }
}

/// The line below the screen of a console.
pub(super) fn keys(model: &Model) -> Line<'static> {
    let colors = model.colors();
    let prefix = &model.mux.prefix;
    let mut spans = Vec::new();
    let mut add = |key: String, words: &str| {
        spans.push(Span::styled(format!(" {key}"), colors.accent()));
        spans.push(Span::styled(format!(" {words} "), colors.dim()));
    };
    let copying =
        |tab: &Tab| model.screen == crate::model::Screen::Console(tab.id) && tab.terminal.copying().is_some();
    if model.consoles.iter().any(copying) {
        for (key, words) in
            [("v V ctrl-v", "select"), ("y", "copy"), ("/ ?", "search"), ("n N", "next"), ("q", "ends")]
        {
            add(key.to_owned(), words);
        }
        return Line::from(spans);
    }
    // The one key first, then what can follow it; it fits the narrowest usual terminal.
    add(prefix.name(), "then:");
    for (command, words) in [
        (Command::Leave, "leave"),
        (Command::Copy, "copy mode"),
        (Command::SplitRight, "split"),
        (Command::Zoom, "zoom"),
    ] {
        if let Some(key) = prefix.key_of(command) {
            add(key, words);
        }
    }
    add("…".to_owned(), "wait: all");
    Line::from(spans)
}

/// The shape of the cursor on the screen: what the program asked for where one is typed to, else the person's own.
pub fn cursor_style(model: &Model) -> SetCursorStyle {
    let crate::model::Screen::Console(id) = model.screen else { return SetCursorStyle::DefaultUserShape };
    let typed_to = model.dialog.is_none() && matches!(model.mux.task, Task::None | Task::Waiting(_));
    let tab = model.consoles.iter().find(|tab| tab.id == id && typed_to && tab.terminal.copying().is_none());
    tab.map_or(SetCursorStyle::DefaultUserShape, |tab| tab.terminal.cursor_style())
}
