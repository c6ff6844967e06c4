//! Batching inside the process: requests that wait together are computed together, whichever protocol they came by.
//!
//! [`Batching`] says how many rows and how long a thread of [`Owned`](super::Owned) gathers; the model gets what it gathered in
//! [`SyncModel::infer_batch`]. [`Joined`] makes of a model whose rows don't depend on each other one that computes such a batch in
//! one run: inputs joined along their first dimension, outputs split by rows again.
//!
//! Rows never change hands. A request takes part only if all of its inputs have the same number of rows, else a row too many here and
//! one too few there would shift everybody's; and outputs are split only if each has exactly as many rows as the inputs had.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::caught;
use crate::{
    error::Result,
    infer::{InferRequest, InferResponse},
    model::{ModelMetadata, SyncModel, TensorMetadata},
    tensor::Tensor,
};

/// How a thread gathers requests. Off by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Rows of a batch at most; at 1 or less there are no batches. A request that has more on its own is computed on its own.
    pub max_rows: usize,
    /// How long a thread that has a request waits for more, a day at most. Zero takes what is there already, and delays nobody.
    pub max_delay: Duration,
}

impl Default for Batching {
    fn default() -> Self {
        Self::OFF
    }
}

impl Batching {
    /// Each request is computed on its own.
    pub const OFF: Self = Self { max_rows: 1, max_delay: Duration::ZERO };

    pub(super) const LONGEST_DELAY: Duration = Duration::from_secs(86_400);

    /// The same, but off for a model that lists an input or output with a fixed first dimension: its rows are not free to be joined.
    pub(super) fn of_model(self, metadata: &ModelMetadata) -> Self {
        let fixed = |tensor: &&TensorMetadata| tensor.shape.first() != Some(&-1);
        match metadata.inputs.iter().chain(&metadata.outputs).find(fixed) {
            Some(tensor) if self.max_rows > 1 => {
                let (model, tensor, shape) = (&metadata.name, &tensor.name, &tensor.shape);
                tracing::warn!(model, tensor, ?shape, "no batching: the first dimension is fixed");
                Self::OFF
            }
            _ => self,
        }
    }
}

/// The rows of a request that can be joined with others: those of every input. Nothing where it can't: inputs differ in rows, have
/// none, or share a name.
#[must_use]
pub fn rows(request: &InferRequest) -> Option<usize> {
    let rows = *request.inputs.first()?.shape().first()?;
    let alike = request.inputs.iter().enumerate().all(|(position, input)| {
        let known = request.inputs[..position].iter().any(|earlier| earlier.name() == input.name());
        input.shape().first() == Some(&rows) && !known
    });
    (rows > 0 && alike).then_some(rows)
}

/// Whether two requests, each of which can be joined, can be so with each other: the same inputs but for the number of rows, and the
/// same parameters. Which outputs they ask for is no matter: the handler core selects those.
#[must_use]
pub fn compatible(one: &InferRequest, other: &InferRequest) -> bool {
    one.inputs.len() == other.inputs.len()
        && one.parameters == other.parameters
        && one.model_version == other.model_version
        && one.inputs.iter().all(|input| {
            other.input(input.name()).is_some_and(|same| {
                same.datatype() == input.datatype()
                    && same.shape().get(1..) == input.shape().get(1..)
                    && same.parameters() == input.parameters()
            })
        })
}

/// Computes a request whose rows don't depend on each other in pieces of at most `most` rows, and joins their answers. What a graph needs
/// for its steps grows with the rows of a run, and is kept.
///
/// # Errors
/// Those of `infer`, as it has them of the whole request.
pub fn in_pieces(
    request: InferRequest,
    most: usize,
    mut infer: impl FnMut(InferRequest) -> Result<InferResponse>,
) -> Result<InferResponse> {
    let Some(count) = rows(&request).filter(|&count| count > most) else { return infer(request) };
    let mut pieces = (0..count).step_by(most.max(1)).map(|start| {
        let own = start..count.min(start + most.max(1));
        let inputs = request.inputs.iter().map(|input| slice(input, &own, count)).collect::<Option<_>>()?;
        let piece = InferRequest {
            id: request.id.clone(),
            model_version: request.model_version.clone(),
            parameters: request.parameters.clone(),
            inputs,
            outputs: request.outputs.clone(),
        };
        infer(piece).ok().map(|response| (own.len(), response))
    });
    let joined = pieces.try_fold(None, |joined: Option<(usize, InferResponse)>, piece| {
        let (rows, piece) = piece?;
        Some(Some(match joined {
            None => (rows, piece),
            Some((before, response)) => (before + rows, behind(response, before, &piece, rows)?),
        }))
    });
    drop(pieces);
    match joined.flatten() {
        Some((_, response)) => Ok(response),
        // What is wrong with a row should be said of that row of the request.
        None => infer(request),
    }
}

/// An answer with the rows of another behind its own; nothing where an output has not as many rows as there are.
fn behind(response: InferResponse, rows: usize, more: &InferResponse, more_rows: usize) -> Option<InferResponse> {
    let outputs = response.outputs.into_iter().map(|output| {
        let other = more.output(output.name())?;
        let (mut shape, name) = (output.shape().to_vec(), output.name().to_owned());
        let fits = shape.first() == Some(&rows) && other.shape().first() == Some(&more_rows);
        *shape.first_mut().filter(|_| fits)? += more_rows;
        let parameters = output.parameters().clone();
        let mut data = output.into_data();
        data.append(other.data()).then_some(())?;
        Some(Tensor::new(&name, shape, data).ok()?.with_parameters(parameters))
    });
    Some(InferResponse { outputs: outputs.collect::<Option<_>>()?, ..response })
}

/// A model that computes a batch in one run, because each of its output rows depends on the input row at the same position alone.
///
/// Whatever can't be joined is computed on its own. So is each request of a batch that fails as a whole, so that only whose fault it
/// was gets the error. A model whose outputs don't have the rows of its inputs is found out by its first batch, and not batched again.
#[derive(Clone, Debug)]
pub struct Joined<M> {
    model: M,
    /// Shared by the copies of a model.
    inseparable: Arc<AtomicBool>,
}

impl<M: SyncModel> Joined<M> {
    /// Wraps copies of one model.
    #[must_use]
    pub fn copies(models: Vec<M>) -> Vec<Self> {
        let inseparable = Arc::new(AtomicBool::new(false));
        models.into_iter().map(|model| Self { model, inseparable: inseparable.clone() }).collect()
    }

    fn together(&mut self, requests: &[&InferRequest]) -> Option<Vec<InferResponse>> {
        if requests.len() < 2 || self.inseparable.load(Ordering::Relaxed) {
            return None;
        }
        let joint = join(requests)?;
        // An error or a panic may be one request's fault: each then computes on its own and gets what is its own.
        let response = caught(|| self.model.infer(joint)).flatten().ok()?;
        let responses = split(&response, requests);
        if responses.is_none() && !self.inseparable.swap(true, Ordering::Relaxed) {
            tracing::warn!("no batching: the model's outputs don't have a row for each row of its inputs");
        }
        responses
    }

    fn alone(&mut self, request: InferRequest) -> Result<InferResponse> {
        caught(|| self.model.infer(request)).flatten()
    }
}

impl<M: SyncModel> SyncModel for Joined<M> {
    fn warm_up(&mut self, metadata: &ModelMetadata) -> Result<()> {
        self.model.warm_up(metadata)
    }

    fn infer(&mut self, request: InferRequest) -> Result<InferResponse> {
        self.model.infer(request)
    }

    fn infer_batch(&mut self, requests: Vec<InferRequest>) -> Vec<Result<InferResponse>> {
        let mut answers: Vec<(usize, Result<InferResponse>)> = Vec::with_capacity(requests.len());
        for group in groups(requests) {
            let (positions, requests): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            match self.together(&requests.iter().collect::<Vec<_>>()) {
                Some(responses) => answers.extend(positions.into_iter().zip(responses.into_iter().map(Ok))),
                None => {
                    let alone = requests.into_iter().map(|request| self.alone(request));
                    answers.extend(positions.into_iter().zip(alone));
                }
            }
        }
        answers.sort_unstable_by_key(|(position, _)| *position);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }
}

/// Requests and their positions, those together that can be joined.
fn groups(requests: Vec<InferRequest>) -> Vec<Vec<(usize, InferRequest)>> {
    let mut groups: Vec<(bool, Vec<(usize, InferRequest)>)> = Vec::new();
    for (position, request) in requests.into_iter().enumerate() {
        let joinable = rows(&request).is_some();
        let fits = |group: &&mut (bool, Vec<(usize, InferRequest)>)| {
            joinable && group.0 && group.1.first().is_some_and(|(_, first)| compatible(first, &request))
        };
        match groups.iter_mut().find(fits) {
            Some((_, group)) => group.push((position, request)),
            None => groups.push((joinable, vec![(position, request)])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// One request of all their rows, in order. They are known to be compatible.
fn join(requests: &[&InferRequest]) -> Option<InferRequest> {
    let (first, others) = requests.split_first()?;
    let inputs = first.inputs.iter().map(|input| {
        let (mut shape, mut data) = (input.shape().to_vec(), input.data().clone());
        for other in others {
            let more = other.input(input.name())?;
            *shape.first_mut()? += more.shape().first()?;
            data.append(more.data()).then_some(())?;
        }
        Some(Tensor::new(input.name(), shape, data).ok()?.with_parameters(input.parameters().clone()))
    });
    let outputs =
        if others.iter().all(|other| other.outputs == first.outputs) { first.outputs.clone() } else { vec![] };
    Some(InferRequest {
        id: None,
        model_version: first.model_version.clone(),
        parameters: first.parameters.clone(),
        inputs: inputs.collect::<Option<_>>()?,
        outputs,
    })
}

/// Each request's rows of a joint answer; nothing where an output has not one row for each row of the inputs.
fn split(response: &InferResponse, requests: &[&InferRequest]) -> Option<Vec<InferResponse>> {
    let counts = requests.iter().map(|request| rows(request)).collect::<Option<Vec<_>>>()?;
    let total: usize = counts.iter().sum();
    if response.outputs.iter().any(|output| output.shape().first() != Some(&total)) {
        return None;
    }
    let mut start = 0;
    let responses = requests.iter().zip(counts).map(|(request, count)| {
        let own = start..start + count;
        start += count;
        let outputs = response.outputs.iter().map(|output| slice(output, &own, total)).collect::<Option<_>>()?;
        Some(InferResponse {
            model_name: response.model_name.clone(),
            model_version: response.model_version.clone(),
            id: request.id.clone(),
            parameters: response.parameters.clone(),
            outputs,
        })
    });
    responses.collect()
}

/// These of a tensor's `total` rows.
fn slice(tensor: &Tensor, own: &Range<usize>, total: usize) -> Option<Tensor> {
    let row = tensor.data().len().checked_div(total)?;
    let data = tensor.data().slice(own.start * row..own.end * row)?;
    let mut shape = tensor.shape().to_vec();
    *shape.first_mut()? = own.len();
    Some(Tensor::new(tensor.name(), shape, data).ok()?.with_parameters(tensor.parameters().clone()))
}

#[cfg(test)]
mod tests;
