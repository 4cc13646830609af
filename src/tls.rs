//! TLS to both engines. When TLS is on, certificate and host name are checked; no setting disables
//! that.

use std::error::Error;
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

/// Whether a connect failed because the peer's certificate does not prove who it is.
pub fn is_untrusted(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return true;
        }
        // An `io::Error` hides what it wraps from its `source`.
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => match error.downcast_ref::<Arc<io::Error>>() {
                Some(shared) => Some(shared.as_ref()),
                None => error.source(),
            },
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_authorities_is_refused() {
        assert!(client_config(Some("/nowhere/s3cret")).is_err());
        let error = client_config(Some("/dev/null")).unwrap_err().to_string();
        assert!(error.contains("no certificate"), "{error}");
    }
}
