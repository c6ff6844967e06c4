//! Settings of the predictor: flags, environment variables, and their help.

use std::path::PathBuf;

use clap::Parser;
use dataplane::config::{BatchArgs, ServerArgs};

/// Scores rows of named features with an ONNX model, over KServe's V1 and V2 protocols
#[derive(Parser, Clone, Debug)]
#[command(name = "predictor-gbdt", version, max_term_width = 100)]
pub(crate) struct Args {
    /// A bundle, or a folder with a model.onnx, or an ONNX file
    #[arg(long, env = "HEMLINE_MODEL_DIR", default_value = "/mnt/models")]
    pub(crate) model_dir: PathBuf,

    /// ONNX Runtime's shared library
    #[arg(long, env = "ORT_DYLIB_PATH", default_value = "libonnxruntime.so")]
    pub(crate) onnxruntime: PathBuf,

    #[command(flatten)]
    pub(crate) server: ServerArgs,

    #[command(flatten)]
    pub(crate) batch: BatchArgs,
}
