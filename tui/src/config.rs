//! The configuration file. Every mistake is told with its line, and the rest of the file still counts.

use crate::action::Action;
use crate::keys::{self, Keys};
use serde::Deserialize;
use sprites_backend::context::LOCAL;
use sprites_backend::endpoint::Endpoint;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;
use toml::Spanned;

/// Largest file that is read, bytes.
const MAX: u64 = 1 << 20;

/// What can be configured.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Name of the theme; by the terminal's background when absent.
    pub theme: Option<String>,
    /// Name of the context to begin with; this machine when absent.
    pub context: Option<String>,
    /// Remote endpoints.
    pub contexts: Vec<Remote>,
    /// Key bindings.
    pub keys: Keys,
    /// What is wrong with the file, one sentence each.
    pub mistakes: Vec<String>,
}

/// A remote endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Name of its context.
    pub name: String,
    /// Its address, which was looked at.
    pub url: String,
    /// Environment variable with its token, where it is not the usual one.
    pub token_env: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    theme: Option<Spanned<String>>,
    context: Option<Spanned<String>>,
    #[serde(default)]
    contexts: Vec<Spanned<RemoteEntry>>,
    #[serde(default)]
    keys: BTreeMap<Spanned<String>, Spanned<OneOrMore>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoteEntry {
    name: String,
    url: String,
    token_env: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Config {
    /// Reads the file; without one everything is as usual.
    pub fn load(path: &Path) -> Self {
        let told =
            |why: String| Self { mistakes: vec![format!("{}: {why}", path.display())], ..Self::default() };
        match fs::metadata(path) {
            Ok(found) if found.len() > MAX => return told("it is far too large and is not read".into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            Err(error) => return told(error.to_string()),
        }
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &path.display().to_string()),
            Err(error) => told(error.to_string()),
        }
    }

    /// Reads the text of a file called `name`.
    pub fn parse(text: &str, name: &str) -> Self {
        let line = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let mut config = Self::default();
        let file: File = match toml::from_str(text) {
            Ok(file) => file,
            Err(error) => {
                let at = error.span().map_or(1, |span| line(span.start));
                let why = error.message().lines().next().unwrap_or("it cannot be read").to_owned();
                config.mistakes.push(format!("{name}, line {at}: {why}"));
                return config;
            }
        };
        config.theme = file.theme.map(Spanned::into_inner);
        for entry in file.contexts {
            let at = line(entry.span().start);
            let RemoteEntry { name: context, url, token_env } = entry.into_inner();
            let taken = context == LOCAL || config.contexts.iter().any(|known| known.name == context);
            let plain =
                !context.is_empty() && context.len() <= 40 && context.chars().all(|c| c.is_ascii_graphic());
            let mistake = match Endpoint::remote(&url, None) {
                Err(error) => Some(error.to_string()),
                Ok(_) if taken => Some(format!("there are two contexts {context:?}")),
                Ok(_) if !plain => {
                    Some(format!("{context:?} cannot be a context's name; use letters and digits"))
                }
                Ok(_) => None,
            };
            match mistake {
                Some(why) => config.mistakes.push(format!("{name}, line {at}: {why}")),
                None => config.contexts.push(Remote { name: context, url, token_env }),
            }
        }
        if let Some(wanted) = file.context {
            let known = wanted.as_ref() == LOCAL
                || config.contexts.iter().any(|context| context.name == *wanted.as_ref());
            if known {
                config.context = Some(wanted.into_inner());
            } else {
                let at = line(wanted.span().start);
                config.mistakes.push(format!("{name}, line {at}: there is no context {:?}", wanted.as_ref()));
            }
        }
        for (action, wanted) in file.keys {
            let at = line(action.span().start);
            let Ok(known) = Action::from_str(action.as_ref()) else {
                config.mistakes.push(format!(
                    "{name}, line {at}: there is no action {:?}; `?` in the app lists them",
                    action.as_ref()
                ));
                continue;
            };
            let texts = match wanted.into_inner() {
                OneOrMore::One(text) => vec![text],
                OneOrMore::More(texts) => texts,
            };
            let mut bound = Vec::new();
            for text in texts {
                match keys::parse(&text) {
                    Ok(key) => bound.push(key),
                    Err(why) => config.mistakes.push(format!("{name}, line {at}: {known}: {why}")),
                }
            }
            config.keys.bind(known, bound);
        }
        if let Some((one, two, key)) = config.keys.clash() {
            config.mistakes.push(format!("{name}: {key} is bound to both {one} and {two}; {one} gets it"));
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bound_and_mistakes_have_lines() {
        let config = Config::parse(
            "theme = \"light\"\n[keys]\nquit = \"ctrl-q\"\nnew = []\nfork = [\"f\", \"ctrl-f\"]\n",
            "c",
        );
        assert!(config.mistakes.is_empty(), "{:?}", config.mistakes);
        assert_eq!(config.keys.names(Action::Quit), "ctrl-q");
        assert_eq!(config.keys.names(Action::New), "");
        assert_eq!(config.theme.as_deref(), Some("light"));
        let wrong =
            Config::parse("[keys]\nquit = \"q\"\nfly = \"y\"\nhelp = \"cttrl-h\"\nnew = \"q\"\n", "c")
                .mistakes;
        assert!(wrong[0].contains("fly") && wrong[0].contains("line 3"), "{wrong:?}");
        assert!(wrong.iter().any(|why| why.contains("line 4") && why.contains("cttrl-h")), "{wrong:?}");
        assert!(wrong.iter().any(|why| why.contains("both")), "{wrong:?}");
        let config = Config::parse(
            "context = \"cloud\"\n[[contexts]]\nname = \"cloud\"\nurl = \"https://api.sprites.dev\"\n",
            "c",
        );
        assert!(config.mistakes.is_empty(), "{:?}", config.mistakes);
        assert_eq!((config.context.as_deref(), config.contexts.len()), (Some("cloud"), 1));
        for (text, at) in [
            ("[[contexts]]\nname = \"a\"\nurl = \"http://far.example\"\n", "line 1"),
            ("\n[[contexts]]\nname = \"local\"\nurl = \"https://x.example\"\n", "line 2"),
            ("[[contexts]]\nname = \"\"\nurl = \"https://x.example\"\n", "line 1"),
            ("theme = \"dark\"\ncontext = \"moon\"\n", "line 2"),
        ] {
            let wrong = Config::parse(text, "c").mistakes;
            assert!(wrong.len() == 1 && wrong[0].contains(at), "{wrong:?}");
        }
        for (text, at) in [("theme = 3", "line 1"), ("\n\ncolour = 1", "line 3"), ("[keys\n", "line 1")] {
            let wrong = Config::parse(text, "c").mistakes;
            assert!(wrong[0].contains(at), "{wrong:?}");
        }
    }
}
