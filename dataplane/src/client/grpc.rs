//! gRPC towards a predictor: V2 over HTTP/2, tensors as raw contents.

use std::{error::Error as StdError, fmt, pin::Pin, task, time::Duration};

use axum::http::{Extensions, Request as HttpRequest, Response as HttpResponse, Uri};
use bytes::Bytes;
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use tonic::{Code, Request, Response, Status, body::Body, codegen::Service, metadata::MetadataMap};

use super::{
    Call, MOST_BODY, Settings,
    address::Address,
    dial::Dialer,
    failure::{Failure, causes, retry_after},
    forward,
    metadata::{self, Said},
    shared::Shared,
    tls::Tls,
    wanted,
};
use crate::{
    context::Context,
    error::Error,
    grpc::{
        decode, encode,
        proto::{
            ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelReadyRequest,
            grpc_inference_service_client::GrpcInferenceServiceClient,
            infer_parameter::ParameterChoice,
            model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
            model_infer_response::InferOutputTensor,
            model_metadata_response::TensorMetadata as TensorMessage,
        },
    },
    infer::{InferRequest, InferResponse},
    model::{ModelMetadata, TensorMetadata},
    tensor::{Data, Datatype, Tensor, element_count},
};

type Client = GrpcInferenceServiceClient<Connection>;

/// A gRPC predictor's address and connections.
pub(super) struct Grpc {
    model: String,
    origin: Uri,
    outputs: Vec<String>,
    connections: Shared<Body>,
}

impl Grpc {
    /// No connections yet.
    ///
    /// # Errors
    /// The address has a path, which gRPC has no place for, or can't stand in a certificate.
    pub(super) fn new(address: &Address, model: &str, settings: &Settings, tls: Option<&Tls>) -> Result<Self, String> {
        if !address.path.is_empty() {
            return Err(format!("gRPC takes no path, and the address has `{}`", address.path));
        }
        let scheme = if tls.is_some() { "https" } else { "http" };
        let origin = format!("{scheme}://{}", address.authority).parse().map_err(|error| format!("{error}"))?;
        let connections = Shared::new(Dialer::new(address, tls, b"h2")?, settings.connection_age);
        Ok(Self { model: model.to_owned(), origin, outputs: settings.outputs.clone(), connections })
    }

    /// What its model says of itself.
    pub(super) async fn metadata(&self, context: &Context) -> Call<ModelMetadata> {
        let message = ModelMetadataRequest { name: self.model.clone(), version: String::new() };
        let ask = async |mut client: Client, request| client.model_metadata(request).await;
        let answer = self.call(message, context, ask).await?;
        Ok(ModelMetadata {
            name: answer.name,
            versions: answer.versions,
            platform: answer.platform,
            inputs: tensors(answer.inputs).map_err(Failure::invalid)?,
            outputs: tensors(answer.outputs).unwrap_or_default(),
            properties: answer.properties,
        })
    }

    /// Whether its model says that it can answer now.
    pub(super) async fn ready(&self, context: &Context) -> Call<()> {
        let message = ModelReadyRequest { name: self.model.clone(), version: String::new() };
        let ask = async |mut client: Client, request| client.model_ready(request).await;
        match self.call(message, context, ask).await?.ready {
            true => Ok(()),
            false => Err(Failure::unavailable("it says that it is not ready", None)),
        }
    }

    /// Asks for scores.
    pub(super) async fn infer(&self, request: &InferRequest, context: &Context) -> Call<InferResponse> {
        let message = write(&self.model, request).map_err(Failure::ours)?;
        let ask = async |mut client: Client, request| client.model_infer(request).await;
        read(self.call(message, context, ask).await?, &wanted(request, &self.outputs)).map_err(Failure::invalid)
    }

    async fn call<T, R>(
        &self,
        message: T,
        context: &Context,
        ask: impl AsyncFnOnce(Client, Request<T>) -> Result<Response<R>, Status>,
    ) -> Call<R> {
        let exchange = async {
            let (line, reused) = self.connections.connection().await?;
            let _waiting = self.connections.waiting(&line);
            let metadata = MetadataMap::from_headers(forward::ids(context));
            let mut request = Request::from_parts(metadata, Extensions::new(), message);
            request.set_timeout(context.remaining());
            let client = Client::with_origin(Connection(line.sender.clone()), self.origin.clone());
            let answer = ask(client.max_decoding_message_size(MOST_BODY), request).await;
            answer.map(Response::into_inner).map_err(|status| failure(&status, reused))
        };
        tokio::time::timeout_at(context.deadline().into(), exchange).await.map_err(|_| Failure::late())?
    }
}

/// A connection, as tonic takes it.
#[derive(Clone)]
struct Connection(SendRequest<Body>);

/// No answer began. It names no source: tonic would take that for a status of the server's.
#[derive(Debug)]
struct Lost(hyper::Error);

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Lost {}

impl Lost {
    fn failure(&self, reused: bool) -> Failure {
        let cause = self.0.source().and_then(|source| source.downcast_ref::<h2::Error>());
        match cause.filter(|cause| cause.is_reset()).and_then(h2::Error::reason) {
            None => Failure::closed(&self.0, reused),
            // HTTP/2's own promise that nothing of it was done.
            Some(h2::Reason::REFUSED_STREAM) => Failure::unavailable(causes(&self.0), None),
            // Its connection lives, and the server gave up this one call, on which it may have worked.
            Some(_) => Failure::failed(causes(&self.0), true),
        }
    }
}

impl Service<HttpRequest<Body>> for Connection {
    type Response = HttpResponse<Incoming>;
    type Error = Lost;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Lost>> + Send>>;

    /// Always: tonic makes a text of what is said here, and a closed connection is said where the request is sent.
    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Lost>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        let answer = self.0.send_request(request);
        Box::pin(async { answer.await.map_err(Lost) })
    }
}

/// What a status means that is none of success.
fn failure(status: &Status, reused: bool) -> Failure {
    if let Some(lost) = status.source().and_then(|source| source.downcast_ref::<Lost>()) {
        return lost.failure(reused);
    }
    let detail = format!("{:?}: {}", status.code(), status.message());
    let pushback = pushback(status.metadata());
    let after = pushback.unwrap_or_default();
    let failure = match status.code() {
        // tonic's own word for an answer that is larger than what is read.
        Code::OutOfRange if status.message().contains("decoded message length too large") => Failure::invalid(detail),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => Failure::rejected(detail),
        Code::Unauthenticated => Failure::unauthenticated(detail),
        Code::PermissionDenied => Failure::forbidden(detail),
        Code::NotFound => Failure::not_found(detail),
        Code::ResourceExhausted => Failure::overloaded(detail, after),
        Code::Unavailable => Failure::unavailable(detail, after),
        Code::DeadlineExceeded | Code::Cancelled => Failure::timeout(detail),
        Code::Unknown | Code::Internal | Code::DataLoss => Failure::failed(detail, true),
        _ => Failure::failed(detail, false),
    };
    if pushback.is_ok() { failure } else { failure.for_good() }
}

/// When a server wants to be asked again, if it says so, or that it does not want to: a pushback that is no time.
fn pushback(metadata: &MetadataMap) -> Result<Option<Duration>, ()> {
    let text = |name| metadata.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-retry-pushback-ms") {
        Some(millis) => millis.parse().map(|millis| Some(Duration::from_millis(millis))).map_err(drop),
        None => Ok(text("retry-after").and_then(retry_after)),
    }
}

fn tensors(messages: Vec<TensorMessage>) -> Result<Vec<TensorMetadata>, String> {
    let read = messages.into_iter().map(|message| {
        let is_so = |name| {
            let value = message.parameters.get(name).and_then(|value| value.parameter_choice.as_ref());
            matches!(value, Some(ParameterChoice::BoolParam(true)))
        };
        let said = Said { optional: is_so("optional"), alternative: is_so("alternative") };
        // A shape that is missing can't be told from that of a single value, which no batch has.
        let shape = if message.shape.is_empty() { metadata::COLUMN.to_vec() } else { message.shape };
        metadata::tensor(&message.name, &message.datatype, Some(shape), said)
    });
    read.filter_map(Result::transpose).collect()
}

fn write(model: &str, request: &InferRequest) -> Result<ModelInferRequest, Error> {
    let mut raw = Vec::with_capacity(request.inputs.len());
    for input in &request.inputs {
        let mut bytes = Vec::with_capacity(input.data().raw_len());
        input.data().write_raw(&mut bytes).map_err(Error::internal)?;
        raw.push(Bytes::from(bytes));
    }
    let inputs = request.inputs.iter().map(|input| InferInputTensor {
        name: input.name().to_owned(),
        datatype: input.datatype().name().to_owned(),
        shape: input.shape().iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect(),
        parameters: encode::parameters(input.parameters().clone()),
        contents: None,
    });
    let outputs = request.outputs.iter().map(|output| InferRequestedOutputTensor {
        name: output.name.clone(),
        parameters: encode::parameters(output.parameters.clone()),
    });
    Ok(ModelInferRequest {
        model_name: model.to_owned(),
        model_version: request.model_version.clone().unwrap_or_default(),
        id: request.id.clone().unwrap_or_default(),
        parameters: encode::parameters(request.parameters.clone()),
        inputs: inputs.collect(),
        outputs: outputs.collect(),
        raw_input_contents: raw,
    })
}

/// Reads an answer, raw or typed; the text of a failure describes another server's fault and is for the log. Raw contents are those of
/// the outputs that have none of their own, in order. Of the outputs only those `wanted` are read, all where none is named.
fn read(message: ModelInferResponse, wanted: &[String]) -> Result<InferResponse, String> {
    let mut raw = message.raw_output_contents.into_iter();
    let outputs = message.outputs.into_iter().map(|output| {
        let contents = output.contents.as_ref().filter(|contents| !contents.is_empty());
        if wanted.is_empty() || wanted.contains(&output.name) {
            return read_output(output, &mut raw).map(Some);
        }
        if contents.is_none() {
            raw.next();
        }
        Ok(None)
    });
    let outputs = outputs.filter_map(Result::transpose).collect::<Result<_, _>>()?;
    if raw.next().is_some() {
        return Err("more raw contents than outputs".to_owned());
    }
    Ok(InferResponse {
        model_name: message.model_name,
        model_version: (!message.model_version.is_empty()).then_some(message.model_version),
        id: (!message.id.is_empty()).then_some(message.id),
        parameters: decode::parameters(message.parameters, || "parameters".to_owned()).unwrap_or_default(),
        outputs,
    })
}

fn read_output(output: InferOutputTensor, raw: &mut impl Iterator<Item = Bytes>) -> Result<Tensor, String> {
    let InferOutputTensor { name, datatype, shape, contents, .. } = output;
    let at = |text: String| format!("output `{name}`: {text}");
    let known = Datatype::from_name(&datatype).ok_or_else(|| at(format!("unknown datatype `{datatype}`")))?;
    let shape = decode::read_shape(shape).map_err(at)?;
    let data = match contents.filter(|contents| !contents.is_empty()) {
        Some(contents) => contents.into_data(known),
        None => match (element_count(&shape), raw.next()) {
            (Some(count), Some(raw)) => Data::from_raw(known, count, raw),
            (Some(0), None) => Ok(Data::zeros(known, 0)),
            _ => Err("no contents".to_owned()),
        },
    };
    Tensor::new(&name, shape, data.map_err(at)?).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use hyper::client::conn::http2;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tonic::Request;

    use super::{Client, Connection, ModelReadyRequest, Uri, failure};
    use crate::{client::failure::Reason, error::Kind};

    #[tokio::test]
    async fn a_connection_that_closed_just_before_the_call_was_lost_like_any_other() {
        let (near, _far) = tokio::io::duplex(1024);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.unwrap();
        drop(connection);
        let mut client = Client::with_origin(Connection(sender), Uri::from_static("http://r"));
        let status = client.model_ready(Request::new(ModelReadyRequest::default())).await.unwrap_err();
        let failure = failure(&status, true);
        assert_eq!((failure.kind(), failure.retry()), (Kind::UpstreamUnavailable, Some(Reason::Closed)), "{failure:?}");
    }
}
