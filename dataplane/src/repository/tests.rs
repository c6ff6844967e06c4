//! Versions, swaps and refusals.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::task::JoinHandle;

use super::{Loader, Repository, State};
use crate::{
    Context, InferRequest, InferResponse, Kind, Model, ModelMetadata,
    error::{Error, Result},
    v1::{RowsCodec, V1Codec},
};

pub(super) struct Named(ModelMetadata);

impl Named {
    pub(super) fn new(name: &str, version: u32) -> Arc<Self> {
        let metadata =
            ModelMetadata { name: name.to_owned(), versions: vec![version.to_string()], ..ModelMetadata::default() };
        Arc::new(Self(metadata))
    }
}

#[async_trait]
impl Model for Named {
    fn metadata(&self) -> &ModelMetadata {
        &self.0
    }
    async fn infer(&self, _request: InferRequest, _context: &Context) -> Result<InferResponse> {
        Ok(InferResponse::default())
    }
    fn v1(&self) -> &dyn V1Codec {
        const NONE: &RowsCodec = &RowsCodec {
            rows: String::new(),
            ids: String::new(),
            id_input: String::new(),
            id_output: String::new(),
            scores: String::new(),
            score_output: String::new(),
            columns: Vec::new(),
        };
        NONE
    }
}

/// Loads version 1, then 2, …; the third is bad.
#[derive(Default)]
struct Counting(AtomicU32);

impl Loader for Counting {
    fn load(&self) -> Result<Arc<dyn Model>> {
        match self.0.fetch_add(1, Ordering::Relaxed) + 1 {
            3 => Err(Error::new(Kind::LoadFailed, "no such file").with_detail("/secret")),
            version => Ok(Named::new("m", version)),
        }
    }
}

fn version(repository: &Repository) -> Option<String> {
    repository.get("m", None).ok()?.metadata().version().map(ToOwned::to_owned)
}

#[test]
fn without_a_version_the_newest_answers() {
    let repository = Repository::default().with(Named::new("m", 1)).with(Named::new("m", 2));
    assert_eq!(version(&repository).as_deref(), Some("2"));
    assert_eq!(repository.get("m", Some("1")).unwrap().metadata().version(), Some("1"));
    assert_eq!(repository.metadata("m", Some("1")).unwrap().versions, ["1", "2"]);
    let error = repository.get("m", Some("9")).map(drop).unwrap_err();
    assert_eq!(error.message(), "Model with name m has no version 9; it has 1, 2.");
}

#[tokio::test]
async fn a_load_switches_and_a_bad_one_leaves_the_old_one_there() {
    let repository = Repository::default().with_loader("m", Arc::new(Counting::default()));
    assert_eq!(repository.get("m", None).map(drop).unwrap_err().kind(), Kind::NotReady);
    assert_eq!(repository.loading(), ["m"]);
    repository.load("m").await.unwrap();
    let held = repository.get("m", None).unwrap();
    repository.load("m").await.unwrap();
    assert_eq!(version(&repository).as_deref(), Some("2"));
    assert_eq!(held.metadata().version(), Some("1"), "whoever holds the old one keeps it");
    let refused = repository.load("m").await.unwrap_err();
    assert_eq!((refused.kind(), version(&repository).as_deref()), (Kind::LoadFailed, Some("2")));
    let item = &repository.index()[0];
    assert_eq!((item.state, item.reason.as_str()), (State::Ready, "the last load failed: no such file"));
    repository.load("m").await.unwrap();
    assert_eq!(repository.index()[0].reason, "");
}

#[tokio::test]
async fn what_is_unloaded_stays_known_and_can_be_loaded_again() {
    let repository = Repository::default().with_loader("m", Arc::new(Counting::default()));
    repository.load("m").await.unwrap();
    repository.unload("m").await.unwrap();
    assert_eq!(repository.get("m", None).map(drop).unwrap_err().kind(), Kind::NotReady);
    assert_eq!((repository.index()[0].state, repository.loading().len()), (State::Unavailable, 0));
    repository.load("m").await.unwrap();
    assert_eq!(version(&repository).as_deref(), Some("2"));
    assert_eq!(repository.unload("x").await.unwrap_err().kind(), Kind::UnknownModel);
}

#[tokio::test]
async fn a_model_without_a_loader_is_not_loaded_anew() {
    let repository = Repository::default().with(Named::new("m", 1));
    assert_eq!(repository.load("m").await.unwrap_err().kind(), Kind::LoadFailed);
    assert_eq!(version(&repository).as_deref(), Some("1"));
}

#[tokio::test]
async fn a_model_that_nothing_could_bring_back_is_not_unloaded() {
    let repository = Repository::default().with(Named::new("m", 1));
    assert_eq!(repository.unload("m").await.unwrap_err().kind(), Kind::LoadFailed);
    assert_eq!(version(&repository).as_deref(), Some("1"));
}

/// Panics whenever it loads, and counts that.
#[derive(Default)]
struct Panicking(AtomicU32);

impl Loader for Panicking {
    fn load(&self) -> Result<Arc<dyn Model>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("as meant");
    }

    fn fingerprint(&self) -> Option<String> {
        Some("always the same".to_owned())
    }
}

#[tokio::test]
async fn a_loader_that_panics_is_tried_again_only_when_it_is_asked_for() {
    let panicking = Arc::new(Panicking::default());
    let repository = Repository::default().with_loader("m", panicking.clone());
    let (watching, _ask) = watched(&repository);
    until(|| !repository.index()[0].reason.is_empty()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(panicking.0.load(Ordering::Relaxed), 1);
    assert_eq!(repository.load("m").await.unwrap_err().kind(), Kind::LoadFailed);
    assert_eq!(panicking.0.load(Ordering::Relaxed), 2);
    watching.abort();
}

/// Never finds anything good.
struct Bad;

impl Loader for Bad {
    fn load(&self) -> Result<Arc<dyn Model>> {
        Err(Error::invalid("no such file"))
    }
}

#[tokio::test]
async fn a_server_whose_model_was_never_loaded_is_not_ready_whatever_was_tried() {
    let repository = Repository::default().with_loader("m", Arc::new(Bad));
    assert_eq!(repository.load("m").await.unwrap_err().kind(), Kind::LoadFailed);
    assert_eq!((repository.index()[0].state, repository.loading()), (State::Unavailable, vec!["m".to_owned()]));
    repository.unload("m").await.unwrap();
    assert!(repository.loading().is_empty(), "nobody waits for what was unloaded on purpose");
}

#[tokio::test]
async fn a_watch_loads_what_nobody_has_loaded_yet() {
    let repository = Repository::default().with_loader("m", Arc::new(Counting::default()));
    let (_ask, asked) = tokio::sync::watch::channel(());
    let watching = tokio::spawn(super::watch(repository.clone(), Duration::ZERO, asked));
    while repository.get("m", None).is_err() {
        tokio::task::yield_now().await;
    }
    watching.abort();
    assert_eq!(version(&repository).as_deref(), Some("1"));
}

/// Loads when it is let to, from a place that others change.
struct Slow {
    state: Mutex<String>,
    loads: AtomicU32,
    go: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Slow {
    fn new() -> (Arc<Self>, std::sync::mpsc::Sender<()>) {
        let (sender, go) = std::sync::mpsc::channel();
        (Arc::new(Self { state: Mutex::new("a".to_owned()), loads: AtomicU32::default(), go: Mutex::new(go) }), sender)
    }

    fn becomes(&self, state: &str) {
        state.clone_into(&mut self.state.lock().unwrap());
    }
}

impl Loader for Slow {
    fn load(&self) -> Result<Arc<dyn Model>> {
        let version = self.loads.fetch_add(1, Ordering::Relaxed) + 1;
        self.go.lock().unwrap().recv().unwrap();
        Ok(Named::new("m", version))
    }

    fn fingerprint(&self) -> Option<String> {
        Some(self.state.lock().unwrap().clone())
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// A load under way.
fn loading(repository: &Repository) -> JoinHandle<Result<()>> {
    let repository = repository.clone();
    tokio::spawn(async move { repository.load("m").await })
}

#[tokio::test]
async fn a_load_whose_caller_leaves_is_done_all_the_same_and_the_next_waits_for_it() {
    let (slow, go) = Slow::new();
    let repository = Repository::default().with_loader("m", slow.clone());
    let load = || loading(&repository);
    let first = load();
    until(|| slow.loads.load(Ordering::Relaxed) == 1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let second = load();
    go.send(()).unwrap();
    until(|| version(&repository).as_deref() == Some("1")).await;
    go.send(()).unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(version(&repository).as_deref(), Some("2"));
}

/// Lets every task go as far as it goes by itself.
async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn however_often_it_is_asked_for_during_a_load_there_is_one_more() {
    let (slow, go) = Slow::new();
    let repository = Repository::default().with_loader("m", slow.clone());
    let load = || loading(&repository);
    let mut loads = vec![load()];
    until(|| slow.loads.load(Ordering::Relaxed) == 1).await;
    loads.extend([(); 5].map(|()| load()));
    settle().await;
    (0..6).for_each(|_| go.send(()).unwrap());
    for load in loads {
        load.await.unwrap().unwrap();
    }
    assert_eq!(
        version(&repository).as_deref(),
        Some("2"),
        "what was asked for after a load began is a load of its own"
    );
    repository.load("m").await.unwrap();
    assert_eq!(slow.loads.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_load_that_was_asked_for_after_an_unload_is_one_of_its_own() {
    let (slow, go) = Slow::new();
    let repository = Repository::default().with_loader("m", slow.clone());
    let load = || loading(&repository);
    let first = load();
    until(|| slow.loads.load(Ordering::Relaxed) == 1).await;
    // Both loads were asked for before the one of them began, and the unload between them.
    let second = load();
    settle().await;
    let unload = tokio::spawn({
        let repository = repository.clone();
        async move { repository.unload("m").await }
    });
    settle().await;
    let third = load();
    settle().await;
    (0..3).for_each(|_| go.send(()).unwrap());
    for ended in [first, second, unload, third] {
        ended.await.unwrap().unwrap();
    }
    assert_eq!(version(&repository).as_deref(), Some("3"));
}

/// A watch that looks all the time.
fn watched(repository: &Repository) -> (tokio::task::JoinHandle<()>, tokio::sync::watch::Sender<()>) {
    let (ask, asked) = tokio::sync::watch::channel(());
    (tokio::spawn(super::watch(repository.clone(), Duration::from_millis(1), asked)), ask)
}

#[tokio::test]
async fn what_changes_while_it_is_loaded_is_loaded_again_and_nothing_else() {
    let (slow, go) = Slow::new();
    let repository = {
        let slow = slow.clone();
        tokio::task::spawn_blocking(move || Repository::default().with_loaded("m", slow))
    };
    until(|| slow.loads.load(Ordering::Relaxed) == 1).await;
    // The first model is read by now, from what is no longer there.
    slow.becomes("b");
    go.send(()).unwrap();
    let repository = repository.await.unwrap().unwrap();
    let (watching, _ask) = watched(&repository);
    go.send(()).unwrap();
    until(|| version(&repository).as_deref() == Some("2")).await;
    // A load that was asked for has seen what there is too.
    slow.becomes("c");
    for _ in 0..4 {
        go.send(()).unwrap();
    }
    until(|| version(&repository).as_deref() == Some("3")).await;
    repository.load("m").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(slow.loads.load(Ordering::Relaxed), 4);
    watching.abort();
}

#[tokio::test]
async fn what_was_unloaded_on_purpose_stays_so_until_it_is_asked_for_by_name() {
    let (slow, go) = Slow::new();
    for _ in 0..4 {
        go.send(()).unwrap();
    }
    let repository = Repository::default().with_loaded("m", slow.clone()).unwrap();
    repository.unload("m").await.unwrap();
    let (watching, ask) = watched(&repository);
    slow.becomes("b");
    ask.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((version(&repository), repository.loading().len()), (None, 0));
    repository.load("m").await.unwrap();
    assert_eq!(version(&repository).as_deref(), Some("2"));
    watching.abort();
}
