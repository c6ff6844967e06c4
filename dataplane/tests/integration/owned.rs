//! A model on threads of its own.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, mpsc},
    task::Poll,
    time::Duration,
};

use dataplane::{
    BytesData, Context, Error, InferRequest, InferResponse, Kind, Model, ModelMetadata, Result, SyncModel, Tensor,
    config::{self, ServerArgs},
    limits::Limits,
    metrics::Metrics,
    readiness::Readiness,
    repository::{Loader, Repository},
    serve::Start,
    worker::{Batching, Owned},
};

use serde_json::json;

use crate::serving::{rows, serving};

/// Computes when it is let to, and tells what it computed.
struct Gated {
    begun: mpsc::Sender<String>,
    go: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl SyncModel for Gated {
    fn infer(&mut self, request: InferRequest) -> Result<InferResponse> {
        self.begun.send(request.id.clone().unwrap_or_default()).unwrap();
        self.go.lock().unwrap().recv().unwrap();
        match request.id.as_deref() {
            Some("fail") => Err(Error::invalid("as asked")),
            Some("panic") => panic!("as asked"),
            _ => {
                let answer: BytesData = [request.id.unwrap_or_default()].into_iter().collect();
                Ok(InferResponse::of(vec![Tensor::vector("sum", vec![1.0_f32]), Tensor::vector("id", answer)]))
            }
        }
    }
}

struct Gate {
    model: Arc<Owned<Gated>>,
    begun: mpsc::Receiver<String>,
    go: mpsc::Sender<()>,
}

fn gated(threads: usize, queue: usize) -> Gate {
    let (begun, begins) = mpsc::channel();
    let (go, gate) = mpsc::channel();
    let gate = Arc::new(Mutex::new(gate));
    let copies = (0..threads).map(|_| Gated { begun: begun.clone(), go: gate.clone() }).collect();
    let metadata = ModelMetadata { name: "gated".to_owned(), ..ModelMetadata::default() };
    let model = Arc::new(Owned::start(metadata, Arc::new(rows()), copies, queue, Batching::OFF).unwrap());
    Gate { model, begun: begins, go }
}

fn ask(model: &Arc<Owned<Gated>>, id: &str) -> tokio::task::JoinHandle<Result<InferResponse>> {
    let (model, id) = (model.clone(), id.to_owned());
    tokio::spawn(async move {
        let request = InferRequest { id: Some(id), ..InferRequest::default() };
        model.infer(request, &Context::background(Duration::from_secs(60))).await
    })
}

/// Polls once: whether the answer is not there yet.
async fn waits<F: Future + ?Sized>(asked: &mut Pin<Box<F>>) -> bool {
    poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_pending())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_caller_gave_up_before_its_turn_is_not_computed() {
    let gate = gated(1, 8);
    let first = ask(&gate.model, "first");
    assert_eq!(gate.begun.recv().unwrap(), "first");
    // Polled once in order here, so that it stands in the queue before it is given up.
    let context = Context::background(Duration::from_secs(60));
    let request = InferRequest { id: Some("abandoned".to_owned()), ..InferRequest::default() };
    let mut abandoned = gate.model.infer(request, &context);
    assert!(waits(&mut abandoned).await);
    drop(abandoned);
    let last = ask(&gate.model, "last");
    // Enough for all three, so that computing the abandoned one fails this test and does not hang it.
    for _ in 0..3 {
        gate.go.send(()).unwrap();
    }
    first.await.unwrap().unwrap();
    last.await.unwrap().unwrap();
    assert_eq!(gate.begun.try_iter().collect::<Vec<_>>(), ["last"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_a_model_compute_at_the_same_time() {
    let gate = gated(2, 8);
    let both = [ask(&gate.model, "x"), ask(&gate.model, "y")];
    let mut begun = [gate.begun.recv().unwrap(), gate.begun.recv().unwrap()];
    begun.sort();
    assert_eq!(begun, ["x", "y"]);
    gate.go.send(()).unwrap();
    gate.go.send(()).unwrap();
    for (asked, id) in both.into_iter().zip(["x", "y"]) {
        let answer = asked.await.unwrap().unwrap();
        assert_eq!(answer.bytes("id").unwrap().get(0), Some(id.as_bytes()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_and_panics_reach_their_caller_and_the_next_is_served() {
    let gate = gated(1, 8);
    for _ in 0..3 {
        gate.go.send(()).unwrap();
    }
    let error = ask(&gate.model, "fail").await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::InvalidArgument, "as asked"));
    let error = ask(&gate.model, "panic").await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Internal, "internal error"));
    assert_eq!(error.detail(), Some("a worker panicked: as asked"));
    ask(&gate.model, "next").await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_429_at_once_with_retry_after() {
    let gate = gated(1, 1);
    let server = Arc::new(serving(Repository::default().with(gate.model.clone()), Limits::default()));
    let body = r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "BOOL", "data": [true]}]}"#;
    let busy = ask(&gate.model, "busy");
    gate.begun.recv().unwrap();
    let context = Context::background(Duration::from_secs(60));
    let mut waiting = gate.model.infer(InferRequest::default(), &context);
    assert!(waits(&mut waiting).await);
    let answer = server.post("/v2/models/gated/infer", body).await;
    answer.refuses(429, "overloaded", "the queue is full");
    assert_eq!(answer.header("retry-after"), Some("1"));
    gate.go.send(()).unwrap();
    gate.go.send(()).unwrap();
    busy.await.unwrap().unwrap();
    waiting.await.unwrap();
}

/// Answers each id at once.
struct Quick;

impl SyncModel for Quick {
    fn infer(&mut self, request: InferRequest) -> Result<InferResponse> {
        let ids = request.required("id")?.data().clone();
        Ok(InferResponse::of(vec![Tensor::vector("sum", vec![0.0_f32]), Tensor::vector("id", ids)]))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_of_many_instances_does_not_fill_the_queue() {
    let metadata = ModelMetadata { name: "quick".to_owned(), ..ModelMetadata::default() };
    let model = Owned::start(metadata, Arc::new(rows()), vec![Quick], 16, Batching::OFF).unwrap();
    let server = serving(Repository::default().with(Arc::new(model)), Limits::default());
    let instances: Vec<_> = (0..256).map(|number| json!({"rows": [[0, 0]], "ids": [number.to_string()]})).collect();
    let answer = server.post("/v1/models/quick:predict", json!({"instances": instances}).to_string()).await.json();
    let ids = answer["predictions"].as_array().unwrap().iter().map(|prediction| prediction["ids"][0].as_str().unwrap());
    assert!(ids.eq((0..256).map(|number| number.to_string())), "in order");
}

/// Is warm when it is let, or fails to be.
struct Cold {
    warm: Arc<Mutex<mpsc::Receiver<bool>>>,
}

impl SyncModel for Cold {
    fn warm_up(&mut self, metadata: &ModelMetadata) -> Result<()> {
        assert_eq!(metadata.name, "cold");
        let warm = self.warm.lock().unwrap().recv().unwrap();
        if warm { Ok(()) } else { Err(Error::internal("no memory")) }
    }

    fn infer(&mut self, _request: InferRequest) -> Result<InferResponse> {
        Ok(InferResponse::default())
    }
}

/// Gives each model two threads.
struct Colds(Arc<Mutex<mpsc::Receiver<bool>>>);

impl Loader for Colds {
    fn load(&self) -> Result<Arc<dyn Model>> {
        let metadata = ModelMetadata { name: "cold".to_owned(), ..ModelMetadata::default() };
        let copies = [(); 2].map(|()| Cold { warm: self.0.clone() }).into();
        Ok(Arc::new(Owned::start(metadata, Arc::new(rows()), copies, 4, Batching::OFF)?))
    }
}

const ANY: &str = r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "BOOL", "data": [true]}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_ready_once_its_model_is_warm_on_each_of_its_threads() {
    let (warm, warmth) = mpsc::channel();
    let loader = Arc::new(Colds(Arc::new(Mutex::new(warmth))));
    let server = serving(Repository::default().with_loader("cold", loader), Limits::default());
    let repository = server.handler.repository.clone();
    let loading = tokio::spawn(async move { repository.load("cold").await });
    for _ in 0..2 {
        assert_eq!(server.get("/v2/health/ready").await.status, 503);
        assert_eq!(server.get("/v2/models/cold/ready").await.status, 503);
        assert_eq!(server.post("/v2/models/cold/infer", ANY).await.status, 503);
        assert!(!loading.is_finished());
        warm.send(true).unwrap();
    }
    loading.await.unwrap().unwrap();
    server.get("/v2/health/ready").await.json();
    server.post("/v2/models/cold/infer", ANY).await.json();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_does_not_get_warm_is_refused_and_the_old_one_serves_on() {
    let (warm, warmth) = mpsc::channel();
    let loader = Arc::new(Colds(Arc::new(Mutex::new(warmth))));
    let server = serving(Repository::default().with_loader("cold", loader), Limits::default());
    for outcomes in [[true, true], [true, false]] {
        outcomes.into_iter().for_each(|outcome| warm.send(outcome).unwrap());
        let load = server.post("/v2/repository/models/cold/load", "").await;
        match outcomes[1] {
            true => drop(load.json()),
            false => load.refuses(
                409,
                "load_failed",
                "Model with name cold could not be loaded: its warm-up failed: internal error",
            ),
        }
        server.post("/v2/models/cold/infer", ANY).await.json();
    }
}

#[test]
fn a_model_that_does_not_get_warm_ends_the_start() {
    struct Panics;
    impl SyncModel for Panics {
        fn warm_up(&mut self, _metadata: &ModelMetadata) -> Result<()> {
            panic!("as meant")
        }
        fn infer(&mut self, _request: InferRequest) -> Result<InferResponse> {
            Ok(InferResponse::default())
        }
    }
    #[derive(clap::Parser)]
    struct Settings {
        #[command(flatten)]
        server: ServerArgs,
    }
    let Ok(Settings { server }) = config::parse(["server", "--model-name", "m"].map(Into::into)) else {
        panic!("settings are refused")
    };
    let (metrics, readiness) = (&Metrics::new().unwrap(), &Readiness::default());
    let start = Start { server: &server, batching: Batching::OFF, metrics, readiness };
    let refused = start.on_threads(ModelMetadata::default(), vec![Panics, Panics]).err().unwrap();
    assert_eq!(refused, "model `m`: its warm-up failed: internal error (a worker panicked: as meant)");
}
