//! Colours: TOML files, six of them built in, more from the configuration folder.

use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;
use std::fs;
use std::path::Path;

/// Colours of everything the app draws. `None` leaves the terminal's own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Theme {
    /// Its name in the configuration.
    pub name: String,
    /// For dark backgrounds.
    pub dark: bool,
    /// Text.
    pub text: Option<Color>,
    /// Behind everything.
    pub background: Option<Color>,
    /// Less important text.
    pub dim: Option<Color>,
    /// Frames.
    pub border: Option<Color>,
    /// Titles and keys.
    pub accent: Option<Color>,
    /// The selected line.
    pub selection: Option<Color>,
    /// Running, done.
    pub good: Option<Color>,
    /// Warm, take care.
    pub warn: Option<Color>,
    /// Failed, lost.
    pub bad: Option<Color>,
    /// The CPU graph.
    pub cpu: Option<Color>,
    /// The memory graph.
    pub memory: Option<Color>,
    /// The cost graph.
    pub cost: Option<Color>,
    /// The network graph; that of the CPU graph when absent.
    pub network: Option<Color>,
    /// The disk graph; that of the memory graph when absent.
    pub disk: Option<Color>,
}

const BUILT_IN: [&str; 6] = [
    include_str!("../../themes/dark.toml"),
    include_str!("../../themes/light.toml"),
    include_str!("../../themes/high-contrast.toml"),
    include_str!("../../themes/colour-blind.toml"),
    include_str!("../../themes/paper.toml"),
    include_str!("../../themes/terminal.toml"),
];

impl Theme {
    /// All themes: those built in, and those of a folder; what is wrong with the folder's comes as sentences.
    pub fn all(folder: Option<&Path>) -> (Vec<Self>, Vec<String>) {
        // They are checked by a test.
        let mut themes: Vec<Self> = BUILT_IN.iter().filter_map(|text| toml::from_str(text).ok()).collect();
        let mut mistakes = Vec::new();
        let files = folder.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        for path in
            files.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|kind| kind == "toml"))
        {
            let read = fs::read_to_string(&path).map_err(|error| error.to_string());
            match read.and_then(|text| toml::from_str::<Self>(&text).map_err(|error| error.to_string())) {
                Ok(theme) => {
                    themes.retain(|other| other.name != theme.name);
                    themes.push(theme);
                }
                Err(why) => {
                    mistakes.push(format!("the theme {}: {}", path.display(), why.replace('\n', " ")))
                }
            }
        }
        (themes, mistakes)
    }

    /// No colour at all, for `NO_COLOR`.
    pub fn plain() -> Self {
        Self {
            name: "plain".into(),
            dark: true,
            text: None,
            background: None,
            dim: None,
            border: None,
            accent: None,
            selection: None,
            good: None,
            warn: None,
            bad: None,
            cpu: None,
            memory: None,
            cost: None,
            network: None,
            disk: None,
        }
    }

    /// The theme with each colour put through `change`, as terminals with fewer colours need it.
    #[must_use]
    pub fn map(mut self, change: impl Fn(Color) -> Option<Color>) -> Self {
        for color in [
            &mut self.text,
            &mut self.background,
            &mut self.dim,
            &mut self.border,
            &mut self.accent,
            &mut self.selection,
            &mut self.good,
            &mut self.warn,
            &mut self.bad,
            &mut self.cpu,
            &mut self.memory,
            &mut self.cost,
            &mut self.network,
            &mut self.disk,
        ] {
            *color = color.and_then(&change);
        }
        self
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_themes_are_sound() {
        let (themes, mistakes) = Theme::all(None);
        assert_eq!((themes.len(), mistakes.len()), (BUILT_IN.len(), 0));
        assert!(themes.iter().any(|theme| theme.dark) && themes.iter().any(|theme| !theme.dark));
    }

    #[test]
    fn a_users_theme_replaces_one_of_that_name_and_bad_ones_are_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine.toml"), BUILT_IN[0].replace("\"dark\"", "\"light\"")).unwrap();
        fs::write(dir.path().join("bad.toml"), "name = 1").unwrap();
        let (themes, mistakes) = Theme::all(Some(dir.path()));
        assert_eq!((themes.len(), mistakes.len()), (BUILT_IN.len(), 1));
        assert!(themes.iter().find(|theme| theme.name == "light").unwrap().dark);
    }
}
