//! A request on its way to the app, and the answer on its way back.

use super::Reason;
use super::ways::{Ways, find};
use crate::server::join::join;
use crate::server::listen::Peer;
use crate::sprites::{Guard, Sprite};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version, header};
use axum::response::Response;
use futures::StreamExt;
use hyper::body::Body as _;
use hyper_util::rt::TokioIo;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::time::timeout;

/// How long an app may take to the head of its answer. Many browsers wait longer than that; no person does.
const ANSWER: Duration = Duration::from_secs(300);

/// Wakes the sprite, asks its app, and brings the answer; the sprite stays awake until the last byte has gone through.
pub(super) async fn hand_on(ways: &Ways, sprite: &Sprite, mut request: Request) -> Result<Response, Reason> {
    let guard = sprite.awake("its web address").await?;
    let upgrade = request.headers().get(header::UPGRADE).cloned();
    let client = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    // In this order: a client can have headers taken away by naming them, but not those that tell who it is.
    clean(request.headers_mut(), upgrade.as_ref());
    prepare(&mut request, &sprite.record().name)?;
    let late = |_| {
        Reason(StatusCode::GATEWAY_TIMEOUT, "the web app does not answer in time; look at its log".into())
    };
    let mut answer = timeout(ANSWER, ask(ways, request)).await.map_err(late)??;
    let changed = answer.headers().get(header::UPGRADE).cloned();
    clean(answer.headers_mut(), changed.as_ref());
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = client else {
            let message = "the web app changed the protocol without being asked";
            return Err(Reason(StatusCode::BAD_GATEWAY, message.into()));
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
    Ok(answer.map(|body| held(body, guard)))
}

/// Asks on a kept connection what can be asked twice, for its other end may close it in the same moment (RFC 9112, section 9.3.1).
async fn ask(ways: &Ways, request: Request) -> Result<Response, Reason> {
    let (parts, body) = request.into_parts();
    let repeatable =
        parts.method.is_safe() && body.is_end_stream() && !parts.headers.contains_key(header::UPGRADE);
    if repeatable {
        let again = Request::from_parts(parts.clone(), Body::empty());
        match ways.kept.request(Request::from_parts(parts, Body::empty())).await {
            Ok(answer) => return Ok(answer.map(Body::new)),
            Err(error) if error.is_connect() => return Err(find(error)),
            Err(_) => {
                return ways.fresh.request(again).await.map(|answer| answer.map(Body::new)).map_err(find);
            }
        }
    }
    let answer = ways.fresh.request(Request::from_parts(parts, body)).await.map_err(find)?;
    Ok(answer.map(Body::new))
}

/// A body that keeps the sprite awake until it has gone through.
fn held(body: Body, guard: Guard) -> Body {
    let pieces = futures::stream::unfold((body.into_data_stream(), guard), |(mut pieces, guard)| async {
        let piece = pieces.next().await?;
        Some((piece, (pieces, guard)))
    });
    Body::from_stream(pieces)
}

/// What the app is told beside what was asked.
fn prepare(request: &mut Request, name: &str) -> Result<(), Reason> {
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
    // Ways are found by the sprite's name; the app sees the path alone, as from a browser, and the host in its header.
    let path = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let target = Uri::builder().scheme("http").authority(name).path_and_query(path).build();
    *request.uri_mut() =
        target.map_err(|_| Reason(StatusCode::BAD_REQUEST, "the address cannot be read".into()))?;
    Ok(())
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
    // Many apps take them for those with '-', which this server sets.
    let alike: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
    for name in named.iter().chain(&always).chain(&alike) {
        headers.remove(name);
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::super::headers;
    use super::*;

    #[test]
    fn what_belongs_to_a_connection_goes() {
        let mut given = headers(&[
            ("connection", "keep-alive, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("x_forwarded_for", "192.0.2.1"),
            ("cookie", "a=b"),
        ]);
        clean(&mut given, None);
        assert_eq!(given, headers(&[("cookie", "a=b")]));
        clean(&mut given, Some(&HeaderValue::from_static("websocket")));
        assert_eq!(given[header::UPGRADE], "websocket");
    }
}
