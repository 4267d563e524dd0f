//! What a person wants done, whether by key, palette or mouse.

use super::part::{self, open_sprite};
use super::{
    Effect, console, dashboard, dialog, files, inside, jump, list, network, palette, settings, timeline,
};
use crate::action::{Action, Part};
use crate::model::{Ask, Dialog, Many, Model, Screen, Tour, Weight, ZOOMS};
use crate::view::geometry;
use sprites_backend::client::ServiceAction;
use sprites_backend::depot::file_name;

/// Moments of a graph whose values can be told.
const MARKS: u64 = 60;
/// Seconds that graphs go back at most: minutes are kept so long.
const OLDEST: u64 = 30 * 24 * 3600;

/// Does it, or says why it cannot be done.
pub(super) fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    if let Err(why) = model.possible(action) {
        model.say(Weight::Bad, why);
        return Vec::new();
    }
    let marked = model.marked_here();
    if action.is_for_many() && !marked.is_empty() {
        return of_many(model, action, marked);
    }
    match model.current().map(|row| row.sprite.name.clone()) {
        Some(name) if action.is_of_a_sprite() => of_a_sprite(model, action, name),
        _ => of_none(model, action),
    }
}

/// What has nothing to do with the selected sprite.
fn of_none(model: &mut Model, action: Action) -> Vec<Effect> {
    match action {
        Action::Up => return step(model, -1),
        Action::Down => return step(model, 1),
        Action::PageUp => return turn(model, -page(model)),
        Action::PageDown => return turn(model, page(model)),
        Action::Top => return turn(model, isize::MIN / 2),
        Action::Bottom => return turn(model, isize::MAX / 2),
        Action::Back => jump::back(model),
        Action::ShowList => model.screen = Screen::List,
        Action::Dashboard => return jump::across(model, Screen::Dashboard),
        Action::Timeline => return jump::across(model, Screen::Timeline),
        Action::Visit if model.screen == Screen::Timeline => return timeline::visit(model),
        Action::Visit => return dashboard::visit(model),
        Action::JumpBack => return jump::walk(model, false),
        Action::JumpForward => return jump::walk(model, true),
        Action::Help => return jump::open_text(model, Screen::Help),
        Action::Tour if model.tour.is_some() => {
            model.tour = None;
            return vec![Effect::Toured];
        }
        Action::Tour => {
            model.tour = Some(Tour::default());
            model.tour_goes_on();
            if model.tour_step().is_none() {
                let words =
                    "The first steps are told where they can be taken; they begin in the list of sprites.";
                model.say(Weight::Good, words);
            }
        }
        Action::Log => return jump::open_text(model, Screen::Log),
        Action::Costs => {
            if model.screen == Screen::Costs {
                model.bill.0 = model.bill.0.next();
            }
            return jump::open_text(model, Screen::Costs);
        }
        Action::Storage => return jump::open_text(model, Screen::Storage),
        Action::Settings => return jump::open_text(model, Screen::Settings),
        Action::NextValue | Action::TypeValue | Action::UsualValue => return settings::act(model, action),
        Action::Palette => return palette::open(model),
        Action::Filter => {
            let terms = model.filter.clone();
            ask(model, Ask::Filter, &terms);
        }
        Action::Search => {
            let text = model.search.clone();
            ask(model, Ask::Search, &text);
        }
        Action::Sort => {
            model.sort = model.sort.next();
            model.arrange();
        }
        Action::Reverse => {
            model.reverse = !model.reverse;
            model.arrange();
        }
        Action::New => ask(model, Ask::New, ""),
        Action::Import => ask(model, Ask::Import, ""),
        Action::Budget => {
            let budget = model.costs.as_ref().map(|costs| costs.budget).unwrap_or_default();
            let amount = budget.month_usd.map(|usd| format!("{usd}")).unwrap_or_default();
            ask_with(model, Ask::Budget, &amount, Some(budget.sleep));
        }
        // The first one is needed; another one takes a minute, and room on the disk.
        Action::BuildImage if model.has_image == Some(true) => ask(model, Ask::BuildImage, ""),
        Action::BuildImage => return dialog::build_image(model),
        Action::Contexts => {
            let names = model.contexts.clone();
            ask(model, Ask::Context(names), "");
        }
        Action::Refresh => return refresh(model),
        Action::ReadOnly => {
            model.read_only = !model.read_only;
            let words = if model.read_only {
                "Nothing is changed from here now."
            } else {
                "Changes are possible again."
            };
            model.say(Weight::Good, words);
        }
        Action::Theme => theme(model, (model.theme + 1) % model.themes.len()),
        Action::Suspend => return vec![Effect::Suspend],
        Action::Quit => match (model.drafted(), model.lasting()) {
            (drafts, moving) if drafts.is_empty() && moving.is_empty() => model.quit = true,
            (drafts, moving) => ask(model, Ask::Quit { drafts, moving }, ""),
        },
        _ => {}
    }
    Vec::new()
}

/// What is done to the selected sprite, or from it.
fn of_a_sprite(model: &mut Model, action: Action, name: String) -> Vec<Effect> {
    match action {
        Action::Open => return open_sprite(model),
        Action::NextPart => return part::open(model, model.part.next(true)),
        Action::PreviousPart => return part::open(model, model.part.next(false)),
        Action::ShowCheckpoints => return jump::show_part(model, Part::Checkpoints),
        Action::ShowNetwork => return jump::show_part(model, Part::Network),
        Action::ShowInside => return jump::show_part(model, Part::Inside),
        Action::ShowFiles => return jump::show_part(model, Part::Files),
        Action::MarkCheckpoint
        | Action::Compare
        | Action::CompareNow
        | Action::BrowseFiles
        | Action::OpenFile
        | Action::ParentFolder
        | Action::CopyOut
        | Action::EditFile => return files::act(model, action, name),
        Action::Events => return jump::open_text(model, Screen::Events),
        Action::Mark => list::mark(model, &name),
        Action::MarkRange => list::mark_range(model, &name),
        Action::MarkAll => list::mark_all(model),
        Action::ZoomIn => return zoom(model, model.zoom.saturating_sub(1)),
        Action::ZoomOut => return zoom(model, (model.zoom + 1).min(ZOOMS.len() - 1)),
        Action::PanBack => return pan(model, true),
        Action::PanForward => return pan(model, false),
        Action::Earlier => mark(model, true),
        Action::Later => mark(model, false),
        Action::Graphs => model.other_graphs = !model.other_graphs,
        Action::Console => return console::open(model, &name, false),
        Action::NewConsole => return console::open(model, &name, true),
        Action::Detach => return console::detach(model, &name),
        Action::Checkpoint => {
            let switch = model.keeps_memory.then_some(false);
            ask_with(model, Ask::Checkpoint(name), "", switch);
        }
        Action::Fork => {
            // The present state can be had with memory, a checkpoint when it was made so.
            let from = model.chosen_checkpoint().map(|node| (node.id.clone(), node.memory_bytes.is_some()));
            let has = from.as_ref().map_or(model.keeps_memory, |(_, has)| *has);
            ask_with(model, Ask::Fork(name, from.map(|(id, _)| id)), "", has.then_some(false));
        }
        Action::Export => {
            let checkpoint = model.chosen_checkpoint().map(|node| node.id.clone());
            // What a checkpoint of the present will be called nobody knows yet; in a folder it gets its usual name.
            let to = checkpoint.as_ref().map_or_else(|| "./".to_owned(), |id| file_name(&name, id));
            ask(model, Ask::Export(name, checkpoint), &to);
        }
        Action::Restore => {
            if let Some(node) = model.chosen_checkpoint() {
                let (id, switch) = (node.id.clone(), node.memory_bytes.map(|_| true));
                ask_with(model, Ask::Restore(name, id), "", switch);
            }
        }
        Action::Undo => {
            if let Some(node) = model.replaced() {
                let time =
                    jiff::Timestamp::from_microsecond(node.create_time.as_micros()).unwrap_or_default();
                let shown = time.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S on %F");
                let undo = Ask::Undo(name, node.id.clone(), shown.to_string());
                ask(model, undo, "");
            }
        }
        Action::DeleteCheckpoint => {
            if let Some(node) = model.chosen_checkpoint() {
                let delete = Ask::Delete(name, node.id.clone(), node.exclusive_bytes);
                ask(model, delete, "");
            }
        }
        Action::Stop => ask(model, Ask::Stop(name), ""),
        Action::Destroy => ask(model, Ask::Destroy(name), ""),
        Action::StartService => return inside::service(model, name, ServiceAction::Start),
        Action::StopService => return inside::service(model, name, ServiceAction::Stop),
        Action::RestartService => return inside::service(model, name, ServiceAction::Restart),
        Action::ForwardPort => return inside::forward(model, name),
        Action::Browse => return inside::browse(model, name),
        Action::SearchLog => {
            let text = model.inside.search.clone();
            ask(model, Ask::Search, &text);
        }
        action => return network::act(model, action),
    }
    Vec::new()
}

/// What is done to all marked sprites.
fn of_many(model: &mut Model, action: Action, names: Vec<String>) -> Vec<Effect> {
    let many = match action {
        Action::Detach => {
            let effects = names.iter().flat_map(|name| console::detach(model, name)).collect();
            model.marked.clear();
            return effects;
        }
        Action::Checkpoint => Many::Checkpoint,
        Action::Destroy => Many::Destroy,
        _ => Many::Stop,
    };
    ask(model, Ask::Many(many, names), "");
    Vec::new()
}

fn ask(model: &mut Model, ask: Ask, text: &str) {
    ask_with(model, ask, text, None);
}

fn ask_with(model: &mut Model, ask: Ask, text: &str, switch: Option<bool>) {
    model.dialog = Some(Dialog { switch, ..Dialog::new(ask, text) });
    dialog::typed(model);
}

fn refresh(model: &mut Model) -> Vec<Effect> {
    if model.screen == Screen::Dashboard {
        return vec![Effect::GlanceAgain];
    }
    // A server that was stopped takes a while to start; the list comes by itself then.
    if !model.connected {
        return vec![Effect::Start];
    }
    let mut effects = vec![Effect::LoadSprites, Effect::LoadImages];
    if model.screen == Screen::Sprite {
        let name = model.selected.clone().filter(|_| model.part != Part::Checkpoints);
        effects.extend(name.map(Effect::LoadTree));
        effects.extend(part::load(model));
    }
    effects
}

pub(super) fn theme(model: &mut Model, index: usize) {
    model.theme = index.min(model.themes.len() - 1);
    model.turned = true;
    let name = model.themes[model.theme].name.clone();
    model.say(Weight::Good, format!("Theme {name}"));
}

pub(super) fn zoom(model: &mut Model, to: usize) -> Vec<Effect> {
    if to == model.zoom || model.history.name.is_empty() {
        return Vec::new();
    }
    model.zoom = to;
    (model.graphs_end, model.graphs_mark) = (0, None);
    vec![Effect::LoadHistory(model.history.name.clone(), model.window())]
}

/// Moves the graphs by half of what they show; back at most as far as there are minutes.
fn pan(model: &mut Model, back: bool) -> Vec<Effect> {
    let half = ZOOMS[model.zoom] / 2;
    let end = if back { model.graphs_end + half } else { model.graphs_end.saturating_sub(half) };
    let end = end.min(OLDEST);
    if end == model.graphs_end || model.history.name.is_empty() {
        return Vec::new();
    }
    model.graphs_end = end;
    vec![Effect::LoadHistory(model.history.name.clone(), model.window())]
}

/// Tells values of a moment before, or after; after the end, of now.
fn mark(model: &mut Model, back: bool) {
    let span = ZOOMS[model.zoom];
    let step = (span / MARKS).max(1);
    model.graphs_mark = match (model.graphs_mark, back) {
        (None, true) => Some(step),
        (Some(at), true) => Some((at + step).min(span)),
        (mark, false) => mark.and_then(|at| at.checked_sub(step)).filter(|at| *at > 0),
    };
}

fn page(model: &Model) -> isize {
    isize::from(i16::try_from(geometry::body(model).height.saturating_sub(4)).unwrap_or(20)).max(1)
}

/// Moves the selection, or what is read.
pub(super) fn step(model: &mut Model, by: isize) -> Vec<Effect> {
    match model.screen {
        Screen::List => model.select(by),
        Screen::Sprite => part::step(model, by),
        Screen::Dashboard => dashboard::step(model, by),
        Screen::Timeline => timeline::step(model, by),
        Screen::Settings => model.settings.step(by),
        screen if screen.is_text() => {
            model.scroll = model.scroll.saturating_add_signed(by).min(10_000);
        }
        _ => {}
    }
    Vec::new()
}

/// Pages through what there is to read.
pub(super) fn turn(model: &mut Model, lines: isize) -> Vec<Effect> {
    if model.screen != Screen::Sprite {
        return step(model, lines);
    }
    part::turn(model, lines);
    Vec::new()
}
