//! Object stores that speak the protocol of S3. Address and credentials are the user's own, in the standard variables of the environment
//! (`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, …); none of them is kept or goes elsewhere.

use super::answer::{Bounded, Unfit};
use super::{EXTENSION, Error, Place, SCHEME, STILL};
use crate::client::{clean, is_obeyed};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, ClientOptions, Error as StoreError, GetOptions, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, RetryConfig, WriteMultipart,
};
use serde::Serialize;
use sprites_api::Time;
use std::env;
use std::error::Error as StdError;
use std::io;
use std::iter::successors;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Bytes of a part. An object has at most 10,000 of them, so an export at most 160 GB.
const PART: usize = 16 << 20;
/// Parts on their way at once.
const PARTS: usize = 4;
/// Pieces that wait to be taken.
const PIECES: usize = 8;
/// Most objects of a list.
const MAX_LISTED: usize = 1000;
/// Most pages that are looked through for them, each of a thousand objects by the protocol.
const MAX_PAGES: usize = 100;
/// How long a list may take in all.
const LISTING: Duration = Duration::from_secs(180);
/// Most bytes of a key, by the protocol.
const MAX_KEY: usize = 1024;
/// Objects that are asked for their names at once.
const ASKED: usize = 8;
/// How long parts may take to be taken: this machine's way out may be slow.
const SLOW: Duration = Duration::from_secs(600);
const CONNECT: Duration = Duration::from_secs(10);
/// How often a request is tried again, and for how long.
const RETRIES: usize = 4;
const RETRYING: Duration = Duration::from_secs(900);
/// Variables of which one says who is asking. Without any the library would look for a machine in Amazon's cloud, and wait for it.
const WHO: [&str; 6] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_METADATA_ENDPOINT",
    "AWS_SKIP_SIGNATURE",
];
/// How refusals are told where the library has no word for them, and what stands before them.
const STATUS: &str = "Server returned non-2xx status code: ";
const REFUSED: [&str; 2] = ["401 Unauthorized", "403 Forbidden"];
const NOT_FOUND: &str = "404 Not Found";
const NOT_ACCEPTED: &str = "the object store does not accept the credentials in the environment for this; look at AWS_ACCESS_KEY_ID and what it may do";
const MISSING: &str =
    "there is no such object, or no such bucket; `sprite exports s3://BUCKET/` lists those that are there";
/// Variables that tell where the store is.
const WHERE: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];

/// An export in an object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its address.
    pub address: String,
    /// Name of the sprite, as whoever stored it told; safe for a terminal.
    pub name: Option<String>,
    /// Id of the checkpoint, likewise.
    pub checkpoint: Option<String>,
    /// When it was stored.
    pub stored: Time,
    /// Its bytes.
    pub bytes: u64,
}

fn set(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The store with that bucket, and the place that errors name.
fn open(bucket: &str, key: &str) -> Result<(AmazonS3, Place), Error> {
    let place = Place::Object { bucket: bucket.to_owned(), key: key.to_owned() };
    if WHO.iter().all(|name| set(name).is_none()) {
        let why = "no credentials for it are in the environment; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_ENDPOINT_URL unless it is Amazon's";
        return Err(Error::Object { place, why: why.into() });
    }
    // The only failure is that some other part of the process has chosen a provider before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Only one that was named so is spoken to in the clear.
    let in_the_clear = WHERE.iter().find_map(|name| set(name)).is_some_and(|url| url.starts_with("http://"));
    let store = built(AmazonS3Builder::from_env().with_bucket_name(bucket), in_the_clear);
    Ok((store.map_err(failed(&place))?, place))
}

fn built(builder: AmazonS3Builder, in_the_clear: bool) -> object_store::Result<AmazonS3> {
    let options = ClientOptions::new()
        .with_allow_http(in_the_clear)
        .with_connect_timeout(CONNECT)
        .with_timeout_disabled()
        // This clock runs while a part goes up, which may be by a slow way; all else has a deadline of its own.
        .with_read_timeout(SLOW);
    let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRYING, ..RetryConfig::default() };
    builder.with_client_options(options).with_retry(retry).with_http_connector(Bounded).build()
}

/// The path of a key that an export can have: no part of it is empty or stands for a folder, and it looks as it is.
pub(super) fn path_of(key: &str) -> Option<Path> {
    let is_plain = key.len() <= MAX_KEY && !key.contains(is_obeyed);
    // The library would leave slashes at its ends out, which is another object.
    Path::parse(key).ok().filter(|path| is_plain && path.as_ref() == key)
}

fn path(key: &str, place: &Place) -> Result<Path, Error> {
    let why = "no export has such a key; give one of at most 1,024 bytes without control characters, whose parts between slashes are neither empty nor dots";
    path_of(key).ok_or_else(|| Error::Object { place: place.clone(), why: why.into() })
}

fn failed(place: &Place) -> impl Fn(StoreError) -> Error + use<> {
    let place = place.clone();
    move |error| {
        let reasons = || successors(Some(&error as &dyn StdError), |&reason| reason.source());
        let unfit = reasons().find_map(|reason| reason.downcast_ref::<Unfit>());
        let unreached = reasons()
            .filter_map(|reason| reason.downcast_ref::<HttpError>())
            .any(|reason| reason.kind() == HttpErrorKind::Connect);
        // The last says it; those before say how the library came to it.
        let reason = reasons().last().map(ToString::to_string).unwrap_or_default();
        let reason = reason.strip_prefix(STATUS).unwrap_or(&reason).trim_end_matches([':', ' ']);
        let is_told = |words: &[&str]| words.iter().any(|word| reason.starts_with(word));
        let why = match (&error, unfit) {
            (_, Some(unfit)) => unfit.to_string(),
            (StoreError::NotFound { .. }, _) => MISSING.to_owned(),
            (StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. }, _) => {
                NOT_ACCEPTED.to_owned()
            }
            // Lists are refused in another way.
            _ if is_told(&REFUSED) => NOT_ACCEPTED.to_owned(),
            _ if is_told(&[NOT_FOUND]) => MISSING.to_owned(),
            // It may be long, and is another's.
            _ if unreached => clean(&format!(
                "the object store cannot be reached ({reason}); look whether AWS_ENDPOINT_URL is its address"
            )),
            _ => clean(&format!("the object store does not do it: {reason}")),
        };
        Error::Object { place: place.clone(), why }
    }
}

fn late(place: &Place, after: Duration) -> Error {
    let why = format!("the object store did nothing for {} s; try again", after.as_secs());
    Error::Object { place: place.clone(), why }
}

/// Waits for an answer of the store's, not for ever.
async fn answered<T>(
    place: &Place,
    work: impl Future<Output = object_store::Result<T>>,
    most: Duration,
) -> Result<T, Error> {
    timeout(most, work).await.map_err(|_| late(place, most))?.map_err(failed(place))
}

/// Stores what comes as an object, in parts, which are taken back when it does not come to its end. `told` goes with it for those who list.
pub(super) async fn put(
    bucket: &str,
    key: &str,
    over: bool,
    told: &[(&'static str, &str)],
    bytes: impl Stream<Item = Result<Bytes, Error>>,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let (store, place) = open(bucket, key)?;
    let path = path(key, &place)?;
    if !over {
        let found = cancel.run_until_cancelled(timeout(STILL, store.head(&path))).await;
        match found.ok_or(Error::Cancelled)?.map_err(|_| late(&place, STILL))? {
            Ok(_) => return Err(Error::Exists(place)),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(failed(&place)(error)),
        }
    }
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::ContentType, "application/zstd".into());
    for (name, value) in told {
        attributes.insert(Attribute::Metadata((*name).into()), (*value).to_owned().into());
    }
    let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
    let begun = answered(&place, store.put_multipart_opts(&path, options), STILL);
    let begun = cancel.run_until_cancelled(begun).await.ok_or(Error::Cancelled)??;
    let mut upload = WriteMultipart::new_with_chunk_size(begun, PART);
    let mut bytes = std::pin::pin!(bytes);
    let moved = async {
        while let Some(piece) = bytes.try_next().await? {
            answered(&place, upload.wait_for_capacity(PARTS), SLOW).await?;
            upload.put(piece);
        }
        answered(&place, upload.wait_for_capacity(0), SLOW).await
    };
    let moved = cancel.run_until_cancelled(moved).await.unwrap_or(Err(Error::Cancelled));
    if let Err(error) = moved {
        // What cannot be taken back now the store clears away when it is told to; the first reason is the one to tell.
        if answered(&place, upload.abort(), STILL).await.is_err() {
            left(&place);
        }
        return Err(error);
    }
    answered(&place, upload.finish(), SLOW).await.map(drop).inspect_err(|_| left(&place))
}

fn left(place: &Place) {
    tracing::warn!("parts of {place} may be left in the object store; abort its incomplete uploads there");
}

/// An object: how many bytes it has, and they.
pub(super) async fn get(
    bucket: &str,
    key: &str,
) -> Result<(u64, impl Stream<Item = io::Result<Bytes>> + Send + Sync + use<>), Error> {
    let (store, place) = open(bucket, key)?;
    let path = path(key, &place)?;
    let found = answered(&place, store.get(&path), STILL).await?;
    let size = found.meta.size;
    let (sender, mut receiver) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        let mut pieces = found.into_stream();
        while let Some(piece) = answered(&place, pieces.try_next(), STILL).await.transpose() {
            let is_last = piece.is_err();
            if sender.send(piece.map_err(io::Error::other)).await.is_err() || is_last {
                return;
            }
        }
    });
    Ok((size, futures::stream::poll_fn(move |context| receiver.poll_recv(context))))
}

/// Leaves the newest of them.
fn newest(found: &mut Vec<ObjectMeta>) {
    found.sort_by_key(|object| std::cmp::Reverse(object.last_modified));
    found.truncate(MAX_LISTED);
}

/// What to do about a list that does not end.
fn endless(place: &Place, bucket: &str, how: &str) -> Error {
    let why = format!("{how}; name a folder with fewer in it, as in `sprite exports s3://{bucket}/FOLDER/`");
    Error::Object { place: place.clone(), why }
}

/// The newest objects in a folder whose names are those of exports.
async fn found(
    store: &AmazonS3,
    place: &Place,
    bucket: &str,
    folder: &Path,
) -> Result<Vec<ObjectMeta>, Error> {
    let prefix = (!folder.is_root()).then(|| format!("{folder}/"));
    let (mut found, mut page_token) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let options = PaginatedListOptions { page_token, ..PaginatedListOptions::default() };
        let page = answered(place, store.list_paginated(prefix.as_deref(), options), STILL).await?;
        let objects = page.result.objects.into_iter();
        found.extend(objects.filter(|object| object.location.as_ref().ends_with(EXTENSION)));
        newest(&mut found);
        page_token = page.page_token.filter(|token| !token.is_empty());
        if page_token.is_none() {
            return Ok(found);
        }
    }
    Err(endless(place, bucket, &format!("the object store's list has not ended after {MAX_PAGES} pages")))
}

/// Objects below a key whose names are those of exports, the newest first.
pub(super) async fn list(bucket: &str, key: &str) -> Result<Vec<Listed>, Error> {
    let (store, place) = open(bucket, key)?;
    let work = listed(&store, &place, bucket, key);
    let late =
        || endless(&place, bucket, &format!("the object store has not told all in {} s", LISTING.as_secs()));
    timeout(LISTING, work).await.map_err(|_| late())?
}

async fn listed(store: &AmazonS3, place: &Place, bucket: &str, key: &str) -> Result<Vec<Listed>, Error> {
    let folder = path(key.strip_suffix('/').unwrap_or(key), place)?;
    let found = found(store, place, bucket, &folder).await?;
    let asked = futures::stream::iter(found).map(async |object| {
        let head = GetOptions { head: true, ..GetOptions::default() };
        let told = timeout(STILL, store.get_opts(&object.location, head)).await;
        let attributes = match told {
            Ok(Ok(told)) => told.attributes,
            Ok(Err(StoreError::NotFound { .. })) => return Ok(None),
            Ok(Err(error)) => return Err(failed(place)(error)),
            Err(_) => return Err(late(place, STILL)),
        };
        let word = |name: &'static str| {
            attributes.get(&Attribute::Metadata(name.into())).map(|value| clean(value.as_ref()))
        };
        Ok(Some(Listed {
            address: format!("{SCHEME}{bucket}/{}", object.location),
            name: word("sprite-name"),
            checkpoint: word("sprite-checkpoint"),
            stored: Time::from_micros(object.last_modified.timestamp_micros()),
            bytes: object.size,
        }))
    });
    let mut listed: Vec<Listed> =
        asked.buffer_unordered(ASKED).try_filter_map(|one| std::future::ready(Ok(one))).try_collect().await?;
    listed.sort_by(|one, two| (two.stored, &one.address).cmp(&(one.stored, &two.address)));
    Ok(listed)
}

#[cfg(test)]
mod tests;
