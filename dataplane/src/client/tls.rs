//! Whom to believe: the certificates that vouch for the services behind this one.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

/// TLS towards a service behind this one. Clones share it.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Believes the certificates in the PEM file `ca`, or those that the system does where none is given.
    ///
    /// # Errors
    /// There are no certificates; the text names the file.
    pub fn new(ca: Option<&Path>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match ca {
            Some(path) => {
                let wrong = |error| format!("{}: no certificates can be read: {error}", path.display());
                for certificate in CertificateDer::pem_file_iter(path).map_err(wrong)? {
                    let certificate = certificate.map_err(wrong)?;
                    roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
                }
                if roots.is_empty() {
                    return Err(format!("{}: no certificate in it", path.display()));
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err("the system has no certificates to believe; give a file".to_owned());
                }
            }
        }
        Self::believing(roots)
    }

    /// Believes nobody: for a client that wants to be told of TLS also where it speaks in plain.
    ///
    /// # Errors
    /// Never with the cryptography that is built in.
    pub fn none() -> Result<Self, String> {
        Self::believing(RootCertStore::empty())
    }

    fn believing(roots: RootCertStore) -> Result<Self, String> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// For a client of one's own: whom to believe, and ring's cryptography. No protocol (ALPN) is named yet.
    #[must_use]
    pub fn client_config(&self) -> ClientConfig {
        ClientConfig::clone(&self.0)
    }

    /// The same for connections that speak `protocol` (its ALPN name).
    pub(super) fn speaking(&self, protocol: &[u8]) -> Arc<ClientConfig> {
        let mut config = self.client_config();
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    }
}
