//! Unary gRPC over one HTTP/2 connection: the message goes as it stands, and comes back as it was sent.

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request};

use crate::{Answer, Ask, Failure, Plan, connect};

/// Bytes before a message: a flag for compression, and its length.
const PREFIX: usize = 5;

/// The path of the one method that models are asked with.
const PATH: &str = "/inference.GRPCInferenceService/ModelInfer";

pub(crate) struct Connection {
    sender: SendRequest<Bytes>,
    uri: String,
}

impl Ask for Connection {
    async fn open(port: u16) -> Result<Self, Failure> {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 24);
        let (sender, connection) = builder.handshake(connect(port).await?).await?;
        tokio::spawn(connection);
        Ok(Self { sender, uri: format!("http://localhost:{port}{PATH}") })
    }

    fn write(_: &Plan, message: &[u8]) -> Result<Bytes, Failure> {
        let mut framed = BytesMut::with_capacity(PREFIX + message.len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len())?);
        framed.put_slice(message);
        Ok(framed.freeze())
    }

    async fn ask(&mut self, message: &Bytes) -> Result<Answer, Failure> {
        let request = Request::post(&self.uri).header("content-type", "application/grpc").header("te", "trailers");
        let mut sender = self.sender.clone().ready().await?;
        let (answer, mut stream) = sender.send_request(request.body(())?, false)?;
        stream.send_data(message.clone(), true)?;
        let answer = answer.await?;
        if let Some(refused) = refusal(answer.headers())? {
            return Ok(refused);
        }
        let mut body = answer.into_body();
        let mut message = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            message.extend_from_slice(&data);
        }
        if let Some(refused) = refusal(&body.trailers().await?.ok_or("an answer without trailers")?)? {
            return Ok(refused);
        }
        let body = message.split_off(PREFIX.min(message.len())).freeze();
        Ok(Answer { status: 0, good: true, body })
    }
}

/// A status, where there is one that is not 0.
fn refusal(headers: &HeaderMap) -> Result<Option<Answer>, Failure> {
    match headers.get("grpc-status") {
        Some(status) if status != "0" => {
            let message = headers.get("grpc-message").map(|text| Bytes::copy_from_slice(text.as_bytes()));
            let status = status.to_str()?.parse()?;
            Ok(Some(Answer { status, good: false, body: message.unwrap_or_default() }))
        }
        _ => Ok(None),
    }
}
