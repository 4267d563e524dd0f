//! `config`: what can be configured, what is, and what is wrong with it.

use super::Outcome;
use clap::{Subcommand, ValueEnum};
use sprites_backend::paths::Paths;
use sprites_tui::action::Action;
use sprites_tui::config::table::{SECTIONS, SETTINGS};
use sprites_tui::config::{self, schema};
use sprites_tui::keys::{Chord, Keys};
use sprites_tui::prefix::{Command, Prefix};
use sprites_tui::theme::Theme;
use std::path::PathBuf;
use std::process::ExitCode;
use strum::IntoEnumIterator;

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Tell every mistake in the configuration and in themes, with file and line
    Check {
        /// Another file than the usual one
        file: Option<PathBuf>,
    },
    /// Print what holds, as a file; what is usual is behind a #
    Show,
    /// Print the JSON schema of a file, for editors
    Schema {
        /// Of what
        #[arg(default_value = "config")]
        of: Of,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Of {
    /// The configuration
    Config,
    /// A theme
    Theme,
}

impl Config {
    pub(super) fn run(self) -> Outcome {
        let paths = Paths::resolve()?;
        match self {
            Self::Check { file } => Ok(check(&paths, file)),
            Self::Show => {
                show(&config::Config::load(&paths.config_file()));
                Ok(ExitCode::SUCCESS)
            }
            Self::Schema { of } => {
                let schema = match of {
                    Of::Config => schema::config(),
                    Of::Theme => schema::theme(),
                };
                println!("{}", serde_json::to_string_pretty(&schema)?);
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn check(paths: &Paths, file: Option<PathBuf>) -> ExitCode {
    let given = file.is_some();
    let file = file.unwrap_or_else(|| paths.config_file());
    if given && !file.exists() {
        println!("{}: there is no such file", file.display());
        return ExitCode::FAILURE;
    }
    let config = config::Config::load(&file);
    let mut mistakes = config.mistakes;
    let mut faint = Vec::new();
    for (path, read) in Theme::own(&paths.themes()) {
        match read {
            Ok(theme) => {
                faint.extend(theme.faint().into_iter().map(|why| format!("{}: {why}", path.display())))
            }
            Err(wrong) => mistakes.extend(wrong),
        }
    }
    let themes = Theme::all(Some(&paths.themes())).0;
    if let Some(name) = config.theme.filter(|name| themes.iter().all(|theme| theme.name != *name)) {
        let near = config::nearest(&name, themes.iter().map(|theme| theme.name.as_str()));
        mistakes.push(format!("{}: there is no theme {name:?}{near}", file.display()));
    }
    mistakes.iter().for_each(|mistake| println!("{mistake}"));
    // Whose eyes they are for may see it otherwise.
    faint.iter().for_each(|why| println!("{why} (no mistake)"));
    if !mistakes.is_empty() {
        return ExitCode::FAILURE;
    }
    let words =
        if file.exists() { "nothing is wrong" } else { "there is no such file, and everything is as usual" };
    println!("{}: {words}", file.display());
    ExitCode::SUCCESS
}

fn show(config: &config::Config) {
    for (section, about) in SECTIONS {
        println!("# {about}");
        if !section.is_empty() {
            println!("[{section}]");
        }
        for setting in SETTINGS.iter().filter(|setting| setting.section == section) {
            match (setting.shown)(config) {
                Some(value) => println!("{} = {value}", setting.name),
                None => println!("# {}: {}", setting.name, setting.usual),
            }
        }
        if section == "console" {
            console(config);
        }
        println!();
    }
    println!("# Which keys do what.\n[keys]");
    let usual = Keys::default();
    for action in Action::iter() {
        let keys = |keys: &Keys| keys.of(action).iter().map(written).collect::<Vec<_>>().join(", ");
        let mark = if keys(&config.keys) == keys(&usual) { "# " } else { "" };
        println!("{mark}{action} = [{}]", keys(&config.keys));
    }
    for context in &config.contexts {
        println!("\n[[contexts]]\nname = {:?}\nurl = {:?}", context.name, context.url);
        if let Some(variable) = &context.token_env {
            println!("token_env = {variable:?}");
        }
    }
    config.mistakes.iter().for_each(|mistake| eprintln!("sprites-tui: {mistake}"));
}

/// What follows the key of consoles.
fn console(config: &config::Config) {
    let usual = Prefix::default();
    for command in Command::iter() {
        let keys = |prefix: &Prefix| {
            prefix.of(command).iter().map(|key| written(&vec![*key])).collect::<Vec<_>>().join(", ")
        };
        let mark = if keys(&config.prefix) == keys(&usual) { "# " } else { "" };
        println!("{mark}{command} = [{}]", keys(&config.prefix));
    }
}

/// Keys that are pressed one after the other, as the file writes them.
fn written(keys: &Chord) -> String {
    let keys: Vec<String> = keys.iter().map(|key| key.to_string().to_lowercase()).collect();
    format!("{:?}", keys.join(" "))
}
