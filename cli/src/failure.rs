//! What goes wrong, as one sentence, and the code to end with.

use crate::output;
use sprites_backend::client::Error as ClientError;
use sprites_backend::depot::Error as DepotError;
use std::io;
use std::process::ExitCode;

/// Result of every command: the code to end with.
pub type Outcome = Result<ExitCode, Failure>;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The endpoint.
    #[error("{}", with_help(.0))]
    Client(#[from] ClientError),
    /// An export, and where it is kept.
    #[error("{}", told(.0))]
    Depot(#[from] DepotError),
    /// A file or the terminal.
    #[error("cannot {doing} {what}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The connection to a command ended before it did; one sentence.
    #[error("{0}")]
    CutOff(String),
    /// Anything else; one sentence.
    #[error("{0}")]
    Other(String),
    /// What was said makes no sense; one sentence.
    #[error("{0}; `sprite help` tells what can be said")]
    Usage(String),
}

impl Failure {
    /// A failure of the system's, about `what`.
    pub fn io(doing: &'static str, what: impl ToString) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_string();
        move |source| Self::Io { doing, what, source }
    }

    /// Tells it in one line. Words of the endpoint's may be in it, so nothing that a terminal would obey is left.
    pub fn tell(&self) {
        output::remark(&format!("sprite: {self}"));
    }

    /// 2 for what cannot be meant, as for an unknown command; 1 for everything else.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(if matches!(self, Self::Usage(_)) { 2 } else { 1 })
    }
}

/// The endpoint's words; when something is not there, with the command that lists what is.
fn with_help(error: &ClientError) -> String {
    if let ClientError::NotFound(answer) = error {
        let lists = [
            ("sprite", "sprite list"),
            ("checkpoint", "sprite checkpoint list"),
            ("session", "sprite sessions list"),
        ];
        let list = lists.iter().find(|(what, _)| answer.message.starts_with(&format!("{what} not found")));
        if let Some((_, list)) = list {
            return format!("{}; `{list}` tells which there are", answer.message);
        }
    }
    error.to_string()
}

fn told(error: &DepotError) -> String {
    match error {
        DepotError::Client(error) => with_help(error),
        DepotError::Exists(place) => format!("{place} exists; `--force` writes over it"),
        other => other.to_string(),
    }
}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Self::Other(sentence)
    }
}
