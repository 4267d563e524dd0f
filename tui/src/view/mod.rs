//! The model as cells. Reads only; what is where comes from [`geometry`], which the mouse asks too.

pub mod ascii;
mod checkpoints;
mod console;
mod costs;
mod dashboard;
mod events;
mod files;
mod frame;
pub mod geometry;
mod graphs;
mod inside;
mod list;
mod network;
mod palette;
mod settings;
mod sprite;
mod text;
mod timeline;
mod tour;

pub use console::cursor_style;

use crate::model::{Model, Screen};
use ratatui::Frame;
use ratatui::layout::{Alignment, Rect};
use ratatui::widgets::{Block, Paragraph, Wrap};
use strum::{EnumIter, IntoEnumIterator};

/// What lies on what, the lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter)]
pub enum Layer {
    /// What is looked at, with all around it.
    Screen,
    /// The first steps.
    Tour,
    /// What can follow the one key of a console.
    Hint,
    /// What can follow a key that begins something.
    Following,
    /// Short messages.
    Messages,
    /// The palette.
    Palette,
    /// A dialog.
    Dialog,
}

/// Draws everything.
pub fn draw(model: &Model, frame: &mut Frame<'_>) {
    for layer in Layer::iter() {
        draw_layer(model, frame, layer);
    }
    if model.look.ascii {
        ascii::only(frame.buffer_mut());
    }
}

/// Draws one layer; nothing of the others.
pub fn draw_layer(model: &Model, frame: &mut Frame<'_>, layer: Layer) {
    let area = frame.area();
    let fits = area.width >= geometry::LEAST.0 && area.height >= geometry::LEAST.1;
    let parts = geometry::parts(model, area);
    let body = parts.body;
    match layer {
        Layer::Screen => screen(model, frame, area, fits),
        _ if !fits => {}
        Layer::Tour => tour::draw(model, frame, parts.tour),
        Layer::Hint => console::hint(model, frame, body),
        Layer::Following => palette::following(model, frame, body),
        Layer::Messages => frame::toasts(model, frame, body),
        Layer::Palette => {
            if let Some(open) = &model.palette {
                palette::draw(model, frame, area, open);
            }
        }
        Layer::Dialog => {
            if let Some(dialog) = &model.dialog {
                frame::dialog(model, frame, area, dialog);
            }
        }
    }
}

/// What a cell of a table says. Whoever hears a line would miss an empty one, and take the next for it.
fn filled(model: &Model, text: impl Into<String>) -> String {
    let text = text.into();
    if text.is_empty() && model.look.plain { "-".to_owned() } else { text }
}

fn screen(model: &Model, frame: &mut Frame<'_>, area: Rect, fits: bool) {
    let colors = model.colors();
    frame.render_widget(Block::new().style(colors.base()), area);
    if !fits {
        let words = format!(
            "The window is too small: {}×{}; {}×{} are needed.",
            area.width,
            area.height,
            geometry::LEAST.0,
            geometry::LEAST.1
        );
        frame.render_widget(
            Paragraph::new(words).wrap(Wrap { trim: true }).alignment(Alignment::Center),
            area,
        );
        return;
    }
    let parts = geometry::parts(model, area);
    frame::header(model, frame, parts.header);
    match model.screen {
        Screen::List => list::draw(model, frame, parts.body),
        Screen::Sprite => sprite::draw(model, frame, parts.body),
        Screen::Console(id) => console::draw(model, frame, parts.body, id),
        Screen::Dashboard => dashboard::draw(model, frame, parts.body),
        Screen::Timeline => timeline::draw(model, frame, parts.body),
        Screen::Help => text::help(model, frame, parts.body),
        Screen::Log => text::log(model, frame, parts.body),
        Screen::Costs => costs::draw(model, frame, parts.body),
        Screen::Events => events::draw(model, frame, parts.body),
        Screen::Storage => files::storage(model, frame, parts.body),
        Screen::Sheet => files::sheet(model, frame, parts.body),
        Screen::Settings => settings::draw(model, frame, parts.body),
    }
    frame::footer(model, frame, parts.footer);
}
