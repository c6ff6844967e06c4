//! V2 bodies, as servers and clients write and read them: JSON, and the tensors that follow it as binary data.
//!
//! `<JSON><tensor><tensor>…`: the header `Inference-Header-Content-Length` says where the JSON ends. A tensor of the JSON that has
//! `parameters.binary_data_size` in place of `data` takes so many bytes of what follows, in the order of the tensors.

mod quick;
mod read;
mod tensors;
mod write;

pub(crate) use read::{flag, read_raw_request, read_request, read_response};
pub(crate) use write::{write_request, write_response};

/// How many bytes of a body are its JSON, where binary data follows.
pub(crate) const HEADER_LENGTH: &str = "inference-header-content-length";

/// A tensor's parameter: how many bytes of binary data it has.
const BINARY_SIZE: &str = "binary_data_size";
/// A wanted output's parameter: whether it is wanted as binary data.
const BINARY: &str = "binary_data";
/// A request's parameter: whether outputs that don't say are wanted as binary data.
pub(crate) const BINARY_OUTPUT: &str = "binary_data_output";

/// Which outputs a request wants as binary data. It is the transport's business, so the model does not hear of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BinaryOutputs {
    /// What holds for outputs that don't say.
    all: bool,
    /// Outputs that say.
    named: Vec<(String, bool)>,
}

impl BinaryOutputs {
    /// Every output.
    pub(crate) fn all() -> Self {
        Self { all: true, named: Vec::new() }
    }

    fn wants(&self, output: &str) -> bool {
        self.named.iter().find(|(name, _)| name == output).map_or(self.all, |&(_, binary)| binary)
    }
}

#[cfg(test)]
mod tests;
