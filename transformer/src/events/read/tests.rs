use axum::http::{HeaderMap, HeaderName, HeaderValue};
use catalog::events::{Event, Kind};
use dataplane::{Kind as ErrorKind, Result};
use jiff::Timestamp;

use super::events;

const NOW: &str = "2020-09-16T10:00:00Z";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    pairs.iter().map(pair).collect()
}

fn read(pairs: &[(&'static str, &str)], body: &str) -> Result<Vec<Event>> {
    events(&headers(pairs), body.as_bytes(), NOW.parse().unwrap())
}

fn refusal(pairs: &[(&'static str, &str)], body: &str) -> String {
    read(pairs, body).unwrap_err().message().to_owned()
}

fn event() -> Event {
    Event {
        event_id: "e1".to_owned(),
        source: String::new(),
        customer_id: "anna".to_owned(),
        visitor: false,
        kind: Kind::Purchase,
        article_id: "0108775015".to_owned(),
        list_id: None,
        occurred_at: NOW.parse().unwrap(),
    }
}

const PLAIN: &str = r#"{"id":"e1","type":"purchase","customer_id":"anna","article_id":"0108775015"}"#;
const DATA: &str = r#"{"customer_id":"anna","article_id":"0108775015","price":9.99}"#;

#[test]
fn plain_events_come_alone_or_together_and_without_a_time_they_are_of_now() {
    assert_eq!(read(&[], PLAIN).unwrap(), [event()]);
    assert_eq!(read(&[("content-type", "Application/JSON; charset=utf-8")], &format!("[{PLAIN}]")).unwrap(), [event()]);
    let visitor = r#"{"id":"é","source":"app","type":"dismiss","visitor_id":"v","article_id":"a","time":"2020-09-15T10:00:00+02:00","list_id":"l"}"#;
    let told = read(&[], &format!(" [{PLAIN}, {visitor}]")).unwrap();
    let expected = Event {
        event_id: "é".to_owned(),
        source: "app".to_owned(),
        customer_id: "v".to_owned(),
        visitor: true,
        kind: Kind::Dismiss,
        article_id: "a".to_owned(),
        list_id: Some("l".to_owned()),
        occurred_at: "2020-09-15T08:00:00Z".parse::<Timestamp>().unwrap(),
    };
    assert_eq!(told, [event(), expected]);
}

#[test]
fn cloud_events_say_the_same_in_each_of_their_modes() {
    let expected = Event { source: "/shop".to_owned(), ..event() };
    let structured = |data: &str| {
        format!(r#"{{"specversion":"1.0","id":"e1","source":"/shop","type":"com.example.purchase","tenant":7,{data}}}"#)
    };
    let (plain, base64) = (
        structured(&format!(r#""data":{DATA}"#)),
        structured(r#""data_base64":"eyJjdXN0b21lcl9pZCI6ImFubmEiLCJhcnRpY2xlX2lkIjoiMDEwODc3NTAxNSJ9""#),
    );
    for body in [&plain, &base64] {
        let told = read(&[("content-type", "application/cloudevents+json; charset=UTF-8")], body).unwrap();
        assert_eq!(told, std::slice::from_ref(&expected));
    }
    let batch =
        read(&[("content-type", "application/cloudevents-batch+json")], &format!("[{plain},{base64}]")).unwrap();
    assert_eq!(batch, [expected.clone(), expected.clone()]);
    let attributes = [("ce-specversion", "1.0"), ("ce-id", "e1"), ("ce-source", "/shop"), ("ce-type", "purchase")];
    assert_eq!(read(&attributes, DATA).unwrap(), std::slice::from_ref(&expected));
    // What is structured may have its attributes in headers too; its body has them all.
    let both = [&[("content-type", "application/cloudevents+json")], attributes.as_slice()].concat();
    assert_eq!(read(&both, &plain).unwrap(), std::slice::from_ref(&expected));
    let batch = [&[("content-type", "application/cloudevents-batch+json")], attributes.as_slice()].concat();
    assert_eq!(read(&batch, &format!("[{base64}]")).unwrap(), [expected]);
}

#[test]
fn attributes_in_headers_are_percent_encoded_or_quoted() {
    let told =
        |id, kind| read(&[("ce-specversion", "1.0"), ("ce-id", id), ("ce-source", "/s"), ("ce-type", kind)], DATA);
    for (header, id) in [
        ("%C3%A9%20100%", "é 100%"),
        ("%c3%a9", "é"),
        ("%41%2", "A%2"),
        ("%+f%zz%%41", "%+f%zz%A"),
        ("%2541", "%41"),
        (r#""a \"b\" \\ %22""#, r#"a "b" \ ""#),
        (r#"a"b""#, r#"a"b""#),
        (r#"""#, r#"""#),
    ] {
        assert_eq!(told(header, "a.b.click").unwrap()[0].event_id, id, "{header}");
    }
    assert_eq!(told("e", "a.b.click").unwrap()[0].kind, Kind::Click);
    for (id, expected) in [
        ("%FF", "header `ce-id`: expected percent-encoded UTF-8"),
        ("%C0%A0", "header `ce-id`: expected percent-encoded UTF-8"),
        ("%00", "field `id`: expected no control characters"),
        (r#""""#, "field `id`: expected 1 to 256 characters, got 0"),
    ] {
        assert_eq!(told(id, "click").unwrap_err().message(), expected, "{id}");
    }
}

#[test]
fn what_is_wrong_with_an_event_is_named_with_what_was_expected() {
    let with = |field: &str, value: &str| {
        let mut event: serde_json::Value = serde_json::from_str(PLAIN).unwrap();
        match serde_json::from_str(value).unwrap() {
            serde_json::Value::Null => drop(event.as_object_mut().unwrap().remove(field)),
            value => event[field] = value,
        }
        event.to_string()
    };
    for (body, expected) in [
        (
            with("id", "null"),
            "field `id`: missing (expected the event's own id: told again with it, an event counts once)",
        ),
        (with("id", "\"\""), "field `id`: expected 1 to 256 characters, got 0"),
        (with("id", "7"), "field `id`: invalid type: integer `7`, expected a string"),
        (with("type", "null"), "field `type`: missing (expected shown, click, purchase or dismiss)"),
        (with("type", "\"stare\""), "field `type`: expected shown, click, purchase or dismiss, got `stare`"),
        (
            with("customer_id", "null"),
            "field `customer_id`: missing (expected a customer's id here or a visitor's as visitor_id)",
        ),
        (with("visitor_id", "\"v\""), "field `visitor_id`: expected it or `customer_id`, got both"),
        (with("article_id", "null"), "field `article_id`: missing (expected an article's id)"),
        (with("article_id", "\"a\\u0000\""), "field `article_id`: expected no control characters"),
        (with("list_id", "\"\""), "field `list_id`: expected 1 to 256 characters, got 0"),
        (with("time", "\"yesterday\""), "field `time`: expected a time such as 2020-09-16T10:00:00Z, got `yesterday`"),
        (
            with("time", "\"2020-09-16\""),
            "field `time`: expected a time such as 2020-09-16T10:00:00Z, got `2020-09-16`",
        ),
        (
            with("time", "\"2020-09-18T10:00:00Z\""),
            "field `time`: expected a time from 1970 to a day from now, got `2020-09-18T10:00:00Z`",
        ),
        (
            with("time", "\"1969-09-18T10:00:00Z\""),
            "field `time`: expected a time from 1970 to a day from now, got `1969-09-18T10:00:00Z`",
        ),
        ("7".to_owned(), "expected an object"),
        ("[]".to_owned(), "expected 1 to 1000 events, got 0"),
        (format!("[{PLAIN},7]"), "event 1: expected an object"),
        (
            format!("[{PLAIN},{}]", with("type", "\"x\"")),
            "event 1: field `type`: expected shown, click, purchase or dismiss, got `x`",
        ),
    ] {
        assert_eq!(refusal(&[], &body), expected, "{body}");
    }
    assert!(refusal(&[], &with("custmer_id", "\"c\"")).contains("unknown field `custmer_id`"));
    let many = |count: usize| format!("[{}]", vec![PLAIN; count].join(","));
    assert_eq!(read(&[], &many(1000)).unwrap().len(), 1000);
    assert_eq!(refusal(&[], &many(1001)), "expected 1 to 1000 events, got 1001");
}

#[test]
fn what_is_no_json_is_malformed_and_what_is_wrong_in_it_is_invalid() {
    for (body, kind) in [
        ("{", ErrorKind::MalformedBody),
        ("[{", ErrorKind::MalformedBody),
        (r#"{"id":"e",}"#, ErrorKind::MalformedBody),
        (&format!("{PLAIN}{PLAIN}"), ErrorKind::MalformedBody),
        (&format!("[{PLAIN}] 7"), ErrorKind::MalformedBody),
        ("{}", ErrorKind::InvalidArgument),
        (r#"{"id":7}"#, ErrorKind::InvalidArgument),
    ] {
        assert_eq!(read(&[], body).unwrap_err().kind(), kind, "{body}");
    }
}

#[test]
fn what_is_wrong_with_a_cloud_event_is_named_too() {
    let kind = [("content-type", "application/cloudevents+json")];
    for (body, expected) in [
        (r#"{"id":"e"}"#.to_owned(), "field `specversion`: missing (expected 1.0)"),
        (r#"{"specversion":"0.3"}"#.to_owned(), "field `specversion`: expected 1.0, got `0.3`"),
        (
            r#"{"specversion":"1.0","id":"e","source":"s","type":"click"}"#.to_owned(),
            "field `data`: missing (expected an object with customer_id or visitor_id, and article_id)",
        ),
        (
            format!(r#"{{"specversion":"1.0","id":"e","type":"click","data":{DATA}}}"#),
            "field `source`: missing (expected who sends the event)",
        ),
        (
            r#"{"specversion":"1.0","id":"e","source":"s","type":"click","data":7}"#.to_owned(),
            "field `data`: expected an object",
        ),
        (
            format!(r#"{{"specversion":"1.0","id":"e","source":"s","type":"com.example.viewed","data":{DATA}}}"#),
            "field `type`: expected shown, click, purchase or dismiss, got `viewed`",
        ),
        (
            format!(r#"{{"specversion":"1.0","id":"e","source":"","type":"click","data":{DATA}}}"#),
            "field `source`: missing (expected who sends the event)",
        ),
        (
            format!(
                r#"{{"specversion":"1.0","id":"e","source":"s","type":"click","data":{DATA},"data_base64":"e30="}}"#
            ),
            "field `data`: expected it or `data_base64`, got both",
        ),
        (
            r#"{"specversion":"1.0","id":"e","source":"s","type":"click","data":{"customer_id":7}}"#.to_owned(),
            "field `data`: field `customer_id`: invalid type: integer `7`, expected a string",
        ),
    ] {
        assert_eq!(refusal(&kind, &body), expected, "{body}");
    }
    let unsupported = read(&[("content-type", "text/csv")], "").unwrap_err();
    assert_eq!(unsupported.kind(), ErrorKind::UnsupportedMediaType);
}
