//! A V1 instance that is a table: rows of positional columns under one key, an id for each row under another.
//!
//! `{"ranking_features": [[…one value a column…], …], "article_ids": ["…", …]}` → one tensor `[N,1]` a column and one for the ids;
//! answered by `{"scores": […], "article_ids": […]}`. The keys are the model's to name.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, value::RawValue};

use super::{EXPLANATIONS, Predictions, V1Codec};
use crate::{
    error::{Error, Result},
    infer::{InferRequest, InferResponse},
    json::{Cursor, DataJson, ElementJson, Members, plain, read_raw, shown, take},
    model::{ModelMetadata, TensorMetadata},
    tensor::{BytesData, Data, Datatype, Tensor},
};

/// Rows and ids under keys of one's own. Serves a model ([`V1Codec`]) and calls one (`write_request`, `read_response`,
/// `read_explanations`).
#[derive(Clone, Debug, Default)]
pub struct RowsCodec {
    /// Key of the rows, for example `ranking_features`.
    pub rows: String,
    /// Key of the rows' ids, in requests and predictions, for example `article_ids`.
    pub ids: String,
    /// The input and output tensors that carry the ids.
    pub id_input: String,
    /// The output tensor that carries the ids.
    pub id_output: String,
    /// Key of the scores in predictions.
    pub scores: String,
    /// The output tensor that carries the scores.
    pub score_output: String,
    /// The columns of a row, in order. A request may leave out optional ones at the end.
    pub columns: Vec<TensorMetadata>,
}

impl RowsCodec {
    fn read_instance(&self, instance: &RawValue) -> Result<InferRequest> {
        let members = read_raw(instance, Members([&self.rows, &self.ids])).map_err(|error| {
            Error::invalid(format!("expected an object with `{}` and `{}` ({})", self.rows, self.ids, plain(&error)))
        })?;
        let field = |key: &str, member: Option<_>| {
            let member = member.ok_or_else(|| Error::invalid(format!("field `{key}`: missing")))?;
            let mut cursor = Cursor::new(member);
            if cursor.enter() { Ok(cursor) } else { Err(Error::invalid(format!("field `{key}`: expected a list"))) }
        };
        let [rows, ids] = members;
        let (rows, ids) = (field(&self.rows, rows)?, field(&self.ids, ids)?);
        let (count, columns) = self.read_rows(rows)?;
        let ids = self.read_ids(ids)?;
        if ids.len() != count {
            let (rows, ids, got) = (&self.rows, &self.ids, ids.len());
            return Err(Error::invalid(format!(
                "field `{ids}`: expected {count} ids, one for each of `{rows}`, got {got}"
            )));
        }
        let columns = self.columns.iter().zip(columns).map(|(column, data)| Tensor::column(&column.name, data));
        Ok(InferRequest::of(columns.chain([Tensor::column(&self.id_input, ids)]).collect()))
    }

    /// How many rows there are, and their columns. Those at the end that are optional may be left out, of all rows alike.
    fn read_rows(&self, mut cursor: Cursor<'_>) -> Result<(usize, Vec<Data>)> {
        let mut columns: Vec<_> = self.columns.iter().map(|column| Data::zeros(column.datatype, 0)).collect();
        let (mut row, mut widths) = (0, self.required()..=self.columns.len());
        while cursor.next() {
            let width = || {
                let (least, most) = (widths.start(), widths.end());
                let wanted = if least == most { most.to_string() } else { format!("{least} to {most}") };
                Error::invalid(format!("field `{}[{row}]`: expected a list of {wanted} values", self.rows))
            };
            if !cursor.enter() {
                return Err(width());
            }
            let mut cells = columns.iter_mut().zip(&self.columns).take(*widths.end()).enumerate();
            let mut read = 0;
            while cursor.next() {
                let (position, (data, column)) = cells.next().ok_or_else(width)?;
                take(data, &mut cursor).map_err(|token| {
                    let (rows, name, datatype, got) = (&self.rows, &column.name, column.datatype.name(), shown(token));
                    let place = format!("field `{rows}[{row}][{position}]` (`{name}`)");
                    Error::invalid(format!("{place}: expected {datatype}, got {got}"))
                })?;
                read += 1;
            }
            if !widths.contains(&read) {
                return Err(width());
            }
            (row, widths) = (row + 1, read..=read);
        }
        columns.truncate(*widths.end());
        Ok((row, columns))
    }

    /// How many columns every row has: all up to the last that may not be left out.
    fn required(&self) -> usize {
        self.columns.iter().rposition(|column| !column.optional).map_or(0, |last| last + 1)
    }

    fn read_ids(&self, mut cursor: Cursor<'_>) -> Result<Data> {
        let mut ids = Data::zeros(Datatype::Bytes, 0);
        while cursor.next() {
            take(&mut ids, &mut cursor).map_err(|token| {
                let (key, row) = (&self.ids, ids.len());
                Error::invalid(format!("field `{key}[{row}]`: expected a string, got {}", shown(token)))
            })?;
        }
        Ok(ids)
    }

    fn columns_of<'a>(&self, request: &'a InferRequest) -> Result<Vec<&'a Data>> {
        self.columns.iter().map(|column| request.required(&column.name).map(Tensor::data)).collect()
    }

    /// Appends the rows alone: a list of lists with one value a column.
    ///
    /// # Errors
    /// A column is missing from the request.
    pub(crate) fn write_rows(&self, request: &InferRequest, body: &mut Vec<u8>) -> Result<()> {
        let columns = self.columns_of(request)?;
        let count = columns.iter().map(|column| column.len()).max().unwrap_or_default();
        write(body, &Rows { columns: &columns, count })
    }

    /// The body that asks a V1 server about `request`'s rows. Its inputs but the ids are the columns, in their order: those of
    /// [`RowsCodec::columns`], unless the server lists others.
    ///
    /// # Errors
    /// The ids are missing from the request, or a column has not as many rows.
    pub fn write_request(&self, request: &InferRequest) -> Result<Vec<u8>> {
        let ids = request.required(&self.id_input)?.data();
        let columns = request.inputs.iter().filter(|input| input.name() != self.id_input);
        let columns: Vec<_> = columns.map(Tensor::data).collect();
        if let Some(column) = columns.iter().find(|column| column.len() != ids.len()) {
            return Err(Error::internal(format!(
                "a column has {} rows, and there are {} ids",
                column.len(),
                ids.len()
            )));
        }
        let rows = Rows { columns: &columns, count: ids.len() };
        let mut body = Vec::with_capacity(32 * ids.len() * (columns.len() + 1) / 2 + 64);
        // By hand, for the keys are the model's to name; a serializer would want each part as a value of its own first.
        body.extend_from_slice(br#"{"instances":[{"#);
        write(&mut body, &self.rows)?;
        body.push(b':');
        write(&mut body, &rows)?;
        body.push(b',');
        write(&mut body, &self.ids)?;
        body.push(b':');
        write(&mut body, &DataJson(ids))?;
        body.extend_from_slice(b"}]}");
        Ok(body)
    }

    /// The scores, and the ids where the server gives them, of a V1 server's answer to one instance. What else the prediction says in a
    /// string, a number or a bool are parameters of the answer, by its key.
    ///
    /// # Errors
    /// The body is not such an answer. The text is for the log: it describes another server's fault.
    pub fn read_response(&self, body: &[u8]) -> Result<InferResponse, String> {
        #[derive(Deserialize)]
        struct Body {
            predictions: Vec<Map<String, Value>>,
        }
        let body: Body = serde_json::from_slice(body).map_err(|error| format!("no V1 answer: {error}"))?;
        let mut prediction = sole(body.predictions, "predictions")?;
        let scores: Option<Vec<f32>> = prediction
            .remove(&self.scores)
            .as_ref()
            .and_then(Value::as_array)
            .and_then(|scores| scores.iter().map(|score| score.as_f64().map(narrow)).collect());
        let scores = scores.ok_or_else(|| format!("no list of numbers under `{}`", self.scores))?;
        let mut outputs = vec![Tensor::vector(&self.score_output, scores)];
        outputs.extend(self.answered_ids(&mut prediction)?);
        let parameters = prediction.into_iter();
        let parameters = parameters.filter_map(|(name, value)| Some((name, serde_json::from_value(value).ok()?)));
        Ok(InferResponse { parameters: parameters.collect(), ..InferResponse::of(outputs) })
    }

    /// The texts, under [`EXPLANATIONS`], and the ids where the server gives them, of a V1 server's answer to `:explain` of one instance.
    ///
    /// # Errors
    /// As [`RowsCodec::read_response`].
    pub fn read_explanations(&self, body: &[u8]) -> Result<InferResponse, String> {
        #[derive(Deserialize)]
        struct Body {
            explanations: Vec<Map<String, Value>>,
        }
        let body: Body = serde_json::from_slice(body).map_err(|error| format!("no V1 explanation: {error}"))?;
        let mut explanation = sole(body.explanations, "explanations")?;
        let texts = explanation.remove(EXPLANATIONS).as_ref().and_then(texts);
        let texts = texts.ok_or_else(|| format!("no list of strings under `{EXPLANATIONS}`"))?;
        let mut outputs = vec![Tensor::vector(EXPLANATIONS, texts)];
        outputs.extend(self.answered_ids(&mut explanation)?);
        Ok(InferResponse::of(outputs))
    }

    /// Takes the ids out of a prediction, if it has any.
    fn answered_ids(&self, prediction: &mut Map<String, Value>) -> Result<Option<Tensor>, String> {
        let Some(ids) = prediction.remove(&self.ids).filter(|ids| !ids.is_null()) else { return Ok(None) };
        let ids = texts(&ids).ok_or_else(|| format!("no list of strings under `{}`", self.ids))?;
        Ok(Some(Tensor::vector(&self.id_output, ids)))
    }
}

fn texts(list: &Value) -> Option<BytesData> {
    let texts = list.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?;
    Some(BytesData::from_iter(texts))
}

/// The one item of a list, as there is one for each instance.
fn sole<T>(list: Vec<T>, of: &str) -> Result<T, String> {
    <[T; 1]>::try_from(list).map(|[item]| item).map_err(|list| format!("{} {of} for one instance", list.len()))
}

#[allow(clippy::cast_possible_truncation)] // a score is FP32 on every other path too
fn narrow(score: f64) -> f32 {
    score as f32
}

/// The scores and the ids, each under its key.
struct Prediction<'a>([(&'a str, DataJson<'a>); 2]);

impl Serialize for Prediction<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, values)| (key, values)))
    }
}

fn write(body: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) -> Result<()> {
    serde_json::to_writer(body, value).map_err(Error::internal)
}

/// Columns, written row by row.
struct Rows<'a> {
    columns: &'a [&'a Data],
    count: usize,
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..self.count).map(|row| Row { columns: self.columns, row }))
    }
}

/// One row of them.
struct Row<'a> {
    columns: &'a [&'a Data],
    row: usize,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.columns.iter().map(|column| ElementJson(column, self.row)))
    }
}

impl V1Codec for RowsCodec {
    fn decode(&self, instances: &[&RawValue], _model: &ModelMetadata) -> Result<Vec<InferRequest>> {
        let numbered = instances.iter().enumerate();
        numbered
            .map(|(row, instance)| self.read_instance(instance).map_err(|error| error.at(format!("instances[{row}]"))))
            .collect()
    }

    fn encode(&self, responses: &[InferResponse], predictions: &mut Predictions) -> Result<()> {
        for response in responses {
            let output = |name: &str| {
                let tensor = response.output(name).ok_or_else(|| Error::internal(format!("no output `{name}`")))?;
                Ok::<_, Error>(DataJson(tensor.data()))
            };
            let scores = (self.scores.as_str(), output(&self.score_output)?);
            predictions.push(&Prediction([scores, (self.ids.as_str(), output(&self.id_output)?)]))?;
        }
        Ok(())
    }
}
