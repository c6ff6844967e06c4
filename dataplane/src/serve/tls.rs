//! TLS: certificates from files, which are read anew as they change.

use std::{
    fmt, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::activity::Stream;
use crate::config::TlsArgs;

const CERT: &str = "--tls-cert";
const KEY: &str = "--tls-key";
const CLIENT_CA: &str = "--tls-client-ca";

/// Time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How often the files are looked at. Kubernetes swaps a Secret's files within a minute or two, so this adds little.
const LOOK: Duration = Duration::from_secs(3);

/// What new connections are met with: always the newest good certificate.
#[derive(Clone)]
pub(super) struct Current(watch::Receiver<Arc<ServerConfig>>);

impl Current {
    /// Meets a caller.
    ///
    /// # Errors
    /// They do not come to terms, or not in time.
    pub(super) async fn handshake(&self, stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
        let config = self.0.borrow().clone();
        let met = timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await;
        Ok(Box::new(met.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long"))??))
    }
}

/// The files of a TLS server.
#[derive(Clone)]
pub(super) struct Files {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// What stood in the files.
#[derive(Hash)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// Tells what was read apart, without keeping a key in memory for it.
fn fingerprint(read: &Result<Contents, String>) -> u64 {
    let mut hasher = DefaultHasher::new();
    read.hash(&mut hasher);
    hasher.finish()
}

impl Files {
    /// The files that the settings name; none without TLS.
    pub(super) fn of(args: &TlsArgs) -> Option<Self> {
        let (cert, key) = (args.tls_cert.clone()?, args.tls_key.clone()?);
        Some(Self { cert, key, client_ca: args.tls_client_ca.clone() })
    }

    /// What to serve with, kept up with the files from now on: looked at every few seconds, and when `reload` says so.
    ///
    /// # Errors
    /// A file is missing or bad; the text names its flag.
    pub(super) fn watch(self, reload: watch::Receiver<()>) -> Result<Current, String> {
        let read = self.read();
        let seen = fingerprint(&read);
        let (sender, current) = watch::channel(Arc::new(self.config(&read?)?));
        tokio::spawn(self.follow(seen, reload, sender));
        Ok(Current(current))
    }

    async fn follow(self, mut seen: u64, mut reload: watch::Receiver<()>, sender: watch::Sender<Arc<ServerConfig>>) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                Ok(()) = reload.changed() => {}
                () = sender.closed() => return,
            }
            let files = self.clone();
            let Ok(Some(read)) = tokio::task::spawn_blocking(move || files.read_settled()).await else { continue };
            let found = fingerprint(&read);
            if found == seen {
                continue;
            }
            // What is refused is remembered too: it is told once, not at every look.
            seen = found;
            match read.and_then(|contents| self.config(&contents)) {
                Ok(config) => {
                    tracing::info!("the TLS files have changed; new connections get the new certificate");
                    let _ = sender.send(Arc::new(config));
                }
                Err(reason) => tracing::error!(reason, "the changed TLS files are refused; the old ones stay in use"),
            }
        }
    }

    /// The files, unless they change as they are read: a pair must not be half old and half new.
    fn read_settled(&self) -> Option<Result<Contents, String>> {
        let read = self.read();
        (fingerprint(&read) == fingerprint(&self.read())).then_some(read)
    }

    fn read(&self) -> Result<Contents, String> {
        let read = |flag: &str, path: &Path| fs::read(path).map_err(|error| wrong(flag, path, error));
        Ok(Contents {
            cert: read(CERT, &self.cert)?,
            key: read(KEY, &self.key)?,
            client_ca: self.client_ca.as_ref().map(|path| read(CLIENT_CA, path)).transpose()?,
        })
    }

    fn config(&self, contents: &Contents) -> Result<ServerConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(CERT, &self.cert, &contents.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|_| wrong(KEY, &self.key, "expected a private key in PEM, not encrypted"))?;
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let builder = match (&self.client_ca, &contents.client_ca) {
            (Some(path), Some(text)) => {
                let roots = roots(path, text)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| wrong(CLIENT_CA, path, error))?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| wrong(CERT, &self.cert, error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn certificates(flag: &str, path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    match CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>() {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(wrong(flag, path, "expected certificates in PEM")),
    }
}

fn roots(path: &Path, text: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(CLIENT_CA, path, text)? {
        roots.add(certificate).map_err(|error| wrong(CLIENT_CA, path, error))?;
    }
    Ok(roots)
}

fn wrong(flag: &str, path: &Path, what: impl fmt::Display) -> String {
    format!("{flag}: {}: {what}", path.display())
}
