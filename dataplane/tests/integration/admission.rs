//! More inferences than may be under way at once: refused before their body is read.

use std::pin::pin;

use axum::{body::Body, http::Request};
use dataplane::worker::Permits;
use futures_util::{poll, stream};

use crate::{
    grpc::INFER,
    serving::{Answer, Server, post, server},
};

const MESSAGE: &str = "as many requests as this server takes at once are under way";
const V2: &str = r#"{"inputs": [{"name": "a", "shape": [1, 1], "datatype": "FP32", "data": [1]},
    {"name": "b", "shape": [1, 1], "datatype": "FP32", "data": [2]},
    {"name": "id", "shape": [1, 1], "datatype": "BYTES", "data": ["x"]}]}"#;
const REST: [&str; 4] =
    ["/v1/models/sum:predict", "/v1/models/sum:explain", "/v2/models/sum/infer", "/v2/models/sum/versions/3/infer"];

fn server_for(requests: usize) -> Server {
    let mut server = server();
    server.handler.permits = Permits::new(requests);
    server.again()
}

/// A body that must not be read.
fn unread() -> Body {
    Body::from_stream(stream::poll_fn(|_| -> std::task::Poll<Option<std::io::Result<Vec<u8>>>> { panic!("read") }))
}

fn grpc(path: &str, body: Body) -> Request<Body> {
    post(path).header("content-type", "application/grpc").body(body).unwrap()
}

fn refused(answer: &Answer) {
    answer.refuses(429, "overloaded", MESSAGE);
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn who_is_one_too_many_is_told_so_with_the_body_unread() {
    let server = server_for(0);
    for path in REST {
        refused(&server.post(path, unread()).await);
    }
    let answer = server.send(grpc(INFER, unread())).await;
    let header = |name| answer.header(name).unwrap();
    assert_eq!(
        ["grpc-status", "x-error-code", "retry-after", "grpc-retry-pushback-ms"].map(header),
        ["8", "overloaded", "1", "1000"]
    );
    assert_eq!(header("grpc-message").replace("%20", " "), MESSAGE);
    let refused = |model: &str, protocol: &str| {
        format!(r#"inference_requests_total{{code="overloaded",model="{model}",protocol="{protocol}"}}"#)
    };
    // A gRPC call names its model in the message, which nobody has read.
    for (model, protocol, count) in [("sum", "v1", 2.0), ("sum", "v2", 2.0), ("", "grpc", 1.0)] {
        assert_eq!(server.metric(&refused(model, protocol)).await, Some(count), "{protocol}");
    }
}

#[tokio::test]
async fn health_and_metadata_are_answered_all_the_same() {
    let server = server_for(0);
    for path in
        ["/", "/metrics", "/v1/models", "/v1/models/sum", "/v2", "/v2/health/live", "/v2/models", "/v2/models/sum"]
    {
        assert_eq!(server.get(path).await.status.as_u16(), 200, "{path}");
    }
    assert_eq!(server.get("/v2/models/sum/ready").await.status.as_u16(), 200);
    assert_eq!(server.post("/v2/repository/index", "").await.status.as_u16(), 200);
    for path in ["/inference.GRPCInferenceService/ServerLive", "/grpc.health.v1.Health/Check"] {
        let answer = server.send(grpc(path, Body::from(vec![0; 5]))).await;
        assert_eq!((answer.header("grpc-status"), answer.header("x-error-code")), (None, None), "{path}");
        assert!(!answer.body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_place_is_free_again_after_every_end() {
    let server = server_for(1);
    let free = || assert_eq!(server.handler.permits.taken(), 0);
    for (model, status) in [("sum", 200), ("nope", 404), ("failing", 500), ("panicking", 500), ("full", 429)] {
        let answer = server.post(&format!("/v2/models/{model}/infer"), V2).await;
        assert_eq!(answer.status.as_u16(), status, "{model}");
        free();
    }
    server.send(grpc(INFER, Body::from("no message"))).await;
    free();
    {
        let mut leaves = pin!(server.post("/v2/models/slow/infer", V2));
        assert!(poll!(&mut leaves).is_pending());
        assert_eq!(server.handler.permits.taken(), 1);
        refused(&server.post("/v2/models/sum/infer", V2).await);
    }
    free();
    {
        // One whose message does not come has its place already.
        let never = Body::from_stream(stream::pending::<std::io::Result<Vec<u8>>>());
        let mut leaves = pin!(server.send(grpc(INFER, never)));
        assert!(poll!(&mut leaves).is_pending());
        refused(&server.post("/v2/models/sum/infer", V2).await);
    }
    free();
}
