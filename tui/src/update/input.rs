//! Keys, mouse, paste, resize.

use super::part::{self, open_sprite};
use super::{Effect, console, dialog, inside, network};
use crate::action::{Action, Part, Place};
use crate::model::{Ask, Dialog, Load, Model, Screen, ZOOMS};
use crate::view::geometry;
use crossterm::event::{
    Event as Terminal, KeyCode, KeyEvent, KeyEventKind, MouseButton, MouseEvent, MouseEventKind,
};
use sprites_api::checkpoint::CURRENT;
use sprites_api::extension::{BuildLine, TreeNode};
use sprites_api::sprite::Status;
use sprites_backend::client::ServiceAction;

/// Lines the wheel moves.
const WHEEL: isize = 3;

pub(super) fn terminal(model: &mut Model, event: Terminal) -> Vec<Effect> {
    match event {
        Terminal::Key(key) if key.kind != KeyEventKind::Release => pressed(model, key),
        Terminal::Resize(columns, rows) => {
            model.size = (columns, rows);
            console::resize(model)
        }
        Terminal::Paste(text) => match (model.screen, &mut model.dialog) {
            (_, Some(open)) => {
                let line: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
                let joined = format!("{}{line}", open.input.value());
                open.input = tui_input::Input::new(joined);
                network::note(model);
                Vec::new()
            }
            (Screen::Console(id), None) => console::paste(model, id, &text),
            _ => Vec::new(),
        },
        Terminal::Mouse(mouse) => moused(model, mouse),
        Terminal::Key(key) => match model.screen {
            Screen::Console(id) if model.dialog.is_none() => console::released(model, id, key),
            _ => Vec::new(),
        },
        Terminal::FocusGained => console::focus(model, true),
        Terminal::FocusLost => console::focus(model, false),
    }
}

fn pressed(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    if model.dialog.is_some() {
        return dialog::key(model, key);
    }
    if let Screen::Console(id) = model.screen {
        return console::key(model, id, key);
    }
    if let KeyCode::Char(digit @ '1'..='9') = key.code
        && key.modifiers.is_empty()
    {
        let place = digit as usize - '1' as usize;
        return match model.consoles.get(place).map(|tab| tab.id) {
            Some(id) => console::show(model, id),
            None => Vec::new(),
        };
    }
    let place = match model.screen {
        Screen::List => Place::List,
        Screen::Sprite => Place::Part(model.part),
        _ => Place::Everywhere,
    };
    match model.keys.action(key, place) {
        Some(action) => act(model, action),
        None => Vec::new(),
    }
}

/// Does what a person wants.
pub(super) fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    let name = model.selected.clone().filter(|_| model.current().is_some());
    let ask_of = |model: &mut Model, dialog: Dialog| {
        model.dialog = Some(dialog);
        Vec::new()
    };
    let ask = |model: &mut Model, ask: Ask, text: &str| ask_of(model, Dialog::new(ask, text));
    match (action, name) {
        (Action::Quit, _) => match model.drafted() {
            names if names.is_empty() => {
                model.quit = true;
                Vec::new()
            }
            names => ask(model, Ask::Quit(names), ""),
        },
        (Action::Up, _) => step(model, -1),
        (Action::Down, _) => step(model, 1),
        (Action::PageUp, _) => turn(model, -page(model)),
        (Action::PageDown, _) => turn(model, page(model)),
        (Action::Top, _) => turn(model, isize::MIN / 2),
        (Action::Bottom, _) => turn(model, isize::MAX / 2),
        (Action::Back, _) => {
            model.screen = match model.screen {
                Screen::Help | Screen::Log | Screen::Costs | Screen::Events => model.before,
                Screen::List if !model.filter.is_empty() => {
                    model.filter.clear();
                    model.arrange();
                    Screen::List
                }
                _ => Screen::List,
            };
            model.scroll = 0;
            Vec::new()
        }
        (Action::Help, _) => text_screen(model, Screen::Help),
        (Action::Log, _) => text_screen(model, Screen::Log),
        (Action::Costs, _) => {
            let group = if model.screen == Screen::Costs { model.bill.0.next() } else { model.bill.0 };
            text_screen(model, Screen::Costs);
            model.bill = (group, Load::Waiting);
            vec![Effect::LoadCosts(group)]
        }
        (Action::Budget, _) => {
            let Some(costs) = &model.costs else {
                model.say(crate::model::Weight::Bad, "This endpoint keeps no budget; the local server does.");
                return Vec::new();
            };
            let amount = costs.budget.month_usd.map(|usd| format!("{usd}")).unwrap_or_default();
            let switch = Some(costs.budget.sleep);
            ask_of(model, Dialog { switch, ..Dialog::new(Ask::Budget, &amount) })
        }
        (Action::Events, Some(name)) => {
            text_screen(model, Screen::Events);
            model.events = Some((name.clone(), Load::Waiting));
            vec![Effect::LoadEvents(name)]
        }
        (Action::Open, Some(_)) => open_sprite(model),
        (Action::NextPart, _) => part::open(model, model.part.next(true)),
        (Action::PreviousPart, _) => part::open(model, model.part.next(false)),
        (Action::New, _) if model.here.local && model.has_image == Some(false) => {
            model.say(
                crate::model::Weight::Bad,
                "There is no base image yet; b builds one, which takes a minute or two.",
            );
            Vec::new()
        }
        (Action::New, _) => ask(model, Ask::New, ""),
        (Action::Filter, _) => {
            let text = model.filter.clone();
            ask(model, Ask::Filter, &text)
        }
        (Action::Sort, _) => {
            model.sort = model.sort.next();
            model.arrange();
            Vec::new()
        }
        (Action::Reverse, _) => {
            model.reverse = !model.reverse;
            model.arrange();
            Vec::new()
        }
        (Action::ZoomIn, _) => zoom(model, model.zoom.saturating_sub(1)),
        (Action::ZoomOut, _) => zoom(model, (model.zoom + 1).min(ZOOMS.len() - 1)),
        (Action::Graphs, _) => {
            model.other_graphs = !model.other_graphs;
            Vec::new()
        }
        (
            Action::NextPane
            | Action::Only
            | Action::AddRule
            | Action::ToggleRule
            | Action::DeleteRule
            | Action::IncludeDefaults
            | Action::TryName
            | Action::SaveRules
            | Action::ForgetRules,
            Some(_),
        ) => network::act(model, action),
        (Action::BuildImage, _) if model.here.local && model.build.is_none() => {
            model.build = Some(BuildLine { step: "Preparing".into(), ..BuildLine::default() });
            vec![Effect::BuildImage]
        }
        (Action::Refresh, name) => {
            // A server that was stopped takes a while to start; the list comes by itself then.
            let mut effects = if model.connected {
                vec![Effect::LoadSprites, Effect::LoadImages]
            } else {
                vec![Effect::Start]
            };
            if model.screen == Screen::Sprite {
                effects.extend(name.filter(|_| model.part != Part::Checkpoints).map(Effect::LoadTree));
                effects.extend(part::load(model));
            }
            effects
        }
        (Action::Contexts, _) if model.contexts.len() < 2 => {
            model.say(
                crate::model::Weight::Bad,
                "There is no other context; add one to config.toml, as the README tells.",
            );
            Vec::new()
        }
        (Action::Contexts, _) => {
            let names = model.contexts.clone();
            ask(model, Ask::Context(names), "")
        }
        (Action::Theme, _) => {
            model.theme = (model.theme + 1) % model.themes.len();
            let name = model.themes[model.theme].name.clone();
            model.say(crate::model::Weight::Good, format!("Theme {name}"));
            Vec::new()
        }
        (Action::Console, Some(name)) => console::open(model, &name, false),
        (Action::NewConsole, Some(name)) => console::open(model, &name, true),
        (Action::Detach, Some(name)) => console::detach(model, &name),
        (Action::Checkpoint, Some(name)) => {
            let switch = model.keeps_memory.then_some(false);
            ask_of(model, Dialog { switch, ..Dialog::new(Ask::Checkpoint(name), "") })
        }
        (Action::Destroy, Some(name)) => ask(model, Ask::Destroy(name), ""),
        (Action::Stop, Some(name)) => {
            if model.current().is_some_and(|row| row.sprite.status == Status::Cold) {
                model.say(crate::model::Weight::Good, format!("{name} is stopped already."));
                return Vec::new();
            }
            ask(model, Ask::Stop(name), "")
        }
        (Action::StartService, Some(name)) => inside::service(model, name, ServiceAction::Start),
        (Action::StopService, Some(name)) => inside::service(model, name, ServiceAction::Stop),
        (Action::RestartService, Some(name)) => inside::service(model, name, ServiceAction::Restart),
        (Action::ForwardPort, Some(name)) => inside::forward(model, name),
        (Action::Browse, Some(name)) => inside::browse(model, name),
        (Action::Fork, Some(name)) => {
            // The present state can be had with memory, a checkpoint when it was made so.
            let from = chosen(model).map(|node| (node.id.clone(), node.memory_bytes.is_some()));
            let switch = from.as_ref().map_or(model.keeps_memory, |(_, has)| *has).then_some(false);
            let from = from.map(|(id, _)| id);
            ask_of(model, Dialog { switch, ..Dialog::new(Ask::Fork(name, from), "") })
        }
        (Action::Restore, Some(name)) => match chosen(model).map(|node| (node.id.clone(), node.memory_bytes))
        {
            Some((id, memory)) => {
                let switch = memory.map(|_| true);
                ask_of(model, Dialog { switch, ..Dialog::new(Ask::Restore(name, id), "") })
            }
            None => pick_first(model),
        },
        (Action::Undo, Some(name)) => match undo(model) {
            Some((id, time)) => ask(model, Ask::Undo(name, id, time), ""),
            None => {
                model.say(crate::model::Weight::Bad, "There is no restore to undo.");
                Vec::new()
            }
        },
        (Action::DeleteCheckpoint, Some(name)) => {
            match chosen(model).map(|node| (node.id.clone(), node.exclusive_bytes)) {
                Some((id, bytes)) => ask(model, Ask::Delete(name, id, bytes), ""),
                None => pick_first(model),
            }
        }
        _ => Vec::new(),
    }
}

fn pick_first(model: &mut Model) -> Vec<Effect> {
    model.say(crate::model::Weight::Bad, "Current is the live disk; select a checkpoint first.");
    Vec::new()
}

/// The selected checkpoint, unless it is the live disk or not on the screen.
fn chosen(model: &Model) -> Option<&TreeNode> {
    if model.screen != Screen::Sprite || model.part != Part::Checkpoints {
        return None;
    }
    let id = model.checkpoint.as_ref().filter(|id| *id != CURRENT)?;
    model.nodes()?.iter().find(|node| node.id == *id)
}

/// The newest checkpoint that a restore made of what it replaced, and when that was, for people.
fn undo(model: &Model) -> Option<(String, String)> {
    let made = |node: &&TreeNode| node.id.starts_with("pre-restore-");
    let node = model.nodes()?.iter().filter(made).max_by_key(|node| node.create_time.as_micros())?;
    let time = jiff::Timestamp::from_microsecond(node.create_time.as_micros()).unwrap_or_default();
    let shown = time.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S on %F").to_string();
    Some((node.id.clone(), shown))
}

fn text_screen(model: &mut Model, screen: Screen) -> Vec<Effect> {
    if !matches!(model.screen, Screen::Help | Screen::Log | Screen::Costs | Screen::Events) {
        model.before = model.screen;
    }
    model.screen = screen;
    // The log is read from its end.
    model.scroll = 0;
    Vec::new()
}

fn page(model: &Model) -> isize {
    isize::from(i16::try_from(model.size.1.saturating_sub(6)).unwrap_or(20)).max(1)
}

fn step(model: &mut Model, by: isize) -> Vec<Effect> {
    match model.screen {
        Screen::List => model.select(by),
        Screen::Sprite => part::step(model, by),
        Screen::Help | Screen::Log | Screen::Costs | Screen::Events => {
            model.scroll = model.scroll.saturating_add_signed(by).min(10_000)
        }
        Screen::Console(_) => {}
    }
    Vec::new()
}

fn turn(model: &mut Model, lines: isize) -> Vec<Effect> {
    if model.screen != Screen::Sprite {
        return step(model, lines);
    }
    part::turn(model, lines);
    Vec::new()
}

fn zoom(model: &mut Model, to: usize) -> Vec<Effect> {
    if to == model.zoom || model.history.name.is_empty() {
        return Vec::new();
    }
    model.zoom = to;
    vec![Effect::LoadHistory(model.history.name.clone(), ZOOMS[to])]
}

fn wheel(model: &mut Model, mouse: MouseEvent, lines: isize) -> Vec<Effect> {
    match geometry::hit(model, mouse.column, mouse.row) {
        Some(geometry::Hit::Log) => turn(model, lines),
        _ => step(model, lines),
    }
}

fn moused(model: &mut Model, mouse: MouseEvent) -> Vec<Effect> {
    if model.dialog.is_some() {
        return Vec::new();
    }
    if let Screen::Console(id) = model.screen {
        return console::mouse(model, id, mouse);
    }
    match mouse.kind {
        MouseEventKind::ScrollUp => wheel(model, mouse, -WHEEL),
        MouseEventKind::ScrollDown => wheel(model, mouse, WHEEL),
        MouseEventKind::Down(MouseButton::Left) => match geometry::hit(model, mouse.column, mouse.row) {
            Some(geometry::Hit::Sprite(name)) if model.selected.as_ref() == Some(&name) => open_sprite(model),
            Some(geometry::Hit::Sprite(name)) => {
                model.selected = Some(name);
                Vec::new()
            }
            Some(geometry::Hit::Checkpoint(id)) => {
                model.checkpoint = Some(id);
                Vec::new()
            }
            Some(geometry::Hit::Inside(item)) => {
                model.inside.chosen = Some(item);
                Vec::new()
            }
            Some(geometry::Hit::Part(part)) => part::open(model, part),
            Some(geometry::Hit::LogLine(place)) => {
                network::pick_line(model, place);
                Vec::new()
            }
            Some(geometry::Hit::Rule(place)) => {
                network::pick_rule(model, place);
                Vec::new()
            }
            Some(geometry::Hit::Log) => Vec::new(),
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}
