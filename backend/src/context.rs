//! Contexts: the places sprites are. This machine is always one; remote endpoints come from the configuration, their tokens from the
//! environment or the system's keyring. Tokens are never written anywhere else and never shown.

use crate::client::Client;
use crate::endpoint::Endpoint;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::sync::Arc;

/// Name of the context that is this machine.
pub const LOCAL: &str = "local";
/// Environment variable with a token, where a context names no other.
pub const TOKEN: &str = "SPRITES_TOKEN";
/// Environment variable with the address that the usual token is of.
const ADDRESS: &str = "SPRITES_API_URL";
/// Under this name tokens are kept in the keyring.
const SERVICE: &str = "sprites-tui";

/// Gives an endpoint, starting its server if that is possible and needed. Blocks for up to half a minute.
pub type Open = Arc<dyn Fn() -> Result<Endpoint, String> + Send + Sync>;

/// One place.
#[derive(Clone)]
pub struct Context {
    /// Its name.
    pub name: String,
    open: Open,
    /// The same without starting anything, where `open` would.
    place: Option<Open>,
    stopped: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({})", self.name)
    }
}

impl Context {
    /// A context of that name.
    pub fn new(name: impl Into<String>, open: Open) -> Self {
        Self { name: name.into(), open, place: None, stopped: Arc::new(|| false) }
    }

    /// The same, with a way to tell whether somebody has ended its server on purpose.
    pub fn with_stopped(self, stopped: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { stopped: Arc::new(stopped), ..self }
    }

    /// The same, with a way to give the endpoint that starts no server.
    pub fn with_place(self, place: impl Fn() -> Result<Endpoint, String> + Send + Sync + 'static) -> Self {
        Self { place: Some(Arc::new(place)), ..self }
    }

    /// A remote endpoint, its token from the environment variable `variable`, else from the keyring.
    pub fn remote(name: &str, url: &str, variable: Option<&str>) -> Self {
        let (owner, url) = (name.to_owned(), url.to_owned());
        let variable = variable.map(str::to_owned);
        Self::new(
            name,
            Arc::new(move || {
                let token = token(&owner, &url, variable.as_deref())?;
                Endpoint::remote(&url, Some(token)).map_err(|error| error.to_string())
            }),
        )
    }

    /// The endpoint, whose server answers or is being started. Blocks; see [`Open`].
    pub fn endpoint(&self) -> Result<Endpoint, String> {
        (self.open)()
    }

    /// A client of the endpoint, whose server answers or is being started. Blocks; see [`Open`].
    pub fn connect(&self) -> Result<Client, String> {
        let endpoint = (self.open)()?;
        Client::new(endpoint).map_err(|error| error.to_string())
    }

    /// A client of the endpoint as it is: no server is started for it. Blocks, because a keyring may wait for a person.
    pub fn look(&self) -> Result<Client, String> {
        let endpoint = self.place.as_ref().unwrap_or(&self.open)()?;
        Client::new(endpoint).map_err(|error| error.to_string())
    }

    /// Whether somebody has ended its server on purpose.
    pub fn is_stopped(&self) -> bool {
        (self.stopped)()
    }

    /// Makes sure that the endpoint's server runs, where that is in our hands and nobody has ended it on purpose. Blocks; see [`Open`].
    pub fn revive(&self) {
        if !self.is_stopped() {
            // Whoever asks tries to connect again in any case, and hears what is wrong then.
            let _ = (self.open)();
        }
    }
}

fn token(context: &str, url: &str, variable: Option<&str>) -> Result<SecretString, String> {
    if let Some(given) = given(url, variable, |name| std::env::var(name).ok()) {
        return Ok(given.into());
    }
    let variable = variable.unwrap_or(TOKEN);
    entry(context).and_then(|entry| entry.get_password()).map(Into::into).map_err(|error| {
        format!(
            "{context} has no token: {variable} is not set and the keyring gives none ({error}); \
             set it, or run `sprites-tui context token {context}`"
        )
    })
}

/// The token that the environment has for an address. Where that names an address too, the usual variable is of that one alone: nobody else is to be sent it.
fn given(url: &str, variable: Option<&str>, environment: impl Fn(&str) -> Option<String>) -> Option<String> {
    let read = |name| environment(name).filter(|value| !value.is_empty());
    if variable.is_none()
        && read(ADDRESS).is_some_and(|of| of.trim_end_matches('/') != url.trim_end_matches('/'))
    {
        return None;
    }
    read(variable.unwrap_or(TOKEN))
}

/// Keeps a token in the keyring.
pub fn keep_token(context: &str, token: &SecretString) -> Result<(), String> {
    entry(context).and_then(|entry| entry.set_password(token.expose_secret())).map_err(|error| {
        format!(
            "the keyring does not take the token ({error}); put it into the environment variable {TOKEN} instead"
        )
    })
}

/// Takes a token out of the keyring.
pub fn forget_token(context: &str) -> Result<(), String> {
    match entry(context).and_then(|entry| entry.delete_credential()) {
        Ok(()) | Err(keyring::Error::NoEntry) => Ok(()),
        Err(error) => Err(format!("the keyring cannot be asked ({error}); nothing was changed")),
    }
}

/// A token that another program keeps in the keyring, under a key that its configuration names.
pub fn foreign_token(key: &str) -> Option<SecretString> {
    // Written as `service:user`, where there are two parts.
    let (service, user) = key.split_once(':').unwrap_or((key, "default"));
    let kept = keyring::Entry::new(service, user).and_then(|entry| entry.get_password());
    kept.ok().map(Into::into)
}

fn entry(context: &str) -> keyring::Result<keyring::Entry> {
    keyring::Entry::new(SERVICE, context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_the_address_that_it_is_of() {
        let far = "https://far.example";
        let with = |of: &'static str| {
            move |name: &str| match name {
                TOKEN => Some("t".to_owned()),
                "FAR" => Some("f".to_owned()),
                ADDRESS => Some(of.to_owned()),
                _ => None,
            }
        };
        assert_eq!(given(far, None, with("")).as_deref(), Some("t"));
        assert_eq!(given(far, None, with("https://far.example/")).as_deref(), Some("t"));
        assert_eq!(given(far, None, with("http://127.0.0.1:4711")), None);
        assert_eq!(given(far, Some("FAR"), with("http://127.0.0.1:4711")).as_deref(), Some("f"));
    }
}
