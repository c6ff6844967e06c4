//! Server-sent events, read as they come: in pieces that end anywhere, also within a character or between `\r` and `\n`.

use std::fmt::Write as _;

/// One event, or lines that are none (a comment that keeps a connection alive).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its lines as they came, without their ends.
    lines: Vec<Vec<u8>>,
    /// Its name; `message` has none.
    pub(crate) name: String,
    /// Its data, the lines of it with `\n` between.
    pub(crate) data: String,
}

impl Event {
    /// An event that is made here. `data` is JSON, so it has no line ends.
    pub(crate) fn new(name: &str, data: &str) -> Self {
        let lines = vec![format!("event: {name}").into_bytes(), format!("data: {data}").into_bytes()];
        Self { lines, name: name.to_owned(), data: data.to_owned() }
    }

    /// As it is sent.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.lines.join(&b'\n');
        bytes.extend_from_slice(b"\n\n");
        bytes
    }

    fn line(&mut self, line: &[u8]) {
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) => (&line[..colon], line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..])),
            None => (line, &[][..]),
        };
        let value = String::from_utf8_lossy(value);
        match field {
            b"event" => self.name = value.into_owned(),
            b"data" => {
                let first = !self.lines.iter().any(|line| line.starts_with(b"data"));
                // Writing to a string does not fail.
                let _ = write!(self.data, "{}{value}", if first { "" } else { "\n" });
            }
            _ => {}
        }
        self.lines.push(line.to_vec());
    }
}

/// An event is larger than anybody would read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Reads a stream.
#[derive(Default)]
pub(crate) struct Parser {
    event: Event,
    line: Vec<u8>,
    size: usize,
    after_return: bool,
}

impl Parser {
    /// Largest event in bytes: a hundred articles are some 3 kB.
    pub(crate) const MOST: usize = 1024 * 1024;

    /// The events that end in `bytes`, which follow those that came before.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLarge> {
        let mut events = Vec::new();
        for &byte in bytes {
            let second = std::mem::take(&mut self.after_return) && byte == b'\n';
            if second {
                continue;
            }
            self.after_return = byte == b'\r';
            if !matches!(byte, b'\r' | b'\n') {
                self.size += 1;
                if self.size > Self::MOST {
                    return Err(TooLarge);
                }
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if !line.is_empty() {
                self.event.line(&line);
            } else if !self.event.lines.is_empty() {
                self.size = 0;
                events.push(std::mem::take(&mut self.event));
            }
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Parser, TooLarge};

    const STREAM: &str = "event: profile\ndata: {\"age\":34}\n\n: alive\n\nevent:item\ndata: {\"emoji\":\"👖\",\ndata: \"category\":\"بنطلون\"}\nid: 7\n\n";

    fn read(stream: &[u8], at_once: usize) -> Vec<Event> {
        let mut parser = Parser::default();
        stream.chunks(at_once).flat_map(|bytes| parser.read(bytes).unwrap()).collect()
    }

    #[test]
    fn events_are_the_same_in_pieces_of_any_size_and_with_any_line_ends() {
        let whole = read(STREAM.as_bytes(), STREAM.len());
        assert_eq!(whole.len(), 3);
        assert_eq!((whole[0].name.as_str(), whole[0].data.as_str()), ("profile", r#"{"age":34}"#));
        assert_eq!((whole[1].name.as_str(), whole[1].data.as_str()), ("", ""));
        assert_eq!(
            (whole[2].name.as_str(), whole[2].data.as_str()),
            ("item", "{\"emoji\":\"👖\",\n\"category\":\"بنطلون\"}")
        );
        for end in ["\n", "\r\n", "\r"] {
            let stream = STREAM.replace('\n', end);
            for at_once in 1..=stream.len() {
                assert_eq!(read(stream.as_bytes(), at_once), whole, "{end:?} by {at_once}");
            }
        }
    }

    #[test]
    fn an_event_is_sent_as_it_came() {
        let sent: Vec<u8> = read(STREAM.as_bytes(), 5).iter().flat_map(Event::bytes).collect();
        assert_eq!(String::from_utf8(sent).unwrap(), STREAM);
        assert_eq!(Event::new("done", "{}").bytes(), b"event: done\ndata: {}\n\n");
    }

    #[test]
    fn an_event_without_an_end_is_none_and_one_without_bounds_ends_the_reading() {
        assert!(read(b"event: item\ndata: {}\n", 7).is_empty());
        let mut parser = Parser::default();
        assert_eq!(parser.read(&vec![b'x'; Parser::MOST + 1]), Err(TooLarge));
    }

    #[test]
    fn empty_data_lines_count() {
        assert_eq!(read(b"data:\ndata\ndata: x\n\n", 3)[0].data, "\n\nx");
    }
}
