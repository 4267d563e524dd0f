//! What an object store answers, at the door. The library takes the text of a list, of an error or of anything that is no object whole, however long it is, and
//! gives up a page of a list for one name that is no path of its own. So such texts are read here before it gets them: bounded, and without those names.

use super::object::path_of;
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService, ReqwestConnector,
};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::timeout;

/// Most bytes of a page: by the protocol a thousand keys of 1,024 bytes, each of which an escape can make six, and what else there is of them.
const MAX_PAGE: usize = 8 << 20;
/// Most bytes of any other text, and of all headers, of which the library keeps one for each part of an upload. What the store calls an upload or the next page
/// goes into an address, where a byte may take three, and the library panics at one of 64 KiB.
const MAX_TEXT: usize = 16 << 10;
/// Most characters of an error's text that are for a person.
const MAX_SAID: usize = 160;
/// How long the text of an error may take. The status has said the most.
const MOMENT: Duration = Duration::from_secs(10);

/// Why an answer is none to go on with. Each one plain sentence.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// It is longer than it can be.
    #[error(
        "the object store's answer is longer than the {0} bytes that it can have; look whether AWS_ENDPOINT_URL is its address"
    )]
    Long(usize),
    /// It is something else.
    #[error("the object store's answer is no list of objects; look whether AWS_ENDPOINT_URL is its address")]
    NoList,
}

impl From<Unfit> for HttpError {
    fn from(unfit: Unfit) -> Self {
        // It is not tried again.
        Self::new(HttpErrorKind::Decode, unfit)
    }
}

/// Makes clients of HTTP whose answers are bounded, apart from the bytes of objects, which pass as they come.
#[derive(Debug)]
pub(super) struct Bounded;

impl HttpConnector for Bounded {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Door(ReqwestConnector::default().connect(options)?)))
    }
}

#[derive(Debug)]
struct Door(HttpClient);

#[async_trait]
impl HttpService for Door {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let query = request.uri().query().unwrap_or_default();
        let is_object = request.method() == Method::GET && query.is_empty();
        let is_list = query.split('&').any(|part| part == "list-type=2");
        let (head, body) = self.0.execute(request).await?.into_parts();
        let headers = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        if headers.sum::<usize>() > MAX_TEXT {
            return Err(Unfit::Long(MAX_TEXT).into());
        }
        let body = if !head.status.is_success() {
            said(beginning(body).await).into()
        } else if is_object {
            body
        } else if is_list {
            paths(&whole(body, MAX_PAGE).await?)?.into()
        } else {
            whole(body, MAX_TEXT).await?.into()
        };
        Ok(HttpResponse::from_parts(head, body))
    }
}

async fn whole(body: HttpResponseBody, most: usize) -> Result<Vec<u8>, HttpError> {
    let mut pieces = body.bytes_stream();
    let mut text = Vec::new();
    while let Some(piece) = pieces.try_next().await? {
        if text.len() + piece.len() > most {
            return Err(Unfit::Long(most).into());
        }
        text.extend_from_slice(&piece);
    }
    Ok(text)
}

/// As much of an error's text as there is soon and is to be read.
async fn beginning(body: HttpResponseBody) -> String {
    let mut pieces = body.bytes_stream();
    let mut text = Vec::new();
    let reading = async {
        while text.len() < MAX_TEXT
            && let Some(Ok(piece)) = pieces.next().await
        {
            text.extend_from_slice(&piece);
        }
    };
    // Whatever has come by then is enough.
    let _ = timeout(MOMENT, reading).await;
    text.truncate(MAX_TEXT);
    String::from_utf8_lossy(&text).into_owned()
}

/// An error. <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    code: String,
    #[serde(default)]
    message: String,
}

/// What an error's text says to a person; nothing, when it is for a browser.
fn said(text: String) -> String {
    let text = match quick_xml::de::from_str(&text) {
        Ok(Refusal { code, message }) => format!("{code} {}", message.trim_end_matches('.')),
        Err(_) if text.trim_start().starts_with('<') => String::new(),
        Err(_) => text,
    };
    text.chars().take(MAX_SAID).collect()
}

/// A page of a list, what the library takes from it. <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
#[derive(Serialize, Deserialize)]
#[serde(rename = "ListBucketResult", rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    contents: Vec<Object>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_continuation_token: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    key: String,
    size: String,
    last_modified: String,
}

/// The page without objects whose keys no export has.
fn paths(text: &[u8]) -> Result<String, Unfit> {
    // A key may have what no XML can say; stores say it all the same, and one such key is not to hide the others.
    let text = String::from_utf8_lossy(text).replace("&#x0;", "&#x1;").replace("&#0;", "&#x1;");
    let mut page: Page = quick_xml::de::from_str(&text).map_err(|_| Unfit::NoList)?;
    page.contents.retain(|object| path_of(&object.key).is_some());
    if page.next_continuation_token.as_ref().is_some_and(|token| token.len() > MAX_TEXT) {
        return Err(Unfit::Long(MAX_TEXT));
    }
    quick_xml::se::to_string(&page).map_err(|_| Unfit::NoList)
}
