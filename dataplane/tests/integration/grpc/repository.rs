//! The repository's calls, in KServe's shape and in Triton's.

use std::sync::Arc;

use dataplane::{
    Model,
    grpc::proto::{
        RepositoryIndexRequest, RepositoryModelLoadRequest, RepositoryModelLoadResponse, RepositoryModelUnloadRequest,
        grpc_inference_service_client::GrpcInferenceServiceClient,
    },
    repository::{Loader, Repository},
};
use prost::Message;
use tonic::{Code, transport::Channel};

use super::{Echo, exchange, framed, listen, post, refused, toys};
use crate::serving::server;

const LOAD: &str = "/inference.GRPCInferenceService/RepositoryModelLoad";
const UNLOAD: &str = "/inference.GRPCInferenceService/RepositoryModelUnload";

struct Echoes;

impl Loader for Echoes {
    fn load(&self) -> dataplane::Result<Arc<dyn Model>> {
        Ok(Arc::new(Echo::new()))
    }
}

/// A server whose one model is not loaded yet.
async fn unloaded(control: bool) -> Channel {
    let mut handler = server().handler;
    handler.repository = Repository::default().with_loader("echo", Arc::new(Echoes));
    handler.control = control;
    listen(handler).await
}

/// Each model as `name version state reason`.
async fn index(channel: &Channel, ready: bool) -> Vec<String> {
    let asked = RepositoryIndexRequest { ready, ..RepositoryIndexRequest::default() };
    let mut client = GrpcInferenceServiceClient::new(channel.clone());
    let models = client.repository_index(asked).await.unwrap().into_inner().models;
    models.into_iter().map(|item| format!("{} {} {} {}", item.name, item.version, item.state, item.reason)).collect()
}

/// Sends a message of these bytes and returns those of the answer.
async fn send(channel: &Channel, path: &str, message: &[u8]) -> Vec<u8> {
    let (_, body, trailers) = exchange(channel, post(path).body(framed(message)).unwrap()).await;
    assert_eq!(trailers["grpc-status"], "0");
    body[5..].to_vec()
}

#[tokio::test]
async fn load_and_unload_are_read_in_both_shapes_and_answered_for_both() {
    let kserve = b"\x0a\x04echo".as_slice();
    // No repository's name, then one; with and without parameters.
    let triton = b"\x12\x04echo".as_slice();
    let with_repository = b"\x0a\x04repo\x12\x04echo".as_slice();
    // `{"unload_dependents": true}`
    let with_parameters = b"\x12\x04echo\x1a\x17\x0a\x11unload_dependents\x12\x02\x08\x01".as_slice();
    let answer = b"\x0a\x04echo\x10\x01";
    for (load, unload) in [(kserve, kserve), (triton, with_parameters), (with_repository, with_repository)] {
        let channel = unloaded(true).await;
        assert_eq!(index(&channel, false).await, ["echo  LOADING "]);
        assert_eq!(send(&channel, LOAD, load).await, answer);
        assert_eq!(index(&channel, false).await, ["echo 1 READY "]);
        assert_eq!(send(&channel, UNLOAD, unload).await, answer);
        assert_eq!(index(&channel, false).await, ["echo  UNAVAILABLE unloaded"]);
    }
    // Triton's clients read an answer without fields.
    let response = RepositoryModelLoadResponse::decode(answer.as_slice()).unwrap();
    assert_eq!((response.model_name.as_str(), response.is_loaded), ("echo", true));
    <()>::decode(answer.as_slice()).unwrap();
}

#[tokio::test]
async fn the_index_can_be_of_ready_models_only() {
    let (_, channel) = toys().await;
    assert!(index(&channel, false).await.contains(&"unready 3 LOADING ".to_owned()));
    let ready = index(&channel, true).await;
    assert!(
        ready.contains(&"sum 3 READY ".to_owned()) && ready.iter().all(|item| item.contains(" READY ")),
        "{ready:?}"
    );
}

#[tokio::test]
async fn control_calls_are_refused_where_they_are_off() {
    let mut client = GrpcInferenceServiceClient::new(unloaded(false).await);
    let text = "control calls are off here; --enable-control turns them on";
    let load = client.repository_model_load(RepositoryModelLoadRequest::default()).await;
    refused(load, Code::PermissionDenied, "control_disabled", text);
    let unload = client.repository_model_unload(RepositoryModelUnloadRequest::default()).await;
    refused(unload, Code::PermissionDenied, "control_disabled", text);
}

#[tokio::test]
async fn what_can_not_be_loaded_is_said() {
    let mut client = GrpcInferenceServiceClient::new(toys().await.1);
    let named = |name: &str| RepositoryModelLoadRequest { model_name: name.to_owned(), ..<_>::default() };
    let text = "Model with name nope does not exist.";
    refused(client.repository_model_load(named("nope")).await, Code::NotFound, "unknown_model", text);
    let text = "Model with name sum was there from the start and can't be loaded anew.";
    refused(client.repository_model_load(named("sum")).await, Code::FailedPrecondition, "load_failed", text);
    let mut asked = named("sum");
    asked.parameters.insert("config".to_owned(), <_>::default());
    let text = "field `parameters.config`: not supported here: a model is loaded as it lies in its repository";
    refused(client.repository_model_load(asked).await, Code::InvalidArgument, "invalid_argument", text);
}
