//! Readiness and metadata.

use dataplane::grpc::proto::{
    ModelMetadataRequest, ModelReadyRequest, ServerLiveRequest, ServerMetadataRequest, ServerReadyRequest,
    grpc_inference_service_client::GrpcInferenceServiceClient,
};
use tonic::Code;

use super::{echo, refused, toys};
use crate::golden;

#[tokio::test]
async fn metadata_is_as_agreed() {
    let (_, channel) = toys().await;
    let mut client = GrpcInferenceServiceClient::new(channel);
    let server = client.server_metadata(ServerMetadataRequest {}).await.unwrap().into_inner();
    let asked = ModelMetadataRequest { name: "sum".to_owned(), version: "3".to_owned() };
    let model = client.model_metadata(asked).await.unwrap().into_inner();
    golden::check("grpc/metadata.txt", &format!("{server:#?}\n{model:#?}\n"));
    let (_, channel) = echo().await;
    let asked = ModelMetadataRequest { name: "echo".to_owned(), ..ModelMetadataRequest::default() };
    let echo = GrpcInferenceServiceClient::new(channel).model_metadata(asked).await.unwrap().into_inner();
    assert_eq!(echo.properties["digest"], "sha256:e");
    let asked = ModelMetadataRequest { name: "nope".to_owned(), ..ModelMetadataRequest::default() };
    refused(
        client.model_metadata(asked).await,
        Code::NotFound,
        "unknown_model",
        "Model with name nope does not exist.",
    );
}

#[tokio::test]
async fn ready_is_an_answer_and_not_an_error() {
    let (handler, channel) = echo().await;
    let mut client = GrpcInferenceServiceClient::new(channel);
    let latch = handler.readiness.latch("predictor");
    for ready in [false, true] {
        if ready {
            latch.open();
        }
        assert!(client.server_live(ServerLiveRequest {}).await.unwrap().into_inner().live);
        assert_eq!(client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready, ready);
    }
}

#[tokio::test]
async fn a_model_is_ready_or_not_or_unknown() {
    let (_, channel) = toys().await;
    let mut client = GrpcInferenceServiceClient::new(channel);
    let asked = |name: &str, version: &str| ModelReadyRequest { name: name.to_owned(), version: version.to_owned() };
    for (name, version, ready) in [("sum", "", true), ("sum", "3", true), ("unready", "", false)] {
        assert_eq!(client.model_ready(asked(name, version)).await.unwrap().into_inner().ready, ready, "{name}");
    }
    let text = "Model with name nope does not exist.";
    refused(client.model_ready(asked("nope", "")).await, Code::NotFound, "unknown_model", text);
    let text = "Model with name sum has no version 9; it has 3.";
    refused(client.model_ready(asked("sum", "9")).await, Code::NotFound, "unknown_version", text);
}
