//! Sprites' URLs: `http://<name>-<id>.localhost:<port>/…` is the web app inside, woken when it is asked for.
//!
//! Who may ask is the sprite's own setting: everybody, or who has the token. A browser asks for the token by itself (RFC 7617, any user name); what
//! was consumed here does not reach the app.

use super::App;
use super::access::Token;
use super::answer::ApiError;
use super::join::join;
use super::listen::Peer;
use crate::sprites::{Guard, Sprite, SpriteError};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use sprites_api::ErrorBody;
use sprites_api::agent::WEB;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Names that lead to sprites end so: they are this machine's own, whatever stands before (RFC 6761, section 6.3).
const DOMAIN: &str = ".localhost";
/// How long an agent may take to reach the app: it starts a service and waits for its port.
const REACH: Duration = Duration::from_secs(40);
/// How long an app may take to the head of its answer. Many browsers wait longer than that; no person does.
const ANSWER: Duration = Duration::from_secs(300);
/// Longest reason that is read from an agent, bytes.
const REASON: usize = 16 << 10;
/// What a request to a sprite's URL needs.
#[derive(Clone)]
pub(super) struct Web {
    pub(super) app: App,
    pub(super) token: Arc<Token>,
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

/// Why there is no answer of an app.
struct Failure {
    status: StatusCode,
    message: String,
    /// As a page, because a person looks at it.
    page: bool,
}

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
        let (connection, guard) =
            reach(&sprite).await.map_err(|(status, message)| Failure { status, message, page })?;
        hand_on(connection, guard, request).await.map_err(|(status, message)| Failure {
            status,
            message,
            page,
        })
    }
}

type Reason = (StatusCode, String);

/// A connection to the app inside, and what keeps the sprite awake.
async fn reach(sprite: &Sprite) -> Result<(Upgraded, Guard), Reason> {
    let told = |error: SpriteError| {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_GATEWAY);
        (status, error.to_string())
    };
    let broken = || {
        (StatusCode::BAD_GATEWAY, "the agent inside the sprite broke the connection; try again".to_owned())
    };
    let (stream, guard) = sprite.connect("its web address").await.map_err(told)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| broken())?;
    tokio::spawn(async move {
        // Its end shows in the answer.
        let _ = connection.with_upgrades().await;
    });
    let request = Request::get("/v1/agent/web")
        .header(header::HOST, "agent")
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, WEB)
        .body(Body::empty())
        .map_err(|_| broken())?;
    let late = || {
        (
            StatusCode::GATEWAY_TIMEOUT,
            "the sprite does not reach its web app in time; look at its log".to_owned(),
        )
    };
    let answer =
        timeout(REACH, sender.send_request(request)).await.map_err(|_| late())?.map_err(|_| broken())?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let connection = hyper::upgrade::on(answer).await.map_err(|_| broken())?;
        return Ok((connection, guard));
    }
    let status = if answer.status() == StatusCode::GATEWAY_TIMEOUT {
        answer.status()
    } else {
        StatusCode::BAD_GATEWAY
    };
    let body = Limited::new(answer.into_body(), REASON).collect().await.map_err(|_| broken())?.to_bytes();
    let reason = serde_json::from_slice::<ErrorBody>(&body).map_err(|_| broken())?;
    Err((status, reason.text().chars().take(500).collect()))
}

/// Puts a request to the app at the other end of a connection.
async fn hand_on(connection: Upgraded, guard: Guard, mut request: Request) -> Result<Response, Reason> {
    let broken =
        |_| (StatusCode::BAD_GATEWAY, "the web app closed the connection without an answer".to_owned());
    let (mut sender, driver) = http1::handshake(connection).await.map_err(broken)?;
    tokio::spawn(async move {
        // Its end shows in the answer.
        let _ = driver.with_upgrades().await;
    });
    let upgrade = request.headers().get(header::UPGRADE).cloned();
    let client = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    clean(request.headers_mut(), upgrade.as_ref());
    let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
    let protocol = HeaderValue::from_static(if peer.encrypted { "https" } else { "http" });
    request.headers_mut().insert("x-forwarded-proto", protocol);
    // The user's address, which the app cannot see otherwise.
    let address = peer.address.unwrap_or(Ipv4Addr::LOCALHOST.into()).to_string();
    if let Ok(address) = HeaderValue::from_str(&address) {
        request.headers_mut().insert("x-forwarded-for", address);
    }
    if let Some(host) = request.headers().get(header::HOST).cloned() {
        request.headers_mut().insert("x-forwarded-host", host);
    }
    *request.version_mut() = Version::HTTP_11;
    // An app is asked for a path, as by a browser.
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).parse();
    *request.uri_mut() =
        target.map_err(|_| (StatusCode::BAD_REQUEST, "the address cannot be read".to_owned()))?;
    let late = |_| (StatusCode::GATEWAY_TIMEOUT, "the web app does not answer".to_owned());
    let mut answer = timeout(ANSWER, sender.send_request(request)).await.map_err(late)?.map_err(broken)?;
    let changed = answer.headers().get(header::UPGRADE).cloned();
    clean(answer.headers_mut(), changed.as_ref());
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = client else {
            return Err((
                StatusCode::BAD_GATEWAY,
                "the web app changed the protocol without being asked".to_owned(),
            ));
        };
        let inside = hyper::upgrade::on(&mut answer);
        tokio::spawn(async move {
            let _guard = guard;
            if let Ok((client, inside)) = tokio::try_join!(client, inside) {
                join(TokioIo::new(client), TokioIo::new(inside)).await;
            }
        });
        let (parts, _) = answer.into_parts();
        return Ok(Response::from_parts(parts, Body::empty()));
    }
    // The sprite stays awake until the last byte has gone through.
    let (parts, body) = answer.into_parts();
    let body = Body::from_stream(futures::stream::unfold(
        (Body::new(body).into_data_stream(), guard, sender),
        |(mut pieces, guard, sender)| async {
            let piece = pieces.next().await?;
            Some((piece, (pieces, guard, sender)))
        },
    ));
    Ok(Response::from_parts(parts, body))
}

/// Takes away what belongs to one connection (RFC 9110, section 7.6.1), and puts back what a change of protocol needs.
fn clean(headers: &mut HeaderMap, upgrade: Option<&HeaderValue>) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // A message without a host is none.
        .filter(|name| *name != header::HOST)
        .collect();
    let always = [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        // What a client says of its own address, apps would take for ours.
        HeaderName::from_static("forwarded"),
        HeaderName::from_static("x-real-ip"),
    ];
    for name in named.iter().chain(&always) {
        headers.remove(name);
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
}

fn wants_page(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepts.is_some_and(|accepts| accepts.contains("text/html"))
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

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self { status, message, page } = self;
        let mut response = if page {
            let title = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
            let mut letters = message.chars();
            let first = letters.next().map(char::to_uppercase).into_iter().flatten();
            let more = escaped(&first.chain(letters).collect::<String>());
            let html = format!(
                "<!doctype html><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>{title}</title>\
                 <style>body{{font:16px/1.5 system-ui;max-width:40em;margin:15vh auto;padding:0 1em;color-scheme:light dark}}</style>\
                 <h1>{title}</h1><p>{more}</p>"
            );
            ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
        } else {
            let code = if status == StatusCode::UNAUTHORIZED { "unauthorized" } else { "unreachable" };
            axum::Json(ErrorBody::new(code, message)).into_response()
        };
        if status == StatusCode::UNAUTHORIZED {
            let ask = HeaderValue::from_static("Basic realm=\"sprite\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
        }
        // Whoever may not ask is not to hold a connection.
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        // What is wrong now may be right in a moment.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        *response.status_mut() = status;
        response
    }
}

/// Text as HTML shows it; parts of it come from inside.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

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

    #[test]
    fn what_belongs_to_a_connection_goes() {
        let mut given = headers(&[
            ("connection", "keep-alive, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("cookie", "a=b"),
        ]);
        clean(&mut given, None);
        assert_eq!(given, headers(&[("cookie", "a=b")]));
        clean(&mut given, Some(&HeaderValue::from_static("websocket")));
        assert_eq!(given[header::UPGRADE], "websocket");
    }

    #[test]
    fn words_from_inside_are_no_markup() {
        assert_eq!(escaped("<b onclick=\"x\">&"), "&lt;b onclick=&quot;x&quot;&gt;&amp;");
    }
}
