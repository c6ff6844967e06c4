//! Compressed bodies, both ways.

use std::io::{Read, Write};

use axum::{body::Body, http::Request};
use dataplane::Datatype;
use flate2::{
    Compression,
    read::{GzDecoder, ZlibDecoder},
    write::{GzEncoder, ZlibEncoder},
};
use serde_json::json;

use crate::{
    echo::{Echo, echoing},
    serving::{Answer, Server},
};

const PREDICT: &str = "/v1/models/echo:predict";
const ONE: &[u8] = br#"{"instances": [1]}"#;

fn server() -> Server {
    echoing([Echo::new("echo", &[("x", Datatype::Fp32, &[-1])])])
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

async fn send(server: &Server, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let request = headers.iter().fold(Request::post(PREDICT), |request, (name, value)| request.header(*name, *value));
    server.send(request.body(Body::from(body)).unwrap()).await
}

async fn post(server: &Server, coding: &str, body: Vec<u8>) -> Answer {
    send(server, &[("content-encoding", coding)], body).await
}

#[tokio::test]
async fn a_compressed_body_is_read_as_what_it_was() {
    let server = server();
    for (coding, body) in [
        ("gzip", gzip(ONE)),
        ("GZIP", [gzip(&ONE[..5]), gzip(&ONE[5..])].concat()),
        ("x-gzip", gzip(ONE)),
        ("deflate", deflate(ONE)),
        ("identity", ONE.to_vec()),
        ("", ONE.to_vec()),
    ] {
        assert_eq!(post(&server, coding, body).await.json(), json!({"predictions": [1.0]}), "{coding}");
    }
}

#[tokio::test]
async fn a_coding_that_is_not_read_here_is_named() {
    let server = server();
    for coding in ["br", "zstd", "gzip, gzip", "gzip, identity"] {
        let message = format!("content encoding `{coding}`: expected gzip, deflate or identity");
        post(&server, coding, ONE.to_vec()).await.refuses(415, "unsupported_media_type", &message);
    }
    let twice = [("content-encoding", "gzip"), ("content-encoding", "gzip")];
    let message = "content encoding `more than one`: expected gzip, deflate or identity";
    send(&server, &twice, gzip(&gzip(ONE))).await.refuses(415, "unsupported_media_type", message);
}

#[tokio::test]
async fn a_body_that_grows_past_the_limit_is_413() {
    let server = server();
    let limit = server.handler.limits.body;
    let padded = |size: usize| [ONE, &vec![b' '; size - ONE.len()]].concat();
    for (coding, compress) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("deflate", deflate)] {
        post(&server, coding, compress(&padded(limit))).await.json();
        let message = format!("the body is larger than {limit} bytes");
        for size in [limit + 1, 16 * limit] {
            let body = compress(&padded(size));
            assert!(body.len() < limit);
            post(&server, coding, body).await.refuses(413, "payload_too_large", &message);
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_what_its_coding_says_is_400() {
    let server = server();
    for (coding, whole) in [("gzip", gzip(ONE)), ("deflate", deflate(ONE))] {
        let mut flipped = whole.clone();
        let last = flipped.len() - 1;
        flipped[last] ^= 1;
        let cut = whole[..whole.len() - 3].to_vec();
        let longer = [whole.as_slice(), b"more"].concat();
        let members = [vec![gzip(b""); 1024].concat(), whole.clone()].concat();
        for body in [ONE.to_vec(), vec![], flipped, cut, longer, members] {
            let message = format!("the body is no {coding}, as its Content-Encoding says");
            post(&server, coding, body).await.refuses(400, "malformed_body", &message);
        }
    }
}

#[tokio::test]
async fn an_answer_is_compressed_for_who_accepts_it_if_it_is_worth_it() {
    let server = server();
    let many = json!({"instances": vec![0.125; 250]}).to_string();
    let plain = server.post(PREDICT, many.clone()).await;
    plain.json();
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("accept-encoding")));
    for coding in ["gzip", "deflate"] {
        let answer = send(&server, &[("accept-encoding", coding)], many.clone().into()).await;
        assert_eq!((answer.header("content-encoding"), answer.header("vary")), (Some(coding), Some("accept-encoding")));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
        assert!(answer.body.len() < plain.body.len() / 10);
        let mut read = Vec::new();
        match coding {
            "gzip" => GzDecoder::new(&answer.body[..]).read_to_end(&mut read).unwrap(),
            _ => ZlibDecoder::new(&answer.body[..]).read_to_end(&mut read).unwrap(),
        };
        assert_eq!(read, plain.body);
    }
    let small = send(&server, &[("accept-encoding", "gzip")], ONE.to_vec()).await;
    assert_eq!((small.header("content-encoding"), small.header("vary")), (None, None));
    small.json();
}

#[tokio::test]
async fn the_header_of_a_binary_answer_counts_the_json_before_it_was_compressed() {
    let server = server();
    let request = json!({"inputs": [{"name": "x", "shape": [1000], "datatype": "FP32", "data": vec![1; 1000]}],
        "parameters": {"binary_data_output": true}});
    let request =
        Request::post("/v2/models/echo/infer").header("accept-encoding", "gzip").body(request.to_string().into());
    let answer = server.send(request.unwrap()).await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let mut read = Vec::new();
    GzDecoder::new(&answer.body[..]).read_to_end(&mut read).unwrap();
    let length: usize = answer.header("inference-header-content-length").unwrap().parse().unwrap();
    assert_eq!(read.len() - length, 4000);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&read[..length]).unwrap()["model_name"], "echo");
}
