//! What the host tells the agent on the kernel's command line.

use sprites_api::agent::{CMDLINE_IPV6, CMDLINE_MACHINE, CMDLINE_NAME, CMDLINE_URL, Identity};
use std::fs;

/// Who the machine is, by its kernel's command line, and whether its network has IPv6.
pub(super) fn read() -> (Identity, bool) {
    let text = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    (parse(&text), text.split_ascii_whitespace().any(|word| word == CMDLINE_IPV6))
}

/// Reads a command line; of a repeated key the last counts. A value that breaks the rules is left out, as if it had not been given.
fn parse(text: &str) -> Identity {
    let value = |key: &str| {
        text.split_ascii_whitespace()
            .filter_map(|word| word.split_once('='))
            .filter(|(name, _)| *name == key)
            .map(|(_, value)| value.trim_matches('"').to_owned())
            .next_back()
    };
    Identity { name: value(CMDLINE_NAME), url: value(CMDLINE_URL), machine_id: value(CMDLINE_MACHINE) }
        .checked()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let line = parse("quiet sprite.name=box-1 sprite.url=\"http://box-1.local:80/\" root=/dev/vda");
        assert_eq!(line.name.as_deref(), Some("box-1"));
        assert_eq!(line.url.as_deref(), Some("http://box-1.local:80/"));
        for bad in [
            "",
            "sprite.name",
            "sprite.name=",
            "sprite.name=../x",
            "sprite.name=A",
            "sprite.url=",
            "sprite.machine=0G",
        ] {
            assert_eq!(parse(bad), Identity::default(), "{bad}");
        }
    }
}
