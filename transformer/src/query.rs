//! Step 2: the query vector, from the customer's vector, their age, the season, and what they touched of late.

use catalog::bundle::{Bundle, HistoryInfo, QUERY_TOWER};
use dataplane::{
    Error, Result, Tensor,
    onnx::{Graph, Runtime},
};

use crate::{history::HistoryTensors, instance::Season};

const PROFILE: [&str; 4] = ["customer_vector", "age", "month_sin", "month_cos"];
/// What a tower may take besides, where the manifest says how histories are told.
const HISTORY: [&str; 3] = ["history_vectors", "history_weights", "history_days"];

/// The query tower's graph, for one thread.
pub(crate) struct QueryTower {
    graph: Graph,
    output: String,
    size: usize,
    /// How many touches it is told of, if of any.
    history: Option<usize>,
}

impl QueryTower {
    /// Reads the bundle's graph and asks it once.
    ///
    /// # Errors
    /// The file is not the manifest's, or the graph takes or gives something else; one line that names it.
    pub(crate) fn load(runtime: &Runtime, bundle: &Bundle, model: &[u8]) -> Result<Self, String> {
        let failed = |reason: String| bundle.invalid(QUERY_TOWER, reason).to_string();
        let graph = Graph::load(runtime, model).map_err(failed)?;
        let info = &bundle.manifest().retrieval;
        let can_give = |name: &str| PROFILE.contains(&name) || (info.history.is_some() && HISTORY.contains(&name));
        if let Some(input) = graph.inputs().find(|input| !can_give(&input.name)) {
            return Err(failed(format!("takes `{}`, which this server can't give", input.name)));
        }
        let wanted: Vec<_> = info.query_tower.inputs.iter().map(|input| input.name.as_str()).collect();
        let found: Vec<_> = graph.inputs().map(|input| input.name.as_str()).collect();
        if wanted != found {
            return Err(failed(format!("takes {found:?}, the manifest says {wanted:?}")));
        }
        let reads_history = graph.inputs().any(|input| HISTORY.contains(&input.name.as_str()));
        let length = info.history.as_ref().map(|HistoryInfo { length, .. }| *length).filter(|_| reads_history);
        let output = info.query_tower.output.clone();
        let mut tower = Self { graph, output, size: info.embedding_size, history: length };
        let blank = |rows: usize| vec![0.0; rows];
        let history = length.map(|length| HistoryTensors {
            vectors: blank(length * tower.size),
            weights: blank(length),
            days: blank(length),
        });
        let season = Season { month_sin: 0.0, month_cos: 1.0 };
        tower.embed(&blank(tower.size), 30.0, season, history).map_err(|error| failed(error.to_string()))?;
        Ok(tower)
    }

    /// How many touches it is told of, if of any.
    pub(crate) fn history(&self) -> Option<usize> {
        self.history
    }

    /// The query vector. A `history` is there where the tower is told one.
    pub(crate) fn embed(
        &mut self,
        customer: &[f32],
        age: f32,
        season: Season,
        history: Option<HistoryTensors>,
    ) -> Result<Vec<f32>> {
        let mut tensors = vec![
            Tensor::new(PROFILE[0], vec![1, customer.len()], customer.to_vec())?,
            Tensor::column(PROFILE[1], vec![age]),
            Tensor::column(PROFILE[2], vec![season.month_sin]),
            Tensor::column(PROFILE[3], vec![season.month_cos]),
        ];
        if let Some(HistoryTensors { vectors, weights, days }) = history {
            let length = weights.len();
            tensors.push(Tensor::new(HISTORY[0], vec![1, length, self.size], vectors)?);
            tensors.push(Tensor::new(HISTORY[1], vec![1, length], weights)?);
            tensors.push(Tensor::new(HISTORY[2], vec![1, length], days)?);
        }
        let find = |name: &str| tensors.iter().find(|tensor| tensor.name() == name);
        let outputs =
            self.graph.run(|name| find(name).ok_or_else(|| Error::internal(format!("no tensor `{name}`"))))?;
        let output = outputs.iter().find(|output| output.name() == self.output).and_then(Tensor::as_f32);
        match output {
            Some(query) if query.len() == self.size => Ok(query.to_vec()),
            _ => Err(Error::internal(format!("the query tower gave no `{}` of {} numbers", self.output, self.size))),
        }
    }
}
