//! Object stores that speak the protocol of S3. Address and credentials are the user's own, in the standard variables of the environment
//! (`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, …); none of them is kept or goes elsewhere.

use super::{EXTENSION, Error, Place, STILL};
use crate::client::clean;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, ClientOptions, Error as StoreError, GetOptions, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, RetryConfig, WriteMultipart,
};
use serde::Serialize;
use sprites_api::Time;
use std::env;
use std::io;
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
/// How refusals are told where the library has no word for them.
const REFUSED: [&str; 2] = ["401 Unauthorized", "403 Forbidden"];
const NOT_ACCEPTED: &str = "the object store does not accept the credentials in the environment for this; look at AWS_ACCESS_KEY_ID and what it may do";
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
    let options = ClientOptions::new()
        .with_allow_http(in_the_clear)
        .with_connect_timeout(CONNECT)
        .with_timeout_disabled()
        // This clock runs while a part goes up, which may be by a slow way; all else has a deadline of its own.
        .with_read_timeout(SLOW);
    let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRYING, ..RetryConfig::default() };
    let builder =
        AmazonS3Builder::from_env().with_bucket_name(bucket).with_client_options(options).with_retry(retry);
    let store = builder.build().map_err(failed(&place))?;
    Ok((store, place))
}

fn path(key: &str, place: &Place) -> Result<Path, Error> {
    Path::parse(key).map_err(|error| Error::Object { place: place.clone(), why: clean(&error.to_string()) })
}

fn failed(place: &Place) -> impl Fn(StoreError) -> Error + use<> {
    let place = place.clone();
    move |error| {
        let why = match &error {
            StoreError::NotFound { .. } => "there is no such object, or no such bucket; `sprite exports s3://BUCKET/` lists those that are there".to_owned(),
            StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
                NOT_ACCEPTED.to_owned()
            }
            // Lists are refused in another way.
            StoreError::Generic { source, .. } if REFUSED.iter().any(|word| source.to_string().contains(word)) => {
                NOT_ACCEPTED.to_owned()
            }
            // What it says may be long, and is another's.
            other => clean(&format!("the object store does not do it: {other}")),
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

/// Objects below a key whose names are those of exports, the newest first.
pub(super) async fn list(bucket: &str, key: &str) -> Result<Vec<Listed>, Error> {
    let (store, place) = open(bucket, key)?;
    let prefix = path(key.trim_end_matches('/'), &place)?;
    let found = store
        .list(Some(&prefix).filter(|prefix| !prefix.as_ref().is_empty()))
        .try_filter(|object| std::future::ready(object.location.as_ref().ends_with(EXTENSION)))
        .try_fold(Vec::new(), async |mut found: Vec<ObjectMeta>, object| {
            found.push(object);
            if found.len() >= 2 * MAX_LISTED {
                newest(&mut found);
            }
            Ok(found)
        });
    let mut found = answered(&place, found, SLOW).await?;
    newest(&mut found);
    let (store, place) = (&store, &place);
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
            address: clean(&format!("s3://{bucket}/{}", object.location)),
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
