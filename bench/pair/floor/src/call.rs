//! The two ONNX calls of a request, on the thread that has the request.

use catalog::{
    articles::Articles,
    bundle::{Bundle, QUERY_TOWER, RANKER},
    index::Neighbour,
};
use dataplane::{
    BytesData, Error, Result, Tensor,
    onnx::{Graph, Runtime},
};

/// What both graphs are told of the customer and the day.
#[derive(Clone, Copy)]
pub(crate) struct Profile {
    /// In years.
    pub(crate) age: f32,
    pub(crate) month_sin: f32,
    pub(crate) month_cos: f32,
}

/// The graphs of one thread.
pub(crate) struct Models {
    tower: Graph,
    ranker: Graph,
    query: String,
    scores: String,
}

impl Models {
    /// Those of the bundle, once for each of `threads`.
    pub(crate) fn load(runtime: &Runtime, bundle: &Bundle, threads: usize) -> std::result::Result<Vec<Self>, String> {
        let read = |file| bundle.read(file).map_err(|error| error.to_string());
        let towers = Graph::copies(runtime, &read(QUERY_TOWER)?, threads)?;
        let rankers = Graph::copies(runtime, &read(RANKER)?, threads)?;
        let query = &bundle.manifest().retrieval.query_tower.output;
        let scores = &bundle.manifest().ranking.output;
        let models = |(tower, ranker)| Self { tower, ranker, query: query.clone(), scores: scores.clone() };
        Ok(towers.into_iter().zip(rankers).map(models).collect())
    }

    /// The query vector.
    pub(crate) fn query(&mut self, customer: &[f32], profile: Profile) -> Result<Vec<f32>> {
        let tensors = [
            Tensor::new("customer_vector", vec![1, customer.len()], customer.to_vec())?,
            Tensor::column("age", vec![profile.age]),
            Tensor::column("month_sin", vec![profile.month_sin]),
            Tensor::column("month_cos", vec![profile.month_cos]),
        ];
        run(&mut self.tower, &tensors, &self.query)
    }

    /// A score for each candidate.
    pub(crate) fn scores(&mut self, articles: &Articles, found: &[Neighbour], profile: Profile) -> Result<Vec<f32>> {
        let repeated = |value: f32| vec![value; found.len()];
        let column = |name: &str| match name {
            "age" => Ok(Tensor::column(name, repeated(profile.age))),
            "month_sin" => Ok(Tensor::column(name, repeated(profile.month_sin))),
            "month_cos" => Ok(Tensor::column(name, repeated(profile.month_cos))),
            _ => {
                let value = articles.attribute(name).ok_or_else(|| unknown(name))?;
                let texts: BytesData = found.iter().map(|neighbour| value(neighbour.row)).collect();
                Ok(Tensor::column(name, texts))
            }
        };
        let tensors = self.ranker.inputs().map(|input| column(&input.name)).collect::<Result<Vec<_>>>()?;
        run(&mut self.ranker, &tensors, &self.scores)
    }
}

fn run(graph: &mut Graph, tensors: &[Tensor], output: &str) -> Result<Vec<f32>> {
    let find = |name: &str| tensors.iter().find(|tensor| tensor.name() == name).ok_or_else(|| unknown(name));
    let outputs = graph.run(find)?;
    let found = outputs.iter().find(|tensor| tensor.name() == output).and_then(Tensor::as_f32);
    found.map(<[f32]>::to_vec).ok_or_else(|| unknown(output))
}

fn unknown(name: &str) -> Error {
    Error::internal(format!("nothing here is `{name}`"))
}
