//! Calling a predictor: any V2 or V1 server, over pooled connections, within the request's deadline.
//!
//! What goes wrong keeps its class (a refusal stays a refusal, no room stays no room, late is late) and loses its address. A call goes
//! through the circuit `breaker`, is written and read by `rest` or `grpc`, over a connection of a `pool` or a `shared` one;
//! `retry` says whether it is tried again, and `forward` what of the request's context travels with it.
//!
//! A model that calls some other service than a predictor has [`Breaker`], [`Retries`] and [`Tls`] for that.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    context::Context,
    error::{Error, Kind, Result},
    infer::{InferRequest, InferResponse},
    metrics::Metrics,
    model::ModelMetadata,
    v1::RowsCodec,
};

mod address;
mod breaker;
mod dial;
mod failure;
mod forward;
mod grpc;
mod heard;
mod metadata;
mod pool;
mod rest;
mod retry;
mod shared;
mod tls;
mod v1;

pub use address::unix_socket;
use address::{Address, Scheme};
pub use breaker::{Breaker, Permit};
use failure::Failure;
pub use failure::{Reason, retry_after};
use grpc::Grpc;
use rest::Rest;
pub use retry::Retries;
pub use tls::Tls;

/// Largest answer that is read; a ranker's is a few kilobytes.
const MOST_BODY: usize = 64 * 1024 * 1024;

/// What a call comes to before the predictor's name is put to it.
type Call<T> = Result<T, Failure>;

/// How a predictor is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// V1 REST: positional rows.
    V1,
    /// V2 REST: named tensors, as binary data where the server lists it, as JSON otherwise.
    #[default]
    V2,
    /// V2 over gRPC: named tensors, raw.
    GrpcV2,
}

impl Protocol {
    /// What a trace shows of a call.
    const fn operation(self) -> &'static str {
        match self {
            Self::V1 => "predict",
            Self::V2 => "infer",
            Self::GrpcV2 => "inference.GRPCInferenceService/ModelInfer",
        }
    }
}

/// What a V1 predictor's instances are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum V1Form {
    /// One instance: a table of rows with their ids, under the keys of a [`RowsCodec`].
    #[default]
    Table,
    /// An instance a row: a plain list of values; answered by a plain list of scores.
    Rows,
}

/// How a predictor is called.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How it is spoken to.
    pub protocol: Protocol,
    /// What its V1 instances are.
    pub v1_form: V1Form,
    /// TLS, also where its address does not say `https`.
    pub tls: Option<Tls>,
    /// When a connection is replaced, so that pods that came later get requests too.
    pub connection_age: Duration,
    /// Longest that a call may take with its retries, within the request's own deadline.
    pub timeout: Duration,
    /// Most retries of one call that found nobody, or was told to come back.
    pub retries: u32,
    /// The outputs that are read of its answers to requests that name none; all where none stands here. What else an answer holds can't
    /// spoil it.
    pub outputs: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            protocol: Protocol::default(),
            v1_form: V1Form::default(),
            tls: None,
            connection_age: Duration::from_secs(60),
            timeout: Duration::from_secs(60),
            retries: 1,
            outputs: Vec::new(),
        }
    }
}

/// A predictor behind this server. Clones share its connections.
#[derive(Clone)]
pub struct Predictor(Arc<Inner>);

struct Inner {
    name: String,
    protocol: Protocol,
    wire: Wire,
    timeout: Duration,
    breaker: Breaker,
    retries: Retries,
    metrics: Metrics,
}

/// What a request is about.
#[derive(Clone, Copy)]
enum Verb {
    Infer,
    Explain,
}

/// What writes and reads calls.
enum Wire {
    Rest(Box<Rest>),
    Grpc(Box<Grpc>),
}

impl Wire {
    async fn metadata(&self, context: &Context) -> Call<ModelMetadata> {
        match self {
            Self::Rest(rest) => rest.metadata(context).await,
            Self::Grpc(grpc) => grpc.metadata(context).await,
        }
    }

    async fn ready(&self, context: &Context) -> Call<()> {
        match self {
            Self::Rest(rest) => rest.ready(context).await,
            Self::Grpc(grpc) => grpc.ready(context).await,
        }
    }

    async fn ask(&self, verb: Verb, request: &InferRequest, context: &Context) -> Call<InferResponse> {
        match (self, verb) {
            (Self::Rest(rest), Verb::Infer) => rest.infer(request, context).await,
            (Self::Rest(rest), Verb::Explain) => rest.explain(request, context).await,
            // V2 has one verb: a request for explanations names their output.
            (Self::Grpc(grpc), Verb::Infer | Verb::Explain) => grpc.infer(request, context).await,
        }
    }
}

impl fmt::Debug for Predictor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Predictor").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl Predictor {
    /// The predictor called `name` in answers and logs, at `host` (`host`, `host:port`, a URL, or a Unix socket: `unix:/path`), asked for
    /// `model`.
    /// `rows` is the form of its V1 instances.
    ///
    /// # Errors
    /// `host` is no address, or one that TLS can't be spoken with; the text says so.
    pub fn new(
        name: &str,
        host: &str,
        model: &str,
        settings: &Settings,
        rows: RowsCodec,
        metrics: Metrics,
    ) -> Result<Self, String> {
        let address = Address::parse(host, settings.tls.is_some())?;
        let tls = match (&settings.tls, address.scheme) {
            (Some(_), Some(Scheme::Http)) => {
                return Err(format!("`{host}` is spoken to in plain, and TLS is asked for"));
            }
            (None, Some(Scheme::Https)) => Some(Tls::new(None)?),
            (tls, _) => tls.clone(),
        };
        let wire = match settings.protocol {
            Protocol::GrpcV2 => Wire::Grpc(Box::new(Grpc::new(&address, model, settings, tls.as_ref())?)),
            Protocol::V1 | Protocol::V2 => {
                let (name, metrics) = (name.to_owned(), metrics.clone());
                let renewed = move || metrics.retried(&name, Reason::Closed.name());
                Wire::Rest(Box::new(Rest::new(&address, model, settings, tls.as_ref(), rows, Box::new(renewed))?))
            }
        };
        Ok(Self(Arc::new(Inner {
            name: name.to_owned(),
            protocol: settings.protocol,
            wire,
            timeout: settings.timeout,
            breaker: Breaker::new(name, settings.timeout, &metrics),
            retries: Retries::new(settings.retries),
            metrics,
        })))
    }

    /// What it is called in answers and logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How it is spoken to.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.0.protocol
    }

    /// What its model says of itself. A V1 server that does not speak V2 too says nothing; then it is the columns that V1 rows have. For
    /// who looks after it: it is asked whatever became of other calls. [`Predictor::metadata_for`] is for requests.
    ///
    /// # Errors
    /// It can't be reached, or does not answer with metadata.
    pub async fn metadata(&self, context: &Context) -> Result<ModelMetadata> {
        self.named(self.0.wire.metadata(context).await)
    }

    /// The same on the way of a request, which it must not hold up: no longer than any call, and not at all while those fail at once.
    ///
    /// # Errors
    /// As [`Predictor::metadata`] and [`Predictor::infer`].
    pub async fn metadata_for(&self, context: &Context) -> Result<ModelMetadata> {
        let ask = async |context: Context| self.0.wire.metadata(&context).await;
        // That it says something of itself does not show that it computes.
        self.guarded("metadata", context, ask, |permit| permit.untold()).await
    }

    /// Whether its model says that it can answer now. If it does, calls that failed at once because it was away go through again.
    ///
    /// # Errors
    /// It can't be reached, or says no.
    pub async fn ready(&self, context: &Context) -> Result<()> {
        self.named(self.0.wire.ready(context).await)?;
        self.0.breaker.healthy();
        Ok(())
    }

    /// Asks for scores.
    ///
    /// # Errors
    /// By class: refused, no room, unreachable, late, or an answer that is none.
    pub async fn infer(&self, request: &InferRequest, context: &Context) -> Result<InferResponse> {
        self.ask(Verb::Infer, self.protocol().operation(), request, context).await
    }

    /// Asks why it scores the rows of `request` as it does: its output [`EXPLANATIONS`](crate::v1::EXPLANATIONS), BYTES of M ≤ N elements,
    /// and the ids that say of which rows. A V2 predictor answers the outputs that the request names, that one among them.
    ///
    /// # Errors
    /// As [`Predictor::infer`]; [`Kind::Unimplemented`] where a V1 predictor says that it does not explain.
    pub async fn explain(&self, request: &InferRequest, context: &Context) -> Result<InferResponse> {
        let operation = if self.protocol() == Protocol::V1 { "explain" } else { self.protocol().operation() };
        self.ask(Verb::Explain, operation, request, context).await
    }

    async fn ask(
        &self,
        verb: Verb,
        operation: &str,
        request: &InferRequest,
        context: &Context,
    ) -> Result<InferResponse> {
        let ask = async |context: Context| self.0.call(verb, request, &context).await;
        self.guarded(operation, context, ask, |permit| permit.succeeded()).await
    }

    /// A call through the circuit, within its time, counted and traced. `answered` is what becomes of its permit where it was no fault.
    async fn guarded<T>(
        &self,
        operation: &str,
        context: &Context,
        ask: impl AsyncFnOnce(Context) -> Call<T>,
        answered: fn(Permit<'_>),
    ) -> Result<T> {
        let inner = &self.0;
        let mut outcome = Outcome { predictor: inner, begun: Instant::now(), code: "abandoned" };
        if context.remaining().is_zero() {
            outcome.code = Kind::UpstreamTimeout.row().code;
            return self.named(Err(Failure::late()));
        }
        let permit = inner.breaker.admit(context.deadline().into()).map_err(|wait| {
            outcome.code = "circuit_open";
            self.left_alone(wait)
        })?;
        let context = context.within(inner.timeout);
        let call = context.call(operation, self.name());
        let answer = ask(call.context().clone()).await;
        call.ended(answer.as_ref().map(drop).map_err(|failure| failure.kind().row().code));
        match &answer {
            Err(failure) if failure.is_fault() => permit.failed(failure.kind()),
            // Never sent: it says nothing of the predictor.
            Err(failure) if failure.kind() == Kind::Internal => permit.untold(),
            _ => answered(permit),
        }
        let answer = self.named(answer);
        outcome.code = answer.as_ref().map_or_else(|error| error.kind().row().code, |_| "ok");
        answer
    }

    /// An answer that this predictor must not give.
    #[must_use]
    pub fn invalid(&self, detail: impl fmt::Display) -> Error {
        Failure::invalid(detail).into_error(self.name())
    }

    fn left_alone(&self, wait: Duration) -> Error {
        let text = format!("predictor `{}` keeps failing and is left alone for a moment", self.name());
        Error::new(Kind::UpstreamUnavailable, text).with_retry_after(wait)
    }

    fn named<T>(&self, answer: Call<T>) -> Result<T> {
        answer.map_err(|failure| failure.into_error(self.name()))
    }
}

impl Inner {
    /// One call, with its retries.
    async fn call(&self, verb: Verb, request: &InferRequest, context: &Context) -> Call<InferResponse> {
        self.retries.deposit();
        let mut done = 0;
        loop {
            let failure = match self.wire.ask(verb, request, context).await {
                Err(failure) => failure,
                answer => return answer,
            };
            let Some(pause) = self.retries.pause(&failure, done, context.remaining()) else { return Err(failure) };
            if let Some(reason) = failure.retry() {
                self.metrics.retried(&self.name, reason.name());
            }
            tokio::time::sleep(pause).await;
            done += 1;
        }
    }
}

/// The outputs that are read of an answer: those that its request names, else those that are `always` read.
fn wanted<'a>(request: &InferRequest, always: &'a [String]) -> Cow<'a, [String]> {
    match request.outputs.as_slice() {
        [] => Cow::Borrowed(always),
        named => named.iter().map(|output| output.name.clone()).collect(),
    }
}

/// Counts and times a call when it ends, also when its caller's deadline ends it.
struct Outcome<'a> {
    predictor: &'a Inner,
    begun: Instant,
    code: &'static str,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        self.predictor.metrics.upstream(&self.predictor.name, self.code, self.begun.elapsed());
    }
}
