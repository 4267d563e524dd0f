//! What a terminal can show, and what its person wants to see of it.

use strum::{Display, EnumString};

/// What graphs are drawn with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, Display)]
#[strum(serialize_all = "kebab-case")]
pub enum Graphs {
    /// Eight dots a cell.
    #[default]
    Braille,
    /// Four blocks a cell, for fonts without the dots.
    Blocks,
    /// One star a cell.
    Ascii,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Nothing beyond ASCII is drawn.
    pub ascii: bool,
    /// The screen is told line by line, to somebody who does not see where things stand.
    pub plain: bool,
    /// What graphs are drawn with.
    pub graphs: Graphs,
    /// What moves by itself does so seldom, and messages stay until a key.
    pub reduced_motion: bool,
}

impl Look {
    /// What graphs are drawn with in the end.
    pub fn drawn_with(self) -> Graphs {
        match self {
            // They are not told, and known by their dots.
            Self { plain: true, .. } => Graphs::Braille,
            Self { ascii: true, .. } => Graphs::Ascii,
            Self { graphs, .. } => graphs,
        }
    }
}

/// Whether the locale says that the terminal shows more than ASCII (`man 7 locale`). Without any locale nothing is known, and nearly all do.
pub fn is_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let Some(locale) = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set) else { return true };
    let locale = locale.to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales() {
        let with = |pairs: &[(&str, &str)]| {
            is_utf8(|name| {
                pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(with(&[]) && with(&[("LANG", "de_DE.UTF-8")]) && with(&[("LC_ALL", ""), ("LANG", "C.utf8")]));
        assert!(!with(&[("LANG", "C")]) && !with(&[("LC_ALL", "POSIX"), ("LANG", "en_US.UTF-8")]));
        assert!(!with(&[("LANG", "en_US.ISO-8859-1")]) && with(&[("LC_CTYPE", "C.UTF-8"), ("LANG", "C")]));
    }
}
