//! An OpenAI-compatible API: the list of models and chat completions, over pooled connections.
//!
//! It redirects nowhere: a key is for the address that was configured. An answer is read up to a bound. What fails has a class.

use std::{path::PathBuf, time::Duration};

use dataplane::client::{Tls, retry_after};
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
    redirect::Policy,
};
use serde::Deserialize;

mod answer;
mod failure;
mod key;
mod stream;

pub(crate) use answer::{Chat, TokenLogprob, Usage};
pub(crate) use failure::Failure;
use key::Key;
pub(crate) use key::Secret;
pub(crate) use stream::Listener;

/// Largest answer that is read; one with logprobs for a thought of 2,000 tokens is a few megabytes.
const MOST_BODY: usize = 16 * 1024 * 1024;
/// How much of a refusal the log shows.
const MOST_SHOWN: usize = 512;
/// Longest that a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// Connections that nobody uses are closed after this time, before the other side does it: uvicorn, which is under many servers, waits 5 seconds.
const IDLE: Duration = Duration::from_secs(4);

/// Where the API is, and who asks.
pub(crate) struct Endpoint<'a> {
    pub(crate) url: &'a str,
    pub(crate) key: Option<&'a Secret>,
    pub(crate) key_file: Option<PathBuf>,
}

/// The API. Its connections are kept.
pub(crate) struct Api {
    client: Client,
    base: Url,
    key: Key,
}

impl Api {
    /// The API at `endpoint`, which keeps `connections` for calls at once.
    ///
    /// # Errors
    /// One line that names the flag, and never what was secret in it.
    pub(crate) fn new(endpoint: Endpoint<'_>, connections: usize) -> Result<Self, String> {
        let base = base(endpoint.url).map_err(|reason| format!("--llm-url: {reason}"))?;
        let key = Key::new(endpoint.key, endpoint.key_file)?;
        let client = client(&base, connections).map_err(|reason| format!("--llm-url: {reason}"))?;
        Ok(Self { client, base, key })
    }

    /// The names of the models that it serves, in its order.
    pub(crate) async fn models(&self) -> Result<Vec<String>, Failure> {
        #[derive(Deserialize)]
        struct Models {
            data: Vec<Model>,
        }
        #[derive(Deserialize)]
        struct Model {
            id: String,
        }
        let body = self.ask(self.request(Method::GET, "models")).await?;
        let models: Models = serde_json::from_slice(&body).map_err(Failure::invalid)?;
        Ok(models.data.into_iter().map(|model| model.id).collect())
    }

    /// A completion of the conversation in `body`. `headers` go with the call.
    pub(crate) async fn chat(&self, body: Vec<u8>, headers: HeaderMap) -> Result<Chat, Failure> {
        let request = self.request(Method::POST, "chat/completions").headers(headers);
        let answer = self.ask(request.header(CONTENT_TYPE, "application/json").body(body)).await?;
        Chat::read(&answer)
    }

    /// The same, told to `listener` as it is written. Where the listener has heard enough, what was said by then is the answer. An API
    /// that answers as a whole, whatever it was asked, is heard at once.
    pub(crate) async fn chat_aloud(
        &self,
        body: Vec<u8>,
        headers: HeaderMap,
        listener: &mut dyn Listener,
    ) -> Result<Chat, Failure> {
        let request = self.request(Method::POST, "chat/completions").headers(headers);
        let response = self.send(request.header(CONTENT_TYPE, "application/json").body(body)).await?;
        if stream::is_one(response.headers()) {
            return stream::listen(response, listener).await;
        }
        let chat = Chat::read(&self::body(response).await?)?;
        // There is no more to come, whatever it says.
        let _ = listener.hear(chat.text());
        Ok(chat)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{path}", self.base.path()));
        let request = self.client.request(method, url);
        match self.key.authorization() {
            Some(value) => request.header(reqwest::header::AUTHORIZATION, value),
            None => request,
        }
    }

    /// The body of an answer with status 200.
    async fn ask(&self, request: RequestBuilder) -> Result<Vec<u8>, Failure> {
        body(self.send(request).await?).await
    }

    /// An answer with status 200, of which no more than its head may be there.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(Failure::sending)?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let after = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
        let text = body(response).await.map(|body| self.shown(&body)).unwrap_or_default();
        Err(Failure::status(status, after, format!("{status}: {text}")))
    }

    /// The beginning of a refusal's text. Some servers quote the key that they did not know.
    fn shown(&self, body: &[u8]) -> String {
        let text = self.key.hidden_in(&String::from_utf8_lossy(body));
        text[..text.floor_char_boundary(MOST_SHOWN)].to_owned()
    }
}

async fn body(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Failure::reading)? {
        if body.len() + chunk.len() > MOST_BODY {
            return Err(Failure::invalid(format!("more than {MOST_BODY} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The URL that paths are appended to, without a slash at its end.
fn base(text: &str) -> Result<Url, &'static str> {
    let expected = "expected a URL such as http://host:port or https://host/v1";
    let mut url = Url::parse(text.trim()).map_err(|_| expected)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(expected);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("expected no user and no password in it; a key is given by --llm-api-key");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("expected nothing behind its path");
    }
    let path = url.path().trim_end_matches('/');
    let path = if path.is_empty() { "/v1" } else { path }.to_owned();
    url.set_path(&path);
    Ok(url)
}

fn client(base: &Url, connections: usize) -> Result<Client, String> {
    let builder = Client::builder()
        .user_agent(concat!("hemline/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(connections);
    // What HTTPS_PROXY names is the way out of a cluster, and never the way to this machine.
    let builder = if is_loopback(base) { builder.no_proxy() } else { builder };
    let tls = match base.scheme() {
        "https" => Tls::new(None),
        _ => Tls::none(),
    };
    let mut tls = tls?.client_config();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    builder.tls_backend_preconfigured(tls).build().map_err(|error| error.without_url().to_string())
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{base, is_loopback};

    #[test]
    fn an_address_without_a_path_has_the_apis_own() {
        for (text, expected) in [
            ("http://localhost:8000", "http://localhost:8000/v1"),
            (" https://api.openai.com/v1/ ", "https://api.openai.com/v1"),
            ("http://vllm/openai/v1", "http://vllm/openai/v1"),
        ] {
            assert_eq!(base(text).unwrap().as_str(), expected);
        }
        for wrong in ["", "localhost:8000", "ftp://x", "http://", "http://u:p@x", "http://x/?a", "http://x/#a"] {
            assert!(base(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_proxy_is_asked_for_this_machine() {
        for (text, expected) in
            [("http://127.0.0.1:1", true), ("http://[::1]:1", true), ("http://localhost", true), ("http://vllm", false)]
        {
            assert_eq!(is_loopback(&base(text).unwrap()), expected, "{text}");
        }
    }
}
