//! The predictor's process, and how tests talk to it.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use dataplane::client::Tls;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::scripted::{Llm, by_label};

const PROGRAM: &str = env!("CARGO_BIN_EXE_predictor-llm");

/// The ranking features that are names.
const NAMES: [&str; 11] = [
    "product_type_name",
    "product_group_name",
    "graphical_appearance_name",
    "colour_group_name",
    "perceived_colour_value_name",
    "perceived_colour_master_name",
    "department_name",
    "index_name",
    "index_group_name",
    "section_name",
    "garment_group_name",
];

/// An HTTP client. It speaks in plain, and wants to be told of TLS all the same.
pub(crate) fn client() -> Client {
    Client::builder().tls_backend_preconfigured(Tls::none().unwrap().client_config()).no_proxy().build().unwrap()
}

/// The running predictor.
pub(crate) struct Predictor {
    child: Child,
    url: String,
    client: Client,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Predictor {
    /// One in front of `llm`, ready.
    pub(crate) async fn of(llm: &Llm, arguments: &[&str]) -> Self {
        let predictor = Self::starting(llm, arguments, &[]);
        predictor.until_ready().await;
        predictor
    }

    /// One in front of `llm` that listens, and may not be ready yet.
    pub(crate) fn starting(llm: &Llm, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["--host=127.0.0.1", "--http-port=0", "--grpc-port=0", "--llm-url", llm.url()])
            .args(arguments)
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut before = Vec::new();
        let listening = loop {
            let line = stderr.next().unwrap_or_else(|| panic!("it ended before it listened: {before:?}"));
            let read: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            before.push(line);
            if read["message"] == "listening" {
                break read;
            }
        };
        let lines = Arc::new(Mutex::new(before));
        let logged = lines.clone();
        thread::spawn(move || stderr.for_each(|line| logged.lock().unwrap().push(line)));
        let url = format!("http://{}", listening["rest"].as_str().unwrap());
        Self { child, url, client: client(), lines }
    }

    /// How a start with these settings is refused: its exit code and its one line.
    pub(crate) fn refusal(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
        let ended = Command::new(PROGRAM).args(arguments).env_clear().envs(variables.iter().copied()).output().unwrap();
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    }

    pub(crate) async fn until_ready(&self) {
        self.until(async || self.ready().await.0 == 200).await;
    }

    /// Waits until something holds. A test that waits for ever says nothing.
    pub(crate) async fn until(&self, holds: impl AsyncFn() -> bool) {
        for _ in 0..6000 {
            if holds().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it never came: {:#?}", self.lines());
    }

    /// What the probe of readiness is told.
    pub(crate) async fn ready(&self) -> (u16, Value) {
        answered(self.client.get(format!("{}/v2/health/ready", self.url))).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        answered(self.client.get(format!("{}{path}", self.url))).await
    }

    /// Asks something by a request of its own form.
    pub(crate) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url)).body(body.to_string())
    }

    /// Asks by V2 for the scores of articles with these names.
    pub(crate) async fn score(&self, names: &[&str]) -> Answer {
        self.infer(&v2(names), &[]).await
    }

    /// Asks by V2, with these headers.
    pub(crate) async fn infer(&self, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.post("/v2/models/hemline/infer", body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (status, body) = answered(request).await;
        Answer { status, body }
    }

    pub(crate) async fn predict(&self, body: &Value) -> (u16, Value) {
        answered(self.post("/v1/models/hemline:predict", body)).await
    }

    pub(crate) async fn metrics(&self) -> String {
        self.client.get(format!("{}/metrics", self.url)).send().await.unwrap().text().await.unwrap()
    }

    /// A family of one label, by its values.
    pub(crate) async fn counts(&self, family: &str) -> std::collections::BTreeMap<String, f64> {
        by_label(&self.metrics().await, family)
    }

    /// A metric without labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let metrics = self.metrics().await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    }

    /// What it has logged so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The lines with this message.
    pub(crate) fn logged(&self, message: &str) -> Vec<Value> {
        let lines = self.lines().into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
        lines.filter(|line| line["message"] == message).collect()
    }
}

impl Drop for Predictor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn answered(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// An answer by V2.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn output(&self, name: &str) -> Vec<Value> {
        let outputs = self.body["outputs"].as_array().unwrap_or_else(|| panic!("{self:?}"));
        let output =
            outputs.iter().find(|output| output["name"] == name).unwrap_or_else(|| panic!("no {name}: {self:?}"));
        output["data"].as_array().unwrap().clone()
    }

    pub(crate) fn scores(&self) -> Vec<f64> {
        // As they were before they became FP32.
        let four = |score: &Value| (score.as_f64().unwrap() * 1e4).round() / 1e4;
        self.output("scores").iter().map(four).collect()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.output("article_ids").iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    /// A parameter of the answer; null where there is none.
    pub(crate) fn parameter(&self, name: &str) -> &Value {
        &self.body["parameters"][name]
    }
}

/// Names of so many articles, whose probabilities stand in them.
pub(crate) fn named(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("article-0.{:04}", 100 + number)).collect()
}

/// Asks by V2 about articles with these names, of one customer. Their ids are their places, with an `id` in front.
pub(crate) fn v2(names: &[&str]) -> Value {
    let count = names.len();
    let tensor = |name: &str, datatype: &str, data: Vec<Value>| json!({"name": name, "datatype": datatype, "shape": [count, 1], "data": data});
    let same = |name: &str, value: Value| {
        let datatype = if value.is_number() { "FP32" } else { "BYTES" };
        tensor(name, datatype, vec![value; count])
    };
    let mut inputs = vec![same("age", json!(31)), same("month_sin", json!(-0.866)), same("month_cos", json!(-0.5))];
    inputs.extend(NAMES.map(|name| same(name, json!(format!("some {name}")))));
    inputs.push(tensor("prod_name", "BYTES", names.iter().map(|name| json!(name)).collect()));
    inputs.push(same("history", json!("Blue socks (Socks, Blue)")));
    inputs.push(tensor("article_id", "BYTES", (0..count).map(|place| json!(format!("id{place}"))).collect()));
    json!({"inputs": inputs})
}

/// The same by V1, in the order of the listed inputs.
pub(crate) fn v1(names: &[&str]) -> Value {
    let rows = names.iter().map(|name| {
        let mut row = vec![json!(31), json!(-0.866), json!(-0.5)];
        row.extend(NAMES.map(|name| json!(format!("some {name}"))));
        row.extend([json!(name), json!("Soft."), json!("Blue socks (Socks, Blue)")]);
        row
    });
    let rows: Vec<_> = rows.collect();
    let ids: Vec<_> = (0..names.len()).map(|place| format!("id{place}")).collect();
    json!({"instances": [{"ranking_features": rows, "article_ids": ids}]})
}
