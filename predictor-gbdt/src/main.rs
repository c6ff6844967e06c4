//! predictor-gbdt: scores rows of named features with an ONNX model.
//!
//! Settings → telemetry → model (checked, a session a thread, self-tested) → serve → drain. [`load`] makes the model, at start and
//! whenever a new one lies there: an [`onnx`] graph as a [`ranker`] that can [`explain`] its scores by the [`contributions`] of features to
//! them, which are the [`shap`] values of its trees. A caller may send features in the ranker's own [`encoding`].

mod args;
mod contributions;
mod encoding;
mod explain;
mod load;
mod onnx;
mod ranker;
mod shap;

use std::{process::ExitCode, sync::Arc};

use dataplane::{Handler, config, handler::ServerInfo, metrics::Metrics, repository::Repository, serve, telemetry};

use crate::{args::Args, load::ModelFiles};

/// Many small buffers, most of them gone within a request, and often on another thread than their first.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Args = match config::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(code) => return code,
    };
    match telemetry::init(&args.server.log_level) {
        Ok(()) => serve::block_on(run(&args)),
        Err(reason) => config::refuse(reason),
    }
}

async fn run(args: &Args) -> ExitCode {
    match handler(args) {
        Ok(handler) => serve::run(handler, &args.server, std::future::ready(())).await,
        Err(reason) => config::refuse(reason),
    }
}

/// The model behind its handler, or one line on why there is none.
fn handler(args: &Args) -> Result<Handler, String> {
    let metrics = Metrics::new().map_err(|error| error.to_string())?;
    let files = ModelFiles::new(args, &metrics)?;
    let repository = Repository::default().with_loaded(&args.server.model_name, Arc::new(files));
    let repository = repository.map_err(|error| error.reason().to_owned())?;
    let server = ServerInfo { name: "hemline", version: env!("CARGO_PKG_VERSION") };
    Handler::new(server, repository, metrics, &args.server)
}
