//! The features as one matrix, for a ranker that says how it encodes them: a category is the number that the ranker would look up for its
//! text, taken by its code in the article table. `docs/protocol.md` says what such a ranker's metadata have.

use std::collections::HashMap;

use catalog::{articles::Articles, bundle::sha256};
use dataplane::{Datatype, ModelMetadata, Result, Tensor, TensorMetadata};
use serde::Deserialize;

use super::{
    RequestFeatures, Source,
    numbers::{Number, Numbers},
    source,
};
use crate::candidates::Candidate;

/// The property of a ranker's metadata that says how features are encoded.
const ENCODING: &str = "encoding";
/// What the input's name begins with; the first digits of the encoding's SHA-256 follow.
const PREFIX: &str = "encoded_";
/// How many.
const DIGITS: usize = 8;

/// An input that has all features, `[rows, columns]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matrix {
    input: String,
    columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq)]
enum Column {
    Number(Number),
    /// A column of the article table, and the number of each of its codes.
    Category(String, Vec<f32>),
}

/// A column as the ranker tells it.
#[derive(Deserialize)]
struct Told {
    name: String,
    /// The number of all texts that are no category.
    #[serde(default)]
    unknown: Option<f32>,
    /// The number of each category, where the feature is text.
    #[serde(default)]
    categories: Option<HashMap<String, f32>>,
}

impl Matrix {
    /// How to fill the input of a ranker that takes this.
    ///
    /// # Errors
    /// It can't be filled; the text says why.
    pub(super) fn new(
        input: &TensorMetadata,
        ranker: &ModelMetadata,
        articles: &Articles,
        numbers: &Numbers,
    ) -> Result<Self, String> {
        let text = ranker.properties.get(ENCODING).ok_or_else(|| format!("no property `{ENCODING}`"))?;
        let digest = sha256(text.as_bytes());
        let digits = digest.trim_start_matches("sha256:").get(..DIGITS).unwrap_or_default();
        if input.name.strip_prefix(PREFIX) != Some(digits) {
            return Err(format!("property `{ENCODING}` is not of this input: its name would be `{PREFIX}{digits}`"));
        }
        let told: Vec<Told> =
            serde_json::from_str(text).map_err(|error| format!("property `{ENCODING}` can't be read: {error}"))?;
        let width = i64::try_from(told.len()).map_err(|error| error.to_string())?;
        if input.datatype != Datatype::Fp32 || input.shape != [-1, width] || told.is_empty() {
            let (datatype, shape) = (input.datatype.name(), &input.shape);
            return Err(format!("{datatype} {shape:?}, where FP32 [-1, {width}] can be offered"));
        }
        let columns = told.into_iter().map(|column| column.planned(articles, numbers)).collect::<Result<_, _>>()?;
        Ok(Self { input: input.name.clone(), columns })
    }

    /// The tensor for these candidates, row i about candidate i.
    pub(super) fn tensor(
        &self,
        articles: &Articles,
        candidates: &[Candidate],
        request: &RequestFeatures,
    ) -> Result<Tensor> {
        let width = self.columns.len();
        let mut values = vec![0.0; candidates.len() * width];
        for (position, column) in self.columns.iter().enumerate() {
            let cells = values.iter_mut().skip(position).step_by(width);
            match column {
                Column::Number(number) => number.write(cells, articles, candidates, request),
                Column::Category(name, numbers) => {
                    let codes = articles.codes(name).unwrap_or_default();
                    for (cell, candidate) in cells.zip(candidates) {
                        *cell = numbers[usize::try_from(codes[candidate.row as usize]).unwrap_or_default()];
                    }
                }
            }
        }
        Tensor::new(&self.input, vec![candidates.len(), width], values)
    }
}

impl Told {
    fn planned(self, articles: &Articles, numbers: &Numbers) -> Result<Column, String> {
        let Self { name, unknown, categories } = self;
        match (source(&name, articles, numbers), categories) {
            (Some(Source::Number(number)), None) => Ok(Column::Number(number)),
            (Some(Source::Attribute), Some(categories)) => {
                let unknown = unknown.ok_or_else(|| format!("column `{name}` has no number for unknown texts"))?;
                let texts = articles.texts(&name).into_iter().flatten();
                let numbers = texts.map(|text| categories.get(text).copied().unwrap_or(unknown)).collect();
                Ok(Column::Category(name, numbers))
            }
            _ => Err(format!("column `{name}` can't be offered so")),
        }
    }
}
