//! Everything the app knows. Plain data: it can be made by hand in a test and drawn without a server.

mod console;
pub mod dashboard;
mod dialog;
mod files;
mod inside;
mod jobs;
pub mod layout;
mod list;
pub mod network;
mod palette;
mod possible;
mod settings;
pub mod timeline;
mod tour;
mod trail;

pub use console::{Attachment, COPIES, Drag, HINT, Mux, Tab, Task};
pub use dashboard::Dashboard;
pub use dialog::{Ask, Dialog, Many, destroying};
pub use files::{Edit, Files, MAX_SHOWN, Mark, Sheet, differing, shown};
pub use inside::{Entry, Forward, Heads, Inside, Item, Log, past};
pub use jobs::Job;
pub use list::{Column, Row};
pub use network::Network;
pub use palette::{Command, Palette};
pub use settings::Settings;
pub use timeline::Timeline;
pub use tour::Tour;
pub use trail::{Spot, Trail};

use crate::action::Part;
use crate::keys::Keys;
use crate::look::Look;
use crate::theme::Theme;
use crokey::KeyCombination;
use sprites_api::cost::Costs;
use sprites_api::extension::{BuildLine, Event, Tree, TreeNode, UsageSample};
use sprites_api::policy::Rule;
use sprites_api::storage::Storage;
use sprites_backend::client::clean;
use sprites_backend::estimate::Estimate;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use strum::{EnumIter, IntoEnumIterator, IntoStaticStr};

/// Lines of the log.
const MAX_LOG: usize = 500;
/// How long a toast stays.
const TOAST: Duration = Duration::from_secs(6);
/// Time spans of the graphs, seconds, shortest first.
pub const ZOOMS: [u64; 6] = [60, 600, 3600, 6 * 3600, 12 * 3600, 24 * 3600];

/// What is on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Screen {
    /// All sprites.
    List,
    /// The selected sprite.
    Sprite,
    /// A console, by its number.
    Console(u64),
    /// All contexts, and the sprites that matter.
    Dashboard,
    /// What happened to all sprites.
    Timeline,
    /// Keys and actions.
    Help,
    /// What happened.
    Log,
    /// The bill of the month.
    Costs,
    /// When the selected sprite took on which state.
    Events,
    /// What disks take.
    Storage,
    /// A file, or what changed in one.
    Sheet,
    /// What can be set.
    Settings,
}

impl Screen {
    /// Whether a text can be looked for in it.
    pub fn is_searched(self) -> bool {
        self.is_text() || matches!(self, Self::Dashboard | Self::Timeline)
    }

    /// Whether it is a text to read.
    pub fn is_text(self) -> bool {
        matches!(
            self,
            Self::Help
                | Self::Log
                | Self::Costs
                | Self::Events
                | Self::Storage
                | Self::Sheet
                | Self::Settings
        )
    }
}

/// How far something that is asked for has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Load<T> {
    /// Asked for.
    Waiting,
    /// Here.
    Ready(T),
    /// Not to be had, for this reason.
    Failed(String),
}

impl<T> From<Result<T, String>> for Load<T> {
    fn from(outcome: Result<T, String>) -> Self {
        match outcome {
            Ok(loaded) => Self::Ready(loaded),
            Err(why) => Self::Failed(why),
        }
    }
}

impl<T> Load<T> {
    /// Takes another look in. One that fails does not take away what is looked at.
    pub fn renew(&mut self, outcome: Result<T, String>) {
        if outcome.is_ok() || !matches!(self, Self::Ready(_)) {
            *self = outcome.into();
        }
    }
}

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It worked.
    Good,
    /// It went wrong.
    Bad,
}

/// A short message.
#[derive(Clone, Debug)]
pub struct Toast {
    /// One sentence.
    pub text: String,
    /// How much it matters.
    pub weight: Weight,
    /// When it goes away.
    pub until: Instant,
}

impl Toast {
    /// Its sentence behind a mark that tells its weight without colours.
    pub fn words(&self) -> String {
        let mark = match self.weight {
            Weight::Good => "✓",
            Weight::Bad => "!",
        };
        format!("{mark} {}", self.text)
    }
}

/// The past of one sprite.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Whose.
    pub name: String,
    /// Oldest first.
    pub samples: Vec<UsageSample>,
}

/// Where the sprites on the screen are.
#[derive(Clone, Debug, Default)]
pub struct Here {
    /// Name of the context.
    pub context: String,
    /// Its address, for people.
    pub endpoint: String,
    /// Whether it is this machine.
    pub local: bool,
}

/// What the lines of a bill are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
#[allow(missing_docs, reason = "they are what they are called")]
pub enum Group {
    Sprite,
    Label,
    Day,
}

impl Group {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self::iter().cycle().skip_while(|group| *group != self).nth(1).unwrap_or(self)
    }
}

/// When the server was last asked for what does not come by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// The bill of the header.
    pub costs: Option<Instant>,
    /// The sprite that is looked at.
    pub sprite: Option<Instant>,
    /// What the open part of its screen shows.
    pub part: Option<Instant>,
}

/// See the module.
#[derive(Debug)]
pub struct Model {
    /// Where the sprites are.
    pub here: Here,
    /// Names of all contexts.
    pub contexts: Vec<String>,
    /// Rows changed in a way that may change their order.
    pub stale_order: bool,
    /// Whether the server tells what sprites use.
    pub metered: bool,
    /// What they cost at least, where it does not.
    pub estimate: Estimate,
    /// The least that all together have cost then, US dollars; those too that are gone.
    pub least_usd: f64,
    /// Whether the server answers, as far as is known.
    pub connected: bool,
    /// Whether nothing of what is shown is real.
    pub demo: bool,
    /// How far somebody has come with the first steps; none when they are over.
    pub tour: Option<Tour>,
    /// Whether sprites are emulated here.
    pub emulated: bool,
    /// Whether checkpoints can hold all that runs here.
    pub keeps_memory: bool,
    /// All sprites by name.
    pub sprites: Load<BTreeMap<String, Row>>,
    /// Names in the order they are shown; kept by [`arrange`](Self::arrange).
    pub order: Vec<String>,
    /// Name of the selected sprite.
    pub selected: Option<String>,
    /// Column to sort by.
    pub sort: Column,
    /// Largest first.
    pub reverse: bool,
    /// Terms that shown sprites fulfil; see [`crate::filter`].
    pub filter: String,
    /// Names of marked sprites.
    pub marked: BTreeSet<String>,
    /// The sprite that was marked last.
    pub last_marked: Option<String>,
    /// Whether nothing may be changed from here.
    pub read_only: bool,
    /// Keys that begin something, and wait for another.
    pub waiting: Vec<KeyCombination>,
    /// The open palette.
    pub palette: Option<Palette>,
    /// Lines of the palette, the newest last.
    pub commands: Vec<String>,
    /// Where somebody has been.
    pub trail: Trail,
    /// Text that shown lines of a screen of text hold.
    pub search: String,
    /// What is on the screen.
    pub screen: Screen,
    /// Where `back` leads from help and log.
    pub before: Screen,
    /// Where leaving a console leads: the list or the screen of a sprite.
    pub under: Screen,
    /// First line shown of a screen of text.
    pub scroll: usize,
    /// The open dialog.
    pub dialog: Option<Dialog>,
    /// Short messages, oldest first.
    pub toasts: VecDeque<Toast>,
    /// What happened, oldest first, with the time of day.
    pub log: VecDeque<(jiff::Timestamp, Weight, String)>,
    /// Work under way.
    pub jobs: Vec<Job>,
    /// The part of a sprite's screen that is looked at.
    pub part: Part,
    /// Checkpoints of the sprite whose screen was opened last.
    pub tree: Option<(String, Load<Tree>)>,
    /// Selected checkpoint.
    pub checkpoint: Option<String>,
    /// Rules that were changed and are not saved, by context and sprite.
    drafts: BTreeMap<(String, String), Vec<Rule>>,
    /// The network of the sprite for which it was looked at last.
    pub network: Network,
    /// What goes on in the sprite for which it was looked at last.
    pub inside: Inside,
    /// Files of the sprite for which they were looked at last.
    pub files: Files,
    /// The text that was opened last.
    pub sheet: Option<Sheet>,
    /// What disks take.
    pub storage: Load<Storage>,
    /// Ports of this machine that lead into sprites.
    pub forwards: Vec<Forward>,
    /// Past use of the sprite whose screen was opened last.
    pub history: History,
    /// Index into [`ZOOMS`].
    pub zoom: usize,
    /// Seconds ago at which graphs end.
    pub graphs_end: u64,
    /// Seconds before their end of which the values are told.
    pub graphs_mark: Option<u64>,
    /// Whether the graphs are those that the open part of the screen does not begin with, where there is no room for all.
    pub other_graphs: bool,
    /// Consoles.
    pub consoles: Vec<Tab>,
    /// How they share the screen, and what is done with them.
    pub mux: Mux,
    /// The bill of this month by sprite, for the header; none where the endpoint makes none.
    pub costs: Option<Costs>,
    /// The bill that is looked at, and what its lines are.
    pub bill: (Group, Load<Costs>),
    /// What happened to the sprite that was looked at last.
    pub events: Option<(String, Load<Vec<Event>>)>,
    /// What happened to all sprites.
    pub timeline: Timeline,
    /// All contexts at a glance.
    pub dashboard: Dashboard,
    /// When the server was last asked for the bill, and for the sprite that is looked at.
    pub asked: Asked,
    /// Whether there is a base image; none when unknown.
    pub has_image: Option<bool>,
    /// The build that is under way.
    pub build: Option<BuildLine>,
    /// Key bindings.
    pub keys: Keys,
    /// All themes.
    pub themes: Vec<Theme>,
    /// Index of the present one.
    pub theme: usize,
    /// Whether somebody turned to it by a key.
    pub turned: bool,
    /// The one that is configured.
    pub wanted: Option<String>,
    /// What the terminal can show, and what is wanted of that.
    pub look: Look,
    /// What can be set, and what is.
    pub settings: Settings,
    /// Terminal size, columns and rows.
    pub size: (u16, u16),
    /// Whether the app is to end.
    pub quit: bool,
    /// The next number for a job or console.
    next: u64,
}

impl Model {
    /// The state of a fresh app.
    pub fn new(here: Here, keys: Keys, themes: Vec<Theme>, theme: usize, size: (u16, u16)) -> Self {
        Self {
            here,
            contexts: Vec::new(),
            metered: false,
            estimate: Estimate::default(),
            least_usd: 0.0,
            connected: false,
            stale_order: false,
            demo: false,
            tour: None,
            emulated: false,
            keeps_memory: false,
            sprites: Load::Waiting,
            order: Vec::new(),
            selected: None,
            sort: Column::Name,
            reverse: false,
            filter: String::new(),
            marked: BTreeSet::new(),
            last_marked: None,
            read_only: false,
            waiting: Vec::new(),
            palette: None,
            commands: Vec::new(),
            trail: Trail::default(),
            search: String::new(),
            screen: Screen::List,
            before: Screen::List,
            under: Screen::List,
            scroll: 0,
            dialog: None,
            toasts: VecDeque::new(),
            log: VecDeque::new(),
            jobs: Vec::new(),
            part: Part::default(),
            drafts: BTreeMap::new(),
            network: Network::default(),
            inside: Inside::default(),
            files: Files::default(),
            sheet: None,
            storage: Load::Waiting,
            forwards: Vec::new(),
            tree: None,
            checkpoint: None,
            history: History::default(),
            zoom: 0,
            graphs_end: 0,
            graphs_mark: None,
            other_graphs: false,
            consoles: Vec::new(),
            mux: Mux::default(),
            costs: None,
            bill: (Group::Sprite, Load::Waiting),
            events: None,
            timeline: Timeline::default(),
            dashboard: Dashboard::default(),
            asked: Asked::default(),
            has_image: None,
            build: None,
            keys,
            themes,
            theme,
            turned: false,
            wanted: None,
            look: Look::default(),
            settings: Settings::default(),
            size,
            quit: false,
            next: 1,
        }
    }

    /// Goes to another context: nothing of the one before stays but the log, what lasts, and what the dashboard shows of all. Its consoles are detached by whoever held their connections.
    pub fn enter(&mut self, here: Here) {
        let keys = std::mem::take(&mut self.keys);
        let themes = std::mem::take(&mut self.themes);
        let fresh = Self::new(here, keys, themes, self.theme, self.size);
        let before = std::mem::replace(self, fresh);
        self.contexts = before.contexts;
        self.mux = before.mux.carried();
        self.log = before.log;
        self.demo = before.demo;
        self.tour = before.tour;
        (self.turned, self.wanted, self.look) = (before.turned, before.wanted, before.look);
        self.settings = before.settings;
        self.zoom = before.zoom;
        self.part = before.part;
        self.read_only = before.read_only;
        self.commands = before.commands;
        self.drafts = before.drafts;
        (self.sort, self.reverse) = (before.sort, before.reverse);
        // Events of the one before must not be taken for this one's.
        self.next = before.next;
        self.dashboard = before.dashboard;
        self.jobs = before.jobs;
        self.end_jobs();
        if self.is_arriving() {
            self.trail.note(Spot::Across(Screen::Dashboard));
        }
    }

    /// Whether what is shown of costs is the least that can have been, because the server tells no use.
    pub fn is_estimated(&self) -> bool {
        !self.here.local && !self.metered
    }

    /// Whether time alone changes what is shown.
    pub fn ages(&self) -> bool {
        !self.toasts.is_empty() || self.is_estimated() && self.estimate.grows()
    }

    /// Seconds of which the past is needed for the graphs.
    pub fn window(&self) -> u64 {
        ZOOMS[self.zoom] + self.graphs_end
    }

    /// Whether nothing is there that time changes within a few seconds.
    pub fn is_quiet(&self) -> bool {
        self.screen == Screen::List && self.consoles.is_empty() && !self.stale_order && !self.ages()
    }

    /// A number nothing else has.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// The colours; those of a theme that is selected in the palette, as they would be.
    pub fn colors(&self) -> &Theme {
        // There is always one: the plain one is added where files fail.
        let shown = self.palette.as_ref().and_then(Palette::theme).unwrap_or(self.theme);
        &self.themes[shown.min(self.themes.len() - 1)]
    }

    /// The selected sprite.
    pub fn current(&self) -> Option<&Row> {
        match (&self.sprites, &self.selected) {
            (Load::Ready(sprites), Some(name)) => sprites.get(name),
            _ => None,
        }
    }

    /// Checkpoints of the sprite whose screen is open, once they are here; the live disk last.
    pub fn nodes(&self) -> Option<&[TreeNode]> {
        match &self.tree {
            Some((_, Load::Ready(tree))) => Some(&tree.nodes),
            _ => None,
        }
    }

    /// Rules of a sprite that were changed and are not saved.
    pub fn draft(&self, name: &str) -> Option<&Vec<Rule>> {
        self.drafts.get(&(self.here.context.clone(), name.to_owned()))
    }

    /// Keeps changed rules of a sprite, or forgets them.
    pub fn set_draft(&mut self, name: &str, rules: Option<Vec<Rule>>) {
        let of = (self.here.context.clone(), name.to_owned());
        match rules {
            Some(rules) => drop(self.drafts.insert(of, rules)),
            None => drop(self.drafts.remove(&of)),
        }
    }

    /// Names of all sprites with changed rules that are not saved. Those of this context that are gone lose theirs.
    pub fn drafted(&mut self) -> Vec<String> {
        if let Load::Ready(sprites) = &self.sprites {
            self.drafts
                .retain(|(context, name), _| *context != self.here.context || sprites.contains_key(name));
        }
        self.drafts.keys().map(|(_, name)| name.clone()).collect()
    }

    /// Says something for a while, and keeps it in the log.
    pub fn say(&mut self, weight: Weight, text: impl Into<String>) {
        let text = sentence(&clean(&text.into()));
        self.log.push_back((jiff::Timestamp::now(), weight, text.clone()));
        while self.log.len() > MAX_LOG {
            self.log.pop_front();
        }
        self.toasts.push_back(Toast { text, weight, until: Instant::now() + TOAST });
        while self.toasts.len() > 4 {
            self.toasts.pop_front();
        }
    }

    /// Drops toasts whose time is over; true when any was.
    pub fn expire(&mut self, now: Instant) -> bool {
        if self.look.reduced_motion {
            return false;
        }
        let before = self.toasts.len();
        self.toasts.retain(|toast| toast.until > now);
        self.toasts.len() != before
    }

    /// A key was pressed: messages that stay until then have been read.
    pub fn read(&mut self) {
        if self.look.reduced_motion {
            self.toasts.clear();
        }
    }

    /// The console of that number.
    pub fn console(&mut self, id: u64) -> Option<&mut Tab> {
        self.consoles.iter_mut().find(|tab| tab.id == id)
    }
}

/// Words that begin a sentence, and are not a sprite's name.
const BEGINNINGS: [&str; 8] = ["a", "an", "another", "cannot", "it", "no", "the", "there"];

/// The text as a sentence: reasons of failures come without a sentence's marks, for others to put them into one.
fn sentence(text: &str) -> String {
    let text = text.trim_end();
    let mut letters = text.chars();
    let begins = text.split(' ').next().is_some_and(|word| BEGINNINGS.contains(&word));
    let first: String = match letters.next() {
        Some(letter) if begins => letter.to_uppercase().collect(),
        letter => letter.into_iter().collect(),
    };
    let end = if text.ends_with(['.', '!', '?', '…']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}
