//! gRPC: raw tensors in, the same out.

use tonic::{Request, Response, Status};

use crate::binary::check;

#[allow(missing_docs)] // generated
mod proto {
    tonic::include_proto!("inference");
}

use proto::{
    ModelInferRequest, ModelInferResponse,
    grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer},
};

pub struct Identity;

pub fn service() -> GrpcInferenceServiceServer<Identity> {
    GrpcInferenceServiceServer::new(Identity)
}

#[tonic::async_trait]
impl GrpcInferenceService for Identity {
    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Result<Response<ModelInferResponse>, Status> {
        let request = request.into_inner();
        if request.inputs.len() != request.raw_input_contents.len() {
            return Err(Status::invalid_argument("not as many contents as inputs"));
        }
        for (tensor, elements) in request.inputs.iter().zip(&request.raw_input_contents) {
            let count = tensor.shape.iter().product::<i64>();
            let count = usize::try_from(count).map_err(|_| Status::invalid_argument("a negative shape"))?;
            check(&tensor.name, &tensor.datatype, count, elements)
                .map_err(|(_, reason)| Status::invalid_argument(reason))?;
        }
        Ok(Response::new(ModelInferResponse {
            model_name: request.model_name,
            model_version: String::new(),
            id: request.id,
            outputs: request.inputs,
            raw_output_contents: request.raw_input_contents,
        }))
    }
}
