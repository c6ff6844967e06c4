//! gRPC towards a predictor, stream by stream: what a reset says, and when a connection is not used any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, Response},
};
use dataplane::{
    Context, Kind,
    client::{Predictor, Protocol, Settings},
    grpc::proto::ModelInferResponse,
    metrics::Metrics,
};
use futures_util::future::join_all;
use h2::Reason;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{
    predictor::{Mock, context, predictor_set, request},
    predictor_grpc::good,
    wire::soon,
};

/// How many connections share the calls.
const SHARED: usize = 4;

fn grpc(address: &str, retries: u32, metrics: &Metrics) -> Predictor {
    let settings = Settings { protocol: Protocol::GrpcV2, retries, ..Settings::default() };
    predictor_set(address, &settings, metrics.clone())
}

/// What a predictor does with a call.
#[derive(Clone, Copy)]
enum Act {
    Answer,
    Hang,
    Reset(Reason),
}

/// A predictor that does with each call what its number, from 0, says.
struct Streams {
    address: String,
    asked: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Streams {
    async fn acting(act: fn(usize) -> Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let server = Self { address, asked: asked.clone(), connections: connections.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let asked = asked.clone();
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(acted(act(asked.fetch_add(1, Ordering::SeqCst)), request.into_body(), respond));
                    }
                });
            }
        });
        server
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn acted(act: Act, mut sent: h2::RecvStream, mut respond: h2::server::SendResponse<Bytes>) {
    while let Some(Ok(piece)) = sent.data().await {
        sent.flow_control().release_capacity(piece.len()).unwrap();
    }
    match act {
        Act::Reset(reason) => respond.send_reset(reason),
        Act::Hang => std::future::pending().await,
        Act::Answer => {
            let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let mut body = respond.send_response(head, false).unwrap();
            body.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
            let status = ("grpc-status".parse().unwrap(), HeaderValue::from(0));
            body.send_trailers(HeaderMap::from_iter([status])).unwrap();
        }
    }
}

#[tokio::test]
async fn a_call_that_was_refused_undone_is_sent_again_whatever_its_connection() {
    for act in [
        |number| if number == 0 { Act::Reset(Reason::REFUSED_STREAM) } else { Act::Answer },
        |number| if number == SHARED { Act::Reset(Reason::REFUSED_STREAM) } else { Act::Answer },
    ] {
        let (server, metrics) = (Streams::acting(act).await, Metrics::new().unwrap());
        let predictor = grpc(&server.address, 1, &metrics);
        for _ in 0..=SHARED {
            predictor.infer(&request(), &context()).await.unwrap();
        }
        let text = String::from_utf8(metrics.text()).unwrap();
        assert!(text.contains(r#"upstream_retries_total{reason="unavailable",upstream="ranking"} 1"#), "{text}");
    }
}

#[tokio::test]
async fn a_call_that_a_living_server_gave_up_may_have_been_done_and_is_not_sent_again() {
    for act in [
        |number| if number == SHARED { Act::Reset(Reason::CANCEL) } else { Act::Answer },
        |number| if number == SHARED { Act::Reset(Reason::INTERNAL_ERROR) } else { Act::Answer },
    ] {
        let server = Streams::acting(act).await;
        let predictor = grpc(&server.address, 3, &Metrics::new().unwrap());
        for _ in 0..SHARED {
            predictor.infer(&request(), &context()).await.unwrap();
        }
        let error = predictor.infer(&request(), &context()).await.unwrap_err();
        assert_eq!((error.kind(), server.asked()), (Kind::UpstreamInvalid, SHARED + 1), "{error}");
    }
}

/// Goes between a client and a predictor. What is under way when `frozen` changes gets no further, and nobody hangs up: so it is where a
/// machine vanishes.
async fn freezing(to: String, frozen: watch::Sender<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (mut frozen, to) = (frozen.subscribe(), to.clone());
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => {}
                    _ = frozen.changed() => std::future::pending().await,
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn connections_to_a_machine_that_vanished_are_not_used_for_long() {
    let mock = Mock::serving(|_, _| good(&ModelInferResponse::default())).await;
    let frozen = watch::Sender::new(());
    let address = freezing(mock.address.clone(), frozen.clone()).await;
    let predictor = grpc(&address, 0, &Metrics::new().unwrap());
    for _ in 0..SHARED {
        predictor.infer(&request(), &context()).await.unwrap();
    }
    frozen.send_replace(());
    let (request, patient) = (request(), Context::background(Duration::from_secs(1)));
    for answer in join_all((0..SHARED).map(|_| predictor.infer(&request, &patient))).await {
        assert_eq!(answer.unwrap_err().kind(), Kind::UpstreamTimeout);
    }
    for _ in 0..SHARED {
        soon(predictor.infer(&request, &context())).await.unwrap();
    }
    assert_eq!(mock.connections(), 2 * SHARED);
}

#[tokio::test]
async fn one_call_that_is_late_leaves_a_connection_on_which_others_are_answered() {
    let server = Streams::acting(|number| if number == SHARED { Act::Hang } else { Act::Answer }).await;
    let predictor = grpc(&server.address, 0, &Metrics::new().unwrap());
    for _ in 0..SHARED {
        predictor.infer(&request(), &context()).await.unwrap();
    }
    let (request, patient, context) = (request(), Context::background(Duration::from_secs(1)), context());
    let late = predictor.infer(&request, &patient);
    let others = async {
        for _ in 0..2 * SHARED {
            predictor.infer(&request, &context).await.unwrap();
        }
    };
    let (late, ()) = tokio::join!(late, others);
    assert_eq!(late.unwrap_err().kind(), Kind::UpstreamTimeout);
    for _ in 0..SHARED {
        predictor.infer(&request, &context).await.unwrap();
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), SHARED);
}
