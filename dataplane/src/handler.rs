//! The one handler core. Transports decode to it and encode from it; what a request goes through stands here and nowhere else.

use std::{
    borrow::Cow,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    config::{CloudEvents, ServerArgs},
    context::Context,
    error::{Error, Kind, Result},
    infer::{InferRequest, InferResponse, RequestedOutput},
    json::shown,
    limits::Limits,
    metrics::Metrics,
    model::Model,
    readiness::Readiness,
    repository::Repository,
    telemetry::Telemetry,
    worker::{Permit, Permits},
};

/// Everything that a transport needs to answer.
#[derive(Clone, Debug)]
pub struct Handler {
    /// What the server says of itself.
    pub server: ServerInfo,
    /// The models.
    pub repository: Repository,
    /// What the server may still wait for.
    pub readiness: Readiness,
    /// What is measured.
    pub metrics: Metrics,
    /// What a request may ask for.
    pub limits: Limits,
    /// How many inferences may be under way at once; beyond it they are refused before their body is read.
    pub permits: Permits,
    /// What is told of requests, and to whom.
    pub telemetry: Telemetry,
    /// Whether control calls (load, unload, log level) are answered.
    pub control: bool,
    /// What answers to CloudEvents say of themselves.
    pub events: CloudEvents,
}

/// A server's name and version.
#[derive(Clone, Copy, Debug)]
pub struct ServerInfo {
    /// Its name, for example `hemline`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

impl ServerInfo {
    /// The extensions of the protocol that every server here offers.
    pub const EXTENSIONS: [&str; 3] = ["model_repository", "binary_tensor_data", "parameters"];
}

/// A request's parameter with the time that it may take, in µs: the same as Triton's.
const TIMEOUT: &str = "timeout";
/// An answer's parameter with the digest of the model that gave it.
pub(crate) const MODEL_DIGEST: &str = "model_digest";

impl Handler {
    /// A handler with what `args` ask for.
    ///
    /// # Errors
    /// Metrics tell of a server already, or there is no way to the collector that `args` name.
    pub fn new(
        server: ServerInfo,
        repository: Repository,
        metrics: Metrics,
        args: &ServerArgs,
    ) -> Result<Self, String> {
        metrics.describe(server, &repository).map_err(|error| error.to_string())?;
        Ok(Self {
            server,
            repository,
            readiness: Readiness::default(),
            telemetry: Telemetry::start(&args.telemetry, server, &metrics)?,
            metrics,
            limits: args.limits(),
            permits: Permits::new(args.max_in_flight as usize),
            control: args.enable_control,
            events: args.events.clone(),
        })
    }

    /// The model of this name and version, if it can answer now.
    ///
    /// # Errors
    /// It is unknown, or not ready.
    pub fn ready_model(&self, name: &str, version: Option<&str>) -> Result<Arc<dyn Model>> {
        let model = self.repository.get(name, version)?;
        if model.is_ready() { Ok(model) } else { Err(Error::not_ready(name)) }
    }

    /// Whether this model can answer, and the server goes on serving. Probes ask for a model as well as for the server.
    ///
    /// # Errors
    /// It is unknown or not ready, or the server is not.
    pub fn check_model_ready(&self, name: &str, version: Option<&str>) -> Result<()> {
        self.ready_model(name, version)?;
        Self::refuse_while(&self.readiness.waiting_for())
    }

    /// Whether the server as a whole can answer now.
    ///
    /// # Errors
    /// It can't; the text says what it waits for.
    pub fn check_ready(&self) -> Result<()> {
        let mut waiting_for = self.readiness.waiting_for();
        if !self.repository.loading().is_empty() {
            waiting_for.push("model");
        }
        Self::refuse_while(&waiting_for)
    }

    fn refuse_while(waiting_for: &[&str]) -> Result<()> {
        if waiting_for.is_empty() {
            return Ok(());
        }
        let text = format!("Server is not ready: {}.", waiting_for.join(", "));
        Err(Error::new(Kind::NotReady, text).with_retry_after(Duration::from_secs(1)))
    }

    /// Lets an inference in, before its body is read: what waits in memory is bounded by how many are let in. Hold the permit until the
    /// answer.
    ///
    /// # Errors
    /// As many as may be are under way; nothing was done.
    pub fn admit(&self) -> Result<Permit<'_>> {
        self.permits.try_acquire().ok_or_else(|| {
            let text = "as many requests as this server takes at once are under way";
            Error::new(Kind::Overloaded, text).with_retry_after(Duration::from_secs(1))
        })
    }

    /// Loads a model anew; `parameters` are the names of what the call says beside its name.
    ///
    /// # Errors
    /// A parameter asks for another model than the one in its place, or [`Repository::load`] fails.
    pub(crate) async fn load(&self, name: &str, mut parameters: impl Iterator<Item = &str>) -> Result<()> {
        // A load that passed over these would serve something else than what was asked for.
        if let Some(key) = parameters.find(|key| *key == "config" || key.starts_with("file:")) {
            let text = "not supported here: a model is loaded as it lies in its repository";
            return Err(Error::invalid(format!("field `parameters.{}`: {text}", shown(key))));
        }
        self.repository.load(name).await
    }

    /// Whether control calls are on.
    ///
    /// # Errors
    /// They are off.
    pub fn check_control(&self) -> Result<()> {
        if self.control {
            return Ok(());
        }
        Err(Error::new(Kind::ControlDisabled, "control calls are off here; --enable-control turns them on"))
    }

    /// Answers one request: checked against the model's metadata, held to its deadline, its outputs as asked for.
    ///
    /// # Errors
    /// The request does not fit, the model failed, or the deadline passed.
    pub async fn infer(
        &self,
        model: &dyn Model,
        mut request: InferRequest,
        context: &Context,
    ) -> Result<InferResponse> {
        let metadata = model.metadata();
        metadata.check(&request)?;
        let context = &within(context, &mut request)?;
        let (id, asked, outputs) = (request.id.clone(), request.model_version.clone(), request.outputs.clone());
        let begun = Instant::now();
        let answer = in_time(context.deadline(), model.infer(request, context).as_mut()).await;
        context.inferred(begun);
        let mut response = answer??;
        select_outputs(&mut response, &outputs)?;
        response.id = id;
        response.model_name.clone_from(&metadata.name);
        // A model may answer to several versions; the one that was asked for is among them, or it would not have been found.
        let version = || asked.or_else(|| metadata.version().map(ToOwned::to_owned));
        response.model_version = response.model_version.or_else(version);
        if let Some(digest) = metadata.digest() {
            response.parameters.insert(MODEL_DIGEST.to_owned(), digest.into());
        }
        Ok(response)
    }

    /// Explains one request, held to its deadline.
    ///
    /// # Errors
    /// As [`Handler::infer`], or the model does not explain.
    pub async fn explain(&self, model: &dyn Model, mut request: InferRequest, context: &Context) -> Result<Vec<Value>> {
        model.metadata().check(&request)?;
        let context = &within(context, &mut request)?;
        let begun = Instant::now();
        let answer = in_time(context.deadline(), model.explain(request, context).as_mut()).await;
        context.explained(begun);
        answer?
    }
}

/// The context, with less time where the request's own `timeout` asks for that. It is no concern of the model's.
fn within<'a>(context: &'a Context, request: &mut InferRequest) -> Result<Cow<'a, Context>> {
    let Some(timeout) = request.parameters.remove(TIMEOUT) else { return Ok(Cow::Borrowed(context)) };
    let micros = timeout.as_u64().filter(|&micros| micros > 0);
    let micros =
        micros.ok_or_else(|| Error::invalid("field `parameters.timeout`: expected whole microseconds, more than 0"))?;
    Ok(Cow::Owned(context.within(Duration::from_micros(micros))))
}

/// What `future` gives, if it does before `deadline`. What is there at once costs no timer.
///
/// # Errors
/// The deadline passed.
pub(crate) async fn in_time<F: Future + ?Sized>(deadline: Instant, mut future: Pin<&mut F>) -> Result<F::Output> {
    if let Poll::Ready(output) = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        return Ok(output);
    }
    tokio::time::timeout_at(deadline.into(), future)
        .await
        .map_err(|_| Error::new(Kind::DeadlineExceeded, "the request's deadline passed before its answer was ready"))
}

fn select_outputs(response: &mut InferResponse, wanted: &[RequestedOutput]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let mut outputs = std::mem::take(&mut response.outputs);
    for RequestedOutput { name, .. } in wanted {
        let position = outputs.iter().position(|output| output.name() == name);
        let position = position.ok_or_else(|| Error::invalid(format!("output `{name}`: not in the answer")))?;
        response.outputs.push(outputs.swap_remove(position));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        pin::pin,
        time::Instant,
    };

    use super::in_time;
    use crate::error::Kind;

    #[tokio::test]
    async fn what_is_there_at_once_is_never_late() {
        assert_eq!(in_time(Instant::now(), pin!(ready(7))).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn what_never_comes_ends_with_the_deadline() {
        let late = in_time(Instant::now(), pin!(pending::<()>())).await;
        assert_eq!(late.unwrap_err().kind(), Kind::DeadlineExceeded);
    }
}
