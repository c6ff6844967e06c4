//! The examples, asked as their first lines show it: V1, V2 and gRPC.

use dataplane::grpc::proto::{
    ModelInferRequest, grpc_inference_service_client::GrpcInferenceServiceClient, model_infer_request::InferInputTensor,
};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tempfile::tempdir;
use tonic::transport::Endpoint;

use crate::{
    predictor::Mock,
    toy::{Process, client},
    wire::pause,
};

/// An answer's status and body.
type Answer = (u16, Value);

async fn sent(request: RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

async fn get(server: &Process, path: &str) -> Answer {
    sent(client().get(format!("{}{path}", server.url))).await
}

fn post(server: &Process, path: &str, body: &Value) -> RequestBuilder {
    client().post(format!("{}{path}", server.url)).body(body.to_string())
}

/// Waits until this model answers.
async fn ready(server: &Process, model: &str) {
    while get(server, &format!("/v2/models/{model}/ready")).await.0 != 200 {
        pause().await;
    }
}

async fn v1(server: &Process, model: &str, instances: Value) -> Answer {
    sent(post(server, &format!("/v1/models/{model}:predict"), &json!({"instances": instances}))).await
}

fn inputs(name: &str, shape: &[i64], data: &[f32]) -> Value {
    json!({"id": "7", "inputs": [{"name": name, "datatype": "FP32", "shape": shape, "data": data}]})
}

/// The outputs' data by V2, in their order.
async fn v2(server: &Process, model: &str, body: Value) -> Vec<Value> {
    let (status, answer) = sent(post(server, &format!("/v2/models/{model}/infer"), &body)).await;
    assert_eq!((status, &answer["id"]), (200, &json!("7")), "{answer}");
    answer["outputs"].as_array().unwrap().iter().map(|output| output["data"].clone()).collect()
}

/// The outputs' names and raw contents by gRPC.
async fn grpc(server: &Process, model: &str, name: &str, shape: &[i64], data: &[f32]) -> Vec<(String, Vec<u8>)> {
    let address = format!("http://{}", server.address("grpc").unwrap());
    let mut client = GrpcInferenceServiceClient::new(Endpoint::from_shared(address).unwrap().connect().await.unwrap());
    let input = InferInputTensor {
        name: name.to_owned(),
        datatype: "FP32".to_owned(),
        shape: shape.to_vec(),
        ..InferInputTensor::default()
    };
    let raw = data.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let request = ModelInferRequest {
        model_name: model.to_owned(),
        inputs: vec![input],
        raw_input_contents: vec![raw.into()],
        ..ModelInferRequest::default()
    };
    let answer = client.model_infer(request).await.unwrap().into_inner();
    answer
        .outputs
        .into_iter()
        .map(|output| output.name)
        .zip(answer.raw_output_contents.iter().map(|raw| raw.to_vec()))
        .collect()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_server_answers_by_every_protocol() {
    let smallest = Process::example("smallest", &["--model-name", "double"]);
    let predictions = json!({"predictions": [[2.0, 4.0], [6.0, 8.0]]});
    assert_eq!(v1(&smallest, "double", json!([[1, 2], [3, 4]])).await, (200, predictions));
    let outputs = v2(&smallest, "double", inputs("x", &[2, 2], &[1.0, 2.0, 3.0, 4.0])).await;
    assert_eq!(outputs, [json!([2.0, 4.0, 6.0, 8.0])]);
    let outputs = grpc(&smallest, "double", "x", &[1, 2], &[1.0, 2.0]).await;
    assert_eq!(outputs, [("y".to_owned(), floats(&[2.0, 4.0]))]);
    let (status, answer) = v1(&smallest, "double", json!([[1, "two"]])).await;
    assert_eq!((status, &answer["code"]), (400, &json!("invalid_argument")), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scrape_counts_what_all_workers_did() {
    let smallest = Process::example("smallest", &["--model-name", "double", "--workers", "3"]);
    let asked = (0..30).map(|_| v1(&smallest, "double", json!([[1, 2]])));
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.iter().all(|(status, _)| *status == 200));
    let counted = r#"inference_requests_total{code="ok",model="double",protocol="v1"} 30"#;
    for _ in 0..5 {
        let text = client().get(format!("{}/metrics", smallest.url)).send().await.unwrap().text().await.unwrap();
        assert!(text.lines().any(|line| line == counted), "{text}");
    }
}

#[test]
fn a_wrong_setting_ends_an_example_with_one_line_and_64() {
    for (example, arguments, expected) in [
        ("smallest", vec!["--workers", "many"], "--workers"),
        ("transformer", vec![], "--predictor-host"),
        ("transformer", vec!["--predictor-host", "ftp://x"], "ftp"),
    ] {
        let (code, text) = Process::refusal_of(example, &arguments);
        assert_eq!((code, text.lines().count()), (Some(64), 1), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transformer_scales_what_goes_in_and_labels_what_comes_out() {
    let folder = tempdir().unwrap();
    let socket = folder.path().join("socket").display().to_string();
    let smallest = Process::example("smallest", &["--model-name", "double", "--uds", &socket]);
    let [rest, grpc_port] = ["rest", "grpc"].map(|listener| smallest.address(listener).unwrap().to_owned());
    let socket = format!("unix:{socket}");
    let over_grpc = Some("--predictor-grpc");
    for (address, more) in [(&rest, None), (&grpc_port, over_grpc), (&socket, None), (&socket, over_grpc)] {
        let host = ["--model-name", "double", "--scale", "0.5", "--predictor-host", address];
        let transformer = Process::example("transformer", &host.into_iter().chain(more).collect::<Vec<_>>());
        ready(&transformer, "double").await;
        let predictions = json!([{"y": [1.0, 2.0], "label": "yes"}, {"y": [-3.0, 4.0], "label": "no"}]);
        let answer = v1(&transformer, "double", json!([[1, 2], [-3, 4]])).await;
        assert_eq!(answer, (200, json!({ "predictions": predictions })));
        let outputs = v2(&transformer, "double", inputs("x", &[1, 2], &[1.0, 2.0])).await;
        assert_eq!(outputs, [json!([1.0, 2.0]), json!(["yes"])]);
        let outputs = grpc(&transformer, "double", "x", &[1, 2], &[1.0, 2.0]).await;
        let label = b"\x03\x00\x00\x00yes".to_vec();
        assert_eq!(outputs, [("y".to_owned(), floats(&[1.0, 2.0])), ("label".to_owned(), label)]);
        let (_, metadata) = get(&transformer, "/v2/models/double").await;
        assert_eq!(metadata["outputs"][1], json!({"name": "label", "datatype": "BYTES", "shape": [-1]}));
    }
}

const SUM: &str = r#"{"id": "7", "inputs": [{"name": "a", "datatype": "FP32", "shape": [1, 1], "data": [1]},
    {"name": "b", "datatype": "FP32", "shape": [1, 1], "data": [2]},
    {"name": "id", "datatype": "BYTES", "shape": [1, 1], "data": ["x"]}]}"#;

fn before(predictor: &Process) -> Process {
    Process::example("transformer", &["--model-name", "toy", "--predictor-host", predictor.address("rest").unwrap()])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transformer_tells_of_its_predictor_and_hands_on_the_deadline() {
    let mock = Mock::answering(200, &[], r#"{"name": "any", "inputs": [], "outputs": []}"#).await;
    let transformer = Process::example("transformer", &["--model-name", "any", "--predictor-host", &mock.address]);
    ready(&transformer, "any").await;
    let told = json!({"ready": true, "dependencies": {"predictor": "ready"}});
    assert_eq!(get(&transformer, "/v2/health/ready").await, (200, told));
    let request = post(&transformer, "/v2/models/any/infer", &inputs("x", &[1], &[1.0]));
    sent(request.header("x-request-timeout", "5s")).await;
    let got = mock.got().into_iter().find(|got| got.line.starts_with("POST")).unwrap();
    let left: u64 = got.headers["x-request-timeout"].to_str().unwrap().strip_suffix("ms").unwrap().parse().unwrap();
    assert!((1..=5000).contains(&left), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_reach_the_predictor_behind_a_transformer_that_answers_in_time() {
    let toy = Process::start(&["--pause", "60s"]);
    let transformer = before(&toy);
    ready(&transformer, "toy").await;
    let body: Value = serde_json::from_str(SUM).unwrap();
    let request = post(&transformer, "/v2/models/toy/infer", &body);
    let (status, answer) = sent(request.header("x-request-id", "r-1").header("x-request-timeout", "300ms")).await;
    assert_eq!(status, 504, "{answer}");
    assert_eq!(toy.until_logged("adding up")["request_id"], "r-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transformer_without_its_predictor_is_not_ready_and_names_no_address() {
    let toy = Process::start(&[]);
    let address = toy.address("rest").unwrap().to_owned();
    let transformer = before(&toy);
    ready(&transformer, "toy").await;
    drop(toy);
    let body: Value = serde_json::from_str(SUM).unwrap();
    let (status, answer) = sent(post(&transformer, "/v2/models/toy/infer", &body)).await;
    assert_eq!(status, 503, "{answer}");
    assert!(!answer.to_string().contains(&address), "{answer}");
    while get(&transformer, "/v2/health/ready").await.0 == 200 {
        pause().await;
    }
}

#[cfg(feature = "onnx")]
mod onnx {
    use std::{fs, iter};

    use serde_json::json;
    use tempfile::tempdir;

    use super::{Process, floats, get, grpc, inputs, pause, v1, v2};
    use crate::onnx::{FLOAT, failing, identity};

    #[tokio::test(flavor = "multi_thread")]
    async fn an_onnx_file_is_served_by_every_protocol_and_swapped_for_another() {
        let folder = tempdir().unwrap();
        let file = folder.path().join("model.onnx");
        fs::write(&file, identity(&[("x", FLOAT, "N")])).unwrap();
        let arguments =
            ["--model-name", "same", "--model-watch", "0", "--workers", "1", "--model", file.to_str().unwrap()];
        let server = Process::example("onnx", &arguments);
        assert_eq!(v1(&server, "same", json!([[1.5], [2]])).await, (200, json!({"predictions": [[1.5], [2.0]]})));
        assert_eq!(v2(&server, "same", inputs("x", &[2, 1], &[1.0, 2.0])).await, [json!([1.0, 2.0])]);
        assert_eq!(grpc(&server, "same", "x", &[1, 1], &[3.0]).await, [("x_out".to_owned(), floats(&[3.0]))]);
        let digest = get(&server, "/v2/models/same").await.1["properties"]["digest"].clone();
        // What can't be used is refused, and what was there serves on.
        fs::write(&file, "no graph").unwrap();
        server.signal("HUP");
        server.until_logged("could not be loaded");
        assert_eq!(v1(&server, "same", json!([1])).await.0, 200);
        fs::write(&file, identity(&[("z", FLOAT, "N")])).unwrap();
        server.signal("HUP");
        while get(&server, "/v2/models/same").await.1["properties"]["digest"] == digest {
            pause().await;
        }
        assert_eq!(v2(&server, "same", inputs("z", &[1, 1], &[4.0])).await, [json!([4.0])]);
    }

    #[test]
    fn what_can_not_be_served_is_refused_at_the_start() {
        let folder = tempdir().unwrap();
        let file = folder.path().join("model.onnx");
        // More than once, as a process that exits while its threads still drop the model crashes now and then.
        let failing = iter::repeat_n((failing(), "its warm-up failed"), 10);
        for (content, reason) in iter::once((b"no graph".to_vec(), "no ONNX model")).chain(failing) {
            fs::write(&file, content).unwrap();
            let (code, text) = Process::refusal_of("onnx", &["--model", file.to_str().unwrap()]);
            assert_eq!((code, text.lines().count()), (Some(64), 1), "{text}");
            assert!(text.contains(&format!("model.onnx: {reason}")), "{text}");
        }
    }
}
