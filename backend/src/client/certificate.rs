//! Why an endpoint is not believed to be what it says it is, in plain words and with what helps.
//!
//! Authorities are those of this machine, or, where `SSL_CERT_FILE` (or `SSL_CERT_DIR`) is set, those of that file and no others:
//! `rustls-native-certs` reads them once, when a client is made.

use super::error::clean;
use rustls::{CertificateError, Error as TlsError};
use std::error::Error as StdError;
use std::io;

/// What helps with one's own authority.
const TRUST: &str = "if it is yours, put the certificate (PEM) that it was signed with into a file, and set SSL_CERT_FILE to that file";

/// What is wrong with the certificate of whoever answered, and what to do; none when a connection failed for another reason.
pub(super) fn mistrust(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(TlsError::InvalidCertificate(why)) = error.downcast_ref() {
            return Some(words(why));
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            // An I/O error gives as its source that of what it holds, and passes that over.
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    None
}

fn words(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            format!(
                "its certificate is self-signed, or of an authority that this machine does not know; {TRUST}"
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired; renew it there, and look whether this machine's clock is right"
                .into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; look whether the clocks of both machines are right".into()
        }
        CertificateError::NotValidForName => {
            "its certificate is for another name; use the name that the certificate was made for".into()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            // It is the other side that chose these words.
            let names: Vec<String> = presented.iter().take(8).map(|name| clean(&plain(name))).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            format!(
                "its certificate is for {names} and not for {}; use a name that the certificate was made for, or have one made for this one",
                expected.to_str()
            )
        }
        // The library that looks at certificates keeps this one to itself, and tells it by its name only.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => format!(
            "its certificate is made to sign others (CA:TRUE) and may not be a server's own, as `openssl req -x509` makes them unasked; \
             make one there with `-addext basicConstraints=critical,CA:FALSE`; {TRUST}"
        ),
        other => format!("its certificate is not accepted: {}", clean(&other.to_string())),
    }
}

/// A name as the library tells it, `DnsName("x.example")`, without what is around it.
fn plain(name: &str) -> String {
    name.split('"').nth(1).unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn certificates_are_told_with_what_helps() {
        let told = |why| {
            let inner = io::Error::new(io::ErrorKind::InvalidData, TlsError::InvalidCertificate(why));
            mistrust(&io::Error::other(inner)).unwrap()
        };
        assert!(told(CertificateError::UnknownIssuer).contains("SSL_CERT_FILE"));
        assert!(told(CertificateError::Expired).contains("expired"));
        let name = told(CertificateError::NotValidForNameContext {
            expected: "localhost".try_into().unwrap(),
            presented: vec!["DnsName(\"a.example\")".into(), "\x1b[2J".into()],
        });
        assert!(name.contains("for a.example, [2J and not for localhost"), "{name}");
        #[derive(Debug, thiserror::Error)]
        #[error("x")]
        struct CaUsedAsEndEntity;
        let other = rustls::OtherError(Arc::new(CaUsedAsEndEntity));
        assert!(told(CertificateError::Other(other)).contains("CA:FALSE"));
        assert!(mistrust(&io::Error::other("no")).is_none());
    }
}
