//! The configuration file. Every mistake is told with its line, and the rest of the file still counts.

pub mod edit;
mod mistakes;
pub mod schema;
pub mod table;

pub use mistakes::{Mistakes, nearest};

use crate::action::Action;
use crate::keys::{self, Keys};
use crate::look::Graphs;
use crate::prefix::Prefix;
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sprites_backend::context::LOCAL;
use sprites_backend::endpoint::Endpoint;
use std::borrow::Cow;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use strum::IntoEnumIterator;
use table::SECTIONS;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// Largest file that is read, bytes.
const MAX: u64 = 1 << 20;
/// What comes of a mistake that may have been about networks.
const NO_NETWORK: &str = "; until that is mended, sprites that start have no network";
/// Below `[keys]`: false when no action is to have keys that the file does not give it.
pub const DEFAULTS: &str = "defaults";

/// What can be configured.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Name of the theme; by the terminal's background when absent.
    pub theme: Option<String>,
    /// Name of the context to begin with; this machine when absent.
    pub context: Option<String>,
    /// Nothing is changed from here, until somebody wants it otherwise.
    pub read_only: Option<bool>,
    /// Remote endpoints.
    pub contexts: Vec<Remote>,
    /// Key bindings.
    pub keys: Keys,
    /// How things look.
    pub look: Look,
    /// How the local server runs; each as usual when absent.
    pub server: Server,
    /// What sprites may reach; as usual when absent.
    pub network: Network,
    /// The one key of consoles, and what follows it.
    pub prefix: Prefix,
    /// Lines of scrollback of each console; as usual when absent.
    pub scrollback: Option<usize>,
    /// What is wrong with the file, one sentence each.
    pub mistakes: Vec<String>,
}

/// How things look; each as usual when absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Nothing beyond ASCII is drawn.
    pub ascii: Option<bool>,
    /// What graphs are drawn with.
    pub graphs: Option<Graphs>,
    /// What moves by itself moves seldom.
    pub reduced_motion: Option<bool>,
    /// What changes is told line by line.
    pub plain: Option<bool>,
}

/// How the local server runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// TCP port on loopback.
    pub port: Option<u16>,
    /// Seconds without use after which a running sprite turns warm.
    pub idle: Option<u64>,
    /// Seconds after which a warm sprite turns cold.
    pub warm: Option<u64>,
    /// Most sprites that run at once.
    pub most_running: Option<usize>,
    /// Most memory that sprites hold while they sleep, MiB.
    pub warm_mb: Option<u64>,
    /// Whether checkpoints are made unasked.
    pub checkpoints: Option<bool>,
    /// Where to listen beside loopback: `https://ADDRESS:PORT`, or `http://…`.
    pub listen: Option<String>,
    /// PEM file of the certificate for that, with those it depends on.
    pub certificate: Option<PathBuf>,
    /// PEM file of its key.
    pub key: Option<PathBuf>,
    /// Domain of sprites' URLs there.
    pub domain: Option<String>,
}

/// What sprites may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// None has a network.
    pub off: Option<bool>,
    /// Those without rules may reach private networks.
    pub allow_private: Option<bool>,
    /// Ranges of addresses that all may reach.
    pub reachable: Vec<IpNet>,
    /// Name servers, with their ports.
    pub resolvers: Vec<SocketAddr>,
    /// They have IPv6, or have not; unset, as the host.
    pub ipv6: Option<bool>,
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoteEntry {
    name: String,
    url: String,
    token_env: Option<String>,
}

impl Config {
    /// Reads the file; without one everything is as usual.
    pub fn load(path: &Path) -> Self {
        if matches!(path.try_exists(), Ok(false)) {
            return Self::default();
        }
        match sprites_backend::reading::small(path, MAX) {
            Ok(text) => Self::parse(&text, &path.display().to_string()),
            // What was meant for sprites' networks may be in it.
            Err(why) => Self {
                mistakes: vec![format!("{}: {why}{NO_NETWORK}", path.display())],
                network: Network { off: Some(true), ..Network::default() },
                ..Self::default()
            },
        }
    }

    /// Reads the text of a file called `name`.
    pub fn parse(text: &str, name: &str) -> Self {
        let mut reading =
            Reading { mistakes: Mistakes::new(name, text), begin_with: None, config: Self::default() };
        let (entries, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            // What was meant for sprites' networks may have been in what is lost.
            reading.no_network(error.span().unwrap_or_default(), mistakes::first_line(&error));
        }
        let mut bindings = None;
        for (key, value) in entries.into_inner() {
            let section = key.get_ref().as_ref();
            match section {
                "contexts" => match value.get_ref().as_array() {
                    Some(entries) => entries.iter().for_each(|entry| reading.remote(entry.clone())),
                    None => {
                        reading.mistakes.wrong(value.span(), "contexts are written [[contexts]], one each");
                    }
                },
                // What they mean depends on all the others.
                "keys" => bindings = Some(value),
                _ if SECTIONS.iter().any(|(known, _)| *known == section) && !section.is_empty() => {
                    match value.get_ref().as_table() {
                        Some(table) => table.iter().for_each(|(key, value)| {
                            reading.setting(section, key, value.clone());
                        }),
                        None => {
                            let why = format!("its settings are written below [{section}], one each");
                            match section {
                                "network" => reading.no_network(value.span(), why),
                                _ => reading.mistakes.wrong(value.span(), why),
                            }
                        }
                    }
                }
                _ => reading.setting("", &key, value),
            }
        }
        if let Some(value) = bindings {
            reading.bindings(&value);
        }
        if let Some((at, wanted)) = reading.begin_with.take() {
            let contexts = reading.config.contexts.iter().map(|context| context.name.as_str()).chain([LOCAL]);
            if contexts.clone().any(|known| known == wanted) {
                reading.config.context = Some(wanted);
            } else {
                let why = format!("there is no context {wanted:?}{}", nearest(&wanted, contexts));
                reading.mistakes.wrong(at, why);
            }
        }
        for (one, two, key) in reading.config.keys.clashes() {
            reading.mistakes.whole(format!("{key} is bound to both {one} and {two}; {one} gets it"));
        }
        Self { mistakes: reading.mistakes.told(), ..reading.config }
    }
}

/// A file being read, and what came of it so far.
struct Reading<'a> {
    mistakes: Mistakes<'a>,
    /// The context to begin with, and where that is said.
    begin_with: Option<(Range<usize>, String)>,
    config: Config,
}

impl Reading<'_> {
    /// A mistake by which somebody may have meant that sprites have no network: until it is mended they have none.
    fn no_network(&mut self, at: Range<usize>, why: impl Display) {
        self.mistakes.wrong(at, format!("{why}{NO_NETWORK}"));
        self.config.network.off = Some(true);
    }

    fn setting(&mut self, section: &str, name: &Spanned<Cow<'_, str>>, value: Spanned<DeValue<'_>>) {
        let word = name.get_ref().as_ref();
        match table::find(section, word) {
            Some(setting) => (setting.read)(self, value),
            None if section == "console" => self.console(name, value),
            None if section.is_empty() => {
                let tables =
                    SECTIONS.iter().map(|(section, _)| *section).filter(|section| !section.is_empty());
                let known = table::names("").chain(["contexts", "keys"]).chain(tables);
                let why = format!("there is no setting {word:?}{}", nearest(word, known));
                self.mistakes.wrong(name.span(), why);
            }
            None => {
                let known = nearest(word, table::names(section));
                let why = format!("[{section}] has no setting {word:?}{known}");
                match section {
                    "network" => self.no_network(name.span(), why),
                    _ => self.mistakes.wrong(name.span(), why),
                }
            }
        }
    }

    /// A value of the right type, else a mistake.
    fn value<T: DeserializeOwned>(&mut self, value: Spanned<DeValue<'_>>) -> Option<T> {
        let at = value.span();
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistakes.wrong(error.span().unwrap_or(at), mistakes::first_line(&error));
                None
            }
        }
    }

    /// A list of texts that stand for something; each that does not is a mistake, told as "is no" and `what`.
    fn list<T: FromStr>(&mut self, value: Spanned<DeValue<'_>>, what: &str) -> Vec<T> {
        let Some(entries) = value.get_ref().as_array() else {
            self.mistakes.wrong(value.span(), "a list belongs here, written [\"…\", \"…\"]");
            return Vec::new();
        };
        let mut list = Vec::new();
        for entry in entries.iter().cloned() {
            let at = entry.span();
            let Some(text) = self.value::<String>(entry) else { continue };
            match text.parse() {
                Ok(known) => list.push(known),
                Err(_) => self.mistakes.wrong(at, format!("{text:?} is no {what}")),
            }
        }
        list
    }

    fn remote(&mut self, entry: Spanned<DeValue<'_>>) {
        let at = entry.span();
        let Some(RemoteEntry { name, url, token_env }) = self.value(entry) else { return };
        let taken = name == LOCAL || self.config.contexts.iter().any(|known| known.name == name);
        let plain = !name.is_empty() && name.len() <= 40 && name.chars().all(|c| c.is_ascii_graphic());
        match Endpoint::remote(&url, None) {
            Err(error) => self.mistakes.wrong(at, error),
            Ok(_) if taken => self.mistakes.wrong(at, format!("there are two contexts {name:?}")),
            Ok(_) if !plain => {
                self.mistakes
                    .wrong(at, format!("{name:?} cannot be a context's name; use letters and digits"));
            }
            Ok(_) => self.config.contexts.push(Remote { name, url, token_env }),
        }
    }

    fn console(&mut self, name: &Spanned<Cow<'_, str>>, value: Spanned<DeValue<'_>>) {
        let keys = match value.get_ref() {
            DeValue::String(text) => vec![text.to_string()],
            DeValue::Boolean(false) => Vec::new(),
            _ => match self.value::<Vec<String>>(value) {
                Some(texts) => texts,
                None => return,
            },
        };
        if let Err(why) = self.config.prefix.set(name.get_ref(), &keys) {
            self.mistakes.wrong(name.span(), why);
        }
    }

    fn bindings(&mut self, value: &Spanned<DeValue<'_>>) {
        let Some(table) = value.get_ref().as_table() else {
            return self.mistakes.wrong(value.span(), "keys are written below [keys], one action each");
        };
        if let Some((_, value)) = table.iter().find(|(key, _)| key.get_ref() == DEFAULTS)
            && self.value(value.clone()) == Some(false)
        {
            Action::iter().for_each(|action| self.config.keys.bind(action, Vec::new()));
        }
        for (action, value) in table.iter().filter(|(key, _)| key.get_ref() != DEFAULTS) {
            self.binding(action, value.clone());
        }
    }

    fn binding(&mut self, action: &Spanned<Cow<'_, str>>, wanted: Spanned<DeValue<'_>>) {
        let at = action.span();
        let Ok(known) = Action::from_str(action.get_ref()) else {
            let word = action.get_ref().as_ref();
            let near = nearest(word, Action::iter().map(Into::into).chain([DEFAULTS]));
            return self.mistakes.wrong(at, format!("there is no action {word:?}{near}"));
        };
        let texts = match wanted.get_ref() {
            DeValue::String(text) => vec![text.to_string()],
            DeValue::Boolean(false) => Vec::new(),
            DeValue::Boolean(true) => known.default_keys().iter().map(|key| (*key).to_owned()).collect(),
            _ => match self.value::<Vec<String>>(wanted) {
                Some(texts) => texts,
                None => return,
            },
        };
        let nothing_wanted = texts.is_empty();
        let mut bound = Vec::new();
        for text in texts {
            match keys::parse(&text) {
                Ok(key) => bound.push(key),
                Err(why) => self.mistakes.wrong(at.clone(), format!("{known}: {why}")),
            }
        }
        // An action whose keys are all mistakes keeps its usual ones.
        if nothing_wanted || !bound.is_empty() {
            self.config.keys.bind(known, bound);
        }
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
        let config = Config::parse(
            "[console]\nprefix = \"ctrl-a\"\nzoom = [\"f\", \"ctrl-f\"]\nscrollback = 500\n",
            "c",
        );
        assert!(config.mistakes.is_empty(), "{:?}", config.mistakes);
        assert_eq!((config.prefix.name().as_str(), config.scrollback), ("ctrl-a", Some(500)));
        let wrong = Config::parse("[console]\nprefix = \"a\"\nzoooom = \"z\"\n", "c").mistakes;
        assert!(wrong[0].contains("line 2") && wrong[1].contains("zoooom"), "{wrong:?}");
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
        let config = Config::parse(
            "colour = 1\ntheme = \"dark\"\n[[contexts]]\nurl = \"https://x.example\"\n[keys]\nquit = \"ctrl-q\"\ncheckpoint = \"ctrl-nope\"\nnew = \"t\"\n",
            "c",
        );
        assert_eq!(config.mistakes.len(), 3, "{:?}", config.mistakes);
        assert_eq!(config.theme.as_deref(), Some("dark"));
        assert_eq!(config.keys.names(Action::Quit), "ctrl-q");
        assert_eq!(config.keys.names(Action::Checkpoint), "c", "a mistake leaves the usual key");
        assert_eq!(
            (config.keys.names(Action::New), config.keys.names(Action::Console)),
            ("t".into(), "".into())
        );
        let config = Config::parse("[server]\nidle = 60\ncheckpoints = false\n", "c");
        assert_eq!((config.server.idle, config.server.checkpoints), (Some(60), Some(false)));
        let config = Config::parse("[server]\nidle = 8\nbogus = 1\nwarm = \"x\"\nport = 99999\n", "c");
        assert_eq!(config.server, Server { idle: Some(8), ..Server::default() });
        assert_eq!(config.mistakes.len(), 3, "{:?}", config.mistakes);
        assert!(config.mistakes.iter().any(|why| why.contains("line 4") && why.contains("a whole number")));
        for (text, at) in [
            ("[server]\nidle = \"long\"", "line 2"),
            ("theme = 3", "line 1"),
            ("\n\ncolour = 1", "line 3"),
            ("[keys\n", "line 1"),
        ] {
            let wrong = Config::parse(text, "c").mistakes;
            assert!(wrong[0].contains(at), "{wrong:?}");
        }
    }

    #[test]
    fn keys_are_taken_away_and_given_back() {
        let config = Config::parse("[keys]\nquit = false\nnew = []\nhelp = \"f1\"\n", "c");
        assert!(config.mistakes.is_empty(), "{:?}", config.mistakes);
        assert_eq!((config.keys.names(Action::Quit), config.keys.names(Action::New)), ("".into(), "".into()));
        let config = Config::parse("[keys]\ndefaults = false\nquit = true\nhelp = \"f1\"\n", "c");
        assert!(config.mistakes.is_empty(), "{:?}", config.mistakes);
        assert_eq!(config.keys.names(Action::Quit), Keys::default().names(Action::Quit));
        assert_eq!(
            (config.keys.names(Action::Help), config.keys.names(Action::Up)),
            ("f1".into(), "".into())
        );
        let wrong =
            Config::parse("them = \"dark\"\n[keys]\nquitt = \"q\"\n[serve]\nidle = 3\n", "c").mistakes;
        for meant in ["theme", "quit", "server"] {
            assert!(wrong.iter().any(|why| why.contains(&format!("did you mean {meant}?"))), "{wrong:?}");
        }
    }

    #[test]
    fn mistakes_below_network_open_nothing() {
        let text = "[network]\noff = \"yes\"\nreachable = [\"10.7.0.0/16\",\n\"10.8.0.0\",\n3]\nresolvers = \"10.7.0.1:53\"\n";
        let config = Config::parse(text, "c");
        let reachable = vec!["10.7.0.0/16".parse().unwrap()];
        assert_eq!(config.network, Network { off: Some(true), reachable, ..Network::default() });
        let wrong = |at, why| config.mistakes.iter().any(|told| told.contains(at) && told.contains(why));
        assert!(wrong("line 2", "true or false"), "{:?}", config.mistakes);
        assert!(wrong("line 4", "192.168.7.0/24") && wrong("line 5", "a text in quotes"));
        assert!(wrong("line 6", "a list"));
    }
}
