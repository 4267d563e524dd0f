//! Dialogs: a text to type, or a deliberate second key.

use crate::number;
use sprites_backend::client::ServiceAction;
use tui_input::Input;

/// What a dialog is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The name of a new sprite.
    New,
    /// The comment of a checkpoint of this sprite.
    Checkpoint(String),
    /// The name of a fork of this sprite, from this checkpoint or the present state.
    Fork(String, Option<String>),
    /// Where an export of this sprite goes, of this checkpoint or the present state.
    Export(String, Option<String>),
    /// Where an export is that becomes a sprite.
    Import,
    /// The name again, to destroy this sprite.
    Destroy(String),
    /// What a new rule of this sprite's network is about.
    Rule(String),
    /// A name, to see which rule of this sprite decides about it.
    TryName(String),
    /// A deliberate key, to let these rules of this sprite hold, which makes that difference.
    SaveRules {
        /// The sprite.
        name: String,
        /// All its rules.
        rules: Vec<sprites_api::policy::Rule>,
        /// What changes, a line each.
        told: String,
    },
    /// A deliberate key, to forget what was changed in this sprite's rules.
    ForgetRules(String),
    /// A deliberate key, to leave all the same.
    Quit {
        /// Sprites whose rules were changed and are not saved.
        drafts: Vec<String>,
        /// Work that would be broken off.
        moving: Vec<String>,
    },
    /// A deliberate key, to build another base image.
    BuildImage,
    /// Terms to filter by.
    Filter,
    /// Text that lines hold.
    Search,
    /// A value of the setting of that name, which does that.
    Setting(&'static str, &'static str),
    /// What is done to all of these sprites.
    Many(Many, Vec<String>),
    /// The number of one of these contexts.
    Context(Vec<String>),
    /// Dollars that a month may cost.
    Budget,
    /// A deliberate key, to stop this sprite.
    Stop(String),
    /// A deliberate key, to undo this sprite's last restore by restoring this checkpoint, made when the clock showed that.
    Undo(String, String, String),
    /// A deliberate key, to restore this sprite to this checkpoint.
    Restore(String, String),
    /// A deliberate key, to wake this sprite by doing that with this service of it.
    Service(String, String, ServiceAction),
    /// Nothing: an address to copy, and why it is not opened.
    Address(String, String),
    /// A deliberate key, to delete this checkpoint of this sprite, which frees so many bytes.
    Delete(String, String, u64),
}

/// What is done to many sprites at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Many {
    /// A checkpoint of each, with the comment that is typed.
    Checkpoint,
    /// A deliberate key, to stop them.
    Stop,
    /// How many they are, to destroy them.
    Destroy,
}

/// What is typed to destroy so many sprites.
pub fn destroying(count: usize) -> String {
    format!("destroy {count}")
}

/// An open dialog.
#[derive(Clone, Debug)]
pub struct Dialog {
    /// What it is about.
    pub ask: Ask,
    /// What was typed.
    pub input: Input,
    /// With what it began.
    pub first: String,
    /// What can be switched on and off: whether all that runs is part of it, whether sprites sleep when the budget is used up, whether a rule allows.
    /// None where there is nothing to switch.
    pub switch: Option<bool>,
    /// What would come of what is typed, or why nothing would.
    pub note: Option<Result<String, String>>,
    /// Why the last try was refused.
    pub error: Option<String>,
}

impl Dialog {
    /// A dialog with a first text.
    pub fn new(ask: Ask, text: &str) -> Self {
        let (input, first) = (Input::new(text.to_owned()), text.to_owned());
        Self { ask, input, first, switch: None, note: None, error: None }
    }

    /// Whether a text is typed.
    pub fn is_typed(&self) -> bool {
        self.key().is_none() && !matches!(self.ask, Ask::Context(_) | Ask::Address(..))
    }

    /// Whether it tells what would come of what is typed.
    pub fn has_note(&self) -> bool {
        matches!(self.ask, Ask::Rule(_) | Ask::TryName(_) | Ask::Filter)
    }

    /// The key that confirms; none where enter does after typing.
    pub fn key(&self) -> Option<char> {
        match self.ask {
            Ask::Restore(..) => Some('R'),
            Ask::Undo(..) => Some('U'),
            Ask::Stop(_) | Ask::Many(Many::Stop, _) => Some('Z'),
            Ask::Service(..) => Some('W'),
            Ask::Delete(..) => Some('D'),
            Ask::SaveRules { .. } => Some('S'),
            Ask::ForgetRules(_) => Some('U'),
            Ask::Quit { .. } => Some('Q'),
            Ask::BuildImage => Some('B'),
            _ => None,
        }
    }

    /// Its title.
    pub fn title(&self) -> String {
        match &self.ask {
            Ask::New => "New sprite".into(),
            Ask::Checkpoint(name) => format!("Checkpoint of {name}"),
            Ask::Fork(name, _) => format!("Fork of {name}"),
            Ask::Export(name, _) => format!("Export of {name}"),
            Ask::Import => "Import".into(),
            Ask::Destroy(name) => format!("Destroy {name}"),
            Ask::BuildImage => "New base image".into(),
            Ask::Filter => "Filter".into(),
            Ask::Search => "Search".into(),
            Ask::Setting(name, _) => (*name).into(),
            Ask::Many(many, names) => {
                let what = match many {
                    Many::Checkpoint => "Checkpoints of",
                    Many::Stop => "Stop",
                    Many::Destroy => "Destroy",
                };
                format!("{what} {}", number::count(names.len() as u64, "sprite", "sprites"))
            }
            Ask::Rule(name) => format!("A rule for {name}"),
            Ask::TryName(name) => format!("What the rules of {name} say"),
            Ask::SaveRules { name, .. } => format!("Save the rules of {name}"),
            Ask::ForgetRules(name) => format!("The rules of {name}"),
            Ask::Quit { .. } => "Leave".into(),
            Ask::Budget => "Budget".into(),
            Ask::Context(_) => "Contexts".into(),
            Ask::Restore(name, _) => format!("Restore {name}"),
            Ask::Undo(name, ..) => format!("Undo the last restore of {name}"),
            Ask::Stop(name) => format!("Stop {name}"),
            Ask::Service(name, ..) => format!("Wake {name}"),
            Ask::Address(..) => "Address".into(),
            Ask::Delete(_, id, _) => format!("Delete checkpoint {id}"),
        }
    }

    /// What it says above the text.
    pub fn text(&self) -> String {
        let words = self.words();
        match self.switch {
            Some(on) => {
                let mark = if on { "x" } else { " " };
                let what = match self.ask {
                    Ask::Budget => {
                        "when it is used up, all sprites sleep until it is raised or the month is over"
                    }
                    Ask::Rule(_) if on => "allow it",
                    Ask::Rule(_) => "allow it; off, so it is denied",
                    _ => "with memory: programs run on from that moment",
                };
                format!("{words}\n[{mark}] {what} (tab)")
            }
            None => words,
        }
    }

    fn words(&self) -> String {
        match &self.ask {
            Ask::New => "Its name: lower-case letters, digits, hyphens.".into(),
            Ask::Checkpoint(_) => "A comment, if you like. Programs go on meanwhile.".into(),
            Ask::Fork(_, Some(id)) => {
                format!("A name for the new sprite, which begins as checkpoint {id}. It costs no space.")
            }
            Ask::Fork(_, None) => {
                "A name for the new sprite, which begins as this one is now. It costs no space.".into()
            }
            Ask::Export(_, Some(id)) => {
                format!("A file or s3://BUCKET/KEY for checkpoint {id}. The sprite is not woken for it.")
            }
            Ask::Export(..) => {
                "A folder, a file or s3://BUCKET/KEY for this sprite as it is now. A checkpoint is made for it.".into()
            }
            Ask::Import => "A file or s3://BUCKET/KEY; with another name: FILE as NAME.".into(),
            Ask::Destroy(name) => {
                format!(
                    "Its disk, all its checkpoints and its consoles are lost for good. Type {name} to destroy it."
                )
            }
            Ask::Context(names) => {
                let lines = names.iter().enumerate().map(|(index, name)| format!("{}  {name}", index + 1));
                lines.collect::<Vec<_>>().join("\n")
            }
            Ask::Budget => "How many dollars a month may cost; empty: as many as it does.".into(),
            Ask::Rule(_) => "A host such as pypi.org, *.example.com for all below a domain, * for all others.".into(),
            Ask::TryName(_) => "The name of a host: which rule decides about it.".into(),
            Ask::SaveRules { told, .. } => format!("{told}\nPress S to let that hold at once."),
            Ask::ForgetRules(_) => {
                "What was changed here is lost, and the rules are shown as they hold. Press U to forget the changes.".into()
            }
            Ask::Quit { drafts, moving } => {
                let mut words = String::new();
                if !drafts.is_empty() {
                    let names = drafts.join(", ");
                    words = format!(
                        "Rules of {names} were changed and are not saved: s on the network part of a sprite saves them. "
                    );
                }
                for job in moving {
                    words.push_str(&format!("{job}: that would be broken off. "));
                }
                words + "Press Q to leave all the same."
            }
            Ask::Filter => "Words of name and label, name:, label:, use:, state:running|warm, cpu: memory: stored: cost: with > or <; \
                 ! turns a term round. Empty shows all.".into(),
            Ask::BuildImage => "There is one. Another one has the newest packages; new sprites are made of it. It takes a minute or two and some hundred MB. \
                 Press B to build it.".into(),
            Ask::Setting(_, about) => format!("{about} Empty is as usual."),
            Ask::Search => "Lines that hold this text; empty shows all.".into(),
            Ask::Many(many, names) => {
                let told = told(names);
                match many {
                    Many::Checkpoint => format!("{told}\nA comment for all of them, if you like. Programs go on meanwhile."),
                    Many::Stop => format!(
                        "{told}\nTheir programs and consoles end; disks and checkpoints stay. The next use starts each again. Press Z to stop them."
                    ),
                    Many::Destroy => format!(
                        "{told}\nTheir disks, all their checkpoints and their consoles are lost for good. Type {} to destroy them.",
                        destroying(names.len())
                    ),
                }
            }
            Ask::Restore(name, id) if self.switch == Some(true) => format!(
                "The disk of {name} becomes that of {id}, and the programs that ran then run on; those of now end. What is on the disk now is \
                 kept as a checkpoint, so that u undoes it. Press R to restore."
            ),
            Ask::Restore(name, id) => format!(
                "The disk of {name} becomes that of {id}; running programs end. What is there now is kept as a checkpoint, so that u \
                 undoes it. Press R to restore."
            ),
            Ask::Undo(name, _, time) => format!(
                "The disk of {name} becomes what it was before the restore at {time}; running programs end. What is there now is kept as \
                 a checkpoint. Press U to undo the restore."
            ),
            Ask::Stop(name) => format!(
                "Programs and consoles of {name} end; its disk and checkpoints stay. The next use starts it again. Press Z to stop it."
            ),
            Ask::Service(name, service, action) => format!(
                "{name} sleeps. To {} {service} it is woken, and sleeps again when it is unused for a while. Press W to wake it.",
                action.as_str()
            ),
            Ask::Address(address, why) => format!("{address}\n\nTo be copied: {why}."),
            Ask::Delete(_, id, bytes) => format!(
                "{id} can no longer be restored; {} are freed. Press D to delete it.",
                number::bytes(*bytes)
            ),
        }
    }
}

/// Most names that are told one by one.
const TOLD: usize = 12;

/// Names, or the first of them and how many more there are.
fn told(names: &[String]) -> String {
    let first = names.iter().take(TOLD).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(TOLD) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
