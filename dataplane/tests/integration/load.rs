//! A server under load: what it answers while it is full, while its models are swapped, and while it leaves.
//!
//! Callers here never try again: an answer that is lost is counted.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{body::Bytes, http::Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::Mutex};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    grpc::{self, wire},
    toy::Process,
};

mod bodies;
mod leave;
mod overload;
mod shutdown;
mod swap;

pub(crate) const INFER: &str = "/v2/models/toy/infer";
const V2: &str = r#"{"inputs": [{"name": "a", "shape": [1, 1], "datatype": "FP32", "data": [1]},
    {"name": "b", "shape": [1, 1], "datatype": "FP32", "data": [2]},
    {"name": "id", "shape": [1, 1], "datatype": "BYTES", "data": ["x"]}]}"#;

/// Held by who loads the machine: what is measured is the server, and not the next test.
static TURN: Mutex<()> = Mutex::const_new(());

/// A request to the example over gRPC, raw.
fn message() -> wire::InferRequest {
    let column = |name, datatype| wire::tensor(name, datatype, &[1, 1]);
    let inputs = vec![column("a", "FP32"), column("b", "FP32"), column("id", "BYTES")];
    let raw = vec![1_f32.to_le_bytes().to_vec(), 2_f32.to_le_bytes().to_vec(), b"\x01\0\0\0x".to_vec()];
    wire::InferRequest { model_name: "toy".to_owned(), ..wire::raw(inputs, raw) }
}

/// A gRPC channel, which connects when it is asked.
fn channel(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

/// What became of the requests of all callers.
#[derive(Debug, Default)]
struct Tally {
    answered: AtomicUsize,
    lost: AtomicUsize,
}

fn one_more(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::Relaxed);
}

impl Tally {
    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }

    /// Asks over one connection after the other, each kept as long as the server keeps it, until none is to be had.
    async fn rest(&self, address: &str) {
        while let Ok(stream) = TcpStream::connect(address).await {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            let connection = tokio::spawn(connection);
            while sender.ready().await.is_ok() {
                let request = Request::post(INFER).header("host", "toy").body(Full::<Bytes>::from(V2)).unwrap();
                let answer = match sender.send_request(request).await {
                    Ok(answer) if answer.status() == 200 => answer.into_body().collect().await,
                    // Nothing of it has been written.
                    Err(error) if error.is_canceled() => break,
                    other => {
                        eprintln!("lost: {other:?}");
                        one_more(&self.lost);
                        break;
                    }
                };
                match answer {
                    Ok(body) => {
                        let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
                        assert_eq!(body["outputs"][0]["data"], json!([3.0]));
                        one_more(&self.answered);
                    }
                    Err(error) => {
                        eprintln!("lost: {error:?}");
                        one_more(&self.lost);
                    }
                }
            }
            drop(connection.await);
        }
    }

    /// Asks over a channel, which connects again as long as it can.
    async fn grpc(&self, address: &str) {
        let channel = channel(address);
        loop {
            match grpc::infer(&channel, message()).await {
                Ok(answer) if answer.outputs.len() == 2 => one_more(&self.answered),
                Err(status) if is_refused_connect(&status) => return,
                Err(status) if is_unprocessed(&status) => {}
                other => {
                    eprintln!("lost: {other:?}");
                    one_more(&self.lost);
                }
            }
        }
    }
}

fn is_refused_connect(status: &Status) -> bool {
    status.code() == Code::Unavailable && format!("{status:?}").contains("ConnectionRefused")
}

/// Never sent, or refused by the server's GOAWAY.
fn is_unprocessed(status: &Status) -> bool {
    let text = format!("{status:?}");
    ["hyper::Error(Canceled", "GoAway(b\"\", NO_ERROR, Remote)", "REFUSED_STREAM"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// Resident memory in KiB.
fn resident(toy: &Process) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", toy.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The first bytes of a request whose body is as long as this.
fn head(length: usize) -> Bytes {
    format!("POST {INFER} HTTP/1.1\r\nhost: toy\r\ncontent-length: {length}\r\n\r\n").into()
}
