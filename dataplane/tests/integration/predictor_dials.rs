//! Making connections to a predictor: for all who wait, and without giving up those that there are.

use std::{
    future::pending,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    http::HeaderMap,
    response::{IntoResponse, Response},
    serve::Listener,
};
use dataplane::{
    Kind,
    client::{Protocol, Settings},
    grpc::proto::ModelInferResponse,
    metrics::Metrics,
};
use futures_util::future::join_all;
use tokio::net::{TcpListener, TcpStream};

use crate::{
    predictor::{context, predictor_set, request},
    predictor_grpc::good,
    predictor_tls::{authority, believing},
};

/// Answers whoever asks, by either protocol.
fn app() -> Router {
    Router::new().fallback(async |headers: HeaderMap| -> Response {
        match headers["content-type"] == "application/grpc" {
            true => good(&ModelInferResponse::default()),
            false => r#"{"outputs": []}"#.into_response(),
        }
    })
}

#[tokio::test]
async fn all_who_wait_for_a_connection_share_its_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let dialled = Arc::new(AtomicUsize::new(0));
    let count = dialled.clone();
    // Takes connections and leaves them without TLS, until the client gives up on it.
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(connection) = listener.accept().await {
            held.push(connection);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let tls = Some(believing(&authority()));
    let settings = Settings { protocol: Protocol::GrpcV2, tls, retries: 0, ..Settings::default() };
    let predictor = predictor_set(&format!("localhost:{port}"), &settings, Metrics::new().unwrap());
    let (request, context) = (request(), context());
    for answer in join_all((0..12).map(|_| predictor.infer(&request, &context))).await {
        assert_eq!(answer.unwrap_err().kind(), Kind::UpstreamUnavailable);
    }
    assert_eq!(dialled.load(Ordering::SeqCst), 4, "one for each of the connections that are shared");
}

/// A server that takes a few connections and refuses all others.
struct Few {
    listener: Option<TcpListener>,
    left: usize,
}

impl Listener for Few {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        while let Some(listener) = self.listener.as_ref().filter(|_| self.left > 0) {
            if let Ok(accepted) = listener.accept().await {
                self.left -= 1;
                return accepted;
            }
        }
        self.listener = None;
        pending().await
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.as_ref().ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }
}

#[tokio::test]
async fn one_past_its_age_is_used_on_where_no_other_can_be_made() {
    const AGE: Duration = Duration::from_millis(20);
    for (protocol, connections) in [(Protocol::V2, 1), (Protocol::GrpcV2, 4)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(axum::serve(Few { listener: Some(listener), left: connections }, app()).into_future());
        let settings = Settings { protocol, connection_age: AGE, retries: 0, ..Settings::default() };
        let predictor = predictor_set(&address, &settings, Metrics::new().unwrap());
        for _ in 0..connections {
            predictor.infer(&request(), &context()).await.unwrap();
        }
        for _ in 0..3 * connections {
            tokio::time::sleep(AGE).await;
            predictor.infer(&request(), &context()).await.unwrap();
        }
    }
}
