//! The transformer, asked over its public API.
//!
//! Connections are kept. It redirects nowhere and asks no proxy: the transformer is the shop's neighbour. What it answers is read up to a
//! bound, and what fails is logged with its cause and told without it.

use std::{error::Error, sync::Arc, time::Duration};

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use bytes::Bytes;
use reqwest::{Client, RequestBuilder, Response, Url, redirect::Policy};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use serde::de::DeserializeOwned;
use tokio::time;

use crate::{failure::Failure, request::RequestId};

/// Largest answer that is read: explanations of 1,000 candidates are a few megabytes.
const MOST_BODY: usize = 16 * 1024 * 1024;
/// Longest that a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// Connections that nobody uses are closed after this time, before the transformer does it.
const IDLE: Duration = Duration::from_secs(30);
const EVENT_STREAM: &str = "text/event-stream";

/// The transformer.
pub(crate) struct Upstream {
    client: Client,
    base: Url,
    timeout: Duration,
}

/// An answer with a status of success.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Its body as a `T`.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            tracing::warn!(%error, "the transformer's answer can't be read");
            Failure::unreadable()
        })
    }

    /// What it says of the steps' times.
    pub(crate) fn server_timing(&self) -> Option<&str> {
        self.headers.get("server-timing")?.to_str().ok()
    }
}

impl Upstream {
    /// The transformer at `url`, which is waited for `timeout`, for an answer or the next piece of a stream.
    ///
    /// # Errors
    /// The URL is none, or there is no TLS for it. Nothing of the URL is in the text: there may be a password in it.
    pub(crate) fn new(url: &str, timeout: Duration) -> Result<Self, String> {
        let base = base(url)?;
        let client = Client::builder()
            .user_agent(concat!("hemline-storefront/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            .tls_backend_preconfigured(tls(base.scheme() == "https")?)
            .build()
            .map_err(|error| error.without_url().to_string())?;
        Ok(Self { client, base, timeout })
    }

    /// Longest time for an answer, or the next piece of a stream.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What is at the path of these segments.
    pub(crate) async fn get(&self, path: &[&str], query: Option<&str>, id: &RequestId) -> Result<Answer, Failure> {
        let mut url = self.url(path);
        url.set_query(query);
        self.answer(self.client.request(Method::GET, url), id).await
    }

    /// The same, with one parameter, whatever is in its value.
    pub(crate) async fn get_with(
        &self,
        path: &[&str],
        (name, value): (&str, &str),
        id: &RequestId,
    ) -> Result<Answer, Failure> {
        let mut url = self.url(path);
        url.query_pairs_mut().append_pair(name, value);
        self.answer(self.client.request(Method::GET, url), id).await
    }

    /// What comes of `body`, which is JSON.
    pub(crate) async fn post(&self, path: &[&str], body: impl Into<Bytes>, id: &RequestId) -> Result<Answer, Failure> {
        self.answer(self.with_body(path, body), id).await
    }

    /// The stream of events that comes of `body`, which is JSON.
    pub(crate) async fn stream(
        &self,
        path: &[&str],
        body: impl Into<Bytes>,
        id: &RequestId,
    ) -> Result<Response, Failure> {
        let request = self.with_body(path, body).header("accept", EVENT_STREAM);
        self.in_time(async {
            let response = send(request, id).await?;
            let kind = response.headers().get(CONTENT_TYPE).map_or(b"".as_slice(), HeaderValue::as_bytes);
            if response.status().is_success() && kind.starts_with(EVENT_STREAM.as_bytes()) {
                return Ok(response);
            }
            Err(refusal(response).await)
        })
        .await
    }

    fn with_body(&self, path: &[&str], body: impl Into<Bytes>) -> RequestBuilder {
        let request = self.client.request(Method::POST, self.url(path));
        request.header(CONTENT_TYPE, "application/json").body(body.into())
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    async fn answer(&self, request: RequestBuilder, id: &RequestId) -> Result<Answer, Failure> {
        self.in_time(async {
            let response = send(request, id).await?;
            if !response.status().is_success() {
                return Err(refusal(response).await);
            }
            let (status, headers) = (response.status(), response.headers().clone());
            Ok(Answer { status, headers, body: body(response).await? })
        })
        .await
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        time::timeout(self.timeout, work).await.unwrap_or_else(|_| {
            tracing::warn!("the transformer did not answer in time");
            Err(Failure::late())
        })
    }
}

async fn send(request: RequestBuilder, id: &RequestId) -> Result<Response, Failure> {
    request.header(RequestId::HEADER, id.value()).send().await.map_err(|error| away(&error))
}

/// What the transformer said instead of an answer.
async fn refusal(response: Response) -> Failure {
    let (status, headers) = (response.status(), response.headers().clone());
    match body(response).await {
        Ok(body) => {
            tracing::warn!(upstream_status = status.as_u16(), "the transformer refused");
            Failure::upstream(status, &headers, body)
        }
        Err(failure) => failure,
    }
}

async fn body(mut response: Response) -> Result<Bytes, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| away(&error))? {
        if body.len() + chunk.len() > MOST_BODY {
            tracing::warn!(most = MOST_BODY, "the transformer's answer is too large");
            return Err(Failure::unreadable());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// The transformer did not answer, or broke off; the log has the causes.
pub(crate) fn away(error: &reqwest::Error) -> Failure {
    let mut causes = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    tracing::warn!(error = causes.join(": "), "the transformer can't be reached");
    Failure::away()
}

/// The URL that paths are appended to.
fn base(text: &str) -> Result<Url, String> {
    let expected = || "expected a URL such as http://host:port or https://host".to_owned();
    let url = Url::parse(text.trim()).map_err(|_| expected())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(expected());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("expected no user and no password in it".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("expected nothing behind its path".to_owned());
    }
    Ok(url)
}

/// TLS with ring, believing whom the system believes; nobody where there is none to speak.
fn tls(wanted: bool) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if wanted {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err("the system has no certificates to believe".to_owned());
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Upstream;

    #[test]
    fn paths_are_appended_and_no_segment_leaves_its_place() {
        for (base, url) in [
            ("http://host:80", "http://host/v1/customers/a%2Fb%3Fc%20d"),
            ("https://host/shop/", "https://host/shop/v1/customers/a%2Fb%3Fc%20d"),
            ("http://[::1]:8080/x", "http://[::1]:8080/x/v1/customers/a%2Fb%3Fc%20d"),
        ] {
            let upstream = Upstream::new(base, Duration::from_secs(1)).unwrap();
            assert_eq!(upstream.url(&["v1", "customers", "a/b?c d"]).as_str(), url);
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused_without_being_repeated() {
        for wrong in
            ["", "host:80", "ftp://host", "http://", "http://u:s3cret@host", "http://host/?s3cret", "http://h/#a"]
        {
            let reason = Upstream::new(wrong, Duration::from_secs(1)).err().unwrap();
            assert!(reason.starts_with("expected") && !reason.contains("s3cret"), "{wrong}: {reason}");
        }
    }
}
