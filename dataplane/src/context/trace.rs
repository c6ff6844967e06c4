//! Trace context as headers carry it: W3C (`traceparent`, `tracestate`) and B3, in one header or in several.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::ids;

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const B3: HeaderName = HeaderName::from_static("b3");
const B3_TRACE: HeaderName = HeaderName::from_static("x-b3-traceid");
const B3_SPAN: HeaderName = HeaderName::from_static("x-b3-spanid");
const B3_PARENT: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// Longest `tracestate` that is passed on; W3C asks for at least this much.
const MOST_STATE: usize = 512;

/// A trace, and this request's place in it: the trace's id, the caller's span, a span of its own, and whether it is sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    id: u128,
    span: u64,
    parent: Option<u64>,
    /// Nothing where nobody has decided yet.
    sampled: Option<bool>,
    state: Option<HeaderValue>,
    b3: Option<B3Form>,
}

/// How the caller wrote B3, so that upstreams read it the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct B3Form {
    single: bool,
    /// Ids of 64 bits, as older tracers have them.
    short: bool,
    debug: bool,
}

impl Trace {
    /// A trace that starts here; nobody has decided yet whether it is sampled.
    #[must_use]
    pub fn generate() -> Self {
        Self::new(ids::trace(), None, None)
    }

    fn new(id: u128, parent: Option<u64>, sampled: Option<bool>) -> Self {
        Self { id, span: ids::span(), parent, sampled, state: None, b3: None }
    }

    /// Reads a `traceparent` header; anything that is not one is ignored, as the W3C text asks.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lower = |text: &str, length| {
            text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let valid = lower(version, 2)
            && version != "ff"
            && lower(id, 32)
            && lower(parent, 16)
            && lower(flags, 2)
            && (version != "00" || parts.next().is_none());
        let flags = u8::from_str_radix(flags, 16).ok().filter(|_| valid)?;
        Some(Self::new(trace(id)?, Some(span(parent)?), Some(flags & 1 == 1)))
    }

    /// The trace that a request's headers carry, W3C before B3; a new one where they carry none that can be read.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let b3 = read_b3(headers);
        let mut values = headers.get_all(&TRACEPARENT).iter();
        // Two of them are as good as none.
        let w3c = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().and_then(Self::parse),
            _ => None,
        };
        let Some(mut trace) = w3c else { return b3.unwrap_or_else(Self::generate) };
        trace.state = read_state(headers);
        trace.b3 = b3.and_then(|b3| b3.b3).map(|form| B3Form { short: false, debug: false, ..form });
        trace
    }

    /// The trace's id: 32 hex digits.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{:032x}", self.id)
    }

    /// The trace's id as a number.
    pub(crate) fn number(&self) -> u128 {
        self.id
    }

    /// Whether its spans are recorded; nothing where nobody has decided.
    #[must_use]
    pub fn sampled(&self) -> Option<bool> {
        self.sampled
    }

    /// Decides, where nobody has: this many of 2⁶⁴ traces are sampled. Every service that takes the same share takes the same traces.
    pub(crate) fn sample(&mut self, share: u64) {
        #[allow(clippy::cast_possible_truncation)] // the lower half, which W3C asks to be random
        self.sampled.get_or_insert((self.id as u64) < share);
    }

    /// The span of this request, in this server.
    pub(crate) fn span(&self) -> u64 {
        self.span
    }

    /// The caller's span.
    pub(crate) fn parent(&self) -> Option<u64> {
        self.parent
    }

    /// The caller's `tracestate`.
    pub(crate) fn state(&self) -> Option<&HeaderValue> {
        self.state.as_ref()
    }

    /// The id of a new span on behalf of this one.
    pub(crate) fn new_span() -> u64 {
        ids::span()
    }

    /// The headers for a call whose span is `child`.
    pub(super) fn headers(&self, child: u64) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        // It has no way to say that nobody has decided: whoever comes next would take it for a no.
        let parent = self.sampled.and_then(|sampled| {
            header(TRACEPARENT, format!("00-{}-{child:016x}-{:02x}", self.id(), u8::from(sampled)))
        });
        let state = self.state.clone().map(|state| (TRACESTATE, state));
        let b3 = self.b3.map(|form| self.b3_headers(form, child)).unwrap_or_default();
        [parent, state].into_iter().chain(b3).flatten()
    }

    fn b3_headers(&self, form: B3Form, child: u64) -> Vec<Option<(HeaderName, HeaderValue)>> {
        let id = if form.short { format!("{:016x}", self.id) } else { self.id() };
        let state = match self.sampled {
            _ if form.debug => Some("d"),
            Some(true) => Some("1"),
            Some(false) => Some("0"),
            None => None,
        };
        let (child, parent) = (format!("{child:016x}"), format!("{:016x}", self.span));
        if form.single {
            // The parent's place comes after the state's, so it is left out with it.
            let end = state.map(|state| format!("-{state}-{parent}")).unwrap_or_default();
            return vec![header(B3, format!("{id}-{child}{end}"))];
        }
        let state = match state {
            Some("d") => header(B3_FLAGS, "1".to_owned()),
            Some(state) => header(B3_SAMPLED, state.to_owned()),
            None => None,
        };
        vec![header(B3_TRACE, id), header(B3_SPAN, child), header(B3_PARENT, parent), state]
    }
}

fn header(name: HeaderName, value: String) -> Option<(HeaderName, HeaderValue)> {
    Some((name, HeaderValue::try_from(value).ok()?))
}

/// A trace's id of 32 or 16 digits that are not all 0.
fn trace(text: &str) -> Option<u128> {
    let digits = matches!(text.len(), 16 | 32) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u128::from_str_radix(text, 16).ok().filter(|&id| digits && id != 0)
}

/// A span's id of 16 digits that are not all 0.
fn span(text: &str) -> Option<u64> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|&id| digits && id != 0)
}

/// The one header verbatim; several are joined, as HTTP says. A longer one would have to be cut somewhere, so it is dropped.
fn read_state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(&TRACESTATE).iter();
    let first = values.next()?;
    let state = values.next().map_or_else(
        || Some(first.clone()),
        |_| {
            let all: Vec<_> = headers.get_all(&TRACESTATE).iter().map(HeaderValue::as_bytes).collect();
            HeaderValue::from_bytes(&all.join(&b","[..])).ok()
        },
    );
    state.filter(|state| (1..=MOST_STATE).contains(&state.len()))
}

fn read_b3(headers: &HeaderMap) -> Option<Trace> {
    // Most requests have none of them: one walk past the few headers is cheaper than five look-ups.
    if !headers.keys().any(|name| name.as_str().starts_with("b3") || name.as_str().starts_with("x-b3-")) {
        return None;
    }
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(header) = text(&B3) {
        return read_b3_single(header);
    }
    let debug = text(&B3_FLAGS) == Some("1");
    let sampled =
        if debug { Some(true) } else { text(&B3_SAMPLED).and_then(|state| b3_state(state).map(|(on, _)| on)) };
    let form = B3Form { single: false, short: false, debug };
    match text(&B3_TRACE) {
        // KServe's Python transformer sends on the trace's id alone.
        Some(id) => b3_trace(id, text(&B3_SPAN), sampled, form),
        None => sampled.map(|sampled| b3_start(sampled, form)),
    }
}

fn read_b3_single(header: &str) -> Option<Trace> {
    let form = |debug| B3Form { single: true, short: false, debug };
    if let Some((sampled, debug)) = b3_state(header) {
        return Some(b3_start(sampled, form(debug)));
    }
    let mut parts = header.split('-');
    let (id, parent, state) = (parts.next()?, parts.next()?, parts.next());
    let state = match state {
        Some(state) => Some(b3_state(state)?),
        None => None,
    };
    b3_trace(id, Some(parent), state.map(|(on, _)| on), form(state.is_some_and(|(_, debug)| debug)))
}

/// Whether it is sampled, and whether to debug.
fn b3_state(text: &str) -> Option<(bool, bool)> {
    match text {
        "0" | "false" => Some((false, false)),
        "1" | "true" => Some((true, false)),
        "d" => Some((true, true)),
        _ => None,
    }
}

fn b3_trace(id: &str, parent: Option<&str>, sampled: Option<bool>, form: B3Form) -> Option<Trace> {
    let parent = match parent {
        Some(parent) => Some(span(parent)?),
        None => None,
    };
    let trace = Trace::new(self::trace(id)?, parent, sampled);
    Some(Trace { b3: Some(B3Form { short: id.len() == 16, ..form }), ..trace })
}

/// A caller who only says whether to sample: the trace starts here.
fn b3_start(sampled: bool, form: B3Form) -> Trace {
    Trace { sampled: Some(sampled), b3: Some(form), ..Trace::generate() }
}

#[cfg(test)]
mod tests;
