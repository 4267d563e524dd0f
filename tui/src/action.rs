//! What a person can do. One table feeds dispatch, key bindings and help.

use strum::{Display, EnumIter, EnumString, IntoEnumIterator, IntoStaticStr};

/// Where an action is possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Everywhere but in consoles and dialogs.
    Everywhere,
    /// In the list of sprites.
    List,
    /// On the screen of one sprite, whatever part of it is looked at.
    Sprite,
    /// In the list and on the screen of one sprite.
    Either,
    /// On the screen of one sprite, where this part of it is looked at.
    Part(Part),
    /// On screens of text: help, log, costs, events, disks, files.
    Text,
    /// On screens over all sprites: dashboard, timeline.
    Across,
    /// On the screen of settings.
    Settings,
}

/// A part of a sprite's screen, with a title of its own, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Part {
    /// What there is to go back to.
    #[default]
    Checkpoints,
    /// What it reaches, and what it may reach.
    Network,
    /// Services, ports, tasks, sessions.
    Inside,
    /// Its files, now or at a checkpoint, and what changed.
    Files,
}

impl Part {
    /// Its title.
    pub fn title(self) -> &'static str {
        self.into()
    }

    /// The one after this, or before it.
    #[must_use]
    pub fn next(self, forward: bool) -> Self {
        let parts: Vec<Self> = Self::iter().collect();
        let place = parts.iter().position(|part| *part == self).unwrap_or(0);
        let step = if forward { 1 } else { parts.len() - 1 };
        parts[(place + step) % parts.len()]
    }
}

/// One thing to do. Its name in the configuration file is in kebab case.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumIter, EnumString, Display, IntoStaticStr,
)]
#[strum(serialize_all = "kebab-case")]
#[allow(missing_docs, reason = "`about` says what each is")]
pub enum Action {
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
    Open,
    Visit,
    Back,
    NextPart,
    PreviousPart,
    New,
    Console,
    NewConsole,
    Detach,
    Checkpoint,
    Restore,
    Undo,
    Fork,
    Export,
    Import,
    DeleteCheckpoint,
    MarkCheckpoint,
    Compare,
    CompareNow,
    BrowseFiles,
    OpenFile,
    ParentFolder,
    CopyOut,
    EditFile,
    StartService,
    StopService,
    RestartService,
    ForwardPort,
    Browse,
    SearchLog,
    Stop,
    Destroy,
    Filter,
    Mark,
    MarkRange,
    MarkAll,
    Sort,
    Reverse,
    Search,
    ZoomIn,
    ZoomOut,
    Earlier,
    Later,
    PanBack,
    PanForward,
    Graphs,
    NextPane,
    Only,
    AddRule,
    ToggleRule,
    DeleteRule,
    IncludeDefaults,
    TryName,
    SaveRules,
    ForgetRules,
    BuildImage,
    Palette,
    ShowList,
    Dashboard,
    Timeline,
    ShowCheckpoints,
    ShowNetwork,
    ShowInside,
    ShowFiles,
    Storage,
    JumpBack,
    JumpForward,
    Contexts,
    Refresh,
    ReadOnly,
    Theme,
    Settings,
    NextValue,
    TypeValue,
    UsualValue,
    Costs,
    Budget,
    Events,
    Log,
    Help,
    Tour,
    Suspend,
    Quit,
}

impl Action {
    /// Where it is possible.
    pub fn place(self) -> Place {
        match self {
            Self::Open
            | Self::New
            | Self::Import
            | Self::Filter
            | Self::Mark
            | Self::MarkRange
            | Self::MarkAll
            | Self::Sort
            | Self::Reverse => Place::List,
            Self::Search => Place::Text,
            Self::Visit => Place::Across,
            Self::NextValue | Self::TypeValue | Self::UsualValue => Place::Settings,
            Self::NextPart
            | Self::PreviousPart
            | Self::ZoomIn
            | Self::ZoomOut
            | Self::Earlier
            | Self::Later
            | Self::PanBack
            | Self::PanForward
            | Self::Graphs => Place::Sprite,
            Self::Restore
            | Self::Undo
            | Self::DeleteCheckpoint
            | Self::MarkCheckpoint
            | Self::Compare
            | Self::CompareNow
            | Self::BrowseFiles => Place::Part(Part::Checkpoints),
            Self::OpenFile | Self::ParentFolder | Self::CopyOut | Self::EditFile => Place::Part(Part::Files),
            Self::NextPane
            | Self::Only
            | Self::AddRule
            | Self::ToggleRule
            | Self::DeleteRule
            | Self::IncludeDefaults
            | Self::TryName
            | Self::SaveRules
            | Self::ForgetRules => Place::Part(Part::Network),
            Self::StartService
            | Self::StopService
            | Self::RestartService
            | Self::ForwardPort
            | Self::Browse
            | Self::SearchLog => Place::Part(Part::Inside),
            Self::Console
            | Self::NewConsole
            | Self::Detach
            | Self::Checkpoint
            | Self::Events
            | Self::Fork
            | Self::Export
            | Self::Stop
            | Self::Destroy => Place::Either,
            _ => Place::Everywhere,
        }
    }

    /// Whether it changes sprites, what they may do, or how they are kept. What only wakes one, such as a console, does not.
    pub fn changes(self) -> bool {
        matches!(
            self,
            Self::New
                | Self::Checkpoint
                | Self::Restore
                | Self::Undo
                | Self::Fork
                | Self::Import
                | Self::DeleteCheckpoint
                | Self::EditFile
                | Self::StartService
                | Self::StopService
                | Self::RestartService
                | Self::Stop
                | Self::Destroy
                | Self::SaveRules
                | Self::BuildImage
                | Self::Budget
        )
    }

    /// Whether it moves within what is on the screen.
    pub fn moves(self) -> bool {
        matches!(self, Self::Up | Self::Down | Self::PageUp | Self::PageDown | Self::Top | Self::Bottom)
    }

    /// Whether it is about the selected sprite.
    pub fn is_of_a_sprite(self) -> bool {
        match self.place() {
            Place::Either | Place::Sprite | Place::Part(_) => true,
            Place::List => matches!(self, Self::Open | Self::Mark | Self::MarkRange | Self::MarkAll),
            Place::Everywhere | Place::Text | Place::Settings | Place::Across => {
                matches!(self, Self::ShowCheckpoints | Self::ShowNetwork | Self::ShowInside | Self::ShowFiles)
            }
        }
    }

    /// Whether it can be done to many sprites at once.
    pub fn is_for_many(self) -> bool {
        matches!(self, Self::Checkpoint | Self::Stop | Self::Destroy | Self::Detach)
    }

    /// One line for help.
    pub fn about(self) -> &'static str {
        match self {
            Self::Up => "one line up",
            Self::Down => "one line down",
            Self::PageUp => "one page up",
            Self::PageDown => "one page down",
            Self::Top => "to the first line",
            Self::Bottom => "to the last line",
            Self::Open => "open the selected sprite",
            Self::Visit => "to that sprite or context, wherever it is",
            Self::Back => "back to where you came from",
            Self::NextPart => "the next part of the screen",
            Self::PreviousPart => "the part of the screen before",
            Self::New => "make a sprite",
            Self::Console => "the sprite's last console, or a new one",
            Self::NewConsole => "another console of the sprite",
            Self::Detach => "detach the sprite's consoles; their programs go on",
            Self::Checkpoint => "make a checkpoint, with a comment",
            Self::Restore => "go back to the selected checkpoint",
            Self::Undo => "undo the last restore",
            Self::Fork => "a new sprite from the selected checkpoint, or from now",
            Self::Export => "the selected checkpoint, or now, into a file or s3",
            Self::Import => "make a sprite from an exported one",
            Self::DeleteCheckpoint => "delete the selected checkpoint",
            Self::MarkCheckpoint => "mark the checkpoint to compare others with, or no longer",
            Self::Compare => "what changed from the marked or the parent to this one",
            Self::CompareNow => "what changed since the selected checkpoint",
            Self::BrowseFiles => "files of the selected checkpoint",
            Self::OpenFile => "open the folder, show the file or what changed in it",
            Self::ParentFolder => "the folder above; from changes back to files",
            Self::CopyOut => "copy the file into the folder the app was started in",
            Self::EditFile => "edit the sprite's file with $EDITOR",
            Self::StartService => "start the selected service",
            Self::StopService => "stop the selected service; it stays so",
            Self::RestartService => "stop the selected service and start it again",
            Self::ForwardPort => "a port here leads to the selected one; again: no longer",
            Self::Browse => "the selected port, or the sprite's URL, in the browser",
            Self::SearchLog => "only lines of the service's log that hold a text",
            Self::Stop => "stop the sprite; the next use starts it again",
            Self::Destroy => "destroy the sprite; asks for its name",
            Self::Filter => "only some sprites: words, state:running, !label:ci",
            Self::Mark => "mark the sprite, or no longer; actions take all marked",
            Self::MarkRange => "mark all from the last mark to here",
            Self::MarkAll => "mark all that are shown, or none",
            Self::Search => "only lines that hold a text",
            Self::Palette => "any command by a few of its letters, or a sprite",
            Self::ShowList => "to the list of sprites",
            Self::Dashboard => "all contexts at a glance, and the sprites that matter",
            Self::Timeline => "what happened to all sprites, newest first",
            Self::ShowCheckpoints => "to the sprite's checkpoints",
            Self::ShowNetwork => "to what the sprite reaches and may reach",
            Self::ShowInside => "to what goes on in the sprite",
            Self::ShowFiles => "to the sprite's files",
            Self::Storage => "what disks take, and what to delete first",
            Self::JumpBack => "to where you were before",
            Self::JumpForward => "forward again",
            Self::ReadOnly => "let nothing be changed from here, or let it again",
            Self::Sort => "sort by the next column",
            Self::Reverse => "sort the other way round",
            Self::ZoomIn => "graphs over a shorter time",
            Self::ZoomOut => "graphs over a longer time",
            Self::Earlier => "values of an earlier moment in the graphs",
            Self::Later => "values of a later moment; at the end, of now",
            Self::PanBack => "graphs of an earlier time",
            Self::PanForward => "graphs of a later time",
            Self::Graphs => "the other graphs, where there is no room for all",
            Self::NextPane => "between the log and the rules",
            Self::Only => "only what was denied; again: what is open; again: all",
            Self::AddRule => "a rule: of the log's selected line, or one you type",
            Self::ToggleRule => "the selected rule denies instead of allowing, or back",
            Self::DeleteRule => "the selected rule goes",
            Self::IncludeDefaults => "usual registries and code hosts, or not",
            Self::TryName => "which rule decides about a name",
            Self::SaveRules => "let the changed rules hold; shows the difference",
            Self::ForgetRules => "forget what was changed in the rules",
            Self::BuildImage => "build a new base image",
            Self::Contexts => "another context: this machine or a remote endpoint",
            Self::Refresh => "ask the server again",
            Self::Theme => "next theme",
            Self::Costs => "what this month costs, by sprite; again: by label, by day",
            Self::Budget => "how much a month may cost",
            Self::Events => "when the sprite took on which state, and why",
            Self::Log => "what happened",
            Self::Help => "this help",
            Self::Settings => "what can be set, and what is",
            Self::NextValue => "the next value of the setting, or another that is typed",
            Self::TypeValue => "another value of the setting, typed",
            Self::UsualValue => "the setting as usual again",
            Self::Tour => "the first steps, or no more of them",
            Self::Suspend => "back to the shell; its `fg` comes back here",
            Self::Quit => "leave the app; sprites go on",
        }
    }

    /// One or two words for the line of hints.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Visit => "go there",
            Self::Dashboard => "dashboard",
            Self::Timeline => "timeline",
            Self::Contexts => "contexts",
            Self::Refresh => "ask again",
            Self::Back => "back",
            Self::NextPart => "next part",
            Self::New => "new",
            Self::Console => "console",
            Self::Checkpoint => "checkpoint",
            Self::Restore => "restore",
            Self::Undo => "undo",
            Self::Fork => "fork",
            Self::Export => "export",
            Self::Import => "import",
            Self::DeleteCheckpoint => "delete",
            Self::MarkCheckpoint => "mark",
            Self::Compare => "changes",
            Self::CompareNow => "changes since",
            Self::BrowseFiles => "files",
            Self::OpenFile => "open",
            Self::ParentFolder => "up",
            Self::CopyOut => "copy out",
            Self::EditFile => "edit",
            Self::Storage => "disks",
            Self::StartService => "start",
            Self::StopService => "stop",
            Self::RestartService => "restart",
            Self::ForwardPort => "forward",
            Self::Browse => "browser",
            Self::Stop => "stop",
            Self::Destroy => "destroy",
            Self::Filter => "filter",
            Self::Mark => "mark",
            Self::Search => "search",
            Self::Palette => "commands",
            Self::Sort => "sort",
            Self::ZoomOut => "zoom out",
            Self::ZoomIn => "zoom in",
            Self::Graphs => "graphs",
            Self::NextPane => "log, rules",
            Self::Only => "only denied",
            Self::AddRule => "add rule",
            Self::ToggleRule => "allow, deny",
            Self::DeleteRule => "delete",
            Self::IncludeDefaults => "defaults",
            Self::TryName => "try a name",
            Self::SaveRules => "save",
            Self::ForgetRules => "forget",
            Self::BuildImage => "build image",
            Self::Costs => "costs",
            Self::NextValue => "change",
            Self::TypeValue => "type",
            Self::UsualValue => "as usual",
            Self::Budget => "budget",
            Self::Events => "events",
            Self::Help => "help",
            Self::Quit => "quit",
            _ => self.about(),
        }
    }

    /// Keys unless the configuration says otherwise.
    pub fn default_keys(self) -> &'static [&'static str] {
        match self {
            Self::Up => &["up", "k"],
            Self::Down => &["down", "j"],
            Self::PageUp => &["pageup"],
            Self::PageDown => &["pagedown"],
            Self::Top => &["home", "g g"],
            Self::Bottom => &["end", "shift-g"],
            Self::Open => &["enter", "right"],
            Self::Visit => &["enter", "right"],
            Self::Back => &["esc", "left"],
            Self::NextPart => &["tab"],
            Self::PreviousPart => &["shift-tab"],
            Self::New => &["n"],
            Self::Console => &["t"],
            Self::NewConsole => &["shift-t"],
            Self::Detach => &["shift-d"],
            Self::Checkpoint => &["c"],
            Self::Restore => &["r"],
            Self::Undo => &["u"],
            Self::Fork => &["f"],
            Self::Export => &["shift-o"],
            Self::Import => &["shift-i"],
            Self::DeleteCheckpoint => &["d"],
            Self::MarkCheckpoint => &["space"],
            Self::Compare => &["m"],
            Self::CompareNow => &["shift-m"],
            Self::BrowseFiles => &["o", "enter"],
            Self::OpenFile => &["enter", "right"],
            Self::ParentFolder => &["backspace", "h"],
            Self::CopyOut => &["y"],
            Self::EditFile => &["shift-e"],
            Self::StartService => &["u"],
            Self::StopService => &["d"],
            Self::RestartService => &["r"],
            Self::ForwardPort => &["p"],
            Self::Browse => &["o"],
            Self::SearchLog => &["/"],
            Self::Stop => &["z"],
            Self::Destroy => &["x"],
            Self::Filter => &["/"],
            Self::Mark => &["space"],
            Self::MarkRange => &["shift-v"],
            Self::MarkAll => &["*"],
            Self::Search => &["/"],
            Self::Palette => &[":", "ctrl-p"],
            Self::ShowList => &["g s"],
            Self::Dashboard => &["g h"],
            Self::Timeline => &["g t"],
            Self::ShowCheckpoints => &["g c"],
            Self::ShowNetwork => &["g n"],
            Self::ShowInside => &["g i"],
            Self::ShowFiles => &["g f"],
            Self::Storage => &["g d"],
            Self::JumpBack => &["[", "alt-left"],
            Self::JumpForward => &["]", "alt-right"],
            Self::ReadOnly => &["shift-r"],
            Self::Sort => &["s"],
            Self::Reverse => &["shift-s"],
            Self::ZoomIn => &["+"],
            Self::ZoomOut => &["-"],
            Self::Earlier => &[","],
            Self::Later => &["."],
            Self::PanBack => &["<"],
            Self::PanForward => &[">"],
            Self::Graphs => &["v"],
            Self::NextPane => &["p"],
            Self::Only => &["o"],
            Self::AddRule => &["a"],
            Self::ToggleRule => &["space"],
            Self::DeleteRule => &["d"],
            Self::IncludeDefaults => &["i"],
            Self::TryName => &["w"],
            Self::SaveRules => &["s"],
            Self::ForgetRules => &["u"],
            Self::BuildImage => &["b"],
            Self::Contexts => &["shift-c"],
            Self::Refresh => &["f5"],
            Self::Theme => &["shift-p"],
            Self::Settings => &["g ,"],
            Self::NextValue => &["enter", "space"],
            Self::TypeValue => &["e"],
            Self::UsualValue => &["backspace", "d"],
            Self::Costs => &["$", "g $"],
            Self::Budget => &["shift-b"],
            Self::Events => &["e", "g e"],
            Self::Log => &["l", "g l"],
            Self::Help => &["?"],
            Self::Tour => &["shift-h"],
            Self::Suspend => &["ctrl-z"],
            Self::Quit => &["q", "ctrl-c"],
        }
    }
}
