//! Nobody waits longer than the deadline.

use std::time::Duration;

use axum::body::Body;
use dataplane::limits::Limits;
use futures_util::{StreamExt, stream};

use crate::serving::{Server, server_with};

const V1: &str = r#"{"instances": [{"rows": [[1, 2]], "ids": ["x"]}]}"#;
const V2: &str = r#"{"inputs": [{"name": "a", "shape": [1, 1], "datatype": "FP32", "data": [1]},
    {"name": "b", "shape": [1, 1], "datatype": "FP32", "data": [2]},
    {"name": "id", "shape": [1, 1], "datatype": "BYTES", "data": ["x"]}]}"#;
const MESSAGE: &str = "the request's deadline passed before its answer was ready";

fn hurried() -> Server {
    server_with(Limits { time: Duration::from_millis(50), ..Limits::default() })
}

#[tokio::test]
async fn a_slow_model_is_504() {
    let server = hurried();
    server.post("/v1/models/slow:predict", V1).await.refuses(504, "deadline_exceeded", MESSAGE);
    server.post("/v2/models/slow/infer", V2).await.refuses(504, "deadline_exceeded", MESSAGE);
}

#[tokio::test]
async fn a_body_that_never_ends_is_504() {
    let server = hurried();
    for path in ["/v1/models/sum:predict", "/v2/models/sum/infer"] {
        let pieces = stream::iter([Ok::<_, std::io::Error>("{"), Ok(" ")]).chain(stream::pending());
        server.post(path, Body::from_stream(pieces)).await.refuses(504, "deadline_exceeded", MESSAGE);
    }
}

#[tokio::test]
async fn a_body_that_trickles_does_not_win_time_with_each_piece() {
    let server = hurried();
    let trickle = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Some((Ok::<_, std::io::Error>(" "), ()))
    });
    let answer = server.post("/v2/models/sum/infer", Body::from_stream(trickle)).await;
    answer.refuses(504, "deadline_exceeded", MESSAGE);
}
