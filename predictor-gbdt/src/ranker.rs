//! A graph that ranks: it scores rows, and echoes their ids, so that nobody has to rely on position.

use dataplane::{
    Data, Error, InferRequest, InferResponse, ModelMetadata, Result, SyncModel, Tensor, TensorMetadata, onnx::Graph,
    tensor::element_count, v1::RowsCodec,
};

/// The input that names each row's article.
pub(crate) const ARTICLE_ID: &str = "article_id";
/// The output that says them again.
pub(crate) const ARTICLE_IDS: &str = "article_ids";

/// A graph with its ids echoed.
pub(crate) struct Ranker(Graph);

impl Ranker {
    /// Wraps a session, once it has answered: a model whose first request fails should not be ready.
    ///
    /// # Errors
    /// The graph fails on a row of zeros and empty strings.
    pub(crate) fn warmed(mut graph: Graph) -> Result<Self, String> {
        let inputs = graph.inputs().map(blank).collect::<Result<Vec<_>>>().map_err(|error| error.to_string())?;
        let request = InferRequest::of(inputs);
        graph.infer(request).map_err(|error| format!("it fails its self-test: {error}"))?;
        Ok(Self(graph))
    }
}

impl SyncModel for Ranker {
    fn infer(&mut self, mut request: InferRequest) -> Result<InferResponse> {
        let takes_ids = self.0.inputs().any(|input| input.name == ARTICLE_ID);
        let answers_ids = self.0.outputs().iter().any(|output| output.name == ARTICLE_IDS);
        let ids = request.inputs.iter().position(|input| input.name() == ARTICLE_ID && !answers_ids);
        let ids = ids.map(|position| match takes_ids {
            true => request.inputs[position].clone(),
            false => request.inputs.swap_remove(position),
        });
        let mut response = self.0.infer(request)?;
        if let Some(ids) = ids {
            let rows = response.outputs.first().and_then(|output| output.shape().first().copied());
            if rows != ids.shape().first().copied() {
                let wanted = rows.unwrap_or_default();
                return Err(Error::invalid(format!(
                    "input `{ARTICLE_ID}`: expected {wanted} ids, one a row, got {}",
                    ids.data().len()
                )));
            }
            response.outputs.push(Tensor::vector(ARTICLE_IDS, ids.into_data()));
        }
        Ok(response)
    }
}

/// A row of zeros or empty strings, for the self-test.
fn blank(input: &TensorMetadata) -> Result<Tensor> {
    let shape: Vec<usize> = input.shape.iter().map(|&dimension| usize::try_from(dimension).unwrap_or(1)).collect();
    let count = element_count(&shape).ok_or_else(|| Error::invalid("its input is too large"))?;
    Tensor::new(&input.name, shape, Data::zeros(input.datatype, count))
}

/// V1 instances of this model: rows in the order of its inputs.
pub(crate) fn v1_codec(metadata: &ModelMetadata, score_output: String) -> RowsCodec {
    let columns = metadata.inputs.iter().filter(|input| input.name != ARTICLE_ID).cloned().collect();
    RowsCodec {
        rows: "ranking_features".to_owned(),
        ids: ARTICLE_IDS.to_owned(),
        id_input: ARTICLE_ID.to_owned(),
        id_output: ARTICLE_IDS.to_owned(),
        scores: "scores".to_owned(),
        score_output,
        columns,
    }
}
