//! Colours: TOML files, sixteen of them built in, more from the configuration folder.

pub mod contrast;

use crate::config::{Mistakes, nearest};
use ratatui::style::{Color, Modifier, Style};
use sprites_backend::reading;
use std::fs;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Largest file of a theme that is read, bytes.
const MAX: u64 = 64 << 10;

/// One list of what has a colour of its own: fields of [`Theme`], keys of its files, words of their schema.
macro_rules! roles {
    ($($role:ident: $about:literal,)*) => {
        /// Colours of everything the app draws. `None` leaves the terminal's own.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Theme {
            /// Its name in the configuration.
            pub name: String,
            /// For dark backgrounds.
            pub dark: bool,
            $(#[doc = $about] pub $role: Option<Color>,)*
        }

        /// What has a colour, and what it is for.
        pub const ROLES: &[(&str, &str)] = &[$((stringify!($role), $about)),*];

        impl Theme {
            /// One without any colour.
            fn bare(name: &str, dark: bool) -> Self {
                Self { name: name.into(), dark, $($role: None,)* }
            }

            /// The colour of a role, by its name.
            pub fn role(&self, name: &str) -> Option<Color> {
                match name {
                    $(stringify!($role) => self.$role,)*
                    _ => None,
                }
            }

            fn role_mut(&mut self, name: &str) -> Option<&mut Option<Color>> {
                match name {
                    $(stringify!($role) => Some(&mut self.$role),)*
                    _ => None,
                }
            }

            /// The theme with each colour put through `change`, as terminals with fewer colours need it.
            #[must_use]
            pub fn map(mut self, change: impl Fn(Color) -> Option<Color>) -> Self {
                $(self.$role = self.$role.and_then(&change);)*
                self
            }
        }
    };
}

roles! {
    text: "Text.",
    background: "Behind everything.",
    dim: "Less important text.",
    border: "Frames.",
    accent: "Titles and keys.",
    selection: "Behind the selected line; reversed when absent.",
    good: "Running, done.",
    warn: "Warm, take care.",
    bad: "Failed, lost.",
    cpu: "The CPU graph.",
    memory: "The memory graph.",
    cost: "The cost graph.",
    network: "The network graph; that of the CPU graph when absent.",
    disk: "The disk graph; that of the memory graph when absent.",
}

/// The first dark one and the first light one are those for terminals that want no other.
const BUILT_IN: [&str; 16] = [
    include_str!("../../themes/dark.toml"),
    include_str!("../../themes/light.toml"),
    include_str!("../../themes/high-contrast.toml"),
    include_str!("../../themes/ink.toml"),
    include_str!("../../themes/colour-blind.toml"),
    include_str!("../../themes/colour-blind-light.toml"),
    include_str!("../../themes/paper.toml"),
    include_str!("../../themes/nord.toml"),
    include_str!("../../themes/gruvbox.toml"),
    include_str!("../../themes/dracula.toml"),
    include_str!("../../themes/tokyo-night.toml"),
    include_str!("../../themes/catppuccin.toml"),
    include_str!("../../themes/latte.toml"),
    include_str!("../../themes/solarized-light.toml"),
    include_str!("../../themes/terminal.toml"),
    include_str!("../../themes/terminal-light.toml"),
];

impl Theme {
    /// All themes: those built in, and those of a folder; what is wrong with the folder's comes as sentences.
    pub fn all(folder: Option<&Path>) -> (Vec<Self>, Vec<String>) {
        // They are checked by a test.
        let mut themes: Vec<Self> =
            BUILT_IN.iter().filter_map(|text| Self::parse(text, "a theme").ok()).collect();
        let mut mistakes = Vec::new();
        for path in files(folder) {
            let name = path.display().to_string();
            match reading::small(&path, MAX) {
                Ok(text) => match Self::parse(&text, &name) {
                    Ok(theme) => {
                        themes.retain(|other| other.name != theme.name);
                        themes.push(theme);
                    }
                    Err(wrong) => mistakes.extend(wrong),
                },
                Err(why) => mistakes.push(format!("{name}: {why}")),
            }
        }
        (themes, mistakes)
    }

    /// The user's own themes: their files, whether they can be read or not.
    pub fn own(folder: &Path) -> Vec<(std::path::PathBuf, Result<Self, Vec<String>>)> {
        let read = |path: std::path::PathBuf| {
            let name = path.display().to_string();
            let text = reading::small(&path, MAX).map_err(|why| vec![format!("{name}: {why}")]);
            (path, text.and_then(|text| Self::parse(&text, &name)))
        };
        files(Some(folder)).into_iter().map(read).collect()
    }

    /// Reads the text of a file called `name`; else all its mistakes.
    pub fn parse(text: &str, name: &str) -> Result<Self, Vec<String>> {
        let mut mistakes = Mistakes::new(name, text);
        let (entries, errors) = DeTable::parse_recoverable(text);
        errors.iter().for_each(|error| mistakes.of(error));
        let entries = entries.into_inner();
        let mut theme = Self::bare("", true);
        for (key, value) in &entries {
            let role = key.get_ref().as_ref();
            match (role, value.get_ref()) {
                ("name", DeValue::String(text)) if is_name(text) => theme.name = text.to_string(),
                ("name", _) => mistakes.wrong(value.span(), "a name is one word of letters, digits and -"),
                ("dark", DeValue::Boolean(dark)) => theme.dark = *dark,
                ("dark", _) => mistakes.wrong(value.span(), "dark is true or false"),
                _ => match theme.role_mut(role) {
                    Some(color) => match read(value) {
                        Ok(read) => *color = Some(read),
                        Err(why) => mistakes.wrong(value.span(), why),
                    },
                    None => {
                        let known = ROLES.iter().map(|(role, _)| *role).chain(["name", "dark"]);
                        mistakes
                            .wrong(key.span(), format!("a theme has no {role:?}{}", nearest(role, known)));
                    }
                },
            }
        }
        for needed in ["name", "dark"] {
            if !entries.contains_key(needed) {
                mistakes.wrong(0..0, format!("a theme says its {needed}"));
            }
        }
        mistakes.none_or(theme)
    }

    /// No colour at all, for `NO_COLOR`.
    pub fn plain() -> Self {
        Self::bare("plain", true)
    }

    /// Text on the background.
    pub fn base(&self) -> Style {
        let mut style = fg(self.text);
        style.bg = self.background;
        style
    }

    /// Less important text.
    pub fn dim(&self) -> Style {
        if self.dim.is_some() { fg(self.dim) } else { Style::new().add_modifier(Modifier::DIM) }
    }

    /// Frames.
    pub fn border(&self) -> Style {
        fg(self.border)
    }

    /// Titles and keys.
    pub fn accent(&self) -> Style {
        fg(self.accent).add_modifier(Modifier::BOLD)
    }

    /// The selected line.
    pub fn selection(&self) -> Style {
        match self.selection {
            Some(color) => Style::new().bg(color).add_modifier(Modifier::BOLD),
            None => Style::new().add_modifier(Modifier::REVERSED),
        }
    }

    /// Running, done.
    pub fn good(&self) -> Style {
        fg(self.good)
    }

    /// Warm, take care.
    pub fn warn(&self) -> Style {
        fg(self.warn)
    }

    /// Failed, lost.
    pub fn bad(&self) -> Style {
        fg(self.bad).add_modifier(Modifier::BOLD)
    }

    /// A graph.
    pub fn graph(&self, color: Option<Color>) -> Style {
        fg(color)
    }
}

fn fg(color: Option<Color>) -> Style {
    Style { fg: color, ..Style::new() }
}

/// Files of themes in a folder, in the order of their names.
fn files(folder: Option<&Path>) -> Vec<std::path::PathBuf> {
    let entries = folder.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "toml"))
        .collect();
    paths.sort();
    paths
}

fn is_name(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
}

fn read(value: &Spanned<DeValue<'_>>) -> Result<Color, String> {
    let form = "write \"#6ca8f0\", a name such as \"lightblue\", or a number of the 256 such as \"75\"";
    match value.get_ref() {
        DeValue::String(text) => text.parse().map_err(|_| format!("{text:?} is no colour; {form}")),
        _ => Err(format!("no colour stands here; {form}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_themes_are_sound() {
        for text in BUILT_IN {
            if let Err(wrong) = Theme::parse(text, "a theme") {
                panic!("{wrong:?}");
            }
        }
        let (themes, mistakes) = Theme::all(None);
        assert_eq!((themes.len(), mistakes.len()), (BUILT_IN.len(), 0));
        assert!(themes[0].dark && !themes[1].dark, "the usual ones come first");
    }

    #[test]
    fn a_users_theme_replaces_one_of_that_name_and_bad_ones_are_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine.toml"), BUILT_IN[0].replace("\"dark\"", "\"light\"")).unwrap();
        fs::write(
            dir.path().join("bad.toml"),
            "name = 1\ndark = true\nbackgruond = \"red\"\ntext = \"redd\"\n",
        )
        .unwrap();
        let (themes, mistakes) = Theme::all(Some(dir.path()));
        assert_eq!((themes.len(), mistakes.len()), (BUILT_IN.len(), 3), "{mistakes:?}");
        assert!(themes.iter().find(|theme| theme.name == "light").unwrap().dark);
        let told = |line, words| mistakes.iter().any(|told| told.contains(line) && told.contains(words));
        assert!(told("line 3", "did you mean background?"), "{mistakes:?}");
        assert!(told("line 1", "a name") && told("line 4", "\"redd\" is no colour"), "{mistakes:?}");
    }
}
