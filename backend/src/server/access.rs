//! Who may call. The unix socket lies in a folder of this user alone, mode 0600, and needs no token; loopback TCP is open to every user and
//! every web page of this machine, and does.

use super::ServerError;
use super::answer::ApiError;
use crate::reading;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{AUTHORIZATION, CONNECTION};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Shortest token taken from the file, bytes.
const MIN: usize = 16;
/// Largest file, bytes.
const MAX: u64 = 4096;

/// The bearer token of the TCP address.
pub(super) struct Token(SecretString);

impl Token {
    /// The token of the file, which is made when there is none.
    pub(super) fn load_or_make(path: &Path) -> Result<Self, ServerError> {
        let told = |why: String| ServerError::Token { path: path.to_owned(), why };
        let text = match reading::small(path, MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Self::make(path).map_err(|error| told(error.to_string()));
            }
            Err(error) => return Err(told(error.to_string())),
        };
        let token = text.trim();
        if token.len() < MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(told(format!("it must have at least {MIN} plain characters")));
        }
        Ok(Self(token.to_owned().into()))
    }

    fn make(path: &Path) -> io::Result<Self> {
        // Two random UUIDs: 244 bits from the kernel.
        let bytes: Vec<u8> =
            [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].iter().flat_map(|uuid| *uuid.as_bytes()).collect();
        let token = URL_SAFE_NO_PAD.encode(bytes);
        let fresh = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        writeln!(file, "{token}")?;
        file.sync_all()?;
        fs::rename(fresh, path)?;
        Ok(Self(token.into()))
    }

    pub(super) fn fits(&self, given: &str) -> bool {
        given.as_bytes().ct_eq(self.0.expose_secret().as_bytes()).into()
    }
}

/// Lets a request pass that bears the token. The connection of one that does not is closed, so that nobody unknown holds any.
pub(super) async fn check(State(token): State<Arc<Token>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = given.and_then(|value| {
        let (scheme, rest) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(rest.trim())
    });
    let why = match bearer {
        Some(bearer) if token.fits(bearer) => return next.run(request).await,
        Some(_) => {
            "the token is wrong; the right one stands in the file `token` of the server's configuration folder"
        }
        None => {
            "a bearer token is needed; it stands in the file `token` of the server's configuration folder"
        }
    };
    let mut response = ApiError::new(401, "unauthorized", why).into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn tokens_last_and_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let made = Token::load_or_make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        let read = Token::load_or_make(&path).unwrap();
        assert!(made.fits(text.trim()) && read.fits(text.trim()) && !read.fits("x") && !read.fits(""));
        fs::write(&path, "short").unwrap();
        assert!(matches!(Token::load_or_make(&path), Err(ServerError::Token { .. })));
    }
}
