//! The model as cells. Reads only; what is where comes from [`geometry`], which the mouse asks too.

pub mod ascii;
mod checkpoints;
mod console;
mod costs;
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
mod tour;

pub use console::cursor_style;

use crate::model::{Model, Screen};
use ratatui::Frame;
use ratatui::layout::Alignment;
use ratatui::widgets::{Block, Paragraph, Wrap};

/// Draws everything.
pub fn draw(model: &Model, frame: &mut Frame<'_>) {
    everything(model, frame);
    if model.look.ascii {
        ascii::only(frame.buffer_mut());
    }
}

fn everything(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    let colors = model.colors();
    frame.render_widget(Block::new().style(colors.base()), area);
    if area.width < geometry::LEAST.0 || area.height < geometry::LEAST.1 {
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
    let parts = geometry::parts(area);
    frame::header(model, frame, parts.header);
    match model.screen {
        Screen::List => list::draw(model, frame, parts.body),
        Screen::Sprite => sprite::draw(model, frame, parts.body),
        Screen::Console(id) => console::draw(model, frame, parts.body, id),
        Screen::Help => text::help(model, frame, parts.body),
        Screen::Log => text::log(model, frame, parts.body),
        Screen::Costs => costs::draw(model, frame, parts.body),
        Screen::Events => events::draw(model, frame, parts.body),
        Screen::Storage => files::storage(model, frame, parts.body),
        Screen::Sheet => files::sheet(model, frame, parts.body),
        Screen::Settings => settings::draw(model, frame, parts.body),
    }
    frame::footer(model, frame, parts.footer);
    tour::draw(model, frame, parts.body);
    palette::following(model, frame, parts.body);
    frame::toasts(model, frame, parts.body);
    if let Some(open) = &model.palette {
        palette::draw(model, frame, area, open);
    }
    if let Some(dialog) = &model.dialog {
        frame::dialog(model, frame, area, dialog);
    }
}
