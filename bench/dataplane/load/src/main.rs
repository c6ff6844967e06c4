//! A closed-loop load generator: each connection sends its next request as soon as it has the answer to the last.
//!
//! ```sh
//! load '{"protocol": "http", "port": 8080, "path": "/v2/models/m/infer", "headers": [], "body": "body.json",
//!        "connections": 16, "seconds": 2.0, "answer": "answer.json"}'
//! ```
//!
//! The request is written once, before anything is measured, and answers are not decoded: one thread of this costs a good
//! deal less than any server it asks, so that it is the server that is measured. It prints one JSON object.

use std::{
    env,
    error::Error,
    fs,
    net::Ipv4Addr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, task::JoinSet};

mod grpc;
mod http;

type Failure = Box<dyn Error + Send + Sync>;

/// What to ask, and how.
#[derive(Deserialize)]
struct Plan {
    /// `http` or `grpc`.
    protocol: String,
    port: u16,
    path: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// File with the body; for gRPC the encoded message.
    body: String,
    connections: usize,
    /// Each connection asks at least once.
    seconds: f64,
    /// File for the first answer's body, to be checked by who asked for it.
    #[serde(default)]
    answer: Option<String>,
}

#[derive(Serialize)]
struct Report {
    requests: usize,
    seconds: f64,
    p50_us: f64,
    p99_us: f64,
}

/// What one connection saw: how long each request took, and the first answer's body.
#[derive(Default)]
struct Seen {
    micros: Vec<f32>,
    answer: Bytes,
}

/// A connection that answers one request at a time.
trait Ask: Send {
    /// Sends the request and reads the answer's body; a failure if the answer is one.
    fn ask(&mut self) -> impl Future<Output = Result<Bytes, Failure>> + Send;
}

async fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn repeat(mut connection: impl Ask, until: Instant) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    loop {
        let begun = Instant::now();
        let answer = connection.ask().await?;
        let ended = Instant::now();
        seen.micros.push((ended - begun).as_secs_f32() * 1e6);
        if seen.answer.is_empty() {
            seen.answer = answer;
        }
        if ended >= until {
            return Ok(seen);
        }
    }
}

async fn run(plan: Plan) -> Result<Report, Failure> {
    let body = Bytes::from(fs::read(&plan.body)?);
    let begun = Instant::now();
    let until = begun + Duration::from_secs_f64(plan.seconds);
    let mut connections = JoinSet::new();
    let plan = Arc::new(plan);
    for _ in 0..plan.connections {
        let (plan, body) = (plan.clone(), body.clone());
        connections.spawn(async move {
            match plan.protocol.as_str() {
                "http" => repeat(http::Connection::open(&plan, &body).await?, until).await,
                "grpc" => repeat(grpc::Connection::open(&plan, body).await?, until).await,
                other => Err(format!("no protocol {other} here").into()),
            }
        });
    }
    let mut seen = Vec::new();
    while let Some(connection) = connections.join_next().await {
        seen.push(connection??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    if let (Some(file), Some(first)) = (&plan.answer, seen.first()) {
        fs::write(file, &first.answer)?;
    }
    let mut micros: Vec<f32> = seen.into_iter().flat_map(|connection| connection.micros).collect();
    micros.sort_unstable_by(f32::total_cmp);
    let percentile = |percent: usize| micros.get(micros.len() * percent / 100).copied().map_or(f64::NAN, f64::from);
    Ok(Report { requests: micros.len(), seconds, p50_us: percentile(50), p99_us: percentile(99) })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let plan = env::args().nth(1).ok_or_else(|| "usage: load PLAN".into());
    let plan = plan.and_then(|plan| serde_json::from_str(&plan).map_err(Failure::from));
    let report = match plan {
        Ok(plan) => run(plan).await,
        Err(error) => Err(error),
    };
    match report.and_then(|report| Ok(serde_json::to_string(&report)?)) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
