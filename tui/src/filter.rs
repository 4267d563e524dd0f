//! Terms that choose sprites, such as `state:running label:ci !name:tmp web`.
//!
//! A sprite is shown when all terms hold. A term is a word, or a key with what it is to be; `a|b` is one or the other, and `!` in front turns a term
//! round. A word is looked for in name and labels; where nothing holds it, others may stand between its letters.

use crate::model::Row;
use nucleo_matcher::pattern::{AtomKind, CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use std::fmt::{self, Debug, Formatter};
use std::str::FromStr;

/// Keys of terms, and what each is about.
pub const KEYS: [(&str, &str); 8] = [
    ("name", "its name holds this"),
    ("label", "it has a label that holds this"),
    ("state", "running, warm, cold or failed"),
    ("use", "what keeps it awake holds this"),
    ("cpu", "CPUs busy now: >0.5"),
    ("memory", "memory in use now: >500m"),
    ("stored", "bytes on the host's disk: >2g"),
    ("cost", "dollars so far: >0.10"),
];

/// States as terms name them.
pub const STATES: [&str; 4] = ["running", "warm", "cold", "failed"];

/// See the module.
#[derive(Debug, Default)]
pub struct Filter {
    /// All must hold.
    terms: Vec<Term>,
}

#[derive(Debug)]
struct Term {
    /// It must not hold.
    not: bool,
    /// One of these must.
    any: Vec<Test>,
}

enum Test {
    Anything,
    Word(String, Pattern),
    Name(String),
    Label(String),
    State(String),
    Use(String),
    Amount(Measure, Order, f64),
}

impl Debug for Test {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anything => write!(f, "anything"),
            Self::Word(text, _) => write!(f, "{text}"),
            Self::Name(text) => write!(f, "name:{text}"),
            Self::Label(text) => write!(f, "label:{text}"),
            Self::State(text) => write!(f, "state:{text}"),
            Self::Use(text) => write!(f, "use:{text}"),
            Self::Amount(measure, order, amount) => write!(f, "{measure:?} {order:?} {amount}"),
        }
    }
}

/// What can be compared with a number.
#[derive(Clone, Copy, Debug)]
enum Measure {
    Cpu,
    Memory,
    Stored,
    Cost,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    More,
    Less,
}

impl FromStr for Filter {
    type Err = String;

    /// The error is a sentence about the first term that cannot be meant.
    fn from_str(text: &str) -> Result<Self, String> {
        let terms = text.split_whitespace().map(term).collect::<Result<_, _>>()?;
        Ok(Self { terms })
    }
}

fn term(word: &str) -> Result<Term, String> {
    let (not, rest) = match word.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, word),
    };
    let (key, values) = match rest.split_once(':') {
        Some((key, values)) => (Some(key), values),
        None => (None, rest),
    };
    if let Some(key) = key.filter(|key| KEYS.iter().all(|(known, _)| known != key)) {
        return Err(unknown(key));
    }
    let values = values.split('|').filter(|value| !value.is_empty());
    let any = values.map(|value| test(key, value)).collect::<Result<Vec<_>, _>>()?;
    match (any.is_empty(), key) {
        (false, _) => Ok(Term { not, any }),
        // It is being typed, and chooses nothing yet.
        (true, Some(_)) => Ok(Term { not: false, any: vec![Test::Anything] }),
        (true, None) => Err(format!("{word:?} has nothing to look for")),
    }
}

fn unknown(key: &str) -> String {
    let keys: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    format!("there is no {key:?} to filter by; there are {}", keys.join(", "))
}

fn test(key: Option<&str>, value: &str) -> Result<Test, String> {
    let lower = value.to_lowercase();
    let amount = |measure| amount(measure, value);
    Ok(match key {
        None => {
            let pattern = Pattern::new(value, CaseMatching::Ignore, Normalization::Smart, AtomKind::Fuzzy);
            Test::Word(lower, pattern)
        }
        Some("name") => Test::Name(lower),
        Some("label") => Test::Label(lower),
        Some("use") => Test::Use(lower),
        // Told by its beginning, so that it counts while it is typed.
        Some("state") => match STATES.iter().find(|state| state.starts_with(&lower)) {
            Some(state) => Test::State((*state).to_owned()),
            None => return Err(format!("there is no state {value:?}; there are {}", STATES.join(", "))),
        },
        Some("cpu") => amount(Measure::Cpu)?,
        Some("memory") => amount(Measure::Memory)?,
        Some("stored") => amount(Measure::Stored)?,
        Some("cost") => amount(Measure::Cost)?,
        Some(key) => return Err(unknown(key)),
    })
}

/// `>2g`, `<0.5`; bytes with k, m, g, t, as the rest of the app writes them: powers of 1000.
fn amount(measure: Measure, value: &str) -> Result<Test, String> {
    let (order, rest) = match (value.strip_prefix('>'), value.strip_prefix('<')) {
        (Some(rest), _) => (Order::More, rest),
        (_, Some(rest)) => (Order::Less, rest),
        _ => return Err(format!("write more or less before {value:?}: >{value} or <{value}")),
    };
    let rest = rest.trim_start_matches('$').to_lowercase();
    let digits = rest.trim_end_matches(|sign: char| sign.is_ascii_alphabetic());
    let unit = match (measure, &rest[digits.len()..]) {
        (_, "") => 1.0,
        (Measure::Memory | Measure::Stored, "b") => 1.0,
        (Measure::Memory | Measure::Stored, "k" | "kb") => 1e3,
        (Measure::Memory | Measure::Stored, "m" | "mb") => 1e6,
        (Measure::Memory | Measure::Stored, "g" | "gb") => 1e9,
        (Measure::Memory | Measure::Stored, "t" | "tb") => 1e12,
        (_, unit) => return Err(format!("{unit:?} is no unit here")),
    };
    if digits.is_empty() {
        // It is being typed.
        return Ok(Test::Anything);
    }
    let number: f64 = digits.parse().map_err(|_| format!("{digits:?} is no number"))?;
    Ok(Test::Amount(measure, order, number * unit))
}

impl Filter {
    /// Those of the rows that it lets through.
    pub fn choose<'r>(&self, rows: impl Iterator<Item = &'r Row> + Clone) -> Vec<&'r Row> {
        let mut looker =
            Looker { filter: self, apart: false, matcher: Matcher::new(Config::DEFAULT), signs: Vec::new() };
        let found: Vec<&Row> = rows.clone().filter(|row| looker.shows(row)).collect();
        let has_words =
            self.terms.iter().flat_map(|term| &term.any).any(|test| matches!(test, Test::Word(..)));
        if !found.is_empty() || !has_words {
            return found;
        }
        looker.apart = true;
        rows.filter(|row| looker.shows(row)).collect()
    }
}

/// Looks through rows.
struct Looker<'f> {
    filter: &'f Filter,
    /// Whether the letters of a word may stand apart.
    apart: bool,
    matcher: Matcher,
    signs: Vec<char>,
}

impl Looker<'_> {
    /// Whether the filter lets a row through.
    fn shows(&mut self, row: &Row) -> bool {
        let filter = self.filter;
        filter.terms.iter().all(|term| term.any.iter().any(|test| self.holds(test, row)) != term.not)
    }

    fn holds(&mut self, test: &Test, row: &Row) -> bool {
        let sprite = &row.sprite;
        let now = row.now();
        match test {
            Test::Anything => true,
            Test::Word(word, pattern) => {
                let mut texts = std::iter::once(&sprite.name).chain(&sprite.labels);
                if !self.apart {
                    return texts.any(|text| text.to_lowercase().contains(word));
                }
                texts.any(|text| {
                    let text = Utf32Str::new(text, &mut self.signs);
                    pattern.score(text, &mut self.matcher).is_some()
                })
            }
            Test::Name(text) => sprite.name.to_lowercase().contains(text),
            Test::Label(text) => sprite.labels.iter().any(|label| label.to_lowercase().contains(text)),
            Test::Use(text) => sprite.in_use_by.iter().any(|what| what.to_lowercase().contains(text)),
            Test::State(state) if state == "failed" => sprite.failure.is_some(),
            Test::State(state) => sprite.failure.is_none() && sprite.status.as_str() == state,
            Test::Amount(measure, order, amount) => {
                let is = match measure {
                    Measure::Cpu => now.map_or(0.0, |now| now.cpus),
                    Measure::Memory => now.map_or(0.0, |now| now.memory_bytes as f64),
                    Measure::Stored => row.stored as f64,
                    Measure::Cost => row.totals.cost_usd,
                };
                match order {
                    Order::More => is > *amount,
                    Order::Less => is < *amount,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sprites_api::sprite::{Sprite, Status};

    fn rows() -> Vec<Row> {
        let row = |name: &str, status, labels: &[&str], stored| Row {
            stored,
            ..Row::new(Sprite {
                name: name.into(),
                status,
                labels: labels.iter().map(|label| (*label).to_owned()).collect(),
                ..Sprite::default()
            })
        };
        let mut failed = row("tmp-2", Status::Cold, &[], 0);
        failed.sprite.failure = Some("no kernel".into());
        let mut busy = row("web-frontend", Status::Running, &["ci", "prod"], 3_000_000_000);
        busy.sprite.in_use_by = vec!["the command make".into()];
        vec![
            busy,
            row("api", Status::Warm, &["ci"], 1_000_000),
            row("tmp-1", Status::Running, &[], 5),
            failed,
        ]
    }

    fn shown(text: &str) -> Vec<String> {
        let (filter, rows) = (text.parse::<Filter>().unwrap(), rows());
        filter.choose(rows.iter()).into_iter().map(|row| row.sprite.name.clone()).collect()
    }

    #[test]
    fn terms_choose() {
        assert_eq!(shown("").len(), 4);
        assert_eq!(shown("wfe"), ["web-frontend"]);
        assert_eq!(shown("p"), ["web-frontend", "api", "tmp-1", "tmp-2"]);
        assert_eq!(shown("P-1"), ["tmp-1"]);
        assert_eq!(shown("prod"), ["web-frontend"]);
        assert_eq!(shown("state:running"), ["web-frontend", "tmp-1"]);
        assert_eq!(shown("state:running !name:tmp"), ["web-frontend"]);
        assert_eq!(shown("state:warm|failed"), ["api", "tmp-2"]);
        assert_eq!(shown("!state:running|failed label:CI"), ["api"]);
        assert_eq!(shown("stored:>1g"), ["web-frontend"]);
        assert_eq!(shown("stored:<1k|>2g !state:failed"), ["web-frontend", "tmp-1"]);
        assert_eq!(shown("use:make"), ["web-frontend"]);
        assert_eq!(shown("state:run"), ["web-frontend", "tmp-1"]);
        // What is being typed hides nothing yet.
        for typing in ["state:", "!name:", "stored:>", "state:|"] {
            assert_eq!(shown(typing).len(), 4, "{typing}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (text, word) in [
            ("colour:red", "label"),
            ("state:asleep", "warm"),
            ("stored:2g", ">2g"),
            ("cpu:>2g", "\"g\""),
            ("cost:>1.2.3", "number"),
            ("!", "nothing"),
        ] {
            let why = text.parse::<Filter>().unwrap_err();
            assert!(why.contains(word), "{text}: {why}");
        }
    }
}
