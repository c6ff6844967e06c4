use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::Trace;

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const W3C: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn read(headers: &[(&'static str, &str)]) -> Trace {
    let header =
        |&(name, value): &(&'static str, &str)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter().map(header) {
        map.append(name, value);
    }
    Trace::from_headers(&map)
}

/// What goes out for a call whose span is 0xc.
fn sent(trace: &Trace) -> Vec<(String, String)> {
    let headers = trace.headers(0xc);
    headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

fn own(trace: &Trace) -> String {
    format!("{:016x}", trace.span())
}

#[test]
fn what_is_no_traceparent_is_ignored() {
    for header in [
        "",
        "00-xyz-1-1",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
        "00-é",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        assert_eq!(Trace::parse(header), None, "{header}");
    }
    assert_eq!(Trace::parse(&format!("01-{ID}-00f067aa0ba902b7-01-more")).unwrap().id(), ID);
}

#[test]
fn a_traceparent_keeps_its_trace_and_decision_and_gets_a_new_span() {
    let trace = read(&[("traceparent", W3C)]);
    assert_eq!((trace.id().as_str(), trace.parent(), trace.sampled()), (ID, Some(0x00f0_67aa_0ba9_02b7), Some(true)));
    assert_eq!(sent(&trace), [("traceparent".to_owned(), format!("00-{ID}-000000000000000c-01"))]);
    assert_ne!(Some(trace.span()), trace.parent());
    assert_eq!(read(&[("traceparent", &W3C.replace("-01", "-00"))]).sampled(), Some(false));
}

#[test]
fn a_trace_that_starts_here_is_nobodys_child_and_goes_on_once_somebody_decides() {
    let mut trace = read(&[]);
    assert_eq!((trace.parent(), trace.sampled(), trace.id().len()), (None, None, 32));
    // A `00` at the end would be a no, and nobody behind would ever sample.
    assert_eq!(sent(&trace), []);
    trace.sample(u64::MAX);
    assert_eq!(sent(&trace), [("traceparent".to_owned(), format!("00-{}-000000000000000c-01", trace.id()))]);
}

#[test]
fn tracestate_is_passed_on_as_it_came_and_only_with_its_traceparent() {
    let state = |headers: &[(&'static str, &str)]| {
        sent(&read(headers)).into_iter().find_map(|(name, value)| (name == "tracestate").then_some(value))
    };
    let text = "b=2 , a=1,,odd";
    assert_eq!(state(&[("traceparent", W3C), ("tracestate", text)]).unwrap(), text);
    assert_eq!(state(&[("traceparent", W3C), ("tracestate", "a=1"), ("tracestate", "b=2")]).unwrap(), "a=1,b=2");
    assert_eq!(state(&[("tracestate", text)]), None);
    assert_eq!(state(&[("traceparent", "00-1-1-1"), ("tracestate", text)]), None);
    assert_eq!(state(&[("traceparent", W3C), ("traceparent", W3C), ("tracestate", text)]), None);
    assert!(state(&[("traceparent", W3C), ("tracestate", &"x".repeat(512))]).is_some());
    assert_eq!(state(&[("traceparent", W3C), ("tracestate", &"x".repeat(513))]), None);
}

#[test]
fn b3_in_one_header_goes_on_in_one_header() {
    let trace = read(&[("b3", &format!("{ID}-00f067aa0ba902b7-1-05e3ac9a4f6e3b90"))]);
    assert_eq!((trace.id().as_str(), trace.parent(), trace.sampled()), (ID, Some(0x00f0_67aa_0ba9_02b7), Some(true)));
    let expected = [
        ("traceparent".to_owned(), format!("00-{ID}-000000000000000c-01")),
        ("b3".to_owned(), format!("{ID}-000000000000000c-1-{}", own(&trace))),
    ];
    assert_eq!(sent(&trace), expected);
}

#[test]
fn b3_in_several_headers_goes_on_in_several_headers() {
    let trace = read(&[
        ("x-b3-traceid", ID),
        ("x-b3-spanid", "00f067aa0ba902b7"),
        ("x-b3-parentspanid", "05e3ac9a4f6e3b90"),
        ("x-b3-sampled", "0"),
    ]);
    let expected = [
        ("traceparent", format!("00-{ID}-000000000000000c-00")),
        ("x-b3-traceid", ID.to_owned()),
        ("x-b3-spanid", "000000000000000c".to_owned()),
        ("x-b3-parentspanid", own(&trace)),
        ("x-b3-sampled", "0".to_owned()),
    ];
    assert_eq!(sent(&trace), expected.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn b3_ids_of_64_bits_stay_so_and_are_padded_for_w3c() {
    let trace = read(&[("b3", "a3ce929d0e0e4736-00f067aa0ba902b7-d")]);
    assert_eq!((trace.id().as_str(), trace.sampled()), ("0000000000000000a3ce929d0e0e4736", Some(true)));
    assert_eq!(sent(&trace)[1].1, format!("a3ce929d0e0e4736-000000000000000c-d-{}", own(&trace)));
    let debug = [("x-b3-traceid", ID), ("x-b3-spanid", "00f067aa0ba902b7"), ("x-b3-flags", "1")];
    assert_eq!(sent(&read(&debug))[4], ("x-b3-flags".to_owned(), "1".to_owned()));
}

#[test]
fn a_b3_decision_may_come_alone_or_be_left_open() {
    assert_eq!(
        (read(&[("b3", "0")]).sampled(), read(&[("x-b3-sampled", "true")]).sampled()),
        (Some(false), Some(true))
    );
    let open = read(&[("b3", &format!("{ID}-00f067aa0ba902b7"))]);
    assert_eq!((open.sampled(), sent(&open)[0].1.clone()), (None, format!("{ID}-000000000000000c")));
}

#[test]
fn the_one_header_that_kserves_transformer_sends_on_is_a_trace() {
    let trace = read(&[("x-b3-traceid", ID)]);
    assert_eq!((trace.id().as_str(), trace.parent(), trace.sampled()), (ID, None, None));
}

#[test]
fn w3c_wins_over_b3_and_both_go_on() {
    let trace = read(&[("traceparent", W3C), ("b3", "000000000000000b-000000000000000a-0")]);
    assert_eq!((trace.id().as_str(), trace.sampled()), (ID, Some(true)));
    assert_eq!(sent(&trace)[1].1, format!("{ID}-000000000000000c-1-{}", own(&trace)));
    let broken = read(&[("traceparent", "00-1-1-1"), ("b3", "000000000000000b-000000000000000a-0")]);
    assert_eq!(broken.id(), "0000000000000000000000000000000b");
}

#[test]
fn what_is_no_b3_starts_a_trace() {
    for header in
        ["", "x", "000000000000000b", "0-0-0", "0000000000000000-000000000000000a-1", "000000000000000b-a-1", "é"]
    {
        assert_eq!(read(&[("b3", header)]).parent(), None, "{header}");
    }
}

#[test]
fn a_share_of_traces_is_sampled_where_nobody_has_decided() {
    let sampled = |share| {
        let mut trace = Trace::generate();
        trace.sample(share);
        trace.sampled().unwrap()
    };
    assert!((0..100).all(|_| sampled(u64::MAX) && !sampled(0)));
    let half = (0..10_000).filter(|_| sampled(u64::MAX / 2)).count();
    assert!((4_500..5_500).contains(&half), "{half}");
    let mut followed = Trace::parse(W3C).unwrap();
    followed.sample(0);
    assert_eq!(followed.sampled(), Some(true));
}
