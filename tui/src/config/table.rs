//! All settings but contexts and keys: one table for reading, for `config show`, for the schema.

use super::{Config, Reading};
use crate::look::Graphs;
use crate::prefix::Prefix;
use serde::Serialize;
use toml::Spanned;
use toml::de::DeValue;

/// What belongs where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text in quotes.
    Text,
    /// One of these.
    Word(&'static [&'static str]),
    /// A whole number up to this.
    Whole(u64),
    /// True or false.
    Switch,
    /// A list of texts.
    Texts,
}

/// One setting.
pub struct Setting {
    /// The table it stands in; empty for those at the top.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What belongs there.
    pub kind: Kind,
    /// What it does.
    pub about: &'static str,
    /// What holds without it.
    pub usual: &'static str,
    pub(super) read: fn(&mut Reading<'_>, Spanned<DeValue<'_>>),
    /// What was chosen, as it is written; none where it is as usual.
    pub shown: fn(&Config) -> Option<String>,
}

/// Sections, and what they are about.
pub const SECTIONS: [(&str, &str); 5] = [
    ("", "The app."),
    ("look", "How things look."),
    ("console", "Consoles: the key that begins all others, and what follows it."),
    ("server", "How this machine's server runs; read when it starts."),
    ("network", "What sprites may reach; read when the server starts."),
];

/// A setting that is a field of the configuration and needs no more than to have the right type.
macro_rules! plain {
    ($section:literal, $name:literal, $kind:expr, $about:literal, $usual:literal, $($field:ident).+) => {
        Setting {
            section: $section,
            name: $name,
            kind: $kind,
            about: $about,
            usual: $usual,
            read: |reading, value| reading.config.$($field).+ = reading.value(value),
            shown: |config| config.$($field).+.as_ref().map(written),
        }
    };
}

/// Largest number that both TOML and JSON can tell.
pub const ANY: u64 = i64::MAX as u64;

/// All of them, in the order they are shown.
pub const SETTINGS: &[Setting] = &[
    plain!("", "theme", Kind::Text, "The theme.", "by the terminal's background", theme),
    Setting {
        section: "",
        name: "context",
        kind: Kind::Text,
        about: "The context to begin with.",
        usual: "local",
        read: |reading, value| {
            let at = value.span();
            reading.begin_with = reading.value(value).map(|name| (at, name));
        },
        shown: |config| config.context.as_ref().map(written),
    },
    Setting {
        section: "",
        name: "read_only",
        kind: Kind::Switch,
        about: "Nothing is changed from the app.",
        usual: "false",
        // Who meant to change nothing is not to change something because of a mistake.
        read: |reading, value| reading.config.read_only = Some(reading.value(value).unwrap_or(true)),
        shown: |config| config.read_only.as_ref().map(written),
    },
    plain!(
        "look",
        "ascii",
        Kind::Switch,
        "Draws nothing beyond ASCII.",
        "where the locale is not UTF-8",
        look.ascii
    ),
    Setting {
        section: "look",
        name: "graphs",
        kind: Kind::Word(&["braille", "blocks", "ascii"]),
        about: "What graphs are drawn with.",
        usual: "braille",
        read: |reading, value| {
            let at = value.span();
            let Some(text) = reading.value::<String>(value) else { return };
            match text.parse::<Graphs>() {
                Ok(graphs) => reading.config.look.graphs = Some(graphs),
                Err(_) => {
                    reading.mistakes.wrong(at, format!("{text:?} is neither braille, blocks nor ascii"))
                }
            }
        },
        shown: |config| config.look.graphs.map(|graphs| written(&graphs.to_string())),
    },
    plain!(
        "look",
        "reduced_motion",
        Kind::Switch,
        "What moves by itself moves every ten seconds; messages stay until a key.",
        "false",
        look.reduced_motion
    ),
    plain!(
        "look",
        "plain",
        Kind::Switch,
        "No full screen: what changes is told line by line, for screen readers.",
        "false",
        look.plain
    ),
    Setting {
        section: "console",
        name: "prefix",
        kind: Kind::Text,
        about: "The one key that consoles do not give to programs.",
        usual: "ctrl-]",
        read: |reading, value| {
            let at = value.span();
            let Some(key) = reading.value::<String>(value) else { return };
            if let Err(why) = reading.config.prefix.set_key(&key) {
                reading.mistakes.wrong(at, why);
            }
        },
        shown: |config| {
            let name = config.prefix.name();
            (name != Prefix::default().name()).then(|| written(&name))
        },
    },
    plain!(
        "console",
        "scrollback",
        Kind::Whole(ANY),
        "Lines of scrollback of each console.",
        "10000",
        scrollback
    ),
    plain!(
        "server",
        "port",
        Kind::Whole(65_535),
        "TCP port on 127.0.0.1.",
        "the one of last time",
        server.port
    ),
    plain!(
        "server",
        "idle",
        Kind::Whole(ANY),
        "Seconds without use after which a running sprite turns warm.",
        "30",
        server.idle
    ),
    plain!(
        "server",
        "warm",
        Kind::Whole(ANY),
        "Seconds after which a warm sprite gives its memory back: to disk on KVM, else it turns cold.",
        "600",
        server.warm
    ),
    plain!(
        "server",
        "warm_mb",
        Kind::Whole(ANY),
        "Most memory that sprites hold while they sleep, MiB.",
        "as much as they have",
        server.warm_mb
    ),
    plain!(
        "server",
        "most_running",
        Kind::Whole(ANY),
        "Most sprites that run at once.",
        "as many as there are",
        server.most_running
    ),
    plain!(
        "server",
        "checkpoints",
        Kind::Switch,
        "Checkpoints are made unasked.",
        "true",
        server.checkpoints
    ),
    plain!(
        "server",
        "listen",
        Kind::Text,
        "Where to listen for other machines: https://ADDRESS:PORT, or http://…",
        "nowhere",
        server.listen
    ),
    plain!(
        "server",
        "certificate",
        Kind::Text,
        "PEM file of the certificate for that, with those it depends on.",
        "none",
        server.certificate
    ),
    plain!("server", "key", Kind::Text, "PEM file of its key.", "none", server.key),
    plain!(
        "server",
        "domain",
        Kind::Text,
        "Domain whose subdomains are sprites' URLs there.",
        "none",
        server.domain
    ),
    Setting {
        section: "network",
        name: "off",
        kind: Kind::Switch,
        about: "No sprite has a network.",
        usual: "false",
        read: |reading, value| {
            let at = value.span();
            let off = &mut reading.config.network.off;
            match value.get_ref().as_bool() {
                // A mistake before may have meant none.
                Some(wanted) => *off = Some(wanted || *off == Some(true)),
                None => reading.no_network(at, "`off` is true or false"),
            }
        },
        shown: |config| config.network.off.as_ref().map(written),
    },
    plain!(
        "network",
        "allow_private",
        Kind::Switch,
        "Sprites without rules may reach private networks.",
        "false",
        network.allow_private
    ),
    Setting {
        section: "network",
        name: "reachable",
        kind: Kind::Texts,
        about: "Ranges of addresses that all may reach.",
        usual: "none",
        read: |reading, value| {
            let what = "range of addresses; write one such as 192.168.7.0/24";
            reading.config.network.reachable = reading.list(value, what);
        },
        shown: |config| list(&config.network.reachable),
    },
    Setting {
        section: "network",
        name: "resolvers",
        kind: Kind::Texts,
        about: "Name servers, with their ports.",
        usual: "this machine's",
        read: |reading, value| {
            let what = "address of a name server; write one such as 192.168.7.1:53";
            reading.config.network.resolvers = reading.list(value, what);
        },
        shown: |config| list(&config.network.resolvers),
    },
    plain!(
        "network",
        "ipv6",
        Kind::Switch,
        "Sprites have IPv6, or have not.",
        "as this machine",
        network.ipv6
    ),
];

/// The setting of that name.
pub fn find(section: &str, name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.section == section && setting.name == name)
}

/// Names of a section's settings.
pub(super) fn names(section: &str) -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().filter(move |setting| setting.section == section).map(|setting| setting.name)
}

/// A value as a file writes it.
fn written<T: Serialize>(value: &T) -> String {
    toml::Value::try_from(value).map(|value| value.to_string()).unwrap_or_default()
}

fn list<T: ToString>(entries: &[T]) -> Option<String> {
    let texts: Vec<String> = entries.iter().map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| written(&texts))
}
