//! Log lines: one JSON object each, and those of a request say whose they are.

use serde_json::Value;

use crate::toy::{Process, client};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

async fn logged(arguments: &[&str], requests: &[(&str, &str)]) -> Vec<Value> {
    let toy = Process::start(arguments);
    for (path, body) in requests {
        let request = client().post(format!("{}{path}", toy.url)).body((*body).to_owned());
        let request =
            request.header("x-request-id", "req\"7").header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
        request.send().await.unwrap();
    }
    toy.signal("INT");
    let (code, lines) = toy.end();
    assert_eq!(code, Some(0));
    lines
}

fn of_request<'a>(lines: &'a [Value], message: &str) -> &'a Value {
    let line = lines.iter().find(|line| line["message"] == message).unwrap_or_else(|| panic!("{message}: {lines:?}"));
    assert_eq!((&line["request_id"], &line["trace_id"]), (&"req\"7".into(), &TRACE.into()), "{line}");
    assert_eq!((&line["model"], &line["inference_service"]), (&"toy".into(), &"shop".into()), "{line}");
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_of_a_request_carries_its_ids_model_and_service() {
    let lines = logged(
        &[],
        &[
            ("/v1/models/toy:predict", r#"{"instances": [{"rows": [[1, 2]], "ids": ["x"]}]}"#),
            ("/v2/models/toy/infer", "{}"),
        ],
    )
    .await;
    // Said by the model, on a thread of its own.
    of_request(&lines, "adding up");
    let answered = of_request(&lines, "answered");
    assert_eq!((&answered["status"], &answered["path"]), (&200.into(), &"/v1/models/toy:predict".into()));
    assert!(answered["took_us"].is_u64(), "{answered}");
    let refused = of_request(&lines, "refused");
    assert_eq!((&refused["status"], &refused["code"]), (&400.into(), &"invalid_argument".into()));
    assert_eq!(refused["error"], "field `inputs`: missing (expected a list of tensors)");
    for line in &lines {
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z') && line["level"].is_string(), "{line}");
        assert_eq!(line["inference_service"], "shop");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_writes_into_a_path_stays_inside_its_line() {
    let path = "/v1/models/a%0A%7B%22level%22:%22FATAL%22%7D%1b[2J:predict";
    let lines = logged(&[], &[(path, "{}")]).await;
    let refused = lines.iter().find(|line| line["message"] == "refused").unwrap();
    assert_eq!(refused["path"], path);
    assert_eq!(refused["model"], "", "a name that is not served is no model");
    let error = refused["error"].as_str().unwrap();
    assert!(error.contains(r#"a\n{"level":"FATAL"}\u{1b}[2J"#), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_short_however_long_the_path_is() {
    let paths = ["/v1/models/", "/nowhere/"].map(|start| format!("{start}{}:predict", "a".repeat(60_000)));
    let lines = logged(&[], &[(&paths[0], "{}"), (&paths[1], "{}")]).await;
    let refused: Vec<_> = lines.iter().filter(|line| line["message"] == "refused").collect();
    assert_eq!(refused.len(), 2);
    for (line, path) in refused.into_iter().zip(paths) {
        assert_eq!(line["path"], path[..512]);
        assert!(line.to_string().len() < 4096, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_quotes_little_of_what_it_refuses() {
    let long = "s".repeat(60_000);
    let element =
        format!(r#"{{"inputs": [{{"name": "a", "datatype": "FP32", "shape": [1, 1], "data": ["{long}"]}}]}}"#);
    let body = format!("\"{long}\"");
    let path = "/v2/models/toy/infer";
    let lines = logged(&[], &[(path, &element), (path, &body)]).await;
    let refused: Vec<_> = lines.iter().filter(|line| line["message"] == "refused").map(ToString::to_string).collect();
    assert_eq!(refused.len(), 2);
    assert!(refused[0].contains(&long[..30]) && !refused[0].contains(&long[..41]), "{}", refused[0]);
    assert!(!refused[1].contains(&long[..2049]), "{}", refused[1]);
    let rest = |line: &&Value| line["message"] != "refused";
    assert!(lines.iter().filter(rest).all(|line| !line.to_string().contains(&long[..10])), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_shows_a_line_does_not_hide_whose_it_is() {
    let lines = logged(&["--log-level", "warn,dataplane::serve=info"], &[("/v2/models/toy/infer", "{}")]).await;
    of_request(&lines, "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_access_log_only_refusals_and_failures_are_lines() {
    let good = r#"{"instances": [{"rows": [[1, 2]], "ids": ["x"]}]}"#;
    let requests = [("/v1/models/toy:predict", good), ("/v2/models/toy/infer", "{}")];
    let lines = logged(&["--access-log", "false"], &requests).await;
    assert!(lines.iter().all(|line| line["message"] != "answered"), "{lines:?}");
    of_request(&lines, "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_can_be_read_and_changed_where_control_calls_are_on() {
    let toy = Process::start(&["--enable-control"]);
    let url = format!("{}/v2/logging", toy.url);
    let level = || async { client().get(&url).send().await.unwrap().text().await.unwrap() };
    let change = async |body: &'static str| client().post(&url).body(body).send().await.unwrap();
    assert_eq!(level().await, r#"{"level":"info"}"#);
    for wrong in [
        r#"{"level": "nonsense=nonsense"}"#,
        r#"{"level": "debgu"}"#,
        r#"{"level": ""}"#,
        r#"{"level": 1}"#,
        "{}",
        "[",
        r#"["debug"]"#,
        r#"{"level": "info", "x": "1"}"#,
    ] {
        assert_eq!(change(wrong).await.status(), 400, "{wrong}");
        assert_eq!(level().await, r#"{"level":"info"}"#, "{wrong}");
    }
    assert_eq!(change(r#"{"level": "warn,dataplane::observe=debug"}"#).await.status(), 200);
    assert_eq!(level().await, r#"{"level":"dataplane::observe=debug,warn"}"#);
    toy.signal("INT");
    let (_, lines) = toy.end();
    let change = lines.iter().position(|line| line["message"] == "the log's filter was changed").unwrap();
    let now_shown =
        |line: &Value| line["level"] == "DEBUG" && line["message"] == "answered" && line["path"] == "/v2/logging";
    assert!(lines[change..].iter().any(now_shown), "{lines:?}");
    assert!(!lines[..change].iter().any(now_shown), "{lines:?}");
    assert!(lines.iter().all(|line| line["message"] != "stopped"), "a level that is hidden: {lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_is_nobodys_where_control_calls_are_off() {
    let toy = Process::start(&[]);
    let url = format!("{}/v2/logging", toy.url);
    assert_eq!(client().get(&url).send().await.unwrap().status(), 403);
    assert_eq!(client().post(&url).body(r#"{"level": "trace"}"#).send().await.unwrap().status(), 403);
    toy.signal("INT");
    toy.end();
}
