//! A V1 instance that is a table: rows of positional columns under one key, an id for each row under another.
//!
//! `{"ranking_features": [[…one value a column…], …], "article_ids": ["…", …]}` → one tensor `[N,1]` a column and one for the ids;
//! answered by `{"scores": […], "article_ids": […]}`. The keys are the model's to name.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, value::RawValue};

use super::{Predictions, V1Codec};
use crate::{
    error::{Error, Result},
    infer::{InferRequest, InferResponse},
    json::{DataJson, ElementJson, read_data},
    model::TensorMetadata,
    tensor::{BytesData, Data, Tensor},
};

/// Rows and ids under keys of one's own. Serves a model ([`V1Codec`]) and calls one (`write_request`, `read_response`).
#[derive(Clone, Debug)]
pub struct RowsCodec {
    /// Key of the rows, for example `ranking_features`.
    pub rows: String,
    /// Key of the rows' ids, in requests and predictions, for example `article_ids`.
    pub ids: String,
    /// The input and output tensors that carry the ids.
    pub id_input: String,
    /// The output tensor that carries the ids.
    pub id_output: String,
    /// The output tensor of scores, and its key in predictions.
    pub scores: String,
    /// The columns of a row, in order.
    pub columns: Vec<TensorMetadata>,
}

impl RowsCodec {
    fn read_instance(&self, instance: &RawValue) -> Result<InferRequest> {
        let object: serde_json::Map<String, Value> = serde_json::from_str(instance.get())
            .map_err(|_| Error::invalid(format!("expected an object with `{}` and `{}`", self.rows, self.ids)))?;
        let field = |key: &str| {
            let list = object.get(key).ok_or_else(|| Error::invalid(format!("field `{key}`: missing")))?;
            list.as_array().ok_or_else(|| Error::invalid(format!("field `{key}`: expected a list")))
        };
        let (rows, ids) = (field(&self.rows)?, field(&self.ids)?);
        if rows.len() != ids.len() {
            let (rows_key, ids_key) = (&self.rows, &self.ids);
            return Err(Error::invalid(format!(
                "field `{ids_key}`: expected {} ids, one for each of `{rows_key}`, got {}",
                rows.len(),
                ids.len()
            )));
        }
        let mut inputs = Vec::with_capacity(self.columns.len() + 1);
        for (position, column) in self.columns.iter().enumerate() {
            inputs.push(self.read_column(position, column, rows)?);
        }
        let ids: Option<BytesData> =
            ids.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(BytesData::from_iter);
        let ids = ids.ok_or_else(|| Error::invalid(format!("field `{}`: expected strings", self.ids)))?;
        inputs.push(Tensor::column(&self.id_input, ids));
        Ok(InferRequest::of(inputs))
    }

    fn read_column(&self, position: usize, column: &TensorMetadata, rows: &[Value]) -> Result<Tensor> {
        let mut values = Vec::with_capacity(rows.len());
        for (number, row) in rows.iter().enumerate() {
            let wanted = self.columns.len();
            let value = row.as_array().filter(|row| row.len() == wanted).map(|row| &row[position]);
            values.push(value.ok_or_else(|| {
                Error::invalid(format!("field `{}[{number}]`: expected a list of {wanted} values", self.rows))
            })?);
        }
        let place = || format!("field `{}`, column {position} (`{}`)", self.rows, column.name);
        let json = serde_json::value::to_raw_value(&values).map_err(Error::internal)?;
        let data = read_data(column.datatype, &[rows.len()], &json).map_err(|error| error.at(place()))?;
        Ok(Tensor::column(&column.name, data))
    }

    /// The body that asks a V1 server for the scores of `request`'s rows.
    ///
    /// # Errors
    /// A column or the ids are missing from the request.
    pub fn write_request(&self, request: &InferRequest) -> Result<Vec<u8>> {
        let columns: Vec<&Data> = self
            .columns
            .iter()
            .map(|column| request.required(&column.name).map(Tensor::data))
            .collect::<Result<_>>()?;
        let ids = request.required(&self.id_input)?.data();
        let rows = Rows { columns: &columns, count: ids.len() };
        let instance = Object(vec![(&self.rows, raw(&rows)?), (&self.ids, raw(&DataJson(ids))?)]);
        serde_json::to_vec(&Object(vec![("instances", raw(&[instance])?)])).map_err(Error::internal)
    }

    /// The scores, and the ids where the server gives them, of a V1 server's answer to one instance.
    ///
    /// # Errors
    /// The body is not such an answer. The text is for the log: it describes another server's fault.
    pub fn read_response(&self, body: &[u8]) -> Result<InferResponse, String> {
        #[derive(Deserialize)]
        struct Body {
            predictions: Vec<serde_json::Map<String, Value>>,
        }
        let body: Body = serde_json::from_slice(body).map_err(|error| format!("no V1 answer: {error}"))?;
        let [prediction] = body.predictions.as_slice() else {
            return Err(format!("{} predictions for one instance", body.predictions.len()));
        };
        let scores: Option<Vec<f32>> = prediction
            .get(&self.scores)
            .and_then(Value::as_array)
            .and_then(|scores| scores.iter().map(|score| score.as_f64().map(narrow)).collect());
        let scores = scores.ok_or_else(|| format!("no list of numbers under `{}`", self.scores))?;
        let mut outputs = vec![Tensor::vector(&self.scores, scores)];
        if let Some(ids) = prediction.get(&self.ids) {
            let ids: Option<BytesData> = ids
                .as_array()
                .and_then(|ids| ids.iter().map(Value::as_str).collect::<Option<Vec<_>>>())
                .map(BytesData::from_iter);
            outputs.push(Tensor::vector(
                &self.id_output,
                ids.ok_or_else(|| format!("no list of strings under `{}`", self.ids))?,
            ));
        }
        Ok(InferResponse::of(outputs))
    }
}

#[allow(clippy::cast_possible_truncation)] // a score is FP32 on every other path too
fn narrow(score: f64) -> f32 {
    score as f32
}

fn raw(value: &impl Serialize) -> Result<Box<RawValue>> {
    serde_json::value::to_raw_value(value).map_err(Error::internal)
}

/// A JSON object with its keys in the order given.
struct Object<'a>(Vec<(&'a str, Box<RawValue>)>);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// Columns, written row by row.
struct Rows<'a> {
    columns: &'a [&'a Data],
    count: usize,
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let cells = |row| self.columns.iter().map(move |column| ElementJson(column, row)).collect::<Vec<_>>();
        serializer.collect_seq((0..self.count).map(cells))
    }
}

impl V1Codec for RowsCodec {
    fn decode(&self, instances: &[&RawValue]) -> Result<Vec<InferRequest>> {
        let numbered = instances.iter().enumerate();
        numbered
            .map(|(row, instance)| self.read_instance(instance).map_err(|error| error.at(format!("instances[{row}]"))))
            .collect()
    }

    fn encode(&self, responses: &[InferResponse], predictions: &mut Predictions) -> Result<()> {
        for response in responses {
            let output = |name: &str| {
                let tensor = response.output(name).ok_or_else(|| Error::internal(format!("no output `{name}`")))?;
                raw(&DataJson(tensor.data()))
            };
            let prediction = Object(vec![(&self.scores, output(&self.scores)?), (&self.ids, output(&self.id_output)?)]);
            predictions.push(&prediction)?;
        }
        Ok(())
    }
}
