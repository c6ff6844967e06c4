//! Models on threads of their own that are swapped while requests wait for them, over every protocol.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst},
};

use axum::body::Body;
use dataplane::{
    Datatype, InferRequest, InferResponse, Model, ModelMetadata, Result, SyncModel, Tensor, TensorMetadata,
    limits::Limits,
    repository::{Loader, Repository},
    v1::TensorsCodec,
    worker::{Batching, Joined, Owned},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::{
    grpc::{self, wire},
    serving::{Answer, Server, post, serving},
    wire::soon,
};

const SWAPS: usize = 200;
const THREADS: usize = 2;

/// How many copies are alive, and how many were at most.
#[derive(Default)]
struct Alive {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// Answers with its number. Copies of one number are one model.
struct Numbered {
    number: i64,
    alive: Arc<Alive>,
}

impl Numbered {
    fn new(number: i64, alive: Arc<Alive>) -> Self {
        let now = alive.now.fetch_add(1, SeqCst) + 1;
        alive.most.fetch_max(now, SeqCst);
        Self { number, alive }
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        self.alive.now.fetch_sub(1, SeqCst);
    }
}

impl SyncModel for Numbered {
    fn infer(&mut self, request: InferRequest) -> Result<InferResponse> {
        // Time for a swap in the middle of it, and for others to wait behind it.
        std::thread::yield_now();
        let rows = request.required("x")?.shape()[0];
        Ok(InferResponse::of(vec![Tensor::vector("number", vec![self.number; rows])]))
    }
}

#[derive(Default)]
struct Numbers {
    last: AtomicI64,
    alive: Arc<Alive>,
}

impl Loader for Numbers {
    fn load(&self) -> Result<Arc<dyn Model>> {
        let number = self.last.fetch_add(1, SeqCst) + 1;
        let metadata = ModelMetadata {
            name: "m".to_owned(),
            versions: vec![number.to_string()],
            inputs: vec![TensorMetadata::new("x", Datatype::Fp32, &[-1])],
            outputs: vec![TensorMetadata::new("number", Datatype::Int64, &[-1])],
            properties: [("digest".to_owned(), format!("sha256:{number}"))].into(),
            ..ModelMetadata::default()
        };
        let copies = (0..THREADS).map(|_| Numbered::new(number, self.alive.clone())).collect();
        // What waits when it is swapped out is answered by it, alone or together with others that wait for it.
        let batching = Batching { max_rows: 8, max_delay: std::time::Duration::ZERO };
        Ok(Arc::new(Owned::start(metadata, Arc::new(TensorsCodec), Joined::copies(copies), 64, batching)?))
    }
}

/// That an answer is one model's and no other's.
fn one_models(number: i64, version: &str, digest: &str) {
    assert_eq!((version, digest), (number.to_string().as_str(), format!("sha256:{number}").as_str()));
}

fn v1(answer: &Answer) {
    let number = answer.json()["predictions"][0].as_i64().unwrap();
    assert_eq!(answer.json()["predictions"][1], json!(number));
    one_models(number, answer.header("x-model-version").unwrap(), answer.header("x-model-digest").unwrap());
}

fn v2(answer: &Answer) {
    let body = answer.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (version, digest) = (text(&body["model_version"]), text(&body["parameters"]["model_digest"]));
    one_models(body["outputs"][0]["data"][1].as_i64().unwrap(), &version, &digest);
}

fn binary(answer: &Answer) {
    let length = answer.header("inference-header-content-length").unwrap().parse().unwrap();
    let (head, tail) = answer.body.split_at(length);
    let body: Value = serde_json::from_slice(head).unwrap();
    let number = i64::from_le_bytes(tail[..8].try_into().unwrap());
    assert_eq!(body["model_version"], json!(number.to_string()));
    assert_eq!(body["parameters"]["model_digest"], json!(format!("sha256:{number}")));
}

fn grpc(answer: &wire::InferResponse) {
    let Some(wire::Choice::String(digest)) = &answer.parameters["model_digest"].choice else { panic!("{answer:?}") };
    one_models(answer.outputs[0].contents.as_ref().unwrap().int64s[1], &answer.model_version, digest);
}

/// One request of each protocol.
async fn ask(server: &Server, channel: &Channel) {
    let path = "/v2/models/m/infer";
    v1(&server.post("/v1/models/m:predict", r#"{"instances": [1, 2]}"#).await);
    let inputs = json!([{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}]);
    v2(&server.post(path, json!({"inputs": inputs}).to_string()).await);
    let json = json!({"inputs": inputs, "parameters": {"binary_data_output": true}}).to_string();
    let request = post(path).header("inference-header-content-length", json.len()).body(Body::from(json)).unwrap();
    binary(&server.send(request).await);
    let message = wire::InferRequest { model_name: "m".to_owned(), ..wire::typed(vec![wire::floats(&[1.0, 2.0])]) };
    grpc(&grpc::infer(channel, message).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_fails_nobody_mixes_nothing_and_keeps_no_old_model() {
    let _turn = super::TURN.lock().await;
    let numbers = Arc::new(Numbers::default());
    let alive = numbers.alive.clone();
    let repository = Repository::default().with_loader("m", numbers);
    repository.load("m").await.unwrap();
    let server = Arc::new(serving(repository.clone(), Limits::default()));
    let channel = grpc::listen(server.handler.clone()).await;
    let (over, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (server, channel, over, rounds) = (server.clone(), channel.clone(), over.clone(), rounds.clone());
            tokio::spawn(async move {
                while !over.load(SeqCst) {
                    ask(&server, &channel).await;
                    rounds.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for _ in 0..SWAPS {
        let before = rounds.load(SeqCst);
        repository.load("m").await.unwrap();
        // Requests go on all the while; what was swapped out ends with the last of its own.
        soon(async {
            while alive.now.load(SeqCst) > THREADS || rounds.load(SeqCst) == before {
                assert!(!callers.iter().any(JoinHandle::is_finished), "a caller was answered wrongly");
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    over.store(true, SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    // The threads of the old one have ended, and there were never more than those of two.
    assert_eq!((alive.now.load(SeqCst), alive.most.load(SeqCst)), (THREADS, 2 * THREADS));
    assert_eq!(server.handler.repository.metadata("m", None).unwrap().version(), Some("201"));
}
