//! HTTP as it goes over a connection, byte by byte or stream by stream: what a client library would hide.

use std::{fmt::Debug, time::Duration};

use axum::{
    body::Bytes,
    http::{Request, Response, StatusCode, Version},
};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
};

use crate::toy::Process;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// What must come, however long it takes; a test that waits for ever says nothing.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), future).await.expect("it never came")
}

/// Between two looks; nothing depends on how long it is.
pub(crate) async fn pause() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

/// A connection to a listener: `rest`, `grpc`, `admin` or `uds`.
pub(crate) async fn connect(toy: &Process, listener: &str) -> Box<dyn Stream> {
    let address = toy.address(listener).unwrap_or_else(|| panic!("it does not listen for {listener}"));
    match listener {
        "uds" => Box::new(UnixStream::connect(address).await.unwrap()),
        _ => Box::new(TcpStream::connect(address).await.unwrap()),
    }
}

/// An answer over HTTP/1.
#[derive(Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Header lines in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    /// Whether the caller is told to go elsewhere.
    pub(crate) fn closes(&self) -> bool {
        self.head.contains("connection: close")
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: toy\r\n\r\n")
}

pub(crate) fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: toy\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

pub(crate) async fn send(stream: &mut (impl Stream + ?Sized), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// The next answer; none where the connection ends instead.
pub(crate) async fn reply(stream: &mut (impl Stream + ?Sized)) -> Option<Reply> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match soon(stream.read_u8()).await {
            Ok(byte) => head.push(byte),
            Err(_) => return None,
        }
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap()];
    soon(stream.read_exact(&mut body)).await.ok()?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Reply { status, head, body: String::from_utf8(body).unwrap() })
}

pub(crate) async fn ask(stream: &mut (impl Stream + ?Sized), text: &str) -> Option<Reply> {
    send(stream, text).await;
    reply(stream).await
}

/// Waits until the other side ends the connection; nothing more may come.
pub(crate) async fn ends(stream: &mut (impl Stream + ?Sized)) {
    let mut rest = Vec::new();
    let _ = soon(stream.read_to_end(&mut rest)).await;
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

/// A client that speaks HTTP/2 from the first byte, and its connection, which ends as the server says.
pub(crate) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    pub(crate) connection: JoinHandle<hyper::Result<()>>,
}

impl Http2 {
    pub(crate) async fn over(stream: impl Stream) -> Self {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        Self { sender, connection: tokio::spawn(connection) }
    }

    /// One that takes so many bytes of each answer before it reads any.
    pub(crate) async fn with_window(stream: impl Stream, bytes: u32) -> Self {
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        let (sender, connection) =
            http2.initial_stream_window_size(bytes).handshake(TokioIo::new(stream)).await.unwrap();
        Self { sender, connection: tokio::spawn(connection) }
    }

    /// The answer to a gRPC call with an empty message, once it begins.
    pub(crate) async fn call(&mut self, path: &str) -> Response<Incoming> {
        let request = Request::post(format!("http://toy{path}")).header("content-type", "application/grpc");
        soon(self.sender.send_request(request.body(Full::from(vec![0; 5])).unwrap())).await.unwrap()
    }

    /// Begins a request; what it returns is its answer.
    pub(crate) fn send(
        &mut self,
        path: &str,
        body: &str,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        let request = Request::builder().uri(format!("http://toy{path}"));
        let request = if body.is_empty() { request } else { request.method("POST") };
        self.sender.send_request(request.body(Full::from(body.to_owned())).unwrap())
    }

    pub(crate) async fn ask(&mut self, path: &str, body: &str) -> (StatusCode, String) {
        read(soon(self.send(path, body)).await).await
    }
}

/// Status and text of an answer over HTTP/2.
pub(crate) async fn read(answer: Result<Response<Incoming>, impl Debug>) -> (StatusCode, String) {
    let answer = answer.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
    let status = answer.status();
    let body = soon(answer.into_body().collect()).await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The value of a line of the metrics, asked on its own connection to this listener.
pub(crate) async fn metric(toy: &Process, listener: &str, line: &str) -> Option<f64> {
    let mut stream = connect(toy, listener).await;
    let text = ask(&mut stream, &get("/metrics")).await?.body;
    text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
}
