//! A predictor behind a Unix socket: spoken to as over TCP, and found again whenever its socket comes.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    http::header::HOST,
    response::{IntoResponse, Response},
    serve::ListenerExt,
};
use dataplane::{
    Context, Kind,
    client::{Predictor, Protocol, Settings},
    grpc::proto::ModelInferResponse,
    metrics::Metrics,
};
use tempfile::{TempDir, tempdir};
use tokio::{
    net::{UnixListener, UnixSocket, UnixStream},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    predictor::{context, predictor, predictor_set, request},
    predictor_grpc::good,
    predictor_tls::{authority, believing},
    serving::rows,
    toy::Process,
    wire::{pause, soon},
};

const PROTOCOLS: [Protocol; 3] = [Protocol::V1, Protocol::V2, Protocol::GrpcV2];

/// A folder with a place for a socket.
fn place() -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let socket = folder.path().join("predictor.sock");
    (folder, socket)
}

fn address(socket: &Path) -> String {
    format!("unix:{}", socket.display())
}

/// A server of ours there, which adds up.
fn adder(socket: &Path) -> Process {
    Process::start(&["--model-name", "adder", "--uds", socket.to_str().unwrap(), "--drain-delay", "0"])
}

async fn sums(predictor: &Predictor) -> Vec<f32> {
    let response = predictor.infer(&request(), &context()).await.unwrap();
    response.f32s("sum").unwrap().to_vec()
}

/// What a mock answers, by whichever V2 protocol it is asked.
fn answer(request: &Request) -> Response {
    match request.headers()["content-type"] == "application/grpc" {
        true => good(&ModelInferResponse::default()),
        false => r#"{"outputs": []}"#.into_response(),
    }
}

/// A mock there: how many connections were made to it.
fn mock(socket: &Path) -> Arc<AtomicUsize> {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let listener = UnixListener::bind(socket).unwrap().tap_io(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let app = Router::new().fallback(async |request: Request| answer(&request));
    tokio::spawn(axum::serve(listener, app).into_future());
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_ours_is_asked_by_every_protocol_and_either_form_of_its_address() {
    let (_folder, socket) = place();
    let _adder = adder(&socket);
    for address in [address(&socket), format!("unix://{}", socket.display())] {
        for protocol in PROTOCOLS {
            let predictor = predictor(&address, protocol);
            predictor.ready(&context()).await.unwrap();
            assert_eq!(sums(&predictor).await, [11.0, -2.4], "{protocol:?} {address}");
        }
    }
}

#[tokio::test]
async fn it_is_told_that_it_is_localhost() {
    let (_folder, socket) = place();
    let (sender, mut asked) = mpsc::unbounded_channel();
    let app = Router::new().fallback(async move |request: Request| {
        let header = request.headers().get(HOST).map(|host| host.to_str().unwrap().to_owned());
        sender.send(header.or_else(|| request.uri().authority().map(ToString::to_string))).unwrap();
        answer(&request)
    });
    tokio::spawn(axum::serve(UnixListener::bind(&socket).unwrap(), app).into_future());
    for protocol in [Protocol::V2, Protocol::GrpcV2] {
        predictor(&address(&socket), protocol).infer(&request(), &context()).await.unwrap();
        assert_eq!(asked.recv().await.unwrap().as_deref(), Some("localhost"), "{protocol:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_socket_is_not_there_is_away_and_found_when_it_comes() {
    for protocol in PROTOCOLS {
        let ((_folder, socket), metrics) = (place(), Metrics::new().unwrap());
        let settings = Settings { protocol, ..Settings::default() };
        let predictor = predictor_set(&address(&socket), &settings, metrics.clone());
        assert_eq!(predictor.ready(&context()).await.unwrap_err().kind(), Kind::UpstreamUnavailable);
        for _ in 0..5 {
            let error = predictor.infer(&request(), &context()).await.unwrap_err();
            assert_eq!(error.kind(), Kind::UpstreamUnavailable);
            assert_eq!(error.message(), "predictor `ranking` can't be reached");
            let detail = error.detail().unwrap();
            assert!(detail.starts_with("its socket: ") && !detail.contains("predictor.sock"), "{detail}");
        }
        let text = String::from_utf8(metrics.text()).unwrap();
        assert!(text.contains("upstream_circuit_open{upstream=\"ranking\"} 1"), "{protocol:?}: {text}");
        let _adder = adder(&socket);
        predictor.ready(&context()).await.unwrap();
        assert_eq!(sums(&predictor).await, [11.0, -2.4], "{protocol:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_killed_is_away_until_it_is_started_again() {
    let (_folder, socket) = place();
    let predictors = PROTOCOLS.map(|protocol| predictor(&address(&socket), protocol));
    let first = adder(&socket);
    for predictor in &predictors {
        assert_eq!(sums(predictor).await, [11.0, -2.4]);
    }
    // Its file stays, and nobody listens on it.
    drop(first);
    assert!(socket.exists());
    for predictor in &predictors {
        let error = predictor.infer(&request(), &context()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::UpstreamUnavailable, "{error}");
        assert!(predictor.ready(&context()).await.is_err());
    }
    let _second = adder(&socket);
    for predictor in &predictors {
        predictor.ready(&context()).await.unwrap();
        assert_eq!(sums(predictor).await, [11.0, -2.4]);
    }
}

#[tokio::test]
async fn a_connection_is_used_again_and_replaced_by_age_for_one_to_a_server_that_took_its_place() {
    const AGE: Duration = Duration::from_millis(20);
    for (protocol, connections) in [(Protocol::V2, 1), (Protocol::GrpcV2, 4)] {
        let (_folder, socket) = place();
        let first = mock(&socket);
        let kept = predictor(&address(&socket), protocol);
        let settings = Settings { protocol, connection_age: AGE, retries: 0, ..Settings::default() };
        let aging = predictor_set(&address(&socket), &settings, Metrics::new().unwrap());
        for _ in 0..20 {
            kept.infer(&request(), &context()).await.unwrap();
        }
        assert_eq!(first.load(Ordering::SeqCst), connections, "{protocol:?}");
        aging.infer(&request(), &context()).await.unwrap();
        // The one before goes on with the connections that it has, as one that drains does.
        std::fs::remove_file(&socket).unwrap();
        let second = mock(&socket);
        soon(async {
            while second.load(Ordering::SeqCst) == 0 {
                aging.infer(&request(), &context()).await.unwrap();
                pause().await;
            }
        })
        .await;
        kept.infer(&request(), &context()).await.unwrap();
    }
}

/// A socket that has no room for one more connection, and those that wait in it.
async fn full(socket: &Path) -> (UnixListener, Vec<UnixStream>) {
    let binding = UnixSocket::new_stream().unwrap();
    binding.bind(socket).unwrap();
    let (listener, mut waiting) = (binding.listen(1).unwrap(), Vec::new());
    while let Ok(stream) = UnixStream::connect(socket).await {
        waiting.push(stream);
    }
    (listener, waiting)
}

#[tokio::test]
async fn a_server_that_is_slow_to_accept_is_waited_for() {
    for protocol in [Protocol::V2, Protocol::GrpcV2] {
        let (_folder, socket) = place();
        let (listener, _waiting) = full(&socket).await;
        let settings = Settings { protocol, retries: 0, ..Settings::default() };
        let predictor = predictor_set(&address(&socket), &settings, Metrics::new().unwrap());
        let asked: JoinHandle<_> = tokio::spawn(async move { predictor.infer(&request(), &context()).await });
        pause().await;
        assert!(!asked.is_finished(), "{protocol:?}");
        tokio::spawn(
            axum::serve(listener, Router::new().fallback(async |request: Request| answer(&request))).into_future(),
        );
        soon(asked).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn one_that_never_accepts_is_given_up_in_time() {
    let (_folder, socket) = place();
    let (_listener, _waiting) = full(&socket).await;
    let settings = Settings { retries: 0, ..Settings::default() };
    let predictor = predictor_set(&address(&socket), &settings, Metrics::new().unwrap());
    let (request, patient) = (request(), Context::background(Duration::from_secs(60)));
    let asked = timeout(Duration::from_secs(30), predictor.infer(&request, &patient)).await;
    assert_eq!(asked.expect("it waits for all its time").unwrap_err().kind(), Kind::UpstreamUnavailable);
}

#[test]
fn what_is_no_socket_and_one_with_tls_are_refused() {
    let refusal = |host: &str, settings: &Settings| {
        Predictor::new("r", host, "m", settings, rows(), Metrics::new().unwrap()).unwrap_err()
    };
    for protocol in PROTOCOLS {
        let settings = Settings { protocol, ..Settings::default() };
        for host in ["unix:", "unix:predictor.sock", "unix://host/predictor.sock", "unix:/run/"] {
            assert!(refusal(host, &settings).contains("expected a socket's absolute path"), "{host}");
        }
        let long = format!("unix:/{}", "a".repeat(200));
        assert!(refusal(&long, &settings).contains("too long"));
        let encrypted = Settings { tls: Some(believing(&authority())), ..settings };
        let reason = refusal("unix:/run/predictor.sock", &encrypted);
        assert_eq!(reason, "`unix:/run/predictor.sock` is spoken to in plain, and TLS is asked for");
    }
}
