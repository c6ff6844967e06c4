//! One meaning, four ways: what V1, V2 in JSON, V2 in binary and gRPC (typed and raw) are asked is one thing, and so is what they say.
//!
//! A case is written once, as data ([`ask`]), sent every way that can say it ([`ways`]) and read back into one form ([`outcome`]).

use std::{future::pending, sync::Arc, time::Duration};

use dataplane::{
    Context, Data, Datatype, Error, InferRequest, InferResponse, Kind, Model, ModelMetadata, Result, limits::Limits,
    repository::Repository,
};
use tokio::sync::Notify;

use crate::{
    echo::Echo,
    serving::{SECRET, Server, serving},
};

mod answered;
mod ask;
mod flaws;
mod outcome;
mod refused;
mod ways;

/// Largest body in bytes.
const LIMIT: usize = 64 * 1024;

type Act = fn() -> Result<()>;

/// A model that takes what `pair` takes, and fails.
struct Failing {
    metadata: ModelMetadata,
    kind: Option<Kind>,
    act: Act,
    began: Arc<Notify>,
    dropped: Arc<Notify>,
}

impl Failing {
    fn new(name: &str, act: Act) -> Self {
        let metadata = ModelMetadata { name: name.to_owned(), ..pair("pair").metadata().clone() };
        Self { metadata, kind: None, act, began: Arc::default(), dropped: Arc::default() }
    }
}

struct Guard<'a>(&'a Notify);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[async_trait::async_trait]
impl Model for Failing {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    fn is_ready(&self) -> bool {
        self.metadata.name != "unready"
    }

    async fn infer(&self, _request: InferRequest, _context: &Context) -> Result<InferResponse> {
        if let Some(kind) = self.kind {
            let error = Error::new(kind, "upstream `r` failed").with_detail(SECRET);
            return Err(error.with_retry_after(Duration::from_millis(1500)));
        }
        (self.act)()?;
        let _guard = Guard(&self.dropped);
        self.began.notify_one();
        pending().await
    }
}

/// `x` FP32 `[-1, 2]`, `s` BYTES `[-1]`, and perhaps `note` BYTES `[-1]`.
fn pair(name: &str) -> Arc<Echo> {
    let inputs: [(&str, Datatype, &[i64]); 2] = [("x", Datatype::Fp32, &[-1, 2]), ("s", Datatype::Bytes, &[-1])];
    Echo::new(name, &inputs).with_optional("note", Datatype::Bytes, &[-1])
}

/// Serves `pair`, a model of each datatype's name with the one input `t` `[-1, 2]`, and one of each [`Kind`]'s code that fails so.
/// `slow` never answers; what it returns tells when it begins, and when its work is dropped.
fn server() -> (Server, Arc<Notify>, Arc<Notify>) {
    let slow = Failing::new("slow", || Ok(()));
    let (began, dropped) = (slow.began.clone(), slow.dropped.clone());
    let internal = Failing::new("faulty", || Err(Error::internal(format!("no route to {SECRET}"))));
    let panicking = Failing::new("panicking", || panic!("no route to {SECRET}"));
    let repository = [slow, internal, panicking, Failing::new("unready", || Ok(()))]
        .into_iter()
        .fold(Repository::default().with(pair("pair")), |all, model| all.with(Arc::new(model)));
    let repository = Datatype::ALL
        .iter()
        .fold(repository, |all, datatype| all.with(Echo::new(datatype.name(), &[("t", *datatype, &[-1, 2])])));
    let repository = Kind::ALL.into_iter().fold(repository, |all, kind| {
        all.with(Arc::new(Failing { kind: Some(kind), ..Failing::new(kind.row().code, || Ok(())) }))
    });
    (serving(repository, Limits { body: LIMIT, time: Duration::from_secs(600), ..Limits::default() }), began, dropped)
}

fn raw(data: &Data) -> Vec<u8> {
    let mut raw = Vec::new();
    data.write_raw(&mut raw).unwrap();
    raw
}
