//! Sprites' URLs: `http://<name>-<id>.localhost:<port>/…` is the web app inside, woken when it is asked for.
//!
//! Who may ask is the sprite's own setting: everybody, or who has the token. A browser asks for the token by itself (RFC 7617, any user name); what
//! was consumed here does not reach the app.
//!
//! | file | what it is |
//! |---|---|
//! | `mod` | which requests are meant, and who may ask |
//! | `pass` | a request on its way to the app, and the answer on its way back |
//! | `ways` | connections to apps, kept for the next request |
//! | `page` | why there is no answer |

mod page;
mod pass;
mod ways;

use super::App;
use super::access::Token;
use super::answer::ApiError;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use page::{Failure, wants_page};
use std::sync::Arc;
pub(super) use ways::Ways;

/// Names that lead to sprites end so: they are this machine's own, whatever stands before (RFC 6761, section 6.3).
const DOMAIN: &str = ".localhost";

/// What a request to a sprite's URL needs.
#[derive(Clone)]
pub(super) struct Web {
    pub(super) app: App,
    pub(super) token: Arc<Token>,
    pub(super) ways: Ways,
    /// The domain of sprites' URLs beside that of this machine; none when empty.
    pub(super) domain: Arc<str>,
}

/// Takes requests to sprites' URLs out of those to the API.
pub(super) async fn dispatch(State(web): State<Web>, request: Request, next: Next) -> Response {
    // With two hosts somebody on the way may have gone by the other one.
    if request.headers().get_all(header::HOST).iter().count() > 1 {
        return refused(400, "invalid", "a request has one host");
    }
    if request.method() == Method::CONNECT {
        return refused(405, "method_not_allowed", "this is no proxy for other servers");
    }
    match label(request.headers(), &web.domain) {
        Some(label) => web.serve(&label, request).await.unwrap_or_else(IntoResponse::into_response),
        None => next.run(request).await,
    }
}

/// What ends the connection as well: whoever asks so is no client of ours.
fn refused(status: u16, code: &'static str, message: &'static str) -> Response {
    let mut response = ApiError::new(status, code, message).into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The label before one of our domains, if the request's host has one.
fn label(headers: &HeaderMap, domain: &str) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
    let name = name.trim_end_matches('.');
    let ours = name.strip_suffix(DOMAIN);
    let beyond = || name.strip_suffix(domain).filter(|_| !domain.is_empty())?.strip_suffix('.');
    Some(ours.or_else(beyond)?.to_owned())
}

/// Why an app does not answer, with the status that says so. The text is the answer's message.
#[derive(Debug, thiserror::Error)]
#[error("{1}")]
struct Reason(StatusCode, String);

impl Web {
    async fn serve(&self, label: &str, mut request: Request) -> Result<Response, Failure> {
        let page = wants_page(request.headers());
        let fail = |status: StatusCode, message: &str| Failure { status, message: message.to_owned(), page };
        let unknown = || fail(StatusCode::NOT_FOUND, "there is no sprite at this address");
        let (name, word) = label.rsplit_once('-').ok_or_else(unknown)?;
        let sprite = self.app.sprites.get(name).map_err(|_| unknown())?;
        if !sprite.is_called(word) {
            return Err(unknown());
        }
        let admitted = self.token.admits(request.headers());
        if sprite.record().url_settings.auth != "public" && !admitted {
            let message = format!(
                "this sprite's address is not public: give the server's token (the file `token` of its configuration folder) as a \
                 bearer, or as the password of any user; `sprite url update -s {name} --auth public` opens it to everybody"
            );
            return Err(fail(StatusCode::UNAUTHORIZED, &message));
        }
        // A browser goes on sending what it was once asked for, also when the sprite is public by now; an app's own passwords are for the app.
        if admitted {
            request.headers_mut().remove(header::AUTHORIZATION);
        }
        let passed = pass::hand_on(&self.ways, &sprite, request).await;
        passed.map_err(|Reason(status, message)| Failure { status, message, page })
    }
}

impl Token {
    /// Whether a request bears the token: as a bearer, or as a password, which is how browsers ask for it.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some((scheme, rest)) =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '))
        else {
            return false;
        };
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.fits(rest.trim());
        }
        let password = STANDARD.decode(rest.trim()).ok().and_then(|text| String::from_utf8(text).ok());
        scheme.eq_ignore_ascii_case("basic")
            && password.is_some_and(|text| text.split_once(':').is_some_and(|(_, word)| self.fits(word)))
    }
}

#[cfg(test)]
fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (name.parse::<axum::http::HeaderName>().unwrap(), value.parse().unwrap())
    };
    pairs.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let of = |host: &str| label(&headers(&[("host", host)]), "");
        let beyond = |host: &str| label(&headers(&[("host", host)]), "sprites.example.org");
        assert_eq!(beyond("box-1a2b3.Sprites.example.org:8443").as_deref(), Some("box-1a2b3"));
        assert_eq!(beyond("box-1a2b3.localhost").as_deref(), Some("box-1a2b3"));
        assert_eq!(beyond("sprites.example.org"), None);
        assert_eq!(beyond("evilsprites.example.org"), None);
        assert_eq!(of("box-1a2b3.localhost:7777").as_deref(), Some("box-1a2b3"));
        assert_eq!(of("Box-1A2B3.LOCALHOST").as_deref(), Some("box-1a2b3"));
        for host in ["localhost:7777", "127.0.0.1:7777", "[::1]:7777", "box.example.com", "localhost.evil"] {
            assert_eq!(of(host), None, "{host}");
        }
        assert_eq!(label(&HeaderMap::new(), ""), None);
    }
}
