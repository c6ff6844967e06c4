//! A completion in pieces: server-sent events, each with what is new, until `[DONE]`.

use std::ops::ControlFlow;

use reqwest::{
    Response,
    header::{CONTENT_TYPE, HeaderMap},
};

use super::{Chat, Failure, MOST_BODY};

/// Pieces that are waited for once the listener has heard enough: a model that has said all tells its usage in the next ones, and one that
/// goes on is left.
const MOST_AFTER: usize = 8;
/// The data of the event that ends a stream.
const DONE: &[u8] = b"[DONE]";

/// Who hears an answer while it is written.
pub(crate) trait Listener: Send {
    /// A call begins. One that failed before it said anything may be followed by another.
    fn begin(&mut self);

    /// More of the text came. `Break` where that is enough.
    fn hear(&mut self, text: &str) -> ControlFlow<()>;
}

/// Whether a body with these headers comes in pieces.
pub(super) fn is_one(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream")
}

/// The whole answer, told as it comes.
pub(super) async fn listen(mut response: Response, listener: &mut dyn Listener) -> Result<Chat, Failure> {
    let (mut chat, mut events, mut read, mut after) = (Chat::unsaid(), Events::default(), 0, None);
    while let Some(bytes) = response.chunk().await.map_err(Failure::reading)? {
        read += bytes.len();
        if read > MOST_BODY {
            return Err(Failure::invalid(format!("more than {MOST_BODY} bytes")));
        }
        events.push(&bytes);
        while let Some(data) = events.next() {
            if data == DONE {
                return Ok(chat);
            }
            let from = chat.add(&data)?;
            let new = chat.text().get(from..).filter(|new| !new.is_empty());
            match after {
                Some(MOST_AFTER) => return Ok(chat),
                Some(count) => after = Some(count + 1),
                None if new.is_some_and(|new| listener.hear(new).is_break()) => after = Some(0),
                None => {}
            }
        }
    }
    // Some servers end without the word for it, but none without a reason.
    if chat.is_whole() || after.is_some() { Ok(chat) } else { Err(Failure::broken_off("the answer ended early")) }
}

/// Events out of bytes that come in any pieces.
#[derive(Default)]
struct Events {
    bytes: Vec<u8>,
    /// How far they are read.
    at: usize,
    /// The data of the event whose end has not come yet.
    data: Vec<u8>,
}

impl Events {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The data of the next event that is whole.
    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let rest = self.bytes.get(self.at..)?;
            let end = rest.iter().position(|&byte| byte == b'\n')?;
            let line = rest.get(..end)?.trim_ascii_end();
            if line.is_empty() && !self.data.is_empty() {
                self.at += end + 1;
                return Some(std::mem::take(&mut self.data));
            }
            if let Some(data) = line.strip_prefix(b"data:") {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(data.trim_ascii_start());
            }
            self.at += end + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Events;

    #[test]
    fn events_are_the_same_in_whatever_pieces_they_come() {
        let stream = ": hello\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\nevent: x\ndata:é\n\n\n\ndata: [DONE]\n\ndata: half";
        for size in 1..stream.len() {
            let (mut events, mut read) = (Events::default(), Vec::new());
            for piece in stream.as_bytes().chunks(size) {
                events.push(piece);
                while let Some(data) = events.next() {
                    read.push(String::from_utf8(data).unwrap());
                }
            }
            assert_eq!(read, ["{\"a\":\n1}", "é", "[DONE]"], "in pieces of {size}");
        }
    }
}
