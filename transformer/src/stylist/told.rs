//! What the LLM tells, as it tells it: server-sent events, read up to a bound.

use dataplane::Kind;
use serde::{Deserialize, Serialize};

/// Bytes of one event, and of the whole stream; what an outfit needs is a few thousand.
const MOST_EVENT: usize = 64 * 1024;
const MOST_STREAM: usize = 1024 * 1024;
/// Characters of what is read of a text.
const MOST_EMOJI: usize = 16;
const MOST_CATEGORY: usize = 80;
const MOST_DESCRIPTION: usize = 600;
const MOST_SUMMARY: usize = 2_000;
const MOST_NAME: usize = 120;

/// What an item is called that has no name of its own.
pub(super) const EMOJI: &str = "🔷";
pub(super) const CATEGORY: &str = "Item";

/// A part of an outfit, in words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Item {
    #[serde(default)]
    pub(super) emoji: String,
    #[serde(default)]
    pub(super) category: String,
    /// What it is like.
    pub(super) description: String,
}

impl Item {
    /// What is searched for: the description, behind the category where that is one and not in it already. Models leave out in the one
    /// what they said in the other.
    pub(super) fn words(&self) -> String {
        let Self { category, description, .. } = self;
        let is_said = description.to_lowercase().contains(&category.to_lowercase());
        if category == CATEGORY || is_said { description.clone() } else { format!("{category}: {description}") }
    }
}

/// One thing that the LLM told.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Told {
    Item(Item),
    Summary(String),
    /// All is told; by this model, and in the stead of an answer for this reason, where they are said.
    Done {
        llm: Option<String>,
        fallback: Option<String>,
    },
    /// It failed so.
    Failed(Kind),
}

/// What is told is no such thing, or too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) &'static str);

/// A stream of events in the making.
#[derive(Debug, Default)]
pub(super) struct Events {
    waiting: Vec<u8>,
    /// Bytes that came by now.
    came: usize,
    name: String,
    data: String,
}

impl Events {
    /// More of the stream.
    ///
    /// # Errors
    /// It is too much.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        self.came += bytes.len();
        self.waiting.extend_from_slice(bytes);
        if self.came > MOST_STREAM || self.waiting.len() > 2 * MOST_EVENT {
            return Err(Unreadable("more than an outfit can be"));
        }
        Ok(())
    }

    /// The next thing told, where it is there as a whole. Events of other names are passed over.
    ///
    /// # Errors
    /// An event is not what its name says, or too large.
    pub(super) fn next(&mut self) -> Result<Option<Told>, Unreadable> {
        while let Some(end) = self.waiting.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.waiting.drain(..=end).collect();
            let line = std::str::from_utf8(&line).map_err(|_| Unreadable("no UTF-8"))?;
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
                if let Some(told) = told(&name, &data)? {
                    return Ok(Some(told));
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.name),
                "data" if self.data.is_empty() => value.clone_into(&mut self.data),
                "data" => self.data.extend(["\n", value]),
                _ => {}
            }
            if self.data.len() > MOST_EVENT {
                return Err(Unreadable("an event is too large"));
            }
        }
        Ok(None)
    }
}

fn told(name: &str, data: &str) -> Result<Option<Told>, Unreadable> {
    #[derive(Deserialize)]
    struct Summary {
        summary: String,
    }
    #[derive(Deserialize)]
    struct Done {
        llm: Option<String>,
        fallback: Option<String>,
    }
    #[derive(Deserialize)]
    struct Failed {
        code: String,
    }
    fn read<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, Unreadable> {
        serde_json::from_str(data).map_err(|_| Unreadable("an event's data are not what its name says"))
    }
    Ok(match name {
        "item" => item(&read(data)?).map(Told::Item),
        "summary" => Some(Told::Summary(shortened(&read::<Summary>(data)?.summary, MOST_SUMMARY))),
        "done" => {
            let Done { llm, fallback } = read(data)?;
            let short = |text: String| Some(shortened(&text, MOST_NAME)).filter(|text| !text.is_empty());
            Some(Told::Done { llm: llm.and_then(short), fallback: fallback.and_then(short) })
        }
        "error" => Some(Told::Failed(upstreams(&read::<Failed>(data)?.code))),
        _ => None,
    })
}

/// As much of an item as is used; nothing where there is nothing to search for.
fn item(told: &Item) -> Option<Item> {
    let named = |text: &str, most: usize, otherwise: &str| {
        let text = shortened(text, most);
        if text.is_empty() { otherwise.to_owned() } else { text }
    };
    let description = shortened(&told.description, MOST_DESCRIPTION);
    (!description.is_empty()).then(|| Item {
        emoji: named(&told.emoji, MOST_EMOJI, EMOJI),
        category: named(&told.category, MOST_CATEGORY, CATEGORY),
        description,
    })
}

fn shortened(text: &str, most: usize) -> String {
    let text = text.trim();
    let end = text.char_indices().nth(most).map_or(text.len(), |(end, _)| end);
    text[..end].trim_end().to_owned()
}

/// The class of a failure with this code, as one of a service behind this one.
fn upstreams(code: &str) -> Kind {
    match Kind::ALL.into_iter().find(|kind| kind.row().code == code) {
        Some(Kind::UpstreamTimeout | Kind::DeadlineExceeded) => Kind::UpstreamTimeout,
        Some(Kind::UpstreamOverloaded | Kind::Overloaded) => Kind::UpstreamOverloaded,
        Some(Kind::UpstreamInvalid | Kind::Internal) => Kind::UpstreamInvalid,
        _ => Kind::UpstreamUnavailable,
    }
}

#[cfg(test)]
mod tests {
    use dataplane::Kind;

    use super::{Events, Item, MOST_EVENT, Told, Unreadable};

    fn all(stream: &str, piece: usize) -> Result<Vec<Told>, Unreadable> {
        let (mut events, mut told) = (Events::default(), Vec::new());
        for bytes in stream.as_bytes().chunks(piece) {
            events.add(bytes)?;
            while let Some(one) = events.next()? {
                told.push(one);
            }
        }
        Ok(told)
    }

    fn shirt() -> Told {
        let text = |text: &str| text.to_owned();
        Told::Item(Item { emoji: text("👕"), category: text("Top"), description: text("a white shirt") })
    }

    const STREAM: &str = concat!(
        ": hello\r\n\r\nevent: item\r\ndata: {\"index\":0,\"emoji\":\"👕\",\"category\":\"Top\",\r\n",
        "data: \"description\":\" a white shirt \"}\r\n\r\nevent: ping\ndata: {}\n\n",
        "event: summary\ndata: {\"summary\":\"Plain.\"}\n\nevent:done\ndata:{\"llm\":\"m\",\"form\":\"json\",\"items\":1}\n\n",
    );

    #[test]
    fn a_stream_is_read_however_it_is_cut() {
        let done = Told::Done { llm: Some("m".to_owned()), fallback: None };
        let expected = vec![shirt(), Told::Summary("Plain.".to_owned()), done];
        for piece in [1, 2, 3, 7, 64, 4096] {
            assert_eq!(all(STREAM, piece).unwrap(), expected, "{piece}");
        }
    }

    #[test]
    fn what_has_no_name_gets_one_and_what_says_nothing_is_passed_over() {
        let stream = "event: item\ndata: {\"description\":\"shoes\"}\n\nevent: item\ndata: {\"description\":\" \"}\n\n";
        let told = all(stream, 9).unwrap();
        let shoes = Item { emoji: "🔷".to_owned(), category: "Item".to_owned(), description: "shoes".to_owned() };
        assert_eq!(told, [Told::Item(shoes)]);
    }

    #[test]
    fn a_description_is_cut_between_characters() {
        let stream = format!("event: item\ndata: {{\"description\":\"{}\"}}\n\n", "é".repeat(2_000));
        let Told::Item(item) = all(&stream, 4096).unwrap().remove(0) else { panic!("no item") };
        assert_eq!(item.description.chars().count(), 600);
    }

    #[test]
    fn garbage_is_unreadable_and_so_is_too_much() {
        for stream in [
            "event: item\ndata: {\"description\":7}\n\n".to_owned(),
            "event: summary\ndata: none\n\n".to_owned(),
            format!("event: summary\ndata: {}\n\n", "x".repeat(MOST_EVENT + 1)),
            "x".repeat(3 * MOST_EVENT),
            "data: x\n\n".repeat(200_000),
        ] {
            assert!(all(&stream, 1000).is_err());
        }
    }

    #[test]
    fn a_failure_keeps_its_class() {
        for (code, kind) in [
            ("upstream_timeout", Kind::UpstreamTimeout),
            ("overloaded", Kind::UpstreamOverloaded),
            ("nobody knows", Kind::UpstreamUnavailable),
        ] {
            let stream = format!("event: error\ndata: {{\"error\":\"x\",\"code\":\"{code}\"}}\n\n");
            assert_eq!(all(&stream, 5).unwrap(), [Told::Failed(kind)]);
        }
    }
}
