//! What the host tells the agent on the kernel's command line.

use sprites_api::agent::{CMDLINE_NAME, CMDLINE_URL};
use std::fs;

/// Longest URL taken, bytes.
const URL_LIMIT: usize = 512;

/// The keys meant for the agent. A value that breaks the rules is left out, as if it had not been given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The sprite's name.
    pub name: Option<String>,
    /// The sprite's URL.
    pub url: Option<String>,
}

impl CommandLine {
    pub(super) fn read() -> Self {
        Self::parse(&fs::read_to_string("/proc/cmdline").unwrap_or_default())
    }

    /// Reads a command line; of a repeated key the last counts.
    pub fn parse(text: &str) -> Self {
        let value = |key: &str| {
            text.split_ascii_whitespace()
                .filter_map(|word| word.split_once('='))
                .filter(|(name, _)| *name == key)
                .map(|(_, value)| value.trim_matches('"').to_owned())
                .next_back()
        };
        Self {
            name: value(CMDLINE_NAME).filter(|name| sprites_api::name::check(name).is_ok()),
            url: value(CMDLINE_URL).filter(|url| {
                !url.is_empty() && url.len() <= URL_LIMIT && url.bytes().all(|b| b.is_ascii_graphic())
            }),
        }
    }

    /// Environment of sessions that follows from it.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let pair = |key: &str, value: &Option<String>| value.clone().map(|value| (key.to_owned(), value));
        [pair("SPRITE_NAME", &self.name), pair("SPRITE_URL", &self.url)].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let line =
            CommandLine::parse("quiet sprite.name=box-1 sprite.url=\"http://box-1.local:80/\" root=/dev/vda");
        assert_eq!(line.name.as_deref(), Some("box-1"));
        assert_eq!(line.url.as_deref(), Some("http://box-1.local:80/"));
        assert_eq!(line.environment().len(), 2);
        for bad in ["", "sprite.name", "sprite.name=", "sprite.name=../x", "sprite.name=A", "sprite.url="] {
            assert_eq!(CommandLine::parse(bad), CommandLine::default(), "{bad}");
        }
    }
}
