//! Why there is no answer of an app, told to programs and to people.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sprites_api::ErrorBody;

/// Why there is no answer of an app.
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) message: String,
    /// As a page, because a person looks at it.
    pub(super) page: bool,
}

/// Whether whoever asks looks at the answer himself.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepts.is_some_and(|accepts| accepts.contains("text/html"))
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

    #[test]
    fn words_from_inside_are_no_markup() {
        assert_eq!(escaped("<b onclick=\"x\">&"), "&lt;b onclick=&quot;x&quot;&gt;&amp;");
    }
}
