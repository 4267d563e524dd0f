//! JSON schemas (draft 2020-12) of what a person writes, for editors.

use super::table::{Kind, SECTIONS, SETTINGS, Setting};
use crate::action::Action;
use crate::prefix::Command;
use crate::theme::ROLES;
use serde_json::{Map, Value, json};
use strum::IntoEnumIterator;

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Of `config.toml`.
pub fn config() -> Value {
    let mut properties = section("");
    for (name, about) in SECTIONS.iter().filter(|(name, _)| !name.is_empty()) {
        let mut settings = section(name);
        if *name == "console" {
            settings.extend(Command::iter().map(|command| {
                let (about, usual) = (command.about(), command.default_keys());
                (command.to_string(), bound(about, usual))
            }));
        }
        properties.insert((*name).to_owned(), table(about, settings, &[]));
    }
    let context = [
        ("name", json!({ "type": "string", "pattern": "^[!-~]{1,40}$" })),
        ("url", json!({ "type": "string", "description": "Its address, which begins with https://." })),
        (
            "token_env",
            json!({ "type": "string", "description": "Environment variable with its token; SPRITES_TOKEN when absent." }),
        ),
    ];
    let context = context.map(|(name, schema)| (name.to_owned(), schema)).into_iter().collect();
    let context = table("A remote endpoint.", context, &["name", "url"]);
    properties.insert("contexts".into(), json!({ "type": "array", "items": context }));
    properties.insert("keys".into(), table("Which keys do what.", keys(), &[]));
    whole("Configuration of sprites-tui", properties, &[])
}

/// Of a theme.
pub fn theme() -> Value {
    let color = |about: &str| {
        json!({
            "type": "string",
            "description": format!("{about} \"#rrggbb\", a name such as \"lightblue\", or a number of the 256; the terminal's own when absent."),
        })
    };
    let mut properties: Map<String, Value> =
        ROLES.iter().map(|(role, about)| ((*role).to_owned(), color(about))).collect();
    properties.insert("name".into(), json!({ "type": "string", "pattern": "^[\\w-]{1,40}$" }));
    properties.insert(
        "dark".into(),
        json!({ "type": "boolean", "description": "Whether it is for dark backgrounds." }),
    );
    whole("Theme of sprites-tui", properties, &["name", "dark"])
}

fn whole(title: &str, properties: Map<String, Value>, required: &[&str]) -> Value {
    let mut schema = table(title, properties, required);
    schema["$schema"] = DRAFT.into();
    schema["title"] = title.into();
    schema
}

fn table(about: &str, properties: Map<String, Value>, required: &[&str]) -> Value {
    json!({
        "type": "object",
        "description": about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn section(name: &str) -> Map<String, Value> {
    let settings = SETTINGS.iter().filter(|setting| setting.section == name);
    settings.map(|setting| (setting.name.to_owned(), one(setting))).collect()
}

fn one(setting: &Setting) -> Value {
    let mut schema = match setting.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Whole(most) => json!({ "type": "integer", "minimum": 0, "maximum": most }),
        Kind::Switch => json!({ "type": "boolean" }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
    };
    schema["description"] = format!("{} Usual: {}.", setting.about, setting.usual).into();
    schema
}

/// What keys can be bound to.
fn bound(about: &str, usual: &[&str]) -> Value {
    json!({
        "description": format!("{about}. Usual: {}.", usual.join(", ")),
        "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" } },
            { "type": "boolean", "description": "true: the usual keys; false: none." },
        ],
    })
}

fn keys() -> Map<String, Value> {
    let mut keys: Map<String, Value> = Action::iter()
        .map(|action| (action.to_string(), bound(action.about(), action.default_keys())))
        .collect();
    let about = "False when no action is to have keys that are not given here.";
    keys.insert(super::DEFAULTS.into(), json!({ "type": "boolean", "description": about }));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// Each setting of the table is read, shown, and in the schema.
    #[test]
    fn one_table_for_all() {
        let schema = config();
        for setting in SETTINGS {
            let value = match setting.kind {
                Kind::Text if setting.name == "context" => "\"local\"".to_owned(),
                Kind::Text if setting.name == "prefix" => "\"ctrl-a\"".to_owned(),
                Kind::Text => "\"x\"".to_owned(),
                Kind::Word(words) => format!("{:?}", words[words.len() - 1]),
                Kind::Whole(most) => most.to_string(),
                Kind::Switch => "true".to_owned(),
                Kind::Texts if setting.name == "resolvers" => "[\"10.0.0.1:53\"]".to_owned(),
                Kind::Texts => "[\"10.7.0.0/16\"]".to_owned(),
            };
            let head =
                if setting.section.is_empty() { String::new() } else { format!("[{}]\n", setting.section) };
            let read = Config::parse(&format!("{head}{} = {value}\n", setting.name), "c");
            assert_eq!(read.mistakes, Vec::<String>::new(), "{}", setting.name);
            assert_eq!((setting.shown)(&read).as_ref(), Some(&value), "{}", setting.name);
            assert_eq!((setting.shown)(&Config::default()), None, "{}", setting.name);
            let within =
                if setting.section.is_empty() { &schema } else { &schema["properties"][setting.section] };
            assert!(within["properties"][setting.name]["description"].is_string(), "{}", setting.name);
        }
        assert!(schema["properties"]["keys"]["properties"]["quit"]["anyOf"].is_array());
        assert_eq!(theme()["required"], json!(["name", "dark"]));
    }
}
