//! V1 as most servers that are not ours speak it: an instance is a row of values, a prediction is its score.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    error::Result,
    infer::{InferRequest, InferResponse},
    tensor::Tensor,
    v1::RowsCodec,
};

/// `{"instances": [[…one value a column…], …]}`.
///
/// # Errors
/// A column is missing from the request.
pub(super) fn write_request(codec: &RowsCodec, request: &InferRequest) -> Result<Vec<u8>> {
    let mut body = br#"{"instances":"#.to_vec();
    codec.write_rows(request, &mut body)?;
    body.push(b'}');
    Ok(body)
}

/// The scores: a number a prediction, or a list with one for each class.
///
/// # Errors
/// The body is not such an answer. The text is for the log: it describes another server's fault.
pub(super) fn read_response(codec: &RowsCodec, body: &[u8]) -> Result<InferResponse, String> {
    #[derive(Deserialize)]
    struct Body {
        predictions: Vec<Value>,
    }
    let body: Body = serde_json::from_slice(body).map_err(|error| format!("no V1 answer: {error}"))?;
    let (mut scores, mut width) = (Vec::with_capacity(body.predictions.len()), None);
    for (row, prediction) in body.predictions.iter().enumerate() {
        let values = prediction.as_array().map_or(std::slice::from_ref(prediction), Vec::as_slice);
        if *width.get_or_insert(values.len()) != values.len() {
            return Err(format!("prediction {row} has {} values, others have not", values.len()));
        }
        for value in values {
            scores.push(value.as_f64().ok_or_else(|| format!("prediction {row} is no number"))?);
        }
    }
    let shape = vec![body.predictions.len(), width.unwrap_or(1)];
    let scores = Tensor::new(&codec.score_output, shape, scores).map_err(|error| error.to_string())?;
    Ok(InferResponse::of(vec![scores]))
}
