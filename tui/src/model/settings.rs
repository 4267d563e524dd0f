//! What can be set, as the configuration has it.

use crate::config::table::{Kind, SETTINGS, Setting};
use toml_edit::Value;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// As they are written, in the order of [`SETTINGS`]; none where one is as usual.
    pub values: Vec<Option<String>>,
    /// Index of the selected one.
    pub chosen: usize,
}

impl Settings {
    /// The selected one.
    pub fn setting(&self) -> &'static Setting {
        // There is always one: the table is not empty.
        &SETTINGS[self.chosen.min(SETTINGS.len() - 1)]
    }

    /// How it is written; none where it is as usual.
    pub fn value(&self) -> Option<&str> {
        self.values.get(self.chosen)?.as_deref()
    }

    /// Moves the selection.
    pub fn step(&mut self, by: isize) {
        self.chosen = self.chosen.saturating_add_signed(by).min(SETTINGS.len() - 1);
    }

    /// The value after the present one, as it is written, of a setting that has few; as usual comes after the last. None where one is typed.
    pub fn next(&self) -> Option<Option<String>> {
        let values: Vec<String> = match self.setting().kind {
            Kind::Switch => [true, false].map(|value| value.to_string()).to_vec(),
            Kind::Word(words) => words.iter().map(|word| Value::from(*word).to_string()).collect(),
            Kind::Text | Kind::Whole(_) | Kind::Texts => return None,
        };
        let place = self.value().and_then(|now| values.iter().position(|value| value == now));
        let next = match (self.value(), place) {
            (None, _) => 0,
            (Some(_), place) => place.map_or(values.len(), |place| place + 1),
        };
        Some(values.into_iter().nth(next))
    }

    /// How it would be typed.
    pub fn typed(&self) -> String {
        let Some(Ok(value)) = self.value().map(str::parse::<Value>) else { return String::new() };
        match &value {
            Value::String(text) => text.value().clone(),
            Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            value => value.to_string().trim().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_round() {
        let at = |name| SETTINGS.iter().position(|setting| setting.name == name).unwrap();
        let next = |name, value: Option<&str>| {
            let mut values = vec![None; SETTINGS.len()];
            values[at(name)] = value.map(str::to_owned);
            let settings = Settings { values, chosen: at(name) };
            settings.next()
        };
        assert_eq!(next("ascii", None), Some(Some("true".into())));
        assert_eq!(next("ascii", Some("true")), Some(Some("false".into())));
        assert_eq!(next("ascii", Some("false")), Some(None));
        assert_eq!(next("graphs", None), Some(Some("\"braille\"".into())));
        assert_eq!(next("graphs", Some("\"braille\"")), Some(Some("\"blocks\"".into())));
        assert_eq!(next("graphs", Some("\"ascii\"")), Some(None));
        assert_eq!(next("idle", Some("30")), None);
        let mut settings = Settings { values: vec![None; SETTINGS.len()], chosen: at("reachable") };
        settings.values[at("reachable")] = Some("[\"10.7.0.0/16\", \"10.8.0.0/16\"]".into());
        assert_eq!(settings.typed(), "10.7.0.0/16, 10.8.0.0/16");
    }
}
