//! TLS: who is shown what, who gets in, and certificates that change under way.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::http::StatusCode;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tempfile::{TempDir, tempdir};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    toy::Process,
    wire::{Http2, ask, connect, ends, get, metric, pause, reply, send, soon},
};

const FAILURES: &str = "server_tls_handshake_failures_total";

/// An authority, as its certificate and what it signs with.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
struct Pair {
    cert: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { pem: params.self_signed(&key).unwrap().pem(), issuer: Issuer::new(params, key) }
    }

    fn sign(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        Pair { cert: cert.pem(), key: key.serialize_pem() }
    }
}

/// The files of a server, laid out as Kubernetes mounts a Secret: links into a folder that is swapped as a whole.
struct Secret {
    folder: TempDir,
    versions: u32,
}

impl Secret {
    fn of(pair: &Pair) -> Self {
        let mut secret = Self { folder: tempdir().unwrap(), versions: 0 };
        secret.swap(pair);
        for name in ["tls.crt", "tls.key"] {
            std::os::unix::fs::symlink(Path::new("..data").join(name), secret.path(name)).unwrap();
        }
        secret
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn swap(&mut self, pair: &Pair) {
        self.versions += 1;
        let version = self.versions.to_string();
        fs::create_dir(self.path(&version)).unwrap();
        fs::write(self.path(&version).join("tls.crt"), &pair.cert).unwrap();
        fs::write(self.path(&version).join("tls.key"), &pair.key).unwrap();
        std::os::unix::fs::symlink(&version, self.path("..next")).unwrap();
        fs::rename(self.path("..next"), self.path("..data")).unwrap();
    }

    fn start(&self, more: &[&str]) -> Process {
        let (cert, key) = (self.path("tls.crt"), self.path("tls.key"));
        let own = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap(), "--admin-port", "0"];
        Process::start(&[own.as_slice(), more].concat())
    }
}

/// A client that trusts this authority, speaks these protocols, and may have a certificate of its own.
fn client(trusted: &Authority, protocols: &[&str], own: Option<&Pair>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.pem.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    // A resumed session shows no certificate.
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

async fn meet(client: &TlsConnector, toy: &Process, listener: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(toy.address(listener).unwrap()).await.unwrap();
    soon(client.connect(ServerName::try_from("toy.shop").unwrap(), stream)).await
}

/// The certificate that a new connection is shown, in PEM's bytes.
async fn shown(client: &TlsConnector, toy: &Process) -> Vec<u8> {
    let stream = meet(client, toy, "rest").await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn der(pair: &Pair) -> Vec<u8> {
    CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap().to_vec()
}

#[tokio::test]
async fn both_ports_speak_tls_and_the_protocol_that_is_agreed_on() {
    let authority = Authority::new();
    let folder = tempdir().unwrap();
    let socket = folder.path().join("toy.sock");
    let secret = Secret::of(&authority.sign("toy.shop"));
    let toy = secret.start(&["--uds", socket.to_str().unwrap()]);
    for listener in ["rest", "grpc"] {
        for (protocols, agreed) in
            [(vec!["h2", "http/1.1"], "h2"), (vec!["http/1.1"], "http/1.1"), (vec!["http/1.1", "h2"], "h2")]
        {
            let mut stream = meet(&client(&authority, &protocols, None), &toy, listener).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(agreed.as_bytes()), "{listener} {protocols:?}");
            if agreed == "h2" {
                assert_eq!(Http2::over(stream).await.ask("/v2", "").await.0, StatusCode::OK);
            } else {
                assert_eq!(ask(&mut stream, &get("/v2")).await.unwrap().status, 200);
            }
        }
    }
    // Who shares the machine or looks after the server needs none.
    for listener in ["uds", "admin"] {
        let mut plain = connect(&toy, listener).await;
        assert_eq!(ask(&mut plain, &get("/v2/health/live")).await.unwrap().status, 200, "{listener}");
    }
}

#[tokio::test]
async fn who_speaks_no_tls_is_turned_away_and_counted() {
    let authority = Authority::new();
    let secret = Secret::of(&authority.sign("toy.shop"));
    let toy = secret.start(&[]);
    assert_eq!(metric(&toy, "admin", FAILURES).await, Some(0.0));
    let mut plain = connect(&toy, "rest").await;
    send(&mut plain, &get("/v2")).await;
    let mut answer = Vec::new();
    let _ = soon(tokio::io::AsyncReadExt::read_to_end(&mut plain, &mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    while metric(&toy, "admin", FAILURES).await != Some(1.0) {
        pause().await;
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_ends_no_old_ones() {
    let authority = Authority::new();
    let (first, second, third) = (authority.sign("toy.shop"), authority.sign("toy.shop"), authority.sign("toy.shop"));
    let mut secret = Secret::of(&first);
    let toy = secret.start(&[]);
    let plain = client(&authority, &["http/1.1"], None);
    let mut http1 = meet(&plain, &toy, "rest").await.unwrap();
    let mut http2 = Http2::over(meet(&client(&authority, &["h2"], None), &toy, "grpc").await.unwrap()).await;
    assert_eq!(shown(&plain, &toy).await, der(&first));
    // The files are looked at from time to time…
    secret.swap(&second);
    while shown(&plain, &toy).await != der(&second) {
        pause().await;
    }
    // … and when SIGHUP says so.
    secret.swap(&third);
    toy.signal("HUP");
    while shown(&plain, &toy).await != der(&third) {
        pause().await;
    }
    assert_eq!(ask(&mut http1, &get("/v2")).await.unwrap().status, 200);
    assert_eq!(http2.ask("/v2", "").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_bad_new_certificate_is_refused_and_the_old_one_stays() {
    let authority = Authority::new();
    let (good, other, next) = (authority.sign("toy.shop"), authority.sign("toy.shop"), authority.sign("toy.shop"));
    let mut secret = Secret::of(&good);
    let toy = secret.start(&[]);
    let client = client(&authority, &["http/1.1"], None);
    let bad = [
        Pair { cert: "no certificate".to_owned(), key: good.key.clone() },
        Pair { cert: good.cert.clone(), key: other.key.clone() },
        Pair { cert: good.cert.clone(), key: String::new() },
    ];
    for (pair, named) in bad.iter().zip(["--tls-cert", "--tls-cert", "--tls-key"]) {
        secret.swap(pair);
        toy.signal("HUP");
        let line = toy.until_logged("the changed TLS files are refused; the old ones stay in use");
        assert_eq!(line["level"], "ERROR");
        assert!(line["reason"].as_str().unwrap().starts_with(named), "{line}");
        assert_eq!(shown(&client, &toy).await, der(&good));
    }
    secret.swap(&next);
    toy.signal("HUP");
    while shown(&client, &toy).await != der(&next) {
        pause().await;
    }
}

#[tokio::test]
async fn with_mutual_tls_only_the_authoritys_callers_get_in() {
    let (servers, callers, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let folder = tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, &callers.pem).unwrap();
    let secret = Secret::of(&servers.sign("toy.shop"));
    let toy = secret.start(&["--tls-client-ca", ca.to_str().unwrap()]);
    for (count, own) in [(1.0, None), (2.0, Some(strangers.sign("caller")))] {
        // In TLS 1.3 a caller hears of the refusal with its first read.
        if let Ok(mut stream) = meet(&client(&servers, &["http/1.1"], own.as_ref()), &toy, "rest").await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, get("/v2").as_bytes()).await;
            ends(&mut stream).await;
        }
        while metric(&toy, "admin", FAILURES).await != Some(count) {
            pause().await;
        }
    }
    let own = callers.sign("caller");
    for listener in ["rest", "grpc"] {
        let mut stream = meet(&client(&servers, &["http/1.1"], Some(&own)), &toy, listener).await.unwrap();
        assert_eq!(ask(&mut stream, &get("/v2")).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn another_authority_of_callers_is_taken_up_and_a_bad_one_refused() {
    let (servers, old, new) = (Authority::new(), Authority::new(), Authority::new());
    let folder = tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let swap = |text: &str| {
        fs::write(folder.path().join("next"), text).unwrap();
        fs::rename(folder.path().join("next"), &ca).unwrap();
    };
    swap(&old.pem);
    let secret = Secret::of(&servers.sign("toy.shop"));
    let toy = secret.start(&["--tls-client-ca", ca.to_str().unwrap()]);
    let callers = [old.sign("caller"), new.sign("caller")];
    let [before, after] = callers.each_ref().map(|own| client(&servers, &["http/1.1"], Some(own)));
    let gets_in = async |client: &TlsConnector| match meet(client, &toy, "rest").await {
        // In TLS 1.3 a caller hears of the refusal with its first read.
        Ok(mut stream) => {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, get("/v2").as_bytes()).await;
            reply(&mut stream).await.is_some()
        }
        Err(_) => false,
    };
    assert!(gets_in(&before).await && !gets_in(&after).await);
    swap("no authority");
    toy.signal("HUP");
    let refused = toy.until_logged("the changed TLS files are refused; the old ones stay in use");
    assert!(refused["reason"].as_str().unwrap().starts_with("--tls-client-ca"), "{refused}");
    assert!(gets_in(&before).await && !gets_in(&after).await);
    swap(&new.pem);
    toy.signal("HUP");
    while !gets_in(&after).await {
        pause().await;
    }
    assert!(!gets_in(&before).await);
}

#[test]
fn files_that_no_tls_can_be_had_with_end_the_start() {
    let authority = Authority::new();
    let (pair, other) = (authority.sign("toy.shop"), authority.sign("toy.shop"));
    let secret = Secret::of(&pair);
    let (cert, key, text) = (secret.path("tls.crt"), secret.path("tls.key"), secret.path("text"));
    let (foreign, missing) = (secret.path("other.key"), secret.path("missing.pem"));
    fs::write(&text, "no PEM").unwrap();
    fs::write(&foreign, &other.key).unwrap();
    let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let cases = [
        ("--tls-cert", vec![("--tls-cert", &missing), ("--tls-key", &key)]),
        ("--tls-cert", vec![("--tls-cert", &text), ("--tls-key", &key)]),
        ("--tls-key", vec![("--tls-cert", &cert), ("--tls-key", &missing)]),
        ("--tls-key", vec![("--tls-cert", &cert), ("--tls-key", &text)]),
        ("--tls-cert", vec![("--tls-cert", &cert), ("--tls-key", &foreign)]),
        ("--tls-client-ca", vec![("--tls-cert", &cert), ("--tls-key", &key), ("--tls-client-ca", &text)]),
        ("--tls-key", vec![("--tls-cert", &cert)]),
        ("--tls-cert", vec![("--tls-key", &key)]),
    ];
    for (named, files) in cases {
        let arguments: Vec<_> = files.iter().map(|(flag, file)| format!("{flag}={}", path(file))).collect();
        let (code, line) = Process::refusal(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(code, Some(64), "{arguments:?}: {line}");
        assert!(line.contains(named) && line.lines().count() == 1, "{arguments:?}: {line}");
        assert!(!line.contains("PRIVATE"), "{line}");
    }
}
