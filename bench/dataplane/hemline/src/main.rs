//! Two identity models on the dataplane crate: `identity` takes rows of 16 numbers, `mixed` what a ranker takes.

use std::{env, process::ExitCode, sync::Arc};

use async_trait::async_trait;
use clap::Parser;
use dataplane::{
    Context, Datatype, Error, Handler, InferRequest, InferResponse, Model, ModelMetadata, Result, Tensor,
    TensorMetadata,
    config::{self, ServerArgs},
    handler::ServerInfo,
    metrics::Metrics,
    repository::Repository,
    serve, telemetry,
    v1::{Predictions, RowsCodec, V1Codec},
};
use serde_json::value::RawValue;

/// Values in a row of `identity`.
const WIDTH: usize = 16;

/// Echoes its inputs
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

struct Identity<C> {
    metadata: ModelMetadata,
    v1: C,
}

#[async_trait]
impl<C: V1Codec> Model for Identity<C> {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    async fn infer(&self, request: InferRequest, _context: &Context) -> Result<InferResponse> {
        Ok(InferResponse::of(request.inputs))
    }

    fn v1(&self) -> &dyn V1Codec {
        &self.v1
    }
}

/// A V1 instance is a row; all of a request's rows are one tensor.
struct Matrix;

impl V1Codec for Matrix {
    fn decode(&self, instances: &[&RawValue], _: &ModelMetadata) -> Result<Vec<InferRequest>> {
        let mut data = Vec::with_capacity(instances.len() * WIDTH);
        for (number, instance) in instances.iter().enumerate() {
            let wrong = |_| Error::invalid(format!("instances[{number}]: expected {WIDTH} numbers"));
            let row: [f32; WIDTH] = serde_json::from_str(instance.get()).map_err(wrong)?;
            data.extend(row);
        }
        Ok(vec![InferRequest::of(vec![Tensor::new("input", vec![instances.len(), WIDTH], data)?])])
    }

    fn encode(&self, responses: &[InferResponse], predictions: &mut Predictions) -> Result<()> {
        let data = responses.first().and_then(|response| response.f32s("input"));
        let rows = data.ok_or_else(|| Error::internal("no `input`"))?.chunks(WIDTH);
        rows.into_iter().try_for_each(|row| predictions.push(&row))
    }
}

fn metadata(name: &str, inputs: Vec<TensorMetadata>) -> ModelMetadata {
    let outputs = inputs.clone();
    ModelMetadata { name: name.to_owned(), versions: vec!["1".to_owned()], inputs, outputs, ..ModelMetadata::default() }
}

fn mixed() -> Identity<RowsCodec> {
    let column = |datatype, number| TensorMetadata::new(format!("{number}"), datatype, &[-1, 1]);
    let numbers = (0..3).map(|number| column(Datatype::Fp32, number));
    let columns: Vec<_> = numbers.chain((3..14).map(|number| column(Datatype::Bytes, number))).collect();
    let named = |text: &str| text.to_owned();
    let v1 = RowsCodec {
        rows: named("rows"),
        ids: named("ids"),
        id_input: named("ids"),
        id_output: named("ids"),
        scores: named("scores"),
        score_output: named("0"),
        columns: columns.clone(),
    };
    let ids = TensorMetadata::optional("ids", Datatype::Bytes, &[-1, 1]);
    Identity { metadata: metadata("mixed", columns.into_iter().chain([ids]).collect()), v1 }
}

fn publish(args: &ServerArgs) -> Result<Handler, String> {
    let input = TensorMetadata::new("input", Datatype::Fp32, &[-1, WIDTH as i64]);
    let identity = Identity { metadata: metadata("identity", vec![input]), v1: Matrix };
    let repository = Repository::default().with(Arc::new(identity)).with(Arc::new(mixed()));
    let metrics = Metrics::new().map_err(|error| error.to_string())?;
    let server = ServerInfo { name: "hemline", version: env!("CARGO_PKG_VERSION") };
    Handler::new(server, repository, metrics, args)
}

#[tokio::main]
async fn main() -> ExitCode {
    let args: Args = match config::parse(env::args_os()) {
        Ok(args) => args,
        Err(code) => return code,
    };
    if let Err(reason) = telemetry::init(&args.server.log_level) {
        return config::refuse(reason);
    }
    match publish(&args.server) {
        Ok(handler) => serve::run(handler, &args.server, std::future::ready(())).await,
        Err(error) => config::refuse(error),
    }
}
