//! The stylist as its callers see it: outfits that come item by item, whole ones, and what becomes of an LLM that fails.

use std::{sync::Arc, time::Duration};

use reqwest::Response;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    predictor::{Answer, Predictor},
    scripted::{Llm, MODEL, Piece, Reply},
};

mod answers;
mod failures;
mod streams;

const LINES: &str =
    "👖 Pants @ Slim-fit dark jeans | 👕 Top @ White cotton tee | 👟 Shoes @ Canvas trainers | Plain and good.";
const JSON: &str = r#"{"items": [{"emoji": "👖", "category": "Pants", "description": "Slim-fit dark jeans"}, {"emoji": "👕", "category": "Top", "description": "White cotton tee"}, {"emoji": "👟", "category": "Shoes", "description": "Canvas trainers"}], "summary": "Plain and good."}"#;

fn items() -> Value {
    json!([
        {"emoji": "👖", "category": "Pants", "description": "Slim-fit dark jeans"},
        {"emoji": "👕", "category": "Top", "description": "White cotton tee"},
        {"emoji": "👟", "category": "Shoes", "description": "Canvas trainers"},
    ])
}

/// An answer that streams, event by event.
struct Events {
    response: Response,
    read: String,
}

impl Events {
    async fn of(predictor: &Predictor, body: &Value) -> Self {
        let response = predictor.post("/v2/models/stylist/generate_stream", body).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{response:?}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, read: String::new() }
    }

    /// The next event; nothing at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        while !self.read.contains("\n\n") {
            let bytes = self.response.chunk().await.unwrap()?;
            self.read.push_str(str::from_utf8(&bytes).unwrap());
        }
        let (event, rest) = self.read.split_once("\n\n").unwrap();
        let (name, data) = event.split_once('\n').unwrap();
        let event = (name.strip_prefix("event: ").unwrap(), data.strip_prefix("data: ").unwrap());
        let event = (event.0.to_owned(), serde_json::from_str(event.1).unwrap());
        self.read = rest.to_owned();
        Some(event)
    }

    /// All that are left.
    async fn rest(mut self) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

fn event(name: &str, data: Value) -> (String, Value) {
    (name.to_owned(), data)
}

/// The events of the outfit that [`LINES`] and [`JSON`] are.
fn outfit(form: &str) -> Vec<(String, Value)> {
    let items = items();
    let told = items.as_array().unwrap().iter().enumerate().map(|(index, item)| {
        let mut item = item.clone();
        item["index"] = json!(index);
        event("item", item)
    });
    let summary = event("summary", json!({"summary": "Plain and good."}));
    let done = event("done", json!({"llm": MODEL, "form": form, "items": 3}));
    told.chain([summary, done]).collect()
}

fn wish(request: &str) -> Value {
    json!({"text_input": request, "parameters": {"gender": "women"}})
}

async fn generate(predictor: &Predictor, body: &Value) -> (u16, Value) {
    let response = predictor.post("/v2/models/stylist/generate_stream", body).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

async fn predict(predictor: &Predictor, body: &Value) -> (u16, Value) {
    let response = predictor.post("/v1/models/stylist:predict", body).send().await.unwrap();
    (response.status().as_u16(), response.json_value().await)
}

async fn infer(predictor: &Predictor, body: &Value) -> Answer {
    let response = predictor.post("/v2/models/stylist/infer", body).send().await.unwrap();
    Answer { status: response.status().as_u16(), body: response.json_value().await }
}

trait JsonValue {
    async fn json_value(self) -> Value;
}

impl JsonValue for Response {
    async fn json_value(self) -> Value {
        serde_json::from_str(&self.text().await.unwrap()).unwrap()
    }
}

fn tensor(name: &str, values: &[&str]) -> Value {
    json!({"name": name, "datatype": "BYTES", "shape": [values.len()], "data": values})
}
