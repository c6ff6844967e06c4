//! A load generator for HTTP/1.1 and gRPC.
//!
//! ```sh
//! load '{"protocol": "http", "port": 8080, "path": "/v2/models/m/infer", "headers": [], "body": "body.json",
//!        "connections": 16, "seconds": 2.0, "answer": "answer.json"}'
//! ```
//!
//! Closed loop as it stands: each connection sends its next request as soon as it has the answer to the last. With a `rate`, open
//! loop: requests are due at fixed times whatever the server does ([`pace`]), and a latency counts from then.
//!
//! Requests are written once, before anything is measured, and answers are not decoded: one thread of this costs a good
//! deal less than any server it asks, so that it is the server that is measured. It prints one JSON object.

use std::{
    env,
    error::Error,
    net::Ipv4Addr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::Deserialize;
use tokio::{net::TcpStream, sync::Mutex, sync::mpsc, task::JoinSet};

mod grpc;
mod http;
mod pace;
mod report;
mod requests;

use pace::Ticket;
use report::{Report, Seen};
use requests::Requests;

type Failure = Box<dyn Error + Send + Sync>;

/// What to ask, and how.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Plan {
    /// `http` or `grpc`.
    protocol: String,
    port: u16,
    path: String,
    headers: Vec<(String, String)>,
    /// File with the only body; for gRPC the encoded message.
    body: Option<String>,
    /// File with many bodies: each behind its length, an u32 in little endian. Sent in order, by each connection from a place of its own.
    bodies: Option<String>,
    /// What the connections' places are drawn from.
    seed: u64,
    connections: usize,
    /// Those that count. Without any each connection asks once.
    seconds: f64,
    /// Seconds before those, whose requests don't count.
    warmup: f64,
    /// Requests a second, open loop.
    rate: Option<f64>,
    /// Answers other than 200 and OK are counted; without this they end the run.
    refusals: bool,
    /// Seconds of the windows that are reported one by one.
    windows: Option<f64>,
    /// File for the first answer's body, to be checked by who asked for it.
    answer: Option<String>,
}

/// An answer, as far as it is looked at.
struct Answer {
    /// HTTP's or gRPC's.
    status: u16,
    good: bool,
    body: Bytes,
}

/// A connection that answers one request at a time.
trait Ask: Sized + Send + 'static {
    /// Connects.
    fn open(port: u16) -> impl Future<Output = Result<Self, Failure>> + Send;
    /// What is sent for a body.
    fn write(plan: &Plan, body: &[u8]) -> Result<Bytes, Failure>;
    /// Sends a request and reads the answer.
    fn ask(&mut self, request: &Bytes) -> impl Future<Output = Result<Answer, Failure>> + Send;
}

/// Where open-loop connections get their tickets, one after the other.
type Tickets = Arc<Mutex<mpsc::UnboundedReceiver<Ticket>>>;

async fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Answered requests of one connection. `begun` is when the first seconds began to run, warm-up included.
async fn closed<A: Ask>(plan: &Plan, requests: Requests, begun: Instant) -> Result<Seen, Failure> {
    let (mut connection, mut seen) = (A::open(plan.port).await?, Seen::new(plan, begun));
    let until = begun + Duration::from_secs_f64(plan.warmup + plan.seconds);
    for request in requests {
        let due = Instant::now();
        seen.take(due, answered(plan, &mut connection, &request).await?)?;
        if Instant::now() >= until {
            break;
        }
    }
    Ok(seen)
}

/// The same where a ticket says when each is due.
async fn open<A: Ask>(plan: &Plan, requests: Requests, begun: Instant, tickets: Tickets) -> Result<Seen, Failure> {
    let (mut connection, mut seen) = (A::open(plan.port).await?, Seen::new(plan, begun));
    for request in requests {
        // Nobody keeps the lock while it asks: whoever is idle waits for the lock or for the next ticket.
        let ticket = tickets.lock().await.recv().await;
        let Some(Ticket { due }) = ticket else { break };
        seen.late(due);
        seen.take(due, answered(plan, &mut connection, &request).await?)?;
    }
    Ok(seen)
}

/// The answer; nothing where the connection broke and refusals are counted: there is a new one then.
async fn answered<A: Ask>(plan: &Plan, connection: &mut A, request: &Bytes) -> Result<Option<Answer>, Failure> {
    match connection.ask(request).await {
        Ok(answer) => Ok(Some(answer)),
        Err(_) if plan.refusals => {
            *connection = A::open(plan.port).await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn measure<A: Ask>(plan: Plan) -> Result<Report, Failure> {
    let requests = Requests::read::<A>(&plan)?;
    let (plan, begun) = (Arc::new(plan), Instant::now());
    let tickets: Option<Tickets> = plan.rate.map(|rate| {
        let end = Duration::from_secs_f64(plan.warmup + plan.seconds);
        Arc::new(Mutex::new(pace::tickets(rate, begun, end)))
    });
    let mut connections = JoinSet::new();
    for number in 0..plan.connections {
        let (plan, requests, tickets) = (plan.clone(), requests.for_connection(plan.seed, number), tickets.clone());
        connections.spawn(async move {
            match tickets {
                Some(tickets) => open::<A>(&plan, requests, begun, tickets).await,
                None => closed::<A>(&plan, requests, begun).await,
            }
        });
    }
    let mut all = Seen::new(&plan, begun);
    while let Some(seen) = connections.join_next().await {
        all.add(seen??);
    }
    all.report(&plan)
}

async fn run(plan: Plan) -> Result<Report, Failure> {
    match plan.protocol.as_str() {
        "http" => measure::<http::Connection>(plan).await,
        "grpc" => measure::<grpc::Connection>(plan).await,
        other => Err(format!("no protocol `{other}` here").into()),
    }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::{Plan, run};

    /// A server that takes so long for every answer. Its port.
    async fn slow(delay: Duration) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    while stream.read(&mut [0; 1024]).await.unwrap() > 0 {
                        tokio::time::sleep(delay).await;
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                    }
                });
            }
        });
        port
    }

    fn plan(port: u16) -> Plan {
        let file = std::env::temp_dir().join(format!("load-{port}.body"));
        std::fs::write(&file, b"{}").unwrap();
        let body = Some(file.to_str().unwrap().to_owned());
        Plan { protocol: "http".to_owned(), port, path: "/".to_owned(), body, connections: 1, ..Plan::default() }
    }

    #[tokio::test]
    async fn an_open_loop_counts_what_requests_waited_for_a_connection() {
        let port = slow(Duration::from_millis(40)).await;
        // 50 are due a second and 25 can be answered: the last one waits for about as long as all were due in.
        let opened = run(Plan { rate: Some(50.0), seconds: 1.0, ..plan(port) }).await.unwrap();
        assert_eq!((opened.requests, opened.good), (50, 50));
        assert!(opened.goodput.unwrap() <= 25.0, "{:?}", opened.goodput);
        assert!(opened.latency.max_us.unwrap() > 900_000.0, "{:?}", opened.latency.max_us);
        assert!(opened.latency.p50_us.unwrap() > 400_000.0, "{:?}", opened.latency.p50_us);
        // Where the server sets the pace, the same server looks fine.
        let closed = run(Plan { seconds: 1.0, ..plan(port) }).await.unwrap();
        assert!((1..=25).contains(&closed.requests), "{}", closed.requests);
        assert!(closed.latency.p50_us.unwrap() * 2.0 < opened.latency.p50_us.unwrap(), "{:?}", closed.latency.p50_us);
    }

    #[tokio::test]
    async fn without_seconds_each_connection_asks_once() {
        let port = slow(Duration::from_millis(1)).await;
        let report = run(Plan { connections: 3, ..plan(port) }).await.unwrap();
        assert_eq!((report.requests, report.good), (3, 3));
    }

    #[tokio::test]
    async fn requests_of_the_warm_up_do_not_count() {
        let port = slow(Duration::from_millis(5)).await;
        let report = run(Plan { rate: Some(100.0), warmup: 0.3, seconds: 0.5, ..plan(port) }).await.unwrap();
        assert_eq!(report.requests, 50);
    }
}
