//! HTTP/1.1 with keep-alive: bytes written, and as much of the answer read as tells where it ends.

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{Ask, Failure, Plan, connect};

pub(crate) struct Connection {
    stream: TcpStream,
    request: Bytes,
    buffer: BytesMut,
}

impl Connection {
    pub(crate) async fn open(plan: &Plan, body: &[u8]) -> Result<Self, Failure> {
        let mut request = format!("POST {} HTTP/1.1\r\nHost: localhost:{}\r\n", plan.path, plan.port);
        for (name, value) in &plan.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let request = [request.as_bytes(), body].concat().into();
        Ok(Self { stream: connect(plan.port).await?, request, buffer: BytesMut::with_capacity(64 * 1024) })
    }

    async fn read(&mut self) -> Result<(), Failure> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err("the server closed the connection".into()),
            _ => Ok(()),
        }
    }
}

impl Ask for Connection {
    async fn ask(&mut self) -> Result<Bytes, Failure> {
        // The last answer is dropped by now: its room is taken again.
        self.buffer.reserve(64 * 1024);
        self.stream.write_all(&self.request).await?;
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            self.read().await?;
        };
        let length = body_length(std::str::from_utf8(&self.buffer[..end])?)?;
        let successful = self.buffer.starts_with(b"HTTP/1.1 200 ");
        self.buffer.advance(end + 4);
        while self.buffer.len() < length {
            self.read().await?;
        }
        let body = self.buffer.split_to(length).freeze();
        if successful { Ok(body) } else { Err(format!("refused: {}", String::from_utf8_lossy(&body)).into()) }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn body_length(head: &str) -> Result<usize, Failure> {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse())
    });
    Ok(length.ok_or("an answer without a content length")??)
}
