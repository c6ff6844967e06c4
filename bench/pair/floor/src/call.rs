//! The two ONNX calls of a request, on the thread that has the request: the graphs that the pair runs, fed with the same numbers.

use std::collections::HashMap;

use catalog::{
    articles::Articles,
    bundle::{Bundle, CONTRIBUTIONS, ENCODED_RANKER, QUERY_TOWER},
    index::Neighbour,
};
use dataplane::{
    Error, Result, Tensor,
    onnx::{Graph, Runtime},
};
use serde::Deserialize;

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

/// The columns of the ranker's matrix.
pub(crate) struct Features(Vec<Column>);

enum Column {
    Age,
    MonthSin,
    MonthCos,
    /// A column of the article table, and the number of each of its codes.
    Category(String, Vec<f32>),
}

impl Features {
    /// What the bundle says of its ranker's features.
    pub(crate) fn of(bundle: &Bundle, articles: &Articles) -> std::result::Result<Self, String> {
        #[derive(Deserialize)]
        struct Contributions {
            features: Vec<Feature>,
        }
        #[derive(Deserialize)]
        struct Feature {
            name: String,
            #[serde(default)]
            numbers: HashMap<String, f32>,
            #[serde(default)]
            unknown: f32,
        }
        let text = bundle.read(CONTRIBUTIONS).map_err(|error| error.to_string())?;
        let Contributions { features } = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        let column = |Feature { name, numbers, unknown }| match name.as_str() {
            "age" => Ok(Column::Age),
            "month_sin" => Ok(Column::MonthSin),
            "month_cos" => Ok(Column::MonthCos),
            _ => {
                let texts = articles.texts(&name).ok_or_else(|| format!("nothing here is `{name}`"))?;
                let numbers = texts.map(|text| numbers.get(text).copied().unwrap_or(unknown)).collect();
                Ok(Column::Category(name, numbers))
            }
        };
        features.into_iter().map(column).collect::<std::result::Result<_, _>>().map(Self)
    }

    /// Row-major, a row for each candidate.
    fn matrix(&self, articles: &Articles, found: &[Neighbour], profile: Profile) -> Result<Tensor> {
        let width = self.0.len();
        let mut values = vec![0.0; found.len() * width];
        for (position, column) in self.0.iter().enumerate() {
            let cells = values.iter_mut().skip(position).step_by(width);
            match column {
                Column::Age => cells.for_each(|cell| *cell = profile.age),
                Column::MonthSin => cells.for_each(|cell| *cell = profile.month_sin),
                Column::MonthCos => cells.for_each(|cell| *cell = profile.month_cos),
                Column::Category(name, numbers) => {
                    let codes = articles.codes(name).unwrap_or_default();
                    for (cell, neighbour) in cells.zip(found) {
                        *cell = numbers[usize::try_from(codes[neighbour.row as usize]).unwrap_or_default()];
                    }
                }
            }
        }
        Tensor::new("encoded", vec![found.len(), width], values)
    }
}

impl Models {
    /// Those of the bundle, once for each of `threads`.
    pub(crate) fn load(runtime: &Runtime, bundle: &Bundle, threads: usize) -> std::result::Result<Vec<Self>, String> {
        let read = |file| bundle.read(file).map_err(|error| error.to_string());
        let towers = Graph::copies(runtime, &read(QUERY_TOWER)?, threads)?;
        let rankers = Graph::copies(runtime, &read(ENCODED_RANKER)?, threads)?;
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
    pub(crate) fn scores(
        &mut self,
        features: &Features,
        articles: &Articles,
        found: &[Neighbour],
        profile: Profile,
    ) -> Result<Vec<f32>> {
        run(&mut self.ranker, &[features.matrix(articles, found, profile)?], &self.scores)
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
