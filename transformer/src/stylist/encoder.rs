//! The sentence encoder: from words to a vector in the space of the articles' texts.

use std::sync::Arc;

use catalog::bundle::{Bundle, SENTENCE_ENCODER, StylistInfo, TOKENIZER};
use dataplane::{
    Error, Result, Tensor,
    onnx::{Graph, Runtime},
};
use tokenizers::{Tokenizer, TruncationParams};

const INPUTS: [&str; 2] = ["input_ids", "attention_mask"];
const OUTPUT: &str = "sentence_embedding";
/// How far from 1 the length of a vector may be.
const TOLERANCE: f32 = 1e-2;

/// The encoder, for one thread.
pub(super) struct Encoder {
    tokenizer: Arc<Tokenizer>,
    graph: Graph,
    size: usize,
}

impl Encoder {
    /// Reads the bundle's encoder once for each of `threads`, and has it say something.
    ///
    /// # Errors
    /// A file is not the manifest's, or the graph takes or gives something else; one line that names it.
    pub(super) fn load(
        runtime: &Runtime,
        bundle: &Bundle,
        info: &StylistInfo,
        threads: usize,
    ) -> Result<Vec<Self>, String> {
        let tokenizer = Arc::new(tokenizer(bundle, info.max_tokens)?);
        let failed = |reason: String| bundle.invalid(SENTENCE_ENCODER, reason).to_string();
        let model = bundle.read(SENTENCE_ENCODER).map_err(|error| error.to_string())?;
        let graphs = Graph::copies(runtime, &model, threads).map_err(failed)?;
        let size = info.embedding_size;
        let of = |graph| Self { tokenizer: tokenizer.clone(), graph, size };
        let mut encoders: Vec<_> = graphs.into_iter().map(of).collect();
        for encoder in &mut encoders {
            let mut found: Vec<_> = encoder.graph.inputs().map(|input| input.name.as_str()).collect();
            found.sort_unstable_by(|a, b| b.cmp(a));
            if found != INPUTS {
                return Err(failed(format!("takes {found:?}, expected {INPUTS:?}")));
            }
            let vector = encoder.encode("a blue summer dress").map_err(|error| failed(error.reason().to_owned()))?;
            let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
            if !(1.0 - TOLERANCE..1.0 + TOLERANCE).contains(&length) {
                return Err(failed(format!("gives a vector of length {length}, expected 1")));
            }
        }
        Ok(encoders)
    }

    /// The vector of a text, of length 1. Texts are encoded one by one: a quantised graph's numbers depend on what is encoded together.
    ///
    /// # Errors
    /// The encoder fails, which is never the text's fault.
    pub(super) fn encode(&mut self, text: &str) -> Result<Vec<f32>> {
        let encoding = self.tokenizer.encode_fast(text, true).map_err(Error::internal)?;
        let whole = |values: &[u32]| values.iter().map(|&value| i64::from(value)).collect::<Vec<_>>();
        let length = encoding.get_ids().len();
        let tensors = [
            Tensor::new(INPUTS[0], vec![1, length], whole(encoding.get_ids()))?,
            Tensor::new(INPUTS[1], vec![1, length], whole(encoding.get_attention_mask()))?,
        ];
        let find = |name: &str| tensors.iter().find(|tensor| tensor.name() == name);
        let outputs =
            self.graph.run(|name| find(name).ok_or_else(|| Error::internal(format!("no tensor `{name}`"))))?;
        let output = outputs.iter().find(|output| output.name() == OUTPUT).and_then(Tensor::as_f32);
        match output {
            Some(vector) if vector.len() == self.size => Ok(vector.to_vec()),
            _ => Err(Error::internal(format!("the encoder gave no `{OUTPUT}` of {} numbers", self.size))),
        }
    }
}

/// The bundle's tokenizer, which cuts a text off at `most` tokens and does not pad it.
fn tokenizer(bundle: &Bundle, most: usize) -> Result<Tokenizer, String> {
    let failed = |reason: tokenizers::Error| bundle.invalid(TOKENIZER, reason).to_string();
    let json = bundle.read(TOKENIZER).map_err(|error| error.to_string())?;
    let mut tokenizer = Tokenizer::from_bytes(json).map_err(failed)?;
    let truncation = TruncationParams { max_length: most, ..TruncationParams::default() };
    tokenizer.with_truncation(Some(truncation)).map_err(failed)?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}
