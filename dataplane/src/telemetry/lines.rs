//! A log line: one flat JSON object with the fields of the event, of every span that it happened in, and of its request.

use std::{
    cell::RefCell,
    fmt::{self, Write as _},
    io::Write as _,
};

use serde::Serialize;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    fmt::{
        MakeWriter,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    layer::Context,
    registry::LookupSpan,
};

use super::scope;

/// Writes them. The subscriber's own JSON puts spans' fields in an object of their own, and those of outer spans nowhere.
pub(super) struct JsonLines<W> {
    writer: W,
    service: Option<String>,
}

impl<W> JsonLines<W> {
    pub(super) fn new(writer: W, service: Option<String>) -> Self {
        Self { writer, service }
    }
}

/// Fields in the order they came, as JSON values one after another in one text: a span costs two allocations, and a line copies what is
/// written already. One that comes again stands for the one before.
#[derive(Default)]
struct Fields {
    text: Vec<u8>,
    /// Each name, and where its value ends. A name that came again is empty where it stood before.
    ends: Vec<(&'static str, usize)>,
}

impl Fields {
    /// Room for a few of them.
    fn of_span() -> Self {
        Self { text: Vec::with_capacity(192), ends: Vec::with_capacity(6) }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    fn set(&mut self, name: &'static str, value: impl Serialize) {
        if let Some((old, _)) = self.ends.iter_mut().find(|(known, _)| *known == name) {
            *old = "";
        }
        // Texts and numbers always have a form in JSON; NaN is null.
        let _ = serde_json::to_writer(&mut self.text, &value);
        self.ends.push((name, self.text.len()));
    }

    fn has(&self, name: &str) -> bool {
        self.ends.iter().any(|(known, _)| *known == name)
    }

    fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|&(_, end)| end));
        let all = self.ends.iter().zip(starts).map(|(&(name, end), start)| (name, &self.text[start..end]));
        all.filter(|(name, _)| !name.is_empty())
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value);
    }
    fn record_u128(&mut self, field: &Field, value: u128) {
        // Durations come as u128; past u64 is past anything that is measured.
        self.set(field.name(), u64::try_from(value).unwrap_or(u64::MAX));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value);
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), value);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a string fails only where a Debug impl does; what it wrote is still worth a line.
        let _ = write!(text, "{value:?}");
        self.set(field.name(), text);
    }
}

/// What the line says itself, whatever a field of that name would say.
const OWN: [&str; 5] = ["timestamp", "level", "target", "message", "inference_service"];

/// The line in the making; every thread has one, and keeps its memory from line to line.
#[derive(Default)]
struct Line {
    event: Fields,
    text: Vec<u8>,
}

thread_local! {
    static LINE: RefCell<Line> = RefCell::default();
}

impl Line {
    fn member(&mut self, name: &str, json: &[u8]) {
        self.text.push(if self.text.is_empty() { b'{' } else { b',' });
        // Names of fields are Rust's or those of `tracing`: nothing in them needs an escape but what Rust can't write either.
        let _ = serde_json::to_writer(&mut self.text, name);
        self.text.push(b':');
        self.text.extend_from_slice(json);
    }

    fn string(&mut self, name: &str, value: &str) {
        self.member(name, b"");
        let _ = serde_json::to_writer(&mut self.text, value);
    }
}

impl<W> JsonLines<W> {
    fn write<S>(&self, line: &mut Line, event: &Event<'_>, context: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        line.text.clear();
        line.event.clear();
        let mut fields = std::mem::take(&mut line.event);
        event.record(&mut fields);
        let mut time = String::with_capacity(32);
        // A clock that can't be written leaves the time empty.
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        line.string("timestamp", &time);
        line.string("level", event.metadata().level().as_str());
        line.string("target", event.metadata().target());
        let message = fields.iter().find(|(name, _)| *name == "message").map(|(_, value)| value);
        line.member("message", message.unwrap_or(b"\"\""));
        if let Some(service) = &self.service {
            line.string("inference_service", service);
        }
        // From the innermost: what it says stands for what those around it say.
        let spans: Vec<_> = context.event_scope(event).into_iter().flatten().collect();
        let spoken =
            |name| spans.iter().any(|span| span.extensions().get::<Fields>().is_some_and(|span| span.has(name)));
        scope::fields(|name, value| {
            if !OWN.contains(&name) && !fields.has(name) && !spoken(name) {
                line.string(name, value);
            }
        });
        for (place, span) in spans.iter().enumerate().rev() {
            let hidden = |name| {
                OWN.contains(&name)
                    || fields.has(name)
                    || spans[..place]
                        .iter()
                        .any(|inner| inner.extensions().get::<Fields>().is_some_and(|inner| inner.has(name)))
            };
            if let Some(outer) = span.extensions().get::<Fields>() {
                outer.iter().filter(|(name, _)| !hidden(name)).for_each(|(name, value)| line.member(name, value));
            }
        }
        fields.iter().filter(|(name, _)| !OWN.contains(name)).for_each(|(name, value)| line.member(name, value));
        line.text.extend_from_slice(b"}\n");
        line.event = fields;
    }
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::of_span();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            record.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let write = |line: &mut Line| {
            self.write(line, event, &context);
            // Where logs can't be written, there is nowhere to say so.
            let _ = self.writer.make_writer_for(event.metadata()).write_all(&line.text);
        };
        // An event within an event (a Debug impl that logs) gets a line of its own.
        LINE.with(|line| match line.try_borrow_mut() {
            Ok(mut line) => write(&mut line),
            Err(_) => write(&mut Line::default()),
        });
    }
}
