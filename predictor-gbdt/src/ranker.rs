//! A graph that ranks: it scores rows, and echoes their ids, so that nobody has to rely on position.

use dataplane::{
    Error, InferRequest, InferResponse, ModelMetadata, Result, SyncModel, Tensor, TensorMetadata, onnx::Graph,
    v1::RowsCodec, worker::batch::in_pieces,
};

/// The input that names each row's article.
pub(crate) const ARTICLE_ID: &str = "article_id";
/// The output that says them again.
pub(crate) const ARTICLE_IDS: &str = "article_ids";

/// A graph with its ids echoed.
pub(crate) struct Ranker {
    /// What answers from the features as they are.
    pub(crate) graph: Graph,
    /// What answers where the caller has encoded them.
    pub(crate) encoded: Option<Encoded>,
    /// Its rows don't depend on each other, as those of a bundle's ranker don't.
    pub(crate) by_row: bool,
}

/// Rows of one run of a graph: with more of them what lies between its steps leaves the cache, and a row takes twice to three times as long;
/// and each row of the largest run takes 8 kB for good.
const MOST_ROWS: usize = 1_000;

/// A graph of one input, all features as numbers.
pub(crate) struct Encoded {
    /// What the input is called in requests.
    pub(crate) input: String,
    pub(crate) graph: Graph,
}

impl Ranker {
    fn scores(&mut self, request: InferRequest) -> Result<InferResponse> {
        let most = if self.by_row { MOST_ROWS } else { usize::MAX };
        in_pieces(request, most, |piece| self.run(piece))
    }

    fn run(&mut self, request: InferRequest) -> Result<InferResponse> {
        let encoded = self.encoded.as_mut();
        match encoded.and_then(|Encoded { input, graph }| Some((graph, request.input(input)?))) {
            Some((graph, features)) => graph.run(|_| Ok(features)).map(InferResponse::of),
            None => self.graph.infer(request),
        }
    }
}

impl SyncModel for Ranker {
    fn warm_up(&mut self, metadata: &ModelMetadata) -> Result<()> {
        self.graph.warm_up(metadata)?;
        self.encoded.as_mut().map_or(Ok(()), |encoded| encoded.graph.warm_up(metadata))
    }

    fn infer(&mut self, mut request: InferRequest) -> Result<InferResponse> {
        let takes_ids = self.graph.inputs().any(|input| input.name == ARTICLE_ID);
        let answers_ids = self.graph.outputs().iter().any(|output| output.name == ARTICLE_IDS);
        let ids = request.inputs.iter().position(|input| input.name() == ARTICLE_ID && !answers_ids);
        let ids = ids.map(|position| match takes_ids {
            true => request.inputs[position].clone(),
            false => request.inputs.swap_remove(position),
        });
        let mut response = self.scores(request)?;
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

/// V1 instances of this model: rows in the order of its inputs, one a feature.
pub(crate) fn v1_codec(metadata: &ModelMetadata, score_output: String) -> RowsCodec {
    let is_column = |input: &&TensorMetadata| input.name != ARTICLE_ID && !input.alternative;
    let columns = metadata.inputs.iter().filter(is_column).cloned().collect();
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
