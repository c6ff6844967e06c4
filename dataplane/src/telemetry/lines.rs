//! A log line: one flat JSON object with the fields of the event and of every span that it happened in.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;
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

/// Fields in the order they came; one that comes again replaces the first.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
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

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
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
        let mut line = Fields::default();
        let mut time = String::new();
        // A clock that can't be written leaves the time empty.
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        line.set("timestamp", time);
        line.set("level", event.metadata().level().as_str());
        line.set("target", event.metadata().target());
        line.set("message", "");
        if let Some(service) = &self.service {
            line.set("inference_service", service.as_str());
        }
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<Fields>() {
                fields.0.iter().for_each(|(name, value)| line.set(name, value.clone()));
            }
        }
        event.record(&mut line);
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        // Where logs can't be written, there is nowhere to say so.
        let _ = self.writer.make_writer_for(event.metadata()).write_all(&text);
    }
}
