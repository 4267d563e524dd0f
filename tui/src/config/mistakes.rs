//! What is wrong with a file, for people: where, what, and what was probably meant.

use std::fmt::Display;
use std::ops::Range;

/// Words that are at least so similar are taken for one another, from 0 to 1 (Jaro-Winkler).
const SIMILAR: f64 = 0.8;

/// Mistakes of one file, so far.
#[derive(Debug)]
pub struct Mistakes<'a> {
    name: &'a str,
    text: &'a str,
    /// Each with its line; those of the whole file come last.
    told: Vec<(usize, String)>,
}

impl<'a> Mistakes<'a> {
    /// None yet, of a file called `name` with this text.
    pub fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, text, told: Vec::new() }
    }

    /// Keeps one, with the line it is in.
    pub fn wrong(&mut self, at: Range<usize>, why: impl Display) {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        self.told.push((line, format!("{}, line {line}: {why}", self.name)));
    }

    /// Keeps one of the whole file.
    pub fn whole(&mut self, why: impl Display) {
        self.told.push((usize::MAX, format!("{}: {why}", self.name)));
    }

    /// Keeps one of the parser's.
    pub fn of(&mut self, error: &toml::de::Error) {
        self.wrong(error.span().unwrap_or_default(), first_line(error));
    }

    /// All of them, from the first line to the last.
    pub fn told(mut self) -> Vec<String> {
        self.told.sort_by_key(|(line, _)| *line);
        self.told.into_iter().map(|(_, why)| why).collect()
    }

    /// What was read, if nothing was wrong.
    pub fn none_or<T>(self, read: T) -> Result<T, Vec<String>> {
        if self.told.is_empty() { Ok(read) } else { Err(self.told()) }
    }
}

/// What somebody meant who wrote `word`, of what is known: the end of a sentence. All that is known, where nothing is near.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let word = word.to_lowercase().replace('_', "-");
    let near = |name: &&str| strsim::jaro_winkler(&word, &name.replace('_', "-"));
    let best = known.iter().max_by(|one, two| near(one).total_cmp(&near(two)));
    match best.filter(|name| near(name) >= SIMILAR) {
        Some(name) => format!("; did you mean {name}?"),
        None => format!("; there are {}", known.join(", ")),
    }
}

/// What is wrong, in words for people: the parser speaks of its own types.
pub(super) fn first_line(error: &toml::de::Error) -> String {
    let line = error.message().lines().next().unwrap_or("it cannot be read");
    let Some((found, wanted)) =
        line.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    else {
        return line.to_owned();
    };
    let wanted = match wanted {
        "u64" | "u32" | "u16" | "u8" | "usize" => "a whole number",
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
    fn what_was_meant() {
        let known = ["theme", "contexts", "warm_mb", "new-console"];
        for (word, meant) in [
            ("theem", "theme"),
            ("contexs", "contexts"),
            ("warm-mb", "warm_mb"),
            ("NewConsole", "new-console"),
        ] {
            assert_eq!(nearest(word, known), format!("; did you mean {meant}?"), "{word}");
        }
        assert_eq!(nearest("xyz", ["a", "b"]), "; there are a, b");
    }
}
