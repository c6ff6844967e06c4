//! A predictor behind TLS: believed where its certificate is vouched for, and nowhere else.

use std::{fs, io, net::SocketAddr, sync::Arc};

use axum::{Router, serve::Listener};
use dataplane::{
    Kind,
    client::{Predictor, Settings, Tls},
    metrics::Metrics,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    predictor::{context, predictor_set, request},
    serving::rows,
};

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Believes `authority`, by a file.
pub(crate) fn believing(authority: &Authority) -> Tls {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ca.pem");
    fs::write(&path, authority.pem()).unwrap();
    Tls::new(Some(&path)).unwrap()
}

struct Encrypted {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// TLS of a server for `localhost` that `authority` vouches for.
fn acceptor(authority: &Authority) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// The port of such a server.
async fn server(authority: &Authority) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().fallback(|| async { r#"{"outputs": []}"# });
    let encrypted = Encrypted { listener, acceptor: acceptor(authority) };
    tokio::spawn(axum::serve(encrypted, app).into_future());
    port
}

fn predictor(host: &str, tls: Tls) -> Predictor {
    predictor_set(host, &Settings { tls: Some(tls), ..Settings::default() }, Metrics::new().unwrap())
}

#[tokio::test]
async fn one_that_is_vouched_for_is_asked() {
    let authority = authority();
    let port = server(&authority).await;
    for host in [format!("localhost:{port}"), format!("https://localhost:{port}")] {
        predictor(&host, believing(&authority)).infer(&request(), &context()).await.unwrap();
    }
}

#[tokio::test]
async fn one_that_is_not_or_has_another_name_is_told_nothing() {
    let (known, other) = (authority(), authority());
    let port = server(&known).await;
    for (host, tls) in
        [(format!("localhost:{port}"), believing(&other)), (format!("127.0.0.1:{port}"), believing(&known))]
    {
        let error = predictor(&host, tls).infer(&request(), &context()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::UpstreamUnavailable);
        assert!(error.detail().unwrap().contains("certificate"), "{error}");
    }
}

#[test]
fn an_address_says_the_same_as_the_setting() {
    let settings = Settings { tls: Some(believing(&authority())), ..Settings::default() };
    let made = |host| Predictor::new("r", host, "m", &settings, rows(), Metrics::new().unwrap());
    assert!(made("host").is_ok() && made("https://host").is_ok());
    assert!(made("http://host").is_err());
}

#[test]
fn a_file_without_certificates_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("empty.pem");
    fs::write(&path, "nothing").unwrap();
    for path in [path, folder.path().join("missing.pem")] {
        let error = Tls::new(Some(&path)).unwrap_err();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}
