//! Events change the model and ask for effects. No terminal, no server, no clock but the one that is handed in.

mod act;
mod again;
mod console;
mod costs;
mod dashboard;
mod dialog;
mod files;
mod input;
mod inside;
mod jump;
mod list;
mod network;
mod palette;
mod part;
mod settings;
mod timeline;

use crate::action::Part;
use crate::keep::Keep;
use crate::model::dashboard::Glance;
use crate::model::{Edit, Group, Load, Model, Weight};
use bytes::Bytes;
use crossterm::event::Event as Terminal;
pub(crate) use files::shorter;
use sprites_api::Time;
use sprites_api::cost::{Budget, Costs};
use sprites_api::exec::Session;
use sprites_api::extension::{
    BuildLine, Event as Past, Happened, Images, NetworkLog, Tree, UsageHistory, UsageLine, Version,
};
use sprites_api::inside::Inside as Interior;
use sprites_api::policy::NetworkPolicy;
use sprites_api::services;
use sprites_api::sprite::{Sprite, WatchLine};
use sprites_api::state::{Diff, FileDiff, FilesAt};
use sprites_api::storage::Storage;
use sprites_backend::client::{ExecEvent, ServiceAction};
use sprites_backend::depot::Place;
use std::time::{Duration, Instant};

/// A console that nobody looked at for this long detaches: attached it would keep its sprite awake.
pub const UNSEEN: Duration = Duration::from_secs(60);

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// At the terminal.
    Terminal(Terminal),
    /// Time passed.
    Tick(Instant),
    /// The whole list.
    Sprites(Result<Vec<Sprite>, String>),
    /// A sprite changed.
    Watched(WatchLine),
    /// A sprite as it is now; none when it is gone.
    Sprite(String, Option<Box<Sprite>>),
    /// A sprite used something.
    Usage(UsageLine),
    /// The connection to the server was lost, or is back.
    Connection(Result<(), String>),
    /// Who answers.
    Version(Version),
    /// Base images.
    Images(Images),
    /// A build goes on.
    Build(BuildLine),
    /// Checkpoints of a sprite.
    Tree(String, Result<Tree, String>),
    /// Past use of a sprite.
    History(String, u64, Result<UsageHistory, String>),
    /// A bill, with these lines.
    Costs(Group, Result<Box<Costs>, String>),
    /// What happened to a sprite.
    Events(String, Result<Vec<Past>, String>),
    /// What happened to all sprites after that time, or all that is known.
    Timeline(Option<Time>, Result<Vec<Happened>, String>),
    /// What was seen of the context of that name.
    Glance(String, Box<Glance>),
    /// What a sprite tried to reach.
    Network(String, Result<Box<NetworkLog>, String>),
    /// What it may reach.
    NetworkPolicy(String, Result<NetworkPolicy, String>),
    /// What goes on in a sprite.
    Inside(String, Result<Box<Interior>, String>),
    /// A service wrote something, or something happened to it.
    ServiceLog(u64, Vec<services::Event>),
    /// No more of that comes, for this reason.
    ServiceLogEnded(u64, String),
    /// What a folder of a sprite holds.
    Files {
        /// Whose.
        name: String,
        /// In which state.
        at: String,
        /// The folder that was asked for.
        path: String,
        /// What it holds.
        outcome: Result<Box<FilesAt>, String>,
    },
    /// The beginning of a file for the text of that number, and whether there is more.
    FileRead(u64, Result<(Vec<u8>, bool), String>),
    /// What was to be that text is a folder, at this path.
    FolderBehind(u64, String),
    /// What changed between two states of a sprite.
    Diff {
        /// Whose.
        name: String,
        /// One.
        from: String,
        /// The other.
        to: String,
        /// What changed.
        outcome: Result<Box<Diff>, String>,
    },
    /// What changed in a file, for the text of that number.
    FileDiff(u64, Result<Box<FileDiff>, String>),
    /// What disks take.
    Storage(Result<Storage, String>),
    /// A file is here to be edited, as that job.
    EditFetched(u64, Result<Edit, String>),
    /// The editor has ended.
    Edited(Edit, Result<(), String>),
    /// A port of this machine leads to that port of a sprite, or cannot.
    Forwarded(String, u16, Result<u16, String>),
    /// A connection through such a port failed.
    ForwardTrouble(String),
    /// An address could not be opened in the browser, for this reason.
    NotBrowsed(String, String),
    /// How far a job is, in words that take the place of those before.
    Progress(u64, String),
    /// A job ended: what to say, and of which sprite to ask anew.
    Done(u64, Result<String, String>, Option<String>),
    /// Sessions that run in a sprite.
    Sessions(String, Vec<Session>),
    /// Something happened in a console.
    Console(u64, ExecEvent),
    /// A console could not be connected.
    ConsoleFailed(u64, String),
    /// A console takes no more input for now, so some was lost.
    InputLost(u64, String),
    /// Something was done, or was not: a sentence.
    Told(Result<String, String>),
    /// The time came at which the screen was to change by itself.
    Wake,
}

impl Event {
    /// Whether it comes by itself again and again, and not because of anything that a person has done.
    pub fn is_unasked(&self) -> bool {
        matches!(
            self,
            Self::Tick(_)
                | Self::Usage(_)
                | Self::History(..)
                | Self::Costs(..)
                | Self::Network(..)
                | Self::Inside(..)
                | Self::Glance(..)
                | Self::Timeline(..)
        )
    }
}

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each is the client's call of that name")]
pub enum Effect {
    Start,
    LoadSprites,
    LoadSprite(String),
    LoadTree(String),
    LoadHistory(String, u64),
    LoadImages,
    LoadCosts(Group),
    LoadEvents(String),
    LoadTimeline(Option<Time>),
    /// Look at all contexts, or no longer.
    Glance(bool),
    /// Ask all contexts at once.
    GlanceAgain,
    LoadNetwork(String),
    LoadNetworkPolicy(String),
    SetNetworkPolicy {
        job: u64,
        name: String,
        policy: NetworkPolicy,
    },
    LoadInside(String),
    FollowLog {
        id: u64,
        name: String,
        service: String,
    },
    UnfollowLog,
    Service {
        job: u64,
        name: String,
        service: String,
        action: ServiceAction,
    },
    LoadFiles {
        name: String,
        at: String,
        path: String,
    },
    ReadFile {
        id: u64,
        name: String,
        at: String,
        path: String,
        link: bool,
    },
    CopyOut {
        job: u64,
        name: String,
        at: String,
        path: String,
    },
    LoadDiff {
        name: String,
        from: String,
        to: String,
    },
    LoadFileDiff {
        id: u64,
        name: String,
        from: String,
        to: String,
        path: String,
    },
    LoadStorage,
    FetchEdit {
        job: u64,
        name: String,
        path: String,
    },
    /// Leave the terminal to an editor.
    RunEditor(Edit),
    SaveEdit(Edit),
    OpenForward(String, u16),
    CloseForward(String, u16),
    Browse(String),
    SetBudget {
        job: u64,
        budget: Budget,
    },
    LoadSessions(String),
    BuildImage,
    Create {
        job: u64,
        name: String,
    },
    Destroy {
        job: u64,
        name: String,
    },
    Checkpoint {
        job: u64,
        name: String,
        comment: Option<String>,
        memory: bool,
    },
    Restore {
        job: u64,
        name: String,
        id: String,
        undo: bool,
        memory: bool,
    },
    Stop {
        job: u64,
        name: String,
    },
    DeleteCheckpoint {
        job: u64,
        name: String,
        id: String,
    },
    Fork {
        job: u64,
        name: String,
        to: String,
        checkpoint: Option<String>,
        memory: bool,
    },
    Export {
        job: u64,
        name: String,
        checkpoint: Option<String>,
        to: Place,
    },
    Import {
        job: u64,
        from: Place,
        name: Option<String>,
    },
    OpenConsole {
        id: u64,
        name: String,
        session: Option<String>,
        rows: u16,
        cols: u16,
        fresh: bool,
    },
    ConsoleInput(u64, Bytes),
    ConsoleResize(u64, u16, u16),
    ConsoleDetach(u64),
    /// Give the terminal back to the shell until it calls.
    Suspend,
    /// Give this text to the clipboard.
    Copy(String),
    /// Let the configuration say that of the setting of this index, or nothing, so that it is as usual.
    Configure(usize, Option<String>),
    /// Keep that the first steps need not be told again.
    Toured,
    /// Keep for the next run which consoles there are.
    Keep(Keep),
    /// Go to the context of that index.
    Enter(usize),
}

impl Effect {
    /// Whether it changes sprites, what they may do, or how they are kept.
    fn changes(&self) -> bool {
        matches!(
            self,
            Self::SetNetworkPolicy { .. }
                | Self::Service { .. }
                | Self::SetBudget { .. }
                | Self::BuildImage
                | Self::Create { .. }
                | Self::Destroy { .. }
                | Self::Checkpoint { .. }
                | Self::Restore { .. }
                | Self::Stop { .. }
                | Self::DeleteCheckpoint { .. }
                | Self::Fork { .. }
                | Self::Import { .. }
                | Self::SaveEdit(_)
        )
    }
}

/// Takes one event.
pub fn update(model: &mut Model, event: Event) -> Vec<Effect> {
    let mut effects = take(model, event);
    // Before consoles get their sizes: the steps have rows of their own.
    if model.tour_goes_on() {
        model.say(Weight::Good, "Those were the first steps.");
        effects.push(Effect::Toured);
    }
    effects.extend(console::settle(model));
    effects.extend(inside::settle(model));
    effects.extend(dashboard::settle(model));
    // Nothing gets past this, whatever asked for it.
    effects.retain(|effect| !model.read_only || !effect.changes());
    // Whoever is on the way is nowhere yet.
    if !model.is_arriving() {
        let here = model.spot();
        model.trail.note(here);
    }
    effects
}

fn take(model: &mut Model, event: Event) -> Vec<Effect> {
    match event {
        Event::Terminal(event) => input::terminal(model, event),
        Event::Tick(now) => {
            model.expire(now);
            list::estimated(model, now);
            dashboard::pass(model);
            if model.stale_order {
                model.arrange();
            }
            let mut effects = console::detach_unseen(model, now);
            effects.extend(console::keep(model));
            effects.extend(again::ask_again(model, now));
            effects
        }
        Event::Sprites(Ok(sprites)) => {
            let mut effects = list::listed(model, sprites);
            console::restore(model);
            effects.extend(dashboard::arrived(model));
            effects
        }
        Event::Sprites(Err(why)) => {
            if !matches!(model.sprites, Load::Ready(_)) {
                model.sprites = Load::Failed(why.clone());
            }
            model.say(Weight::Bad, why);
            Vec::new()
        }
        Event::Watched(line) => list::watched(model, line),
        Event::Sprite(name, sprite) => {
            list::changed(model, name, sprite);
            Vec::new()
        }
        Event::Usage(line) => list::used(model, line),
        Event::Connection(Ok(())) => {
            model.connected = true;
            vec![Effect::LoadImages, Effect::LoadCosts(Group::Sprite)]
        }
        Event::Connection(Err(why)) => {
            model.connected = false;
            if !matches!(model.sprites, Load::Ready(_)) {
                model.sprites = Load::Failed(why.clone());
            }
            model.say(Weight::Bad, why);
            Vec::new()
        }
        Event::Version(version) => {
            model.emulated = version.machine == "emulated";
            model.keeps_memory = version.machine == "kvm";
            Vec::new()
        }
        Event::Images(images) => {
            model.has_image = Some(!images.images.is_empty());
            // A build that somebody else began is joined.
            if images.building && model.build.is_none() { vec![Effect::BuildImage] } else { Vec::new() }
        }
        Event::Build(line) => {
            match (&line.done, &line.error) {
                (Some(id), _) => {
                    model.say(Weight::Good, format!("The base image {id} is ready; n makes a sprite of it."));
                    model.has_image = Some(true);
                    model.build = None;
                }
                (_, Some(why)) => {
                    model.say(Weight::Bad, why.clone());
                    model.build = None;
                }
                _ => model.build = Some(line),
            }
            Vec::new()
        }
        Event::Tree(name, outcome) => {
            if let Some((held, tree)) = &mut model.tree
                && *held == name
            {
                tree.renew(outcome);
                let nodes = model.nodes().unwrap_or_default();
                if !nodes.iter().any(|node| Some(&node.id) == model.checkpoint.as_ref()) {
                    model.checkpoint = nodes.last().map(|node| node.id.clone());
                }
            }
            Vec::new()
        }
        Event::History(name, window, outcome) => {
            if model.history.name == name
                && model.window() == window
                && let Ok(history) = outcome
            {
                model.history.samples = history.samples;
            }
            Vec::new()
        }
        Event::Costs(group, outcome) => {
            costs::came(model, group, outcome);
            Vec::new()
        }
        Event::Glance(context, glance) => {
            dashboard::came(model, context, *glance);
            Vec::new()
        }
        Event::Timeline(since, outcome) => {
            timeline::came(model, since, outcome);
            Vec::new()
        }
        Event::Events(name, outcome) => {
            if model.events.as_ref().is_some_and(|(held, _)| *held == name) {
                model.events = Some((name, outcome.into()));
            }
            Vec::new()
        }
        Event::Network(name, outcome) => {
            network::log_came(model, &name, outcome.map(|log| *log));
            Vec::new()
        }
        Event::NetworkPolicy(name, outcome) => {
            network::policy_came(model, &name, outcome);
            Vec::new()
        }
        Event::Inside(name, outcome) => {
            inside::came(model, &name, outcome.map(|seen| *seen));
            Vec::new()
        }
        Event::ServiceLog(id, events) => {
            inside::told(model, id, events);
            Vec::new()
        }
        Event::ServiceLogEnded(id, why) => {
            inside::ended(model, id, why);
            Vec::new()
        }
        Event::Files { name, at, path, outcome } => {
            files::came(model, &name, &at, &path, outcome.map(|found| *found));
            Vec::new()
        }
        Event::FileRead(id, outcome) => {
            files::read(model, id, outcome);
            Vec::new()
        }
        Event::FolderBehind(id, path) => files::is_folder(model, id, path),
        Event::Diff { name, from, to, outcome } => {
            files::compared(model, &name, (&from, &to), outcome.map(|diff| *diff));
            Vec::new()
        }
        Event::FileDiff(id, outcome) => {
            files::file_compared(model, id, outcome.map(|diff| *diff));
            Vec::new()
        }
        Event::Storage(outcome) => {
            model.storage = outcome.into();
            Vec::new()
        }
        Event::EditFetched(job, outcome) => files::fetched(model, job, outcome),
        Event::Edited(edit, outcome) => files::edited(model, edit, outcome),
        Event::Forwarded(name, port, outcome) => inside::forwarded(model, name, port, outcome),
        Event::ForwardTrouble(why) => {
            inside::trouble(model, why);
            Vec::new()
        }
        Event::NotBrowsed(address, why) => {
            inside::not_browsed(model, address, why);
            Vec::new()
        }
        Event::Progress(job, text) => {
            if let Some(held) = model.jobs.iter_mut().find(|held| held.id == job) {
                held.text = text;
            }
            Vec::new()
        }
        Event::Done(job, outcome, sprite) => {
            model.jobs.retain(|held| held.id != job);
            let mut effects = vec![Effect::LoadSprites, Effect::LoadCosts(Group::Sprite)];
            match outcome {
                Ok(text) => model.say(Weight::Good, text),
                Err(why) => model.say(Weight::Bad, why),
            }
            if let Some(name) =
                sprite.filter(|name| model.tree.as_ref().is_some_and(|(held, _)| held == name))
            {
                effects.extend((model.part != Part::Checkpoints).then_some(Effect::LoadTree(name)));
                effects.extend(part::load(model));
            }
            effects
        }
        Event::Sessions(name, sessions) => {
            console::found(model, &name, sessions);
            Vec::new()
        }
        Event::Console(id, event) => console::happened(model, id, event),
        Event::ConsoleFailed(id, why) => {
            if let Some(tab) = model.console(id) {
                tab.attachment = crate::model::Attachment::Failed(why.clone());
            }
            model.say(Weight::Bad, why);
            Vec::new()
        }
        Event::Told(Ok(text)) => {
            model.say(Weight::Good, text);
            Vec::new()
        }
        Event::Told(Err(why)) => {
            model.say(Weight::Bad, why);
            Vec::new()
        }
        Event::Wake => console::woken(model),
        Event::InputLost(id, why) => {
            if model.console(id).is_some() && !model.toasts.iter().any(|toast| toast.text.contains(&why)) {
                model.say(Weight::Bad, why);
            }
            Vec::new()
        }
    }
}
