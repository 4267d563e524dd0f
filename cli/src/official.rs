//! The original command line's configuration, `~/.sprites/sprites.json` (older: `config.json`): endpoints, organizations and tokens. It is read where
//! there is one, and never written. Its form may change, so what is not understood is passed over.

use secrecy::SecretString;
use serde::Deserialize;
use sprites_backend::reading;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest file that is read, bytes.
const MAX: u64 = 1 << 20;
/// Names of the file, the newer one first.
const NAMES: [&str; 2] = ["sprites.json", "config.json"];

/// An organization at an endpoint.
#[derive(Clone, Debug)]
pub struct Organization {
    /// Its name.
    pub name: String,
    /// Address of its endpoint.
    pub url: String,
    /// Its token, where the file holds it.
    pub token: Option<SecretString>,
    /// Where the system's keyring holds it.
    pub keyring: Option<String>,
    /// Whether it was chosen there.
    pub is_current: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    current_selection: Selection,
    urls: BTreeMap<String, Place>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Selection {
    url: String,
    org: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Place {
    url: String,
    orgs: BTreeMap<String, Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    name: String,
    keyring_key: String,
    use_keyring: bool,
    api_token: String,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never with its token.
        write!(f, "Entry({})", self.name)
    }
}

/// The organizations of the configuration in `home`, a user's home folder; none if there is no such configuration.
pub fn organizations(home: &Path) -> Vec<Organization> {
    let folder: PathBuf = home.join(".sprites");
    let text = NAMES.iter().find_map(|name| reading::small(&folder.join(name), MAX).ok());
    text.map(|text| parse(&text)).unwrap_or_default()
}

fn parse(text: &str) -> Vec<Organization> {
    let file: File = serde_json::from_str(text).unwrap_or_default();
    let mut found = Vec::new();
    for (key, place) in file.urls {
        let url = if place.url.is_empty() { key } else { place.url };
        for (key, entry) in place.orgs {
            let name = if entry.name.is_empty() { key } else { entry.name };
            found.push(Organization {
                is_current: file.current_selection.url == url && file.current_selection.org == name,
                token: (!entry.api_token.is_empty()).then(|| entry.api_token.into()),
                keyring: (entry.use_keyring && !entry.keyring_key.is_empty()).then_some(entry.keyring_key),
                name,
                url: url.clone(),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::fs;

    const TEXT: &str = r#"{"version":"1","current_selection":{"url":"https://api.sprites.dev","org":"personal"},
        "urls":{"https://api.sprites.dev":{"url":"https://api.sprites.dev","orgs":{
          "personal":{"name":"personal","keyring_key":"sprites-cli:1","use_keyring":true,"sprites":{}},
          "team":{"name":"team","api_token":"team/1/2/secret","new_field":[1,2]}}}}}"#;

    #[test]
    fn what_is_read() {
        let found = parse(TEXT);
        assert_eq!(found.len(), 2);
        assert!(found[0].is_current && found[0].keyring.as_deref() == Some("sprites-cli:1"));
        assert_eq!(found[1].token.as_ref().unwrap().expose_secret(), "team/1/2/secret");
        assert!(!format!("{found:?}").contains("secret\""));
        for text in ["", "[]", "{", r#"{"urls":3}"#] {
            assert!(parse(text).is_empty(), "{text}");
        }
        let home = tempfile::tempdir().unwrap();
        assert!(organizations(home.path()).is_empty());
        fs::create_dir(home.path().join(".sprites")).unwrap();
        fs::write(home.path().join(".sprites/config.json"), TEXT).unwrap();
        assert_eq!(organizations(home.path()).len(), 2);
    }
}
