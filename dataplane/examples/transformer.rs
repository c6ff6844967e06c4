//! A transformer in front of any predictor that speaks V2: it scales what goes in and labels what comes out.
//!
//! ```sh
//! cargo run -p dataplane --example smallest -- --model-name double --http-port 9000 --enable-grpc false
//! cargo run -p dataplane --example transformer -- --model-name double --predictor-host localhost:9000 --scale 0.5
//! curl localhost:8080/v1/models/double:predict -d '{"instances": [[1, 2], [3, 4]]}'
//! ```
//!
//! It takes and gives what the predictor's metadata lists, and is not ready before it has seen them. The request's deadline, ids and
//! trace go on to the predictor; its refusals and failures come back as what they are, without its address.

use std::{
    process::ExitCode,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use clap::Args;
use dataplane::{
    BytesData, Context, Data, Datatype, Error, InferRequest, InferResponse, Model, ModelMetadata, RequestedOutput,
    Result, Tensor, TensorMetadata,
    client::{Predictor, Protocol, Settings},
    handler::ServerInfo,
    readiness::{Dependency, Probe},
    repository::Repository,
    serve::{self, Start},
    v1::RowsCodec,
};

/// Scales the inputs of a predictor, and labels its answers
#[derive(Args)]
struct Predicting {
    /// Where the predictor is: host, host:port, a URL or unix:/path
    #[arg(long)]
    predictor_host: String,

    /// Whether the predictor is asked over gRPC instead of REST
    #[arg(long)]
    predictor_grpc: bool,

    /// What every FP32 input is multiplied by
    #[arg(long, default_value_t = 1.0)]
    scale: f32,
}

/// The label of a row whose first score is over 1/2, and that of any other.
const LABELS: [&str; 2] = ["yes", "no"];
const LABEL: &str = "label";

struct Transformer {
    predictor: Predictor,
    scale: f32,
    /// Nothing is known of inputs and outputs before the predictor has said them.
    unknown: ModelMetadata,
    known: OnceLock<ModelMetadata>,
    /// Whether the predictor answers.
    up: Dependency,
}

#[async_trait]
impl Model for Transformer {
    fn metadata(&self) -> &ModelMetadata {
        self.known.get().unwrap_or(&self.unknown)
    }

    fn is_ready(&self) -> bool {
        self.up.is_up()
    }

    async fn infer(&self, mut request: InferRequest, context: &Context) -> Result<InferResponse> {
        let inputs = request.inputs.into_iter().map(|input| scaled(input, self.scale));
        request.inputs = inputs.collect::<Result<_>>()?;
        // The label is made of what the predictor gives, so it is asked for all; the handler core picks what the caller wants.
        request.outputs = Vec::<RequestedOutput>::new();
        let mut response = self.predictor.infer(&request, context).await?;
        let scores = response.outputs.iter().find_map(|output| Some((output.as_f32()?, output.shape().first()?)));
        let (scores, &rows) = scores.ok_or_else(|| self.predictor.invalid("no output of FP32 rows to label"))?;
        let width = scores.len() / rows.max(1);
        let labels: BytesData = scores.chunks(width.max(1)).map(|row| LABELS[usize::from(row[0] <= 0.5)]).collect();
        response.outputs.push(Tensor::vector(LABEL, Data::Bytes(labels)));
        Ok(response)
    }
}

fn scaled(input: Tensor, scale: f32) -> Result<Tensor> {
    let (name, shape, data, parameters) = input.into_parts();
    let data = match data {
        Data::Fp32(values) => Data::Fp32(values.into_iter().map(|value| value * scale).collect()),
        other => other,
    };
    Ok(Tensor::new(name, shape, data)?.with_parameters(parameters))
}

impl Transformer {
    /// Looks at the predictor: whether it is there, and once what it takes.
    async fn look(&self, context: Context) -> Result<()> {
        self.predictor.ready(&context).await?;
        if self.known.get().is_none() {
            let mut metadata =
                ModelMetadata { name: self.unknown.name.clone(), ..self.predictor.metadata(&context).await? };
            metadata.platform = "hemline_transformer".to_owned();
            metadata.outputs.push(TensorMetadata::new(LABEL, Datatype::Bytes, &[-1]));
            self.known.set(metadata).map_err(|_| Error::internal("looked at twice"))?;
        }
        Ok(())
    }
}

fn publish(own: &Predicting, start: &Start<'_>) -> Result<Repository, String> {
    let name = start.server.model_name.clone();
    let protocol = if own.predictor_grpc { Protocol::GrpcV2 } else { Protocol::V2 };
    let settings = Settings { protocol, ..Settings::default() };
    // KServe's predictors have the name of the transformer in front of them.
    let predictor = Predictor::new(
        "predictor",
        &own.predictor_host,
        &name,
        &settings,
        RowsCodec::default(),
        start.metrics.clone(),
    )?;
    let transformer = Arc::new(Transformer {
        predictor,
        scale: own.scale,
        unknown: ModelMetadata { name, ..ModelMetadata::default() },
        known: OnceLock::new(),
        up: start.readiness.dependency("predictor", start.metrics).with_latch(start.readiness.latch("predictor")),
    });
    let watched = transformer.clone();
    tokio::spawn(async move { watched.up.watch(Probe::default(), |context| watched.look(context)).await });
    Ok(Repository::default().with(transformer))
}

fn main() -> ExitCode {
    serve::start(ServerInfo { name: "transformer", version: "1" }, publish)
}
