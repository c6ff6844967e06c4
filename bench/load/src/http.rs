//! HTTP/1.1 with keep-alive: bytes written, and as much of the answer read as tells where it ends.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{Answer, Ask, Failure, Plan, connect};

const CONTENT_LENGTH: &[u8] = b"\r\ncontent-length: ";

pub(crate) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Connection {
    /// Reads until `part` has come; where it begins.
    async fn read_until(&mut self, part: &[u8]) -> Result<usize, Failure> {
        loop {
            if let Some(place) = memmem::find(&self.buffer, part) {
                return Ok(place);
            }
            self.read().await?;
        }
    }

    /// Takes so many bytes.
    async fn take(&mut self, length: usize) -> Result<BytesMut, Failure> {
        while self.buffer.len() < length {
            self.read().await?;
        }
        Ok(self.buffer.split_to(length))
    }

    /// The chunks of a body, joined. Each stands behind its length in hex, and the last is empty.
    async fn take_chunks(&mut self) -> Result<BytesMut, Failure> {
        let mut body = BytesMut::new();
        loop {
            let end = self.read_until(b"\r\n").await?;
            let line = self.take(end + 2).await?;
            let length = usize::from_str_radix(std::str::from_utf8(&line)?.trim_end(), 16)?;
            let chunk = self.take(length + 2).await?;
            if length == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    async fn read(&mut self) -> Result<(), Failure> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err("the server closed the connection".into()),
            _ => Ok(()),
        }
    }
}

impl Ask for Connection {
    async fn open(port: u16) -> Result<Self, Failure> {
        Ok(Self { stream: connect(port).await?, buffer: BytesMut::with_capacity(64 * 1024) })
    }

    fn write(plan: &Plan, body: &[u8]) -> Result<Bytes, Failure> {
        let mut request = format!("POST {} HTTP/1.1\r\nHost: localhost:{}\r\n", plan.path, plan.port);
        for (name, value) in &plan.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        Ok([request.as_bytes(), body].concat().into())
    }

    async fn ask(&mut self, request: &Bytes) -> Result<Answer, Failure> {
        // The last answer is dropped by now: its room is taken again.
        self.buffer.reserve(64 * 1024);
        self.stream.write_all(request).await?;
        let end = self.read_until(b"\r\n\r\n").await?;
        let length = body_length(std::str::from_utf8(&self.buffer[..end])?)?;
        let status = self.buffer.get(9..12).ok_or("an answer without a status")?;
        let status: u16 = std::str::from_utf8(status)?.parse()?;
        self.buffer.advance(end + 4);
        let body = match length {
            Some(length) => self.take(length).await?,
            None => self.take_chunks().await?,
        };
        Ok(Answer { status, good: status == 200, body: body.freeze() })
    }
}

/// How long a body is; nothing where it comes in chunks.
fn body_length(head: &str) -> Result<Option<usize>, Failure> {
    // As the servers here write it. A longer head is not to cost its server more than it must.
    if let Some(place) = memmem::find(head.as_bytes(), CONTENT_LENGTH) {
        let digits = &head[place + CONTENT_LENGTH.len()..];
        return Ok(Some(digits.split_once('\r').map_or(digits, |(digits, _)| digits).parse()?));
    }
    let header = |wanted: &str| {
        let mut headers = head.lines().filter_map(|line| line.split_once(':'));
        headers.find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then(|| value.trim()))
    };
    if let Some(length) = header("content-length") {
        return Ok(Some(length.parse()?));
    }
    header("transfer-encoding").map(|_| None).ok_or_else(|| "an answer of no known length".into())
}
