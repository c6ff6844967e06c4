//! The one handler core. Transports decode to it and encode from it; what a request goes through stands here and nowhere else.

use std::{sync::Arc, time::Duration};

use crate::{
    context::Context,
    error::{Error, Kind, Result},
    infer::{InferRequest, InferResponse},
    limits::Limits,
    metrics::Metrics,
    model::Model,
    readiness::Readiness,
    repository::Repository,
};

/// Everything that a transport needs to answer.
#[derive(Clone, Debug)]
pub struct Handler {
    /// The models.
    pub repository: Repository,
    /// What the server may still wait for.
    pub readiness: Readiness,
    /// What is measured.
    pub metrics: Metrics,
    /// What a request may ask for.
    pub limits: Limits,
}

impl Handler {
    /// The model of this name and version, if it can answer now.
    ///
    /// # Errors
    /// It is unknown, or not ready.
    pub fn ready_model(&self, name: &str, version: Option<&str>) -> Result<&Arc<dyn Model>> {
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
        if self.repository.models().any(|model| !model.is_ready()) {
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

    /// Answers one request: checked against the model's metadata, held to its deadline, its outputs as asked for.
    ///
    /// # Errors
    /// The request does not fit, the model failed, or the deadline passed.
    pub async fn infer(&self, model: &dyn Model, request: InferRequest, context: &Context) -> Result<InferResponse> {
        let metadata = model.metadata();
        metadata.check(&request)?;
        let (id, outputs) = (request.id.clone(), request.outputs.clone());
        let answer = tokio::time::timeout_at(context.deadline().into(), model.infer(request, context)).await;
        let mut response = answer.map_err(|_| deadline_exceeded())??;
        select_outputs(&mut response, &outputs)?;
        response.id = id;
        response.model_name.clone_from(&metadata.name);
        response.model_version = response.model_version.or_else(|| metadata.versions.last().cloned());
        Ok(response)
    }
}

pub(crate) fn deadline_exceeded() -> Error {
    Error::new(Kind::DeadlineExceeded, "the request's deadline passed before its answer was ready")
}

fn select_outputs(response: &mut InferResponse, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let mut outputs = std::mem::take(&mut response.outputs);
    for name in names {
        let position = outputs.iter().position(|output| output.name() == name);
        let position = position.ok_or_else(|| Error::invalid(format!("output `{name}`: not in the answer")))?;
        response.outputs.push(outputs.swap_remove(position));
    }
    Ok(())
}
