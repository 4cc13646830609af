//! TLS to both engines. When TLS is on, certificate and host name are checked; no setting disables
//! that.

use std::io;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Trusts only a PEM file's authorities, or else the system's (`SSL_CERT_FILE`, `SSL_CERT_DIR`).
pub fn client_config(authorities: Option<&str>) -> io::Result<Arc<ClientConfig>> {
    trusting(match authorities {
        Some(path) => of_file(path)?,
        None => of_system()?,
    })
}

/// Trusts no authority: for libraries that need a configuration even without TLS.
pub fn no_tls() -> io::Result<Arc<ClientConfig>> {
    trusting(RootCertStore::empty())
}

fn trusting(roots: RootCertStore) -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn of_file(path: &str) -> io::Result<RootCertStore> {
    // The path may be a misplaced secret.
    let unreadable = |error| io::Error::other(format!("the file of authorities: {error}"));
    let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unreadable("it has no certificate in PEM form".to_owned()));
    }
    Ok(roots)
}

fn of_system() -> io::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match (roots.is_empty(), found.errors.first()) {
        (true, Some(error)) => Err(io::Error::other(format!("the system's authorities: {error}"))),
        (true, None) => Err(io::Error::other("the system has no certificate authorities")),
        (false, _) => Ok(roots),
    }
}

/// Removes an option from a URL's query and returns its decoded value.
pub fn take_option(url: &mut String, name: &str) -> Option<String> {
    let (address, query) = url.split_once('?')?;
    let (mut taken, mut kept) = (None, Vec::new());
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some((key, value)) if key == name => taken = Some(decoded(value)),
            _ => kept.push(pair),
        }
    }
    taken.as_ref()?;
    let kept = kept.join("&");
    *url = if kept.is_empty() { address.to_owned() } else { format!("{address}?{kept}") };
    taken
}

/// Decodes percent-encoding.
pub fn decoded(value: &str) -> String {
    // Form decoding would make `+` a space.
    let query = format!("x={}", value.replace('+', "%2B"));
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.next().map_or_else(String::new, |(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_taken_out_of_a_url() {
        for (url, taken, left) in [
            ("amqps://h/x", None, "amqps://h/x"),
            ("amqps://h/x?ca=%2Fa+b", Some("/a+b"), "amqps://h/x"),
            ("amqps://h/x?a=1&ca=/c&b=2", Some("/c"), "amqps://h/x?a=1&b=2"),
            ("amqps://h/x?cab=/c&ca", None, "amqps://h/x?cab=/c&ca"),
        ] {
            let mut rest = url.to_owned();
            assert_eq!((take_option(&mut rest, "ca").as_deref(), rest.as_str()), (taken, left));
        }
    }

    #[test]
    fn a_file_without_authorities_is_refused() {
        assert!(client_config(Some("/nowhere/s3cret")).is_err());
        let error = client_config(Some("/dev/null")).unwrap_err().to_string();
        assert!(error.contains("no certificate"), "{error}");
    }
}
