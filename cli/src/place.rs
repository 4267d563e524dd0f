//! Which endpoint is meant, and which sprite.
//!
//! An endpoint, the first of these that is given: `--context`; `-o`, or `SPRITE_ORG`; `SPRITES_API_URL` with its token; the context that sprites-tui's
//! configuration begins with; this machine. A sprite: `-s`, else the file `.sprite` of this folder or one above.

use crate::arguments::{Format, PlaceArguments};
use crate::failure::{Failure, Outcome};
use crate::official::{self, Organization};
use crate::output;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sprites_backend::client::Client;
use sprites_backend::context::{Context, LOCAL, TOKEN};
use sprites_backend::endpoint::{Endpoint, ensure_local_server};
use sprites_backend::paths::Paths;
use sprites_backend::reading;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// File that names the sprite of a folder.
const CHOSEN: &str = ".sprite";
/// Largest such file that is read, and largest configuration, bytes.
const MAX: u64 = 1 << 20;
/// Environment variable with an endpoint's address.
const URL: &str = "SPRITES_API_URL";
/// The original's name of the variable with a token.
const ORIGINAL_TOKEN: &str = "SPRITE_TOKEN";
/// The server's executable.
const SERVER: &str = "sprites-tui";

/// The sprite of a folder, as the original writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Organization.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub organization: String,
    /// Sprite.
    #[serde(default)]
    pub sprite: String,
}

impl PlaceArguments {
    /// A client of the endpoint that is meant; this machine's server is started if need be.
    pub async fn client(&self) -> Result<Client, Failure> {
        let this = self.clone();
        // Starting a server blocks for as long as that takes.
        let endpoint = tokio::task::spawn_blocking(move || this.endpoint()).await;
        let endpoint = endpoint.map_err(|error| Failure::Other(error.to_string()))??;
        Ok(Client::new(endpoint)?)
    }

    /// The sprite that is meant.
    pub fn sprite(&self) -> Result<String, Failure> {
        if let Some(name) = &self.sprite {
            return Ok(name.clone());
        }
        let here = env::current_dir().map_err(Failure::io("find", "this folder"))?;
        match chosen(&here) {
            Some((_, chosen)) if !chosen.sprite.is_empty() => Ok(chosen.sprite),
            _ => Err(Failure::Usage(
                "no sprite is named; give one with -s, or choose one with `sprite use`".into(),
            )),
        }
    }

    /// The same place with another sprite, if one is named.
    pub fn named(&self, name: Option<String>) -> Self {
        let this = self.clone();
        Self { sprite: name.or(this.sprite), ..this }
    }

    /// Options that lead to a sprite of this place from any folder, as they can be pasted behind a command.
    pub fn flags(&self, sprite: &str) -> String {
        let sprite = format!("-s {}", quoted(sprite));
        match (&self.context, self.organization()) {
            (Some(context), _) => format!("{sprite} --context {}", quoted(context)),
            (None, Some(org)) => format!("{sprite} -o {}", quoted(&org)),
            (None, None) => sprite,
        }
    }

    /// Both.
    pub async fn both(&self) -> Result<(Client, String), Failure> {
        let sprite = self.sprite()?;
        Ok((self.client().await?, sprite))
    }

    /// The organization that is meant: the one that is given, else that of this folder.
    fn organization(&self) -> Option<String> {
        let folder = || Some(chosen(&env::current_dir().ok()?)?.1.organization);
        self.org.clone().or_else(folder).filter(|org| !org.is_empty())
    }

    fn endpoint(&self) -> Result<Endpoint, Failure> {
        let paths = Paths::resolve().map_err(|error| Failure::Other(error.to_string()))?;
        if let Some(name) = &self.context {
            return context(name, &paths);
        }
        match self.organization().as_deref() {
            Some(LOCAL) => return local(&paths),
            Some(org) => return organization(org),
            None => {}
        }
        if let Some(url) = env::var(URL).ok().filter(|url| !url.is_empty()) {
            return remote(&url, env_token());
        }
        match configured(&paths).context {
            Some(name) => context(&name, &paths),
            None => local(&paths),
        }
    }
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let plain = |sign: char| sign.is_ascii_alphanumeric() || "-_./:@%+=,".contains(sign);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The file that names the sprite of a folder, which may stand above it.
pub fn chosen(folder: &Path) -> Option<(PathBuf, Chosen)> {
    folder.ancestors().map(|folder| folder.join(CHOSEN)).find_map(|path| {
        let chosen = serde_json::from_str(&reading::small(&path, MAX).ok()?).ok()?;
        Some((path, chosen))
    })
}

/// Chooses a sprite for this folder.
pub fn choose(folder: &Path, chosen: &Chosen) -> Result<PathBuf, Failure> {
    let path = folder.join(CHOSEN);
    let text = serde_json::to_string_pretty(chosen).map_err(|error| Failure::Other(error.to_string()))?;
    fs::write(&path, text + "\n").map_err(Failure::io("write", path.display()))?;
    Ok(path)
}

/// The parts of sprites-tui's configuration that matter here. What is wrong with it the app tells.
#[derive(Debug, Default, Deserialize)]
struct Configured {
    context: Option<String>,
    #[serde(default)]
    contexts: Vec<Remote>,
}

#[derive(Debug, Deserialize)]
struct Remote {
    name: String,
    url: String,
    token_env: Option<String>,
}

fn configured(paths: &Paths) -> Configured {
    let text = reading::small(&paths.config_file(), MAX).unwrap_or_default();
    toml::from_str(&text).unwrap_or_default()
}

fn context(name: &str, paths: &Paths) -> Result<Endpoint, Failure> {
    if name == LOCAL {
        return local(paths);
    }
    let known = configured(paths).contexts.into_iter().find(|context| context.name == name);
    let known = known.ok_or_else(|| {
        Failure::Other(format!("there is no context {name:?}; `sprite contexts` tells which there are"))
    })?;
    let context = Context::remote(&known.name, &known.url, known.token_env.as_deref());
    context.endpoint().map_err(Failure::Other)
}

/// An organization of the original's configuration, as `name` or `alias:name`, where an alias is part of an endpoint's address.
fn organization(wanted: &str) -> Result<Endpoint, Failure> {
    let (alias, name) = wanted.rsplit_once(':').map_or(("", wanted), |(alias, name)| (alias, name));
    let all = env::home_dir().map(|home| official::organizations(&home)).unwrap_or_default();
    let mut fits = all.into_iter().filter(|one| one.name == name && one.url.contains(alias));
    let Organization { url, token, keyring, .. } = fits.next().ok_or_else(|| {
        Failure::Other(format!(
            "the official command line's configuration has no organization {wanted:?}; `sprite contexts` tells which there are"
        ))
    })?;
    let token = match (env_token(), token, keyring) {
        (Some(token), ..) | (None, Some(token), _) => Some(token),
        (None, None, Some(key)) => sprites_backend::context::foreign_token(&key),
        (None, None, None) => None,
    };
    match token {
        Some(token) => remote(&url, Some(token)),
        None => Err(Failure::Other(format!("the token of {wanted} is not to be had; set {ORIGINAL_TOKEN}"))),
    }
}

fn env_token() -> Option<SecretString> {
    let given =
        [ORIGINAL_TOKEN, TOKEN].iter().find_map(|name| env::var(name).ok().filter(|token| !token.is_empty()));
    given.map(Into::into)
}

fn remote(url: &str, token: Option<SecretString>) -> Result<Endpoint, Failure> {
    Endpoint::remote(url, token).map_err(|error| Failure::Other(error.to_string()))
}

fn local(paths: &Paths) -> Result<Endpoint, Failure> {
    let exe = server().map_err(Failure::io("find", SERVER))?;
    ensure_local_server(paths, &exe).map_err(|error| Failure::Other(error.to_string()))?;
    Ok(Endpoint::local(paths))
}

/// The server's executable: beside this one, else on the path.
fn server() -> io::Result<PathBuf> {
    let beside = env::current_exe()?.with_file_name(SERVER);
    if beside.is_file() {
        return Ok(beside);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(SERVER)).find(|file| file.is_file());
    found.ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "it is neither beside `sprite` nor on the path")
    })
}

/// `sprite contexts`.
pub fn list(format: Format) -> Outcome {
    let paths = Paths::resolve().map_err(|error| Failure::Other(error.to_string()))?;
    let config = configured(&paths);
    let mut rows = vec![[LOCAL.to_owned(), "this machine".to_owned(), String::new()]];
    let row = |remote: Remote| [remote.name, remote.url, "--context".to_owned()];
    rows.extend(config.contexts.into_iter().map(row));
    let all = env::home_dir().map(|home| official::organizations(&home)).unwrap_or_default();
    rows.extend(all.into_iter().map(|one| [one.name, one.url, "-o".to_owned()]));
    output::table(format, ["name", "place", "flag"], rows);
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_can_be_pasted() {
        let plain = PlaceArguments::default();
        assert_eq!(plain.flags("web"), "-s web");
        let cloud = PlaceArguments { context: Some("my cloud's".into()), ..plain.clone() };
        assert_eq!(cloud.flags("web"), r"-s web --context 'my cloud'\''s'");
        let team = PlaceArguments { org: Some("acme:team".into()), ..plain };
        assert_eq!(team.flags("web"), "-s web -o acme:team");
    }

    #[test]
    fn the_sprite_of_a_folder() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        assert_eq!(chosen(&deep), None);
        let mine = Chosen { organization: String::new(), sprite: "box".into() };
        let path = choose(root.path(), &mine).unwrap();
        assert_eq!(chosen(&deep), Some((path, mine)));
        // As the original writes it; a broken one is passed over.
        fs::write(root.path().join("a/.sprite"), r#"{"organization":"team","sprite":"dev"}"#).unwrap();
        fs::write(deep.join(".sprite"), "{").unwrap();
        assert_eq!(chosen(&deep).unwrap().1, Chosen { organization: "team".into(), sprite: "dev".into() });
    }
}
