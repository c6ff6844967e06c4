//! Calling a predictor: what goes over the wire, and what its answers mean.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode},
    response::IntoResponse,
    serve::ListenerExt,
};
use dataplane::{
    BytesData, Context, InferRequest, Kind, RequestedOutput, Tensor,
    client::{Predictor, Protocol, Settings},
    context::Trace,
    grpc::proto::{InferParameter, ModelInferResponse, infer_parameter::ParameterChoice},
    metrics::Metrics,
};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{
        mpsc,
        oneshot::{self, error::TryRecvError},
    },
};

use crate::{golden, predictor_grpc::good, serving::rows, wire::soon};

/// A request that a mock got.
#[derive(Clone)]
pub(crate) struct Got {
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A predictor that answers as a test wants.
pub(crate) struct Mock {
    pub(crate) address: String,
    got: Arc<Mutex<Vec<Got>>>,
    connections: Arc<AtomicUsize>,
}

impl Mock {
    pub(crate) async fn answering(
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: impl Into<Bytes>,
    ) -> Self {
        let (status, body) = (StatusCode::from_u16(status).unwrap(), body.into());
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect();
        Self::serving(move |_, _| (status, headers.clone(), body.clone())).await
    }

    /// One that makes its answer from the request and its number, from 0.
    pub(crate) async fn serving<A: IntoResponse>(
        answer: impl Fn(&Got, usize) -> A + Clone + Send + Sync + 'static,
    ) -> Self {
        let (got, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (log, accepted) = (got.clone(), connections.clone());
        let answer = move |request: Request| {
            let (log, answer) = (log.clone(), answer.clone());
            async move {
                let (head, sent) = request.into_parts();
                let sent = to_bytes(sent, usize::MAX).await.unwrap();
                let line = format!("{} {}", head.method, head.uri);
                let request = Got { line, headers: head.headers, body: sent };
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(request.clone());
                    log.len() - 1
                };
                answer(&request, number).into_response()
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let listener = listener.tap_io(move |_| {
            accepted.fetch_add(1, Ordering::SeqCst);
        });
        tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
        Self { address, got, connections }
    }

    /// What it got.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn only(&self) -> Got {
        let got = self.got.lock().unwrap();
        assert_eq!(got.len(), 1);
        got[0].clone()
    }

    /// The one request, as a golden file shows it.
    pub(crate) fn shown(&self) -> String {
        let got = self.only();
        let content_type = got.headers.get("content-type").map_or("", |value| value.to_str().unwrap());
        format!("{}\ncontent-type: {content_type}\n\n{}\n", got.line, std::str::from_utf8(&got.body).unwrap())
    }
}

pub(crate) fn predictor(host: &str, protocol: Protocol) -> Predictor {
    predictor_with(host, protocol, Metrics::new().unwrap())
}

pub(crate) fn predictor_with(host: &str, protocol: Protocol, metrics: Metrics) -> Predictor {
    predictor_set(host, &Settings { protocol, ..Settings::default() }, metrics)
}

pub(crate) fn predictor_set(host: &str, settings: &Settings, metrics: Metrics) -> Predictor {
    Predictor::new("ranking", host, "adder", settings, rows(), metrics).unwrap()
}

pub(crate) fn context() -> Context {
    Context::background(Duration::from_secs(60))
}

pub(crate) fn request() -> InferRequest {
    InferRequest::of(vec![
        Tensor::column("a", vec![1.0_f32, 0.1]),
        Tensor::column("b", vec![10.0_f32, -2.5]),
        Tensor::column("id", ["x", "é\"\n"].into_iter().collect::<BytesData>()),
    ])
}

#[tokio::test]
async fn v2_json_is_sent_as_agreed_and_its_answer_read() {
    let answer = json!({"model_name": "adder", "model_version": null, "id": null, "parameters": null, "outputs": [
        {"name": "sum", "shape": [2], "datatype": "FP32", "data": [11, -2.4], "parameters": null},
        {"name": "id", "shape": [2], "datatype": "BYTES", "data": ["x", "é\"\n"]}]});
    let mock = Mock::answering(200, &[], answer.to_string()).await;
    let response = predictor(&mock.address, Protocol::V2).infer(&request(), &context()).await.unwrap();
    assert_eq!(response.f32s("sum").unwrap(), [11.0, -2.4]);
    assert_eq!(response.bytes("id").unwrap().get(1), Some("é\"\n".as_bytes()));
    golden::check("client/v2_infer.http", &mock.shown());
}

#[tokio::test]
async fn v2_sends_the_id_parameters_and_outputs_that_a_request_has() {
    let mock = Mock::answering(200, &[], r#"{"outputs": []}"#).await;
    let mut request = request();
    request.id = Some("seven".to_owned());
    request.outputs = vec![RequestedOutput::named("sum")];
    request.parameters.insert("fast".to_owned(), true.into());
    predictor(&mock.address, Protocol::V2).infer(&request, &context()).await.unwrap();
    golden::check("client/v2_infer_full.http", &mock.shown());
}

#[tokio::test]
async fn v1_rows_are_sent_as_agreed_and_their_answer_read() {
    let answer = json!({"predictions": [{"sums": [11, -2.4], "ids": ["x", "y"]}], "also": {}});
    let mock = Mock::answering(200, &[], answer.to_string()).await;
    let response = predictor(&mock.address, Protocol::V1).infer(&request(), &context()).await.unwrap();
    assert_eq!(response.f32s("sum").unwrap(), [11.0, -2.4]);
    assert_eq!(response.bytes("id").unwrap().get(1), Some(b"y".as_slice()));
    assert!(response.parameters.is_empty());
    golden::check("client/v1_predict.http", &mock.shown());
}

#[tokio::test]
async fn what_an_answer_says_beside_its_scores_are_parameters_whatever_the_protocol() {
    let told = json!({"degraded": "away", "defaults": 2, "share": 0.5, "fast": true});
    let more = json!({"none": null, "list": [1], "object": {"a": 1}});
    let mut prediction = json!({"sums": [1, 2]});
    let (mut parameters, mut sent) = (told.clone(), ModelInferResponse::default());
    for (name, value) in more.as_object().unwrap() {
        parameters[name] = value.clone();
    }
    for (name, value) in parameters.as_object().unwrap() {
        prediction[name] = value.clone();
    }
    for (name, choice) in [
        ("degraded", ParameterChoice::StringParam("away".to_owned())),
        ("defaults", ParameterChoice::Int64Param(2)),
        ("share", ParameterChoice::DoubleParam(0.5)),
        ("fast", ParameterChoice::BoolParam(true)),
    ] {
        sent.parameters.insert(name.to_owned(), InferParameter { parameter_choice: Some(choice) });
    }
    let v1 = json!({"predictions": [prediction]}).to_string();
    let v2 = json!({"outputs": [], "parameters": parameters}).to_string();
    for (protocol, mock) in [
        (Protocol::V1, Mock::answering(200, &[], v1).await),
        (Protocol::V2, Mock::answering(200, &[], v2).await),
        (Protocol::GrpcV2, Mock::serving(move |_, _| good(&sent)).await),
    ] {
        let response = predictor(&mock.address, protocol).infer(&request(), &context()).await.unwrap();
        assert_eq!(serde_json::to_value(&response.parameters).unwrap(), told, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_v1_answer_may_leave_out_the_ids() {
    let mock = Mock::answering(200, &[], r#"{"predictions": [{"sums": [1, 2]}]}"#).await;
    let response = predictor(&mock.address, Protocol::V1).infer(&request(), &context()).await.unwrap();
    assert!(response.f32s("sum").is_some() && response.bytes("id").is_none());
}

#[tokio::test]
async fn metadata_is_read_with_the_nulls_of_kserves_python_server() {
    let body = r#"{"name":"adder","versions":null,"platform":"","inputs":[{"name":"a","datatype":"FP32","shape":[-1,1]}],"outputs":[]}"#;
    let mock = Mock::answering(200, &[], body).await;
    let metadata = predictor(&mock.address, Protocol::V2).metadata(&context()).await.unwrap();
    assert_eq!((metadata.name.as_str(), metadata.inputs[0].name.as_str()), ("adder", "a"));
    assert_eq!(mock.got()[0].line, "GET /v2/models/adder");
}

#[tokio::test]
async fn a_v1_predictor_takes_the_columns_of_its_rows() {
    for (status, body) in [(404, ""), (500, ""), (200, "no metadata"), (200, r#"{"inputs": []}"#), (200, OTHER_INPUT)] {
        let mock = Mock::answering(status, &[], body).await;
        let metadata = predictor(&mock.address, Protocol::V1).metadata(&context()).await.unwrap();
        assert_eq!(metadata.inputs, rows().columns, "{status} {body}");
    }
}

/// Metadata of a server whose tensors are no tables of ours.
const OTHER_INPUT: &str = r#"{"inputs": [{"name": "input-0", "datatype": "FP32", "shape": [-1, 2]}]}"#;

#[tokio::test]
async fn or_the_inputs_beside_the_ids_that_it_lists_by_v2() {
    let inputs = json!([{"name": "b", "datatype": "FP32", "shape": [-1, 1]}, {"name": "id", "datatype": "BYTES", "shape": [-1, 1]}]);
    let (metadata, answer) = (json!({"inputs": inputs}).to_string(), r#"{"predictions": [{"sums": [1, 2]}]}"#);
    let mock =
        Mock::serving(move |got, _| if got.line.starts_with("GET") { metadata.clone() } else { answer.to_owned() })
            .await;
    let predictor = predictor(&mock.address, Protocol::V1);
    let listed = predictor.metadata(&context()).await.unwrap();
    let names: Vec<_> = listed.inputs.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(names, ["b", "id"]);
    let sent = request().inputs.into_iter().filter(|input| names.contains(&input.name())).collect();
    predictor.infer(&InferRequest::of(sent), &context()).await.unwrap();
    assert_eq!(mock.got()[1].body, r#"{"instances":[{"rows":[[10.0],[-2.5]],"ids":["x","é\"\n"]}]}"#);
}

#[tokio::test]
async fn while_a_v1_predictor_is_away_nothing_is_known_of_it() {
    let away = Mock::answering(503, &[], "").await;
    let error = predictor(&away.address, Protocol::V1).metadata(&context()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::UpstreamUnavailable);
}

#[tokio::test]
async fn readiness_is_asked_for_the_model() {
    for (protocol, line) in [(Protocol::V1, "GET /v1/models/adder"), (Protocol::V2, "GET /v2/models/adder/ready")] {
        let mock = Mock::answering(200, &[], "").await;
        predictor(&mock.address, protocol).ready(&context()).await.unwrap();
        assert_eq!(mock.only().line, line);
    }
}

#[tokio::test]
async fn a_trace_goes_on_and_the_request_id_with_it() {
    let mock = Mock::answering(200, &[], r#"{"outputs": []}"#).await;
    let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let context = Context::new("request-7", Trace::parse(header).unwrap(), Duration::from_secs(60));
    predictor(&mock.address, Protocol::V2).infer(&request(), &context).await.unwrap();
    let got = mock.only();
    assert_eq!(got.headers["x-request-id"], "request-7");
    let parent = got.headers["traceparent"].to_str().unwrap();
    assert!(parent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && parent.ends_with("-01"), "{parent}");
    assert!(!parent.contains("00f067aa0ba902b7"), "the span is a new one: {parent}");
}

#[tokio::test]
async fn a_host_may_be_a_url_with_a_path_and_a_model_name_is_quoted() {
    let mock = Mock::answering(200, &[], r#"{"outputs": []}"#).await;
    let url = format!("http://{}/behind/", mock.address);
    let metrics = Metrics::new().unwrap();
    let predictor = Predictor::new("r", &url, "a/b?c", &Settings::default(), rows(), metrics).unwrap();
    predictor.infer(&request(), &context()).await.unwrap();
    assert_eq!(mock.only().line, "POST /behind/v2/models/a%2Fb%3Fc/infer");
}

#[tokio::test]
async fn what_is_left_of_the_time_is_sent_on() {
    for (protocol, header) in [(Protocol::V2, "x-request-timeout"), (Protocol::GrpcV2, "grpc-timeout")] {
        let mock = Mock::serving(|got, _| match got.headers["content-type"] == "application/grpc" {
            true => good(&ModelInferResponse::default()),
            false => r#"{"outputs": []}"#.into_response(),
        })
        .await;
        let context = Context::background(Duration::from_secs(7));
        tokio::time::sleep(Duration::from_millis(20)).await;
        let before = context.remaining();
        predictor(&mock.address, protocol).infer(&request(), &context).await.unwrap();
        let told = mock.only().headers[header].to_str().unwrap().to_owned();
        let left = time_left(&told);
        // Whole milliseconds are told.
        let after = context.remaining().saturating_sub(Duration::from_millis(1));
        assert!(after <= left && left <= before, "{told} is not between {before:?} and {after:?}");
    }
}

/// A budget in milliseconds, or as gRPC says it.
fn time_left(text: &str) -> Duration {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let unit = match &text[digits.len()..] {
        "n" => Duration::from_nanos(1),
        "u" => Duration::from_micros(1),
        "m" | "ms" => Duration::from_millis(1),
        "S" => Duration::from_secs(1),
        unit => panic!("{unit}"),
    };
    unit * digits.parse::<u32>().unwrap()
}

#[tokio::test]
async fn a_caller_who_leaves_ends_the_call_at_the_predictor() {
    for protocol in [Protocol::V2, Protocol::GrpcV2] {
        // The server keeps a sender for as long as it works on the call.
        let (asked, mut calls) = mpsc::unbounded_channel();
        let app = Router::new().fallback(move || {
            let (working, ended) = oneshot::channel::<()>();
            asked.send(ended).unwrap();
            async move {
                let _working = working;
                pending::<()>().await;
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let predictor = predictor(&listener.local_addr().unwrap().to_string(), protocol);
        tokio::spawn(axum::serve(listener, app).into_future());
        let caller = tokio::spawn(async move { predictor.infer(&request(), &context()).await });
        let mut call = soon(calls.recv()).await.unwrap();
        assert!(call.try_recv().is_err_and(|error| error == TryRecvError::Empty), "it works on the call");
        caller.abort();
        assert!(soon(call).await.is_err(), "{protocol:?}: it works on the call for nobody");
    }
}

#[test]
fn what_is_no_address_is_refused() {
    let made = |host| Predictor::new("r", host, "m", &Settings::default(), rows(), Metrics::new().unwrap());
    for host in
        ["", "a b", "http://", "http://host?x=1", "host#x", "ftp://host", "host:port", "me:secret@host", "host:99999"]
    {
        assert!(made(host).is_err(), "{host}");
    }
}
