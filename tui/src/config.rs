//! The configuration file. Every mistake is told with its line, and the rest of the file still counts.

use crate::action::Action;
use crate::keys::{self, Keys};
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sprites_backend::context::LOCAL;
use sprites_backend::endpoint::Endpoint;
use std::borrow::Cow;
use std::fmt::Display;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use strum::IntoEnumIterator;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// Largest file that is read, bytes.
const MAX: u64 = 1 << 20;

/// What can be configured.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Name of the theme; by the terminal's background when absent.
    pub theme: Option<String>,
    /// Name of the context to begin with; this machine when absent.
    pub context: Option<String>,
    /// Nothing is changed from here, until somebody wants it otherwise.
    pub read_only: bool,
    /// Remote endpoints.
    pub contexts: Vec<Remote>,
    /// Key bindings.
    pub keys: Keys,
    /// How the local server runs; each as usual when absent.
    pub server: Server,
    /// What sprites may reach; as usual when absent.
    pub network: Network,
    /// What is wrong with the file, one sentence each.
    pub mistakes: Vec<String>,
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
        // What was meant for sprites' networks may be in it.
        let network = Network { off: Some(true), ..Network::default() };
        let told = |why: String| Self {
            mistakes: vec![format!(
                "{}: {why}; until that is mended, sprites that start have no network",
                path.display()
            )],
            network,
            ..Self::default()
        };
        match fs::metadata(path) {
            Ok(found) if !found.is_file() => return told("it is no file".into()),
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
        let mut reading = Reading { name, text, config: Self::default() };
        let (settings, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            // What was meant for sprites' networks may have been in what is lost.
            reading.no_network(error.span().unwrap_or_default(), first_line(&error));
        }
        let mut begin_with = None;
        let mut bindings = Vec::new();
        for (setting, value) in settings.into_inner() {
            match setting.get_ref().as_ref() {
                "theme" => reading.config.theme = reading.value(value),
                // Who meant to change nothing is not to change something because of a mistake.
                "read_only" => reading.config.read_only = reading.value(value).unwrap_or(true),
                "context" => begin_with = reading.value::<String>(value.clone()).map(|it| (value.span(), it)),
                "contexts" => match value.get_ref().as_array() {
                    Some(entries) => entries.iter().for_each(|entry| reading.remote(entry.clone())),
                    None => reading.wrong(value.span(), "contexts are written [[contexts]], one each"),
                },
                "keys" => match value.get_ref().as_table() {
                    Some(table) => {
                        bindings.extend(table.iter().map(|(key, value)| (key.clone(), value.clone())))
                    }
                    None => reading.wrong(value.span(), "keys are written below [keys], one each"),
                },
                "server" => match value.get_ref().as_table() {
                    Some(table) => table.iter().for_each(|(key, value)| reading.server(key, value.clone())),
                    None => reading
                        .wrong(value.span(), "the server's settings are written below [server], one each"),
                },
                "network" => match value.get_ref().as_table() {
                    Some(table) => table.iter().for_each(|(key, value)| reading.network(key, value.clone())),
                    None => {
                        let why = "what sprites may reach is written below [network]";
                        reading.no_network(value.span(), why);
                    }
                },
                other => reading.wrong(
                    setting.span(),
                    format!(
                        "there is no setting {other:?}; there are theme, read_only, context, contexts, keys, server and network"
                    ),
                ),
            }
        }
        for (action, value) in bindings {
            reading.binding(&action, value);
        }
        if let Some((at, wanted)) = begin_with {
            if wanted == LOCAL || reading.config.contexts.iter().any(|context| context.name == wanted) {
                reading.config.context = Some(wanted);
            } else {
                reading.wrong(at, format!("there is no context {wanted:?}"));
            }
        }
        let mut config = reading.config;
        for (one, two, key) in config.keys.clashes() {
            config.mistakes.push(format!("{name}: {key} is bound to both {one} and {two}; {one} gets it"));
        }
        config
    }
}

/// A file being read, and what came of it so far.
struct Reading<'a> {
    name: &'a str,
    text: &'a str,
    config: Config,
}

impl Reading<'_> {
    fn wrong(&mut self, at: Range<usize>, why: impl Display) {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        self.config.mistakes.push(format!("{}, line {line}: {why}", self.name));
    }

    /// A mistake by which somebody may have meant that sprites have no network: until it is mended they have none.
    fn no_network(&mut self, at: Range<usize>, why: impl Display) {
        self.wrong(at, format!("{why}; until that is mended, sprites that start have no network"));
        self.config.network.off = Some(true);
    }

    /// A value of the right type, else a mistake.
    fn value<T: DeserializeOwned>(&mut self, value: Spanned<DeValue<'_>>) -> Option<T> {
        let at = value.span();
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(error.span().unwrap_or(at), first_line(&error));
                None
            }
        }
    }

    /// A list of texts that stand for something; each that does not is a mistake, told as "is no" and `what`.
    fn list<T: FromStr>(&mut self, value: Spanned<DeValue<'_>>, what: &str) -> Vec<T> {
        let Some(entries) = value.get_ref().as_array() else {
            self.wrong(value.span(), "a list belongs here, written [\"…\", \"…\"]");
            return Vec::new();
        };
        let mut list = Vec::new();
        for entry in entries.iter().cloned() {
            let at = entry.span();
            let Some(text) = self.value::<String>(entry) else { continue };
            match text.parse() {
                Ok(known) => list.push(known),
                Err(_) => self.wrong(at, format!("{text:?} is no {what}")),
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
            Err(error) => self.wrong(at, error),
            Ok(_) if taken => self.wrong(at, format!("there are two contexts {name:?}")),
            Ok(_) if !plain => {
                self.wrong(at, format!("{name:?} cannot be a context's name; use letters and digits"));
            }
            Ok(_) => self.config.contexts.push(Remote { name, url, token_env }),
        }
    }

    fn server(&mut self, setting: &Spanned<Cow<'_, str>>, value: Spanned<DeValue<'_>>) {
        match setting.get_ref().as_ref() {
            "port" => self.config.server.port = self.value(value),
            "idle" => self.config.server.idle = self.value(value),
            "warm" => self.config.server.warm = self.value(value),
            "most_running" => self.config.server.most_running = self.value(value),
            "warm_mb" => self.config.server.warm_mb = self.value(value),
            "checkpoints" => self.config.server.checkpoints = self.value(value),
            "listen" => self.config.server.listen = self.value(value),
            "certificate" => self.config.server.certificate = self.value(value),
            "key" => self.config.server.key = self.value(value),
            "domain" => self.config.server.domain = self.value(value),
            other => self.wrong(
                setting.span(),
                format!(
                    "[server] has no setting {other:?}; it has port, idle, warm, warm_mb, most_running, checkpoints, listen, certificate, key and domain"
                ),
            ),
        }
    }

    fn network(&mut self, setting: &Spanned<Cow<'_, str>>, value: Spanned<DeValue<'_>>) {
        match setting.get_ref().as_ref() {
            "off" => {
                let at = value.span();
                match value.get_ref().as_bool() {
                    Some(off) => self.config.network.off = Some(off || self.config.network.off == Some(true)),
                    None => self.no_network(at, "`off` is true or false"),
                }
            }
            "allow_private" => self.config.network.allow_private = self.value(value),
            "reachable" => {
                self.config.network.reachable =
                    self.list(value, "range of addresses; write one such as 192.168.7.0/24");
            }
            "resolvers" => {
                self.config.network.resolvers =
                    self.list(value, "address of a name server; write one such as 192.168.7.1:53");
            }
            "ipv6" => self.config.network.ipv6 = self.value(value),
            other => {
                let why = format!(
                    "[network] has no setting {other:?}; it has off, allow_private, reachable, resolvers and ipv6"
                );
                self.no_network(setting.span(), why);
            }
        }
    }

    fn binding(&mut self, action: &Spanned<Cow<'_, str>>, wanted: Spanned<DeValue<'_>>) {
        let at = action.span();
        let Ok(known) = Action::from_str(action.get_ref()) else {
            let names: Vec<&str> = Action::iter().map(Into::into).collect();
            let names = names.join(", ");
            return self.wrong(at, format!("there is no action {:?}; there are {names}", action.get_ref()));
        };
        let texts = match wanted.get_ref() {
            DeValue::String(text) => vec![text.to_string()],
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
                Err(why) => self.wrong(at.clone(), format!("{known}: {why}")),
            }
        }
        // An action whose keys are all mistakes keeps its usual ones.
        if nothing_wanted || !bound.is_empty() {
            self.config.keys.bind(known, bound);
        }
    }
}

/// What is wrong, in words for people: the parser speaks of its own types.
fn first_line(error: &toml::de::Error) -> String {
    let line = error.message().lines().next().unwrap_or("it cannot be read");
    let Some((found, wanted)) =
        line.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    else {
        return line.to_owned();
    };
    let wanted = match wanted {
        "u64" | "u16" | "usize" => "a whole number",
        "a boolean" => "true or false",
        "a string" | "path string" => "a text in quotes",
        other => other,
    };
    format!("{found} stands where {wanted} belongs")
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
