//! Several versions of one name, asked by the ways that name one.

use std::sync::Arc;

use dataplane::{
    Context, Datatype, InferRequest, InferResponse, Model, ModelMetadata, Result, Tensor, TensorMetadata,
    limits::Limits, repository::Repository,
};
use tonic::transport::Channel;

use crate::{
    grpc::{
        self,
        wire::{self, floats, typed},
    },
    serving::{Server, serving},
};

const BODY: &str = r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [0]}]}"#;

/// Answers to these versions with a number of its own, and leaves it to the server to say which version that was.
struct Constant {
    metadata: ModelMetadata,
    number: f32,
}

fn constant(versions: &[&str], number: f32) -> Arc<Constant> {
    let metadata = ModelMetadata {
        name: "m".to_owned(),
        versions: versions.iter().map(|&version| version.to_owned()).collect(),
        inputs: vec![TensorMetadata::new("x", Datatype::Fp32, &[-1])],
        outputs: vec![TensorMetadata::new("y", Datatype::Fp32, &[-1])],
        ..ModelMetadata::default()
    };
    Arc::new(Constant { metadata, number })
}

#[async_trait::async_trait]
impl Model for Constant {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    async fn infer(&self, _request: InferRequest, _context: &Context) -> Result<InferResponse> {
        Ok(InferResponse::of(vec![Tensor::vector("y", vec![self.number])]))
    }
}

/// Who says that it answered, and with which number, over REST and over gRPC; they must agree.
async fn asked(server: &Server, channel: &Channel, version: &str) -> (String, f32) {
    let place = if version.is_empty() { String::new() } else { format!("/versions/{version}") };
    let rest = server.post(&format!("/v2/models/m{place}/infer"), BODY).await.json();
    let text = rest["model_version"].as_str().unwrap().to_owned();
    let message = wire::InferRequest {
        model_name: "m".to_owned(),
        model_version: version.to_owned(),
        ..typed(vec![floats(&[0.0])])
    };
    let answer = grpc::infer(channel, message).await.unwrap();
    let number = answer.outputs[0].contents.as_ref().unwrap().floats[0];
    assert_eq!((&answer.model_version, f64::from(number)), (&text, rest["outputs"][0]["data"][0].as_f64().unwrap()));
    (text, number)
}

async fn served(repository: Repository) -> (Server, Channel) {
    let server = serving(repository, Limits::default());
    let channel = grpc::listen(server.handler.clone()).await;
    (server, channel)
}

#[tokio::test]
async fn each_version_answers_for_itself_and_the_newest_where_none_is_asked_for() {
    let (server, channel) = served(Repository::default().with(constant(&["1"], 1.5)).with(constant(&["2"], 2.5))).await;
    for (version, answer) in [("1", ("1", 1.5)), ("2", ("2", 2.5)), ("", ("2", 2.5))] {
        assert_eq!(asked(&server, &channel, version).await, (answer.0.to_owned(), answer.1), "{version}");
    }
}

#[tokio::test]
async fn a_model_that_answers_to_several_versions_is_called_by_the_one_that_was_asked_for() {
    let (server, channel) = served(Repository::default().with(constant(&["1", "2"], 1.5))).await;
    for (version, named) in [("1", "1"), ("2", "2"), ("", "2")] {
        assert_eq!(asked(&server, &channel, version).await, (named.to_owned(), 1.5), "{version}");
    }
}
