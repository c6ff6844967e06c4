//! Requests computed together, through both protocols.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, mpsc},
    task::Poll,
    time::Duration,
};

use axum::{body::Body, http::Request};
use dataplane::{
    Context, Data, Datatype, Error, Handler, InferRequest, InferResponse, Kind, Model, ModelMetadata, Result,
    SyncModel, Tensor, TensorMetadata,
    grpc::proto::{ModelInferRequest, ModelInferResponse, model_infer_request::InferInputTensor},
    limits::Limits,
    metrics::Metrics,
    repository::Repository,
    worker::{Admission, Batching, Joined, Owned},
};
use prost::Message;
use serde_json::{Value, json};

use crate::serving::{Answer, Server, columns, post, rows, serving, serving_handler};

/// Adds up `a` and `b` when it is let to; refuses whatever has a negative number in it.
struct Gated {
    began: mpsc::Sender<usize>,
    go: mpsc::Receiver<()>,
}

impl SyncModel for Gated {
    fn infer(&mut self, request: InferRequest) -> Result<InferResponse> {
        let column = |name: &str| request.required(name).map(|tensor| tensor.as_f32().unwrap_or_default());
        let (a, b, ids) = (column("a")?, column("b")?, request.required("id")?.data().clone());
        self.began.send(a.len()).unwrap();
        self.go.recv().unwrap();
        if a.iter().any(|a| *a < 0.0) {
            return Err(Error::invalid("a negative number"));
        }
        let sums: Vec<f32> = a.iter().zip(b).map(|(a, b)| a + b).collect();
        Ok(InferResponse::of(vec![Tensor::vector("sum", Data::from(sums)), Tensor::vector("id", ids)]))
    }
}

/// A server of one thread that gathers, and the means to hold it.
struct Gate {
    server: Arc<Server>,
    model: Arc<Owned<Joined<Gated>>>,
    /// Rows of each run, as they begin.
    began: mpsc::Receiver<usize>,
    go: mpsc::Sender<()>,
}

fn gated(max_rows: usize) -> Gate {
    let ((began, begins), (go, gate)) = (mpsc::channel(), mpsc::channel());
    let metrics = Metrics::new().unwrap();
    let id = TensorMetadata::new("id", Datatype::Bytes, &[-1, 1]);
    let metadata = ModelMetadata {
        name: "gated".to_owned(),
        inputs: columns().into_iter().chain([id]).collect(),
        ..ModelMetadata::default()
    };
    let copies = Joined::copies(vec![Gated { began, go: gate }]);
    let admission = Admission { places: 16, metrics: Some(metrics.queue("gated")) };
    let batching = Batching { max_rows, max_delay: Duration::ZERO };
    let model = Arc::new(Owned::start(metadata, Arc::new(rows()), copies, admission, batching).unwrap());
    let toys = serving(Repository::default().with(model.clone()), Limits::default());
    let server = serving_handler(Handler { metrics, ..toys.handler });
    Gate { server: Arc::new(server), model, began: begins, go }
}

type Asked = tokio::task::JoinHandle<(u16, Value)>;

impl Gate {
    /// Asks in the background, and waits until the request stands in the queue, `length`th.
    async fn ask(&self, path: &'static str, body: Value, length: u32) -> Asked {
        let request = post(path).body(Body::from(body.to_string())).unwrap();
        self.send(request, length, |answer| (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap()))
            .await
    }

    /// As [`Gate::ask`], in any protocol.
    async fn send<T: Send + 'static>(
        &self,
        request: Request<Body>,
        length: u32,
        read: fn(Answer) -> T,
    ) -> tokio::task::JoinHandle<T> {
        let server = self.server.clone();
        let asked = tokio::spawn(async move { read(server.send(request).await) });
        while self.length().await != f64::from(length) {
            tokio::task::yield_now().await;
        }
        asked
    }

    async fn length(&self) -> f64 {
        self.server.metric(r#"inference_queue_length{model="gated"}"#).await.unwrap()
    }

    /// Occupies the only thread; the queue is empty then.
    async fn hold(&self) -> Asked {
        let server = self.server.clone();
        let held = tokio::spawn(async move {
            let answer = server.post(V1, v1(&[0.0], "held").to_string()).await;
            (answer.status.as_u16(), answer.json())
        });
        loop {
            match self.began.try_recv() {
                Ok(rows) => assert_eq!(rows, 1),
                Err(_) => {
                    tokio::task::yield_now().await;
                    continue;
                }
            }
            return held;
        }
    }

    /// Lets so many runs go on.
    fn release(&self, runs: usize) {
        (0..runs).for_each(|_| self.go.send(()).unwrap());
    }
}

const V1: &str = "/v1/models/gated:predict";
const V2: &str = "/v2/models/gated/infer";

fn ids(a: &[f32], id: &str) -> Vec<String> {
    (0..a.len()).map(|row| format!("{id}{row}")).collect()
}

fn v1(a: &[f32], id: &str) -> Value {
    let rows: Vec<_> = a.iter().map(|a| [*a, 0.5]).collect();
    json!({"instances": [{"rows": rows, "ids": ids(a, id)}]})
}

fn v2(a: &[f32], id: &str) -> Value {
    let shape = [a.len(), 1];
    let input = |name: &str, datatype: &str, data: Value| json!({"name": name, "datatype": datatype, "shape": shape, "data": data});
    // In another order than V1's codec has them, and with fewer outputs.
    json!({"outputs": [{"name": "sum"}], "inputs": [
        input("id", "BYTES", json!(ids(a, id))),
        input("b", "FP32", json!(vec![0.5; a.len()])),
        input("a", "FP32", json!(a))]})
}

fn v1_answer(sums: &[f32], id: &str) -> (u16, Value) {
    (200, json!({"predictions": [{"sums": sums, "ids": ids(sums, id)}]}))
}

async fn v2_sums(asked: Asked) -> Value {
    let (status, body) = asked.await.unwrap();
    assert_eq!((status, body["outputs"].as_array().map(Vec::len)), (200, Some(1)), "{body}");
    body["outputs"][0]["data"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_one_batch_of_both_protocols_and_everybody_gets_their_own_rows() {
    let gate = gated(64);
    let held = gate.hold().await;
    let x = gate.ask(V1, v1(&[1.0, 2.0], "x"), 1).await;
    let y = gate.ask(V2, v2(&[3.0], "y"), 2).await;
    let z = gate.ask(V1, v1(&[4.0, 5.0, 6.0], "z"), 3).await;
    gate.release(2);
    assert_eq!(held.await.unwrap(), v1_answer(&[0.5], "held"));
    assert_eq!(x.await.unwrap(), v1_answer(&[1.5, 2.5], "x"));
    assert_eq!(v2_sums(y).await, json!([3.5]));
    assert_eq!(z.await.unwrap(), v1_answer(&[4.5, 5.5, 6.5], "z"));
    assert_eq!(gate.began.try_iter().collect::<Vec<_>>(), [6]);
    assert_eq!(gate.server.metric(r#"inference_batch_rows_sum{model="gated"}"#).await, Some(7.0));
    assert_eq!(gate.server.metric(r#"inference_batch_rows_count{model="gated"}"#).await, Some(2.0));
    assert_eq!(gate.server.metric(r#"inference_queue_seconds_count{model="gated"}"#).await, Some(4.0));
    assert_eq!(gate.length().await, 0.0);
}

/// The columns, each as bytes back to back.
fn raw(a: f32) -> [(&'static str, &'static str, Vec<u8>); 3] {
    let (a, b) = (a.to_le_bytes().to_vec(), 0.5_f32.to_le_bytes().to_vec());
    [("a", "FP32", a), ("b", "FP32", b), ("id", "BYTES", b"\x01\0\0\0z".to_vec())]
}

fn binary(a: f32) -> Request<Body> {
    let inputs = raw(a).map(|(name, datatype, raw)| {
        json!({"name": name, "datatype": datatype, "shape": [1, 1], "parameters": {"binary_data_size": raw.len()}})
    });
    let json = json!({"inputs": inputs, "outputs": [{"name": "sum"}]}).to_string();
    let body = [json.as_bytes(), &raw(a).map(|(.., raw)| raw).concat()].concat();
    post(V2).header("inference-header-content-length", json.len()).body(Body::from(body)).unwrap()
}

fn grpc(a: f32) -> Request<Body> {
    let inputs = raw(a).map(|(name, datatype, _)| InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: vec![1, 1],
        ..InferInputTensor::default()
    });
    let message = ModelInferRequest {
        model_name: "gated".to_owned(),
        inputs: inputs.to_vec(),
        raw_input_contents: raw(a).map(|(.., raw)| raw.into()).to_vec(),
        ..ModelInferRequest::default()
    };
    let message = message.encode_to_vec();
    let frame = [&[0], u32::try_from(message.len()).unwrap().to_be_bytes().as_slice(), &message].concat();
    let request = post("/inference.GRPCInferenceService/ModelInfer").header("content-type", "application/grpc");
    request.header("te", "trailers").body(Body::from(frame)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_protocol_they_came_by_requests_join_one_batch() {
    let gate = gated(64);
    let held = gate.hold().await;
    let json = gate.ask(V2, v2(&[1.0], "x"), 1).await;
    let binary = gate.send(binary(2.0), 2, |answer| answer.json()).await;
    let grpc = gate.send(grpc(3.0), 3, |answer| ModelInferResponse::decode(&answer.body[5..]).unwrap()).await;
    let v1 = gate.ask(V1, v1(&[4.0], "y"), 4).await;
    gate.release(2);
    held.await.unwrap();
    assert_eq!(v2_sums(json).await, json!([1.5]));
    assert_eq!(binary.await.unwrap()["outputs"][0]["data"], json!([2.5]));
    assert_eq!(grpc.await.unwrap().raw_output_contents[0][..], 3.5_f32.to_le_bytes());
    assert_eq!(v1.await.unwrap(), v1_answer(&[4.5], "y"));
    assert_eq!(gate.began.try_iter().collect::<Vec<_>>(), [4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_alone_gets_its_error() {
    let gate = gated(64);
    let held = gate.hold().await;
    let good = gate.ask(V1, v1(&[1.0, 2.0], "x"), 1).await;
    let bad = gate.ask(V2, v2(&[-1.0], "y"), 2).await;
    let other = gate.ask(V2, v2(&[3.0], "z"), 3).await;
    gate.release(5);
    held.await.unwrap();
    assert_eq!(good.await.unwrap(), v1_answer(&[1.5, 2.5], "x"));
    assert_eq!(bad.await.unwrap(), (400, json!({"error": "a negative number", "code": "invalid_argument"})));
    assert_eq!(v2_sums(other).await, json!([3.5]));
    assert_eq!(gate.began.try_iter().collect::<Vec<_>>(), [4, 2, 1, 1], "together, then each alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_no_more_rows_than_allowed_and_keeps_the_order() {
    let gate = gated(4);
    let held = gate.hold().await;
    let mut asked = Vec::new();
    for (length, count) in [(1, 2), (2, 2), (3, 1), (4, 9), (5, 1)] {
        asked.push(gate.ask(V1, v1(&vec![1.0; count], "x"), length).await);
    }
    gate.release(5);
    held.await.unwrap();
    for asked in asked {
        assert_eq!(asked.await.unwrap().0, 200);
    }
    assert_eq!(gate.began.try_iter().collect::<Vec<_>>(), [4, 1, 9, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_is_not_in_the_batch() {
    let gate = gated(64);
    let held = gate.hold().await;
    let stays = gate.ask(V1, v1(&[1.0], "x"), 1).await;
    let leaves = gate.ask(V1, v1(&[2.0, 3.0], "y"), 2).await;
    leaves.abort();
    assert!(leaves.await.unwrap_err().is_cancelled());
    assert_eq!(gate.length().await, 1.0, "the place is free at once");
    gate.release(2);
    held.await.unwrap();
    assert_eq!(stays.await.unwrap(), v1_answer(&[1.5], "x"));
    assert_eq!(gate.began.try_iter().collect::<Vec<_>>(), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_late_when_its_turn_comes_is_not_begun() {
    let gate = gated(64);
    let held = gate.hold().await;
    let tensor = |name: &str, data: Data| Tensor::column(name, data);
    let inputs = vec![tensor("a", vec![1.0_f32].into()), tensor("b", vec![1.0_f32].into())];
    // Nobody but the thread looks at the deadline here: the handler core is not asked.
    let context = Context::background(Duration::ZERO);
    let mut late = gate.model.infer(InferRequest::of(inputs), &context);
    assert!(waits(&mut late).await);
    gate.release(1);
    held.await.unwrap();
    assert_eq!(late.await.unwrap_err().kind(), Kind::DeadlineExceeded);
    assert_eq!(gate.began.try_iter().count(), 0);
}

/// Polls once: whether the answer is not there yet.
async fn waits<F: Future + ?Sized>(asked: &mut Pin<Box<F>>) -> bool {
    poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_pending())).await
}

/// Panics, or forgets an answer.
struct Faulty;

impl SyncModel for Faulty {
    fn infer(&mut self, _request: InferRequest) -> Result<InferResponse> {
        Ok(InferResponse::default())
    }

    fn infer_batch(&mut self, requests: Vec<InferRequest>) -> Vec<Result<InferResponse>> {
        assert!(requests.iter().all(|request| request.id.is_none()), "as asked");
        vec![Ok(InferResponse::default())]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_as_a_whole_leaves_nobody_without_an_answer() {
    let metadata = ModelMetadata { name: "faulty".to_owned(), ..ModelMetadata::default() };
    let batching = Batching { max_rows: 2, max_delay: Duration::from_secs(60) };
    let model = Owned::start(metadata, Arc::new(rows()), vec![Faulty], 4, batching).unwrap();
    let context = Context::background(Duration::from_secs(600));
    let detail = |error: Error| (error.kind(), error.detail().unwrap_or_default().to_owned());
    for (id, expected) in
        [(None, "the model gave 1 answers to 2 requests"), (Some("x".to_owned()), "a worker panicked: as asked")]
    {
        let request = InferRequest { id, ..InferRequest::of(vec![Tensor::vector("a", vec![1.0_f32])]) };
        // The first waits for the second, since a minute is long and two rows are enough.
        let both = tokio::join!(model.infer(request.clone(), &context), model.infer(request, &context));
        for answer in [both.0, both.1] {
            assert_eq!(detail(answer.unwrap_err()), (Kind::Internal, expected.to_owned()));
        }
    }
}

/// Counts rows, as far as it is asked.
struct Counts;

impl SyncModel for Counts {
    fn infer(&mut self, _request: InferRequest) -> Result<InferResponse> {
        Ok(InferResponse::default())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_made_late_by_waiting_for_others() {
    let metadata = ModelMetadata { name: "counts".to_owned(), ..ModelMetadata::default() };
    let batching = Batching { max_rows: 8, max_delay: Duration::from_secs(60) };
    let model = Owned::start(metadata, Arc::new(rows()), Joined::copies(vec![Counts]), 4, batching).unwrap();
    let request = InferRequest::of(vec![Tensor::vector("a", vec![1.0_f32])]);
    let (patient, hurried) =
        (Context::background(Duration::from_secs(600)), Context::background(Duration::from_secs(2)));
    // Nobody else comes within the minute that they may be made to wait.
    assert!(model.infer(request.clone(), &hurried).await.is_ok());
    let both = tokio::join!(model.infer(request.clone(), &patient), model.infer(request, &hurried));
    assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
}
