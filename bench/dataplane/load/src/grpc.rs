//! Unary gRPC over one HTTP/2 connection: the message goes as it stands, and comes back as it was sent.

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request};

use crate::{Ask, Failure, Plan, connect};

/// Bytes before a message: a flag for compression, and its length.
const PREFIX: usize = 5;

pub(crate) struct Connection {
    sender: SendRequest<Bytes>,
    uri: String,
    message: Bytes,
}

impl Connection {
    pub(crate) async fn open(plan: &Plan, message: Bytes) -> Result<Self, Failure> {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 24);
        let (sender, connection) = builder.handshake(connect(plan.port).await?).await?;
        tokio::spawn(connection);
        let mut framed = BytesMut::with_capacity(PREFIX + message.len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len())?);
        framed.put_slice(&message);
        Ok(Self { sender, uri: format!("http://localhost:{}{}", plan.port, plan.path), message: framed.freeze() })
    }
}

impl Ask for Connection {
    async fn ask(&mut self) -> Result<Bytes, Failure> {
        let request = Request::post(&self.uri).header("content-type", "application/grpc").header("te", "trailers");
        let mut sender = self.sender.clone().ready().await?;
        let (answer, mut stream) = sender.send_request(request.body(())?, false)?;
        stream.send_data(self.message.clone(), true)?;
        let answer = answer.await?;
        check(answer.headers())?;
        let mut body = answer.into_body();
        let mut message = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            message.extend_from_slice(&data);
        }
        check(&body.trailers().await?.ok_or("an answer without trailers")?)?;
        Ok(message.split_off(PREFIX.min(message.len())).freeze())
    }
}

/// A status, where there is one, must be 0.
fn check(headers: &HeaderMap) -> Result<(), Failure> {
    match headers.get("grpc-status") {
        Some(status) if status != "0" => {
            let message = headers.get("grpc-message").and_then(|text| text.to_str().ok()).unwrap_or_default();
            Err(format!("gRPC status {}: {message}", status.to_str()?).into())
        }
        _ => Ok(()),
    }
}
