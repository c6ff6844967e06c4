//! Settings of the transformer: flags, environment variables, and their help.

use std::{path::PathBuf, time::Duration};

use catalog::store::StoreUrl;
use clap::{Parser, ValueEnum};
use dataplane::{
    client::Protocol,
    config::{ServerArgs, timeout},
};
use validator::Validate;

/// Recommends articles to customers over KServe's V1 and V2 protocols, ranked by a predictor
#[derive(Parser, Clone, Debug, Validate)]
#[command(name = "transformer", version, max_term_width = 100)]
pub(crate) struct Args {
    /// The bundle to serve from
    #[arg(long, env = "HEMLINE_MODEL_DIR", default_value = "/mnt/models")]
    pub(crate) model_dir: PathBuf,

    /// Customers and what they bought: sqlite://PATH, as `hemline load` fills it
    #[arg(long, env = "HEMLINE_STORE")]
    pub(crate) store: StoreUrl,

    /// The predictor that ranks: host, host:port or http://host:port
    #[arg(long, env = "PREDICTOR_HOST")]
    pub(crate) predictor_host: String,

    /// How the predictor is spoken to
    #[arg(long, alias = "protocol", env = "PREDICTOR_PROTOCOL", value_enum, default_value_t = PredictorProtocol::V2)]
    pub(crate) predictor_protocol: PredictorProtocol,

    /// Model to ask for at the predictor; this server's own model name where it is not given, as KServe does
    #[arg(long, env = "HEMLINE_PREDICTOR_MODEL")]
    pub(crate) predictor_model: Option<String>,

    /// What the predictor's ranking is called in requests and answers
    #[arg(long, env = "RANKING_MODEL_TYPE", default_value = "ranking")]
    #[validate(length(min = 1, max = 63, message = "expected 1 to 63 characters"))]
    pub(crate) ranking_model_type: String,

    /// Longest that the predictor may take, within the request's own timeout; then 504
    #[arg(long, env = "PREDICTOR_REQUEST_TIMEOUT_SECONDS", default_value = "8s", value_parser = timeout)]
    pub(crate) predictor_request_timeout_seconds: Duration,

    /// The predictor's output that is the score; the bundle's name for it where it is not given
    #[arg(long, env = "HEMLINE_SCORE_OUTPUT")]
    pub(crate) score_output: Option<String>,

    /// Column of the score where that output has one for each class; the last where it is not given
    #[arg(long, env = "HEMLINE_SCORE_COLUMN")]
    pub(crate) score_column: Option<usize>,

    /// How many articles are retrieved for ranking, and the most that a request can ask for
    #[arg(long, env = "HEMLINE_CANDIDATES", default_value_t = 100)]
    #[validate(range(min = 1, max = 1000, message = "expected 1 to 1000"))]
    pub(crate) candidates: usize,

    /// What to do with customers that neither store nor training knows
    #[arg(long, env = "HEMLINE_UNKNOWN_CUSTOMER", value_enum, default_value_t = UnknownCustomer::Serve)]
    pub(crate) unknown_customer: UnknownCustomer,

    /// ONNX Runtime's shared library
    #[arg(long, env = "ORT_DYLIB_PATH", default_value = "libonnxruntime.so")]
    pub(crate) onnxruntime: PathBuf,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// How the predictor is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PredictorProtocol {
    /// V1 REST: rows in the order of the bundle's ranking features
    V1,
    /// V2 REST: tensors by the names in the predictor's metadata
    V2,
}

impl From<PredictorProtocol> for Protocol {
    fn from(protocol: PredictorProtocol) -> Self {
        match protocol {
            PredictorProtocol::V1 => Self::V1,
            PredictorProtocol::V2 => Self::V2,
        }
    }
}

/// What to do with customers that neither store nor training knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnknownCustomer {
    /// Answer from what the request says, marked `cold_start`
    Serve,
    /// Answer 404
    Reject,
}

impl Args {
    /// Checks what types alone can't.
    ///
    /// # Errors
    /// One line that names the flag.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.validate().map_err(|errors| {
            let errors = errors.field_errors();
            let first = errors.iter().next().and_then(|(field, errors)| Some((field, errors.first()?)));
            first.map_or_else(
                || "wrong settings".to_owned(),
                |(field, error)| {
                    format!("--{}: {}", field.replace('_', "-"), error.message.as_deref().unwrap_or("wrong"))
                },
            )
        })
    }
}
