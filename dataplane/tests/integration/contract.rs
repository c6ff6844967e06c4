//! The wire contract as files: each route's request and answer, the error table, the names of metrics.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use axum::{body::Body, http::Request, response::IntoResponse};
use dataplane::{Error, Kind, repository::Repository};
use http_body_util::BodyExt;

use crate::{
    golden,
    serving::{Server, Toy, server, serving},
};

const V1: &str = r#"{"instances":[{"rows":[[1,10],[2.5,20]],"ids":["x","y"]}]}"#;
const V2: &str = r#"{"id":"seven","inputs":[{"name":"a","shape":[2,1],"datatype":"FP32","data":[1,2.5]},{"name":"b","shape":[2,1],"datatype":"FP32","data":[[10],[20]]},{"name":"id","shape":[2,1],"datatype":"BYTES","data":["x","y"]}],"outputs":[{"name":"sum"},{"name":"id"}]}"#;

async fn exchange(server: &Server, method: &str, path: &str, body: &str) -> String {
    let request = Request::builder().method(method).uri(path).header("x-request-id", "golden");
    let answer = server.send(request.body(Body::from(body.to_owned())).unwrap()).await;
    let mut text = format!("{method} {path}\nx-request-id: golden\n\n{body}\n\n{}\n", answer.status.as_u16());
    let mut headers: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
    headers.sort();
    for name in headers.iter().filter(|name| *name != "content-length") {
        let value = answer.header(name).unwrap();
        // What the steps took is never the same twice.
        let value = if name == "server-timing" { &without_durations(value) } else { value };
        writeln!(text, "{name}: {value}").unwrap();
    }
    writeln!(text, "\n{}", answer.text()).unwrap();
    text
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
        ("v1_explain", "POST", "/v1/models/sum:explain", V1),
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
        ("unknown_route", "GET", "/nowhere", ""),
        ("method_not_allowed", "GET", "/v2/models/sum/infer", ""),
    ] {
        golden::check(&format!("routes/{name}.http"), &exchange(&server, method, path, body).await);
    }
    let ready = serving(Repository::default().with(Arc::new(Toy::new("sum"))), server.handler.limits);
    golden::check("routes/v2_health_ready.http", &exchange(&ready, "GET", "/v2/health/ready", "").await);
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
    server.handler.metrics.upstream("ranking", "ok");
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
