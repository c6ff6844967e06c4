//! Step 2: the query vector, from the customer's vector, their age and the season.

use catalog::bundle::{Bundle, QUERY_TOWER};
use dataplane::{
    Error, Result, Tensor,
    onnx::{Graph, Runtime},
};

use crate::instance::Season;

const INPUTS: [&str; 4] = ["customer_vector", "age", "month_sin", "month_cos"];

/// The query tower's graph, for one thread.
pub(crate) struct QueryTower {
    graph: Graph,
    output: String,
    size: usize,
}

impl QueryTower {
    /// Reads the bundle's graph and asks it once.
    ///
    /// # Errors
    /// The file is not the manifest's, or the graph takes or gives something else; one line that names it.
    pub(crate) fn load(runtime: &Runtime, bundle: &Bundle, model: &[u8]) -> Result<Self, String> {
        let failed = |reason: String| bundle.invalid(QUERY_TOWER, reason).to_string();
        let graph = Graph::load(runtime, model).map_err(failed)?;
        if let Some(input) = graph.inputs().find(|input| !INPUTS.contains(&input.name.as_str())) {
            return Err(failed(format!("takes `{}`, which this server can't give", input.name)));
        }
        let info = &bundle.manifest().retrieval;
        let wanted: Vec<_> = info.query_tower.inputs.iter().map(|input| input.name.as_str()).collect();
        let found: Vec<_> = graph.inputs().map(|input| input.name.as_str()).collect();
        if wanted != found {
            return Err(failed(format!("takes {found:?}, the manifest says {wanted:?}")));
        }
        let mut tower = Self { graph, output: info.query_tower.output.clone(), size: info.embedding_size };
        let blank = vec![0.0; tower.size];
        let season = Season { month_sin: 0.0, month_cos: 1.0 };
        tower.embed(&blank, 30.0, season).map_err(|error| failed(error.to_string()))?;
        Ok(tower)
    }

    /// The query vector.
    pub(crate) fn embed(&mut self, customer: &[f32], age: f32, season: Season) -> Result<Vec<f32>> {
        let tensors = [
            Tensor::new(INPUTS[0], vec![1, customer.len()], customer.to_vec())?,
            Tensor::column(INPUTS[1], vec![age]),
            Tensor::column(INPUTS[2], vec![season.month_sin]),
            Tensor::column(INPUTS[3], vec![season.month_cos]),
        ];
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
