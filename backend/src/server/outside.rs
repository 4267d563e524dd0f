//! Listening beyond loopback, which somebody has to ask for: where, with which certificate, and under which domain sprites' URLs are then.
//!
//! Everything there needs the token, but for URLs of sprites that were made public.

use super::listen::{Peer, Source};
use super::{ServerError, io_error};
use rustls::ServerConfig as TlsConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::future::Ready;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};
use url::{Host, Url};

/// Where to listen beyond loopback, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    address: SocketAddr,
    /// Certificate chain and key, PEM; without them nothing is encrypted.
    tls: Option<(PathBuf, PathBuf)>,
    domain: Option<String>,
}

impl Outside {
    /// `listen` is `https://ADDRESS:PORT` or `http://ADDRESS:PORT`; the first needs a certificate (with those it depends on) and its key, in PEM files.
    /// URLs of sprites are subdomains of `domain`; without one they lead nowhere from other machines.
    pub fn new(
        listen: &str,
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
        domain: Option<String>,
    ) -> Result<Self, ServerError> {
        let wrong = |why: &str| ServerError::Listen { listen: listen.to_owned(), why: why.to_owned() };
        let url = Url::parse(listen)
            .map_err(|_| wrong("it must be https://ADDRESS:PORT or http://ADDRESS:PORT"))?;
        let address = match url.host() {
            Some(Host::Ipv4(address)) => address.into(),
            Some(Host::Ipv6(address)) => address.into(),
            _ => {
                return Err(wrong(
                    "its host must be an IP address of this machine, or 0.0.0.0 or [::] for all of them",
                ));
            }
        };
        let port = url.port_or_known_default().ok_or_else(|| wrong("it needs a port"))?;
        let plain = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !plain {
            return Err(wrong("it must be https://ADDRESS:PORT or http://ADDRESS:PORT, and nothing else"));
        }
        let tls = match (url.scheme(), certificate, key) {
            ("https", Some(certificate), Some(key)) => Some((certificate, key)),
            ("https", ..) => {
                return Err(wrong(
                    "https needs a certificate and its key; name their PEM files as certificate and key",
                ));
            }
            ("http", None, None) => None,
            ("http", ..) => return Err(wrong("http uses no certificate; write https to have it used")),
            _ => return Err(wrong("only https and http can be listened for")),
        };
        let domain = domain.map(|domain| domain.trim_matches('.').to_ascii_lowercase());
        if domain.as_ref().is_some_and(|domain| !is_domain(domain)) {
            return Err(wrong("its domain must be a host name such as sprites.example.org"));
        }
        Ok(Self { address: SocketAddr::new(address, port), tls, domain })
    }

    /// The domain of sprites' URLs.
    pub(super) fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// The beginning of sprites' URLs.
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Begins to listen.
    pub(super) async fn bind(&self) -> Result<Door, ServerError> {
        let acceptor = match &self.tls {
            Some((certificate, key)) => Some(acceptor(certificate, key)?),
            None => {
                tracing::warn!("{} is not encrypted: whoever sees its traffic sees the token", self.address);
                None
            }
        };
        let place = self.address.to_string();
        let listener =
            TcpListener::bind(self.address).await.map_err(|source| io_error("listen on", &place, source))?;
        Ok(Door { listener, acceptor })
    }
}

fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    domain.len() <= 190 && domain.split('.').all(label)
}

fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, ServerError> {
    if fs::metadata(key).is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
        tracing::warn!(
            "others on this machine can read the key {}; `chmod 600` keeps it to you",
            key.display()
        );
    }
    let wrong = |path: &Path, why: String| ServerError::Certificate { path: path.to_owned(), why };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(|chain| chain.collect())
        .map_err(|error| wrong(certificate, error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let mut config = TlsConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(certificate, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| wrong(certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A listener beyond loopback.
pub(super) struct Door {
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
}

impl Door {
    /// Where it listens.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Source for Door {
    type Stream = Outer;
    type Opening = Opening;

    async fn next(&self) -> io::Result<(Opening, Peer)> {
        let (stream, address) = self.listener.accept().await?;
        let _ = stream.set_nodelay(true);
        let peer = Peer { address: Some(address.ip()), encrypted: self.acceptor.is_some() };
        let opening = match &self.acceptor {
            Some(acceptor) => Opening::Tls(Box::new(acceptor.accept(stream))),
            None => Opening::Plain(std::future::ready(Ok(stream))),
        };
        Ok((opening, peer))
    }
}

/// A connection on its way.
pub(super) enum Opening {
    Plain(Ready<io::Result<TcpStream>>),
    Tls(Box<Accept<TcpStream>>),
}

impl Future for Opening {
    type Output = io::Result<Outer>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Plain(opening) => Pin::new(opening).poll(context).map_ok(Outer::Plain),
            Self::Tls(opening) => {
                Pin::new(opening).poll(context).map_ok(|stream| Outer::Tls(Box::new(stream)))
            }
        }
    }
}

/// A connection.
pub(super) enum Outer {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Outer {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Outer {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outside(listen: &str, files: bool, domain: Option<&str>) -> Result<Outside, String> {
        let file = |name: &str| files.then(|| PathBuf::from(name));
        Outside::new(listen, file("c.pem"), file("k.pem"), domain.map(str::to_owned))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn where_to_listen() {
        let good = outside("https://0.0.0.0:8443", true, Some("Sprites.Example.org.")).unwrap();
        assert_eq!((good.scheme(), good.domain()), ("https", Some("sprites.example.org")));
        assert_eq!(outside("https://[::]", true, None).unwrap().address.port(), 443);
        assert!(outside("http://192.0.2.1:80", false, None).is_ok());
        for (listen, files, domain, word) in [
            ("https://0.0.0.0:8443", false, None, "certificate"),
            ("http://0.0.0.0:8443", true, None, "https"),
            ("https://example.org:8443", true, None, "IP address"),
            ("0.0.0.0:8443", true, None, "https://ADDRESS"),
            ("ftp://0.0.0.0:8443", false, None, "only https"),
            ("https://0.0.0.0:8443", true, Some("a b"), "domain"),
            ("https://0.0.0.0:8443", true, Some("a..b"), "domain"),
        ] {
            let error = outside(listen, files, domain).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
