//! `sprite`: sprites from the command line, with the commands and flags that the original has.
//!
//! | module | what it is |
//! |---|---|
//! | [`arguments`] | what can be said |
//! | [`place`] | which endpoint is meant, and which sprite |
//! | [`official`] | the original's own configuration, which is read and never written |
//! | `sprites` | make, list, destroy, use, look, set |
//! | `exec` | commands and consoles |
//! | `terminal` | the terminal while a console has it |
//! | `ports` | forwarded ports |
//! | `sessions` | list, attach, kill |
//! | `checkpoints` | make, list, restore, delete |
//! | `files` | push, pull, edit, list |
//! | `states` | files of checkpoints, what changed between them, what disks take |
//! | `trees` | whole folders, into a sprite and out of it |
//! | `exports` | sprites as files, here and in object stores |
//! | `copy` | files from one sprite to another |
//! | `call` | any call, by curl |
//! | `manual` | completions and manual pages |
//! | `output` | tables, JSON, progress |
//! | [`failure`] | what goes wrong, and the code to end with |

pub mod arguments;
mod call;
mod checkpoints;
mod copy;
mod exec;
mod exports;
pub mod failure;
mod files;
pub mod manual;
pub mod official;
mod output;
pub mod place;
mod ports;
mod sessions;
mod sprites;
mod states;
mod terminal;
mod trees;

use arguments::{Arguments, Command};
use failure::Outcome;

/// Does what was asked for; gives the code to end with.
pub async fn run(arguments: Arguments) -> Outcome {
    let Arguments { place, command } = arguments;
    match command {
        Command::Completion { shell } => manual::completion(shell),
        Command::Manual { folder } => manual::pages(&folder),
        Command::Use { name, unset } => sprites::choose(&place, name, unset).await,
        Command::Contexts(format) => place::list(format),
        Command::Create(wish) => sprites::create(&place, wish).await,
        Command::List(wish) => sprites::list(&place, wish).await,
        Command::Destroy(wish) => sprites::destroy(&place, wish).await,
        Command::Info { name, format } => sprites::info(&place.named(name), format).await,
        Command::Url { name, command, format } => sprites::url(&place.named(name), command, format).await,
        Command::Config { command } => sprites::config(&place, command).await,
        Command::Exec(wish) => exec::exec(&place, wish).await,
        Command::Console(wish) => exec::console(&place, wish).await,
        Command::Sessions { command } => sessions::sessions(&place, command).await,
        Command::Attach { id } => sessions::attach(&place, &id).await,
        Command::Checkpoint { command } => checkpoints::checkpoint(&place, command).await,
        Command::Restore(wish) => checkpoints::restore(&place, wish).await,
        Command::Proxy(wish) => ports::proxy(&place, wish).await,
        Command::File { command } => files::file(&place, command).await,
        Command::Diff(wish) => states::diff(&place, wish).await,
        Command::Cat(wish) => states::cat(&place, wish).await,
        Command::Storage { all, format } => states::storage(&place, format, all).await,
        Command::Export(wish) => exports::export(&place, wish).await,
        Command::Import { from, name, format } => exports::import(&place, &from, name, format).await,
        Command::Exports { at, format } => exports::list(&at, format).await,
        Command::Copy(wish) => copy::copy(&place, wish).await,
        Command::Api(wish) => call::api(&place, wish).await,
    }
}
