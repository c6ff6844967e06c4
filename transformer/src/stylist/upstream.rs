//! The LLM that thinks of outfits: predictor-llm's model, over its stream. It is done without where it fails; then there is a class, which is
//! told, and a detail, which is for the log.

use std::time::{Duration, Instant};

use dataplane::{
    Context, Error, Kind, Result,
    client::{Breaker, Permit, Tls, unix_socket},
    context::Call,
    metrics::Metrics,
};
use reqwest::{Client, Response, StatusCode, Url, header::HeaderMap, redirect::Policy};
use serde::Serialize;
use tokio::time::timeout_at;

use super::{
    instance::Gender,
    profile::Profile,
    told::{Events, Told, Unreadable},
};

/// What it is called in answers, metrics and logs.
pub(super) const NAME: &str = "stylist";
/// Longest that a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// Connections that nobody uses are closed after this time, before the other side does it.
const IDLE: Duration = Duration::from_secs(20);
/// A call that had this long, or all the time that one may take, and was late was late through the LLM.
const PATIENCE: Duration = Duration::from_secs(5);
/// The part of a request's time that the LLM may take: what is left is for an answer without it.
const SHARE: f64 = 0.9;
/// How long a caller waits, as the services behind this one are told it.
const REQUEST_TIMEOUT: &str = "x-request-timeout";

/// Where the LLM is asked.
pub(super) struct Upstream {
    client: Client,
    url: Url,
    timeout: Duration,
    breaker: Breaker,
    metrics: Metrics,
}

/// What it is asked.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Ask<'a> {
    pub(super) text_input: &'a str,
    pub(super) parameters: Parameters<'a>,
}

/// What it is told beside the request.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Parameters<'a> {
    pub(super) gender: Gender,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<&'a Profile>,
}

impl Upstream {
    /// The model of this name at `host`, which may take `timeout` for an outfit.
    ///
    /// # Errors
    /// `host` is no address; one line that names the flag.
    pub(super) fn new(host: &str, model: &str, timeout: Duration, metrics: &Metrics) -> Result<Self, String> {
        let failed = |reason: &str| format!("--stylist-host: {reason}");
        let socket = unix_socket(host).map_err(|reason| failed(&reason))?;
        let url = address(if socket.is_some() { "localhost" } else { host }, model).ok_or_else(|| {
            failed(&format!("`{host}`: expected host, host:port, http://host:port, https://host:port or unix:/path"))
        })?;
        let tls = if url.scheme() == "https" { Tls::new(None) } else { Tls::none() };
        let mut tls = tls.map_err(|reason| failed(&reason))?.client_config();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let builder = Client::builder()
            .user_agent(concat!("hemline/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .tls_backend_preconfigured(tls);
        let builder = match socket {
            Some(path) => builder.unix_socket(path),
            None => builder,
        };
        let client = builder.build().map_err(|error| failed(&error.without_url().to_string()))?;
        let breaker = Breaker::new(NAME, timeout, metrics).with_patience(PATIENCE);
        Ok(Self { client, url, timeout, breaker, metrics: metrics.clone() })
    }

    /// Begins an outfit.
    ///
    /// # Errors
    /// By class, where no stream of events begins.
    pub(super) async fn ask(&self, ask: &Ask<'_>, context: &Context) -> Result<Conversation<'_>> {
        let mut outcome = Outcome { metrics: &self.metrics, begun: Instant::now(), code: "abandoned" };
        let context = context.within(context.remaining().mul_f64(SHARE).min(self.timeout));
        let permit = self.breaker.admit(context.deadline().into()).map_err(|_| {
            outcome.code = "circuit_open";
            Error::new(Kind::UpstreamUnavailable, "the stylist keeps failing and is left alone for a moment")
        })?;
        let call = context.call("generate_stream", NAME);
        let mut conversation = Conversation {
            response: None,
            events: Events::default(),
            until: context.deadline(),
            open: Some(Open { permit, call, outcome }),
        };
        let begun = self.begin(ask, &conversation).await;
        conversation.response = Some(conversation.held(begun)?);
        Ok(conversation)
    }

    async fn begin(&self, ask: &Ask<'_>, conversation: &Conversation<'_>) -> Result<Response> {
        let body = serde_json::to_vec(ask).map_err(Error::internal)?;
        let mut headers: HeaderMap = conversation.headers();
        headers.insert(
            reqwest::header::CONTENT_TYPE,
            const { reqwest::header::HeaderValue::from_static("application/json") },
        );
        let call = self.client.post(self.url.clone()).headers(headers).body(body).send();
        let response = timeout_at(conversation.until.into(), call).await.map_err(|_| late())?.map_err(unsent)?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(refused(status));
        }
        let kind = response.headers().get(reqwest::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return Err(failed(Kind::UpstreamInvalid, "its answer is no stream of events"));
        }
        Ok(response)
    }
}

/// An outfit as it is told.
pub(super) struct Conversation<'a> {
    response: Option<Response>,
    events: Events,
    until: Instant,
    /// Until it is known how it ended.
    open: Option<Open<'a>>,
}

/// What hears how a conversation ended.
struct Open<'a> {
    permit: Permit<'a>,
    call: Call,
    outcome: Outcome<'a>,
}

impl Conversation<'_> {
    /// The next thing that is told; nothing once all is.
    ///
    /// # Errors
    /// By class: it breaks off, says that it fails, is late, or can't be read.
    pub(super) async fn next(&mut self) -> Result<Option<Told>> {
        let told = self.read().await;
        self.held(told)
    }

    async fn read(&mut self) -> Result<Option<Told>> {
        let unreadable = |Unreadable(why)| failed(Kind::UpstreamInvalid, why);
        let Some(response) = &mut self.response else { return Ok(None) };
        loop {
            match self.events.next().map_err(unreadable)? {
                Some(Told::Failed(kind)) => return Err(failed(kind, "it says that it fails")),
                Some(told) => {
                    if matches!(told, Told::Done { .. }) {
                        self.response = None;
                        self.ended(None);
                    }
                    return Ok(Some(told));
                }
                None => {}
            }
            let chunk = timeout_at(self.until.into(), response.chunk()).await.map_err(|_| late())?;
            let chunk = chunk.map_err(|error| failed(Kind::UpstreamUnavailable, error.without_url()))?;
            let chunk = chunk.ok_or_else(|| failed(Kind::UpstreamUnavailable, "it broke off"))?;
            self.events.add(&chunk).map_err(unreadable)?;
        }
    }

    /// A failure ends it.
    fn held<T>(&mut self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| {
            self.response = None;
            self.ended(Some(error.kind()));
        })
    }

    fn ended(&mut self, failure: Option<Kind>) {
        let Some(Open { permit, call, mut outcome }) = self.open.take() else { return };
        let code = failure.map(|kind| kind.row().code);
        call.ended(code.map_or(Ok(()), Err));
        outcome.code = code.unwrap_or("ok");
        match failure {
            Some(kind @ (Kind::UpstreamUnavailable | Kind::UpstreamTimeout | Kind::UpstreamInvalid)) => {
                permit.failed(kind);
            }
            _ => permit.succeeded(),
        }
    }

    fn headers(&self) -> HeaderMap {
        let context = self.open.as_ref().map(|open| open.call.context());
        let mut headers: HeaderMap = context.into_iter().flat_map(Context::outgoing_headers).collect();
        let left = self.until.saturating_duration_since(Instant::now()).as_millis().max(1);
        if let Ok(left) = format!("{left}ms").parse() {
            headers.insert(REQUEST_TIMEOUT, left);
        }
        headers
    }
}

/// Counts and times a call when it ends, also when its caller leaves.
struct Outcome<'a> {
    metrics: &'a Metrics,
    begun: Instant,
    code: &'static str,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        self.metrics.upstream(NAME, self.code, self.begun.elapsed());
    }
}

/// Where that model's outfits are streamed from.
fn address(host: &str, model: &str) -> Option<Url> {
    let text = if host.contains("://") { host.to_owned() } else { format!("http://{host}") };
    let mut url = Url::parse(&text).ok()?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_plain || url.fragment().is_some() {
        return None;
    }
    url.path_segments_mut().ok()?.pop_if_empty().extend(["v2", "models", model, "generate_stream"]);
    Some(url)
}

fn failed(kind: Kind, detail: impl std::fmt::Display) -> Error {
    Error::new(kind, "the stylist has no answer").with_detail(detail)
}

fn late() -> Error {
    failed(Kind::UpstreamTimeout, "longer than it may take")
}

fn unsent(error: reqwest::Error) -> Error {
    let kind = if error.is_timeout() { Kind::UpstreamTimeout } else { Kind::UpstreamUnavailable };
    failed(kind, error.without_url())
}

fn refused(status: StatusCode) -> Error {
    let kind = match status {
        StatusCode::UNAUTHORIZED => Kind::UpstreamUnauthenticated,
        StatusCode::FORBIDDEN => Kind::UpstreamForbidden,
        StatusCode::NOT_FOUND => Kind::UpstreamNotFound,
        StatusCode::TOO_MANY_REQUESTS => Kind::UpstreamOverloaded,
        StatusCode::GATEWAY_TIMEOUT => Kind::UpstreamTimeout,
        StatusCode::SERVICE_UNAVAILABLE => Kind::UpstreamUnavailable,
        status if status.is_client_error() => Kind::UpstreamRejected,
        _ => Kind::UpstreamInvalid,
    };
    failed(kind, status)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dataplane::{Context, metrics::Metrics};
    use tempfile::tempdir;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixListener,
    };

    use super::{Ask, Gender, Parameters, Upstream, address};

    fn upstream(host: &str) -> Result<Upstream, String> {
        Upstream::new(host, "m", Duration::from_secs(60), &Metrics::new().unwrap())
    }

    #[tokio::test]
    async fn a_socket_is_asked_as_localhost() {
        let folder = tempdir().unwrap();
        let socket = folder.path().join("llm.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut got = vec![0; 4096];
            let length = stream.read(&mut got).await.unwrap();
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&got[..length]).to_lowercase()
        });
        let upstream = upstream(&format!("unix:{}", socket.display())).unwrap();
        let ask = Ask { text_input: "", parameters: Parameters { gender: Gender::Women, profile: None } };
        assert!(upstream.ask(&ask, &Context::background(Duration::from_secs(60))).await.is_ok());
        let got = server.await.unwrap();
        assert!(
            got.starts_with("post /v2/models/m/generate_stream ") && got.contains("\r\nhost: localhost\r\n"),
            "{got}"
        );
    }

    #[test]
    fn what_is_no_socket_is_refused_by_the_flag() {
        let reason = upstream("unix:llm.sock").err().unwrap();
        assert!(reason.starts_with("--stylist-host: ") && reason.contains("absolute path"), "{reason}");
    }

    #[test]
    fn an_address_is_a_host_or_a_url() {
        for (host, url) in [
            ("llm", "http://llm/v2/models/m/generate_stream"),
            ("llm:8086", "http://llm:8086/v2/models/m/generate_stream"),
            ("https://llm/behind/", "https://llm/behind/v2/models/m/generate_stream"),
        ] {
            assert_eq!(address(host, "m").unwrap().as_str(), url);
        }
        assert_eq!(address("a", "x/../y").unwrap().path(), "/v2/models/x%2F..%2Fy/generate_stream");
        for wrong in ["", "ftp://a", "http://", "http://u:p@a", "http://a/?x", "http://a/#x"] {
            assert!(address(wrong, "m").is_none(), "{wrong}");
        }
    }
}
