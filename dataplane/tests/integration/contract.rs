//! The wire contract as files: each route's request and answer, the error table, the names of metrics.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use axum::{body::Body, http::Request, response::IntoResponse};
use dataplane::{Datatype, Error, Kind, limits::Limits, repository::Repository};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::{
    echo::{Echo, Shelf, echoing},
    golden, openapi,
    serving::{Answer, Server, Toy, server, serving},
    toy::{Process, client},
};

const V1: &str = r#"{"instances":[{"rows":[[1,10],[2.5,20]],"ids":["x","y"]}]}"#;
const V2: &str = r#"{"id":"seven","inputs":[{"name":"a","shape":[2,1],"datatype":"FP32","data":[1,2.5]},{"name":"b","shape":[2,1],"datatype":"FP32","data":[[10],[20]]},{"name":"id","shape":[2,1],"datatype":"BYTES","data":["x","y"]}],"outputs":[{"name":"sum"},{"name":"id"}]}"#;

async fn exchange(server: &Server, method: &str, path: &str, body: &str) -> String {
    exchange_with(server, method, path, &[], body.as_bytes()).await
}

async fn exchange_with(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
    let headers = [&[("x-request-id", "golden")], headers].concat();
    let mut text = format!("{method} {path}\n");
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        writeln!(text, "{name}: {value}").unwrap();
        request = request.header(name, value);
    }
    let answer = server.send(request.body(Body::from(body.to_vec())).unwrap()).await;
    text + &told(body, &answer)
}

/// A request's body and what was answered, but for what is different each time.
fn told(body: &[u8], answer: &Answer) -> String {
    let mut text = format!("\n{}\n\n{}\n", shown(body), answer.status.as_u16());
    let mut headers: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
    headers.sort();
    for name in headers.iter().filter(|name| !["content-length", "date"].contains(&name.as_str())) {
        let fresh = matches!(name.as_str(), "ce-id" | "ce-time");
        let value = if fresh { "(fresh)" } else { answer.header(name).unwrap() };
        // What the steps took is never the same twice.
        let value = if name == "server-timing" { &without_durations(value) } else { value };
        writeln!(text, "{name}: {value}").unwrap();
    }
    let event = answer.header("content-type") == Some("application/cloudevents+json");
    let body = if event { without_fresh(&answer.body) } else { shown(&answer.body) };
    writeln!(text, "\n{body}").unwrap();
    text
}

/// A text as it is, and of anything else the bytes that are not printable as `\xNN`.
fn shown(body: &[u8]) -> String {
    let printable = |byte: u8| byte == b'\n' || byte.is_ascii_graphic() || byte == b' ';
    match std::str::from_utf8(body) {
        Ok(text) if !text.contains(|c: char| c.is_control() && c != '\n') => text.to_owned(),
        _ => body.iter().fold(String::new(), |mut text, &byte| {
            if printable(byte) {
                text.push(char::from(byte))
            } else {
                write!(text, "\\x{byte:02x}").unwrap()
            }
            text
        }),
    }
}

/// An event but for what is different each time.
fn without_fresh(event: &[u8]) -> String {
    let read: Value = serde_json::from_slice(event).unwrap();
    let fresh = ["id", "time"].map(|name| read[name].as_str().unwrap().to_owned());
    fresh.iter().fold(shown(event), |text, value| text.replace(value, "(fresh)"))
}

fn without_durations(timing: &str) -> String {
    let names = timing.split(", ").map(|step| step.split_once(";dur=").unwrap().0);
    names.map(|name| format!("{name};dur=…")).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn each_route_answers_as_agreed() {
    let server = server();
    for (name, method, path, body) in [
        ("alive", "GET", "/", ""),
        ("v1_models", "GET", "/v1/models", ""),
        ("v1_ready", "GET", "/v1/models/sum", ""),
        ("v1_predict", "POST", "/v1/models/sum:predict", V1),
        ("v1_explain_unimplemented", "POST", "/v1/models/sum:explain", V1),
        ("v1_method_not_allowed", "GET", "/v1/models/sum:predict", ""),
        ("v2_server", "GET", "/v2", ""),
        ("v2_health_live", "GET", "/v2/health/live", ""),
        ("v2_health_not_ready", "GET", "/v2/health/ready", ""),
        ("v2_models", "GET", "/v2/models", ""),
        ("v2_metadata", "GET", "/v2/models/sum", ""),
        ("v2_ready", "GET", "/v2/models/sum/ready", ""),
        ("v2_infer", "POST", "/v2/models/sum/infer", V2),
        ("v2_version_metadata", "GET", "/v2/models/sum/versions/3", ""),
        ("v2_version_ready", "GET", "/v2/models/sum/versions/3/ready", ""),
        ("v2_version_infer", "POST", "/v2/models/sum/versions/3/infer", V2),
        ("v2_repository_index", "POST", "/v2/repository/index", ""),
        ("unknown_route", "GET", "/nowhere", ""),
        ("method_not_allowed", "GET", "/v2/models/sum/infer", ""),
    ] {
        golden::check(&format!("routes/{name}.http"), &exchange(&server, method, path, body).await);
    }
    let ready = serving(Repository::default().with(Arc::new(Toy::new("sum"))), server.handler.limits);
    golden::check("routes/v2_health_ready.http", &exchange(&ready, "GET", "/v2/health/ready", "").await);
}

/// What the document offers, by its ids.
fn operations(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.values().flat_map(|item| item.as_object().unwrap().values());
    operations.map(|operation| operation["operationId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn each_route_of_the_document_has_a_pair_that_succeeds() {
    let document = openapi::document(&server()).await;
    let mut wanted = operations(&document);
    assert!(wanted.len() > 20, "{wanted:?}");
    for (name, pair) in golden::all("routes") {
        let (method, path) = pair.lines().next().and_then(|line| line.split_once(' ')).expect(&name);
        let succeeded = pair.lines().any(|line| line == "200");
        if let Some(operation) = openapi::operation(&document, method, path).filter(|_| succeeded) {
            wanted.remove(operation["operationId"].as_str().unwrap());
        }
    }
    assert!(wanted.is_empty(), "without a file in tests/golden/routes: {wanted:?}");
}

#[tokio::test]
async fn what_is_long_has_a_file_of_its_own() {
    let server = server();
    let document = openapi::document(&server).await;
    golden::check("openapi.json", &format!("{document:#}\n"));
    for (name, path, file) in [("openapi", "/openapi.json", "openapi.json"), ("metrics", "/metrics", "metrics.txt")] {
        let answer = Answer { body: format!("(tests/golden/{file})").into(), ..server.get(path).await };
        // Its id is made anew each time.
        let text = format!("GET {path}\n{}", told(b"", &without_id(answer)));
        golden::check(&format!("routes/{name}.http"), &text);
    }
}

fn without_id(mut answer: Answer) -> Answer {
    answer.headers.remove("x-request-id");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_level_is_told_and_changed_as_agreed() {
    let toy = Process::start(&["--enable-control"]);
    let client = client();
    let url = format!("{}/v2/logging", toy.url);
    let level = r#"{"level":"warn"}"#;
    for (name, request, method, body) in [
        ("v2_logging", client.get(&url), "GET", ""),
        ("v2_logging_change", client.post(&url).body(level), "POST", level),
    ] {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let answer = without_id(Answer { status, headers, body: answer.bytes().await.unwrap() });
        let text = format!("{method} /v2/logging\n{}", told(body.as_bytes(), &answer));
        golden::check(&format!("routes/{name}.http"), &text);
    }
}

#[tokio::test]
async fn each_form_of_a_body_is_as_agreed() {
    let server = echoing([
        Echo::new("echo", &[("x", Datatype::Fp32, &[-1]), ("s", Datatype::Bytes, &[-1, 1])]),
        Echo::new("one", &[("x", Datatype::Fp32, &[-1, 2])]),
    ]);
    let inputs = r#"[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}},{"name":"s","shape":[1,1],"datatype":"BYTES","parameters":{"binary_data_size":6}}]"#;
    let json = format!(r#"{{"inputs":{inputs},"parameters":{{"binary_data_output":true}}}}"#);
    let length = json.len().to_string();
    let binary = [json.as_bytes(), &1.5_f32.to_le_bytes(), b"\x02\0\0\0hi"].concat();
    let raw = [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40];
    let event = br#"{"specversion":"1.0","id":"one","source":"shop","type":"ask","time":"2026-01-31T12:00:00Z","data":{"instances":[[1,2]]}}"#;
    let event_headers = [("ce-id", "one"), ("ce-source", "shop"), ("ce-specversion", "1.0"), ("ce-type", "ask")];
    let header = "inference-header-content-length";
    for (name, path, headers, body) in [
        ("v2_infer_binary", "/v2/models/echo/infer", &[(header, length.as_str())][..], &binary[..]),
        ("v2_infer_raw", "/v2/models/one/infer", &[(header, "0")], &raw),
        ("v1_predict_columns", "/v1/models/echo:predict", &[], br#"{"instances":[{"x":1,"s":"a"},[2,"b"]]}"#),
        ("v1_predict_rows", "/v1/models/one:predict", &[], br#"{"instances":[[1,2],{"x":[3,4]}]}"#),
        ("v1_explain", "/v1/models/one:explain", &[], br#"{"instances":[[1,2]]}"#),
        ("v1_predict_event_headers", "/v1/models/one:predict", &event_headers, br#"{"instances":[[1,2]]}"#),
        ("v1_predict_event_body", "/v1/models/one:predict", &[], event),
    ] {
        golden::check(&format!("routes/{name}.http"), &exchange_with(&server, "POST", path, headers, body).await);
    }
}

#[tokio::test]
async fn control_calls_answer_as_agreed() {
    let shelf = Arc::new(Shelf { name: "good", broken: false });
    let server = serving(Repository::default().with_loader("good", shelf), Limits::default());
    for call in ["load", "unload"] {
        let path = format!("/v2/repository/models/good/{call}");
        golden::check(&format!("routes/v2_repository_{call}.http"), &exchange(&server, "POST", &path, "").await);
    }
    let server = server.controlled(false);
    let refused = exchange(&server, "POST", "/v2/repository/models/good/load", "").await;
    golden::check("routes/v2_repository_control_disabled.http", &refused);
}

#[tokio::test]
async fn each_kind_of_failure_has_its_row_and_its_envelope() {
    let mut text = String::from("# kind, HTTP status, gRPC code, body\n");
    for kind in Kind::ALL {
        let row = kind.row();
        let answer = Error::new(kind, "what, where, expected").with_detail("for the log").into_response();
        assert_eq!(answer.status(), row.http);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body = std::str::from_utf8(&body).unwrap();
        writeln!(text, "{kind:?} {} {} {body}", row.http.as_u16(), row.grpc).unwrap();
    }
    golden::check("errors.txt", &text);
}

#[tokio::test]
async fn metrics_keep_their_names_types_and_labels() {
    let server = server();
    server.post("/v1/models/sum:predict", V1).await.json();
    server.handler.metrics.step("rank", std::time::Duration::from_millis(1));
    server.handler.metrics.upstream("ranking", "ok", std::time::Duration::from_millis(1));
    let queue = server.handler.metrics.queue("sum");
    queue.enter().taken();
    queue.batch(2);
    let _open = server.handler.metrics.connected("rest");
    let mut lines = Vec::new();
    let mut seen = BTreeSet::new();
    for line in server.get("/metrics").await.text().lines() {
        let line = if line.starts_with('#') { line.to_owned() } else { without_values(line) };
        if seen.insert(line.clone()) {
            lines.push(line);
        }
    }
    golden::check("metrics.txt", &(lines.join("\n") + "\n"));
}

/// `name{label="x"} 1` → `name{label}`. The bounds of buckets stay: dashboards depend on them.
fn without_values(sample: &str) -> String {
    let (name, _value) = sample.rsplit_once(' ').unwrap();
    let Some((name, labels)) = name.split_once('{') else { return name.to_owned() };
    let labels = labels.trim_end_matches('}').split(',').map(|label| {
        let (key, _) = label.split_once('=').unwrap();
        if key == "le" { label } else { key }
    });
    format!("{name}{{{}}}", labels.collect::<Vec<_>>().join(","))
}
