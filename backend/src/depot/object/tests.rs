//! What a store does that means harm, or that others fill who do.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Longer than any answer may be, buffers of the system included.
const FAR_TOO_MUCH: u64 = 64 << 20;
/// Of what pieces an answer without end is.
static PIECE: [u8; 64 << 10] = [b'a'; 64 << 10];

/// What comes before a body and, unless it has no end, the body.
enum Reply {
    Whole(&'static str, String),
    Endless(&'static str),
}

use Reply::{Endless, Whole};

/// A store on loopback that answers each request's first line, and how many requests and bytes of endless answers there were.
struct Hostile {
    store: AmazonS3,
    place: Place,
    requests: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
    listening: JoinHandle<()>,
}

impl Hostile {
    async fn new(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let builder = AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", listener.local_addr().unwrap()))
            .with_bucket_name("team")
            .with_access_key_id("AKTEST")
            .with_secret_access_key("a-secret-of-the-test");
        let (requests, sent) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (counted, told, answer) = (Arc::clone(&requests), Arc::clone(&sent), Arc::new(answer));
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let (told, answer) = (Arc::clone(&told), Arc::clone(&answer));
                // It ends when the other side has enough.
                tokio::spawn(async move { reply(stream, &*answer, &told).await });
            }
        });
        let place = Place::Object { bucket: "team".into(), key: String::new() };
        Self { store: built(builder, true).unwrap(), place, requests, sent, listening }
    }

    async fn list(&self) -> Result<Vec<Listed>, Error> {
        listed(&self.store, &self.place, "team", "").await
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes of answers without end.
    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

async fn reply(
    stream: TcpStream,
    answer: &(dyn Fn(&str) -> Reply + Send + Sync),
    told: &AtomicU64,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut first, mut line) = (String::new(), String::new());
    stream.read_line(&mut first).await?;
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    match answer(&first) {
        Whole(head, body) => {
            let length = body.len();
            let text = format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(text.as_bytes()).await?;
            if !first.starts_with("HEAD") {
                stream.write_all(body.as_bytes()).await?;
            }
        }
        Endless(head) => {
            stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
            while told.load(Ordering::Relaxed) < FAR_TOO_MUCH {
                stream.write_all(&PIECE).await?;
                told.fetch_add(PIECE.len() as u64, Ordering::Relaxed);
            }
        }
    }
    stream.shutdown().await
}

/// A page with these keys, as they stand in XML.
fn page(keys: &[&str], next: Option<&str>) -> Reply {
    let object = |key: &&str| {
        format!(
            "<Contents><Key>{key}</Key><LastModified>2026-11-26T12:00:00.000Z</LastModified><ETag>\"1\"</ETag><Size>7</Size>\
             <StorageClass>STANDARD</StorageClass></Contents>"
        )
    };
    let next = next.map(|token| format!("<NextContinuationToken>{token}</NextContinuationToken>"));
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>team</Name>\
         <IsTruncated>{}</IsTruncated>{}{}</ListBucketResult>",
        next.is_some(),
        keys.iter().map(object).collect::<String>(),
        next.unwrap_or_default()
    );
    Whole("200 OK", body)
}

/// One sentence for people: of one line, not long, without the texts of machines.
fn sentence(error: &Error) -> String {
    let said = error.to_string();
    assert!(said.len() < 300 && !said.contains(['\n', '<', '{']) && !said.contains("Generic"), "{said}");
    said
}

#[tokio::test]
async fn answers_without_end_are_cut() {
    let path = Path::from("x.sprite");
    for (head, why) in [
        ("200 OK", "longer than the 8388608 bytes"),
        ("200 OK\r\nContent-Length: 4611686018427387904", "longer than the 8388608 bytes"),
        ("400 Bad Request", "400 Bad Request"),
        ("400 Bad Request\r\nContent-Length: 4611686018427387904", "400 Bad Request"),
        ("403 Forbidden", "does not accept the credentials"),
        ("404 Not Found", "no such bucket"),
        ("503 Slow Down", "503 Service Unavailable"),
    ] {
        let hostile = Hostile::new(move |_| Endless(head)).await;
        let said = sentence(&hostile.list().await.unwrap_err());
        assert!(said.contains(why), "{head}: {said}");
        assert!(hostile.sent() < FAR_TOO_MUCH, "{head}");
    }
    let head: &str = format!("200 OK\r\nETag: \"{}\"", "a".repeat(20_000)).leak();
    let hostile = Hostile::new(move |_| Whole(head, String::new())).await;
    assert!(sentence(&hostile.list().await.unwrap_err()).contains("longer than the 16384 bytes"));
    // So are those to whoever writes, and to whoever reads what is not given.
    let hostile = Hostile::new(|_| Endless("200 OK")).await;
    let error =
        hostile.store.put_multipart(&path).await.map(drop).map_err(failed(&hostile.place)).unwrap_err();
    assert!(sentence(&error).contains("longer than the 16384 bytes"), "{error}");
    assert!(hostile.sent() < FAR_TOO_MUCH);
    let hostile = Hostile::new(|_| Endless("404 Not Found")).await;
    let error = hostile.store.get(&path).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }) && hostile.sent() < FAR_TOO_MUCH, "{error}");
}

#[tokio::test]
async fn pages_without_end_are_not_followed() {
    let hostile = Hostile::new(|first| page(&["other"], Some(&format!("after-{}", first.len())))).await;
    let said = sentence(&hostile.list().await.unwrap_err());
    assert!(said.contains("100 pages; name a folder"), "{said}");
    assert_eq!(hostile.requests(), MAX_PAGES as u64);
    // Nor is one whose address would be longer than an address is.
    let long = "a".repeat(100_000);
    let hostile = Hostile::new(move |_| page(&[], Some(&long))).await;
    let said = sentence(&hostile.list().await.unwrap_err());
    assert!(said.contains("longer than") && hostile.requests() == 1, "{said}");
}

#[tokio::test]
async fn one_odd_key_hides_no_others() {
    let long = format!("{}.sprite", "a".repeat(MAX_KEY));
    let hostile = Hostile::new(move |first| {
        if first.starts_with("HEAD") {
            let head = "200 OK\r\nLast-Modified: Thu, 26 Nov 2026 12:00:00 GMT\r\nETag: \"1\"\r\nx-amz-meta-sprite-name: box";
            return Whole(head, "7 bytes".into());
        }
        let keys = [
            "/first.sprite",
            "a&#x1b;[2J.sprite",
            "a&#x0;.sprite",
            "a\u{1}.sprite",
            "a\u{202e}.sprite",
            "a\u{200b}.sprite",
            "a&#xa;b.sprite",
            "x//y.sprite",
            "x/../y.sprite",
            "./y.sprite",
            "last.sprite/",
            &long,
        ];
        if !first.contains("continuation-token=next") {
            return page(
                &[&keys[..], &["box &amp; more/v1.sprite", "team/", "team/notes.txt"]].concat(),
                Some("next"),
            );
        }
        page(&["team/v2.sprite"], None)
    });
    let hostile = hostile.await;
    let found = hostile.list().await.unwrap();
    let addresses: Vec<_> = found.iter().map(|one| one.address.as_str()).collect();
    assert_eq!(addresses, ["s3://team/box & more/v1.sprite", "s3://team/team/v2.sprite"]);
    assert!(found.iter().all(|one| one.bytes == 7 && one.name.as_deref() == Some("box")));
    // What is left out cannot be made either.
    for bad in ["x//y.sprite", "/x.sprite", "x\u{202e}.sprite", "../x.sprite"] {
        sentence(&path(bad, &hostile.place).unwrap_err());
    }
}

#[tokio::test]
async fn reasons_are_for_people() {
    let refused = |code: &str| {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>No, not so.</Message></Error>")
    };
    for (head, body, why) in [
        ("400 Bad Request", refused("InvalidArgument"), "InvalidArgument No, not so"),
        ("404 Not Found", refused("NoSuchBucket"), "no such bucket"),
        ("403 Forbidden", refused("AccessDenied"), "does not accept the credentials"),
        ("400 Bad Request", "<!doctype html><p>nginx".into(), "400 Bad Request"),
        ("200 OK", "hello".into(), "no list of objects"),
        ("200 OK", "<html><body><hr></body></html>".into(), "no list of objects"),
        ("200 OK", "{}".into(), "no list of objects"),
    ] {
        let hostile = Hostile::new(move |_| Whole(head, body.clone())).await;
        let said = sentence(&hostile.list().await.unwrap_err());
        assert!(said.contains(why), "{said}");
    }
    let nobody = Hostile::new(|_| page(&[], None)).await;
    nobody.listening.abort();
    let _ = nobody.listening.await;
    let said = sentence(&listed(&nobody.store, &nobody.place, "team", "").await.unwrap_err());
    assert!(said.contains("cannot be reached (Connection refused"), "{said}");
}

/// What is longer than any text may be, when it is an object.
#[tokio::test]
async fn objects_may_be_long() {
    let long = 3 * (8 << 20);
    let head = "200 OK\r\nLast-Modified: Thu, 26 Nov 2026 12:00:00 GMT\r\nETag: \"1\"";
    let hostile = Hostile::new(move |_| Whole(head, "a".repeat(long))).await;
    let found = hostile.store.get(&Path::from("x.sprite")).await.unwrap();
    let pieces = found.into_stream().try_fold(0, async |all, piece| Ok(all + piece.len()));
    assert_eq!(pieces.await.unwrap(), long);
}
