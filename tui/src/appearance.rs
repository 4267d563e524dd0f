//! From the configuration to what the app shows: themes, keys, look. Read at the start, and again when a file changes.

use crate::config::table::SETTINGS;
use crate::config::{Config, Remote, nearest};
use crate::keys::Keys;
use crate::look::{self, Look};
use crate::model::{Model, Weight};
use crate::prefix::Prefix;
use crate::theme::Theme;
use sprites_backend::paths::Paths;
use std::io;
use std::path::PathBuf;
use termprofile::{DetectorSettings, SpecialVars, TermProfile, TermVars};

/// What the command line says about it, which goes before the configuration.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// Name of a theme.
    pub theme: Option<String>,
    /// Nothing beyond ASCII.
    pub ascii: bool,
    /// Line by line.
    pub plain: bool,
    /// Nothing is changed from the app.
    pub read_only: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Appearance {
    config: PathBuf,
    themes: PathBuf,
    flags: Flags,
    profile: TermProfile,
    /// The terminal's background is light.
    light: bool,
    no_color: bool,
    utf8: bool,
    /// Line by line. The terminal is taken once, for that or for whole screens.
    plain: bool,
}

/// What was read.
#[derive(Debug)]
pub struct Fresh {
    /// Colours that this terminal has.
    pub themes: Vec<Theme>,
    /// Index of the one that is wanted, or fits the terminal.
    pub theme: usize,
    /// Name of the one that somebody wants.
    pub wanted: Option<String>,
    /// Key bindings.
    pub keys: Keys,
    /// Keys in consoles.
    pub prefix: Prefix,
    /// Lines of scrollback of consoles that are opened from then on; as usual when absent.
    pub scrollback: Option<usize>,
    /// Symbols and motion.
    pub look: Look,
    /// Nothing is changed from the app.
    pub read_only: bool,
    /// Remote endpoints.
    pub contexts: Vec<Remote>,
    /// All settings as they are written, in the order of their table; none where one is as usual.
    pub settings: Vec<Option<String>>,
    /// What is wrong, one sentence each.
    pub mistakes: Vec<String>,
}

/// How many colours the terminal has, by its environment. What build services set there is of no meaning: it tells of their logs,
/// and a whole screen is drawn for somebody's terminal.
fn profile() -> TermProfile {
    let mut vars = TermVars::from_env(&io::stdout(), DetectorSettings::default());
    let mut special = SpecialVars::default();
    special.google_cloud_shell = std::mem::take(&mut vars.special.google_cloud_shell);
    special.con_emu_ansi = std::mem::take(&mut vars.special.con_emu_ansi);
    vars.special = special;
    TermProfile::detect_with_vars(vars)
}

impl Appearance {
    /// Of this terminal, with these files; what lasts from the start to the end is that of `config`.
    pub fn new(paths: &Paths, flags: Flags, config: &Config) -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let plain = flags.plain || config.look.plain.unwrap_or(false);
        Self {
            config: paths.config_file(),
            themes: paths.themes(),
            flags,
            profile: profile(),
            light: false,
            no_color: variable("NO_COLOR").is_some_and(|value| !value.is_empty()),
            utf8: look::is_utf8(variable),
            plain,
        }
    }

    /// Whether colours mean nothing. What is selected is reversed then, and by that it is known where lines are told.
    fn is_colourless(&self) -> bool {
        self.no_color || self.plain
    }

    /// How many colours the terminal has.
    pub fn profile(&self) -> TermProfile {
        self.profile
    }

    /// Takes in whether the terminal's background is light; true when that is news.
    pub fn set_light(&mut self, light: bool) -> bool {
        std::mem::replace(&mut self.light, light) != light
    }

    /// Whether the theme is that which fits the terminal's background.
    pub fn follows(&self, config: &Config) -> bool {
        self.flags.theme.is_none() && config.theme.is_none() && !self.is_colourless()
    }

    /// Files and folders that are read.
    pub fn files(&self) -> [&PathBuf; 2] {
        [&self.config, &self.themes]
    }

    /// Reads both again.
    pub fn read(&self) -> Fresh {
        self.fresh(Config::load(&self.config))
    }

    /// The same with a configuration that was read.
    pub fn fresh(&self, config: Config) -> Fresh {
        let settings = SETTINGS.iter().map(|setting| (setting.shown)(&config)).collect();
        let (mut themes, mut mistakes) = Theme::all(Some(&self.themes));
        mistakes.splice(0..0, config.mistakes);
        let wanted = self.flags.theme.clone().or(config.theme);
        let find = |name: &str| themes.iter().position(|theme| theme.name == name);
        let theme = match &wanted {
            Some(name) => find(name).unwrap_or_else(|| {
                let known = themes.iter().map(|theme| theme.name.as_str());
                mistakes.push(format!("there is no theme {name:?}{}", nearest(name, known)));
                0
            }),
            None => self.fitting(&themes),
        };
        let theme = if self.is_colourless() { 0 } else { theme };
        if self.is_colourless() || themes.is_empty() {
            themes = vec![Theme::plain()];
        }
        let themes = themes.into_iter().map(|theme| theme.map(|color| self.profile.adapt_color(color)));
        let look = Look {
            ascii: self.flags.ascii || config.look.ascii.unwrap_or(!self.utf8),
            plain: self.plain,
            graphs: config.look.graphs.unwrap_or_default(),
            reduced_motion: config.look.reduced_motion.unwrap_or(false),
        };
        Fresh {
            themes: themes.collect(),
            theme,
            wanted,
            keys: config.keys,
            prefix: config.prefix,
            scrollback: config.scrollback,
            look,
            read_only: self.flags.read_only || config.read_only.unwrap_or(false),
            contexts: config.contexts,
            settings,
            mistakes,
        }
    }

    /// The theme that fits the terminal: the first for its background, or its own colours where it has few. What is built in comes before the
    /// user's own.
    fn fitting(&self, themes: &[Theme]) -> usize {
        let few = matches!(self.profile, TermProfile::Ansi16);
        let own = |theme: &&Theme| theme.name.starts_with("terminal");
        let fits = |theme: &Theme| theme.dark != self.light;
        let first =
            |own_colours: bool| themes.iter().position(|theme| fits(theme) && own(&theme) == own_colours);
        first(few).or_else(|| first(!few)).unwrap_or(0)
    }
}

impl Model {
    /// Takes in what was read. A theme that somebody turned to stays, unless another one is wanted now.
    pub fn dress(&mut self, fresh: Fresh) {
        let shown = self.colors().name.clone();
        let stays = self.wanted == fresh.wanted && self.turned;
        let kept = fresh.themes.iter().position(|theme| stays && theme.name == shown);
        self.theme = kept.unwrap_or(fresh.theme);
        self.turned &= kept.is_some();
        self.themes = fresh.themes;
        self.wanted = fresh.wanted;
        self.keys = fresh.keys;
        self.mux.prefix = fresh.prefix;
        self.mux.scrollback = fresh.scrollback.unwrap_or(self.mux.scrollback);
        self.look = fresh.look;
        self.settings.values = fresh.settings;
        for mistake in fresh.mistakes {
            self.say(Weight::Bad, mistake);
        }
    }
}
