//! The browser of the machine that a person sits at.

use std::env;
use url::Url;

/// Opens an address in the usual browser; the error is a part of a sentence. Blocks until that has visibly failed, or for a quarter second.
pub fn open(address: &str) -> Result<(), String> {
    let has = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    match why_not(has) {
        Some(why) => Err(why.to_owned()),
        None => open::that_detached(address).map_err(|error| format!("no browser could be opened: {error}")),
    }
}

/// Why no browser is to be had. Where there is no display, programs of the terminal would be tried, and would take it from the app.
fn why_not(has: impl Fn(&str) -> bool) -> Option<&'static str> {
    if has("SSH_CONNECTION") || has("SSH_TTY") {
        return Some("the app runs over ssh, so a browser would open elsewhere");
    }
    let screens = ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"];
    (cfg!(target_os = "linux") && !screens.into_iter().any(has))
        .then_some("there is no display for a browser here")
}

/// Whether an address is that of a web page, and of nothing that some other program would be started for.
pub fn is_page(address: &str) -> bool {
    Url::parse(address).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_none() {
        let with = |names: &'static [&'static str]| why_not(move |name| names.contains(&name));
        assert!(with(&["DISPLAY", "SSH_CONNECTION"]).is_some_and(|why| why.contains("ssh")));
        assert!(with(&["DISPLAY"]).is_none() && with(&["WAYLAND_DISPLAY"]).is_none());
        assert_eq!(with(&[]).is_some(), cfg!(target_os = "linux"));
    }

    #[test]
    fn pages_and_nothing_else() {
        for (address, is) in [
            ("http://box-1a2b3.localhost:7777/", true),
            ("https://box.example", true),
            ("file:///etc/passwd", false),
            ("javascript:alert(1)", false),
            ("--help", false),
            ("vscode://x", false),
            ("", false),
        ] {
            assert_eq!(is_page(address), is, "{address}");
        }
    }
}
