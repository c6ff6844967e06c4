//! The smallest model server: V1, V2, gRPC, health, metrics, a queue and a thread a core, around one function.
//!
//! ```sh
//! cargo run -p dataplane --example smallest -- --model-name double
//! curl localhost:8080/v1/models/double:predict -d '{"instances": [[1, 2], [3, 4]]}'
//! ```

use std::process::ExitCode;

use dataplane::{
    Datatype, Error, InferRequest, InferResponse, ModelMetadata, Result, SyncModel, Tensor, TensorMetadata,
    handler::ServerInfo, serve,
};

#[derive(Clone)]
struct Double;

impl SyncModel for Double {
    fn infer(&mut self, request: InferRequest) -> Result<InferResponse> {
        let x = request.required("x")?;
        let doubled = x.as_f32().ok_or_else(|| Error::internal("checked before"))?.iter().map(|x| 2.0 * x);
        Ok(InferResponse::of(vec![Tensor::new("y", x.shape().to_vec(), doubled.collect::<Vec<_>>())?]))
    }
}

fn main() -> ExitCode {
    let metadata = ModelMetadata {
        inputs: vec![TensorMetadata::new("x", Datatype::Fp32, &[-1, 2])],
        outputs: vec![TensorMetadata::new("y", Datatype::Fp32, &[-1, 2])],
        ..ModelMetadata::default()
    };
    serve::model(ServerInfo { name: "smallest", version: "1" }, metadata, Double)
}
