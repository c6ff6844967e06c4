//! `inference.GRPCInferenceService`: each method decodes, asks the handler core, and encodes.

use std::{pin::Pin, sync::Arc};

use tonic::{Request, Response, Status, async_trait, server::UnaryService};

use super::{
    ACCEPT_ENCODING, PROTOCOL,
    codec::Asked,
    decode, encode,
    proto::{
        ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest,
        ModelReadyResponse, RepositoryIndexRequest, RepositoryIndexResponse, RepositoryModelLoadRequest,
        RepositoryModelLoadResponse, RepositoryModelUnloadRequest, RepositoryModelUnloadResponse, ServerLiveRequest,
        ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
        grpc_inference_service_server::GrpcInferenceService, repository_index_response::ModelIndex,
    },
    quick,
};
use crate::{
    context::Context,
    error::{Error, Kind, Result},
    handler::{Handler, ServerInfo},
    observe::Inference,
    repository::State,
    v2::{BINARY_OUTPUT, flag},
};

/// Answers smaller than this are not worth compressing.
const WORTH_COMPRESSING: usize = 1024;

/// The service over one handler.
#[derive(Debug)]
pub(super) struct Service(pub(super) Arc<Handler>);

type Answer<T> = std::result::Result<Response<T>, Status>;

#[async_trait]
impl GrpcInferenceService for Service {
    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Answer<ServerLiveResponse> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Answer<ServerReadyResponse> {
        Ok(Response::new(ServerReadyResponse { ready: self.0.check_ready().is_ok() }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Answer<ModelReadyResponse> {
        let ModelReadyRequest { name, version } = request.into_inner();
        let ready = match self.0.check_model_ready(&name, decode::version(&version)) {
            Ok(()) => true,
            Err(error) if error.kind() == Kind::NotReady => false,
            Err(error) => return Err(error.into()),
        };
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(&self, _: Request<ServerMetadataRequest>) -> Answer<ServerMetadataResponse> {
        let ServerInfo { name, version } = self.0.server;
        Ok(Response::new(ServerMetadataResponse {
            name: name.to_owned(),
            version: version.to_owned(),
            extensions: ServerInfo::EXTENSIONS.map(ToOwned::to_owned).to_vec(),
        }))
    }

    async fn model_metadata(&self, request: Request<ModelMetadataRequest>) -> Answer<ModelMetadataResponse> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        let metadata = self.0.repository.metadata(&name, decode::version(&version))?;
        Ok(Response::new(encode::metadata(metadata)))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answer<ModelInferResponse> {
        let answer = self.compressed(request.map(Asked::Message)).await?;
        Ok(answer.map(quick::Answer::into_message))
    }

    async fn repository_index(&self, request: Request<RepositoryIndexRequest>) -> Answer<RepositoryIndexResponse> {
        let RepositoryIndexRequest { ready, .. } = request.into_inner();
        let items = self.0.repository.index().into_iter().filter(|item| !ready || item.state == State::Ready);
        let models = items.map(|item| ModelIndex {
            name: item.name,
            version: item.version,
            state: item.state.name().to_owned(),
            reason: item.reason,
        });
        Ok(Response::new(RepositoryIndexResponse { models: models.collect() }))
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Answer<RepositoryModelLoadResponse> {
        self.0.check_control()?;
        let RepositoryModelLoadRequest { repository_name, model_name, parameters } = request.into_inner();
        let model_name = named(repository_name, model_name);
        self.0.load(&model_name, parameters.keys().map(String::as_str)).await?;
        Ok(Response::new(RepositoryModelLoadResponse { model_name, is_loaded: true }))
    }

    async fn repository_model_unload(
        &self,
        request: Request<RepositoryModelUnloadRequest>,
    ) -> Answer<RepositoryModelUnloadResponse> {
        self.0.check_control()?;
        let RepositoryModelUnloadRequest { repository_name, model_name, .. } = request.into_inner();
        let model_name = named(repository_name, model_name);
        self.0.repository.unload(&model_name).await?;
        Ok(Response::new(RepositoryModelUnloadResponse { model_name, is_unloaded: true }))
    }
}

/// Answers what was asked.
pub(super) async fn answer(handler: &Handler, asked: Asked, inference: &Inference) -> Result<quick::Answer> {
    inference.begins(PROTOCOL, handler, asked.model());
    infer(handler, asked, inference.context()).await
}

async fn infer(handler: &Handler, asked: Asked, context: &Context) -> Result<quick::Answer> {
    let model = handler.ready_model(asked.model(), asked.version())?;
    let (mut request, raw) = match asked {
        Asked::Raw(raw) => (raw.request, true),
        Asked::Message(message) => decode::request(message)?,
    };
    let wanted = request.parameters.remove(BINARY_OUTPUT);
    let wanted = wanted.map(|wanted| flag(&wanted, format_args!("parameters.{BINARY_OUTPUT}"))).transpose()?;
    let raw = raw || wanted == Some(true);
    let response = handler.infer(model.as_ref(), request, context).await?;
    encode::response(response, raw)
}

/// `ModelInfer` alone. The generated service boxes the call and the method's future once more, and knows the generated messages only.
pub(super) struct ModelInfer(pub(super) Arc<Handler>);

impl UnaryService<Asked> for ModelInfer {
    type Response = quick::Answer;
    type Future = Pin<Box<dyn Future<Output = Answer<quick::Answer>> + Send>>;

    fn call(&mut self, request: Request<Asked>) -> Self::Future {
        let service = Service(self.0.clone());
        Box::pin(async move { service.compressed(request).await })
    }
}

impl Service {
    async fn compressed(&self, request: Request<Asked>) -> Answer<quick::Answer> {
        let (metadata, extensions, asked) = request.into_parts();
        let inference = extensions.get::<Inference>().ok_or_else(|| Error::internal("a call that nobody observes"))?;
        let answer = answer(&self.0, asked, inference).await?;
        // It is accepted only where it may be worth it; see [`Calls::answer`](super::Calls::answer).
        let small = metadata.as_ref().contains_key(ACCEPT_ENCODING) && answer.encoded_len() < WORTH_COMPRESSING;
        let mut response = Response::new(answer);
        if small {
            response.disable_compression();
        }
        Ok(response)
    }
}

/// The model that a load or unload names: in field 2 as Triton's and MLServer's clients write it, else in field 1 as KServe's do.
fn named(first: String, second: String) -> String {
    if second.is_empty() { first } else { second }
}
