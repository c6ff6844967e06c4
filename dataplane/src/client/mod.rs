//! Calling a predictor: any V2 or V1 server, over pooled connections, within the request's deadline.
//!
//! What goes wrong keeps its class (a refusal stays a refusal, no room stays no room, late is late) and loses its address.

use std::{fmt, time::Duration};

use reqwest::{
    Client, Method, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};

use crate::{
    context::Context,
    error::{Error, Kind, Result},
    infer::{InferRequest, InferResponse},
    metrics::Metrics,
    model::ModelMetadata,
    v1::RowsCodec,
};

mod v2;

/// Largest answer that is read; a ranker's is a few kilobytes.
const MOST_BODY: usize = 64 * 1024 * 1024;

/// How a predictor is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// V1 REST: positional rows.
    V1,
    /// V2 REST: named tensors.
    V2,
}

/// A predictor behind this server.
#[derive(Clone)]
pub struct Predictor {
    name: String,
    routes: Routes,
    model: String,
    protocol: Protocol,
    rows: RowsCodec,
    metrics: Metrics,
    http: Client,
}

impl fmt::Debug for Predictor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Predictor").field("name", &self.name).field("model", &self.model).finish_non_exhaustive()
    }
}

impl Predictor {
    /// The predictor called `name` in answers and logs, at `host` (`host`, `host:port` or a URL), asked for `model`.
    /// `rows` is the form of its V1 instances.
    ///
    /// # Errors
    /// `host` is no address; the text says so.
    pub fn new(
        name: &str,
        host: &str,
        model: &str,
        protocol: Protocol,
        rows: RowsCodec,
        metrics: Metrics,
    ) -> Result<Self, String> {
        let base = if host.contains("://") { host.to_owned() } else { format!("http://{host}") };
        let url: Url = base.parse().map_err(|error| format!("`{host}` is no address: {error}"))?;
        let plain = url.scheme() == "http" && url.query().is_none() && url.fragment().is_none();
        if !plain || url.host_str().is_none() {
            return Err(format!("`{host}`: expected host, host:port or http://host:port"));
        }
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(1))
            .pool_idle_timeout(Duration::from_secs(30))
            .tcp_nodelay(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))?;
        let routes = Routes::new(&url, model, protocol).ok_or_else(|| format!("`{host}` can't have paths"))?;
        Ok(Self { name: name.to_owned(), routes, model: model.to_owned(), protocol, rows, metrics, http })
    }

    /// What it is called in answers and logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is spoken to.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What its model says of itself. A V1 server says nothing; then it is the columns that V1 rows have.
    ///
    /// # Errors
    /// It can't be reached, or does not answer with metadata.
    pub async fn metadata(&self, context: &Context) -> Result<ModelMetadata> {
        if self.protocol == Protocol::V1 {
            return Ok(ModelMetadata {
                name: self.model.clone(),
                inputs: self.rows.columns.clone(),
                ..ModelMetadata::default()
            });
        }
        let body = self.call(Method::GET, &self.routes.metadata, None, context).await?;
        self.check_object(&body)?;
        serde_json::from_slice(&body).map_err(|error| self.invalid(format!("its metadata can't be read: {error}")))
    }

    /// Whether its model says that it can answer now.
    ///
    /// # Errors
    /// It can't be reached, or says no.
    pub async fn ready(&self, context: &Context) -> Result<()> {
        self.call(Method::GET, &self.routes.ready, None, context).await.map(drop)
    }

    /// Asks for scores.
    ///
    /// # Errors
    /// By class: refused, no room, unreachable, late, or an answer that is none.
    pub async fn infer(&self, request: &InferRequest, context: &Context) -> Result<InferResponse> {
        let body = match self.protocol {
            Protocol::V1 => self.rows.write_request(request)?,
            Protocol::V2 => v2::write_request(request)?,
        };
        let mut outcome = Outcome { predictor: self, code: "abandoned" };
        let answer = self.call(Method::POST, &self.routes.infer, Some(body), context).await;
        let answer = answer.and_then(|body| {
            self.check_object(&body)?;
            let response = match self.protocol {
                Protocol::V1 => self.rows.read_response(&body),
                Protocol::V2 => v2::read_response(&body),
            };
            response.map_err(|error| self.invalid(error))
        });
        outcome.code = answer.as_ref().map_or_else(|error| error.kind().row().code, |_| "ok");
        answer
    }

    /// A struct can be read from a JSON array too, field by field; no server means that.
    fn check_object(&self, body: &[u8]) -> Result<()> {
        if body.trim_ascii_start().starts_with(b"{") {
            Ok(())
        } else {
            Err(self.invalid("its answer is no JSON object"))
        }
    }

    /// An answer that this predictor must not give.
    #[must_use]
    pub fn invalid(&self, detail: impl fmt::Display) -> Error {
        Error::new(Kind::UpstreamInvalid, format!("ranker `{}` gave an answer that can't be used", self.name))
            .with_detail(detail)
    }

    async fn call(&self, method: Method, url: &Url, body: Option<Vec<u8>>, context: &Context) -> Result<Vec<u8>> {
        let mut call = context.call(method.as_str(), &self.name);
        call.attribute("http.request.method", method.as_str());
        call.attribute("server.address", url.host_str().unwrap_or_default());
        let headers = call.headers().collect();
        let answer = self.send(method, url, headers, body, context).await;
        call.ended(answer.as_ref().map(drop).map_err(|error| error.kind().row().code));
        answer
    }

    async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
        context: &Context,
    ) -> Result<Vec<u8>> {
        let mut request = self.http.request(method, url.clone()).timeout(context.remaining()).headers(headers);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let mut response = request.send().await.map_err(|error| self.transport_error(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.transport_error(&error))? {
            if body.len() + chunk.len() > MOST_BODY {
                return Err(self.invalid(format!("its answer is larger than {MOST_BODY} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        if response.status().is_success() {
            return Ok(body);
        }
        Err(self.status_error(response.status(), response.headers(), &body))
    }

    fn transport_error(&self, error: &reqwest::Error) -> Error {
        let (kind, what) = if error.is_timeout() && !error.is_connect() {
            (Kind::UpstreamTimeout, "did not answer in time")
        } else if error.is_connect() || error.is_request() {
            (Kind::UpstreamUnavailable, "can't be reached")
        } else {
            (Kind::UpstreamInvalid, "broke off its answer")
        };
        Error::new(kind, format!("ranker `{}` {what}", self.name)).with_detail(causes(error))
    }

    fn status_error(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
        let (kind, what) = match status {
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE => {
                (Kind::UpstreamRejected, "refused the request")
            }
            StatusCode::TOO_MANY_REQUESTS => (Kind::UpstreamOverloaded, "has no room"),
            StatusCode::SERVICE_UNAVAILABLE => (Kind::UpstreamUnavailable, "is not ready"),
            StatusCode::GATEWAY_TIMEOUT => (Kind::UpstreamTimeout, "did not answer in time"),
            // Any other status is a fault between the two of us (a wrong model name, a missing right), not the caller's.
            _ => (Kind::UpstreamInvalid, "failed"),
        };
        let text = String::from_utf8_lossy(&body[..body.len().min(512)]);
        let error = Error::new(kind, format!("ranker `{}` {what}", self.name)).with_detail(format!("{status}: {text}"));
        let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        match after {
            Some(seconds) => error.with_retry_after(Duration::from_secs(seconds)),
            None => error,
        }
    }
}

/// A predictor's three addresses, read once.
#[derive(Clone)]
struct Routes {
    metadata: Url,
    ready: Url,
    infer: Url,
}

impl Routes {
    /// Nothing where `base` is a URL that can't have paths.
    fn new(base: &Url, model: &str, protocol: Protocol) -> Option<Self> {
        let at = |segments: &[&str]| {
            let mut url = base.clone();
            url.path_segments_mut().ok()?.pop_if_empty().extend(segments);
            Some(url)
        };
        let metadata = at(&["v2", "models", model])?;
        Some(match protocol {
            Protocol::V1 => Self {
                metadata,
                ready: at(&["v1", "models", model])?,
                infer: at(&["v1", "models", &format!("{model}:predict")])?,
            },
            Protocol::V2 => Self {
                metadata,
                ready: at(&["v2", "models", model, "ready"])?,
                infer: at(&["v2", "models", model, "infer"])?,
            },
        })
    }
}

/// Counts a call when it ends, also when its caller's deadline ends it.
struct Outcome<'a> {
    predictor: &'a Predictor,
    code: &'static str,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        self.predictor.metrics.upstream(&self.predictor.name, self.code);
    }
}

/// An error with its causes, for the log.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
