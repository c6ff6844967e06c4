//! REST towards a predictor: V1 rows or V2 tensors over HTTP/1.1.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Response, body::Incoming};
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    Call, MOST_BODY, Protocol, Settings, V1Form,
    address::Address,
    dial::Dialer,
    failure::{Failure, retry_after},
    forward, metadata,
    pool::{Exclusive, Renewed},
    tls::Tls,
    v1, wanted,
};
use crate::{
    context::Context,
    error::Kind,
    infer::{InferRequest, InferResponse},
    model::ModelMetadata,
    v1::RowsCodec,
    v2::{self, HEADER_LENGTH},
};

/// A REST predictor's addresses and connections.
pub(super) struct Rest {
    model: String,
    host: HeaderValue,
    paths: Paths,
    protocol: Rows,
    outputs: Vec<String>,
    pool: Exclusive,
    binary: Binary,
}

/// V1 with the form of its instances, or V2.
enum Rows {
    V1(RowsCodec, V1Form),
    V2,
}

struct Paths {
    server: String,
    metadata: String,
    ready: String,
    infer: String,
    explain: String,
}

/// How long a refusal of binary tensors is remembered.
const REFUSED: Duration = Duration::from_secs(10 * 60);

/// Whether tensors go as binary data: where the server lists it, and did not refuse it a short while ago all the same.
#[derive(Default)]
struct Binary(Mutex<Offer>);

#[derive(Default)]
struct Offer {
    /// What the server says of itself, and whether that lists binary tensors.
    server: Bytes,
    listed: bool,
    /// What it said when it refused, and when; the same words again are no reason to try again.
    refused: Option<(Bytes, Instant)>,
}

impl Binary {
    fn listed(&self, server: Bytes) {
        let mut offer = self.lock();
        offer.listed = metadata::offers_binary(&server);
        offer.server = server;
    }

    fn refused(&self) {
        let mut offer = self.lock();
        offer.refused = Some((offer.server.clone(), Instant::now()));
    }

    fn is_on(&self) -> bool {
        let offer = self.lock();
        let refused = offer.refused.as_ref().filter(|(_, at)| at.elapsed() < REFUSED);
        offer.listed && refused.is_none_or(|(server, _)| *server != offer.server)
    }

    fn lock(&self) -> MutexGuard<'_, Offer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body to be sent: its bytes, its content type, and how many of the bytes are JSON where others follow.
struct Sent {
    body: Vec<u8>,
    json: Option<usize>,
}

/// An answer with status 2xx.
struct Answer {
    body: Bytes,
    json: Option<usize>,
}

impl Rest {
    /// No connections yet. `renewed` is called whenever a request is sent again because its reused connection was closed.
    ///
    /// # Errors
    /// The host's name can't stand in a header or a certificate.
    pub(super) fn new(
        address: &Address,
        model: &str,
        settings: &Settings,
        tls: Option<&Tls>,
        rows: RowsCodec,
        renewed: Renewed,
    ) -> Result<Self, String> {
        let v1 = settings.protocol == Protocol::V1;
        let (infer, explain) = (format!("{model}:predict"), format!("{model}:explain"));
        let paths = Paths {
            server: address.path_to(&["v2"]),
            metadata: address.path_to(&["v2", "models", model]),
            ready: if v1 {
                address.path_to(&["v1", "models", model])
            } else {
                address.path_to(&["v2", "models", model, "ready"])
            },
            infer: if v1 {
                address.path_to(&["v1", "models", &infer])
            } else {
                address.path_to(&["v2", "models", model, "infer"])
            },
            explain: address.path_to(&["v1", "models", &explain]),
        };
        Ok(Self {
            model: model.to_owned(),
            host: HeaderValue::from_str(&address.authority).map_err(|error| error.to_string())?,
            paths,
            protocol: if v1 { Rows::V1(rows, settings.v1_form) } else { Rows::V2 },
            outputs: settings.outputs.clone(),
            pool: Exclusive::new(Dialer::new(address, tls, b"http/1.1")?, settings.connection_age, renewed),
            binary: Binary::default(),
        })
    }

    /// What its model says of itself.
    pub(super) async fn metadata(&self, context: &Context) -> Call<ModelMetadata> {
        match &self.protocol {
            Rows::V1(rows, V1Form::Table) => self.table_metadata(rows, context).await,
            Rows::V1(rows, V1Form::Rows) => Ok(self.columns(rows)),
            Rows::V2 => {
                let metadata = self.listed(context).await?;
                // A server without metadata of its own speaks JSON.
                let server = self.call(Method::GET, &self.paths.server, None, context).await;
                self.binary.listed(server.map(|answer| answer.body).unwrap_or_default());
                Ok(metadata)
            }
        }
    }

    /// V1 says nothing of a model: then it is the columns that rows have. A server that speaks V2 as well, and there lists the input for
    /// the ids that tables have, means the columns of its tables by the others.
    async fn table_metadata(&self, rows: &RowsCodec, context: &Context) -> Call<ModelMetadata> {
        let of_tables = |model: &ModelMetadata| model.inputs.iter().any(|input| input.name == rows.id_input);
        match self.listed(context).await {
            Ok(model) if of_tables(&model) => Ok(model),
            // It is away, and what it lists is not known.
            Err(failure) if matches!(failure.kind(), Kind::UpstreamUnavailable | Kind::UpstreamTimeout) => Err(failure),
            _ => Ok(self.columns(rows)),
        }
    }

    fn columns(&self, rows: &RowsCodec) -> ModelMetadata {
        ModelMetadata { name: self.model.clone(), inputs: rows.columns.clone(), ..ModelMetadata::default() }
    }

    async fn listed(&self, context: &Context) -> Call<ModelMetadata> {
        let answer = self.call(Method::GET, &self.paths.metadata, None, context).await?;
        metadata::read_model(&answer.body, &self.model).map_err(Failure::invalid)
    }

    /// Whether its model says that it can answer now.
    pub(super) async fn ready(&self, context: &Context) -> Call<()> {
        #[derive(Deserialize)]
        struct Ready {
            ready: bool,
        }
        let answer = self.call(Method::GET, &self.paths.ready, None, context).await?;
        match serde_json::from_slice(&answer.body) {
            Ok(Ready { ready: false }) => Err(Failure::unavailable("it says that it is not ready", None)),
            _ => Ok(()), // the status says it, and most servers' bodies say nothing
        }
    }

    /// Asks for scores. Binary tensors that it does not read after all are sent once more as JSON. Only its answer to that shows that it
    /// was about how they were sent: what it says may only sound so.
    pub(super) async fn infer(&self, request: &InferRequest, context: &Context) -> Call<InferResponse> {
        let binary = self.binary.is_on();
        let refusal = match self.ask(request, binary, context).await {
            Err(failure) if binary && refuses_binary(&failure) => failure,
            answer => return answer,
        };
        let answer = self.ask(request, false, context).await;
        if answer.is_ok() {
            tracing::warn!(detail = refusal.detail(), "binary tensors are listed and not read: JSON for a while");
            self.binary.refused();
        }
        answer
    }

    /// Asks for explanations. V2 has no verb of its own for that: the request names the output.
    pub(super) async fn explain(&self, request: &InferRequest, context: &Context) -> Call<InferResponse> {
        let rows = match &self.protocol {
            Rows::V1(rows, V1Form::Table) => rows,
            Rows::V1(_, V1Form::Rows) => return Err(Failure::unimplemented("plain rows have no explanations")),
            Rows::V2 => return self.infer(request, context).await,
        };
        let body = rows.write_request(request).map_err(Failure::ours)?;
        let sent = Some(Sent { body, json: None });
        match self.call(Method::POST, &self.paths.explain, sent, context).await {
            Ok(answer) => rows.read_explanations(&answer.body).map_err(Failure::invalid),
            Err(failure) if failure.detail().starts_with("501") => Err(Failure::unimplemented(failure.detail())),
            Err(failure) => Err(failure),
        }
    }

    async fn ask(&self, request: &InferRequest, binary: bool, context: &Context) -> Call<InferResponse> {
        let (body, json) = match &self.protocol {
            Rows::V1(rows, V1Form::Table) => rows.write_request(request).map(|body| (body, None)),
            Rows::V1(rows, V1Form::Rows) => v1::write_request(rows, request).map(|body| (body, None)),
            Rows::V2 => v2::write_request(request, binary),
        }
        .map_err(Failure::ours)?;
        let answer = self.call(Method::POST, &self.paths.infer, Some(Sent { body, json }), context).await?;
        // A struct can be read from a JSON array too, field by field; no server means that.
        if !answer.body.trim_ascii_start().starts_with(b"{") {
            return Err(Failure::invalid("its answer is no JSON object"));
        }
        match &self.protocol {
            Rows::V1(rows, V1Form::Table) => rows.read_response(&answer.body),
            Rows::V1(rows, V1Form::Rows) => v1::read_response(rows, &answer.body),
            Rows::V2 => v2::read_response(answer.json, &answer.body, &wanted(request, &self.outputs)),
        }
        .map_err(Failure::invalid)
    }

    async fn call(&self, method: Method, path: &str, sent: Option<Sent>, context: &Context) -> Call<Answer> {
        let request = self.request(method, path, sent, context)?;
        let exchange = self.exchange(request);
        let late = |_| Failure::late();
        let (status, headers, body) =
            tokio::time::timeout_at(context.deadline().into(), exchange).await.map_err(late)??;
        if !status.is_success() {
            return Err(refusal(status, &headers, &body));
        }
        let json = headers.get(HEADER_LENGTH).map(|length| {
            let length = length.to_str().ok().and_then(|length| length.trim().parse().ok());
            length.ok_or_else(|| Failure::invalid(format!("its header {HEADER_LENGTH} is no number")))
        });
        Ok(Answer { body, json: json.transpose()? })
    }

    fn request(&self, method: Method, path: &str, sent: Option<Sent>, context: &Context) -> Call<Request<Full<Bytes>>> {
        let mut headers = forward::rest(context);
        headers.insert(HOST, self.host.clone());
        let mut body = Bytes::new();
        if let Some(sent) = sent {
            let content_type = if sent.json.is_some() { "application/octet-stream" } else { "application/json" };
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            if let Some(json) = sent.json {
                headers.insert(HEADER_LENGTH, HeaderValue::from(json));
            }
            headers.insert(CONTENT_LENGTH, HeaderValue::from(sent.body.len()));
            body = sent.body.into();
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(Failure::ours)?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Call<(StatusCode, HeaderMap, Bytes)> {
        let (response, connection) = self.pool.send(request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read(response).await?;
        self.pool.give_back(connection);
        Ok((status, headers, body))
    }
}

/// The whole body, however it is framed.
async fn read(response: Response<Incoming>) -> Call<Bytes> {
    let mut incoming = response.into_body();
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| Failure::broken_off(&error))?;
        let Some(chunk) = frame.data_ref() else { continue };
        if body.len() + chunk.len() > MOST_BODY {
            return Err(Failure::invalid(format!("its answer is larger than {MOST_BODY} bytes")));
        }
        body.extend_from_slice(chunk);
    }
    Ok(body.into())
}

/// What an answer means whose status is none of success.
fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    let text = String::from_utf8_lossy(&body[..body.len().min(512)]);
    let detail = format!("{status}: {text}");
    let after = headers.get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE => {
            Failure::rejected(detail)
        }
        StatusCode::UNAUTHORIZED => Failure::unauthenticated(detail),
        StatusCode::FORBIDDEN => Failure::forbidden(detail),
        StatusCode::NOT_FOUND => Failure::not_found(detail),
        StatusCode::TOO_MANY_REQUESTS => Failure::overloaded(detail, after),
        StatusCode::SERVICE_UNAVAILABLE => Failure::unavailable(detail, after),
        StatusCode::GATEWAY_TIMEOUT => Failure::timeout(detail),
        _ => Failure::failed(detail, status.is_server_error()),
    }
}

/// Whether a refusal is about how tensors were sent and not about what they say.
fn refuses_binary(failure: &Failure) -> bool {
    let detail = failure.detail().to_ascii_lowercase();
    let (bad, media) = (detail.starts_with("400"), detail.starts_with("415"));
    // The last one is what KServe's Python server says of any body that it does not take for JSON.
    let says_so = ["binary", HEADER_LENGTH, "octet-stream", "error parsing the body"];
    media || (bad && says_so.iter().any(|words| detail.contains(words)))
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use tokio::time::advance;

    use super::{Binary, REFUSED};

    #[tokio::test(start_paused = true)]
    async fn a_refusal_of_binary_tensors_is_forgotten_after_a_while() {
        let (server, binary) = (Bytes::from(r#"{"extensions":["binary_tensor_data"]}"#), Binary::default());
        binary.listed(server.clone());
        assert!(binary.is_on());
        binary.refused();
        advance(REFUSED / 2).await;
        binary.listed(server);
        assert!(!binary.is_on());
        advance(REFUSED / 2).await;
        assert!(binary.is_on());
    }
}
