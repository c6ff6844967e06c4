//! The program, started on a free port over a page of three files.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use reqwest::{Client, Response, StatusCode, header::HeaderMap};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const INDEX: &str = "<!doctype html><title>Hemline</title>";
pub(crate) const SCRIPT: &str = "console.log('a page')";

/// A running shop. It ends with the test.
pub(crate) struct Shop {
    pub(crate) process: Child,
    pub(crate) url: String,
    pub(crate) folder: TempDir,
    client: Client,
}

/// An answer, read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status and code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status.as_u16(), self.json()["code"].as_str().unwrap().to_owned())
    }
}

impl Shop {
    /// Over the transformer at `url`.
    pub(crate) fn start(url: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_page(folder.path());
        let mut process = command(url, folder.path())
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = log.by_ref().find_map(|line| {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            (line["message"] == "listening").then(|| line["rest"].as_str().unwrap().to_owned())
        });
        // A full pipe would stop the program at its next line.
        thread::spawn(move || log.for_each(drop));
        Self { process, url: format!("http://{}", address.unwrap()), folder, client: client() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.client.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        read(self.send(path, body).await).await
    }

    /// The answer to a POST, unread.
    pub(crate) async fn send(&self, path: &str, body: impl Into<reqwest::Body>) -> Response {
        let request = self.client.post(format!("{}{path}", self.url)).header("content-type", "application/json");
        request.body(body).send().await.unwrap()
    }

    /// The answer to a request as it is written: clients make paths decent before they send them.
    pub(crate) fn raw(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        let told = Command::new("kill").args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(told.unwrap().success());
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A browser, as far as these tests need one.
pub(crate) fn client() -> Client {
    // Another test of this process may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

async fn read(response: Response) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, body: response.bytes().await.unwrap().to_vec() }
}

/// How it is started on this machine.
pub(crate) fn command(url: &str, web: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_storefront"));
    command.env_clear().args(["--host=127.0.0.1", "--http-port=0", "--transformer", url, "--web"]).arg(web);
    command
}

/// A page, a script that is also there compressed, and an icon.
pub(crate) fn write_page(folder: &Path) {
    fs::create_dir(folder.join("assets")).unwrap();
    for (name, content) in [
        ("index.html", INDEX),
        ("icon.svg", "<svg/>"),
        ("assets/app-1a2b.js", SCRIPT),
        ("assets/app-1a2b.js.br", "as brotli"),
        ("assets/app-1a2b.js.gz", "as gzip"),
    ] {
        fs::write(folder.join(name), content).unwrap();
    }
}
